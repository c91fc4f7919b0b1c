// SPDX-License-Identifier: BSD-3-Clause
/*
 * devnl.c - generic netlink requests; see devnl.h.
 * Kernel side: Documentation/netlink/specs/{netdev,ethtool}.yaml.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devnl.h"
#include "uapi.h"

#define ATTRS 64

int devnl_open(struct devnl_family *f, const char *name)
{
	int rc;

	memset(f, 0, sizeof(*f));
	f->sk = nl_socket_alloc();
	if (!f->sk)
		return -ENOMEM;
	rc = genl_connect(f->sk); /* the socket is close-on-exec */
	if (rc < 0) {
		rc = -EIO;
		goto err_free;
	}
	f->id = genl_ctrl_resolve(f->sk, name);
	if (f->id < 0) {
		rc = -ENOENT;
		goto err_free;
	}
	/* Errors with the kernel's own words, without our request echoed. */
	nl_socket_set_nonblocking(f->sk);
	if (setsockopt(nl_socket_get_fd(f->sk), SOL_NETLINK, NETLINK_EXT_ACK,
		       &(int){ 1 }, sizeof(int)) ||
	    setsockopt(nl_socket_get_fd(f->sk), SOL_NETLINK, NETLINK_CAP_ACK,
		       &(int){ 1 }, sizeof(int))) {
		rc = -errno;
		goto err_free;
	}
	return 0;

err_free:
	nl_socket_free(f->sk);
	f->sk = NULL;
	return rc;
}

int devnl_fd(const struct devnl_family *f)
{
	return nl_socket_get_fd(f->sk);
}

void devnl_close(struct devnl_family *f)
{
	if (f->sk)
		nl_socket_free(f->sk);
	f->sk = NULL;
}

struct answer {
	struct devnl_family *f;
	int rc; /* 1 until the kernel has answered */
	int (*reply)(struct nlattr **attr, void *arg);
	void *arg;
};

static void read_extack(struct devnl_family *f, const struct nlmsgerr *e)
{
	const struct nlmsghdr *h =
		(const void *)((const char *)e - NLMSG_HDRLEN);
	size_t skip = sizeof(*e);
	const struct nlattr *msg;
	int left;

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - NLMSG_HDRLEN;
	left = (int)(h->nlmsg_len - NLMSG_HDRLEN - skip);
	if (left <= 0)
		return;
	msg = nla_find((struct nlattr *)((char *)(uintptr_t)e + skip), left,
		       NLMSGERR_ATTR_MSG);
	if (msg)
		nla_strlcpy(f->extack, (struct nlattr *)(uintptr_t)msg,
			    sizeof(f->extack));
}

static int on_error(struct sockaddr_nl *who, struct nlmsgerr *e, void *arg)
{
	struct answer *a = arg;

	(void)who;
	a->rc = e->error;
	read_extack(a->f, e);
	return NL_STOP;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	(void)msg;
	a->rc = 0;
	return NL_STOP;
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct nlattr *attr[ATTRS + 1];
	struct answer *a = arg;

	if (!a->reply)
		return NL_OK;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, attr, ATTRS, NULL) < 0)
		return NL_SKIP;
	return a->reply(attr, a->arg) < 0 ? NL_STOP : NL_OK;
}

/* Send @msg (consumed), hand each reply to @reply, wait for ack or end. */
static int request(struct devnl_family *f, struct nl_msg *msg,
		   int (*reply)(struct nlattr **attr, void *arg), void *arg)
{
	struct answer a = { .f = f, .rc = 1, .reply = reply, .arg = arg };
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int rc;

	f->extack[0] = '\0';
	if (!cb) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &a);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, &a);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, &a);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &a);

	rc = nl_send_auto(f->sk, msg);
	nlmsg_free(msg);
	/*
	 * The kernel handles a request before sendmsg returns, so the answer is
	 * there: an empty socket would be an answer that never comes.
	 */
	for (int i = 0; rc >= 0 && a.rc == 1 && i < 4096; i++)
		rc = nl_recvmsgs(f->sk, cb);
	nl_cb_put(cb);
	if (a.rc != 1)
		return a.rc;
	return -EIO;
}

static struct nl_msg *message(struct devnl_family *f, uint8_t cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg && !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, f->id, 0, flags,
				cmd, 1)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

static int on_bound(struct nlattr **attr, void *arg)
{
	if (!attr[DEVMEM_NETDEV_A_DMABUF_ID])
		return -EPROTO;
	*(uint32_t *)arg = nla_get_u32(attr[DEVMEM_NETDEV_A_DMABUF_ID]);
	return 0;
}

