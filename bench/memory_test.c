/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory_test.c - that a wrong byte is seen: one flipped bit anywhere, data of
 * another place, of another rank or of an earlier iteration.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define N     4096
#define RANKS 5

static int failures;

static void expect(bool ok, const char *what, size_t at)
{
	if (ok)
		return;
	fprintf(stderr, "FAILED: %s (at %zu)\n", what, at);
	failures++;
}

/* What a right all-reduce leaves. */
static void sum(float *out, int ranks, uint32_t iter)
{
	static float in[N];
	int rank, i;

	memset(out, 0, N * sizeof(*out));
	for (rank = 0; rank < ranks; rank++) {
		fill_floats(in, N, rank, ranks, iter);
		for (i = 0; i < N; i++)
			out[i] += in[i];
	}
}

static uint64_t wrong_sum(const float *v, size_t n, int ranks, uint32_t iter)
{
	return wrong_floats(v, n, 0, 0, ranks, ranks, iter);
}

static void test_floats(void)
{
	static float out[N], in[N];
	unsigned char *bytes = (unsigned char *)out;
	int ranks;
	size_t i;

	for (ranks = 2; ranks <= MAX_RANKS; ranks++) {
		sum(out, ranks, 7);
		expect(!wrong_sum(out, N, ranks, 7), "sum is exact", ranks);
		expect(wrong_sum(out, N, ranks, 8) > N * 99 / 100,
		       "another iteration is wrong", ranks);
		expect(wrong_sum(out + 1, N - 1, ranks, 7) > N * 99 / 100,
		       "another place is wrong", ranks);
	}
	sum(out, RANKS, 7);
	for (i = 0; i < sizeof(out); i++) {
		bytes[i] ^= 1 << i % 8;
		expect(wrong_sum(out, N, RANKS, 7) == 1, "one flipped bit", i);
		bytes[i] ^= 1 << i % 8;
	}
	fill_floats(in, N, 3, RANKS, 7);
	expect(!wrong_floats(in + 9, N - 9, 9, 3, 4, RANKS, 7),
	       "a rank's own, from a place on", 3);
	expect(wrong_floats(in, N, 0, 2, 3, RANKS, 7) > N * 99 / 100,
	       "another rank's is wrong", 3);
	expect(wrong_floats(in, N, 1, 3, 4, RANKS, 7) > N * 99 / 100,
	       "a neighbour's is wrong", 3);
	for (i = 0; i < N; i++)
		out[i] -= in[i];
	expect(wrong_sum(out, N, RANKS, 7) > N * 99 / 100, "a rank left out",
	       3);
	memset(out, 0xff, sizeof(out));
	expect(wrong_sum(out, N, RANKS, 7) == N, "nothing written", 0);
}

static void test_bytes(void)
{
	static unsigned char data[1021];
	size_t i;

	fill_bytes(data, sizeof(data), 9);
	expect(!wrong_bytes(data, sizeof(data), 9), "as written", 0);
	for (i = 0; i < sizeof(data); i++) {
		data[i] ^= 1 << i % 8;
		expect(wrong_bytes(data, sizeof(data), 9) == 1,
		       "one flipped bit", i);
		data[i] ^= 1 << i % 8;
	}
	expect(wrong_bytes(data, sizeof(data), 10) > sizeof(data) * 9 / 10,
	       "another message", 0);
	expect(wrong_bytes(data + 8, sizeof(data) - 8, 9) >
		       sizeof(data) * 9 / 10,
	       "another place", 0);
}

int main(void)
{
	test_floats();
	test_bytes();
	return failures ? EXIT_FAIL : EXIT_OK;
}
