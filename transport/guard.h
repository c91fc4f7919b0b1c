/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guard.h - a process that outlives this one by a moment, devmem-guard: when this
 * one has died, however, it puts the NICs' settings back. This half starts it and
 * lets it go; what it does then is in restore.h.
 *
 * The process is nobody's child, hears none of the signals of this one's group,
 * and has nothing open of what this one has. It knows when this one ends from
 * the kernel (pidfd), or from guard_stop().
 */
#ifndef DEVMEM_GUARD_H
#define DEVMEM_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "log.h"

/**
 * guard_start() - see that a guard runs, before the first setting of a NIC is
 * changed. Any thread. guard_stop() for each guard_start(), when what was changed
 * is restored; with the last one the guard ends.
 * @which: "off"; the program's absolute path; NULL or "auto": the one that is
 *	installed with this library
 *
 * One guard serves the process, in the network namespace of the thread that made
 * the first call. There is none if the process has no CAP_NET_ADMIN, since it
 * will change nothing; and none, and one INFO line, if it cannot be started: all
 * works without. Waits a few milliseconds, at most two seconds. A child of
 * fork() has a guard of its own as soon as it calls this.
 */
void guard_start(const char *which);
void guard_stop(void);

/* The guard's pid, 0 if there is none; for tests. */
pid_t guard_pid(void);

/* Is the parameter one that guard_start() understands? */
bool guard_valid(const char *which);

/**
 * guard_open_program() - for execution as /proc/self/fd/N: a file that nobody but
 * root and this user can write, since it will have our privileges. -errno and
 * @w.
 */
int guard_open_program(const char *path, struct why *w);

/* What the library and the program say to each other: on this descriptor, */
#define GUARD_CHANNEL 3
/* the program, once: this and its pid, or why it cannot; then the end, by us. */
#define GUARD_READY "ready "

#endif /* DEVMEM_GUARD_H */