int devnl_bind_rx(struct devnl_family *f, unsigned int ifindex, int fd,
		  const unsigned int *queue, unsigned int count, uint32_t *id)
{
	struct nl_msg *msg = message(f, DEVMEM_NETDEV_CMD_BIND_RX, NLM_F_ACK);
	int rc;

	if (!msg)
		return -ENOMEM;
	rc = nla_put_u32(msg, DEVMEM_NETDEV_A_DMABUF_IFINDEX, ifindex) ?:
		     nla_put_u32(msg, DEVMEM_NETDEV_A_DMABUF_FD, (uint32_t)fd);
	for (unsigned int i = 0; !rc && i < count; i++) {
		struct nlattr *q =
			nla_nest_start(msg, DEVMEM_NETDEV_A_DMABUF_QUEUES);

		if (!q) {
			rc = -ENOMEM;
			break;
		}
		rc = nla_put_u32(msg, DEVMEM_NETDEV_A_QUEUE_ID, queue[i]) ?:
			     nla_put_u32(msg, DEVMEM_NETDEV_A_QUEUE_TYPE,
					 DEVMEM_NETDEV_QUEUE_TYPE_RX);
		nla_nest_end(msg, q);
	}
	if (rc) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	*id = 0;
	rc = request(f, msg, on_bound, id);
	return rc ?: *id ? 0 : -EPROTO;
}

