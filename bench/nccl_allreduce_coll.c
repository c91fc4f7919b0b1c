// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_coll.c - what each collective is: how much goes in and comes out,
 * where both lie when it is done in place, which rank each part comes from. Sizes
 * are counted as nccl-tests does. Knows nothing of CUDA; the calls are elsewhere.
 */
#include "nccl_allreduce.h"

static const char *const names[COLLS] = {
	[COLL_ALLREDUCE] = "allreduce",		[COLL_ALLGATHER] = "allgather",
	[COLL_REDUCESCATTER] = "reducescatter", [COLL_BROADCAST] = "broadcast",
	[COLL_SENDRECV] = "sendrecv",		[COLL_ALLTOALL] = "alltoall",
};

const char *coll_name(enum coll c)
{
	return names[c];
}

bool coll_reduces(enum coll c)
{
	return c == COLL_ALLREDUCE || c == COLL_REDUCESCATTER;
}

/* May the result take the place of the data? */
bool coll_in_place(enum coll c)
{
	return c != COLL_SENDRECV && c != COLL_ALLTOALL;
}

/* Does it give the same again, with its own result where that is its data? */
bool coll_repeats(enum coll c, bool in_place)
{
	return !in_place || !coll_reduces(c);
}

/* Bytes on each link per byte of the size: nccl-tests' bus bandwidth. */
double coll_bus_factor(enum coll c, int ranks)
{
	double others = ranks - 1;

	switch (c) {
	case COLL_ALLREDUCE:
		return 2 * others / ranks;
	case COLL_ALLGATHER:
	case COLL_REDUCESCATTER:
	case COLL_ALLTOALL:
		return others / ranks;
	default:
		return 1;
	}
}

/* Elements that a rank hands in, or gets out. */
size_t coll_elements(enum coll c, bool output, int ranks, size_t count)
{
	bool all = c == COLL_ALLTOALL ||
		   c == (output ? COLL_ALLGATHER : COLL_REDUCESCATTER);

	return all ? count * ranks : count;
}

/* In place: how far into the buffer, in elements, its data or its result is. */
size_t coll_offset(enum coll c, bool output, int rank, size_t count)
{
	return c == (output ? COLL_REDUCESCATTER : COLL_ALLGATHER) ?
		       rank * count :
		       0;
}

/* Of about so many bytes, of which each rank has a part of the same size. */
void step_make(struct step *s, enum coll c, const struct dtype *t, size_t bytes,
	       int ranks)
{
	size_t parts = c == COLL_ALLGATHER || c == COLL_REDUCESCATTER ||
				       c == COLL_ALLTOALL ?
			       ranks :
			       1;

	s->coll = c;
	s->type = t;
	s->count = bytes / t->size / parts;
	if (!s->count)
		s->count = 1;
	s->bytes = s->count * parts * t->size;
}

/*
 * All steps of the table: sizes within types within collectives. Returns how many
 * there are, and gives at most `max` of them.
 */
int job_steps(const struct job *j, struct step *steps, int max)
{
	size_t bytes, last;
	struct step s;
	int c, t, n = 0;

	for (c = 0; c < j->ncolls; c++) {
		for (t = 0; t < j->ntypes; t++) {
			last = 0;
			for (bytes = j->min_bytes;; bytes *= j->factor) {
				step_make(&s, j->colls[c], j->types[t], bytes,
					  j->ranks);
				/* The smallest sizes may come to the same. */
				if (s.bytes != last && n < max)
					steps[n] = s;
				n += s.bytes != last;
				last = s.bytes;
				if (bytes > j->max_bytes / j->factor)
					break;
			}
		}
	}
	return n;
}

int coll_segments(enum coll c, int ranks)
{
	return c == COLL_ALLGATHER || c == COLL_ALLTOALL ? ranks : 1;
}

/* The i-th part of what `rank` gets out. */
void coll_segment(const struct step *s, int rank, int ranks, int i,
		  struct segment *seg)
{
	seg->at = i * s->count;
	seg->n = s->count;
	seg->first = 0;
	switch (s->coll) {
	case COLL_ALLREDUCE:
		seg->from = -1;
		break;
	case COLL_REDUCESCATTER:
		seg->from = -1;
		seg->first = rank * s->count;
		break;
	case COLL_ALLGATHER:
		seg->from = i;
		break;
	case COLL_ALLTOALL:
		seg->from = i;
		seg->first = rank * s->count;
		break;
	case COLL_SENDRECV: /* a ring */
		seg->from = (rank + ranks - 1) % ranks;
		break;
	default:
		seg->from = 0; /* the root of a broadcast */
		break;
	}
}
