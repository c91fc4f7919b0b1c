/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.c - which primitives a rank runs in a collective, in the order in which
 * NCCL's kernels do: each is one slice, and waits for its messages to be there
 * and for slots to send from. Nothing here knows of plugins.
 *
 * The unit of a collective (all of the data where every rank has all of it, one
 * rank's part where not) is shared out among channels. A ring cuts a channel's
 * part in loops, a loop in one chunk for each rank where the unit is all of the
 * data, and a chunk in up to 4 slices, which is half of the slots: every rank
 * sends a chunk before it waits for one, so a full ring of slots, which would
 * need all ranks to be two chunks ahead of their readers, cannot be.
 *
 * The tree reduces all of a channel's part up before any of it goes down, as a
 * rank that waits to send up is not yet there to receive what comes down.
 */
#include <string.h>

#include "coll.h"

#define CHUNK_SLICES 4

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

int tree_parent(int rank)
{
	return rank ? (rank - 1) / TREE_KIDS : -1;
}

int tree_kid(int rank, int ranks, int kid)
{
	int k = TREE_KIDS * rank + 1 + kid;

	return k < ranks ? k : -1;
}

/* Elements of the loop that begins at p->base, and of a full chunk of it. */
static size_t loop_size(const struct plan *p, size_t *chunk)
{
	size_t parts = p->coll == COLL_RING_ALLREDUCE ? p->ranks : 1;
	size_t loop =
		min_size(p->last - p->base, parts * CHUNK_SLICES * p->slice);

	*chunk = (loop + parts - 1) / parts;
	return loop;
}

static int steps(const struct plan *p)
{
	switch (p->coll) {
	case COLL_RING_ALLREDUCE:
		return 2 * p->ranks - 1;
	case COLL_ALLGATHER:
	case COLL_REDUCESCATTER:
		return p->ranks;
	case COLL_ALLTOALL:
		return 2 * p->ranks - 1; /* a copy, then send and receive */
	default:
		return 1;
	}
}

void plan_start(struct plan *p, int channel, int channels)
{
	size_t n = channels, c = channel;

	p->first = p->unit / n * c + min_size(c, p->unit % n);
	p->last = p->first + p->unit / n + (c < p->unit % n);
	p->base = p->first;
	p->at = 0;
	p->phase = 0;
	p->step = 0;
	p->end = p->base == p->last;
}

/* Slice, step, loop, and for the tree the way: the innermost first. */
void plan_advance(struct plan *p)
{
	size_t chunk, loop = loop_size(p, &chunk);

	p->at += p->slice;
	if (p->at < chunk)
		return;
	p->at = 0;
	if (++p->step < steps(p))
		return;
	p->step = 0;
	p->base += loop;
	if (p->base < p->last)
		return;
	p->base = p->first;
	p->end = p->coll != COLL_TREE_ALLREDUCE || ++p->phase == 2;
}

static void ring_recv(struct prim *m)
{
	m->recv[m->nrecv++] = LANE_RING;
}

static void ring_send(struct prim *m)
{
	m->send[m->nsend++] = LANE_RING;
}

/* The block of the step's data: every step one further back in the ring. */
static size_t ring_block(const struct plan *p, int ahead)
{
	return (p->rank + ahead - p->step + 2 * p->ranks) % p->ranks;
}

static void ring_allreduce(const struct plan *p, struct prim *m)
{
	size_t chunk, loop = loop_size(p, &chunk);
	size_t start = ring_block(p, 0) * chunk + p->at;
	size_t end = min_size(start - p->at + chunk, loop);

	m->n = start < end ? min_size(end - start, p->slice) : 0;
	start += p->base;
	if (p->step)
		ring_recv(m);
	if (p->step < p->ranks)
		m->own = p->in + start;
	if (p->step >= p->ranks - 1)
		m->out = p->out + start;
	if (p->step < steps(p) - 1)
		ring_send(m);
}

static void tree_allreduce(const struct plan *p, struct prim *m)
{
	int parent = tree_parent(p->rank), i;
	bool up = !p->phase;
	size_t at = p->base + p->at;

	for (i = 0; i < TREE_KIDS; i++) {
		if (tree_kid(p->rank, p->ranks, i) < 0)
			continue;
		if (up)
			m->recv[m->nrecv++] = LANE_UP + i;
		else
			m->send[m->nsend++] = LANE_DOWN + i;
	}
	if (up)
		m->own = p->in + at;
	else if (parent < 0)
		m->own = p->out + at;
	if (parent < 0) {
		m->out = up ? p->out + at : NULL;
		return;
	}
	i = (p->rank - 1) % TREE_KIDS;
	if (up) {
		m->send[m->nsend++] = LANE_UP + i;
		return;
	}
	m->recv[m->nrecv++] = LANE_DOWN + i;
	m->out = p->out + at;
}

static void allgather(const struct plan *p, struct prim *m)
{
	size_t at = p->base + p->at;

	m->out = p->out + ring_block(p, 0) * p->unit + at;
	if (p->step)
		ring_recv(m);
	else
		m->own = p->in + at;
	if (p->step < p->ranks - 1)
		ring_send(m);
}

static void reducescatter(const struct plan *p, struct prim *m)
{
	size_t at = p->base + p->at;

	m->own = p->in + ring_block(p, -1) * p->unit + at;
	if (p->step)
		ring_recv(m);
	if (p->step < p->ranks - 1)
		ring_send(m);
	else
		m->out = p->out + at;
}

/* From rank 0 along the ring, to the rank before it. */
static void broadcast(const struct plan *p, struct prim *m)
{
	size_t at = p->base + p->at;

	m->out = p->out + at;
	if (p->rank)
		ring_recv(m);
	else
		m->own = p->in + at;
	if (p->rank < p->ranks - 1)
		ring_send(m);
}

/* As NCCL pairs them: to the d-th rank ahead and from the d-th behind. */
static void alltoall(const struct plan *p, struct prim *m)
{
	size_t at = p->base + p->at;
	int d = (p->step + 1) / 2, n = p->ranks;
	bool send = p->step % 2;

	if (!d || send)
		m->own = p->in + (p->rank + d) % n * p->unit + at;
	if (!send)
		m->out = p->out + (p->rank - d + n) % n * p->unit + at;
	if (d && send)
		m->send[m->nsend++] = LANE_PEER + d - 1;
	else if (d)
		m->recv[m->nrecv++] = LANE_PEER + d - 1;
}

bool plan_prim(const struct plan *p, struct prim *m)
{
	static void (*const fill[COLLS])(const struct plan *p,
					 struct prim *m) = {
		[COLL_RING_ALLREDUCE] = ring_allreduce,
		[COLL_TREE_ALLREDUCE] = tree_allreduce,
		[COLL_ALLGATHER] = allgather,
		[COLL_REDUCESCATTER] = reducescatter,
		[COLL_BROADCAST] = broadcast,
		[COLL_ALLTOALL] = alltoall,
	};
	size_t chunk;

	if (p->end)
		return false;
	memset(m, 0, sizeof(*m));
	loop_size(p, &chunk);
	m->n = min_size(chunk - p->at, p->slice);
	fill[p->coll](p, m);
	return true;
}
