// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_diag.c - whose connections there are at an address, by sock_diag(7).
 * That somebody listens there does not say: with SO_REUSEADDR one can take the
 * place of a server that listens no more, whose connections go on.
 */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>

#include "devmemd.h"
#include "sock.h"

/* Of those that have both ends; the others get nothing. */
#define STATES                                                              \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_FIN_WAIT1 | \
	 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK |  \
	 1u << TCP_CLOSING)

struct search {
	const struct sockaddr_storage *at;
	uid_t uid;
	bool found;
	int err;
};

static bool is_at(const struct inet_diag_sockid *id, int family,
		  const struct sockaddr_storage *at)
{
	uint8_t bytes[16] = { 0 };
	const uint8_t *has = (const void *)id->idiag_src;

	addr_put(at, bytes);
	if (family == at->ss_family)
		return !memcmp(has, bytes, family == AF_INET ? 4 : 16);
	/* A socket of IPv6 that speaks IPv4. */
	return family == AF_INET6 &&
	       IN6_IS_ADDR_V4MAPPED(
		       (const struct in6_addr *)(const void *)has) &&
	       !memcmp(has + 12, bytes, 4);
}

static int on_socket(struct nl_msg *msg, void *arg)
{
	const struct inet_diag_msg *m = nlmsg_data(nlmsg_hdr(msg));
	struct search *s = arg;

	if ((size_t)nlmsg_datalen(nlmsg_hdr(msg)) < sizeof(*m))
		return NL_SKIP;
	/*
	 * Those that nobody has accepted yet, or has any more, have no inode, and
	 * tell no user.
	 */
	if (m->idiag_inode && m->idiag_uid != s->uid &&
	    m->id.idiag_sport == htons(addr_port(s->at)) &&
	    is_at(&m->id, m->idiag_family, s->at))
		s->found = true;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *who, struct nlmsgerr *e, void *arg)
{
	struct search *s = arg;

	(void)who;
	s->err = e->error;
	return NL_STOP;
}

static int search(struct nl_sock *sk, int family, struct search *s)
{
	struct inet_diag_req_v2 q = {
		.sdiag_family = (uint8_t)family,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = STATES,
		.id.idiag_sport = htons(addr_port(s->at)),
	};
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int rc;

	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_socket, s);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, s);
	rc = nl_send_simple(sk, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &q, sizeof(q));
	if (rc >= 0)
		rc = nl_recvmsgs(sk, cb);
	nl_cb_put(cb);
	return s->err ?: rc < 0 ? -EIO : 0;
}

int others_connected(const struct sockaddr_storage *at, uid_t uid)
{
	struct search s = { .at = at, .uid = uid };
	struct nl_sock *sk = nl_socket_alloc();
	int rc = -EIO;

	if (!sk)
		return -ENOMEM;
	if (!nl_connect(sk, NETLINK_SOCK_DIAG))
		rc = search(sk, AF_INET6, &s);
	if (!rc && at->ss_family == AF_INET)
		rc = search(sk, AF_INET, &s);
	nl_socket_free(sk);
	return rc ?: s.found;
}
