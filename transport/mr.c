// SPDX-License-Identifier: BSD-3-Clause
/*
 * mr.c - memory registered with a connection. The list is the only part of a
 * connection that two threads may touch at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "conn.h"
#include "nic.h"
#include "region.h"
#include "txmem.h"
#include "worker.h"

struct devmem_mr {
	struct devmem_mr *next;
	uintptr_t addr; /* as requests name it */
	size_t size;
	uint8_t *at; /* where the CPU sees addr, or its offset in mem */
	struct txmem *mem[DEVMEM_MAX_RAILS]; /* bound to each rail, or NULL */
	void *map; /* dma-buf that the CPU reads: what is to be unmapped */
	size_t map_bytes;
};

static void mr_undo(const struct devmem_mr *mr)
{
	for (unsigned int i = 0; i < DEVMEM_MAX_RAILS; i++)
		txmem_put(mr->mem[i]);
	if (mr->map)
		munmap(mr->map, mr->map_bytes);
}

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
				.at = addr };

	*out = NULL;
	if (!addr && size)
		return -EINVAL;
	return mr_add(c, &mr, out);
}

/* For the CPU to copy from or to. */
static int map_dmabuf(struct devmem_mr *mr, uint64_t offset, int fd)
{
	void *cpu;
	int rc = region_map_dmabuf(fd, offset, mr->size, &mr->map,
				   &mr->map_bytes, &cpu);

	if (!rc) {
		mr->at = cpu;
		return 0;
	}
	WARN("registering %zu bytes of a dma-buf at offset %llu: %s", mr->size,
	     (unsigned long long)offset,
	     rc == -EINVAL ? "the range is not inside the dma-buf" :
	     rc == -EBADF  ? "the file descriptor is not open" :
	     rc == -ENOMEM ? "out of memory" :
			     "the CPU cannot reach its memory, and this build "
			     "has no engine that can");
	return rc;
}

/* For one of the connection's interfaces to read from. */
static int bind_rail(struct devmem_conn *c, struct devmem_mr *mr,
		     unsigned int rail, uint64_t offset, int fd, struct why *w)
{
	const struct devmem_nic_props *nic = &c->dev->rail[rail]->info;
	int rc;

	rc = txmem_get(nic->name, nic->ifindex, mr->addr, mr->size, offset, fd,
		       &mr->mem[rail], w);
	if (rc)
		return rc;
	rc = tx_devmem_try(c->flow[rail].fd, mr->mem[rail]);
	if (rc == -ENODEV)
		return why(w, rc, "the way to the peer does not go by %s",
			   nic->name);
	if (rc)
		return why(w, rc, "sending from a dma-buf by %s: %s", nic->name,
			   strerror(-rc));
	return 0;
}

/* For all of them, or none. */
static int bind_dmabuf(struct devmem_conn *c, struct devmem_mr *mr,
		       uint64_t offset, int fd, struct why *w)
{
	int rc = 0;

	if (!c->dev->info.devmem_tx)
		return why(w, -EOPNOTSUPP, "%s", c->dev->info.tx_reason);
	for (unsigned int i = 0; !rc && i < c->rails; i++)
		rc = bind_rail(c, mr, i, offset, fd, w);
	for (unsigned int i = 0; rc && i < c->rails; i++) {
		txmem_put(mr->mem[i]);
		mr->mem[i] = NULL;
	}
	if (!rc)
		mr->at = (uint8_t *)(uintptr_t)offset;
	return rc;
}

DEVMEM_API int devmem_mr_dmabuf(struct devmem_conn *c, void *addr, size_t size,
				uint64_t offset, int fd, struct devmem_mr **out)
{
	struct devmem_mr mr = { .addr = (uintptr_t)addr, .size = size };
	struct why w = { "" };
	int rc = -EOPNOTSUPP;

	*out = NULL;
	if (c->is_sender) {
		rc = bind_dmabuf(c, &mr, offset, fd, &w);
		if (rc && ctx_options(c->ctx)->require & DEVMEM_REQUIRE_TX) {
			WARN("NCCL_DEVMEM_REQUIRE has tx, but %s", w.text);
			return -EOPNOTSUPP;
		}
		if (rc)
			INFO("path send buffer nic=%s bytes=%zu tx=host "
			     "reason=\"%s\"",
			     c->dev->info.name, size, w.text);
	}
	if (rc)
		rc = map_dmabuf(&mr, offset, fd);
	rc = rc ?: mr_add(c, &mr, out);
	if (rc)
		mr_undo(&mr);
	return rc;
}

static void mr_free(struct devmem_mr *mr)
{
	mr_undo(mr);
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
	/*
	 * NCCL gives its memory back before it closes, also when it aborts with
	 * receives posted: its thread has ended then, ours has not.
	 */
	if (mr && c->worker) {
		worker_suspend(c);
		if (conn_uses(c, mr))
			conn_cancel(c);
		worker_resume(c);
	}
	pthread_mutex_unlock(&c->mr_lock);
	if (!mr)
		return -EINVAL;
	mr_free(mr);
	return 0;
}

int mr_place(const struct devmem_mr *mr, const void *addr, size_t size,
	     uint8_t **at, struct txmem *const **mem)
{
	uintptr_t from = (uintptr_t)addr;

	if (from < mr->addr || from - mr->addr > mr->size ||
	    size > mr->size - (from - mr->addr))
		return -EINVAL;
	*at = mr->at + (from - mr->addr);
	*mem = mr->mem[0] ? mr->mem : NULL;
	return 0;
}

void mr_free_all(struct devmem_conn *c)
{
	while (c->mrs) {
		struct devmem_mr *mr = c->mrs;

		c->mrs = mr->next;
		mr_free(mr);
	}
}
