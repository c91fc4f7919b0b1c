#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# NVIDIA's nccl-tests, which are the user's own, over this plugin and over NCCL's
# Socket in turn: medians, and the ratio of the two in each round.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

usage()
{
	cat <<'END'
usage: nccl_tests.sh [OPTION...] [TEST...] [-- ARG...]

TESTs are programs of nccl-tests, by default all_reduce_perf; ARGs go to them, by
default -b 8 -e 64M -f 4 -c 1 -w 2 -n 10. They are looked for in NCCL_TESTS_DIR, in
its build folder, and in PATH.

  --ranks N      processes by mpirun, default 2; where there is no mpirun, or
                 the programs were built without MPI, N GPUs of one process
  --nets A,B     NCCL_NET of the two, default Socket,devmem
  --plugin FILE  NCCL_NET_PLUGIN, default build/plugin/libnccl-net-devmem.so
  --rounds N     default 3
  --timeout S    of each run, default 300

Ranks of mpirun have a NCCL_HOSTID each, and share GPUs where there are fewer. What
is set of NCCL's environment stays as it is. Exit status: 0 all data right; 1 not so,
or a run failed; 2 usage; 77 no nccl-tests, no GPU, or too few for one process.
END
}

die() { echo "nccl_tests.sh: $*" >&2; exit 2; }
skip() { echo "SKIP: $*"; exit 77; }

ranks=2 nets=Socket,devmem rounds=3 limit=300
plugin=$root/build/plugin/libnccl-net-devmem.so
tests=() args=()
while [ $# -gt 0 ]; do
	case $1 in
	--ranks|--nets|--plugin|--rounds|--timeout)
		[ $# -ge 2 ] || die "$1 wants a value"
		case $1 in
		--ranks) ranks=$2 ;;
		--nets) nets=$2 ;;
		--plugin) plugin=$2 ;;
		--rounds) rounds=$2 ;;
		--timeout) limit=$2 ;;
		esac
		shift 2
		;;
	--help) usage; exit 0 ;;
	--) shift; args=("$@"); break ;;
	-*) die "no such option: $1 (see --help)" ;;
	*) tests+=("$1"); shift ;;
	esac
done
for number in "$ranks" "$rounds" "$limit"; do
	[[ $number =~ ^[1-9][0-9]{0,4}$ ]] || die "$number: not a number"
