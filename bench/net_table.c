/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_table.c - see net_table.h. A slot has no argument of ours, so the tables
 * behind those of the newest form are the process's.
 */
#include "net_table.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const ncclNet_v8_t *net8;
static const ncclNet_v9_t *net9;
static const ncclNet_v10_t *net10;
static const ncclNet_v11_t *net11;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int users[NET_TABLE_NEWEST + 1]; /* of the versions without contexts */

/* The user has asked for no traffic class. */
static ncclNetCommConfig_v11_t no_config = { .trafficClass = -1 };

/* ---- properties ------------------------------------------------------------- */

static void widen_properties(ncclNetProperties_v12_t *to,
			     const ncclNetProperties_v11_t *from)
{
	const ncclNetVDeviceProps_v11_t *v = &from->vProps;

	memset(to, 0, sizeof(*to));
	/* Up to the list of devices, which is longer, they are the same. */
	memcpy(to, from, offsetof(ncclNetProperties_v11_t, vProps));
	to->vProps.ndevs = v->ndevs;
	memcpy(to->vProps.devs, v->devs, sizeof(v->devs));
	to->maxP2pBytes = from->maxP2pBytes;
	to->maxCollBytes = from->maxCollBytes;
	to->maxMultiRequestSize = from->maxMultiRequestSize;
	to->railId = to->planeId = NCCL_NET_ID_UNDEF;
}

static ncclResult_t properties_v11(int dev, ncclNetProperties_v12_t *props)
{
	ncclNetProperties_v11_t in = { 0 };
	ncclResult_t rc = net11->getProperties(dev, &in);

	if (rc == ncclSuccess)
		widen_properties(props, &in);
	return rc;
}

/* Versions 9 and 10 have all of version 11's but its last field. */
static ncclResult_t read_v9(ncclResult_t (*get)(int dev,
						ncclNetProperties_v9_t *props),
			    int dev, ncclNetProperties_v12_t *props)
{
	ncclNetProperties_v11_t in = { 0 };
	ncclNetProperties_v9_t old = { 0 };
	ncclResult_t rc = get(dev, &old);

	if (rc != ncclSuccess)
		return rc;
	memcpy(&in, &old, sizeof(old));
	in.maxMultiRequestSize = 1;
	widen_properties(props, &in);
	return ncclSuccess;
}

static ncclResult_t properties_v10(int dev, ncclNetProperties_v12_t *props)
{
	return read_v9(net10->getProperties, dev, props);
}

static ncclResult_t properties_v9(int dev, ncclNetProperties_v12_t *props)
{
	return read_v9(net9->getProperties, dev, props);
}

static ncclResult_t properties_v8(int dev, ncclNetProperties_v12_t *props)
{
	ncclNetProperties_v8_t in = { 0 };
	ncclResult_t rc = net8->getProperties(dev, &in);

	if (rc != ncclSuccess)
		return rc;
	*props = (ncclNetProperties_v12_t){
		.name = in.name,
		.pciPath = in.pciPath,
		.guid = in.guid,
		.ptrSupport = in.ptrSupport,
		.regIsGlobal = in.regIsGlobal,
		.speed = in.speed,
		.port = in.port,
		.latency = in.latency,
		.maxComms = in.maxComms,
		.maxRecvs = in.maxRecvs,
		.netDeviceType = in.netDeviceType,
		.netDeviceVersion = in.netDeviceVersion,
		.vProps = { .ndevs = 1, .devs = { dev } },
		.maxP2pBytes = NCCL_NET_MAX_INT_SIZE,
		.maxCollBytes = NCCL_NET_MAX_INT_SIZE,
		.maxMultiRequestSize = 1,
		.railId = NCCL_NET_ID_UNDEF,
		.planeId = NCCL_NET_ID_UNDEF,
	};
	return ncclSuccess;
}

/* ---- contexts, below version 11 --------------------------------------------- */

