/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gather_work.h - what the host hands to the gather kernel (gather_kernel.cu), and
 * the kernel's arguments. Shared by C, CUDA and the tests' stand-in for a driver.
 *
 *	devmem_gather(const struct gather_work *work, uint32_t count,
 *		      uint32_t *arrived, uint64_t *done, uint64_t ticket)
 *
 * One warp copies one piece at a time. `work` is host memory that the GPU sees; so
 * is `done`, into which the last block to finish writes `ticket`, behind all that
 * was copied. `arrived` is a word of device memory, 0 between launches.
 */
#ifndef DEVMEM_GATHER_WORK_H
#define DEVMEM_GATHER_WORK_H

#include <stdint.h>

#define GATHER_KERNEL	"devmem_gather"
#define GATHER_THREADS	256u /* of a block */
#define GATHER_WARP	32u
/* The host cuts longer pieces, so that all warps have the like to do. */
#define GATHER_PIECE_MAX (32u << 10)

/* Pieces of one launch do not overlap at their destinations, nor does one's
 * destination with another's source: their order is anybody's. */
struct gather_work {
	uint64_t dst, src; /* addresses as the GPU sees them, any alignment */
	uint64_t len;
	uint64_t reserved; /* 0: two loads of 16 bytes read one */
};

#endif /* DEVMEM_GATHER_WORK_H */
