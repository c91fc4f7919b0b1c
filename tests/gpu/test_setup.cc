// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_setup.cc - making and giving back what there is on a GPU: whatever the driver
 * refuses is a reason, and nothing stays behind.
 */
#include "gpu_test.h"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace {

class Setup : public GpuTest {
protected:
	struct region region_on(struct gpu *gpu, size_t bytes, bool exported)
	{
		struct region r = {};

		r.bytes = bytes;
		r.gpu = gpu;
		r.exported = exported;
		return r;
	}
};

TEST_F(Setup, AGpuIsHeldOnceAndGivenBack)
{
	struct why why;
	struct gpu *a = gpu_get(1, &why), *b = gpu_get(1, &why);

	ASSERT_NE(a, nullptr);
	EXPECT_EQ(a, b);
	EXPECT_EQ(a->ordinal, 1);
	EXPECT_GT(fakecuda_left(), 0u);
	gpu_put(a);
	EXPECT_GT(fakecuda_left(), 0u);
	gpu_put(b);
	EXPECT_EQ(fakecuda_left(), 0u);
}

TEST_F(Setup, ThereIsNoSuchGpu)
{
	struct why why = {};

	EXPECT_EQ(gpu_get(5, &why), nullptr);
	EXPECT_NE(std::strstr(why.text, "GPU 5"), nullptr) << why.text;
}

TEST_F(Setup, WhateverFailsIsAReasonAndLeavesNothing)
{
	static const char *const specs[] = {
		"cuDevicePrimaryCtxRetain:1=2",
		"cuModuleLoadData:1=209",
		"cuModuleGetFunction:1=500",
		"cuCtxGetStreamPriorityRange:1=999",
		"cuStreamCreateWithPriority:1=2",
		"cuMemAlloc_v2:1=2",
		"cuMemHostAlloc:1=2",
		"cuMemHostAlloc:2=2",
		"cuMemHostAlloc:3=2",
		"cuMemcpyAsync:1=999",
		"cuLaunchKernel:1=209",
	};

	for (const char *spec : specs) {
		struct why why = {};

		ASSERT_TRUE(fakecuda_fail(spec));
		EXPECT_EQ(gpu_get(0, &why), nullptr) << spec;
		EXPECT_STRNE(why.text, "") << spec;
		EXPECT_EQ(fakecuda_left(), 0u) << spec;
	}
}

TEST_F(Setup, PoolsOfAGpuAreInOneRange)
{
	struct why why;
	struct gpu *gpu = gpu_get(0, &why);
	struct region r[3];

	for (struct region &one : r) {
		one = region_on(gpu, 3 << 20, false);
		ASSERT_EQ(region_alloc(&one, &region_cuda, &why), 0)
			<< why.text;
		uint64_t base = r[0].memory.base;

		EXPECT_EQ(one.memory.base, base);
		EXPECT_GE(one.memory.addr, base);
		EXPECT_LT(one.memory.addr + one.bytes - base, 1ull << 32);
		EXPECT_EQ(reinterpret_cast<uint64_t>(one.map),
			  one.memory.addr);
	}
	EXPECT_NE(r[0].map, r[1].map);
	EXPECT_NE(r[1].map, r[2].map);
	/* What is free is used again. */
	uint8_t *was = r[1].map;
	region_free(&r[1]);
	r[1] = region_on(gpu, 3 << 20, false);
	ASSERT_EQ(region_alloc(&r[1], &region_cuda, &why), 0);
	EXPECT_EQ(r[1].map, was);
	for (struct region &one : r)
		region_free(&one);
	gpu_put(gpu);
}

TEST_F(Setup, APoolThatFailsLeavesNothing)
{
	static const char *const specs[] = {
		"cuMemGetAllocationGranularity:1=999",
		"cuMemCreate:1=2",
		"cuMemAddressReserve:1=2",
		"cuMemMap:1=999",
		"cuMemSetAccess:1=999",
	};

	for (const char *spec : specs) {
		struct why why = {};
		struct gpu *gpu = gpu_get(0, &why);
		struct region r = region_on(gpu, 1 << 20, false);

		ASSERT_NE(gpu, nullptr);
		ASSERT_TRUE(fakecuda_fail(spec));
		EXPECT_LT(region_alloc(&r, &region_cuda, &why), 0) << spec;
		EXPECT_STRNE(why.text, "") << spec;
		gpu_put(gpu);
		EXPECT_EQ(fakecuda_left(), 0u) << spec;
	}
}

TEST_F(Setup, WithoutVirtualMemoryItIsAllocatedAsUsual)
{
	struct why why = {};
	struct gpu *gpu = gpu_get(0, &why);
	struct region r = region_on(gpu, 1 << 20, false);

	ASSERT_NE(gpu, nullptr);
	ASSERT_TRUE(fakecuda_fail("cuMemCreate:1=801"));
	ASSERT_EQ(region_alloc(&r, &region_cuda, &why), 0) << why.text;
	EXPECT_EQ(r.memory.handle, 0u);
	EXPECT_EQ(r.memory.addr % 4096, 0u);
	region_free(&r);
	gpu_put(gpu);
}

