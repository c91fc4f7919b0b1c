# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# Payload is sent from dma-bufs by the NIC: whatever befalls its packets, without
# the CPU, or not at all if that is required and cannot be.

blind_both_ways()
{
	timeout 60 "$LAB_BUILD/tests/lab/blind-send" h1 h0 ||
		fail "blind-send failed"
	timeout 60 "$LAB_BUILD/tests/lab/blind-send" h0 h1 ||
		fail "blind-send failed the other way"
}

blind()	# [host option...]
{
	make_pair "$@"
	blind_both_ways
}
t "from memory that the CPU cannot reach" 60 blind
t "from memory that the CPU cannot reach, MTU 9000" 60 blind mtu=9000
t "from memory that the CPU cannot reach, IPv6 only" 60 blind addr=6

blind_lossy()
{
	make_pair
	fault dm0a loss_ppm 10000
	fault dm0b loss_ppm 10000
	blind_both_ways
	happened h0 dm0a link_lost
	happened h1 dm0b link_lost
}
t "from memory that is written anew when done, 1 % of packets lost" 200 blind_lossy

both_ways()	# [ARG of devmem-bench...]
{
	bench allreduce --ranks 2 -b 64K -e 4M -f 8 -n 3 -w 1 \
		--require-rx devmem --require-tx devmem "$@"
	expect_right
	expect_devmem
	expect_sent
}

feature_off()	# FEATURE...
{
	local f

	make_pair
	for f in "$@"; do
		in_host h0 ethtool -K dm0a "$f" off
		in_host h1 ethtool -K dm0b "$f" off
	done
	resnapshot
	both_ways
}
t "TSO off" 60 feature_off tso
t "TSO and GSO off" 60 feature_off tso gso

# Packets are lost and come in disorder, so some are sent again, from memory that
# the next message is to be written to as soon as the request is done.
lossy()
{
	make_pair
	local nic

	for nic in dm0a dm0b; do
		fault "$nic" loss_ppm 10000
		fault "$nic" reorder_ppm 10000
	done
	both_ways -n 10 --check 1 --channels 2
	happened h0 dm0a link_lost
	happened h1 dm0b link_reordered
}
t "1 % of packets lost, 1 % in disorder" 60 lossy

# One NIC is too many for the way to another rank of the same host.
one_size() { bench allreduce --ranks 2 -b 64K -e 64K -n 1 -w 0; }

cannot()	# REGEX: why the sender copies, or refuses
{
	one_size
	expect_right
	! path_tx | grep -qvx host || fail "tx is not host: $(path_tx | xargs)"
	sed -n 's/^# rank .* tx_reason=//p' "$log" | grep -qE -- "$1" ||
		fail "the reason does not say \"$1\""
	NCCL_DEVMEM_REQUIRE=tx one_size
	expect_refused "NCCL_DEVMEM_REQUIRE has tx" "$1"
}

no_sg()
{
	make_pair
	in_host h0 ethtool -K dm0a sg off
	in_host h1 ethtool -K dm0b sg off
	resnapshot
	cannot "ethtool -K dm0[ab] sg on"
}
t "scatter-gather off" 30 no_sg

one_host()
{
	make_pair
	hosts=h0,h0
	cannot "the way to the peer does not go by dm0a"
}
t "both ranks in one host" 30 one_host

not_that_nic()
{
	make_pair
	ip -n h0 link add other type veth peer remote netns h1
	ip -n h0 link set other up
	ip -n h1 link set remote up
	ip -n h0 address add 10.9.0.1/24 dev other
	ip -n h1 address add 10.9.0.2/24 dev remote
	NCCL_DEVMEM_IFNAME=other,remote cannot "(other|remote) cannot send from device memory"
}
t "a NIC that cannot" 30 not_that_nic
