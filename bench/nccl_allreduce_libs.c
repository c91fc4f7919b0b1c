// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_libs.c - the CUDA driver and NCCL, found at run time. A machine
 * that has none of them is told so, and is no failure.
 */
#include <dlfcn.h>
#include <string.h>

#include "nccl_allreduce.h"

/* NULL, and its name noted, if the library has none such. */
static void *find(void *lib, const char *symbol, char *missing, size_t size)
{
	void *p = dlsym(lib, symbol);

	if (!p && !missing[0])
		snprintf(missing, size, "%s", symbol);
	return p;
}

const char *cuda_error(const struct libs *l, int error)
{
	static __thread char text[192];
	const char *name = NULL, *what = NULL;

	if (l->cu.error_name)
		l->cu.error_name(error, &name);
	if (l->cu.error_string)
		l->cu.error_string(error, &what);
	if (name)
		snprintf(text, sizeof(text), "%s (%s)", name, what ? what : "");
	else
		snprintf(text, sizeof(text), "CUresult %d", error);
	return text;
}

/* Loads and starts the driver. False, with the reason, if it has no GPU. */
bool cuda_load(struct libs *l, int *devices, char *why, size_t size)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	char missing[64] = "", ignored[64] = "";
	int rc;

	if (!lib) {
		snprintf(why, size, "there is no CUDA driver: %s", dlerror());
		return false;
	}
#define FIND(member, symbol, params) \
	*(void **)&l->cu.member = find(lib, #symbol, missing, sizeof(missing));
	CUDA_CALLS(FIND)
#undef FIND
#define FIND(member, symbol, params) \
	*(void **)&l->cu.member = find(lib, #symbol, ignored, sizeof(ignored));
	CUDA_CALLS_OPTIONAL(FIND)
#undef FIND
#define FIND(result, member, symbol, params)                              \
	*(void **)&l->graph.member = find(lib, #symbol, l->missing_graph, \
					  sizeof(l->missing_graph));
	CUDA_GRAPH_CALLS(FIND)
#undef FIND
	if (missing[0]) {
		snprintf(why, size, "the CUDA driver is too old: no %s",
			 missing);
		return false;
	}
	*devices = 0;
	rc = l->cu.init(0);
	if (!rc)
		rc = l->cu.device_count(devices);
	if (rc) {
		snprintf(why, size, "the CUDA driver does not start: %s",
			 cuda_error(l, rc));
		return false;
	}
	if (!*devices)
		snprintf(why, size, "the CUDA driver sees no GPU");
	return *devices > 0;
}

bool nccl_load(struct libs *l, const char *file, char *why, size_t size)
{
	void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	char missing[64] = "";

	if (!lib) {
		snprintf(why, size,
			 "there is no NCCL: %s; give its path by --nccl",
			 dlerror());
		return false;
	}
#define FIND(result, member, symbol, params) \
	*(void **)&l->nccl.member =          \
		find(lib, #symbol, missing, sizeof(missing));
	NCCL_CALLS(FIND)
#undef FIND
	if (missing[0])
		snprintf(why, size, "%s is no NCCL that can be used: no %s",
			 file, missing);
	return !missing[0];
}
