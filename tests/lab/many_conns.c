// SPDX-License-Identifier: BSD-3-Clause
/*
 * many_conns.c - what connections cost.
 *
 *   many-conns HOST-OF-RECEIVER HOST-OF-SENDER COUNT [FLOWS]
 *
 * Two processes in two network namespaces make COUNT devmem connections, over
 * each of which messages go, and look at their own memory after the first (which
 * pays for the pool) and after the last. Receiver and sender each print the
 * growth of VmRSS and of VmData for a connection, and what all of them take:
 * memory, descriptors, threads, CPU time while nothing is asked of them for a
 * second, and for a GB over all of them in turn. With "-" for both hosts they
 * stay where they are, and payload goes by host memory over lo, on flows.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "devmem.h"

#define CONNS_MAX 512
#define MESSAGE	  (1u << 20)
#define PATIENCE  30	       /* seconds, for anything */
#define TRAFFIC	  (256u << 20) /* over all connections */

static const char *role;
static bool host_memory;
static unsigned int flows;

static void die(const char *what, int rc)
{
	fprintf(stderr, "many-conns: %s: %s: %s\n", role, what, strerror(-rc));
	exit(1);
}

static void on_log(void *arg, enum devmem_log_level level, const char *file,
		   int line, const char *text)
{
	(void)arg;
	if (level == DEVMEM_LOG_WARN ||
	    (!host_memory && strstr(text, "rx=host")))
		fprintf(stderr, "%s: %s:%d %s\n", role, file, line, text);
}

static void enter(const char *host)
{
	char path[256];
	int fd;

	if (host_memory)
		return;

	snprintf(path, sizeof(path), "/run/netns/%s", host);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path, -errno);
	close(fd);
}

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

static void again(time_t since)
{
	if (time(NULL) - since > PATIENCE)
		die("no progress", -ETIMEDOUT);
	sched_yield();
}

static void finish(struct devmem_request *r)
{
	time_t since = time(NULL);
	int rc;

	while ((rc = devmem_test(r, NULL)) == -EAGAIN)
		again(since);
	if (rc)
		die("message", rc);
}

static struct devmem *open_device(void)
{
	struct devmem_options o;
	struct devmem *d;
	int rc;

	devmem_options_init(&o);
	if (host_memory) {
		o.ifname = "=lo";
		o.region = DEVMEM_REGION_NONE;
		o.eager_bytes = 0;
	} else {
		o.region = DEVMEM_REGION_UDMABUF;
		o.require = DEVMEM_REQUIRE_RX;
	}
	if (flows)
		o.flows = flows;
	o.log = on_log;
	rc = devmem_open(&o, &d);
	if (rc)
		die("open", rc);
	return d;
}

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = -2; /* itself and its parent */

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* A message over each connection at a time; CPU seconds for a GB. */
static double traffic(struct devmem_conn **conn, int count, void *buffer,
		      bool send)
{
	int rounds = (int)(TRAFFIC / MESSAGE) / count + 1;
	struct devmem_request *r[CONNS_MAX];
	double cpu = cpu_seconds();

	for (int k = 0; k < rounds; k++) {
		time_t since = time(NULL);
		int left = count;

		for (int i = 0; i < count; i++) {
			int rc = send ? devmem_send(conn[i], buffer, MESSAGE,
						    NULL, &r[i]) :
					devmem_recv(conn[i], buffer, MESSAGE,
						    NULL, &r[i]);

			if (rc)
				die("post", rc);
		}
		while (left) {
			int before = left;

			for (int i = 0; i < count; i++) {
				int rc = r[i] ? devmem_test(r[i], NULL) :
						-EAGAIN;

				if (rc && rc != -EAGAIN)
					die("traffic", rc);
				if (rc)
					continue;
				r[i] = NULL;
				left--;
			}
			if (left == before)
				again(since);
		}
	}
	return (cpu_seconds() - cpu) /
	       ((double)rounds * count * MESSAGE * 1e-9);
}

