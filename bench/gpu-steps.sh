# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# gpu-steps.sh - the steps of gpu-acceptance.sh: each a command with a limit and a
# verdict, some of them at once; and the service by which processes share a GPU. What
# a step came to is in files of $work, named by its number. To be sourced.

# shellcheck disable=SC2154 # of gpu-acceptance.sh: work, deadline, jobs, mps, ...
steps=0 running=() mps_on='' mps_failed=0 child=''

cleanup()
{
	local pid

	trap '' INT TERM HUP
	for pid in "${running[@]}" $child; do
		kill "$pid" 2>/dev/null || true
	done
	wait || true
	mps_stop
	rm -rf "$work"
}

# The multi-process service: kernels of several processes at once on a GPU.
mps_start()
{
	[ "$mps" = auto ] && command -v nvidia-cuda-mps-control >/dev/null || return 0
	mkdir -p "$work/mps" "$work/mps-log"
	# shellcheck disable=SC2069 # only what it complains of
	CUDA_MPS_PIPE_DIRECTORY=$work/mps CUDA_MPS_LOG_DIRECTORY=$work/mps-log \
		timeout 20 nvidia-cuda-mps-control -d >"$work/mps-said" 2>&1 || return 0
	mps_on=1
	# It may start, and still serve nobody here.
	if ! timeout 40 env CUDA_MPS_PIPE_DIRECTORY="$work/mps" "$program" \
		--nccl "$libnccl" --plugin "$plugin" --net socket --ranks 2 -b 1K -e 1K \
		-n 1 -w 0 --timeout 30 >>"$work/mps-said" 2>&1; then
		mps_stop
		mps=failed
	fi
}

mps_stop()
{
	[ -n "$mps_on" ] || return 0
	mps_on=''
	echo quit | CUDA_MPS_PIPE_DIRECTORY=$work/mps timeout 20 \
		nvidia-cuda-mps-control >/dev/null 2>&1 || true
}

# Processes that died in mid-kernel leave the service unusable: it is started anew
# when more steps have failed.
mps_renew()
{
	local failed

	failed=$(count 1)
	[ -n "$mps_on" ] && [ "$failed" != "$mps_failed" ] || return 0
	mps_failed=$failed
	mps_stop
	mps_start
}

# Steps that ended with that status.
count() { { grep -lx "$1" "$work"/*.status 2>/dev/null || true; } | wc -l; }

shared() { [ -z "$mps_on" ] || echo "CUDA_MPS_PIPE_DIRECTORY=$work/mps"; }

# Runs the command of step N; its status: 0, 1 or 77.
run_step()	# N LIMIT COMMAND...
{
	local file=$work/$1 limit=$2 left=$((deadline - SECONDS)) cut='' status=0
	local from=$EPOCHREALTIME

	shift 2
	[ "$limit" -le "$left" ] || { limit=$left cut=1; }
	if [ "$left" -lt 5 ]; then
		echo "out of time" >"$file.out"
		status=77
	else
		timeout -k 15 "$limit" "$@" >"$file.out" 2>&1 </dev/null &
		child=$!
		wait "$child" || status=$?
		child=''
	fi
	case $status in
	0|77) ;;
	124|137)
		echo "ended after $limit s" >>"$file.out"
		[ -z "$cut" ] && status=1 || status=77
		;;
	*)
		echo "exit status $status" >>"$file.out"
		status=1
		;;
	esac
	awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }' >"$file.seconds"
	echo "$status" >"$file.status"
	say "$(verdict "$status"): $(<"$file.title"), $(<"$file.seconds") s"
}

verdict() { case $1 in 0) echo passed ;; 77) echo skipped ;; *) echo failed ;; esac; }

wanted() { [ -z "$only" ] || [[ ,$only, = *,$1,* ]]; }

# A step of the section; `step_together` goes on before it has ended.
step()	# SECTION TITLE LIMIT COMMAND...
{
	wait_steps
	note_step "$@"
	run_step "$number" "$3" "${@:4}"
}

step_together()
{
	while [ ${#running[@]} -ge "$jobs" ]; do
		wait -n "${running[@]}" || true
		drop_ended
	done
	note_step "$@"
	{
		trap 'kill $child; wait; exit 143' TERM
		run_step "$number" "$3" "${@:4}"
	} &
	running+=($!)
}

note_step()
{
	steps=$((steps + 1))
	number=$(printf '%03d' "$steps")
	echo "$1" >"$work/$number.section"
	echo "$2" >"$work/$number.title"
	printf '%q ' "${@:4}" | shorten >"$work/$number.command"
}

# Folders of this machine are of no interest to a reader.
shorten() { sed "s|$work|WORK|g; s|$build|BUILD|g; s|$root/||g"; }

drop_ended()
{
	local pid left=()

	for pid in "${running[@]}"; do
		! kill -0 "$pid" 2>/dev/null || left+=("$pid")
	done
	running=("${left[@]}")
}

wait_steps()
{
	[ ${#running[@]} = 0 ] || wait "${running[@]}" || true
	running=()
}
