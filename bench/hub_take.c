/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hub_take.c - what the launcher does with what ranks tell it: replies to
 * gathers, keeps reports, injects the faults that were asked for, and judges
 * the run when it is over. Bodies may come from another machine: lengths are
 * checked and text is made printable before either is used.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "children.h"
#include "hub.h"

/* The first failure is the run's verdict; the rest is only told. */
void hub_fail(struct hub *h, int code, const char *fmt, ...)
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

static void gather_reply(struct hub *h)
{
	static char all[MAX_RANKS * GATHER_MAX];
	int n = h->o->ranks, i;
	size_t len = h->m[0].gather_len;

	for (i = 0; i < n; i++)
		if (!h->m[i].gathering)
			return;
	for (i = 0; i < n; i++) {
		if (h->m[i].gather_len != len) {
			hub_fail(h, EXIT_FAIL,
				 "rank %d is at another step "
				 "than rank 0: are the programs the same?",
				 i);
			return;
		}
		memcpy(all + i * len, h->m[i].gather, len);
	}
	for (i = 0; i < n; i++) {
		h->m[i].gathering = false;
		if (msg_send(h->m[i].fd, MSG_GATHER,
			     h->cmd_done ? GATHER_CMD_DONE : 0, all, n * len,
			     h->deadline))
			hub_fail(h, EXIT_FAIL,
				 "rank %d does not take the "
				 "launcher's reply",
				 i);
	}
}

void hub_command(struct hub *h, const char *command)
{
	h->cmd = launch_shell(command);
	h->cmd_fd = h->cmd > 0 ? child_watch(h->cmd) : -1;
	if (h->cmd_fd < 0)
		hub_fail(h, EXIT_FAIL, "cannot start \"%s\": %s", command,
			 strerror(errno));
}

/* Rank 0 is at --pause-at-iter, or all ranks are in traffic to be cut. */
static void fault(struct hub *h)
{
	const struct options *o = h->o;

	if (o->kill_rank >= 0 || o->break_cmd) {
		if (++h->faults == o->ranks)
			h->kill_at = now_ns() + o->kill_after_ms * MS;
	} else if (o->pause_cmd && !h->cmd && !h->cmd_done) {
		hub_command(h, o->pause_cmd);
	}
}

static bool is_expected(const struct hub *h, const struct error_report *e)
{
	return h->killed_at && e->kind == ERR_NET;
}

static void take_error(struct hub *h, int rank, const void *body)
{
	struct error_report *e = &h->m[rank].error;
	bool again;

	memcpy(e, body, sizeof(*e));
	printable(e->text, sizeof(e->text));
	if (e->code != EXIT_SKIP)
		e->code = EXIT_FAIL;
	/* The same fault in each rank is one line. */
	again = h->first && !strcmp(e->text, h->first->text);
	if (is_expected(h, e) || again || (h->first && e->kind == ERR_DATA))
		return;
	h->first = e;
	hub_fail(h, e->code, "rank %d: %s", rank, e->text);
}

static void take_info(struct hub *h, int rank, const void *body)
{
	struct info_report *i = &h->res->info[rank];

	memcpy(i, body, sizeof(*i));
	printable(i->host, sizeof(i->host));
	printable(i->netns, sizeof(i->netns));
	printable(i->kernel, sizeof(i->kernel));
	printable(i->machine, sizeof(i->machine));
	printable(i->cpu, sizeof(i->cpu));
	printable(i->plugin, sizeof(i->plugin));
	printable(i->device, sizeof(i->device));
	printable(i->memory, sizeof(i->memory));
	if (++h->infos == h->o->ranks && h->live && !h->header) {
		h->header = true;
		report_header(h->o, h->res);
	}
}

static void take_row(struct hub *h, int rank, const void *body)
{
	struct row *row = &h->res->rows[h->res->nrows];

	if (rank || h->res->nrows == MAX_ROWS)
		return;
	memcpy(row, body, sizeof(*row));
	h->res->nrows++;
	if (h->live)
		report_row(h->o, row);
}

