/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lane.c - NCCL's proxies for one link: a buffer of 8 slots for each end,
 * receives of a whole slot posted while slots are free, filled slots sent, the
 * oldest tested first, received slots flushed before the kernel sees them.
 */
#include <string.h>

#include "coll.h"

static size_t slot_at(const struct lane *l, uint64_t nr)
{
	return nr % SLOTS * l->slice;
}

/* As the plugin is told it. */
static char *slot(const struct lane *l, const struct end *e, uint64_t nr)
{
	return (char *)e->buf.base + slot_at(l, nr);
}

static int lane_fail(struct rank *r, const struct lane *l, const char *name,
		     bool send, uint64_t nr, size_t bytes, ncclResult_t rc)
{
	return net_fail(r, name, rc,
			"%s rank %d on link %d, message %llu of %zu bytes",
			send ? "to" : "from",
			send ? l->link->tx.peer : l->link->rx.peer, l->nr,
			(unsigned long long)nr, bytes);
}

const float *lane_read(struct rank *r, struct lane *l)
{
	const struct buffer *b = &l->link->rx.buf;
	size_t n = l->rsize[l->rused % SLOTS], at = slot_at(l, l->rused);
	int rc = buffer_read(b, at, n);

	if (rc) {
		gpu_fail(r, "reading", n, rc);
		return NULL;
	}
	return (const float *)((const char *)b->cpu + at);
}

float *lane_room(const struct lane *l)
{
	char *cpu = l->link->tx.buf.cpu;

	return (float *)(cpu + slot_at(l, l->sfilled));
}

bool lane_readable(const struct lane *l)
{
	return l->rused < l->rflushed;
}

bool lane_writable(const struct lane *l)
{
	return l->sfilled - l->sdone < SLOTS;
}

int lane_consumed(struct rank *r, struct lane *l)
{
	const struct plugin *p = &r->plugin;
	ncclResult_t rc;

	if (p->net->irecvConsumed) {
		rc = p->net->irecvConsumed(l->link->rx.comm, 1,
					   l->consumed[l->rused % SLOTS]);
		if (rc)
			return lane_fail(r, l, "irecvConsumed", false, l->rused,
					 0, rc);
	}
	l->rused++;
	return 0;
}

int lane_filled(struct rank *r, struct lane *l, size_t bytes)
{
	int rc = buffer_write(&l->link->tx.buf, slot_at(l, l->sfilled), bytes);

	if (rc)
		return gpu_fail(r, "writing", bytes, rc);
	l->ssize[l->sfilled++ % SLOTS] = bytes;
	return 0;
}

static int post_recvs(struct rank *r, struct lane *l, bool *moved)
{
	const struct plugin *p = &r->plugin;
	struct end *e = &l->link->rx;
	size_t bytes = l->slice;
	ncclResult_t rc;
	void *data, *req;
	int tag = l->nr;

	while (l->rposted < l->rtotal && l->rposted - l->rused < SLOTS) {
		data = slot(l, e, l->rposted);
		req = NULL;
		rc = p->net->irecv(e->comm, 1, &data, &bytes, &tag, &e->mhandle,
				   NULL, &req);
		if (rc)
			return lane_fail(r, l, "irecv", false, l->rposted,
					 bytes, rc);
		if (!req)
			break;
		l->rreq[l->rposted++ % SLOTS] = req;
		*moved = true;
	}
	return 0;
}

/* NCCL flushes receives into GPU memory, those of 0 bytes aside. */
static int start_flush(struct rank *r, struct lane *l, int bytes)
{
	const struct plugin *p = &r->plugin;
	struct end *e = &l->link->rx;
	void *data = slot(l, e, l->rdone);
	void *req = NULL;
	ncclResult_t rc;

	l->freq[l->rdone % SLOTS] = NULL;
	if (r->memory == MEM_HOST || !bytes)
		return 0;
	rc = p->net->iflush(e->comm, 1, &data, &bytes, &e->mhandle, &req);
	if (rc)
		return lane_fail(r, l, "iflush", false, l->rdone, bytes, rc);
	l->freq[l->rdone % SLOTS] = req;
	return 0;
}