/* With /dev/udmabuf the stand-in can export; else it says that it cannot. */
TEST_F(Setup, APoolIsExportedOrSaysWhyNot)
{
	struct why why = {};
	struct gpu *gpu = gpu_get(0, &why);
	struct region r = region_on(gpu, 2 << 20, true);
	int rc;

	ASSERT_NE(gpu, nullptr);
	rc = region_alloc(&r, &region_cuda, &why);
	if (access("/dev/udmabuf", R_OK | W_OK)) {
		EXPECT_LT(rc, 0);
		EXPECT_STRNE(why.text, "");
		EXPECT_LT(gpu_probe(0, true, &why), 0);
	} else {
		ASSERT_EQ(rc, 0) << why.text;
		EXPECT_EQ(lseek(r.dmabuf_fd, 0, SEEK_END), 2 << 20);
		EXPECT_EQ(fcntl(r.dmabuf_fd, F_GETFD), FD_CLOEXEC);
		region_free(&r);
	}
	gpu_put(gpu);
}

TEST_F(Setup, WhoseMemoryItIs)
{
	struct why why;
	struct gpu *gpu = gpu_get(1, &why);
	int here;

	{
		DeviceBytes bytes(gpu, 100);

		EXPECT_EQ(gpu_of(bytes.address(99)), 1);
	}
	EXPECT_EQ(gpu_of(&here), -1);
	EXPECT_EQ(gpu_of(nullptr), -1);
	gpu_put(gpu);
}

TEST_F(Setup, HostMemoryIsPinnedWhereItIsNot)
{
	struct why why;
	struct gpu *gpu = gpu_get(0, &why);
	std::vector<uint8_t> bytes(100000);
	void *pinned = gpu_host_alloc(gpu, 8192);
	unsigned int before = fakecuda_left();
	struct gpu_pin *pin;

	ASSERT_EQ(gpu_pin(gpu, pinned, 8192, &pin, &why), 0);
	EXPECT_EQ(fakecuda_left(), before);
	gpu_unpin(pin);
	ASSERT_EQ(gpu_pin(gpu, bytes.data(), bytes.size(), &pin, &why), 0);
	EXPECT_EQ(fakecuda_left(), before + 1);
	gpu_unpin(pin);
	EXPECT_EQ(fakecuda_left(), before);
	ASSERT_TRUE(fakecuda_fail("cuMemHostRegister_v2:1=2"));
	EXPECT_EQ(gpu_pin(gpu, bytes.data(), bytes.size(), &pin, &why),
		  -ENOMEM);
	EXPECT_EQ(pin, nullptr);
	gpu_host_free(gpu, pinned);
	gpu_put(gpu);
}

/* Twice the same, neighbours in one page, one around others. */
TEST_F(Setup, PinsShareTheirPages)
{
	struct why why;
	struct gpu *gpu = gpu_get(0, &why);
	void *area = std::aligned_alloc(4096, 10 * 4096);
	uint8_t *at = static_cast<uint8_t *>(area);
	struct {
		size_t from, size;
	} ranges[] = {{5000, 3000}, {5000, 3000}, {8000, 5000}, {30000, 10},
		      {100, 40000}};
	unsigned int before = fakecuda_left();
	struct gpu_pin *pin[5];
	auto visible = [&](size_t i) {
		int kind = 0;
		uint64_t p = reinterpret_cast<uint64_t>(at) + ranges[i].from;

		return !gpu->cuda->pointer_get(&kind, CUDA_POINTER_MEMORY_TYPE,
					       p) &&
		       !gpu->cuda->pointer_get(&kind, CUDA_POINTER_MEMORY_TYPE,
					       p + ranges[i].size - 1);
	};

	for (size_t i = 0; i < 5; i++)
		ASSERT_EQ(gpu_pin(gpu, at + ranges[i].from, ranges[i].size,
				  &pin[i], &why),
			  0)
			<< why.text;
	for (size_t gone : {0, 4, 2, 1, 3}) {
		for (size_t i = 0; i < 5; i++)
			EXPECT_TRUE(!pin[i] || visible(i)) << i;
		gpu_unpin(pin[gone]);
		pin[gone] = nullptr;
	}
	EXPECT_EQ(fakecuda_left(), before);
	std::free(area);
	gpu_put(gpu);
}

TEST_F(Setup, TheThreadsContextChoosesTheGpu)
{
	struct why why;
	struct gpu *gpu = gpu_get(1, &why);

	EXPECT_EQ(gpu_choose("", &why), 0);
	{
		Scope s(gpu);

		EXPECT_EQ(gpu_choose("", &why), 1);
	}
	gpu_put(gpu);
}

} // namespace
