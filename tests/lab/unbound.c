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
#define SLOTS	 8
#define SIZE	 (300u << 10)

static uint8_t byte_at(size_t message, size_t i)
{
	return (uint8_t)((message * 7919 + i) * 167 ^ i >> 8);
}

static uint8_t *slots(void)
{
	uint8_t *p = malloc((size_t)SLOTS * SIZE);

	if (!p)
		die(0, "no memory");
	return p;
}

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

static void sender(int peer)
{
	struct devmem *d = client_open(0, 2);
	struct devmem_request *r[SLOTS] = { 0 };
	char handle[DEVMEM_HANDLE_BYTES];
	struct devmem_conn *c;
	uint8_t *buf = slots();

	client_handle(peer, handle);
	c = client_connect(d, handle);
	for (size_t m = 0; m < MESSAGES + SLOTS; m++) {
		uint8_t *p = buf + m % SLOTS * SIZE;
		int rc;

		if (r[m % SLOTS])
			client_finish(r[m % SLOTS]);
		r[m % SLOTS] = NULL;
		if (m >= MESSAGES)
			continue;
		for (size_t i = 0; i < SIZE; i++)
			p[i] = byte_at(m, i);
		rc = devmem_send(c, p, SIZE, NULL, &r[m % SLOTS]);
		if (rc)
			die(rc, "devmem_send");
	}
	client_wait_end(peer);
	devmem_close(d);
	free(buf);
}

static void check_stats(const struct devmem_conn *c, uint64_t before)
{
	struct devmem_stats s;

	devmem_conn_stats(c, &s);
	printf("unbound: devmem=%llu (%llu before), host=%llu linear=%llu "
	       "tokens=%llu\n",
	       (unsigned long long)s.bytes_devmem, (unsigned long long)before,
	       (unsigned long long)s.bytes_host,
	       (unsigned long long)s.bytes_linear,
	       (unsigned long long)s.tokens_received);
	if (!before)
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
	struct devmem_request *r[SLOTS];
	struct devmem_stats s = { 0 };
	uint8_t *buf = slots();

	for (size_t m = 0; m < MESSAGES + SLOTS; m++) {
		uint8_t *p = buf + m % SLOTS * SIZE;
		int rc;

		if (m >= SLOTS) {
			client_finish(r[m % SLOTS]);
			for (size_t i = 0; i < SIZE; i++)
				if (p[i] != byte_at(m - SLOTS, i))
					die(0,
					    "message %zu is wrong at byte %zu",
					    m - SLOTS, i);
		}
		if (m == MESSAGES / 2) {
			devmem_conn_stats(c, &s);
			put_netlink_away();
		}
		if (m >= MESSAGES)
			continue;
		rc = devmem_recv(c, p, SIZE, NULL, &r[m % SLOTS]);
		if (rc)
			die(rc, "devmem_recv");
	}
	check_stats(c, s.bytes_devmem);
	devmem_close(d);
	free(buf);
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
