// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_step.c - one operation on GPU memory: buffers, the call to NCCL
 * (plain, or as a replayed graph), verification of every element and of the memory
 * around them, time.
 */
#include <string.h>

#include "nccl_allreduce.h"

#define POISON 0xa5 /* of memory that has to be written, or must not be */

/* A captured operation; exec NULL: there is none, the call is made. */
struct replay {
	void *graph, *exec;
};

static int room_for(struct rank_state *r, int which, size_t bytes)
{
	int rc = r->libs.cu.mem_alloc(&r->base[which], bytes + 2 * GUARD_BYTES);

	return rc ? cuda_fail(r, "allocating GPU memory", rc) : 0;
}

/* Two buffers for the largest of the steps, and pinned memory to look at them. */
int memory_open(struct rank_state *r, const struct step *steps, int n)
{
	size_t bytes;
	int i, rc;

	for (i = 0; i < n; i++) {
		bytes = steps[i].bytes;
		if (bytes > r->room)
			r->room = bytes;
	}
	rc = r->libs.cu.host_alloc(&r->bounce, BOUNCE_BYTES, 0);
	if (rc)
		return cuda_fail(r, "allocating pinned memory", rc);
	rc = room_for(r, 0, r->room);
	return rc ? rc : room_for(r, 1, r->room);
}

void memory_close(struct rank_state *r)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (r->base[i])
			r->libs.cu.mem_free(r->base[i]);
		r->base[i] = 0;
	}
	if (r->bounce)
		r->libs.cu.host_free(r->bounce);
	r->bounce = NULL;
	r->room = 0;
}

/* Out of place data is in the first buffer and the result in the second. */
static uint64_t data_at(const struct rank_state *r, const struct step *s,
			bool in_place)
{
	uint64_t at = r->base[in_place] + GUARD_BYTES;

	if (in_place)
		at += s->type->size *
		      coll_offset(s->coll, false, r->rank, s->count);
	return at;
}

static uint64_t result_at(const struct rank_state *r, const struct step *s,
			  bool in_place)
{
	uint64_t at = r->base[1] + GUARD_BYTES;

	if (in_place)
		at += s->type->size *
		      coll_offset(s->coll, true, r->rank, s->count);
	return at;
}

static int exchange(struct rank_state *r, const struct step *s,
		    const char *from, char *to)
{
	const struct nccl *n = &r->libs.nccl;
	size_t part = s->coll == COLL_ALLTOALL ? s->count * s->type->size : 0;
	int rc, peer, type = s->type->nccl;

	rc = n->group_start();
	for (peer = 0; !rc && peer < r->ranks; peer++) {
		if (part || peer == (r->rank + 1) % r->ranks)
			rc = n->send(from + peer * part, s->count, type, peer,
				     r->comm, r->stream);
		if (!rc && (part || r->rank == (peer + 1) % r->ranks))
			rc = n->recv(to + peer * part, s->count, type, peer,
				     r->comm, r->stream);
	}
	return rc ? rc : n->group_end();
}

/* Puts the operation on the stream; NCCL's result. */
int step_call(struct rank_state *r, const struct step *s, bool in_place)
{
	const struct nccl *n = &r->libs.nccl;
	void *from = (void *)data_at(r, s, in_place);
	void *to = (void *)result_at(r, s, in_place);
	int rc, type = s->type->nccl;

	switch (s->coll) {
	case COLL_ALLREDUCE:
		rc = n->all_reduce(from, to, s->count, type, NCCL_OP_SUM,
				   r->comm, r->stream);
		break;
	case COLL_ALLGATHER:
		rc = n->all_gather(from, to, s->count, type, r->comm,
				   r->stream);
		break;
	case COLL_REDUCESCATTER:
		rc = n->reduce_scatter(from, to, s->count, type, NCCL_OP_SUM,
				       r->comm, r->stream);
		break;
	case COLL_BROADCAST:
		rc = n->broadcast(from, to, s->count, type, 0, r->comm,
				  r->stream);
		break;
	default:
		rc = exchange(r, s, from, to);
		break;
	}
	return rc;
}

static int step_issue(struct rank_state *r, const struct step *s, bool in_place)
{
	int rc = step_call(r, s, in_place);

	return rc ? nccl_fail(r, "the call", rc) : 0;
}

