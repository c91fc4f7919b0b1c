// SPDX-License-Identifier: BSD-3-Clause
/*
 * tx.c - sending. Messages are announced on control strictly in order: a small
 * one with its bytes, a large one, once granted, as a list of chunks, each on the
 * flow with the least unsent bytes. That order keeps both sides free of
 * deadlock: the receiver may stop reading at a message that it has not posted,
 * and everything behind it can wait.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "conn.h"

/* Runs that one sendmsg takes. */
#define SEND_IOV 8
/* Chunks waiting on the least busy flow from which on more are held back. */
#define CHUNKS_AHEAD 8
/* The largest chunk where there is one flow. */
#define ONLY_CHUNK ((size_t)1 << 30)
/* Times that flows are filled in one call. */
#define SEND_ROUNDS 8

void tx_post(struct devmem_conn *c, struct devmem_request *r)
{
	const struct early_grant *e =
		&c->tx.early[r->seq % DEVMEM_MAX_REQUESTS];

	r->total = r->size;
	c->tx.fresh = true;
	zerocopy_post(c, r);
	if (e->seq == r->seq)
		r->granted = e->upto < r->size ? (size_t)e->upto : r->size;
	if (c->ungranted)
		r->granted = r->size;
}

/* Does it travel on control? Not what the CPU cannot read, unless it is empty. */
static bool is_inline(const struct devmem_conn *c,
		      const struct devmem_request *r)
{
	return r->size <= (r->mem ? 0 : c->inline_bytes);
}

/* The kernel has all of it, and the record that tells of it. */
static bool is_sent(const struct devmem_conn *c, const struct devmem_request *r)
{
	return r->seq < c->tx.emit_seq && r->moved == r->total &&
	       c->control.out_head == c->control.out_tail;
}

bool tx_done(const struct devmem_conn *c, const struct devmem_request *r)
{
	return is_sent(c, r) && !r->unfinished;
}

/* Nothing of the message may be sent without more leave: since when? */
static void await_leave(struct devmem_conn *c, struct devmem_request *r)
{
	if (!r->waiting_from && r->assigned == r->granted)
		r->waiting_from = conn_now(c);
}

static void leave_came(struct devmem_request *r)
{
	if (r->waiting_from)
		r->waited += stats_now() - r->waiting_from;
	r->waiting_from = 0;
}

static int on_grant(struct devmem_conn *c, const struct wire_hdr *h,
		    const uint8_t *payload)
{
	struct devmem_request *r = conn_active(c, h->seq);
	struct early_grant *e = &c->tx.early[h->seq % DEVMEM_MAX_REQUESTS];
	uint64_t upto;

	if (wire_get_grant(payload, h->len, &upto))
		return conn_fail(c, -EPROTO, "the peer's GRANT is malformed");
	c->stats->grants++;
	DEVMEM_PROBE(grant_received, c->record->id, h->seq, upto);
	if (r) {
		leave_came(r);
		/* The receiver's buffer may be larger than the message. */
		if (upto > r->size)
			upto = r->size;
		if (upto > r->granted)
			r->granted = (size_t)upto;
		return 0;
	}
	if (h->seq < c->next_seq)
		return 0; /* the message is gone: it was a small one */
	if (h->seq - c->next_seq >= DEVMEM_MAX_REQUESTS)
		return conn_fail(c, -EPROTO,
				 "the peer's GRANT is for a "
				 "message too far ahead");
	e->seq = h->seq;
	e->upto = upto;
	return 0;
}

int tx_read_records(struct devmem_conn *c)
{
	return control_read(c, WIRE_GRANT, on_grant);
}

static unsigned int least_busy(const struct devmem_conn *c)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i < c->flows; i++)
		if (c->flow[i].pending < c->flow[best].pending)
			best = i;
	return best;
}

/* Up to where it may go to flows now. */
static size_t sendable(const struct devmem_request *r)
{
	size_t ready = tx_ready(r);

	return r->granted < ready ? r->granted : ready;
}

