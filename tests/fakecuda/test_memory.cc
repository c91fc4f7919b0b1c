// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_memory.cc - memory of the stand-in for the CUDA driver: that the CPU cannot
 * touch the device's, what is refused, what pointers tell.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fixture.h"

namespace {

const size_t kPage = 4096, kVmm = 2 << 20;

uint64_t address(const void *p)
{
	return reinterpret_cast<uintptr_t>(p);
}

/* The signal that ends a process which does that; 0: it lives. */
int signal_of(const std::function<void()> &what)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL); /* also from under a sanitizer */
		what();
		_exit(0);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(Memory, OfTheDeviceIsNotForTheCpu)
{
	in_process({}, [] {
		Gpu gpu;
		uint64_t at = gpu.alloc(3 * kPage), mapped;
		auto *p = reinterpret_cast<volatile char *>(at);
		int fds[2];

		EXPECT_EQ(signal_of([&] { (void)p[0]; }), SIGSEGV);
		EXPECT_EQ(signal_of([&] { p[3 * kPage - 1] = 1; }), SIGSEGV);
		EXPECT_EQ(cuMemAddressReserve(&mapped, kVmm, 0, 0, 0), 0);
		p = reinterpret_cast<volatile char *>(mapped);
		EXPECT_EQ(signal_of([&] { (void)p[5]; }), SIGSEGV);
		/* Nor for the kernel on its behalf. */
		ASSERT_EQ(pipe(fds), 0);
		EXPECT_EQ(write(fds[1], reinterpret_cast<void *>(at), 1), -1);
		EXPECT_EQ(errno, EFAULT);
		close(fds[0]);
		close(fds[1]);
		EXPECT_EQ(cuMemFree_v2(at), 0);
		EXPECT_EQ(signal_of([&] { *reinterpret_cast<char *>(at) = 1; }),
			  SIGSEGV);
	});
}

TEST(Memory, IsAllocatedOnceAndFreedOnce)
{
	in_process({}, [] {
		Gpu gpu;
		uint64_t a = gpu.alloc(1), b = gpu.alloc(100 << 20), none = 5;

		EXPECT_EQ(a % kPage, 0u);
		EXPECT_EQ(b % kPage, 0u);
		EXPECT_NE(a, b);
		EXPECT_EQ(cuMemAlloc_v2(&none, 0), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemAlloc_v2(&none, SIZE_MAX),
			  CUDA_ERROR_OUT_OF_MEMORY);
		EXPECT_EQ(none, 5u);
		EXPECT_EQ(cuMemFree_v2(a + 1), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFree_v2(a), 0);
		EXPECT_EQ(cuMemFree_v2(a), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFree_v2(address(&a)), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFree_v2(0), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFree_v2(b), 0);
		/* What is freed is not soon another's. */
		EXPECT_NE(gpu.alloc(1), a);
		EXPECT_EQ(fakecuda_left(), 1u);
	});
}

TEST(Memory, AddressesAreUsedAgainWhenAllWere)
{
	in_process({}, [] {
		Gpu gpu;
		const size_t big = 60ull << 30, bigger = big + kVmm;
		uint64_t at, kept;

		EXPECT_EQ(cuMemAddressReserve(&at, big, 0, 0, 0), 0);
		kept = gpu.alloc(kPage);
		gpu.write(kept, pattern(kPage, 1));
		EXPECT_EQ(cuMemAddressFree(at, big), 0);
		/* The space before it has just room for one, but no distance. */
		for (int i = 0; i < 12; i++) {
			EXPECT_EQ(cuMemAddressReserve(&at, bigger, 0, 0, 0), 0);
			EXPECT_TRUE(at >= kept + kPage + kVmm ||
				    at + bigger + kVmm <= kept);
			EXPECT_EQ(cuMemAddressFree(at, bigger), 0);
		}
		EXPECT_EQ(cuMemAddressReserve(&at, 1ull << 40, 0, 0, 0),
			  CUDA_ERROR_OUT_OF_MEMORY);
		EXPECT_EQ(gpu.read(kept, kPage), pattern(kPage, 1));
	});
}

