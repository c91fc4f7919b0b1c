/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nccl_net_abi.h - the part of NCCL's net plugin interface that we implement.
 *
 * These are ABI facts of NCCL's table versions 8 to 12, declared in our own
 * words; nothing here is included from NCCL. The layouts are those of an LP64
 * little-endian machine and are asserted below, so that a slip in this file is
 * a build error and not a crash inside NCCL.
 *
 * A plugin exports one object per table version that it supports, e.g.
 * `ncclNetPlugin_v11`; NCCL finds it with dlopen and dlsym, and takes the
 * newest that it knows. Version 11 comes first here, and in full; the others
 * are told by what differs from it. The first NCCL that knows a version: 8 2.20,
 * 9 2.24, 10 2.26, 11 2.28, 12 2.30.
 */
#ifndef NCCL_NET_ABI_H
#define NCCL_NET_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define NCCL_ABI_ASSERT(cond, text) static_assert(cond, text)
#else
#define NCCL_ABI_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* What every slot returns. */
typedef enum {
	ncclSuccess = 0,
	ncclUnhandledCudaError = 1,
	ncclSystemError = 2,
	ncclInternalError = 3,
	ncclInvalidArgument = 4,
	ncclInvalidUsage = 5,
	ncclRemoteError = 6,
	ncclInProgress = 7,
} ncclResult_t;

/* NCCL's logger. `flags` is a mask of subsystems; NCCL filters by both. */
typedef enum {
	NCCL_LOG_NONE = 0,
	NCCL_LOG_VERSION = 1,
	NCCL_LOG_WARN = 2,
	NCCL_LOG_INFO = 3,
	NCCL_LOG_ABORT = 4,
	NCCL_LOG_TRACE = 5,
} ncclDebugLogLevel;

#define NCCL_SUBSYS_INIT 0x01ul
#define NCCL_SUBSYS_NET	 0x10ul
#define NCCL_SUBSYS_REG	 0x2000ul

typedef void (*ncclDebugLogger_t)(ncclDebugLogLevel level, unsigned long flags,
				  const char *file, int line, const char *fmt,
				  ...) __attribute__((format(printf, 5, 6)));

/* Reports events of a request to NCCL's profiler; may be NULL. */
typedef ncclResult_t (*ncclProfilerCallback_t)(void **event, int type,
					       void *phandle, int64_t plugin_id,
					       void *data);
/* Its `type`: a start fills in *event (NULL: nobody wants it), a stop ends that. */
#define NCCL_PROFILER_NET_EVENT_START 0
#define NCCL_PROFILER_NET_EVENT_STOP  1
/*
 * Its `id`: what the network's part of an event looks like, by kind and version.
 * Kinds that profilers know are InfiniBand's and sockets'.
 */
#define NCCL_PROFILER_NET_TYPE_SOCK (2u << 16)
#define NCCL_PROFILER_NET_SOCK_VER  1

/* Kind SOCK, version 1. */
typedef struct {
	uint8_t type; /* NCCL_PROFILER_SOCKET */
	int fd;	      /* -1: not one alone */
	int op;	      /* 0: a send, 1: a receive */
	size_t length;
} ncclProfilerNetSockDescr_v1_t;
#define NCCL_PROFILER_SOCKET 1

/* Kinds of memory: the `type` of regMr, and the mask in ptrSupport. */
#define NCCL_PTR_HOST	0x1
#define NCCL_PTR_CUDA	0x2
#define NCCL_PTR_DMABUF 0x4

/* Size of the handle that listen fills in and the peer's connect reads. */
#define NCCL_NET_HANDLE_MAXSIZE 128
/* Requests that NCCL may have outstanding on one comm. */
#define NCCL_NET_MAX_REQUESTS 32
/* Upper bound of maxP2pBytes and maxCollBytes: 1 TiB. */
#define NCCL_MAX_NET_SIZE_BYTES (1ull << 40)
/* The largest message by a table whose sizes are ints (version 8). */
#define NCCL_NET_MAX_INT_SIZE (1 << 30)
/* irecv may be entered with *request equal to this: completion is optional. */
#define NCCL_NET_OPTIONAL_RECV_COMPLETION 0x1

typedef enum {
	NCCL_NET_DEVICE_HOST = 0,
	NCCL_NET_DEVICE_UNPACK = 1,
} ncclNetDeviceType;

#define NCCL_NET_DEVICE_INVALID_VERSION 0x0
/* Of UNPACK; NCCL takes no other. */
#define NCCL_NET_DEVICE_UNPACK_VERSION 0x7

