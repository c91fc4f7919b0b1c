/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * saved.h - the results of a run as --json writes them, taken in again: curves over
 * size, which plot.c draws and page.c puts in tables.
 *
 * A file may be of another machine, or of anyone: every figure that is used is
 * checked, and the first that is none is named. Words are for people to read, and
 * are made harmless where they are written.
 */
#ifndef DEVMEM_BENCH_SAVED_H
#define DEVMEM_BENCH_SAVED_H

#include <cjson/cJSON.h>

#include "bench.h"

/* Median, least and greatest of the rounds; lo > hi: there is only `mid`. */
struct spread {
	double mid, lo, hi;
};

/* What was measured at one size. */
struct point {
	double size;	    /* bytes */
	struct spread time; /* us; of a latency half a round trip */
	struct spread rate; /* 1e9 bytes/s; of a collective on the bus */
	struct spread
		ratio; /* to the first curve, each of one round; mid 0: none */
	double algbw;  /* 1e9 bytes/s, of a collective */
	double cpu_tx, cpu_rx; /* s for 1e9 bytes; < 0: not known */
	double checked, wrong;
};

struct curve {
	char name[40];
	char path[96]; /* "rx=devmem tx=host"; "": not known */
	int n;
	struct point p[MAX_ROWS]; /* in order of size */
};

/* What lo and hi of a curve's times and rates are. */
enum bars { BARS_NONE, BARS_ROUNDS, BARS_MESSAGES };

struct saved {
	char name[64]; /* of the file, without folder and ".json" */
	cJSON *tree;
	enum mode mode;
	int ranks, rounds;
	bool limit; /* curves[0] is a bare socket, [1] the plugin */
	enum bars bars;
	int ncurves;
	struct curve *curves; /* MAX_VARIANTS */
};

/*
 * Takes over `tree`, which saved_free() frees, also where this fails: false with
 * the reason.
 */
bool saved_take(struct saved *s, const char *name, cJSON *tree, char *why,
		size_t size);
bool saved_read(struct saved *s, const char *file, char *why, size_t size);
void saved_free(struct saved *s);

/* A word of an object; "" where it is not there. */
const char *saved_word(const cJSON *object, const char *key);
/* A number of an object; -1 where it is not there, or below 0. */
double saved_number(const cJSON *object, const char *key);
/* The last run of that curve. */
const cJSON *saved_last(const struct saved *s, int curve);
/* "All-reduce of 2 ranks" */
const char *saved_title(const struct saved *s, char *buf, size_t size);
/* "host: AMD EPYC, 2 CPUs, Linux 6.12": of rank i, of the first run. */
const char *saved_place(const struct saved *s, int rank, char *buf,
			size_t size);

#endif /* DEVMEM_BENCH_SAVED_H */
