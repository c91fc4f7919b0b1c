# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# All-reduce from and into GPU memory, with a stand-in for the GPU and its driver
# (tests/fakecuda), which no CPU can reach: its memory is the pool, its kernel moves
# what landed there, and its memory is what the NIC sends from. What the NIC does not
# do is copied, is right as well, and is never called devmem. Whatever happens, the
# driver is left nothing of ours.

fake=$LAB_BUILD/tests/fakecuda

small='-b 8 -e 64K -f 4 -n 3 -w 1'
large='-b 64K -e 4M -f 8 -n 3 -w 1'

# From here on there is a GPU.
with_gpu()
{
	[ -e "$fake/libcuda.so.1" ] ||
		skip "there is no stand-in for the CUDA driver in this build"
	[ -e "$LAB_BUILD/transport/gather_kernel.fatbin" ] ||
		skip "this build has no code for GPUs: it was made without nvcc"
	export LD_LIBRARY_PATH=$fake FAKECUDA_REPORT=1
	export NCCL_DEVMEM_REGION=cuda
}

# Each rank that came to its end gave back all that it had of the driver.
expect_nothing_left()	# RANKS
{
	local lines

	lines=$(grep -c '^fakecuda: left 0; leaked 0$' "$log")
	[ "$lines" = "$1" ] || fail "$lines of $1 ranks left nothing to the driver"
	! grep -E '^fakecuda: ' "$log" | grep -vq '^fakecuda: left 0; leaked 0$' ||
		fail "the driver has complaints"
}

# Every rank's pool is the GPU's, and payload is taken from there that way.
expect_gather()	# RANKS cuda|unpack
{
	local of="region=cuda gpu=[0-9]+ gather=$2 "

	[ "$(grep -E 'path recv open ' "$log" | grep -cE -- "$of")" -ge "$1" ] ||
		fail "not every rank has \"$of\""
	! grep -E 'path recv open ' "$log" | grep -vqE -- "$of" ||
		fail "a rank has not \"$of\""
	[ "$(grep -c 'memory cuda (GPU ' "$log")" = "$1" ] ||
		fail "the buffers are not in GPU memory"
	[ "$2" = cuda ] ||
		[ "$(path_sum unpacked)" = "$(path_sum devmem emulated)" ] ||
		fail "$(path_sum unpacked) bytes were unpacked"
}

gpu_bench()	# RANKS [ARG...]
{
	bench allreduce --ranks "$1" --memory cuda --debug "${@:2}"
	expect_right
	expect_tokens
	expect_nothing_left "$1"
}

# ---- by devmem -------------------------------------------------------------

both_ways()	# RANKS cuda|unpack [ARG...]
{
	# shellcheck disable=SC2086
	gpu_bench "$1" $large --require-rx devmem --require-tx devmem "${@:3}"
	expect_gather "$1" "$2"
	expect_devmem
	expect_sent
}

devmem()	# RANKS [host option...]
{
	with_gpu
	make_hosts "$@"
	# shellcheck disable=SC2086
	gpu_bench "$1" $small
	both_ways "$1" cuda
}
t "devmem, 2 ranks" 60 devmem 2
t "devmem, 2 ranks, one frame an MSS" 90 devmem 2 gro=off
t "devmem, 2 ranks, MTU 9000" 60 devmem 2 mtu=9000
t "devmem, 2 ranks, MTU 9000, one frame an MSS" 90 devmem 2 mtu=9000 gro=off
t "devmem, 4 ranks" 90 devmem 4
t "devmem, 4 ranks, MTU 9000" 90 devmem 4 mtu=9000

# The GPU does what it is told some time later, its streams not in step: nothing is
# reported done, given back or sent before it is.
late()	# RANKS [ARG...]
{
	with_gpu
	make_hosts "$1"
	export FAKECUDA_DELAY_US=300
	both_ways "$1" cuda --channels 2 "${@:2}"
}
t "devmem, a GPU that takes its time, 2 ranks" 120 late 2
t "devmem, a GPU that takes its time, 4 ranks" 200 late 4 -n 1

