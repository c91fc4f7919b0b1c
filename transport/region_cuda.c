// SPDX-License-Identifier: BSD-3-Clause
/*
 * region_cuda.c - memory of a GPU, as a dma-buf for a NIC to write to.
 */
#include <errno.h>
#include <unistd.h>

#include "region.h"

static int cuda_alloc(struct region *r, struct why *w)
{
	uint64_t offset;
	int rc = gpu_memory_alloc(r->gpu, r->bytes, &r->memory, w);

	if (rc)
		return rc;
	r->map = (uint8_t *)(uintptr_t)r->memory.addr;
	if (!r->exported)
		return 0;
	/* It begins on a page: the offset is 0. */
	r->dmabuf_fd = gpu_export(r->gpu, r->memory.addr, r->bytes, &offset, w);
	if (r->dmabuf_fd >= 0)
		return 0;
	rc = r->dmabuf_fd;
	gpu_memory_free(r->gpu, &r->memory);
	r->map = NULL;
	return rc;
}

static void cuda_free(struct region *r)
{
	if (r->dmabuf_fd >= 0)
		close(r->dmabuf_fd);
	r->dmabuf_fd = -1;
	if (r->map)
		gpu_memory_free(r->gpu, &r->memory);
	r->map = NULL;
}

const struct region_ops region_cuda = {
	.name = "cuda",
	.on_gpu = true,
	.alloc = cuda_alloc,
	.free = cuda_free,
};
