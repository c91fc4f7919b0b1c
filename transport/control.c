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

int control_flush(struct devmem_conn *c)
{
	struct control *k = &c->control;

	while (k->out_head < k->out_tail) {
		ssize_t n = send(k->fd, k->out + k->out_head,
				 k->out_tail - k->out_head,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return send_failed(c, errno);
		k->out_head += (size_t)n;
	}
	return 0;
}

int control_send_inline(struct devmem_conn *c, uint64_t seq, const void *data,
			size_t len)
{
	uint8_t hdr[WIRE_HEADER_BYTES];
	struct control *k = &c->control;
	struct iovec iov[2] = {
		{ .iov_base = hdr, .iov_len = sizeof(hdr) },
		{ .iov_base = (void *)(uintptr_t)data, .iov_len = len },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = 0;

	wire_put_inline_hdr(hdr, seq, (uint32_t)len);
	/* Behind what waits already; but mostly nothing does. */
	if (k->out_head == k->out_tail) {
		n = sendmsg(k->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			int rc = send_failed(c, errno);

			if (rc)
				return rc;
			n = 0;
		}
	}
	for (int i = 0; i < 2; i++) {
		size_t sent = (size_t)n < iov[i].iov_len ? (size_t)n :
							   iov[i].iov_len;

		n -= (ssize_t)sent;
		if (sent == iov[i].iov_len)
			continue;
		memcpy(control_put(k), (uint8_t *)iov[i].iov_base + sent,
		       iov[i].iov_len - sent);
		control_put_done(k, iov[i].iov_len - sent);
	}
	return 0;
}

int control_fill(struct devmem_conn *c)
{
	struct control *k = &c->control;
	size_t room;
	uint8_t *p = wire_reader_space(&k->in, &room);
	ssize_t n;

	if (!room || k->eof)
		return 0;
	n = recv(k->fd, p, room, MSG_DONTWAIT);
	if (n > 0)
		wire_reader_filled(&k->in, (size_t)n);
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
	const uint8_t *payload;
	struct wire_hdr h;
	int rc = control_fill(c);

	while (!rc) {
		rc = wire_reader_peek(&c->control.in, &h, &payload);
		if (rc < 0)
			return conn_fail(c, rc,
					 "the peer's control stream is not "
					 "this protocol's");
		if (!rc)
			break;
		rc = take_record(c, due, take, &h, payload);
		if (rc > 0)
			break;
		wire_reader_consume(&c->control.in);
	}
	return rc;
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
	if (c->established && !c->err && control_has_room(k, WIRE_MAX_RECORD))
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
