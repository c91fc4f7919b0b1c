/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stats_file.h - what a process tells of itself while it runs: a file in
 * /dev/shm that it has mapped, of a header and one record for each connection.
 * Counters in it are those that the process counts with, so that nothing has to
 * be asked of it: it may be busy, stopped, or dead.
 *
 * Writing: each number has one writer, and is stored at once. What names a
 * record or a pool is written while its seq is odd. The header's turn changes
 * when a record is given to another connection, or its counts are moved.
 *
 * Reading is by copies (read(2)): whoever may write the file could also cut it
 * short. Nothing in it is believed: see stats_read.h.
 */
#ifndef DEVMEM_STATS_FILE_H
#define DEVMEM_STATS_FILE_H

#include <stdint.h>

#include "devmem.h"
#include "histogram.h"

#define STATS_DIR    "/dev/shm"
#define STATS_PREFIX "nccl-devmem-" /* then UID-PID */
#define STATS_NAME   64		    /* bytes of such a name, with its end */
#define STATS_MAGIC  "NCDVSTAT"
/* Of all that is below; a reader of another version does not read on. */
#define STATS_VERSION 1u
/* Connections that have a record of their own; others are in the totals only. */
#define STATS_RECORDS 512u
/* Records by which the file grows. */
#define STATS_STEP  16u
#define STATS_POOLS 32u

/* What is timed; docs/statistics.md says from when to when. */
enum stats_time {
	STATS_GRANT_WAIT, /* sender */
	STATS_TOKEN_HOLD, /* receiver */
	STATS_GATHER,	  /* receiver */
	STATS_COMPLETION, /* both */
	STATS_TIMES,
};

enum stats_state {
	STATS_FREE,
	STATS_MAKING, /* not to be shown */
	STATS_OPEN,
	STATS_CLOSED, /* kept until its place is needed */
};

struct stats_record {
	uint32_t seq;	/* odd: what follows up to counters is changing */
	uint32_t state; /* enum stats_state */
	uint64_t id;	/* number of the connection in its process, from 1 */
	uint32_t sender;
	uint32_t listed; /* it is in a table: the writer's */
	int32_t err;	 /* negative errno, once it has failed */
	uint32_t rails, flows;
	int32_t gpu;		 /* receiver: of the pool; -1: none */
	uint32_t pools;		 /* receiver: bindings that it receives into */
	uint32_t counted_by;	 /* pid of who made it: the writer's */
	uint64_t opened, closed; /* ns since 1970; 0: not */
	uint32_t dmabuf[DEVMEM_MAX_RAILS];
	char nic[72], peer[72];
	char path[16];	  /* of payload: "devmem", "host", "emulated" */
	char region[16];  /* receiver: "udmabuf", "cuda", "" */
	char gather[16];  /* receiver: "cpu", "cuda", "unpack", "none", "" */
	char reason[160]; /* why not by devmem, "" */
	char error[160];
	struct devmem_stats counters;
	struct histogram time[STATS_TIMES];
};

/* A binding of receive queues, or of nothing if it is emulated. */
struct stats_pool {
	uint32_t seq;
	uint32_t state;
	uint32_t ifindex, dmabuf;
	uint64_t netns; /* inode of the network namespace of ifindex */
	uint64_t bytes;
	int32_t gpu;
	uint32_t queues;
	uint32_t queue[DEVMEM_MAX_QUEUES];
	char nic[16], region[16];
};

struct stats_header {
	char magic[8];
	uint32_t version;
	uint32_t header_bytes, record_bytes;
	uint32_t records; /* that the file has room for; grows */
	uint32_t turn;
	uint32_t pid, uid;
	uint32_t unlisted; /* open connections without a record */
	/* The process: clock ticks since boot (proc(5)), and whose pid it is. */
	uint64_t start_ticks, pid_ns;
	uint64_t since;	 /* ns since 1970: of the first context */
	uint64_t opened; /* connections so far */
	char boot_id[40];
	char comm[16];
	char host[64];
	struct stats_pool pool[STATS_POOLS];
	/* Of connections that have no record any more: receivers, senders. */
	struct stats_record total[2];
};

_Static_assert(sizeof(struct stats_record) % 8 == 0, "records are aligned");
_Static_assert(sizeof(struct stats_header) % 8 == 0, "records are aligned");

#endif /* DEVMEM_STATS_FILE_H */
