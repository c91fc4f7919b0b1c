# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of tests/lab/lib.sh
# The device memory test of the same kernel's source, unchanged, on the simulated
# NIC. It calls `sudo` and an `ethtool` that knows tcp-data-split.

tools()
{
	local bin=$run_dir/bin

	ncdevmem=$LAB_BUILD/tests/kernel/ncdevmem
	[ -x "$ncdevmem" ] || skip "no $ncdevmem; make it with tests/kernel/build-ncdevmem"
	mkdir -p "$bin"
	printf '#!/bin/sh\nexec "$@"\n' >"$bin/sudo"
	cat >"$bin/ethtool" <<-END
	#!/bin/bash
	[ "\$1 \$3" = "-G tcp-data-split" ] && exec "$nicstate" "\$2" split "\$4"
	[ "\$1 \$3" != "-L rx" ] || exec $(command -v ethtool) -L "\$2" combined "\$6"
	exec $(command -v ethtool) "\$@"
	END
	chmod +x "$bin"/*
	PATH=$bin:$PATH
}

# What it sends is 1, 2, 3, 4, 5, 6, 0, over and over.
sequence() { yes "$(printf '\001\002\003\004\005\006')" | tr '\n' '\0' | head -c "$1"; }

served()	# FAMILY-PREFIX BYTES [PAIR-OPTIONS]
{
	local server status log=$run_dir/ncdevmem.log

	tools
	IFS=, read -ra options <<<"${3-}"
	make_pair "${options[@]}"
	forget_nics
	ip netns exec h1 "$ncdevmem" -l -s "$1" -p 5201 -v 7 -f dm0b -t 7 -q 1 \
		>"$log" 2>&1 &
	server=$!
	wait_for 15 grep -q "Waiting or connection" "$log" ||
		{ cat "$log"; fail "the server does not listen"; }
	sequence "$2" >"$run_dir/sequence"
	in_host h0 bash -c "cat '$run_dir/sequence' >/dev/tcp/$1/5201"
	status=0
	wait $server || status=$?
	grep -v "^received frag\|^recvmsg ret\|^total_rec\|^Validated" "$log"
	[ "$status" = 0 ] || fail "ncdevmem ended with $status"
	grep -q "total_received=$2\$" "$log" || fail "not $2 bytes were received"
	! grep -q "SCM_DEVMEM_LINEAR" "$log" || fail "payload in the linear part"
}
t "IPv4" 120 served 10.0.0.2 7000000
t "IPv6" 120 served fd00::2 7000000
t "one packet an MSS" 120 served 10.0.0.2 700000 gro=off
