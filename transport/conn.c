// SPDX-License-Identifier: BSD-3-Clause
/*
 * conn.c - what senders and receivers have in common: requests, runs, failure,
 * closing; see conn.h.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "gpu.h"
#include "lease.h"
#include "nic.h"
#include "sock.h"
#include "worker.h"

/* Messages of a connection over several rails that do not all go by control. */
#define SPREAD_BYTES (64u << 10)
/* To be on their way on control within a host; the kernel takes it twice. */
#define LOCAL_BYTES (512 << 10)
/*
 * Of messages up to that size one in so many is timed: asking for the time takes as
 * long as some percent of them. Not a power of two, which would meet the same step
 * of a user's again and again.
 */
#define TIMED_BYTES 8192u
#define TIMED_EVERY 17u

struct devmem_conn *conn_new(struct devmem *ctx, const struct device *dev,
			     unsigned int rails, bool is_sender)
{
	const struct devmem_options *o = ctx_options(ctx);
	struct devmem_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->record = stats_record_new();
	if (!c->record) {
		free(c);
		return NULL;
	}
	c->stats = &c->record->counters;
	c->timed = stats_timed();
	c->ctx = ctx;
	c->dev = dev;
	c->rails = rails;
	c->is_sender = is_sender;
	c->control.fd = -1;
	c->inline_bytes = o->inline_bytes;
	/* What is one chunk with one interface is one for each of several. */
	c->tx.chunk_bytes = o->chunk_bytes / rails;
	if (c->tx.chunk_bytes < DEVMEM_MIN_CHUNK)
		c->tx.chunk_bytes = DEVMEM_MIN_CHUNK;
	zerocopy_init(c);
	c->budget = SIZE_MAX;
	pthread_mutex_init(&c->mr_lock, NULL);
	ctx_add(ctx, c);
	return c;
}

int conn_make_flows(struct devmem_conn *c, unsigned int count)
{
	c->flow = calloc(count, sizeof(*c->flow));
	if (!c->flow)
		return -ENOMEM;
	c->flows = count;
	for (unsigned int i = 0; i < count; i++) {
		c->flow[i].fd = -1;
		c->flow[i].rail = i % c->rails;
	}
	return 0;
}

const char *conn_nic(const struct devmem_conn *c, const struct flow *f)
{
	return c->dev->rail[f->rail]->info.name;
}

struct wire_hello conn_hello(const struct devmem_conn *c)
{
	const struct devmem_options *o = ctx_options(c->ctx);
	/* What is in device memory is never inline, and needs its grant. */
	bool any = !c->is_sender || !c->dev->info.devmem_tx;
	size_t eager = c->is_sender ? o->eager_bytes : UINT32_MAX;
	struct wire_hello hello = {
		.major = WIRE_VERSION_MAJOR,
		.minor = WIRE_VERSION_MINOR,
		.inline_bytes = any ? (uint32_t)o->inline_bytes : 0,
	};

	/* Control goes by one of the rails: more than that by all. */
	if (c->rails > 1 && eager > SPREAD_BYTES)
		eager = SPREAD_BYTES;
	hello.eager_bytes = (uint32_t)eager;
	return hello;
}

void conn_settle(struct devmem_conn *c, bool host)
{
	uint32_t mine = conn_hello(c).eager_bytes;
	size_t eager = mine < c->peer_eager ? mine : c->peer_eager;

	if (host && eager > c->inline_bytes)
		c->inline_bytes = eager;
	c->ungranted = host && c->peer_minor >= 1;
	if (!c->is_sender)
		wire_reader_inline_early(&c->control.in,
					 c->inline_bytes > WIRE_MAX_PAYLOAD ?
						 (uint32_t)c->inline_bytes :
						 WIRE_MAX_PAYLOAD);
}

int conn_fail(struct devmem_conn *c, int err, const char *fmt, ...)
{
	char peer[ADDR_TEXT];
	va_list ap;

	if (c->err)
		return c->err;
	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	ctx_withdraw(c->ctx);
	/* Whoever sees that it failed may read why. */
	__atomic_store_n(&c->err, err, __ATOMIC_RELEASE);
	stats_record_failed(c->record, err, c->error);
	DEVMEM_PROBE(connection_failed, c->record->id, -err, c->error);
	WARN("%s %s on %s: %s", c->is_sender ? "sending to" : "receiving from",
	     addr_text(&c->peer, true, peer, sizeof(peer)), c->dev->info.name,
	     c->error);

	/* Best effort: a full socket means that the peer does not listen. */
	if (!c->control.eof && c->control.out && control_may_speak(c) &&
	    control_has_room(&c->control, WIRE_MAX_RECORD)) {
		control_put_done(&c->control,
				 wire_put_error(control_put(&c->control), -err,
						c->error));
		control_flush(c);
	}
	return err;
}