static void take_path(struct hub *h, int rank, const void *body)
{
	struct path_report *p = &h->res->path[rank];

	memcpy(p, body, sizeof(*p));
	printable(p->rx, sizeof(p->rx));
	printable(p->tx, sizeof(p->tx));
	printable(p->rx_reason, sizeof(p->rx_reason));
	printable(p->tx_reason, sizeof(p->tx_reason));
	h->res->has_path[rank] = true;
}

void hub_take(struct hub *h, int rank, const struct msg_head *head,
	      const void *body)
{
	struct member *m = &h->m[rank];

	if (head->type != MSG_GATHER && head->len != msg_max(head->type)) {
		hub_fail(h, EXIT_FAIL, "rank %d sent a malformed message",
			 rank);
		return;
	}
	switch (head->type) {
	case MSG_INFO:
		take_info(h, rank, body);
		break;
	case MSG_GATHER:
		memcpy(m->gather, body, head->len);
		m->gather_len = head->len;
		m->gathering = true;
		gather_reply(h);
		break;
	case MSG_ROW:
		take_row(h, rank, body);
		break;
	case MSG_PATH:
		take_path(h, rank, body);
		break;
	case MSG_FAULT:
		fault(h);
		break;
	case MSG_ERROR:
		take_error(h, rank, body);
		break;
	case MSG_DONE:
		m->done = true;
		if (!m->pid)
			m->over = true;
		break;
	}
}

/* What the survivors of --kill-rank or --break-cmd said, and how soon. */
static void judge_kill(struct hub *h)
{
	struct result *res = h->res;
	int i;

	if ((h->o->kill_rank < 0 && !h->o->break_cmd) || res->code)
		return;
	if (!h->killed_at) {
		hub_fail(h, EXIT_FAIL, "all ranks ended before the fault");
		return;
	}
	for (i = 0; i < h->o->ranks; i++) {
		struct error_report *e = &h->m[i].error;

		res->error_ms[i] = -1;
		if (i == h->o->kill_rank)
			continue;
		if (e->code) {
			res->error_ms[i] = (e->when_ns - h->killed_at) * 1e-6;
			snprintf(res->survivor[i], sizeof(res->survivor[i]),
				 "%s", e->text);
		}
		if (!e->code || res->error_ms[i] > h->o->expect_error_ms)
			hub_fail(h, EXIT_FAIL,
				 "rank %d saw no error within %d "
				 "ms of the fault",
				 i, h->o->expect_error_ms);
		else if (!h->m[i].over)
			hub_fail(h, EXIT_FAIL,
				 "rank %d saw the error, but its "
				 "close or finalize did not return",
				 i);
	}
}

/* Each rank's path in one direction; in a stream rank 0 sends to the other. */
static void judge_path(struct hub *h, const char *want, bool recv)
{
	int i;

	if (!want || h->res->code || h->killed_at)
		return;
	for (i = 0; i < h->o->ranks; i++) {
		const struct path_report *p = &h->res->path[i];
		const char *reason = recv ? p->rx_reason : p->tx_reason;
		const char *got = recv ? p->rx : p->tx;

		if (h->o->mode == MODE_BANDWIDTH && (i == 0) == recv)
			continue;
		if (strcmp(got, want))
			hub_fail(h, EXIT_FAIL,
				 "rank %d %s by \"%s\", "
				 "not \"%s\" (--require-%s)%s%s",
				 i, recv ? "received" : "sent",
				 got[0] ? got : "a path unknown", want,
				 recv ? "rx" : "tx", reason[0] ? ": " : "",
				 reason);
	}
}

void hub_judge(struct hub *h)
{
	judge_kill(h);
	judge_path(h, h->o->require_rx, true);
	judge_path(h, h->o->require_tx, false);
}
