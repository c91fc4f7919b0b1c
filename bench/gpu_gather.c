// SPDX-License-Identifier: BSD-3-Clause
/*
 * gpu_gather.c - devmem-gpu-gather: how fast the gather kernel is on a GPU, beside the
 * copy that the driver makes of as many bytes. Launches it as the library does, and
 * compares what arrived byte by byte.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gather_work.h"
#include "gpu_gather.h"
#include "parse.h"
#include "text.h"

#define TURN_BYTES ((size_t)512 << 20) /* to be moved in one turn */
#define MOST_TURNS 64
#define PINGS	   100 /* of a round */
#define MIN_BYTES  ((size_t)64 << 10)
#define MAX_BYTES  ((size_t)64 << 20)
/* Looks at the ticket between questions to the driver whether it still works. */
#define LOOKS (1u << 16)

/* Multiples of 8, as the pool's content is made of words. */
static const size_t pieces[] = { SMALLEST_PIECE, 4096, 32768 };

/* ---- one launch, one copy ---------------------------------------------------- */

static int launch(struct gpu *g, uint32_t count, unsigned int blocks)
{
	uint64_t work = (uintptr_t)g->work, done = (uintptr_t)g->done;
	void *args[] = { &work, &count, &g->arrived, &done, &g->ticket };
	int rc;

	g->ticket++;
	rc = g->cuda->launch(g->function, blocks, 1, 1, GATHER_THREADS, 1, 1, 0,
			     g->stream, args, NULL);
	return rc ? device_failed(rc, "launching") : EXIT_OK;
}

/* Until the last ticket is there. */
static int await_ticket(struct gpu *g)
{
	int rc;

	for (unsigned int looks = 1;; looks++) {
		if (__atomic_load_n(g->done, __ATOMIC_ACQUIRE) == g->ticket)
			return EXIT_OK;
		if (looks % LOOKS)
			continue;
		rc = g->cuda->stream_query(g->stream);
		if (rc == CUDA_ERROR_NOT_READY)
			continue;
		if (rc)
			return device_failed(rc, "gathering");
		/* The last store may have come between look and question. */
		if (__atomic_load_n(g->done, __ATOMIC_ACQUIRE) == g->ticket)
			return EXIT_OK;
		complain("the kernel ended without its ticket");
		return EXIT_FAIL;
	}
}

static int await_copy(struct gpu *g)
{
	int rc;

	do
		rc = g->cuda->stream_query(g->stream);
	while (rc == CUDA_ERROR_NOT_READY);
	return rc ? device_failed(rc, "copying") : EXIT_OK;
}

static int start_copy(struct gpu *g, uint64_t offset, size_t bytes)
{
	int rc = g->cuda->mem_copy_async(g->target + GUARD, g->pool + offset,
					 bytes, g->stream);

	return rc ? device_failed(rc, "copying") : EXIT_OK;
}

/* ---- turns ------------------------------------------------------------------- */

static uint64_t random_below(uint64_t bound)
{
	static uint64_t state = 0x853c49e6748fea9b;

	state = state * 6364136223846793005 + 1442695040888963407;
	return (state >> 33) % bound;
}

/* Where @count pieces are in the pool: anywhere, no two of them in one place. */
static void choose_places(struct gpu *g, size_t count, size_t piece)
{
	size_t slot = (piece + PAGE - 1) / PAGE * PAGE;
	size_t slots = g->pool_bytes / slot, chosen = 0;

	/* Each slot with the chance that leaves enough for those that lack. */
	for (size_t s = 0; chosen < count; s++)
		if (random_below(slots - s) < count - chosen)
			g->place[chosen++] = s * slot;
	for (size_t i = count; i > 1; i--) {
		size_t other = random_below(i);
		uint64_t swap = g->place[i - 1];

		g->place[i - 1] = g->place[other];
		g->place[other] = swap;
	}
}

/* A list of @bytes in such pieces, cut as the library cuts them; its length. */
static uint32_t make_list(struct gpu *g, size_t bytes, size_t piece)
{
	uint32_t count = 0;

	choose_places(g, (bytes + piece - 1) / piece, piece);
	for (size_t at = 0, n; at < bytes; at += n) {
		size_t in = at % piece;

		n = piece - in < GATHER_PIECE_MAX ? piece - in :
						    GATHER_PIECE_MAX;
		n = n < bytes - at ? n : bytes - at;
		g->work[count++] = (struct gather_work){
			.dst = g->target + GUARD + at,
			.src = g->pool + g->place[at / piece] + in,
			.len = n,
		};
	}
	return count;
}

