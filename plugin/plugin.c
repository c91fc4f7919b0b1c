// SPDX-License-Identifier: BSD-3-Clause
/*
 * plugin.c - NCCL's net tables, versions 11 and 12, over devmem.h. Rules of use
 * that their signatures do not tell are in nccl_net_abi.h; older tables are in
 * net_v8_v10.c.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "params.h"
#include "result.h"
#include "trace.h"
#include "tuner.h"

#define MAX_DEVICES 64
/* NCCL's pointers are valid for what a message may be: a request's size. */
#define MAX_MESSAGE_BYTES ((size_t)1 << 30)

static _Atomic(ncclDebugLogger_t) logger;

/*
 * Names and paths that getProperties hands out; NCCL keeps the pointers. First
 * the interfaces, then what NCCL made of several.
 */
static struct devmem_nic_props devices[MAX_DEVICES];
static int interface_count, device_count;
static bool unread; /* NCCL has not counted them since they were listed */
static unsigned int contexts; /* the list stays while there is one */
static bool can_import;	      /* dma-bufs that the CPU can map */
static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;

static void log_to_nccl(void *arg, enum devmem_log_level level,
			const char *file, int line, const char *text)
{
	static const ncclDebugLogLevel to_nccl[] = {
		[DEVMEM_LOG_WARN] = NCCL_LOG_WARN,
		[DEVMEM_LOG_INFO] = NCCL_LOG_INFO,
		[DEVMEM_LOG_TRACE] = NCCL_LOG_TRACE,
	};
	ncclDebugLogger_t fn = atomic_load(&logger);

	(void)arg;
	if (fn)
		fn(to_nccl[level], NCCL_SUBSYS_INIT | NCCL_SUBSYS_NET, file,
		   line, "NET/devmem %s", text);
}

void net_log_to(ncclDebugLogger_t log)
{
	atomic_store(&logger, log);
}

#define PLUGIN_LOG(level, ...)                                         \
	do {                                                           \
		char text_[512];                                       \
		snprintf(text_, sizeof(text_), __VA_ARGS__);           \
		log_to_nccl(NULL, level, "plugin.c", __LINE__, text_); \
	} while (0)
#define PLUGIN_WARN(...) PLUGIN_LOG(DEVMEM_LOG_WARN, __VA_ARGS__)
#define PLUGIN_INFO(...) PLUGIN_LOG(DEVMEM_LOG_INFO, __VA_ARGS__)

/*
 * What NCCL made of several interfaces stays if these are as they were: NCCL may
 * know of it. If it has forgotten, it counts the devices anew.
 */
static void list_devices(struct devmem *d)
{
	struct devmem_nic_props now;
	int count = devmem_nic_count(d), n;
	bool same = true;

	for (n = 0; n < count && n < MAX_DEVICES; n++) {
		devmem_nic_info(d, n, &now);
		if (now.rails > 1)
			break;
		same = same && n < interface_count &&
		       !strcmp(devices[n].name, now.name);
		devices[n] = now;
	}
	if (!same || n != interface_count)
		device_count = n;
	interface_count = n;
	unread = true;
}

/* @list: NCCL asks for the devices next, or holds what it knew of them. */
static void learn_devices(struct devmem *d, const struct devmem_options *o,
			  bool list)
{
	pthread_mutex_lock(&devices_lock);
	if (!contexts++ && list) {
		list_devices(d);
		can_import = o->region == DEVMEM_REGION_UDMABUF;
	}
	pthread_mutex_unlock(&devices_lock);
}

ncclResult_t net_open(bool list, struct devmem **out)
{
	struct devmem_options o;
	char text[256];
	int rc;

	*out = NULL;
	if (params_read(&o, text, sizeof(text))) {
		PLUGIN_WARN("%s", text);
		return ncclInvalidUsage;
	}
	/* What NCCL's tuner was decided by, once. */
	o.unpack = tuner_guards();
	o.log = log_to_nccl;
	rc = devmem_open(&o, out);
	if (!rc)
		learn_devices(*out, &o, list);
	return result_of(rc);
}

void net_close(struct devmem *d)
{
	if (!d)
		return;
	/* First, so that an init meanwhile reads a list that is made anew. */
	pthread_mutex_lock(&devices_lock);
	contexts--;
	pthread_mutex_unlock(&devices_lock);
	devmem_close(d);
}

