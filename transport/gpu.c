// SPDX-License-Identifier: BSD-3-Clause
/*
 * gpu.c - GPUs: finding, holding, what they can; see gpu.h. Their memory is in
 * gpu_memory.c.
 *
 * A process that ends unloads the driver before us: what cannot be undone any more
 * then is gone with the context.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "gather.h"
#include "gather_image.h"
#include "gpu.h"
#include "reason.h"

static struct {
	pthread_mutex_t lock;
	struct gpu gpu[GPUS_MAX];
} gpus = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int attribute(const struct cuda *c, int which, int dev)
{
	int value = 0;

	/* What a driver does not know yet, its device cannot do. */
	return c->device_attribute(&value, which, dev) ? 0 : value;
}

static int describe(const struct cuda *c, int ordinal, struct gpu *g,
		    struct why *w)
{
	int rc = c->device_get(&g->dev, ordinal);

	if (rc)
		return why(w, cuda_errno(rc), "there is no GPU %d: %s", ordinal,
			   cuda_text(rc));
	g->cuda = c;
	g->ordinal = ordinal;
	if (c->device_name(g->name, sizeof(g->name), g->dev))
		strcpy(g->name, "?");
	g->name[sizeof(g->name) - 1] = '\0';
	g->multiprocessors =
		attribute(c, CUDA_ATTR_MULTIPROCESSOR_COUNT, g->dev) ?: 1;
	g->dmabuf = c->range_handle &&
		    attribute(c, CUDA_ATTR_DMA_BUF_SUPPORTED, g->dev);
	g->vmm = attribute(c, CUDA_ATTR_VMM_SUPPORTED, g->dev) &&
		 attribute(c, CUDA_ATTR_RDMA_WITH_VMM_SUPPORTED, g->dev);
	g->writes_ordered = attribute(c, CUDA_ATTR_RDMA_WRITES_ORDERING,
				      g->dev) >= CUDA_RDMA_ORDERED_OWNER;
	g->can_flush = c->rdma_flush &&
		       (attribute(c, CUDA_ATTR_RDMA_FLUSH_OPTIONS, g->dev) &
			CUDA_RDMA_FLUSH_HOST);
	return 0;
}

int gpu_describe(int ordinal, struct gpu *g)
{
	struct why w;
	const struct cuda *c = cuda_get(&w);

	return c ? describe(c, ordinal, g, &w) : -ENODEV;
}

int gpu_probe(int ordinal, bool exports, struct why *w)
{
	const struct cuda *c = cuda_get(w);
	struct gpu g = { .ordinal = ordinal };
	int rc;

	if (!c)
		return -ENODEV;
	rc = describe(c, ordinal, &g, w);
	if (rc)
		return rc;
	/* Host memory has the same address for both. */
	if (!attribute(c, CUDA_ATTR_UNIFIED_ADDRESSING, g.dev))
		return reason(w, -EOPNOTSUPP, REASON_GPU_ADDRESSES,
			      .what = g.name);
	if (exports && !g.dmabuf)
		return reason(w, -EOPNOTSUPP, REASON_GPU_NO_DMABUF,
			      .what = g.name);
	if (!gather_image(NULL))
		return reason(w, -EOPNOTSUPP, REASON_GPU_NO_CODE);
	return 0;
}

/* Parts that two paths have in common from their beginning. */
static unsigned int common_parts(const char *a, const char *b)
{
	unsigned int n = 0;

	for (; *a && *a == *b; a++, b++)
		n += *a == '/';
	return n;
}

