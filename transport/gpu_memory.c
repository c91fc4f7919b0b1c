// SPDX-License-Identifier: BSD-3-Clause
/*
 * gpu_memory.c - memory on GPUs and memory that GPUs see; see gpu.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu.h"

/* What NCCL's unpacking can address. */
#define ARENA_BYTES ((size_t)4 << 30)
#define ARENA_POOLS 32

/* A range of addresses, and what of it is in use, in order. */
struct gpu_arena {
	uint64_t base;
	struct {
		size_t at, bytes;
	} used[ARENA_POOLS];
	unsigned int count;
};
static pthread_mutex_t arena_lock = PTHREAD_MUTEX_INITIALIZER;

void *gpu_host_alloc(const struct gpu *g, size_t bytes)
{
	struct gpu_scope s;
	void *p = NULL;
	int rc = gpu_enter(g, &s);

	rc = rc	   ?:
		     g->cuda->host_alloc(&p, bytes,
					 CUDA_HOST_PORTABLE |
						 CUDA_HOST_DEVICEMAP);
	gpu_leave(&s);
	if (rc)
		return NULL;
	return memset(p, 0, bytes);
}

void gpu_host_free(const struct gpu *g, void *p)
{
	struct gpu_scope s;

	if (!p || gpu_is_stuck(g))
		return;
	if (!gpu_enter(g, &s))
		g->cuda->host_free(p);
	gpu_leave(&s);
}

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * Where GPU and CPU share their memory the flag maps it as a NIC on PCIe sees it;
 * most drivers know nothing of it.
 */
static int export_range(const struct gpu *g, uint64_t addr, size_t size,
			int *fd)
{
	struct gpu_scope s;
	int rc = gpu_enter(g, &s);

	rc = rc	   ?:
		     g->cuda->range_handle(fd, addr, size,
					   CUDA_RANGE_DMA_BUF_FD, 0);
	if (rc && !s.rc &&
	    !g->cuda->range_handle(fd, addr, size, CUDA_RANGE_DMA_BUF_FD,
				   CUDA_RANGE_DMA_BUF_PCIE))
		rc = CUDA_SUCCESS;
	gpu_leave(&s);
	return rc;
}

int gpu_export(const struct gpu *g, uint64_t addr, size_t size,
	       uint64_t *offset, struct why *w)
{
	size_t page = page_bytes();
	uint64_t start = addr / page * page;
	uint64_t end = (addr + size + page - 1) / page * page;
	int rc, fd = -1;

	if (!g->dmabuf || !size || addr + size < addr)
		return why(w, -EOPNOTSUPP, "%s exports no dma-bufs", g->name);
	rc = export_range(g, start, end - start, &fd);
	if (rc || fd < 0)
		return why(w, rc ? cuda_errno(rc) : -EIO,
			   "%s cannot export %zu bytes as a dma-buf: %s",
			   g->name, size, cuda_text(rc));
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	*offset = addr - start;
	return fd;
}

/* ---- pins ------------------------------------------------------------------ */

/*
 * Pages that were registered with the driver, which takes none twice: who wants some
 * that are here already holds these, too.
 */
struct pinned {
	struct pinned *next;
	const struct gpu *gpu; /* in whose context; they are for all GPUs */
	uintptr_t start, end;
	unsigned int users;
};

struct gpu_pin {
	unsigned int count;
	struct pinned *held[];
};

static struct {
	pthread_mutex_t lock;
	struct pinned *first;
} pins = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct pinned *pinned_at(uintptr_t page)
{
	struct pinned *p = pins.first;

	while (p && !(p->start <= page && page < p->end))
		p = p->next;
	return p;
}

/* Does the GPU see the page anyway? */
static bool is_visible(const struct gpu *g, uintptr_t page)
{
	int kind = 0;

	return pinned_at(page) ||
	       (!g->cuda->pointer_get(&kind, CUDA_POINTER_MEMORY_TYPE, page) &&
		kind == CUDA_MEMORY_HOST);
}

static int pin_new(const struct gpu *g, uintptr_t start, uintptr_t end)
{
	struct pinned *p = malloc(sizeof(*p));
	struct gpu_scope s;
	int rc;

	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	rc = gpu_enter(g, &s);
	rc = rc	   ?:
		     g->cuda->host_register((void *)start, end - start,
					    CUDA_HOST_PORTABLE |
						    CUDA_HOST_DEVICEMAP);
	gpu_leave(&s);
	if (rc) {
		free(p);
		return rc;
	}
	*p = (struct pinned){
		.next = pins.first, .gpu = g, .start = start, .end = end
	};
	pins.first = p;
	return CUDA_SUCCESS;
}

