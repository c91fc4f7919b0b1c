// SPDX-License-Identifier: BSD-3-Clause
/*
 * connect.c - the sender's way to a connection:
 *
 *	control connects; HELLO with the key, RAILS with the source addresses
 *	if there are several, FLOWS with the ports that are bound already; the
 *	receiver's HELLO and READY; flows connect.
 *
 * The receiver steers the flows before it says READY, so that none of their
 * packets goes astray. What is half made lives in the context, found again by
 * the caller's handle: a handle holds nothing of ours that a peer could forge.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "context.h"
#include "handle.h"
#include "nic.h"
#include "sends.h"
#include "sock.h"

#define CONNECT_MS 60000

enum stage {
	CONNECT_CONTROL,
	AWAIT_HELLO,
	AWAIT_READY,
	CONNECT_FLOWS,
};

struct connecting {
	struct connecting *next;
	const void *at;	      /* the caller's handle: who asks */
	struct handle handle; /* and for what */
	struct devmem_conn *conn;
	enum stage stage;
	uint64_t deadline;
};

/* As many as both have, of one family; what stays on this host goes by none. */
static unsigned int usable_rails(const struct device *dev,
				 const struct handle *h)
{
	unsigned int rails = dev->rails < h->rails ? dev->rails : h->rails;

	if (rails == 1 || address_is_local(&h->addr[0]) ||
	    dev->rail[0]->addr.ss_family != h->addr[0].ss_family)
		return 1;
	return rails;
}

static int make_flows(struct devmem_conn *c)
{
	unsigned int flows = ctx_options(c->ctx)->flows * c->rails;

	return conn_make_flows(c, flows < DEVMEM_MAX_FLOWS ? flows :
							     DEVMEM_MAX_FLOWS);
}

static int start(struct devmem *d, const struct device *dev, const void *at,
		 const struct handle *h, struct connecting **out)
{
	struct connecting *k = calloc(1, sizeof(*k));
	struct devmem_conn *c;
	uint16_t port;
	int fd, rc;

	*out = NULL;
	if (!k)
		return -ENOMEM;
	c = conn_new(d, dev, usable_rails(dev, h), true);
	if (!c) {
		free(k);
		return -ENOMEM;
	}
	k->at = at;
	k->handle = *h;
	k->conn = c;
	k->deadline = now_ms() + CONNECT_MS;
	c->peer = h->addr[0];

	rc = make_flows(c);
	if (rc)
		goto err;
	/* From the interface's own address, if it has one of that kind. */
	c->local = dev->rail[0]->addr;
	if (c->local.ss_family != c->peer.ss_family) {
		memset(&c->local, 0, sizeof(c->local));
		c->local.ss_family = c->peer.ss_family;
	}
	fd = sock_bound(&c->local, &port);
	if (fd < 0) {
		rc = conn_fail(c, fd, "a socket for control: %s",
			       strerror(-fd));
		goto err;
	}
	rc = control_init(&c->control, fd);
	if (rc) {
		close(fd);
		goto err;
	}
	rc = sock_connect(fd, &c->peer);
	if (rc) {
		rc = conn_fail(c, rc, "connecting: %s", strerror(-rc));
		goto err;
	}
	pthread_mutex_lock(&d->lock);
	k->next = d->connecting;
	d->connecting = k;
	pthread_mutex_unlock(&d->lock);
	*out = k;
	return 0;
err:
	conn_free(c);
	free(k);
	return rc;
}

static struct connecting *find(struct devmem *d, const void *at,
			       const struct handle *h)
{
	struct connecting *k;

	pthread_mutex_lock(&d->lock);
	for (k = d->connecting; k; k = k->next)
		if (k->at == at &&
		    !memcmp(k->handle.key, h->key, sizeof(h->key)) &&
		    addr_equal(&k->handle.addr[0], &h->addr[0]))
			break;
	pthread_mutex_unlock(&d->lock);
	return k;
}

static void finish(struct devmem *d, struct connecting *k)
{
	struct connecting **at;

	pthread_mutex_lock(&d->lock);
	for (at = &d->connecting; *at && *at != k; at = &(*at)->next)
		;
	if (*at)
		*at = k->next;
	pthread_mutex_unlock(&d->lock);
	free(k);
}