static void pci_path(const struct cuda *c, int dev, char *real)
{
	char id[32] = "", path[64];

	*real = '\0';
	if (c->device_pci_id(id, sizeof(id), dev))
		return;
	for (char *p = id; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", id);
	if (!realpath(path, real))
		*real = '\0';
}

static int nearest(const struct cuda *c, const char *path)
{
	unsigned int best_parts = 0;
	int best = 0, count = 0;

	if (c->device_count(&count))
		return 0;
	for (int i = 0; i < count && i < GPUS_MAX; i++) {
		char real[PATH_MAX];
		unsigned int parts;
		int dev;

		if (c->device_get(&dev, i))
			continue;
		pci_path(c, dev, real);
		parts = common_parts(real, path);
		if (parts > best_parts) {
			best_parts = parts;
			best = i;
		}
	}
	return best;
}

/* The number of a CUdevice, or -1. */
static int ordinal_of(const struct cuda *c, int dev)
{
	int count = 0, other;

	if (c->device_count(&count))
		return -1;
	for (int i = 0; i < count && i < GPUS_MAX; i++)
		if (!c->device_get(&other, i) && other == dev)
			return i;
	return -1;
}

int gpu_choose(const char *path, struct why *w)
{
	const struct cuda *c = cuda_get(w);
	void *ctx = NULL;
	int dev, ordinal = -1;

	if (!c)
		return -ENODEV;
	if (!c->ctx_current(&ctx) && ctx && !c->ctx_device(&dev))
		ordinal = ordinal_of(c, dev);
	return ordinal >= 0 ? ordinal : nearest(c, path);
}

/* Under the lock. */
static int hold(struct gpu *g, int ordinal, struct why *w)
{
	const struct cuda *c = cuda_get(w);
	int rc;

	if (!c)
		return -ENODEV;
	rc = describe(c, ordinal, g, w);
	if (rc)
		return rc;
	/* What one that did not come back may touch was left behind. */
	__atomic_store_n(&g->stuck, false, __ATOMIC_RELEASE);
	rc = c->primary_retain(&g->ctx, g->dev);
	if (rc) {
		return why(w, cuda_errno(rc), "a context on %s: %s", g->name,
			   cuda_text(rc));
	}
	rc = gather_cuda_new(g, &g->gather, w);
	if (rc)
		c->primary_release(g->dev);
	return rc;
}

struct gpu *gpu_get(int ordinal, struct why *w)
{
	struct gpu *g = &gpus.gpu[ordinal];
	int rc = gpu_probe(ordinal, false, w);

	if (rc)
		return NULL;
	pthread_mutex_lock(&gpus.lock);
	if (!g->users)
		rc = hold(g, ordinal, w);
	if (!rc)
		g->users++;
	pthread_mutex_unlock(&gpus.lock);
	return rc ? NULL : g;
}

void gpu_hold(struct gpu *g)
{
	pthread_mutex_lock(&gpus.lock);
	g->users++;
	pthread_mutex_unlock(&gpus.lock);
}

void gpu_put(struct gpu *g)
{
	struct gather_engine *e = NULL;
	struct gpu_arena *arena = NULL;
	bool last = false;

	if (!g)
		return;
	pthread_mutex_lock(&gpus.lock);
	if (!--g->users) {
		e = g->gather;
		arena = g->arena;
		g->gather = NULL;
		g->arena = NULL;
		last = true;
	}
	pthread_mutex_unlock(&gpus.lock);
	/* This takes its time, and the context is held once for it. */
	if (last) {
		gather_cuda_free(e);
		gpu_arena_free(g, arena);
		/* With the context all its memory would go. */
		if (!gpu_is_stuck(g))
			g->cuda->primary_release(g->dev);
	}
}

int gpu_of(const void *addr)
{
	struct why w;
	const struct cuda *c = cuda_get(&w);
	int kind = 0, ordinal = -1;
	uint64_t p = (uintptr_t)addr;

	if (!c || c->pointer_get(&kind, CUDA_POINTER_MEMORY_TYPE, p) ||
	    kind != CUDA_MEMORY_DEVICE ||
	    c->pointer_get(&ordinal, CUDA_POINTER_DEVICE_ORDINAL, p))
		return -1;
	return ordinal < GPUS_MAX ? ordinal : -1;
}

int gpu_enter(const struct gpu *g, struct gpu_scope *s)
{
	s->gpu = g;
	s->capture_mode = CUDA_CAPTURE_RELAXED;
	g->cuda->capture_mode(&s->capture_mode);
	s->rc = g->cuda->ctx_push(g->ctx);
	return s->rc;
}

void gpu_leave(struct gpu_scope *s)
{
	void *ctx;

	if (!s->rc)
		s->gpu->cuda->ctx_pop(&ctx);
	s->gpu->cuda->capture_mode(&s->capture_mode);
}