/* Hand granted bytes to flows, as many as these take; list them in @d. */
static void assign_chunks(struct devmem_conn *c, struct devmem_request *r,
			  struct wire_data *d)
{
	/* With one flow there is no choice: what is granted is one chunk. */
	size_t chunk = c->flows > 1 ? c->tx.chunk_bytes : ONLY_CHUNK;
	size_t upto = sendable(r);

	while (r->assigned < upto && d->count < WIRE_MAX_CHUNKS) {
		unsigned int i = least_busy(c);
		size_t n = upto - r->assigned;

		n = n < chunk ? n : chunk;
		if (c->flow[i].pending >= CHUNKS_AHEAD * chunk ||
		    !flow_push(&c->flow[i], r, r->assigned, n))
			break;
		r->assigned += n;
		d->chunk[d->count].flow = i;
		d->chunk[d->count].len = (uint32_t)n;
		d->count++;
	}
}

/* Announce what can be announced of a large message. true: all of it is. */
static bool emit_large(struct devmem_conn *c, struct devmem_request *r)
{
	struct control *k = &c->control;
	struct wire_data d = { .total = r->size };

	while (control_has_room(k, WIRE_MAX_RECORD)) {
		d.count = 0;
		assign_chunks(c, r, &d);
		/*
		 * With nothing granted, say its size once: the receiver finds
		 * out at once if it is too large, and grants what it can.
		 */
		if (!d.count && r->assigned < tx_ready(r))
			await_leave(c, r);
		if (!d.count && (c->tx.announced || r->assigned == tx_ready(r)))
			break;
		control_put_done(k, wire_put_data(control_put(k), r->seq, &d));
		c->tx.announced = true;
		if (r->assigned == r->size)
			return true;
	}
	return false;
}

/* Send inline messages, the next of all and those that follow. As below. */
static int emit_inline(struct devmem_conn *c, bool *moved)
{
	struct devmem_request *r[CONTROL_BATCH];
	size_t before;
	unsigned int n;
	int done;

	for (n = 0; n < CONTROL_BATCH; n++) {
		r[n] = conn_active(c, c->tx.emit_seq + n);
		if (!r[n] || !is_inline(c, r[n]) ||
		    (r[n]->size && r[n]->moved == tx_ready(r[n])))
			break;
	}
	if (!n)
		return 0;
	before = r[0]->moved;
	done = control_send_inline(c, r, n);
	if (done < 0)
		return done;
	*moved |= done || r[0]->moved > before;
	c->tx.emit_seq += (unsigned int)done;
	return done > 0;
}

/* Send what may be sent of the next message. 1: it is; 0: not all; or -errno. */
static int emit_next(struct devmem_conn *c, bool *moved)
{
	struct devmem_request *r = conn_active(c, c->tx.emit_seq);

	if (is_inline(c, r))
		return emit_inline(c, moved);
	if (!emit_large(c, r))
		return 0;
	if (c->timed && !c->ungranted)
		histogram_add(&c->record->time[STATS_GRANT_WAIT], r->waited);
	c->tx.emit_seq++;
	c->tx.announced = false;
	return 1;
}

static int emit(struct devmem_conn *c, bool *moved)
{
	int rc = 1;

	while (rc > 0 && c->tx.emit_seq < c->next_seq)
		rc = emit_next(c, moved);
	return rc < 0 ? rc : control_flush(c);
}

/* The peer may have said why before it went. */
static int send_failed(struct devmem_conn *c, int err)
{
	int rc = tx_read_records(c);

	return rc ?: conn_fail(c, -err, "sending payload: %s", strerror(err));
}

/* Runs of host memory: bytes, -EAGAIN or -errno. */
static ssize_t send_host(struct devmem_conn *c, struct flow *f, int flags)
{
	const struct run *r = &f->run[f->first];
	struct iovec iov[SEND_IOV];
	struct msghdr msg = { .msg_iov = iov };
	uint64_t since;
	size_t bytes;
	ssize_t n;

	if (zerocopy_wanted(c, r->req)) {
		n = zerocopy_send(c, f->fd, &f->sends, r->req, r->offset,
				  conn_within_budget(c, r->len),
				  flags | (f->count > 1 ? MSG_MORE : 0));
		if (n)
			return n;
	}
	since = zerocopy_clock(c, r->req);
	msg.msg_iovlen = flow_iov(f, iov, SEND_IOV, &bytes);
	msg.msg_iovlen = conn_cut(c, iov, (unsigned int)msg.msg_iovlen);
	if (msg.msg_iovlen < f->count)
		flags |= MSG_MORE;
	n = sendmsg(f->fd, &msg, flags);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	zerocopy_sent(c, r->req, since, (size_t)n);
	return n;
}

