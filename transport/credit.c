// SPDX-License-Identifier: BSD-3-Clause
/*
 * credit.c - sharing a pool among connections; see credit.h.
 */
#include <errno.h>

#include "credit.h"

void credit_init(struct credit *c, size_t total)
{
	pthread_mutex_init(&c->lock, NULL);
	c->total = total;
	c->common = total;
	c->headroom = total / 4;
}

void credit_destroy(struct credit *c)
{
	pthread_mutex_destroy(&c->lock);
}

static size_t borrowed(const struct credit_member *m)
{
	return m->used > m->floor ? m->used - m->floor : 0;
}

int credit_join(struct credit *c, struct credit_member *m, size_t floor)
{
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	if (floor > c->common) {
		rc = -ENOSPC;
	} else {
		c->common -= floor;
		m->floor = floor;
		m->used = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void credit_leave(struct credit *c, struct credit_member *m)
{
	pthread_mutex_lock(&c->lock);
	c->common += m->floor + borrowed(m);
	m->floor = 0;
	m->used = 0;
	pthread_mutex_unlock(&c->lock);
}

size_t credit_take(struct credit *c, struct credit_member *m, size_t want,
		   size_t least)
{
	size_t own, lend, n, old;

	pthread_mutex_lock(&c->lock);
	own = m->used < m->floor ? m->floor - m->used : 0;
	lend = c->common > c->headroom ? c->common - c->headroom : 0;
	n = own + lend < want ? own + lend : want;
	if (n < least)
		n = 0;
	old = borrowed(m);
	m->used += n;
	c->common -= borrowed(m) - old;
	pthread_mutex_unlock(&c->lock);
	return n;
}

void credit_give(struct credit *c, struct credit_member *m, size_t n)
{
	size_t old;

	pthread_mutex_lock(&c->lock);
	if (n > m->used)
		n = m->used;
	old = borrowed(m);
	m->used -= n;
	c->common += old - borrowed(m);
	pthread_mutex_unlock(&c->lock);
}
