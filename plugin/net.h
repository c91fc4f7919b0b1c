/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net.h - what the tables of all versions share: the slots whose form is that
 * of version 11, and the two ends of a context's life.
 */
#ifndef PLUGIN_NET_H
#define PLUGIN_NET_H

#include <stdbool.h>

#include "devmem.h"
#include "nccl_net_abi.h"

#define NET_NAME   "devmem"
#define NET_EXPORT __attribute__((visibility("default")))

/* NCCL's logger, for the whole process: the last one that was given counts. */
void net_log_to(ncclDebugLogger_t log);

/**
 * net_open() - a context, made as the environment says.
 * @list: make the list of devices, unless a context holds the one there is
 */
ncclResult_t net_open(bool list, struct devmem **out);
/* NULL is allowed. */
void net_close(struct devmem *d);

/* Slots. Any thread, unless nccl_net_abi.h says otherwise. */
ncclResult_t net_devices(int *ndev);
ncclResult_t net_properties(int dev, ncclNetProperties_v11_t *props);
ncclResult_t net_make_vdevice(int *dev, ncclNetVDeviceProps_v11_t *props);
ncclResult_t net_listen(void *ctx, int dev, void *handle, void **listen_comm);
ncclResult_t net_connect(void *ctx, int dev, void *handle, void **send_comm,
			 ncclNetDeviceHandle_v11_t **dev_handle);
ncclResult_t net_accept(void *listen_comm, void **recv_comm,
			ncclNetDeviceHandle_v11_t **dev_handle);
ncclResult_t net_reg_mr(void *comm, void *data, size_t size, int type,
			void **mhandle);
ncclResult_t net_reg_mr_dmabuf(void *comm, void *data, size_t size, int type,
			       uint64_t offset, int fd, void **mhandle);
ncclResult_t net_dereg_mr(void *comm, void *mhandle);
ncclResult_t net_isend(void *send_comm, void *data, size_t size, int tag,
		       void *mhandle, void *phandle, void **request);
ncclResult_t net_irecv(void *recv_comm, int n, void **data, size_t *sizes,
		       int *tags, void **mhandles, void **phandles,
		       void **request);
ncclResult_t net_iflush(void *recv_comm, int n, void **data, int *sizes,
			void **mhandles, void **request);
ncclResult_t net_test(void *request, int *done, int *sizes);
ncclResult_t net_get_device_mr(void *comm, void *mhandle, void **dptr_mhandle);
ncclResult_t net_irecv_consumed(void *recv_comm, int n, void *request);
ncclResult_t net_close_comm(void *comm);
ncclResult_t net_close_listen(void *listen_comm);

/* What every version's table has. */
#define NET_COMMON_SLOTS                                             \
	.name = NET_NAME, .accept = net_accept, .regMr = net_reg_mr, \
	.regMrDmaBuf = net_reg_mr_dmabuf, .deregMr = net_dereg_mr,   \
	.iflush = net_iflush, .test = net_test,                      \
	.getDeviceMr = net_get_device_mr,                            \
	.irecvConsumed = net_irecv_consumed

#endif /* PLUGIN_NET_H */