/* How GPU code finds its side of a connection (UNPACK only); in all versions. */
typedef struct {
	ncclNetDeviceType netDeviceType;
	int netDeviceVersion;
	void *handle;
	size_t size;
	int needsProxyProgress;
} ncclNetDeviceHandle_v11_t;

/* A device made of several physical ones. */
#define NCCL_NET_MAX_DEVS_PER_NIC_V11 4

typedef struct {
	int ndevs;
	int devs[NCCL_NET_MAX_DEVS_PER_NIC_V11];
} ncclNetVDeviceProps_v11_t;

/* -1: the user asked for no traffic class. */
typedef struct {
	int trafficClass;
} ncclNetCommConfig_v11_t;

/* NCCL passes this uninitialised: getProperties must set every field. */
typedef struct {
	char *name;	 /* unique among the devices; owned by the plugin */
	char *pciPath;	 /* path under /sys, or NULL; owned by the plugin */
	uint64_t guid;	 /* equal for functions of one physical card */
	int ptrSupport;	 /* mask of NCCL_PTR_* */
	int regIsGlobal; /* a registration is good for every comm */
	int forceFlush;	 /* iflush after every receive to GPU memory */
	int speed;	 /* Mbit/s */
	int port;
	float latency; /* microseconds, 0 unknown */
	int maxComms;
	int maxRecvs; /* receives that one irecv may group */
	ncclNetDeviceType netDeviceType;
	int netDeviceVersion;
	ncclNetVDeviceProps_v11_t vProps;
	size_t maxP2pBytes;  /* in (0, 1 TiB] */
	size_t maxCollBytes; /* in (0, 1 TiB] */
	int maxMultiRequestSize;
} ncclNetProperties_v11_t;

typedef struct {
	int32_t maxConcurrentPeers;
	int32_t minConcurrentPeers;
	int32_t maxFlowsPerPeer;
	int32_t minFlowsPerPeer;
} ncclNetCommAttr_v11_t;

/* Hints about the traffic to come. */
typedef struct {
	ncclNetCommAttr_v11_t sendCommAttr;
	ncclNetCommAttr_v11_t recvCommAttr;
	uint32_t op;
	uint32_t algo;
	uint32_t proto;
} ncclNetAttr_v11_t;

/*
 * The table. NCCL calls listen, connect, accept, regMr*, deregMr, close* from
 * its proxy service thread and isend, irecv, iflush, test, irecvConsumed from
 * its progress thread. None may block. `*comm == NULL` with ncclSuccess means
 * "call again"; so does `*request == NULL`.
 */
typedef struct {
	const char *name;
	ncclResult_t (*init)(void **ctx, uint64_t comm_id,
			     ncclNetCommConfig_v11_t *config,
			     ncclDebugLogger_t log,
			     ncclProfilerCallback_t prof);
	ncclResult_t (*devices)(int *ndev);
	ncclResult_t (*getProperties)(int dev, ncclNetProperties_v11_t *props);
	ncclResult_t (*listen)(void *ctx, int dev, void *handle,
			       void **listen_comm);
	ncclResult_t (*connect)(void *ctx, int dev, void *handle,
				void **send_comm,
				ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*accept)(void *listen_comm, void **recv_comm,
			       ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*regMr)(void *comm, void *data, size_t size, int type,
			      void **mhandle);
	/* The caller closes `fd` right after this returns. NULL allowed. */
	ncclResult_t (*regMrDmaBuf)(void *comm, void *data, size_t size,
				    int type, uint64_t offset, int fd,
				    void **mhandle);
	ncclResult_t (*deregMr)(void *comm, void *mhandle);
	ncclResult_t (*isend)(void *send_comm, void *data, size_t size, int tag,
			      void *mhandle, void *phandle, void **request);
	ncclResult_t (*irecv)(void *recv_comm, int n, void **data,
			      size_t *sizes, int *tags, void **mhandles,
			      void **phandles, void **request);
	ncclResult_t (*iflush)(void *recv_comm, int n, void **data, int *sizes,
			       void **mhandles, void **request);
	/* `sizes` may be NULL. A request that is done is gone. */
	ncclResult_t (*test)(void *request, int *done, int *sizes);
	ncclResult_t (*closeSend)(void *send_comm);
	ncclResult_t (*closeRecv)(void *recv_comm);
	ncclResult_t (*closeListen)(void *listen_comm);
	ncclResult_t (*getDeviceMr)(void *comm, void *mhandle,
				    void **dptr_mhandle); /* NULL allowed */
	ncclResult_t (*irecvConsumed)(void *recv_comm, int n,
				      void *request); /* NULL allowed */
	ncclResult_t (*makeVDevice)(int *dev, ncclNetVDeviceProps_v11_t *props);
	/* NULL allowed */
	ncclResult_t (*finalize)(void *ctx); /* ctx NULL after a failed init */
	ncclResult_t (*setNetAttr)(void *ctx,
				   ncclNetAttr_v11_t *attr); /* NULL allowed */
} ncclNet_v11_t;

