// SPDX-License-Identifier: BSD-3-Clause
/*
 * rx_unpack.c - receivers whose payload NCCL's kernels take out of the pool: the
 * memory that they share with us, and when messages and tokens are done. What goes
 * on the lists is in rx_flow.c, the lists themselves are in unpack.c.
 *
 * The connection's progress opens and fills lists, its user says what is consumed:
 * these may be two threads, which share one atomic number.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "gpu.h"
#include "rxpool.h"
#include "unpack.h"
#include "worker.h"

#define RESERVE_TRIES 100000

/*
 * By the engine, not by a copy of the driver's, which would wait for whatever the
 * default stream has to do. NCCL's kernels read it when they begin.
 */
static int write_handle(struct devmem_conn *c, const struct unpack_meta *meta,
			struct why *w)
{
	struct unpack_handle h = {
		.meta = (uintptr_t)meta,
		.bounce = c->rx.rail[0].pool->region.memory.base,
		.head = UNPACK_FIRST_HEAD,
	};
	struct gather_room room = { .bytes = sizeof(h) };
	struct gather_op op = {
		.dst = (void *)(uintptr_t)c->rx.unpack_handle,
		.len = sizeof(h),
	};
	uint64_t ticket;
	int rc, tries = 0;

	/* Another thread may be filling a batch. */
	while ((rc = gather_reserve(c->rx.gather, &room)) == -EAGAIN &&
	       tries++ < RESERVE_TRIES)
		sched_yield();
	if (rc)
		return why(w, rc, "NCCL's unpack handle: the GPU is busy");
	op.host = memcpy(room.stage, &h, sizeof(h));
	rc = gather_submit_one(c->rx.gather, NULL, op, &ticket);
	if (rc || !gather_wait(c->rx.gather, ticket))
		return why(w, rc ?: -EBUSY,
			   "NCCL's unpack handle does not get to the GPU");
	rx_gathers(c, ticket);
	return 0;
}

/* The lists, in host memory, and the handle, on the GPU. */
static int make(struct devmem_conn *c, struct unpack *u, struct why *w)
{
	struct gpu *g = c->gpu;
	struct unpack_meta *meta;
	struct gpu_scope s;
	int rc;

	if (!g->writes_ordered && !g->can_flush)
		return why(
			w, -EOPNOTSUPP,
			"a kernel that runs on %s may not see what a NIC has "
			"written",
			g->name);
	meta = gpu_host_alloc(g, sizeof(*meta));
	if (!meta)
		return why(w, -ENOMEM, "no memory for NCCL's unpack lists");
	unpack_init(u, meta);
	rc = gpu_enter(g, &s);
	rc = rc	   ?:
		     g->cuda->mem_alloc(&c->rx.unpack_handle,
					sizeof(struct unpack_handle));
	gpu_leave(&s);
	if (rc)
		return why(w, cuda_errno(rc), "NCCL's unpack handle: %s",
			   cuda_text(rc));
	return write_handle(c, meta, w);
}

int rx_unpack_new(struct devmem_conn *c, struct why *w)
{
	struct unpack *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return why(w, -ENOMEM, "out of memory");
	rc = make(c, u, w);
	__atomic_store_n(&c->rx.unpack, u, __ATOMIC_RELEASE);
	if (rc)
		rx_unpack_free(c);
	return rc;
}

void rx_unpack_free(struct devmem_conn *c)
{
	struct unpack *u = c->rx.unpack;
	struct gpu_scope s;

	if (!u)
		return;
	if (c->rx.unpack_handle && !gpu_is_stuck(c->gpu)) {
		if (!gpu_enter(c->gpu, &s))
			c->gpu->cuda->mem_free(c->rx.unpack_handle);
		gpu_leave(&s);
	}
	gpu_host_free(c->gpu, u->meta);
	free(u);
	c->rx.unpack = NULL;
}

static int lists_failed(struct devmem_conn *c, int rc)
{
	return conn_fail(c, -EIO, "NCCL's unpack lists: %s", strerror(-rc));
}

int rx_unpack_settle(struct devmem_conn *c)
{
	struct receiver *rx = &c->rx;
	uint64_t consumed = __atomic_load_n(&rx->consumed, __ATOMIC_ACQUIRE);

	while (rx->settled < consumed) {
		int rc = 0;

		if (rx->has_list[rx->settled++ % DEVMEM_MAX_REQUESTS])
			rc = unpack_consume(rx->unpack, rx->unpack->consumed);
		if (rc)
			return lists_failed(c, rc);
	}
	return 0;
}

int rx_unpack_post(struct devmem_conn *c, struct devmem_request *r)
{
	struct receiver *rx = &c->rx;
	int rc = rx_unpack_settle(c);

	rx->has_list[r->seq % DEVMEM_MAX_REQUESTS] = !r->unlisted;
	if (rc || r->unlisted)
		return rc;
	r->number = rx->lists++;
	/* devmem_recv() has seen that there is a list for it. */
	rc = unpack_begin(rx->unpack, r->number, r->size);
	return rc ? lists_failed(c, rc) : 0;
}

/*
 * A kernel that is running looks into the pool next: it has to see what the NIC has
 * written there. Most GPUs see to that by themselves.
 */
