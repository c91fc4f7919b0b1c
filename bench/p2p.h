/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * p2p.h - a sequence of messages over one end of a link, one way; p2p.c moves
 * them, limit.c moves as many over a bare socket.
 */
#ifndef DEVMEM_BENCH_P2P_H
#define DEVMEM_BENCH_P2P_H

#include "bench.h"

struct stream {
	struct rank *r;
	struct end *end;
	int link;
	bool send;
	size_t size;   /* of a message */
	size_t stride; /* from one slot of the buffer to the next */
	int slots, inflight;
	bool verify;
	uint64_t posted, done, until, wrong;
	void *req[MAX_INFLIGHT];
};

/* The stream over one end of a link; `inflight` messages of it at a time. */
struct stream stream_of(struct rank *r, int link, bool send, size_t size,
			int inflight);
/* The place of message `nr` in the end's buffer, where the CPU reaches it. */
char *stream_cpu(const struct stream *s, uint64_t nr);
/* Moves `count` messages, counting one posted before, `inflight` at a time. */
int stream_run(struct stream *s, uint64_t count);
/* The same for each of `n` streams, which take turns. */
int streams_run(struct stream *s, int n, uint64_t count);
/* `count` messages there and back; `us` takes half of each time, or is NULL. */
int pings(struct stream *tx, struct stream *rx, int count, double *us);

#endif /* DEVMEM_BENCH_P2P_H */
