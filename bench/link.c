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
	dev_handle = NULL;
	if (l->rx.peer >= 0 && !l->rx.comm) {
		rc = p->net->accept(l->lcomm, &l->rx.comm, &dev_handle);
		if (rc)
			return net_fail(r, "accept", rc,
					"link %d from rank "
					"%d",
					nr, l->rx.peer);
		if (!l->rx.comm) {
			*ready = false;
			return 0;
		}
		rc = p->net->closeListen(l->lcomm);
		l->lcomm = NULL;
		if (rc)
			return net_fail(r, "closeListen", rc, "link %d", nr);
	}
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

static int end_register(struct rank *r, struct end *e, size_t size)
{
	const struct plugin *p = &r->plugin;
	bool cuda = p->ptr_support & NCCL_PTR_CUDA;
	ncclResult_t rc;
	int err;

	if (e->peer < 0)
		return 0;
	err = buffer_alloc(&e->buf, r->memory, size);
	if (err)
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "cannot have a "
				 "buffer of %zu bytes of %s memory: %s%s",
				 size,
				 r->memory == MEM_HOST ? "host" : "udmabuf",
				 strerror(-err),
				 r->memory == MEM_HOST ?
					 "" :
					 "; see "
					 "size_limit_mb of the module udmabuf");
	if (r->memory == MEM_HOST) {
		rc = p->net->regMr(e->comm, e->buf.base, e->buf.size,
				   NCCL_PTR_HOST, &e->mhandle);
		if (rc)
			return net_fail(r, "regMr", rc,
					"%zu bytes of host "
					"memory",
					e->buf.size);
		return 0;
	}
	rc = p->net->regMrDmaBuf(e->comm, e->buf.base, e->buf.size,
				 cuda ? NCCL_PTR_CUDA : NCCL_PTR_HOST, 0,
				 e->buf.fd, &e->mhandle);
	close(e->buf.fd);
	e->buf.fd = -1;
	if (rc)
		return net_fail(r, "regMrDmaBuf", rc, "%zu bytes of udmabuf",
				e->buf.size);
	return 0;
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
	}
	return rc;
}

static void end_close(struct rank *r, struct end *e, const char *slot,
		      ncclResult_t (*close_comm)(void *))
{
	const ncclNet_v12_t *net = r->plugin.net;
	ncclResult_t rc;

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
