# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# lib.sh - what the scripts of the lab share: hosts made of namespaces and
# simulated NICs, devmem-bench between them, and the state of NICs before and
# after. To be sourced in the booted kernel, where nothing needs undoing.

lab_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
LAB_BUILD=${LAB_BUILD:-$lab_dir/../../build}
complaints=$lab_dir/../../kernel-patches/complaints	# the kernel's, for grep -f
# What is installed can be tried in place of what is built.
plugin=${LAB_PLUGIN:-$LAB_BUILD/plugin/libnccl-net-devmem.so}
devmem_bench=${LAB_BENCH:-$LAB_BUILD/bench/devmem-bench}
nicstate=$LAB_BUILD/tests/lab/nicstate
run_dir=/run/lab
nics=$run_dir/nics	# "HOST NIC STATE" as it was when the host was made
log=$run_dir/log	# what the last devmem-bench printed
export NCCL_DEVMEM_REGION=${NCCL_DEVMEM_REGION:-udmabuf}

[ -d /sys/bus/dmsim ] || {
	echo "lab: this kernel has no simulated NICs; use: lab test" >&2
	exit 1
}
mkdir -p "$run_dir"

# Every process of ours has a guard. It must be root's: here it is, whoever built it.
export NCCL_DEVMEM_GUARD=$run_dir/devmem-guard
[ -e "$NCCL_DEVMEM_GUARD" ] ||
	install -m 755 "$LAB_BUILD/tools/devmem-guard" "$NCCL_DEVMEM_GUARD"

fail() { echo "FAILED: $*"; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }

# ---- hosts -----------------------------------------------------------------

in_host() { ip netns exec "$@"; }	# HOST COMMAND...
nic_state() { in_host "$1" "$nicstate" "$2"; }	# HOST NIC
snapshot() { echo "$1 $2 $(nic_state "$1" "$2")" >>"$nics"; }

# The state of a pair, which the end of the test is compared with, is taken again.
resnapshot()
{
	: >"$nics"
	snapshot h0 dm0a
	snapshot h1 dm0b
}

# Options of make_pair and make_switch, and their defaults.
host_options()
{
	local o

	mtu=1500 addr=both gro=on pair=
	for o in "$@"; do
		case $o in
		queues=*|split=*|iommu=1) pair+=" $o" ;;
		iommu=0) ;;
		mtu=*) mtu=${o#*=} ;;
		addr=*) addr=${o#*=} ;;		# 4, 6 or both
		gro=*) gro=${o#*=} ;;		# rx-gro-hw on or off
		*) fail "no such option of a host: $o" ;;
		esac
	done
}

up_nic()	# NIC NETNS
{
	ip link set "$1" netns "$2" mtu "$mtu"
	ip -n "$2" link set "$1" up
}

# Host hN has the NIC, and by it 10.0.NET.N+1 and fd00:0:0:NET::N+1.
add_nic()	# N NIC NET
{
	up_nic "$2" "h$1"
	[ "$gro" = on ] || in_host "h$1" ethtool -K "$2" rx-gro-hw off
	[ "$addr" = 6 ] ||
		ip -n "h$1" address add "10.0.$3.$(($1 + 1))/24" dev "$2"
	[ "$addr" = 4 ] ||
		ip -n "h$1" address add "fd00:0:0:$3::$(($1 + 1))/64" dev "$2" nodad
}

# Host hN is a namespace with the NIC, in network 0.
make_host()	# N NIC
{
	ip netns add "h$1"
	ip -n "h$1" link set lo up
	add_nic "$1" "$2" 0
	hosts+=${hosts:+,}h$1
}

carriers()	# wait until all NICs of the hosts have one
{
	local i host nic

	while read -r host nic _ <&3; do
		for ((i = 0; i < 100; i++)); do
			[[ $(ip -n "$host" link show "$nic") != *LOWER_UP* ]] ||
				continue 2
			sleep 0.02
		done
		fail "$nic in $host has no carrier"
	done 3<"$nics"
}