threads()
{
	with_gpu
	make_hosts 2
	export NCCL_DEVMEM_THREADS=2 FAKECUDA_DELAY_US=100
	both_ways 2 cuda --channels 2
}
t "devmem, by progress threads" 120 threads

# Each its own: memory of one is nothing to the other.
two_gpus()
{
	with_gpu
	make_hosts 2
	export FAKECUDA_DEVICES=2
	both_ways 2 cuda
	[[ $(grep -o 'memory cuda (GPU [01]' "$log" | sort -u | wc -l) == 2 ]] ||
		fail "the ranks do not have a GPU each"
	[[ $(grep -oE 'path recv open .* gpu=[01]' "$log" | grep -o 'gpu=.' |
		sort -u | wc -l) == 2 ]] || fail "the pools are on one GPU"
}
t "devmem, a GPU for each rank" 60 two_gpus

# Host memory is received into from the same pool, and sent by the CPU.
host_memory()
{
	with_gpu
	make_hosts 2
	# shellcheck disable=SC2086
	bench allreduce --ranks 2 --memory host --debug $large --require-rx devmem
	expect_right
	expect_devmem
	expect_nothing_left 2
}
t "devmem, buffers in host memory" 60 host_memory

modes()	# MODE [ARG...]
{
	with_gpu
	make_hosts 2
	bench "$@" --memory cuda -c 20
	expect_right
	expect_nothing_left 2
}
t "bandwidth" 60 modes bandwidth -b 1000 -e 1M -f 30 -n 50 --require-rx devmem
t "latency" 60 modes latency -b 8 -e 64K -f 8 -n 50

soak()	# SEED
{
	with_gpu
	make_hosts 4
	export FAKECUDA_DELAY_US=50
	bench soak --ranks 4 --memory cuda --channels 2 --slice 64K -e 4M \
		--seconds 10 --seed "$1"
	expect_right
	expect_devmem
	expect_nothing_left 4
}
t "soak" 120 soak 1

# The conformance suite with its buffers in GPU memory; receivers in h0, senders in
# h1. A message of 1 GiB is a matter of the CPU's patience here.
conformance()	# VAR=VALUE...
{
	with_gpu
	make_pair
	env "$@" CONFORMANCE_PEER_NETNS=h1 CONFORMANCE_PEER_IFNAME="=dm0b" \
		NCCL_DEVMEM_IFNAME="=dm0a" ip netns exec h0 \
		"$LAB_BUILD/tests/conformance/devmem-conformance" \
		--memory cuda --table v11 "$plugin" \
		--gtest_filter='-*OneGibibyte*' >"$log" 2>&1 || {
		grep -vE '^\[ +(OK|RUN) ' "$log"
		fail "conformance"
	}
	tail -n 20 "$log"
	grep -q '^\[  PASSED  \]' "$log" || fail "no verdict"
	! grep -qE 'SKIPPED \] (Data|Memory\.T2[78])' "$log" ||
		fail "GPU memory was not tried"
	! grep -E '^fakecuda: ' "$log" | grep -vqE ': left 0; leaked 0$' ||
		fail "the driver has complaints, or is left something"
	# Some tests kill a process; the next one puts in order what it left.
	bench allreduce --ranks 2 --memory cuda -b 64K -e 64K -n 1 -w 0
	expect_devmem
}
t "conformance" 400 conformance FAKECUDA_DELAY_US=0
t "conformance, a GPU that takes its time" 400 conformance FAKECUDA_DELAY_US=100
t "conformance, unpack" 400 conformance NCCL_DEVMEM_UNPACK=1 NCCL_PAT_ENABLE=0

# ---- what no NIC does ------------------------------------------------------

