/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unpacker.c - see unpacker.h. What the plugin wrote is checked before it is followed:
 * NCCL's kernels would not, and end with an illegal address or wrong data.
 */
#include "unpacker.h"

#include <stdio.h>
#include <stdlib.h>

#include "unpack_abi.h"

struct unpacker {
	uint64_t at; /* of the handle, in GPU memory */
	struct unpack_handle handle;
	uint64_t bytes;
	struct unpack_entry entry[UNPACK_ENTRIES];
};

static bool failed(int rc, const char *what, char *why, size_t size)
{
	if (rc)
		snprintf(why, size, "%s: %s", what, gpu_text(rc));
	return rc;
}

void unpacker_prepare(ncclNetDeviceHandle_v11_t *handle)
{
	*handle = (ncclNetDeviceHandle_v11_t){
		.netDeviceType = NCCL_NET_DEVICE_UNPACK,
		.netDeviceVersion = UNPACK_VERSION,
	};
}

bool unpacker_open(const ncclNetDeviceHandle_v11_t *handle,
		   struct unpacker **out, char *why, size_t size)
{
	struct unpacker *u;

	*out = NULL;
	if (handle->netDeviceType != NCCL_NET_DEVICE_UNPACK)
		return true;
	if (handle->netDeviceVersion != UNPACK_VERSION || !handle->handle ||
	    !handle->needsProxyProgress) {
		snprintf(why, size,
			 "the device's handle has version %d, address %p, "
			 "needsProxyProgress %d: NCCL wants %d, one, and 1",
			 handle->netDeviceVersion, handle->handle,
			 handle->needsProxyProgress, UNPACK_VERSION);
		return false;
	}
	u = malloc(sizeof(*u));
	if (!u) {
		snprintf(why, size, "out of memory");
		return false;
	}
	u->at = (uintptr_t)handle->handle;
	u->bytes = 0;
	if (failed(gpu_read(&u->handle, u->at, sizeof(u->handle)),
		   "reading the device's handle", why, size)) {
		free(u);
		return false;
	}
	*out = u;
	return true;
}

/* How many pieces the message has; -1 with the reason. */
static int read_list(struct unpacker *u, char *why, size_t size)
{
	uint64_t slot = u->handle.head % UNPACK_SLOTS, count;
	uint64_t counts = u->handle.meta + offsetof(struct unpack_meta, count);

	if (failed(gpu_read(&count, counts + slot * sizeof(count),
			    sizeof(count)),
		   "reading the number of pieces", why, size))
		return -1;
	if (count > UNPACK_ENTRIES) {
		snprintf(why, size, "a list of %llu pieces, at most %u fit",
			 (unsigned long long)count, UNPACK_ENTRIES);
		return -1;
	}
	if (failed(gpu_read(u->entry, u->handle.meta + slot * sizeof(u->entry),
			    count * sizeof(u->entry[0])),
		   "reading the list of pieces", why, size))
		return -1;
	return (int)count;
}

bool unpacker_next(struct unpacker *u, uint64_t to, size_t bytes, char *why,
		   size_t size)
{
	const struct unpack_entry *p = u->entry;
	int count, i;

	u->handle.head++;
	count = read_list(u, why, size);
	if (count < 0)
		return false;
	for (i = 0; i < count; i++, p++) {
		if (p->dst_off > bytes || p->len > bytes - p->dst_off) {
			snprintf(why, size,
				 "a piece of %u bytes for offset %llu of a "
				 "message of %zu",
				 p->len, (unsigned long long)p->dst_off, bytes);
			return false;
		}
		if (failed(gpu_copy(to + p->dst_off,
				    u->handle.bounce + p->src_off, p->len),
			   "copying a piece", why, size))
			return false;
		u->bytes += p->len;
	}
	return !count || !failed(gpu_wait(), "copying pieces", why, size);
}

uint64_t unpacker_bytes(const struct unpacker *u)
{
	return u->bytes;
}

bool unpacker_close(struct unpacker *u, char *why, size_t size)
{
	uint64_t at = u->at + offsetof(struct unpack_handle, head);
	bool ok =
		!failed(gpu_write(at, &u->handle.head, sizeof(u->handle.head)),
			"leaving the place in the lists", why, size);

	free(u);
	return ok;
}
