/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cuda_memory.c - see cuda_memory.h. Driver and GPU are the process's. Knows nothing of plugins.
 */
#include "cuda_memory.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include "cuda_abi.h"

#define MEMBER(member, symbol, params) int(*member) params;

static struct {
	void *lib;
	CUDA_CALLS(MEMBER)
	CUDA_CALLS_OPTIONAL(MEMBER)
} cu;

static struct {
	void *ctx; /* NULL: none is open */
	int number, dev;
	char name[64];
} gpu;

/* NULL, or the first symbol that is missing. */
static const char *find_all(void *lib)
{
	const char *missing = NULL;

#define FIND(member, symbol, params)                \
	*(void **)&cu.member = dlsym(lib, #symbol); \
	if (!cu.member && !missing)                 \
		missing = #symbol;
#define FIND_OPTIONAL(member, symbol, params) \
	*(void **)&cu.member = dlsym(lib, #symbol);
	CUDA_CALLS(FIND)
	CUDA_CALLS_OPTIONAL(FIND_OPTIONAL)
	return missing;
}

static bool load(char *why, size_t size)
{
	const char *missing;
	void *lib;
	int rc;

	if (cu.lib)
		return true;
	lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		snprintf(why, size, "there is no CUDA driver: %s", dlerror());
		return false;
	}
	missing = find_all(lib);
	if (missing) {
		snprintf(why, size, "the CUDA driver has no %s", missing);
		return false;
	}
	rc = cu.init(0);
	if (rc) {
		snprintf(why, size, "the CUDA driver does not start: %s",
			 gpu_text(rc));
		return false;
	}
	/* Never closed: a driver that has started has threads. */
	cu.lib = lib;
	return true;
}

int gpu_count(char *why, size_t size)
{
	int count = 0, rc;

	if (!load(why, size))
		return -1;
	rc = cu.device_count(&count);
	if (!rc && count > 0)
		return count;
	snprintf(why, size, "there is no GPU%s%s", rc ? ": " : "",
		 rc ? gpu_text(rc) : "");
	return -1;
}

bool gpu_open(int number, char *why, size_t size)
{
	int count = gpu_count(why, size), rc;

	if (count < 0)
		return false;
	if (number < 0 || number >= count) {
		snprintf(why, size, "there is no GPU %d, only %d of them",
			 number, count);
		return false;
	}
	rc = cu.device_get(&gpu.dev, number);
	if (!rc)
		rc = cu.device_name(gpu.name, sizeof(gpu.name), gpu.dev);
	if (!rc)
		rc = cu.primary_retain(&gpu.ctx, gpu.dev);
	if (rc) {
		snprintf(why, size, "GPU %d: %s", number, gpu_text(rc));
		gpu.ctx = NULL;
		return false;
	}
	rc = cu.ctx_push(gpu.ctx);
	if (rc) {
		snprintf(why, size, "GPU %d: %s", number, gpu_text(rc));
		cu.primary_release(gpu.dev);
		gpu.ctx = NULL;
		return false;
	}
	gpu.number = number;
	return true;
}

void gpu_close(void)
{
	void *ctx;

	if (!gpu.ctx)
		return;
	cu.ctx_pop(&ctx);
	cu.primary_release(gpu.dev);
	gpu.ctx = NULL;
}

bool gpu_is_open(void)
{
	return gpu.ctx;
}

int gpu_number(void)
{
	return gpu.number;
}

const char *gpu_name(void)
{
	return gpu.name;
}

/* The call's result, or why the GPU is not to be had for it. */
#define ON_GPU(call)                                            \
	({                                                      \
		void *ctx_;                                     \
		int rc_ = gpu.ctx ? cu.ctx_push(gpu.ctx) :      \
				    CUDA_ERROR_INVALID_CONTEXT; \
		if (!rc_) {                                     \
			rc_ = (call);                           \
			cu.ctx_pop(&ctx_);                      \
		}                                               \
		rc_;                                            \
	})

int gpu_alloc(struct gpu_memory *m, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int rc;

	/* The driver promises no more than 256 bytes of alignment. */
	m->size = (size + page - 1) / page * page;
	m->at = m->whole = 0;
	rc = ON_GPU(cu.mem_alloc(&m->whole, m->size + page));
	if (!rc)
		m->at = (m->whole + page - 1) / page * page;
	return rc;
}

int gpu_free(struct gpu_memory *m)
{
	int rc = m->at ? ON_GPU(cu.mem_free(m->whole)) : 0;

	m->at = m->whole = 0;
	return rc;
}

int gpu_host_alloc(void **at, size_t size)
{
	return ON_GPU(cu.host_alloc(at, size, CUDA_HOST_PORTABLE));
}

int gpu_host_free(void *at)
{
	return ON_GPU(cu.host_free(at));
}

bool gpu_exports(void)
{
	int yes = 0;

	return cu.range_handle && gpu.ctx &&
	       !cu.device_attribute(&yes, CUDA_ATTR_DMA_BUF_SUPPORTED,
				    gpu.dev) &&
	       yes;
}

int gpu_export(uint64_t at, size_t size, int *fd)
{
	if (!cu.range_handle)
		return CUDA_ERROR_NOT_SUPPORTED;
	return ON_GPU(cu.range_handle(fd, at, size, CUDA_RANGE_DMA_BUF_FD, 0));
}

/*
 * The driver's copies are done on return only between some kinds of memory, and
 * those of its default stream in order.
 */
static int copy_all(uint64_t to, uint64_t from, size_t size)
{
	int rc = cu.mem_copy(to, from, size);

	return rc ? rc : cu.stream_sync(NULL);
}

int gpu_read(void *to, uint64_t from, size_t size)
{
	return size ? ON_GPU(copy_all((uintptr_t)to, from, size)) : 0;
}

int gpu_write(uint64_t to, const void *from, size_t size)
{
	return size ? ON_GPU(copy_all(to, (uintptr_t)from, size)) : 0;
}

int gpu_copy(uint64_t to, uint64_t from, size_t size)
{
	return size ? ON_GPU(cu.mem_copy(to, from, size)) : 0;
}

int gpu_wait(void)
{
	return ON_GPU(cu.stream_sync(NULL));
}

const char *gpu_text(int error)
{
	static _Thread_local char text[128];
	const char *name = NULL, *what = NULL;

	if (cu.error_name)
		cu.error_name(error, &name);
	if (cu.error_string)
		cu.error_string(error, &what);
	if (name)
		snprintf(text, sizeof(text), "%s (%s)", name,
			 what ? what : "unknown");
	else
		snprintf(text, sizeof(text), "CUDA error %d", error);
	return text;
}
