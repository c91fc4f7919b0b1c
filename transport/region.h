/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * region.h - memory that can be a dma-buf. One provider per kind of memory; all
 * that is above knows only struct region.
 */
#ifndef DEVMEM_REGION_H
#define DEVMEM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu.h"
#include "log.h"

struct gpu;
struct region;

struct region_ops {
	const char *name;
	bool on_gpu;
	/*
	 * Allocate @r->bytes, a multiple of the page size, and export them if
	 * @r->exported says so.
	 */
	int (*alloc)(struct region *r, struct why *w);
	void (*free)(struct region *r);
};

struct region {
	const struct region_ops *ops;
	size_t bytes;
	bool exported;	 /* it is to be */
	struct gpu *gpu; /* on whose memory it is, or NULL */
	int dmabuf_fd;	 /* owned; CLOEXEC; -1 if not exported */
	/*
	 * Where its gather engine sees it: an address of the CPU, or if there is
	 * a GPU of that one, which the CPU must not touch.
	 */
	uint8_t *map;
	struct gpu_memory memory; /* on a GPU */
};

extern const struct region_ops region_udmabuf;
extern const struct region_ops region_cuda;
extern const struct region_ops region_host; /* cannot be exported */

/**
 * region_alloc() - allocate and export @r->bytes on @r->gpu as @r->exported says, all
 * else of @r empty. 0, or -errno with the reason in @w (-ENOMEM: more than the
 * machine has; -EINVAL: more than the exporter allows).
 */
int region_alloc(struct region *r, const struct region_ops *ops, struct why *w);
void region_free(struct region *r);

/**
 * region_check_dmabuf() - is [offset, offset + size) inside of a dma-buf? *end is
 * the size of it. -EINVAL: no; -EBADF, -EOPNOTSUPP: @fd is not open, no dma-buf.
 */
int region_check_dmabuf(int fd, uint64_t offset, size_t size, uint64_t *end);

/**
 * region_map_dmabuf() - map [offset, offset + size) of somebody else's dma-buf
 * for the CPU. @fd is not kept. Returns the mapping of the pages around the
 * range in *map and *map_bytes (for munmap) and the range itself in *addr.
 * -EOPNOTSUPP where that memory cannot be mapped, as a GPU's.
 */
int region_map_dmabuf(int fd, uint64_t offset, size_t size, void **map,
		      size_t *map_bytes, void **addr);

#endif /* DEVMEM_REGION_H */
