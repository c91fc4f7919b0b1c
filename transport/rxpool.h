/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rxpool.h - a region bound to receive queues of a NIC, and what receiving from it
 * needs. The NIC's part is the lease (lease.h).
 */
#ifndef DEVMEM_RXPOOL_H
#define DEVMEM_RXPOOL_H

#include "credit.h"
#include "devmem.h"
#include "gather.h"
#include "lease.h"
#include "log.h"
#include "region.h"

/*
 * What one call of recvmsg writes to. Calls come from as many threads as receive
 * at once, not from as many connections as there are.
 */
#define SCRATCH_BYTES (4u << 20) /* that one call may return */
#define SCRATCH_FRAGS 1536u	 /* that one call may return */

struct rx_scratch {
	struct rx_scratch *next;
	uint8_t *bounce; /* bytes that arrive in host memory */
	uint8_t *cmsgs;
	size_t cmsgs_bytes;
	struct gather_list list;
};

struct rxpool {
	struct lease lease; /* where a NIC writes to it */
	struct region region;
	struct emu_pool *emulated; /* NULL: a NIC writes to it */
	unsigned int next_queue;   /* for the next flow */
	struct credit credit;	   /* in niovs, less what the rings hold */
	pthread_mutex_t scratch_lock;
	struct rx_scratch *scratch; /* not in use */
};

/*
 * Which GPU's memory a pool of the calling thread would be in, -1: none, or it is not
 * known whether one can be used.
 */
int rxpool_gpu(const struct devmem_nic_props *nic,
	       const struct devmem_options *o);
/* Fill in what @nic can do with memory of GPUs; devmem_rx is known. */
void rxpool_gpu_props(struct devmem_nic_props *nic,
		      const struct devmem_options *o);

/** rxpool_probe() - look for an obstacle without changing anything. */
int rxpool_probe(const struct devmem_nic_props *nic,
		 const struct devmem_options *o, struct why *w);

/**
 * rxpool_setup() - header split on, RSS off the queues, region allocated and
 * bound. On failure everything is as before and @w says why.
 */
int rxpool_setup(const struct devmem_nic_props *nic,
		 const struct devmem_options *o, int gpu, struct rxpool **out,
		 struct why *w);

/** rxpool_teardown() - unbind, free, restore. NULL is allowed. */
void rxpool_teardown(struct rxpool *p);

/** rxpool_scratch_get() - buffers for one recvmsg, or NULL. Any thread. */
struct rx_scratch *rxpool_scratch_get(struct rxpool *p);
void rxpool_scratch_put(struct rxpool *p, struct rx_scratch *s);
/* Free those not in use. */
void rxpool_scratch_free(struct rxpool *p);

/* The queue that the next flow is to be steered to, in turn. Any thread. */
unsigned int rxpool_next_queue(struct rxpool *p);

/* Where the pool begins in the memory that NCCL's unpacking is told of. */
static inline uint64_t rxpool_unpack_offset(const struct rxpool *p)
{
	return p->region.memory.addr - p->region.memory.base;
}

#endif /* DEVMEM_RXPOOL_H */