/* Version 12: more devices in one, and where a device is in the network. */

#define NCCL_NET_MAX_DEVS_PER_NIC_V12 8
/* A railId or planeId that nobody knows. */
#define NCCL_NET_ID_UNDEF -1

typedef struct {
	int ndevs;
	int devs[NCCL_NET_MAX_DEVS_PER_NIC_V12];
} ncclNetVDeviceProps_v12_t;

typedef struct {
	char *name;
	char *pciPath;
	uint64_t guid;
	int ptrSupport;
	int regIsGlobal;
	int forceFlush;
	int speed;
	int port;
	float latency;
	int maxComms;
	int maxRecvs;
	ncclNetDeviceType netDeviceType;
	int netDeviceVersion;
	ncclNetVDeviceProps_v12_t vProps;
	size_t maxP2pBytes;
	size_t maxCollBytes;
	int maxMultiRequestSize;
	int16_t railId;
	int16_t planeId;
} ncclNetProperties_v12_t;

typedef struct {
	const char *name;
	ncclResult_t (*init)(void **ctx, uint64_t comm_id,
			     ncclNetCommConfig_v11_t *config,
			     ncclDebugLogger_t log,
			     ncclProfilerCallback_t prof);
	ncclResult_t (*devices)(int *ndev);
	ncclResult_t (*getProperties)(int dev, ncclNetProperties_v12_t *props);
	ncclResult_t (*listen)(void *ctx, int dev, void *handle,
			       void **listen_comm);
	ncclResult_t (*connect)(void *ctx, int dev, void *handle,
				void **send_comm,
				ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*accept)(void *listen_comm, void **recv_comm,
			       ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*regMr)(void *comm, void *data, size_t size, int type,
			      void **mhandle);
	ncclResult_t (*regMrDmaBuf)(void *comm, void *data, size_t size,
				    int type, uint64_t offset, int fd,
				    void **mhandle);
	ncclResult_t (*deregMr)(void *comm, void *mhandle);
	ncclResult_t (*isend)(void *send_comm, void *data, size_t size, int tag,
			      void *mhandle, void *phandle, void **request);
	ncclResult_t (*irecv)(void *recv_comm, int n, void **data,
			      size_t *sizes, int *tags, void **mhandles,
			      void **phandles, void **request);
	ncclResult_t (*iflush)(void *recv_comm, int n, void **data, int *sizes,
			       void **mhandles, void **request);
	ncclResult_t (*test)(void *request, int *done, int *sizes);
	ncclResult_t (*closeSend)(void *send_comm);
	ncclResult_t (*closeRecv)(void *recv_comm);
	ncclResult_t (*closeListen)(void *listen_comm);
	ncclResult_t (*getDeviceMr)(void *comm, void *mhandle,
				    void **dptr_mhandle);
	ncclResult_t (*irecvConsumed)(void *recv_comm, int n, void *request);
	ncclResult_t (*makeVDevice)(int *dev, ncclNetVDeviceProps_v12_t *props);
	ncclResult_t (*finalize)(void *ctx);
	ncclResult_t (*setNetAttr)(void *ctx, ncclNetAttr_v11_t *attr);
} ncclNet_v12_t;

/*
 * Below version 11 there are no contexts: init is called once for the process
 * and there is no finalize, though the library may be closed. NCCL 2.28 crashes
 * if such an init fails, so that one succeeds and offers no device instead.
 */

/* Versions 9 and 10: as version 11, up to its last field. */
typedef struct {
	char *name;
	char *pciPath;
	uint64_t guid;
	int ptrSupport;
	int regIsGlobal;
	int forceFlush;
	int speed;
	int port;
	float latency;
	int maxComms;
	int maxRecvs;
	ncclNetDeviceType netDeviceType;
	int netDeviceVersion;
	ncclNetVDeviceProps_v11_t vProps;
	size_t maxP2pBytes;
	size_t maxCollBytes;
} ncclNetProperties_v9_t;
typedef ncclNetProperties_v9_t ncclNetProperties_v10_t;

