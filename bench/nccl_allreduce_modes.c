// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_modes.c - what a rank does with its communicator: the table, one
 * communicator after the other, and an operation that is aborted.
 */
#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "nccl_allreduce.h"

static struct step *steps_alloc(struct rank_state *r, int *n)
{
	struct step *steps;

	*n = job_steps(r->j, NULL, 0);
	steps = calloc(*n, sizeof(*steps));
	if (steps)
		job_steps(r->j, steps, *n);
	else
		job_fail(r, EXIT_FAIL, "no memory for %d steps", *n);
	return steps;
}

int mode_table(struct rank_state *r)
{
	struct step *steps;
	int n, i, rc;

	steps = steps_alloc(r, &n);
	if (!steps)
		return r->error.code;
	rc = memory_open(r, steps, n);
	if (!rc)
		rc = comm_open(r);
	for (i = 0; !rc && i < n; i++) {
		struct rank_row row = { 0 };

		rc = step_run(r, &steps[i], &row);
		if (!rc)
			rc = job_send(r, JOB_ROW, &row, sizeof(row));
	}
	if (!rc)
		rc = comm_close(r);
	free(steps);
	return rc;
}

static int entries(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n > 3 ? n - 3 : 0; /* ".", ".." and this descriptor */
}

/* Each communicator runs the smallest and the largest step of the table. */
int mode_recreate(struct rank_state *r)
{
	struct step *steps;
	int64_t start;
	int n, i, rc;

	steps = steps_alloc(r, &n);
	if (!steps)
		return r->error.code;
	rc = memory_open(r, steps, n);
	for (i = 0; !rc && i < r->j->communicators; i++) {
		struct rank_row row = { 0 };
		double init;

		start = now_ns();
		rc = comm_open(r);
		init = (now_ns() - start) * 1e-3;
		if (!rc)
			rc = step_run(r, &steps[0], &row);
		if (!rc && n > 1)
			rc = step_run(r, &steps[n - 1], &row);
		start = now_ns();
		if (!rc)
			rc = comm_close(r);
		row.us[0] = init;
		row.us[1] = (now_ns() - start) * 1e-3;
		row.files = entries("/proc/self/fd");
		row.threads = entries("/proc/self/task") + 1;
		if (!rc)
			rc = job_send(r, JOB_ROW, &row, sizeof(row));
	}
	free(steps);
	return rc;
}

/*
 * A call that may never return, on a thread of its own. Not on the stack: if it
 * does not, the thread is still there when the process ends.
 */
struct call {
	struct rank_state *r;
	const struct step *step;
	pthread_t thread;
	int result;
	bool ended; /* set last, read by the rank's thread */
};

/* The operation that not all join: its call, or its stream, does not return. */
static void *operation_run(void *arg)
{
	struct call *c = arg;
	struct rank_state *r = c->r;

	/* What an aborted call or stream says is nothing to go by. */
	r->libs.cu.ctx_push(r->ctx);
	step_call(r, c->step, false);
	r->libs.cu.stream_sync(r->stream);
	r->libs.cu.ctx_pop(&(void *){ NULL });
	__atomic_store_n(&c->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/* From another thread than that of the operation, as a watchdog does. */
static void *abort_run(void *arg)
{
	struct call *c = arg;

	c->r->libs.cu.ctx_push(c->r->ctx);
	c->result = c->r->libs.nccl.abort(c->r->comm);
	c->r->libs.cu.ctx_pop(&(void *){ NULL });
	__atomic_store_n(&c->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static int call_start(struct call *c, struct rank_state *r,
		      const struct step *step, void *(*run)(void *))
{
	*c = (struct call){ .r = r, .step = step };
	return pthread_create(&c->thread, NULL, run, c) ?
		       job_fail(r, EXIT_FAIL, "cannot start a thread") :
		       0;
}

/* False if it has not ended by then. */
static bool call_join(struct call *c, int64_t until)
{
	while (!__atomic_load_n(&c->ended, __ATOMIC_ACQUIRE)) {
		if (now_ns() > until)
			return false;
		usleep(100);
	}
	return !pthread_join(c->thread, NULL);
}

static int64_t in_ms(int ms)
{
	return now_ns() + ms * 1000000ll;
}

static int abort_comm(struct rank_state *r)
{
	static struct call c;
	int rc = call_start(&c, r, NULL, abort_run);

	if (rc)
		return rc;
	if (!call_join(&c, in_ms(r->j->abort_within_ms)))
		return job_fail(r, EXIT_FAIL,
				"ncclCommAbort did not return within %d ms",
				r->j->abort_within_ms);
	return c.result ? nccl_fail(r, "ncclCommAbort", c.result) : 0;
}

/* A rank that joins the operation and gives it up. */
static int abort_stuck(struct rank_state *r, const struct step *step)
{
	static struct call c;
	char note[256];
	int64_t start;
	double ms;
	int rc;

	rc = call_start(&c, r, step, operation_run);
	if (rc)
		return rc;
	if (call_join(&c, in_ms(r->j->abort_after_ms)))
		return job_fail(r, EXIT_FAIL,
				"the operation ended without the last rank");
	start = now_ns();
	rc = abort_comm(r);
	ms = (now_ns() - start) * 1e-6;
	if (rc)
		return rc;
	if (!call_join(&c, in_ms(r->j->abort_within_ms)))
		return job_fail(r, EXIT_FAIL,
				"the operation did not end within %d ms of "
				"ncclCommAbort",
				r->j->abort_within_ms);
	snprintf(note, sizeof(note),
		 "ncclCommAbort in mid-operation returned after %.1f ms, the "
		 "operation ended %.1f ms after it was called",
		 ms, (now_ns() - start) * 1e-6);
	return job_send(r, JOB_NOTE, note, sizeof(note));
}

/* The last rank stays out, and gives its communicator up when the others have. */
static int abort_alone(struct rank_state *r)
{
	static const char note[256] =
		"stayed out of the operation, then ncclCommAbort";
	int rc = job_barrier(r);

	if (!rc)
		rc = abort_comm(r);
	return rc ? rc : job_send(r, JOB_NOTE, note, sizeof(note));
}

static int run_row(struct rank_state *r, const struct step *s)
{
	struct rank_row row = { 0 };
	int rc = step_run(r, s, &row);

	return rc ? rc : job_send(r, JOB_ROW, &row, sizeof(row));
}

/*
 * The largest step: once by all, so that everything is connected, once without the
 * last rank, and by all again with a new communicator.
 */
int mode_abort(struct rank_state *r)
{
	struct step *steps, *last;
	int n, rc;

	steps = steps_alloc(r, &n);
	if (!steps)
		return r->error.code;
	last = &steps[n - 1];
	rc = memory_open(r, steps, n);
	if (!rc)
		rc = comm_open(r);
	if (!rc)
		rc = run_row(r, last);
	if (!rc)
		rc = job_barrier(r);
	if (!rc && r->rank == r->ranks - 1) {
		rc = abort_alone(r);
	} else if (!rc) {
		rc = abort_stuck(r, last);
		if (!rc)
			rc = job_barrier(r);
	}
	if (!rc)
		rc = comm_open(r);
	if (!rc)
		rc = run_row(r, last);
	if (!rc)
		rc = comm_close(r);
	free(steps);
	return rc;
}
