/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unpacker.h - what NCCL's GPU code does for a receiver whose device is of the type
 * UNPACK: the plugin leaves the payload where it landed and says in a list, one for
 * each receive, what belongs where; whoever reads the message copies it first. Here
 * the CPU does, by the driver's copies. Needs cuda_memory.h's GPU to be open. The conformance
 * suite uses it too.
 */
#ifndef DEVMEM_BENCH_UNPACKER_H
#define DEVMEM_BENCH_UNPACKER_H

#include "cuda_memory.h"
#include "nccl_net_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct unpacker;

/*
 * Before accept: what NCCL leaves for the plugin to fill in.
 */
void unpacker_prepare(ncclNetDeviceHandle_v11_t *handle);

/*
 * After it: reads what the handle leads to. *out is NULL where the plugin says that
 * this connection has nothing to unpack. False with the reason.
 */
bool unpacker_open(const ncclNetDeviceHandle_v11_t *handle,
		   struct unpacker **out, char *why, size_t size);

/*
 * The next message, whose receive is done: copies its pieces to where they belong
 * in the `bytes` that begin at `to`, an address of the GPU's or of the host's. To be
 * called for each receive, of no bytes too, in order, and before irecvConsumed.
 */
bool unpacker_next(struct unpacker *u, uint64_t to, size_t bytes, char *why,
		   size_t size);

/* Bytes that were copied so far. */
uint64_t unpacker_bytes(const struct unpacker *u);

/* Leaves its place in the lists in the handle, as a kernel does for the next. */
bool unpacker_close(struct unpacker *u, char *why, size_t size);

#ifdef __cplusplus
}
#endif
#endif /* DEVMEM_BENCH_UNPACKER_H */
