# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# Host memory by reference, over NICs that read it themselves.

rewritten()	# [FLOWS]: the sender writes its memory anew at each completion
{
	make_pair
	fault dm0a loss_ppm 10000
	fault dm0b loss_ppm 10000
	timeout 100 "$LAB_BUILD/tests/lab/rewrite-send" h1 h0 "$@" ||
		fail "rewrite-send failed"
	happened h0 dm0a link_lost
}
t "zerocopy: memory that is written anew when done, 1 % of packets lost" 120 rewritten
t "zerocopy: the same on flows" 120 rewritten 2

decides()
{
	make_pair
	NCCL_DEVMEM_REGION=none bench bandwidth -b 512K -e 512K -n 200 \
		--memory host --debug --rounds 1
	expect_right
	grep -E 'zerocopy nic=dm0. peer=[^ ]* (on|off) reason="[0-9.]+ us of CPU for a MiB by reference' \
		"$log" || fail "not decided by what was measured"
}
t "zerocopy: the CPU time decides where nothing is copied" 60 decides
