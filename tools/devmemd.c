// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd.c - the broker: binds dma-bufs of jobs without privilege to receive queues
 * of NICs, as far as a policy allows, and hands the bindings over, so that the kernel
 * ends them with the job. Options, and the start; see devmemd.h and docs/broker.md.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "devmemd.h"
#include "guard.h"
#include "process.h"

#define POLICY_PATH "/etc/nccl-devmem/devmemd.conf"
#define STATE_PATH  "/run/nccl-devmem"

enum {
	EXIT_BAD_START = 1,
	EXIT_BAD_USAGE = 2,
};

struct arguments {
	const char *socket, *policy, *state, *guard;
	bool check;
};

const char *argp_program_version = "devmemd " DEVMEM_VERSION;

static const struct argp_option options[] = {
	{ "socket", 's', "PATH", 0,
	  "listen there, unless systemd has opened a socket; default " BROKER_SOCKET,
	  0 },
	{ "policy", 'p', "FILE", 0,
	  "who may have what, devmemd.conf(5); default " POLICY_PATH, 0 },
	{ "state", 'd', "FOLDER", 0,
	  "where leases are noted; default " STATE_PATH, 0 },
	{ "guard", 'g', "PATH", 0,
	  "the program that restores NICs when jobs and broker are killed, or "
	  "off; default auto: the one that is installed with it",
	  0 },
	{ "check", 'c', 0, 0, "only say whether the policy file is right", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	switch (key) {
	case 's':
		a->socket = arg;
		return 0;
	case 'p':
		a->policy = arg;
		return 0;
	case 'd':
		a->state = arg;
		return 0;
	case 'g':
		if (!guard_valid(arg))
			argp_error(state, "--guard is auto, off or an absolute "
					  "path");
		a->guard = arg;
		return 0;
	case 'c':
		a->check = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "takes no arguments");
		return EINVAL;
	}
	return ARGP_ERR_UNKNOWN;
}

static void on_log(void *arg, enum devmem_log_level level, const char *file,
		   int line, const char *text)
{
	(void)arg;
	(void)file;
	(void)line;
	if (level != DEVMEM_LOG_TRACE)
		say("%s", text);
}

/* Clients' connections, and listening sockets of theirs. */
static void more_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max < 4096 ? l.rlim_max : 4096;
	setrlimit(RLIMIT_NOFILE, &l);
}

static int get_socket(const struct arguments *a, bool *own)
{
	int fd = activation_socket();

	*own = fd == -ENOENT;
	if (!*own) {
		if (fd >= 0)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	} else {
		fd = listen_at(a->socket);
		if (fd < 0)
			say("%s: %s%s", a->socket, strerror(-fd),
			    fd == -EADDRINUSE ? ": another one listens there" :
						"");
	}
	/* Whoever connects may be gone when we look. */
	if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK))
		say("the socket: %s", strerror(errno));
	return fd;
}

static int prepare(struct devmemd *d, const struct arguments *a)
{
	char text[POLICY_WHY];
	int rc;

	d->policy_path = a->policy;
	d->state_path = a->state;
	d->guard = a->guard;
	if (policy_load(a->policy, &d->policy, text)) {
		say("%s: %s", a->policy, text);
		return -EINVAL;
	}
	if (a->check)
		return 0;
	if (!has_net_admin()) {
		say("CAP_NET_ADMIN is needed: run it as root, or with that "
		    "capability");
		return -EPERM;
	}
	more_descriptors();
	rc = state_open(d);
	if (rc)
		say("%s: %s", a->state,
		    rc == -EBUSY ? "another devmemd uses it" :
		    rc == -EPERM ? "belongs to somebody else, or others may "
				   "write to it" :
				   strerror(-rc));
	return rc;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "Takes receive queues of NICs for jobs without "
		       "CAP_NET_ADMIN. Stays in the foreground; SIGHUP reads "
		       "the policy again. Running jobs do not notice when it "
		       "ends, or is started anew.\v"
		       "Exit status: 0; 1: it could not start; 2: usage."
	};
	struct arguments a = { .socket = BROKER_SOCKET,
			       .policy = POLICY_PATH,
			       .state = STATE_PATH };
	struct devmemd *d = calloc(1, sizeof(*d));
	int fd, rc;
	bool own;

	argp_err_exit_status = EXIT_BAD_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &a);
	log_open(on_log, NULL);
	if (!d || prepare(d, &a))
		return EXIT_BAD_START;
	if (a.check)
		return 0;
	fd = get_socket(&a, &own);
	if (fd < 0)
		return EXIT_BAD_START;
	rc = sandbox_enter();
	if (rc)
		say("privileges cannot be dropped: %s", strerror(-rc));
	if (rc || devmemd_start(d, fd))
		return EXIT_BAD_START;
	notify_ready();
	say("ready: %u lines of policy in %s", d->policy.lines, a.policy);
	while (!d->ended)
		devmemd_step(d, -1);
	if (own)
		unlink(a.socket);
	devmemd_stop(d);
	say("ended; leases stay with their jobs");
	free(d);
	return 0;
}
