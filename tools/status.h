/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * status.h - what `devmemctl status` knows: what the kernel says of NICs, and what
 * processes say of themselves. The kernel is believed; a process may claim what it
 * likes, and its text is printed with care only.
 */
#ifndef TOOLS_STATUS_H
#define TOOLS_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "devnl.h"
#include "stats_proc.h"
#include "stats_read.h"

#define STATUS_QUEUES	 1024
#define STATUS_RULES	 1024
#define STATUS_BINDINGS	 64
#define STATUS_NICS	 64
#define STATUS_PROCESSES 256

struct status_process {
	struct stats_snapshot snap;
	enum stats_life life;
	uint32_t owner; /* uid of the file */
	bool foreign;	/* it names a process that is not its owner's */
	char file[STATS_NAME];
};

/* A dma-buf bound to receive queues, by the kernel's word. */
struct status_binding {
	uint32_t dmabuf;
	size_t pages; /* in rings, in the stack, with users; of 4 KiB */
	bool pages_known;
	/* Who claims it, or NULL. */
	const struct status_process *process;
	const struct stats_pool *pool;
};

struct status_rule {
	uint32_t location;
	uint64_t queue;
	char text[160]; /* "tcp 10.0.0.1:1 > 10.0.0.2:2" */
};

struct status_nic {
	char name[16];
	unsigned int ifindex;
	bool named;	/* asked for */
	char error[96]; /* why the kernel tells nothing of its queues, "" */
	int split;	/* DEVMEM_SPLIT_*, -1: the driver has none */
	int ntuple;	/* 0, 1, -1: not known */
	int rss_hits;	/* RSS sends to a bound queue: 0, 1, -1: not known */
	unsigned int queues;
	uint32_t dmabuf[STATUS_QUEUES]; /* of each queue, 0: none */
	struct status_binding binding[STATUS_BINDINGS];
	unsigned int bindings;
	struct status_rule rule[STATUS_RULES]; /* to bound queues */
	unsigned int rules;
};

struct status {
	uint64_t wall_ns;
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	uint64_t netns;
	struct status_nic *nic;
	unsigned int nics;
	struct status_process *process;
	unsigned int processes;
	unsigned int removed;	 /* files of dead processes */
	unsigned int left_out;	 /* processes of which there are too many */
	unsigned int unreadable; /* files that make no sense */
};

/**
 * status_collect() - all there is now. @ifname: of that NIC alone, else NULL. 0;
 * -ENODEV: no such NIC; -ENOMEM.
 */
int status_collect(struct status *s, const char *ifname);
void status_free(struct status *s);

/* status_nic.c: what the kernel says of one. */
void status_nic_read(struct status_nic *n, const char *name,
		     unsigned int ifindex);

/* The process that says that it is bound to @dmabuf on @ifindex, and where. */
const struct status_process *status_owner(const struct status *s,
					  unsigned int ifindex, uint32_t dmabuf,
					  const struct stats_pool **pool);

/* Payload bytes of a connection, however they went. */
uint64_t status_bytes(const struct stats_record *r);

struct status_rate {
	bool known;
	double bytes, messages; /* a second */
};
/* Of a connection since @was, which may be NULL. */
struct status_rate status_rate(const struct status *s, const struct status *was,
			       const struct status_process *p,
			       const struct stats_record *r);

/* "lives", "dead", "unknown". */
const char *status_life(const struct status_process *p);

/* Forms of output. @was: what was shown before, or NULL. */
void status_text(FILE *to, const struct status *s, const struct status *was);
int status_json(FILE *to, const struct status *s, const struct status *was,
		bool one_line);
void status_prometheus(FILE *to, const struct status *s);

#endif /* TOOLS_STATUS_H */
