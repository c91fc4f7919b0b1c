// SPDX-License-Identifier: BSD-3-Clause
/* kt_net.c - hosts, and TCP flows between them from one process. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kt.h"

static int own_ns = -1;

static int open_ns(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	expect(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

void host_enter(const char *host)
{
	char path[64];
	int fd;

	if (own_ns < 0)		/* in the first thread, before others are */
		own_ns = open_ns("/proc/self/ns/net");
	if (!strcmp(host, ".")) {
		fd = own_ns;
	} else {
		snprintf(path, sizeof(path), "/run/netns/%s", host);
		fd = open_ns(path);
	}
	expect(!setns(fd, CLONE_NEWNET), "setns %s: %s", host, strerror(errno));
	if (fd != own_ns)
		close(fd);
}

unsigned int host_ifindex(const char *host, const char *nic)
{
	unsigned int i;

	host_enter(host);
	i = if_nametoindex(nic);
	host_enter(".");
	expect(i, "%s in %s: %s", nic, host, strerror(errno));
	return i;
}

/* Hosts are hN: 10.0.0.N+1 and fd00::N+1, see tests/lab/lib.sh. */
static socklen_t address(struct sockaddr_storage *sa, const char *host,
			 unsigned int port)
{
	struct sockaddr_in6 *in6 = (void *)sa;
	struct sockaddr_in *in = (void *)sa;
	unsigned int n;
	char text[32];

	memset(sa, 0, sizeof(*sa));
	if (sscanf(host, "h%u", &n) != 1)
		die("no address is known of host %s", host);
	sa->ss_family = (sa_family_t)kt.family;
	if (kt.family == AF_INET6) {
		in6->sin6_port = htons((uint16_t)port);
		snprintf(text, sizeof(text), "fd00::%u", n + 1);
		inet_pton(AF_INET6, text, &in6->sin6_addr);
		return sizeof(*in6);
	}
	in->sin_port = htons((uint16_t)port);
	snprintf(text, sizeof(text), "10.0.0.%u", n + 1);
	inet_pton(AF_INET, text, &in->sin_addr);
	return sizeof(*in);
}

static int tcp_socket(const char *host, unsigned int port)
{
	struct sockaddr_storage sa;
	socklen_t len = address(&sa, host, port);
	int fd, on = 1;

	host_enter(host);
	fd = socket(kt.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	expect(fd >= 0, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	expect(!bind(fd, (void *)&sa, len), "bind to port %u in %s: %s", port,
	       host, strerror(errno));
	host_enter(".");
	return fd;
}

static void sender_options(int fd)
{
	unsigned char nops[12] = { IPOPT_NOP, IPOPT_NOP, IPOPT_NOP, IPOPT_NOP,
				   IPOPT_NOP, IPOPT_NOP, IPOPT_NOP, IPOPT_NOP };
	int never = IP_PMTUDISC_DONT;

	expect(!kt.fragment || !setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER,
					   &never, sizeof(never)),
	       "IP_MTU_DISCOVER: %s", strerror(errno));
	expect(!kt.ip_options || !setsockopt(fd, IPPROTO_IP, IP_OPTIONS, nops,
					     sizeof(nops)),
	       "IP_OPTIONS: %s", strerror(errno));
}

static void connect_to(int fd, const char *host, unsigned int port)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct sockaddr_storage sa;
	socklen_t len = address(&sa, host, port), size = sizeof(int);
	int err = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, (void *)&sa, len))
		err = errno;
	if (err == EINPROGRESS) {
		expect(poll(&p, 1, 10000) == 1, "no connection to %s", host);
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
	}
	expect(!err, "connect to %s: %s", host, strerror(err));
}

void flow_open(struct flow *f, unsigned int port)
{
	int ears = tcp_socket(kt.rx_host, port);

	f->port = port;
	expect(!listen(ears, 1), "listen: %s", strerror(errno));
	/* One port cannot be at both ends in one host. */
	f->tx = tcp_socket(kt.tx_host,
			   strcmp(kt.tx_host, kt.rx_host) ? port : 0);
	sender_options(f->tx);
	connect_to(f->tx, kt.connect_to, port);
	wait_readable(ears, 10, "a connection");
	f->rx = accept4(ears, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	expect(f->rx >= 0, "accept: %s", strerror(errno));
	close(ears);
}

void flow_close(struct flow *f)
{
	close(f->tx);
	close(f->rx);
	f->tx = -1;
	f->rx = -1;
}

void reset_at_close(int fd)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

void wait_readable(int fd, double seconds, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	expect(poll(&p, 1, (int)(seconds * 1000)) == 1,
	       "%s did not come in %.0f s", what, seconds);
}

void send_pattern(int fd, uint64_t pos, size_t len, uint64_t seed)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	static char buf[65536];
	size_t want;
	ssize_t n;

	while (len) {
		want = len < sizeof(buf) ? len : sizeof(buf);
		pattern_fill(buf, pos, want, seed);
		n = send(fd, buf, want, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			expect(poll(&p, 1, 20000) == 1,
			       "nothing could be sent for 20 s");
			continue;
		}
		expect(n > 0, "send: %s", strerror(errno));
		pos += (uint64_t)n;
		len -= (size_t)n;
	}
}

void receive_pattern(int fd, uint64_t pos, size_t len, uint64_t seed)
{
	static char buf[65536];
	size_t want;
	ssize_t n;

	while (len) {
		want = len < sizeof(buf) ? len : sizeof(buf);
		n = recv(fd, buf, want, 0);
		if (n < 0 && errno == EAGAIN) {
			wait_readable(fd, 20, "data");
			continue;
		}
		expect(n > 0, "recv with %zu bytes to come: %s", len,
		       n ? strerror(errno) : "the end");
		expect(pattern_match(buf, pos, (size_t)n, seed) == (size_t)n,
		       "wrong bytes after %llu", (unsigned long long)pos);
		pos += (uint64_t)n;
		len -= (size_t)n;
	}
}
