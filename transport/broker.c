// SPDX-License-Identifier: BSD-3-Clause
/*
 * broker.c - messages to and from the broker, and the client's side; see broker.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"
#include "lease.h"
#include "process.h"
#include "sock.h"

/*
 * For a broker that is started anew, or busy with others. Setting a NIC up may
 * take it a second or two.
 */
#define CALL_MS	 5000
#define RETRY_MS 20
/* Who waits does so for a broker that is there, or just comes. */
#define ABSENT_MS 1000
/* Descriptors that we look at in a message: those beyond are the kernel's. */
#define FDS_MAX 4

int broker_send(int fd, const void *msg, size_t n, int pass_fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (pass_fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = &u;
		m.msg_controllen = sizeof(u.room);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
	}
	if (sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == EINTR ? -EAGAIN : errno == ECONNRESET ? -EPIPE : -errno;
}

/* All descriptors of a message; how many. Those beyond @max are closed. */
static int take_fds(struct msghdr *m, int *fds, int max)
{
	int count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (count < max)
				fds[count] = fd;
			else
				close(fd);
			count++;
		}
	}
	return count;
}

int broker_recv(int fd, void *msg, size_t n, int *got_fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} u;
	struct iovec iov = { .iov_base = msg, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &u,
			    .msg_controllen = sizeof(u.room) };
	ssize_t got = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int count;

	*got_fd = -1;
	if (got < 0)
		return errno == EINTR	   ? -EAGAIN :
		       errno == ECONNRESET ? -EPIPE :
					     -errno;
	count = take_fds(&m, got_fd, 1);
	if ((size_t)got == n && count <= 1 &&
	    !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;
	if (count)
		close(*got_fd);
	*got_fd = -1;
	/* The end has no message; an empty message is none of ours. */
	return got ? -EPROTO : -EPIPE;
}

struct broker_request broker_request_of(enum broker_type type)
{
	return (struct broker_request){
		.magic = BROKER_MAGIC,
		.version = BROKER_VERSION,
		.type = (uint16_t)type,
	};
}

bool broker_choice_ok(const char *choice)
{
	return !choice || !strcmp(choice, "auto") || !strcmp(choice, "off") ||
	       (*choice == '/' && strlen(choice) < BROKER_PATH);
}

const char *broker_choose(const char *choice, bool refused)
{
	if (choice && *choice == '/')
		return choice;
	if (choice && strcmp(choice, "auto"))
		return NULL;
	if (!refused && has_net_admin())
		return NULL;
	return access(BROKER_SOCKET, F_OK) ? NULL : BROKER_SOCKET;
}

/* A socket that is connected: the other side need not have taken notice. */
static int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const void *)&a, sizeof(a)))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* Is it a passing state that nobody is there? */
static bool may_pass(int err)
{
	return err == -EAGAIN || err == -ECONNREFUSED || err == -ENOENT ||
	       err == -EPIPE || err == -EINTR;
}

void broker_call_end(struct broker_call *k)
{
	if (k->fd >= 0)
		close(k->fd);
	*k = (struct broker_call)BROKER_CALL_NONE;
}

static bool answers(const struct broker_answer *a,
		    const struct broker_request *q)
{
	return a->magic == BROKER_MAGIC && a->version == BROKER_VERSION &&
	       a->type == q->type && a->status <= 0 &&
	       memchr(a->text, 0, sizeof(a->text));
}

static int call_step(struct broker_call *k, const char *path,
		     const struct broker_request *q, int pass_fd,
		     struct broker_answer *a, int *got_fd)
{
	int rc, fd;

	if (k->fd < 0) {
		k->sent = false;
		k->fd = dial(path);
		if (k->fd < 0)
			return k->fd;
	}
	if (!k->sent) {
		rc = broker_send(k->fd, q, sizeof(*q), pass_fd);
		if (rc)
			return rc;
		k->sent = true;
	}
	rc = broker_recv(k->fd, a, sizeof(*a), &fd);
	if (rc)
		return rc;
	if (!answers(a, q)) {
		if (fd >= 0)
			close(fd);
		return -EPROTO;
	}
	if (got_fd)
		*got_fd = fd;
	else if (fd >= 0)
		close(fd);
	return 0;
}

int broker_call(struct broker_call *k, const char *path,
		const struct broker_request *q, int pass_fd,
		struct broker_answer *a, int *got_fd)
{
	uint64_t now = now_ms();
	int rc;

	if (!k->deadline)
		k->deadline = now + CALL_MS;
	if (now < k->retry_at)
		return -EAGAIN;
	rc = call_step(k, path, q, pass_fd, a, got_fd);
	if (!rc) {
		/* The connection serves the next request, too. */
		k->deadline = 0;
		k->sent = false;
		return 0;
	}
	if (!may_pass(rc))
		return rc;
	if (rc != -EAGAIN || k->fd < 0) {
		if (k->fd >= 0)
			close(k->fd);
		k->fd = -1;
		k->retry_at = now + RETRY_MS;
	}
	if (now < k->deadline)
		return -EAGAIN;
	return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

/* The same, and wait. */
static int call_and_wait(struct broker_call *k, const char *path,
			 const struct broker_request *q, int pass_fd,
			 struct broker_answer *a, int *got_fd)
{
	uint64_t absent = now_ms() + ABSENT_MS;
	int rc;

