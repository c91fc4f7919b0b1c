// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_rule.c - flow rules of leases. A rule takes packets away from whoever has
 * the port, so it is made only for who can show the socket that listens there, and
 * lasts no longer than nobody else can.
 */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devmemd.h"
#include "ethioctl.h"
#include "nicfile.h"
#include "sock.h"

static int int_option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, level, name, &value, &len) ? -errno : value;
}

static uint64_t u64_option(int fd, int name)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t value = 0;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? 0 : value;
}

static bool same_host(const struct sockaddr_storage *a,
		      const struct sockaddr_storage *b)
{
	struct sockaddr_storage x = *a, y = *b;

	addr_set_port(&x, 0);
	addr_set_port(&y, 0);
	return addr_equal(&x, &y);
}

/* Is it an address that the NIC has? */
static bool is_of_nic(const struct sockaddr_storage *a, const char *ifname)
{
	struct ifaddrs *all;
	bool found = false;

	if (getifaddrs(&all))
		return false;
	for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		struct sockaddr_storage of = { 0 };

		if (!i->ifa_addr || strcmp(i->ifa_name, ifname) ||
		    i->ifa_addr->sa_family != a->ss_family)
			continue;
		memcpy(&of, i->ifa_addr, addr_len(a));
		found = same_host(&of, a);
	}
	freeifaddrs(all);
	return found;
}

/* It must get all that comes to the port by that NIC: *to is where. */
static int check_listener(const struct devmemd *d, int fd, const char *ifname,
			  struct sockaddr_storage *to, struct why *w)
{
	char bound[16] = "";
	socklen_t len = sizeof(*to), n = sizeof(bound);
	int domain = int_option(fd, SOL_SOCKET, SO_DOMAIN);

	memset(to, 0, sizeof(*to));
	if ((domain != AF_INET && domain != AF_INET6) ||
	    int_option(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP ||
	    int_option(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1)
		return why(w, -EINVAL,
			   "the descriptor is not a TCP socket that listens");
	if (u64_option(fd, SO_NETNS_COOKIE) != d->netns)
		return why(w, -EXDEV,
			   "the socket is of another network namespace");
	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, bound, &n) ||
	    (n && *bound && strncmp(bound, ifname, sizeof(bound))))
		return why(w, -EINVAL, "the socket is bound to another device");
	if (getsockname(fd, (void *)to, &len) || to->ss_family != domain ||
	    !is_of_nic(to, ifname))
		return why(w, -EADDRNOTAVAIL,
			   "the socket does not listen on an address of %s",
			   ifname);
	return 0;
}

/* Of a server that had the port before, as it may be shared with SO_REUSEADDR. */
static int check_others(const struct sockaddr_storage *to, uid_t uid,
			struct why *w)
{
	int rc = others_connected(to, uid);

	if (rc < 0)
		return why(w, rc,
			   "who has connections at port %u cannot be told "
			   "(inet_diag): %s",
			   addr_port(to), strerror(-rc));
	return rc ? why(w, -EADDRINUSE,
			"port %u has connections of another user",
			addr_port(to)) :
		    0;
}

static int read_remote(const struct broker_request *q, sa_family_t family,
		       struct sockaddr_storage *from, struct why *w)
{
	if (q->family != family || !q->port)
		return why(w, -EINVAL, "the flow comes from nowhere");
	addr_get(from, family, q->addr);
	addr_set_port(from, q->port);
	return 0;
}

static bool has_queue(const struct lease *l, uint64_t queue)
{
	for (unsigned int i = 0; i < l->queues; i++)
		if (l->queue[i] == queue)
			return true;
	return false;
}

static unsigned int rules_of(const struct devmemd *d, uid_t uid)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < RULES_MAX; i++)
		n += d->rule[i].used && d->held[d->rule[i].lease].uid == uid;
	return n;
}

