// SPDX-License-Identifier: BSD-3-Clause
/*
 * tx_stage.c - sending from a GPU's memory that no NIC reads by itself: its engine
 * copies it to pinned host memory, and from there it is sent as any other.
 *
 * A connection's stage is a ring over the stream of such messages, one after the
 * other as they are sent; so none waits for what is behind it. It is copied ahead,
 * whether the receiver has given leave yet or not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "gpu.h"

#define RING_BYTES ((size_t)2 << 20)
#define COPY_BYTES ((size_t)256 << 10) /* at once */
#define COPIES	   8u

struct tx_stage {
	uint8_t *ring;
	uint64_t head; /* where the next message begins */
	uint64_t seq;  /* the message that is being copied, or the next */
	bool begun;    /* it has its place */
	bool crowded;  /* the engine had no room */
	uint64_t last; /* the last copy's ticket */
	/* Under way, in order; the engine's tickets are, too. */
	struct copy {
		uint64_t ticket;
		struct devmem_request *req;
		size_t upto;
	} copy[COPIES];
	unsigned int first, count;
};

int stage_new(struct devmem_conn *c)
{
	struct tx_stage *s;

	if (c->tx.stage)
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->ring = gpu_host_alloc(c->gpu, RING_BYTES);
	if (!s->ring) {
		free(s);
		return -ENOMEM;
	}
	__atomic_store_n(&c->tx.stage, s, __ATOMIC_RELEASE);
	return 0;
}

static struct tx_stage *stage_of(const struct devmem_conn *c)
{
	return __atomic_load_n(&c->tx.stage, __ATOMIC_ACQUIRE);
}

void stage_free(struct devmem_conn *c)
{
	struct tx_stage *s = c->tx.stage;

	if (!s)
		return;
	gather_wait(c->gpu->gather, s->last);
	gpu_host_free(c->gpu, s->ring);
	free(s);
	c->tx.stage = NULL;
}

uint64_t stage_ticket(const struct devmem_conn *c)
{
	const struct tx_stage *s = stage_of(c);

	return s ? __atomic_load_n(&s->last, __ATOMIC_ACQUIRE) : 0;
}

static bool is_staged(const struct devmem_request *r)
{
	return r->device && !r->mem;
}

const uint8_t *tx_bytes(const struct devmem_request *r, size_t offset,
			size_t *len)
{
	size_t at;

	if (!is_staged(r))
		return r->addr + offset;
	at = (r->stage_at + offset) % RING_BYTES;
	if (*len > r->ready - offset)
		*len = r->ready - offset;
	if (*len > RING_BYTES - at)
		*len = RING_BYTES - at;
	return stage_of(r->conn)->ring + at;
}

/* The first byte of a message that has not been sent. */
static size_t unsent(const struct devmem_conn *c,
		     const struct devmem_request *r)
{
	size_t least = r->assigned;

	/* On control it has no runs. */
	if (r->size <= c->inline_bytes)
		return r->moved;
	for (unsigned int i = 0; i < c->flows; i++) {
		const struct flow *f = &c->flow[i];

		for (unsigned int k = 0; k < f->count; k++) {
			const struct run *run =
				&f->run[(f->first + k) % FLOW_RUNS];

			if (run->req == r && run->offset < least)
				least = run->offset;
		}
	}
	return least;
}

/* Bytes from @at in the stream on that the ring has room for, in one piece. */
static size_t ring_room(const struct devmem_conn *c, uint64_t at)
{
	uint64_t floor = at;
	size_t room, piece = RING_BYTES - at % RING_BYTES;

	for (unsigned int i = 0; i < DEVMEM_MAX_REQUESTS; i++) {
		const struct devmem_request *r = &c->request[i];
		uint64_t from;

		if (!conn_is_active(c, i) || !is_staged(r) || !r->staged)
			continue;
		from = r->stage_at + unsent(c, r);
		if (from < floor)
			floor = from;
	}
	room = RING_BYTES - (size_t)(at - floor);
	return room < piece ? room : piece;
}

/* Begin to copy @len bytes more of a message: 0, -EAGAIN or the conn's error. */
static int copy_more(struct devmem_conn *c, struct tx_stage *s,
		     struct devmem_request *r, size_t len)
{
	struct gather_engine *e = c->gpu->gather;
	struct gather_room room = { .bytes = 0 };
	struct gather_op op = {
		.dst = s->ring + (r->stage_at + r->staged) % RING_BYTES,
		.len = len,
	};
	struct copy *copy = &s->copy[(s->first + s->count) % COPIES];
	int rc = gather_reserve(e, &room);

	s->crowded = rc == -EAGAIN;
	if (s->crowded)
		return rc;
	rc = rc ?: gather_submit_one(e, r->addr + r->staged, op, &copy->ticket);
	if (rc)
		return conn_fail(c, rc, "copying from a GPU: %s",
				 strerror(-rc));
	__atomic_store_n(&s->last, copy->ticket, __ATOMIC_RELEASE);
	r->staged += len;
	copy->req = r;
	copy->upto = r->staged;
	s->count++;
	c->stats->bytes_staged += len;
	return 0;
}

/* What has been copied is ready to be sent. */
static int retire(struct devmem_conn *c, struct tx_stage *s)
{
	uint64_t done;
	int err;

	if (!s->count)
		return 0;
	done = gather_done(c->gpu->gather, &err);
	if (err)
		return conn_fail(c, err, "the GPU cannot copy any more");
	while (s->count && s->copy[s->first].ticket <= done) {
		const struct copy *copy = &s->copy[s->first];

		copy->req->ready = copy->upto;
		s->first = (s->first + 1) % COPIES;
		s->count--;
	}
	return 0;
}

/* The message whose turn it is, with its place in the ring; NULL: none. */
static struct devmem_request *next(struct devmem_conn *c, struct tx_stage *s)
{
	for (; s->seq < c->next_seq; s->seq++, s->begun = false) {
		struct devmem_request *r = conn_active(c, s->seq);

		if (!r || !is_staged(r) || r->staged == r->size)
			continue;
		if (!s->begun) {
			r->stage_at = s->head;
			s->head += r->size;
			s->begun = true;
		}
		return r;
	}
	return NULL;
}

int stage_progress(struct devmem_conn *c)
{
	struct tx_stage *s = stage_of(c);
	struct devmem_request *r;
	int rc;

	if (!s)
		return 0;
	rc = retire(c, s);
	while (!rc && s->count < COPIES && (r = next(c, s))) {
		size_t n = r->size - r->staged;
		size_t room = ring_room(c, r->stage_at + r->staged);

		n = n < room ? n : room;
		n = n < COPY_BYTES ? n : COPY_BYTES;
		if (!n)
			return 0;
		rc = copy_more(c, s, r, n);
	}
	return rc == -EAGAIN ? 0 : rc;
}

bool tx_waits_unseen(const struct devmem_conn *c)
{
	const struct tx_stage *s = stage_of(c);

	return s && (s->count || s->crowded);
}
