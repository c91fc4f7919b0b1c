# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# Two NICs of a host as one device: payload goes by both at once.

# NCCL asks for a device of NICs that are on no bus only if told to.
export NCCL_NET_FORCE_MERGE="dm0a,dm1a;dm0b,dm1b"

bonded()	# [ARG of devmem-bench...]
{
	bench allreduce --ranks 2 -b 8 -e 4M -f 8 -n 3 -w 1 --device 0+1 "$@"
	expect_right
}

# Bytes that a NIC has sent.
sent_by() { ip -n "$1" -s link show "$2" | awk 'tx { print $1; exit } /TX:/ { tx = 1 }'; }

# Each has moved at least a third of what both have.
expect_both()	# HOST NIC NIC
{
	local a b

	a=$(sent_by "$1" "$2") b=$(sent_by "$1" "$3")
	[ $((3 * a)) -ge $((a + b)) ] && [ $((3 * b)) -ge $((a + b)) ] ||
		fail "$2 sent $a bytes, $3 $b"
}

both_devmem()
{
	bonded
	expect_devmem
	expect_sent
	grep -q 'device 0 dm0a' "$log" && fail "not the bonded device"
	grep -q 'dm0a+dm1a' "$log" || fail "no device dm0a+dm1a"
	expect_both h0 dm0a dm1a
	expect_both h1 dm0b dm1b
}

apart()	# [option...]
{
	two_cables "$@"
	both_devmem
}
t "by devmem" 60 apart
t "by devmem, IPv6 only" 60 apart addr=6

# Routes take the NIC for both that had its address first.
in_one_network()	# [PREFIX of the NIC that gets its address last]
{
	local last=${1:-dm1} h=0 end

	two_cables addr=4
	for end in a b; do
		ip -n "h$h" address flush dev "dm1$end"
		ip -n "h$h" address add "10.0.0.1$((h + 1))/24" dev "dm1$end"
		if [ "$last" = dm0 ]; then
			ip -n "h$h" address flush dev "dm0$end"
			ip -n "h$h" address add "10.0.0.$((h + 1))/24" dev "dm0$end"
		fi
		h=$((h + 1))
	done
	both_devmem
}
t "by devmem, in one network" 60 in_one_network
t "by devmem, in one network, routed by the second" 60 in_one_network dm0

both_host()
{
	two_cables
	NCCL_DEVMEM_REGION=none bonded
	expect_rx host
	expect_both h0 dm0a dm1a
	expect_both h1 dm0b dm1b
}
t "by host memory" 60 both_host

# One side has two, the other uses one of its.
uneven()
{
	two_cables
	bench allreduce --ranks 2 -b 8 -e 1M -f 8 -n 3 -w 1 --device 0+1/0
	expect_right
	expect_devmem
	expect_sent
	bench allreduce --ranks 2 -b 8 -e 1M -f 8 -n 3 -w 1 --device 0/0+1
	expect_right
	expect_devmem
}
t "with a peer that uses one" 60 uneven

lossy()
{
	two_cables
	fault dm1a loss_ppm 10000
	fault dm1b loss_ppm 10000
	bonded
	expect_devmem
	expect_sent
	happened h0 dm1a link_lost
}
t "1 % of packets lost on one" 120 lossy

gone()
{
	two_cables
	NCCL_DEVMEM_TIMEOUT=4 bench allreduce --ranks 2 -b 1M -e 1M -n 3 -w 1 \
		--device 0+1 --break-cmd 'ip -n h1 link set dm1b down' \
		--expect-error-ms 15000
	expect_status 0
	! grep -q 'saw no error' "$log" || fail "a rank saw no error"
	ip -n h1 link set dm1b up
	carriers
	bonded
	expect_devmem
}
t "one down for good" 60 gone

# All or nothing, and the path line says which of them is why.
one_cannot()
{
	make_pair
	add_cable queues=1
	bonded
	expect_host "dm1[ab] has 1 receive queue"
}
t "one that cannot receive by devmem" 60 one_cannot

# Two that cannot speak to each other: both sides say which, and what to do.
unreachable()
{
	local why='connecting flow 1 by dm1a: No route to host; NCCL_NET_MERGE_LEVEL'

	two_cables addr=4
	ip -n h1 link set dm1b arp off
	SECONDS=0
	bench allreduce --ranks 2 -b 8 -e 8 --device 0+1
	expect_status 1
	[ "$SECONDS" -lt 20 ] || fail "it took $SECONDS s"
	grep -q "sending to .* $why" "$log" || fail "the sender does not say why"
	grep -q "the sender gave up: $why" "$log" ||
		fail "the receiver does not say why"
}
t "one that cannot reach the other side's" 60 unreachable

# As seen by a process that has both, in each table.
conforming()
{
	two_cables
	NCCL_DEVMEM_IFNAME="=dm0a,dm1a" in_host h0 \
		"$LAB_BUILD/tests/conformance/devmem-conformance" \
		--gtest_filter='*T34*' "$plugin" >"$log" 2>&1 ||
		{ cat "$log"; fail "T34"; }
	cat "$log"
	[ "$(grep -c '^\[ *OK' "$log")" = 5 ] || fail "not of five tables"
}
t "in every table" 60 conforming

uninvited()
{
	two_cables
	unset NCCL_NET_FORCE_MERGE
	bench allreduce --ranks 2 -b 8 -e 8 --device 0+1
	expect_status 1
	grep -q 'makeVDevice' "$log" || fail "not makeVDevice refused it"
}
t "not of NICs that are on no bus, unasked" 60 uninvited
