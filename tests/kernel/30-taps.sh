# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of tests/lab/lib.sh
# Whatever looks at packets, copies, changes or forwards them: the kernel lives,
# what can be read of an unreadable packet is its headers, and the data arrives.

tapped()	# PAIR-OPTIONS KIND [option of kt-rx...]
{
	prepare "${1-}"
	kt tap "$2" "kt-rx ${*:3} stream"
}
reproducer "packet socket" 30 tapped mtu=1500 packet
reproducer "packet socket, IPv6" 30 tapped mtu=1500 packet --v6
reproducer "packet socket, one packet an MSS" 30 tapped gro=off packet
reproducer "packet socket, MTU 9000" 30 tapped mtu=9000 packet
reproducer "packet socket, cooked" 30 tapped mtu=1500 cooked
t "packet ring, TPACKET_V2" 30 tapped mtu=1500 tpacket-v2
t "packet ring, TPACKET_V3" 30 tapped mtu=1500 tpacket-v3
t "packet ring, TPACKET_V3, one packet an MSS" 30 tapped gro=off tpacket-v3

two_taps()
{
	prepare
	kt tap packet "kt-tap tpacket-v3 'kt-rx stream'"
}
reproducer "two packet sockets" 30 two_taps

# tcpdump with a filter that looks at payload.
filtered()
{
	prepare
	ip netns exec h1 tcpdump -U -i dm0b -w "$run_dir/dump" \
		'tcp[32:4] = 0 or tcp[1000:4] = 1 or greater 60' 2>/dev/null &
	sleep 0.5
	kt rx stream || exit
	kill $!
	wait $!
	[ -s "$run_dir/dump" ] || fail "tcpdump wrote nothing"
}
t "tcpdump with a filter on payload" 30 filtered

tap_on_sender()
{
	prepare
	kt tap --rx-host h0 --rx-nic dm0a packet "kt-rx stream"
}
t "packet socket at the sender" 30 tap_on_sender

# ---- netfilter -----------------------------------------------------------------

rules()	# RULESET: nftables of the receiver
{
	local words

	words=$(in_host h1 nft -f - 2>&1 <<<"$1") && return
	[[ $words == *"No such file"* || $words == *"not supported"* ]] ||
		fail "nft: $words"
	skip "this kernel lacks parts of nftables"
}

queue_all()	# HOOK
{
	rules "table inet kt { chain c { type filter hook $1 priority 0; iifname dm0b tcp dport 5201 queue num 0; }; }"
}

queued()	# PAIR-OPTIONS KIND HOOK
{
	prepare "$1"
	queue_all "$3"
	in_host h1 ethtool -K dm0b gro off
	kt tap "$2" "kt-rx --bytes 1M stream"
	in_host h1 ethtool -K dm0b gro on
}
t "nfqueue at input" 30 queued gro=off nfqueue input
t "nfqueue at prerouting" 30 queued gro=off nfqueue prerouting
t "nfqueue at input, big packets" 30 queued mtu=1500 nfqueue-gso input

# A listener that takes no big packets gets them cut, which takes a copy of the
# payload.
queued_cut()	# PAIR-OPTIONS
{
	prepare "$1"
	queue_all input
	harmless tap nfqueue "kt-rx --bytes 1M any"
}
reproducer "nfqueue, big packets cut for it" 30 queued_cut gro=on
reproducer "nfqueue, merged packets cut for it" 30 queued_cut gro=off

tapped_queue()
{
	prepare gro=off
	queue_all input
	in_host h1 ethtool -K dm0b gro off
	kt tap nfqueue "kt-tap packet 'kt-rx --bytes 1M stream'"
	in_host h1 ethtool -K dm0b gro on
}
reproducer "nfqueue and a packet socket" 30 tapped_queue

# A rule in prerouting, which may change what is shared with the tap.
changed()	# STATEMENT TAP-OR-"" [PAIR-OPTIONS]
{
	prepare "${3-}"
	rules "table ip kt { chain c { type filter hook prerouting priority -150; iifname dm0b tcp dport 5201 $1; }; }"
	if [ -n "$2" ]; then
		kt tap "$2" "kt-rx --bytes 1M stream"
	else
		kt rx --bytes 1M stream
	fi
}
t "mangle" 30 changed "ip dscp set 5 ip ttl set 9" ""
reproducer "mangle with a tap open" 30 changed "ip dscp set 5 ip ttl set 9" packet
reproducer "mangle with a tap open, one packet an MSS" 30 \
	changed "ip dscp set 5 ip ttl set 9" packet gro=off

