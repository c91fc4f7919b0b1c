#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Everything that wants a GPU, in one command and a few minutes: facts, correctness
# of NCCL over the plugin in three modes, graphs, aborts, communicators made anew, a
# training job, figures beside NCCL's Socket. Writes a report, and ends with a line
# of how many steps passed. Works offline, from a folder that was copied here.
set -euo pipefail
self=$(realpath "${BASH_SOURCE[0]}")
root=$(dirname "$(dirname "$self")")

usage()
{
	cat <<'END'
usage: gpu-acceptance.sh [OPTION...]

  --build DIR      binaries, default build/ beside the sources; what is not there
                   is built there by cmake
  --out FILE       the report, default docs/results/GPU-DATE.md
  --keep DIR       all that the steps wrote, and NCCL's logs, into that folder
  --budget S       seconds for all of it, default 470; steps that would begin
                   later are skipped, and say so
  --only A,B       sections: facts plugin correctness graph recreate abort figures
                   gather sanitizer ddp
  --jobs N         steps at once where nothing is measured, default 3
  --no-mps         do not start CUDA's multi-process service; ranks that share a
                   GPU then take turns on it, and figures mean little
  --nccl FILE      libnccl.so.2, default that of NCCL_HOME, CUDA_HOME,
                   /usr/local/cuda, Python's packages or the system
  --bundle         only copy the libraries that the binaries in DIR need beside
                   the C library to DIR/needed, for a machine that lacks them
  --dry-run        the whole script with stand-ins for the driver and for NCCL
                   (which must have been built in DIR), tiny sizes, no GPU

Exit status: 0 nothing failed; 1 something did; 2 usage; 77 there is no GPU.
END
}

die() { echo "gpu-acceptance.sh: $*" >&2; exit 2; }
say() { echo "gpu-acceptance.sh: $*" >&2; }

build=$root/build out='' keep='' budget=470 only='' jobs=3 mps=auto libnccl='' dry='' bundle=''
original=("$@")
while [ $# -gt 0 ]; do
	case $1 in
	--build|--out|--keep|--budget|--only|--jobs|--nccl)
		[ $# -ge 2 ] || die "$1 wants a value"
		case $1 in
		--build) build=$2 ;;
		--out) out=$2 ;;
		--keep) keep=$2 ;;
		--budget) budget=$2 ;;
		--only) only=$2 ;;
		--jobs) jobs=$2 ;;
		--nccl) libnccl=$2 ;;
		esac
		shift 2
		;;
	--no-mps) mps=no; shift ;;
	--bundle) bundle=1; shift ;;
	--dry-run) dry=1 mps=no; shift ;;
	--help) usage; exit 0 ;;
	--facts) break ;;
	*) die "no such option: $1 (see --help)" ;;
	esac
done
[[ $budget =~ ^[1-9][0-9]{0,5}$ && $jobs =~ ^[1-9][0-9]?$ ]] || die "not a number"
mkdir -p "$build"
build=$(realpath "$build")
program=$build/bench/devmem-nccl
plugin=$build/plugin/libnccl-net-devmem.so

# ---- facts: called by this script itself, as a step ----------------------------

facts()
{
	echo "kernel: $(uname -srm)"
	echo "CPUs: $(nproc), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
	echo "memory: $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
	nvidia-smi --query-gpu=name,driver_version,memory.total,pci.bus_id,compute_mode \
		--format=csv 2>/dev/null || echo "nvidia-smi: none"
	head -n 1 /proc/driver/nvidia/version 2>/dev/null ||
		echo "kernel module: no /proc/driver/nvidia/version"
	local config
	for config in /proc/config.gz "/boot/config-$(uname -r)"; do
		[ -r "$config" ] || continue
		zgrep -E '^CONFIG_(NET_DEVMEM|UDMABUF|DMA_SHARED_BUFFER)=' "$config" || true
		break
	done
	nvcc --version 2>/dev/null | sed -n 's/^Cuda compilation/nvcc/p' || true
	"$program" --probe --nccl "$FACTS_NCCL"
}

if [ "${1-}" = --facts ]; then
	facts
	exit
fi

# ---- what is needed ------------------------------------------------------------

