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
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "devmem.h"

#define CONNS_MAX 512
#define MESSAGE	  (1u << 20)
#define PATIENCE  30	/* seconds, for anything */

static const char *role;

static void die(const char *what, int rc)
{
	fprintf(stderr, "many-conns: %s: %s: %s\n", role, what, strerror(-rc));
	exit(1);
}

static void on_log(void *arg, enum devmem_log_level level, const char *file,
		   int line, const char *text)
{
	(void)arg;
	if (level == DEVMEM_LOG_WARN || strstr(text, "rx=host"))
		fprintf(stderr, "%s: %s:%d %s\n", role, file, line, text);
}

static void enter(const char *host)
{
	char path[256];
	int fd;

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
	o.region = DEVMEM_REGION_UDMABUF;
	o.require = DEVMEM_REQUIRE_RX;
	o.log = on_log;
	rc = devmem_open(&o, &d);
	if (rc)
		die("open", rc);
	return d;
}

static void report(int count, const long *first)
{
	static const char *const keys[] = { "VmRSS", "VmData" };

	for (int i = 0; i < 2; i++)
		printf("%s: %s grows by %ld KiB a connection\n", role, keys[i],
		       (memory_kib(keys[i]) - first[i]) / (count - 1));
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
	report(count, first);
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
	report(count, first);
	/* The receiver ends first, with its connections whole. */
	if (recv(peer, handle, 1, 0) != 0)
		die("end", -EPROTO);
	devmem_close(d);
}

int main(int argc, char **argv)
{
	int count = argc == 4 ? atoi(argv[3]) : 0, pair[2], status = 0;
	void *buffer = calloc(1, MESSAGE);
	pid_t child;

	role = "start";
	if (count < 2 || count > CONNS_MAX) {
		fprintf(stderr, "usage: many-conns HOST-OF-RECEIVER "
			"HOST-OF-SENDER COUNT (2 to %d)\n", CONNS_MAX);
		return 2;
	}
	if (!buffer || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
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
