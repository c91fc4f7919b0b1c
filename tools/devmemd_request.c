// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_request.c - what clients ask, and the answers; see docs/broker.md.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "devmemd.h"

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return !any;
}

static int check_bind(const struct broker_request *q, bool has_fd,
		      struct why *w)
{
	size_t n = strnlen(q->ifname, sizeof(q->ifname));

	if (!n || n == sizeof(q->ifname))
		return why(w, -EPROTO, "the NIC has no name");
	if (!q->queues || q->queues > DEVMEM_MAX_QUEUES)
		return why(w, -EPROTO, "%u queues: it must be 1 to %d",
			   q->queues, DEVMEM_MAX_QUEUES);
	if (q->manual > 1)
		return why(w, -EPROTO, "manual is %u", q->manual);
	return has_fd ? 0 : why(w, -EPROTO, "there is no dma-buf");
}

int request_check(const struct broker_request *q, bool has_fd, struct why *w)
{
	if (q->magic != BROKER_MAGIC)
		return why(w, -EPROTO, "that is no request");
	if (q->version != BROKER_VERSION)
		return why(w, -EPROTO,
			   "version %u where %d is spoken: install plugin and "
			   "devmemd of one version",
			   q->version, BROKER_VERSION);
	if (!all_zero(q->reserved, sizeof(q->reserved)))
		return why(w, -EPROTO, "reserved bytes are not 0");
	switch (q->type) {
	case BROKER_BIND_RX:
		return check_bind(q, has_fd, w);
	case BROKER_RULE_ADD:
		return has_fd ? 0 :
				why(w, -EPROTO, "there is no listening socket");
	case BROKER_RULE_DELETE:
	case BROKER_STATUS:
		return has_fd ? why(w, -EPROTO,
				    "nobody asked for a descriptor") :
				0;
	}
	return why(w, -EPROTO, "no such request: %u", q->type);
}

static void answer_bind(struct broker_answer *a, const struct held *h)
{
	a->dmabuf_id = h->lease.dmabuf_id;
	a->queues = h->lease.queues;
	for (unsigned int i = 0; i < h->lease.queues; i++)
		a->queue[i] = (uint16_t)h->lease.queue[i];
}

/* The client's leases, of root's clients everybody's: one after the other. */
static int do_status(struct devmemd *d, const struct client *c, uint32_t index,
		     struct broker_answer *a, struct why *w)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++) {
		const struct held *h = &d->held[i];

		if (!h->used || (c->uid && h->uid != c->uid) || index--)
			continue;
		answer_bind(a, h);
		a->uid = h->uid;
		a->pid = (uint32_t)h->pid;
		a->rules = lease_rules(d, h);
		memcpy(a->ifname, h->lease.ifname, sizeof(a->ifname));
		return 0;
	}
	return why(w, -ENOENT, "there are no more");
}

static struct held *find_lease(struct devmemd *d, const struct client *c,
			       const struct broker_request *q, struct why *w)
{
	struct held *h = lease_find(d, c, q->token);

	/* The same for a foreign one: nobody learns what there is. */
	if (!h)
		why(w, -ENOENT, "uid %u has no such lease", c->uid);
	return h;
}

static int do_rule_delete(struct devmemd *d, const struct client *c,
			  const struct broker_request *q, struct why *w)
{
	struct held *h = find_lease(d, c, q, w);

	return h ? rule_delete(d, h, q->location, w) : -ENOENT;
}

static int answer(struct client *c, const struct broker_request *q,
		  struct broker_answer *a, int rc, const struct why *w, int fd)
{
	a->magic = BROKER_MAGIC;
	a->version = BROKER_VERSION;
	a->type = q->type;
	a->status = rc;
	if (rc)
		memcpy(a->text, w->text, sizeof(a->text));
	return broker_send(c->fd, a, sizeof(*a), fd);
}

static void do_bind(struct devmemd *d, struct client *c,
		    const struct broker_request *q, int fd)
{
	struct broker_answer a = { 0 };
	struct why w = { .text = "" };
	struct held *h = NULL;
	int rc = lease_bind(d, c, q, fd, &h, &w);

	if (rc) {
		say_refusal("refused: uid %u pid %d, queues of %s: %s", c->uid,
			    (int)c->pid, q->ifname, w.text);
		if (answer(c, q, &a, rc, &w, -1))
			client_drop(d, c);
		return;
	}
	answer_bind(&a, h);
	memcpy(a.token, h->token, sizeof(a.token));
	rc = answer(c, q, &a, 0, &w, lease_netlink_fd(&h->lease));
	lease_given(h);
	if (rc) {
		lease_drop(d, h, "the client does not take it");
		client_drop(d, c);
	}
}

static void do_rule_add(struct devmemd *d, struct client *c,
			const struct broker_request *q, int fd)
{
	struct broker_answer a = { 0 };
	struct why w = { .text = "" };
	struct held *h = find_lease(d, c, q, &w);
	struct rule *r;
	int rc = h ? rule_add(d, c, h, q, fd, &r, &w) : -ENOENT;
	bool is_new = !rc;

	if (rc >= 0) {
		a.location = r->location;
		a.whole_port = r->whole_port;
		rc = 0;
	} else {
		say_refusal("refused: uid %u pid %d: %s", c->uid, (int)c->pid,
			    w.text);
	}
	if (!answer(c, q, &a, rc, &w, -1))
		return;
	/* Who has given up will not delete what it knows nothing of. */
	if (is_new)
		rule_delete(d, h, r->location, &w);
	client_drop(d, c);
}

void request_handle(struct devmemd *d, struct client *c,
		    const struct broker_request *q, int fd)
{
	struct broker_answer a = { 0 };
	struct why w = { .text = "" };
	int rc = request_check(q, fd >= 0, &w);
	bool nonsense = rc;

	/* Of these two is taken back what the client does not hear of. */
	if (!rc && q->type == BROKER_BIND_RX) {
		do_bind(d, c, q, fd);
		close(fd);
		return;
	}
	if (!rc && q->type == BROKER_RULE_ADD) {
		do_rule_add(d, c, q, fd);
		close(fd);
		return;
	}
	if (!rc && q->type == BROKER_STATUS)
		rc = do_status(d, c, q->queue, &a, &w);
	else if (!rc)
		rc = do_rule_delete(d, c, q, &w);
	if (fd >= 0)
		close(fd);
	if (rc && q->type != BROKER_STATUS)
		say_refusal("refused: uid %u pid %d: %s", c->uid, (int)c->pid,
			    w.text);
	rc = answer(c, q, &a, rc, &w, -1);
	/* Who speaks nonsense once will do so again. */
	if (rc || nonsense)
		client_drop(d, c);
}
