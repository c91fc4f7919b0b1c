# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# However small the pool, nothing stalls and the rings never run dry: it takes
# the connections that it has room for, and the others say why they are not in it.

expect_no_drops()
{
	local host nic n

	while read -r host nic _ <&3; do
		n=$(nic_counter "$host" "$nic" no_buffer)
		[ "$n" = 0 ] || fail "$nic ran out of buffers $n times"
	done 3<"$nics"
}

more=()	# what else to do to the hosts

# From the smallest pool that is taken, doubled until all connections fit.
starved()	# CHANNELS BENCH-ARGS(comma separated) [host option...]
{
	local channels=$1 args ring pages

	IFS=, read -ra args <<<"$2"
	make_pair "${@:3}"
	"${more[@]}"
	ring=$(nic_state h0 dm0a | sed 's/.*ring=\([0-9]*\).*/\1/')
	pages=$(((2 * ring + 128) * 5 / 4 + 1))
	export NCCL_DEVMEM_QUEUES=1
	while :; do
		export NCCL_DEVMEM_POOL_BYTES=$((pages * 4096))
		bench allreduce --ranks 2 --channels "$channels" "${args[@]}"
		expect_right
		expect_tokens
		expect_no_drops
		grep -q "has no room for another connection" "$log" || break
		[ "$pages" -lt 16384 ] || fail "64 MiB are not enough"
		pages=$((pages * 2 < 16384 ? pages * 2 : 16384))
	done
	echo "$channels connections fit a pool of $pages pages"
	expect_devmem
}
large=-b,64K,-e,4M,-f,4,-n,5,-w,1
t "1 connection" 120 starved 1 $large
t "8 connections" 240 starved 8 $large
t "8 connections, one frame an MSS" 240 starved 8 $large gro=off
t "8 connections, MTU 9000, one frame an MSS" 240 starved 8 $large gro=off mtu=9000

many_small()
{
	export NCCL_DEVMEM_INLINE_BYTES=0
	starved 8 -b,12K,-e,64K,-f,4,-n,100,-w,1 "$@"
}
t "8 connections of many small messages" 240 many_small
t "8 connections of many small messages, one frame an MSS" 240 many_small gro=off

# What is granted may come by either of two NICs: both have room for all of it.
two_nics()
{
	export NCCL_NET_FORCE_MERGE="dm0a,dm1a;dm0b,dm1b"
	more=(add_cable gro=off "${@:2}")
	starved 8 "$large,--device,0+1" gro=off "$1"
}
t "8 connections by two NICs" 240 two_nics mtu=1500
t "8 connections by two NICs, MTU 9000 and 1500" 240 two_nics mtu=9000 mtu=1500