	while ((rc = broker_call(k, path, q, pass_fd, a, got_fd)) == -EAGAIN) {
		struct pollfd p = { .fd = k->fd, .events = POLLIN };

		if (k->fd < 0 && now_ms() >= absent)
			return -ECONNREFUSED;
		poll(&p, 1, RETRY_MS); /* just sleeps without a connection */
	}
	return rc;
}

int broker_probe(const char *path)
{
	struct broker_request q = broker_request_of(BROKER_STATUS);
	struct broker_call k = BROKER_CALL_NONE;
	struct broker_answer a;
	int rc = call_and_wait(&k, path, &q, -1, &a, NULL);

	broker_call_end(&k);
	return rc;
}

static int unanswered(const char *path, int rc, struct why *w)
{
	return why(w, rc,
		   "the broker at %s does not answer: %s; see: systemctl "
		   "status devmemd.socket devmemd",
		   path, strerror(-rc));
}

/* Queues that cannot be: it is not our broker, or of another version. */
static bool sane_queues(const struct broker_answer *a)
{
	if (!a->queues || a->queues > DEVMEM_MAX_QUEUES || !a->dmabuf_id)
		return false;
	for (unsigned int i = 0; i < a->queues; i++)
		if (!a->queue[i] || a->queue[i] >= LEASE_QUEUES_MAX)
			return false;
	return true;
}

static int hold_new(struct lease *l, const char *path,
		    const struct broker_answer *a, int netlink_fd, int fd)
{
	struct broker_hold *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	snprintf(b->path, sizeof(b->path), "%s", path);
	memcpy(b->token, a->token, sizeof(b->token));
	b->netlink_fd = netlink_fd;
	b->fd = fd;
	pthread_mutex_init(&b->lock, NULL);
	l->brokered = b;
	l->dmabuf_id = a->dmabuf_id;
	l->queues = a->queues;
	for (unsigned int i = 0; i < a->queues; i++)
		l->queue[i] = a->queue[i];
	return 0;
}

int broker_take(const char *path, unsigned int queues, bool manual,
		int dmabuf_fd, struct lease *l, struct why *w)
{
	struct broker_request q = broker_request_of(BROKER_BIND_RX);
	struct broker_call k = BROKER_CALL_NONE;
	struct broker_answer a;
	int rc, netlink_fd = -1;

	snprintf(q.ifname, sizeof(q.ifname), "%s", l->ifname);
	q.queues = queues;
	q.manual = manual;
	rc = call_and_wait(&k, path, &q, dmabuf_fd, &a, &netlink_fd);
	if (rc) {
		rc = unanswered(path, rc, w);
	} else if (a.status) {
		rc = why(w, a.status, "the broker refuses %s: %.*s", l->ifname,
			 WHY_BYTES - 64, a.text);
	} else if (netlink_fd < 0 || !sane_queues(&a)) {
		rc = why(w, -EPROTO, "the broker at %s makes no sense", path);
	} else {
		rc = hold_new(l, path, &a, netlink_fd, k.fd);
		if (!rc) {
			INFO("queues of %s are bound by the broker at %s",
			     l->ifname, path);
			return 0;
		}
		why(w, rc, "out of memory");
	}
	if (netlink_fd >= 0)
		close(netlink_fd);
	broker_call_end(&k);
	return rc;
}

void broker_end(struct lease *l)
{
	struct broker_hold *b = l->brokered;

	/* In this order: the broker looks when it sees the second go. */
	close(b->netlink_fd);
	if (b->fd >= 0)
		close(b->fd);
	pthread_mutex_destroy(&b->lock);
	free(b);
	l->brokered = NULL;
}

/* What it answers to requests that nobody waits for. */
static void drop_answers(int fd)
{
	struct broker_answer a;
	int rc, got;

	for (int i = 0; i < 1024; i++) {
		rc = broker_recv(fd, &a, sizeof(a), &got);
		if (rc && rc != -EPROTO)
			break;
		if (!rc && got >= 0)
			close(got);
	}
}

void broker_rule_delete(struct broker_hold *b, uint32_t location)
{
	struct broker_request q = broker_request_of(BROKER_RULE_DELETE);
	int rc = -EPIPE;

	q.location = location;
	memcpy(q.token, b->token, sizeof(q.token));
	pthread_mutex_lock(&b->lock);
	for (int try = 0; try < 2 && rc == -EPIPE; try++) {
		if (b->fd < 0)
			b->fd = dial(b->path);
		if (b->fd < 0)
			break;
		drop_answers(b->fd);
		rc = broker_send(b->fd, &q, sizeof(q), -1);
		if (rc == -EPIPE) {
			/* It was started anew, and knows the lease. */
			close(b->fd);
			b->fd = -1;
		}
	}
	pthread_mutex_unlock(&b->lock);
}