# Payload of ordinary TCP is put into the pool by copying, and sent from a copy.
expect_emulated()	# RANKS
{
	expect_rx emulated
	[ "$(path_sum emulated)" -gt 0 ] || fail "no byte was put into the pool"
	[ "$(path_sum devmem)" = 0 ] || fail "bytes are said to be devmem"
	! path_tx | grep -qvx staged || fail "tx is not staged: $(path_tx | xargs)"
	[ "$(path_sum tx_staged)" -gt 0 ] || fail "no byte was sent from a copy"
	! grep -qE 'devmem_share=([1-9]|0\.[0-9]*[1-9])' "$log" ||
		fail "a share is said to be devmem"
	# Where devmem is asked for, it will not do.
	bench allreduce --ranks "$1" --memory cuda -b 64K -e 64K -n 1 \
		--require-rx devmem
	expect_status 1
	grep -q 'received by "emulated", not "devmem"' "$log" ||
		fail "emulated was taken for devmem"
}

# Hosts whose NICs cannot read device memory.
plain_hosts()	# RANKS [host option...]
{
	local host nic

	make_hosts "$@"
	cp "$nics" "$nics.all"
	: >"$nics"
	while read -r host nic _ <&3; do
		in_host "$host" ethtool -K "$nic" sg off
		snapshot "$host" "$nic"
	done 3<"$nics.all"
}

emulated()	# RANKS cuda|unpack [host option...]
{
	with_gpu
	plain_hosts "$1" "${@:3}"
	export NCCL_DEVMEM_RX=emulate
	# shellcheck disable=SC2086
	gpu_bench "$1" $small
	# shellcheck disable=SC2086
	gpu_bench "$1" $large --require-rx emulated --require-tx staged
	expect_gather "$1" "$2"
	expect_emulated "$1"
}
t "emulated, 2 ranks" 60 emulated 2 cuda
t "emulated, 2 ranks, MTU 9000" 60 emulated 2 cuda mtu=9000
t "emulated, 4 ranks" 90 emulated 4 cuda

emulated_late()
{
	export FAKECUDA_DELAY_US=300
	emulated 2 cuda
}
t "emulated, a GPU that takes its time" 120 emulated_late

# ---- NCCL's kernels take it out of the pool --------------------------------

# devmem-bench is these kernels: what it does not copy by the list is wrong.
unpack()	# RANKS [host option...]
{
	with_gpu
	make_hosts "$@"
	export NCCL_DEVMEM_UNPACK=1 NCCL_PAT_ENABLE=0
	# shellcheck disable=SC2086
	gpu_bench "$1" $small
	both_ways "$1" unpack
}
t "unpack, 2 ranks" 60 unpack 2
t "unpack, 2 ranks, one frame an MSS" 90 unpack 2 gro=off
t "unpack, 2 ranks, MTU 9000" 60 unpack 2 mtu=9000
t "unpack, 4 ranks" 90 unpack 4

unpack_late()
{
	export FAKECUDA_DELAY_US=20
	unpack 2
}
t "unpack, a GPU that takes its time" 120 unpack_late

unpack_emulated()	# RANKS
{
	export NCCL_DEVMEM_UNPACK=1 NCCL_PAT_ENABLE=0
	emulated "$1" unpack
}
t "unpack, emulated, 2 ranks" 60 unpack_emulated 2

# ---- faults ----------------------------------------------------------------

# A rank that is killed cannot give anything back; the others see it, and do.
killed()	# cuda|unpack
{
	with_gpu
	make_hosts 2
	[ "$1" = cuda ] || export NCCL_DEVMEM_UNPACK=1 NCCL_PAT_ENABLE=0
	bench allreduce --ranks 2 --memory cuda -b 2M -e 2M -n 3 -w 1 \
		--kill-rank 1 --kill-after-ms 150 --expect-error-ms 2000
	expect_status 0
	! grep -q 'saw no error' "$log" || fail "the survivor saw no error"
	expect_nothing_left 1
	both_ways 2 "$1"
}
t "a rank killed" 90 killed cuda
t "a rank killed, unpack" 90 killed unpack