# The flow's address is translated to the receiver's own.
translated()	# TAP-OR-"" [PAIR-OPTIONS]
{
	prepare "${2-}"
	ip -n h0 route add 10.0.0.77/32 via 10.0.0.2
	rules "table ip kt { chain c { type nat hook prerouting priority -100; ip daddr 10.0.0.77 dnat to 10.0.0.2; }; }"
	if [ -n "$1" ]; then
		kt tap "$1" "kt-rx --bytes 1M --connect-to h76 stream"
	else
		kt rx --bytes 1M --connect-to h76 stream
	fi
}
t "NAT" 30 translated ""
reproducer "NAT with a tap open" 30 translated packet
reproducer "NAT with a tap open, one packet an MSS" 30 translated packet gro=off

conntrack()
{
	prepare
	rules "table inet kt { chain c { type filter hook input priority 0; ct state invalid drop; }; }"
	kt rx stream
}
t "conntrack finds no packet invalid" 30 conntrack

# What cannot be written to stays as it is.
payload_write()
{
	prepare
	rules "table ip kt { chain c { type filter hook prerouting priority -150; iifname dm0b tcp dport 5201 meta length > 500 @th,640,32 set 0x1; }; }"
	kt rx --bytes 1M stream
}
t "netfilter writing to payload" 30 payload_write

# Single packets whose checksum is there are copied.
switched()
{
	prepare
	in_host h0 ethtool -K dm0a tx off >/dev/null
	in_host h1 ethtool -K dm0b gro off
	resnapshot
	kt ovs copies
}
t "Open vSwitch copies packets to user space" 30 switched

switched_cut()
{
	prepare
	kt ovs cuts
}
reproducer "Open vSwitch cuts packets for user space" 30 switched_cut

# ---- tc ------------------------------------------------------------------------

ingress()	# FILTER-WORDS...
{
	want tc -n h1 qdisc add dev dm0b clsact
	tc -n h1 filter add dev dm0b ingress "$@" || skip "this kernel's tc cannot: $*"
}

mirrored()	# KIND-OF-DEVICE
{
	prepare
	ip -n h1 link add mirror0 type "$1"
	ip -n h1 link set mirror0 up
	[ "$1" != veth ] || ip -n h1 link set veth0 up
	ingress matchall action mirred egress mirror dev mirror0
	kt rx stream
}
t "tc mirrors to a dummy" 30 mirrored dummy
t "tc mirrors to a veth" 30 mirrored veth

mirrored_ingress()
{
	prepare
	ip -n h1 link add mirror0 type dummy
	ip -n h1 link set mirror0 up
	ingress matchall action mirred ingress mirror dev mirror0
	kt rx stream
}
t "tc mirrors to another device's ingress" 30 mirrored_ingress

edited()	# what pedit writes; packets get through only if it could be done
{
	prepare
	ingress protocol ip matchall action pedit ex munge eth src set 02:00:00:00:00:09
	kt rx --bytes 1M stream
}
t "tc edits headers" 30 edited

edited_tapped()
{
	prepare
	ingress protocol ip matchall action pedit ex munge eth src set 02:00:00:00:00:09
	kt tap packet "kt-rx --bytes 1M stream"
}
reproducer "tc edits headers with a tap open" 30 edited_tapped

edited_payload()
{
	prepare
	ingress protocol ip matchall action pedit munge offset 100 u32 set 1
	harmless rx --bytes 100K stream
}
t "tc edits payload" 30 edited_payload

# ---- forwarding ------------------------------------------------------------------

# Host h2 behind h1: 10.0.0.3, through a veth pair with MTU $1.
behind()
{
	ip netns add h2
	ip -n h1 link add v1 mtu "$1" type veth peer v2 netns h2
	ip -n h1 address add 10.1.0.1/24 dev v1
	ip -n h1 link set v1 up
	ip -n h2 link set lo up
	ip -n h2 address add 10.1.0.2/24 dev v2
	ip -n h2 address add 10.0.0.3/32 dev lo
	ip -n h2 link set v2 up
	ip -n h2 route add 10.0.0.0/24 via 10.1.0.1
	ip -n h1 route add 10.0.0.3 via 10.1.0.2
	ip -n h0 route add 10.0.0.3 via 10.0.0.2
	in_host h1 sysctl -q net.ipv4.ip_forward=1
}

