// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_fakecuda.cc - the stand-in for the CUDA driver: how it starts, what the
 * environment does to it, devices and contexts, calls that fail as told.
 */
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "fixture.h"

namespace {

/* As transport/cuda.c does. */
TEST(Start, IsFoundByNameWithAllCalls)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

	ASSERT_TRUE(lib) << dlerror();
#define FIND(member, symbol, params) \
	EXPECT_EQ(dlsym(lib, #symbol), reinterpret_cast<void *>(symbol));
	CUDA_CALLS(FIND)
	CUDA_CALLS_OPTIONAL(FIND)
#undef FIND
	EXPECT_FALSE(dlsym(lib, "enter"));
	dlclose(lib);
}

TEST(Start, NothingWorksBeforeInit)
{
	in_process({}, [] {
		int n = 0;
		void *ctx;

		EXPECT_EQ(cuDeviceGetCount(&n), CUDA_ERROR_NOT_INITIALIZED);
		EXPECT_EQ(cuDevicePrimaryCtxRetain(&ctx, 0),
			  CUDA_ERROR_NOT_INITIALIZED);
		EXPECT_EQ(cuDriverGetVersion(&n), 0);
		EXPECT_GE(n, 11070);
		EXPECT_EQ(cuInit(1), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuInit(0), 0);
		EXPECT_EQ(cuInit(0), 0);
		EXPECT_EQ(cuDeviceGetCount(&n), 0);
		EXPECT_EQ(n, 1);
	});
}

TEST(Start, ChildOfUserCannotUseIt)
{
	in_process({}, [] {
		int n, status = -1;

		EXPECT_EQ(cuInit(0), 0);
		pid_t pid = fork();
		if (!pid)
			_exit(cuDeviceGetCount(&n) !=
				      CUDA_ERROR_NOT_INITIALIZED ||
			      cuInit(0) != CUDA_ERROR_NOT_INITIALIZED ||
			      fakecuda_left());
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		EXPECT_EQ(status, 0);
		EXPECT_EQ(cuDeviceGetCount(&n), 0);
	});
}

TEST(Start, InitFailsAsTold)
{
	in_process({ { "FAKECUDA_INIT", "803" } },
		   [] { EXPECT_EQ(cuInit(0), 803); });
	in_process({ { "FAKECUDA_DEVICES", "0" } },
		   [] { EXPECT_EQ(cuInit(0), CUDA_ERROR_NO_DEVICE); });
	in_process({ { "FAKECUDA_FAIL", "cuInit:1=999" } }, [] {
		EXPECT_EQ(cuInit(0), CUDA_ERROR_UNKNOWN);
		EXPECT_EQ(cuInit(0), 0);
	});
}

TEST(Start, NonsenseIsRefused)
{
	const Env wrong = {
		{ "FAKECUDA_DEVICES", "17" },
		{ "FAKECUDA_DEVICES", "" },
		{ "FAKECUDA_DEVICES", "2x" },
		{ "FAKECUDA_DEVICES", "-1" },
		{ "FAKECUDA_INIT", "none" },
		{ "FAKECUDA_DELAY_US", " 5" },
		{ "FAKECUDA_DELAY_US", "99999999999999999999" },
		{ "FAKECUDA_PCIE", "2" },
		{ "FAKECUDA_REPORT", "yes" },
		{ "FAKECUDA_ATTR", "124" },
		{ "FAKECUDA_ATTR", "124=0," },
		{ "FAKECUDA_ATTR", "124=0;118=1" },
		{ "FAKECUDA_FAIL", "cuMemAlloc:1=2" },
		{ "FAKECUDA_FAIL", "cuMemAlloc_v2" },
		{ "FAKECUDA_FAIL", "cuMemAlloc_v2:0=2" },
		{ "FAKECUDA_FAIL", "cuMemAlloc_v2:1=0" },
		{ "FAKECUDA_FAIL", "cuMemAlloc_v2:1-=2" },
		{ "FAKECUDA_FAIL", "cuMemAlloc_v2:1=2," },
		{ "FAKECUDA_FAIL", "cuMemAlloc_v2:1=2 " },
	};

	for (const auto &variable : wrong) {
		SCOPED_TRACE(std::string(variable.first) + "=" +
			     variable.second);
		auto err = in_process({ variable }, [] {
			int n;

			EXPECT_EQ(cuInit(0), CUDA_ERROR_UNKNOWN);
			EXPECT_EQ(cuDeviceGetCount(&n),
				  CUDA_ERROR_NOT_INITIALIZED);
		});
		EXPECT_NE(err.find("fakecuda: not understood"),
			  std::string::npos);
	}
}

TEST(Start, ErrorsHaveNames)
{
	const char *name = nullptr, *text = nullptr;

	EXPECT_EQ(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &name), 0);
	EXPECT_STREQ(name, "CUDA_ERROR_ILLEGAL_ADDRESS");
	EXPECT_EQ(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text), 0);
	EXPECT_STREQ(text, "out of memory");
	EXPECT_EQ(cuGetErrorName(12345, &name), CUDA_ERROR_INVALID_VALUE);
	EXPECT_EQ(name, nullptr);
}

