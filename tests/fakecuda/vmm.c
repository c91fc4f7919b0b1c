// SPDX-License-Identifier: BSD-3-Clause
/*
 * vmm.c - virtual memory management of the stand-in for the CUDA driver: address
 * ranges, memory without an address (handles), and mappings of one into the other.
 * As of a driver, none of it needs a context.
 */
#include <string.h>

#include "fake.h"

static bool is_whole(uint64_t number)
{
	return number && number % FAKE_VMM == 0;
}

static bool is_device_location(const struct cuda_location *l)
{
	return l->type == CUDA_LOCATION_DEVICE && l->id >= 0 &&
	       (unsigned long)l->id < fake.set.devices;
}

/* Where one device has it all have: what is set is set for all of them. */
static bool is_supported(void)
{
	return is_set(0, CUDA_ATTR_VMM_SUPPORTED);
}

int cuMemGetAllocationGranularity(size_t *bytes,
				  const struct cuda_alloc_prop *prop,
				  int option)
{
	ENTER(cuMemGetAllocationGranularity);

	if (!bytes || !prop || prop->type != CUDA_ALLOC_PINNED ||
	    (option != CUDA_GRANULARITY_MINIMUM &&
	     option != CUDA_GRANULARITY_RECOMMENDED))
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_supported())
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!is_device_location(&prop->location))
		return CUDA_ERROR_INVALID_DEVICE;
	*bytes = FAKE_VMM;
	return 0;
}

/* ---- address ranges -------------------------------------------------------- */

int cuMemAddressReserve(uint64_t *ptr, size_t bytes, size_t align,
			uint64_t hint, unsigned long long flags)
{
	uint64_t at;
	ENTER(cuMemAddressReserve);

	(void)hint;
	if (!ptr || !is_whole(bytes) || align & (align - 1) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_supported())
		return CUDA_ERROR_NOT_SUPPORTED;
	at = arena_take(bytes, align > FAKE_VMM ? align : FAKE_VMM);
	if (!at || !object_add(KIND_RANGE, NULL, at, bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	*ptr = at;
	return 0;
}

int cuMemAddressFree(uint64_t ptr, size_t bytes)
{
	struct object *o;
	ENTER(cuMemAddressFree);

	o = object_find(KIND_RANGE, ptr);
	if (!o || o->bytes != bytes ||
	    object_overlap(BIT(KIND_MAPPING), ptr, bytes))
		return CUDA_ERROR_INVALID_VALUE;
	object_drop(o);
	return 0;
}

/* ---- handles --------------------------------------------------------------- */

static int mem_create(unsigned long long *handle, size_t bytes,
		      const struct cuda_alloc_prop *prop)
{
	struct backing *b;
	struct object *o;

	if (!is_supported() ||
	    (prop->rdma_capable &&
	     !is_set(prop->location.id, CUDA_ATTR_RDMA_WITH_VMM_SUPPORTED)))
		return CUDA_ERROR_NOT_SUPPORTED;
	b = backing_new(bytes, prop->location.id);
	if (!b)
		return CUDA_ERROR_OUT_OF_MEMORY;
	b->rdma_capable = prop->rdma_capable;
	o = object_add(KIND_HANDLE, NULL, 0, 0);
	if (!o) {
		backing_put(b);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	o->backing = b;
	*handle = o->at;
	return 0;
}

int cuMemCreate(unsigned long long *handle, size_t bytes,
		const struct cuda_alloc_prop *prop, unsigned long long flags)
{
	ENTER(cuMemCreate);

	if (!handle || !prop || !is_whole(bytes) || flags ||
	    prop->type != CUDA_ALLOC_PINNED || prop->rdma_capable > 1)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_device_location(&prop->location))
		return CUDA_ERROR_INVALID_DEVICE;
	return mem_create(handle, bytes, prop);
}

/* The memory stays for as long as it is mapped. */
int cuMemRelease(unsigned long long handle)
{
	struct object *o;
	ENTER(cuMemRelease);

	o = object_find(KIND_HANDLE, handle);
	if (!o)
		return CUDA_ERROR_INVALID_VALUE;
	object_drop(o);
	return 0;
}

/* ---- mappings -------------------------------------------------------------- */

static int mem_map(uint64_t ptr, size_t bytes, unsigned long long handle)
{
	struct object *range = object_overlap(BIT(KIND_RANGE), ptr, 1);
	struct object *h = object_find(KIND_HANDLE, handle), *o;

	if (!range || bytes > range->at + range->bytes - ptr ||
	    object_overlap(BIT(KIND_MAPPING), ptr, bytes) || !h ||
	    bytes > h->backing->bytes)
		return CUDA_ERROR_INVALID_VALUE;
	o = object_add(KIND_MAPPING, NULL, ptr, bytes);
	if (!o)
		return CUDA_ERROR_OUT_OF_MEMORY;
	o->backing = h->backing;
	o->backing->refs++;
	return 0;
}

int cuMemMap(uint64_t ptr, size_t bytes, size_t offset,
	     unsigned long long handle, unsigned long long flags)
{
	ENTER(cuMemMap);

	/* Offsets are for later versions of CUDA. */
	if (!is_whole(ptr) || !is_whole(bytes) || offset || flags)
		return CUDA_ERROR_INVALID_VALUE;
	return mem_map(ptr, bytes, handle);
}

/* Does the range consist of whole mappings, and nothing else? */
static bool is_all_mappings(uint64_t ptr, size_t bytes)
{
	uint64_t end = ptr + bytes;
	const struct object *o;

	if (!is_whole(bytes) || bytes > UINT64_MAX - ptr)
		return false;
	for (; ptr < end; ptr += o->bytes) {
		o = object_find(KIND_MAPPING, ptr);
		if (!o)
			return false;
	}
	return ptr == end;
}

int cuMemUnmap(uint64_t ptr, size_t bytes)
{
	struct object *o;
	ENTER(cuMemUnmap);

	if (!is_all_mappings(ptr, bytes))
		return CUDA_ERROR_INVALID_VALUE;
	while ((o = object_overlap(BIT(KIND_MAPPING), ptr, bytes)))
		object_drop(o);
	return 0;
}

static void set_access(uint64_t ptr, size_t bytes,
		       const struct cuda_access *access)
{
	uint32_t bit = BIT(access->location.id);
	uint64_t end = ptr + bytes;
	struct object *o;

	for (; ptr < end; ptr += o->bytes) {
		o = object_find(KIND_MAPPING, ptr);
		o->access = access->flags ? o->access | bit : o->access & ~bit;
	}
}

int cuMemSetAccess(uint64_t ptr, size_t bytes, const struct cuda_access *access,
		   size_t count)
{
	size_t i;
	ENTER(cuMemSetAccess);

	if (!is_all_mappings(ptr, bytes) || !access || !count)
		return CUDA_ERROR_INVALID_VALUE;
	for (i = 0; i < count; i++) {
		/* None, or all: nobody here has use for reading alone. */
		if (access[i].flags &&
		    access[i].flags != CUDA_ACCESS_READ_WRITE)
			return CUDA_ERROR_INVALID_VALUE;
		if (!is_device_location(&access[i].location))
			return CUDA_ERROR_INVALID_DEVICE;
	}
	for (i = 0; i < count; i++)
		set_access(ptr, bytes, &access[i]);
	return 0;
}
