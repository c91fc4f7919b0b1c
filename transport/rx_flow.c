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
#include "emulate.h"
#include "rxpool.h"
#include "uapi.h"
#include "unpack.h"

/* Runs that one recvmsg into host memory takes. */
#define RECV_IOV 8
/* Calls to one flow before others get a turn. */
#define RECV_CALLS 8
/* Return tokens when they hold this much; sooner only if the pool is short. */
#define RETURN_BYTES (256u << 10)

static int return_batch(struct devmem_conn *c, struct flow *f,
			struct token_batch *b, const struct token_gate *gate)
{
	unsigned int frags = b->frags;
	int rc;

	if (!frags)
		return 0;
	rc = f->emu ? emu_return(f->emu, b, &c->stats->dontneed_calls) :
		      tokens_return(b, f->fd, &c->stats->dontneed_calls);
	if (rc)
		return conn_fail(c, rc,
				 "the kernel did not take %u tokens "
				 "back: %s",
				 frags, strerror(-rc));
	c->stats->tokens_returned += frags;
	conn_took(c, STATS_TOKEN_HOLD, gate->since);
	DEVMEM_PROBE(token_returned, c->record->id, frags);
	return 0;
}

int rx_return_tokens(struct devmem_conn *c, struct flow *f)
{
	int rc = return_batch(c, f, &f->waiting, &f->waiting_gate);

	return return_batch(c, f, &f->tokens, &f->tokens_gate) ?: rc;
}

/* Does nobody need any more what the tokens are for? */
static bool is_open(const struct devmem_conn *c, const struct token_gate *gate)
{
	int err;

	return gate->ticket <= gather_done(c->rx.gather, &err) &&
	       gate->messages <=
		       __atomic_load_n(&c->rx.consumed, __ATOMIC_ACQUIRE);
}

/*
 * Return what can go. What cannot is set aside, so that its time comes however many
 * follow; when some is aside already, the others have to stay where they are.
 */
