// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_stream.cc - streams, modules and the gather kernel of the stand-in for the
 * CUDA driver, and the calls that would hang or break something elsewhere.
 */
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "fixture.h"

namespace {

const Env kSlow = { { "FAKECUDA_DELAY_US", "2000" } };

uint64_t address(const void *p)
{
	return reinterpret_cast<uintptr_t>(p);
}

TEST(Stream, WorksLaterAndInOrder)
{
	in_process(kSlow, [] {
		Gpu gpu;
		void *s = gpu.stream();
		auto *word = static_cast<uint64_t *>(gpu.host_alloc(80));
		uint64_t at = gpu.alloc(80);
		int later = 0;

		for (int i = 0; i < 10; i++)
			word[i] = static_cast<uint64_t>(i) + 1;
		for (int i = 0; i < 9; i++) {
			EXPECT_EQ(cuMemcpyAsync(at, address(&word[i]), 8, s),
				  0);
			EXPECT_EQ(cuMemcpyAsync(address(&word[i + 1]), at, 8,
						s),
				  0);
			later += cuStreamQuery(s) == CUDA_ERROR_NOT_READY;
		}
		EXPECT_EQ(cuStreamSynchronize(s), 0);
		EXPECT_EQ(cuStreamQuery(s), 0);
		EXPECT_EQ(word[9], 1u);
		EXPECT_GT(later, 0);
		EXPECT_EQ(cuStreamDestroy_v2(s), 0);
	});
}

TEST(Stream, IsDestroyedOnceAndFinishesItsWork)
{
	in_process(kSlow, [] {
		Gpu gpu;
		Gather g(gpu);
		void *own = g.stream, *other = gpu.stream();

		g.stream = other;
		EXPECT_EQ(g.launch(), 0);
		EXPECT_EQ(cuStreamDestroy_v2(other), 0);
		EXPECT_EQ(cuStreamDestroy_v2(other), CUDA_ERROR_INVALID_HANDLE);
		EXPECT_EQ(cuStreamQuery(other), CUDA_ERROR_INVALID_HANDLE);
		EXPECT_EQ(g.launch(), CUDA_ERROR_INVALID_HANDLE);
		g.stream = own;
		EXPECT_TRUE(g.arrived_done());
		EXPECT_EQ(cuStreamDestroy_v2(nullptr),
			  CUDA_ERROR_INVALID_HANDLE);
		EXPECT_EQ(cuStreamDestroy_v2(&own), CUDA_ERROR_INVALID_HANDLE);
		EXPECT_EQ(cuStreamCreateWithPriority(&other, 0, 0),
			  CUDA_ERROR_NOT_SUPPORTED);
		EXPECT_EQ(cuStreamCreateWithPriority(&other, 2, 0),
			  CUDA_ERROR_INVALID_VALUE);
	});
}

TEST(Stream, OfAnotherContextIsRefused)
{
	in_process({ { "FAKECUDA_DEVICES", "2" } }, [] {
		Gpu first(0);
		Gather g(first);
		{
			Gpu second(1);
			EXPECT_EQ(g.launch(), CUDA_ERROR_INVALID_HANDLE);
			EXPECT_EQ(cuStreamSynchronize(g.stream),
				  CUDA_ERROR_INVALID_HANDLE);
		}
		EXPECT_EQ(g.launch(), 0);
		EXPECT_TRUE(g.arrived_done());
	});
}

TEST(Module, IsAnImage)
{
	in_process({}, [] {
		Gpu gpu;
		void *m = nullptr, *f;

		for (const char *image :
		     { "\x50\xed\x55\xba", "\177ELF", "//\n.version 7.8",
		       ".version 7.8\n.target sm_90" }) {
			ASSERT_EQ(cuModuleLoadData(&m, image), 0);
			EXPECT_EQ(cuModuleGetFunction(&f, m, GATHER_KERNEL), 0);
			EXPECT_EQ(cuModuleGetFunction(&f, m, "other"),
				  CUDA_ERROR_NOT_FOUND);
			EXPECT_EQ(cuModuleUnload(m), 0);
		}
		EXPECT_EQ(cuModuleUnload(m), CUDA_ERROR_INVALID_HANDLE);
		EXPECT_EQ(cuModuleGetFunction(&f, m, GATHER_KERNEL),
			  CUDA_ERROR_INVALID_HANDLE);
		for (const char *image :
		     { "", "\xba\x55\xed\x50", "\177ELV", "version 7.8", "//",
		       "..." })
			EXPECT_EQ(cuModuleLoadData(&m, image),
				  CUDA_ERROR_INVALID_IMAGE);
		EXPECT_EQ(cuModuleLoadData(&m, nullptr),
			  CUDA_ERROR_INVALID_VALUE);
	});
}

TEST(Launch, RefusesWhatIsNoLaunch)
{
	in_process({}, [] {
		Gpu gpu;
		Gather g(gpu);
		void *params[5] = { &g, &g, &g, &g, nullptr };
		auto launch = [&](void *f, unsigned int grid,
				  unsigned int block, unsigned int shared,
				  void **p) {
			return cuLaunchKernel(f, grid, 1, 1, block, 1, 1,
					      shared, g.stream, p, nullptr);
		};

		EXPECT_EQ(launch(g.function, 1, 256, 0, params),
			  CUDA_ERROR_INVALID_VALUE);
		params[4] = &g;
		EXPECT_EQ(launch(&g, 1, 256, 0, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(launch(nullptr, 1, 256, 0, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(launch(g.function, 0, 256, 0, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(launch(g.function, 1, 0, 0, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(launch(g.function, 1, 1025, 0, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(launch(g.function, 1, 32, 0, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(launch(g.function, 1, 256, 1 << 20, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(launch(g.function, 1, 256, 0, nullptr),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuLaunchKernel(g.function, 1, 1, 1, 256, 1, 1, 0,
					 g.stream, params, params),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(g.launch(), 0);
		EXPECT_TRUE(g.arrived_done());
	});
}

/* From device memory into three kinds of memory, pieces of any alignment. */
TEST(Gather, CopiesEachPiece)
{
	in_process(kSlow, [] {
		Gpu gpu;
		Gather g(gpu, 64);
		const size_t size = 1 << 20;
		auto bytes = pattern(size, 5);
		std::vector<uint8_t> mine(size);
		uint64_t src = gpu.alloc(size);

		gpu.write(src, bytes);
		ASSERT_EQ(cuMemHostRegister_v2(mine.data(), size,
					       CUDA_HOST_DEVICEMAP),
			  0);
		for (uint64_t dst : { gpu.alloc(size), address(mine.data()),
				      address(gpu.host_alloc(size)) }) {
			std::vector<uint8_t> expect(size);
			size_t at = 0;

			gpu.write(dst, expect);
			for (g.count = 0; g.count < 40; g.count++) {
				size_t len = g.count * 809 % GATHER_PIECE_MAX;
				size_t from = g.count * 22111;

				g.work[g.count] = { dst + at, src + from, len,
						    0 };
				memcpy(&expect[at], &bytes[from], len);
				at += len;
			}
			g.work[g.count++] = { dst + at, src,
					      GATHER_PIECE_MAX, 0 };
			memcpy(&expect[at], &bytes[0], GATHER_PIECE_MAX);
			g.ticket++;
			EXPECT_EQ(g.launch(), 0);
			EXPECT_TRUE(g.arrived_done());
			EXPECT_EQ(gpu.read(dst, size), expect);
		}
		EXPECT_EQ(cuMemHostUnregister(mine.data()), 0);
	});
}

TEST(Gather, TouchesOnlyWhatItMay)
{
	struct Case {
		const char *says;
		std::function<void(Gather &)> spoil;
	};
	static std::vector<char> plain(4096);
	static std::vector<uint64_t> unmapped(1024);
	const Case cases[] = {
		{ "its source", [](Gather &g) { g.work[0].src += 40961; } },
		{ "its source", [](Gather &g) { g.work[1].src = 0; } },
		{ "its source",
		  [](Gather &g) { g.work[1].src = UINT64_MAX - 2; } },
		{ "its destination",
		  [](Gather &g) { g.work[0].dst = address(plain.data()); } },
		{ "its destination",
		  [](Gather &g) {
			  /* Pinned, but the GPU does not see it. */
			  cuMemHostRegister_v2(unmapped.data(), 8192, 0);
			  g.work[0].dst = address(unmapped.data());
		  } },
		{ "its destination",
		  [](Gather &g) { /* half of it is nowhere */
			  g.work[2].dst = g.work[0].src + 40955;
		  } },
		{ "too long",
		  [](Gather &g) { g.work[0].len = GATHER_PIECE_MAX + 1; } },
		{ "reserved", [](Gather &g) { g.work[2].reserved = 1; } },
		{ "two pieces",
		  [](Gather &g) { g.work[2].dst = g.work[0].dst + 9; } },
		{ "source of piece 1 is a destination",
		  [](Gather &g) { g.work[1].src = g.work[2].dst + 9; } },
		{ "work is not",
		  [](Gather &g) {
			  g.work = reinterpret_cast<gather_work *>(
				  unmapped.data());
		  } },
		{ "work is not",
		  [](Gather &g) {
			  g.work = reinterpret_cast<gather_work *>(
				  address(g.work) + 8);
		  } },
		{ "work is not", [](Gather &g) { g.count = 1u << 31; } },
		{ "done is not", [](Gather &g) { g.done = &unmapped[1]; } },
		{ "arrived is not a word",
		  [](Gather &g) { g.arrived = address(g.done); } },
		{ "arrived is not 0",
		  [](Gather &g) {
			  cuMemsetD8_v2(g.arrived + 3, 1, 1);
			  cuStreamSynchronize(nullptr);
		  } },
	};

	for (const auto &c : cases) {
		SCOPED_TRACE(c.says);
		auto err = in_process(kSlow, [&] {
			Gpu gpu;
			Gather g(gpu);
			uint64_t src = gpu.alloc(40960), dst = gpu.alloc(40960);
			uint64_t *done = g.done;

			for (g.count = 0; g.count < 3; g.count++)
				g.work[g.count] = { dst + g.count * 10,
						    src + g.count * 100, 10,
						    0 };
			c.spoil(g);
			EXPECT_EQ(g.launch(), 0);
			/* Nothing runs behind it, be it handed over by now. */
			g.count = 0;
			g.launch();
			/* For good, whatever is called. */
			EXPECT_EQ(cuStreamSynchronize(g.stream),
				  CUDA_ERROR_ILLEGAL_ADDRESS);
			EXPECT_EQ(g.launch(), CUDA_ERROR_ILLEGAL_ADDRESS);
			EXPECT_EQ(cuMemAlloc_v2(&src, 1),
				  CUDA_ERROR_ILLEGAL_ADDRESS);
			EXPECT_EQ(cuMemFree_v2(dst),
				  CUDA_ERROR_ILLEGAL_ADDRESS);
			EXPECT_EQ(*done, 0u);
		});
		EXPECT_NE(err.find(c.says), std::string::npos) << err;
	}
}

/* Host memory that is registered is, unless it is portable, one device's own. */
TEST(Gather, RegistrationIsOfOneDevice)
{
	for (bool portable : { true, false })
		in_process({ { "FAKECUDA_DEVICES", "2" } }, [&] {
			std::vector<char> mine(100);
			Gpu other(1);
			EXPECT_EQ(cuMemHostRegister_v2(
					  mine.data(), 100,
					  CUDA_HOST_DEVICEMAP |
						  (portable ? CUDA_HOST_PORTABLE :
							      0)),
				  0);
			Gpu gpu(0);
			Gather g(gpu);

			g.work[0] = { address(mine.data()), gpu.alloc(100), 100,
				      0 };
			g.count = 1;
			EXPECT_EQ(g.launch(), 0);
			EXPECT_EQ(g.arrived_done(), portable);
		});
}

TEST(Gather, MemoryOfAnotherDeviceIsIllegal)
{
	in_process({ { "FAKECUDA_DEVICES", "2" } }, [] {
		Gpu other(1);
		uint64_t theirs = other.alloc(100);
		uint64_t shared = address(other.host_alloc(100));
		Gpu gpu(0);
		Gather g(gpu);

		g.work[0] = { shared, gpu.alloc(100), 100, 0 };
		g.count = 1;
		EXPECT_EQ(g.launch(), 0);
		EXPECT_TRUE(g.arrived_done());
		g.work[0].src = theirs;
		g.ticket++;
		EXPECT_EQ(g.launch(), 0);
		EXPECT_FALSE(g.arrived_done());
		/* The other device is as good as it was. */
		EXPECT_EQ(cuCtxPushCurrent_v2(other.ctx), 0);
		EXPECT_EQ(cuMemFree_v2(theirs), 0);
		EXPECT_EQ(cuCtxPopCurrent_v2(nullptr), 0);
	});
}

/* Freeing waits, so what is under way is not cut off. */
TEST(Gather, FreeWaitsForIt)
{
	in_process(kSlow, [] {
		Gpu gpu;
		Gather g(gpu);

		for (int i = 0; i < 20; i++) {
			uint64_t src = gpu.alloc(100), dst = gpu.alloc(100);

			g.work[0] = { dst, src, 100, 0 };
			g.count = 1;
			g.ticket++;
			EXPECT_EQ(g.launch(), 0);
			EXPECT_EQ(cuMemFree_v2(src), 0);
			EXPECT_EQ(*g.done, g.ticket);
			EXPECT_EQ(cuMemFree_v2(dst), 0);
		}
	});
}

TEST(Threads, EachHasItsStream)
{
	in_process({ { "FAKECUDA_DELAY_US", "50" } }, [] {
		Gpu gpu;
		std::vector<std::thread> threads;

		for (unsigned int t = 0; t < 4; t++)
			threads.emplace_back([t] {
				Gpu own;
				Gather g(own);
				uint64_t src = own.alloc(5000);
				auto *dst = static_cast<uint8_t *>(
					own.host_alloc(5000));

				for (unsigned int i = 0; i < 50; i++) {
					auto p = pattern(5000, t * 100 + i);

					own.write(src, p);
					g.work[0] = { address(dst + 7), src + 7,
						      4993, 0 };
					g.work[1] = { address(dst), src, 7, 0 };
					g.count = 2;
					g.ticket++;
					EXPECT_EQ(g.launch(), 0);
					EXPECT_TRUE(g.arrived_done());
					EXPECT_EQ(memcmp(dst, p.data(), 5000),
						  0);
				}
				EXPECT_EQ(cuMemFree_v2(src), 0);
				EXPECT_EQ(cuMemFreeHost(dst), 0);
			});
		for (auto &t : threads)
			t.join();
		EXPECT_EQ(fakecuda_left(), 0u);
	});
}

/* ---- what would break or block others --------------------------------------- */

TEST(Capture, UnsafeCallsBreakIt)
{
	in_process({}, [] {
		Gpu gpu;
		Gather g(gpu);
		uint64_t at = 4096;
		void *p = &at;
		struct cuda_alloc_prop prop = {};
		struct cuda_access acc = {};
		unsigned long long h;
		size_t vmm = 2 << 20;
		const std::function<int()> unsafe[] = {
			[&] { return cuMemAlloc_v2(&at, 1); },
			[&] { return cuMemFree_v2(at); },
			[&] { return cuMemHostAlloc(&p, 1, 0); },
			[&] { return cuMemFreeHost(p); },
			[&] { return cuMemHostRegister_v2(p, 1, 0); },
			[&] { return cuMemHostUnregister(p); },
			[&] { return cuMemcpy(at, at, 1); },
			[&] { return cuMemsetD8_v2(at, 0, 1); },
			[&] { return cuStreamSynchronize(g.stream); },
			[&] { return cuStreamQuery(g.stream); },
			[&] { return cuStreamCreateWithPriority(&p, 1, 0); },
			[&] { return cuModuleLoadData(&p, "//.version"); },
			[&] { return cuMemAddressReserve(&at, vmm, 0, 0, 0); },
			[&] { return cuMemCreate(&h, vmm, &prop, 0); },
			[&] { return cuMemMap(at, vmm, 0, 0, 0); },
			[&] { return cuMemSetAccess(at, vmm, &acc, 1); },
			[&] { return cuMemUnmap(at, vmm); },
			[&] { return cuMemRelease(0); },
			[&] { return cuMemAddressFree(at, vmm); },
		};
		int mode = CUDA_CAPTURE_RELAXED;

		for (const auto &call : unsafe) {
			fakecuda_capture(true);
			EXPECT_FALSE(fakecuda_capture_broken());
			EXPECT_EQ(call(), CAPTURE_UNSUPPORTED);
			EXPECT_TRUE(fakecuda_capture_broken());
		}
		fakecuda_capture(true);
		EXPECT_EQ(g.launch(), 0);
		EXPECT_EQ(cuThreadExchangeStreamCaptureMode(&mode), 0);
		EXPECT_EQ(mode, 0);
		for (const auto &call : unsafe)
			EXPECT_NE(call(), CAPTURE_UNSUPPORTED);
		EXPECT_FALSE(fakecuda_capture_broken());
		EXPECT_EQ(cuThreadExchangeStreamCaptureMode(&mode), 0);
		EXPECT_EQ(mode, CUDA_CAPTURE_RELAXED);
		mode = 3;
		EXPECT_EQ(cuThreadExchangeStreamCaptureMode(&mode),
			  CUDA_ERROR_INVALID_VALUE);
		fakecuda_capture(false);
		EXPECT_EQ(cuStreamSynchronize(g.stream), 0);
	});
}

TEST(Spin, CallsThatWouldWaitAreCounted)
{
	in_process({}, [] {
		Gpu gpu;
		uint64_t at = gpu.alloc(1);
		void *host = gpu.host_alloc(1), *s = gpu.stream(), *m;
		std::vector<char> mine(10);

		EXPECT_EQ(cuModuleLoadData(&m, "//.version"), 0);
		EXPECT_EQ(cuMemHostRegister_v2(mine.data(), 10, 0), 0);
		fakecuda_spin(true);
		EXPECT_EQ(cuStreamSynchronize(s), 0);
		EXPECT_EQ(cuMemcpy(at, address(&s), 1), 0);
		EXPECT_EQ(fakecuda_would_block(), 0u);
		EXPECT_EQ(cuMemFree_v2(at), 0);
		EXPECT_EQ(cuMemFreeHost(host), 0);
		EXPECT_EQ(cuMemHostUnregister(mine.data()), 0);
		EXPECT_EQ(cuModuleUnload(m), 0);
		EXPECT_EQ(fakecuda_would_block(), 4u);
		fakecuda_spin(false);
		at = gpu.alloc(1);
		EXPECT_EQ(cuMemFree_v2(at), 0);
		EXPECT_EQ(fakecuda_would_block(), 4u);
		fakecuda_spin(true);
		EXPECT_EQ(fakecuda_would_block(), 0u);
	});
}

} // namespace
