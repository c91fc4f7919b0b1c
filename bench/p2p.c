/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * p2p.c - what two ranks do: a one-way stream of messages (bandwidth) and a
 * message that goes there and back (latency). The timed messages are not
 * touched by the CPU; the verified ones come after them.
 */
#include <stdlib.h>
#include <string.h>

#include "p2p.h"

/*
 * A connection's buffer is at most this, or one message if that is larger:
 * udmabuf takes 64 MiB by default. Messages in flight share memory beyond it.
 */
#define BUFFER_MAX ((size_t)32 << 20)

static size_t slot_at(const struct stream *s, uint64_t nr)
{
	return nr % s->slots * s->stride;
}

/* As the plugin is told it. */
static char *stream_slot(const struct stream *s, uint64_t nr)
{
	return (char *)s->end->buf.base + slot_at(s, nr);
}

char *stream_cpu(const struct stream *s, uint64_t nr)
{
	return (char *)s->end->buf.cpu + slot_at(s, nr);
}

/* The seed of message `nr`'s data: no two messages of a run have the same. */
static uint64_t stream_seed(const struct stream *s, uint64_t nr)
{
	uint64_t from = s->send ? s->r->rank : s->end->peer;

	return (from << 63) + ((uint64_t)s->link << 56) +
	       ((uint64_t)s->r->iter << 32) + nr;
}

static int stream_fail(const struct stream *s, const char *slot, uint64_t nr,
		       ncclResult_t rc)
{
	return net_fail(s->r, slot, rc, "%s rank %d, message %llu",
			s->send ? "to" : "from", s->end->peer,
			(unsigned long long)nr);
}

/* The contents of the next message, or what shows that none came. */
static int stream_fill(struct stream *s)
{
	char *cpu = stream_cpu(s, s->posted);
	int rc;

	if (s->send)
		fill_bytes(cpu, s->size, stream_seed(s, s->posted));
	else
		memset(cpu, 0, s->size);
	rc = buffer_write(&s->end->buf, slot_at(s, s->posted), s->size);
	return rc ? gpu_fail(s->r, "writing", s->size, rc) : 0;
}

static int stream_verify(struct stream *s)
{
	int rc = buffer_read(&s->end->buf, slot_at(s, s->done), s->size);

	if (rc)
		return gpu_fail(s->r, "reading", s->size, rc);
	s->wrong += wrong_bytes(stream_cpu(s, s->done), s->size,
				stream_seed(s, s->done));
	return 0;
}

/* Posts the next message; *moved stays as it is if the plugin says "later". */
static int stream_post(struct stream *s, bool *moved)
{
	const struct plugin *p = &s->r->plugin;
	void *data = stream_slot(s, s->posted), *req = NULL;
	struct end *e = s->end;
	size_t size = s->size;
	int tag = 0, err;
	ncclResult_t rc;

	if (s->verify && (err = stream_fill(s)))
		return err;
	if (s->send)
		rc = p->net->isend(e->comm, data, size, tag, e->mhandle, NULL,
				   &req);
	else
		rc = p->net->irecv(e->comm, 1, &data, &size, &tag, &e->mhandle,
				   NULL, &req);
	if (rc)
		return stream_fail(s, s->send ? "isend" : "irecv", s->posted,
				   rc);
	if (req) {
		s->req[s->posted++ % s->inflight] = req;
		*moved = true;
	}
	return 0;
}

/* What NCCL does after a receive into GPU memory. */
static int stream_flush(struct stream *s)
{
	void *data = stream_slot(s, s->done), *req = NULL;
	const struct plugin *p = &s->r->plugin;
	struct end *e = s->end;
	int size = (int)s->size, done, rc;
	ncclResult_t nrc;

	nrc = p->net->iflush(e->comm, 1, &data, &size, &e->mhandle, &req);
	for (done = !req; !nrc && !done;) {
		nrc = p->net->test(req, &done, NULL);
		if (!nrc && !done && (rc = rank_idle(s->r, "iflush")))
			return rc;
	}
	return nrc ? stream_fail(s, "iflush", s->done, nrc) : 0;
}

static int stream_received(struct stream *s, void *req, int size)
{
	const struct plugin *p = &s->r->plugin;
	ncclResult_t rc;
	int err;

	if (size < 0 || (size_t)size != s->size)
		return rank_fail(s->r, ERR_DATA, EXIT_FAIL,
				 "test of a receive "
				 "from rank %d, message %llu: %d bytes "
				 "received, %zu were sent",
				 s->end->peer, (unsigned long long)s->done,
				 size, s->size);
	if (s->r->memory != MEM_HOST && (err = stream_flush(s)))
		return err;
	err = link_unpack(s->r, s->end, stream_slot(s, s->done), s->size);
	if (err)
		return err;
	if (s->verify && (err = stream_verify(s)))
		return err;
	if (!p->net->irecvConsumed)
		return 0;
	rc = p->net->irecvConsumed(s->end->comm, 1, req);
	return rc ? stream_fail(s, "irecvConsumed", s->done, rc) : 0;
}