static int check_room(struct devmemd *d, const struct client *c,
		      const struct held *h, struct why *w)
{
	struct policy_peer peer = client_peer(c);
	struct policy_limits may;

	if (!policy_allows(&d->policy, &peer, h->lease.ifname, &may))
		return why(w, -EACCES, "%s does not allow it any more",
			   d->policy_path);
	if (rules_of(d, h->uid) >= may.rules)
		return why(w, -EDQUOT, "%s allows uid %u %u rules",
			   d->policy_path, h->uid, may.rules);
	return 0;
}

/* The same one, of an answer that was lost, or that nobody deletes. */
static struct rule *find_same(struct devmemd *d, const struct held *h,
			      const struct sockaddr_storage *from,
			      const struct sockaddr_storage *to)
{
	for (unsigned int i = 0; i < RULES_MAX; i++) {
		struct rule *r = &d->rule[i];

		if (r->used && &d->held[r->lease] == h &&
		    addr_equal(&r->from, from) && addr_equal(&r->to, to))
			return r;
	}
	return NULL;
}

static struct rule *free_rule(struct devmemd *d)
{
	for (unsigned int i = 0; i < RULES_MAX; i++)
		if (!d->rule[i].used)
			return &d->rule[i];
	return NULL;
}

/* One descriptor for each socket, however often it is shown. Index or -errno. */
static int hold_port(struct devmemd *d, int fd)
{
	uint64_t cookie = u64_option(fd, SO_COOKIE);
	int at = -ENFILE, rc;

	for (int i = 0; i < RULES_MAX; i++) {
		struct port *p = &d->port[i];

		if (p->users && p->cookie == cookie) {
			p->users++;
			return i;
		}
		if (!p->users && at < 0)
			at = i;
	}
	if (at < 0)
		return at;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = port_watch(d, fd, (unsigned int)at);
	if (rc) {
		close(fd);
		return rc;
	}
	d->port[at] = (struct port){ .fd = fd, .cookie = cookie, .users = 1 };
	return at;
}

static void let_port_go(struct devmemd *d, int at)
{
	if (at < 0 || --d->port[at].users)
		return;
	/* Closing does not do it: the job may have the socket, too. */
	epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, d->port[at].fd, NULL);
	close(d->port[at].fd);
}

/*
 * A rule for the flow that steers to a queue of the lease already: who made it was
 * killed before it could note that, and its client asks again.
 */
static bool find_on_nic(const struct held *h, const struct eth_flow *flow,
			struct rule *r)
{
	const char *nic = h->lease.ifname;
	uint32_t *location = calloc(NICFILE_RULES, sizeof(*location));
	bool found = false;
	size_t count = 0;

	if (location)
		eth_rules_get(nic, location, NICFILE_RULES, &count);
	/* The exact ones first: each is also one for its whole port. */
	for (int whole = 0; whole < 2 && !found; whole++)
		for (size_t i = 0; i < count && !found; i++) {
			uint64_t queue;

			found = !eth_rule_is(nic, location[i], flow, whole,
					     &queue) &&
				has_queue(&h->lease, queue);
			r->location = location[i];
			r->whole_port = whole;
		}
	free(location);
	return found;
}

static int insert(struct devmemd *d, struct held *h,
		  const struct broker_request *q, int listen_fd, struct rule *r,
		  struct why *w)
{
	struct eth_flow flow = { .src = &r->from, .dst = &r->to };
	int rc;

	r->port = hold_port(d, listen_fd);
	if (r->port < 0)
		return why(w, r->port, "no descriptor is left: %s",
			   strerror(-r->port));
	rc = lease_rule_add(&h->lease, &flow, q->queue, &r->location,
			    &r->whole_port);
	if (!rc || (rc == -EEXIST && find_on_nic(h, &flow, r)))
		return 0;
	let_port_go(d, r->port);
	return why(w, rc, "%s took no rule to steer a flow: %s%s",
		   h->lease.ifname, strerror(-rc),
		   rc == -ENOSPC ? "; its table is full: ethtool -n" : "");
}

