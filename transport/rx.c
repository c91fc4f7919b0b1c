// SPDX-License-Identifier: BSD-3-Clause
/*
 * rx.c - receiving, control side: records say which bytes of which message are
 * next on each flow, grants say how much the peer may send. The payload itself
 * is received in rx_flow.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "emulate.h"
#include "gpu.h"
#include "rxpool.h"
#include "sock.h"

/* A connection's own part of the pool, and the least worth granting. */
#define FLOOR_BYTES (64u << 10)
#define GRANT_BYTES (32u << 10)
/* Messages whose grants are sent together. */
#define GRANTS_AT_ONCE 4
/* What is read of control at once: a header, and the small messages behind. */
#define AHEAD_BYTES (((size_t)8 << 10) + WIRE_HEADER_BYTES)
/* Calls for one message before others get a turn. */
#define READ_CALLS 8

/*
 * A packet starts a new niov, and a large one spans several. A sender whose
 * buffer is full may also send a part of a segment: 1 in 16 is more than that
 * comes to.
 */
static size_t niov_bytes(const struct rxpool *pool, unsigned int mss)
{
	size_t page = 4096;

	if (pool->emulated)
		mss = EMU_SEGMENT;
	return mss / ((mss + page - 1) / page) * 15 / 16;
}

int rx_init(struct devmem_conn *c, struct rxpool *const *pool,
	    enum devmem_gather_kind gather, struct why *w)
{
	struct receiver *rx = &c->rx;
	size_t floor;

	rx->niov_bytes = niov_bytes(pool[0], sock_mss(c->control.fd));
	/*
	 * Twice the least grant: one under way, and as much again in tokens
	 * that have not gone back.
	 */
	floor = 2 * (FLOOR_BYTES / rx->niov_bytes + c->flows + 1);
	c->gpu = pool[0]->region.gpu;
	if (c->gpu) {
		gpu_hold(c->gpu);
		rx->gather = c->gpu->gather;
	} else {
		rx->own.ops = gather == DEVMEM_GATHER_NONE ? &gather_none :
							     &gather_cpu;
		rx->gather = &rx->own;
	}
	for (unsigned int i = 0; i < c->rails; i++) {
		struct rx_rail *rail = &rx->rail[i];
		int rc = credit_join(&pool[i]->credit, &rail->credit, floor);

		if (rc) {
			rx_free(c);
			return why(w, rc,
				   "the pool of %zu bytes on %s has no room "
				   "for another connection; set "
				   "NCCL_DEVMEM_POOL_BYTES higher",
				   pool[i]->region.bytes, pool[i]->lease.ifname);
		}
		rail->pool = pool[i];
		rx->pools++;
	}
	return 0;
}

int rx_start(struct devmem_conn *c)
{
	/* Another rail's segments may be smaller than control's. */
	for (unsigned int i = 0; c->rx.pools && i < c->flows; i++) {
		struct flow *f = &c->flow[i];
		struct rxpool *pool = c->rx.rail[f->rail].pool;
		size_t n = niov_bytes(pool, sock_mss(f->fd));

		if (n < c->rx.niov_bytes)
			c->rx.niov_bytes = n;
		if (!pool->emulated)
			continue;
		f->emu = emu_flow_new(pool->emulated, f->fd);
		if (!f->emu)
			return conn_fail(c, -ENOMEM, "out of memory");
	}
	return 0;
}

static size_t niovs_for(const struct devmem_conn *c, size_t bytes)
{
	return (bytes + c->rx.niov_bytes - 1) / c->rx.niov_bytes;
}

/*
 * Give back credit beyond what peers may still send and what tokens hold. Which
 * flow the granted bytes come on is the sender's choice: each pool has credit
 * for all of them.
 */
static void settle_credit(struct devmem_conn *c)
{
	struct receiver *rx = &c->rx;
	size_t need[DEVMEM_MAX_RAILS], due = niovs_for(c, rx->unreceived);

	/* The end of each message may leave a niov part full on each flow. */
	for (unsigned int i = 0; i < DEVMEM_MAX_REQUESTS; i++) {
		const struct devmem_request *r = &c->request[i];

		if (conn_is_active(c, i) && r->moved < r->granted)
			due += c->flows;
	}
	for (unsigned int i = 0; i < rx->pools; i++)
		need[i] = due;
	for (unsigned int i = 0; i < c->flows; i++)
		need[c->flow[i].rail] +=
			c->flow[i].tokens.frags + c->flow[i].waiting.frags;
	for (unsigned int i = 0; i < rx->pools; i++) {
		struct rx_rail *rail = &rx->rail[i];

		if (rail->credit.used > need[i])
			credit_give(&rail->pool->credit, &rail->credit,
				    rail->credit.used - need[i]);
	}
}

