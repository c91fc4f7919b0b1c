# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # variables of lib.sh; those of the host
# `devmemctl doctor` finds nothing on a healthy host, and changes nothing. Each fault
# that is planted there is found by its name, and by that alone; the command that is
# to mend it, run as it is printed, does: the host is healthy again, and a pool can be
# set up.

export DEVMEMCTL=$LAB_BUILD/tools/devmemctl
export NICSTATE=$LAB_BUILD/tests/lab/nicstate XDP_ON=$LAB_BUILD/tests/lab/xdp-on
export OTHER_PLUGIN=$LAB_BUILD/tests/lab/libnccl-net-other.so
export FAKECUDA=$LAB_BUILD/tests/fakecuda

# In h0, in one shell, with the environment of a job that finds the plugin.
in_h0()	# COMMAND ARG...
{
	export LD_LIBRARY_PATH=$LAB_BUILD/plugin NCCL_NET_PLUGIN=devmem
	in_host h0 bash "$lab_dir/doctor_host.sh" "$@"
}

# What has been mended stays so.
mends()	# REASON PLANT
{
	make_pair
	in_h0 mends "$@" || fail "$1"
	resnapshot
}

names()	# REASON STATUS TEXT PLANT
{
	make_pair
	in_h0 names "$@" || fail "$1"
	resnapshot
}

# ---- a healthy host --------------------------------------------------------

no_false_alarm()	# [host option...]
{
	two_cables "$@"
	in_h0 healthy "as it is" || fail "a false alarm"
	! grep -E '"level":.*"(warn|fail)"' /run/lab/doctor.json ||
		fail "a false alarm"
	[ "$(grep -c '"devmem":.*true' /run/lab/doctor.json)" = 4 ] ||
		fail "not both ways of both NICs are said to be live"
	nics_quiet || fail "it has changed something"
	[ -z "$(ls /run/nccl-devmem 2>/dev/null)" ] || fail "it has left a note"
	in_h0 healthy "when tried" --try || fail "the plugin cannot"
	[ "$(grep -c 'a pool was bound to queues 7,6' /run/lab/doctor.json)" = 2 ] ||
		fail "no pool was set up"
}
t "a healthy host" 30 no_false_alarm
t "a healthy host, MTU 9000" 30 no_false_alarm mtu=9000
t "a healthy host, IPv6 only" 30 no_false_alarm addr=6

# Somebody's job is running: no fault, and it does not notice.
beside_a_job()
{
	make_pair
	bench allreduce --ranks 2 -b 1M -e 1M -n 5 -w 1 --pause-at-iter 2 \
		--pause-cmd "ip netns exec h0 env NCCL_NET_PLUGIN=devmem LD_LIBRARY_PATH=$LAB_BUILD/plugin $DEVMEMCTL doctor --json >$run_dir/doctor.json"
	expect_right
	expect_devmem
	! grep -E '"level":.*"(warn|fail)"' "$run_dir/doctor.json" ||
		fail "a false alarm"
	grep -q '"devmem":' "$run_dir/doctor.json" || fail "no verdict"
}
t "beside a job" 60 beside_a_job

