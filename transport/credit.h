/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * credit.h - a pool's niovs, shared out among the connections that receive into
 * it, so that what peers may send never exceeds what the pool can take.
 *
 * Each member has a floor, a number of niovs that nobody else can hold: with it
 * a connection always makes progress, so that no order of messages among
 * connections can deadlock. The rest is lent to whoever asks first, but for a
 * headroom from which later members get their floors.
 *
 * Any thread.
 */
#ifndef DEVMEM_CREDIT_H
#define DEVMEM_CREDIT_H

#include <pthread.h>
#include <stddef.h>

struct credit {
	pthread_mutex_t lock;
	size_t total;	 /* niovs */
	size_t common;	 /* not in anyone's floor and not lent */
	size_t headroom; /* of common, what is never lent */
};

struct credit_member {
	size_t floor; /* niovs of its own */
	size_t used;  /* niovs held, its own first */
};

/* @total niovs; a quarter is headroom. */
void credit_init(struct credit *c, size_t total);
void credit_destroy(struct credit *c);

/** credit_join() - reserve a floor. 0, or -ENOSPC if there is no room for it. */
int credit_join(struct credit *c, struct credit_member *m, size_t floor);
/** credit_leave() - give back the floor and all that is held. */
void credit_leave(struct credit *c, struct credit_member *m);

/**
 * credit_take() - take up to @want niovs, the member's own first. Returns how
 * many were taken: 0 when fewer than @least can be had.
 */
size_t credit_take(struct credit *c, struct credit_member *m, size_t want,
		   size_t least);
/** credit_give() - give @n of the held niovs back, the borrowed ones first. */
void credit_give(struct credit *c, struct credit_member *m, size_t n);

/*
 * niovs that bound queues can keep from us at any time: descriptors in the ring,
 * and pages in the page pool's cache (128 a queue) and ring (as large as the
 * descriptors', as drivers have it). @filled: what the rings took when they were
 * filled, as a driver may use several pages for a descriptor; 0: not known.
 * @ring: descriptors of one, 0: not known.
 */
static inline size_t credit_held_by_rings(unsigned int queues,
					  unsigned int ring, size_t filled)
{
	size_t by_size = (size_t)queues * (ring ? ring : 1024);

	return 2 * (filled > by_size ? filled : by_size) + queues * 128ul;
}

/* What a pool must have for its connections to get anywhere. */
static inline size_t credit_least(size_t held)
{
	return held + held / 4;
}

#endif /* DEVMEM_CREDIT_H */