int rule_add(struct devmemd *d, struct client *c, struct held *h,
	     const struct broker_request *q, int listen_fd, struct rule **out,
	     struct why *w)
{
	struct sockaddr_storage from, to;
	struct rule *r;
	int rc;

	if (!has_queue(&h->lease, q->queue))
		return why(w, -EACCES, "queue %u is not of that lease",
			   q->queue);
	rc = check_listener(d, listen_fd, h->lease.ifname, &to, w);
	rc = rc ?: read_remote(q, to.ss_family, &from, w);
	if (rc)
		return rc;
	*out = find_same(d, h, &from, &to);
	if (*out) {
		/* We were started anew since, and have it from a file. */
		if ((*out)->port < 0)
			(*out)->port = hold_port(d, listen_fd);
		return 1;
	}
	rc = check_room(d, c, h, w);
	rc = rc ?: check_others(&to, h->uid, w);
	if (rc)
		return rc;
	r = free_rule(d);
	if (!r)
		return why(w, -EUSERS, "all users together have %d rules",
			   RULES_MAX);
	*r = (struct rule){ .lease = (unsigned int)(h - d->held),
			    .from = from,
			    .to = to };
	rc = insert(d, h, q, listen_fd, r, w);
	if (rc)
		return rc;
	r->used = true;
	state_write(d);
	*out = r;
	return 0;
}

/*
 * 0 also if its place has another's by now: whoever was killed, or stopped, while
 * a process of root's has put the NIC in order knows not.
 */
static int delete_from_nic(const struct held *h, const struct rule *r)
{
	struct eth_flow flow = { .src = &r->from, .dst = &r->to };
	uint64_t queue;

	if (eth_rule_is(h->lease.ifname, r->location, &flow, r->whole_port,
			&queue) ||
	    !has_queue(&h->lease, queue))
		return 0;
	return eth_rule_delete(h->lease.ifname, r->location);
}

/* One that the NIC does not give up keeps its port: it still takes its packets. */
static int drop_rule(struct devmemd *d, struct rule *r)
{
	int rc;

	r->used = false;
	state_write(d);
	rc = delete_from_nic(&d->held[r->lease], r);
	if (!rc) {
		let_port_go(d, r->port);
		return 0;
	}
	r->used = true;
	state_write(d);
	return rc;
}

int rule_delete(struct devmemd *d, struct held *h, uint32_t location,
		struct why *w)
{
	for (unsigned int i = 0; i < RULES_MAX; i++) {
		struct rule *r = &d->rule[i];
		int rc;

		if (!r->used || &d->held[r->lease] != h ||
		    r->location != location)
			continue;
		rc = drop_rule(d, r);
		return rc ? why(w, rc, "%s does not delete rule %u: %s",
				h->lease.ifname, location, strerror(-rc)) :
			    0;
	}
	return why(w, -ENOENT, "rule %u is not of that lease", location);
}

void rules_delete_all(struct devmemd *d, struct held *h)
{
	for (unsigned int i = 0; i < RULES_MAX; i++) {
		struct rule *r = &d->rule[i];

		if (!r->used || &d->held[r->lease] != h)
			continue;
		r->used = false;
		delete_from_nic(h, r);
		let_port_go(d, r->port);
	}
}

static bool listens_at(int fd, const struct sockaddr_storage *to)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);

	return int_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1 &&
	       !getsockname(fd, (void *)&at, &len) && addr_equal(&at, to);
}

void rules_look(struct devmemd *d, unsigned int port)
{
	const struct port *p = &d->port[port];

	for (unsigned int i = 0; i < RULES_MAX && p->users; i++) {
		struct rule *r = &d->rule[i];

		if (!r->used || r->port != (int)port ||
		    listens_at(p->fd, &r->to))
			continue;
		say_refusal(
			"uid %u: a socket with a rule on %s does not listen "
			"any more: the rule goes",
			d->held[r->lease].uid, d->held[r->lease].lease.ifname);
		drop_rule(d, r);
	}
}
