/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * coll.c - collectives of float32 between all ranks: the work of NCCL's kernel
 * in the processor, the rows of a table, the traffic for faults, and the soak.
 * Every element of every verified iteration is compared.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coll.h"

struct group {
	struct rank *r;
	float *in, *out;
	int lanes;    /* links of one channel */
	int channels; /* at work */
	bool random;  /* turns in random order, and pauses */
	uint64_t dice;
	struct plan plan[MAX_CHANNELS];
	struct lane lane[MAX_LINKS];
};

/* What one iteration does; all ranks have the same. */
struct job {
	enum coll coll;
	size_t count; /* elements of the whole, or of one rank's part of it */
	size_t slice;
	int channels;
};

/* xorshift64*: as good as a schedule needs, and the same everywhere. */
static uint64_t roll(uint64_t *dice, uint64_t sides)
{
	*dice ^= *dice >> 12;
	*dice ^= *dice << 25;
	*dice ^= *dice >> 27;
	return (*dice * 0x2545f4914f6cdd1dull >> 16) % sides;
}

static bool has_parts(enum coll c)
{
	return c == COLL_ALLGATHER || c == COLL_REDUCESCATTER ||
	       c == COLL_ALLTOALL;
}

static struct lane *lane_of(struct group *g, int channel, int lane)
{
	return &g->lane[channel * g->lanes + lane];
}

static bool prim_ready(struct group *g, int channel, const struct prim *m)
{
	int i;

	for (i = 0; i < m->nrecv; i++)
		if (!lane_readable(lane_of(g, channel, m->recv[i])))
			return false;
	for (i = 0; i < m->nsend; i++)
		if (!lane_writable(lane_of(g, channel, m->send[i])))
			return false;
	return true;
}

/* to = own + what was received, from one or two lanes or none. */
static void combine(float *restrict to, const float *own,
		    const float *const *from, int nfrom, size_t n)
{
	const float *a = own ? own : from[0];
	const float *b = own ? from[0] : from[1];
	int terms = nfrom + !!own;
	size_t i;

	if (terms == 1)
		memcpy(to, a, n * sizeof(*to));
	else if (terms == 2)
		for (i = 0; i < n; i++)
			to[i] = a[i] + b[i];
	else
		for (i = 0; i < n; i++)
			to[i] = a[i] + b[i] + from[1][i];
}

/* What has been received, of each lane. */
static int prim_read(struct group *g, int channel, const struct prim *m,
		     const float **from)
{
	struct lane *l;
	int i;

	for (i = 0; i < m->nrecv; i++) {
		l = lane_of(g, channel, m->recv[i]);
		if (l->rsize[l->rused % SLOTS] != m->n * sizeof(float))
			return rank_fail(
				g->r, ERR_DATA, EXIT_FAIL,
				"message %llu from rank %d on link %d, at size "
				"%zu: %zu bytes received, %zu were sent",
				(unsigned long long)l->rused, l->link->rx.peer,
				l->nr, g->r->size, l->rsize[l->rused % SLOTS],
				m->n * sizeof(float));
		from[i] = lane_read(g->r, l);
		if (!from[i])
			return g->r->error.code;
	}
	return 0;
}

static int prim_run(struct group *g, int channel, const struct prim *m)
{
	const float *from[TREE_KIDS] = { 0 };
	float *to = m->out;
	struct lane *l;
	int i, rc;

	rc = prim_read(g, channel, m, from);
	if (rc)
		return rc;
	if (to && to != m->own)
		combine(to, m->own, from, m->nrecv, m->n);
	for (i = 0; i < m->nsend; i++) {
		float *room;

		l = lane_of(g, channel, m->send[i]);
		room = lane_room(l);
		if (to)
			memcpy(room, to, m->n * sizeof(float));
		else
			combine(room, m->own, from, m->nrecv, m->n);
		to = room;
		rc = lane_filled(g->r, l, m->n * sizeof(float));
		if (rc)
			return rc;
	}
	for (i = 0; i < m->nrecv; i++) {
		rc = lane_consumed(g->r, lane_of(g, channel, m->recv[i]));
		if (rc)
			return rc;
	}
	return 0;
}

