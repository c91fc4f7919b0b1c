/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stats.h - counting: where each connection of the process has its counters and
 * histograms, so that other programs can read them (stats_file.h).
 *
 * Never fails a connection: what cannot be shown to others is counted all the
 * same. A child of fork() sees its parent's, and leaves them alone.
 */
#ifndef DEVMEM_STATS_H
#define DEVMEM_STATS_H

#include <stdbool.h>

#include "devmem.h"
#include "stats_file.h"

struct rxpool;

/**
 * stats_get() - hold the process's statistics; the first call makes them, as @o
 * says. stats_put() for each, by the same process; the last one writes the file of
 * devmem_options.stats_file and removes the one that others read. Any thread.
 */
void stats_get(const struct devmem_options *o);
void stats_put(void);

/* Is @path fit for devmem_options.stats_file: %h, %p and %% only? */
bool stats_path_valid(const char *path);
/* The file's name with host and pid in it. false: it is too long. */
bool stats_path_expand(const char *path, char *out, size_t n);

/* Are things to be timed? Asked once for each connection. */
bool stats_timed(void);

/**
 * stats_record_new() - counters for a connection that is being made, all 0. Not
 * seen by others until stats_record_open(). NULL: no memory. Any thread.
 */
struct stats_record *stats_record_new(void);
/* Fill in who it is between the two: then others see it. */
void stats_record_begin(struct stats_record *r);
void stats_record_open(struct stats_record *r);
/* The connection is closed; one that was never open leaves nothing behind. */
void stats_record_close(struct stats_record *r);
/* It has failed. */
void stats_record_failed(struct stats_record *r, int err, const char *error);

/* A pool is bound, or is not any more. In the pool's network namespace. */
void stats_pool_bound(const struct rxpool *p);
void stats_pool_gone(const struct rxpool *p);

/* Nanoseconds, CLOCK_MONOTONIC. */
uint64_t stats_now(void);

#endif /* DEVMEM_STATS_H */
