// SPDX-License-Identifier: BSD-3-Clause
/*
 * sock.c - TCP sockets and addresses; see sock.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sock.h"

/* IPv6's minimum MTU less headers: no path has a smaller segment for long. */
#define MSS_FLOOR 536u

socklen_t addr_len(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
					  sizeof(struct sockaddr_in);
}

static in_port_t *port_of(struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ?
		       &((struct sockaddr_in6 *)a)->sin6_port :
		       &((struct sockaddr_in *)a)->sin_port;
}

uint16_t addr_port(const struct sockaddr_storage *a)
{
	return ntohs(*port_of((struct sockaddr_storage *)a));
}

void addr_set_port(struct sockaddr_storage *a, uint16_t port)
{
	*port_of(a) = htons(port);
}

/* The address proper, and its length. */
static void *bytes_of(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET6 ?
		       (void *)&((struct sockaddr_in6 *)a)->sin6_addr :
		       (void *)&((struct sockaddr_in *)a)->sin_addr;
}

static size_t bytes_in(sa_family_t family)
{
	return family == AF_INET6 ? sizeof(struct in6_addr) :
				    sizeof(struct in_addr);
}

bool addr_equal(const struct sockaddr_storage *a,
		const struct sockaddr_storage *b)
{
	return a->ss_family == b->ss_family && addr_port(a) == addr_port(b) &&
	       !memcmp(bytes_of(a), bytes_of(b), bytes_in(a->ss_family));
}

const char *addr_text(const struct sockaddr_storage *a, bool port, char *text,
		      size_t n)
{
	bool v6 = a->ss_family == AF_INET6;
	char host[INET6_ADDRSTRLEN] = "?";

	inet_ntop(a->ss_family, bytes_of(a), host, sizeof(host));
	if (!port)
		snprintf(text, n, "%s", host);
	else
		snprintf(text, n, v6 ? "[%s]:%u" : "%s:%u", host, addr_port(a));
	return text;
}

void addr_put(const struct sockaddr_storage *a, uint8_t *bytes)
{
	memset(bytes, 0, sizeof(struct in6_addr));
	memcpy(bytes, bytes_of(a), bytes_in(a->ss_family));
}

void addr_get(struct sockaddr_storage *a, sa_family_t family,
	      const uint8_t *bytes)
{
	memset(a, 0, sizeof(*a));
	a->ss_family = family;
	memcpy(bytes_of(a), bytes, bytes_in(family));
}

static int sock_tcp(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int sock_bound(const struct sockaddr_storage *a, uint16_t *port)
{
	struct sockaddr_storage any = *a;
	socklen_t len = addr_len(a);
	int fd, rc;

	fd = sock_tcp(a->ss_family);
	if (fd < 0)
		return fd;
	addr_set_port(&any, 0);
	if (bind(fd, (void *)&any, len) ||
	    getsockname(fd, (void *)&any, &len)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*port = addr_port(&any);
	return fd;
}

int sock_listen(struct sockaddr_storage *a, int backlog)
{
	uint16_t port;
	int fd, rc;

	fd = sock_bound(a, &port);
	if (fd < 0)
		return fd;
	if (listen(fd, backlog)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	addr_set_port(a, port);
	return fd;
}

int sock_by_nic(int fd, const char *ifname)
{
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname,
		       (socklen_t)strlen(ifname)))
		return -errno;
	return 0;
}

int sock_connect(int fd, const struct sockaddr_storage *to)
{
	if (!connect(fd, (const void *)to, addr_len(to)) ||
	    errno == EINPROGRESS)
		return 0;
	return -errno;
}

int sock_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	if (poll(&p, 1, 0) <= 0)
		return -EAGAIN;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return -errno;
	return -err;
}

int sock_accept(int fd, struct sockaddr_storage *peer)
{
	socklen_t len = sizeof(*peer);
	int new;

	memset(peer, 0, sizeof(*peer));
	new = accept4(fd, (void *)peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (new >= 0)
		return new;
	/* What befell that one connection is no error of the listener. */
	if (errno == ECONNABORTED || errno == EPROTO || errno == EINTR ||
	    errno == EWOULDBLOCK)
		return -EAGAIN;
	return -errno;
}

int sock_tune(int fd, unsigned int timeout)
{
	/* Silent for half of that, then four times an eighth. */
	int idle = (int)(timeout + 1) / 2, each = (int)(timeout + 7) / 8;
	const struct {
		int level, name, value;
	} option[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, idle },
		{ IPPROTO_TCP, TCP_KEEPINTVL, each },
		{ IPPROTO_TCP, TCP_KEEPCNT, 4 },
	};

	for (size_t i = 0; i < sizeof(option) / sizeof(option[0]); i++)
		if (setsockopt(fd, option[i].level, option[i].name,
			       &option[i].value, sizeof(int)))
			return -errno;
	return 0;
}

int sock_busy_poll(int fd, unsigned int us)
{
	int value = (int)us, on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &value, sizeof(int)))
		return -errno;
	/* Better still, but newer, and for the privileged. */
	setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, sizeof(on));
	return 0;
}

uint64_t sock_silent_ms(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	/* The first one may have been lost, or is not answered yet. */
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ||
	    info.tcpi_retransmits + info.tcpi_probes < 2)
		return 0;
	/* Data is an answer, too, and not counted as an acknowledgement. */
	return info.tcpi_last_ack_recv < info.tcpi_last_data_recv ?
		       info.tcpi_last_ack_recv :
		       info.tcpi_last_data_recv;
}

void sock_deafen(int fd)
{
	/*
	 * Cuts each segment to its header, which tells what has arrived at the
	 * peer and nothing else. It stays when the descriptor is gone, and needs
	 * no privilege (socket(7), SO_ATTACH_FILTER; net/core/filter.c,
	 * sk_filter_trim_cap(): TCP's header is kept in any case).
	 */
	static struct sock_filter headers_only[] = {
		BPF_STMT(BPF_RET | BPF_K, 1),
	};
	struct sock_fprog filter = { .len = 1, .filter = headers_only };
	char drop[4096];

	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
	/* Bytes that nobody has read are a reason for a reset, too. */
	while (recv(fd, drop, sizeof(drop), MSG_DONTWAIT) > 0)
		;
}

unsigned int sock_mss(int fd)
{
	socklen_t len = sizeof(int);
	int mss = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len) ||
	    mss < (int)MSS_FLOOR)
		return MSS_FLOOR;
	return (unsigned int)mss;
}

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