/* Tests the oldest message. */
static int stream_test(struct stream *s, bool *moved)
{
	void *req = s->req[s->done % s->inflight];
	const struct plugin *p = &s->r->plugin;
	int sizes[64] = { 0 }, done = 0, err;
	ncclResult_t rc;

	rc = p->net->test(req, &done, sizes);
	if (rc)
		return stream_fail(s, "test", s->done, rc);
	if (!done)
		return 0;
	if (!s->send && (err = stream_received(s, req, sizes[0])))
		return err;
	s->done++;
	*moved = true;
	return 0;
}

/* Posts what may be posted, and tests the oldest. */
static int stream_pass(struct stream *s, bool *moved)
{
	uint64_t depth = s->verify && s->slots < s->inflight ? s->slots :
							       s->inflight;
	int rc;

	while (s->posted < s->until && s->posted - s->done < depth) {
		uint64_t before = s->posted;

		rc = stream_post(s, moved);
		if (rc)
			return rc;
		if (s->posted == before)
			break;
	}
	return s->done < s->posted ? stream_test(s, moved) : 0;
}

int streams_run(struct stream *s, int n, uint64_t count)
{
	bool busy = count, moved;
	int i, rc;

	for (i = 0; i < n; i++)
		s[i].until = s[i].done + count;
	while (busy) {
		busy = moved = false;
		for (i = 0; i < n; i++) {
			rc = stream_pass(&s[i], &moved);
			if (rc)
				return rc;
			busy |= s[i].done < s[i].until;
		}
		if (!moved && (rc = rank_idle(s->r, "stream")))
			return rc;
	}
	return 0;
}

int stream_run(struct stream *s, uint64_t count)
{
	return streams_run(s, 1, count);
}

struct stream stream_of(struct rank *r, int link, bool send, size_t size,
			int inflight)
{
	struct end *e = send ? &r->links[link].tx : &r->links[link].rx;
	struct stream s = { .r = r,
			    .end = e,
			    .link = link,
			    .send = send,
			    .size = size,
			    .inflight = inflight };
	size_t n;

	/* Slots on cache lines of their own. */
	s.stride = (size + 63) / 64 * 64;
	n = e->buf.size / s.stride;
	s.slots = n < 1 ? 1 : n < (size_t)inflight ? (int)n : inflight;
	return s;
}

struct side {
	uint64_t wrong;
	double seconds, cpu;
};

/* @count: messages of all connections. */
static int bandwidth_send(struct rank *r, struct row *row, struct side *mine,
			  uint64_t count)
{
	struct side both[2];
	double gb;
	int rc;

	rc = rank_gather(r, mine, sizeof(*mine), both, NULL);
	if (rc)
		return rc;
	gb = (double)row->size * count / 1e9;
	row->us = both[1].seconds / count * 1e6;
	row->gbps = gb / both[1].seconds;
	row->cpu_tx = both[0].cpu / gb;
	row->cpu_rx = both[1].cpu / gb;
	row->wrong = both[1].wrong;
	if (row->wrong)
		rank_fail(r, ERR_DATA, EXIT_FAIL,
			  "%llu wrong bytes at rank 1 "
			  "at size %zu",
			  (unsigned long long)row->wrong, r->size);
	return r->rank ? 0 : rank_send(r, MSG_ROW, row, sizeof(*row));
}

/*
 * Warms up, and says how many messages of each connection to time: those of
 * --iters, or as many as take about half a second at the pace of the warm-up.
 */
static int bandwidth_count(struct rank *r, struct stream *s, uint64_t *count)
{
	const struct options *o = r->o;
	int64_t start = now_ns();
	double mine, both[2];
	int rc;

	rc = streams_run(s, r->connections, o->warmup);
	mine = (now_ns() - start) * 1e-9;
	if (!rc)
		rc = rank_gather(r, &mine, sizeof(mine), both, NULL);
	if (rc)
		return rc;
	*count = o->iters;
	if (!*count && o->warmup && both[1] > 0)
		*count = (uint64_t)(0.5 * o->warmup / both[1]);
	if (!o->iters)
		*count = *count < 16 ? 16 : *count > 1000000 ? 1000000 : *count;
	return 0;
}

