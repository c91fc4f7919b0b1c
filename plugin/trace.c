// SPDX-License-Identifier: BSD-3-Clause
/*
 * trace.c - see trace.h.
 *
 * To the profiler a request is an event of kind SOCK, version 1, as of NCCL's own
 * socket transport: profilers know it, and nothing but that is told under its name.
 * One event a request, and not one for each flow or piece: NCCL's example profiler
 * has room for eight in a step, and looks no further.
 */
#include <stdatomic.h>

#include "nvtx.h"
#include "trace.h"

static _Atomic(ncclProfilerCallback_t) profiler;

void trace_to(ncclProfilerCallback_t prof)
{
	atomic_store(&profiler, prof);
}

void trace_begin(struct devmem_request *r, bool send, size_t size,
		 void *phandle)
{
	ncclProfilerCallback_t prof = atomic_load(&profiler);
	struct trace *t = devmem_request_note(r);
	ncclProfilerNetSockDescr_v1_t what = {
		.type = NCCL_PROFILER_SOCKET,
		.fd = -1, /* control and all flows */
		.op = send ? 0 : 1,
		.length = size,
	};

	if (prof && phandle)
		prof(&t->event, NCCL_PROFILER_NET_EVENT_START, phandle,
		     NCCL_PROFILER_NET_TYPE_SOCK | NCCL_PROFILER_NET_SOCK_VER,
		     &what);
	t->range = nvtx_begin(send ? "devmem send" : "devmem recv", size);
}

struct trace trace_of(struct devmem_request *r)
{
	struct trace none = { .event = NULL };

	return r ? *(const struct trace *)devmem_request_note(r) : none;
}

void trace_end(struct trace t)
{
	ncclProfilerCallback_t prof = atomic_load(&profiler);

	nvtx_end(t.range);
	if (prof && t.event)
		prof(&t.event, NCCL_PROFILER_NET_EVENT_STOP, NULL, 0, NULL);
}
