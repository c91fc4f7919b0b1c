# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A packet socket that looks at unreadable packets: the kernel survives, and the
# data is right. (Linux 6.12 without our series panics.)

watched()	# SNAPLEN [host option...]
{
	local pids=() dump=$run_dir/dump host nic

	make_pair "${@:2}"
	while read -r host nic _ <&3; do
		ip netns exec "$host" tcpdump -i "$nic" -s "$1" -w "$dump.$nic" \
			2>/dev/null &
		pids+=($!)
	done 3<"$nics"
	sleep 0.5
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 3 -w 1
	expect_right
	expect_devmem
	kill "${pids[@]}"
	wait "${pids[@]}" 2>/dev/null
	for nic in dm0a dm0b; do
		[ -s "$dump.$nic" ] || fail "tcpdump saw nothing on $nic"
	done
}
t "headers only" 60 watched 96
t "whole packets" 60 watched 262144
t "whole packets, one frame an MSS" 60 watched 262144 gro=off
