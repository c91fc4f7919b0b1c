# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What keeps payload out of the pool is said in one line, with its remedy, and
# the data goes by host memory; with NCCL_DEVMEM_REQUIRE=rx it is an error. Bad
# settings are refused at init. Nothing is left behind either way.

one_size() { bench allreduce --ranks 2 -b 64K -e 64K -n 1 -w 0; }

# The same obstacle without and with NCCL_DEVMEM_REQUIRE.
obstacle()	# REGEX...
{
	one_size
	expect_host "$@"
	NCCL_DEVMEM_REQUIRE=rx one_size
	expect_refused "NCCL_DEVMEM_REQUIRE" "$@"
}

split_off()
{
	make_pair
	export NCCL_DEVMEM_NIC_SETUP=manual
	obstacle "header split is off on dm0[ab]" "ethtool -G dm0[ab] tcp-data-split on"
}
t "header split off, manual set-up" 30 split_off

# Set up by hand as the reasons say, manual set-up is enough.
split_on_by_hand()
{
	make_pair
	export NCCL_DEVMEM_NIC_SETUP=manual
	in_host h0 "$nicstate" dm0a split on
	in_host h1 "$nicstate" dm0b split on
	obstacle "RSS of dm0[ab] uses queue" "ethtool -X dm0[ab] equal 6"
	in_host h0 ethtool -X dm0a equal 6
	in_host h1 ethtool -X dm0b equal 6
	one_size
	expect_right
	expect_devmem
	in_host h0 ethtool -X dm0a default
	in_host h1 ethtool -X dm0b default
	in_host h0 "$nicstate" dm0a split off
	in_host h1 "$nicstate" dm0b split off
}
t "manual set-up, done by hand" 60 split_on_by_hand

no_split()
{
	make_pair split=0
	obstacle "dm0[ab] has no header split" "needs a NIC and a driver"
}
t "a NIC without header split" 30 no_split

one_queue()
{
	make_pair queues=1
	obstacle "dm0[ab] has 1 receive queue:" "ethtool -l dm0[ab]"
}
t "a NIC with one queue" 30 one_queue

no_udmabuf()
{
	make_pair
	mv /dev/udmabuf /dev/udmabuf.away
	trap 'mv /dev/udmabuf.away /dev/udmabuf' EXIT
	obstacle "no /dev/udmabuf" "mknod .*/dev/udmabuf c "
}
t "no /dev/udmabuf" 30 no_udmabuf

no_cap_net_admin()
{
	make_pair
	devmem_bench_real=$devmem_bench
	# shellcheck disable=SC2317
	without_cap()
	{
		setpriv --bounding-set -net_admin --inh-caps -net_admin \
			"$devmem_bench_real" "$@"
	}
	devmem_bench=without_cap
	obstacle "CAP_NET_ADMIN" "run as root"
}
t "no CAP_NET_ADMIN" 30 no_cap_net_admin

small_pool()
{
	make_pair
	export NCCL_DEVMEM_POOL_BYTES=1M
	obstacle "pool of 256 pages is too small" "NCCL_DEVMEM_POOL_BYTES to [0-9]+ or more"
}
t "a pool smaller than the rings" 30 small_pool

pool_beyond_memory()
{
	make_pair
	# More than there is, whatever the size of this machine.
	mkdir -p /run/lab/full
	mount -t tmpfs -o size=100% full /run/lab/full
	trap 'umount /run/lab/full' EXIT
	fallocate -l "$(awk '/^MemAvailable:/ { print $2 - 2097152 "K" }' /proc/meminfo)" \
		/run/lab/full/file
	export NCCL_DEVMEM_POOL_BYTES=4G
	obstacle "pool of 4294967296 bytes does not fit" "NCCL_DEVMEM_POOL_BYTES lower"
}
t "a pool larger than memory" 60 pool_beyond_memory

pool_beyond_udmabuf()
{
	local mb

	make_pair
	mb=$(cat /sys/module/udmabuf/parameters/size_limit_mb)
	[ "$mb" -lt 2048 ] || skip "udmabuf's limit is $mb MiB"
	export NCCL_DEVMEM_POOL_BYTES=$((mb + 1))M
	obstacle "udmabuf's limit of $mb MiB" "size_limit_mb"
}
t "a pool larger than udmabuf's limit" 30 pool_beyond_udmabuf

bad_value()	# NAME=VALUE REGEX...
{
	local name=${1%%=*}

	make_pair
	export "${1?}"
	one_size
	expect_refused "$name=${1#*=} is not" "${@:2}"
}
t "a pool of half a page" 30 bad_value NCCL_DEVMEM_POOL_BYTES=6291457 'a.multiple.of.the.page.size'
t "a pool size that is no size" 30 bad_value NCCL_DEVMEM_POOL_BYTES=64X 'from.4096.to'
t "a pool size out of range" 30 bad_value NCCL_DEVMEM_POOL_BYTES=1T 'from.4096.to'
t "no queue" 30 bad_value NCCL_DEVMEM_QUEUES=0 'from.1.to.16'
t "queues that are no number" 30 bad_value NCCL_DEVMEM_QUEUES=two 'from.1.to.16'
t "a negative number of flows" 30 bad_value NCCL_DEVMEM_FLOWS=-1 'from.1.to.16'
t "too many flows" 30 bad_value NCCL_DEVMEM_FLOWS=17 'from.1.to.16'
t "inline bytes out of range" 30 bad_value NCCL_DEVMEM_INLINE_BYTES=1G 'from.0.to'
t "chunk bytes out of range" 30 bad_value NCCL_DEVMEM_CHUNK_BYTES=1 'from.4096.to'
t "an unknown region" 30 bad_value NCCL_DEVMEM_REGION=vram 'auto.none.udmabuf'
t "an unknown requirement" 30 bad_value NCCL_DEVMEM_REQUIRE=rx,all 'rx.tx'
t "an unknown set-up" 30 bad_value NCCL_DEVMEM_NIC_SETUP=none 'auto.manual'
t "a broker that is no path" 30 bad_value NCCL_DEVMEM_BROKER=somewhere 'auto,.off'
t "an unknown gather" 30 bad_value NCCL_DEVMEM_GATHER=gpu 'auto.none'

no_interface()
{
	make_pair
	export NCCL_DEVMEM_IFNAME=eth
	one_size
	expect_refused 'NCCL_DEVMEM_IFNAME="eth"' "ip -brief address"
}
t "no such interface" 30 no_interface

no_plugin()
{
	make_pair
	plugin=/nowhere/libnccl-net-devmem.so
	one_size
	expect_status 1
	grep -q "^devmem-bench: .*cannot load the plugin: $plugin: .*--plugin" "$log" ||
		fail "the message does not name the file and the remedy"
}
t "no such plugin file" 30 no_plugin
