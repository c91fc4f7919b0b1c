# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The conformance suite over the devmem path: receivers in h0, senders in h1.
# One table with contexts and one without; the others are thin forms of these.

conformance()
{
	make_pair
	CONFORMANCE_PEER_NETNS=h1 CONFORMANCE_PEER_IFNAME="=dm0b" \
		NCCL_DEVMEM_IFNAME="=dm0a" in_host h0 \
		"$LAB_BUILD/tests/conformance/devmem-conformance" \
		--table v8 --table v11 "$plugin" \
		>"$log" 2>&1 || {
		grep -vE '^\[ +(OK|RUN) ' "$log"
		fail "conformance"
	}
	tail -n 20 "$log"
	grep -q '^\[  PASSED  \]' "$log" || fail "no verdict"
	# Some tests kill a process; the next one puts in order what it left.
	[[ $(nic_state h1 dm0b) == *bound= ]] || fail "queues of dm0b are bound"
	bench allreduce --ranks 2 -b 64K -e 64K -n 1 -w 0
	expect_devmem
}
t "over devmem" 400 conformance

conformance_threads()
{
	export NCCL_DEVMEM_THREADS=2
	conformance
}
t "over devmem, by progress threads" 400 conformance_threads