static ncclResult_t enter(int version, ncclDebugLogger_t log,
			  ncclProfilerCallback_t prof)
{
	ncclResult_t rc = ncclSuccess;

	pthread_mutex_lock(&lock);
	if (!users[version])
		rc = version == 8 ? net8->init(log) :
		     version == 9 ? net9->init(log) :
				    net10->init(log, prof);
	if (rc == ncclSuccess)
		users[version]++;
	pthread_mutex_unlock(&lock);
	return rc;
}

/* @ctx: NULL after an init that failed. */
static ncclResult_t leave(int version, void *ctx)
{
	pthread_mutex_lock(&lock);
	if (ctx && users[version])
		users[version]--;
	pthread_mutex_unlock(&lock);
	return ncclSuccess;
}

/* What differs by no more than the context, and by connect's arguments. */
#define WITHOUT_CONTEXTS(v, ...)                                               \
	static ncclResult_t init_v##v(                                         \
		void **ctx, uint64_t comm_id, ncclNetCommConfig_v11_t *config, \
		ncclDebugLogger_t log, ncclProfilerCallback_t prof)            \
	{                                                                      \
		(void)comm_id;                                                 \
		(void)config;                                                  \
		*ctx = &users[v];                                              \
		return enter(v, log, prof);                                    \
	}                                                                      \
                                                                               \
	static ncclResult_t finalize_v##v(void *ctx)                           \
	{                                                                      \
		return leave(v, ctx);                                          \
	}                                                                      \
                                                                               \
	static ncclResult_t listen_v##v(void *ctx, int dev, void *handle,      \
					void **comm)                           \
	{                                                                      \
		(void)ctx;                                                     \
		return net##v->listen(dev, handle, comm);                      \
	}                                                                      \
                                                                               \
	static ncclResult_t connect_v##v(void *ctx, int dev, void *handle,     \
					 void **comm,                          \
					 ncclNetDeviceHandle_v11_t **device)   \
	{                                                                      \
		(void)ctx;                                                     \
		return net##v->connect(dev, __VA_ARGS__, comm, device);        \
	}

WITHOUT_CONTEXTS(8, handle)
WITHOUT_CONTEXTS(9, handle)
WITHOUT_CONTEXTS(10, &no_config, handle)

/* ---- messages, below version 10 ---------------------------------------------- */

static ncclResult_t isend_v9(void *comm, void *data, size_t size, int tag,
			     void *mhandle, void *phandle, void **request)
{
	(void)phandle;
	return net9->isend(comm, data, size, tag, mhandle, request);
}

static ncclResult_t irecv_v9(void *comm, int n, void **data, size_t *sizes,
			     int *tags, void **mhandles, void **phandles,
			     void **request)
{
	(void)phandles;
	return net9->irecv(comm, n, data, sizes, tags, mhandles, request);
}

/* The size is cut to an int, whatever it is. */
static ncclResult_t isend_v8(void *comm, void *data, size_t size, int tag,
			     void *mhandle, void *phandle, void **request)
{
	(void)phandle;
	return net8->isend(comm, data, (int)size, tag, mhandle, request);
}

static ncclResult_t irecv_v8(void *comm, int n, void **data, size_t *sizes,
			     int *tags, void **mhandles, void **phandles,
			     void **request)
{
	int ints[NET_TABLE_MAX_RECVS], i;

	(void)phandles;
	if (n > NET_TABLE_MAX_RECVS)
		return ncclInvalidArgument;
	for (i = 0; i < n; i++)
		ints[i] = (int)sizes[i];
	/* NCCL keeps the hint that version 9 brought to itself. */
	if (*request == (void *)NCCL_NET_OPTIONAL_RECV_COMPLETION)
		*request = NULL;
	return net8->irecv(comm, n, data, ints, tags, mhandles, request);
}

/* ---- virtual devices, of versions 9 to 11 ------------------------------------ */

static ncclResult_t
make_v11(ncclResult_t (*make)(int *dev, ncclNetVDeviceProps_v11_t *props),
	 int *dev, const ncclNetVDeviceProps_v12_t *props)
{
	ncclNetVDeviceProps_v11_t old = { .ndevs = props->ndevs };

	if (props->ndevs < 0 || props->ndevs > NCCL_NET_MAX_DEVS_PER_NIC_V11)
		return ncclInvalidArgument;
	memcpy(old.devs, props->devs, sizeof(old.devs));
	return make(dev, &old);
}

