// SPDX-License-Identifier: BSD-3-Clause
/*
 * guard.c - see guard.h. The program itself is tools/devmem_guard.c.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard.h"
#include "process.h"

#define PROGRAM	 "devmem-guard"
#define READY_MS 2000
/* Above what the program finds open: see the file actions. */
#define FD_LEAST 10

static struct {
	pthread_mutex_t lock;
	unsigned int users;
	pid_t pid;   /* whose guard it is: a child of fork() has none */
	int channel; /* -1: none runs */
	pid_t guard;
} guard = { .lock = PTHREAD_MUTEX_INITIALIZER, .channel = -1 };

bool guard_valid(const char *which)
{
	return !which || *which == '/' || !strcmp(which, "auto") ||
	       !strcmp(which, "off");
}

int guard_open_program(const char *path, struct why *w)
{
	int fd = open(path, O_PATH | O_CLOEXEC), err = errno, high;
	struct stat st;

	if (fd < 0)
		return why(w, -err, "%s: %s", path, strerror(err));
	high = fcntl(fd, F_DUPFD_CLOEXEC, FD_LEAST);
	err = errno;
	close(fd);
	if (high < 0)
		return why(w, -err, "%s: %s", path, strerror(err));
	if (fstat(high, &st) || !S_ISREG(st.st_mode) ||
	    (st.st_uid && st.st_uid != geteuid()) || st.st_mode & 022) {
		close(high);
		return why(w, -EPERM,
			   "%s: not a file that root or this user alone can "
			   "write",
			   path);
	}
	return high;
}

/* The folder of the file that this code was loaded from, without a '/' behind. */
static bool own_folder(char *path)
{
	Dl_info info;
	char *slash;

	if (!dladdr((void *)(uintptr_t)guard_start, &info) || !info.dli_fname ||
	    !realpath(info.dli_fname, path))
		return false;
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	return slash;
}

/* What is installed together belongs together. */
static int open_installed(struct why *w)
{
	/* From lib/, and from lib/x86_64-linux-gnu/. */
	static const char *const up[] = { "..", "../.." };
	char folder[PATH_MAX], path[PATH_MAX + 64];

	for (int i = 0; i < 2 && own_folder(folder); i++) {
		snprintf(path, sizeof(path), "%s/%s/libexec/nccl-devmem/%s",
			 folder, up[i], PROGRAM);
		if (!access(path, F_OK))
			return guard_open_program(path, w);
	}
	return guard_open_program(DEVMEM_LIBEXEC "/" PROGRAM, w);
}

/* Its own session from the beginning: no signal of our group reaches it. */
static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	return posix_spawnattr_setsigmask(attr, &none)		 ?:
		       posix_spawnattr_setsigdefault(attr, &all) ?:
		       posix_spawnattr_setflags(attr,
						POSIX_SPAWN_SETSID |
							POSIX_SPAWN_SETSIGMASK |
							POSIX_SPAWN_SETSIGDEF);
}

static int set_files(posix_spawn_file_actions_t *files, int channel)
{
	return posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDWR, 0) ?:
		       posix_spawn_file_actions_adddup2(files, 0, 1) ?:
		       posix_spawn_file_actions_adddup2(files, 0, 2) ?:
		       posix_spawn_file_actions_adddup2(files, channel,
							GUARD_CHANNEL);
}

