// SPDX-License-Identifier: BSD-3-Clause
/*
 * gpu_gather_report.c - the tables of devmem-gpu-gather, and the same as JSON.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "gpu_gather.h"
#include "json_file.h"

struct spread {
	double median, least, greatest;
};

static struct spread spread(struct figures *f, int rounds)
{
	double mid = median(f->v, rounds);

	return (struct spread){
		.median = mid,
		.least = f->v[0],
		.greatest = f->v[rounds - 1],
	};
}

void report_header(const struct options *o, const struct gpu *g)
{
	struct utsname u;

	printf("# devmem-gpu-gather: scattered pieces of device memory into one "
	       "place,\n"
	       "#	in turn with a plain copy of as many bytes\n"
	       "# command: %s\n"
	       "# GPU %d: %s, %d multiprocessors, compute capability %d.%d, "
	       "driver of CUDA %d.%d\n",
	       o->command, o->device, g->name, g->multiprocessors, g->major,
	       g->minor, g->driver / 1000, g->driver % 1000 / 10);
	if (!uname(&u))
		printf("# machine %s: %s %s, %s\n", u.nodename, u.sysname,
		       u.release, u.machine);
	if (g->fake)
		printf("# fake: this driver is a stand-in, its figures mean "
		       "nothing\n");
	printf("# %d rounds, both in each, the one that is first changes; a "
	       "ratio is of one round.\n"
	       "# All launches of a turn read the same sources: what fits in L2 "
	       "comes from there for both.\n",
	       o->rounds);
}

void report_columns(bool latency)
{
	if (latency)
		printf("#\n# from submitting to seeing that it is done, the "
		       "median of a round's, in us;\n"
		       "# of a copy it is the driver that is asked "
		       "(cuStreamQuery)\n"
		       "#                              gather                  "
		       "     copy                    gather / copy\n");
	else
		printf("#\n# launches without a pause between them, in GB/s\n"
		       "#                              gather                  "
		       "     copy                    gather / copy\n");
	printf("#      size   piece blocks   median   least  greatest  "
	       " median   least  greatest   median  least greatest   #wrong\n");
}

static void print_spread(struct spread s)
{
	printf("  %8.2f %8.2f %8.2f", s.median, s.least, s.greatest);
}

void report_row(struct row *row, int rounds)
{
	struct spread ratio = spread(&row->ratio, rounds);

	printf("%11zu %7zu %6u", row->bytes, row->piece, row->blocks);
	print_spread(spread(&row->gather, rounds));
	print_spread(spread(&row->copy, rounds));
	printf("  %7.3f %7.3f %7.3f %8llu\n", ratio.median, ratio.least,
	       ratio.greatest, (unsigned long long)row->wrong);
	fflush(stdout);
}

static void add_spread(cJSON *to, const char *name, struct figures *f,
		       int rounds)
{
	struct spread s = spread(f, rounds);
	cJSON *one = cJSON_AddObjectToObject(to, name);

	cJSON_AddNumberToObject(one, "median", s.median);
	cJSON_AddNumberToObject(one, "least", s.least);
	cJSON_AddNumberToObject(one, "greatest", s.greatest);
}

static void add_row(cJSON *to, struct row *row, int rounds)
{
	cJSON *one = cJSON_CreateObject();

	cJSON_AddItemToArray(to, one);
	cJSON_AddNumberToObject(one, "bytes", (double)row->bytes);
	cJSON_AddNumberToObject(one, "piece", (double)row->piece);
	cJSON_AddNumberToObject(one, "blocks", row->blocks);
	cJSON_AddNumberToObject(one, "launches_per_round", row->turns);
	add_spread(one, row->latency ? "gather_us" : "gather_gb_per_s",
		   &row->gather, rounds);
	add_spread(one, row->latency ? "copy_us" : "copy_gb_per_s", &row->copy,
		   rounds);
	add_spread(one, "ratio", &row->ratio, rounds);
	cJSON_AddNumberToObject(one, "wrong", (double)row->wrong);
}

int report_json(const struct options *o, const struct gpu *g, struct row *rows,
		int count, int code)
{
	cJSON *top = cJSON_CreateObject(), *gpu, *bandwidth, *latency;
	int rc;

	cJSON_AddStringToObject(top, "tool", "devmem-gpu-gather");
	cJSON_AddStringToObject(top, "command", o->command);
	cJSON_AddNumberToObject(top, "status", code);
	cJSON_AddNumberToObject(top, "rounds", o->rounds);
	gpu = cJSON_AddObjectToObject(top, "gpu");
	cJSON_AddStringToObject(gpu, "name", g->name);
	cJSON_AddBoolToObject(gpu, "fake", g->fake);
	cJSON_AddNumberToObject(gpu, "multiprocessors", g->multiprocessors);
	cJSON_AddNumberToObject(gpu, "compute_major", g->major);
	cJSON_AddNumberToObject(gpu, "compute_minor", g->minor);
	cJSON_AddNumberToObject(gpu, "driver", g->driver);
	bandwidth = cJSON_AddArrayToObject(top, "bandwidth");
	latency = cJSON_AddArrayToObject(top, "latency");
	for (int i = 0; i < count; i++)
		add_row(rows[i].latency ? latency : bandwidth, &rows[i],
			o->rounds);
	rc = json_save(o->json, top);
	cJSON_Delete(top);
	return rc;
}
