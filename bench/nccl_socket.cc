// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_socket.cc - NCCL's own Socket transport as a plugin, so that devmem-bench
 * measures it as it does ours. What it needs of the rest of NCCL is here; its
 * sources are the user's (NCCL_SOURCE_DIR).
 */
#include <pthread.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include <cuda_runtime.h>

#include "nccl.h"
#include "nccl_net.h"

int ncclDebugLevel = NCCL_LOG_WARN;
uint64_t ncclDebugMask = 0;
thread_local int ncclDebugNoWarn = 0;

void ncclDebugLog(ncclDebugLogLevel level, unsigned long, const char *, int,
		  const char *format, ...)
{
	va_list ap;

	if (level != NCCL_LOG_WARN)
		return;
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void ncclSetThreadName(pthread_t, const char *, ...)
{
}

ncclResult_t ncclInitEnv()
{
	return ncclSuccess;
}

const char *ncclEnvPluginGetEnv(const char *name)
{
	return getenv(name);
}

/* It asks for the GPU's place, to say which NIC is near. */
cudaError_t cudaGetDevice(int *device)
{
	*device = 0;
	return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int)
{
	snprintf(id, size, "0000:00:00.0");
	return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
	*value = 0;
	return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t)
{
	return "";
}

#define TABLE_(version) ncclNetPlugin_v##version
#define TABLE(version)	TABLE_(version)

extern "C" {
ncclNet_t TABLE(NEWEST_TABLE);
}

extern ncclNet_t ncclNetSocket;

__attribute__((constructor)) static void fill()
{
	TABLE(NEWEST_TABLE) = ncclNetSocket;
}
