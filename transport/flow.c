// SPDX-License-Identifier: BSD-3-Clause
/*
 * flow.c - what a flow is to carry next: runs of bytes of messages.
 */
#include "conn.h"

bool flow_push(struct flow *f, struct devmem_request *req, size_t offset,
	       size_t len)
{
	struct run *last;

	if (f->count) {
		last = &f->run[(f->first + f->count - 1) % FLOW_RUNS];
		if (last->req == req && last->offset + last->len == offset) {
			last->len += len;
			f->pending += len;
			return true;
		}
	}
	if (f->count == FLOW_RUNS)
		return false;
	f->run[(f->first + f->count++) % FLOW_RUNS] =
		(struct run){ .req = req, .offset = offset, .len = len };
	f->pending += len;
	return true;
}

unsigned int flow_iov(const struct flow *f, struct iovec *iov, unsigned int max,
		      size_t *bytes)
{
	unsigned int n = f->count < max ? f->count : max;

	*bytes = 0;
	for (unsigned int i = 0; i < n; i++) {
		const struct run *r = &f->run[(f->first + i) % FLOW_RUNS];
		size_t len = r->len;

		if (r->req->mem || (i && r->req->alone) ||
		    (r->req->device && !r->req->conn->is_sender))
			return i;
		iov[i].iov_base =
			(void *)(uintptr_t)tx_bytes(r->req, r->offset, &len);
		iov[i].iov_len = len;
		*bytes += len;
		if (r->req->alone || len < r->len)
			return i + 1;
	}
	return n;
}

void flow_advance(struct flow *f, size_t n)
{
	f->pending -= n;
	while (n) {
		struct run *r = &f->run[f->first];
		size_t step = n < r->len ? n : r->len;

		r->req->moved += step;
		r->offset += step;
		r->len -= step;
		n -= step;
		if (!r->len) {
			f->first = (f->first + 1) % FLOW_RUNS;
			f->count--;
		}
	}
}

unsigned int conn_cut(const struct devmem_conn *c, struct iovec *iov,
		      unsigned int n)
{
	size_t left = c->budget;

	for (unsigned int i = 0; i < n; i++) {
		if (iov[i].iov_len >= left) {
			iov[i].iov_len = left;
			return i + 1;
		}
		left -= iov[i].iov_len;
	}
	return n;
}

bool conn_runs_left(const struct devmem_conn *c)
{
	for (unsigned int i = 0; i < c->flows; i++)
		if (c->flow[i].count)
			return true;
	return false;
}