struct devmem_request *conn_active(struct devmem_conn *c, uint64_t seq)
{
	struct devmem_request *r = conn_request(c, seq);

	return conn_is_active(c, seq % DEVMEM_MAX_REQUESTS) && r->seq == seq ?
		       r :
		       NULL;
}

/* Calls that move nothing between two looks at the clock. */
#define IDLE_CALLS 256
#define LOOK_MS	   500

int conn_idle(struct devmem_conn *c)
{
	unsigned int limit = ctx_options(c->ctx)->timeout;
	uint64_t now, silent;

	if (c->err || ++c->idle_calls % IDLE_CALLS)
		return c->err;
	now = now_ms();
	if (now < c->look_at)
		return 0;
	c->look_at = now + LOOK_MS;
	silent = sock_silent_ms(c->control.fd);
	for (unsigned int i = 0; i < c->flows; i++) {
		uint64_t ms = sock_silent_ms(c->flow[i].fd);

		silent = ms > silent ? ms : silent;
	}
	if (silent < limit * 1000ull)
		return 0;
	return conn_fail(c, -ETIMEDOUT,
			 "its host has answered nothing for %u s "
			 "(NCCL_DEVMEM_TIMEOUT)",
			 limit);
}

static bool request_done(struct devmem_conn *c, const struct devmem_request *r)
{
	return c->is_sender ? tx_done(c, r) : rx_done(c, r);
}

static enum request_state *state_of(const struct devmem_request *r)
{
	return &r->conn->state[r - r->conn->request];
}

static void request_set(const struct devmem_request *r,
			enum request_state state)
{
	__atomic_store_n(state_of(r), state, __ATOMIC_RELEASE);
}

static int conn_err(const struct devmem_conn *c)
{
	return __atomic_load_n(&c->err, __ATOMIC_ACQUIRE);
}

bool conn_is_posted(struct devmem_conn *c)
{
	/* Not to be overlooked before sleep, see worker_wake(). */
	return __atomic_load_n(&c->state[c->next_seq % DEVMEM_MAX_REQUESTS],
			       __ATOMIC_SEQ_CST) == REQUEST_POSTED;
}

bool conn_under_way(struct devmem_conn *c)
{
	return c->oldest < c->next_seq || conn_is_posted(c) ||
	       rx_unpack_pending(c);
}

static void take_posted(struct devmem_conn *c)
{
	while (conn_is_posted(c)) {
		struct devmem_request *r = conn_request(c, c->next_seq);

		r->seq = c->next_seq++;
		DEVMEM_PROBE(message_begin, c->record->id, r->seq, r->size,
			     c->is_sender);
		request_set(r, REQUEST_ACTIVE);
		if (c->is_sender)
			tx_post(c, r);
		else
			rx_post(c, r);
	}
}

static int progress(struct devmem_conn *c)
{
	return c->is_sender ? tx_progress(c) : rx_progress(c);
}

/* 0: it is over, with *rc; else it is not. */
static int request_over(struct devmem_conn *c, const struct devmem_request *r,
			int *rc)
{
	/*
	 * What has come before the connection ended still counts. Asked first: a
	 * GPU may be done with it between the two.
	 */
	bool gathering = c->err && !c->is_sender && rx_gathering(c, r);
	bool done = request_done(c, r);

	if (!done && (!c->err || gathering))
		return -EAGAIN;
	if (done && c->rx.unpack)
		done = !rx_unpack_done(c, r);
	/* A GPU was done with what it read after we had last looked. */
	if (done && !c->err && r->ticket)
		rx_settle(c);
	*rc = done ? 0 : c->err;
	c->stats->messages += done;
	if (done)
		conn_took(c, STATS_COMPLETION, r->since);
	DEVMEM_PROBE(message_done, c->record->id, r->seq, r->total, -*rc);
	/* Runs of a failed request stay behind; nothing looks at them again. */
	return 0;
}

static void tell_done(struct devmem_conn *c)
{
	for (uint64_t seq = c->oldest; seq < c->next_seq; seq++) {
		struct devmem_request *r = conn_active(c, seq);

		if (r && !request_over(c, r, &r->rc))
			request_set(r, REQUEST_DONE);
	}
	while (c->oldest < c->next_seq && !conn_active(c, c->oldest))
		c->oldest++;
}