static int replay_capture(struct rank_state *r, const struct step *s,
			  bool in_place, struct replay *g)
{
	const struct cuda_graphs *cu = &r->libs.graph;
	int rc;

	if (r->j->mode != JOB_GRAPH)
		return 0;
	/* NCCL connects, and allocates, in the first call to a peer. */
	rc = cu->capture_begin(r->stream, CUDA_CAPTURE_RELAXED);
	if (rc)
		return cuda_fail(r, "cuStreamBeginCapture", rc);
	rc = step_issue(r, s, in_place);
	if (rc)
		return rc;
	rc = cu->capture_end(r->stream, &g->graph);
	if (!rc)
		rc = cu->instantiate(&g->exec, g->graph, 0);
	return rc ? cuda_fail(r, "capturing a graph", rc) : 0;
}

static void replay_free(struct rank_state *r, struct replay *g)
{
	if (g->exec)
		r->libs.graph.exec_destroy(g->exec);
	if (g->graph)
		r->libs.graph.graph_destroy(g->graph);
}

static int once(struct rank_state *r, const struct step *s, bool in_place,
		const struct replay *g)
{
	int rc;

	if (!g->exec)
		return step_issue(r, s, in_place);
	rc = r->libs.graph.launch(g->exec, r->stream);
	return rc ? cuda_fail(r, "cuGraphLaunch", rc) : 0;
}

static int fill(struct rank_state *r, const struct step *s, uint64_t at,
		const struct pattern *p, size_t n)
{
	size_t most = BOUNCE_BYTES / s->type->size, done, part;
	int rc;

	for (done = 0; done < n; done += part) {
		part = n - done < most ? n - done : most;
		pattern_fill(p, r->bounce, part, done);
		rc = r->libs.cu.mem_copy(at + done * s->type->size,
					 (uint64_t)r->bounce,
					 part * s->type->size);
		if (rc)
			return cuda_fail(r, "copying to the GPU", rc);
	}
	return 0;
}

/* Fresh data, and poison wherever the result has to come, or must not. */
int step_fill(struct rank_state *r, const struct step *s, bool in_place,
	      uint32_t seed)
{
	size_t n = coll_elements(s->coll, false, r->ranks, s->count);
	struct pattern p;
	int rc;

	rc = r->libs.cu.mem_set(r->base[1], POISON, r->room + 2 * GUARD_BYTES);
	if (rc)
		return cuda_fail(r, "setting GPU memory", rc);
	pattern_of(&p, s->type, r->ranks, r->rank, seed);
	if (!in_place || s->coll != COLL_BROADCAST || !r->rank)
		rc = fill(r, s, data_at(r, s, in_place), &p, n);
	if (rc)
		return rc;
	/* The stream does not wait for what was done beside it. */
	rc = r->libs.cu.stream_sync(NULL);
	return rc ? cuda_fail(r, "setting GPU memory", rc) : 0;
}

/* How many bytes from `at` on are no longer poison. */
static int wrong_poison(struct rank_state *r, uint64_t at, size_t len,
			uint64_t *wrong)
{
	const unsigned char *p = r->bounce;
	size_t i;
	int rc;

	rc = r->libs.cu.mem_copy((uint64_t)r->bounce, at, len);
	if (rc)
		return cuda_fail(r, "copying from the GPU", rc);
	for (i = 0; i < len; i++)
		*wrong += p[i] != POISON;
	return 0;
}

static int wrong_part(struct rank_state *r, const struct step *s, uint64_t at,
		      const struct segment *seg, const struct pattern *p,
		      uint64_t *wrong)
{
	size_t size = s->type->size, most = BOUNCE_BYTES / size, done, part;
	int rc;

	at += seg->at * size;
	for (done = 0; done < seg->n; done += part) {
		part = seg->n - done < most ? seg->n - done : most;
		rc = r->libs.cu.mem_copy((uint64_t)r->bounce, at + done * size,
					 part * size);
		if (rc)
			return cuda_fail(r, "copying from the GPU", rc);
		*wrong += pattern_wrong(p, r->bounce, part, seg->first + done);
	}
	return 0;
}

