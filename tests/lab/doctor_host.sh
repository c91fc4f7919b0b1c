# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# doctor_host.sh - what 62-doctor.sh does within a host, in one shell, as a person
# would do it there. DEVMEMCTL is the program.
set -u
out=/run/lab/doctor.json
export PATH=${DEVMEMCTL%/*}:$PATH
wrap=()	# what the doctor is run by
what=()	# its arguments

fail()
{
	echo "FAILED: $*"
	sed -n '/"level":.*"\(warn\|fail\)"/,/"fix":/p' "$out"
	exit 1
}

doctor()	# ARG...: its output in $out, its status in $status
{
	status=0
	"${wrap[@]}" "$DEVMEMCTL" doctor --json "$@" "${what[@]}" >"$out" ||
		status=$?
}

# The value of KEY of the finding that is called REASON, without JSON's backslashes.
value_of()	# REASON KEY
{
	sed -n '/"reason":.*"'"$1"'"/,/"safe":/s/^[[:space:]]*"'"$2"'":[[:space:]]*"\(.*\)",*$/\1/p' "$out" |
		head -n 1 | sed 's/\\\(.\)/\1/g'
}

found() { grep -q '"reason":.*"'"$1"'"' "$out"; }

is()	# STATUS REASON
{
	[ "$status" = "$1" ] || fail "status $status, not $1"
	found "$2" || fail "$2 was not found"
}

# A link that has just come up has a carrier a moment later.
healthy()	# WHEN ARG...
{
	local i

	for ((i = 0; i < 40; i++)); do
		doctor "${@:2}"
		[ "$status" != 0 ] || return 0
		sleep 0.05
	done
	fail "not healthy $1, status $status"
}

# It is found, under that name alone, and its command mends it.
mends()	# REASON PLANT
{
	local fix

	healthy "at first"
	eval "$2"
	doctor
	[ "$status" = 1 ] || [ "$status" = 3 ] || fail "status $status"
	found "$1" || fail "$1 was not found"
	[ "$(grep -cE '"level":.*"(warn|fail)",' "$out")" = 1 ] ||
		fail "something else was found as well"
	fix=$(value_of "$1" fix)
	[ -n "$fix" ] || fail "$1 has no command"
	echo "$1: $fix"
	eval "$fix" || fail "the command failed: $fix"
	healthy "after: $fix"
	healthy "when tried, after: $fix" --try
}

# It is found under that name; there is no command that mends it.
names()	# REASON STATUS TEXT PLANT
{
	healthy "at first"
	eval "$4"
	doctor
	[ "$status" = "$2" ] || fail "status $status, not $2"
	found "$1" || fail "$1 was not found"
	value_of "$1" text | grep -qE -- "$3" || fail "it does not say: $3"
	[ -z "$(value_of "$1" fix)" ] || fail "it has a command"
}

# With a job in h0 that has them: to be healthy is to find other queues.
queues_taken()
{
	local fix

	doctor
	is 3 queues-taken
	fix=$(value_of queues-taken fix)
	echo "queues-taken: $fix"
	eval "$fix" || fail "the command failed: $fix"
	# The job's three are left to it.
	NCCL_DEVMEM_QUEUES=2 healthy "after: $fix"
}

# With a job in h0 that has queues below those that are free.
rss_beside_a_job()
{
	local fix

	export NCCL_DEVMEM_NIC_SETUP=manual
	doctor
	found rss-uses-queue || fail "rss-uses-queue was not found"
	fix=$(value_of rss-uses-queue fix)
	echo "rss-uses-queue: $fix"
	eval "$fix" || fail "the command failed: $fix"
	healthy "after: $fix"
	"$DEVMEMCTL" status dm0a | grep "RSS kept off bound queues" ||
		fail "RSS sends to the job's queues, after: $fix"
}

xdp()
{
	local fix reason

	"$XDP_ON" dm0a || fail "no XDP program"
	for reason in xdp-attached bad-packing; do
		doctor
		found "$reason" || fail "$reason was not found"
		fix=$(value_of "$reason" fix)
		echo "$reason: $fix"
		eval "$fix" || fail "the command failed: $fix"
	done
	healthy "without XDP"
	healthy "when tried, without XDP" --try
}

# Of the two, each is found, and one command mends both.
two_in_one_network()
{
	local fix

	doctor
	is 1 arp-flux
	fix=$(value_of arp-flux fix)
	eval "$fix" || fail "the command failed: $fix"
	healthy "after: $fix"
}

# By the stand-in; in this build it may be that no GPU would do.
gpu()	# REASON TEXT PLANT
{
	export LD_LIBRARY_PATH=$FAKECUDA:$LD_LIBRARY_PATH NCCL_DEVMEM_REGION=cuda
	doctor
	[ "$status" = 0 ] || [ "$status" = 1 ] || found no-gpu-code ||
		fail "the stand-in is not a GPU that will do"
	eval "$3"
	doctor
	[ "$status" = 3 ] || fail "status $status, not 3"
	found "$1" || fail "$1 was not found"
	value_of "$1" text | grep -qE -- "$2" || fail "it does not say: $2"
}

# What is safe is done, in as many rounds as it takes; what is not is left.
fixes()
{
	export NCCL_DEVMEM_NIC_SETUP=manual
	ethtool -K dm0a ntuple off
	sysctl -qw net.core.optmem_max=20480
	ip link set dm0a down
	status=0
	"$DEVMEMCTL" doctor --fix --yes dm0a >"$out" || status=$?
	cat "$out"
	[ "$status" = 0 ] || [ "$status" = 3 ] || fail "status $status"
	healthy "after --fix" dm0a
	"$XDP_ON" dm0a
	status=0
	"$DEVMEMCTL" doctor --fix --yes dm0a >"$out" || status=$?
	[ "$status" = 3 ] || fail "status $status with an XDP program"
	grep -q 'fix: ip link set dm0a xdpgeneric off .*by hand' "$out" ||
		fail "the command is not named"
	ip link show dm0a | grep -q xdp || fail "the program was taken off"
	ip link set dm0a xdpgeneric off
}

left()
{
	local fix

	doctor
	is 1 settings-left
	value_of settings-left text | grep -q 'changed (header split)' ||
		fail "it does not say what has changed"
	fix=$(value_of settings-left fix)
	[ -n "$fix" ] || return 0
	echo "settings-left: $fix"
	eval "$fix" || fail "the command failed: $fix"
	healthy "after: $fix"
}

"$@"
