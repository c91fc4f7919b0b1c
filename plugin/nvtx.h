/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nvtx.h - a range for each message in domain "NCCL/devmem", for Nsight Systems and
 * the like. NVTX is headers only: without a tool that has put itself into the
 * process a call looks at a pointer, and that is all. Any thread.
 */
#ifndef PLUGIN_NVTX_H
#define PLUGIN_NVTX_H

#include <stddef.h>
#include <stdint.h>

#ifdef HAVE_NVTX3
#include <nvtx3/nvToolsExt.h>
#include <pthread.h>

static nvtxDomainHandle_t nvtx_domain;

static void nvtx_open(void)
{
	nvtx_domain = nvtxDomainCreateA("NCCL/devmem");
}

/* @name is a constant. The range, to be ended with nvtx_end(); 0: there is none. */
static inline uint64_t nvtx_begin(const char *name, size_t bytes)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	nvtxEventAttributes_t a = {
		.version = NVTX_VERSION,
		.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
		.messageType = NVTX_MESSAGE_TYPE_ASCII,
		.message.ascii = name,
		.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64,
		.payload.ullValue = bytes,
	};

	pthread_once(&once, nvtx_open);
	return nvtx_domain ? nvtxDomainRangeStartEx(nvtx_domain, &a) : 0;
}

static inline void nvtx_end(uint64_t range)
{
	if (range)
		nvtxDomainRangeEnd(nvtx_domain, range);
}
#else
static inline uint64_t nvtx_begin(const char *name, size_t bytes)
{
	(void)name;
	(void)bytes;
	return 0;
}

static inline void nvtx_end(uint64_t range)
{
	(void)range;
}
#endif

#endif /* PLUGIN_NVTX_H */