int devnl_bind_tx(struct devnl_family *f, unsigned int ifindex, int fd,
		  uint32_t *id)
{
	struct nl_msg *msg = message(f, DEVMEM_NETDEV_CMD_BIND_TX, NLM_F_ACK);
	int rc;

	if (!msg)
		return -ENOMEM;
	if (nla_put_u32(msg, DEVMEM_NETDEV_A_DMABUF_IFINDEX, ifindex) ||
	    nla_put_u32(msg, DEVMEM_NETDEV_A_DMABUF_FD, (uint32_t)fd)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	*id = 0;
	rc = request(f, msg, on_bound, id);
	return rc ?: *id ? 0 : -EPROTO;
}

struct bound_arg {
	unsigned int ifindex, count, present;
	uint32_t *id;
};

static int on_queue(struct nlattr **attr, void *arg)
{
	struct bound_arg *b = arg;
	unsigned int id;

	if (!attr[DEVMEM_NETDEV_A_QUEUE_ID] ||
	    !attr[DEVMEM_NETDEV_A_QUEUE_TYPE] ||
	    !attr[DEVMEM_NETDEV_A_QUEUE_IFINDEX])
		return 0;
	if (nla_get_u32(attr[DEVMEM_NETDEV_A_QUEUE_IFINDEX]) != b->ifindex ||
	    nla_get_u32(attr[DEVMEM_NETDEV_A_QUEUE_TYPE]) !=
		    DEVMEM_NETDEV_QUEUE_TYPE_RX)
		return 0;
	id = nla_get_u32(attr[DEVMEM_NETDEV_A_QUEUE_ID]);
	if (id >= b->present)
		b->present = id + 1;
	if (id < b->count)
		b->id[id] =
			attr[DEVMEM_NETDEV_A_QUEUE_DMABUF] ?
				nla_get_u32(
					attr[DEVMEM_NETDEV_A_QUEUE_DMABUF]) :
				0;
	return 0;
}

int devnl_queue_dmabufs(struct devnl_family *f, unsigned int ifindex,
			uint32_t *id, unsigned int count, unsigned int *present)
{
	struct bound_arg b = { .ifindex = ifindex, .count = count, .id = id };
	struct nl_msg *msg =
		message(f, DEVMEM_NETDEV_CMD_QUEUE_GET, NLM_F_DUMP);
	int rc;

	memset(id, 0, count * sizeof(*id));
	if (!msg)
		return -ENOMEM;
	if (nla_put_u32(msg, DEVMEM_NETDEV_A_QUEUE_IFINDEX, ifindex)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	rc = request(f, msg, on_queue, &b);
	if (present)
		*present = b.present;
	return rc;
}

int devnl_bound_queues(struct devnl_family *f, unsigned int ifindex,
		       bool *bound, unsigned int count, unsigned int *present)
{
	uint32_t *id = calloc(count, sizeof(*id));
	int rc = -ENOMEM;

	memset(bound, 0, count * sizeof(*bound));
	if (id)
		rc = devnl_queue_dmabufs(f, ifindex, id, count, present);
	for (unsigned int i = 0; !rc && i < count; i++)
		bound[i] = id[i] != 0;
	free(id);
	return rc;
}

struct held_arg {
	unsigned int ifindex;
	uint32_t dmabuf_id;
	size_t pages;
};

static int on_page_pool(struct nlattr **attr, void *arg)
{
	struct nlattr *inflight = attr[DEVMEM_NETDEV_A_PAGE_POOL_INFLIGHT];
	struct nlattr *ifindex = attr[DEVMEM_NETDEV_A_PAGE_POOL_IFINDEX];
	struct nlattr *dmabuf = attr[DEVMEM_NETDEV_A_PAGE_POOL_DMABUF];
	struct held_arg *h = arg;

	if (!inflight || !ifindex || !dmabuf ||
	    nla_get_u32(ifindex) != h->ifindex ||
	    nla_get_u32(dmabuf) != h->dmabuf_id)
		return 0;
	/* A "uint" of netlink: 4 or 8 bytes, as the value needs. */
	h->pages += nla_len(inflight) >= 8 ? (size_t)nla_get_u64(inflight) :
					     nla_get_u32(inflight);
	return 0;
}

int devnl_pages_held(struct devnl_family *f, unsigned int ifindex,
		     uint32_t dmabuf_id, size_t *pages)
{
	struct held_arg h = { .ifindex = ifindex, .dmabuf_id = dmabuf_id };
	struct nl_msg *msg =
		message(f, DEVMEM_NETDEV_CMD_PAGE_POOL_GET, NLM_F_DUMP);
	int rc = msg ? request(f, msg, on_page_pool, &h) : -ENOMEM;

	*pages = h.pages;
	return rc;
}

/* An ethtool request about a device: header nest with its index. */
static struct nl_msg *ethtool_message(struct devnl_family *f, uint8_t cmd,
				      int header, unsigned int ifindex)
{
	struct nl_msg *msg = message(f, cmd, NLM_F_ACK);
	struct nlattr *nest;

	if (!msg)
		return NULL;
	nest = nla_nest_start(msg, header | NLA_F_NESTED);
	if (!nest ||
	    nla_put_u32(msg, DEVMEM_ETHTOOL_A_HEADER_DEV_INDEX, ifindex)) {
		nlmsg_free(msg);
		return NULL;
	}
	nla_nest_end(msg, nest);
	return msg;
}

static int on_rings(struct nlattr **attr, void *arg)
{
	struct devnl_rings *r = arg;

	if (attr[DEVMEM_ETHTOOL_A_RINGS_RX])
		r->rx = nla_get_u32(attr[DEVMEM_ETHTOOL_A_RINGS_RX]);
	if (attr[DEVMEM_ETHTOOL_A_RINGS_TCP_DATA_SPLIT])
		r->split =
			nla_get_u8(attr[DEVMEM_ETHTOOL_A_RINGS_TCP_DATA_SPLIT]);
	if (attr[DEVMEM_ETHTOOL_A_RINGS_HDS_THRESH]) {
		r->has_hds_thresh = true;
		r->hds_thresh =
			nla_get_u32(attr[DEVMEM_ETHTOOL_A_RINGS_HDS_THRESH]);
	}
	return 0;
}

int devnl_rings_get(unsigned int ifindex, struct devnl_rings *r)
{
	struct devnl_family f;
	struct nl_msg *msg;
	int rc;

	memset(r, 0, sizeof(*r));
	r->split = -1;
	rc = devnl_open(&f, "ethtool");
	if (rc)
		return rc;
	msg = ethtool_message(&f, DEVMEM_ETHTOOL_MSG_RINGS_GET,
			      DEVMEM_ETHTOOL_A_RINGS_HEADER, ifindex);
	rc = msg ? request(&f, msg, on_rings, r) : -ENOMEM;
	devnl_close(&f);
	return rc;
}

static int rings_set(struct devnl_family *f, unsigned int ifindex, int split,
		     int hds_thresh)
{
	struct nl_msg *msg = ethtool_message(f, DEVMEM_ETHTOOL_MSG_RINGS_SET,
					     DEVMEM_ETHTOOL_A_RINGS_HEADER,
					     ifindex);

	if (!msg)
		return -ENOMEM;
	if (nla_put_u8(msg, DEVMEM_ETHTOOL_A_RINGS_TCP_DATA_SPLIT,
		       (uint8_t)split) ||
	    (hds_thresh >= 0 &&
	     nla_put_u32(msg, DEVMEM_ETHTOOL_A_RINGS_HDS_THRESH,
			 (uint32_t)hds_thresh))) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	return request(f, msg, NULL, NULL);
}

int devnl_rings_set(unsigned int ifindex, int split, int hds_thresh,
		    char *extack, size_t n)
{
	struct devnl_family f;
	int rc = devnl_open(&f, "ethtool");

	*extack = '\0';
	if (rc)
		return rc;
	rc = rings_set(&f, ifindex, split, hds_thresh);
	snprintf(extack, n, "%s", f.extack);
	devnl_close(&f);
	return rc;
}