/* One call. */
static int send_flow(struct devmem_conn *c, struct flow *f, bool *moved)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	bool devmem = f->run[f->first].req->mem;
	ssize_t n;

	if (!c->budget)
		return 0;
	n = devmem ? tx_devmem_send(f, flags | (f->count > 1 ? MSG_MORE : 0)) :
		     send_host(c, f, flags);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return send_failed(c, (int)-n);
	*moved = true;
	c->budget -= conn_within_budget(c, (size_t)n);
	if (devmem)
		c->stats->bytes_devmem += (uint64_t)n;
	else
		c->stats->bytes_host += (uint64_t)n;
	flow_advance(f, (size_t)n);
	return 0;
}

/* Learn which sends by reference are complete. */
static int complete_all(struct devmem_conn *c)
{
	int rc = zerocopy_complete(c, c->control.fd, c->control.sends);

	for (unsigned int i = 0; !rc && i < c->flows; i++)
		rc = zerocopy_complete(c, c->flow[i].fd, c->flow[i].sends);
	return rc;
}

/* Is there something that flows could be given now? */
static bool more_to_emit(struct devmem_conn *c)
{
	const struct devmem_request *r = conn_active(c, c->tx.emit_seq);

	return r && !is_inline(c, r) && r->assigned < sendable(r);
}

static int send_all(struct devmem_conn *c, bool *moved)
{
	bool took = true;
	int rc = 0;

	/* Flows that took all that they had can be given more. */
	for (int i = 0; !rc && took && i < SEND_ROUNDS; i++) {
		took = false;
		rc = emit(c, moved);
		for (unsigned int k = 0; !rc && k < c->flows; k++)
			if (c->flow[k].count)
				rc = send_flow(c, &c->flow[k], &took);
		*moved |= took;
		took = took && !conn_runs_left(c) && more_to_emit(c);
	}
	return rc;
}

bool tx_waits_for_control(struct devmem_conn *c)
{
	const struct devmem_request *r = conn_active(c, c->tx.emit_seq);

	return c->control.out_head < c->control.out_tail ||
	       (r && is_inline(c, r));
}

/* Is there something that only waits for room in a socket? */
static bool sending(const struct devmem_conn *c)
{
	return c->control.inlining || conn_runs_left(c);
}

/*
 * Payload first: as long as flows take what was granted, control can wait, and
 * the call to look there is saved. While sockets are full it is looked at now
 * and then; sending to a peer that died fails, too.
 */
int tx_progress(struct devmem_conn *c)
{
	bool moved = false;
	int rc = c->err ?: stage_progress(c);

	rc = rc ?: send_all(c, &moved);

	/* To ask for completions is a call, worth it when it is all that is left. */
	if (!rc && !moved)
		rc = complete_all(c);
	if (!rc && (control_due(c) || (!moved && !sending(c)))) {
		rc = tx_read_records(c);
		rc = rc ?: send_all(c, &moved);
	}
	if (!rc && !moved)
		rc = conn_idle(c);
	c->tx.fresh = false;
	if (rc || !c->control.eof)
		return rc;
	/*
	 * Sent is sent, also if the NIC may still read it: its flow tells. But
	 * what is not will never be taken.
	 */
	for (unsigned int i = 0; i < DEVMEM_MAX_REQUESTS; i++) {
		const struct devmem_request *r = &c->request[i];

		if (conn_is_active(c, i) && !is_sent(c, r))
			return conn_fail(c, -ECONNRESET, "the receiver %s",
					 c->control.bye ?
						 "closed the connection" :
						 "is gone");
	}
	return 0;
}
