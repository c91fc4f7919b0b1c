// SPDX-License-Identifier: BSD-3-Clause
/*
 * gather_kernel.cu - the gather kernel: its launches and arguments are described in
 * gather_work.h, the copying itself is in gather_core.h.
 *
 * It runs beside kernels of NCCL that occupy their share of the GPU until what is
 * gathered has arrived. So no block waits for another: they may run all at once, or
 * one after the other where there is room for one.
 */
#include "gather_core.h"

/*
 * One 16-byte half of a descriptor by each lane, of GATHER_BATCH of them from @at on.
 * Host memory: each read is a microsecond or two on PCIe however wide it is, and "cv"
 * keeps it out of the caches, in which a later launch would look for the next list.
 */
static __device__ __forceinline__ uint4 fetch(const struct gather_work *work,
					      uint32_t at, uint32_t end,
					      uint32_t lane)
{
	const uint4 *half = (const uint4 *)(work + at) + lane;
	uint4 none = { 0, 0, 0, 0 };

	return at + lane / 2 < end ? __ldcv(half) : none;
}

static __device__ __forceinline__ uint32_t from_lane(uint32_t value,
						     uint32_t lane)
{
	return __shfl_sync(0xffffffffu, value, lane);
}

static __device__ __forceinline__ uint64_t join(uint32_t low, uint32_t high)
{
	return (uint64_t)high << 32 | low;
}

/* Copies the pieces in [at, end), the descriptors of the next ones on their way. */
static __device__ __forceinline__ void copy(const struct gather_work *work,
					    uint32_t at, uint32_t end,
					    uint32_t lane)
{
	uint4 next = fetch(work, at, end, lane);

	while (at < end) {
		uint4 half = next;
		uint32_t n = end - at < GATHER_BATCH ? end - at : GATHER_BATCH;

		at += n;
		next = fetch(work, at, end, lane);
		for (uint32_t i = 0; i < 2 * n; i += 2) {
			/* dst and src are in the first half, len in the other. */
			uint64_t dst = join(from_lane(half.x, i),
					    from_lane(half.y, i));
			uint64_t src = join(from_lane(half.z, i),
					    from_lane(half.w, i));

			gather_piece(dst, src, from_lane(half.x, i + 1), lane);
		}
	}
}

#ifdef __CUDACC__ /* where this runs on a CPU, to be tested, that has its own */
/* Not __threadfence_system(), which orders more (sc) and costs more. */
static __device__ __forceinline__ void fence_system(void)
{
	asm volatile("fence.acq_rel.sys;" ::: "memory");
}
#endif

/*
 * The ticket comes behind all bytes, for whoever sees it:
 *
 *	all threads' stores -> barrier -> fence of thread 0 -> its atomic
 *	-> the last block's atomic -> its fence -> store of the ticket
 *
 * The barrier orders the block's stores before the fence of thread 0, and fences are
 * cumulative: what comes before one comes before it for all who synchronise with it
 * (PTX ISA, memory consistency model: causality order). So one fence serves the block.
 * A fence and the atomic behind it release, the last block's atomic and the fence
 * behind that acquire, and the same fence and the ticket release again. Of system
 * scope, since the host, the NIC and other GPUs look at the bytes.
 *
 * Who reads the ticket with acquire may let others read the bytes: NCCL's kernels, which
 * are running already, do so with loads that pass L1 by, behind a flag set by the host.
 *
 * The atomic wraps to 0 with the last block: the next launch finds it as this one did,
 * and begins only when this one has ended, being in the same stream.
 */
static __device__ __forceinline__ void complete(uint32_t *arrived,
						uint64_t *done, uint64_t ticket)
{
	uint32_t last = gridDim.x - 1;

	__syncthreads();
	if (threadIdx.x)
		return;
	fence_system();
	if (atomicInc(arrived, last) != last)
		return;
	fence_system();
	*(volatile uint64_t *)done = ticket;
}

/* 4 blocks of a multiprocessor at least, so 64 registers: all that is in flight. */
extern "C" __global__ void __launch_bounds__(GATHER_THREADS, 4)
	devmem_gather(const struct gather_work *work, uint32_t count,
		      uint32_t *arrived, uint64_t *done, uint64_t ticket)
{
	uint32_t block_warps = blockDim.x / GATHER_WARP;
	uint32_t warps = gridDim.x * block_warps;
	uint32_t warp = blockIdx.x * block_warps + threadIdx.x / GATHER_WARP;

	copy(work, gather_first(count, warps, warp),
	     gather_first(count, warps, warp + 1), threadIdx.x % GATHER_WARP);
	complete(arrived, done, ticket);
}