/* A launch, or a plain copy, and waiting for all that was started. */
static int start(struct gpu *g, const struct row *row, uint32_t count,
		 bool plain, uint64_t offset)
{
	if (plain)
		return start_copy(g, offset, row->bytes);
	return launch(g, count, row->blocks);
}

static int await(struct gpu *g, bool plain)
{
	return plain ? await_copy(g) : await_ticket(g);
}

/* GB/s of one turn: all of it is in the stream before anything is waited for. */
static int bandwidth_turn(struct gpu *g, const struct row *row, uint32_t count,
			  bool plain, double *figure)
{
	uint64_t pages = (g->pool_bytes - row->bytes) / PAGE;
	uint64_t offset = random_below(pages) * PAGE;
	int64_t begin;
	int rc;

	/* Not timed: it meets what the other left in the caches. */
	rc = start(g, row, count, plain, offset);
	rc = rc ?: await(g, plain);
	begin = now_ns();
	for (int i = 0; !rc && i < row->turns; i++)
		rc = start(g, row, count, plain, offset);
	rc = rc ?: await(g, plain);
	*figure = (double)row->bytes * row->turns / (double)(now_ns() - begin);
	return rc;
}

static int latency_turn(struct gpu *g, const struct row *row, uint32_t count,
			bool plain, double *figure)
{
	int64_t begin;
	double us[PINGS];
	int rc = EXIT_OK;

	for (int i = 0; !rc && i < PINGS; i++) {
		begin = now_ns();
		rc = start(g, row, count, plain, 0);
		rc = rc ?: await(g, plain);
		us[i] = (double)(now_ns() - begin) * 1e-3;
	}
	if (rc)
		return rc;
	*figure = median(us, PINGS);
	return EXIT_OK;
}

/* ---- is it right? ------------------------------------------------------------ */

static uint64_t wrong_bytes(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	uint64_t wrong = 0;

	if (!memcmp(a, b, bytes))
		return 0;
	for (size_t i = 0; i < bytes; i++)
		wrong += a[i] != b[i];
	return wrong;
}

/* What should be at @at of the target, guards included, @bytes of it. */
static void expect(const struct gpu *g, const struct row *row, size_t at,
		   uint8_t *to, size_t bytes)
{
	for (size_t n; bytes; at += n, to += n, bytes -= n) {
		size_t in = at - GUARD, end;

		if (at < GUARD || in >= row->bytes) {
			n = at < GUARD ? GUARD - at : bytes;
			n = n < bytes ? n : bytes;
			memset(to, FILLER, n);
			continue;
		}
		end = (in / row->piece + 1) * row->piece;
		end = end < row->bytes ? end : row->bytes;
		n = end - in < bytes ? end - in : bytes;
		pool_fill(to, g->place[in / row->piece] + in % row->piece, n);
	}
}

/* A gather into a target that is not right before, compared byte by byte. */
static int verify(struct gpu *g, struct row *row)
{
	uint32_t count = make_list(g, row->bytes, row->piece);
	static uint8_t right[STAGE_BYTES];
	int rc = device_fill(g, g->target, g->target_bytes, true);

	rc = rc ?: launch(g, count, row->blocks);
	rc = rc ?: await_ticket(g);
	for (size_t at = 0, n; !rc && at < g->target_bytes; at += n) {
		n = g->target_bytes - at;
		n = n < STAGE_BYTES ? n : STAGE_BYTES;
		rc = device_copy(g, (uintptr_t)g->stage, g->target + at, n);
		expect(g, row, at, right, n);
		if (!rc)
			row->wrong += wrong_bytes(g->stage, right, n);
	}
	return rc;
}

/* ---- rows -------------------------------------------------------------------- */

