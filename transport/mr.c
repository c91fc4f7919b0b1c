// SPDX-License-Identifier: BSD-3-Clause
/*
 * mr.c - memory registered with a connection. The list is the only part of a
 * connection that two threads may touch at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conn.h"
#include "gpu.h"
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
	bool device;	     /* at is what the connection's GPU sees */
	bool unpack;	     /* receives there are left to NCCL's unpacking */
	struct gpu_pin *pin; /* of host memory, so that it sees it; or NULL */
};

static void mr_undo(const struct devmem_mr *mr)
{
	for (unsigned int i = 0; i < DEVMEM_MAX_RAILS; i++)
		txmem_put(mr->mem[i]);
	if (mr->map)
		munmap(mr->map, mr->map_bytes);
	gpu_unpin(mr->pin);
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

	struct why w = { .text = "" };
	int rc;

	*out = NULL;
	if (!addr && size)
		return -EINVAL;
	/* Who gathers has to see it. */
	if (!c->is_sender && c->rx.pools && c->gpu) {
		rc = gpu_pin(c->gpu, addr, size, &mr.pin, &w);
		if (rc) {
			WARN("registering memory: %s", w.text);
			return rc;
		}
	}
	rc = mr_add(c, &mr, out);
	if (rc)
		mr_undo(&mr);
	return rc;
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

/* A connection uses one GPU: the pool's, or that of the first memory. */
static int use_gpu(struct devmem_conn *c, int ordinal, struct why *w)
{
	int rc = 0;

	pthread_mutex_lock(&c->mr_lock);
	if (c->gpu && c->gpu->ordinal != ordinal) {
		rc = why(w, -EOPNOTSUPP,
			 "the memory is on GPU %d, the connection's other "
			 "memory on GPU %d",
			 ordinal, c->gpu->ordinal);
	} else if (!c->gpu && c->rx.pools) {
		rc = why(w, -EOPNOTSUPP,
			 "the pool is in host memory, and the CPU cannot reach "
			 "that of GPU %d; set NCCL_DEVMEM_REGION=cuda",
			 ordinal);
	} else if (!c->gpu) {
		c->gpu = gpu_get(ordinal, w);
		rc = c->gpu ? 0 : -EOPNOTSUPP;
	}
	if (!rc && !c->is_sender && !c->rx.gather)
		__atomic_store_n(&c->rx.gather, c->gpu->gather,
				 __ATOMIC_RELEASE);
	pthread_mutex_unlock(&c->mr_lock);
	return rc;
}

/* Is all of it on that GPU? */
static bool is_on_gpu(const struct devmem_mr *mr, int ordinal)
{
	uintptr_t last = mr->addr + mr->size - 1;

	return !mr->size ||
	       (last >= mr->addr && gpu_of((void *)last) == ordinal);
}

/* Memory of a GPU, for its engine to copy from or to. */
static int reach_gpu(struct devmem_conn *c, struct devmem_mr *mr, int ordinal)
{
	struct why w = { .text = "" };
	int rc;

	if (is_on_gpu(mr, ordinal))
		rc = use_gpu(c, ordinal, &w);
	else
		rc = why(&w, -EINVAL, "they do not all lie in its memory");
	if (!rc && c->is_sender && stage_new(c))
		rc = why(&w, -ENOMEM, "no host memory to copy to");
	if (rc) {
		WARN("registering %zu bytes of a GPU: %s", mr->size, w.text);
		return rc;
	}
	mr->device = true;
	mr->at = (uint8_t *)mr->addr;
	return 0;
}

/* A sender's memory that its interfaces do not read. */
static int no_devmem(const struct devmem_conn *c, size_t size, bool device,
		     const struct why *w)
{
	if (ctx_options(c->ctx)->require & DEVMEM_REQUIRE_TX) {
		WARN("NCCL_DEVMEM_REQUIRE has tx, but %s", w->text);
		return -EOPNOTSUPP;
	}
	INFO("path send buffer nic=%s bytes=%zu tx=%s reason=\"%s\"",
	     c->dev->info.name, size, device ? "staged" : "host", w->text);
	return 0;
}

/* @fd: -1 if the memory is not given as a dma-buf, then for the reason in @w. */
static int add_device_memory(struct devmem_conn *c, struct devmem_mr *mr,
			     int ordinal, uint64_t offset, int fd,
			     struct why *w, struct devmem_mr **out)
{
	int rc = -EOPNOTSUPP;

	if (c->is_sender) {
		if (fd >= 0)
			rc = bind_dmabuf(c, mr, offset, fd, w);
		if (rc && no_devmem(c, mr->size, ordinal >= 0, w))
			return -EOPNOTSUPP;
	}
	if (rc)
		rc = ordinal >= 0 ? reach_gpu(c, mr, ordinal) :
				    map_dmabuf(mr, offset, fd);
	rc = rc ?: mr_add(c, mr, out);
	if (rc)
		mr_undo(mr);
	return rc;
}

DEVMEM_API int devmem_mr_dmabuf(struct devmem_conn *c, void *addr, size_t size,
				uint64_t offset, int fd, struct devmem_mr **out)
{
	struct devmem_mr mr = { .addr = (uintptr_t)addr, .size = size };
	struct why w = { .text = "" };

	*out = NULL;
	return add_device_memory(c, &mr, gpu_of(addr), offset, fd, &w, out);
}

/* A sender's interfaces may read it: as a dma-buf, or -1 and why not. */
static int export(struct devmem_conn *c, const struct devmem_mr *mr,
		  int ordinal, uint64_t *offset, struct why *w)
{
	int fd;

	if (!c->dev->info.devmem_tx) {
		why(w, 0, "%s", c->dev->info.tx_reason);
		return -1;
	}
	/* Held as long as the connection: to get one is expensive. */
	if (use_gpu(c, ordinal, w))
		return -1;
	fd = gpu_export(c->gpu, mr->addr, mr->size, offset, w);
	return fd < 0 ? -1 : fd;
}

DEVMEM_API int devmem_mr_gpu(struct devmem_conn *c, void *addr, size_t size,
			     struct devmem_mr **out)
{
	struct devmem_mr mr = { .addr = (uintptr_t)addr, .size = size };
	int ordinal = gpu_of(addr), fd = -1, rc;
	uint64_t offset = 0;
	struct why w = { .text = "" };

	*out = NULL;
	if (ordinal < 0) {
		WARN("registering %zu bytes: they are no GPU's that this "
		     "process can use",
		     size);
		return -EOPNOTSUPP;
	}
	if (c->is_sender)
		fd = export(c, &mr, ordinal, &offset, &w);
	rc = add_device_memory(c, &mr, ordinal, offset, fd, &w, out);
	if (fd >= 0)
		close(fd);
	return rc;
}

DEVMEM_API void devmem_unpack_mr(struct devmem_conn *c, struct devmem_mr *mr)
{
	/* NCCL names its buffers for LL, LL128 and SIMPLE: the last one is it. */
	pthread_mutex_lock(&c->mr_lock);
	for (struct devmem_mr *other = c->mrs; other; other = other->next)
		other->unpack = other == mr;
	pthread_mutex_unlock(&c->mr_lock);
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
	/* A GPU's engine may be at it, also for a request that has failed. */
	if (mr->device || (!c->is_sender && c->rx.pools && c->gpu))
		conn_gather_wait(c);
	mr_free(mr);
	return 0;
}

int mr_place(const struct devmem_mr *mr, const void *addr, size_t size,
	     struct devmem_request *r)
{
	uintptr_t from = (uintptr_t)addr;

	if (from < mr->addr || from - mr->addr > mr->size ||
	    size > mr->size - (from - mr->addr))
		return -EINVAL;
	r->addr = mr->at + (from - mr->addr);
	r->mem = mr->mem[0] ? mr->mem : NULL;
	r->device = mr->device;
	r->gathered = !mr->unpack;
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
