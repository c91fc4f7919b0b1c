// SPDX-License-Identifier: BSD-3-Clause
/*
 * rewrite_send.c - host memory by reference, written anew as soon as it is said
 * to be done.
 *
 *   rewrite-send HOST-OF-RECEIVER HOST-OF-SENDER [FLOWS]
 *
 * If it was said too early, what TCP sends again is wrong. Without FLOWS the
 * messages are inline, on control.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

#define MESSAGES 400
#define SIZE	 (300u << 10)

static unsigned int flows;

static struct devmem *open_host(void)
{
	struct devmem_options o = client_options(flows ? flows : 1);

	o.region = DEVMEM_REGION_NONE;
	o.zerocopy = DEVMEM_ZEROCOPY_ON;
	o.eager_bytes = flows ? 0 : 1u << 30;
	return client_open_with(&o);
}

static void sender(int peer)
{
	struct devmem *d = open_host();
	char handle[DEVMEM_HANDLE_BYTES];
	struct devmem_stats s;
	struct devmem_conn *c;

	client_handle(peer, handle);
	c = client_connect(d, handle);
	client_stream_out(c, MESSAGES, SIZE);
	devmem_conn_stats(c, &s);
	if (s.bytes_zerocopy != (uint64_t)MESSAGES * SIZE)
		die(0, "%llu of %llu bytes by reference",
		    (unsigned long long)s.bytes_zerocopy,
		    (unsigned long long)MESSAGES * SIZE);
	client_wait_end(peer);
	devmem_close(d);
}

static void receiver(int peer)
{
	struct devmem *d = open_host();
	struct devmem_listener *l = client_listen(d, peer);

	client_stream_in(client_accept(l), MESSAGES, SIZE, NULL);
	devmem_close(d);
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
