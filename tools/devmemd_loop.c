// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_loop.c - clients come and go. Nothing here waits for one of them: a
 * message that is not there whole does not exist, and an answer that is not taken
 * is the client's end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "devmemd.h"
#include "sock.h"

#define EVENTS	(CLIENTS_MAX + 2)
#define ACCEPTS 64
#define GROUPS	1024
/* What is waited for besides clients, beyond their numbers. */
#define ID_LISTEN CLIENTS_MAX
#define ID_SIGNAL (CLIENTS_MAX + 1)
#define ID_PORT	  (CLIENTS_MAX + 2) /* and so on */

struct policy_peer client_peer(const struct client *c)
{
	static gid_t groups[GROUPS];
	socklen_t len = sizeof(groups);
	struct policy_peer p = { .uid = c->uid,
				 .gid = c->gid,
				 .group = groups };

	/* Who is in more than a thousand groups is asked for by the first. */
	if (c->fd >= 0 &&
	    !getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		p.groups = len / sizeof(gid_t);
	return p;
}

void client_drop(struct devmemd *d, struct client *c)
{
	int index = (int)(c - d->client);
	bool had = false;

	if (c->fd < 0)
		return;
	close(c->fd); /* which takes it out of the epoll set */
	c->fd = -1;
	for (unsigned int i = 0; i < LEASES_MAX; i++)
		if (d->held[i].used && d->held[i].client == index) {
			d->held[i].client = -1;
			had = true;
		}
	if (had)
		leases_look(d);
}

/* Room for one more of that kind? */
static bool is_welcome(const struct devmemd *d, const struct client *c)
{
	unsigned int same = 0, unlisted = 0;

	for (unsigned int i = 0; i < CLIENTS_MAX; i++) {
		const struct client *o = &d->client[i];

		same += o->fd >= 0 && o->uid == c->uid;
		unlisted += o->fd >= 0 && !o->listed;
	}
	return same < CLIENTS_OF_USER &&
	       (c->listed || unlisted < CLIENTS_UNLISTED);
}

static bool learn(struct devmemd *d, struct client *c)
{
	socklen_t len = sizeof(struct ucred), n = sizeof(uint64_t);
	struct policy_peer peer;
	struct ucred cred;
	uint64_t netns = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	c->uid = cred.uid;
	c->gid = cred.gid;
	c->pid = cred.pid;
	c->heard = now_ms();
	/*
	 * The kernel makes our end of the connection in the network namespace of
	 * who connects (net/unix/af_unix.c, unix_stream_connect()). NICs of ours
	 * are none of others' business.
	 */
	if (getsockopt(c->fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns, &n) ||
	    netns != d->netns) {
		say_refusal("refused: uid %u pid %d is in another network "
			    "namespace",
			    c->uid, (int)c->pid);
		return false;
	}
	peer = client_peer(c);
	c->listed = policy_knows(&d->policy, &peer);
	return true;
}

static int free_client(const struct devmemd *d)
{
	for (int i = 0; i < CLIENTS_MAX; i++)
		if (d->client[i].fd < 0)
			return i;
	return -1;
}

static void admit(struct devmemd *d, int fd)
{
	struct client new = { .fd = fd };
	struct epoll_event e = { .events = EPOLLIN };
	int at = free_client(d);

	if (!learn(d, &new)) {
		close(fd);
		return;
	}
	if (at < 0 || !is_welcome(d, &new)) {
		say_refusal("refused: uid %u pid %d: too many connections",
			    new.uid, (int)new.pid);
		close(fd);
		return;
	}
	e.data.u32 = (uint32_t)at;
	if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &e)) {
		close(fd);
		return;
	}
	d->client[at] = new;
}

/* With the one descriptor that is kept for it, or it would wait there for ever. */
static void turn_away(struct devmemd *d)
{
	int fd;

	close(d->spare_fd);
	fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	d->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	say_refusal("a client is turned away: no descriptor is left");
}

static void accept_clients(struct devmemd *d)
{
	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(d->listen_fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			admit(d, fd);
		else if (errno == EMFILE || errno == ENFILE)
			turn_away(d);
		else
			return;
	}
}

/* Who has had a turn. */
struct turns {
	uid_t uid[EVENTS];
	unsigned int users;
};

/*
 * One message, and one of each user in a turn: queues take a NIC its time, and
 * who has many connections would have all of it. What is left is told of again.
 */
static void hear(struct devmemd *d, struct client *c, struct turns *had)
{
	struct broker_request q;
	int fd, rc;

	if (c->fd < 0)
		return;
	for (unsigned int i = 0; i < had->users; i++)
		if (had->uid[i] == c->uid)
			return;
	had->uid[had->users++] = c->uid;
	rc = broker_recv(c->fd, &q, sizeof(q), &fd);
	if (rc == -EAGAIN)
		return;
	if (rc == -EPROTO)
		say_refusal("refused: uid %u pid %d: that is no request",
			    c->uid, (int)c->pid);
	if (rc) {
		client_drop(d, c);
		return;
	}
	c->heard = now_ms();
	request_handle(d, c, &q, fd);
}

