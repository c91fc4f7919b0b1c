/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cuda_abi.h - the part of the CUDA driver's interface that is used here, in our
 * own words: nothing of CUDA is needed to build. Source: cuda.h of CUDA 11.7 to
 * 13.0; tests/unit/test_cuda_abi.cc holds it against a cuda.h where there is one.
 *
 * CUresult, CUdevice and enums are int; CUdeviceptr is uint64_t; contexts, streams,
 * modules and functions are pointers to what nobody here looks into.
 */
#ifndef DEVMEM_CUDA_ABI_H
#define DEVMEM_CUDA_ABI_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CUDA_SUCCESS = 0,
	CUDA_ERROR_INVALID_VALUE = 1,
	CUDA_ERROR_OUT_OF_MEMORY = 2,
	CUDA_ERROR_NOT_INITIALIZED = 3,
	CUDA_ERROR_DEINITIALIZED = 4,
	CUDA_ERROR_NO_DEVICE = 100,
	CUDA_ERROR_INVALID_DEVICE = 101,
	CUDA_ERROR_INVALID_IMAGE = 200,
	CUDA_ERROR_INVALID_CONTEXT = 201,
	CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
	CUDA_ERROR_INVALID_HANDLE = 400,
	CUDA_ERROR_NOT_FOUND = 500,
	CUDA_ERROR_NOT_READY = 600,
	CUDA_ERROR_ILLEGAL_ADDRESS = 700,
	CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = 712,
	CUDA_ERROR_LAUNCH_FAILED = 719,
	CUDA_ERROR_NOT_SUPPORTED = 801,
	CUDA_ERROR_UNKNOWN = 999,
};

/* CUdevice_attribute */
enum {
	CUDA_ATTR_MULTIPROCESSOR_COUNT = 16,
	CUDA_ATTR_PCI_BUS_ID = 33,
	CUDA_ATTR_PCI_DEVICE_ID = 34,
	CUDA_ATTR_UNIFIED_ADDRESSING = 41,
	CUDA_ATTR_PCI_DOMAIN_ID = 50,
	CUDA_ATTR_COMPUTE_CAPABILITY_MAJOR = 75,
	CUDA_ATTR_COMPUTE_CAPABILITY_MINOR = 76,
	CUDA_ATTR_VMM_SUPPORTED = 102,
	CUDA_ATTR_RDMA_WITH_VMM_SUPPORTED = 110,
	CUDA_ATTR_RDMA_SUPPORTED = 116,
	CUDA_ATTR_RDMA_FLUSH_OPTIONS = 117,
	CUDA_ATTR_RDMA_WRITES_ORDERING = 118,
	CUDA_ATTR_DMA_BUF_SUPPORTED = 124,
};

/* Bits of CUDA_ATTR_RDMA_FLUSH_OPTIONS, values of _WRITES_ORDERING. */
#define CUDA_RDMA_FLUSH_HOST	0x1
#define CUDA_RDMA_ORDERED_NONE	0
#define CUDA_RDMA_ORDERED_OWNER 100
#define CUDA_RDMA_ORDERED_ALL	200
/* cuFlushGPUDirectRDMAWrites: of the current context, to the owner. */
#define CUDA_RDMA_FLUSH_TARGET_CTX 0
#define CUDA_RDMA_FLUSH_TO_OWNER   100

/* CUpointer_attribute */
enum {
	CUDA_POINTER_CONTEXT = 1,
	CUDA_POINTER_MEMORY_TYPE = 2,
	CUDA_POINTER_SYNC_MEMOPS = 6,
	CUDA_POINTER_DEVICE_ORDINAL = 9,
};
#define CUDA_MEMORY_HOST   1
#define CUDA_MEMORY_DEVICE 2

#define CUDA_HOST_PORTABLE  0x1 /* of cuMemHostAlloc and cuMemHostRegister */
#define CUDA_HOST_DEVICEMAP 0x2

#define CUDA_STREAM_NON_BLOCKING 0x1
#define CUDA_CAPTURE_RELAXED	 2 /* CUstreamCaptureMode */

/* cuMemGetHandleForAddressRange */
#define CUDA_RANGE_DMA_BUF_FD	0x1
#define CUDA_RANGE_DMA_BUF_PCIE 0x1 /* a flag, from 12.8 on */

/* Virtual memory management. */
#define CUDA_ALLOC_PINNED	    0x1
#define CUDA_LOCATION_DEVICE	    0x1
#define CUDA_ACCESS_READ_WRITE	    0x3
#define CUDA_GRANULARITY_MINIMUM    0x0
#define CUDA_GRANULARITY_RECOMMENDED 0x1

struct cuda_location {
	int type, id;
};

struct cuda_alloc_prop {
	int type;
	int handle_types;
	struct cuda_location location;
	void *win32;
	uint8_t compression;
	uint8_t rdma_capable;
	uint16_t usage;
	uint8_t reserved[4];
};

struct cuda_access {
	struct cuda_location location;
	int flags;
};

static_assert(sizeof(struct cuda_alloc_prop) == 32, "CUmemAllocationProp");
static_assert(offsetof(struct cuda_alloc_prop, rdma_capable) == 25, "RDMA flag");
static_assert(sizeof(struct cuda_access) == 12, "CUmemAccessDesc");

