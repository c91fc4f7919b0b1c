/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options_check.c - which options go together, and what follows from them; each by
 * itself is checked where it is parsed.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* The size after `size` in the table; 0 after the last. */
size_t next_size(const struct options *o, size_t size)
{
	return size > o->max_bytes / o->factor ? 0 : size * o->factor;
}

/*
 * A number that is equal on two machines when the options that all ranks must
 * share are.
 */
uint64_t options_digest(const struct options *o)
{
	uint64_t h = 0xcbf29ce484222325ull;
	char text[512];
	const char *p;
	int n, i;

	n = snprintf(text, sizeof(text),
		     "%d %d %d %d %zu %zu %u %d %d %d %d %zu %d %d %d %d %d %d",
		     o->mode, o->tree, o->seconds, o->seed, o->min_bytes,
		     o->max_bytes, o->factor, o->iters, o->warmup, o->check,
		     o->channels, o->slice, o->connections, o->inflight,
		     o->ranks, o->rounds, o->limit + o->limit_shared,
		     o->nvariants);
	for (i = 0; i < o->nvariants; i++)
		n += snprintf(text + n, sizeof(text) - n, " %s %d %d",
			      o->variants[i].name, o->variants[i].connections,
			      o->variants[i].inflight);
	for (p = text; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3ull;
	return h;
}

static _Noreturn void usage(const char *text)
{
	complain("%s; see --help", text);
	exit(EXIT_USAGE);
}

static void check_faults(const struct options *o)
{
	int faults = (o->kill_rank >= 0) + !!o->break_cmd + !!o->pause_cmd;

	if (!faults && o->pause_at < 0)
		return;
	if (o->mode != MODE_ALLREDUCE || o->rank >= 0 || o->nvariants)
		usage("--kill-rank, --break-cmd and --pause-at-iter want "
		      "allreduce with all ranks on one machine and no "
		      "--variant");
	if (o->kill_rank >= o->ranks)
		usage("--kill-rank: there is no such rank");
	if ((o->pause_at >= 0) != !!o->pause_cmd)
		usage("--pause-at-iter and --pause-cmd go together");
	if (faults > 1)
		usage("--kill-rank, --break-cmd and --pause-cmd exclude each "
		      "other");
}

static void check_variants(const struct options *o)
{
	int i, j;

	if (o->nvariants == 1)
		usage("one --variant compares nothing: give two or more");
	for (i = 0; i < o->nvariants; i++) {
		if (o->variants[i].tcp && mode_is_coll(o->mode))
			usage("the variant tcp is for bandwidth and latency");
		for (j = 0; j < i; j++)
			if (!strcmp(o->variants[i].name, o->variants[j].name))
				usage("two variants have the same name");
	}
}

/* Does not return where they make no sense together. */
void options_check(const struct options *o)
{
	size_t align = mode_is_coll(o->mode) ? sizeof(float) : 1, size;
	int rows = 0;

	if (o->min_bytes > o->max_bytes)
		usage("--minbytes is above --maxbytes");
	if (o->min_bytes % align || o->slice % align)
		usage("sizes of a collective are multiples of 4 bytes");
	if (o->tree && o->mode != MODE_ALLREDUCE)
		usage("--algo tree is for allreduce");
	if (mode_is_coll(o->mode) && o->channels * coll_lanes(o) > MAX_LINKS)
		usage("more connections than a rank may have: fewer --channels "
		      "or --ranks");
	if (o->slice > 1 << 30 || o->slice < 64)
		usage("--slice: want 64 bytes to 1 GiB");
	if (!mode_is_coll(o->mode) && o->max_bytes > 1 << 30)
		usage("--maxbytes: messages are at most 1 GiB");
	if (!mode_is_coll(o->mode) && o->ranks != 2)
		usage("bandwidth and latency want --ranks 2");
	if (o->nnetns && o->nnetns != o->ranks)
		usage("--netns wants one name for each rank");
	if (o->nnetns && o->rank >= 0)
		usage("--netns is for ranks of one machine; with --rank use "
		      "ip netns exec");
	if ((o->rank >= 0) != !!o->bootstrap)
		usage("--rank and --bootstrap go together");
	if (o->rank >= o->ranks)
		usage("--rank: not below --ranks");
	for (size = o->min_bytes; size; size = next_size(o, size))
		rows++;
	if (rows > MAX_ROWS)
		usage("more sizes than fit a table of 64 lines");
	if (o->limit &&
	    (mode_is_coll(o->mode) || o->nvariants || o->connections > 1))
		usage("--limit is for bandwidth and latency, without "
		      "--variant and --connections");
	if (o->mode == MODE_SOAK && (o->plot || o->report))
		usage("--plot and --report are of sizes, a soak has none");
	if (o->connections > 1 && o->mode != MODE_BANDWIDTH)
		usage("--connections is for bandwidth");
	check_faults(o);
	check_variants(o);
}