static void reload(struct devmemd *d)
{
	char text[POLICY_WHY];

	if (policy_load(d->policy_path, &d->policy, text))
		say("%s: %s: the policy stays as it was", d->policy_path, text);
	else
		say("%s: read again, %u lines", d->policy_path,
		    d->policy.lines);
}

static void on_signal(struct devmemd *d)
{
	struct signalfd_siginfo s;

	if (read(d->signal_fd, &s, sizeof(s)) != sizeof(s))
		return;
	if (s.ssi_signo == SIGHUP)
		reload(d);
	else
		d->ended = true;
}

static bool has_lease(const struct devmemd *d, int client)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++)
		if (d->held[i].used && d->held[i].client == client)
			return true;
	return false;
}

static void drop_idle(struct devmemd *d)
{
	uint64_t now = now_ms();

	for (int i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &d->client[i];

		if (c->fd >= 0 && now - c->heard > IDLE_MS && !has_lease(d, i))
			client_drop(d, c);
	}
}

/* Until when nobody need look at leases or clients; -1: for ever. */
static int patience(const struct devmemd *d)
{
	int ms = -1;

	for (unsigned int i = 0; i < CLIENTS_MAX && ms < 0; i++)
		if (d->client[i].fd >= 0)
			ms = LOOK_MS;
	for (unsigned int i = 0; i < LEASES_MAX; i++) {
		if (!d->held[i].used)
			continue;
		if (d->held[i].client < 0)
			return LOOK_AWAY_MS;
		ms = LOOK_MS;
	}
	return ms;
}

static void look(struct devmemd *d, int ms)
{
	static uint64_t last;
	uint64_t now = now_ms();

	if (ms < 0 || now - last < (uint64_t)ms)
		return;
	last = now;
	leases_look(d);
	drop_idle(d);
}

void devmemd_step(struct devmemd *d, int max_ms)
{
	struct epoll_event event[EVENTS];
	struct turns had = { .users = 0 };
	int ms = patience(d), n;

	if (max_ms >= 0 && (ms < 0 || max_ms < ms))
		ms = max_ms;
	n = epoll_wait(d->epoll_fd, event, EVENTS, ms);
	for (int i = 0; i < n; i++) {
		uint32_t id = event[i].data.u32;

		if (id == ID_LISTEN)
			accept_clients(d);
		else if (id == ID_SIGNAL)
			on_signal(d);
		else if (id >= ID_PORT)
			rules_look(d, id - ID_PORT);
		else
			hear(d, &d->client[id], &had);
	}
	look(d, patience(d));
}

static int watch(const struct devmemd *d, int fd, uint32_t id, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.u32 = id };

	return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

/* Connections that come there are not ours: only the socket's end is told. */
int port_watch(const struct devmemd *d, int fd, unsigned int port)
{
	return watch(d, fd, ID_PORT + port, EPOLLET);
}

static int signals_open(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int own_netns(uint64_t *cookie)
{
	socklen_t len = sizeof(*cookie);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	rc = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len) ?
		     -errno :
		     0;
	close(fd);
	return rc;
}

int devmemd_serve(struct devmemd *d, int listen_fd)
{
	int rc;

	d->listen_fd = listen_fd;
	for (unsigned int i = 0; i < CLIENTS_MAX; i++)
		d->client[i].fd = -1;
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	d->signal_fd = signals_open();
	d->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	rc = d->epoll_fd < 0 || d->signal_fd < 0 || d->spare_fd < 0 ? -EMFILE :
								      0;
	rc = rc ?: own_netns(&d->netns);
	rc = rc ?: watch(d, d->signal_fd, ID_SIGNAL, EPOLLIN);
	rc = rc ?: watch(d, d->listen_fd, ID_LISTEN, EPOLLIN);
	if (rc)
		say("serving: %s%s", strerror(-rc),
		    rc == -ENOPROTOOPT ? ": Linux 5.14 or later is needed" :
					 "");
	return rc;
}

int devmemd_start(struct devmemd *d, int listen_fd)
{
	int rc = devmemd_serve(d, listen_fd);
	struct why w;

	if (rc)
		return rc;
	rc = lease_open_netdev(&d->netdev, &w);
	if (rc) {
		say("%s", w.text);
		return rc;
	}
	return state_read(d) ?: leases_take_up(d);
}

void devmemd_stop(struct devmemd *d)
{
	for (unsigned int i = 0; i < CLIENTS_MAX; i++)
		if (d->client[i].fd >= 0)
			close(d->client[i].fd);
	for (unsigned int i = 0; i < RULES_MAX; i++)
		if (d->port[i].users)
			close(d->port[i].fd);
	close(d->epoll_fd);
	close(d->signal_fd);
	close(d->spare_fd);
	close(d->listen_fd);
	devnl_close(&d->netdev);
}
