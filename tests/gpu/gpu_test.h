// SPDX-License-Identifier: BSD-3-Clause
/*
 * gpu_test.h - a GPU for tests: memory on it that the test can fill and look at, and
 * what the stand-in for the driver says of how it was used.
 */
#ifndef GPU_TEST_H
#define GPU_TEST_H

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#ifndef _Static_assert
#define _Static_assert static_assert
#endif

extern "C" {
#include "cuda.h"
#include "gather.h"
#include "gather_image.h"
#include "gather_work.h"
#include "gpu.h"
#include "region.h"
#include "unpack_abi.h"
}

#include "fakecuda.h"

/* Until it is so, for at most ten seconds. */
inline bool wait_until(const std::function<bool()> &is_so)
{
	auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);

	while (!is_so())
		if (std::chrono::steady_clock::now() > end)
			return false;
	return true;
}

/* Enters the GPU's context for a test's own calls. */
class Scope {
public:
	explicit Scope(const struct gpu *g) : cuda(g->cuda)
	{
		EXPECT_EQ(gpu_enter(g, &scope_), 0);
	}
	~Scope() { gpu_leave(&scope_); }
	const struct cuda *cuda;

private:
	struct gpu_scope scope_;
};

/* Memory of a GPU. */
class DeviceBytes {
public:
	DeviceBytes(const struct gpu *g, size_t size) : gpu_(g), size_(size)
	{
		Scope s(g);

		EXPECT_EQ(s.cuda->mem_alloc(&at, size), 0);
	}
	~DeviceBytes()
	{
		Scope s(gpu_);

		s.cuda->mem_free(at);
	}
	DeviceBytes(const DeviceBytes &) = delete;
	DeviceBytes &operator=(const DeviceBytes &) = delete;

	void *address(size_t offset = 0) const
	{
		return reinterpret_cast<void *>(at + offset);
	}
	void write(const std::vector<uint8_t> &bytes, size_t offset = 0)
	{
		Scope s(gpu_);

		EXPECT_EQ(s.cuda->mem_copy(
				  at + offset,
				  reinterpret_cast<uintptr_t>(bytes.data()),
				  bytes.size()),
			  0);
	}
	std::vector<uint8_t> read() const
	{
		std::vector<uint8_t> bytes(size_);
		Scope s(gpu_);

		EXPECT_EQ(s.cuda->mem_copy(
				  reinterpret_cast<uintptr_t>(bytes.data()), at,
				  size_),
			  0);
		return bytes;
	}

	uint64_t at = 0;

private:
	const struct gpu *gpu_;
	size_t size_;
};

inline std::vector<uint8_t> random_bytes(std::mt19937 &random, size_t size)
{
	std::vector<uint8_t> bytes(size);

	for (uint8_t &byte : bytes)
		byte = uint8_t(random());
	return bytes;
}

/* Nothing of a test stays on the GPU. */
class GpuTest : public testing::Test {
protected:
	void SetUp() override
	{
		if (!gather_image(nullptr))
			GTEST_SKIP() << "built without nvcc: no kernel";
		fakecuda_fail("");
	}
	void TearDown() override
	{
		fakecuda_stall(false);
		fakecuda_fail("");
		EXPECT_EQ(fakecuda_left(), 0u);
		EXPECT_EQ(fakecuda_leaked(), 0u);
	}
	std::mt19937 random{11};
};

#endif // GPU_TEST_H
