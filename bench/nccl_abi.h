/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nccl_abi.h - the part of NCCL's public interface that devmem-nccl uses, in our
 * own words: nothing of NCCL is needed to build. Source: nccl.h of NCCL 2.20 to
 * 2.30; nccl_abi_check.cc holds it against an nccl.h where there is one.
 *
 * ncclResult_t and enums are int; communicators and streams are pointers to what
 * nobody here looks into. Not to be mixed up with nccl_net_abi.h, which is what
 * NCCL asks of a plugin.
 */
#ifndef DEVMEM_NCCL_ABI_H
#define DEVMEM_NCCL_ABI_H

#include <stddef.h>

#define NCCL_ID_BYTES 128

/* Made by one rank, handed to all: how they find each other. Passed by value. */
struct nccl_id {
	char bytes[NCCL_ID_BYTES];
};

enum { NCCL_OK = 0, NCCL_IN_PROGRESS = 7 };

/* ncclDataType_t */
enum {
	NCCL_TYPE_INT8 = 0,
	NCCL_TYPE_INT32 = 2,
	NCCL_TYPE_HALF = 6,
	NCCL_TYPE_FLOAT = 7,
	NCCL_TYPE_BFLOAT16 = 9,
};

/* ncclRedOp_t */
enum { NCCL_OP_SUM = 0 };

/* X(result, member of struct nccl, NCCL's symbol, parameters) */
#define NCCL_CALLS(X)                                                         \
	X(int, get_version, ncclGetVersion, (int *version))                   \
	X(const char *, error_string, ncclGetErrorString, (int result))       \
	X(const char *, last_error, ncclGetLastError, (void *comm))           \
	X(int, get_id, ncclGetUniqueId, (struct nccl_id * id))                \
	X(int, init_rank, ncclCommInitRank,                                   \
	  (void **comm, int ranks, struct nccl_id id, int rank))              \
	X(int, destroy, ncclCommDestroy, (void *comm))                        \
	X(int, abort, ncclCommAbort, (void *comm))                            \
	X(int, async_error, ncclCommGetAsyncError, (void *comm, int *result)) \
	X(int, group_start, ncclGroupStart, (void))                           \
	X(int, group_end, ncclGroupEnd, (void))                               \
	X(int, all_reduce, ncclAllReduce,                                     \
	  (const void *send, void *recv, size_t count, int type, int op,      \
	   void *comm, void *stream))                                         \
	X(int, all_gather, ncclAllGather,                                     \
	  (const void *send, void *recv, size_t count, int type, void *comm,  \
	   void *stream))                                                     \
	X(int, reduce_scatter, ncclReduceScatter,                             \
	  (const void *send, void *recv, size_t count, int type, int op,      \
	   void *comm, void *stream))                                         \
	X(int, broadcast, ncclBroadcast,                                      \
	  (const void *send, void *recv, size_t count, int type, int root,    \
	   void *comm, void *stream))                                         \
	X(int, send, ncclSend,                                                \
	  (const void *send, size_t count, int type, int peer, void *comm,    \
	   void *stream))                                                     \
	X(int, recv, ncclRecv,                                                \
	  (void *recv, size_t count, int type, int peer, void *comm,          \
	   void *stream))

/*
 * Calls of the CUDA driver that capture a stream into a graph, which only
 * devmem-nccl makes; the rest is in cuda_abi.h. Source: cuda.h of CUDA 11.4 on.
 */
#define CUDA_GRAPH_CALLS(X)                                                   \
	X(int, capture_begin, cuStreamBeginCapture_v2,                        \
	  (void *stream, int mode))                                           \
	X(int, capture_end, cuStreamEndCapture, (void *stream, void **graph)) \
	X(int, instantiate, cuGraphInstantiateWithFlags,                      \
	  (void **exec, void *graph, unsigned long long flags))               \
	X(int, launch, cuGraphLaunch, (void *exec, void *stream))             \
	X(int, exec_destroy, cuGraphExecDestroy, (void *exec))                \
	X(int, graph_destroy, cuGraphDestroy, (void *graph))

#define ABI_MEMBER(result, member, symbol, params) result(*member) params;

struct nccl {
	NCCL_CALLS(ABI_MEMBER)
};

struct cuda_graphs {
	CUDA_GRAPH_CALLS(ABI_MEMBER)
};

#undef ABI_MEMBER

#endif /* DEVMEM_NCCL_ABI_H */
