/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * link.c - connections as NCCL's transport makes them: listen, handles passed
 * out of band, connect and accept called again until they give a comm, one
 * registered buffer for each, the dma-buf's descriptor closed right after
 * registration, deregMr before close.
 *
 * A link has the same number on all ranks: rank A's tx of link 3 to rank B is
 * B's rx of link 3.
 */
#include <string.h>
#include <unistd.h>

#include "bench.h"

static int listen_all(struct rank *r, char (*handles)[NCCL_NET_HANDLE_MAXSIZE])
{
	const struct plugin *p = &r->plugin;
	ncclResult_t rc;
	struct link *l;
	int i;

	for (i = 0; i < r->nlinks; i++) {
		l = &r->links[i];
		if (l->rx.peer < 0)
			continue;
		rc = p->net->listen(p->ctx, l->dev, handles[i], &l->lcomm);
		if (rc)
			return net_fail(r, "listen", rc, "device %d", l->dev);
	}
	return 0;
}

static int begin_unpack(struct rank *r, struct end *e, int nr)
{
	char why[256];

	if (!rank_gpu(r, why, sizeof(why)))
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "the plugin leaves received data to GPU code: "
				 "%s",
				 why);
	if (unpacker_open(&e->device, &e->unpack, why, sizeof(why)))
		return 0;
	return rank_fail(r, ERR_OTHER, EXIT_FAIL, "link %d from rank %d: %s",
			 nr, e->peer, why);
}

int link_unpack(struct rank *r, struct end *e, void *data, size_t bytes)
{
	char why[256];

	if (!e->unpack ||
	    unpacker_next(e->unpack, (uintptr_t)data, bytes, why, sizeof(why)))
		return 0;
	return rank_fail(r, ERR_DATA, EXIT_FAIL,
			 "unpacking a message from rank %d, at size %zu: %s",
			 e->peer, r->size, why);
}

static void end_unpack(struct rank *r, struct end *e)
{
	char why[256];

	if (e->unpack)
		r->unpacked += unpacker_bytes(e->unpack);
	if (e->unpack && !unpacker_close(e->unpack, why, sizeof(why)))
		rank_fail(r, ERR_OTHER, EXIT_FAIL, "%s", why);
	e->unpack = NULL;
}

/*
 * One call of accept, with a place for the device's handle if there is to be one,
 * as NCCL leaves it: whether GPU code has to unpack, the plugin says there for each
 * connection.
 */
static int accept_step(struct rank *r, struct link *l, int nr, bool *ready)
{
	ncclNetDeviceHandle_v11_t *handle = NULL;
	const struct plugin *p = &r->plugin;
	ncclResult_t rc;

	if (p->unpacks) {
		handle = &l->rx.device;
		unpacker_prepare(handle);
	}
	rc = p->net->accept(l->lcomm, &l->rx.comm, &handle);
	if (rc)
		return net_fail(r, "accept", rc, "link %d from rank %d", nr,
				l->rx.peer);
	if (!l->rx.comm) {
		*ready = false;
		return 0;
	}
	rc = p->net->closeListen(l->lcomm);
	l->lcomm = NULL;
	if (rc)
		return net_fail(r, "closeListen", rc, "link %d", nr);
	return p->unpacks ? begin_unpack(r, &l->rx, nr) : 0;
}

/* One call of connect and one of accept where they are due. */
static int connect_step(struct rank *r, struct link *l, int nr, void *handle,
			bool *ready)
{
	const struct plugin *p = &r->plugin;
	ncclNetDeviceHandle_v11_t *dev_handle = NULL;
	ncclResult_t rc;

	*ready = true;
	if (l->tx.peer >= 0 && !l->tx.comm) {
		rc = p->net->connect(p->ctx, l->dev, handle, &l->tx.comm,
				     &dev_handle);
		if (rc)
			return net_fail(r, "connect", rc, "link %d to rank %d",
					nr, l->tx.peer);
		*ready = l->tx.comm;
	}
	if (l->rx.peer >= 0 && !l->rx.comm)
		return accept_step(r, l, nr, ready);
	return 0;
}

static int connect_all(struct rank *r, char (*handles)[NCCL_NET_HANDLE_MAXSIZE])
{
	bool ready = false, one;
	int i, rc;

	while (!ready) {
		ready = true;
		for (i = 0; i < r->nlinks; i++) {
			rc = connect_step(r, &r->links[i], i, handles[i], &one);
			if (rc)
				return rc;
			ready &= one;
		}
		if (!ready && (rc = rank_idle(r, "connect and accept")))
			return rc;
	}
	return 0;
}