static void free_expired(struct devmem *d, uint64_t now)
{
	struct connecting **at = &d->connecting;

	while (*at) {
		struct connecting *k = *at;

		if (k->deadline > now) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		conn_free(k->conn);
		free(k);
	}
}

void connecting_free_all(struct devmem *d)
{
	free_expired(d, UINT64_MAX);
}

void connecting_free_late(struct devmem *d)
{
	free_expired(d, now_ms());
}

/* A flow's socket, whose port is to be announced before it connects. */
static int bind_flow(struct devmem_conn *c, struct flow *f)
{
	const struct nic *nic = c->dev->rail[f->rail];
	int rc = 0;

	f->fd = sock_bound(f->rail ? &nic->addr : &c->local, &f->port);
	if (f->fd < 0)
		return f->fd;
	/* Two interfaces in one network: routes would take one of them. */
	if (c->rails > 1)
		rc = sock_by_nic(f->fd, nic->info.name);
	rc = rc ?: sock_tune(f->fd, ctx_options(c->ctx)->timeout);
	if (!rc && c->dev->info.devmem_tx)
		rc = sends_new(f->fd, &f->sends);
	return rc;
}

/* Control is connected: introduce ourselves, with the flows' ports. */
static int introduce(struct devmem_conn *c, const struct handle *h)
{
	struct control *k = &c->control;
	struct wire_hello hello = conn_hello(c);
	struct wire_flows flows = { .count = c->flows };
	struct wire_rails rails = { .count = c->rails };
	socklen_t len = sizeof(c->local);
	int rc;

	rc = sock_tune(k->fd, ctx_options(c->ctx)->timeout);
	if (!rc && getsockname(k->fd, (void *)&c->local, &len))
		rc = -errno;
	for (unsigned int i = 0; !rc && i < c->flows; i++) {
		rc = bind_flow(c, &c->flow[i]);
		flows.port[i] = c->flow[i].port;
	}
	if (rc)
		return conn_fail(c, rc, "sockets for %u flows: %s", c->flows,
				 strerror(-rc));
	memcpy(hello.key, h->key, sizeof(hello.key));
	control_put_done(k, wire_put_hello(control_put(k), &hello));
	addr_put(&c->local, rails.addr[0]);
	for (unsigned int i = 1; i < c->rails; i++)
		addr_put(&c->dev->rail[i]->addr, rails.addr[i]);
	if (c->rails > 1)
		control_put_done(k, wire_put_rails(control_put(k), &rails));
	control_put_done(k, wire_put_flows(control_put(k), &flows));
	return control_flush(c);
}

/* 1: *h and *payload are the next record; 0: not yet. */
static int next_record(struct devmem_conn *c, struct wire_hdr *h,
		       const uint8_t **payload)
{
	struct wire_error e;
	int rc = control_fill(c);

	if (rc)
		return rc;
	rc = wire_reader_peek(&c->control.in, h, payload);
	if (rc < 0)
		return conn_fail(c, rc,
				 "what answers there does not speak "
				 "this protocol");
	if (!rc && c->control.eof)
		return conn_fail(c, -ECONNRESET,
				 "the receiver hung up before "
				 "the connection was made");
	if (rc && h->type == WIRE_ERROR &&
	    !wire_get_error(*payload, h->len, &e)) {
		c->control.eof = true;
		return conn_fail(c, -EREMOTEIO, "the receiver refused: %s",
				 e.text);
	}
	return rc;
}

static int on_hello(struct devmem_conn *c, const struct wire_hdr *h,
		    const uint8_t *payload)
{
	struct wire_hello hello;

	if (h->type != WIRE_HELLO || wire_get_hello(payload, h->len, &hello))
		return conn_fail(c, -EPROTO, "%s where HELLO was due",
				 wire_type_name(h->type));
	if (hello.major != WIRE_VERSION_MAJOR)
		return conn_fail(c, -EPROTO,
				 "the receiver speaks protocol %u, "
				 "we speak %u: install the same version on "
				 "both sides",
				 hello.major, WIRE_VERSION_MAJOR);
	c->peer_minor = hello.minor;
	c->peer_eager = hello.eager_bytes;
	return 0;
}

