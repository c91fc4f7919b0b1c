# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Receiving into device memory: recvmsg, tokens, SO_DEVMEM_DONTNEED.

rx()	# PAIR-OPTIONS CASE-AND-OPTIONS...
{
	prepare "$1"
	kt rx "${@:2}"
}

t "IPv4, MTU 1500" 30 rx mtu=1500,iommu=0 stream
t "IPv6, MTU 1500" 30 rx mtu=1500 --v6 stream
t "IPv4, MTU 9000" 30 rx mtu=9000 stream
t "IPv6, MTU 9000" 30 rx mtu=9000,iommu=0 --v6 stream
t "one packet an MSS, MTU 1500" 30 rx gro=off stream
t "one packet an MSS, MTU 9000" 30 rx gro=off,mtu=9000 stream
t "segments of 1 to 8192 bytes are split" 60 rx mtu=9000 segments
t "segments of 1 to 8192 bytes, MTU 1500" 60 rx gro=off segments
t "each MSG_PEEK gives new tokens" 20 rx mtu=1500 peek
t "each MSG_PEEK gives new tokens, small frags" 20 rx gro=off peek
t "no more bytes than the control buffer has room for" 20 rx mtu=1500 room
t "frags read in parts" 20 rx mtu=1500 partial
t "frags read in parts, small frags" 20 rx gro=off partial
t "recv without MSG_SOCK_DEVMEM" 20 rx mtu=1500 no-flag
t "DONTNEED: lengths, addresses, ranges" 20 rx mtu=1500 dontneed-bounds
t "DONTNEED: a token twice" 20 rx mtu=1500 dontneed-twice
t "DONTNEED: frags of one call" 20 rx gro=off dontneed-limit
t "DONTNEED: other kinds of sockets" 20 rx mtu=1500 dontneed-kind
t "DONTNEED: a token of another socket" 20 rx mtu=1500 dontneed-other
t "a child inherits socket and tokens" 20 rx mtu=1500 fork
t "a process ends with tokens held" 20 rx mtu=1500 held-by-child
t "all net_iovs held, then returned" 60 rx mtu=1500 --region 4M starve
t "all net_iovs held, then returned, small frags" 60 rx gro=off --region 4M starve
t "two dma-bufs on two queues" 20 rx mtu=1500 two-dmabufs
t "one dma-buf on two queues" 20 rx mtu=1500 two-queues
t "FIN, and reset, with tokens held" 20 rx mtu=1500 end
full "256 MiB" 120 rx mtu=1500 --bytes 256M stream