static ncclResult_t net_init(void **ctx, uint64_t comm_id,
			     ncclNetCommConfig_v11_t *config,
			     ncclDebugLogger_t log, ncclProfilerCallback_t prof)
{
	(void)comm_id;
	(void)config;
	net_log_to(log);
	trace_to(prof);
	return net_open(true, (struct devmem **)ctx);
}

static ncclResult_t net_finalize(void *ctx)
{
	net_close(ctx); /* NULL after an init that failed */
	return ncclSuccess;
}

ncclResult_t net_devices(int *ndev)
{
	pthread_mutex_lock(&devices_lock);
	/* It begins anew, as with a library that it has just loaded. */
	if (unread)
		device_count = interface_count;
	unread = false;
	*ndev = device_count;
	pthread_mutex_unlock(&devices_lock);
	return ncclSuccess;
}

static bool has_device(int dev)
{
	bool has;

	pthread_mutex_lock(&devices_lock);
	has = dev >= 0 && dev < device_count;
	pthread_mutex_unlock(&devices_lock);
	return has;
}

ncclResult_t net_properties(int dev, ncclNetProperties_v11_t *props)
{
	struct devmem_nic_props *d;

	if (!has_device(dev)) {
		PLUGIN_WARN("there is no device %d", dev);
		return ncclInvalidArgument;
	}
	d = &devices[dev];
	/* All of it, padding too: NCCL's copy is uninitialised. */
	memset(props, 0, sizeof(*props));
	props->name = d->name;
	props->pciPath = d->pci_path[0] ? d->pci_path : NULL;
	props->guid = d->guid;
	props->ptrSupport = NCCL_PTR_HOST;
	if (d->gpu_memory)
		props->ptrSupport |= NCCL_PTR_CUDA;
	/* As a dma-buf only what something is done with: by a NIC, or the CPU. */
	if (can_import || (d->gpu_memory && d->gpu_dmabuf && d->devmem_tx))
		props->ptrSupport |= NCCL_PTR_DMABUF;
	props->speed = (int)d->speed_mbps;
	props->maxComms = 65536;
	props->maxRecvs = 1;
	props->netDeviceType = d->unpack ? NCCL_NET_DEVICE_UNPACK :
					   NCCL_NET_DEVICE_HOST;
	props->netDeviceVersion = d->unpack ? NCCL_NET_DEVICE_UNPACK_VERSION :
					      NCCL_NET_DEVICE_INVALID_VERSION;
	props->vProps.ndevs = (int)d->rails;
	_Static_assert(sizeof(d->rail) == sizeof(props->vProps.devs), "rails");
	memcpy(props->vProps.devs, d->rail, sizeof(d->rail));
	props->maxP2pBytes = MAX_MESSAGE_BYTES;
	props->maxCollBytes = MAX_MESSAGE_BYTES;
	props->maxMultiRequestSize = 1;
	return ncclSuccess;
}

/*
 * NCCL numbers devices by the list that it read after init. A context that was
 * made later may have found others, and knows nothing of what was made of
 * several. The device's number there, or -1.
 */
static int number_of(struct devmem *d, int dev)
{
	const struct devmem_nic_props *was;
	struct devmem_nic_props now;
	int nr = -1;

	pthread_mutex_lock(&devices_lock);
	if (dev >= 0 && dev < device_count) {
		was = &devices[dev];
		nr = was->rails > 1 ? devmem_bond(d, was->rail, was->rails) :
				      dev;
		if (devmem_nic_info(d, nr, &now) || strcmp(now.name, was->name))
			nr = -1;
	}
	pthread_mutex_unlock(&devices_lock);
	if (nr < 0)
		PLUGIN_WARN("device %d is not, or no longer, the interface "
			    "that it was when NCCL listed them",
			    dev);
	return nr;
}

/* Is the name in NCCL_NET_FORCE_MERGE: "eth0,eth1;eth2:1,eth3"? */
static bool forced(const char *name)
{
	const char *list = getenv("NCCL_NET_FORCE_MERGE");
	size_t n = strlen(name);

	while (list && *list) {
		if (!strncmp(list, name, n) && strchr(",;:", list[n]))
			return true;
		list += strcspn(list, ",;");
		list += *list != '\0';
	}
	return false;
}

