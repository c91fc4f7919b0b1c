// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_hub.c - the launcher's side of a run: starts the ranks, passes
 * what they gather, keeps what they report, and ends every process it started.
 *
 * It never waits for one rank alone: all descriptors are polled, a rank that is
 * dead or silent ends the run, and the run has a deadline.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "nccl_allreduce.h"
#include "nccl_allreduce_launch.h"

#define MS	   1000000ll
#define GRACE_MS   3000 /* for the other ranks, after the first failure */
#define MESSAGE_MS 5000 /* for the rest of a message that has begun */

/* A rank as the launcher sees it. */
struct member {
	pid_t pid; /* 0: not started, or reaped; leads a process group */
	int pidfd, fd;
	bool over, done, gathering;
	size_t gather_len;
	char gather[JOB_BODY];
	int rows;
	struct job_error error;
};

struct hub {
	const struct job *j;
	int setting, listener;
	bool live, header;
	int infos;
	int64_t deadline, failed_at;
	struct member m[JOB_RANKS];
	struct step *steps;
	int nsteps;
	struct job_result *res;
};

/* The first failure is the run's verdict; the rest is only told. */
static void __attribute__((format(printf, 3, 4)))
hub_fail(struct hub *h, int code, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!h->res->code) {
		h->res->code = code;
		snprintf(h->res->error, sizeof(h->res->error), "%s", text);
		h->failed_at = now_ns();
	}
	complain("%s", text);
}

static void take_info(struct hub *h, int rank, const void *body)
{
	struct rank_info *i = &h->res->info[rank];

	memcpy(i, body, sizeof(*i));
	printable(i->host, sizeof(i->host));
	printable(i->name, sizeof(i->name));
	printable(i->pci, sizeof(i->pci));
	if (++h->infos == h->j->ranks && h->live && !h->header) {
		h->header = true;
		job_header(h->j, &h->j->settings[h->setting], h->res);
		job_columns(h->j);
	}
}

/* Which step the i-th row is of: the modes take other ones than the table. */
static const struct step *row_step(const struct hub *h, int i)
{
	if (h->j->mode == JOB_RECREATE || h->j->mode == JOB_ABORT)
		return &h->steps[h->nsteps - 1];
	return i < h->nsteps ? &h->steps[i] : NULL;
}

static struct job_row *row_at(struct hub *h, int i)
{
	struct job_result *res = h->res;
	const struct step *s = row_step(h, i);
	struct job_row *rows;

	if (i < res->nrows)
		return &res->rows[i];
	if (!s || i > 100000)
		return NULL;
	if (res->nrows == res->cap) {
		res->cap = res->cap ? 2 * res->cap : 64;
		rows = realloc(res->rows, res->cap * sizeof(*rows));
		if (!rows)
			return NULL;
		res->rows = rows;
	}
	memset(&res->rows[i], 0, sizeof(res->rows[i]));
	res->rows[i].step = *s;
	res->nrows++;
	return &res->rows[i];
}

static void take_row(struct hub *h, int rank, const void *body)
{
	struct job_row *row = row_at(h, h->m[rank].rows);
	struct rank_row mine;
	int i;

	if (!row) {
		hub_fail(h, EXIT_FAIL, "rank %d reports more than it was asked",
			 rank);
		return;
	}
	memcpy(&mine, body, sizeof(mine));
	for (i = 0; i < 2; i++) {
		row->sum.us[i] += mine.us[i] / h->j->ranks;
		row->sum.wrong[i] += mine.wrong[i];
		row->sum.checked[i] += mine.checked[i];
	}
	row->sum.files += mine.files;
	row->sum.threads += mine.threads;
	if (++row->ranks == h->j->ranks && h->live)
		job_row(h->j, row, h->m[rank].rows);
	h->m[rank].rows++;
}

static void gather_reply(struct hub *h)
{
	static char all[JOB_RANKS * JOB_BODY];
	int n = h->j->ranks, i;
	size_t len = h->m[0].gather_len;
	struct job_head head = { JOB_MAGIC, JOB_GATHER, n * len };

	for (i = 0; i < n; i++)
		if (!h->m[i].gathering)
			return;
	for (i = 0; i < n; i++) {
		if (h->m[i].gather_len != len) {
			hub_fail(h, EXIT_FAIL,
				 "rank %d is at another step than rank 0", i);
			return;
		}
		memcpy(all + i * len, h->m[i].gather, len);
		h->m[i].gathering = false;
	}
	for (i = 0; i < n; i++)
		if (io_full(h->m[i].fd, &head, sizeof(head), true,
			    h->deadline) ||
		    io_full(h->m[i].fd, all, n * len, true, h->deadline))
			hub_fail(h, EXIT_FAIL,
				 "rank %d does not take the launcher's reply",
				 i);
}