# Two hosts and a cable: dm0a in h0, dm0b in h1. hosts=h0,h1
make_pair()
{
	local mtu addr gro pair

	host_options "$@"
	hosts=
	: >"$nics"
	echo "0$pair" >/sys/bus/dmsim/new_pair
	make_host 0 dm0a
	make_host 1 dm0b
	snapshot h0 dm0a
	snapshot h1 dm0b
	carriers
}

# A second cable between the two, dm1a and dm1b, as a network of its own.
add_cable()
{
	local mtu addr gro pair

	host_options "$@"
	echo "1$pair" >/sys/bus/dmsim/new_pair
	add_nic 0 dm1a 1
	add_nic 1 dm1b 1
	snapshot h0 dm1a
	snapshot h1 dm1b
	carriers
}

two_cables()	# [option...]
{
	make_pair "$@"
	add_cable "$@"
}

# N hosts and a switch: dmNa in hN, dmNb a port of a bridge in namespace sw.
make_switch()
{
	local count=$1 i mtu addr gro pair

	host_options "${@:2}"
	hosts=
	: >"$nics"
	ip netns add sw
	ip -n sw link add br0 type bridge
	ip -n sw link set br0 up
	for ((i = 0; i < count; i++)); do
		echo "$i$pair" >/sys/bus/dmsim/new_pair
		make_host "$i" "dm${i}a"
		up_nic "dm${i}b" sw
		ip -n sw link set "dm${i}b" master br0
		snapshot "h$i" "dm${i}a"
	done
	carriers
}

make_hosts()	# N [option...]
{
	if [ "$1" = 2 ]; then
		make_pair "${@:2}"
	else
		make_switch "$@"
	fi
}

# Every NIC as it was, no rule and no bound queue left? Says what is not.
check_nics()
{
	local host nic was is bad=0

	[ -e "$nics" ] || return 0
	while read -r host nic was <&3; do
		is=$(nic_state "$host" "$nic" 2>&1)
		[ "$is" != "$was" ] || continue
		echo "$nic in $host is not as before:"
		echo "  before: $was"
		echo "  after:  $is"
		bad=1
	done 3<"$nics"
	return $bad
}

nics_quiet() { check_nics >/dev/null; }

# What else a suite wants to be gone once its hosts are. Says what is not.
check_left() { :; }

remove_hosts()
{
	local ns end

	for ns in $(ip netns list | cut -d' ' -f1); do
		for end in $(ip netns pids "$ns"); do
			kill -KILL "$end" 2>/dev/null
		done
		# Back to where its name is free to be used again.
		for end in $(ip -n "$ns" -o link show type bridge | cut -d: -f2); do
			ip -n "$ns" link delete "$end"
		done
	done
	for end in /sys/bus/dmsim/devices/*; do
		[ -e "$end" ] || continue
		end=${end##*/}
		end=${end//[!0-9]/}
		echo "$end" >/sys/bus/dmsim/del_pair 2>/dev/null
	done
	for ns in $(ip netns list | cut -d' ' -f1); do
		ip netns delete "$ns"
	done
	rm -f "$nics"
}

# Sum of the NIC's per-queue counters with that ending, e.g. no_buffer.
nic_counter()	# HOST NIC ENDING
{
	in_host "$1" ethtool -S "$2" |
		awk -v end="_$3:" '$1 ~ "^rx[0-9]+" end "$" { n += $2 } END { print n + 0 }'
}

# Faults of a NIC, see "dmsim" in kernel-patches/README.md.
fault()	# NIC WHAT VALUE
{
	local file=/sys/kernel/debug/dmsim/$1/$2

	[ -e "$file" ] || skip "the simulated NIC has no $2"
	echo "$3" >"$file" || fail "$2 of $1 cannot be set to $3"
}

# A fault that did not happen has not been tested.
happened()	# HOST NIC COUNTER
{
	in_host "$1" ethtool -S "$2" |
		awk -v what="$3" 'index($1, what) { n += $2 } END { exit !n }' ||
		fail "$2 counts no $3"
}

# ---- devmem-bench ----------------------------------------------------------