/*
 * Left to itself, NCCL makes one device of all interfaces that are at one place
 * of the machine, and takes those without a place for such. And one that cannot
 * receive by devmem would keep the others from it.
 */
static bool may_bond(const int *devs, int ndevs)
{
	for (int i = 0; i < ndevs; i++) {
		const struct devmem_nic_props *d;

		if (devs[i] < 0 || devs[i] >= interface_count)
			return false;
		d = &devices[devs[i]];
		if (forced(d->name) ||
		    (d->pci_path[0] &&
		     d->devmem_rx == devices[devs[0]].devmem_rx))
			continue;
		PLUGIN_INFO("%.71s becomes part of another device only if "
			    "NCCL_NET_FORCE_MERGE names it: %s",
			    d->name,
			    d->pci_path[0] ?
				    "one of them can receive by devmem" :
				    "it is on no PCI bus");
		return false;
	}
	return true;
}

/* Its number, or -errno. */
static int bond(struct devmem *d, const int *devs, int ndevs)
{
	int nr;

	if (ndevs < 2 || ndevs > DEVMEM_MAX_RAILS || !may_bond(devs, ndevs))
		return -EINVAL;
	if (device_count == MAX_DEVICES)
		return -ENOSPC;
	nr = devmem_bond(d, devs, (unsigned int)ndevs);
	if (nr < 0)
		return nr;
	devmem_nic_info(d, nr, &devices[device_count]);
	PLUGIN_INFO("device %d is %.71s", device_count,
		    devices[device_count].name);
	return device_count++;
}

ncclResult_t net_make_vdevice(int *dev, ncclNetVDeviceProps_v11_t *props)
{
	struct devmem *d;
	ncclResult_t result = net_open(false, &d);
	int rc;

	if (result != ncclSuccess)
		return result;
	pthread_mutex_lock(&devices_lock);
	rc = bond(d, props->devs, props->ndevs);
	pthread_mutex_unlock(&devices_lock);
	net_close(d);
	if (rc < 0)
		return result_of(rc);
	*dev = rc;
	return ncclSuccess;
}

ncclResult_t net_listen(void *ctx, int dev, void *handle, void **listen_comm)
{
	int nr = ctx && handle ? number_of(ctx, dev) : -1;

	*listen_comm = NULL;
	if (nr < 0)
		return ncclInvalidArgument;
	return result_of(devmem_listen(ctx, nr, handle,
				       (struct devmem_listener **)listen_comm));
}

/* "Call again" is success without a result. */
static ncclResult_t result_or_again(int rc)
{
	return rc == -EAGAIN ? ncclSuccess : result_of(rc);
}

ncclResult_t net_connect(void *ctx, int dev, void *handle, void **send_comm,
			 ncclNetDeviceHandle_v11_t **dev_handle)
{
	int nr = ctx && handle ? number_of(ctx, dev) : -1;

	(void)dev_handle; /* no device offload */
	*send_comm = NULL;
	if (nr < 0)
		return ncclInvalidArgument;
	return result_or_again(devmem_connect(
		ctx, nr, handle, (struct devmem_conn **)send_comm));
}

ncclResult_t net_accept(void *listen_comm, void **recv_comm,
			ncclNetDeviceHandle_v11_t **dev_handle)
{
	ncclNetDeviceHandle_v11_t *h = dev_handle ? *dev_handle : NULL;
	struct devmem_conn *c;
	size_t bytes = 0;
	void *unpack;
	/* A handle to be filled in is there where NCCL would unpack. */
	int rc = h ? devmem_accept_unpack(listen_comm, &c) :
		     devmem_accept(listen_comm, &c);

	*recv_comm = c;
	if (rc || !h)
		return result_or_again(rc);
	unpack = devmem_unpack_handle(c, &bytes);
	*h = (ncclNetDeviceHandle_v11_t){
		.netDeviceType = unpack ? NCCL_NET_DEVICE_UNPACK :
					  NCCL_NET_DEVICE_HOST,
		.netDeviceVersion = unpack ? NCCL_NET_DEVICE_UNPACK_VERSION :
					     NCCL_NET_DEVICE_INVALID_VERSION,
		.handle = unpack,
		.size = bytes,
		.needsProxyProgress = 1,
	};
	return ncclSuccess;
}

