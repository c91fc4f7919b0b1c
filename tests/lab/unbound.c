// SPDX-License-Identifier: BSD-3-Clause
/*
 * unbound.c - the pool's queues are unbound while payload arrives.
 *
 *   unbound HOST-OF-RECEIVER HOST-OF-SENDER
 *
 * The binding lives on a netlink socket. Halfway the receiver's are all put away,
 * behind the library's back, as if the driver or an administrator had unbound the
 * queues: the rest has to arrive whole, in host memory, and be counted as that.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

#define MESSAGES 200
#define SIZE	 (300u << 10)

static uint64_t before_that; /* bytes that came by devmem */

/* The numbers stay taken: the library will close them. */
static void put_netlink_away(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), gone = 0;

	for (int fd = 3; fd < 1024; fd++) {
		socklen_t len = sizeof(int);
		int domain;

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
		    domain != AF_NETLINK)
			continue;
		if (dup2(null, fd) < 0)
			die(0, "dup2");
		gone++;
	}
	close(null);
	if (!gone)
		die(0, "the receiver has no netlink socket");
}

static void halfway(struct devmem_conn *c, size_t message)
{
	struct devmem_stats s;

	if (message != MESSAGES / 2)
		return;
	devmem_conn_stats(c, &s);
	before_that = s.bytes_devmem;
	put_netlink_away();
}

static void sender(int peer)
{
	struct devmem *d = client_open(0, 2);
	char handle[DEVMEM_HANDLE_BYTES];

	client_handle(peer, handle);
	client_stream_out(client_connect(d, handle), MESSAGES, SIZE);
	client_wait_end(peer);
	devmem_close(d);
}

static void check_stats(const struct devmem_conn *c)
{
	struct devmem_stats s;

	devmem_conn_stats(c, &s);
	printf("unbound: devmem=%llu (%llu before), host=%llu linear=%llu "
	       "tokens=%llu\n",
	       (unsigned long long)s.bytes_devmem,
	       (unsigned long long)before_that,
	       (unsigned long long)s.bytes_host,
	       (unsigned long long)s.bytes_linear,
	       (unsigned long long)s.tokens_received);
	if (!before_that)
		die(0, "nothing came by devmem before");
	if (s.bytes_host < MESSAGES / 4 * (uint64_t)SIZE)
		die(0, "too little came by host memory after");
	if (s.bytes_devmem + s.bytes_host + s.bytes_linear !=
	    (uint64_t)MESSAGES * SIZE)
		die(0, "the counters do not add up");
}

static void receiver(int peer)
{
	struct devmem *d = client_open(DEVMEM_REQUIRE_RX, 2);
	struct devmem_listener *l = client_listen(d, peer);
	struct devmem_conn *c = client_accept(l);

	client_stream_in(c, MESSAGES, SIZE, halfway);
	check_stats(c);
	devmem_close(d);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr,
			"usage: unbound HOST-OF-RECEIVER HOST-OF-SENDER\n");
		return 2;
	}
	return client_pair(argv[1], receiver, argv[2], sender);
}
