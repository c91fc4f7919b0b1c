// SPDX-License-Identifier: BSD-3-Clause
/*
 * control.c - the control socket's bytes, both ways. Records are made in wire.c
 * and understood in tx.c, rx.c, connect.c and listen.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "conn.h"
#include "sock.h"

/* Of so many calls that wait for flows one looks at control. */
#define WAITS 8
/* Messages that are copied to go with their header. */
#define SMALL_BYTES 256
/* Bytes of a message to give to the kernel in one call. */
#define CONTROL_TURN ((size_t)4 << 20)
/* The most that is kept back of a message. */
#define TAIL_BYTES 4096
/* Of so many calls one asks how large a packet is. */
#define PACKET_CALLS 16

int control_init(struct control *k, int fd)
{
	int rc;

	k->out = malloc(CONTROL_OUT);
	if (!k->out)
		return -ENOMEM;
	rc = wire_reader_init(&k->in, CONTROL_IN, WIRE_MAX_PAYLOAD);
	if (rc) {
		free(k->out);
		k->out = NULL;
		return rc;
	}
	k->fd = fd;
	k->ahead = CONTROL_IN;
	return 0;
}

void control_free(struct control *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
	wire_reader_free(&k->in);
	free(k->out);
	k->out = NULL;
	free(k->sends);
	k->sends = NULL;
}

bool control_has_room(const struct control *k, size_t n)
{
	return CONTROL_OUT - (k->out_tail - k->out_head) >= n;
}

uint8_t *control_put(struct control *k)
{
	if (k->out_head) {
		memmove(k->out, k->out + k->out_head,
			k->out_tail - k->out_head);
		k->out_tail -= k->out_head;
		k->out_head = 0;
	}
	return k->out + k->out_tail;
}

void control_put_done(struct control *k, size_t n)
{
	k->out_tail += n;
}

/*
 * A send that failed. To a receiver whose sender is gone its own records no
 * longer matter, but what the sender said before still does; a sender looks for
 * the reason, which the peer may have given before it went.
 */
static int send_failed(struct devmem_conn *c, int err)
{
	int rc;

	if (c->err)
		return c->err;
	if (err == EAGAIN || err == EINTR)
		return 0;
	if (err == EPIPE || err == ECONNRESET) {
		if (!c->is_sender) {
			c->control.out_head = 0;
			c->control.out_tail = 0;
			return 0;
		}
		rc = tx_read_records(c);
		if (rc)
			return rc;
	}
	return conn_fail(c, -err, "sending on the control connection: %s",
			 strerror(err));
}

