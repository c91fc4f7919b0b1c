// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmem_guard.c - puts back the settings of NICs that a process has changed, when
 * that process has died, and ends. Started by the library (transport/guard.h),
 * one for each process, in its network namespace; it needs nothing of its
 * environment, talks to nobody but the kernel, and changes nothing while the
 * process lives.
 *
 * It looks at every NIC of the namespace whose settings are noted as changed, not
 * only at those of its process: what it may put back is seen from the NIC alone
 * (transport/restore.h), so it cannot do too much, and cannot be told too little.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "process.h"
#include "restore.h"

#define NICS_MAX 256
/* Between two looks: often as long as the kernel may be closing, then less so. */
#define LOOK_MS	    100
#define LOOKS_OFTEN 50
#define LOOK_MAX_MS 1000
/* Times that something may fail before it is left to `devmemctl restore`. */
#define FAILURES 60

static void log_syslog(void *arg, enum devmem_log_level level, const char *file,
		       int line, const char *text)
{
	(void)arg;
	(void)file;
	(void)line;
	syslog(level == DEVMEM_LOG_WARN ? LOG_WARNING : LOG_INFO, "%s", text);
}

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Also where a container's seccomp does not let us use what the kernel has. */
static void close_from(int first)
{
	struct dirent *e;
	DIR *dir;

	if (!syscall(SYS_close_range, first, ~0u, 0))
		return;
	dir = opendir("/proc/self/fd");
	while (dir && (e = readdir(dir))) {
		int fd = atoi(e->d_name);

		if (fd >= first && fd != dirfd(dir))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/*
 * Nothing of the process's stays: no file, no folder, no signal, no share in its
 * being chosen when memory is short.
 */
static void detach(void)
{
	static const int ignored[] = { SIGHUP,	SIGINT,	 SIGQUIT, SIGTERM,
				       SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM };
	int fd;

	close_from(GUARD_CHANNEL + 1);
	setsid(); /* as it was started; also if not */
	if (chdir("/"))
		return;
	umask(077);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, "devmem-guard");
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "-1000", 5) != 5)
			errno = 0; /* not allowed, then */
		close(fd);
	}
}

static void say(const char *text)
{
	send(GUARD_CHANNEL, text, strlen(text), MSG_NOSIGNAL);
}

/*
 * The process, for waiting; -1: it is dead already. It is our parent as long as it
 * lives: if it still is after pidfd_open(), then that was no other with its number.
 */
static int watch(pid_t pid)
{
	int fd = pidfd_of(pid);

	if (fd >= 0 && getppid() != pid) {
		close(fd);
		fd = -1;
		errno = ESRCH;
	}
	return fd;
}

/*
 * Until the process has died, or says that it is done. It also is if nobody has
 * the other end any more: it has called exec(), and with that given up its queues.
 * Children of fork() that have it keep nothing up but this, so the pidfd counts.
 */
static void wait_end(int pidfd)
{
	struct pollfd p[2] = {
		{ .fd = pidfd, .events = POLLIN },
		{ .fd = GUARD_CHANNEL, .events = POLLIN },
	};

	while (pidfd >= 0 && poll(p, 2, -1) < 0 && errno == EINTR)
		;
}

static void tell(const struct nic_report *r, pid_t dead)
{
	const struct restored *d = &r->done;

	if (r->left == NIC_RESTORED)
		syslog(LOG_INFO, "settings of %s are restored after process %d",
		       r->ifname, (int)dead);
	else if (d->rules || d->rss)
		syslog(LOG_INFO,
		       "%u flow rules removed and %u entries of RSS restored "
		       "of %s after process %d",
		       d->rules, d->rss, r->ifname, (int)dead);
}

/* One look at all NICs. Is another one needed? */
static bool look(pid_t dead, int *failures)
{
	static unsigned int ifindex[NICS_MAX];
	static struct nic_report r;
	size_t count, elsewhere;
	bool again = false, failed = false;

	if (nicfile_list(ifindex, NICS_MAX, &count, &elsewhere))
		return ++*failures < FAILURES;
	for (size_t i = 0; i < count; i++) {
		restore_nic(ifindex[i], false, &r);
		tell(&r, dead);
		failed |= r.left == NIC_FAILED;
		again |= restore_later(&r, dead);
	}
	*failures += failed;
	return again && *failures < FAILURES;
}

static void restore_after(pid_t dead)
{
	long ms = LOOK_MS;
	int failures = 0;

	for (int i = 0; look(dead, &failures); i++) {
		struct timespec t = { .tv_sec = ms / 1000,
				      .tv_nsec = ms % 1000 * 1000000 };

		nanosleep(&t, NULL);
		if (i < LOOKS_OFTEN)
			continue;
		/* Whoever wants to be rid of it now may. */
		signal(SIGTERM, SIG_DFL);
		ms = 2 * ms < LOOK_MAX_MS ? 2 * ms : LOOK_MAX_MS;
	}
}

/* This process ends for the library to wait for; the guard is its child. */
static int start(pid_t pid)
{
	char text[64];
	int pidfd;
	pid_t child;

	if (!has_net_admin()) {
		say("it has no CAP_NET_ADMIN: it gets ambient capabilities "
		    "only, or root's");
		return 1;
	}
	/* Of one that has died the parent is another, but there is one. */
	if (!getppid()) {
		say("children of this process are in another PID namespace");
		return 1;
	}
	pidfd = watch(pid);
	if (pidfd < 0 && errno != ESRCH) {
		snprintf(text, sizeof(text), "pidfd_open: %s", strerror(errno));
		say(text);
		return 1;
	}
	child = fork();
	if (child < 0) {
		snprintf(text, sizeof(text), "fork: %s", strerror(errno));
		say(text);
		return 1;
	}
	if (child)
		return 0;
	snprintf(text, sizeof(text), GUARD_READY "%d", (int)getpid());
	say(text);
	log_open(log_syslog, NULL);
	openlog("devmem-guard", LOG_PID, LOG_DAEMON);
	wait_end(pidfd);
	restore_after(pid);
	return 0;
}

int main(int argc, char **argv)
{
	int type = 0;
	socklen_t n = sizeof(type);
	long pid = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

	if (pid <= 0 || pid > INT32_MAX ||
	    getsockopt(GUARD_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &n) ||
	    type != SOCK_SEQPACKET) {
		fputs("devmem-guard is started by the library that changes "
		      "settings of NICs, to restore them if its process dies; "
		      "by hand: devmemctl restore\n",
		      stderr);
		return 2;
	}
	detach();
	/* Nothing is to be written or looked for at the end. */
	_exit(start((pid_t)pid));
}