/* Grows with whatever is done. */
static uint64_t work_done(const struct devmem_conn *c)
{
	const struct devmem_stats *s = c->stats;

	return s->bytes_inline + s->bytes_devmem + s->bytes_emulated +
	       s->bytes_linear + s->bytes_host + s->bytes_staged + s->grants +
	       c->next_seq + c->oldest;
}

bool conn_turn(struct devmem_conn *c, bool late)
{
	uint64_t before = work_done(c);

	if (late)
		c->idle_calls |= IDLE_CALLS - 1;
	c->budget = TURN_BYTES;
	take_posted(c);
	progress(c);
	tell_done(c);
	return work_done(c) != before;
}

bool conn_uses(const struct devmem_conn *c, const struct devmem_mr *mr)
{
	for (unsigned int i = 0; i < DEVMEM_MAX_REQUESTS; i++) {
		enum request_state s =
			__atomic_load_n(&c->state[i], __ATOMIC_ACQUIRE);

		if ((s == REQUEST_POSTED || s == REQUEST_ACTIVE) &&
		    __atomic_load_n(&c->uses[i], __ATOMIC_RELAXED) == mr)
			return true;
	}
	return false;
}

void conn_gather_wait(struct devmem_conn *c)
{
	uint64_t ticket = c->is_sender ? stage_ticket(c) :
					 __atomic_load_n(&c->rx.last_ticket,
							 __ATOMIC_ACQUIRE);

	if (ticket)
		gather_wait(c->is_sender ? c->gpu->gather : c->rx.gather,
			    ticket);
}

void conn_cancel(struct devmem_conn *c)
{
	if (c->err)
		return;
	ctx_withdraw(c->ctx);
	snprintf(c->error, sizeof(c->error),
		 "memory was released while requests used it");
	__atomic_store_n(&c->err, -ECANCELED, __ATOMIC_RELEASE);
	stats_record_failed(c->record, -ECANCELED, c->error);
	DEVMEM_PROBE(connection_failed, c->record->id, ECANCELED, c->error);
}

/* A GPU that gathers sees only memory that it was told of. */
static bool may_be_unregistered(const struct devmem_conn *c,
				const struct devmem_request *r)
{
	if (!c->is_sender && c->rx.pools && c->gpu)
		return !r->size;
	return r->addr || !r->size;
}

/* The next request, the caller's to fill in and to post. */
static int request_new(struct devmem_conn *c, void *addr, size_t size,
		       struct devmem_mr *mr, struct devmem_request **out)
{
	uint64_t slot = c->posted % DEVMEM_MAX_REQUESTS;
	struct devmem_request *r = &c->request[slot];
	int rc = conn_err(c);

	*out = NULL;
	if (rc)
		return rc;
	if (__atomic_load_n(&c->state[slot], __ATOMIC_ACQUIRE) != REQUEST_FREE)
		return -EAGAIN;
	*r = (struct devmem_request){ .conn = c, .addr = addr, .size = size };
	if (mr ? mr_place(mr, addr, size, r) : !may_be_unregistered(c, r))
		return -EINVAL;
	__atomic_store_n(&c->uses[slot], mr, __ATOMIC_RELAXED);
	if (size > TIMED_BYTES || c->posted % TIMED_EVERY == 0)
		r->since = conn_now(c);
	*out = r;
	return 0;
}

/* Hand it to whoever makes progress. */
static void post(struct devmem_conn *c, const struct devmem_request *r)
{
	c->posted++;
	if (!c->worker) {
		request_set(r, REQUEST_POSTED);
		take_posted(c);
		return;
	}
	__atomic_store_n(state_of(r), REQUEST_POSTED, __ATOMIC_SEQ_CST);
	worker_wake(c->worker);
}

DEVMEM_API int devmem_send(struct devmem_conn *c, const void *addr, size_t size,
			   struct devmem_mr *mr, struct devmem_request **out)
{
	int rc;

	if (!c->is_sender)
		return -EINVAL;
	rc = request_new(c, (void *)(uintptr_t)addr, size, mr, out);
	if (rc)
		return rc;
	post(c, *out);
	/* An error here is the request's: devmem_test() reports it. */
	if (!c->worker)
		tx_progress(c);
	return 0;
}

static int receive(struct devmem_conn *c, void *addr, size_t size,
		   struct devmem_mr *mr, bool unlisted,
		   struct devmem_request **out)
{
	int rc;

	if (c->is_sender)
		return -EINVAL;
	*out = NULL;
	if (c->rx.unpack && rx_unpack_full(c))
		return conn_err(c) ?: -EAGAIN;
	rc = request_new(c, addr, size, mr, out);
	if (rc)
		return rc;
	(*out)->unlisted = unlisted;
	post(c, *out);
	/* The peer may start now; what it sends is for devmem_test() to see. */
	if (!c->worker)
		rx_send_grants(c);
	return 0;
}

