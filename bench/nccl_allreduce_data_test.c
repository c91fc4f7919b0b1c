// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_data_test.c - the elements that devmem-nccl compares: their sums
 * are what a machine's own arithmetic gives, and what is out of place is seen.
 */
#include <stdlib.h>
#include <string.h>

#include "nccl_allreduce.h"

#define ELEMENTS 4096

static int failures;

static void expect(bool holds, const char *what, const struct dtype *t,
		   int ranks)
{
	if (holds)
		return;
	fprintf(stderr, "%s, %d ranks: %s\n", t->name, ranks, what);
	failures++;
}

static float value(const struct dtype *t, const void *at, size_t i)
{
	uint32_t bits;
	float f;

	switch (t->nccl) {
	case NCCL_TYPE_FLOAT:
		return ((const float *)at)[i];
	case NCCL_TYPE_HALF:
		return (float)((const _Float16 *)at)[i];
	case NCCL_TYPE_BFLOAT16:
		bits = (uint32_t)((const uint16_t *)at)[i] << 16;
		memcpy(&f, &bits, sizeof(f));
		return f;
	case NCCL_TYPE_INT32:
		return (float)((const int32_t *)at)[i];
	default:
		return ((const int8_t *)at)[i];
	}
}

/* Every rank's elements, added up as floats, are those that have to arrive. */
static void check_sums(const struct dtype *t, int ranks)
{
	static float sum[ELEMENTS];
	static uint32_t data[ELEMENTS];
	struct pattern p;
	size_t i, wrong = 0;
	int r;

	memset(sum, 0, sizeof(sum));
	for (r = 0; r < ranks; r++) {
		pattern_of(&p, t, ranks, r, 7);
		pattern_fill(&p, data, ELEMENTS, 100);
		expect(!pattern_wrong(&p, data, ELEMENTS, 100),
		       "a rank's own data is called wrong", t, ranks);
		for (i = 0; i < ELEMENTS; i++)
			sum[i] += value(t, data, i);
	}
	pattern_sum(&p, t, ranks, 7);
	pattern_fill(&p, data, ELEMENTS, 100);
	for (i = 0; i < ELEMENTS; i++)
		wrong += value(t, data, i) != sum[i];
	expect(!wrong, "sums are not exact", t, ranks);
	for (i = 0; i < ELEMENTS; i++)
		wrong += sum[i] < 0 || sum[i] > t->exact;
	expect(!wrong, "sums are beyond what is exact", t, ranks);
}

/* Another rank's data, old data, and data that has moved. */
static void check_detection(const struct dtype *t, int ranks)
{
	static uint32_t data[ELEMENTS + 64];
	static const size_t moves[] = { 1, 2, 3, 16, 64 };
	struct pattern mine, other;
	char *bytes = (char *)data;
	size_t i;

	pattern_of(&mine, t, ranks, 0, 7);
	pattern_of(&other, t, ranks, 1, 7);
	pattern_fill(&mine, data, ELEMENTS + 64, 0);
	expect(pattern_wrong(&other, data, ELEMENTS, 0) == ELEMENTS,
	       "another rank's data is not told apart", t, ranks);
	for (i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
		expect(pattern_wrong(&mine, bytes + moves[i] * t->size,
				     ELEMENTS, 0) > ELEMENTS / 2,
		       "data that has moved is not seen", t, ranks);
	pattern_of(&other, t, ranks, 0, 8);
	expect(pattern_wrong(&other, data, ELEMENTS, 0) > ELEMENTS / 2,
	       "data of an iteration before is not seen", t, ranks);
	bytes[(ELEMENTS - 1) * t->size] ^= 1;
	expect(pattern_wrong(&mine, data, ELEMENTS, 0) == 1,
	       "one bit in the last element is not seen", t, ranks);
}

/* The parts of a result are all of it, once. */
static void check_segments(enum coll c, const struct dtype *t, int ranks)
{
	struct segment seg;
	struct step s;
	size_t at = 0;
	int i;

	step_make(&s, c, t, 12345, ranks);
	for (i = 0; i < coll_segments(c, ranks); i++) {
		coll_segment(&s, ranks - 1, ranks, i, &seg);
		expect(seg.at == at && seg.from < ranks, "segments have holes",
		       t, ranks);
		at += seg.n;
	}
	expect(at == coll_elements(c, true, ranks, s.count),
	       "segments are not all of the result", t, ranks);
	expect(s.bytes >= at * t->size && s.bytes <= 12345,
	       "the size is not that of the larger side", t, ranks);
}

int main(void)
{
	static const char *const names[] = { "float", "half", "bfloat16",
					     "int32", "int8" };
	const struct dtype *t;
	size_t i;
	int ranks, c;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		t = dtype_find(names[i], strlen(names[i]));
		for (ranks = 2; t && ranks <= JOB_RANKS; ranks++) {
			check_sums(t, ranks);
			check_detection(t, ranks);
			for (c = 0; c < COLLS; c++)
				check_segments(c, t, ranks);
		}
		failures += !t;
	}
	if (failures)
		fprintf(stderr, "%d failures\n", failures);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