static int flush_writes(const struct gpu *g)
{
	struct gpu_scope s;
	int rc;

	if (g->writes_ordered)
		return 0;
	rc = gpu_enter(g, &s);
	rc = rc	   ?:
		     g->cuda->rdma_flush(CUDA_RDMA_FLUSH_TARGET_CTX,
					 CUDA_RDMA_FLUSH_TO_OWNER);
	gpu_leave(&s);
	return rc;
}

/* Its tokens do not wait for the message any more, but for what gathers it. */
static void move_gate(struct token_gate *gate, uint64_t seq, uint64_t ticket)
{
	if (gate->messages != seq + 1)
		return;
	gate->messages = seq;
	if (gate->ticket < ticket)
		gate->ticket = ticket;
}

/* Entries of a list as operations: as many as a list of these holds. */
static uint32_t to_operations(const struct devmem_request *r,
			      const struct unpack_entry *e, uint32_t n,
			      struct gather_list *list)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		struct gather_op op = {
			.dst = r->addr + e[i].dst_off,
			.offset = e[i].src_off,
			.len = e[i].len,
		};

		if (!gather_list_add(list, &op))
			break;
	}
	return i;
}

/* Submit what of the list is not submitted yet. 0, -EAGAIN or the conn's error. */
static int gather_entries(struct devmem_conn *c, struct devmem_request *r,
			  const struct unpack_entry *e, uint32_t n,
			  struct gather_list *list)
{
	while (r->taken < n) {
		struct gather_room room = { .bytes = 0 };
		uint32_t took;
		int rc = rx_reserve(c, &room);

		if (rc)
			return rc;
		list->count = 0;
		list->staged = 0;
		took = to_operations(r, e + r->taken, n - r->taken, list);
		rc = gather_submit(c->rx.gather, list, &r->ticket);
		if (rc)
			return conn_fail(c, rc,
					 "gathering what is on a list: %s",
					 strerror(-rc));
		rx_gathers(c, r->ticket);
		r->taken += took;
	}
	return 0;
}

int rx_unpack_relieve(struct devmem_conn *c, struct devmem_request *r)
{
	const struct unpack_entry *e;
	struct rxpool *pool = c->rx.rail[0].pool;
	struct rx_scratch *s;
	uint32_t n;
	int rc;

	if (!c->rx.unpack || r->unlisted)
		return 0;
	/* Nothing more gets on the list, so that what is there stays as it is. */
	r->gathered = true;
	if (!r->listed)
		return 0;
	s = rxpool_scratch_get(pool);
	if (!s)
		return conn_fail(c, -ENOMEM, "out of memory");
	s->list.pool = (uint8_t *)(uintptr_t)pool->region.memory.base;
	n = unpack_entries(c->rx.unpack, r->number, &e);
	rc = gather_entries(c, r, e, n, &s->list);
	rxpool_scratch_put(pool, s);
	if (rc)
		return rc == -EAGAIN ? 0 : rc;
	unpack_empty(c->rx.unpack, r->number);
	r->listed = false;
	for (unsigned int i = 0; i < c->flows; i++) {
		move_gate(&c->flow[i].tokens_gate, r->seq, r->ticket);
		move_gate(&c->flow[i].waiting_gate, r->seq, r->ticket);
	}
	return 0;
}

int rx_unpack_done(struct devmem_conn *c, const struct devmem_request *r)
{
	int rc;

	if (r->unlisted)
		return 0;
	rc = r->listed ? flush_writes(c->gpu) : 0;
	if (rc)
		return conn_fail(c, -EIO, "flushing a NIC's writes: %s",
				 cuda_text(rc));
	rc = unpack_publish(c->rx.unpack, r->number);
	if (rc == -ECANCELED)
		return conn_fail(c, rc,
				 "another connection has failed, and "
				 "NCCL's kernels may not unpack");
	return rc ? lists_failed(c, rc) : 0;
}

bool rx_unpack_full(const struct devmem_conn *c)
{
	return c->posted - c->rx.consumed >= UNPACK_SLOTS;
}

DEVMEM_API void devmem_unpack_off(struct devmem_conn *c)
{
	c->rx.unpack_off = true;
}

DEVMEM_API void *devmem_unpack_handle(const struct devmem_conn *c,
				      size_t *bytes)
{
	if (!c->rx.unpack)
		return NULL;
	*bytes = sizeof(struct unpack_handle);
	return (void *)(uintptr_t)c->rx.unpack_handle;
}

bool rx_unpack_pending(const struct devmem_conn *c)
{
	return c->rx.unpack &&
	       c->rx.settled <
		       __atomic_load_n(&c->rx.consumed, __ATOMIC_SEQ_CST);
}

DEVMEM_API int devmem_consumed(struct devmem_conn *c)
{
	if (!c->rx.unpack)
		return 0;
	if (c->rx.consumed == c->rx.tested)
		return -EINVAL;
	/* Not to be overlooked by a worker that goes to sleep, as what is posted. */
	__atomic_store_n(&c->rx.consumed, c->rx.consumed + 1, __ATOMIC_SEQ_CST);
	if (c->worker) {
		worker_wake(c->worker);
		return 0;
	}
	/* Nothing else would let the last ones' tokens go back. */
	if (!rx_unpack_settle(c) && !c->err && c->rx.consumed == c->posted)
		rx_settle(c);
	return 0;
}
