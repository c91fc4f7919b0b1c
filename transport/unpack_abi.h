/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unpack_abi.h - the memory that NCCL's device unpack, version 7, shares with a
 * plugin, in our own words: the lists that say which bytes of a bounce buffer
 * belong where in a receive, and the handle by which GPU code finds them. Sources:
 * NCCL 2.20 to 2.30, src/device/network/unpack/unpack_defs.h and net_device.h; in
 * all of them these are the same. docs/unpack.md tells how NCCL uses them.
 */
#ifndef DEVMEM_UNPACK_ABI_H
#define DEVMEM_UNPACK_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* netDeviceVersion: NCCL takes no other. */
#define UNPACK_VERSION 7
/* Lists of a connection: the receive with number n has list n % UNPACK_SLOTS. */
#define UNPACK_SLOTS   16u
#define UNPACK_ENTRIES 2048u /* of a list */
/* Bytes of a receive that a list may speak of. */
#define UNPACK_SLICE_BYTES ((uint64_t)4 << 20)
/* Bytes of a bounce buffer: its offsets have 32 bits. */
#define UNPACK_BOUNCE_BYTES ((uint64_t)1 << 32)
/* NCCL counts up before it looks: the first receive is number 0. */
#define UNPACK_FIRST_HEAD UINT64_MAX

/* Read by GPU code as one vector of 16 bytes. */
struct unpack_entry {
	uint32_t src_off; /* in the bounce buffer */
	uint32_t len;
	uint64_t dst_off; /* from the start of the receive */
} __attribute__((aligned(16)));

/* Host memory that the GPU sees, one for each receiving connection. */
struct unpack_meta {
	struct unpack_entry entry[UNPACK_SLOTS][UNPACK_ENTRIES];
	uint64_t count[UNPACK_SLOTS]; /* entries of each list */
};

/* GPU memory, one for each receiving connection; addresses as the GPU sees them. */
struct unpack_handle {
	uint64_t meta;	 /* struct unpack_meta */
	uint64_t bounce; /* one for all connections of a GPU */
	uint64_t head;	 /* UNPACK_FIRST_HEAD; then NCCL's */
};

static_assert(sizeof(struct unpack_entry) == 16, "an entry");
static_assert(offsetof(struct unpack_entry, len) == 4, "len");
static_assert(offsetof(struct unpack_entry, dst_off) == 8, "dst_off");
static_assert(sizeof(struct unpack_meta) == 524416, "the lists");
static_assert(offsetof(struct unpack_meta, count) == 524288, "their counts");
static_assert(sizeof(struct unpack_handle) == 24, "the handle");
static_assert(offsetof(struct unpack_handle, bounce) == 8, "bounce");
static_assert(offsetof(struct unpack_handle, head) == 16, "head");

#endif /* DEVMEM_UNPACK_ABI_H */