static int flow_failed(struct devmem_conn *c, const struct flow *f, int err)
{
	return conn_fail(c, err, "connecting flow %d by %s: %s%s",
			 (int)(f - c->flow), conn_nic(c, f), strerror(-err),
			 c->rails > 1 ? "; NCCL_NET_MERGE_LEVEL=LOC uses each "
					"interface by itself" :
					"");
}

static int on_ready(struct devmem_conn *c, const struct handle *handle,
		    const struct wire_hdr *h, const uint8_t *payload)
{
	struct wire_ready ready;

	if (h->type != WIRE_READY || wire_get_ready(payload, h->len, &ready))
		return conn_fail(c, -EPROTO, "%s where READY was due",
				 wire_type_name(h->type));
	if (ready.rails != c->rails)
		return conn_fail(c, -EPROTO, "READY has %u ports of %u",
				 ready.rails, c->rails);
	conn_settle(c, ready.path == WIRE_RX_HOST);
	for (unsigned int i = 0; i < c->flows; i++) {
		struct flow *f = &c->flow[i];
		struct sockaddr_storage to = handle->addr[f->rail];
		int rc;

		addr_set_port(&to, ready.port[f->rail]);
		rc = sock_connect(f->fd, &to);
		if (rc)
			return flow_failed(c, f, rc);
	}
	return 0;
}

/* One step; 0: go on at once, -EAGAIN: later, 1: the connection is made. */
static int step(struct connecting *k)
{
	struct devmem_conn *c = k->conn;
	const uint8_t *payload;
	struct wire_hdr h;
	int rc;

	switch (k->stage) {
	case CONNECT_CONTROL:
		rc = sock_connected(c->control.fd);
		if (rc == -EAGAIN)
			return rc;
		if (rc)
			return conn_fail(c, rc, "connecting: %s",
					 strerror(-rc));
		rc = introduce(c, &k->handle);
		k->stage = AWAIT_HELLO;
		return rc;
	case AWAIT_HELLO:
	case AWAIT_READY:
		rc = control_flush(c);
		rc = rc ?: next_record(c, &h, &payload);
		if (rc <= 0)
			return rc ?: -EAGAIN;
		rc = k->stage == AWAIT_HELLO ?
			     on_hello(c, &h, payload) :
			     on_ready(c, &k->handle, &h, payload);
		wire_reader_consume(&c->control.in);
		k->stage++;
		return rc;
	case CONNECT_FLOWS:
		for (unsigned int i = 0; i < c->flows; i++) {
			rc = sock_connected(c->flow[i].fd);
			if (rc == -EAGAIN && now_ms() > k->deadline)
				rc = -ETIMEDOUT;
			if (rc == -EAGAIN)
				return rc;
			if (rc)
				return flow_failed(c, &c->flow[i], rc);
		}
		return 1;
	}
	return -EINVAL;
}

DEVMEM_API int devmem_connect(struct devmem *d, int nic, const void *handle,
			      struct devmem_conn **out)
{
	const struct device *dev = device_at(nic);
	struct connecting *k;
	struct devmem_conn *c;
	struct handle h;
	int rc;

	*out = NULL;
	if (!dev)
		return -EINVAL;
	rc = handle_decode(handle, &h);
	if (rc)
		return rc;
	if (d->options.require & DEVMEM_REQUIRE_TX && !dev->info.devmem_tx) {
		WARN("NCCL_DEVMEM_REQUIRE has tx, but %s", dev->info.tx_reason);
		return -EOPNOTSUPP;
	}
	k = find(d, handle, &h);
	if (!k) {
		rc = start(d, dev, handle, &h, &k);
		if (rc)
			return rc;
	}
	c = k->conn;
	do
		rc = step(k);
	while (!rc);
	if (rc == -EAGAIN && now_ms() > k->deadline)
		rc = conn_fail(c, -ETIMEDOUT,
			       "the connection was not made "
			       "within %d s",
			       CONNECT_MS / 1000);
	if (rc == -EAGAIN)
		return rc;

	finish(d, k);
	if (rc < 0) {
		conn_free(c);
		return rc;
	}
	DEVMEM_PROBE(connect, c->record->id, dev->info.name, c->flows,
		     c->rails);
	conn_established(c, NULL);
	*out = c;
	return 0;
}
