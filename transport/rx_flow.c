// SPDX-License-Identifier: BSD-3-Clause
/*
 * rx_flow.c - receiving payload from flows. What a flow brings is gathered to
 * where its runs say, wherever it landed, and its tokens go back in batches.
 *
 * Bytes can land in host memory at any time (packets that a rule missed, header
 * bytes that were not split, a queue that was unbound): recvmsg always gets an
 * iov that could take everything it may return.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "cmsg.h"
#include "conn.h"
#include "rxpool.h"
#include "uapi.h"

/* Runs that one recvmsg into host memory takes. */
#define RECV_IOV 8
/* Calls to one flow before others get a turn. */
#define RECV_CALLS 8
/* Return tokens when they hold this much; sooner only if the pool is short. */
#define RETURN_BYTES (256u << 10)

int rx_return_tokens(struct devmem_conn *c, struct flow *f)
{
	unsigned int frags = f->tokens.frags;
	int rc;

	if (!frags)
		return 0;
	rc = tokens_return(&f->tokens, f->fd, &c->stats.dontneed_calls);
	if (rc)
		return conn_fail(c, rc,
				 "the kernel did not take %u tokens "
				 "back: %s",
				 frags, strerror(-rc));
	c->stats.tokens_returned += frags;
	return 0;
}

static int payload_error(struct devmem_conn *c, ssize_t n)
{
	if (!n)
		return conn_fail(c, -ECONNRESET,
				 "the sender is gone: a flow "
				 "ended in the middle of a message");
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	return conn_fail(c, -errno, "receiving payload: %s",
			 errno == DEVMEM_ETOOSMALL ?
				 "no room for a control message" :
				 strerror(errno));
}

/*
 * Without a pool: straight into the requests' memory. 1: the call was filled;
 * 0: it was not; else -errno.
 */
static int recv_host(struct devmem_conn *c, struct flow *f, bool *moved)
{
	struct iovec iov[RECV_IOV];
	struct msghdr msg = { .msg_iov = iov };
	size_t room;
	ssize_t n;

	msg.msg_iovlen = flow_iov(f, iov, RECV_IOV, &room);
	msg.msg_iovlen = conn_cut(c, iov, (unsigned int)msg.msg_iovlen);
	n = recvmsg(f->fd, &msg, MSG_DONTWAIT);
	if (n <= 0)
		return payload_error(c, n);
	*moved = true;
	c->stats.bytes_host += (uint64_t)n;
	c->rx.unreceived -= (size_t)n;
	c->budget -= (size_t)n;
	flow_advance(f, (size_t)n);
	return (size_t)n == room;
}

/* Where in a flow's runs the next piece goes. */
struct cursor {
	unsigned int run; /* counted from the flow's first */
	size_t offset;	  /* in it */
};

/* List the copies that bring a piece to its place, which may straddle runs. */
static int gather_piece(struct devmem_conn *c, struct flow *f,
			struct rx_scratch *s, struct cursor *at,
			const struct piece *p)
{
	size_t done = 0;

	while (done < p->len && at->run < f->count) {
		const struct run *r = &f->run[(f->first + at->run) % FLOW_RUNS];
		size_t n = r->len - at->offset;
		struct gather_op op;

		n = n < p->len - done ? n : p->len - done;
		op.dst = r->req->addr + r->offset + at->offset;
		op.offset = p->offset + done;
		op.host = p->where == PIECE_DEVMEM ?
				  NULL :
				  s->bounce + p->offset + done;
		op.len = n;
		if (!gather_list_add(&s->list, &op))
			break;
		done += n;
		at->offset += n;
		if (at->offset == r->len) {
			at->run++;
			at->offset = 0;
		}
	}
	if (done < p->len)
		return conn_fail(c, -EIO,
				 "the kernel returned more payload "
				 "than was asked for");
	return 0;
}

static void count_piece(struct devmem_stats *s, const struct piece *p)
{
	switch (p->where) {
	case PIECE_DEVMEM:
		s->bytes_devmem += p->len;
		s->frags++;
		break;
	case PIECE_LINEAR:
		s->bytes_linear += p->len;
		break;
	case PIECE_HOST:
		s->bytes_host += p->len;
		break;
	}
}

/* Is it where the kernel may put payload of ours? */
static int check_piece(struct devmem_conn *c, const struct flow *f,
		       const struct piece *p)
{
	const struct rxpool *pool = c->rx.rail[f->rail].pool;

	if (p->where != PIECE_DEVMEM)
		return p->len > SCRATCH_BYTES - p->offset ?
			       conn_fail(c, -EIO,
					 "the kernel reports bytes "
					 "outside of the buffer") :
			       0;
	if (p->dmabuf_id != pool->dmabuf_id)
		return conn_fail(c, -EIO,
				 "payload landed in dma-buf %u, our "
				 "pool is %u: a rule steers it to a queue of "
				 "another process",
				 p->dmabuf_id, pool->dmabuf_id);
	if (p->offset > pool->region.bytes ||
	    p->len > pool->region.bytes - p->offset)
		return conn_fail(c, -EIO,
				 "the kernel reports payload outside "
				 "of the pool");
	return 0;
}

