// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_rank.c - a rank process: its word with the launcher, its GPU, its
 * communicator, and the first thing that went wrong. What it does with them is
 * nccl_allreduce_modes.c's.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "nccl_allreduce.h"

#define POLLS_OF_A_LOOK 256 /* of a stream, before errors are looked for */

/* Keeps the first error only; returns `code` for the caller to hand up. */
int job_fail(struct rank_state *r, int code, const char *fmt, ...)
{
	va_list ap;

	if (r->error.code)
		return r->error.code;
	r->error.code = code;
	va_start(ap, fmt);
	vsnprintf(r->error.text, sizeof(r->error.text), fmt, ap);
	va_end(ap);
	return code;
}

/* " at allreduce float 1048576", if it is known where. */
static const char *where(const struct rank_state *r)
{
	static char text[96];

	text[0] = '\0';
	if (r->step)
		snprintf(text, sizeof(text), " at %s %s of %zu bytes",
			 coll_name(r->step->coll), r->step->type->name,
			 r->step->bytes);
	return text;
}

int cuda_fail(struct rank_state *r, const char *what, int error)
{
	return job_fail(r, EXIT_FAIL, "%s%s: %s", what, where(r),
			cuda_error(&r->libs, error));
}

int nccl_fail(struct rank_state *r, const char *what, int result)
{
	const char *text = r->libs.nccl.error_string(result);
	const char *last = r->libs.nccl.last_error(NULL);

	return job_fail(r, EXIT_FAIL, "%s%s: %s (%d)%s%.500s", what, where(r),
			text ? text : "?", result, last && *last ? ": " : "",
			last ? last : "");
}

static int boot_fail(struct rank_state *r, int rc)
{
	return job_fail(r, EXIT_FAIL, "%s%s: %s",
			rc == -ETIMEDOUT ? "the other ranks did not follow" :
					   "the launcher is gone",
			where(r), strerror(-rc));
}

int job_send(struct rank_state *r, enum job_msg type, const void *body,
	     size_t len)
{
	struct job_head h = { JOB_MAGIC, type, len };
	int rc = io_full(r->fd, &h, sizeof(h), true, r->deadline);

	if (!rc && len)
		rc = io_full(r->fd, (void *)body, len, true, r->deadline);
	return rc ? boot_fail(r, rc) : 0;
}

/* All ranks give `len` bytes; each gets those of all, in order of rank. */
int job_gather(struct rank_state *r, const void *mine, size_t len, void *all)
{
	struct job_head h;
	int rc = job_send(r, JOB_GATHER, mine, len);

	if (rc)
		return rc;
	rc = io_full(r->fd, &h, sizeof(h), false, r->deadline);
	if (!rc && (h.magic != JOB_MAGIC || h.len != len * r->ranks))
		rc = -EPROTO;
	if (!rc && h.len)
		rc = io_full(r->fd, all, h.len, false, r->deadline);
	return rc ? boot_fail(r, rc) : 0;
}

int job_barrier(struct rank_state *r)
{
	return job_gather(r, NULL, 0, NULL);
}

static int join(struct rank_state *r)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint32_t hello = r->rank;

	if (strlen(r->j->as_socket) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, r->j->as_socket);
	r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->fd < 0 || connect(r->fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	return job_send(r, JOB_HELLO, &hello, sizeof(hello));
}

/* Loads both libraries, takes the GPU, and says who this is. */
static int device_open(struct rank_state *r)
{
	struct rank_info info = { .pid = getpid() };
	char why[512];
	int rc;

	if (!cuda_load(&r->libs, &info.devices, why, sizeof(why)) ||
	    !nccl_load(&r->libs, r->j->nccl, why, sizeof(why)))
		return job_fail(r, EXIT_SKIP, "%s", why);
	if (r->j->mode == JOB_GRAPH && r->libs.missing_graph[0])
		return job_fail(r, EXIT_SKIP,
				"the CUDA driver captures no graphs: no %s",
				r->libs.missing_graph);
	rc = r->libs.cu.device_get(&r->device, r->rank % info.devices);
	if (!rc)
		rc = r->libs.cu.primary_retain(&r->ctx, r->device);
	if (!rc)
		rc = r->libs.cu.ctx_push(r->ctx);
	if (!rc)
		rc = r->libs.cu.stream_create(&r->stream,
					      CUDA_STREAM_NON_BLOCKING, 0);
	if (rc)
		return cuda_fail(r, "taking the GPU", rc);
	info.device = r->rank % info.devices;
	r->libs.cu.device_name(info.name, sizeof(info.name), r->device);
	r->libs.cu.device_pci_id(info.pci, sizeof(info.pci), r->device);
	r->libs.cu.driver_version(&info.driver);
	r->libs.nccl.get_version(&info.nccl);
	gethostname(info.host, sizeof(info.host) - 1);
	return job_send(r, JOB_INFO, &info, sizeof(info));
}