/* Adds the elements that are wrong, and bytes that were written beside them. */
int step_verify(struct rank_state *r, const struct step *s, bool in_place,
		uint32_t seed, uint64_t *wrong)
{
	size_t out = coll_elements(s->coll, true, r->ranks, s->count) *
		     s->type->size;
	uint64_t at = result_at(r, s, in_place);
	struct segment seg;
	struct pattern p;
	int i, rc;

	for (i = 0; i < coll_segments(s->coll, r->ranks); i++) {
		coll_segment(s, r->rank, r->ranks, i, &seg);
		if (seg.from < 0)
			pattern_sum(&p, s->type, r->ranks, seed);
		else
			pattern_of(&p, s->type, r->ranks, seg.from, seed);
		rc = wrong_part(r, s, at, &seg, &p, wrong);
		if (rc)
			return rc;
	}
	if (in_place) /* what is beside the result is data, but for the guards */
		at = r->base[1] + GUARD_BYTES, out = s->bytes;
	rc = wrong_poison(r, at - GUARD_BYTES, GUARD_BYTES, wrong);
	return rc ? rc : wrong_poison(r, at + out, GUARD_BYTES, wrong);
}

/* One iteration with fresh data; its time, too. */
static int checked(struct rank_state *r, const struct step *s, bool in_place,
		   const struct replay *g, struct rank_row *row)
{
	uint32_t seed = ++r->seed;
	int64_t start;
	int rc = step_fill(r, s, in_place, seed);

	if (!rc)
		rc = job_barrier(r);
	if (rc)
		return rc;
	start = now_ns();
	rc = once(r, s, in_place, g);
	if (!rc)
		rc = stream_wait(r, "a verified iteration");
	row->us[in_place] = (now_ns() - start) * 1e-3;
	row->checked[in_place]++;
	if (!rc)
		rc = step_verify(r, s, in_place, seed, &row->wrong[in_place]);
	return rc;
}

static int repeat(struct rank_state *r, const struct step *s, bool in_place,
		  const struct replay *g, int n)
{
	int rc = 0, i;

	for (i = 0; !rc && i < n; i++)
		rc = once(r, s, in_place, g);
	return rc ? rc : stream_wait(r, "timed iterations");
}

/*
 * Iterations one after the other without a pause; what the last of them left is
 * compared, too, where that is known.
 */
static int timed(struct rank_state *r, const struct step *s, bool in_place,
		 const struct replay *g, struct rank_row *row)
{
	uint32_t seed = ++r->seed;
	int64_t start;
	int rc = step_fill(r, s, in_place, seed);

	if (!rc)
		rc = repeat(r, s, in_place, g, r->j->warmup);
	if (!rc)
		rc = job_barrier(r);
	if (rc)
		return rc;
	start = now_ns();
	rc = repeat(r, s, in_place, g, r->j->iters);
	row->us[in_place] = (now_ns() - start) * 1e-3 / r->j->iters;
	if (!rc && r->j->check && coll_repeats(s->coll, in_place)) {
		row->checked[in_place]++;
		rc = step_verify(r, s, in_place, seed, &row->wrong[in_place]);
	}
	return rc;
}

static int one_way(struct rank_state *r, const struct step *s, bool in_place,
		   struct rank_row *row)
{
	int n = r->j->mode == JOB_GRAPH ? r->j->replays : r->j->check;
	struct replay g = { NULL, NULL };
	int rc = replay_capture(r, s, in_place, &g), i;

	for (i = 0; !rc && i < n; i++)
		rc = checked(r, s, in_place, &g, row);
	if (!rc && r->j->iters && r->j->mode != JOB_RECREATE)
		rc = timed(r, s, in_place, &g, row);
	if (!rc)
		replay_free(r, &g);
	return rc;
}

/* Out of place, then in place; the figures are added to `row`. */
int step_run(struct rank_state *r, const struct step *s, struct rank_row *row)
{
	int rc;

	r->step = s;
	rc = one_way(r, s, false, row);
	if (!rc && coll_in_place(s->coll) && !r->j->out_of_place)
		rc = one_way(r, s, true, row);
	r->step = rc ? s : NULL;
	return rc;
}