/*
 * Go through what recvmsg brought. Even after an error the walk goes on to its
 * end, so that every token that came is known and will be returned.
 */
static int take_pieces(struct devmem_conn *c, struct flow *f,
		       struct rx_scratch *s, const struct msghdr *msg,
		       size_t received)
{
	struct cursor at = { 0, 0 };
	struct piece_walk w;
	struct piece p;
	int rc = 0, next;

	pieces_begin(&w, msg, received);
	while ((next = pieces_next(&w, &p)) != 0) {
		if (next < 0) {
			rc = conn_fail(c, -EIO,
				       "the kernel's control messages do not "
				       "add up to the %zu bytes received",
				       received);
			continue;
		}
		if (p.where == PIECE_DEVMEM) {
			c->stats.tokens_received++;
			/* There is room: see recv_devmem(). */
			tokens_add(&f->tokens, p.token, p.len);
		}
		rc = rc ?: check_piece(c, f, &p);
		rc = rc ?: gather_piece(c, f, s, &at, &p);
		if (!rc)
			count_piece(&c->stats, &p);
	}
	return rc;
}

static int submit(struct devmem_conn *c, struct flow *f,
		  const struct rx_scratch *s, size_t bytes)
{
	struct receiver *rx = &c->rx;
	size_t left = bytes;
	uint64_t ticket;
	int rc;

	rc = rx->gather.ops->submit(&rx->gather, &s->list, &ticket);
	if (rc)
		return conn_fail(c, rc, "gathering %zu bytes: %s", bytes,
				 strerror(-rc));
	for (unsigned int i = 0; i < f->count && left; i++) {
		const struct run *r = &f->run[(f->first + i) % FLOW_RUNS];

		r->req->ticket = ticket;
		left -= left < r->len ? left : r->len;
	}
	f->tokens_ticket = ticket;
	rx->unreceived -= bytes;
	flow_advance(f, bytes);
	return 0;
}

static bool gathered(const struct devmem_conn *c, const struct flow *f)
{
	int err;

	return f->tokens_ticket <=
	       c->rx.gather.ops->done((struct gather_engine *)&c->rx.gather,
				      &err);
}

/* Results as those of recv_host(). */
static int recv_pieces(struct devmem_conn *c, struct flow *f,
		       struct rx_scratch *s)
{
	struct iovec iov = { .iov_base = s->bounce };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = s->cmsgs,
		.msg_controllen = s->cmsgs_bytes,
	};
	ssize_t n;
	int rc;

	iov.iov_len = f->pending < SCRATCH_BYTES ? f->pending : SCRATCH_BYTES;
	iov.iov_len = conn_within_budget(c, iov.iov_len);
	n = recvmsg(f->fd, &msg, MSG_DONTWAIT | MSG_SOCK_DEVMEM);
	if (n <= 0)
		return payload_error(c, n);
	s->list.count = 0;
	c->budget -= (size_t)n;
	rc = take_pieces(c, f, s, &msg, (size_t)n);
	rc = rc ?: submit(c, f, s, (size_t)n);
	return rc ?: (size_t)n == iov.iov_len;
}

static int recv_devmem(struct devmem_conn *c, struct flow *f, bool *moved)
{
	struct rxpool *pool = c->rx.rail[f->rail].pool;
	struct rx_scratch *s;
	int rc, full;

	/* Every token that may come needs its place before it is minted. */
	if (tokens_room(&f->tokens) < SCRATCH_FRAGS) {
		if (!gathered(c, f))
			return -EAGAIN;
		rc = rx_return_tokens(c, f);
		if (rc)
			return rc;
	}
	s = rxpool_scratch_get(pool);
	if (!s)
		return conn_fail(c, -ENOMEM, "out of memory");
	rc = recv_pieces(c, f, s);
	rxpool_scratch_put(pool, s);
	if (rc < 0)
		return rc;
	*moved = true;
	full = rc;
	if (f->tokens.bytes >= RETURN_BYTES && gathered(c, f))
		rc = rx_return_tokens(c, f);
	return rc < 0 ? rc : full;
}

int rx_flow_receive(struct devmem_conn *c, struct flow *f, bool *moved)
{
	int rc = 1;

	/* A call that was not filled has left nothing behind, most of the time. */
	for (int i = 0; rc > 0 && i < RECV_CALLS && f->count && c->budget;
	     i++)
		rc = c->rx.pools ? recv_devmem(c, f, moved) :
				   recv_host(c, f, moved);
	return rc > 0 || rc == -EAGAIN ? 0 : rc;
}

int rx_return_gathered(struct devmem_conn *c)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < c->flows; i++)
		if (gathered(c, &c->flow[i]))
			rc = rx_return_tokens(c, &c->flow[i]);
	return rc;
}