/* @program and @channel are FD_LEAST or above. */
static int spawn(int program, int channel, pid_t *pid)
{
	char path[32], name[] = PROGRAM, parent[16];
	char *argv[] = { name, parent, NULL }, *environment[] = { NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int rc = -ENOMEM;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", program);
	snprintf(parent, sizeof(parent), "%d", (int)getpid());
	if (posix_spawn_file_actions_init(&files))
		return rc;
	if (posix_spawnattr_init(&attr))
		goto out_files;
	rc = -set_attributes(&attr) ?: -set_files(&files, channel);
	rc = rc ?: -posix_spawn(pid, path, &files, &attr, argv, environment);
	posix_spawnattr_destroy(&attr);
out_files:
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

/* The program says that it is there, or why it cannot be. */
static int wait_ready(int channel, pid_t *pid, struct why *w)
{
	struct pollfd p = { .fd = channel, .events = POLLIN };
	const size_t skip = strlen(GUARD_READY);
	char text[128];
	ssize_t n;
	int rc;

	do
		rc = poll(&p, 1, READY_MS);
	while (rc < 0 && errno == EINTR);
	if (rc <= 0)
		return why(w, -ETIMEDOUT, "it does not answer");
	n = recv(channel, text, sizeof(text) - 1, MSG_DONTWAIT);
	if (n <= 0)
		return why(w, -EPIPE, "it ended at once");
	text[n] = '\0';
	if (strncmp(text, GUARD_READY, skip))
		return why(w, -EPERM, "%s", text);
	*pid = (pid_t)strtol(text + skip, NULL, 10);
	return 0;
}

/*
 * What we started ends as soon as it has started the guard, so that the guard is
 * not our child. Where SIGCHLD is ignored, or a handler of the application takes
 * every child, there is nothing left to wait for: -ECHILD.
 */
static void reap(pid_t pid, bool in_time)
{
	if (!in_time && !waitpid(pid, NULL, WNOHANG))
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int launch(int program, struct why *w)
{
	int pair[2], channel, rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return why(w, -errno, "socketpair: %s", strerror(errno));
	channel = fcntl(pair[1], F_DUPFD_CLOEXEC, FD_LEAST);
	close(pair[1]);
	rc = channel < 0 ? -EMFILE : spawn(program, channel, &pid);
	if (channel >= 0)
		close(channel);
	if (rc) {
		why(w, rc, "it cannot be started: %s", strerror(-rc));
	} else {
		rc = wait_ready(pair[0], &guard.guard, w);
		reap(pid, rc != -ETIMEDOUT);
	}
	if (rc)
		close(pair[0]);
	else
		guard.channel = pair[0];
	return rc;
}

static void let_go(void)
{
	if (guard.channel < 0)
		return;
	/* Children of fork() may have it as well, so closing it says nothing. */
	if (guard.pid == getpid())
		shutdown(guard.channel, SHUT_RDWR);
	close(guard.channel);
	guard.channel = -1;
	guard.guard = 0;
}

/* Nothing comes any more from one that lives. */
static bool runs(void)
{
	struct pollfd p = { .fd = guard.channel, .events = POLLIN };

	return guard.channel >= 0 && poll(&p, 1, 0) == 0;
}

void guard_start(const char *which)
{
	struct why w = { .text = "" };
	int program;

	if (which && !strcmp(which, "off"))
		which = "";
	pthread_mutex_lock(&guard.lock);
	if (guard.pid != getpid()) {
		let_go();
		guard.users = 0;
		guard.pid = getpid();
	}
	/* One that has been killed is started again, not one that cannot be. */
	if ((guard.users++ && (guard.channel < 0 || runs())) ||
	    (which && !*which) || !has_net_admin())
		goto out;
	let_go();
	program = which && *which == '/' ? guard_open_program(which, &w) :
					   open_installed(&w);
	if (program >= 0) {
		launch(program, &w);
		close(program);
	}
	if (guard.channel < 0)
		INFO("no guard for the settings of NICs (%s): if this process "
		     "is killed they come back with the next start, or by: "
		     "devmemctl restore",
		     w.text);
	else
		TRACE("settings of NICs are guarded by process %d",
		      (int)guard.guard);
out:
	pthread_mutex_unlock(&guard.lock);
}

void guard_stop(void)
{
	pthread_mutex_lock(&guard.lock);
	if (guard.pid == getpid() && guard.users && !--guard.users)
		let_go();
	pthread_mutex_unlock(&guard.lock);
}

pid_t guard_pid(void)
{
	pid_t pid;

	pthread_mutex_lock(&guard.lock);
	pid = guard.pid == getpid() && runs() ? guard.guard : 0;
	pthread_mutex_unlock(&guard.lock);
	return pid;
}