# Runs it between the hosts; output in $log, its exit status in $status.
bench()	# MODE ARG...
{
	status=0
	"$devmem_bench" "$1" --plugin "$plugin" --netns "$hosts" \
		--timeout 60 "${@:2}" >"$log" 2>&1 || status=$?
	cat "$log"
}

# The value of KEY in each rank's path line, one a line.
path_values()	# KEY
{
	sed -n "s/^# rank [0-9]* rx=.* $1=\([^ ]*\).*/\1/p" "$log"
}

path_sum()	# KEY...
{
	local key

	for key in "$@"; do
		path_values "$key"
	done | awk '{ n += $1 } END { printf "%d\n", n }'
}

path_tx() { sed -n 's/^# rank [0-9]* rx=[^ ]* tx=\([^ ]*\) .*/\1/p' "$log"; }
path_rx() { sed -n 's/^# rank [0-9]* rx=\([^ ]*\) .*/\1/p' "$log"; }

expect_status()	# NUMBER
{
	[ "$status" = "$1" ] || fail "devmem-bench ended with $status, not $1"
}

# All elements compared, none wrong, whatever the path.
expect_data()
{
	grep -q '^# Out of bounds values : 0 OK' "$log" ||
		fail "devmem-bench did not say that no element is wrong"
	! grep -q 'N/A$' "$log" || fail "elements were not compared"
}

expect_right() { expect_status 0; expect_data; }

expect_tokens()	# each rank gave back what it got
{
	local got back

	got=$(path_values tokens | xargs)
	back=$(path_values returned | xargs)
	[ -n "$got" ] || fail "no path lines with tokens"
	[ "$got" = "$back" ] || fail "tokens $got but returned $back"
}

expect_rx()	# WORD: of every rank
{
	local ranks=${hosts//[!,]/}

	[ "$(path_rx | grep -cx "$1")" = $((${#ranks} + 1)) ] ||
		fail "rx is not $1 everywhere: $(path_rx | xargs)"
}

# All payload of flows landed in the pool, but for at most 1 %.
expect_devmem()
{
	local devmem other

	expect_rx devmem
	expect_tokens
	devmem=$(path_sum devmem)
	other=$(path_sum linear host emulated)
	[ "$devmem" -gt 0 ] || fail "no byte landed in the pool"
	[ $((devmem / 100)) -ge "$other" ] ||
		fail "$devmem bytes by devmem, $other otherwise"
}

# All payload of flows was read by NICs, but for at most 1 %.
expect_sent()
{
	local devmem other

	devmem=$(path_sum tx_devmem)
	other=$(path_sum tx_host)
	[ "$devmem" -gt 0 ] || fail "no byte was sent by devmem"
	[ $((devmem / 100)) -ge "$other" ] ||
		fail "$devmem bytes sent by devmem, $other otherwise"
}

# Waits until COMMAND succeeds, at most SECONDS.
wait_for()	# SECONDS COMMAND...
{
	local until=$((SECONDS + $1 + 1))

	while ! "${@:2}"; do
		[ "$SECONDS" -lt "$until" ] || return 1
		sleep 0.05
	done
}

# Failed with exit status 1 and one WARN line a rank, which fits each regex.
expect_refused()	# REGEX...
{
	local lines re

	expect_status 1
	lines=$(grep -E '^\[rank [0-9]+\] .* WARN ' "$log") ||
		fail "no WARN line says why"
	[ -z "$(cut -d' ' -f2 <<<"$lines" | sort | uniq -d)" ] ||
		fail "more than one WARN line of a rank"
	for re in "$@"; do
		! grep -qvE -- "$re" <<<"$lines" ||
			fail "the WARN line does not say \"$re\""
	done
}

# Data right, but received into host memory, for a reason that fits each regex,
# and not a word of warning.
expect_host()	# REGEX...
{
	local re

	expect_right
	expect_rx host
	for re in "$@"; do
		! sed -n 's/^# rank .* reason=//p' "$log" | grep -qvE -- "$re" ||
			fail "the reason does not say \"$re\""
	done
	grep -q '^# rank .* reason=' "$log" || fail "no reason is given"
	! grep -E '^\[rank [0-9]+\] .* WARN ' "$log" || fail "there is a warning"
}
