// SPDX-License-Identifier: BSD-3-Clause
/*
 * listen.c - the receiver's way to a connection. Whoever connects to control is
 * a stranger until its HELLO shows the key; strangers are few, cheap and short
 * lived, and can delay nobody. Flows have a port of their own, where only the
 * announced 4-tuples are let in: no byte that is not payload ever runs there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "context.h"
#include "handle.h"
#include "nic.h"
#include "rxpool.h"
#include "sock.h"
#include "steer.h"
#include "strangers.h"

#define BACKLOG 128
#define HALVES	8 /* peers that proved themselves at once */
#define HALF_MS 60000
#define ACCEPTS 32 /* connections taken in one call */

/* A peer that has the key, whose flows are not there yet. */
struct half {
	const struct devmem_listener *listener;
	struct devmem_conn *conn;
	uint64_t deadline;
	bool ready;    /* READY is sent, flows may come */
	bool eof;      /* the sender is gone: only what has come may be there */
	bool steering; /* its flows' rules are not all there */
	struct steer steer;
	/* Where its flows come from, for each rail. */
	struct sockaddr_storage from[DEVMEM_MAX_RAILS];
	struct why no_devmem;
};

/* Where flows arrive. */
struct flow_port {
	int fd;
	struct sockaddr_storage addr;
};

struct devmem_listener {
	struct devmem_listener *next;
	struct devmem *ctx;
	const struct device *dev;
	int gpu; /* that the pools are on, or -1 */
	/* For connections of one rail, by whatever way; then one for each rail. */
	struct flow_port port[1 + DEVMEM_MAX_RAILS];
	unsigned int ports;
	uint8_t key[WIRE_KEY_BYTES];
	int control_fd;
	bool warned;
	struct strangers strangers;
	struct half half[HALVES];
	unsigned int halves;
};

static void half_drop(struct devmem_listener *l, unsigned int i, bool free_it)
{
	struct half *h = &l->half[i];

	steer_end(&h->steer);
	if (free_it)
		conn_free(h->conn);
	l->halves--;
	memmove(h, h + 1, (l->halves - i) * sizeof(*h));
}

struct devmem_listener *listener_next(const struct devmem_listener *l)
{
	return l->next;
}

void listener_free(struct devmem_listener *l)
{
	strangers_drop_all(&l->strangers);
	while (l->halves)
		half_drop(l, l->halves - 1, true);
	if (l->control_fd >= 0)
		close(l->control_fd);
	while (l->ports)
		close(l->port[--l->ports].fd);
	free(l);
}

static int add_port(struct devmem_listener *l, const struct nic *nic,
		    bool by_nic)
{
	struct flow_port *p = &l->port[l->ports];
	int rc = 0;

	p->addr = nic->addr;
	p->fd = sock_listen(&p->addr, BACKLOG);
	if (p->fd < 0)
		return p->fd;
	l->ports++;
	/* Answers go the same way, too. */
	if (by_nic)
		rc = sock_by_nic(p->fd, nic->info.name);
	return rc;
}

static int listen_for_flows(struct devmem_listener *l)
{
	const struct device *dev = l->dev;
	int rc = add_port(l, dev->rail[0], false);

	for (unsigned int i = 0; !rc && dev->rails > 1 && i < dev->rails; i++)
		rc = add_port(l, dev->rail[i], true);
	return rc;
}

/* Where a connection's flows by one of its rails arrive. */
static const struct flow_port *port_of(const struct devmem_listener *l,
				       const struct devmem_conn *c,
				       unsigned int rail)
{
	return &l->port[c->rails > 1 ? 1 + rail : 0];
}

DEVMEM_API int devmem_listen(struct devmem *d, int nic, void *handle,
			     struct devmem_listener **out)
{
	const struct device *dev = device_at(nic);
	struct rxpool *pool[DEVMEM_MAX_RAILS];
	struct handle h = { .rails = 1 };
	struct devmem_listener *l;
	struct why w;
	int rc, gpu;