/* Register what is not visible of [start, end). */
static int pin_missing(const struct gpu *g, uintptr_t start, uintptr_t end,
		       size_t page)
{
	int rc = CUDA_SUCCESS;

	for (uintptr_t at = start, from; !rc && at < end;) {
		if (is_visible(g, at)) {
			at += page;
			continue;
		}
		for (from = at; at < end && !is_visible(g, at); at += page)
			;
		rc = pin_new(g, from, at);
	}
	return rc;
}

static bool overlaps(const struct pinned *p, uintptr_t start, uintptr_t end)
{
	return p->start < end && start < p->end;
}

/* Those that nobody holds are given back. */
static void pins_sweep(void)
{
	struct pinned **at = &pins.first;

	while (*at) {
		struct pinned *p = *at;
		struct gpu_scope s;

		if (p->users) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		if (!gpu_enter(p->gpu, &s))
			p->gpu->cuda->host_unregister((void *)p->start);
		gpu_leave(&s);
		free(p);
	}
}

/* All that overlaps [start, end). */
static struct gpu_pin *pins_hold(uintptr_t start, uintptr_t end)
{
	struct gpu_pin *pin;
	unsigned int n = 0;

	for (struct pinned *p = pins.first; p; p = p->next)
		n += overlaps(p, start, end);
	pin = malloc(sizeof(*pin) + n * sizeof(struct pinned *));
	if (!pin)
		return NULL;
	pin->count = 0;
	for (struct pinned *p = pins.first; p; p = p->next)
		if (overlaps(p, start, end)) {
			p->users++;
			pin->held[pin->count++] = p;
		}
	return pin;
}

int gpu_pin(const struct gpu *g, void *addr, size_t size, struct gpu_pin **out,
	    struct why *w)
{
	size_t page = page_bytes();
	uintptr_t start = (uintptr_t)addr / page * page;
	uintptr_t end = ((uintptr_t)addr + size + page - 1) / page * page;
	int rc;

