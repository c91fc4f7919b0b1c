/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.c - an all-reduce (float32, sum, out of place) as NCCL's ring kernel
 * and proxies do it: on each channel a connection to the next rank and one
 * from the previous, a buffer of 8 slots for each, messages of at most one
 * slot posted as slots get free, the oldest tested first, and a processor that
 * adds what arrived to its own data into the next send slot.
 *
 * The data of a channel is cut into loops, a loop into one chunk for each
 * rank, a chunk into up to 4 slices. In step s of the 2(N-1) of a loop rank r
 * sends chunk r-s and receives chunk r-s-1 (mod N): the first N-1 steps reduce
 * and scatter, the others gather. What is received in step s is sent in step
 * s+1, so both sides of a channel walk the same sequence. A chunk past the end
 * of short data is a message of 0 bytes.
 *
 * Why 4 slices cannot deadlock 8 slots: a rank's fills run at most two chunks
 * of slices ahead of what it consumed, and a full ring would need all ranks to
 * be 16 ahead.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define CHUNK_SLICES 4

/* Where one side of a channel is in the sequence of messages. */
struct cursor {
	size_t base, loop; /* first element and elements of this loop */
	size_t chunk;	   /* elements of a full chunk of it */
	size_t slices, slice;
	int step;
	bool end;
};

/* Counters of messages: slots are these modulo SLOTS. */
struct channel {
	struct link *link;
	int nr;
	size_t first, last; /* its elements of the data */
	struct cursor send, recv;
	uint64_t total; /* messages each way up to the end of this op */
	uint64_t rposted, rdone, rflushed, rused;
	uint64_t sfilled, sposted, sdone;
	void *rreq[SLOTS], *freq[SLOTS], *consumed[SLOTS], *sreq[SLOTS];
	size_t ssize[SLOTS];
};

struct ring {
	struct rank *r;
	size_t slice; /* elements */
	float *in, *out;
	int nchannels;
	struct channel ch[MAX_CHANNELS];
};

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void cursor_loop(const struct ring *g, const struct channel *c,
			struct cursor *k)
{
	size_t n = g->r->ranks;

	k->loop = min_size(c->last - k->base, n * CHUNK_SLICES * g->slice);
	k->chunk = (k->loop + n - 1) / n;
	k->slices = (k->chunk + g->slice - 1) / g->slice;
	k->slice = 0;
	k->step = 0;
	k->end = !k->loop;
}

static void cursor_next(const struct ring *g, const struct channel *c,
			struct cursor *k)
{
	if (++k->slice < k->slices)
		return;
	k->slice = 0;
	if (++k->step < 2 * (g->r->ranks - 1))
		return;
	k->base += k->loop;
	cursor_loop(g, c, k);
}

/* The elements of the message at `k`: `*at` on, `*n` of them. */
static void cursor_span(const struct ring *g, const struct cursor *k, bool send,
			size_t *at, size_t *n)
{
	int ranks = g->r->ranks;
	int chunk = (g->r->rank - k->step - !send + 2 * ranks) % ranks;
	size_t start = chunk * k->chunk + k->slice * g->slice;
	size_t end = min_size((chunk + 1) * k->chunk, k->loop);

	*at = k->base + start;
	*n = start < end ? min_size(end - start, g->slice) : 0;
}

static float *slot(const struct ring *g, const struct end *e, uint64_t nr)
{
	return (float *)e->buf.base + (nr % SLOTS) * g->slice;
}

static int chan_fail(const struct ring *g, const struct channel *c,
		     const char *name, bool send, uint64_t nr, size_t bytes,
		     ncclResult_t rc)
{
	return net_fail(g->r, name, rc,
			"%s rank %d on channel %d, message "
			"%llu of %zu bytes",
			send ? "to" : "from",
			send ? c->link->tx.peer : c->link->rx.peer, c->nr,
			(unsigned long long)nr, bytes);
}

/* Posts receives of a whole slot each, as NCCL does, while slots are free. */
static int post_recvs(struct ring *g, struct channel *c, bool *moved)
{
	const struct plugin *p = &g->r->plugin;
	size_t bytes = g->slice * sizeof(float);
	struct end *e = &c->link->rx;
	ncclResult_t rc;
	void *data, *req;
	int tag = c->nr;

	while (c->rposted < c->total && c->rposted - c->rused < SLOTS) {
		data = slot(g, e, c->rposted);
		req = NULL;
		rc = p->net->irecv(e->comm, 1, &data, &bytes, &tag, &e->mhandle,
				   NULL, &req);
		if (rc)
			return chan_fail(g, c, "irecv", false, c->rposted,
					 bytes, rc);
		if (!req)
			break;
		c->rreq[c->rposted++ % SLOTS] = req;
		*moved = true;
	}
	return 0;
}

