// SPDX-License-Identifier: BSD-3-Clause
/* kt_nl.c - the netdev family: binding dma-bufs, and what is bound. */
#include <errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kt.h"

struct answer {
	int err;
	uint32_t id;
	char *why;
	size_t why_size;
};

/* linux/netlink.h: attributes behind the header of an error */
enum { ACK_MSG = 1, ACK_TLVS = 0x200, ACK_CAPPED = 0x100 };

static void ack_words(const struct nlmsghdr *h, struct answer *a)
{
	const struct nlmsgerr *e = nlmsg_data(h);
	struct nlattr *at, *pos;
	size_t skip_len = sizeof(*e);
	int left;

	if (!(h->nlmsg_flags & ACK_TLVS))
		return;
	if (!(h->nlmsg_flags & ACK_CAPPED))
		skip_len += e->msg.nlmsg_len - sizeof(e->msg);
	if (skip_len + NLMSG_HDRLEN > h->nlmsg_len)
		return;
	at = (struct nlattr *)((char *)nlmsg_data(h) + NLMSG_ALIGN(skip_len));
	left = (int)(h->nlmsg_len - NLMSG_HDRLEN - NLMSG_ALIGN(skip_len));
	nla_for_each_attr(pos, at, left, left)
		if (nla_type(pos) == ACK_MSG)
			snprintf(a->why, a->why_size, "%s", nla_get_string(pos));
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	struct answer *a = arg;

	(void)from;
	a->err = e->error;
	ack_words((struct nlmsghdr *)((char *)e - NLMSG_HDRLEN), a);
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	return NL_STOP;
}

static int on_id(struct nl_msg *msg, void *arg)
{
	struct nlattr *at[KT_A_MAX + 1];
	struct answer *a = arg;

	if (!genlmsg_parse(nlmsg_hdr(msg), 0, at, KT_A_MAX, NULL) &&
	    at[KT_A_DMABUF_ID])
		a->id = nla_get_u32(at[KT_A_DMABUF_ID]);
	return NL_OK;
}

static struct nl_sock *netdev_open(int *family)
{
	struct nl_sock *sk = nl_socket_alloc();
	int on = 1;

	expect(sk && !genl_connect(sk), "no generic netlink socket");
	*family = genl_ctrl_resolve(sk, "netdev");
	if (*family < 0)
		skip("the kernel has no \"netdev\" netlink family");
	setsockopt(nl_socket_get_fd(sk), SOL_NETLINK, NETLINK_EXT_ACK, &on,
		   sizeof(on));
	return sk;
}

static void put_queue(struct nl_msg *msg, uint32_t queue)
{
	struct nlattr *nest = nla_nest_start(msg,
					     KT_A_DMABUF_QUEUES | NLA_F_NESTED);

	expect(nest && !nla_put_u32(msg, KT_A_QUEUE_TYPE, 0) &&
	       !nla_put_u32(msg, KT_A_QUEUE_ID, queue), "message too long");
	nla_nest_end(msg, nest);
}

static int do_bind(struct binding *b, int cmd, unsigned int ifindex, int fd,
		   const uint32_t *queues, unsigned int n)
{
	struct answer a = { .why = b->why, .why_size = sizeof(b->why) };
	struct nl_msg *msg = nlmsg_alloc();
	int family, rc;

	b->why[0] = '\0';
	b->id = 0;
	b->sk = netdev_open(&family);
	expect(msg && genlmsg_put(msg, 0, 0, family, 0, 0, cmd, 1) &&
	       !nla_put_u32(msg, KT_A_DMABUF_IFINDEX, ifindex) &&
	       !nla_put_u32(msg, KT_A_DMABUF_FD, (uint32_t)fd),
	       "cannot make a netlink message");
	for (unsigned int i = 0; i < n; i++)
		put_queue(msg, queues[i]);
	nl_socket_modify_cb(b->sk, NL_CB_VALID, NL_CB_CUSTOM, on_id, &a);
	nl_socket_modify_cb(b->sk, NL_CB_ACK, NL_CB_CUSTOM, on_ack, &a);
	nl_socket_modify_err_cb(b->sk, NL_CB_CUSTOM, on_error, &a);
	rc = nl_send_auto(b->sk, msg);
	nlmsg_free(msg);
	expect(rc >= 0, "netlink: %s", nl_geterror(rc));
	do {
		rc = nl_recvmsgs_default(b->sk);
	} while (rc >= 0 && !a.err && !a.id);
	if (!a.err && !a.id)
		die("bind has no answer: %s", nl_geterror(rc));
	if (a.err)
		unbind(b);
	b->id = a.id;
	return a.err;
}

int bind_rx(struct binding *b, unsigned int ifindex, int fd,
	    const uint32_t *queues, unsigned int n)
{
	return do_bind(b, KT_CMD_BIND_RX, ifindex, fd, queues, n);
}

int bind_tx(struct binding *b, unsigned int ifindex, int fd)
{
	return do_bind(b, KT_CMD_BIND_TX, ifindex, fd, NULL, 0);
}

