/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * launch.c - processes: ranks of this machine, each in its network namespace
 * and with its variant's environment, and the command of --pause-cmd. A child
 * dies with the launcher, whatever ends that.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "children.h"

/* Dies with the parent; false if that is gone already. */
static bool child_setup(pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signals_release();
	signal(SIGPIPE, SIG_IGN);
	return !prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == parent;
}

/*
 * Enters /run/netns/NAME and, as ip-netns(8) does, mounts a /sys that shows
 * the devices of that namespace.
 */
static bool enter_netns(const char *name, char *why, size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET)) {
		snprintf(why, size,
			 "cannot enter the network namespace %s: "
			 "%s; see ip-netns(8), and be root",
			 path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	close(fd);
	if (unshare(CLONE_NEWNS) ||
	    mount("", "/", "none", MS_SLAVE | MS_REC, NULL) ||
	    (umount2("/sys", MNT_DETACH) && errno != EINVAL) ||
	    mount(name, "/sys", "sysfs", 0, NULL))
		complain("netns %s: cannot mount its /sys (%s); a plugin may "
			 "see the devices of another namespace there",
			 name, strerror(errno));
	return true;
}

/* A failure before there is a rank to report it. */
static int early_fail(int fd, int code, const char *text)
{
	struct error_report e = { .when_ns = now_ns(), .code = code };

	snprintf(e.text, sizeof(e.text), "%s", text);
	msg_send(fd, MSG_ERROR, 0, &e, sizeof(e), now_ns() + 1000000000ll);
	return code;
}

static int child(const struct options *o, const struct variant *v, int run,
		 int rank, int fd)
{
	char why[512];
	int i;

	if (o->nnetns && !enter_netns(o->netns[rank], why, sizeof(why)))
		return early_fail(fd, EXIT_SKIP, why);
	for (i = 0; v && i < v->nenv; i++)
		putenv(v->env[i]);
	if (fd < 0) {
		fd = tcp_dial(o->bootstrap,
			      now_ns() + o->timeout_s * 1000000000ll, why,
			      sizeof(why));
		if (fd < 0) {
			complain("rank %d: %s", rank, why);
			return EXIT_FAIL;
		}
	}
	return rank_main(o, v, run, rank, fd);
}

/*
 * Closes what was inherited from the launcher, such as its ends to the other
 * ranks, but `fd`; returns where that is now.
 */
static int keep_one(int fd)
{
	if (fd >= 0)
		fd = dup2(fd, STDERR_FILENO + 1);
	close_range(STDERR_FILENO + 1 + (fd >= 0), ~0u, 0);
	return fd;
}

/*
 * Starts a rank. With `fd` the rank talks to this process through it, without
 * it dials --bootstrap. -1 on failure.
 */
pid_t launch_rank(const struct options *o, const struct variant *v, int run,
		  int rank, int *fd)
{
	int sv[2] = { -1, -1 };
	pid_t parent = getpid(), pid;

	if (fd && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return -1;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (!child_setup(parent))
			_exit(EXIT_FAIL);
		exit(child(o, v, run, rank, keep_one(sv[1])));
	}
	if (fd)
		close(sv[1]);
	if (pid < 0 && fd)
		close(sv[0]);
	else if (fd)
		*fd = sv[0];
	return pid;
}

pid_t launch_shell(const char *command)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (!child_setup(parent))
			_exit(127);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	return pid;
}
