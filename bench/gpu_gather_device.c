// SPDX-License-Identifier: BSD-3-Clause
/*
 * gpu_gather_device.c - the GPU that devmem-gpu-gather measures: found, its memory
 * allocated and filled, the kernel loaded; and all of it given back.
 */
#include <stdlib.h>
#include <string.h>

#include "gather_work.h"
#include "gpu_gather.h"

/* The smallest pieces are those of which there are most. */
static_assert(GATHER_PIECE_MAX >= PAGE, "pieces are cut");

int device_failed(int cuda_error, const char *what)
{
	complain("%s: %s", what, cuda_text(cuda_error));
	return EXIT_FAIL;
}

/* ---- what is in the pool ---------------------------------------------------- */

static uint64_t word_at(uint64_t offset)
{
	uint64_t x = offset / 8 * 0x9e3779b97f4a7c15;

	return x ^ x >> 29;
}

void pool_fill(uint8_t *at, uint64_t offset, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = word_at(offset + i);

		memcpy(at + i, &word, bytes - i < 8 ? bytes - i : 8);
	}
}

int device_copy(struct gpu *g, uint64_t dst, uint64_t src, size_t bytes)
{
	int rc = g->cuda->mem_copy_async(dst, src, bytes, g->stream);

	rc = rc ?: g->cuda->stream_sync(g->stream);
	return rc ? device_failed(rc, "copying") : EXIT_OK;
}

/* With what belongs into the pool, or with the filler. */
int device_fill(struct gpu *g, uint64_t at, size_t bytes, bool filler)
{
	int rc = EXIT_OK;

	if (filler)
		memset(g->stage, FILLER, STAGE_BYTES);
	for (size_t done = 0, n; !rc && done < bytes; done += n) {
		n = bytes - done < STAGE_BYTES ? bytes - done : STAGE_BYTES;
		if (!filler)
			pool_fill(g->stage, done, n);
		rc = device_copy(g, at + done, (uintptr_t)g->stage, n);
	}
	return rc;
}

/* ---- the GPU ----------------------------------------------------------------- */

static int attribute(const struct gpu *g, int which)
{
	int value = 0;

	return g->cuda->device_attribute(&value, which, g->dev) ? 0 : value;
}

int device_find(struct gpu *g, const struct options *o)
{
	struct why w = { .text = "" };
	int count = 0, rc;

	g->cuda = cuda_get(&w);
	if (!g->cuda) {
		complain("%s", w.text);
		return EXIT_SKIP;
	}
	if (!gather_image(NULL)) {
		complain("this was built without nvcc: there is no kernel to "
			 "measure");
		return EXIT_SKIP;
	}
	rc = g->cuda->device_count(&count);
	if (!rc && o->device >= count) {
		complain("there is no GPU %d: there are %d", o->device, count);
		return EXIT_SKIP;
	}
	rc = rc ?: g->cuda->device_get(&g->dev, o->device);
	rc = rc ?: g->cuda->device_name(g->name, sizeof(g->name), g->dev);
	rc = rc ?: g->cuda->driver_version(&g->driver);
	if (rc)
		return device_failed(rc, "asking for the GPU");
	g->name[sizeof(g->name) - 1] = '\0';
	g->fake = !strncmp(g->name, "Fake", 4);
	g->multiprocessors = attribute(g, CUDA_ATTR_MULTIPROCESSOR_COUNT);
	g->major = attribute(g, CUDA_ATTR_COMPUTE_CAPABILITY_MAJOR);
	g->minor = attribute(g, CUDA_ATTR_COMPUTE_CAPABILITY_MINOR);
	return EXIT_OK;
}

static void *host_alloc(struct gpu *g, size_t bytes, int *rc)
{
	void *p = NULL;

	if (!*rc)
		*rc = g->cuda->host_alloc(
			&p, bytes, CUDA_HOST_PORTABLE | CUDA_HOST_DEVICEMAP);
	return *rc ? NULL : p;
}

static int allocate(struct gpu *g, size_t max_bytes)
{
	size_t most = max_bytes / SMALLEST_PIECE + 1;
	int rc;

	/* Room for the smallest pieces, a page for each, and as much again. */
	g->pool_bytes = 2 * most * PAGE;
	g->target_bytes = max_bytes + 2 * GUARD;
	rc = g->cuda->mem_alloc(&g->pool, g->pool_bytes);
	rc = rc ?: g->cuda->mem_alloc(&g->target, g->target_bytes);
	rc = rc ?: g->cuda->mem_alloc(&g->arrived, sizeof(uint32_t));
	g->work = host_alloc(g, most * sizeof(*g->work), &rc);
	g->stage = host_alloc(g, STAGE_BYTES, &rc);
	g->done = host_alloc(g, sizeof(*g->done), &rc);
	if (rc)
		return device_failed(rc, "allocating memory");
	g->place = calloc(most, sizeof(*g->place));
	if (!g->place) {
		complain("out of memory");
		return EXIT_FAIL;
	}
	*g->done = 0;
	memset(g->stage, 0, sizeof(uint32_t));
	rc = device_copy(g, g->arrived, (uintptr_t)g->stage, sizeof(uint32_t));
	return rc ?: device_fill(g, g->pool, g->pool_bytes, false);
}

int device_open(struct gpu *g, size_t max_bytes)
{
	const struct cuda *c = g->cuda;
	int least, greatest = 0, rc;

	rc = c->primary_retain(&g->ctx, g->dev);
	if (rc) {
		g->ctx = NULL;
		return device_failed(rc, "making a context");
	}
	rc = c->ctx_push(g->ctx);
	rc = rc ?: c->module_load(&g->module, gather_image(NULL));
	rc = rc ?: c->module_function(&g->function, g->module, GATHER_KERNEL);
	if (rc) {
		device_failed(rc, "loading the kernel");
		return rc == CUDA_ERROR_NO_BINARY_FOR_GPU ? EXIT_SKIP :
							    EXIT_FAIL;
	}
	rc = c->ctx_priorities(&least, &greatest);
	rc = rc	   ?:
		     c->stream_create(&g->stream, CUDA_STREAM_NON_BLOCKING,
				      greatest);
	return rc ? device_failed(rc, "making a stream") :
		    allocate(g, max_bytes);
}

void device_close(struct gpu *g)
{
	const struct cuda *c = g->cuda;
	void *ctx;

	free(g->place);
	if (!g->ctx)
		return;
	if (g->stream) {
		c->stream_sync(g->stream);
		c->stream_destroy(g->stream);
	}
	if (g->work)
		c->host_free(g->work);
	if (g->stage)
		c->host_free(g->stage);
	if (g->done)
		c->host_free(g->done);
	if (g->pool)
		c->mem_free(g->pool);
	if (g->target)
		c->mem_free(g->target);
	if (g->arrived)
		c->mem_free(g->arrived);
	if (g->module)
		c->module_unload(g->module);
	c->ctx_pop(&ctx);
	c->primary_release(g->dev);
}