ncclResult_t net_reg_mr(void *comm, void *data, size_t size, int type,
			void **mhandle)
{
	*mhandle = NULL;
	if (type == NCCL_PTR_CUDA)
		return result_of(devmem_mr_gpu(comm, data, size,
					       (struct devmem_mr **)mhandle));
	if (type != NCCL_PTR_HOST) {
		PLUGIN_WARN("registering memory of type %d: it is neither a "
			    "host's nor a GPU's",
			    type);
		return ncclInvalidUsage;
	}
	return result_of(
		devmem_mr_host(comm, data, size, (struct devmem_mr **)mhandle));
}

ncclResult_t net_reg_mr_dmabuf(void *comm, void *data, size_t size, int type,
			       uint64_t offset, int fd, void **mhandle)
{
	(void)type; /* whose memory it is, the dma-buf knows */
	*mhandle = NULL;
	return result_of(devmem_mr_dmabuf(comm, data, size, offset, fd,
					  (struct devmem_mr **)mhandle));
}

ncclResult_t net_dereg_mr(void *comm, void *mhandle)
{
	if (!mhandle)
		return ncclSuccess;
	return result_of(devmem_mr_release(comm, mhandle));
}

ncclResult_t net_isend(void *send_comm, void *data, size_t size, int tag,
		       void *mhandle, void *phandle, void **request)
{
	int rc;

	(void)tag; /* picks a slot of a grouped receive: there is one */
	*request = NULL;
	if (size > MAX_MESSAGE_BYTES)
		return ncclInvalidArgument;
	rc = devmem_send(send_comm, data, size, mhandle,
			 (struct devmem_request **)request);
	if (!rc)
		trace_begin(*request, true, size, phandle);
	return result_or_again(rc);
}

/*
 * Is NCCL kept from what unpacks nothing though it should? By our tuner, or by its
 * user; asked after NCCL has initialised its tuner, which is after connecting.
 */
static bool unpack_is_safe(void)
{
	const char *pat = getenv("NCCL_PAT_ENABLE");
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (tuner_in_use() || (pat && !strcmp(pat, "0")))
		return true;
	if (!atomic_flag_test_and_set(&said))
		PLUGIN_WARN("NCCL_DEVMEM_UNPACK=1: NCCL does not use this "
			    "library's tuner, so payload is gathered instead; "
			    "set NCCL_TUNER_PLUGIN=libnccl-net-devmem.so, or "
			    "NCCL_PAT_ENABLE=0");
	return false;
}

ncclResult_t net_irecv(void *recv_comm, int n, void **data, size_t *sizes,
		       int *tags, void **mhandles, void **phandles,
		       void **request)
{
	/*
	 * What may complete or not, which here it always does, is LL or LL128:
	 * these protocols unpack nothing.
	 */
	bool unlisted = *request == (void *)NCCL_NET_OPTIONAL_RECV_COMPLETION;
	struct devmem_request **out = (struct devmem_request **)request;
	void *mr = mhandles ? mhandles[0] : NULL;
	int rc;

	(void)tags;
	*request = NULL;
	if (n != 1) {
		PLUGIN_WARN("irecv of %d buffers; this plugin groups none", n);
		return ncclInvalidArgument;
	}
	if (sizes[0] > MAX_MESSAGE_BYTES)
		return ncclInvalidArgument;
	if (devmem_unpack_handle(recv_comm, &(size_t){ 0 }) &&
	    !unpack_is_safe())
		devmem_unpack_off(recv_comm);
	rc = unlisted ? devmem_recv_unlisted(recv_comm, data[0], sizes[0], mr,
					     out) :
			devmem_recv(recv_comm, data[0], sizes[0], mr, out);
	if (!rc)
		trace_begin(*out, false, sizes[0],
			    phandles ? phandles[0] : NULL);
	return result_or_again(rc);
}

ncclResult_t net_iflush(void *recv_comm, int n, void **data, int *sizes,
			void **mhandles, void **request)
{
	(void)recv_comm;
	(void)n;
	(void)data;
	(void)sizes;
	(void)mhandles;
	/*
	 * What test said to be done a CPU or a GPU has placed, or for NCCL's own
	 * unpacking it was flushed before: nothing is left to do.
	 */
	*request = NULL;
	return ncclSuccess;
}