/* From each pool as many niovs, at least @least and at most @want; or 0. */
static size_t take_credit(struct receiver *rx, size_t want, size_t least)
{
	size_t took[DEVMEM_MAX_RAILS], got = want;
	unsigned int n = 0;

	while (n < rx->pools && got) {
		struct rx_rail *rail = &rx->rail[n];

		got = credit_take(&rail->pool->credit, &rail->credit, got,
				  least);
		took[n++] = got;
	}
	for (unsigned int i = 0; i < n; i++)
		if (took[i] > got)
			credit_give(&rx->rail[i].pool->credit,
				    &rx->rail[i].credit, took[i] - got);
	return got;
}

void rx_free(struct devmem_conn *c)
{
	struct receiver *rx = &c->rx;

	/* A GPU may be reading the pool, and writing the user's memory. */
	conn_gather_wait(c);
	for (unsigned int i = 0; rx->pools && i < c->flows; i++) {
		rx_return_tokens(c, &c->flow[i]);
		emu_flow_free(c->flow[i].emu);
		c->flow[i].emu = NULL;
	}
	while (rx->pools) {
		struct rx_rail *rail = &rx->rail[--rx->pools];

		credit_leave(&rail->pool->credit, &rail->credit);
		rail->pool = NULL;
	}
}

void rx_post(struct devmem_conn *c, struct devmem_request *r)
{
	if (c->rx.unpack && rx_unpack_post(c, r))
		return;
	if (!c->ungranted)
		return;
	r->granted = r->size;
	c->rx.unreceived += r->size;
}

static bool is_here(const struct devmem_request *r)
{
	return r->announced && r->moved == r->total;
}

bool rx_gathering(struct devmem_conn *c, const struct devmem_request *r)
{
	int err;

	return is_here(r) && r->ticket &&
	       r->ticket > gather_done(c->rx.gather, &err) && !err;
}

void rx_gather_over(struct devmem_conn *c)
{
	DEVMEM_PROBE(gather_done, c->record->id, c->rx.timed_ticket);
	conn_took(c, STATS_GATHER, c->rx.timed_from);
	c->rx.timed_ticket = 0;
}

bool rx_done(struct devmem_conn *c, const struct devmem_request *r)
{
	uint64_t done;
	int err;

	if (!is_here(r))
		return false;
	if (!r->ticket)
		return true;
	done = gather_done(c->rx.gather, &err);
	if (c->rx.timed_ticket && done >= c->rx.timed_ticket)
		rx_gather_over(c);
	return r->ticket <= done;
}

bool rx_waits_unseen(struct devmem_conn *c)
{
	struct receiver *rx = &c->rx;
	int err;

	if (rx->pools && rx->grant_seq < c->next_seq)
		return true;
	for (unsigned int i = 0; i < c->flows; i++)
		if (c->flow[i].emu && emu_has_landed(c->flow[i].emu))
			return true;
	return rx->crowded || (rx->last_ticket &&
			       rx->last_ticket > gather_done(rx->gather, &err));
}

bool rx_waits_for_control(const struct devmem_conn *c)
{
	/* Other grants that are not sent are held back. */
	return c->rx.grants_urgent && c->control.out_head < c->control.out_tail;
}

/* Put what has come into a request's memory; the rest is read to there. */
static void place_inline(struct devmem_conn *c, struct devmem_request *r,
			 const uint8_t *data)
{
	struct control *k = &c->control;
	size_t have = wire_reader_payload(&k->in);

	if (have && !r->device)
		memcpy(r->addr, data, have);
	/* Nothing more comes of what was granted for it. */
	c->rx.unreceived -= r->granted;
	r->granted = 0;
	r->moved = have;
	c->stats->bytes_inline += have;
	if (have < r->total)
		k->inlining = r;
	/* Of a large message behind a large one not even the start is copied. */
	k->ahead = r->total > AHEAD_BYTES ? WIRE_HEADER_BYTES : AHEAD_BYTES;
}

