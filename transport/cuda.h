/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cuda.h - the CUDA driver, found at run time: libcuda.so.1, or none. The only way
 * to it; no other part of CUDA is used.
 */
#ifndef DEVMEM_CUDA_H
#define DEVMEM_CUDA_H

#include "cuda_abi.h"
#include "log.h"

#define CUDA_MEMBER(member, symbol, params) int(*member) params;

/* Calls return CUDA_SUCCESS or another CUresult. */
struct cuda {
	CUDA_CALLS(CUDA_MEMBER)
	CUDA_CALLS_OPTIONAL(CUDA_MEMBER) /* may be NULL */
};

#undef CUDA_MEMBER

/**
 * cuda_get() - the driver, loaded and initialised at the first call; it stays. NULL
 * if there is none that works, with the reason in @w, which stays the same. Any
 * thread.
 */
const struct cuda *cuda_get(struct why *w);

/* "CUDA_ERROR_INVALID_VALUE (invalid argument)", valid until the thread's next call. */
const char *cuda_text(int error);
/* What a CUresult is as -errno; 0 for success. */
int cuda_errno(int error);

#endif /* DEVMEM_CUDA_H */
