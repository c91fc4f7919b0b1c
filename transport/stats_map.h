/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stats_map.h - the memory of a process's statistics: a file in /dev/shm that is
 * mapped, or memory of its own where such a file cannot be. Only what the file has
 * room for on its file system is ever touched: a full one must not kill us.
 */
#ifndef DEVMEM_STATS_MAP_H
#define DEVMEM_STATS_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "stats_file.h"

struct stats_map {
	struct stats_header *head;
	struct stats_record *record; /* head->records of them are there */
	int fd;			     /* -1: nobody else sees it */
	char name[64];		     /* in STATS_DIR */
};

/* Removes the files of dead processes first. 0 or -ENOMEM; says why no file. */
int stats_map_new(struct stats_map *m);
/* STATS_STEP more records. false: there is no room for them. */
bool stats_map_grow(struct stats_map *m);
/* Removes the file. */
void stats_map_free(struct stats_map *m);

/**
 * stats_file_write() - put @n bytes in the place of a plain file at @path, at once;
 * or write them to what else is there. 0 or -errno.
 */
int stats_file_write(const char *path, const char *text, size_t n);

#endif /* DEVMEM_STATS_MAP_H */
