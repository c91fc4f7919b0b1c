/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * coll.h - collectives in the way NCCL does them: lane.c is the proxies, one
 * lane for a link; plan.c says which primitives a channel's kernel runs; coll.c
 * is that kernel, and the rows.
 */
#ifndef DEVMEM_BENCH_COLL_H
#define DEVMEM_BENCH_COLL_H

#include "bench.h"

enum coll {
	COLL_RING_ALLREDUCE,
	COLL_TREE_ALLREDUCE,
	COLL_ALLGATHER,
	COLL_REDUCESCATTER,
	COLL_BROADCAST,
	COLL_ALLTOALL,
	COLLS
};

/* Links of a channel: the ring's, the tree's, those to all others. */
enum { LANE_RING, LANE_UP, LANE_DOWN = LANE_UP + 2, LANE_PEER = LANE_DOWN + 2 };
#define TREE_KIDS 2

/*
 * One message of each lane involved: the sum of what is received and of @own,
 * n elements, is stored at @out and sent. NULL and fewer lanes where not.
 */
struct prim {
	int recv[TREE_KIDS], nrecv;
	int send[TREE_KIDS], nsend; /* LANE_* */
	const float *own;
	float *out;
	size_t n;
};

/* The walk of one channel through a collective. */
struct plan {
	enum coll coll;
	int rank, ranks;
	const float *in;
	float *out;
	size_t unit;	    /* elements of what is one rank's, or all */
	size_t slice;	    /* elements of the largest message */
	size_t first, last; /* this channel's part of the unit */
	/* The next primitive: */
	size_t base, at; /* loop's first element, slice's first in its chunk */
	int phase, step;
	bool end;
};

/* Proxies of one link. Counters are of messages; slots are these mod SLOTS. */
struct lane {
	struct link *link;
	int nr;
	size_t slice;	 /* bytes of a slot */
	uint64_t rtotal; /* up to the end of this collective */
	uint64_t rposted, rdone, rflushed, rused;
	uint64_t sfilled, sposted, sdone;
	void *rreq[SLOTS], *freq[SLOTS], *consumed[SLOTS], *sreq[SLOTS];
	size_t rsize[SLOTS], ssize[SLOTS];
};

/* plan.c: set p->coll, rank, ranks, in, out, unit and slice before. */
void plan_start(struct plan *p, int channel, int channels);
/* The primitive at which the plan stands; false: it has ended. */
bool plan_prim(const struct plan *p, struct prim *out);
void plan_advance(struct plan *p);
int tree_parent(int rank);
int tree_kid(int rank, int ranks, int kid); /* -1: none */

/* lane.c */
/* The oldest received message, for the CPU to read; NULL: rank_fail said why. */
const float *lane_read(struct rank *r, struct lane *l);
/* Where the CPU makes the next message, which lane_filled() hands over. */
float *lane_room(const struct lane *l);
bool lane_readable(const struct lane *l);
bool lane_writable(const struct lane *l);
/* The kernel is done with the oldest received message. */
int lane_consumed(struct rank *r, struct lane *l);
int lane_filled(struct rank *r, struct lane *l, size_t bytes);
/* One round of both proxies. */
int lane_progress(struct rank *r, struct lane *l, bool *moved);

#endif /* DEVMEM_BENCH_COLL_H */
