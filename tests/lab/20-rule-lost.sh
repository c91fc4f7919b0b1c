# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A flow that loses its steering rule in mid-run goes on into host memory: the
# data stays right, and the path line says what happened.

rule_lost()
{
	local rule
	# shellcheck disable=SC2016
	rule='set -- $(ip netns exec h1 "$NICSTATE" dm0b rules) &&
		ip netns exec h1 ethtool -N dm0b delete "$1"'

	make_pair
	NICSTATE=$nicstate bench allreduce --ranks 2 -b 1M -e 1M -n 5 -w 1 \
		--check 8 --pause-at-iter 2 --pause-cmd "$rule"
	expect_right
	expect_tokens
	[ "$(path_rx | xargs)" = "devmem devmem+host" ] ||
		fail "want rx=devmem of rank 0, devmem+host of rank 1"
	[ "$(path_values host | tail -n 1)" -gt 0 ] ||
		fail "rank 1 counts no byte in host memory"
	[ "$(path_values devmem | tail -n 1)" -gt 0 ] ||
		fail "rank 1 counts no byte in the pool"
}
t "one rule deleted in mid-run" 60 rule_lost
