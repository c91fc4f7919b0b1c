// SPDX-License-Identifier: BSD-3-Clause
/*
 * hold.c - a process that has a NIC of its host set up for devmem, and nothing
 * else, to be killed.
 *
 *   hold         until SIGTERM, which it obeys in an orderly way
 *   hold loop    sets the NIC up and restores it, again and again
 *   hold fork    with a child that has open what it has; prints the child's pid
 *   hold heir    the same, but for the queues
 *   hold exec    becomes another program, as if it had never been
 *
 * "ready" is printed when the NIC is set up.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

#define LOOPS 1000

static struct devmem *set_up(void)
{
	struct devmem_options o = client_options(2);
	char handle[DEVMEM_HANDLE_BYTES];
	struct devmem_listener *l;
	struct devmem *d;
	int rc;

	o.require = DEVMEM_REQUIRE_RX;
	o.pool_bytes = 8u << 20;
	d = client_open_with(&o);
	rc = devmem_listen(d, 0, handle, &l);
	if (rc)
		die(rc, "devmem_listen");
	return d;
}

/* The bindings live on these. */
static void close_netlink(void)
{
	for (int fd = 3; fd < 1024; fd++) {
		socklen_t len = sizeof(int);
		int domain;

		if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
		    domain == AF_NETLINK)
			close(fd);
	}
}

static void say(const char *what, int number)
{
	printf("%s %d\n", what, number);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct devmem *d;
	sigset_t end;
	pid_t child;
	int got;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	for (int i = 0; !strcmp(mode, "loop") && i < LOOPS; i++)
		devmem_close(set_up());
	d = set_up();
	if (!strcmp(mode, "fork") || !strcmp(mode, "heir")) {
		child = fork();
		if (!child) {
			if (!strcmp(mode, "heir"))
				close_netlink();
			sigwait(&end, &got);
			_exit(0);
		}
		say("child", child);
	}
	say("ready", getpid());
	if (!strcmp(mode, "exec")) {
		execlp("sleep", "sleep", "60", NULL);
		die(0, "no sleep");
	}
	sigwait(&end, &got);
	devmem_close(d);
	return 0;
}
