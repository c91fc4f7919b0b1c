// SPDX-License-Identifier: BSD-3-Clause
/*
 * memory.c - device memory, host memory that the GPU may use, and what pointers
 * tell, of the stand-in for the CUDA driver; and dma-bufs of device memory, by
 * /dev/udmabuf.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

#define EXPORT_PARTS 64 /* of one dma-buf */

static int mem_alloc(uint64_t *ptr, size_t bytes)
{
	struct context *ctx = current();
	uint64_t at = arena_take(bytes, FAKE_PAGE);
	struct backing *b = at ? backing_new(bytes, ctx->device) : NULL;
	struct object *o;

	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	o = object_add(KIND_MEMORY, ctx, at, bytes);
	if (!o) {
		backing_put(b);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	o->backing = b;
	o->access = BIT(ctx->device);
	*ptr = at;
	return 0;
}

int cuMemAlloc_v2(uint64_t *ptr, size_t bytes)
{
	ENTER(cuMemAlloc_v2);

	if (!ptr || !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	return mem_alloc(ptr, bytes);
}

/* Frees the object of that kind that starts there. */
static int drop(enum kind kind, uint64_t at)
{
	struct object *o = object_find(kind, at);

	if (!o)
		return CUDA_ERROR_INVALID_VALUE;
	object_drop(o);
	return 0;
}

int cuMemFree_v2(uint64_t ptr)
{
	ENTER(cuMemFree_v2);

	return drop(KIND_MEMORY, ptr);
}

int cuMemFreeHost(void *ptr)
{
	ENTER(cuMemFreeHost);

	return drop(KIND_HOST, (uintptr_t)ptr);
}

int cuMemHostUnregister(void *ptr)
{
	ENTER(cuMemHostUnregister);

	return drop(KIND_REGISTRATION, (uintptr_t)ptr);
}

/* All contexts see it, whatever the flags say: so it is with unified addressing. */
static int host_alloc(void **ptr, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct object *o;

	if (at == MAP_FAILED)
		return CUDA_ERROR_OUT_OF_MEMORY;
	o = object_add(KIND_HOST, current(), (uintptr_t)at, bytes);
	if (!o) {
		munmap(at, bytes);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	o->access = ALL_DEVICES;
	*ptr = at;
	return 0;
}

int cuMemHostAlloc(void **ptr, size_t bytes, unsigned int flags)
{
	ENTER(cuMemHostAlloc);

	if (!ptr || !bytes ||
	    flags & ~(CUDA_HOST_PORTABLE | CUDA_HOST_DEVICEMAP))
		return CUDA_ERROR_INVALID_VALUE;
	return host_alloc(ptr, bytes);
}

/* Are there pages, all the way? */
static bool is_mapped(uint64_t at, size_t bytes)
{
	size_t pages = bytes / FAKE_PAGE;
	unsigned char *resident = malloc(pages);
	bool mapped = resident &&
		      !mincore((void *)(uintptr_t)at, bytes, resident);

	free(resident);
	return mapped;
}

static int host_register(uint64_t at, size_t bytes, unsigned int flags)
{
	uint64_t first = at / FAKE_PAGE * FAKE_PAGE;
	uint64_t end = (at + bytes + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE;
	struct context *ctx = current();
	struct object *o;

	/* It is pages that are pinned. */
	for (o = fake.objects; o; o = o->next)
		if ((o->kind == KIND_REGISTRATION || o->kind == KIND_HOST) &&
		    o->at / FAKE_PAGE * FAKE_PAGE < end &&
		    first < o->at + o->bytes)
			return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	if (place_copy(at, bytes) != PLACE_PLAIN ||
	    !is_mapped(first, end - first))
		return CUDA_ERROR_INVALID_VALUE;
	o = object_add(KIND_REGISTRATION, ctx, at, bytes);
	if (!o)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (flags & CUDA_HOST_DEVICEMAP)
		o->access = flags & CUDA_HOST_PORTABLE ? ALL_DEVICES :
							 BIT(ctx->device);
	return 0;
}

int cuMemHostRegister_v2(void *ptr, size_t bytes, unsigned int flags)
{
	ENTER(cuMemHostRegister_v2);

	if (!ptr || !bytes || bytes > SIZE_MAX - FAKE_PAGE - (uintptr_t)ptr ||
	    flags & ~(CUDA_HOST_PORTABLE | CUDA_HOST_DEVICEMAP))
		return CUDA_ERROR_INVALID_VALUE;
	return host_register((uintptr_t)ptr, bytes, flags);
}

/* ---- pointers -------------------------------------------------------------- */

/* What is known of an address that the driver has given out, or was told of. */
static const struct object *pointer_object(uint64_t ptr)
{
	return object_overlap(BIT(KIND_MEMORY) | BIT(KIND_MAPPING) |
				      BIT(KIND_HOST) | BIT(KIND_REGISTRATION),
			      ptr, 1);
}

int cuPointerGetAttribute(void *value, int which, uint64_t ptr)
{
	const struct object *o;
	ENTER(cuPointerGetAttribute);

	o = pointer_object(ptr);
	if (!value || !o)
		return CUDA_ERROR_INVALID_VALUE;
	switch (which) {
	case CUDA_POINTER_CONTEXT: /* of a mapping: none */
		*(void **)value = o->ctx;
		return 0;
	case CUDA_POINTER_MEMORY_TYPE:
		*(unsigned int *)value = o->backing ? CUDA_MEMORY_DEVICE :
						      CUDA_MEMORY_HOST;
		return 0;
	case CUDA_POINTER_DEVICE_ORDINAL:
		*(int *)value = o->backing ? o->backing->device :
					     o->ctx->device;
		return 0;
	}
	complain("attribute %d of a pointer is not known here", which);
	return CUDA_ERROR_INVALID_VALUE;
}

int cuPointerSetAttribute(const void *value, int which, uint64_t ptr)
{
	const struct object *o;
	ENTER(cuPointerSetAttribute);

	o = pointer_object(ptr);
	return value && which == CUDA_POINTER_SYNC_MEMOPS && o && o->backing ?
		       0 :
		       CUDA_ERROR_INVALID_VALUE;
}

/* ---- dma-bufs -------------------------------------------------------------- */

static int add_part(struct udmabuf_create_list *list, const struct object *o,
		    uint64_t at, uint64_t end)
{
	/* Pages are whole, also where less than one was asked for. */
	uint64_t there = o->at + o->bytes + FAKE_PAGE - 1;

	if (list->count == EXPORT_PARTS)
		return CUDA_ERROR_NOT_SUPPORTED;
	there = there / FAKE_PAGE * FAKE_PAGE;
	list->list[list->count++] = (struct udmabuf_create_item){
		.memfd = (uint32_t)o->backing->fd,
		.offset = at - o->at,
		.size = (there < end ? there : end) - at,
	};
	return 0;
}

/* All must be of the current device, and be made for it. */
static int collect(struct udmabuf_create_list *list, uint64_t at, size_t bytes)
{
	int device = current()->device, rc;
	uint64_t end = at + bytes;
	const struct object *o;

	while (at < end) {
		o = pointer_object(at);
		if (!o)
			return CUDA_ERROR_INVALID_VALUE;
		if (!o->backing ||
		    (o->kind == KIND_MAPPING && !o->backing->rdma_capable))
			return CUDA_ERROR_NOT_SUPPORTED;
		if (o->backing->device != device)
			return CUDA_ERROR_INVALID_VALUE;
		rc = add_part(list, o, at, end);
		if (rc)
			return rc;
		at += list->list[list->count - 1].size;
	}
	return 0;
}

static int export(int *fd, uint64_t at, size_t bytes)
{
	struct udmabuf_create_list *list;
	int dev = -1, rc = CUDA_ERROR_OUT_OF_MEMORY;

	list = calloc(1, sizeof(*list) + EXPORT_PARTS * sizeof(*list->list));
	if (!list)
		return rc;
	rc = collect(list, at, bytes);
	if (rc)
		goto out;
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	rc = CUDA_ERROR_UNKNOWN;
	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	*fd = dev < 0 ? -1 : ioctl(dev, UDMABUF_CREATE_LIST, list);
	if (*fd >= 0)
		rc = 0;
	else
		complain("no udmabuf of %zu bytes: %s", bytes, strerror(errno));
	if (dev >= 0)
		close(dev);
out:
	free(list);
	return rc;
}

int cuMemGetHandleForAddressRange(void *handle, uint64_t ptr, size_t bytes,
				  int type, unsigned long long flags)
{
	ENTER(cuMemGetHandleForAddressRange);

	if (!handle || !ptr || !bytes || type != CUDA_RANGE_DMA_BUF_FD ||
	    ptr % FAKE_PAGE || bytes % FAKE_PAGE || bytes > UINT64_MAX - ptr ||
	    flags & ~(unsigned long long)CUDA_RANGE_DMA_BUF_PCIE)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_set(current()->device, CUDA_ATTR_DMA_BUF_SUPPORTED) ||
	    (flags && !fake.set.pcie))
		return CUDA_ERROR_NOT_SUPPORTED;
	return export(handle, ptr, bytes);
}

int cuFlushGPUDirectRDMAWrites(int target, int scope)
{
	int options;
	ENTER(cuFlushGPUDirectRDMAWrites);

	if (target != CUDA_RDMA_FLUSH_TARGET_CTX ||
	    (scope != CUDA_RDMA_FLUSH_TO_OWNER &&
	     scope != CUDA_RDMA_ORDERED_ALL))
		return CUDA_ERROR_INVALID_VALUE;
	rc = attribute(current()->device, CUDA_ATTR_RDMA_FLUSH_OPTIONS,
		       &options);
	if (!rc && !(options & CUDA_RDMA_FLUSH_HOST))
		rc = CUDA_ERROR_NOT_SUPPORTED;
	return rc;
}