# Unreadable packets do not leave by a device that cannot send them: they are
# lost, until they are readable.
forwarded()	# MTU [PAIR-OPTIONS] [option of kt-script...]
{
	prepare "${2-}"
	behind "$1"
	kt script --rx-host h2 --bind-host h1 "${@:3}" \
		bind connect little nothing unbind arrives close gone
}
t "forwarded to a veth" 30 forwarded 1500
t "forwarded to a veth, one packet an MSS" 30 forwarded 1500 gro=off
reproducer "forwarded, to be fragmented" 30 forwarded 1000 gro=off --fragment
reproducer "forwarded, big packets to be fragmented" 30 forwarded 1000 gro=on --fragment
forwarded_tapped()
{
	prepare
	behind 1500
	kt tap packet "kt-script --rx-host h2 --bind-host h1 bind connect little nothing unbind arrives close gone"
}
reproducer "forwarded, with a tap" 30 forwarded_tapped

# h1 sends on to h2 by the NIC that it came in: what was mapped to be written to
# is not read from.
turned()
{
	make_switch 3 "$@"
	steer h1 dm1a
	forget_nics
	ip -n h0 route add 10.0.0.3 via 10.0.0.2
	ip -n h2 route add 10.0.0.1 via 10.0.0.2
	in_host h1 sysctl -q net.ipv4.ip_forward=1
	in_host h1 sysctl -q net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.dm1a.send_redirects=0
	kt script --rx-host h2 --bind-host h1 --rx-nic dm1a \
		bind connect little nothing unbind arrives close gone
}
t "forwarded by the same NIC" 30 turned
t "forwarded by the same NIC, one packet an MSS" 30 turned gro=off

# The NIC as port of a bridge.
bridged()	# [PAIR-OPTIONS]
{
	prepare "${1-}"
	ip netns add h2
	ip -n h1 link add v1 type veth peer v2 netns h2
	ip -n h1 link add br0 type bridge
	ip -n h1 address flush dev dm0b
	ip -n h1 link set dm0b master br0
	ip -n h1 link set v1 master br0 up
	ip -n h1 link set br0 up
	ip -n h2 address add 10.0.0.3/24 dev v2
	ip -n h2 link set v2 up
	kt script --rx-host h2 --bind-host h1 \
		bind connect little nothing unbind arrives close gone
}
t "bridged to a veth" 30 bridged
t "bridged to a veth, one packet an MSS" 30 bridged gro=off

# ---- headers ---------------------------------------------------------------------

# IP options and TCP timestamps make headers long.
ip_options()
{
	prepare gro=off
	kt rx --ip-options stream
}
t "IP options" 30 ip_options

vlan()
{
	prepare
	want ip -n h0 link add link dm0a name vl0 type vlan id 5
	ip -n h1 link add link dm0b name vl0 type vlan id 5
	ip -n h0 address flush dev dm0a
	ip -n h1 address flush dev dm0b
	ip -n h0 address add 10.0.0.1/24 dev vl0
	ip -n h1 address add 10.0.0.2/24 dev vl0
	ip -n h0 link set vl0 up
	ip -n h1 link set vl0 up
	kt rx --bytes 1M any
}
t "VLAN tags" 30 vlan

# Frames that the NIC could not split: in host memory, never in one packet with
# what is in the dma-buf.
unsplit()	# [PAIR-OPTIONS]
{
	prepare "${1-}"
	fault dm0b unsplit_every 3
	kt rx --bytes 4M mixed
}
t "frames that are not split" 30 unsplit
t "frames that are not split, one packet an MSS" 30 unsplit gro=off
t "frames that are not split, MTU 9000" 30 unsplit mtu=9000,gro=off

unsplit_tapped()
{
	prepare gro=off
	fault dm0b unsplit_every 3
	kt tap packet "kt-rx --bytes 4M mixed"
}
reproducer "frames that are not split, with a tap" 30 unsplit_tapped