ncclResult_t net_get_device_mr(void *comm, void *mhandle, void **dptr_mhandle)
{
	/* Called for NCCL's own buffers, and not for its users'. */
	devmem_unpack_mr(comm, mhandle);
	*dptr_mhandle = mhandle; /* which no kernel looks at */
	return ncclSuccess;
}

ncclResult_t net_irecv_consumed(void *recv_comm, int n, void *request)
{
	(void)request; /* they come in order */
	(void)n;
	return result_of(devmem_consumed(recv_comm));
}

ncclResult_t net_test(void *request, int *done, int *sizes)
{
	struct trace trace = trace_of(request); /* as long as it is there */
	size_t size = 0;
	int rc;

	*done = 0;
	if (!request)
		return ncclInvalidArgument;
	rc = devmem_test(request, &size);
	if (rc == -EAGAIN)
		return ncclSuccess;
	trace_end(trace);
	if (rc)
		return result_of(rc);
	*done = 1;
	if (sizes)
		sizes[0] = (int)size;
	return ncclSuccess;
}

ncclResult_t net_close_comm(void *comm)
{
	devmem_conn_close(comm);
	return ncclSuccess;
}

ncclResult_t net_close_listen(void *listen_comm)
{
	devmem_listener_close(listen_comm);
	return ncclSuccess;
}

static ncclResult_t net_set_attr(void *ctx, ncclNetAttr_v11_t *attr)
{
	/* Hints about traffic to come; nothing here depends on them. */
	(void)ctx;
	(void)attr;
	return ncclSuccess;
}

/* As version 11; where a device is in the network is not known here. */
static ncclResult_t net_properties_v12(int dev, ncclNetProperties_v12_t *props)
{
	ncclNetProperties_v11_t p;
	ncclResult_t result = net_properties(dev, &p);

	if (result != ncclSuccess)
		return result;
	memset(props, 0, sizeof(*props));
	/* Up to the list of devices, which is longer, they are the same. */
	memcpy(props, &p, offsetof(ncclNetProperties_v11_t, vProps));
	props->vProps.ndevs = p.vProps.ndevs;
	memcpy(props->vProps.devs, p.vProps.devs, sizeof(p.vProps.devs));
	props->maxP2pBytes = p.maxP2pBytes;
	props->maxCollBytes = p.maxCollBytes;
	props->maxMultiRequestSize = p.maxMultiRequestSize;
	props->railId = NCCL_NET_ID_UNDEF;
	props->planeId = NCCL_NET_ID_UNDEF;
	return ncclSuccess;
}

static ncclResult_t make_vdevice_v12(int *dev, ncclNetVDeviceProps_v12_t *props)
{
	ncclNetVDeviceProps_v11_t p = { .ndevs = props->ndevs };

	if (p.ndevs > NCCL_NET_MAX_DEVS_PER_NIC_V11) {
		PLUGIN_INFO("at most %d interfaces become one device, not %d",
			    NCCL_NET_MAX_DEVS_PER_NIC_V11, p.ndevs);
		return ncclInvalidArgument;
	}
	memcpy(p.devs, props->devs, sizeof(p.devs));
	return net_make_vdevice(dev, &p);
}

/* Versions 11 and 12 differ in the properties only. */
#define CONTEXT_SLOTS                                                   \
	.init = net_init, .devices = net_devices, .listen = net_listen, \
	.connect = net_connect, .isend = net_isend, .irecv = net_irecv, \
	.closeSend = net_close_comm, .closeRecv = net_close_comm,       \
	.closeListen = net_close_listen, .finalize = net_finalize,      \
	.setNetAttr = net_set_attr

NET_EXPORT ncclNet_v11_t ncclNetPlugin_v11 = {
	NET_COMMON_SLOTS,
	CONTEXT_SLOTS,
	.getProperties = net_properties,
	.makeVDevice = net_make_vdevice,
};

NET_EXPORT ncclNet_v12_t ncclNetPlugin_v12 = {
	NET_COMMON_SLOTS,
	CONTEXT_SLOTS,
	.getProperties = net_properties_v12,
	.makeVDevice = make_vdevice_v12,
};