#define MAKE_VDEVICE(v)                                                    \
	static ncclResult_t vdevice_v##v(int *dev,                         \
					 ncclNetVDeviceProps_v12_t *props) \
	{                                                                  \
		return make_v11(net##v->makeVDevice, dev, props);          \
	}

MAKE_VDEVICE(9)
MAKE_VDEVICE(10)
MAKE_VDEVICE(11)

/* ---- tables ------------------------------------------------------------------ */

/* A slot of ours for one of the old table that is there. */
#define SHIM(slot, net, function) .slot = (net)->slot ? (function) : NULL

#define SAME_SLOTS(net)                                                       \
	.name = (net)->name, .devices = (net)->devices,                       \
	.accept = (net)->accept, .regMr = (net)->regMr,                       \
	.regMrDmaBuf = (net)->regMrDmaBuf, .deregMr = (net)->deregMr,         \
	.iflush = (net)->iflush, .test = (net)->test,                         \
	.closeSend = (net)->closeSend, .closeRecv = (net)->closeRecv,         \
	.closeListen = (net)->closeListen, .getDeviceMr = (net)->getDeviceMr, \
	.irecvConsumed = (net)->irecvConsumed

#define OLD_SLOTS(v)                                          \
	SAME_SLOTS(net##v), SHIM(init, net##v, init_v##v),    \
		SHIM(getProperties, net##v, properties_v##v), \
		SHIM(listen, net##v, listen_v##v),            \
		SHIM(connect, net##v, connect_v##v), .finalize = finalize_v##v

static void use_v8(ncclNet_v12_t *table, const ncclNet_v8_t *net)
{
	net8 = net;
	*table = (ncclNet_v12_t){
		OLD_SLOTS(8),
		SHIM(isend, net, isend_v8),
		SHIM(irecv, net, irecv_v8),
	};
}

static void use_v9(ncclNet_v12_t *table, const ncclNet_v9_t *net)
{
	net9 = net;
	*table = (ncclNet_v12_t){
		OLD_SLOTS(9),
		SHIM(isend, net, isend_v9),
		SHIM(irecv, net, irecv_v9),
		SHIM(makeVDevice, net, vdevice_v9),
	};
}

static void use_v10(ncclNet_v12_t *table, const ncclNet_v10_t *net)
{
	net10 = net;
	*table = (ncclNet_v12_t){
		OLD_SLOTS(10),
		.isend = net->isend,
		.irecv = net->irecv,
		SHIM(makeVDevice, net, vdevice_v10),
	};
}

static void use_v11(ncclNet_v12_t *table, const ncclNet_v11_t *net)
{
	net11 = net;
	*table = (ncclNet_v12_t){
		SAME_SLOTS(net),
		.init = net->init,
		SHIM(getProperties, net, properties_v11),
		.listen = net->listen,
		.connect = net->connect,
		.isend = net->isend,
		.irecv = net->irecv,
		SHIM(makeVDevice, net, vdevice_v11),
		.finalize = net->finalize,
		.setNetAttr = net->setNetAttr,
	};
}

const ncclNet_v12_t *net_table(void *library, int version)
{
	static const void *nets[NET_TABLE_NEWEST + 1];
	static ncclNet_v12_t tables[NET_TABLE_NEWEST + 1];
	char symbol[32];
	const void *net;

	if (version < NET_TABLE_OLDEST || version > NET_TABLE_NEWEST)
		return NULL;
	snprintf(symbol, sizeof(symbol), "ncclNetPlugin_v%d", version);
	net = dlsym(library, symbol);
	if (!net || version == 12)
		return net;
	pthread_mutex_lock(&lock);
	if (nets[version] != net) {
		users[version] = 0;
		nets[version] = net;
		if (version == 8)
			use_v8(&tables[8], net);
		else if (version == 9)
			use_v9(&tables[9], net);
		else if (version == 10)
			use_v10(&tables[10], net);
		else
			use_v11(&tables[11], net);
	}
	pthread_mutex_unlock(&lock);
	return &tables[version];
}
