// SPDX-License-Identifier: BSD-3-Clause
/*
 * reconnect.c - one connection after another to the same process, each by devmem.
 *
 *   reconnect HOST-OF-RECEIVER HOST-OF-SENDER CONNECTIONS UID
 *
 * Both are that user's. NCCL_DEVMEM_BROKER is as for the plugin. Each connection carries messages that are
 * compared, and a while passes before the next one: time to do something to the
 * broker. Says "connection N" when the Nth is done.
 */
#include <errno.h>
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client.h"

#define MESSAGES 20
#define SIZE	 (200u << 10)

static int count;
static uid_t uid;

static struct devmem *open_brokered(unsigned int require)
{
	struct devmem_options o = client_options(2);

	/* By now we are in our host, which takes root. */
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) ||
	    setresuid(uid, uid, uid))
		die(-errno, "user %u", uid);
	o.require = require;
	o.broker = getenv("NCCL_DEVMEM_BROKER");
	return client_open_with(&o);
}

static void sender(int peer)
{
	struct devmem *d = open_brokered(0);
	char handle[DEVMEM_HANDLE_BYTES];

	client_handle(peer, handle);
	for (int i = 0; i < count; i++) {
		struct devmem_conn *c = client_connect(d, handle);

		client_stream_out(c, MESSAGES, SIZE);
		devmem_conn_close(c);
	}
	client_wait_end(peer);
	devmem_close(d);
}

static void receiver(int peer)
{
	struct devmem *d = open_brokered(DEVMEM_REQUIRE_RX);
	struct devmem_listener *l = client_listen(d, peer);

	for (int i = 0; i < count; i++) {
		struct devmem_conn *c = client_accept(l);
		struct devmem_stats s;

		client_stream_in(c, MESSAGES, SIZE, NULL);
		devmem_conn_stats(c, &s);
		devmem_conn_close(c);
		if (s.bytes_devmem < MESSAGES * (uint64_t)SIZE * 9 / 10)
			die(0, "%llu bytes of connection %d came by devmem",
			    (unsigned long long)s.bytes_devmem, i);
		printf("connection %d\n", i);
		fflush(stdout);
		usleep(100000);
	}
	devmem_close(d);
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: reconnect HOST-OF-RECEIVER "
				"HOST-OF-SENDER CONNECTIONS UID\n");
		return 2;
	}
	count = atoi(argv[3]);
	uid = (uid_t)atoi(argv[4]);
	return client_pair(argv[1], receiver, argv[2], sender);
}
