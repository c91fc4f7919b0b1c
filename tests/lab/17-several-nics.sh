# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# Each NIC of a host is a device: with a name of its own, a pool of its own, and
# connections whose payload goes by it and by no other.

# Bytes by devmem over the connections of that NIC, of all ranks.
moved()	# recv|send NIC
{
	sed -n "s/.*path $1 done nic=$2 .* devmem=\([0-9]*\) .*/\1/p" "$log" |
		awk '{ n += $1 } END { printf "%d\n", n }'
}

on_nics()	# NIC...: payload of the last run went by these, and all by devmem
{
	local nic

	expect_right
	expect_devmem
	expect_sent
	for nic in dm0a dm0b dm1a dm1b dm2a dm3a; do
		if [[ " $* " == *" $nic "* ]]; then
			[ "$(moved recv "$nic")" -gt 0 ] ||
				fail "nothing came by $nic"
			[ "$(moved send "$nic")" -gt 0 ] ||
				fail "nothing went by $nic"
		else
			! grep -q "nic=$nic " "$log" || fail "$nic was used"
		fi
	done
}

both() { bench allreduce --debug -b 256K -e 4M -f 16 -n 3 -w 1 "$@"; }

devices()
{
	local n

	two_cables "$@"
	for n in 0 1; do
		both --device "$n"
		grep -q "Rank  0 .* device $n dm${n}a " "$log" ||
			fail "device $n of h0 is not dm${n}a"
		on_nics "dm${n}a" "dm${n}b"
	done
	both --device 0,1 --channels 4
	on_nics dm0a dm0b dm1a dm1b
	# By halves, as channels take turns.
	[ "$(moved recv dm0a)" = "$(moved recv dm1a)" ] ||
		fail "not as much by one as by the other"
}
t "each is a device, and all at once" 60 devices
t "each is a device, IPv6 only" 60 devices addr=6

# By the conformance suite: T3 and T4 are about the list of devices.
properties()
{
	two_cables
	in_host h0 "$LAB_BUILD/tests/conformance/devmem-conformance" \
		--gtest_filter='*T3_*:*T4_*' "$plugin" >"$log" 2>&1 || {
		cat "$log"
		fail "conformance of two devices"
	}
	grep -q '^\[  PASSED  \]' "$log" || fail "no verdict"
}
t "their properties are right" 30 properties

chosen()	# VARIABLE VALUE NIC-NUMBER
{
	export "$1=$2"
	both
	on_nics "dm$3a" "dm$3b"
	unset "$1"
}

selection()
{
	two_cables
	chosen NCCL_SOCKET_IFNAME dm1 1
	chosen NCCL_DEVMEM_IFNAME ^dm0,lo 1
	chosen NCCL_DEVMEM_IFNAME dm0 0
	# Ours goes before NCCL's.
	export NCCL_SOCKET_IFNAME=dm0
	chosen NCCL_DEVMEM_IFNAME dm1 1
	unset NCCL_SOCKET_IFNAME
	NCCL_DEVMEM_IFNAME=dm1 both --device 1
	expect_status 77
}
t "NCCL_SOCKET_IFNAME and ours pick one" 60 selection

# Two NICs of each host on one switch, in one IP network: dm0a and dm2a of h0.
two_each()
{
	local i host

	make_switch 2
	for i in 2 3; do
		host=$((i - 2))
		echo "$i" >/sys/bus/dmsim/new_pair
		ip link set "dm${i}a" netns "h$host" mtu 1500
		ip -n "h$host" address add "10.0.0.$((i + 1))/24" dev "dm${i}a"
		ip -n "h$host" link set "dm${i}a" up
		ip link set "dm${i}b" netns sw mtu 1500
		ip -n sw link set "dm${i}b" up
		ip -n sw link set "dm${i}b" master br0
		snapshot "h$host" "dm${i}a"
	done
	carriers
}

# All that is sent then goes by the first NIC of a host, and comes by whichever
# answered first when the address was asked for. Nothing is wrong, and what is not
# sent by devmem is said.
one_network()
{
	two_each
	both --device 0,1 --channels 2
	expect_right
	expect_tokens
	grep -q 'path send buffer nic=dm2a .*reason="the way to the peer does not go by dm2a' "$log" ||
		fail "no reason is given"
}
t "in one network, routed by destination" 60 one_network

one_network_by_source()
{
	local i host

	two_each
	for i in 0 1 2 3; do
		host=h$((i % 2))
		in_host "$host" sysctl -q net.ipv4.conf.all.arp_ignore=1
		ip -n "$host" rule add from "10.0.0.$((i + 1))" table $((100 + i))
		ip -n "$host" route add 10.0.0.0/24 dev "dm${i}a" table $((100 + i))
		ip -n "$host" neigh flush all
	done
	both --device 0,1 --channels 2
	on_nics dm0a dm1a dm2a dm3a
}
t "in one network, routed by source" 60 one_network_by_source
