/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nccl_allreduce_launch.h - processes of a run, their environment and the folder
 * that their logs and their socket are in. For the launcher only.
 */
#ifndef DEVMEM_NCCL_ALLREDUCE_LAUNCH_H
#define DEVMEM_NCCL_ALLREDUCE_LAUNCH_H

#include "nccl_allreduce.h"

struct launch {
	int setting, run;
	char dir[64];	/* ours alone, removed at the end */
	char logs[256]; /* that folder, or the one of --logs */
	char socket[96];
};

/* 0, or -1 with errno. */
int launch_open(struct launch *l, const struct job *j, int setting, int run);
void launch_close(struct launch *l, const struct job *j);
void launch_log(const struct launch *l, int rank, char *file, size_t size);
/* The process, which leads a group of its own; -1 with errno. */
pid_t launch_start(const struct job *j, const struct launch *l, int rank);

#endif /* DEVMEM_NCCL_ALLREDUCE_LAUNCH_H */