static int kernel_run(struct group *g, int channel, bool *moved)
{
	struct plan *p = &g->plan[channel];
	struct prim m;
	int rc;

	while (plan_prim(p, &m) && prim_ready(g, channel, &m)) {
		rc = prim_run(g, channel, &m);
		if (rc)
			return rc;
		plan_advance(p);
		*moved = true;
	}
	return 0;
}

/* Plans and lanes for the job; how much will come is told to the proxies. */
static void job_start(struct group *g, const struct job *j)
{
	struct plan walk;
	struct prim m;
	int i, k;

	g->channels = j->channels;
	for (i = 0; i < j->channels; i++) {
		g->plan[i] = (struct plan){ .coll = j->coll,
					    .rank = g->r->rank,
					    .ranks = g->r->ranks,
					    .in = g->in,
					    .out = g->out,
					    .unit = j->count,
					    .slice = j->slice };
		plan_start(&g->plan[i], i, j->channels);
		walk = g->plan[i];
		for (; plan_prim(&walk, &m); plan_advance(&walk))
			for (k = 0; k < m.nrecv; k++)
				lane_of(g, i, m.recv[k])->rtotal++;
	}
}

/* In a soak some turns are missed, and some ranks fall behind for a while. */
static bool missed(struct group *g)
{
	if (!g->random)
		return false;
	if (!roll(&g->dice, 20000))
		usleep(roll(&g->dice, 20000));
	return !roll(&g->dice, 4);
}

/* Is there something left to do for the channel, or under way? */
static bool channel_busy(struct group *g, int channel)
{
	int k;

	for (k = 0; k < g->lanes; k++) {
		const struct lane *l = lane_of(g, channel, k);

		if (l->rused < l->rtotal || l->sdone < l->sfilled)
			return true;
	}
	return !g->plan[channel].end;
}

static int channel_pass(struct group *g, int channel, bool *moved)
{
	int k, rc;

	for (k = 0; k < g->lanes; k++) {
		if (missed(g))
			continue;
		rc = lane_progress(g->r, lane_of(g, channel, k), moved);
		if (rc)
			return rc;
	}
	return missed(g) ? 0 : kernel_run(g, channel, moved);
}

static int job_run(struct group *g, const struct job *j)
{
	bool busy = true, moved;
	int i, rc;

	job_start(g, j);
	while (busy) {
		busy = moved = false;
		for (i = 0; i < g->channels; i++) {
			rc = channel_pass(g, i, &moved);
			if (rc)
				return rc;
			busy |= channel_busy(g, i);
		}
		if (busy && !moved && (rc = rank_idle(g->r, "collective")))
			return rc;
	}
	return 0;
}

/* Elements of the whole: of `in`, of `out`, or of both. */
static size_t whole(const struct group *g, const struct job *j)
{
	return has_parts(j->coll) ? j->count * g->r->ranks : j->count;
}

static uint64_t job_wrong(const struct group *g, const struct job *j,
			  uint32_t iter)
{
	int rank = g->r->rank, n = g->r->ranks, q;
	size_t part = j->count;
	uint64_t wrong = 0;

	switch (j->coll) {
	case COLL_REDUCESCATTER:
		return wrong_floats(g->out, part, rank * part, 0, n, n, iter);
	case COLL_BROADCAST:
		return wrong_floats(g->out, part, 0, 0, 1, n, iter);
	case COLL_ALLGATHER:
	case COLL_ALLTOALL:
		for (q = 0; q < n; q++)
			wrong += wrong_floats(
				g->out + q * part, part,
				j->coll == COLL_ALLTOALL ? rank * part : 0, q,
				q + 1, n, iter);
		return wrong;
	default:
		return wrong_floats(g->out, part, 0, 0, n, n, iter);
	}
}

/* One iteration with data of its own; every element is compared. */
static int verified(struct group *g, const struct job *j, uint64_t *wrong)
{
	struct rank *r = g->r;
	int rc;

	r->iter++;
	if (r->check) {
		fill_floats(g->in, whole(g, j), r->rank, r->ranks, r->iter);
		memset(g->out, 0xff, whole(g, j) * sizeof(float));
	}
	rc = job_run(g, j);
	if (!rc && r->check)
		*wrong += job_wrong(g, j, r->iter);
	return rc;
}

