/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nccl_tuner_abi.h - the part of NCCL's tuner interface that we implement, table
 * versions 2 to 5, in our own words; nothing here is included from NCCL. As in
 * nccl_net_abi.h the layouts are asserted.
 *
 * A library exports one object per version, e.g. `ncclTunerPlugin_v5`. NCCL looks
 * in the library that NCCL_TUNER_PLUGIN names, then in a libnccl-tuner.so, then in
 * the one that its net plugin came from, and takes the newest version that it
 * knows. The first NCCL that knows a version: 2 2.21, 3 2.22, 4 2.24, 5 2.28; those
 * from 2.30 on know a sixth and take the fifth as well. (NCCL 2.20 knows version 1
 * alone, and does not look in the net plugin's library.) Sources: src/misc/tuner.cc,
 * from 2.26 on src/plugin/tuner.cc.
 */
#ifndef NCCL_TUNER_ABI_H
#define NCCL_TUNER_ABI_H

#include "nccl_net_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NCCL_SUBSYS_TUNING 0x40ul

/* Algorithms: rows of the cost table. PAT is there since 2.23. */
#define NCCL_ALGO_TREE		 0
#define NCCL_ALGO_RING		 1
#define NCCL_ALGO_COLLNET_DIRECT 2
#define NCCL_ALGO_COLLNET_CHAIN	 3
#define NCCL_ALGO_NVLS		 4
#define NCCL_ALGO_NVLS_TREE	 5
#define NCCL_ALGO_PAT		 6
#define NCCL_NUM_ALGORITHMS	 7

/* Protocols: its columns. */
#define NCCL_PROTO_LL	   0
#define NCCL_PROTO_LL128   1
#define NCCL_PROTO_SIMPLE  2
#define NCCL_NUM_PROTOCOLS 3

/* A cost that is no time in microseconds: that one is not to be used. */
#define NCCL_ALGO_PROTO_IGNORE -1.0f

typedef enum {
	ncclFuncBroadcast = 0,
	ncclFuncReduce = 1,
	ncclFuncAllGather = 2,
	ncclFuncReduceScatter = 3,
	ncclFuncAllReduce = 4,
} ncclFunc_t;

/* Where a communicator's ranks are; and constants of NCCL's cost model. */
typedef struct {
	int nNvlDomains;
	int minRanksPerNvlDomain;
	int maxRanksPerNvlDomain;
} ncclNvlDomainInfo_v5_t;
typedef struct ncclTunerConstants_v5 ncclTunerConstants_v5_t;

/*
 * All slots are called without a look whether they are NULL. An init or a
 * getCollInfo that fails is an error of the communicator, or of the collective.
 *
 * `cost` is not what its type says, but an array float[nalgos][nprotos] by value.
 */
typedef struct {
	const char *name;
	ncclResult_t (*init)(void **ctx, uint64_t comm_id, size_t nranks,
			     size_t nnodes, ncclDebugLogger_t log,
			     ncclNvlDomainInfo_v5_t *domains,
			     ncclTunerConstants_v5_t *constants);
	/* *nchannels is 0, and stays so if NCCL is to choose. */
	ncclResult_t (*getCollInfo)(void *ctx, ncclFunc_t func, size_t bytes,
				    int npipe, float **cost, int nalgos,
				    int nprotos, int registered,
				    int *nchannels);
	ncclResult_t (*finalize)(void *ctx);
} ncclTuner_v5_t;

typedef struct {
	const char *name;
	ncclResult_t (*init)(size_t nranks, size_t nnodes,
			     ncclDebugLogger_t log, void **ctx);
	ncclResult_t (*getCollInfo)(void *ctx, ncclFunc_t func, size_t bytes,
				    int npipe, float **cost, int nalgos,
				    int nprotos, int registered,
				    int *nchannels);
	ncclResult_t (*destroy)(void *ctx);
} ncclTuner_v4_t;

typedef struct {
	const char *name;
	ncclResult_t (*init)(size_t nranks, size_t nnodes,
			     ncclDebugLogger_t log, void **ctx);
	ncclResult_t (*getCollInfo)(void *ctx, ncclFunc_t func, size_t bytes,
				    int npipe, float **cost, int nalgos,
				    int nprotos, int *nchannels);
	ncclResult_t (*destroy)(void *ctx);
} ncclTuner_v3_t;

/*
 * No costs: the tuner names the algorithm and the protocol, or leaves both at -1.
 * One alone is as none.
 */
typedef struct {
	const char *name;
	ncclResult_t (*init)(size_t nranks, size_t nnodes,
			     ncclDebugLogger_t log, void **ctx);
	ncclResult_t (*getCollInfo)(void *ctx, ncclFunc_t func, size_t bytes,
				    int collnet, int nvls, int npipe,
				    int *algorithm, int *protocol,
				    int *nchannels);
	ncclResult_t (*destroy)(void *ctx);
} ncclTuner_v2_t;

#ifdef __cplusplus
}
#endif

#define NCCL_TUNER_ASSERT(table, last)                                        \
	NCCL_ABI_ASSERT(sizeof(table) == 32, #table);                         \
	NCCL_ABI_ASSERT(offsetof(table, init) == 8, #table ".init");          \
	NCCL_ABI_ASSERT(offsetof(table, getCollInfo) == 16, #table " third"); \
	NCCL_ABI_ASSERT(offsetof(table, last) == 24, #table "." #last)

NCCL_TUNER_ASSERT(ncclTuner_v5_t, finalize);
NCCL_TUNER_ASSERT(ncclTuner_v4_t, destroy);
NCCL_TUNER_ASSERT(ncclTuner_v3_t, destroy);
NCCL_TUNER_ASSERT(ncclTuner_v2_t, destroy);
NCCL_ABI_ASSERT(sizeof(ncclNvlDomainInfo_v5_t) == 12, "NVLink domains");
NCCL_ABI_ASSERT(sizeof(ncclFunc_t) == sizeof(int), "functions");

#endif /* NCCL_TUNER_ABI_H */