int comm_open(struct rank_state *r)
{
	struct nccl_id id = { 0 }, all[JOB_RANKS];
	int rc = r->rank ? NCCL_OK : r->libs.nccl.get_id(&id);

	if (rc)
		return nccl_fail(r, "ncclGetUniqueId", rc);
	rc = job_gather(r, &id, sizeof(id), all);
	if (rc)
		return rc;
	rc = r->libs.nccl.init_rank(&r->comm, r->ranks, all[0], r->rank);
	return rc ? nccl_fail(r, "ncclCommInitRank", rc) : 0;
}

int comm_close(struct rank_state *r)
{
	int rc = r->libs.nccl.destroy(r->comm);

	r->comm = NULL;
	return rc ? nccl_fail(r, "ncclCommDestroy", rc) : 0;
}

/* What is wrong beside the stream that does not end; 0: nothing yet. */
static int look_around(struct rank_state *r, const char *what)
{
	struct pollfd p = { .fd = r->fd, .events = POLLRDHUP };
	int rc, result = NCCL_OK;

	rc = r->libs.nccl.async_error(r->comm, &result);
	if (rc || (result && result != NCCL_IN_PROGRESS))
		return nccl_fail(r, what, rc ? rc : result);
	if (poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP))
		return boot_fail(r, -ECONNRESET);
	if (now_ns() > r->deadline)
		return job_fail(r, EXIT_FAIL,
				"%s%s: no end after %d s (--timeout)", what,
				where(r), r->j->timeout_s);
	return 0;
}

/*
 * Waits for what is on the stream. A network that failed is told by NCCL alone:
 * its kernels then wait for ever.
 */
int stream_wait(struct rank_state *r, const char *what)
{
	unsigned int n = 0;
	int rc;

	for (;;) {
		rc = r->libs.cu.stream_query(r->stream);
		if (rc != CUDA_ERROR_NOT_READY)
			return rc ? cuda_fail(r, what, rc) : 0;
		/* The network's threads need a processor. */
		sched_yield();
		if (++n % POLLS_OF_A_LOOK)
			continue;
		rc = look_around(r, what);
		if (rc)
			return rc;
	}
}

static int work(struct rank_state *r)
{
	int rc = device_open(r);

	if (rc)
		return rc;
	switch (r->j->mode) {
	case JOB_RECREATE:
		rc = mode_recreate(r);
		break;
	case JOB_ABORT:
		rc = mode_abort(r);
		break;
	default:
		rc = mode_table(r);
		break;
	}
	if (rc)
		return rc;
	memory_close(r);
	r->libs.cu.stream_destroy(r->stream);
	r->libs.cu.ctx_pop(&r->ctx);
	r->libs.cu.primary_release(r->device);
	return job_send(r, JOB_DONE, NULL, 0);
}

/*
 * The process that was started with --as-rank; returns its exit status. After a
 * failure nothing is tidied up: that may never return.
 */
int job_rank(const struct job *j)
{
	static struct rank_state r;
	int rc;

	/* A wrapper may be gone, or its thread, when the rank goes on. */
	if (!j->wrap)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	r.j = j;
	r.setting = &j->settings[j->as_setting];
	r.rank = j->as_rank;
	r.ranks = j->ranks;
	r.deadline = now_ns() + j->timeout_s * 1000000000ll;
	rc = join(&r);
	if (rc) {
		complain("rank %d cannot reach its launcher: %s", r.rank,
			 rc < 0 ? strerror(-rc) : r.error.text);
		return EXIT_FAIL;
	}
	rc = work(&r);
	if (!rc)
		return EXIT_OK;
	r.deadline = now_ns() + 1000000000ll;
	job_send(&r, JOB_ERROR, &r.error, sizeof(r.error));
	fflush(NULL);
	_exit(rc);
}
