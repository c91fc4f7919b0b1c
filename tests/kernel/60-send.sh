# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sending out of device memory: every byte arrives, whatever becomes of packets
# on the way, and no memory is said to be done with too early.

tx()	# PAIR-OPTIONS CASE-AND-OPTIONS...
{
	prepare "$1"
	kt tx "${@:2}"
}

quick=64M
t "IPv4, MTU 1500" 60 tx mtu=1500,iommu=0 --bytes $quick stream
t "IPv6, MTU 1500" 60 tx mtu=1500 --bytes $quick --v6 stream
t "IPv4, MTU 9000" 60 tx mtu=9000 --bytes $quick stream
t "IPv6, MTU 9000" 60 tx mtu=9000 --bytes $quick --v6 stream
t "one packet an MSS" 60 tx gro=off --bytes $quick stream
t "into host memory" 60 tx mtu=1500 --bytes $quick to-host
t "into host memory, one packet an MSS" 60 tx gro=off --bytes $quick to-host
t "both ways at once, MTU 1500" 60 tx mtu=1500,iommu=0 --bytes $quick both
t "both ways at once, MTU 9000" 60 tx mtu=9000 --bytes $quick both
full "both ways at once, 1 GiB each, MTU 1500" 500 tx mtu=1500,iommu=0 --bytes 1G both
full "both ways at once, 1 GiB each, MTU 9000" 500 tx mtu=9000 --bytes 1G both
full "both ways at once, 1 GiB each, IPv6" 500 tx mtu=1500 --bytes 1G --v6 both

t "odd offsets and lengths" 60 tx mtu=1500 --unaligned --bytes 16M both
t "odd offsets and lengths, one packet an MSS" 60 tx gro=off --unaligned --bytes 16M both
t "MSG_MORE" 60 tx mtu=1500 --more --unaligned --bytes 16M both
t "sends that do not fit are partial" 60 tx mtu=1500 --bytes 16M small-buffer
t "sends of one byte" 60 tx mtu=1500 tiny
t "host memory, dma-buf, sendfile in turn on one socket" 60 tx mtu=1500 --bytes 4M mixed
t "host memory, dma-buf, sendfile in turn, one packet an MSS" 60 tx gro=off --bytes 4M mixed

# ---- what the NIC does, and what is between TCP and the NIC ------------------------

featured()	# FEATURE... off, at the sender
{
	local f

	prepare mtu=1500
	for f in "$@"; do
		in_host h0 ethtool -K dm0a "$f" off
	done
	resnapshot
	kt tx --bytes 16M --unaligned both
}
t "TSO off" 60 featured tso
t "TSO and GSO off" 60 featured tso gso

discipline()	# QDISC-WORDS...
{
	prepare
	want tc -n h0 qdisc replace dev dm0a root "$@"
	kt tx --bytes 16M --lossy both
}
t "qdisc fq" 60 discipline fq
t "qdisc fq_codel" 60 discipline fq_codel
t "qdisc pfifo" 60 discipline pfifo limit 20
t "qdisc noqueue" 60 discipline noqueue
t "qdisc tbf, which cuts big packets" 60 discipline tbf rate 800mbit burst 32k latency 20ms
t "qdisc netem: delay" 60 discipline netem delay 1ms limit 10000
t "qdisc netem: loss" 60 discipline netem loss 1%
t "qdisc netem: duplicates" 60 discipline netem duplicate 2%
t "qdisc netem: disorder" 60 discipline netem delay 1ms reorder 75% 25% limit 10000
t "qdisc netem: corruption cannot be made" 60 discipline netem corrupt 1%

sender_tapped()
{
	prepare
	kt tap --rx-host h0 --rx-nic dm0a packet "kt-tap tpacket-v3 'kt-tx --bytes 16M both'"
}
t "packet sockets at both ends" 60 sender_tapped

