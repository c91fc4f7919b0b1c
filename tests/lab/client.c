// SPDX-License-Identifier: BSD-3-Clause
/* client.c - two processes in two hosts; see client.h. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define PATIENCE 30 /* seconds, for anything */

static const char *role = "start";
static bool here; /* no host of the lab */

void die(int rc, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "FAILED: %s: ", role);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s%s\n", rc ? ": " : "", rc ? strerror(-rc) : "");
	exit(1);
}

static void on_log(void *arg, enum devmem_log_level level, const char *file,
		   int line, const char *text)
{
	(void)arg;
	if (level != DEVMEM_LOG_TRACE)
		fprintf(stderr, "%s: %s:%d %s\n", role, file, line, text);
}

static void enter(const char *host)
{
	char path[256];
	int fd;

	here = !strcmp(host, "-");
	if (here)
		return;
	snprintf(path, sizeof(path), "/run/netns/%s", host);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(-errno, "%s", path);
	close(fd);
}

void client_again(time_t since)
{
	if (time(NULL) - since > PATIENCE)
		die(0, "no progress for %d s", PATIENCE);
	sched_yield();
}

/* From the environment, for all clients of a test. */
static unsigned int setting(const char *name, unsigned int preset)
{
	const char *value = getenv(name);

	return value ? (unsigned int)atoi(value) : preset;
}

struct devmem_options client_options(unsigned int flows)
{
	struct devmem_options o;

	devmem_options_init(&o);
	o.region = DEVMEM_REGION_UDMABUF;
	o.flows = flows;
	o.threads = setting("CLIENT_THREADS", 0);
	o.guard = getenv("NCCL_DEVMEM_GUARD");
	o.log = on_log;
	if (here) {
		o.ifname = "=lo";
		o.region = DEVMEM_REGION_NONE;
		o.eager_bytes = setting("CLIENT_EAGER_BYTES", 0);
	}
	return o;
}

struct devmem *client_open_with(const struct devmem_options *o)
{
	struct devmem *d;
	int rc = devmem_open(o, &d);

	if (rc)
		die(rc, "devmem_open");
	return d;
}

struct devmem *client_open(unsigned int require, unsigned int flows)
{
	struct devmem_options o = client_options(flows);

	o.require = require;
	return client_open_with(&o);
}

size_t client_finish(struct devmem_request *r)
{
	time_t since = time(NULL);
	size_t size = 0;
	int rc;

	while ((rc = devmem_test(r, &size)) == -EAGAIN)
		client_again(since);
	if (rc)
		die(rc, "a message");
	return size;
}

struct devmem_conn *client_accept(struct devmem_listener *l)
{
	time_t since = time(NULL);
	struct devmem_conn *c;
	int rc;

	while ((rc = devmem_accept(l, &c)) == -EAGAIN)
		client_again(since);
	if (rc)
		die(rc, "devmem_accept");
	return c;
}

struct devmem_conn *client_connect(struct devmem *d, const void *handle)
{
	time_t since = time(NULL);
	struct devmem_conn *c;
	int rc;

	while ((rc = devmem_connect(d, 0, handle, &c)) == -EAGAIN)
		client_again(since);
	if (rc)
		die(rc, "devmem_connect");
	return c;
}

struct devmem_listener *client_listen(struct devmem *d, int peer)
{
	char handle[DEVMEM_HANDLE_BYTES];
	struct devmem_listener *l;
	int rc = devmem_listen(d, 0, handle, &l);

	if (rc)
		die(rc, "devmem_listen");
	if (write(peer, handle, sizeof(handle)) != sizeof(handle))
		die(-errno, "the handle");
	return l;
}

void client_handle(int peer, char *handle)
{
	if (recv(peer, handle, DEVMEM_HANDLE_BYTES, MSG_WAITALL) !=
	    DEVMEM_HANDLE_BYTES)
		die(0, "the peer has no handle for us");
}

#define SLOTS 8

static uint8_t byte_at(size_t message, size_t i)
{
	return (uint8_t)((message * 7919 + i) * 167 ^ i >> 8);
}

static uint8_t *slots(size_t size)
{
	uint8_t *p = malloc(SLOTS * size);

	if (!p)
		die(0, "no memory");
	return p;
}

void client_stream_out(struct devmem_conn *c, size_t messages, size_t size)
{
	struct devmem_request *r[SLOTS] = { 0 };
	uint8_t *buf = slots(size);

	for (size_t m = 0; m < messages + SLOTS; m++) {
		uint8_t *p = buf + m % SLOTS * size;
		int rc;

		if (r[m % SLOTS])
			client_finish(r[m % SLOTS]);
		r[m % SLOTS] = NULL;
		for (size_t i = 0; i < size; i++)
			p[i] = byte_at(m, i);
		if (m >= messages)
			continue; /* the last ones are written over, too */
		rc = devmem_send(c, p, size, NULL, &r[m % SLOTS]);
		if (rc)
			die(rc, "devmem_send");
	}
	free(buf);
}

static void compare(const uint8_t *p, size_t message, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != byte_at(message, i))
			die(0, "message %zu is wrong at byte %zu", message, i);
}

void client_stream_in(struct devmem_conn *c, size_t messages, size_t size,
		      void (*before)(struct devmem_conn *c, size_t message))
{
	struct devmem_request *r[SLOTS];
	uint8_t *buf = slots(size);

	for (size_t m = 0; m < messages + SLOTS; m++) {
		uint8_t *p = buf + m % SLOTS * size;
		int rc;

		if (m >= SLOTS) {
			client_finish(r[m % SLOTS]);
			compare(p, m - SLOTS, size);
		}
		if (m >= messages)
			continue;
		if (before)
			before(c, m);
		rc = devmem_recv(c, p, size, NULL, &r[m % SLOTS]);
		if (rc)
			die(rc, "devmem_recv");
	}
	free(buf);
}

void client_wait_end(int peer)
{
	char c;

	if (recv(peer, &c, 1, 0))
		die(0, "the peer says what nobody asked for");
}

int client_pair(const char *receiver_host, void (*receiver)(int peer),
		const char *sender_host, void (*sender)(int peer))
{
	int pair[2], status = 0;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die(-errno, "socketpair");
	child = fork();
	if (child < 0)
		die(-errno, "fork");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		role = "sender";
		enter(sender_host);
		sender(pair[1]);
		exit(0);
	}
	close(pair[1]);
	role = "receiver";
	enter(receiver_host);
	receiver(pair[0]);
	close(pair[0]);
	return waitpid(child, &status, 0) != child || status;
}