struct share {
	uint64_t wrong;
	double seconds;
};

/* Sums `wrong` and averages the time over the ranks; rank 0 reports. */
static int finish_row(struct group *g, struct row *row, struct share *mine,
		      double iters)
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
	row->us = seconds / iters * 1e6;
	if (!row->gbps)
		row->gbps = row->size / (row->us * 1e3);
	if (row->wrong)
		rank_fail(r, ERR_DATA, EXIT_FAIL,
			  "%llu wrong elements at size %zu, %llu of them here",
			  (unsigned long long)row->wrong, r->size,
			  (unsigned long long)mine->wrong);
	return r->rank ? 0 : rank_send(r, MSG_ROW, row, sizeof(*row));
}

static struct job job_of(const struct group *g, size_t size)
{
	static const enum coll by_mode[] = {
		[MODE_ALLREDUCE] = COLL_RING_ALLREDUCE,
		[MODE_ALLGATHER] = COLL_ALLGATHER,
		[MODE_REDUCESCATTER] = COLL_REDUCESCATTER,
		[MODE_BROADCAST] = COLL_BROADCAST,
		[MODE_ALLTOALL] = COLL_ALLTOALL,
	};
	const struct options *o = g->r->o;
	struct job j = { .coll = by_mode[o->mode],
			 .count = size / sizeof(float),
			 .slice = o->slice / sizeof(float),
			 .channels = o->channels };

	if (o->tree)
		j.coll = COLL_TREE_ALLREDUCE;
	if (has_parts(j.coll))
		j.count /= g->r->ranks;
	return j;
}

/* nccl-tests' way: iterations back to back for the time, then the check. */
static int coll_row(struct group *g, size_t size)
{
	struct job j = job_of(g, size);
	struct row row = { .size = size };
	struct share mine = { 0 };
	struct rank *r = g->r;
	int64_t start;
	int i, rc = 0;

	r->size = size;
	r->iter++;
	fill_floats(g->in, whole(g, &j), r->rank, r->ranks, r->iter);
	for (i = 0; !rc && i < r->o->warmup; i++)
		rc = job_run(g, &j);
	if (!rc)
		rc = rank_barrier(r);
	start = now_ns();
	for (i = 0; !rc && i < r->o->iters; i++)
		rc = job_run(g, &j);
	mine.seconds = (now_ns() - start) * 1e-9;
	if (rc)
		return rc;
	if (r->check)
		mine.wrong = job_wrong(g, &j, r->iter);
	for (i = 0; !rc && r->check && i < r->o->check; i++, row.checked++)
		rc = verified(g, &j, &mine.wrong);
	row.checked += r->check;
	return rc ? rc : finish_row(g, &row, &mine, r->o->iters);
}

/*
 * Traffic at the largest size for --kill-rank and --pause-at-iter. Without a
 * pause it ends with an error only: the killed rank's, or that of no error.
 */