static void take_error(struct hub *h, int rank, const void *body)
{
	struct job_error *e = &h->m[rank].error;

	memcpy(e, body, sizeof(*e));
	printable(e->text, sizeof(e->text));
	if (e->code != EXIT_SKIP)
		e->code = EXIT_FAIL;
	/* The same fault in each rank is one line. */
	if (rank && !strcmp(e->text, h->m[0].error.text))
		return;
	hub_fail(h, e->code, "rank %d: %s", rank, e->text);
}

static size_t body_size(uint32_t type)
{
	switch (type) {
	case JOB_INFO:
		return sizeof(struct rank_info);
	case JOB_ROW:
		return sizeof(struct rank_row);
	case JOB_NOTE:
		return sizeof(((struct job_result *)0)->notes[0]);
	case JOB_ERROR:
		return sizeof(struct job_error);
	default:
		return 0;
	}
}

static void take(struct hub *h, int rank, const struct job_head *head,
		 const char *body)
{
	struct member *m = &h->m[rank];

	switch (head->type) {
	case JOB_INFO:
		take_info(h, rank, body);
		break;
	case JOB_GATHER:
		memcpy(m->gather, body, head->len);
		m->gather_len = head->len;
		m->gathering = true;
		gather_reply(h);
		break;
	case JOB_ROW:
		take_row(h, rank, body);
		break;
	case JOB_NOTE:
		memcpy(h->res->notes[rank], body, sizeof(h->res->notes[0]));
		printable(h->res->notes[rank], sizeof(h->res->notes[0]));
		break;
	case JOB_ERROR:
		take_error(h, rank, body);
		break;
	case JOB_DONE:
		m->done = true;
		break;
	}
}

_Static_assert(sizeof(struct rank_info) <= JOB_BODY, "messages");
_Static_assert(sizeof(struct rank_row) <= JOB_BODY, "messages");
_Static_assert(sizeof(struct job_error) <= JOB_BODY, "messages");

static bool head_fits(const struct job_head *h)
{
	if (h->magic != JOB_MAGIC || h->type <= JOB_HELLO || h->type > JOB_DONE)
		return false;
	return h->type == JOB_GATHER ? h->len <= JOB_BODY :
				       h->len == body_size(h->type);
}

/* One message, if there is any. */
static void member_read(struct hub *h, int rank)
{
	struct member *m = &h->m[rank];
	int64_t until = now_ns() + MESSAGE_MS * MS;
	char body[JOB_BODY];
	struct job_head head;

	if (recv(m->fd, &head, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	    errno == EAGAIN)
		return;
	if (io_full(m->fd, &head, sizeof(head), false, until) ||
	    !head_fits(&head) ||
	    (head.len && io_full(m->fd, body, head.len, false, until)))
		close_fd(&m->fd); /* the process descriptor tells more */
	else
		take(h, rank, &head, body);
}

/*
 * A rank says who it is; the socket is in a folder that only we may enter. False if
 * nobody is there.
 */
static bool member_join(struct hub *h)
{
	int fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
	struct job_head head;
	uint32_t rank;

	if (fd < 0)
		return false;
	if (io_full(fd, &head, sizeof(head), false,
		    now_ns() + MESSAGE_MS * MS) ||
	    head.magic != JOB_MAGIC || head.type != JOB_HELLO ||
	    head.len != sizeof(rank) ||
	    io_full(fd, &rank, sizeof(rank), false,
		    now_ns() + MESSAGE_MS * MS) ||
	    rank >= (uint32_t)h->j->ranks || h->m[rank].fd >= 0 ||
	    h->m[rank].over) {
		complain("refused a connection that is none of the ranks'");
		close(fd);
	} else {
		h->m[rank].fd = fd;
	}
	return true;
}

static void member_ended(struct hub *h, int rank)
{
	struct member *m = &h->m[rank];
	char text[64];
	int status;

	/* It may have come, spoken and gone since the last look. */
	while (member_join(h))
		;
	while (m->fd >= 0 && !m->done && !m->error.code) {
		struct pollfd p = { .fd = m->fd, .events = POLLIN };

		if (poll(&p, 1, 0) <= 0)
			break;
		member_read(h, rank);
	}
	if (waitpid(m->pid, &status, WNOHANG) != m->pid)
		return;
	m->over = true;
	m->pid = 0;
	close_fd(&m->pidfd);
	close_fd(&m->fd);
	child_status(status, text, sizeof(text));
	if (!m->done && !m->error.code)
		hub_fail(h, EXIT_FAIL, "rank %d ended without a report: %s",
			 rank, text);
	else if (status && !m->error.code)
		hub_fail(h, EXIT_FAIL, "rank %d, at its end: %s", rank, text);
}

/* One wait, and all that it brought. */
static void hub_step(struct hub *h)
{
	struct pollfd p[2 * JOB_RANKS + 1];
	int n = h->j->ranks, i;

	for (i = 0; i < n; i++) {
		p[i] = (struct pollfd){ h->m[i].fd, POLLIN, 0 };
		p[n + i] = (struct pollfd){ h->m[i].pidfd, POLLIN, 0 };
	}
	p[2 * n] = (struct pollfd){ h->listener, POLLIN, 0 };
	poll(p, 2 * n + 1, 100);
	for (i = 0; i < n; i++) {
		if (p[i].revents && h->m[i].fd >= 0)
			member_read(h, i);
		if (p[n + i].revents)
			member_ended(h, i);
	}
	if (p[2 * n].revents)
		member_join(h);
}

/* Where the slowest rank is. */
static void hub_late(struct hub *h)
{
	const struct step *s;
	int i, least = 0;

	for (i = 1; i < h->j->ranks; i++)
		if (!h->m[i].over && h->m[i].rows < h->m[least].rows)
			least = i;
	s = row_step(h, h->m[least].rows);
	hub_fail(
		h, EXIT_FAIL,
		"no end after %d s (--timeout): rank %d has reported %d rows%s%s",
		h->j->timeout_s, least, h->m[least].rows,
		s ? ", the next is of " : "", s ? coll_name(s->coll) : "");
}

static bool hub_over(struct hub *h)
{
	int64_t now = now_ns();
	bool all = true;
	int i;

	for (i = 0; i < h->j->ranks; i++)
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
	if (now <= h->deadline)
		return false;
	if (!h->failed_at)
		hub_late(h);
	return true;
}

/*
 * Ends the rank, and what it started, in bounded time. Its group, as under --wrap
 * the rank is not our child.
 */
static void reap(struct hub *h, int rank)
{
	struct member *m = &h->m[rank];

	if (!child_end(m->pid, true))
		hub_fail(h, EXIT_FAIL, "rank %d does not end", rank);
	close_fd(&m->pidfd);
	close_fd(&m->fd);
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		close_fd(&fd);
	} else if (fd >= 0) {
		strcpy(a.sun_path, path);
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
		    listen(fd, JOB_RANKS))
			close_fd(&fd);
	}
	return fd;
}