typedef struct {
	const char *name;
	ncclResult_t (*init)(ncclDebugLogger_t log,
			     ncclProfilerCallback_t prof);
	ncclResult_t (*devices)(int *ndev);
	ncclResult_t (*getProperties)(int dev, ncclNetProperties_v10_t *props);
	ncclResult_t (*listen)(int dev, void *handle, void **listen_comm);
	ncclResult_t (*connect)(int dev, ncclNetCommConfig_v11_t *config,
				void *handle, void **send_comm,
				ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*accept)(void *listen_comm, void **recv_comm,
			       ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*regMr)(void *comm, void *data, size_t size, int type,
			      void **mhandle);
	ncclResult_t (*regMrDmaBuf)(void *comm, void *data, size_t size,
				    int type, uint64_t offset, int fd,
				    void **mhandle);
	ncclResult_t (*deregMr)(void *comm, void *mhandle);
	ncclResult_t (*isend)(void *send_comm, void *data, size_t size, int tag,
			      void *mhandle, void *phandle, void **request);
	ncclResult_t (*irecv)(void *recv_comm, int n, void **data,
			      size_t *sizes, int *tags, void **mhandles,
			      void **phandles, void **request);
	ncclResult_t (*iflush)(void *recv_comm, int n, void **data, int *sizes,
			       void **mhandles, void **request);
	ncclResult_t (*test)(void *request, int *done, int *sizes);
	ncclResult_t (*closeSend)(void *send_comm);
	ncclResult_t (*closeRecv)(void *recv_comm);
	ncclResult_t (*closeListen)(void *listen_comm);
	ncclResult_t (*getDeviceMr)(void *comm, void *mhandle,
				    void **dptr_mhandle);
	ncclResult_t (*irecvConsumed)(void *recv_comm, int n, void *request);
	ncclResult_t (*makeVDevice)(int *dev, ncclNetVDeviceProps_v11_t *props);
} ncclNet_v10_t;

/* Version 9: no profiler, no traffic class. */
typedef struct {
	const char *name;
	ncclResult_t (*init)(ncclDebugLogger_t log);
	ncclResult_t (*devices)(int *ndev);
	ncclResult_t (*getProperties)(int dev, ncclNetProperties_v9_t *props);
	ncclResult_t (*listen)(int dev, void *handle, void **listen_comm);
	ncclResult_t (*connect)(int dev, void *handle, void **send_comm,
				ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*accept)(void *listen_comm, void **recv_comm,
			       ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*regMr)(void *comm, void *data, size_t size, int type,
			      void **mhandle);
	ncclResult_t (*regMrDmaBuf)(void *comm, void *data, size_t size,
				    int type, uint64_t offset, int fd,
				    void **mhandle);
	ncclResult_t (*deregMr)(void *comm, void *mhandle);
	ncclResult_t (*isend)(void *send_comm, void *data, size_t size, int tag,
			      void *mhandle, void **request);
	ncclResult_t (*irecv)(void *recv_comm, int n, void **data,
			      size_t *sizes, int *tags, void **mhandles,
			      void **request);
	ncclResult_t (*iflush)(void *recv_comm, int n, void **data, int *sizes,
			       void **mhandles, void **request);
	ncclResult_t (*test)(void *request, int *done, int *sizes);
	ncclResult_t (*closeSend)(void *send_comm);
	ncclResult_t (*closeRecv)(void *recv_comm);
	ncclResult_t (*closeListen)(void *listen_comm);
	ncclResult_t (*getDeviceMr)(void *comm, void *mhandle,
				    void **dptr_mhandle);
	ncclResult_t (*irecvConsumed)(void *recv_comm, int n, void *request);
	ncclResult_t (*makeVDevice)(int *dev, ncclNetVDeviceProps_v11_t *props);
} ncclNet_v9_t;

/* Version 8: sizes of messages are ints; no virtual devices. */
typedef struct {
	char *name;
	char *pciPath;
	uint64_t guid;
	int ptrSupport;
	int regIsGlobal;
	int speed;
	int port;
	float latency;
	int maxComms;
	int maxRecvs;
	ncclNetDeviceType netDeviceType;
	int netDeviceVersion;
} ncclNetProperties_v8_t;

