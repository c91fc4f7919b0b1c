// SPDX-License-Identifier: BSD-3-Clause
/*
 * rewrite_send.c - host memory by reference, written anew as soon as it is said
 * to be done.
 *
 *   rewrite-send HOST-OF-RECEIVER HOST-OF-SENDER [FLOWS]
 *
 * Eight messages are under way; the memory of each is filled for the next one in
 * the moment in which it is done. If that was said too early, what TCP sends
 * again is wrong. Without FLOWS the messages are inline, on control.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

#define MESSAGES 400
#define SLOTS	 8
#define SIZE	 (300u << 10)

static unsigned int flows;

static uint8_t byte_at(size_t message, size_t i)
{
	return (uint8_t)((message * 7919 + i) * 167 ^ i >> 8);
}

static struct devmem *open_host(void)
{
	struct devmem_options o = client_options(flows ? flows : 1);

	o.region = DEVMEM_REGION_NONE;
	o.zerocopy = DEVMEM_ZEROCOPY_ON;
	o.eager_bytes = flows ? 0 : 1u << 30;
	return client_open_with(&o);
}

static uint8_t *slots(void)
{
	uint8_t *p = malloc((size_t)SLOTS * SIZE);

	if (!p)
		die(0, "no memory");
	return p;
}

static void sender(int peer)
{
	struct devmem_request *r[SLOTS] = { 0 };
	struct devmem *d = open_host();
	char handle[DEVMEM_HANDLE_BYTES];
	struct devmem_stats s;
	struct devmem_conn *c;
	uint8_t *buf = slots();

	client_handle(peer, handle);
	c = client_connect(d, handle);
	for (size_t m = 0; m < MESSAGES + SLOTS; m++) {
		uint8_t *p = buf + m % SLOTS * SIZE;
		int rc;

		if (r[m % SLOTS])
			client_finish(r[m % SLOTS]);
		for (size_t i = 0; i < SIZE; i++)
			p[i] = byte_at(m, i);
		if (m >= MESSAGES)
			continue; /* the last ones are written over, too */
		rc = devmem_send(c, p, SIZE, NULL, &r[m % SLOTS]);
		if (rc)
			die(rc, "devmem_send");
	}
	devmem_conn_stats(c, &s);
	if (s.bytes_zerocopy != (uint64_t)MESSAGES * SIZE)
		die(0, "%llu of %llu bytes by reference",
		    (unsigned long long)s.bytes_zerocopy,
		    (unsigned long long)MESSAGES * SIZE);
	client_wait_end(peer);
	devmem_close(d);
	free(buf);
}

static void receiver(int peer)
{
	struct devmem_request *r[SLOTS];
	struct devmem *d = open_host();
	struct devmem_listener *l = client_listen(d, peer);
	struct devmem_conn *c = client_accept(l);
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
		if (m >= MESSAGES)
			continue;
		rc = devmem_recv(c, p, SIZE, NULL, &r[m % SLOTS]);
		if (rc)
			die(rc, "devmem_recv");
	}
	devmem_close(d);
	free(buf);
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: rewrite-send HOST-OF-RECEIVER "
				"HOST-OF-SENDER [FLOWS]\n");
		return 2;
	}
	flows = argc > 3 ? (unsigned int)atoi(argv[3]) : 0;
	return client_pair(argv[1], receiver, argv[2], sender);
}