	*out = NULL;
	if (!size)
		return 0;
	pthread_mutex_lock(&pins.lock);
	rc = pin_missing(g, start, end, page);
	if (!rc) {
		*out = pins_hold(start, end);
		rc = *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (rc)
		pins_sweep();
	pthread_mutex_unlock(&pins.lock);
	if (rc)
		return why(w, cuda_errno(rc),
			   "%zu bytes of host memory cannot be made visible to "
			   "%s: %s",
			   size, g->name, cuda_text(rc));
	return 0;
}

void gpu_unpin(struct gpu_pin *pin)
{
	if (!pin)
		return;
	pthread_mutex_lock(&pins.lock);
	for (unsigned int i = 0; i < pin->count; i++)
		pin->held[i]->users--;
	pins_sweep();
	pthread_mutex_unlock(&pins.lock);
	free(pin);
}

/* ---- pools ---------------------------------------------------------------- */

/* A gap in the arena for @bytes: where it is put in the list, and *at. */
static int find_gap(const struct gpu_arena *a, size_t bytes, size_t *at)
{
	unsigned int i;

	*at = 0;
	for (i = 0; i < a->count && a->used[i].at - *at < bytes; i++)
		*at = a->used[i].at + a->used[i].bytes;
	if (a->count == ARENA_POOLS || bytes > ARENA_BYTES - *at)
		return -ENOSPC;
	return (int)i;
}

/* Under the lock and in the context, as those below. */
static int arena_make(struct gpu *g)
{
	struct gpu_arena *a;
	int rc;

	if (g->arena)
		return CUDA_SUCCESS;
	a = calloc(1, sizeof(*a));
	if (!a)
		return CUDA_ERROR_OUT_OF_MEMORY;
	rc = g->cuda->address_reserve(&a->base, ARENA_BYTES, 0, 0, 0);
	if (rc) {
		free(a);
		return rc;
	}
	g->arena = a;
	return CUDA_SUCCESS;
}

static int arena_take(struct gpu *g, size_t bytes, uint64_t *addr)
{
	int i, rc = arena_make(g);
	struct gpu_arena *a = g->arena;
	size_t at;

	if (rc)
		return rc;
	i = find_gap(a, bytes, &at);
	if (i < 0)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memmove(&a->used[i + 1], &a->used[i],
		(a->count - (unsigned int)i) * sizeof(a->used[0]));
	a->used[i].at = at;
	a->used[i].bytes = bytes;
	a->count++;
	*addr = a->base + at;
	return CUDA_SUCCESS;
}

static void arena_give(struct gpu *g, uint64_t addr)
{
	struct gpu_arena *a = g->arena;
	unsigned int i;

	for (i = 0; i < a->count && a->base + a->used[i].at != addr; i++)
		;
	if (i == a->count)
		return;
	memmove(&a->used[i], &a->used[i + 1],
		(a->count - i - 1) * sizeof(a->used[0]));
	a->count--;
}

void gpu_arena_free(const struct gpu *g, struct gpu_arena *a)
{
	struct gpu_scope s;

	if (!a || gpu_is_stuck(g))
		return;
	if (!gpu_enter(g, &s))
		g->cuda->address_free(a->base, ARENA_BYTES);
	gpu_leave(&s);
	free(a);
}

static int alloc_mapped(struct gpu *g, size_t bytes, struct gpu_memory *m)
{
	const struct cuda *c = g->cuda;
	struct cuda_alloc_prop prop = {
		.type = CUDA_ALLOC_PINNED,
		.location = { CUDA_LOCATION_DEVICE, g->dev },
		.rdma_capable = 1,
	};
	struct cuda_access access = {
		.location = prop.location,
		.flags = CUDA_ACCESS_READ_WRITE,
	};
	size_t unit = 0;
	int rc = c->granularity(&unit, &prop, CUDA_GRANULARITY_MINIMUM);

	if (rc || !unit)
		return rc ?: CUDA_ERROR_UNKNOWN;
	m->bytes = (bytes + unit - 1) / unit * unit;
	rc = c->mem_create(&m->handle, m->bytes, &prop, 0);
	if (rc)
		return rc;
	rc = arena_take(g, m->bytes, &m->addr);
	if (rc)
		goto err_release;
	rc = c->mem_map(m->addr, m->bytes, 0, m->handle, 0);
	if (rc)
		goto err_arena;
	rc = c->set_access(m->addr, m->bytes, &access, 1);
	if (rc)
		goto err_unmap;
	m->base = g->arena->base;
	return CUDA_SUCCESS;

err_unmap:
	c->mem_unmap(m->addr, m->bytes);
err_arena:
	arena_give(g, m->addr);
err_release:
	c->mem_release(m->handle);
	m->handle = 0;
	return rc;
}

static int alloc_plain(struct gpu *g, size_t bytes, struct gpu_memory *m)
{
	const unsigned int sync = 1;
	size_t page = page_bytes();
	int rc = g->cuda->mem_alloc(&m->allocated, bytes + page);

	if (rc)
		return rc;
	m->addr = (m->allocated + page - 1) / page * page;
	m->base = m->addr;
	m->bytes = bytes;
	/* The driver's own copies from it are then ordered with the NIC's. */
	g->cuda->pointer_set(&sync, CUDA_POINTER_SYNC_MEMOPS, m->allocated);
	return CUDA_SUCCESS;
}

int gpu_memory_alloc(struct gpu *g, size_t bytes, struct gpu_memory *m,
		     struct why *w)
{
	struct gpu_scope s;
	int rc = gpu_enter(g, &s);

	memset(m, 0, sizeof(*m));
	pthread_mutex_lock(&arena_lock);
	if (!rc)
		rc = g->vmm && bytes < ARENA_BYTES ? alloc_mapped(g, bytes, m) :
						     CUDA_ERROR_NOT_SUPPORTED;
	if (rc == CUDA_ERROR_NOT_SUPPORTED)
		rc = alloc_plain(g, bytes, m);
	pthread_mutex_unlock(&arena_lock);
	gpu_leave(&s);
	if (rc)
		return why(w, cuda_errno(rc),
			   "a pool of %zu bytes on %s: %s; set "
			   "NCCL_DEVMEM_POOL_BYTES lower if its memory is full",
			   bytes, g->name, cuda_text(rc));
	return 0;
}

void gpu_memory_free(struct gpu *g, struct gpu_memory *m)
{
	struct gpu_scope s;

	if (gpu_is_stuck(g))
		return;
	pthread_mutex_lock(&arena_lock);
	if (!gpu_enter(g, &s)) {
		if (m->handle) {
			g->cuda->mem_unmap(m->addr, m->bytes);
			arena_give(g, m->addr);
			g->cuda->mem_release(m->handle);
		} else if (m->allocated) {
			g->cuda->mem_free(m->allocated);
		}
	}
	gpu_leave(&s);
	pthread_mutex_unlock(&arena_lock);
	memset(m, 0, sizeof(*m));
}
