// SPDX-License-Identifier: BSD-3-Clause
/*
 * children.c - ends of processes, see children.h.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "say.h"
#include "stats.h"

#define END_NS 10000000000ll

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

void signals_catch(void)
{
	struct sigaction sa = { .sa_handler = on_signal }, old;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (signals[i] != SIGHUP || sigaction(SIGHUP, NULL, &old) ||
		    old.sa_handler != SIG_IGN)
			sigaction(signals[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int signal_caught(void)
{
	return caught;
}

void signals_release(void)
{
	struct sigaction old;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!sigaction(signals[i], NULL, &old) &&
		    old.sa_handler == on_signal)
			signal(signals[i], SIG_DFL);
}

int child_watch(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

const char *child_status(int status, char *buf, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(buf, size, "killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(buf, size, "exit status %d", WEXITSTATUS(status));
	return buf;
}

bool child_end(pid_t pid, bool group)
{
	int64_t until = now_ns() + END_NS;

	if (pid <= 0)
		return true;
	if (group)
		kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ns() > until) {
			complain("process %d does not end even by SIGKILL",
				 (int)pid);
			return false;
		}
		usleep(1000);
	}
	return true;
}

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
