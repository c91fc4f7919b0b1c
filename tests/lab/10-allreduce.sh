# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# All-reduce between 2, 4 and 8 hosts is right, and its payload is sent from
# dma-bufs and lands in the pool: every packing of frames, both IP versions.

small='-b 8 -e 64K -f 4 -n 3 -w 1'
large='-b 64K -e 4M -f 8 -n 3 -w 1'

allreduce()	# RANKS [host option...]
{
	make_hosts "$@"
	# shellcheck disable=SC2086
	bench allreduce --ranks "$1" $small
	expect_right
	expect_tokens
	# shellcheck disable=SC2086
	bench allreduce --ranks "$1" $large --require-rx devmem --require-tx devmem
	expect_right
	expect_devmem
	expect_sent
}

t "2 ranks" 30 allreduce 2
t "2 ranks, one frame an MSS" 60 allreduce 2 gro=off
t "2 ranks, MTU 9000" 30 allreduce 2 mtu=9000
t "2 ranks, MTU 9000, one frame an MSS" 60 allreduce 2 mtu=9000 gro=off
t "2 ranks, IPv6 only" 30 allreduce 2 addr=6
t "2 ranks, IPv6 only, one frame an MSS" 60 allreduce 2 addr=6 gro=off
t "4 ranks" 60 allreduce 4
t "4 ranks, MTU 9000" 60 allreduce 4 mtu=9000
t "8 ranks" 120 allreduce 8
t "8 ranks, one frame an MSS" 120 allreduce 8 gro=off

# Several rings, so several connections in both directions at once.
channels()
{
	make_pair
	bench allreduce --ranks 2 --channels 4 -b 4 -e 1M -f 16 -n 3 -w 1
	expect_right
	expect_devmem
}
t "4 channels" 30 channels

# Sizes that neither elements nor chunks divide.
odd_sizes()
{
	make_pair
	bench allreduce --ranks 2 -b 12 -e 3000004 -f 5 -n 2 -w 1
	expect_right
	expect_devmem
}
t "sizes that divide nothing" 30 odd_sizes

# The progress of all connections made by threads, not inside the calls.
threads()	# RANKS THREADS
{
	make_hosts "$1"
	export NCCL_DEVMEM_THREADS=$2
	# shellcheck disable=SC2086
	bench allreduce --ranks "$1" --channels 2 $large --debug \
		--require-rx devmem --require-tx devmem
	[ "$(grep -c "progress threads=$2 " "$log")" = "$1" ] ||
		fail "not each rank has $2 progress threads"
	expect_right
	expect_devmem
	expect_sent
}
t "2 ranks, a progress thread each" 30 threads 2 1
t "4 ranks, two progress threads each" 60 threads 4 2