# A rule that is lost: payload comes into host memory from then on, and from there
# to the GPU's, by the GPU.
rule_lost()
{
	local rule
	# shellcheck disable=SC2016
	rule='set -- $(ip netns exec h1 "$NICSTATE" dm0b rules) &&
		ip netns exec h1 ethtool -N dm0b delete "$1"'

	with_gpu
	make_pair
	NICSTATE=$nicstate FAKECUDA_DELAY_US=100 gpu_bench 2 -b 1M -e 1M -n 5 \
		-w 1 --check 8 --pause-at-iter 2 --pause-cmd "$rule"
	[ "$(path_rx | xargs)" = "devmem devmem+host" ] ||
		fail "want rx=devmem of rank 0, devmem+host of rank 1"
	[ "$(path_values host | tail -n 1)" -gt 0 ] ||
		fail "rank 1 counts no byte in host memory"
}
t "one rule deleted in mid-run" 60 rule_lost

# What is lost is sent again from memory that the next message is to be written to.
lossy()
{
	local nic

	with_gpu
	make_pair
	for nic in dm0a dm0b; do
		fault "$nic" loss_ppm 10000
		fault "$nic" reorder_ppm 10000
	done
	both_ways 2 cuda -n 10 --channels 2
	happened h0 dm0a link_lost
	happened h1 dm0b link_reordered
}
t "1 % of packets lost, 1 % in disorder" 90 lossy

# The GPU fails in mid-run: an error that names it, on all ranks, and an end.
gpu_fails()	# CALL:NTH=RESULT REGEX
{
	with_gpu
	make_hosts 2
	FAKECUDA_FAIL=$1 bench allreduce --ranks 2 --memory cuda -b 1M -e 1M \
		-n 20 -w 1
	expect_status 1
	grep -q '^# FAILED: rank [01]: ' "$log" || fail "no rank has failed"
	grep -E '^\[rank [01]\] .* WARN ' "$log" | grep -qE -- "$2" ||
		fail "no WARN line says \"$2\""
	! grep -q 'no end after' "$log" || fail "a rank waited for its end"
	[ "$(grep -c '^fakecuda: left 0; leaked 0$' "$log")" = 2 ] ||
		fail "not both ranks came to their end and gave all back"
}
t "a kernel that fails" 60 gpu_fails cuLaunchKernel:20=719 \
	"Fake GPU 0: CUDA_ERROR_LAUNCH_FAILED"

# Payload comes by host memory then, and that is said; or refused, if it must not.
instead_host()	# REGEX [ARG...]
{
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 1 -w 0 "${@:2}"
	expect_host "$1"
	NCCL_DEVMEM_REQUIRE=rx bench allreduce --ranks 2 -b 64K -e 64K -n 1 \
		-w 0 "${@:2}"
	expect_refused "NCCL_DEVMEM_REQUIRE has rx" "$1"
}

# For the pool; for the messages the GPU works.
no_pool()	# CALL:NTH=RESULT REGEX
{
	with_gpu
	make_hosts 2
	export FAKECUDA_FAIL=$1
	instead_host "$2" --memory cuda
}
t "no code for the GPU" 60 no_pool cuModuleLoadData:1=200 \
	"gathering on Fake GPU 0 cannot be set up: CUDA_ERROR_INVALID_IMAGE"
t "no memory for the pool" 60 no_pool cuMemCreate:1=2 CUDA_ERROR_OUT_OF_MEMORY

# Buffers there are none of the GPU's memory then, and none is asked for.
no_gpu()	# VAR=VALUE REGEX
{
	with_gpu
	make_hosts 2
	export "${1?}"
	bench allreduce --ranks 2 --memory cuda -b 64K -e 64K -n 1 -w 0
	expect_status 77
	grep -q '^# SKIPPED: .*does not take GPU memory' "$log" ||
		fail "GPU memory is not said to be refused"
	instead_host "$2" --memory host
}
t "no GPU" 60 no_gpu FAKECUDA_DEVICES=0 "CUDA driver .* CUDA_ERROR_NO_DEVICE"
t "a GPU whose memory cannot be exported" 60 no_gpu FAKECUDA_ATTR=124=0 \
	"the driver of Fake GPU 0 cannot export its memory as a dma-buf"
