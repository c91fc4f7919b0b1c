# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Random calls. The seed is in the name of what failed: the same seed makes the
# same calls.

fuzz()	# SECONDS SEED CASE [PAIR-OPTIONS]
{
	prepare "${4-}"
	forget_nics
	kt fuzz --seconds "$1" --seed "$2" "$3"
	# It still works.
	kt rx --bytes 1M stream
}
t "bind messages, 5 seconds, seed 1" 60 fuzz 5 1 bind
t "all, 5 seconds, seed 2" 60 fuzz 5 2 all
t "all, 5 seconds, seed 3, one packet an MSS" 60 fuzz 5 3 all gro=off
for seed in 11 12 13 14; do
	full "all, 60 seconds, seed $seed" 300 fuzz 60 $seed all
done