TEST(Device, EachIsDistinct)
{
	in_process({ { "FAKECUDA_DEVICES", "16" } }, [] {
		std::set<std::string> ids, names;
		char text[40];
		int dev;

		ASSERT_EQ(cuInit(0), 0);
		for (int i = 0; i < 16; i++) {
			EXPECT_EQ(cuDeviceGet(&dev, i), 0);
			EXPECT_EQ(cuDeviceGetName(text, sizeof(text), dev), 0);
			names.insert(text);
			EXPECT_EQ(cuDeviceGetPCIBusId(text, sizeof(text), dev),
				  0);
			ids.insert(text);
		}
		EXPECT_EQ(names.size(), 16u);
		EXPECT_EQ(ids.size(), 16u);
		EXPECT_TRUE(names.count("Fake GPU 15"));
		EXPECT_TRUE(ids.count("0000:4A:00.0"));
		EXPECT_EQ(cuDeviceGetPCIBusId(text, 12, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuDeviceGet(&dev, 16), CUDA_ERROR_INVALID_DEVICE);
		EXPECT_EQ(cuDeviceGetName(text, sizeof(text), -1),
			  CUDA_ERROR_INVALID_DEVICE);
	});
}

TEST(Device, HasAttributesThatCanBeSet)
{
	in_process({ { "FAKECUDA_ATTR", "118=200,16=132" } }, [] {
		int v = -1;

		ASSERT_EQ(cuInit(0), 0);
		EXPECT_EQ(cuDeviceGetAttribute(&v, 75, 0), 0);
		EXPECT_EQ(v, 9);
		EXPECT_EQ(cuDeviceGetAttribute(
				  &v, CUDA_ATTR_RDMA_WRITES_ORDERING, 0),
			  0);
		EXPECT_EQ(v, CUDA_RDMA_ORDERED_ALL);
		EXPECT_EQ(cuDeviceGetAttribute(&v, 16, 0), 0);
		EXPECT_EQ(v, 132);
		EXPECT_EQ(cuDeviceGetAttribute(&v, CUDA_ATTR_DMA_BUF_SUPPORTED,
					       0),
			  0);
		EXPECT_EQ(v, !access("/dev/udmabuf", R_OK | W_OK));
		EXPECT_EQ(cuDeviceGetAttribute(&v, 16, 1),
			  CUDA_ERROR_INVALID_DEVICE);
		EXPECT_EQ(cuDeviceGetAttribute(&v, 100000, 0),
			  CUDA_ERROR_INVALID_VALUE);
	});
}

TEST(Context, CallsThatNeedOneFailWithout)
{
	in_process({}, [] {
		uint64_t at;
		int dev, n;
		void *p;

		ASSERT_EQ(cuInit(0), 0);
		const int results[] = {
			cuCtxGetDevice(&dev),
			cuCtxGetStreamPriorityRange(&n, &n),
			cuMemAlloc_v2(&at, 1),
			cuMemFree_v2(4096),
			cuMemcpy(4096, 4096, 1),
			cuMemcpyAsync(4096, 4096, 1, nullptr),
			cuMemsetD8_v2(4096, 0, 1),
			cuMemHostAlloc(&p, 1, 0),
			cuMemFreeHost(&n),
			cuMemHostRegister_v2(&n, 4, 0),
			cuMemHostUnregister(&n),
			cuStreamCreateWithPriority(&p, 1, 0),
			cuStreamDestroy_v2(&n),
			cuStreamQuery(nullptr),
			cuStreamSynchronize(nullptr),
			cuModuleLoadData(&p, "//.version"),
			cuModuleUnload(&n),
			cuModuleGetFunction(&p, &n, GATHER_KERNEL),
			cuLaunchKernel(&n, 1, 1, 1, 1, 1, 1, 0, nullptr, &p,
				       nullptr),
			cuMemGetHandleForAddressRange(&n, 4096, 4096, 1, 0),
			cuFlushGPUDirectRDMAWrites(0, 100),
			cuCtxPopCurrent_v2(&p),
			cuCtxPushCurrent_v2(nullptr),
			cuCtxPushCurrent_v2(&n),
		};
		for (int rc : results)
			EXPECT_EQ(rc, CUDA_ERROR_INVALID_CONTEXT)
				<< &rc - results;
		EXPECT_EQ(cuCtxGetCurrent(&p), 0);
		EXPECT_EQ(p, nullptr);
	});
}

TEST(Context, IsCurrentInOneThread)
{
	in_process({ { "FAKECUDA_DEVICES", "2" } }, [] {
		Gpu first(0);
		void *now;
		int dev;

		{
			Gpu second(1);
			EXPECT_EQ(cuCtxGetDevice(&dev), 0);
			EXPECT_EQ(dev, 1);
		}
		EXPECT_EQ(cuCtxGetCurrent(&now), 0);
		EXPECT_EQ(now, first.ctx);
		std::thread([&] {
			EXPECT_EQ(cuCtxGetDevice(&dev),
				  CUDA_ERROR_INVALID_CONTEXT);
		}).join();
	});
}

TEST(Context, StackHasAnEnd)
{
	in_process({}, [] {
		Gpu gpu;
		int i;

		for (i = 0; i < 100 && !cuCtxPushCurrent_v2(gpu.ctx); i++)
			;
		EXPECT_GT(i, 4);
		EXPECT_LT(i, 100);
		while (i--)
			cuCtxPopCurrent_v2(nullptr);
	});
}

TEST(Context, LastReleaseEndsIt)
{
	in_process({}, [] {
		uint64_t at;
		void *ctx, *again, *stream;

		ASSERT_EQ(cuInit(0), 0);
		EXPECT_EQ(cuDevicePrimaryCtxRelease_v2(0),
			  CUDA_ERROR_INVALID_CONTEXT);
		EXPECT_EQ(cuDevicePrimaryCtxRetain(&ctx, 0), 0);
		EXPECT_EQ(cuDevicePrimaryCtxRetain(&again, 0), 0);
		EXPECT_EQ(ctx, again);
		EXPECT_EQ(cuCtxPushCurrent_v2(ctx), 0);
		EXPECT_EQ(cuMemAlloc_v2(&at, 100), 0);
		EXPECT_EQ(cuStreamCreateWithPriority(&stream, 1, 0), 0);
		EXPECT_EQ(cuDevicePrimaryCtxRelease_v2(0), 0);
		EXPECT_EQ(fakecuda_left(), 2u);
		EXPECT_EQ(cuDevicePrimaryCtxRelease_v2(0), 0);
		EXPECT_EQ(fakecuda_left(), 0u);
		EXPECT_EQ(fakecuda_leaked(), 2u);
		EXPECT_EQ(cuMemFree_v2(at), CUDA_ERROR_INVALID_CONTEXT);
		EXPECT_EQ(cuCtxPopCurrent_v2(nullptr), 0);
		EXPECT_EQ(cuCtxPushCurrent_v2(ctx), CUDA_ERROR_INVALID_CONTEXT);
	});
}

TEST(Fail, NthCallAndFromThenOn)
{
	in_process({ { "FAKECUDA_FAIL",
		       "cuMemAlloc_v2:2=2,cuMemFree_v2:2+=719" } },
		   [] {
			   Gpu gpu;
			   uint64_t a = gpu.alloc(1), b = 0, c;

			   EXPECT_EQ(cuMemAlloc_v2(&b, 1), 2);
			   EXPECT_EQ(b, 0u);
			   EXPECT_EQ(fakecuda_left(), 1u);
			   b = gpu.alloc(1);
			   c = gpu.alloc(1);
			   EXPECT_EQ(cuMemFree_v2(a), 0);
			   EXPECT_EQ(cuMemFree_v2(b), 719);
			   EXPECT_EQ(cuMemFree_v2(b), 719);
			   EXPECT_EQ(fakecuda_calls("cuMemAlloc_v2"), 4u);
			   EXPECT_EQ(fakecuda_calls("cuMemFree_v2"), 3u);

			   EXPECT_TRUE(fakecuda_fail("cuMemFree_v2:2=1"));
			   EXPECT_EQ(fakecuda_calls("cuMemAlloc_v2"), 0u);
			   EXPECT_FALSE(fakecuda_fail("cuMemFree_v2:2="));
			   EXPECT_EQ(cuMemFree_v2(b), 0);
			   EXPECT_EQ(cuMemFree_v2(c), 1);
			   EXPECT_EQ(cuMemFree_v2(c), 0);
			   EXPECT_EQ(fakecuda_left(), 0u);
		   });
}

TEST(Fail, TestComesBeforeEnvironment)
{
	in_process({ { "FAKECUDA_FAIL", "cuInit:1=999" } }, [] {
		EXPECT_TRUE(fakecuda_fail("cuDeviceGetCount:1=3"));
		EXPECT_EQ(cuInit(0), 0);
		int n;
		EXPECT_EQ(cuDeviceGetCount(&n), 3);
		EXPECT_EQ(fakecuda_calls("cuWhatever"), 0u);
	});
}

TEST(Report, SaysWhatIsLeft)
{
	auto err = in_process({ { "FAKECUDA_REPORT", "1" } }, [] {
		cuInit(0);
		void *ctx;
		uint64_t at;
		cuDevicePrimaryCtxRetain(&ctx, 0);
		cuCtxPushCurrent_v2(ctx);
		cuMemAlloc_v2(&at, 1);
		cuMemAlloc_v2(&at, 1);
		cuMemAddressReserve(&at, 2 << 20, 0, 0, 0);
	});
	EXPECT_NE(err.find("fakecuda: left 3: 2 memory, 1 address ranges"),
		  std::string::npos)
		<< err;
	EXPECT_EQ(in_process({}, [] { Gpu gpu; }), "");
}

} // namespace