	*out = NULL;
	if (!dev)
		return -EINVAL;
	gpu = device_gpu(dev);
	if (!device_pools(dev, dev->rails, gpu, pool, &w) &&
	    (d->options.require & DEVMEM_REQUIRE_RX)) {
		WARN("NCCL_DEVMEM_REQUIRE has rx, but %s", w.text);
		return -EOPNOTSUPP;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->ctx = d;
	l->dev = dev;
	l->gpu = gpu;
	h.addr[0] = dev->rail[0]->addr;
	l->control_fd = sock_listen(&h.addr[0], BACKLOG);
	rc = l->control_fd < 0 ? l->control_fd : listen_for_flows(l);
	if (rc < 0) {
		WARN("listening on %s: %s", dev->info.name, strerror(-rc));
		goto err;
	}
	if (getrandom(l->key, sizeof(l->key), 0) != sizeof(l->key)) {
		rc = -EIO;
		goto err;
	}
	h.rails = dev->rails;
	for (unsigned int i = 1; i < dev->rails; i++)
		h.addr[i] = dev->rail[i]->addr;
	memcpy(h.key, l->key, sizeof(h.key));
	handle_encode(&h, handle);

	pthread_mutex_lock(&d->lock);
	l->next = d->listeners;
	d->listeners = l;
	pthread_mutex_unlock(&d->lock);
	*out = l;
	return 0;
err:
	listener_free(l);
	return rc;
}

DEVMEM_API void devmem_listener_close(struct devmem_listener *l)
{
	struct devmem_listener **at;

	if (!l)
		return;
	pthread_mutex_lock(&l->ctx->lock);
	for (at = &l->ctx->listeners; *at && *at != l; at = &(*at)->next)
		;
	if (*at)
		*at = l->next;
	pthread_mutex_unlock(&l->ctx->lock);
	listener_free(l);
}

/*
 * Said once and not returned: a stranger may be the cause, and it may pass, as
 * when file descriptors run out.
 */
static void accept_failed(struct devmem_listener *l, int err)
{
	if (!err || err == -EAGAIN || l->warned)
		return;
	l->warned = true;
	WARN("accepting connections on %s: %s", l->dev->info.name,
	     strerror(-err));
}

/* A stranger with the key becomes a connection, half made. */
static int promote(struct devmem_listener *l, struct stranger *s,
		   const struct wire_hello *hello)
{
	struct devmem_conn *c;
	socklen_t len = sizeof(c->local);
	size_t room, have = s->in.tail - s->in.head;
	int rc;

	c = conn_new(l->ctx, l->dev, 1, false);
	if (!c)
		return -ENOMEM;
	c->peer = s->peer;
	c->inline_bytes = hello->inline_bytes;
	c->peer_minor = hello->minor;
	c->peer_eager = hello->eager_bytes;
	rc = control_init(&c->control, s->fd);
	if (!rc)
		rc = sock_tune(s->fd, ctx_options(c->ctx)->timeout);
	if (!rc && getsockname(s->fd, (void *)&c->local, &len))
		rc = -errno;
	if (rc) {
		/* The socket stays the stranger's. */
		c->control.fd = -1;
		conn_free(c);
		return rc;
	}
	memcpy(wire_reader_space(&c->control.in, &room), s->in.buf + s->in.head,
	       have);
	wire_reader_filled(&c->control.in, have);
	l->half[l->halves++] = (struct half){
		.listener = l,
		.conn = c,
		.steer = STEER_NONE,
		.deadline = now_ms() + HALF_MS,
		.from = { c->peer },
	};
	if (hello->major != WIRE_VERSION_MAJOR)
		conn_fail(c, -EPROTO,
			  "the sender speaks protocol %u, we speak "
			  "%u: install the same version on both sides",
			  hello->major, WIRE_VERSION_MAJOR);
	return 0;
}

static void meet_strangers(struct devmem_listener *l)
{
	struct strangers *s = &l->strangers;

	for (unsigned int i = 0; i < s->count;) {
		struct stranger *one = &s->one[i];
		struct wire_hello hello;
		int rc = 0;

		if (l->halves < HALVES)
			rc = stranger_hello(one, l->key, &hello);
		if (!rc) {
			i++;
			continue;
		}
		if (rc == 1 && !promote(l, one, &hello))
			strangers_drop(s, i, false);
		else
			strangers_drop(s, i, true);
	}
}

/* Where flow @i comes from. */
static struct sockaddr_storage flow_source(const struct half *h, unsigned int i)
{
	const struct flow *f = &h->conn->flow[i];
	struct sockaddr_storage from = h->from[f->rail];

	addr_set_port(&from, f->port);
	return from;
}

static struct steer_flow steer_flow(void *arg, unsigned int i)
{
	const struct half *h = arg;
	const struct flow_port *to =
		port_of(h->listener, h->conn, h->conn->flow[i].rail);

	return (struct steer_flow){
		.from = flow_source(h, i),
		.to = to->addr,
		.listen_fd = to->fd,
	};
}

/* Receive by devmem if that can be, once flows are steered; else *w is why not. */
static void choose_path(struct devmem_listener *l, struct half *h,
			struct why *w)
{
	struct rxpool *pool[DEVMEM_MAX_RAILS];
	struct devmem_conn *c = h->conn;