int host_bind_rx(struct binding *b, const char *host, const char *nic, int fd,
		 const uint32_t *queues, unsigned int n)
{
	unsigned int ifindex = host_ifindex(host, nic);
	int rc;

	host_enter(host);
	rc = bind_rx(b, ifindex, fd, queues, n);
	host_enter(".");
	return rc;
}

int host_bind_tx(struct binding *b, const char *host, const char *nic, int fd)
{
	unsigned int ifindex = host_ifindex(host, nic);
	int rc;

	host_enter(host);
	rc = bind_tx(b, ifindex, fd);
	host_enter(".");
	return rc;
}

void must_bind_rx(struct binding *b, const char *host, const char *nic,
		  const struct region *r, const uint32_t *queues,
		  unsigned int n)
{
	int rc = host_bind_rx(b, host, nic, r->fd, queues, n);

	expect(!rc, "bind-rx of %s: %s (%s)", nic, strerror(-rc), b->why);
}

void must_bind_tx(struct binding *b, const char *host, const char *nic,
		  const struct region *r)
{
	int rc = host_bind_tx(b, host, nic, r->fd);

	if (rc == -EOPNOTSUPP && strstr(b->why, "driver"))
		skip("%s: %s", nic, b->why);
	expect(!rc, "bind-tx of %s: %s (%s)", nic, strerror(-rc), b->why);
}

void unbind(struct binding *b)
{
	if (b->sk)
		nl_socket_free(b->sk);
	b->sk = NULL;
}

static void dump(int cmd, int attr, uint32_t ifindex, nl_recvmsg_msg_cb_t each,
		 void *arg)
{
	struct nl_msg *msg = nlmsg_alloc();
	struct nl_sock *sk;
	int family, rc;

	sk = netdev_open(&family);
	expect(msg && genlmsg_put(msg, 0, 0, family, 0, NLM_F_DUMP, cmd, 1) &&
	       (!attr || !nla_put_u32(msg, attr, ifindex)),
	       "cannot make a netlink message");
	nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, each, arg);
	rc = nl_send_auto(sk, msg);
	nlmsg_free(msg);
	if (rc >= 0)
		rc = nl_recvmsgs_default(sk);
	expect(rc >= 0, "netdev command %d: %s", cmd, nl_geterror(rc));
	nl_socket_free(sk);
}

struct pool_query {
	uint32_t dmabuf;
	struct pool_count *count;
};

static uint64_t get_uint(const struct nlattr *a)
{
	return nla_len(a) == 8 ? nla_get_u64(a) : nla_get_u32(a);
}

static int on_pool(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[KT_A_MAX + 1];
	struct pool_query *q = arg;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, KT_A_MAX, NULL) ||
	    !a[KT_A_POOL_DMABUF] ||
	    nla_get_u32(a[KT_A_POOL_DMABUF]) != q->dmabuf)
		return NL_OK;
	q->count->pools++;
	if (a[KT_A_POOL_INFLIGHT])
		q->count->inflight += get_uint(a[KT_A_POOL_INFLIGHT]);
	if (a[KT_A_POOL_DETACH_TIME])
		q->count->detached = true;
	return NL_OK;
}

void pools_get(uint32_t dmabuf_id, struct pool_count *count)
{
	struct pool_query q = { .dmabuf = dmabuf_id, .count = count };

	memset(count, 0, sizeof(*count));
	dump(KT_CMD_PAGE_POOL_GET, 0, 0, on_pool, &q);
}

struct queue_query {
	unsigned int queue;
	int64_t dmabuf;
};

static int on_queue(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[KT_A_MAX + 1];
	struct queue_query *q = arg;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, KT_A_MAX, NULL) ||
	    !a[KT_A_QUEUE_ID] || !a[KT_A_QUEUE_TYPE] ||
	    nla_get_u32(a[KT_A_QUEUE_TYPE]) ||
	    nla_get_u32(a[KT_A_QUEUE_ID]) != q->queue)
		return NL_OK;
	q->dmabuf = 0;
	if (a[KT_A_QUEUE_DMABUF])
		q->dmabuf = nla_get_u32(a[KT_A_QUEUE_DMABUF]);
	return NL_OK;
}

int64_t queue_dmabuf(unsigned int ifindex, unsigned int queue)
{
	struct queue_query q = { .queue = queue, .dmabuf = -1 };

	dump(KT_CMD_QUEUE_GET, KT_A_QUEUE_IFINDEX, ifindex, on_queue, &q);
	return q.dmabuf;
}

int dmabufs(void)
{
	const char *path = "/sys/kernel/debug/dma_buf/bufinfo";
	FILE *f = fopen(path, "r");
	char line[512];
	int n = -1;

	if (!f)
		skip("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f))
		sscanf(line, "Total %d objects", &n);
	fclose(f);
	expect(n >= 0, "%s has no total", path);
	return n;
}

bool dmabufs_fall_to(int n, double seconds)
{
	double until = kt_now() + seconds;

	while (dmabufs() > n) {
		if (kt_now() > until)
			return false;
		kt_sleep(0.05);
	}
	return true;
}