static void report(struct devmem_conn **conn, int count, void *buffer,
		   const long *first, bool send)
{
	static const char *const keys[] = { "VmRSS", "VmData" };
	double idle;

	for (int i = 0; i < 2 && count > 1; i++)
		printf("%s: %s grows by %ld KiB a connection\n", role, keys[i],
		       (memory_kib(keys[i]) - first[i]) / (count - 1));
	printf("%s: %d connections: VmRSS %ld KiB, %d descriptors, %d threads",
	       role, count, memory_kib("VmRSS"), entries("/proc/self/fd"),
	       entries("/proc/self/task"));
	idle = cpu_seconds();
	sleep(1);
	idle = cpu_seconds() - idle;
	printf(", idle %.1f ms/s, %.3f s/GB\n", idle * 1e3,
	       traffic(conn, count, buffer, send));
	fflush(stdout);
}

static void receive(int peer, int count, void *buffer)
{
	struct devmem_conn *conn[CONNS_MAX];
	struct devmem *d = open_device();
	struct devmem_listener *l;
	struct devmem_request *r;
	char handle[DEVMEM_HANDLE_BYTES];
	long first[2] = { 0, 0 };
	int rc = devmem_listen(d, 0, handle, &l);

	if (rc)
		die("listen", rc);
	if (write(peer, handle, sizeof(handle)) != sizeof(handle))
		die("handle", -errno);
	for (int i = 0; i < count; i++) {
		time_t since = time(NULL);

		while ((rc = devmem_accept(l, &conn[i])) == -EAGAIN)
			again(since);
		if (rc)
			die("accept", rc);
		rc = devmem_recv(conn[i], buffer, MESSAGE, NULL, &r);
		if (rc)
			die("recv", rc);
		finish(r);
		if (!i) {
			first[0] = memory_kib("VmRSS");
			first[1] = memory_kib("VmData");
		}
	}
	report(conn, count, buffer, first, false);
	devmem_close(d);
}

static void send_all(int peer, int count, void *buffer)
{
	struct devmem_conn *conn[CONNS_MAX];
	struct devmem *d = open_device();
	struct devmem_request *r;
	char handle[DEVMEM_HANDLE_BYTES];
	long first[2] = { 0, 0 };
	int rc;

	if (recv(peer, handle, sizeof(handle), MSG_WAITALL) != sizeof(handle))
		die("handle", -EPIPE);
	for (int i = 0; i < count; i++) {
		time_t since = time(NULL);

		while ((rc = devmem_connect(d, 0, handle, &conn[i])) == -EAGAIN)
			again(since);
		if (rc)
			die("connect", rc);
		rc = devmem_send(conn[i], buffer, MESSAGE, NULL, &r);
		if (rc)
			die("send", rc);
		finish(r);
		if (!i) {
			first[0] = memory_kib("VmRSS");
			first[1] = memory_kib("VmData");
		}
	}
	report(conn, count, buffer, first, true);
	/* The receiver ends first, with its connections whole. */
	if (recv(peer, handle, 1, 0) != 0)
		die("end", -EPROTO);
	devmem_close(d);
}

int main(int argc, char **argv)
{
	int count = argc >= 4 ? atoi(argv[3]) : 0, pair[2], status = 0;
	static char buffer[MESSAGE];
	struct rlimit files;
	pid_t child;

	role = "start";
	flows = argc == 5 ? (unsigned int)atoi(argv[4]) : 0;
	if (argc > 5 || count < 1 || count > CONNS_MAX || flows > 16) {
		fprintf(stderr,
			"usage: many-conns HOST-OF-RECEIVER "
			"HOST-OF-SENDER COUNT (1 to %d) [FLOWS (1 to 16)]\n",
			CONNS_MAX);
		return 2;
	}
	host_memory = !strcmp(argv[1], "-");
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("set-up", -errno);
	memset(buffer, 1, MESSAGE);
	child = fork();
	if (child < 0)
		die("fork", -errno);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		role = "sender";
		enter(argv[2]);
		send_all(pair[1], count, buffer);
		return 0;
	}
	close(pair[1]);
	role = "receiver";
	enter(argv[1]);
	receive(pair[0], count, buffer);
	close(pair[0]);
	if (waitpid(child, &status, 0) != child || status)
		return 1;
	return 0;
}