/* NCCL flushes receives into GPU memory, those of 0 bytes aside. */
static int start_flush(struct ring *g, struct channel *c, int bytes)
{
	const struct plugin *p = &g->r->plugin;
	struct end *e = &c->link->rx;
	void *data = slot(g, e, c->rdone);
	void *req = NULL;
	ncclResult_t rc;

	c->freq[c->rdone % SLOTS] = NULL;
	if (g->r->memory != MEM_UDMABUF || !bytes)
		return 0;
	rc = p->net->iflush(e->comm, 1, &data, &bytes, &e->mhandle, &req);
	if (rc)
		return chan_fail(g, c, "iflush", false, c->rdone, bytes, rc);
	c->freq[c->rdone % SLOTS] = req;
	return 0;
}

/* The receive cursor stands at the message that is tested next. */
static int test_recvs(struct ring *g, struct channel *c, struct cursor *k,
		      bool *moved)
{
	const struct plugin *p = &g->r->plugin;
	int done, sizes[64];
	size_t at, n;
	ncclResult_t rc;

	while (c->rdone < c->rposted) {
		memset(sizes, 0, sizeof(sizes));
		done = 0;
		cursor_span(g, k, false, &at, &n);
		rc = p->net->test(c->rreq[c->rdone % SLOTS], &done, sizes);
		if (rc)
			return chan_fail(g, c, "test", false, c->rdone,
					 n * sizeof(float), rc);
		if (!done)
			break;
		if (sizes[0] < 0 || (size_t)sizes[0] != n * sizeof(float))
			return rank_fail(g->r, ERR_DATA, EXIT_FAIL,
					 "test of a receive from rank %d on "
					 "channel %d, message %llu, at size "
					 "%zu: %d bytes received, %zu were "
					 "sent",
					 c->link->rx.peer, c->nr,
					 (unsigned long long)c->rdone,
					 g->r->size, sizes[0],
					 n * sizeof(float));
		c->consumed[c->rdone % SLOTS] = c->rreq[c->rdone % SLOTS];
		if ((done = start_flush(g, c, sizes[0])))
			return done;
		c->rdone++;
		cursor_next(g, c, k);
		*moved = true;
	}
	return 0;
}

static int test_flushes(struct ring *g, struct channel *c, bool *moved)
{
	const struct plugin *p = &g->r->plugin;
	ncclResult_t rc;
	void *req;
	int done;

	while (c->rflushed < c->rdone) {
		req = c->freq[c->rflushed % SLOTS];
		done = !req;
		if (req) {
			rc = p->net->test(req, &done, NULL);
			if (rc)
				return chan_fail(g, c, "test of iflush", false,
						 c->rflushed, 0, rc);
		}
		if (!done)
			break;
		c->rflushed++;
		*moved = true;
	}
	return 0;
}

static void queue_send(struct ring *g, struct channel *c, size_t n)
{
	c->ssize[c->sfilled++ % SLOTS] = n * sizeof(float);
	cursor_next(g, c, &c->send);
}

/* Sends of step 0 come from the user's data alone. */
static void fill_first(struct ring *g, struct channel *c, bool *moved)
{
	size_t at, n;

	while (!c->send.end && !c->send.step && c->sfilled - c->sdone < SLOTS) {
		cursor_span(g, &c->send, true, &at, &n);
		memcpy(slot(g, &c->link->tx, c->sfilled), g->in + at,
		       n * sizeof(float));
		queue_send(g, c, n);
		*moved = true;
	}
}

static void add(float *restrict to, const float *restrict a,
		const float *restrict b, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		to[i] = a[i] + b[i];
}

/* The work of NCCL's kernel for one received message. */
static void reduce(struct ring *g, struct channel *c)
{
	int step = c->recv.step, ranks = g->r->ranks;
	const float *from = slot(g, &c->link->rx, c->rused);
	float *to = NULL;
	size_t at, n;

	cursor_span(g, &c->recv, false, &at, &n);
	if (step < 2 * ranks - 3)
		to = slot(g, &c->link->tx, c->sfilled);
	if (step < ranks - 2) {
		add(to, from, g->in + at, n);
	} else if (step == ranks - 2) {
		add(g->out + at, from, g->in + at, n);
		memcpy(to, g->out + at, n * sizeof(float));
	} else {
		memcpy(g->out + at, from, n * sizeof(float));
		if (to)
			memcpy(to, from, n * sizeof(float));
	}
	if (to)
		queue_send(g, c, n);
}

