// SPDX-License-Identifier: BSD-3-Clause
/*
 * cuda_on_cpu.h - as much of CUDA as the gather kernel uses, by threads of the CPU:
 * include it, then the kernel's source, and run that with cuda_run().
 *
 * Every CUDA thread is one of ours, so what it does and whom it waits for is real;
 * the memory model of a GPU and its speed are not to be had here.
 */
#ifndef UNIT_CUDA_ON_CPU_H
#define UNIT_CUDA_ON_CPU_H

#include <pthread.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct alignas(16) uint4 {
	unsigned int x, y, z, w;
};

struct cuda_index {
	unsigned int x;
};

/* What the threads of a warp, or of a block, wait at and exchange values by. */
class CudaGroup
{
      public:
	explicit CudaGroup(unsigned int threads) : values(threads)
	{
		pthread_barrier_init(&barrier, nullptr, threads);
	}
	~CudaGroup()
	{
		pthread_barrier_destroy(&barrier);
	}
	void wait()
	{
		pthread_barrier_wait(&barrier);
	}

	std::vector<unsigned int> values;

      private:
	pthread_barrier_t barrier;
};

inline thread_local cuda_index threadIdx, blockIdx, blockDim, gridDim;
inline thread_local CudaGroup *cuda_warp, *cuda_block;
/* Called at each atomicInc(), if set. */
inline std::function<void()> cuda_at_atomic;

inline uint4 __ldcv(const uint4 *from)
{
	return *from;
}

inline unsigned int __shfl_sync(unsigned int, unsigned int value,
				unsigned int lane)
{
	cuda_warp->values[threadIdx.x % 32] = value;
	cuda_warp->wait();
	value = cuda_warp->values[lane];
	cuda_warp->wait();
	return value;
}

inline void __syncthreads()
{
	cuda_block->wait();
}

/* Part of atomicInc() and of the barriers here. */
inline void fence_system()
{
}

inline unsigned int atomicInc(unsigned int *at, unsigned int last)
{
	unsigned int old = __atomic_load_n(at, __ATOMIC_SEQ_CST), next;

	if (cuda_at_atomic)
		cuda_at_atomic();
	do
		next = old >= last ? 0 : old + 1;
	while (!__atomic_compare_exchange_n(
		at, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	return old;
}

/* Blocks [first, end) of a grid, all at once; returns when they have ended. */
inline void cuda_run(unsigned int grid, unsigned int first, unsigned int end,
		     unsigned int block, const std::function<void()> &kernel)
{
	std::vector<std::unique_ptr<CudaGroup>> groups;
	std::vector<std::thread> threads;

	for (unsigned int b = first; b < end; b++) {
		CudaGroup *whole, *warp = nullptr;

		groups.push_back(std::make_unique<CudaGroup>(block));
		whole = groups.back().get();
		for (unsigned int t = 0; t < block; t++) {
			if (t % 32 == 0) {
				groups.push_back(
					std::make_unique<CudaGroup>(32));
				warp = groups.back().get();
			}
			threads.emplace_back([=, &kernel] {
				threadIdx.x = t;
				blockIdx.x = b;
				blockDim.x = block;
				gridDim.x = grid;
				cuda_warp = warp;
				cuda_block = whole;
				kernel();
			});
		}
	}
	for (std::thread &thread : threads)
		thread.join();
}

#endif
