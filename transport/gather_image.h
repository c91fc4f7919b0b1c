/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gather_image.h - what the host needs of the gather kernel beside gather_work.h: its
 * code, and how large a launch should be.
 */
#ifndef DEVMEM_GATHER_IMAGE_H
#define DEVMEM_GATHER_IMAGE_H

#include <stddef.h>

#include "gather_core.h"

/**
 * gather_image() - the kernel for cuModuleLoadData(): machine code for the GPUs that
 * the compiler knew, and PTX for later ones. Static, aligned to 16 bytes. NULL, and 0
 * in *bytes, if the library was built without nvcc. @bytes may be NULL.
 */
const void *gather_image(size_t *bytes);

/**
 * gather_blocks() - how many blocks to launch for @count pieces of @bytes in all on a
 * GPU of @multiprocessors; at least one, as an empty list has a ticket too.
 *
 * A warp for each piece, if there are not too many. Half of the multiprocessors, with a
 * block each, have about as much on its way as a GPU's memory delivers in the time of
 * one wait, and what they do in two waits gets no faster by more of them: the rest is
 * left to those who compute. Longer lists are bound by the memory's rate, to which
 * half of the GPU does not quite come; they get a block for each, a quarter of its
 * registers. NCCL's kernels hold theirs meanwhile, and ours go where there is room.
 */
static inline unsigned int gather_blocks(size_t count, size_t bytes,
					 int multiprocessors)
{
	const size_t warps = GATHER_THREADS / GATHER_WARP;
	size_t all = multiprocessors > 0 ? (size_t)multiprocessors : 1;
	size_t half = (all + 1) / 2, blocks = (count + warps - 1) / warps;
	size_t waits = bytes / GATHER_PASS > count ? bytes / GATHER_PASS :
						     count;

	if (waits <= 2 * half * warps)
		all = half;
	blocks = blocks < all ? blocks : all;
	return blocks ? (unsigned int)blocks : 1;
}

#endif /* DEVMEM_GATHER_IMAGE_H */
