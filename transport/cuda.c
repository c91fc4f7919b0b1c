// SPDX-License-Identifier: BSD-3-Clause
/*
 * cuda.c - loading the CUDA driver; see cuda.h.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "cuda.h"
#include "reason.h"

static struct {
	pthread_once_t once;
	struct cuda calls;
	bool usable;
	struct why none;
} driver = { .once = PTHREAD_ONCE_INIT };

/* A symbol that must be there; its name in *missing if it is not. */
static void *find(void *lib, const char *name, const char **missing)
{
	void *symbol = dlsym(lib, name);

	if (!symbol && !*missing)
		*missing = name;
	return symbol;
}

static void load(void)
{
	struct cuda *c = &driver.calls;
	const char *missing = NULL, *ignored = "";
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	int rc, count = 0;

	if (!lib) {
		reason(&driver.none, 0, REASON_NO_CUDA);
		return;
	}
#define FIND(member, symbol, params) \
	*(void **)&c->member = find(lib, #symbol, &missing);
#define FIND_OPTIONAL(member, symbol, params) \
	*(void **)&c->member = find(lib, #symbol, &ignored);
	CUDA_CALLS(FIND)
	CUDA_CALLS_OPTIONAL(FIND_OPTIONAL)
#undef FIND
#undef FIND_OPTIONAL
	/* Never closed: a driver that has been initialised has threads. */
	if (missing) {
		reason(&driver.none, 0, REASON_CUDA_TOO_OLD,
		       .detail = missing);
		return;
	}
	rc = c->init(0);
	rc = rc ?: c->device_count(&count);
	if (rc)
		reason(&driver.none, 0, REASON_CUDA_NO_START,
		       .detail = cuda_text(rc));
	else if (!count)
		reason(&driver.none, 0, REASON_CUDA_NO_GPU);
	else
		driver.usable = true;
}

const struct cuda *cuda_get(struct why *w)
{
	pthread_once(&driver.once, load);
	if (driver.usable)
		return &driver.calls;
	*w = driver.none;
	return NULL;
}

const char *cuda_text(int error)
{
	static __thread char text[128];
	const struct cuda *c = &driver.calls;
	const char *name = NULL, *what = NULL;

	if (c->error_name)
		c->error_name(error, &name);
	if (c->error_string)
		c->error_string(error, &what);
	snprintf(text, sizeof(text), "%s (%s)", name ?: "CUresult",
		 what ?: "unknown");
	if (!name)
		snprintf(text, sizeof(text), "CUDA error %d", error);
	return text;
}

int cuda_errno(int error)
{
	switch (error) {
	case CUDA_SUCCESS:
		return 0;
	case CUDA_ERROR_OUT_OF_MEMORY:
		return -ENOMEM;
	case CUDA_ERROR_INVALID_VALUE:
		return -EINVAL;
	case CUDA_ERROR_NO_DEVICE:
	case CUDA_ERROR_INVALID_DEVICE:
		return -ENODEV;
	case CUDA_ERROR_NOT_SUPPORTED:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}