done
[[ $nets =~ ^[A-Za-z0-9_-]+,[A-Za-z0-9_-]+$ ]] || die "--nets wants two, A,B"
[ ${#tests[@]} -gt 0 ] || tests=(all_reduce_perf)
[ ${#args[@]} -gt 0 ] || args=(-b 8 -e 64M -f 4 -c 1 -w 2 -n 10)

find_test()	# NAME: its path
{
	local dir

	for dir in ${NCCL_TESTS_DIR:+"$NCCL_TESTS_DIR" "$NCCL_TESTS_DIR/build"}; do
		[ ! -x "$dir/$1" ] || { echo "$dir/$1"; return; }
	done
	command -v "$1" || return 1
}

# Without a driver each of them would fail on its own.
has_driver()
{
	local dir

	for dir in ${LD_LIBRARY_PATH//:/ }; do
		[ ! -e "$dir/libcuda.so.1" ] || return 0
	done
	[ -e /dev/nvidiactl ] || ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'
}
LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}
has_driver || skip "there is no CUDA driver here"

export NCCL_P2P_DISABLE=${NCCL_P2P_DISABLE-1} NCCL_SHM_DISABLE=${NCCL_SHM_DISABLE-1}
export NCCL_MNNVL_ENABLE=${NCCL_MNNVL_ENABLE-0} NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE-0}
export NCCL_RAS_ENABLE=${NCCL_RAS_ENABLE-0} NCCL_NET_GDR_LEVEL=${NCCL_NET_GDR_LEVEL-SYS}
export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME-lo}
export NCCL_NET_PLUGIN_REF_COUNT=${NCCL_NET_PLUGIN_REF_COUNT-1}
export NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=${NCCL_DEBUG_SUBSYS-INIT,NET}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/nccl-tests.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export NCCL_DEBUG_FILE=$scratch/log/%h.%p

# The command of one run: processes by mpirun, or GPUs of one process.
command_of()	# PROGRAM
{
	if command -v mpirun >/dev/null && ldd "$1" 2>/dev/null | grep -q libmpi; then
		# shellcheck disable=SC2016 # for the shell of each rank
		command=(mpirun --oversubscribe -np "$ranks" sh -c
			'rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}
			 NCCL_HOSTID=nccl-tests-$rank exec "$@"' sh "$1" "${args[@]}" -g 1)
		[ "$(id -u)" != 0 ] || command=(env OMPI_ALLOW_RUN_AS_ROOT=1
			OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "${command[@]}")
		gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU') || true
		[ "${gpus:-0}" -ge "$ranks" ] || export NCCL_TESTS_DEVICE=${NCCL_TESTS_DEVICE-0}
	else
		gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU') || true
		[ "${gpus:-0}" -ge "$ranks" ] ||
			skip "$ranks ranks of one process want as many GPUs, here are" \
			     "${gpus:-0}; build nccl-tests with MPI=1, or use devmem-nccl"
		command=("$1" "${args[@]}" -g "$ranks")
	fi
}

# One run; its table goes to the file, and what is wrong with it to stdout.
run_one()	# NET FILE
{
	local net=$1 out=$2 status=0 others

	case ${net,,} in
	socket|ib) export NCCL_NET_PLUGIN=none ;;
	*) export NCCL_NET_PLUGIN=$plugin ;;
	esac
	rm -rf "$scratch/log"
	mkdir "$scratch/log"
	NCCL_NET=$net timeout -k 10 "$limit" "${command[@]}" >"$out" 2>&1 || status=$?
	if [ "$status" != 0 ]; then
		tail -n 30 "$out"
		echo "$net: exit status $status"
		return 1
	fi
	grep -rqi "Using network $net\$" "$scratch/log" ||
		{ echo "$net: NCCL's log does not say that it was used"; return 1; }
	others=$(grep -rLi "Using network $net\$" "$scratch/log") || true
	[ -z "$others" ] || { echo "$net: not used by all ranks"; return 1; }
	grep -Eq '^# Out of bounds values *: 0 OK' "$out" ||
		{ echo "$net: data is wrong, or not compared"; return 1; }
}

# size, type, redop, time out of place of each row.
rows() { awk '$1 ~ /^[0-9]+$/ && NF >= 9 { print $1, $3, $4, $6 }' "$1"; }

compare()	# NAME: of all rounds, the second network by the first
{
	awk -v a="${nets%,*}" -v b="${nets#*,}" -v rounds="$rounds" '
	function sorted(list, n,	i, k, t) {
		for (i = 2; i <= n; i++)
			for (k = i; k > 1 && list[k] < list[k - 1]; k--) {
				t = list[k]; list[k] = list[k - 1]; list[k - 1] = t
			}
	}
	function middle(list, n) {
		sorted(list, n)
		return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
	}
	{ key = $3 " " $4 " " $5; if (!(key in seen)) { seen[key] = 1; order[++keys] = key }
	  us[key, $2, $1] = $6 }
	END {
		printf "# %12s %10s %6s  %10s %10s  %s\n", "size", "type", "redop",
			a " us", b " us", "speed: median (min to max)"
		for (i = 1; i <= keys; i++) {
			for (r = 1; r <= rounds; r++) {
				x[r] = us[order[i], a, r]; y[r] = us[order[i], b, r]
				q[r] = y[r] > 0 ? x[r] / y[r] : 0
			}
			split(order[i], w, " ")
			mx = middle(x, rounds); my = middle(y, rounds); mq = middle(q, rounds)
			printf "%14s %10s %6s  %10.2f %10.2f  %.3f (%.3f to %.3f)\n", w[1],
				w[2], w[3], mx, my, mq, q[1], q[rounds]
		}
	}' "$scratch/all"
}

failed=0 found=0
for name in "${tests[@]}"; do
	program=$(find_test "$name") || { echo "# $name: not found"; continue; }
	found=1
	command_of "$program"
	echo "# $name: ${command[*]}"
	echo "# $rounds rounds of ${nets%,*} and ${nets#*,} in turn"
	: >"$scratch/all"
	for ((round = 1; round <= rounds; round++)); do
		for net in "${nets%,*}" "${nets#*,}"; do
			run_one "$net" "$scratch/out" || { failed=1; break 2; }
			rows "$scratch/out" | sed "s/^/$round $net /" >>"$scratch/all"
		done
	done
	[ "$failed" = 0 ] || { echo "FAILED: $name"; break; }
	compare
done
[ "$found" = 1 ] ||
	skip "no nccl-tests: set NCCL_TESTS_DIR to the folder they were built in"
exit "$failed"
