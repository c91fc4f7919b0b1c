/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gather.h - engines that move scattered pieces of a message to where the
 * receiver wants them. An engine may work asynchronously: it hands out tickets,
 * which become done in the order in which they were given.
 */
#ifndef DEVMEM_GATHER_H
#define DEVMEM_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copy @len bytes to @dst from the pool at @offset, or from @host if not NULL. */
struct gather_op {
	void *dst;
	const void *host;
	uint64_t offset;
	size_t len;
};

/*
 * A list of operations that grows at its end; neighbours that continue each
 * other on both sides are merged. All are of one pool.
 */
struct gather_list {
	const uint8_t *pool; /* where the engine sees it: struct region.map */
	struct gather_op *op;
	size_t count, cap;
	size_t staged; /* bytes used of what was reserved */
};

/* What a list may come to after gather_reserve(): operations, and bytes of them. */
#define GATHER_LIST_OPS	  1792u
#define GATHER_LIST_BYTES ((size_t)4 << 20)

/* @cap operations at most. 0 or -ENOMEM. */
int gather_list_init(struct gather_list *l, size_t cap);
void gather_list_free(struct gather_list *l);

/**
 * gather_list_add() - append an operation, or extend the last one. false: the
 * list is full and unchanged. @len 0 adds nothing.
 */
bool gather_list_add(struct gather_list *l, const struct gather_op *op);

struct gather_engine;

/* Host memory that a list's operations read from. */
struct gather_room {
	size_t bytes;	/* asked for; then what there is, at least one */
	uint8_t *stage; /* where they have to be; NULL: it may be anywhere */
};

struct gather_ops {
	const char *name;
	/* NULL: there is always room. See gather_reserve(). */
	int (*reserve)(struct gather_engine *e, struct gather_room *room);
	void (*release)(struct gather_engine *e);
	/*
	 * Start all operations of @l (not kept). The ticket is done when they
	 * are. 0 or -errno, then nothing was started.
	 */
	int (*submit)(struct gather_engine *e, const struct gather_list *l,
		      uint64_t *ticket);
	/* The highest ticket that is done, or -errno in *err. */
	uint64_t (*done)(struct gather_engine *e, int *err);
};

struct gather_engine {
	const struct gather_ops *ops;
	uint64_t ticket;
};

/**
 * gather_reserve() - make room for one list. gather_submit() or gather_release()
 * must follow, by the same thread and soon: others have to wait. -EAGAIN: there is
 * none now, -errno: the engine has failed.
 */
static inline int gather_reserve(struct gather_engine *e,
				 struct gather_room *room)
{
	room->stage = NULL;
	return e->ops->reserve ? e->ops->reserve(e, room) : 0;
}

static inline void gather_release(struct gather_engine *e)
{
	if (e->ops->release)
		e->ops->release(e);
}

static inline int gather_submit(struct gather_engine *e,
				const struct gather_list *l, uint64_t *ticket)
{
	return e->ops->submit(e, l, ticket);
}

/* The same of one operation, from host memory if it says so, else from @pool. */
static inline int gather_submit_one(struct gather_engine *e,
				    const uint8_t *pool, struct gather_op op,
				    uint64_t *ticket)
{
	struct gather_list l = {
		.pool = pool,
		.op = &op,
		.count = 1,
		.cap = 1,
		.staged = op.host ? op.len : 0,
	};

	return gather_submit(e, &l, ticket);
}

static inline uint64_t gather_done(struct gather_engine *e, int *err)
{
	return e->ops->done(e, err);
}

/* Copies by the CPU from the mapped pool; done when submit returns. */
extern const struct gather_ops gather_cpu;
/*
 * Leaves pool payload where it is and copies host bytes only. What it delivers
 * is not the message: for measurements of the path without the copy.
 */
extern const struct gather_ops gather_none;

/**
 * gather_cuda_new() - the engine of a GPU, of which the context is held: a kernel
 * that is started for the lists of all connections together. Its lists' pool and
 * destinations are what that GPU sees, host memory only if it is pinned. Any thread.
 * 0 or -errno with the reason.
 */
struct gpu;
struct why;
int gather_cuda_new(struct gpu *g, struct gather_engine **out, struct why *w);
/* Waits for what the GPU is doing, as gather_wait(). NULL is allowed. */
void gather_cuda_free(struct gather_engine *e);
/**
 * gather_wait() - wait until what goes up to a ticket is done, so that what it reads
 * and writes may go. false: nothing was done for five seconds, the GPU is still at it.
 * Then nobody waits, and none of our memory that it sees is freed, until it has done
 * all that it was given (gpu_is_stuck()). Any thread.
 */
bool gather_wait(struct gather_engine *e, uint64_t ticket);

#endif /* DEVMEM_GATHER_H */
