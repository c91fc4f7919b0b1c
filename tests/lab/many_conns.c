// SPDX-License-Identifier: BSD-3-Clause
/*
 * many_conns.c - what a connection costs in user memory.
 *
 *   many-conns HOST-OF-RECEIVER HOST-OF-SENDER COUNT
 *
 * Two processes in two network namespaces make COUNT devmem connections, over
 * each of which messages go, and look at their own memory after the first (which
 * pays for the pool) and after the last. Receiver and sender each print the
 * growth of VmRSS and of VmData for a connection.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#define CONNS_MAX 512
#define MESSAGE	  (1u << 20)

static const char *const keys[] = { "VmRSS", "VmData" };
static struct devmem_conn *conn[CONNS_MAX];
static char buffer[MESSAGE];
static int count;

static long memory_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	size_t n = strlen(key);
	char line[256];
	long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, n) && line[n] == ':')
			kib = strtol(line + n + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

static void look(long *kib)
{
	for (int i = 0; i < 2; i++)
		kib[i] = memory_kib(keys[i]);
}

static void report(const char *who, const long *first)
{
	long last[2];

	look(last);
	for (int i = 0; i < 2; i++)
		printf("%s: %s grows by %ld KiB a connection\n", who, keys[i],
		       (last[i] - first[i]) / (count - 1));
	fflush(stdout);
}

static void receive_all(int peer)
{
	struct devmem *d = client_open(DEVMEM_REQUIRE_RX);
	struct devmem_listener *l = client_listen(d, peer);
	struct devmem_request *r;
	long first[2];

	for (int i = 0; i < count; i++) {
		int rc;

		conn[i] = client_accept(l);
		rc = devmem_recv(conn[i], buffer, MESSAGE, NULL, &r);
		if (rc)
			die(rc, "devmem_recv");
		client_finish(r);
		if (!i)
			look(first);
	}
	report("receiver", first);
	devmem_close(d);
}

static void send_all(int peer)
{
	struct devmem *d = client_open(DEVMEM_REQUIRE_RX);
	char handle[DEVMEM_HANDLE_BYTES];
	struct devmem_request *r;
	long first[2];

	client_handle(peer, handle);
	for (int i = 0; i < count; i++) {
		int rc;

		conn[i] = client_connect(d, handle);
		rc = devmem_send(conn[i], buffer, MESSAGE, NULL, &r);
		if (rc)
			die(rc, "devmem_send");
		client_finish(r);
		if (!i)
			look(first);
	}
	report("sender", first);
	/* The receiver ends first, with its connections whole. */
	client_wait_end(peer);
	devmem_close(d);
}

int main(int argc, char **argv)
{
	count = argc == 4 ? atoi(argv[3]) : 0;
	if (count < 2 || count > CONNS_MAX) {
		fprintf(stderr, "usage: many-conns HOST-OF-RECEIVER "
			"HOST-OF-SENDER COUNT (2 to %d)\n", CONNS_MAX);
		return 2;
	}
	memset(buffer, 1, MESSAGE);
	return client_pair(argv[1], receive_all, argv[2], send_all);
}
