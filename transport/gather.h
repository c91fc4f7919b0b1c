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
	const uint8_t *pool; /* cpu: where it is mapped */
	struct gather_op *op;
	size_t count, cap;
};

/* @cap operations at most. 0 or -ENOMEM. */
int gather_list_init(struct gather_list *l, size_t cap);
void gather_list_free(struct gather_list *l);

/**
 * gather_list_add() - append an operation, or extend the last one. false: the
 * list is full and unchanged. @len 0 adds nothing.
 */
bool gather_list_add(struct gather_list *l, const struct gather_op *op);

struct gather_engine;

struct gather_ops {
	const char *name;
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

/* Copies by the CPU from the mapped pool; done when submit returns. */
extern const struct gather_ops gather_cpu;
/*
 * Leaves pool payload where it is and copies host bytes only. What it delivers
 * is not the message: for measurements of the path without the copy.
 */
extern const struct gather_ops gather_none;

#endif /* DEVMEM_GATHER_H */
