/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hub.c - the launcher's side of a run: starts the ranks of this machine,
 * takes in those of others, waits for all of them, and ends every process it
 * started. What they say is hub_take.c's.
 *
 * It never waits for one rank alone: all descriptors are polled, a rank that
 * is dead or silent ends the run, and the run has a deadline. The death of a
 * rank is seen by its process descriptor, since a helper that a plugin left
 * behind may hold the rank's socket open.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "hub.h"

#define GRACE_MS 3000 /* for the other ranks, after the first failure */
#define HELLO_MS 5000 /* for a connection to say who it is */

/* Takes bytes in until a message is whole: 1 whole, 0 not yet, -1 ended. */
static int inbox_read(struct inbox *in, int fd)
{
	struct msg_head *head = (struct msg_head *)in->data;
	size_t want = sizeof(*head);
	ssize_t n;

	for (;;) {
		if (in->have >= sizeof(*head)) {
			if (head->magic != MSG_MAGIC || !head->type ||
			    head->type >= MSG_TYPES ||
			    head->len > msg_max(head->type))
				return -1;
			want = sizeof(*head) + head->len;
			if (in->have == want)
				return 1;
		}
		n = recv(fd, in->data + in->have, want - in->have,
			 MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return -1;
		in->have += n;
	}
}

static void member_read(struct hub *h, int rank)
{
	struct member *m = &h->m[rank];
	int rc;

	while (m->fd >= 0) {
		rc = inbox_read(&m->in, m->fd);
		if (!rc)
			return;
		if (rc < 0) {
			close_fd(&m->fd);
			/* Of a child the process descriptor tells more. */
			if (!m->pid && !m->done) {
				m->over = true;
				hub_fail(h, EXIT_FAIL,
					 "rank %d: connection "
					 "lost",
					 rank);
			}
			return;
		}
		m->in.have = 0;
		hub_take(h, rank, (struct msg_head *)m->in.data,
			 m->in.data + sizeof(struct msg_head));
	}
}

static void member_ended(struct hub *h, int rank)
{
	struct member *m = &h->m[rank];
	char text[64];
	int status;

	member_read(h, rank);
	if (waitpid(m->pid, &status, WNOHANG) != m->pid)
		return;
	m->over = true;
	m->pid = 0;
	close_fd(&m->pidfd);
	close_fd(&m->fd);
	if (h->killed_at && rank == h->o->kill_rank)
		return;
	if (!m->done && !m->error.code)
		hub_fail(h, EXIT_FAIL, "rank %d ended without a report: %s",
			 rank, child_status(status, text, sizeof(text)));
	else if (WIFSIGNALED(status) || (status && !m->error.code))
		hub_fail(h, EXIT_FAIL, "rank %d, at its end: %s", rank,
			 child_status(status, text, sizeof(text)));
}

static void stranger_accept(struct hub *h)
{
	int i, fd, one = 1;

	for (i = 0; i < MAX_STRANGERS; i++) {
		struct stranger *s = &h->strangers[i];

		if (s->fd >= 0)
			continue;
		fd = accept4(h->listener, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		/* A reply that waits for an ACK would skew what is timed. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		s->fd = fd;
		s->in.have = 0;
		s->until = now_ns() + HELLO_MS * MS;
	}
}

/* NULL, or why this connection is none of our ranks. */
static const char *hello_fault(const struct hub *h, const struct stranger *s)
{
	const struct msg_head *head = (const void *)s->in.data;
	struct msg_hello hello;

	if (head->type != MSG_HELLO || head->len != sizeof(hello))
		return "no greeting";
	memcpy(&hello, s->in.data + sizeof(*head), sizeof(hello));
	if (hello.version != MSG_VERSION)
		return "another version of devmem-bench";
	if (hello.rank >= (uint32_t)h->o->ranks ||
	    hello.ranks != (uint32_t)h->o->ranks ||
	    hello.digest != options_digest(h->o))
		return "started with other options than rank 0";
	if (hello.run != (uint32_t)h->run)
		return "of another run";
	if (h->m[hello.rank].joined)
		return "this rank is there already";
	return NULL;
}

static void stranger_read(struct hub *h, struct stranger *s)
{
	int rc = inbox_read(&s->in, s->fd);
	struct msg_hello hello;
	const char *why;

	if (!rc && now_ns() < s->until)
		return;
	why = rc == 1 ? hello_fault(h, s) : "no greeting";
	if (why) {
		complain("refused a connection to --bootstrap: %s", why);
		close_fd(&s->fd);
		return;
	}
	memcpy(&hello, s->in.data + sizeof(struct msg_head), sizeof(hello));
	h->m[hello.rank].fd = s->fd;
	h->m[hello.rank].joined = true;
	s->fd = -1;
}

static bool all_joined(const struct hub *h)
{
	int i;

	for (i = 0; i < h->o->ranks; i++)
		if (!h->m[i].joined)
			return false;
	return true;
}

static void command_ended(struct hub *h)
{
	char text[64];
	int status;

	if (waitpid(h->cmd, &status, WNOHANG) != h->cmd)
		return;
	h->cmd = 0;
	h->cmd_done = true;
	close_fd(&h->cmd_fd);
	if (status)
		hub_fail(h, EXIT_FAIL, "\"%s\": %s",
			 h->o->pause_cmd ?: h->o->break_cmd,
			 child_status(status, text, sizeof(text)));
}

static void kill_due(struct hub *h)
{
	struct member *m;

	if (!h->kill_at || h->killed_at || now_ns() < h->kill_at)
		return;
	h->killed_at = now_ns();
	h->res->killed = true;
	if (h->o->break_cmd) {
		hub_command(h, h->o->break_cmd);
		return;
	}
	m = &h->m[h->o->kill_rank];
	if (m->pid)
		kill(m->pid, SIGKILL);
}

/* One wait, and all that it brought. */
static void hub_step(struct hub *h)
{
	struct pollfd p[2 * MAX_RANKS + MAX_STRANGERS + 2];
	int ranks = h->o->ranks, n = 0, i;

	for (i = 0; i < ranks; i++) {
		p[n++] = (struct pollfd){ .fd = h->m[i].fd, .events = POLLIN };
		p[n++] = (struct pollfd){ .fd = h->m[i].pidfd,
					  .events = POLLIN };
	}
	for (i = 0; i < MAX_STRANGERS; i++)
		p[n++] = (struct pollfd){ .fd = h->strangers[i].fd,
					  .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = h->cmd_fd, .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = all_joined(h) ? -1 : h->listener,
				  .events = POLLIN };
	/* A signal that comes just before the wait costs this much. */
	poll(p, n, h->kill_at && !h->killed_at ? 1 : 100);
	for (i = 0; i < ranks; i++) {
		if (p[2 * i].revents)
			member_read(h, i);
		if (p[2 * i + 1].revents)
			member_ended(h, i);
	}
	for (i = 0; i < MAX_STRANGERS; i++)
		if (h->strangers[i].fd >= 0)
			stranger_read(h, &h->strangers[i]);
	if (p[n - 2].revents)
		command_ended(h);
	if (p[n - 1].revents)
		stranger_accept(h);
	kill_due(h);
}

/* Has everything ended, or does it have to? */
static bool hub_over(struct hub *h)
{
	int64_t now = now_ns();
	bool all = true;
	int i;

	for (i = 0; i < h->o->ranks; i++)
		all &= h->m[i].over;
	if (all)
		return true;
	if (signal_caught()) {
		hub_fail(h, EXIT_FAIL, "interrupted by signal %d",
			 signal_caught());
		return true;
	}
	if (h->failed_at && now > h->failed_at + GRACE_MS * MS)
		return true;
	if (h->killed_at &&
	    now > h->killed_at + (h->o->expect_error_ms + GRACE_MS) * MS)
		return true;
	if (now <= h->deadline)
		return false;
	for (i = 0; i < h->o->ranks; i++)
		if (!h->m[i].over)
			hub_fail(h, EXIT_FAIL,
				 "rank %d %s within %d s "
				 "(--timeout)",
				 i,
				 h->m[i].joined ? "did not end" :
						  "did not join",
				 h->o->timeout_s);
	return true;
}

static void hub_end(struct hub *h)
{
	int i;

	for (i = 0; i < h->o->ranks; i++) {
		child_end(h->m[i].pid, false);
		close_fd(&h->m[i].pidfd);
		close_fd(&h->m[i].fd);
	}
	for (i = 0; i < MAX_STRANGERS; i++)
		close_fd(&h->strangers[i].fd);
	child_end(h->cmd, false);
	close_fd(&h->cmd_fd);
}

static void hub_start(struct hub *h, const struct variant *v)
{
	const struct options *o = h->o;
	int i;

	for (i = 0; i < MAX_STRANGERS; i++)
		h->strangers[i].fd = -1;
	for (i = 0; i < o->ranks; i++)
		h->m[i].fd = h->m[i].pidfd = -1;
	for (i = 0; i < o->ranks; i++) {
		struct member *m = &h->m[i];

		if (o->rank >= 0 && i != o->rank)
			continue;
		m->joined = true;
		m->pid = launch_rank(o, v, h->run, i, &m->fd);
		m->pidfd = m->pid > 0 ? child_watch(m->pid) : -1;
		if (m->pidfd < 0) {
			hub_fail(h, EXIT_FAIL, "cannot start rank %d: %s", i,
				 strerror(errno));
			return;
		}
	}
}

/*
 * One run of all ranks; those of other machines join over `listener`. Returns
 * the exit status. `live`: print the table as it grows.
 */
int hub_run(const struct options *o, const struct variant *v, int run,
	    int listener, bool live, struct result *res)
{
	static struct hub h;

	memset(res, 0, sizeof(*res));
	memset(&h, 0, sizeof(h));
	h.o = o;
	h.run = run;
	h.live = live;
	h.listener = listener;
	h.res = res;
	h.cmd_fd = -1;
	/* The ranks stop themselves first, and can say where they hang. */
	h.deadline = now_ns() + (o->timeout_s * 1000ll + 2000) * MS;
	hub_start(&h, v);
	while (!hub_over(&h))
		hub_step(&h);
	hub_judge(&h);
	hub_end(&h);
	return res->code;
}

/* A rank of this machine whose launcher is on another one. */
int member_run(const struct options *o, const struct variant *v, int run)
{
	int64_t deadline = now_ns() + (o->timeout_s * 2000ll + 4000) * MS;
	pid_t pid = launch_rank(o, v, run, o->rank, NULL);
	char text[64];
	int status;

	if (pid < 0) {
		complain("cannot start rank %d: %s", o->rank, strerror(errno));
		return EXIT_FAIL;
	}
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (signal_caught() || now_ns() > deadline) {
			child_end(pid, false);
			complain("rank %d: %s", o->rank,
				 signal_caught() ? "interrupted" :
						   "did not end in time");
			return EXIT_FAIL;
		}
		usleep(10000);
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	complain("rank %d: %s", o->rank,
		 child_status(status, text, sizeof(text)));
	return EXIT_FAIL;
}
