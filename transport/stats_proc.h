/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stats_proc.h - which process a file of statistics is of, and whether it lives.
 * Numbers of processes are used again: what tells them apart is when they began.
 */
#ifndef DEVMEM_STATS_PROC_H
#define DEVMEM_STATS_PROC_H

#include <stdbool.h>
#include <stdint.h>

struct stats_header;

struct stats_identity {
	uint64_t start_ticks; /* 0: not known, as the next */
	uint64_t pid_ns;
	char boot_id[40];
};

/* Of the calling process. */
void stats_identity_self(struct stats_identity *id);

enum stats_life {
	STATS_LIVES,
	STATS_DEAD,
	STATS_UNKNOWN, /* of another PID namespace: it cannot be asked here */
};

/* Of whoever wrote that header. */
enum stats_life stats_life_of(const struct stats_header *h);

/* "Name" of /proc/PID/comm, and its owner. false: there is no such process. */
bool stats_proc_info(uint32_t pid, char comm[16], uint32_t *uid);

/**
 * stats_remove_stale() - remove the files of processes of the caller's user that
 * are dead. How many.
 */
unsigned int stats_remove_stale(void);

#endif /* DEVMEM_STATS_PROC_H */