static int flush(struct devmem_conn *c, int flags)
{
	struct control *k = &c->control;
	size_t waits = k->out_tail - k->out_head;
	ssize_t n;

	if (!waits)
		return 0;
	n = send(k->fd, k->out + k->out_head, waits,
		 flags | MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return send_failed(c, errno);
	k->out_head += (size_t)n;
	return 0;
}

int control_flush(struct devmem_conn *c)
{
	return flush(c, 0);
}

static void put_inline_hdr(struct control *k, const struct devmem_request *r)
{
	control_put_done(k, wire_put_inline_hdr(control_put(k), r->seq,
						(uint32_t)r->size));
}

/* A message that is copied behind its header: cheaper than a vector. */
static int put_small(struct devmem_conn *c, struct devmem_request *r)
{
	struct control *k = &c->control;

	if (!control_has_room(k, WIRE_HEADER_BYTES + r->size))
		return 0;
	put_inline_hdr(k, r);
	if (r->size)
		memcpy(control_put(k), r->addr, r->size);
	control_put_done(k, r->size);
	r->moved = r->size;
	c->stats->bytes_inline += r->size;
	return 1;
}

/* What one call is to send: what waits, then messages behind their headers. */
struct batch {
	struct iovec iov[1 + 2 * CONTROL_BATCH];
	unsigned int iovs;
	size_t bytes;
	uint8_t hdr[CONTROL_BATCH][WIRE_HEADER_BYTES];
};

static void batch_add(struct batch *b, const void *p, size_t n)
{
	if (!n)
		return;
	b->iov[b->iovs].iov_base = (void *)(uintptr_t)p;
	b->iov[b->iovs++].iov_len = n;
	b->bytes += n;
}

static void batch_fill(struct batch *b, const struct control *k,
		       struct devmem_request *const *r, unsigned int count)
{
	b->iovs = 0;
	b->bytes = 0;
	batch_add(b, k->out + k->out_head, k->out_tail - k->out_head);
	for (unsigned int i = 0; i < count && b->bytes < CONTROL_TURN; i++) {
		size_t n = r[i]->size - r[i]->moved, len;
		const uint8_t *data;

		if (r[i] != k->inlining)
			batch_add(b, b->hdr[i],
				  wire_put_inline_hdr(b->hdr[i], r[i]->seq,
						      (uint32_t)r[i]->size));
		len = n < CONTROL_TURN ? n : CONTROL_TURN;
		data = tx_bytes(r[i], r[i]->moved, &len);
		batch_add(b, data, len);
		/* Not all of it is here: the next has to wait. */
		if (len < n)
			break;
	}
}

/* The kernel took @n bytes of @b. How many messages end in them? */
static int batch_sent(struct devmem_conn *c, const struct batch *b,
		      struct devmem_request *const *r, unsigned int count,
		      size_t n)
{
	struct control *k = &c->control;
	size_t waits = k->out_tail - k->out_head, step;
	unsigned int i;

	step = n < waits ? n : waits;
	k->out_head += step;
	n -= step;
	for (i = 0; i < count && n; i++) {
		if (r[i] != k->inlining) {
			step = n < WIRE_HEADER_BYTES ? n : WIRE_HEADER_BYTES;
			n -= step;
			/* Of a header cut in two the rest is to be kept. */
			memcpy(control_put(k), b->hdr[i] + step,
			       WIRE_HEADER_BYTES - step);
			control_put_done(k, WIRE_HEADER_BYTES - step);
			k->inlining = r[i];
		}
		step = r[i]->size - r[i]->moved;
		step = n < step ? n : step;
		n -= step;
		r[i]->moved += step;
		c->budget -= step;
		c->stats->bytes_inline += step;
		if (r[i]->moved < r[i]->size)
			break;
		k->inlining = NULL;
	}
	return (int)i;
}

/* Does the caller send one message after the other? */
static bool in_a_row(const struct devmem_conn *c,
		     const struct devmem_request *r)
{
	uint64_t before = (r->seq - 1) % DEVMEM_MAX_REQUESTS;

	return c->tx.fresh && __atomic_load_n(&c->state[before],
					      __ATOMIC_RELAXED) != REQUEST_FREE;
}

/* What a packet holds; that grows with the peer's window. */
static size_t packet_bytes(struct control *k)
{
	if (k->asked++ % PACKET_CALLS == 0)
		k->packet = sock_mss(k->fd);
	return k->packet;
}

/*
 * How much of a batch, whose last message is @r, is to be sent now: full packets,
 * as one that is not costs as much, in both kernels. What a message has beyond
 * them can go with the next one; if none follows, it goes with the next call.
 */
static size_t batch_due(struct devmem_conn *c, const struct batch *b,
			const struct devmem_request *r)
{
	size_t most = conn_within_budget(c, CONTROL_TURN), packet, over;

	if (b->bytes <= most && (r->alone || !in_a_row(c, r)))
		return b->bytes;
	packet = packet_bytes(&c->control);
	if (b->bytes > most)
		return most < packet ? most : most - most % packet;
	over = b->bytes % packet;
	return r->size > packet && over <= TAIL_BYTES ? b->bytes - over :
							b->bytes;
}

static void batch_cut(struct batch *b, size_t due)
{
	for (unsigned int i = 0; i < b->iovs; i++) {
		size_t *len = &b->iov[i].iov_len;

		*len = *len < due ? *len : due;
		due -= *len;
		if (!due) {
			b->iovs = i + 1;
			break;
		}
	}
}

static int send_copied(struct devmem_conn *c, struct devmem_request *const *r,
		       unsigned int count)
{
	struct control *k = &c->control;
	uint64_t since = zerocopy_clock(c, r[0]);
	struct msghdr msg;
	struct batch b;
	size_t due;
	ssize_t n;

	batch_fill(&b, k, r, count);
	due = batch_due(c, &b, r[count - 1]);
	k->held = due < b.bytes;
	if (!due)
		return 0;
	batch_cut(&b, due);
	msg = (struct msghdr){ .msg_iov = b.iov, .msg_iovlen = b.iovs };
	n = sendmsg(k->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return send_failed(c, errno);
	zerocopy_sent(c, r[0], since, (size_t)n);
	return batch_sent(c, &b, r, count, (size_t)n);
}

/* What waits is copied in any case: a record's bytes do not stay. */
static int send_by_reference(struct devmem_conn *c, struct devmem_request *r)
{
	struct control *k = &c->control;
	ssize_t n;
	int rc;

	if (k->inlining != r) {
		if (!control_has_room(k, WIRE_HEADER_BYTES))
			return 0;
		put_inline_hdr(k, r);
		k->inlining = r;
	}
	rc = flush(c, MSG_MORE);
	if (rc || k->out_head < k->out_tail)
		return rc;
	n = zerocopy_send(c, k->fd, &k->sends, r, r->moved,
			  conn_within_budget(c, r->size - r->moved),
			  MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!n)
		return send_copied(c, &r, 1);
	if (n < 0)
		return send_failed(c, (int)-n);
	r->moved += (size_t)n;
	c->budget -= (size_t)n;
	c->stats->bytes_inline += (size_t)n;
	if (r->moved < r->size)
		return 0;
	k->inlining = NULL;
	return 1;
}

int control_send_inline(struct devmem_conn *c, struct devmem_request *const *r,
			unsigned int count)
{
	unsigned int n = 1;

	if (!c->budget)
		return 0;
	if (zerocopy_wanted(c, r[0]))
		return send_by_reference(c, r[0]);
	if (r[0]->size <= SMALL_BYTES && r[0] != c->control.inlining &&
	    !r[0]->device)
		return put_small(c, r[0]);
	while (n < count && !r[0]->alone && !r[n]->alone)
		n++;
	return send_copied(c, r, n);
}

bool control_overdue(struct devmem_conn *c)
{
	return c->control.held && ++c->control.held > 2;
}

bool control_may_speak(const struct devmem_conn *c)
{
	return !c->is_sender || !c->control.inlining;
}

/* Is what comes next the rest of a message? */
static bool inlining_here(const struct devmem_conn *c)
{
	return !c->is_sender && c->control.inlining;
}

/* What came is first the rest of a message, where there is one. */
static void filled(struct devmem_conn *c, size_t n)
{
	struct control *k = &c->control;
	struct devmem_request *r = k->inlining;

	if (inlining_here(c)) {
		size_t left = r->total - r->moved;
		size_t step = n < left ? n : left;

		r->moved += step;
		c->budget -= step;
		c->stats->bytes_inline += step;
		n -= step;
		if (r->moved == r->total)
			k->inlining = NULL;
	}
	wire_reader_filled(&k->in, n);
}

int control_fill(struct devmem_conn *c)
{
	struct control *k = &c->control;
	struct iovec iov[2];
	size_t room;
	ssize_t n;

	iov[1].iov_base = wire_reader_space(&k->in, &room);
	iov[1].iov_len = room < k->ahead ? room : k->ahead;
	/* A call for no bytes would look like the end. */
	if (k->eof || !(inlining_here(c) ? c->budget : room))
		return 0;
	if (inlining_here(c)) {
		struct devmem_request *r = k->inlining;

		iov[0].iov_base = r->addr + r->moved;
		iov[0].iov_len = r->total - r->moved;
		if (r->device)
			n = rx_read_device(
				c, k->fd, r, r->moved,
				conn_within_budget(c, iov[0].iov_len));
		else
			n = readv(k->fd, iov, (int)conn_cut(c, iov, 2));
	} else {
		n = recv(k->fd, iov[1].iov_base, iov[1].iov_len, MSG_DONTWAIT);
	}
	if (c->err)
		return c->err;
	if (n > 0)
		filled(c, (size_t)n);
	else if (!n || errno == ECONNRESET || errno == EPIPE)
		k->eof = true; /* what has come before still counts */
	else if (errno != EAGAIN && errno != EINTR)
		return conn_fail(c, -errno,
				 "receiving on the control connection: %s",
				 strerror(errno));
	return 0;
}

static int take_record(struct devmem_conn *c, enum wire_type due,
		       record_fn take, const struct wire_hdr *h,
		       const uint8_t *payload)
{
	struct wire_error e;

	if (h->type == due)
		return take(c, h, payload);
	if (h->type == WIRE_BYE) {
		c->control.bye = true;
		return 0;
	}
	if (h->type == WIRE_ERROR && !wire_get_error(payload, h->len, &e)) {
		c->control.eof = true;
		return conn_fail(c, -EREMOTEIO, "the %s gave up: %s",
				 c->is_sender ? "receiver" : "sender", e.text);
	}
	return conn_fail(c, -EPROTO, "unexpected %s record",
			 wire_type_name(h->type));
}

int control_read(struct devmem_conn *c, enum wire_type due, record_fn take)
{
	bool took = false, read = false;
	const uint8_t *payload;
	struct wire_hdr h;
	int rc;

	/* What is here already is worth no call, nor is what has to wait. */
	for (;;) {
		rc = inlining_here(c) ?
			     0 :
			     wire_reader_peek(&c->control.in, &h, &payload);
		if (rc < 0)
			return conn_fail(c, rc,
					 "the peer's control stream is not "
					 "this protocol's");
		if (!rc) {
			if (took || read)
				return 0;
			read = true;
			rc = control_fill(c);
			if (rc)
				return rc;
			continue;
		}
		rc = take_record(c, due, take, &h, payload);
		if (rc)
			return rc;
		wire_reader_consume(&c->control.in);
		took = true;
	}
}

bool control_due(struct devmem_conn *c)
{
	return ++c->waits % WAITS == 0;
}

void control_close(struct devmem_conn *c)
{
	struct control *k = &c->control;

	if (k->fd < 0)
		return;
	if (c->established && !c->err && control_may_speak(c) &&
	    control_has_room(k, WIRE_MAX_RECORD))
		control_put_done(k, wire_put_bye(control_put(k)));
	if (!c->err)
		control_flush(c);
	shutdown(k->fd, SHUT_WR);
	/*
	 * A reset would take our last records away from a receiver that has not
	 * read them. It is the answer to a grant that finds the socket closed.
	 */
	if (c->is_sender && c->established && !c->err)
		sock_deafen(k->fd);
	close(k->fd);
	k->fd = -1;
}
