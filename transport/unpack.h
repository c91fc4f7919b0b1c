/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unpack.h - the writer of NCCL's unpack lists (unpack_abi.h). Receives of a
 * connection are numbered from 0, in the order in which NCCL posts them; each has
 * a list from unpack_begin() to unpack_consume(), and NCCL's kernels copy what the
 * list says. A byte that is in no list stays where somebody else has put it, so
 * what a list cannot take may be moved to the receive by other means.
 *
 * It knows nothing of CUDA: who makes it gives it the memory. One connection is
 * one thread's at a time (its lock is the caller's); the GPU reads meanwhile.
 */
#ifndef DEVMEM_UNPACK_H
#define DEVMEM_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "unpack_abi.h"

/*
 * NCCL deals entries out to its warps, not bytes, and thinks of them as pages:
 * longer ones leave warps without work, so none is made by merging.
 */
#define UNPACK_PAGE 4096u

struct unpack_slot {
	uint64_t size; /* of the receive */
	uint32_t count;
	bool published;
};

struct unpack {
	struct unpack_meta *meta;
	uint64_t begun, consumed; /* receives so far */
	bool withdrawn;
	struct unpack_slot slot[UNPACK_SLOTS];
};

/** unpack_init() - all lists empty. @meta is the caller's, and outlives @u. */
void unpack_init(struct unpack *u, struct unpack_meta *meta);

/**
 * unpack_begin() - receive number @seq has a list now; numbers go up by one. @size
 * is what was posted, any. -EAGAIN: its slot is that of a receive that NCCL has not
 * consumed, which is so when UNPACK_SLOTS are in flight (NCCL has 8 at most).
 * -EINVAL: it is not the next number.
 */
int unpack_begin(struct unpack *u, uint64_t seq, uint64_t size);

/**
 * unpack_add() - @len bytes at @pool_offset of the bounce buffer belong at
 * @dst_offset of receive @seq. In any order; no two may overlap at the receive.
 * Pieces that go on where an earlier one ends, in both places, share an entry, up
 * to UNPACK_PAGE; longer ones are cut to that while half of the list is left.
 *
 * All or nothing: -EMSGSIZE if the list is full, or the bytes are not within the
 * receive and UNPACK_SLICE_BYTES; -ERANGE if they are not within
 * UNPACK_BOUNCE_BYTES; -EINVAL if the list is not open.
 */
int unpack_add(struct unpack *u, uint64_t seq, uint64_t pool_offset,
	       uint64_t dst_offset, uint64_t len);

/* The list of receive @seq so far, which is open; how many entries. */
uint32_t unpack_entries(const struct unpack *u, uint64_t seq,
			const struct unpack_entry **first);
/* Take all off it again: somebody else brings these bytes to their place. */
void unpack_empty(struct unpack *u, uint64_t seq);

/**
 * unpack_publish() - the list is complete; it may be empty. Before the receive is
 * reported as done. In any order of receives. -EINVAL if it is not open; -ECANCELED
 * if all lists were withdrawn, and this one had something on it.
 */
int unpack_publish(struct unpack *u, uint64_t seq);

/**
 * unpack_consume() - NCCL is through with receive @seq: what was listed is copied,
 * its slot is free. In the order of numbers, and published before, else -EINVAL.
 */
int unpack_consume(struct unpack *u, uint64_t seq);

/**
 * unpack_withdraw() - the connection, or the communicator, has failed: all lists are
 * empty for NCCL, those that are published from now on too. A kernel of NCCL that
 * is aborted does not come to an end at a list that is not (docs/unpack.md). What
 * these receives get is not the message. They are consumed as before, or never.
 */
void unpack_withdraw(struct unpack *u);

/* Receives that have a list. */
static inline unsigned int unpack_in_flight(const struct unpack *u)
{
	return (unsigned int)(u->begun - u->consumed);
}

#endif /* DEVMEM_UNPACK_H */