static void hub_start(struct hub *h, const struct launch *l)
{
	int i;

	h->listener = listen_at(l->socket);
	if (h->listener < 0) {
		hub_fail(h, EXIT_FAIL, "cannot listen at %s: %s", l->socket,
			 strerror(errno));
		return;
	}
	for (i = 0; i < h->j->ranks; i++) {
		struct member *m = &h->m[i];

		m->pid = launch_start(h->j, l, i);
		m->pidfd = m->pid > 0 ? child_watch(m->pid) : -1;
		if (m->pidfd < 0) {
			hub_fail(h, EXIT_FAIL, "cannot start rank %d: %s", i,
				 strerror(errno));
			return;
		}
	}
}

static void hub_run_ranks(struct hub *h, const struct launch *l)
{
	int i;

	for (i = 0; i < JOB_RANKS; i++)
		h->m[i].fd = h->m[i].pidfd = -1;
	hub_start(h, l);
	while (!hub_over(h))
		hub_step(h);
	for (i = 0; i < h->j->ranks; i++)
		reap(h, i);
	close_fd(&h->listener);
}

/*
 * One run of all ranks in the given setting. Returns the exit status. `live`:
 * print the table as it grows. The caller frees res->rows.
 */
int job_run(const struct job *j, int setting, int run, bool live,
	    struct job_result *res)
{
	static struct hub h;
	struct launch l;
	char file[512];
	int i;

	memset(res, 0, sizeof(*res));
	memset(&h, 0, sizeof(h));
	h.j = j;
	h.setting = setting;
	h.live = live;
	h.res = res;
	h.listener = -1;
	h.nsteps = job_steps(j, NULL, 0);
	h.steps = calloc(h.nsteps, sizeof(*h.steps));
	if (!h.steps || launch_open(&l, j, setting, run)) {
		hub_fail(&h, EXIT_FAIL, "cannot make a folder for a run: %s",
			 strerror(errno));
		free(h.steps);
		return res->code;
	}
	job_steps(j, h.steps, h.nsteps);
	/* The ranks stop themselves first, and can say where they hang. */
	h.deadline = now_ns() + (j->timeout_s * 1000ll + 2000) * MS;
	hub_run_ranks(&h, &l);
	for (i = 0; i < j->ranks; i++) {
		launch_log(&l, i, file, sizeof(file));
		log_read(file, &res->log[i]);
	}
	launch_close(&l, j);
	free(h.steps);
	if (!res->code)
		log_judge(j, &j->settings[setting], res);
	return res->code;
}