static int return_done(struct devmem_conn *c, struct flow *f)
{
	int rc;

	if (f->waiting.frags) {
		if (!is_open(c, &f->waiting_gate))
			return 0;
		rc = return_batch(c, f, &f->waiting, &f->waiting_gate);
		if (rc)
			return rc;
	}
	if (!f->tokens.frags)
		return 0;
	if (is_open(c, &f->tokens_gate))
		return return_batch(c, f, &f->tokens, &f->tokens_gate);
	tokens_move(&f->waiting, &f->tokens);
	f->waiting_gate = f->tokens_gate;
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
	const struct run *r = &f->run[f->first];
	struct iovec iov[RECV_IOV];
	struct msghdr msg = { .msg_iov = iov };
	size_t room = r->len;
	ssize_t n;

	if (r->req->device) {
		n = rx_read_device(c, f->fd, r->req, r->offset,
				   conn_within_budget(c, room));
		if (c->err)
			return c->err;
	} else {
		msg.msg_iovlen = flow_iov(f, iov, RECV_IOV, &room);
		msg.msg_iovlen = conn_cut(c, iov, (unsigned int)msg.msg_iovlen);
		n = recvmsg(f->fd, &msg, MSG_DONTWAIT);
	}
	if (n <= 0)
		return payload_error(c, n);
	*moved = true;
	c->stats->bytes_host += (uint64_t)n;
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

/* Where a piece is: what the CPU can see of it, or NULL. */
static const uint8_t *host_bytes(const struct piece *p, const uint8_t *bounce)
{
	return p->where == PIECE_DEVMEM ? NULL : bounce + p->offset;
}

/* Bring @n bytes, from @from on in a piece, to @offset of a message. */
static int place(struct devmem_conn *c, const struct flow *f,
		 struct gather_list *list, struct devmem_request *r,
		 size_t offset, const struct piece *p, size_t from, size_t n,
		 const uint8_t *host)
{
	struct gather_op op = {
		.dst = r->addr + offset,
		.host = host ? host + from : NULL,
		.offset = p->offset + from,
		.len = n,
	};

	if (host && !r->device) {
		memcpy(op.dst, op.host, n);
		return 0;
	}
	if (!host && c->rx.unpack && !r->gathered && !r->unlisted) {
		const struct rxpool *pool = c->rx.rail[f->rail].pool;
		int rc = unpack_add(c->rx.unpack, r->number,
				    rxpool_unpack_offset(pool) + op.offset,
				    offset, n);

		r->listed |= !rc;
		/* What a list does not take is gathered. */
		if (rc != -EMSGSIZE)
			return rc;
	}
	return gather_list_add(list, &op) ? 0 : -ENOSPC;
}

/* List the copies that bring a piece to its place, which may straddle runs. */
static int gather_piece(struct devmem_conn *c, struct flow *f,
			struct gather_list *list, const uint8_t *bounce,
			struct cursor *at, const struct piece *p)
{
	const uint8_t *host = host_bytes(p, bounce);
	size_t done = 0;

	while (done < p->len && at->run < f->count) {
		const struct run *r = &f->run[(f->first + at->run) % FLOW_RUNS];
		size_t n = r->len - at->offset;
		int rc;

		n = n < p->len - done ? n : p->len - done;
		rc = place(c, f, list, r->req, r->offset + at->offset, p, done,
			   n, host);
		if (rc)
			return conn_fail(c, -EIO,
					 "a piece of payload cannot be placed: "
					 "%s",
					 strerror(-rc));
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

static void count_piece(struct devmem_stats *s, const struct piece *p,
			bool emulated)
{
	switch (p->where) {
	case PIECE_DEVMEM:
		if (emulated)
			s->bytes_emulated += p->len;
		else
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
	if (p->dmabuf_id != pool->lease.dmabuf_id)
		return conn_fail(c, -EIO,
				 "payload landed in dma-buf %u, our "
				 "pool is %u: a rule steers it to a queue of "
				 "another process",
				 p->dmabuf_id, pool->lease.dmabuf_id);
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
		       struct gather_list *list, const struct msghdr *msg,
		       size_t received)
{
	const uint8_t *bounce = msg->msg_iov->iov_base;
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
			c->stats->tokens_received++;
			/* There is room: see recv_devmem(). */
			tokens_add(&f->tokens, p.token, p.len);
			DEVMEM_PROBE(frag_received, c->record->id, p.offset,
				     p.len, p.token);
		}
		rc = rc ?: check_piece(c, f, &p);
		rc = rc ?: gather_piece(c, f, list, bounce, &at, &p);
		if (rc)
			continue;
		count_piece(c->stats, &p, f->emu);
		if (p.where != PIECE_DEVMEM)
			list->staged = (size_t)p.offset + p.len;
	}
	return rc;
}

/* @now: of conn_now(). One gather at a time is timed: a GPU works on several. */
static int submit(struct devmem_conn *c, struct flow *f,
		  const struct gather_list *list, size_t bytes, uint64_t now)
{
	struct receiver *rx = &c->rx;
	uint64_t ticket;
	size_t left = bytes;
	int rc, err;

	DEVMEM_PROBE(gather_submit, c->record->id, bytes, list->count);
	rc = gather_submit(rx->gather, list, &ticket);
	if (rc)
		return conn_fail(c, rc, "gathering %zu bytes: %s", bytes,
				 strerror(-rc));
	for (unsigned int i = 0; i < f->count && left; i++) {
		const struct run *r = &f->run[(f->first + i) % FLOW_RUNS];

		if (ticket)
			r->req->ticket = ticket;
		if (r->req->listed)
			f->tokens_gate.messages = r->req->seq + 1;
		left -= left < r->len ? left : r->len;
	}
	if (ticket) {
		rx_gathers(c, ticket);
		f->tokens_gate.ticket = ticket;
	}
	if (ticket && !rx->timed_ticket) {
		rx->timed_ticket = ticket;
		rx->timed_from = now;
		if (gather_done(rx->gather, &err) >= ticket)
			rx_gather_over(c);
	}
	rx->unreceived -= bytes;
	flow_advance(f, bytes);
	return 0;
}

/* Results as those of recv_host(). */
static int recv_pieces(struct devmem_conn *c, struct flow *f,
		       struct rx_scratch *s)
{
	struct gather_room room = {
		.bytes = f->pending < SCRATCH_BYTES ? f->pending :
						      SCRATCH_BYTES,
	};
	struct iovec iov;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = s->cmsgs,
		.msg_controllen = s->cmsgs_bytes,
	};
	uint64_t now;
	ssize_t n;
	int rc;

	room.bytes = conn_within_budget(c, room.bytes);
	if (f->emu) {
		n = emu_land(f->emu, c->rx.gather, room.bytes);
		rx_gathers(c, emu_ticket(f->emu));
		if (n <= 0)
			return payload_error(c, n);
	}
	rc = rx_reserve(c, &room);
	if (rc)
		return rc;
	iov.iov_base = room.stage ?: s->bounce;
	iov.iov_len = room.bytes;
	n = f->emu ? emu_recvmsg(f->emu, c->rx.gather, &msg) :
		     recvmsg(f->fd, &msg, MSG_DONTWAIT | MSG_SOCK_DEVMEM);
	if (n <= 0) {
		gather_release(c->rx.gather);
		return payload_error(c, n);
	}
	s->list.count = 0;
	s->list.staged = 0;
	c->budget -= (size_t)n;
	now = conn_now(c);
	if (!f->tokens.frags)
		f->tokens_gate.since = now;
	rc = take_pieces(c, f, &s->list, &msg, (size_t)n);
	if (rc) {
		gather_release(c->rx.gather);
		return rc;
	}
	rc = submit(c, f, &s->list, (size_t)n, now);
	return rc ?: (size_t)n == iov.iov_len;
}

static int recv_devmem(struct devmem_conn *c, struct flow *f, bool *moved)
{
	struct rxpool *pool = c->rx.rail[f->rail].pool;
	struct rx_scratch *s;
	int rc, full;

	/* Every token that may come needs its place before it is minted. */
	if (tokens_room(&f->tokens) < SCRATCH_FRAGS) {
		rc = return_done(c, f);
		if (rc)
			return rc;
		if (tokens_room(&f->tokens) < SCRATCH_FRAGS) {
			/* They may be those of the message that is due. */
			rc = rx_unpack_relieve(c, f->run[f->first].req);
			if (rc)
				return rc;
			c->rx.crowded = true;
			return -EAGAIN;
		}
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
	if (f->tokens.bytes >= RETURN_BYTES)
		rc = return_done(c, f);
	return rc < 0 ? rc : full;
}

int rx_flow_receive(struct devmem_conn *c, struct flow *f, bool *moved)
{
	int rc = 1;

	/* A call that was not filled has left nothing behind, most of the time. */
	for (int i = 0; rc > 0 && i < RECV_CALLS && f->count && c->budget; i++)
		rc = c->rx.pools ? recv_devmem(c, f, moved) :
				   recv_host(c, f, moved);
	return rc > 0 || rc == -EAGAIN ? 0 : rc;
}

int rx_return_gathered(struct devmem_conn *c)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < c->flows; i++)
		rc = return_done(c, &c->flow[i]);
	return rc;
}
