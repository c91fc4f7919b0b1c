// SPDX-License-Identifier: BSD-3-Clause
/*
 * fixture.cc - see fixture.h.
 */
#include "fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

static const int kSkipped = 77;

[[noreturn]] static void child(const Env &env,
			       const std::function<void()> &body)
{
	for (const char *name :
	     { "DEVICES", "INIT", "FAIL", "ATTR", "DELAY_US", "PCIE", "REPORT" })
		unsetenv((std::string("FAKECUDA_") + name).c_str());
	for (const auto &[name, value] : env)
		setenv(name, value, 1);
	body();
	fflush(nullptr);
	exit(testing::Test::HasFailure() ? 1 :
	     testing::Test::IsSkipped()	 ? kSkipped :
					   0);
}

std::string in_process(const Env &env, const std::function<void()> &body)
{
	int status = 0;

	fflush(nullptr);
	testing::internal::CaptureStderr();
	pid_t pid = fork();
	if (!pid)
		child(env, body);
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	std::string err = testing::internal::GetCapturedStderr();
	if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped)
		[] { GTEST_SKIP() << "see above"; }();
	else
		EXPECT_EQ(status, 0) << "of the test's process; stderr:\n"
				     << err;
	return err;
}

Gpu::Gpu(int device_) : device(device_)
{
	EXPECT_EQ(cuInit(0), 0);
	EXPECT_EQ(cuDevicePrimaryCtxRetain(&ctx, device), 0);
	EXPECT_EQ(cuCtxPushCurrent_v2(ctx), 0);
}

Gpu::~Gpu()
{
	void *old = nullptr;

	EXPECT_EQ(cuCtxPopCurrent_v2(&old), 0);
	EXPECT_EQ(old, ctx);
	EXPECT_EQ(cuDevicePrimaryCtxRelease_v2(device), 0);
}

uint64_t Gpu::alloc(size_t bytes)
{
	uint64_t at = 0;

	EXPECT_EQ(cuMemAlloc_v2(&at, bytes), 0);
	return at;
}

void *Gpu::host_alloc(size_t bytes)
{
	void *at = nullptr;

	EXPECT_EQ(cuMemHostAlloc(&at, bytes,
				 CUDA_HOST_PORTABLE | CUDA_HOST_DEVICEMAP),
		  0);
	return at;
}

void *Gpu::stream()
{
	void *s = nullptr;

	EXPECT_EQ(cuStreamCreateWithPriority(&s, CUDA_STREAM_NON_BLOCKING, 0),
		  0);
	return s;
}

std::vector<uint8_t> Gpu::read(uint64_t at, size_t bytes)
{
	std::vector<uint8_t> to(bytes);

	EXPECT_EQ(cuMemcpy(reinterpret_cast<uintptr_t>(to.data()), at, bytes),
		  0);
	return to;
}

void Gpu::write(uint64_t at, const std::vector<uint8_t> &bytes)
{
	EXPECT_EQ(cuMemcpy(at, reinterpret_cast<uintptr_t>(bytes.data()),
			   bytes.size()),
		  0);
}

Gather::Gather(Gpu &gpu_, unsigned int pieces) : gpu(gpu_)
{
	EXPECT_EQ(cuModuleLoadData(&module, "//\n.version 8.0\n"), 0);
	EXPECT_EQ(cuModuleGetFunction(&function, module, GATHER_KERNEL), 0);
	stream = gpu.stream();
	work = static_cast<struct gather_work *>(
		gpu.host_alloc(pieces * sizeof(*work)));
	done = static_cast<uint64_t *>(gpu.host_alloc(sizeof(*done)));
	arrived = gpu.alloc(sizeof(uint32_t));
	gpu.write(arrived, std::vector<uint8_t>(4));
}

/* A context that is of no use any more keeps it all. */
Gather::~Gather()
{
	if (cuStreamSynchronize(stream))
		return;
	EXPECT_EQ(cuMemFree_v2(arrived), 0);
	EXPECT_EQ(cuMemFreeHost(done), 0);
	EXPECT_EQ(cuMemFreeHost(work), 0);
	EXPECT_EQ(cuStreamDestroy_v2(stream), 0);
	EXPECT_EQ(cuModuleUnload(module), 0);
}

int Gather::launch(unsigned int block)
{
	/* None of these is the caller's: they are gone at return. */
	uint64_t at = reinterpret_cast<uintptr_t>(work), word = arrived;
	uint64_t to = reinterpret_cast<uintptr_t>(done), value = ticket;
	uint32_t n = count;
	void *params[] = { &at, &n, &word, &to, &value };

	return cuLaunchKernel(function, 4, 1, 1, block, 1, 1, 0, stream, params,
			      nullptr);
}

bool Gather::arrived_done()
{
	while (__atomic_load_n(done, __ATOMIC_ACQUIRE) != ticket) {
		int rc = cuStreamQuery(stream);
		if (rc && rc != CUDA_ERROR_NOT_READY)
			return false;
		usleep(100);
	}
	return true;
}

std::vector<uint8_t> pattern(size_t bytes, unsigned int seed)
{
	std::vector<uint8_t> p(bytes);
	uint32_t x = seed * 2654435761u + 1;

	for (auto &b : p) {
		x = x * 1664525u + 1013904223u;
		b = static_cast<uint8_t>(x >> 24);
	}
	return p;
}