/* Consumes received messages in order while the sends they make have room. */
static int consume(struct ring *g, struct channel *c, bool *moved)
{
	const struct plugin *p = &g->r->plugin;
	ncclResult_t rc;

	while (c->rused < c->rflushed) {
		bool sends = c->recv.step < 2 * g->r->ranks - 3;

		if (sends && (c->sfilled - c->sdone == SLOTS ||
			      c->send.step != c->recv.step + 1 ||
			      c->send.base != c->recv.base))
			break;
		reduce(g, c);
		if (p->net->irecvConsumed) {
			rc = p->net->irecvConsumed(
				c->link->rx.comm, 1,
				c->consumed[c->rused % SLOTS]);
			if (rc)
				return chan_fail(g, c, "irecvConsumed", false,
						 c->rused, 0, rc);
		}
		c->rused++;
		cursor_next(g, c, &c->recv);
		*moved = true;
	}
	return 0;
}

static int post_sends(struct ring *g, struct channel *c, bool *moved)
{
	const struct plugin *p = &g->r->plugin;
	struct end *e = &c->link->tx;
	ncclResult_t rc;
	size_t bytes;
	void *req;

	while (c->sposted < c->sfilled) {
		bytes = c->ssize[c->sposted % SLOTS];
		req = NULL;
		rc = p->net->isend(e->comm, slot(g, e, c->sposted), bytes,
				   c->nr, e->mhandle, NULL, &req);
		if (rc)
			return chan_fail(g, c, "isend", true, c->sposted, bytes,
					 rc);
		if (!req)
			break;
		c->sreq[c->sposted++ % SLOTS] = req;
		*moved = true;
	}
	return 0;
}

static int test_sends(struct ring *g, struct channel *c, bool *moved)
{
	const struct plugin *p = &g->r->plugin;
	int done, size;
	ncclResult_t rc;

	while (c->sdone < c->sposted) {
		done = size = 0;
		rc = p->net->test(c->sreq[c->sdone % SLOTS], &done, &size);
		if (rc)
			return chan_fail(g, c, "test", true, c->sdone,
					 c->ssize[c->sdone % SLOTS], rc);
		if (!done)
			break;
		c->sdone++;
		*moved = true;
	}
	return 0;
}

static int channel_pass(struct ring *g, struct channel *c,
			struct cursor *tested, bool *moved)
{
	int rc;

	rc = post_recvs(g, c, moved);
	if (!rc)
		rc = test_recvs(g, c, tested, moved);
	if (!rc)
		rc = test_flushes(g, c, moved);
	if (rc)
		return rc;
	fill_first(g, c, moved);
	rc = consume(g, c, moved);
	if (rc)
		return rc;
	fill_first(g, c, moved);
	rc = post_sends(g, c, moved);
	return rc ? rc : test_sends(g, c, moved);
}

/* Sets the channel to its share of `count` elements. */
static void channel_start(struct ring *g, struct channel *c, size_t count)
{
	struct cursor k;
	size_t n = g->nchannels;

	c->first = count / n * c->nr + min_size(c->nr, count % n);
	c->last = c->first + count / n + ((size_t)c->nr < count % n);
	k = (struct cursor){ .base = c->first };
	cursor_loop(g, c, &k);
	c->send = c->recv = k;
	while (!k.end) {
		c->total += k.slices * 2 * (g->r->ranks - 1);
		k.base += k.loop;
		cursor_loop(g, c, &k);
	}
}

static int allreduce(struct ring *g, size_t count)
{
	struct cursor tested[MAX_CHANNELS];
	bool moved, busy = true;
	struct channel *c;
	int i, rc;

	for (i = 0; i < g->nchannels; i++) {
		channel_start(g, &g->ch[i], count);
		tested[i] = g->ch[i].recv;
	}
	while (busy) {
		busy = moved = false;
		for (i = 0; i < g->nchannels; i++) {
			c = &g->ch[i];
			rc = channel_pass(g, c, &tested[i], &moved);
			if (rc)
				return rc;
			busy |= c->rused < c->total || c->sdone < c->total;
		}
		if (busy && !moved && (rc = rank_idle(g->r, "all-reduce")))
			return rc;
	}
	return 0;
}

/* One iteration with data of its own; every element is compared. */
static int verified(struct ring *g, size_t count, uint64_t *wrong)
{
	struct rank *r = g->r;
	int rc;

	r->iter++;
	if (r->check) {
		fill_floats(g->in, count, r->rank, r->ranks, r->iter);
		memset(g->out, 0xff, count * sizeof(float));
	}
	rc = allreduce(g, count);
	if (!rc && r->check)
		*wrong += wrong_floats(g->out, count, r->ranks, r->iter);
	return rc;
}

struct share {
	uint64_t wrong;
	double seconds;
};

