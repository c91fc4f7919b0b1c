/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fakenccl.h - the inside of a stand-in for NCCL (libnccl.so.2 in its build folder),
 * so that devmem-nccl's own logic is tested where there is no GPU. Ranks are
 * processes of one machine; what they send goes by shared memory, whole buffers at
 * a time, in no hurry. It uses no network and no plugin, whatever it writes.
 *
 * Environment, beside NCCL_DEBUG_FILE and NCCL_NET, which it repeats in its log:
 *
 *	FAKENCCL_NET=name	the log says that network instead
 *	FAKENCCL_VIA=name	the log tells of that transport, too (P2P, SHM)
 *	FAKENCCL_WRONG=value	a bit of rank 1's results is flipped
 *	FAKENCCL_WRONG=beyond	a byte behind rank 1's results is written
 *	FAKENCCL_HANG=call	rank 1 does not come back from operations, nor take
 *				part in them
 *	FAKENCCL_HANG=abort	nobody comes back from ncclCommAbort
 *	FAKENCCL_FAIL=init|call	that returns an error
 *	FAKENCCL_FAIL=die	rank 1 kills itself
 */
#ifndef FAKENCCL_H
#define FAKENCCL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANKS_MAX  32
#define RING_BYTES 65536

/* What one rank has for another: written by it alone, emptied by the other alone. */
struct mailbox {
	_Atomic uint64_t put, taken; /* bytes, ever */
	char ring[RING_BYTES];
};

/* Between all ranks of a communicator. */
struct shared {
	_Atomic int joined;
	struct mailbox box[]; /* [from * ranks + to] */
};

struct comm {
	struct comm *next; /* of those that were aborted */
	int rank, ranks;
	struct shared *shared;
	size_t shared_bytes;
	_Atomic bool aborted;
	uint64_t received, messages; /* for the lines on paths */
};

/* One buffer on its way, in host memory. */
struct transfer {
	struct mailbox *box;
	bool send;
	char *at;
	size_t len, done;
};

/* exchange.c: shared memory between ranks */
int shared_make(char *id, size_t size);
bool shared_join(struct comm *c, const char *id);
void shared_leave(struct comm *c);
/* Until all are done; false if the communicator is aborted meanwhile. */
bool exchange(struct comm *c, struct transfer *t, int n);
void pause_briefly(void);

/* Sums of n elements, of a ncclDataType_t: to += from. False: no such type. */
bool add_elements(int type, void *to, const void *from, size_t n);
size_t element_size(int type);

#endif /* FAKENCCL_H */
