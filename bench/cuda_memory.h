/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cuda_memory.h - memory of one GPU, for a process that stands in for NCCL's kernels. The
 * CUDA driver is loaded at run time (libcuda.so.1), nothing of CUDA is linked. The
 * conformance suite uses it too.
 *
 * Calls return 0, or a CUresult that gpu_text() puts into words. They work on any
 * thread: each makes the GPU's primary context current for as long as it takes.
 */
#ifndef DEVMEM_BENCH_CUDA_MEMORY_H
#define DEVMEM_BENCH_CUDA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whole pages of GPU memory, so that they can be a dma-buf. */
struct gpu_memory {
	uint64_t at; /* an address for the GPU alone; 0: none */
	size_t size;
	uint64_t whole; /* what the driver gave, and takes back */
};

/* How many there are; -1 with the reason where there is no driver that works. */
int gpu_count(char *why, size_t size);

/*
 * Takes the GPU of that number, as CUDA counts them, and leaves its primary context
 * current on this thread, as it is on NCCL's: false with the reason. One GPU at a
 * time; gpu_close(), on the same thread, after all of its memory has been given
 * back.
 */
bool gpu_open(int number, char *why, size_t size);
void gpu_close(void);
bool gpu_is_open(void);
int gpu_number(void);
const char *gpu_name(void);

int gpu_alloc(struct gpu_memory *m, size_t size);
int gpu_free(struct gpu_memory *m);
/* Host memory that copies go straight to and from. */
int gpu_host_alloc(void **at, size_t size);
int gpu_host_free(void *at);

/* Can the GPU's memory be a dma-buf for a NIC to reach? */
bool gpu_exports(void);
/* A dma-buf over whole pages, which the caller closes. */
int gpu_export(uint64_t at, size_t size, int *fd);

/* Between host and GPU memory; all is done on return. */
int gpu_read(void *to, uint64_t from, size_t size);
int gpu_write(uint64_t to, const void *from, size_t size);
/* From wherever to wherever; begun on return, and done after gpu_wait(). */
int gpu_copy(uint64_t to, uint64_t from, size_t size);
int gpu_wait(void);

/* E.g. "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"; good until the next call. */
const char *gpu_text(int error);

#ifdef __cplusplus
}
#endif
#endif /* DEVMEM_BENCH_CUDA_MEMORY_H */
