// SPDX-License-Identifier: BSD-3-Clause
/*
 * mr.c - memory registered with a connection. The list is the only part of a
 * connection that two threads may touch at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "conn.h"
#include "region.h"

struct devmem_mr {
	struct devmem_mr *next;
	uintptr_t addr; /* as requests name it */
	size_t size;
	uint8_t *cpu; /* where the CPU sees addr */
	void *map;    /* dma-buf: what is to be unmapped */
	size_t map_bytes;
};

static int mr_add(struct devmem_conn *c, const struct devmem_mr *like,
		  struct devmem_mr **out)
{
	struct devmem_mr *mr = malloc(sizeof(*mr));

	if (!mr)
		return -ENOMEM;
	*mr = *like;
	pthread_mutex_lock(&c->mr_lock);
	mr->next = c->mrs;
	c->mrs = mr;
	pthread_mutex_unlock(&c->mr_lock);
	*out = mr;
	return 0;
}

DEVMEM_API int devmem_mr_host(struct devmem_conn *c, void *addr, size_t size,
			      struct devmem_mr **out)
{
	struct devmem_mr mr = { .addr = (uintptr_t)addr,
				.size = size,
				.cpu = addr };

	*out = NULL;
	if (!addr && size)
		return -EINVAL;
	return mr_add(c, &mr, out);
}

DEVMEM_API int devmem_mr_dmabuf(struct devmem_conn *c, void *addr, size_t size,
				uint64_t offset, int fd, struct devmem_mr **out)
{
	struct devmem_mr mr = { .addr = (uintptr_t)addr, .size = size };
	void *cpu;
	int rc;

	*out = NULL;
	rc = region_map_dmabuf(fd, offset, size, &mr.map, &mr.map_bytes, &cpu);
	if (rc) {
		WARN("registering %zu bytes of a dma-buf at offset %llu: %s",
		     size, (unsigned long long)offset,
		     rc == -EINVAL ? "the range is not inside the dma-buf" :
		     rc == -EBADF  ? "the file descriptor is not open" :
		     rc == -ENOMEM ?
				    "out of memory" :
				    "the CPU cannot reach its memory, and this "
				    "build has no engine that can");
		return rc;
	}
	mr.cpu = cpu;
	rc = mr_add(c, &mr, out);
	if (rc)
		munmap(mr.map, mr.map_bytes);
	return rc;
}

static void mr_free(struct devmem_mr *mr)
{
	if (mr->map)
		munmap(mr->map, mr->map_bytes);
	free(mr);
}

DEVMEM_API int devmem_mr_release(struct devmem_conn *c, struct devmem_mr *mr)
{
	struct devmem_mr **at;

	pthread_mutex_lock(&c->mr_lock);
	for (at = &c->mrs; *at && *at != mr; at = &(*at)->next)
		;
	if (*at)
		*at = mr->next;
	else
		mr = NULL;
	pthread_mutex_unlock(&c->mr_lock);
	if (!mr)
		return -EINVAL;
	mr_free(mr);
	return 0;
}

uint8_t *mr_address(struct devmem_mr *mr, const void *addr, size_t size)
{
	uintptr_t at = (uintptr_t)addr;

	if (at < mr->addr || at - mr->addr > mr->size ||
	    size > mr->size - (at - mr->addr))
		return NULL;
	return mr->cpu + (at - mr->addr);
}

void mr_free_all(struct devmem_conn *c)
{
	while (c->mrs) {
		struct devmem_mr *mr = c->mrs;

		c->mrs = mr->next;
		mr_free(mr);
	}
}
