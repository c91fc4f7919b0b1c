# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sends from device memory that are refused: the errno is mainline's, and the
# connection goes on.

txerr() { prepare; kt txerr "$@"; }

t "bad ids" 20 txerr bad-id
t "cmsg of a wrong size" 20 txerr cmsg-size
t "no MSG_ZEROCOPY" 20 txerr flags
t "no SO_ZEROCOPY" 20 txerr no-zerocopy
t "id 0 is none" 20 txerr id-0
t "offset and length past the end" 20 txerr bounds
t "no bytes" 20 txerr zero-length
t "UDP" 20 txerr udp
t "not connected" 20 txerr unconnected

# A second NIC in the sender's host.
second_nic()
{
	echo 1 >/sys/bus/dmsim/new_pair
	ip link set dm1a netns h0
	ip -n h0 link set dm1a up
	ip link set dm1b up
}

other_device()
{
	prepare
	second_nic
	kt txerr other-device dm1a
}
t "the binding of another NIC" 20 other_device

t "by loopback" 20 txerr loopback

route_elsewhere()
{
	prepare
	second_nic
	ip -n h0 address add 10.9.0.1/24 dev dm1a
	kt txerr --run "ip -n h0 route add 10.0.0.2/32 dev dm1a" after-run ENODEV \
		"ip -n h0 route delete 10.0.0.2/32 dev dm1a"
}
t "the route changes to another NIC and back" 20 route_elsewhere

no_route()
{
	prepare
	kt txerr --run "ip -n h0 route add unreachable 10.0.0.2/32" after-run EHOSTUNREACH \
		"ip -n h0 route delete unreachable 10.0.0.2/32"
}
t "the route goes and comes back" 20 no_route

no_sg()
{
	prepare
	kt txerr --run "ip netns exec h0 ethtool -K dm0a sg off" after-run EOPNOTSUPP \
		"ip netns exec h0 ethtool -K dm0a sg on tso on"
	forget_nics
}
t "the NIC does not gather" 20 no_sg

# The flow's device is one on top of the NIC.
on_top()	# vlan|bridge
{
	prepare
	forget_nics
	case $1 in
	vlan)
		ip -n h0 link add link dm0a name top0 type vlan id 5
		ip -n h1 link add link dm0b name top0 type vlan id 5
		ip -n h1 address flush dev dm0b
		ip -n h1 address add 10.0.0.2/24 dev top0
		ip -n h1 link set top0 up
		;;
	bridge)
		ip -n h0 link add top0 type bridge
		ip -n h0 link set dm0a master top0
		;;
	esac
	ip -n h0 address flush dev dm0a
	ip -n h0 address add 10.0.0.1/24 dev top0
	ip -n h0 link set top0 up
	sleep 0.2
	kt txerr on-top
}
t "a VLAN on top of the NIC" 20 on_top vlan
t "a bridge on top of the NIC" 20 on_top bridge

# ---- bind-tx ----------------------------------------------------------------------

virtual()	# KIND
{
	make_pair
	ip -n h0 link add virtual0 type "$1"
	ip -n h0 link set virtual0 up
	kt txerr bind virtual0 EOPNOTSUPP ""
}
t "bind-tx: dummy" 20 virtual dummy
t "bind-tx: veth" 20 virtual veth
t "bind-tx: loopback" 20 txerr bind lo EOPNOTSUPP ""
t "bind-tx: what is not a dma-buf" 20 txerr bind-fd
t "bind-tx: 100 bindings of one dma-buf" 20 txerr bind-many