# For people: one line for each way, and what is to be done.
text()
{
	make_pair
	export LD_LIBRARY_PATH=$LAB_BUILD/plugin NCCL_NET_PLUGIN=devmem
	in_host h0 "$DEVMEMCTL" doctor >"$log" || fail "status $?"
	[ "$(cat "$log")" = "dm0a: receive by devmem: yes
dm0a: send by devmem: yes" ] || { cat "$log"; fail "more than the verdict"; }
	status=0
	NCCL_DEVMEM_NIC_SETUP=manual in_host h0 "$DEVMEMCTL" doctor dm0a >"$log" ||
		status=$?
	cat "$log"
	[ "$status" = 3 ] || fail "status $status, not 3"
	grep -q '^dm0a: receive by devmem: no, because header split is off' "$log" ||
		fail "the verdict does not say why"
	grep -q '^dm0a: send by devmem: yes' "$log" || fail "sending is not live"
	grep -qE '^ +fix: .* dm0a .*split' "$log" || fail "no command"
	# The plugin's own line has the same words.
	words=$(sed -n 's/^dm0a: receive by devmem: no, because //p' "$log")
	NCCL_DEVMEM_NIC_SETUP=manual bench allreduce --ranks 2 -b 64K -e 64K -n 1 -w 0
	expect_host "${words//dm0a/dm0[ab]}; turn it on: ethtool -G"
}
t "what it prints" 60 text

usage()	# ARG...
{
	make_pair
	status=0
	in_host h0 "$DEVMEMCTL" doctor "$@" >"$log" 2>&1 || status=$?
	cat "$log"
	[ "$status" = 2 ] || fail "status $status, not 2"
}
t "no such interface" 30 usage eth9
t "two interfaces" 30 usage dm0a lo
t "no terminal to ask on" 30 usage --fix
t "json and fix" 30 usage --json --fix

# ---- the NIC ---------------------------------------------------------------

manual='export NCCL_DEVMEM_NIC_SETUP=manual'

t "header split off" 30 mends header-split-off \
	"$manual; ethtool -X dm0a equal 6"
t "RSS on all queues" 30 mends rss-uses-queue \
	"$manual; \$NICSTATE dm0a split on"
t "ntuple filters off" 30 mends ntuple-off \
	"$manual; \$NICSTATE dm0a split on; ethtool -X dm0a equal 6
	 ethtool -K dm0a ntuple off"
t "one channel" 30 mends few-queues \
	'ethtool -X dm0a equal 1; ethtool -L dm0a combined 1'
t "two channels" 30 mends fewer-queues \
	'ethtool -X dm0a equal 1; ethtool -L dm0a combined 2'
t "NIC down" 30 mends nic-down \
	'what=(dm0a); ip link set dm0a down'
t "NIC down, named by the environment" 30 mends nic-down \
	'export NCCL_DEVMEM_IFNAME==dm0a; ip link set dm0a down'
t "no scatter-gather" 30 mends sg-off 'ethtool -K dm0a sg off'
t "no aggregation" 30 mends bad-packing 'ethtool -K dm0a rx-gro-hw off'
t "no aggregation, MTU 9000" 30 mends bad-packing \
	'ip link set dm0a mtu 9000; ethtool -K dm0a rx-gro-hw off'
t "rings too large" 30 mends pool-too-small 'ethtool -G dm0a rx 4096'


# What the kernel turned off for it stays off: found next.
xdp()
{
	make_pair
	in_h0 xdp || fail "xdp-attached"
	resnapshot
}
t "an XDP program" 30 xdp

# All queues but the first are a job's; the NIC has more.
queues_taken()
{
	make_pair
	in_host h0 ethtool -X dm0a equal 1
	in_host h0 ethtool -L dm0a combined 4
	# The job in h0 takes all three; it goes on until the command has ended.
	NCCL_DEVMEM_QUEUES=3 NCCL_NET_PLUGIN=devmem LD_LIBRARY_PATH=$LAB_BUILD/plugin \
		bench allreduce --ranks 2 -b 1M -e 1M -n 5 -w 1 --pause-at-iter 2 \
		--pause-cmd "ip netns exec h0 bash $lab_dir/doctor_host.sh queues_taken"
	expect_right
	grep -q '^queues-taken: ethtool -L dm0a combined 8' "$log" || fail "queues-taken"
	resnapshot
}
t "queues that are all bound" 60 queues_taken

# The command that keeps RSS off some queues does not put it on another job's.
rss_beside_a_job()
{
	local pid=() i

	make_pair
	for i in 0 1; do
		ip netns exec h0 "$LAB_BUILD/tests/lab/hold" >"$run_dir/hold$i" 2>&1 &
		pid[i]=$!
		wait_for 10 grep -q '^ready' "$run_dir/hold$i" || fail "no job $i"
	done
	kill -TERM "${pid[0]}"
	wait "${pid[0]}" || fail "job 0 did not end well"
	in_h0 rss_beside_a_job || fail "rss-uses-queue"
	kill -TERM "${pid[1]}"
	wait "${pid[1]}" || fail "job 1 did not end well"
	resnapshot
}
t "RSS, beside a job" 30 rss_beside_a_job

two_in_one_network()
{
	local mtu addr gro pair

	make_pair
	host_options
	echo 1 >/sys/bus/dmsim/new_pair
	up_nic dm1a h0
	up_nic dm1b h1
	ip -n h0 address add 10.0.0.9/24 dev dm1a
	snapshot h0 dm1a
	snapshot h1 dm1b
	in_h0 two_in_one_network || fail "arp-flux"
}
t "two NICs in one network" 30 two_in_one_network

t "no address" 30 names no-address 3 "dm0a has no IP address" \
	'what=(dm0a); ip address flush dev dm0a'

other_nic()	# REASON TEXT [host option...]
{
	make_pair "${@:3}"
	in_h0 doctor || fail "no answer"
	grep -qE "\"reason\":.*\"$1\"" /run/lab/doctor.json || {
		cat /run/lab/doctor.json
		fail "$1 was not found"
	}
	grep -qE "\"text\":.*$2" /run/lab/doctor.json || fail "it does not say: $2"
}
t "a NIC without header split" 30 other_nic no-header-split \
	"dm0a has no header split" split=0
t "a NIC with one queue" 30 other_nic few-queues "dm0a has 1 receive queue:" queues=1

# ---- the host --------------------------------------------------------------

t "no CAP_NET_ADMIN" 30 names no-cap-net-admin 3 "needs CAP_NET_ADMIN" \
	'wrap=(setpriv --bounding-set -net_admin --inh-caps -net_admin)'
t "few open files" 30 mends nofile-small 'ulimit -S -n 256'
t "little locked memory" 30 mends memlock-small \
	'wrap=(setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock)
	 ulimit -S -l 64'
t "optmem_max" 30 mends optmem-small 'sysctl -qw net.core.optmem_max=20480'
t "tcp_rmem" 30 mends tcp-rmem-small \
	'sysctl -qw net.ipv4.tcp_rmem="4096 131072 262144"'
t "tcp_wmem" 30 mends tcp-wmem-small \
	'sysctl -qw net.ipv4.tcp_wmem="4096 16384 262144"'

# ---- memory ----------------------------------------------------------------

t "a pool smaller than the rings" 30 mends pool-too-small \
	'export NCCL_DEVMEM_POOL_BYTES=1M'

no_node()
{
	cp -a /dev/udmabuf "$run_dir/udmabuf"
	trap 'rm -f /dev/udmabuf; cp -a $run_dir/udmabuf /dev/udmabuf' EXIT
	mends no-udmabuf-node 'rm /dev/udmabuf'
}
t "no /dev/udmabuf" 30 no_node

udmabuf_limit()
{
	limit=$(cat /sys/module/udmabuf/parameters/size_limit_mb)
	trap 'echo $limit >/sys/module/udmabuf/parameters/size_limit_mb' EXIT
	mends udmabuf-limit \
		'echo 32 >/sys/module/udmabuf/parameters/size_limit_mb'
}
t "udmabuf's limit" 30 udmabuf_limit

beyond_memory()
{
	mkdir -p "$run_dir/full"
	mount -t tmpfs -o size=100% full "$run_dir/full"
	trap 'umount "$run_dir/full"' EXIT
	fallocate -l "$(awk '/^MemAvailable:/ { print $2 - 1048576 "K" }' /proc/meminfo)" \
		"$run_dir/full/file"
	mends pool-over-memory 'export NCCL_DEVMEM_POOL_BYTES=4G'
}
t "a pool larger than memory" 60 beyond_memory

# ---- the environment -------------------------------------------------------

t "a value that makes no sense" 30 mends bad-parameter \
	'export NCCL_DEVMEM_QUEUES=0'
t "interfaces that there are not" 30 mends no-interface \
	'export NCCL_DEVMEM_IFNAME=eth9'
t "interfaces for NCCL that there are not" 30 mends nccl-ifname \
	'export NCCL_DEVMEM_IFNAME=dm0a NCCL_SOCKET_IFNAME=eth9'
t "emulation" 30 mends emulated 'export NCCL_DEVMEM_RX=emulate'
t "no pool" 30 names no-cuda-driver 3 "no CUDA driver" \
	'unset NCCL_DEVMEM_REGION'
t "plugin not in the loader's path" 30 mends plugin-not-found \
	'unset LD_LIBRARY_PATH'
t "plugin misspelt" 30 mends plugin-not-found 'export NCCL_NET_PLUGIN=devmen'
t "no plugin" 30 mends plugin-disabled 'export NCCL_NET_PLUGIN=none'
t "NCCL's sockets" 30 mends nccl-net-other 'export NCCL_NET=Socket'

t "another plugin" 30 mends plugin-other \
	'export NCCL_NET_PLUGIN=$OTHER_PLUGIN'
t "plugin under one name" 30 mends plugin-one-name \
	'mkdir -p /run/lab/one; cp "$LD_LIBRARY_PATH/libnccl-net-devmem.so" /run/lab/one
	 export LD_LIBRARY_PATH=/run/lab/one'

# ---- the GPU, by a stand-in for its driver ----------------------------------

gpu()	# REASON TEXT PLANT
{
	[ -e "$FAKECUDA/libcuda.so.1" ] ||
		skip "there is no stand-in for the CUDA driver in this build"
	make_pair
	in_h0 gpu "$@" || fail "$1"
}
t "a driver that sees no GPU" 30 gpu cuda-does-not-start "CUDA_ERROR_NO_DEVICE" \
	'export FAKECUDA_DEVICES=0'
t "a driver that does not start" 30 gpu cuda-does-not-start \
	"CUDA_ERROR_NOT_INITIALIZED|does not start" 'export FAKECUDA_INIT=3'
t "a GPU whose memory cannot be exported" 30 gpu gpu-no-dmabuf \
	"cannot export its memory" 'export FAKECUDA_ATTR=124=0'

# ---- mending by itself ------------------------------------------------------

fix()
{
	make_pair
	in_h0 fixes || fail "--fix"
	resnapshot
}
t "--fix" 60 fix

# A note that a process has left when it died, and what it had changed: that of a job
# in its time, put back when it is over.
left()
{
	local note

	make_pair
	rm -rf "$run_dir/notes"
	mkdir -p "$run_dir/notes"
	bench allreduce --ranks 2 -b 1M -e 1M -n 5 -w 1 --pause-at-iter 2 \
		--pause-cmd "cp -p /run/nccl-devmem/nic-* $run_dir/notes"
	expect_right
	note=nic-$(in_host h0 stat -Lc %i /proc/self/ns/net)-$(in_host h0 cat /sys/class/net/dm0a/ifindex)
	mkdir -m 700 /run/nccl-devmem 2>/dev/null
	cp -p "$run_dir/notes/$note" /run/nccl-devmem || fail "there was no note"
	in_host h0 "$nicstate" dm0a split on
	in_h0 left || fail "settings-left"
	# The next job finds it, if no command has mended it.
	bench allreduce --ranks 2 -b 64K -e 64K -n 1 -w 0
	expect_right
	in_h0 healthy "at last" || fail "the note is still there"
	check_nics || fail "settings are not as before"
}
t "settings that a dead process has left" 60 left