static int measure(struct gpu *g, const struct options *o, struct row *row)
{
	int (*turn)(struct gpu * g, const struct row *row, uint32_t count,
		    bool plain, double *figure) = row->latency ? latency_turn :
								 bandwidth_turn;
	int rc = EXIT_OK;

	for (int i = 0; !rc && i < o->rounds; i++) {
		uint32_t count = make_list(g, row->bytes, row->piece);

		row->blocks = o->blocks ?:
					  gather_blocks(count, row->bytes,
							g->multiprocessors);
		for (int k = 0; !rc && k < 2; k++) {
			bool plain = (i + k) % 2;

			rc = turn(g, row, count, plain,
				  plain ? &row->copy.v[i] : &row->gather.v[i]);
		}
		row->ratio.v[i] = row->gather.v[i] / row->copy.v[i];
	}
	rc = rc ?: verify(g, row);
	if (!rc)
		report_row(row, o->rounds);
	return rc;
}

static int run(struct gpu *g, const struct options *o, struct row *rows,
	       int *count)
{
	static const size_t bandwidth[] = { 1 << 20, 4 << 20, MAX_BYTES };
	static const size_t latency[] = { MIN_BYTES, 1 << 20 };
	int rc = EXIT_OK;

	for (int table = 0; table < 2; table++) {
		const size_t *sizes = table ? latency : bandwidth;

		report_columns(table);
		for (int i = 0; !rc && i < (table ? 2 : 3) * 3; i++) {
			size_t bytes = sizes[i / 3], turns = TURN_BYTES / bytes;
			struct row *row = &rows[*count];

			if (bytes > o->max_bytes)
				continue;
			*row = (struct row){
				.latency = table,
				.bytes = bytes,
				.piece = pieces[i % 3],
				.turns = table		    ? PINGS :
					 turns < MOST_TURNS ? (int)turns :
							      MOST_TURNS,
			};
			rc = measure(g, o, row);
			*count += !rc;
		}
	}
	for (int i = 0; i < *count; i++)
		if (rows[i].wrong && !rc) {
			complain("wrong bytes: see the last column");
			rc = EXIT_FAIL;
		}
	return rc;
}

/* ---- the command line -------------------------------------------------------- */

enum { OPT_DEVICE = 256, OPT_ROUNDS, OPT_BLOCKS, OPT_JSON };

static const struct argp_option table[] = {
	{ "device", OPT_DEVICE, "N", 0, "GPU, as CUDA counts them; default 0",
	  0 },
	{ "rounds", OPT_ROUNDS, "N", 0, "1 to 100, default 11", 0 },
	{ "maxbytes", 'e', "SIZE", 0,
	  "leave out what is larger; 64K to 64M, default 64M", 0 },
	{ "blocks", OPT_BLOCKS, "N", 0,
	  "blocks of each launch; default as the library chooses", 0 },
	{ "json", OPT_JSON, "FILE", 0, "write the results to FILE, too", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_DEVICE:
		o->device = parse_number(state, "device", arg, 0, 1023);
		return 0;
	case OPT_ROUNDS:
		o->rounds = parse_number(state, "rounds", arg, 1, MAX_ROUNDS);
		return 0;
	case 'e':
		o->max_bytes = parse_size(state, "maxbytes", arg, MIN_BYTES,
					  MAX_BYTES);
		return 0;
	case OPT_BLOCKS:
		o->blocks = (unsigned int)parse_number(state, "blocks", arg, 1,
						       65535);
		return 0;
	case OPT_JSON:
		o->json = arg;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "%s: no argument is wanted", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = table,
		.parser = parse,
		.doc = "Measures the kernel that gathers payload on a GPU, and "
		       "checks it. Ends with 0, 1 (wrong data, or a call "
		       "failed), 2 (usage) or 77 (cannot be had here).",
	};
	static struct row rows[MAX_ROWS];
	struct options o = { .rounds = 11, .max_bytes = MAX_BYTES };
	struct gpu g = { 0 };
	int count = 0, rc;

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	text_command(o.command, sizeof(o.command), argc, argv);
	rc = device_find(&g, &o);
	if (rc)
		return rc;
	rc = device_open(&g, o.max_bytes);
	if (!rc) {
		report_header(&o, &g);
		rc = run(&g, &o, rows, &count);
	}
	device_close(&g);
	if (o.json && report_json(&o, &g, rows, count, rc) && !rc)
		rc = EXIT_FAIL;
	return rc;
}
