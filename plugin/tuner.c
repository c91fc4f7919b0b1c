// SPDX-License-Identifier: BSD-3-Clause
/*
 * tuner.c - NCCL's tuner tables, versions 2 to 5, that keep it to what unpacks, and
 * change nothing else; see tuner.h. How NCCL finds them is in tuner_symbols.c.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "net.h"
#include "params.h"
#include "tuner.h"

/* Sizes of a cost table that are believed. */
#define MAX_ALGOS  64
#define MAX_PROTOS 16

static _Atomic(ncclDebugLogger_t) logger;
static atomic_int users;

static bool asked;
static pthread_once_t ask_once = PTHREAD_ONCE_INIT;

static void ask(void)
{
	struct devmem_options o;
	char text[256];

	/* What is wrong with it, the net plugin says. */
	asked = !params_read(&o, text, sizeof(text)) && o.unpack;
}

bool tuner_guards(void)
{
	pthread_once(&ask_once, ask);
	return asked;
}

bool tuner_in_use(void)
{
	return atomic_load(&users) > 0;
}

static ncclResult_t start(ncclDebugLogger_t log, void **ctx)
{
	*ctx = NULL; /* nothing differs between communicators */
	atomic_store(&logger, log);
	atomic_fetch_add(&users, 1);
	if (log)
		log(NCCL_LOG_INFO, NCCL_SUBSYS_INIT | NCCL_SUBSYS_TUNING,
		    "tuner.c", __LINE__,
		    "TUNER/devmem NCCL_DEVMEM_UNPACK=1: protocols LL and "
		    "LL128 and the algorithm PAT are not used");
	return ncclSuccess;
}

static ncclResult_t stop(void *ctx)
{
	(void)ctx;
	atomic_fetch_sub(&users, 1);
	return ncclSuccess;
}

/* What is not known here is not known to unpack. */
static bool unpacks(int algo, int proto)
{
	return proto == NCCL_PROTO_SIMPLE && algo < NCCL_ALGO_PAT;
}

/* A table that cannot be read could let through what must not be: no. */
static ncclResult_t refuse(int nalgos, int nprotos)
{
	ncclDebugLogger_t log = atomic_load(&logger);

	if (log)
		log(NCCL_LOG_WARN, NCCL_SUBSYS_TUNING, "tuner.c", __LINE__,
		    "TUNER/devmem a cost table of %d algorithms and %d "
		    "protocols is unknown here; NCCL_DEVMEM_UNPACK=0 does "
		    "without",
		    nalgos, nprotos);
	return ncclInvalidArgument;
}

static ncclResult_t guard(float **table, int nalgos, int nprotos)
{
	float *cost = (float *)table; /* by value: nccl_tuner_abi.h */
	bool left = false;

	if (!cost || nalgos <= NCCL_ALGO_RING || nalgos > MAX_ALGOS ||
	    nprotos <= NCCL_PROTO_SIMPLE || nprotos > MAX_PROTOS)
		return refuse(nalgos, nprotos);
	for (int a = 0; a < nalgos; a++)
		for (int p = 0; p < nprotos; p++) {
			if (!unpacks(a, p))
				cost[a * nprotos + p] = NCCL_ALGO_PROTO_IGNORE;
			else if (cost[a * nprotos + p] >= 0)
				left = true;
		}
	/* NCCL_PROTO=LL, say. There is a ring for everything. */
	if (!left)
		cost[NCCL_ALGO_RING * nprotos + NCCL_PROTO_SIMPLE] = 0;
	return ncclSuccess;
}

static ncclResult_t init_v5(void **ctx, uint64_t comm_id, size_t nranks,
			    size_t nnodes, ncclDebugLogger_t log,
			    ncclNvlDomainInfo_v5_t *domains,
			    ncclTunerConstants_v5_t *constants)
{
	(void)comm_id;
	(void)nranks;
	(void)nnodes;
	(void)domains;
	(void)constants;
	return start(log, ctx);
}

static ncclResult_t init_v2(size_t nranks, size_t nnodes, ncclDebugLogger_t log,
			    void **ctx)
{
	(void)nranks;
	(void)nnodes;
	return start(log, ctx);
}

static ncclResult_t coll_info_v4(void *ctx, ncclFunc_t func, size_t bytes,
				 int npipe, float **cost, int nalgos,
				 int nprotos, int registered, int *nchannels)
{
	(void)ctx;
	(void)func;
	(void)bytes;
	(void)npipe;
	(void)registered;
	(void)nchannels;
	return guard(cost, nalgos, nprotos);
}

static ncclResult_t coll_info_v3(void *ctx, ncclFunc_t func, size_t bytes,
				 int npipe, float **cost, int nalgos,
				 int nprotos, int *nchannels)
{
	(void)ctx;
	(void)func;
	(void)bytes;
	(void)npipe;
	(void)nchannels;
	return guard(cost, nalgos, nprotos);
}

/*
 * NCCL 2.21, whose unpack has one head for all peers of a tree: a ring. Without the
 * algorithm it would choose the protocol, too.
 */
static ncclResult_t coll_info_v2(void *ctx, ncclFunc_t func, size_t bytes,
				 int collnet, int nvls, int npipe,
				 int *algorithm, int *protocol, int *nchannels)
{
	(void)ctx;
	(void)func;
	(void)bytes;
	(void)collnet;
	(void)nvls;
	(void)npipe;
	(void)nchannels;
	*algorithm = NCCL_ALGO_RING;
	*protocol = NCCL_PROTO_SIMPLE;
	return ncclSuccess;
}

ncclTuner_v5_t tuner_v5 = {
	.name = NET_NAME,
	.init = init_v5,
	.getCollInfo = coll_info_v4,
	.finalize = stop,
};

ncclTuner_v4_t tuner_v4 = {
	.name = NET_NAME,
	.init = init_v2,
	.getCollInfo = coll_info_v4,
	.destroy = stop,
};

ncclTuner_v3_t tuner_v3 = {
	.name = NET_NAME,
	.init = init_v2,
	.getCollInfo = coll_info_v3,
	.destroy = stop,
};

ncclTuner_v2_t tuner_v2 = {
	.name = NET_NAME,
	.init = init_v2,
	.getCollInfo = coll_info_v2,
	.destroy = stop,
};
