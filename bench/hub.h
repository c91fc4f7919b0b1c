/* SPDX-License-Identifier: BSD-3-Clause */
/* hub.h - the launcher's state of a run; for hub.c and hub_take.c alone. */
#ifndef DEVMEM_BENCH_HUB_H
#define DEVMEM_BENCH_HUB_H

#include <sys/types.h>

#include "bench.h"

#define MAX_STRANGERS 16
#define MS	      1000000ll

/* The largest body is a gather's. */
struct inbox {
	size_t have;
	char data[sizeof(struct msg_head) + GATHER_MAX];
};

struct member {
	int fd, pidfd;
	pid_t pid;   /* 0: a rank of another machine */
	bool joined; /* started here, or connected and known */
	bool done;   /* has reported all that it will */
	bool over;   /* nothing more to expect */
	bool gathering;
	struct inbox in;
	size_t gather_len;
	char gather[GATHER_MAX];
	struct error_report error;
};

/* A TCP connection that has not said yet which rank it is. */
struct stranger {
	int fd;
	int64_t until;
	struct inbox in;
};

struct hub {
	const struct options *o;
	int run, listener;
	bool live; /* print rows as they come */
	bool header;
	struct result *res;
	struct member m[MAX_RANKS];
	const struct error_report *first;
	struct stranger strangers[MAX_STRANGERS];
	int infos, faults;
	int64_t deadline, failed_at, kill_at, killed_at;
	pid_t cmd;
	int cmd_fd;
	bool cmd_done;
};

void hub_fail(struct hub *h, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Start a shell command; hub_step() sees to its end. */
void hub_command(struct hub *h, const char *command);
void hub_take(struct hub *h, int rank, const struct msg_head *head,
	      const void *body);
void hub_judge(struct hub *h);

#endif /* DEVMEM_BENCH_HUB_H */
