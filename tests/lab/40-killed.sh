# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A rank that is killed in mid-transfer: the others see it within 2 s, no queue
# stays bound anywhere, what it had changed of its NIC is as before, and the same
# hosts can be used again at once.

killed()	# RANK RANKS
{
	make_hosts "$2"
	bench allreduce --ranks "$2" -b 2M -e 2M -n 3 -w 1 --kill-rank "$1" \
		--kill-after-ms 150 --expect-error-ms 2000
	expect_status 0
	! grep -q 'saw no error' "$log" || fail "a survivor saw no error"
	[ "$(grep -c '^# rank [0-9]* saw it after' "$log")" = $(($2 - 1)) ] ||
		fail "not every survivor reports the error"
	wait_for 2 nics_quiet ||
		{ check_nics; fail "settings are not as before"; }

	bench allreduce --ranks "$2" -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
	check_nics || fail "settings are not as before"
}
t "rank 0 of 2" 60 killed 0 2
t "rank 1 of 2" 60 killed 1 2
t "rank 2 of 4" 90 killed 2 4
