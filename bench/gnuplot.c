// SPDX-License-Identifier: BSD-3-Clause
/*
 * gnuplot.c - runs gnuplot on a script, in bounded time, and tells what it said.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "plot.h"

#define END_NS	60000000000ll
#define PROGRAM "gnuplot"

bool gnuplot_there(void)
{
	const char *at = getenv("PATH"), *end;
	char file[4096];

	for (; at && *at; at = *end ? end + 1 : end) {
		end = strchrnul(at, ':');
		snprintf(file, sizeof(file), "%.*s/" PROGRAM, (int)(end - at),
			 at);
		if (end > at && !access(file, X_OK))
			return true;
	}
	return false;
}

/* Without the user's own settings, and with nothing on stdin to wait for. */
static _Noreturn void child(const char *dir, const char *script, int out)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	if (chdir(dir))
		_exit(126);
	execlp(PROGRAM, PROGRAM, "-d", script, (char *)NULL);
	_exit(127);
}

/* What it says, until it closes its output; false when time is up. */
static bool listen_to(int fd, char *said, size_t size, int64_t until)
{
	char rest[512];
	size_t have = 0;
	ssize_t n;

	while (now_ns() < until) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 1000) <= 0)
			continue;
		if (have < size - 1)
			n = read(fd, said + have, size - 1 - have);
		else
			n = read(fd, rest, sizeof(rest));
		if (n <= 0)
			return true;
		if (have < size - 1)
			have += n;
		said[have] = '\0';
	}
	return false;
}

/* Its words on one line, without the empty ones and the pointers to columns. */
static void squeeze(char *text)
{
	char *to = text, *from;

	for (from = text; *from; from++) {
		if (*from == '\n' || *from == '\t' || *from == '\r')
			*from = ' ';
		if (*from == '^' ||
		    (*from == ' ' && (to == text || to[-1] == ' ')))
			continue;
		*to++ = *from;
	}
	while (to > text && to[-1] == ' ')
		to--;
	*to = '\0';
	printable(text, strlen(text) + 1);
}

static bool await(pid_t pid, int *status, int64_t until)
{
	while (waitpid(pid, status, WNOHANG) != pid) {
		if (now_ns() > until) {
			child_end(pid, false);
			return false;
		}
		usleep(2000);
	}
	return true;
}

bool gnuplot_run(const char *dir, const char *script, char *why, size_t size)
{
	int64_t until = now_ns() + END_NS;
	char said[1024] = "", how[64];
	int p[2], status = 0;
	bool in_time;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC)) {
		snprintf(why, size, "%s", strerror(errno));
		return false;
	}
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(dir, script, p[1]);
	close(p[1]);
	in_time = pid > 0 && listen_to(p[0], said, sizeof(said), until);
	close(p[0]);
	if (pid < 0) {
		snprintf(why, size, "cannot be started: %s", strerror(errno));
		return false;
	}
	in_time = await(pid, &status, in_time ? until : 0);
	squeeze(said);
	if (in_time && !status)
		return true;
	if (!in_time)
		snprintf(how, sizeof(how), "did not end within a minute");
	else
		child_status(status, how, sizeof(how));
	snprintf(why, size, "%s%s%s", how, *said ? ": " : "", said);
	return false;
}