make_bundle()
{
	local lib

	mkdir -p "$build/needed"
	ldd "$plugin" "$build/bench/devmem-bench" "$build"/transport/libdevmem.so 2>/dev/null |
		awk '/=> \// { print $3 }' | sort -u |
		grep -E '/lib(nl|cjson)[^/]*$' |
		while read -r lib; do
			cp -L "$lib" "$build/needed/"
			echo "$build/needed/$(basename "$lib")"
		done
}

build_missing()
{
	local tests=OFF

	if [ -x "$program" ] && [ -e "$plugin" ]; then
		return
	fi
	say "building in $build"
	[ -z "$dry" ] || tests=ON
	if ! cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DBUILD_TESTING=$tests >&2 ||
	   ! cmake --build "$build" -j "$(nproc)" >&2; then
		say "cannot build here; give binaries by --build"
		exit 1
	fi
}

find_nccl()
{
	local dir packages

	packages=$(python3 -c 'import nvidia.nccl, os
print(os.path.join(list(nvidia.nccl.__path__)[0], "lib"))' 2>/dev/null) || true
	for dir in ${NCCL_HOME:+"$NCCL_HOME/lib" "$NCCL_HOME/lib64"} \
		   ${CUDA_HOME:+"$CUDA_HOME/lib64" "$CUDA_HOME/lib"} \
		   /usr/local/cuda/lib64 /usr/local/cuda/lib ${packages:+"$packages"}; do
		[ ! -e "$dir/libnccl.so.2" ] || { echo "$dir/libnccl.so.2"; return; }
	done
	echo libnccl.so.2
}

[ -z "$bundle" ] || { make_bundle; exit; }
build_missing
libraries=$build/needed
if [ -n "$dry" ]; then
	libraries=$build/tests/fakenccl:$build/tests/fakecuda:$libraries
	libnccl=$build/tests/fakenccl/libnccl.so.2
	[ -e "$libnccl" ] || die "--dry-run wants the stand-ins of tests/ in $build"
fi
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
[ -n "$libnccl" ] || libnccl=$(find_nccl)
export FACTS_NCCL=$libnccl
if ldd "$plugin" 2>/dev/null | grep 'not found' >&2; then
	die "the plugin cannot be loaded here; on the machine it was built on: --bundle"
fi
probe=$("$program" --probe --nccl "$libnccl") || {
	status=$?
	echo "$probe"
	exit $status
}
gpu=$(sed -n 's/^GPU 0: \(.*\) \[.*/\1/p' <<<"$probe" | head -n 1)
if [ -z "$out" ]; then
	out=$root/docs/results/$(tr -cs 'A-Za-z0-9\n' - <<<"$gpu" |
		tr '[:upper:]' '[:lower:]')-$(date +%Y-%m-%d).md
	[ -z "$dry" ] || out=$build/gpu-acceptance-dry-run.md
fi
out=$(realpath -m "$out")
case ${dry:+$out} in
"$root"/docs/results/*) die "a dry run is no result: --out elsewhere" ;;
esac

# ---- steps -----------------------------------------------------------------------

if [ -n "$keep" ]; then
	mkdir -p "$keep"
	keep=$(realpath "$keep")
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/gpu-acceptance.XXXXXX")
started=$SECONDS
deadline=$((SECONDS + budget))

# shellcheck source=gpu-steps.sh
. "$root/bench/gpu-steps.sh"
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- sections --------------------------------------------------------------------

modes=(host gather unpack)
mode_args()	# MODE: into the array `mode`
{
	case $1 in
	host) mode=(--env NCCL_DEVMEM_REGION=none --require-rx host) ;;
	gather) mode=(--env NCCL_DEVMEM_RX=emulate --env NCCL_DEVMEM_REGION=cuda
		--require-rx emulated --require-gather cuda) ;;
	unpack) mode=(--env NCCL_DEVMEM_RX=emulate --env NCCL_DEVMEM_REGION=cuda
		--env NCCL_DEVMEM_UNPACK=1 --require-rx emulated
		--require-gather unpack) ;;
	esac
}

# devmem-nccl as the next step: words, of paths without spaces.
nccl()
{
	echo "$program --nccl $libnccl --plugin $plugin" \
		${keep:+"--logs $keep/nccl-$(printf %03d $((steps + 1)))"}
}

# It shares the GPU with other steps.
check()	# SECTION TITLE LIMIT ARG...
{
	# shellcheck disable=SC2046
	step_together "$1" "$2" "$3" env $(shared) $(nccl) --timeout $(($3 - 5)) "${@:4}"
}

alone()
{
	# shellcheck disable=SC2046
	step "$1" "$2" "$3" env $(shared) $(nccl) --timeout $(($3 - 5)) "${@:4}"
}

# Sizes of a table: odd ones, in real runs up to many MiB.
sizes() { if [ -n "$dry" ]; then echo "-b 8 -e 20K -f 37"; else echo "-b 8 -e $1 -f $2"; fi; }

all_types=float,half,bfloat16,int32,int8

# The plugin by itself, on GPU memory; the dry run's, on host memory.
plugin_()
{
	local m mode memory=(--memory cuda) tests=() most=16M program rx=emulated

	[ -z "$dry" ] || memory=(--memory host) tests=("--gtest_filter=*T16*") most=64K
	for m in "${modes[@]}"; do
		[ -z "$dry" ] || [ "$m" = host ] || continue
		case $m in
		host) mode=(NCCL_DEVMEM_REGION=none) rx=host ;;
		gather) mode=(NCCL_DEVMEM_RX=emulate NCCL_DEVMEM_REGION=cuda) ;;
		unpack) mode=(NCCL_DEVMEM_RX=emulate NCCL_DEVMEM_REGION=cuda NCCL_DEVMEM_UNPACK=1) ;;
		esac
		mode+=(NCCL_DEVMEM_IFNAME=lo)
		program=$build/tests/conformance/devmem-conformance
		[ -x "$program" ] || program=$(command -v devmem-conformance) || program=''
		[ -z "$program" ] ||
			step_together plugin "$m, conformance" 120 env "${mode[@]}" "$program" \
				--table v11 "${memory[@]}" "$plugin" "${tests[@]}"
		step_together plugin "$m, collectives without NCCL" 60 env "${mode[@]}" \
			"$build/bench/devmem-bench" allreduce --plugin "$plugin" "${memory[@]}" \
			--ranks 4 --channels 2 --slice 64K -b 4 -e $most -f 11 -n 2 -c 2 \
			--timeout 55 --require-rx $rx
		rx=emulated
	done
}

correctness()
{
	local m proto mode

	for m in "${modes[@]}"; do
		mode_args "$m"
		# shellcheck disable=SC2046
		check correctness "$m, 2 ranks, all collectives, all types" 60 all -n 0 \
			--ranks 2 -d $all_types $(sizes 16M 37) "${mode[@]}"
		# shellcheck disable=SC2046
		check correctness "$m, 2 ranks, to 256 MiB" 60 allreduce sendrecv -n 2 -w 1 \
			--ranks 2 $(sizes 256M 32) "${mode[@]}"
		# shellcheck disable=SC2046
		check correctness "$m, 8 ranks, all collectives" 90 all -n 0 --ranks 8 \
			-d float,bfloat16 $(sizes 4M 53) "${mode[@]}"
		# shellcheck disable=SC2046
		check correctness "$m, 4 ranks, Simple by Ring" 60 all -n 0 --ranks 4 \
			--proto Simple --algo Ring -d float,half $(sizes 8M 61) "${mode[@]}"
		# shellcheck disable=SC2046
		check correctness "$m, 4 ranks, Simple by Tree" 60 allreduce -n 0 --ranks 4 \
			--proto Simple --algo Tree -d $all_types $(sizes 32M 23) "${mode[@]}"
		[ "$m" != unpack ] || continue
		for proto in LL LL128; do
			# shellcheck disable=SC2046
			check correctness "$m, 4 ranks, $proto by Ring" 60 allreduce allgather \
				reducescatter broadcast -n 0 --ranks 4 --proto $proto \
				--algo Ring -d bfloat16,int32,int8 $(sizes 8M 61) "${mode[@]}"
			# shellcheck disable=SC2046
			check correctness "$m, 4 ranks, $proto by Tree" 60 allreduce -n 0 \
				--ranks 4 --proto $proto --algo Tree -d float,half \
				$(sizes 8M 23) "${mode[@]}"
		done
	done
	wait_steps
}

coverage()
{
	cat <<'END'
Not every combination is run, but each of the modes with each number of ranks, each
collective and each type with each mode, and each protocol with each algorithm. What
is forced: Simple, LL and LL128 by Ring and by Tree, with 4 ranks (Tree: all-reduce,
which alone has it); the rest is as NCCL chooses. LL and LL128 are not forced on
`unpack`, which is for Simple alone. In place and out of place, fresh data for each,
every element compared, and the memory before and behind each buffer.

| mode | environment |
|---|---|
| host | `NCCL_DEVMEM_REGION=none` |
| gather | `NCCL_DEVMEM_RX=emulate NCCL_DEVMEM_REGION=cuda` |
| unpack | the same, and `NCCL_DEVMEM_UNPACK=1` |
END
}

graph()
{
	local m mode

	for m in "${modes[@]}"; do
		mode_args "$m"
		# shellcheck disable=SC2046
		check graph "$m, replayed from CUDA graphs" 60 all --graph 5 --ranks 2 \
			-n 10 -w 1 $(sizes 4M 64) "${mode[@]}"
	done
	wait_steps
}

# Without the service, which takes processes that are cut short amiss.
abort_()
{
	local m mode after=1000

	[ -z "$dry" ] || after=200
	for m in "${modes[@]}"; do
		mode_args "$m"
		# shellcheck disable=SC2046
		step_together abort "$m, ncclCommAbort in mid-operation" 60 $(nccl) --abort \
			--ranks 3 --abort-after-ms $after -n 2 -w 1 --timeout 55 \
			$(sizes 16M 16) "${mode[@]}"
	done
	wait_steps
}

recreate()
{
	local m mode

	for m in "${modes[@]}"; do
		mode_args "$m"
		# shellcheck disable=SC2046
		check recreate "$m, 20 communicators" 90 --recreate 20 --ranks 2 \
			$(sizes 1M 64) "${mode[@]}"
	done
	wait_steps
}

figures()
{
	local few=(-n 5 -w 1) many=(-b 8 -e 256M -f 2)
	local gather=NCCL_DEVMEM_RX=emulate,NCCL_DEVMEM_REGION=cuda

	[ -z "$dry" ] || few=(-n 1 -w 0) many=(-b 8 -e 64K -f 16)
	alone figures "all-reduce at every size, in turn with Socket" 200 -O "${few[@]}" \
		"${many[@]}" --net socket --rounds 5 --seconds 100 \
		--variant "host:net=devmem,NCCL_DEVMEM_REGION=none" \
		--variant "gather:net=devmem,$gather" \
		--variant "unpack:net=devmem,$gather,NCCL_DEVMEM_UNPACK=1"
	[ -z "$dry" ] || many=(-b 8 -e 4K -f 16)
	[ -n "$dry" ] || many=(-b 1K -e 16M -f 16)
	alone figures "few connections to the GPU, modules loaded late and early" 90 -O \
		"${few[@]}" "${many[@]}" --net devmem --rounds 3 --seconds 30 \
		--env NCCL_DEVMEM_RX=emulate --env NCCL_DEVMEM_REGION=cuda \
		--variant one-connection:CUDA_DEVICE_MAX_CONNECTIONS=1 \
		--variant lazy:CUDA_MODULE_LOADING=LAZY \
		--variant eager:CUDA_MODULE_LOADING=EAGER
	# shellcheck disable=SC2046
	step figures "nccl-tests, in turn with Socket" 120 env $(shared) \
		"$root/bench/nccl_tests.sh" \
		--plugin "$plugin" --rounds 2 --timeout 50
}

gather()
{
	local args=()

	[ -z "$dry" ] || args=(--rounds 1 -e 1M)
	step gather "copying pieces to their place" 90 "$build/bench/devmem-gpu-gather" \
		"${args[@]}"
}

sanitizer()
{
	local m mode title="memcheck of NCCL and the plugin's kernels"

	for m in gather unpack; do
		mode_args "$m"
		if ! command -v compute-sanitizer >/dev/null; then
			step sanitizer "$m, $title" 5 sh -c 'echo "no compute-sanitizer"; exit 77'
			continue
		fi
		# shellcheck disable=SC2046
		step_together sanitizer "$m, $title" 100 $(nccl) allreduce allgather -n 0 -O \
			--ranks 2 -b 8 -e 1M -f 256 --timeout 95 "${mode[@]}" --wrap \
			"compute-sanitizer --tool memcheck --error-exitcode 9 --target-processes all"
	done
	wait_steps
}

ddp()
{
	local args=(--steps 30)

	[ -z "$dry" ] || args=(--backend gloo --steps 2 --width 32 --layers 1)
	# shellcheck disable=SC2046
	step ddp "a training job, Socket and host" 100 env NCCL_DEVMEM_REGION=none $(shared) \
		python3 "$root/bench/torch_ddp.py" --plugin "$plugin" --timeout 45 "${args[@]}"
	[ -z "$dry" ] || return 0
	# shellcheck disable=SC2046
	step ddp "a training job, Socket and gather" 100 env NCCL_DEVMEM_RX=emulate \
		NCCL_DEVMEM_REGION=cuda $(shared) \
		python3 "$root/bench/torch_ddp.py" --plugin "$plugin" --timeout 45 "${args[@]}"
}

# ---- the report --------------------------------------------------------------------

# What a step wrote: of tables that only compare, the lines around them.
step_output()	# N
{
	local file=$work/$1

	if [ "$(<"$file.section")" = correctness ] && [ "$(<"$file.status")" = 0 ]; then
		grep -E '^# (NCCL |setting |Out of bounds|.* rank [0-9]+)' "$file.out" || true
		echo "# rows compared: $(grep -cE '^ +[0-9]+ ' "$file.out")"
	else
		tail -n 400 "$file.out"
	fi | shorten | tr -d '\000-\010\013-\037'
}

report()
{
	local n section last=''

	echo "# GPU acceptance: ${gpu:-no GPU}, $(date -u +%Y-%m-%d)"
	echo
	[ -z "$dry" ] || printf '**DRY RUN: no GPU, no driver, no NCCL: stand-ins. None of the figures below mean anything.**\n\n'
	echo "Sources: $(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)." \
		"Command: \`bench/gpu-acceptance.sh ${original[*]}\`," \
		"$((SECONDS - started)) s of at most $budget."
	case $mps in
	auto) [ -n "$mps_used" ] &&
		echo "Ranks share the GPU by CUDA's multi-process service, but for aborts and the sanitizer." ||
		echo "There is no multi-process service here: ranks take turns on the GPU, and figures mean little." ;;
	failed) echo "The multi-process service does not work here: ranks take turns on the GPU, and figures mean little." ;;
	*) echo "Without the multi-process service: ranks take turns on the GPU, and figures mean little." ;;
	esac
	printf '\n| section | step | verdict | s |\n|---|---|---|---|\n'
	for n in $(seq -f %03g 1 "$steps"); do
		echo "| $(<"$work/$n.section") | $(<"$work/$n.title") |" \
			"$(verdict "$(<"$work/$n.status")") | $(<"$work/$n.seconds") |"
	done
	for n in $(seq -f %03g 1 "$steps"); do
		section=$(<"$work/$n.section")
		if [ "$section" != "$last" ]; then
			printf '\n## %s\n' "$section"
			[ "$section" != correctness ] || { echo; coverage; }
		fi
		last=$section
		printf '\n### %s: %s\n\n' "$(<"$work/$n.title")" "$(verdict "$(<"$work/$n.status")")"
		printf '    $ %s\n' "$(<"$work/$n.command")"
		step_output "$n" | sed 's/^/    /'
	done
	echo
	[ -z "$dry" ] || printf '**DRY RUN: no GPU.**\n\n'
	echo "$(count 0) passed, $(count 1) failed, $(count 77) skipped"
}

say "${gpu:-no GPU}; the report goes to $out"
! wanted facts || step facts "the machine" 30 "$self" --build "$build" --facts
mps_start
mps_used=$mps_on
for section in plugin correctness graph recreate abort figures gather sanitizer ddp; do
	wanted $section || continue
	mps_renew
	case $section in
	abort|plugin) "${section}_" ;;
	*) $section ;;
	esac
done
wait_steps
mkdir -p "$(dirname "$out")"
report >"$work/report"
cp "$work/report" "$out"
[ -z "$keep" ] || cp "$work"/[0-9]* "$work/report" "$keep/"
tail -n 1 "$out"
[ "$(count 1)" = 0 ]
