/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fixture.h - for the tests of the stand-in for the CUDA driver: each is a process
 * of its own, because the driver starts once, with the environment of that time.
 */
#ifndef FAKECUDA_FIXTURE_H
#define FAKECUDA_FIXTURE_H

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cuda_abi.h"
#include "fakecuda.h"
#include "gather_work.h"

#define FAKE_DECLARE(member, symbol, params) extern "C" int symbol params;
CUDA_CALLS(FAKE_DECLARE)
CUDA_CALLS_OPTIONAL(FAKE_DECLARE)
#undef FAKE_DECLARE

#define CAPTURE_UNSUPPORTED 900

using Env = std::vector<std::pair<const char *, const char *>>;

/* Runs @body in a child with those variables, and no others of ours; its failures
 * and its skip are this test's. What it wrote to stderr. */
std::string in_process(const Env &env, const std::function<void()> &body);

/* A device with its context current in the thread that made it. */
class Gpu
{
      public:
	explicit Gpu(int device = 0);
	~Gpu();
	Gpu(const Gpu &) = delete;
	Gpu &operator=(const Gpu &) = delete;
	uint64_t alloc(size_t bytes);
	void *host_alloc(size_t bytes);
	void *stream();
	/* Its bytes, by cuMemcpy. */
	std::vector<uint8_t> read(uint64_t at, size_t bytes);
	void write(uint64_t at, const std::vector<uint8_t> &bytes);

	void *ctx = nullptr;
	int device;
};

/* The gather kernel, and memory for its arguments. */
class Gather
{
      public:
	explicit Gather(Gpu &gpu, unsigned int pieces = 1024);
	~Gather();
	Gather(const Gather &) = delete;
	Gather &operator=(const Gather &) = delete;
	int launch(unsigned int block = GATHER_THREADS);
	bool arrived_done(); /* waits for `done`, or a fault of the context */

	Gpu &gpu;
	void *module = nullptr, *function = nullptr, *stream;
	struct gather_work *work;
	uint32_t count = 0;
	uint64_t arrived, *done, ticket = 1;
};

/* The same bytes for the same seed. */
std::vector<uint8_t> pattern(size_t bytes, unsigned int seed);

#endif /* FAKECUDA_FIXTURE_H */