DEVMEM_API int devmem_recv(struct devmem_conn *c, void *addr, size_t size,
			   struct devmem_mr *mr, struct devmem_request **out)
{
	return receive(c, addr, size, mr, c->rx.unpack_off, out);
}

DEVMEM_API int devmem_recv_unlisted(struct devmem_conn *c, void *addr,
				    size_t size, struct devmem_mr *mr,
				    struct devmem_request **out)
{
	return receive(c, addr, size, mr, true, out);
}

/* Without a worker. */
static int test_here(struct devmem_request *r, int *rc)
{
	struct devmem_conn *c = r->conn;

	if ((!request_done(c, r) || control_overdue(c)) && !c->err)
		progress(c);
	return request_over(c, r, rc);
}

DEVMEM_API int devmem_test(struct devmem_request *r, size_t *size)
{
	int rc;

	switch (__atomic_load_n(state_of(r), __ATOMIC_ACQUIRE)) {
	case REQUEST_FREE:
		return -EINVAL;
	case REQUEST_DONE:
		rc = r->rc;
		break;
	default:
		if (r->conn->worker || test_here(r, &rc))
			return -EAGAIN;
	}
	if (!rc && size)
		*size = r->total;
	if (!rc && r->conn->rx.unpack)
		r->conn->rx.tested++;
	memset(&r->note, 0, sizeof(r->note));
	request_set(r, REQUEST_FREE);
	return rc;
}

DEVMEM_API void *devmem_request_note(struct devmem_request *r)
{
	return r->note.bytes;
}

DEVMEM_API const char *devmem_conn_error(const struct devmem_conn *c)
{
	return conn_err(c) ? c->error : "";
}

DEVMEM_API void devmem_conn_stats(const struct devmem_conn *c,
				  struct devmem_stats *s)
{
	struct devmem_conn *mine = (struct devmem_conn *)(uintptr_t)c;

	pthread_mutex_lock(&mine->mr_lock);
	worker_suspend(mine);
	*s = *c->stats;
	worker_resume(mine);
	pthread_mutex_unlock(&mine->mr_lock);
}

static void busy_poll(const struct devmem_conn *c)
{
	unsigned int us = ctx_options(c->ctx)->busy_poll;
	int rc;

	if (!us)
		return;
	rc = sock_busy_poll(c->control.fd, us);
	for (unsigned int i = 0; !rc && i < c->flows; i++)
		rc = sock_busy_poll(c->flow[i].fd, us);
	if (rc)
		INFO("no busy polling on %s: %s%s", c->dev->info.name,
		     strerror(-rc),
		     rc == -EPERM ? "; run with CAP_NET_ADMIN, or unset "
				    "NCCL_DEVMEM_BUSY_POLL and set "
				    "net.core.busy_read" :
				    "");
}

/*
 * Between processes of one host nothing is gained by more bytes on their way than
 * caches hold, and each of them is then copied from memory.
 */
static void keep_warm(const struct devmem_conn *c)
{
	int bytes = LOCAL_BYTES;

	if (c->is_sender && address_is_local(&c->peer))
		setsockopt(c->control.fd, SOL_SOCKET, SO_SNDBUF, &bytes,
			   sizeof(bytes));
}

void conn_established(struct devmem_conn *c, const char *reason)
{
	c->established = true;
	busy_poll(c);
	keep_warm(c);
	path_opened(c, reason);
	worker_join(c);
}

/*
 * The order matters: tokens go back while their sockets are there, rules go
 * before the sockets whose ports they name can be taken by others.
 */
void conn_free(struct devmem_conn *c)
{
	worker_leave(c);
	ctx_remove(c->ctx, c);
	if (!c->is_sender)
		rx_free(c);
	rx_unpack_free(c);
	stage_free(c);
	for (unsigned int i = 0; i < c->flows; i++) {
		struct flow *f = &c->flow[i];

		if (f->steered)
			lease_rule_delete(f->steered, f->rule);
		if (f->fd >= 0)
			close(f->fd);
		free(f->sends);
	}
	control_close(c);
	control_free(&c->control);
	if (c->established)
		path_done(c);
	DEVMEM_PROBE(connection_closed, c->record->id);
	stats_record_close(c->record);
	free(c->flow);
	mr_free_all(c);
	gpu_put(c->gpu);
	pthread_mutex_destroy(&c->mr_lock);
	free(c);
}

DEVMEM_API void devmem_conn_close(struct devmem_conn *c)
{
	if (c)
		conn_free(c);
}
