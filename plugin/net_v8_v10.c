// SPDX-License-Identifier: BSD-3-Clause
/*
 * net_v8_v10.c - the tables below version 11, which know no contexts: one
 * serves all connections of the process. It is open while there is a listener,
 * a connection or one half made: there is no finalize, and nothing of ours may
 * outlive NCCL's use of it, the NIC's settings least of all.
 */
#include <pthread.h>
#include <string.h>

#include "net.h"
#include "trace.h"

static struct {
	pthread_mutex_t lock;
	struct devmem *ctx;
	unsigned int calls; /* that are using ctx */
	bool offered;	    /* the last init found devices */
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Let go of the context; with nothing left open in it, it is closed. */
static void shared_put(void)
{
	pthread_mutex_lock(&shared.lock);
	if (!--shared.calls && shared.ctx && devmem_idle(shared.ctx)) {
		net_close(shared.ctx);
		shared.ctx = NULL;
	}
	pthread_mutex_unlock(&shared.lock);
}

/* Hold the context, if there is one, while something of it is closed. */
static void shared_hold(void)
{
	pthread_mutex_lock(&shared.lock);
	shared.calls++;
	pthread_mutex_unlock(&shared.lock);
}

/*
 * Hold the context, opened if need be, perhaps with a new list of devices; then
 * shared_put(), after errors too.
 */
static ncclResult_t shared_get(bool list, struct devmem **ctx)
{
	ncclResult_t result = ncclSuccess;

	pthread_mutex_lock(&shared.lock);
	shared.calls++;
	if (!shared.ctx)
		result = net_open(list, &shared.ctx);
	*ctx = shared.ctx;
	pthread_mutex_unlock(&shared.lock);
	return result;
}

/*
 * Never fails: NCCL 2.28 would call a finalize that such a table does not have.
 * Without a device NCCL goes on to the next plugin, as after an error.
 */
static ncclResult_t shared_init(ncclDebugLogger_t log)
{
	struct devmem *ctx;
	bool found;

	net_log_to(log);
	found = shared_get(true, &ctx) == ncclSuccess;
	pthread_mutex_lock(&shared.lock);
	shared.offered = found;
	pthread_mutex_unlock(&shared.lock);
	shared_put();
	return ncclSuccess;
}

static ncclResult_t shared_devices(int *ndev)
{
	bool offered;

	pthread_mutex_lock(&shared.lock);
	offered = shared.offered;
	pthread_mutex_unlock(&shared.lock);
	*ndev = 0;
	return offered ? net_devices(ndev) : ncclSuccess;
}

static ncclResult_t shared_listen(int dev, void *handle, void **listen_comm)
{
	struct devmem *ctx;
	ncclResult_t result = shared_get(false, &ctx);

	*listen_comm = NULL;
	if (result == ncclSuccess)
		result = net_listen(ctx, dev, handle, listen_comm);
	shared_put();
	return result;
}

static ncclResult_t shared_connect(int dev, void *handle, void **send_comm,
				   ncclNetDeviceHandle_v11_t **dev_handle)
{
	struct devmem *ctx;
	ncclResult_t result = shared_get(false, &ctx);

	*send_comm = NULL;
	if (result == ncclSuccess)
		result = net_connect(ctx, dev, handle, send_comm, dev_handle);
	shared_put();
	return result;
}

static ncclResult_t shared_close_comm(void *comm)
{
	shared_hold();
	net_close_comm(comm);
	shared_put();
	return ncclSuccess;
}

static ncclResult_t shared_close_listen(void *listen_comm)
{
	shared_hold();
	net_close_listen(listen_comm);
	shared_put();
	return ncclSuccess;
}

static ncclResult_t init_v10(ncclDebugLogger_t log, ncclProfilerCallback_t prof)
{
	trace_to(prof);
	return shared_init(log);
}

static ncclResult_t connect_v10(int dev, ncclNetCommConfig_v11_t *config,
				void *handle, void **send_comm,
				ncclNetDeviceHandle_v11_t **dev_handle)
{
	(void)config;
	return shared_connect(dev, handle, send_comm, dev_handle);
}

/* Versions 9 and 10: all that version 11 has but its last field. */
static ncclResult_t properties_v9(int dev, ncclNetProperties_v9_t *props)
{
	ncclNetProperties_v11_t p;
	ncclResult_t result = net_properties(dev, &p);

	if (result == ncclSuccess)
		memcpy(props, &p, sizeof(*props));
	return result;
}

static ncclResult_t isend_v9(void *send_comm, void *data, size_t size, int tag,
			     void *mhandle, void **request)
{
	return net_isend(send_comm, data, size, tag, mhandle, NULL, request);
}

static ncclResult_t irecv_v9(void *recv_comm, int n, void **data, size_t *sizes,
			     int *tags, void **mhandles, void **request)
{
	return net_irecv(recv_comm, n, data, sizes, tags, mhandles, NULL,
			 request);
}

static ncclResult_t properties_v8(int dev, ncclNetProperties_v8_t *props)
{
	ncclNetProperties_v11_t p;
	ncclResult_t result = net_properties(dev, &p);

	if (result != ncclSuccess)
		return result;
	memset(props, 0, sizeof(*props));
	props->name = p.name;
	props->pciPath = p.pciPath;
	props->guid = p.guid;
	props->ptrSupport = p.ptrSupport;
	props->regIsGlobal = p.regIsGlobal;
	props->speed = p.speed;
	props->port = p.port;
	props->latency = p.latency;
	props->maxComms = p.maxComms;
	props->maxRecvs = p.maxRecvs;
	/* NCCL 2.20 and 2.21 cannot unpack trees (docs/unpack.md). */
	props->netDeviceType = NCCL_NET_DEVICE_HOST;
	props->netDeviceVersion = NCCL_NET_DEVICE_INVALID_VERSION;
	return ncclSuccess;
}

/* A negative size becomes one that is too large, and is refused as such. */
static ncclResult_t isend_v8(void *send_comm, void *data, int size, int tag,
			     void *mhandle, void **request)
{
	return net_isend(send_comm, data, (size_t)size, tag, mhandle, NULL,
			 request);
}

static ncclResult_t irecv_v8(void *recv_comm, int n, void **data, int *sizes,
			     int *tags, void **mhandles, void **request)
{
	size_t size = n > 0 ? (size_t)sizes[0] : 0; /* of more, none is taken */

	return net_irecv(recv_comm, n, data, &size, tags, mhandles, NULL,
			 request);
}

#define SHARED_SLOTS                                                           \
	.devices = shared_devices, .listen = shared_listen,                    \
	.closeSend = shared_close_comm, .closeRecv = shared_close_comm,        \
	.closeListen = shared_close_listen

NET_EXPORT ncclNet_v10_t ncclNetPlugin_v10 = {
	NET_COMMON_SLOTS,
	SHARED_SLOTS,
	.init = init_v10,
	.getProperties = properties_v9,
	.connect = connect_v10,
	.isend = net_isend,
	.irecv = net_irecv,
	.makeVDevice = net_make_vdevice,
};

NET_EXPORT ncclNet_v9_t ncclNetPlugin_v9 = {
	NET_COMMON_SLOTS,
	SHARED_SLOTS,
	.init = shared_init,
	.getProperties = properties_v9,
	.connect = shared_connect,
	.isend = isend_v9,
	.irecv = irecv_v9,
	.makeVDevice = net_make_vdevice,
};

NET_EXPORT ncclNet_v8_t ncclNetPlugin_v8 = {
	NET_COMMON_SLOTS,
	SHARED_SLOTS,
	.init = shared_init,
	.getProperties = properties_v8,
	.connect = shared_connect,
	.isend = isend_v8,
	.irecv = irecv_v8,
};
