/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gpu.h - the process's GPUs, as far as they are used here: a hold on the primary
 * context, what the driver says of the device, one gather engine for each.
 *
 * Contexts are the calling thread's in CUDA: each call that needs one is between
 * gpu_enter() and gpu_leave(), which also tell the driver that what happens there
 * has nothing to do with a graph that another thread captures.
 */
#ifndef DEVMEM_GPU_H
#define DEVMEM_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda.h"
#include "log.h"

#define GPUS_MAX 16

struct gather_engine;

struct gpu {
	const struct cuda *cuda;
	int ordinal; /* as this process counts them */
	int dev;     /* CUdevice */
	char name[64];
	int multiprocessors;
	bool dmabuf;	     /* can export memory as a dma-buf */
	bool vmm;	     /* rdma-capable memory by cuMemCreate */
	bool writes_ordered; /* a running kernel sees what NICs have written */
	bool can_flush;	     /* or cuFlushGPUDirectRDMAWrites() makes it */
	bool stuck;	     /* a kernel of ours does not end: atomic */
	void *ctx;
	unsigned int users;
	struct gather_engine *gather;
	struct gpu_arena *arena;
};

/**
 * gpu_choose() - which GPU memory for an interface is to be on: the one whose
 * context the calling thread has, as NCCL's threads do; else the nearest to
 * @pci_path ("" or a path under /sys). Its number, or -ENODEV with the reason.
 */
int gpu_choose(const char *pci_path, struct why *w);

/* What the driver says of a GPU; it is not held. 0 or -errno. */
int gpu_describe(int ordinal, struct gpu *g);

/**
 * gpu_probe() - can a GPU be used at all, and with @exports its memory be given to a
 * NIC? 0, or -errno with the reason. Creates no context.
 */
int gpu_probe(int ordinal, bool exports, struct why *w);

/** gpu_get() - hold a GPU: its context and its engine. NULL with the reason. */
struct gpu *gpu_get(int ordinal, struct why *w);
/* Once more, somebody who holds it. */
void gpu_hold(struct gpu *g);
/* NULL is allowed. */
void gpu_put(struct gpu *g);

/* The GPU whose memory @addr is, or -1: not a GPU's. */
int gpu_of(const void *addr);

/* Memory that it may still be at must not be freed. */
static inline bool gpu_is_stuck(const struct gpu *g)
{
	return __atomic_load_n(&g->stuck, __ATOMIC_ACQUIRE);
}

struct gpu_scope {
	const struct gpu *gpu;
	int capture_mode;
	int rc; /* CUresult of entering */
};

/** gpu_enter() - CUresult. gpu_leave() must follow in any case. */
int gpu_enter(const struct gpu *g, struct gpu_scope *s);
void gpu_leave(struct gpu_scope *s);

/* Pinned host memory that the GPU sees at the same address, zeroed. NULL: none. */
void *gpu_host_alloc(const struct gpu *g, size_t bytes);
void gpu_host_free(const struct gpu *g, void *p);

/**
 * gpu_export() - [addr, addr + size) as a dma-buf; *offset is where it begins there,
 * as dma-bufs are made of pages. The descriptor (CLOEXEC), or -errno with the reason.
 */
int gpu_export(const struct gpu *g, uint64_t addr, size_t size,
	       uint64_t *offset, struct why *w);

/**
 * gpu_pin() - let GPUs reach host memory at its address, until gpu_unpin() of *out,
 * which is NULL if there is nothing to undo. Memory may be pinned more than once, and
 * share pages with other memory. 0 or -errno with the reason. Any thread.
 */
struct gpu_pin;
int gpu_pin(const struct gpu *g, void *addr, size_t size, struct gpu_pin **out,
	    struct why *w);
/* NULL is allowed. */
void gpu_unpin(struct gpu_pin *pin);

/*
 * Device memory of pools. Those of one GPU are in one range of addresses of at most
 * 4 GiB where the driver can do that, as NCCL's unpacking needs it. Where it cannot,
 * each is a range of its own.
 */
struct gpu_memory {
	uint64_t addr; /* as the GPU sees it, on a page */
	size_t bytes;
	uint64_t base;		   /* of the range */
	unsigned long long handle; /* 0: by cuMemAlloc */
	uint64_t allocated;	   /* by that: what to free */
};

/* Give up that range; no pool is left. */
void gpu_arena_free(const struct gpu *g, struct gpu_arena *a);
int gpu_memory_alloc(struct gpu *g, size_t bytes, struct gpu_memory *m,
		     struct why *w);
void gpu_memory_free(struct gpu *g, struct gpu_memory *m);

#endif /* DEVMEM_GPU_H */
