// SPDX-License-Identifier: BSD-3-Clause
/*
 * many_conns.c - what connections cost.
 *
 *   many-conns HOST-OF-RECEIVER HOST-OF-SENDER CONNECTIONS FLOWS MIB
 *
 * Two processes in two network namespaces make CONNECTIONS (1 to 512), each with
 * FLOWS, and move MIB messages of 1 MiB over them by turns. With "-" for both
 * hosts they stay where they are, and payload goes by host memory over lo, on
 * flows. Each prints one line of figures, as KEY=VALUE:
 *
 *   setup_ms     a connection, from connect to accept; the first does not count
 *   rss_kib, fds, threads   of the process: VmRSS, open files
 *   more_rss_kib, more_data_kib   growth of VmRSS and VmData with each connection
 *   rules        flow rules of the NIC
 *   devmem       connections that receive into the pool
 *   cpu_s_per_gb   user and system time of the process for 10^9 bytes
 *   idle_ms      CPU time in a second in which nothing is asked for
 */
#include <dirent.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define CONNS_MAX 512
#define MESSAGE	  (1u << 20)
#define AHEAD	  8 /* messages under way */

static struct devmem_conn *conn[CONNS_MAX];
static char buffer[MESSAGE];
static int count, messages;
static unsigned int flows;

struct figures {
	long rss, data, threads, fds;
};

static long status_of(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	size_t n = strlen(key);
	char line[256];
	long value = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, n) && line[n] == ':')
			value = strtol(line + n + 1, NULL, 10);
	if (f)
		fclose(f);
	return value;
}

static long open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	long n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void look(struct figures *f)
{
	f->rss = status_of("VmRSS");
	f->data = status_of("VmData");
	f->threads = status_of("Threads");
	f->fds = open_files();
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double idle_ms(void)
{
	double before = cpu();

	sleep(1);
	return (cpu() - before) * 1000;
}

static struct devmem_request *start(int i, bool receive)
{
	struct devmem_conn *c = conn[i % count];
	struct devmem_request *r;
	int rc = receive ? devmem_recv(c, buffer, MESSAGE, NULL, &r) :
			   devmem_send(c, buffer, MESSAGE, NULL, &r);

	if (rc)
		die(rc, receive ? "devmem_recv" : "devmem_send");
	return r;
}

static void move(bool receive)
{
	struct devmem_request *r[AHEAD];

	for (int i = 0; i < messages + AHEAD; i++) {
		if (i >= AHEAD)
			client_finish(r[i % AHEAD]);
		if (i < messages)
			r[i % AHEAD] = start(i, receive);
	}
}

static unsigned int rules(struct devmem *d)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_GRXCLSRLCNT };
	struct ifreq ifr = { .ifr_data = (void *)&cmd };
	struct devmem_nic_props nic;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || devmem_nic_info(d, 0, &nic))
		die(0, "no interface");
	memcpy(ifr.ifr_name, nic.name, sizeof(ifr.ifr_name));
	if (ioctl(fd, SIOCETHTOOL, &ifr))
		cmd.rule_cnt = 0;
	close(fd);
	return cmd.rule_cnt;
}

static int by_devmem(void)
{
	struct devmem_stats s;
	int n = 0;

	for (int i = 0; i < count; i++) {
		devmem_conn_stats(conn[i], &s);
		n += s.bytes_devmem > 0;
	}
	return n;
}

static void report(const char *who, struct devmem *d, double setup,
		   const struct figures *first, double busy)
{
	int others = count > 1 ? count - 1 : 1;
	struct figures last;

	look(&last);
	printf("%s: setup_ms=%.2f rss_kib=%ld fds=%ld threads=%ld "
	       "more_rss_kib=%ld more_data_kib=%ld rules=%u devmem=%d "
	       "cpu_s_per_gb=%.3f idle_ms=%.1f\n",
	       who, setup * 1000 / others, last.rss, last.fds, last.threads,
	       (last.rss - first->rss) / others,
	       (last.data - first->data) / others, rules(d), by_devmem(),
	       busy * 1e9 / ((double)messages * MESSAGE), idle_ms());
	fflush(stdout);
}

static void receive_all(int peer)
{
	struct devmem *d = client_open(0, flows);
	struct devmem_listener *l = client_listen(d, peer);
	struct figures first;
	double began = 0, setup, busy;

	for (int i = 0; i < count; i++) {
		conn[i] = client_accept(l);
		/* The first one pays for the pool, and for the peer's start. */
		if (i)
			continue;
		client_finish(start(0, true));
		look(&first);
		began = now();
	}
	setup = now() - began;
	busy = cpu();
	move(true);
	report("receiver", d, setup, &first, cpu() - busy);
	devmem_close(d);
}

static void send_all(int peer)
{
	struct devmem *d = client_open(0, flows);
	char handle[DEVMEM_HANDLE_BYTES];
	struct figures first;
	double began = 0, setup, busy;

	client_handle(peer, handle);
	for (int i = 0; i < count; i++) {
		conn[i] = client_connect(d, handle);
		if (i)
			continue;
		client_finish(start(0, false));
		look(&first);
		began = now();
	}
	setup = now() - began;
	busy = cpu();
	move(false);
	report("sender", d, setup, &first, cpu() - busy);
	/* The receiver ends first, with its connections whole. */
	client_wait_end(peer);
	devmem_close(d);
}

int main(int argc, char **argv)
{
	if (argc == 6) {
		count = atoi(argv[3]);
		flows = (unsigned int)atoi(argv[4]);
		messages = atoi(argv[5]);
	}
	if (count < 1 || count > CONNS_MAX || !flows || messages < 1) {
		fprintf(stderr, "usage: many-conns HOST-OF-RECEIVER "
			"HOST-OF-SENDER CONNECTIONS FLOWS MIB\n");
		return 2;
	}
	memset(buffer, 1, MESSAGE);
	return client_pair(argv[1], receive_all, argv[2], send_all);
}