/* X(member of struct cuda, the driver's symbol, parameters): all of these exist. */
#define CUDA_CALLS(X)                                                          \
	X(init, cuInit, (unsigned int flags))                                  \
	X(driver_version, cuDriverGetVersion, (int *version))                  \
	X(error_name, cuGetErrorName, (int error, const char **name))          \
	X(error_string, cuGetErrorString, (int error, const char **text))      \
	X(device_count, cuDeviceGetCount, (int *count))                        \
	X(device_get, cuDeviceGet, (int *dev, int ordinal))                    \
	X(device_name, cuDeviceGetName, (char *name, int len, int dev))        \
	X(device_attribute, cuDeviceGetAttribute,                              \
	  (int *value, int attribute, int dev))                                \
	X(device_pci_id, cuDeviceGetPCIBusId, (char *id, int len, int dev))    \
	X(primary_retain, cuDevicePrimaryCtxRetain, (void **ctx, int dev))     \
	X(primary_release, cuDevicePrimaryCtxRelease_v2, (int dev))            \
	X(ctx_push, cuCtxPushCurrent_v2, (void *ctx))                          \
	X(ctx_pop, cuCtxPopCurrent_v2, (void **ctx))                           \
	X(ctx_current, cuCtxGetCurrent, (void **ctx))                          \
	X(ctx_device, cuCtxGetDevice, (int *dev))                              \
	X(ctx_priorities, cuCtxGetStreamPriorityRange,                         \
	  (int *least, int *greatest))                                         \
	X(capture_mode, cuThreadExchangeStreamCaptureMode, (int *mode))        \
	X(mem_alloc, cuMemAlloc_v2, (uint64_t *ptr, size_t bytes))             \
	X(mem_free, cuMemFree_v2, (uint64_t ptr))                              \
	X(mem_copy, cuMemcpy, (uint64_t dst, uint64_t src, size_t bytes))      \
	X(mem_copy_async, cuMemcpyAsync,                                       \
	  (uint64_t dst, uint64_t src, size_t bytes, void *stream))            \
	X(mem_set, cuMemsetD8_v2,                                              \
	  (uint64_t dst, unsigned char value, size_t bytes))                   \
	X(host_alloc, cuMemHostAlloc,                                          \
	  (void **ptr, size_t bytes, unsigned int flags))                      \
	X(host_free, cuMemFreeHost, (void *ptr))                               \
	X(host_register, cuMemHostRegister_v2,                                 \
	  (void *ptr, size_t bytes, unsigned int flags))                       \
	X(host_unregister, cuMemHostUnregister, (void *ptr))                   \
	X(pointer_get, cuPointerGetAttribute,                                  \
	  (void *value, int attribute, uint64_t ptr))                          \
	X(pointer_set, cuPointerSetAttribute,                                  \
	  (const void *value, int attribute, uint64_t ptr))                    \
	X(address_reserve, cuMemAddressReserve,                                \
	  (uint64_t *ptr, size_t bytes, size_t align, uint64_t hint,           \
	   unsigned long long flags))                                          \
	X(address_free, cuMemAddressFree, (uint64_t ptr, size_t bytes))        \
	X(mem_create, cuMemCreate,                                             \
	  (unsigned long long *handle, size_t bytes,                           \
	   const struct cuda_alloc_prop *prop, unsigned long long flags))      \
	X(mem_release, cuMemRelease, (unsigned long long handle))              \
	X(mem_map, cuMemMap,                                                   \
	  (uint64_t ptr, size_t bytes, size_t offset,                          \
	   unsigned long long handle, unsigned long long flags))               \
	X(mem_unmap, cuMemUnmap, (uint64_t ptr, size_t bytes))                 \
	X(set_access, cuMemSetAccess,                                          \
	  (uint64_t ptr, size_t bytes, const struct cuda_access *access,       \
	   size_t count))                                                      \
	X(granularity, cuMemGetAllocationGranularity,                          \
	  (size_t *bytes, const struct cuda_alloc_prop *prop, int option))     \
	X(stream_create, cuStreamCreateWithPriority,                           \
	  (void **stream, unsigned int flags, int priority))                   \
	X(stream_destroy, cuStreamDestroy_v2, (void *stream))                  \
	X(stream_query, cuStreamQuery, (void *stream))                         \
	X(stream_sync, cuStreamSynchronize, (void *stream))                    \
	X(module_load, cuModuleLoadData, (void **module, const void *image))   \
	X(module_unload, cuModuleUnload, (void *module))                       \
	X(module_function, cuModuleGetFunction,                                \
	  (void **function, void *module, const char *name))                   \
	X(launch, cuLaunchKernel,                                              \
	  (void *function, unsigned int grid_x, unsigned int grid_y,           \
	   unsigned int grid_z, unsigned int block_x, unsigned int block_y,    \
	   unsigned int block_z, unsigned int shared_bytes, void *stream,      \
	   void **params, void **extra))

/* Missing in older drivers. */
#define CUDA_CALLS_OPTIONAL(X)                                              \
	X(range_handle, cuMemGetHandleForAddressRange,                      \
	  (void *handle, uint64_t ptr, size_t bytes, int type,              \
	   unsigned long long flags))                                       \
	X(rdma_flush, cuFlushGPUDirectRDMAWrites, (int target, int scope))

#endif /* DEVMEM_CUDA_ABI_H */
