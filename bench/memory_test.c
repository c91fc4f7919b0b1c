/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory_test.c - that a wrong byte is seen: one flipped bit anywhere, data of
 * another place, of another rank or of an earlier iteration; and that the CPU's side
 * of a buffer is the plugin's.
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

/*
 * What the CPU makes is what the plugin's memory holds, and what that holds is what
 * the CPU reads: at any place, and no further.
 */
static void test_buffer(enum memory kind)
{
	size_t at[] = { 0, 1, 4095, 70001 }, n = 12345, size = 100000, i;
	unsigned char *cpu;
	struct buffer b;
	char why[256];

	expect(buffer_alloc(&b, kind, size, why, sizeof(why)), why, size);
	if (!b.base)
		return;
	cpu = b.cpu;
	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		memset(cpu, 0x11, size);
		expect(!buffer_write(&b, 0, size), "all written", size);
		fill_bytes(cpu + at[i], n, i);
		expect(!buffer_write(&b, at[i], n), "a part written", at[i]);
		/* Of GPU memory that is another copy, now a wrong one. */
		if (b.cpu != b.base)
			memset(cpu, 0x22, size);
		expect(!buffer_read(&b, at[i], n), "a part read", at[i]);
		expect(!wrong_bytes(cpu + at[i], n, i), "as written", at[i]);
		expect(b.cpu == b.base || cpu[at[i] + n] == 0x22,
		       "no more is read", at[i]);
		expect(!buffer_read(&b, 0, size), "all read", size);
		expect(cpu[at[i] + n] == 0x11, "no more is written", at[i]);
	}
	buffer_free(&b);
	expect(!b.base && !b.cpu, "given back", 0);
}

/* Of the GPU if asked by "cuda", of the host without. */
int main(int argc, char **argv)
{
	char why[256];

	if (argc > 1 && !strcmp(argv[1], "cuda")) {
		if (!gpu_open(0, why, sizeof(why))) {
			fprintf(stderr, "skipped: %s\n", why);
			return EXIT_SKIP;
		}
		test_buffer(MEM_CUDA);
		gpu_close();
		return failures ? EXIT_FAIL : EXIT_OK;
	}
	test_floats();
	test_bytes();
	test_buffer(MEM_HOST);
	return failures ? EXIT_FAIL : EXIT_OK;
}