TEST(Memory, CopiesGoBetweenAnyTwoKinds)
{
	in_process({}, [] {
		Gpu gpu;
		std::vector<uint8_t> plain1(10000), plain2(10000);
		std::vector<uint64_t> places = {
			gpu.alloc(10000), gpu.alloc(10000),
			address(gpu.host_alloc(10000)),
			address(gpu.host_alloc(10000)), address(plain1.data()),
			address(plain2.data()),
		};
		unsigned int seed = 0;

		for (uint64_t dst : places)
			for (uint64_t src : places) {
				auto p = pattern(9990, ++seed);

				gpu.write(src + 3, p);
				if (seed % 2) {
					EXPECT_EQ(cuMemcpy(dst + 5, src + 3,
							   9990),
						  0);
				} else {
					EXPECT_EQ(cuMemcpyAsync(dst + 5,
								src + 3, 9990,
								nullptr),
						  0);
				}
				EXPECT_EQ(gpu.read(dst + 5, 9990), p);
			}
	});
}

TEST(Memory, CopiesBeyondItAreRefused)
{
	in_process({}, [] {
		Gpu gpu;
		uint64_t page = gpu.alloc(kPage), next = gpu.alloc(kPage);
		auto *host = static_cast<char *>(gpu.host_alloc(100));
		uint64_t at = gpu.alloc(100), gone = gpu.alloc(100);
		char plain[200] = "";

		EXPECT_EQ(cuMemFree_v2(gone), 0);
		/* No two pieces of memory are neighbours. */
		EXPECT_EQ(cuMemsetD8_v2(page, 0, kPage + 1),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemsetD8_v2(next - 1, 0, kPage),
			  CUDA_ERROR_INVALID_VALUE);
		for (auto bad : { at + 1, at - 1, gone, address(host) + 1,
				  address(host) - 1, uint64_t{ 0 },
				  uint64_t{ 8 }, UINT64_MAX - 50 }) {
			EXPECT_EQ(cuMemcpy(bad, address(plain), 100),
				  CUDA_ERROR_INVALID_VALUE);
			EXPECT_EQ(cuMemcpy(address(plain), bad, 100),
				  CUDA_ERROR_INVALID_VALUE);
			EXPECT_EQ(cuMemcpyAsync(bad, address(plain), 100,
						nullptr),
				  CUDA_ERROR_INVALID_VALUE);
			EXPECT_EQ(cuMemsetD8_v2(bad, 0, 100),
				  CUDA_ERROR_INVALID_VALUE);
		}
		EXPECT_EQ(cuMemsetD8_v2(address(plain), 0, 100),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemcpy(at, address(plain), 0), 0);
		EXPECT_EQ(cuMemcpy(at, address(plain), 100), 0);
	});
}

TEST(Memory, IsSet)
{
	in_process({}, [] {
		Gpu gpu;
		uint64_t at = gpu.alloc(100);
		auto *host = static_cast<uint8_t *>(gpu.host_alloc(100));

		EXPECT_EQ(cuMemsetD8_v2(at, 0xa5, 100), 0);
		EXPECT_EQ(cuMemsetD8_v2(at + 98, 0x11, 1), 0);
		std::vector<uint8_t> expect(100, 0xa5);
		expect[98] = 0x11;
		EXPECT_EQ(gpu.read(at, 100), expect);
		EXPECT_EQ(cuMemsetD8_v2(address(host), 7, 100), 0);
		EXPECT_EQ(host[99], 7);
	});
}