static int bandwidth_row(struct rank *r, size_t size)
{
	static struct stream s[MAX_LINKS];
	struct row row = { .size = size };
	int n = r->connections, i, rc;
	struct side mine = { 0 };
	uint64_t count;
	int64_t start;
	double cpu;

	r->size = size;
	r->iter++;
	for (i = 0; i < n; i++)
		s[i] = stream_of(r, i, !r->rank, size, r->inflight);
	rc = bandwidth_count(r, s, &count);
	if (rc)
		return rc;
	start = now_ns();
	cpu = cpu_seconds();
	rc = streams_run(s, n, count);
	mine.seconds = (now_ns() - start) * 1e-9;
	mine.cpu = cpu_seconds() - cpu;
	if (!rc)
		rc = rank_barrier(r);
	for (i = 0; i < n; i++)
		s[i].verify = r->check;
	if (!rc && r->check) {
		rc = streams_run(s, n, r->o->check);
		row.checked = r->o->check;
	}
	for (i = 0; i < n; i++)
		mine.wrong += s[i].wrong;
	return rc ? rc : bandwidth_send(r, &row, &mine, count * n);
}

static size_t link_bytes(const struct rank *r)
{
	size_t max = r->o->max_bytes;
	size_t want = (max + 63) / 64 * 64 * r->inflight;

	if (want <= BUFFER_MAX)
		return want;
	return max > BUFFER_MAX ? max : BUFFER_MAX;
}

int bandwidth_run(struct rank *r)
{
	size_t size;
	int i, rc;

	r->nlinks = r->connections;
	for (i = 0; i < r->nlinks; i++) {
		r->links[i].dev = plugin_device(&r->plugin, i);
		r->links[i].tx.peer = r->rank == 0 ? 1 : -1;
		r->links[i].rx.peer = r->rank == 1 ? 0 : -1;
	}
	rc = links_open(r, link_bytes(r));
	if (!rc && r->o->limit)
		rc = limit_open(r);
	for (size = r->o->min_bytes; !rc && size; size = next_size(r->o, size))
		rc = r->o->limit ? limit_bandwidth(r, size) :
				   bandwidth_row(r, size);
	limit_close();
	return rc ? rc : r->error.code;
}

/*
 * A receive is posted before the message that makes the peer send to it, as
 * NCCL's are.
 */
int pings(struct stream *tx, struct stream *rx, int count, double *us)
{
	bool first = !tx->r->rank, moved;
	int64_t start;
	int i, rc = 0;

	for (i = 0; !rc && i < count; i++) {
		start = now_ns();
		rc = first ? stream_post(rx, &moved) : stream_run(rx, 1);
		if (!rc && !first && i + 1 < count)
			rc = stream_post(rx, &moved);
		if (!rc)
			rc = stream_run(tx, 1);
		if (!rc && first)
			rc = stream_run(rx, 1);
		if (us)
			us[i] = (now_ns() - start) * 1e-3 / 2;
	}
	return rc;
}

static int latency_report(struct rank *r, struct row *row, double *us,
			  uint64_t mine)
{
	uint64_t wrong[2];
	int n = r->o->iters, rc;

	rc = rank_gather(r, &mine, sizeof(mine), wrong, NULL);
	if (rc)
		return rc;
	sort_doubles(us, n);
	row->lat_min = us[0];
	row->lat_med = quantile(us, n, 0.5);
	row->lat_p99 = quantile(us, n, 0.99);
	row->us = row->lat_med;
	row->wrong = wrong[0] + wrong[1];
	if (row->wrong)
		rank_fail(r, ERR_DATA, EXIT_FAIL,
			  "%llu wrong bytes at size "
			  "%zu",
			  (unsigned long long)row->wrong, r->size);
	return r->rank ? 0 : rank_send(r, MSG_ROW, row, sizeof(*row));
}

static int latency_row(struct rank *r, size_t size, double *us)
{
	struct stream tx = stream_of(r, r->rank, true, size, 1);
	struct stream rx = stream_of(r, !r->rank, false, size, 1);
	struct row row = { .size = size };
	int rc;

	r->size = size;
	r->iter++;
	rc = pings(&tx, &rx, r->o->warmup, NULL);
	if (!rc)
		rc = pings(&tx, &rx, r->o->iters, us);
	if (!rc && r->check) {
		tx.verify = rx.verify = true;
		rc = pings(&tx, &rx, r->o->check, NULL);
		row.checked = r->o->check;
	}
	return rc ? rc : latency_report(r, &row, us, rx.wrong);
}

int latency_run(struct rank *r)
{
	double *us = calloc(r->o->iters, sizeof(*us));
	size_t size;
	int i, rc;

	if (!us)
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "no memory for %d "
				 "times",
				 r->o->iters);
	r->nlinks = 2;
	for (i = 0; i < 2; i++) {
		r->links[i].dev = plugin_device(&r->plugin, 0);
		r->links[i].tx.peer = r->rank == i ? !i : -1;
		r->links[i].rx.peer = r->rank == i ? -1 : i;
	}
	rc = links_open(r, r->o->max_bytes);
	if (!rc && r->o->limit)
		rc = limit_open(r);
	for (size = r->o->min_bytes; !rc && size; size = next_size(r->o, size))
		rc = r->o->limit ? limit_latency(r, size, us) :
				   latency_row(r, size, us);
	limit_close();
	free(us);
	return rc ? rc : r->error.code;
}
