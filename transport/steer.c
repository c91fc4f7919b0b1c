// SPDX-License-Identifier: BSD-3-Clause
/*
 * steer.c - see steer.h.
 */
#include <errno.h>
#include <string.h>

#include "rxpool.h"
#include "sock.h"
#include "steer.h"

void steer_end(struct steer *s)
{
	broker_call_end(&s->call);
}

void steer_delete(struct devmem_conn *c)
{
	for (unsigned int i = 0; i < c->flows; i++) {
		struct flow *f = &c->flow[i];

		if (f->steered)
			lease_rule_delete(f->steered, f->rule);
		f->steered = NULL;
	}
}

/* The NIC's own answer is one, the broker's text another. */
static int refused(const struct devmem_conn *c, const struct flow *f, int rc,
		   const char *text, struct why *w)
{
	if (text)
		return why(w, rc, "the broker steers no flow on %s: %.*s",
			   conn_nic(c, f), WHY_BYTES - 64, text);
	return why(w, rc, "%s took no rule to steer a flow: %s%s",
		   conn_nic(c, f), strerror(-rc),
		   rc == -EPERM	 ? "; CAP_NET_ADMIN is needed" :
		   rc == -ENOSPC ? "; its table is full: ethtool -n" :
				   "");
}

static void fill_request(struct steer *s, const struct lease *l,
			 const struct steer_flow *flow)
{
	struct broker_request *q = &s->request;

	*q = broker_request_of(BROKER_RULE_ADD);
	memcpy(q->token, l->brokered->token, sizeof(q->token));
	q->queue = s->queue;
	q->family = flow->from.ss_family;
	q->port = addr_port(&flow->from);
	addr_put(&flow->from, q->addr);
}

static int ask_broker(struct steer *s, struct devmem_conn *c, struct flow *f,
		      struct lease *l, const struct steer_flow *flow,
		      struct why *w)
{
	struct broker_answer a;
	int rc;

	fill_request(s, l, flow);
	rc = broker_call(&s->call, l->brokered->path, &s->request,
			 flow->listen_fd, &a, NULL);
	if (rc == -EAGAIN)
		return rc;
	if (rc)
		return refused(c, f, rc, strerror(-rc), w);
	if (a.status)
		return refused(c, f, a.status, a.text, w);
	f->rule = a.location;
	s->whole_port[f->rail] = a.whole_port != 0;
	return 0;
}

static int steer_one(struct steer *s, struct devmem_conn *c, struct flow *f,
		     const struct steer_flow *flow, struct why *w)
{
	struct rxpool *pool = c->rx.rail[f->rail].pool;
	struct eth_flow ends = { .src = &flow->from, .dst = &flow->to };
	struct lease *l = &pool->lease;
	int rc;

	if (s->whole_port[f->rail])
		return 0;
	/* Once for each flow, however often we are called for it. */
	if (!s->queue_chosen)
		s->queue = rxpool_next_queue(pool);
	s->queue_chosen = true;
	if (l->brokered) {
		rc = ask_broker(s, c, f, l, flow, w);
	} else {
		rc = lease_rule_add(l, &ends, s->queue, &f->rule,
				    &s->whole_port[f->rail]);
		/* Nobody is to wait for a NIC that wants to be asked again. */
		if (rc)
			rc = refused(c, f, rc == -EAGAIN ? -EBUSY : rc, NULL,
				     w);
	}
	if (!rc)
		f->steered = l;
	return rc;
}

int steer_progress(struct steer *s, struct devmem_conn *c, steer_flow_fn flow,
		   void *arg, struct why *w)
{
	for (; s->next < c->flows; s->next++) {
		struct steer_flow one = flow(arg, s->next);
		int rc = steer_one(s, c, &c->flow[s->next], &one, w);

		if (rc == -EAGAIN)
			return rc;
		if (rc) {
			steer_delete(c);
			return rc;
		}
		s->queue_chosen = false;
	}
	return 0;
}