TEST(HostMemory, IsFreedOnce)
{
	in_process({}, [] {
		Gpu gpu;
		void *p = gpu.host_alloc(100), *none;

		memset(p, 1, 100);
		EXPECT_EQ(cuMemHostAlloc(&none, 0, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemHostAlloc(&none, 1, 0x80),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemHostUnregister(p), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFreeHost(static_cast<char *>(p) + 1),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFreeHost(p), 0);
		EXPECT_EQ(cuMemFreeHost(p), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFreeHost(&p), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(fakecuda_left(), 0u);
	});
}

TEST(HostMemory, IsRegisteredOnce)
{
	in_process({}, [] {
		Gpu gpu;
		uint64_t dev = gpu.alloc(kPage);
		auto *p = static_cast<char *>(mmap(nullptr, 4 * kPage,
						   PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS,
						   -1, 0));

		ASSERT_NE(p, MAP_FAILED);
		EXPECT_EQ(cuMemHostRegister_v2(p + 10, kPage, 2), 0);
		/* The page of its end is taken. */
		for (size_t at : { size_t{ 0 }, size_t{ 20 }, 2 * kPage - 1 })
			EXPECT_EQ(cuMemHostRegister_v2(p + at, 1, 2),
				  CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED)
				<< at;
		EXPECT_EQ(cuMemHostRegister_v2(p + 2 * kPage, kPage, 2), 0);
		EXPECT_EQ(cuMemHostUnregister(p), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFreeHost(p + 10), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemHostUnregister(p + 10), 0);
		EXPECT_EQ(cuMemHostUnregister(p + 10),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemHostUnregister(p + 2 * kPage), 0);

		void *alloc = gpu.host_alloc(1);
		EXPECT_EQ(cuMemHostRegister_v2(alloc, 1, 2),
			  CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
		EXPECT_EQ(cuMemHostRegister_v2(
				  reinterpret_cast<void *>(dev), kPage, 2),
			  CUDA_ERROR_INVALID_VALUE);
		munmap(p + kPage, kPage);
		EXPECT_EQ(cuMemHostRegister_v2(p, 2 * kPage, 2),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemHostRegister_v2(nullptr, 1, 2),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemHostRegister_v2(p, SIZE_MAX, 2),
			  CUDA_ERROR_INVALID_VALUE);
		munmap(p, 4 * kPage);
	});
}

TEST(Pointer, TellsWhatItIs)
{
	in_process({ { "FAKECUDA_DEVICES", "2" } }, [] {
		Gpu gpu(1);
		uint64_t dev = gpu.alloc(100);
		uint64_t host = address(gpu.host_alloc(100));
		unsigned int type = 0, one = 1;
		int ordinal = -1;
		void *ctx = nullptr;

		for (uint64_t at : { dev + 99, host + 99 }) {
			EXPECT_EQ(cuPointerGetAttribute(
					  &type, CUDA_POINTER_MEMORY_TYPE, at),
				  0);
			EXPECT_EQ(type, at == dev + 99 ? CUDA_MEMORY_DEVICE :
							 CUDA_MEMORY_HOST);
			EXPECT_EQ(cuPointerGetAttribute(
					  &ordinal, CUDA_POINTER_DEVICE_ORDINAL,
					  at),
				  0);
			EXPECT_EQ(ordinal, 1);
			EXPECT_EQ(cuPointerGetAttribute(
					  &ctx, CUDA_POINTER_CONTEXT, at),
				  0);
			EXPECT_EQ(ctx, gpu.ctx);
			EXPECT_EQ(cuPointerGetAttribute(&type, 9999, at),
				  CUDA_ERROR_INVALID_VALUE);
		}
		for (uint64_t at : { dev + 100, address(&dev), uint64_t{ 0 } })
			EXPECT_EQ(cuPointerGetAttribute(
					  &type, CUDA_POINTER_MEMORY_TYPE, at),
				  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuPointerSetAttribute(&one, CUDA_POINTER_SYNC_MEMOPS,
						dev),
			  0);
		EXPECT_EQ(cuPointerSetAttribute(&one, CUDA_POINTER_SYNC_MEMOPS,
						host),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuPointerSetAttribute(&one, CUDA_POINTER_CONTEXT,
						dev),
			  CUDA_ERROR_INVALID_VALUE);
	});
}

TEST(Flush, NeedsTheOption)
{
	in_process({}, [] {
		Gpu gpu;
		EXPECT_EQ(cuFlushGPUDirectRDMAWrites(0, 100), 0);
		EXPECT_EQ(cuFlushGPUDirectRDMAWrites(1, 100),
			  CUDA_ERROR_INVALID_VALUE);
	});
	in_process({ { "FAKECUDA_ATTR", "117=0" } }, [] {
		Gpu gpu;
		EXPECT_EQ(cuFlushGPUDirectRDMAWrites(0, 100),
			  CUDA_ERROR_NOT_SUPPORTED);
	});
}

} // namespace