/* Sums `wrong` and averages the time over the ranks; rank 0 reports. */
static int finish_row(struct ring *g, struct row *row, struct share *mine)
{
	struct share all[MAX_RANKS];
	struct rank *r = g->r;
	double seconds = 0;
	int i, rc;

	rc = rank_gather(r, mine, sizeof(*mine), all, NULL);
	if (rc)
		return rc;
	for (i = 0; i < r->ranks; i++) {
		row->wrong += all[i].wrong;
		seconds += all[i].seconds / r->ranks;
	}
	row->us = seconds / r->o->iters * 1e6;
	row->gbps = row->size / (row->us * 1e3);
	if (row->wrong)
		rank_fail(r, ERR_DATA, EXIT_FAIL,
			  "%llu wrong elements at "
			  "size %zu, %llu of them here",
			  (unsigned long long)row->wrong, r->size,
			  (unsigned long long)mine->wrong);
	return r->rank ? 0 : rank_send(r, MSG_ROW, row, sizeof(*row));
}

/* nccl-tests' way: iterations back to back for the time, then the check. */
static int ring_row(struct ring *g, size_t size)
{
	struct row row = { .size = size };
	struct share mine = { 0 };
	size_t count = size / sizeof(float);
	struct rank *r = g->r;
	int64_t start;
	int i, rc = 0;

	r->size = size;
	r->iter++;
	fill_floats(g->in, count, r->rank, r->ranks, r->iter);
	for (i = 0; !rc && i < r->o->warmup; i++)
		rc = allreduce(g, count);
	if (!rc)
		rc = rank_barrier(r);
	start = now_ns();
	for (i = 0; !rc && i < r->o->iters; i++)
		rc = allreduce(g, count);
	mine.seconds = (now_ns() - start) * 1e-9;
	if (rc)
		return rc;
	if (r->check)
		mine.wrong = wrong_floats(g->out, count, r->ranks, r->iter);
	for (i = 0; !rc && r->check && i < r->o->check; i++, row.checked++)
		rc = verified(g, count, &mine.wrong);
	row.checked += r->check;
	return rc ? rc : finish_row(g, &row, &mine);
}

/*
 * Traffic at the largest size for --kill-rank and --pause-at-iter. Without a
 * pause it ends with an error only: the killed rank's, or that of no error.
 */
static int fault_phase(struct ring *g)
{
	size_t count = g->r->size / sizeof(float);
	const struct options *o = g->r->o;
	struct rank *r = g->r;
	uint64_t wrong = 0;
	unsigned int flags;
	int i, left = 2, rc;

	rc = rank_barrier(r);
	if (!rc && o->pause_at < 0)
		rc = rank_send(r, MSG_FAULT, NULL, 0);
	for (i = 0; !rc && left; i++) {
		if (i == o->pause_at && !r->rank)
			rc = rank_send(r, MSG_FAULT, NULL, 0);
		if (!rc)
			rc = verified(g, count, &wrong);
		if (rc || wrong || o->pause_at < 0 || i < o->pause_at) {
			if (wrong)
				break;
			continue;
		}
		/* All ranks get the same answer, so all end together. */
		rc = rank_gather(r, NULL, 0, NULL, &flags);
		if (flags & GATHER_CMD_DONE)
			left--;
	}
	if (wrong)
		rc = rank_fail(r, ERR_DATA, EXIT_FAIL,
			       "%llu wrong elements "
			       "at size %zu in iteration %d of the fault "
			       "phase",
			       (unsigned long long)wrong, r->size, i);
	return rc;
}

static int ring_rows(struct ring *g)
{
	const struct options *o = g->r->o;
	size_t size;
	int rc = 0;

	for (size = o->min_bytes; !rc && size; size = next_size(o, size))
		rc = ring_row(g, size);
	if (!rc && (o->kill_rank >= 0 || o->break_cmd || o->pause_at >= 0))
		rc = fault_phase(g);
	return rc ? rc : g->r->error.code;
}

int ring_run(struct rank *r)
{
	static struct ring g;
	size_t max = r->o->max_bytes;
	int i, rc;

	g = (struct ring){ .r = r,
			   .slice = r->o->slice / sizeof(float),
			   .nchannels = r->o->channels };
	g.in = calloc(1, max);
	g.out = malloc(max);
	if (!g.in || !g.out)
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "no memory for two "
				 "buffers of %zu bytes",
				 max);
	r->nlinks = r->o->channels;
	for (i = 0; i < r->nlinks; i++) {
		r->links[i].tx.peer = (r->rank + 1) % r->ranks;
		r->links[i].rx.peer = (r->rank + r->ranks - 1) % r->ranks;
		g.ch[i].link = &r->links[i];
		g.ch[i].nr = i;
	}
	rc = links_open(r, SLOTS * r->o->slice);
	if (!rc)
		rc = ring_rows(&g);
	free(g.in);
	free(g.out);
	return rc;
}
