# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Binding a dma-buf to rx queues: what is refused, in which words, and what is
# refused as long as one is bound.

binding() { prepare; kt bind "$@"; }

t "the same queue twice" 20 binding twice
t "a queue that does not exist" 20 binding --queue 8 refused ERANGE "out of range"
t "a good queue and a bad one: neither is bound" 20 binding refused-second
t "no queue" 20 binding no-queues
t "a file that is not open" 20 binding refused-fd closed EBADF
t "file number -1" 20 binding refused-fd negative EBADF
t "a device that is not a dma-buf" 20 binding refused-fd file EINVAL
t "a memfd" 20 binding refused-fd memfd EINVAL
t "a socket" 20 binding refused-fd socket EINVAL
t "a user without rights" 20 binding unprivileged
t "bound and unbound 50 times" 20 binding again

split_off()
{
	prepare
	in_host h1 nicstate dm0b split off
	resnapshot
	kt bind refused EINVAL "split"
}
reproducer "header split off, in words" 20 split_off

no_split()
{
	make_pair split=0
	kt bind refused EOPNOTSUPP ""
}
t "a NIC without header split and queue restart" 20 no_split

# A device of KIND has nothing that can do DMA.
no_dma()	# KIND
{
	make_pair
	ip -n h1 link add virtual0 type "$1"
	ip -n h1 link set virtual0 up
	kt bind --rx-nic virtual0 --queue 0 refused EOPNOTSUPP "DMA"
}
reproducer "no DMA: dummy" 20 no_dma dummy
reproducer "no DMA: veth" 20 no_dma veth
loopback()
{
	make_pair
	kt bind --rx-nic lo --queue 0 refused EOPNOTSUPP "DMA"
}
reproducer "no DMA: loopback" 20 loopback

# ---- down --------------------------------------------------------------------

down_up()	# STEP...: with the NIC down at first
{
	prepare
	ip -n h1 link set dm0b down
	kt script --run "ip -n h1 link set dm0b up && ip -n h1 address add fd00::2/64 dev dm0b nodad; sleep 0.2" "$@"
}
reproducer "bound while down, applied at up" 30 \
	down_up bind run bound connect recv tokens unbind any tokens close gone
reproducer "bound and unbound while down" 30 \
	down_up bind unbind run free connect plain tokens close gone

up_down()	# STEP...: goes down on the way
{
	prepare
	kt script --run "ip -n h1 link set dm0b down" "$@"
	ip -n h1 link set dm0b up
	ip -n h1 address add fd00::2/64 dev dm0b nodad
}
t "bound, down, unbound, up" 30 \
	up_down bind connect recv tokens run unbind close gone
t "bound, down with tokens held, unbound, up" 30 \
	up_down bind connect recv run unbind tokens close gone

bounce()	# STEP...: goes down and up on the way
{
	prepare
	kt script --run "ip -n h1 link set dm0b down && ip -n h1 link set dm0b up && sleep 0.2; ip -n h1 address add fd00::2/64 dev dm0b nodad" "$@"
}
t "down and up keep a binding" 30 \
	bounce bind connect recv run bound recv tokens unbind any tokens close gone

# ---- what is refused while a queue is bound --------------------------------------

while_bound()	# COMMAND: fails while a queue is bound, and works later
{
	prepare
	kt bind hold "! ip netns exec h1 $1" || fail "\"$1\" works while a queue is bound"
	in_host h1 bash -c "$1" || fail "\"$1\" fails with no queue bound"
	forget_nics
}
t "header split off, while a queue is bound" 20 while_bound \
	"nicstate dm0b split off"

# With no rule that needs the queue either.
channels()
{
	local loc

	prepare
	for loc in $(in_host h1 nicstate dm0b rules | grep -oE '^[0-9]+'); do
		in_host h1 ethtool -N dm0b delete "$loc"
	done
	kt bind hold "! ip netns exec h1 ethtool -L dm0b combined 7" ||
		fail "a bound queue was taken away"
	in_host h1 ethtool -L dm0b combined 7 ||
		fail "the number of channels cannot change later"
	forget_nics
}
t "fewer channels, while a queue is bound" 20 channels

resize()
{
	prepare
	kt script --run "ip netns exec h1 ethtool -G dm0b rx 512" \
		bind connect recv run bound recv tokens unbind close gone
	in_host h1 ethtool -G dm0b rx 256
}
t "rx ring resized while bound" 20 resize

mtu_change()
{
	prepare
	kt script --run "ip -n h0 link set dm0a mtu 9000 && ip -n h1 link set dm0b mtu 9000" \
		bind connect recv run bound recv tokens unbind close gone
}
t "MTU changed while bound" 20 mtu_change

t "XDP, then bind" 20 binding xdp-before
t "bind, then XDP" 20 binding xdp-after
t "AF_XDP, then bind" 20 binding xsk-before
t "bind, then AF_XDP" 20 binding xsk-after