/* The message's size is known: it may be less than was granted. */
static int announce(struct devmem_conn *c, struct devmem_request *r,
		    uint64_t total)
{
	if (r->announced)
		return total == r->total ?
			       0 :
			       conn_fail(c, -EPROTO,
					 "the size of message %llu "
					 "changed on the way",
					 (unsigned long long)r->seq);
	if (total > r->size)
		return conn_fail(c, -EMSGSIZE,
				 "message %llu has %llu bytes, "
				 "the receive buffer %zu",
				 (unsigned long long)r->seq,
				 (unsigned long long)total, r->size);
	r->announced = true;
	r->total = (size_t)total;
	if (r->granted > r->total) {
		c->rx.unreceived -= r->granted - r->total;
		r->granted = r->total;
	}
	return 0;
}

/* 1: there is no room for these runs now. */
static int on_chunks(struct devmem_conn *c, struct devmem_request *r,
		     const struct wire_data *d)
{
	for (unsigned int i = 0; i < c->flows; i++)
		if (c->flow[i].count + d->count > FLOW_RUNS)
			return 1;
	for (uint32_t i = 0; i < d->count; i++) {
		const struct wire_chunk *k = &d->chunk[i];

		if (k->flow >= c->flows || k->len > r->granted - r->assigned)
			return conn_fail(c, -EPROTO,
					 "the peer sends what it "
					 "was not granted");
		flow_push(&c->flow[k->flow], r, r->assigned, k->len);
		r->assigned += k->len;
	}
	return 0;
}

/* What has come of an inline message, if it is for a GPU. As rx_to_device(). */
static int inline_to_device(struct devmem_conn *c, struct devmem_request *r,
			    size_t total, const uint8_t *data)
{
	size_t have = wire_reader_payload(&c->control.in);

	/* One that is too large is refused when it is announced. */
	if (!r->device || !have || total > r->size)
		return 0;
	return rx_to_device(c, r, 0, data, have);
}

/* 0: taken; 1: not now; else the connection's error. */
static int on_data(struct devmem_conn *c, const struct wire_hdr *h,
		   const uint8_t *payload)
{
	struct devmem_request *r;
	struct wire_data d;
	int rc;

	if (h->seq != c->rx.data_seq)
		return conn_fail(c, -EPROTO,
				 "DATA of message %llu where %llu "
				 "was due",
				 (unsigned long long)h->seq,
				 (unsigned long long)c->rx.data_seq);
	r = conn_active(c, h->seq);
	if (!r)
		return 1; /* not posted yet */
	if (h->flags & WIRE_F_INLINE) {
		if (r->announced)
			return conn_fail(c, -EPROTO,
					 "an inline message was "
					 "announced as a large one");
		rc = inline_to_device(c, r, h->len, payload);
		if (rc == -EAGAIN)
			return 1;
		rc = rc ?: announce(c, r, h->len);
		if (rc)
			return rc;
		place_inline(c, r, payload);
		c->rx.data_seq++;
		return 0;
	}
	if (wire_get_data(payload, h->len, &d))
		return conn_fail(c, -EPROTO, "the peer's DATA is malformed");
	rc = announce(c, r, d.total);
	rc = rc ?: on_chunks(c, r, &d);
	if (!rc && r->assigned == r->total)
		c->rx.data_seq++;
	return rc;
}

static int read_records(struct devmem_conn *c)
{
	const struct control *k = &c->control;
	size_t moved;
	int rc, calls = 0;

	/* Of a message that came in part more may be there, or on its way. */
	do {
		moved = k->inlining ? k->inlining->moved : SIZE_MAX;
		rc = control_read(c, WIRE_DATA, on_data);
	} while (!rc && k->inlining && k->inlining->moved != moved &&
		 ++calls < READ_CALLS && c->budget);
	c->rx.stalled = rc > 0;
	return rc > 0 ? 0 : rc;
}

/* How many more bytes of @want can be granted; takes the credit for them. */
static size_t grantable(struct devmem_conn *c, size_t want)
{
	struct receiver *rx = &c->rx;
	size_t least = rx->unreceived / 4, few, got;

	if (!rx->pools)
		return want;
	/* The more is on its way, the larger a piece is worth a record. */
	least = least > GRANT_BYTES ? least : GRANT_BYTES;
	least = least < want ? least : want;
	/* Not more than what is always there for this connection. */
	few = niovs_for(c, least) + c->flows;
	few = few < rx->rail[0].credit.floor ? few : rx->rail[0].credit.floor;
	got = take_credit(rx, niovs_for(c, want) + c->flows, few);
	if (!got)
		return 0;
	got = (got - c->flows) * rx->niov_bytes;
	return got < want ? got : want;
}