static int fault_phase(struct group *g)
{
	struct job j = job_of(g, g->r->size);
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
			rc = verified(g, &j, &wrong);
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

/* Any collective, of any size: as many small ones as large ones. */
static struct job job_random(const struct group *g, uint64_t *dice)
{
	const struct options *o = g->r->o;
	size_t slice = o->slice / sizeof(float);
	size_t max = o->max_bytes / sizeof(float);
	struct job j = { .coll = roll(dice, COLLS) };
	int bits = 0;

	while (max >> bits)
		bits++;
	j.count = roll(dice, (1ull << roll(dice, bits + 1)));
	j.count = j.count < max ? j.count : max;
	if (has_parts(j.coll))
		j.count /= g->r->ranks;
	/* Not so small that a large one would be nothing but messages. */
	j.slice = slice / (1 + roll(dice, 8));
	j.channels = 1 + roll(dice, o->channels);
	return j;
}

/* Until --seconds have passed by rank 0's clock, which all are told. */
static int soak(struct group *g)
{
	struct row row = { .size = g->r->o->max_bytes };
	const struct options *o = g->r->o;
	uint64_t dice = o->seed * 0x9e3779b97f4a7c15ull + 1;
	double seconds = 0, all[MAX_RANKS], gb = 0;
	struct share mine = { 0 };
	struct rank *r = g->r;
	int64_t start = now_ns();
	int rc = 0;

	g->random = true;
	g->dice = dice + r->rank + 1;
	while (!rc && !mine.wrong && seconds < o->seconds) {
		struct job j = job_random(g, &dice);

		r->size = whole(g, &j) * sizeof(float);
		rc = verified(g, &j, &mine.wrong);
		gb += r->size * 1e-9;
		row.checked += r->check;
		seconds = (now_ns() - start) * 1e-9;
		rc = rc ? rc :
			  rank_gather(r, &seconds, sizeof(seconds), all, NULL);
		seconds = all[0];
	}
	if (rc)
		return rc;
	mine.seconds = seconds;
	row.gbps = gb / seconds;
	return finish_row(g, &row, &mine, row.checked ? row.checked : 1);
}

static int coll_rows(struct group *g)
{
	const struct options *o = g->r->o;
	size_t size;
	int rc = 0;

	if (o->mode == MODE_SOAK)
		return soak(g);
	for (size = o->min_bytes; !rc && size; size = next_size(o, size))
		rc = coll_row(g, size);
	if (!rc && (o->kill_rank >= 0 || o->break_cmd || o->pause_at >= 0))
		rc = fault_phase(g);
	return rc;
}

/* Who is at the ends of a channel's lanes; those of no use have nobody. */
static void lane_peers(const struct rank *r, int lane, struct link *l)
{
	int n = r->ranks, rank = r->rank, kid;
	bool mine;

	if (lane == LANE_RING) {
		l->tx.peer = (rank + 1) % n;
		l->rx.peer = (rank + n - 1) % n;
		return;
	}
	if (lane >= LANE_PEER) {
		l->tx.peer = (rank + lane - LANE_PEER + 1) % n;
		l->rx.peer = (rank - (lane - LANE_PEER + 1) + n) % n;
		return;
	}
	kid = (lane - LANE_UP) % TREE_KIDS;
	mine = rank && (rank - 1) % TREE_KIDS == kid;
	l->tx.peer = mine ? tree_parent(rank) : -1;
	l->rx.peer = tree_kid(rank, n, kid);
	if (lane >= LANE_DOWN) {
		int up = l->tx.peer;

		l->tx.peer = l->rx.peer;
		l->rx.peer = up;
	}
}

/* Lanes that the collectives of this run use. */
static bool lane_wanted(const struct options *o, int lane)
{
	bool peer = lane >= LANE_PEER, tree = !peer && lane != LANE_RING;

	if (o->mode == MODE_SOAK)
		return true;
	if (o->mode == MODE_ALLTOALL)
		return peer;
	return o->tree ? tree : lane == LANE_RING;
}

static int lanes_open(struct group *g)
{
	struct rank *r = g->r;
	int i, k, nr;

	g->lanes = coll_lanes(r->o);
	r->nlinks = g->lanes * r->o->channels;
	for (i = 0; i < r->o->channels; i++) {
		for (k = 0; k < g->lanes; k++) {
			nr = i * g->lanes + k;
			r->links[nr].dev = plugin_device(&r->plugin, i);
			r->links[nr].tx.peer = r->links[nr].rx.peer = -1;
			if (lane_wanted(r->o, k))
				lane_peers(r, k, &r->links[nr]);
			g->lane[nr] = (struct lane){ .link = &r->links[nr],
						     .nr = nr,
						     .slice = r->o->slice };
		}
	}
	return links_open(r, SLOTS * r->o->slice);
}

/* Links of one channel, those between that are of no use included. */
int coll_lanes(const struct options *o)
{
	int lane = LANE_PEER + o->ranks - 1;

	while (lane > 1 && !lane_wanted(o, lane - 1))
		lane--;
	return lane;
}

int coll_run(struct rank *r)
{
	static struct group g;
	size_t max = r->o->max_bytes;
	int rc;

	g = (struct group){ .r = r };
	g.in = calloc(1, max);
	g.out = malloc(max);
	if (!g.in || !g.out)
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "no memory for two "
				 "buffers of %zu bytes",
				 max);
	rc = lanes_open(&g);
	if (!rc)
		rc = coll_rows(&g);
	free(g.in);
	free(g.out);
	return rc ? rc : r->error.code;
}