	if (!device_pools(l->dev, c->rails, l->gpu, pool, w))
		return;
	if (pool[0]->emulated) {
		c->rx.emulated =
			!rx_init(c, pool, ctx_options(l->ctx)->gather, w);
		return;
	}
	for (unsigned int i = 0; i < c->rails; i++)
		if (address_is_local(&h->from[i])) {
			why(w, 0,
			    "the peer is on this host: its packets do not "
			    "cross %s",
			    l->dev->info.name);
			return;
		}
	h->steering = !rx_init(c, pool, ctx_options(l->ctx)->gather, w);
}

/* It has as many, and knows of ours from the handle. */
static int on_rails(struct devmem_listener *l, struct half *h,
		    const struct wire_rails *rails)
{
	struct devmem_conn *c = h->conn;

	if (rails->count > l->dev->rails)
		return conn_fail(c, -EPROTO, "%u addresses for %u interfaces",
				 rails->count, l->dev->rails);
	c->rails = rails->count;
	for (unsigned int i = 0; i < c->rails; i++)
		addr_get(&h->from[i], c->peer.ss_family, rails->addr[i]);
	return 0;
}

/* How payload is received is settled, and flows may come. */
static int say_ready(struct devmem_listener *l, struct half *h)
{
	struct devmem_conn *c = h->conn;
	struct control *k = &c->control;
	struct wire_hello hello = conn_hello(c);
	struct wire_ready ready = { .rails = c->rails };

	if (!c->rx.devmem && (ctx_options(l->ctx)->require & DEVMEM_REQUIRE_RX))
		return conn_fail(c, -EOPNOTSUPP,
				 "NCCL_DEVMEM_REQUIRE has "
				 "rx, but %s",
				 h->no_devmem.text);
	ready.path = c->rx.pools ? WIRE_RX_DEVMEM : WIRE_RX_HOST;
	for (unsigned int i = 0; i < c->rails; i++)
		ready.port[i] = addr_port(&port_of(l, c, i)->addr);
	conn_settle(c, !c->rx.pools);
	control_put_done(k, wire_put_hello(control_put(k), &hello));
	control_put_done(k, wire_put_ready(control_put(k), &ready));
	h->ready = true;
	return control_flush(c);
}

/* More rules, and what there is to be said once all are there. */
static int go_on_steering(struct devmem_listener *l, struct half *h)
{
	struct devmem_conn *c = h->conn;
	int rc = steer_progress(&h->steer, c, steer_flow, h, &h->no_devmem);

	if (rc == -EAGAIN)
		return 0;
	steer_end(&h->steer);
	h->steering = false;
	if (rc)
		rx_free(c);
	c->rx.devmem = c->rx.pools;
	return say_ready(l, h);
}

static int on_flows(struct devmem_listener *l, struct half *h,
		    const struct wire_flows *flows)
{
	struct devmem_conn *c = h->conn;

	if (conn_make_flows(c, flows->count))
		return conn_fail(c, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < flows->count; i++) {
		c->flow[i].port = flows->port[i];
		/* Those of one address are told apart by their ports. */
		for (unsigned int j = i % c->rails; j < i; j += c->rails)
			if (flows->port[j] == flows->port[i])
				return conn_fail(c, -EPROTO,
						 "two flows have one port");
	}
	choose_path(l, h, &h->no_devmem);
	return h->steering ? go_on_steering(l, h) : say_ready(l, h);
}

/* The sender goes no further: it may have said why. */
static int half_ended(struct devmem_conn *c)
{
	const uint8_t *payload;
	struct wire_error e;
	struct wire_hdr hdr;

	if (wire_reader_peek(&c->control.in, &hdr, &payload) > 0 &&
	    hdr.type == WIRE_ERROR && !wire_get_error(payload, hdr.len, &e)) {
		c->control.eof = true;
		return conn_fail(c, -EREMOTEIO, "the sender gave up: %s",
				 e.text);
	}
	return conn_fail(c, -ECONNRESET,
			 "the sender hung up before the connection was made");
}

static int half_progress(struct devmem_listener *l, struct half *h)
{
	struct devmem_conn *c = h->conn;
	const uint8_t *payload;
	struct wire_flows flows;
	struct wire_rails rails;
	struct wire_hdr hdr;
	int rc = c->err ?: control_flush(c);

	rc = rc ?: control_fill(c);
	if (rc)
		return rc;
	/* It may have sent all that it had as soon as its flows were there. */
	if (c->control.eof && (!h->ready || h->eof))
		return half_ended(c);
	h->eof = c->control.eof;
	if (now_ms() > h->deadline)
		return conn_fail(c, -ETIMEDOUT,
				 "the sender did not finish the "
				 "connection within %d s",
				 HALF_MS / 1000);
	if (h->steering)
		return go_on_steering(l, h);
	if (h->ready)
		return 0; /* records may follow; they can wait */
	rc = wire_reader_peek(&c->control.in, &hdr, &payload);
	if (!rc)
		return 0;
	if (rc > 0 && hdr.type == WIRE_ERROR)
		return half_ended(c);
	if (rc > 0 && hdr.type == WIRE_RAILS &&
	    !wire_get_rails(payload, hdr.len, &rails)) {
		wire_reader_consume(&c->control.in);
		return on_rails(l, h, &rails);
	}
	if (rc < 0 || hdr.type != WIRE_FLOWS ||
	    wire_get_flows(payload, hdr.len, &flows))
		return conn_fail(c, -EPROTO, "FLOWS was due");
	wire_reader_consume(&c->control.in);
	return on_flows(l, h, &flows);
}

/* Whose flow is this? Nobody's: false. */
static bool match_flow(struct devmem_listener *l, const struct flow_port *at,
		       int fd, const struct sockaddr_storage *peer)
{
	for (unsigned int i = 0; i < l->halves; i++) {
		struct half *h = &l->half[i];
		struct devmem_conn *c = h->conn;

		for (unsigned int j = 0; h->ready && j < c->flows; j++) {
			struct sockaddr_storage want = flow_source(h, j);
			struct flow *f = &c->flow[j];

			if (f->fd >= 0 || port_of(l, c, f->rail) != at ||
			    !addr_equal(&want, peer))
				continue;
			if (sock_tune(fd, ctx_options(c->ctx)->timeout))
				return false;
			f->fd = fd;
			return true;
		}
	}
	return false;
}

static void accept_flows(struct devmem_listener *l, const struct flow_port *at)
{
	for (int i = 0; i < ACCEPTS; i++) {
		struct sockaddr_storage peer;
		int fd = sock_accept(at->fd, &peer);

		if (fd < 0) {
			accept_failed(l, fd);
			return;
		}
		if (!match_flow(l, at, fd, &peer))
			close(fd);
	}
}

static bool flows_complete(const struct half *h)
{
	for (unsigned int i = 0; i < h->conn->flows; i++)
		if (h->conn->flow[i].fd < 0)
			return false;
	return h->ready;
}

/* All of it is there: it only has to begin. */
static int half_complete(struct devmem_listener *l, struct devmem_conn *c,
			 bool unpack)
{
	struct why w = { .text = "" };
	int rc = rx_start(c);

	if (rc || !unpack || !l->dev->info.unpack || !c->rx.pools || !c->gpu)
		return rc;
	rc = rx_unpack_new(c, &w);
	return rc ? conn_fail(c, rc, "NCCL_DEVMEM_UNPACK=1: %s", w.text) : 0;
}

static int accept_one(struct devmem_listener *l, bool unpack,
		      struct devmem_conn **out)
{
	*out = NULL;
	accept_failed(l,
		      strangers_accept(&l->strangers, l->control_fd, ACCEPTS));
	meet_strangers(l);
	for (unsigned int i = 0; i < l->ports; i++)
		accept_flows(l, &l->port[i]);
	for (unsigned int i = 0; i < l->halves; i++) {
		struct half *h = &l->half[i];
		int rc;

		/* First: a sender may be done and gone already. */
		if (flows_complete(h)) {
			rc = half_complete(l, h->conn, unpack);
			if (rc) {
				half_drop(l, i, true);
				return rc;
			}
			*out = h->conn;
			DEVMEM_PROBE(accept, h->conn->record->id,
				     l->dev->info.name, h->conn->flows,
				     h->conn->rails);
			conn_established(h->conn, h->no_devmem.text);
			half_drop(l, i, false);
			return 0;
		}
		rc = half_progress(l, h);
		/* It had the key: this is our peer's failure, not a stranger's. */
		if (rc) {
			half_drop(l, i, true);
			return rc;
		}
	}
	return -EAGAIN;
}

DEVMEM_API int devmem_accept(struct devmem_listener *l,
			     struct devmem_conn **out)
{
	return accept_one(l, false, out);
}

DEVMEM_API int devmem_accept_unpack(struct devmem_listener *l,
				    struct devmem_conn **out)
{
	return accept_one(l, true, out);
}
