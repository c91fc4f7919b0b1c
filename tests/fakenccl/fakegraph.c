// SPDX-License-Identifier: BSD-3-Clause
/*
 * fakegraph.c - graphs of the stand-in for the CUDA driver: the calls by which a
 * stream is captured and replayed, for operations of the stand-in for NCCL, which
 * are host functions. Linked with all of that driver into one libcuda.so.1. A
 * function, or a graph, is done when its call returns; streams of one thread only.
 */
#include <stdlib.h>

#include "cuda_abi.h"
#include "nccl_abi.h"

#define API	  __attribute__((visibility("default")))
#define NODES_MAX 64

#define DECLARE(result, member, symbol, params) API result symbol params;
CUDA_GRAPH_CALLS(DECLARE)
#undef DECLARE
API int cuStreamIsCapturing(void *stream, int *status);
API int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data);
int cuStreamSynchronize(void *stream);

struct graph {
	void *stream; /* while that is being captured */
	int n;
	struct {
		void (*function)(void *);
		void *data;
	} node[NODES_MAX];
};

static __thread struct graph *capture;

int cuStreamBeginCapture_v2(void *stream, int mode)
{
	if (!stream || capture || mode < 0 || mode > CUDA_CAPTURE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	capture = calloc(1, sizeof(*capture));
	if (!capture)
		return CUDA_ERROR_OUT_OF_MEMORY;
	capture->stream = stream;
	return CUDA_SUCCESS;
}

int cuStreamEndCapture(void *stream, void **graph)
{
	if (!capture || capture->stream != stream)
		return CUDA_ERROR_INVALID_VALUE;
	capture->stream = NULL;
	*graph = capture;
	capture = NULL;
	return CUDA_SUCCESS;
}

int cuStreamIsCapturing(void *stream, int *status)
{
	*status = capture && capture->stream == stream;
	return CUDA_SUCCESS;
}

int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data)
{
	int rc;

	if (capture && capture->stream == stream) {
		if (capture->n == NODES_MAX)
			return CUDA_ERROR_OUT_OF_MEMORY;
		capture->node[capture->n].function = function;
		capture->node[capture->n++].data = data;
		return CUDA_SUCCESS;
	}
	rc = cuStreamSynchronize(stream);
	if (!rc)
		function(data);
	return rc;
}

/* What can be launched is a copy: the graph may go before it. */
int cuGraphInstantiateWithFlags(void **exec, void *graph,
				unsigned long long flags)
{
	struct graph *copy = malloc(sizeof(*copy));

	if (flags || !copy) {
		free(copy);
		return CUDA_ERROR_INVALID_VALUE;
	}
	*copy = *(struct graph *)graph;
	*exec = copy;
	return CUDA_SUCCESS;
}

int cuGraphLaunch(void *exec, void *stream)
{
	struct graph *g = exec;
	int rc = cuStreamSynchronize(stream), i;

	for (i = 0; !rc && i < g->n; i++)
		g->node[i].function(g->node[i].data);
	return rc;
}

int cuGraphExecDestroy(void *exec)
{
	free(exec);
	return CUDA_SUCCESS;
}

int cuGraphDestroy(void *graph)
{
	free(graph);
	return CUDA_SUCCESS;
}
