# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A binding, its tokens, the NIC, the namespaces: whatever goes first, and
# whatever is held, nothing is used after it is gone, and all is gone in the end.

life()	# STEP...
{
	prepare
	kt script "$@"
}
t "bound, used, closed, unbound" 20 life bind connect recv tokens close unbind gone
t "unbound with tokens held: they stay right" 20 life \
	bind connect recv unbind tokens close gone
t "unbound with tokens held: the page pool waits for them" 20 life \
	bind connect recv unbind pool-waits tokens pool-gone close gone
t "closed with tokens held: they are released" 20 life \
	bind connect recv recv unbind close pool-gone gone
t "unbound with data in the socket: it stays right" 20 life \
	bind connect queued unbind take tokens close gone
t "unbound with data in the socket, which is closed" 20 life \
	bind connect queued unbind close gone
t "after unbind data is in host memory" 20 life \
	bind connect recv tokens unbind free any plain plain close gone
t "bound again with the flow open" 20 life \
	bind connect recv tokens unbind any any bind any recv tokens unbind close gone
t "a flow from before the bind" 20 life \
	connect bind bound recv tokens close unbind gone

during()	# COMMAND STEP...: "run" is the command
{
	prepare
	forget_nics
	kt script --run "$1" "${@:2}"
}
remove="echo 0 >/sys/bus/dmsim/del_pair"

gone()	# NAME COMMAND: the NIC is
{
	t "$1 while bound" 20 during "$2" bind run unbind gone
	t "$1 with tokens held" 20 during "$2" \
		bind connect recv run tokens unbind abort gone
	t "$1 with tokens held, unbound first" 20 during "$2" \
		bind connect recv unbind run tokens abort gone
	t "$1 with data in the socket" 20 during "$2" \
		bind connect queued run take tokens abort unbind gone
	t "$1 with data in the socket, which is closed" 20 during "$2" \
		bind connect queued run abort unbind gone
}
gone "NIC removed" "$remove"
gone "NIC moved away" "ip -n h1 link set dm0b netns h0"
gone "namespace deleted" "ip netns delete h1"
reproducer "NIC removed, then debugfs shows the dma-buf" 20 during "$remove" \
	bind run bufinfo unbind gone
reproducer "NIC removed with tokens held, then debugfs shows the dma-buf" 20 \
	during "$remove" bind connect recv unbind run bufinfo tokens abort gone
reproducer "NIC removed, then the data is read that it had received" 20 \
	during "$remove" connect queued run arrives abort

# Back and bound again.
moved_back()
{
	prepare
	forget_nics
	kt script --run "ip -n h1 link set dm0b netns h0; ip -n h0 link set dm0b netns h1; ip -n h1 link set dm0b up; ip -n h1 address add 10.0.0.2/24 dev dm0b; sleep 0.2" \
		bind connect recv tokens run abort unbind bind connect recv tokens unbind close gone
}
t "NIC moved away and back, bound again" 20 moved_back

raced() { prepare; kt race "$@"; }
reproducer "a token returned before recvmsg has given it out" 20 raced token-guessed
t "unbound while recvmsg gives out tokens" 20 raced unbound-meanwhile
t "a hole in the control buffer" 20 raced bad-control

removed_meanwhile()
{
	prepare
	forget_nics
	kt race --run "$remove" unbound-meanwhile
}
t "NIC removed while recvmsg gives out tokens" 20 removed_meanwhile

# ---- faults of the NIC ---------------------------------------------------------

failing()	# fail_alloc|fail_start [ERRNO]: the queue is left as it was
{
	prepare
	fault dm0b fail_errno 12
	fault dm0b "$1" 1
	kt bind refused ENOMEM ""
	fault dm0b "$1" 0
	kt rx --bytes 1M stream
}
t "restart fails at bind: no memory" 20 failing fail_alloc
t "restart fails at bind: no start" 20 failing fail_start

failing_unbind()	# fail_alloc|fail_start
{
	prepare
	fault dm0b fail_errno 12
	kt script --run "echo 1 >/sys/kernel/debug/dmsim/dm0b/$1" \
		bind connect recv tokens run unbind close gone
	forget_nics
}
t "restart fails at unbind: no memory" 20 failing_unbind fail_alloc

# A queue that gets no buffers for a while.
starved()
{
	prepare
	fault dm0b starve_queues 0x80
	(sleep 1; echo 0 >/sys/kernel/debug/dmsim/dm0b/starve_queues) &
	kt rx stream
	wait
}
t "the queue gets no buffers for a second" 30 starved

paused()
{
	prepare
	fault dm0b pause_queues 0x80
	(sleep 1; echo 0 >/sys/kernel/debug/dmsim/dm0b/pause_queues) &
	kt rx stream
	wait
}
t "the queue is paused for a second" 30 paused

lossy()	# PAIR-OPTIONS
{
	prepare "$1"
	fault dm0a loss_ppm 20000
	fault dm0a reorder_ppm 20000
	fault dm0a reorder_by 3
	fault dm0a duplicate_ppm 20000
	kt rx --bytes 16M stream || exit
	happened h1 dm0b link_lost
	happened h1 dm0b link_reordered
	happened h1 dm0b link_duplicated
}
t "loss, disorder, duplicates" 60 lossy mtu=1500
t "loss, disorder, duplicates, one packet an MSS" 60 lossy gro=off
t "loss, disorder, duplicates, MTU 9000" 60 lossy mtu=9000

# ---- what finds faults has to find them ----------------------------------------

oracle()	# HOW
{
	make_pair iommu=1 2>/dev/null || skip "the simulated NIC has no IOMMU"
	fault dm0a iommu_misuse "$1"
	[ "$1" != leak ] || remove_hosts
	wait_for 3 iommu_fault || fail "not seen"
	# Not for the one that looks at all tests.
	dmesg --clear
}
iommu_fault() { dmesg | grep -q "dmsim IOMMU fault"; }
for how in direction range use-after-unmap double-unmap unmap-size leak; do
	t "IOMMU: $how" 20 oracle $how
done