/* The buffer as a dma-buf, which is the plugin's no longer than the call. */
static int register_dmabuf(struct rank *r, struct end *e)
{
	int type = r->memory == MEM_CUDA ? NCCL_PTR_CUDA : NCCL_PTR_HOST, err;
	ncclResult_t rc;

	if (r->memory == MEM_CUDA) {
		err = gpu_export(e->buf.gpu.at, e->buf.size, &e->buf.fd);
		if (err)
			return gpu_fail(r, "a dma-buf of", e->buf.size, err);
	}
	rc = r->plugin.net->regMrDmaBuf(e->comm, e->buf.base, e->buf.size, type,
					0, e->buf.fd, &e->mhandle);
	close(e->buf.fd);
	e->buf.fd = -1;
	if (rc)
		return net_fail(r, "regMrDmaBuf", rc, "%zu bytes of %s memory",
				e->buf.size, memory_name(r->memory));
	return 0;
}

/* Without one: host memory, or GPU memory that is known by its address. */
static int register_plain(struct rank *r, struct end *e)
{
	int type = r->memory == MEM_CUDA ? NCCL_PTR_CUDA : NCCL_PTR_HOST;
	ncclResult_t rc;

	rc = r->plugin.net->regMr(e->comm, e->buf.base, e->buf.size, type,
				  &e->mhandle);
	if (rc)
		return net_fail(r, "regMr", rc, "%zu bytes of %s memory",
				e->buf.size, memory_name(r->memory));
	return 0;
}

/* GPU code is told what the registration is to it; this one needs no such thing. */
static int device_mr(struct rank *r, struct end *e)
{
	const ncclNet_v12_t *net = r->plugin.net;
	void *for_device = NULL;
	ncclResult_t rc;

	if (!r->plugin.unpacks || !net->getDeviceMr)
		return 0;
	rc = net->getDeviceMr(e->comm, e->mhandle, &for_device);
	return rc ? net_fail(r, "getDeviceMr", rc, "of a receiver") : 0;
}

static int end_register(struct rank *r, struct end *e, size_t size)
{
	char why[256];

	if (e->peer < 0)
		return 0;
	if (!buffer_alloc(&e->buf, r->memory, size, why, sizeof(why)))
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "cannot have a buffer of %zu bytes of %s "
				 "memory: %s",
				 size, memory_name(r->memory), why);
	return r->by_dmabuf ? register_dmabuf(r, e) : register_plain(r, e);
}

/*
 * Opens links[0..nlinks-1], whose devices and peers the caller has set (-1:
 * none), and registers a buffer of `buffer_size` for each end.
 */
int links_open(struct rank *r, size_t buffer_size)
{
	static char mine[MAX_LINKS][NCCL_NET_HANDLE_MAXSIZE];
	static char all[MAX_RANKS][GATHER_MAX];
	static char handles[MAX_LINKS][NCCL_NET_HANDLE_MAXSIZE];
	size_t len = (size_t)r->nlinks * NCCL_NET_HANDLE_MAXSIZE;
	int i, rc, peer;

	rc = listen_all(r, mine);
	if (!rc)
		rc = rank_gather(r, mine, len, all, NULL);
	if (rc)
		return rc;
	for (i = 0; i < r->nlinks; i++) {
		peer = r->links[i].tx.peer;
		if (peer >= 0)
			memcpy(handles[i],
			       (char *)all + peer * len +
				       (size_t)i * NCCL_NET_HANDLE_MAXSIZE,
			       NCCL_NET_HANDLE_MAXSIZE);
	}
	rc = connect_all(r, handles);
	for (i = 0; !rc && i < r->nlinks; i++) {
		rc = end_register(r, &r->links[i].tx, buffer_size);
		if (!rc)
			rc = end_register(r, &r->links[i].rx, buffer_size);
		if (!rc && r->links[i].rx.peer >= 0)
			rc = device_mr(r, &r->links[i].rx);
	}
	return rc ? rc : plugin_tune(r);
}

static void end_close(struct rank *r, struct end *e, const char *slot,
		      ncclResult_t (*close_comm)(void *))
{
	const ncclNet_v12_t *net = r->plugin.net;
	ncclResult_t rc;

	end_unpack(r, e);
	if (e->mhandle) {
		rc = net->deregMr(e->comm, e->mhandle);
		if (rc)
			net_fail(r, "deregMr", rc, "at the end");
	}
	if (e->comm) {
		rc = close_comm(e->comm);
		if (rc)
			net_fail(r, slot, rc, "at the end");
	}
	buffer_free(&e->buf);
	e->comm = e->mhandle = NULL;
}

/* Closes what there is; also after an error, with requests outstanding. */
void links_close(struct rank *r)
{
	const ncclNet_v12_t *net = r->plugin.net;
	struct link *l;
	int i;

	for (i = 0; i < r->nlinks; i++) {
		l = &r->links[i];
		end_close(r, &l->tx, "closeSend", net->closeSend);
		end_close(r, &l->rx, "closeRecv", net->closeRecv);
		if (l->lcomm)
			net->closeListen(l->lcomm);
		l->lcomm = NULL;
	}
	r->nlinks = 0;
}