typedef struct {
	const char *name;
	ncclResult_t (*init)(ncclDebugLogger_t log);
	ncclResult_t (*devices)(int *ndev);
	ncclResult_t (*getProperties)(int dev, ncclNetProperties_v8_t *props);
	ncclResult_t (*listen)(int dev, void *handle, void **listen_comm);
	ncclResult_t (*connect)(int dev, void *handle, void **send_comm,
				ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*accept)(void *listen_comm, void **recv_comm,
			       ncclNetDeviceHandle_v11_t **dev_handle);
	ncclResult_t (*regMr)(void *comm, void *data, size_t size, int type,
			      void **mhandle);
	ncclResult_t (*regMrDmaBuf)(void *comm, void *data, size_t size,
				    int type, uint64_t offset, int fd,
				    void **mhandle);
	ncclResult_t (*deregMr)(void *comm, void *mhandle);
	ncclResult_t (*isend)(void *send_comm, void *data, int size, int tag,
			      void *mhandle, void **request);
	ncclResult_t (*irecv)(void *recv_comm, int n, void **data, int *sizes,
			      int *tags, void **mhandles, void **request);
	ncclResult_t (*iflush)(void *recv_comm, int n, void **data, int *sizes,
			       void **mhandles, void **request);
	ncclResult_t (*test)(void *request, int *done, int *sizes);
	ncclResult_t (*closeSend)(void *send_comm);
	ncclResult_t (*closeRecv)(void *recv_comm);
	ncclResult_t (*closeListen)(void *listen_comm);
	ncclResult_t (*getDeviceMr)(void *comm, void *mhandle,
				    void **dptr_mhandle);
	ncclResult_t (*irecvConsumed)(void *recv_comm, int n, void *request);
} ncclNet_v8_t;

NCCL_ABI_ASSERT(sizeof(void *) == 8, "LP64 only");
NCCL_ABI_ASSERT(sizeof(ncclNetDeviceHandle_v11_t) == 32, "device handle");
NCCL_ABI_ASSERT(sizeof(ncclNetVDeviceProps_v11_t) == 20, "vdevice props");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v11_t, guid) == 16, "props.guid");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v11_t, latency) == 44,
		"props.latency");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v11_t, netDeviceType) == 56,
		"props.netDeviceType");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v11_t, vProps) == 64,
		"props.vProps");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v11_t, maxP2pBytes) == 88,
		"props.maxP2pBytes");
NCCL_ABI_ASSERT(sizeof(ncclNetProperties_v11_t) == 112, "props");
NCCL_ABI_ASSERT(sizeof(ncclNetAttr_v11_t) == 44, "net attr");
NCCL_ABI_ASSERT(offsetof(ncclNet_v11_t, isend) == 80, "table.isend");
NCCL_ABI_ASSERT(sizeof(ncclNet_v11_t) == 22 * 8, "table");

NCCL_ABI_ASSERT(sizeof(ncclNetVDeviceProps_v12_t) == 36, "v12 vdevice props");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v12_t, vProps) == 64,
		"v12 props.vProps");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v12_t, maxP2pBytes) == 104,
		"v12 props.maxP2pBytes");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v12_t, railId) == 124,
		"v12 props.railId");
NCCL_ABI_ASSERT(sizeof(ncclNetProperties_v12_t) == 128, "v12 props");
NCCL_ABI_ASSERT(offsetof(ncclNet_v12_t, setNetAttr) == 21 * 8, "v12 table");

NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v9_t, vProps) == 64,
		"v9 props.vProps");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v9_t, maxCollBytes) == 96,
		"v9 props.maxCollBytes");
NCCL_ABI_ASSERT(sizeof(ncclNetProperties_v9_t) == 104, "v9 props");
NCCL_ABI_ASSERT(offsetof(ncclNet_v10_t, isend) == 80, "v10 table.isend");
NCCL_ABI_ASSERT(sizeof(ncclNet_v10_t) == 20 * 8, "v10 table");
NCCL_ABI_ASSERT(sizeof(ncclNet_v9_t) == 20 * 8, "v9 table");

NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v8_t, latency) == 40,
		"v8 props.latency");
NCCL_ABI_ASSERT(offsetof(ncclNetProperties_v8_t, netDeviceType) == 52,
		"v8 props.netDeviceType");
NCCL_ABI_ASSERT(sizeof(ncclNetProperties_v8_t) == 64, "v8 props");
NCCL_ABI_ASSERT(sizeof(ncclNet_v8_t) == 19 * 8, "v8 table");

#ifdef __cplusplus
}
#endif
#endif /* NCCL_NET_ABI_H */
