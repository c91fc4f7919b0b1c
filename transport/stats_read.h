/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stats_read.h - reading what other processes tell of themselves. Whoever wrote
 * it may mean harm: sizes are checked, text is ended, and a number is nothing but
 * a number. What it says of a process or a NIC is a claim.
 */
#ifndef DEVMEM_STATS_READ_H
#define DEVMEM_STATS_READ_H

#include <stdbool.h>
#include <stdio.h>

#include "stats_file.h"

/* What one process has told. */
struct stats_snapshot {
	struct stats_header head;
	struct stats_record *record; /* those that are open or closed */
	unsigned int count;
	unsigned int torn; /* were being changed each time, and are left out */
};

/**
 * stats_open_file() - open a file of that name for reading, if it is one of ours by
 * its name: a plain file. Its owner in *uid. fd, or -errno: -EINVAL: not ours by
 * its name; -EPERM: not the caller's, who is not root.
 */
int stats_open_file(int dir, const char *name, uint32_t *uid);

/* 0; -EINVAL: not this format, -EPROTONOSUPPORT: another version; or -errno. */
int stats_read_header(int fd, struct stats_header *h);

/* As pread(2), of a file; for tests of something else. */
typedef ssize_t (*stats_pread)(void *arg, void *buf, size_t n, uint64_t at);

/**
 * stats_read() - read all of it. Tries a few times where it changes meanwhile.
 * Results as those of stats_read_header(), and -ENOMEM. To be freed with
 * stats_snapshot_free().
 */
int stats_read(stats_pread pread_fn, void *arg, struct stats_snapshot *s);
int stats_read_fd(int fd, struct stats_snapshot *s);
void stats_snapshot_free(struct stats_snapshot *s);

/* The path so far: "devmem+host" if payload went both ways. */
const char *stats_path(const struct stats_record *r);

/* stats_json.c */
struct json;
/** stats_json() - what one process has told, as one JSON object. */
void stats_json(struct json *j, const struct stats_snapshot *s);
/* Its members alone, for who adds to them. */
void stats_json_members(struct json *j, const struct stats_snapshot *s);
void stats_json_counters(struct json *j, const struct stats_record *r);
/* Names of what is timed, as in JSON: "grant_wait". */
extern const char *const stats_time_names[STATS_TIMES];

/* The counters, for whoever names each of them. */
struct stats_counter {
	const char *name;
	size_t offset; /* in struct devmem_stats */
	const char *help;
	bool receiver, sender; /* whose it is */
};
extern const struct stats_counter stats_counters[];
extern const unsigned int stats_counters_count;

static inline uint64_t stats_counter(const struct stats_record *r,
				     const struct stats_counter *c)
{
	return *(const uint64_t *)((const char *)&r->counters + c->offset);
}

#endif /* DEVMEM_STATS_READ_H */