static int test_recvs(struct rank *r, struct lane *l, bool *moved)
{
	const struct plugin *p = &r->plugin;
	int done, sizes[64], err;
	ncclResult_t rc;

	while (l->rdone < l->rposted) {
		memset(sizes, 0, sizeof(sizes));
		done = 0;
		rc = p->net->test(l->rreq[l->rdone % SLOTS], &done, sizes);
		if (rc)
			return lane_fail(r, l, "test", false, l->rdone,
					 l->slice, rc);
		if (!done)
			break;
		if (sizes[0] < 0 || (size_t)sizes[0] > l->slice)
			return rank_fail(r, ERR_DATA, EXIT_FAIL,
					 "test of a receive from rank %d on "
					 "link %d, message %llu, at size %zu: "
					 "%d bytes received, %zu were posted",
					 l->link->rx.peer, l->nr,
					 (unsigned long long)l->rdone, r->size,
					 sizes[0], l->slice);
		l->rsize[l->rdone % SLOTS] = (size_t)sizes[0];
		l->consumed[l->rdone % SLOTS] = l->rreq[l->rdone % SLOTS];
		err = start_flush(r, l, sizes[0]);
		if (err)
			return err;
		l->rdone++;
		*moved = true;
	}
	return 0;
}

static int test_flushes(struct rank *r, struct lane *l, bool *moved)
{
	const struct plugin *p = &r->plugin;
	struct end *e = &l->link->rx;
	int done, err;
	ncclResult_t rc;
	void *req;

	while (l->rflushed < l->rdone) {
		req = l->freq[l->rflushed % SLOTS];
		done = !req;
		if (req) {
			rc = p->net->test(req, &done, NULL);
			if (rc)
				return lane_fail(r, l, "test of iflush", false,
						 l->rflushed, 0, rc);
		}
		if (!done)
			break;
		err = link_unpack(r, e, slot(l, e, l->rflushed),
				  l->rsize[l->rflushed % SLOTS]);
		if (err)
			return err;
		l->rflushed++;
		*moved = true;
	}
	return 0;
}

static int post_sends(struct rank *r, struct lane *l, bool *moved)
{
	const struct plugin *p = &r->plugin;
	struct end *e = &l->link->tx;
	ncclResult_t rc;
	size_t bytes;
	void *req;

	while (l->sposted < l->sfilled) {
		bytes = l->ssize[l->sposted % SLOTS];
		req = NULL;
		rc = p->net->isend(e->comm, slot(l, e, l->sposted), bytes,
				   l->nr, e->mhandle, NULL, &req);
		if (rc)
			return lane_fail(r, l, "isend", true, l->sposted, bytes,
					 rc);
		if (!req)
			break;
		l->sreq[l->sposted++ % SLOTS] = req;
		*moved = true;
	}
	return 0;
}

static int test_sends(struct rank *r, struct lane *l, bool *moved)
{
	const struct plugin *p = &r->plugin;
	int done, size;
	ncclResult_t rc;

	while (l->sdone < l->sposted) {
		done = size = 0;
		rc = p->net->test(l->sreq[l->sdone % SLOTS], &done, &size);
		if (rc)
			return lane_fail(r, l, "test", true, l->sdone,
					 l->ssize[l->sdone % SLOTS], rc);
		if (!done)
			break;
		l->sdone++;
		*moved = true;
	}
	return 0;
}

int lane_progress(struct rank *r, struct lane *l, bool *moved)
{
	int rc = post_recvs(r, l, moved);

	rc = rc ? rc : test_recvs(r, l, moved);
	rc = rc ? rc : test_flushes(r, l, moved);
	rc = rc ? rc : post_sends(r, l, moved);
	return rc ? rc : test_sends(r, l, moved);
}