/*
 * While the peer has leave for messages that it has not announced yet, more can
 * wait until a few go in one call.
 */
static int flush_grants(struct devmem_conn *c)
{
	struct receiver *rx = &c->rx;
	int rc;

	if (!rx->grants_urgent && rx->grants_sent > rx->data_seq + 2 &&
	    rx->grant_seq < rx->grants_sent + GRANTS_AT_ONCE)
		return 0;
	rx->grants_sent = rx->grant_seq;
	rc = control_flush(c);
	/* What the socket did not take is to be tried again. */
	rx->grants_urgent = c->control.out_head < c->control.out_tail;
	return rc;
}

int rx_send_grants(struct devmem_conn *c)
{
	struct receiver *rx = &c->rx;
	struct control *k = &c->control;
	bool tried = false;

	while (rx->grant_seq < c->next_seq) {
		struct devmem_request *r = conn_active(c, rx->grant_seq);
		size_t to = !r ? 0 : r->announced ? r->total : r->size;
		size_t n;

		/* Done, all announced, or to come without leave. */
		if (!r || r->granted >= to || r->seq < rx->data_seq ||
		    to <= c->inline_bytes) {
			rx->grant_seq++;
			continue;
		}
		if (!control_has_room(k, WIRE_MAX_RECORD))
			break;
		n = grantable(c, to - r->granted);
		/* Whoever has to make do with less is waiting already. */
		rx->grants_urgent |= n < to - r->granted;
		if (!n && !tried && rx->pools) {
			/* The pool is short: part with what is gathered. */
			int rc = rx_unpack_relieve(c, r);

			rc = rc ?: rx_return_gathered(c);
			if (rc)
				return rc;
			settle_credit(c);
			tried = true;
			continue;
		}
		if (!n)
			break;
		r->granted += n;
		rx->unreceived += n;
		c->stats->grants++;
		DEVMEM_PROBE(grant_sent, c->record->id, r->seq, r->granted);
		control_put_done(
			k, wire_put_grant(control_put(k), r->seq, r->granted));
	}
	return flush_grants(c);
}

/* The peer is gone: what has been announced may still come, no more will. */
static int check_eof(struct devmem_conn *c)
{
	if (!c->control.inlining && (c->rx.data_seq == c->next_seq ||
				     c->rx.stalled || conn_runs_left(c)))
		return 0;
	return conn_fail(c, -ECONNRESET, "the sender %s",
			 c->control.bye ? "closed the connection" : "is gone");
}

/* A GPU that has failed gathers nothing any more. */
static int check_engine(struct devmem_conn *c)
{
	struct gather_engine *e =
		__atomic_load_n(&c->rx.gather, __ATOMIC_ACQUIRE);
	uint64_t done;
	int err = 0;

	c->rx.crowded = false;
	if (e) {
		done = gather_done(e, &err);
		if (c->rx.timed_ticket && done >= c->rx.timed_ticket)
			rx_gather_over(c);
	}
	return err ? conn_fail(c, err, "the GPU cannot gather any more") : 0;
}

static int receive_flows(struct devmem_conn *c, bool *moved)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < c->flows; i++)
		if (c->flow[i].count)
			rc = rx_flow_receive(c, &c->flow[i], moved);
	return rc;
}

int rx_settle(struct devmem_conn *c)
{
	int rc = 0;

	if (!c->rx.pools)
		return 0;
	if (!conn_runs_left(c) && c->rx.data_seq == c->next_seq)
		rc = rx_return_gathered(c);
	settle_credit(c);
	return rc;
}

/*
 * Payload first: as long as flows bring what was announced, control can wait,
 * and the call to look there is saved. While flows are awaited it is looked at
 * now and then; a peer that dies ends its flows, too.
 */
int rx_progress(struct devmem_conn *c)
{
	bool moved = false;
	int rc = c->err ?: check_engine(c);

	if (!rc && rx_unpack_pending(c))
		rc = rx_unpack_settle(c);
	rc = rc ?: receive_flows(c, &moved);
	if (!rc && (!conn_runs_left(c) || (!moved && control_due(c)))) {
		rc = read_records(c);
		rc = rc ?: receive_flows(c, &moved);
	}
	rc = rc ?: rx_settle(c);
	rc = rc ?: rx_send_grants(c);
	if (!rc && !moved)
		rc = conn_idle(c);
	if (!rc && c->control.eof)
		rc = check_eof(c);
	return rc;
}
