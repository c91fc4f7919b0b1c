/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * children.h - processes that a launcher starts and has to end, and the signals that
 * end it. What they say, and how they are started, is each program's own.
 */
#ifndef DEVMEM_BENCH_CHILDREN_H
#define DEVMEM_BENCH_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * From now on SIGINT, SIGTERM and SIGHUP (but where that is ignored, as under
 * nohup(1)) do not end the program, which asks signal_caught() and ends its
 * children first. A closed socket is an error and no signal.
 */
void signals_catch(void);
/* The last that came; 0: none. */
int signal_caught(void);
/* In a child that runs on without exec(2): they end it again. */
void signals_release(void);

/* A descriptor that polls readable when `pid`, our child, has ended; -1: errno. */
int child_watch(pid_t pid);
/* "exit status 1" of what wait(2) returned. */
const char *child_status(int status, char *buf, size_t size);
/*
 * Kills it, `group`: and its process group, and waits for its end, but not for
 * ever: false, with a complaint, where even SIGKILL does not end it in 10 seconds.
 */
bool child_end(pid_t pid, bool group);

/* Closes what is open, and notes that it is not. */
void close_fd(int *fd);

#endif /* DEVMEM_BENCH_CHILDREN_H */