mirrored_egress()
{
	prepare
	ip -n h0 link add mirror0 type dummy
	ip -n h0 link set mirror0 up
	want tc -n h0 qdisc add dev dm0a clsact
	want tc -n h0 filter add dev dm0a egress matchall action mirred egress mirror dev mirror0
	kt tx --bytes 16M both
}
t "tc mirrors what is sent" 60 mirrored_egress

nat_out()
{
	prepare
	in_host h0 nft -f - <<<"table ip kt { chain c { type filter hook output priority 0; ip dscp set 5; }; chain d { type nat hook output priority -100; ip daddr 10.0.0.77 dnat to 10.0.0.2; }; }" ||
		skip "this kernel lacks parts of nftables"
	kt tx --connect-to h76 --bytes 16M stream
}
t "netfilter changes headers of what is sent" 60 nat_out

# ---- loss ------------------------------------------------------------------------

impaired()	# PAIR-OPTIONS BYTES
{
	local nic

	prepare "$1"
	for nic in dm0a dm0b; do
		fault $nic seed 7
		fault $nic loss_ppm 10000
		fault $nic reorder_ppm 10000
		fault $nic reorder_by 3
	done
	kt tx --lossy --unaligned --bytes "$2" both || exit
	for nic in "h0 dm0a" "h1 dm0b"; do
		# shellcheck disable=SC2086 # two words
		happened $nic link_lost
		# shellcheck disable=SC2086
		happened $nic link_reordered
	done
}
t "1 % loss and disorder, MTU 1500" 120 impaired mtu=1500 16M
t "1 % loss and disorder, MTU 9000" 120 impaired mtu=9000 16M
t "1 % loss and disorder, one packet an MSS" 120 impaired gro=off 16M
full "1 % loss and disorder, 1 GiB each way, MTU 1500" 900 impaired mtu=1500 1G
full "1 % loss and disorder, 1 GiB each way, MTU 9000" 900 impaired mtu=9000 1G

duplicated()
{
	prepare
	fault dm0a duplicate_ppm 20000
	fault dm0b duplicate_ppm 20000
	kt tx --lossy --bytes 16M both || exit
	happened h1 dm0b link_duplicated
}
t "2 % duplicates" 60 duplicated

not_before_ack()
{
	prepare
	kt tx --lossy --run "ip -n h1 link set dm0b down" not-before-ack \
		"ip -n h1 link set dm0b up"
	forget_nics
}
t "no completion before the data is acknowledged" 30 not_before_ack

# ---- changes with data underway -----------------------------------------------------

underway()	# COMMAND: what was sent arrives all the same
{
	prepare
	kt tx --lossy --bytes 16M --run "$1" run
	forget_nics
}
t "MTU shrinks with data underway" 60 underway \
	"ip -n h0 link set dm0a mtu 1000; ip -n h1 link set dm0b mtu 1000"
t "TSO goes with data underway" 60 underway \
	"ip netns exec h0 ethtool -K dm0a tso off gso off"
t "the sender's NIC is down and up with data underway" 60 underway \
	"ip -n h0 link set dm0a down; sleep 0.3; ip -n h0 link set dm0a up; sleep 0.1"
t "the receiver's NIC is down and up with data underway" 60 underway \
	"ip -n h1 link set dm0b down; sleep 0.3; ip -n h1 link set dm0b up; sleep 0.1"
t "tx ring resized with data underway" 60 underway \
	"ip netns exec h0 ethtool -G dm0a tx 64"

t "unbound with data underway" 60 tx mtu=1500 unbind
t "closed with data underway" 30 tx mtu=1500 abandon

lost()	# COMMAND [first]: takes the NIC away
{
	prepare
	forget_nics
	kt tx --run "$1" lost "${@:2}"
}
t "NIC removed with data underway" 30 lost "echo 0 >/sys/bus/dmsim/del_pair"
t "NIC removed with data underway, unbound first" 30 lost \
	"echo 0 >/sys/bus/dmsim/del_pair" first
t "the sender's namespace is deleted" 30 lost "ip netns delete h0"
t "NIC moved to another namespace with data underway" 30 lost \
	"ip -n h0 link set dm0a netns h1"
