/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.h - telling others of requests while they are under way: NCCL's profiler,
 * by the callback that it hands to init, and NVTX, if the build found it.
 *
 * Each request is one event, begun when NCCL has it and ended in the call of test()
 * that says that it is done or has failed. That is NCCL's own thread both times,
 * also where threads of ours move the data, and inside the step of NCCL's that the
 * event belongs to. Requests that a close takes away are not ended: NCCL's step is
 * gone by then.
 */
#ifndef PLUGIN_TRACE_H
#define PLUGIN_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#include "devmem.h"
#include "nccl_net_abi.h"

/* What is kept with a request (devmem_request_note()). */
struct trace {
	void *event;	/* the profiler's, NULL: it wants none */
	uint64_t range; /* NVTX's, 0: none */
};
_Static_assert(sizeof(struct trace) <= DEVMEM_NOTE_BYTES, "it has to fit");

/* For the whole process: the last one that was given counts. NULL is allowed. */
void trace_to(ncclProfilerCallback_t prof);

/* @phandle: which step of NCCL's it is, NULL: none. */
void trace_begin(struct devmem_request *r, bool send, size_t size,
		 void *phandle);
/* Of a request that is not over; NULL is allowed. */
struct trace trace_of(struct devmem_request *r);
void trace_end(struct trace t);

#endif /* PLUGIN_TRACE_H */
