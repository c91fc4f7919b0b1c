/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.c - the messages between a rank and the launcher: a 12-byte head and a
 * body whose length depends on the type alone, or is bounded by it. The same
 * over a socketpair (ranks of this machine) and TCP (ranks of others). Every
 * wait has a deadline.
 *
 * Bodies are structs of fixed-width fields in the byte order of the machine;
 * the magic number of the head differs where the order does, so a machine of
 * the other order is refused and never misread.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

/* The most bytes that the body of a message from a rank may have. */
size_t msg_max(enum msg_type type)
{
	switch (type) {
	case MSG_HELLO:
		return sizeof(struct msg_hello);
	case MSG_INFO:
		return sizeof(struct info_report);
	case MSG_GATHER:
		return GATHER_MAX;
	case MSG_ROW:
		return sizeof(struct row);
	case MSG_PATH:
		return sizeof(struct path_report);
	case MSG_ERROR:
		return sizeof(struct error_report);
	default:
		return 0;
	}
}

static int wait_fd(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = (deadline - now_ns()) / 1000000;
	int rc;

	if (left <= 0)
		return -ETIMEDOUT;
	rc = poll(&p, 1, left > 1000 ? 1000 : (int)left);
	return rc < 0 && errno != EINTR ? -errno : 0;
}

/* Reads or writes all of `len` bytes, or fails with -errno by `deadline`. */
int io_full(int fd, void *data, size_t len, bool write, int64_t deadline)
{
	char *p = data;
	ssize_t n;
	int rc;

	while (len) {
		n = write ? send(fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL) :
			    recv(fd, p, len, MSG_DONTWAIT);
		if (n > 0) {
			p += n;
			len -= n;
			continue;
		}
		if (n == 0)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		rc = wait_fd(fd, write ? POLLOUT : POLLIN, deadline);
		if (rc)
			return rc;
	}
	return 0;
}

int msg_send(int fd, enum msg_type type, unsigned int flags, const void *data,
	     size_t len, int64_t deadline)
{
	struct msg_head h = {
		.magic = MSG_MAGIC, .type = type, .flags = flags, .len = len
	};
	int rc;

	rc = io_full(fd, &h, sizeof(h), true, deadline);
	if (!rc && len)
		rc = io_full(fd, (void *)data, len, true, deadline);
	return rc;
}

/* Splits HOST:PORT or [HOST]:PORT and looks it up. */
static struct addrinfo *lookup(const char *hostport, int flags, char *why,
			       size_t size)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = flags | AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	const char *colon = strrchr(hostport, ':');
	char host[256];
	size_t len;
	int rc;

	if (!colon || !colon[1] || (size_t)(colon - hostport) >= sizeof(host)) {
		snprintf(why, size, "\"%s\" is not HOST:PORT", hostport);
		return NULL;
	}
	len = colon - hostport;
	if (len >= 2 && hostport[0] == '[' && hostport[len - 1] == ']') {
		hostport++;
		len -= 2;
	}
	memcpy(host, hostport, len);
	host[len] = '\0';
	rc = getaddrinfo(len ? host : NULL, colon + 1, &hints, &list);
	if (rc) {
		snprintf(why, size, "cannot look up %s: %s", host,
			 gai_strerror(rc));
		return NULL;
	}
	return list;
}

/* Connects, trying again while nobody listens yet. -1 with the reason. */
int tcp_dial(const char *hostport, int64_t deadline, char *why, size_t size)
{
	struct addrinfo *list = lookup(hostport, 0, why, size), *a;
	struct timeval limit = { .tv_sec = 5 };
	int fd, one = 1, err = ETIMEDOUT;

	if (!list)
		return -1;
	for (; now_ns() < deadline; usleep(50000)) {
		for (a = list; a; a = a->ai_next) {
			fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC,
				    0);
			if (fd < 0) {
				err = errno;
				continue;
			}
			/* Bounds connect(2). */
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit,
				   sizeof(limit));
			if (!connect(fd, a->ai_addr, a->ai_addrlen)) {
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
					   sizeof(one));
				freeaddrinfo(list);
				return fd;
			}
			err = errno;
			close(fd);
		}
	}
	freeaddrinfo(list);
	snprintf(why, size,
		 "cannot connect to rank 0 at %s: %s; is it "
		 "started, and is the port open?",
		 hostport, strerror(err));
	return -1;
}

int tcp_listen(const char *hostport, char *why, size_t size)
{
	struct addrinfo *list = lookup(hostport, AI_PASSIVE, why, size);
	int fd, one = 1;

	if (!list)
		return -1;
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (!bind(fd, list->ai_addr, list->ai_addrlen) &&
		    !listen(fd, MAX_RANKS)) {
			freeaddrinfo(list);
			return fd;
		}
	}
	snprintf(why, size, "cannot listen on %s: %s", hostport,
		 strerror(errno));
	freeaddrinfo(list);
	if (fd >= 0)
		close(fd);
	return -1;
}
