// SPDX-License-Identifier: BSD-3-Clause
/*
 * gather_cuda.c - the gather engine of a GPU; see gather.h, and gather_kernel.cu for
 * what runs there.
 *
 * What connections submit is added to a batch in host memory that the GPU reads.
 * While fewer than two batches are on the GPU the next is launched at once; else it
 * grows until one of them is done, whoever asks for that. So a single receive waits
 * for nothing, and under load many go in one launch. Batches are done in order: a
 * ticket is a batch's number, which its kernel writes to host memory at its end.
 *
 * Nothing here waits for the GPU, allocates or synchronises once it is made: kernels
 * of NCCL are running that wait for what is gathered, and such a call could wait for
 * them. The stream is made, and the kernel loaded by a first empty batch, before
 * there is traffic.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "gather.h"
#include "gather_core.h"
#include "gather_image.h"
#include "gather_work.h"
#include "gpu.h"
#include "sock.h"

#define SLOTS	    8u
#define STAGE_BYTES ((size_t)2 << 20)
/* Pieces of one list, and of a batch. */
#define LIST_PIECES \
	(GATHER_LIST_OPS + (unsigned int)(GATHER_LIST_BYTES / GATHER_PIECE_MAX))
#define WORK_MAX 8192u
/* Less room than this for a receive is not worth a call. */
#define LEAST_BYTES ((size_t)64 << 10)
/* Batches on the GPU from which on the next one may grow. */
#define AHEAD 2
/* Calls between looks at the clock, and when the GPU is asked what is wrong. */
#define LOOK_CALLS 1024u
#define STUCK_MS   500
#define LATE_MS	   10000
#define WAIT_MS	   5000

struct slot {
	struct gather_work *work;
	uint8_t *stage;
	uint32_t count;
	size_t staged, bytes;
};

struct engine {
	struct gather_engine base;
	struct gpu *gpu;
	void *module, *function, *stream;
	uint64_t arrived; /* a word of device memory */
	uint64_t *done;	  /* the number of the last batch that is done */
	struct gather_work *work;
	uint8_t *stage;
	pthread_mutex_t lock; /* for what follows */
	struct slot slot[SLOTS];
	uint64_t launched; /* batches; the next one is being filled */
	uint64_t stuck_at; /* what was done when it was last looked at */
	uint64_t moved_at, look_at;
	bool late; /* and said so */
	unsigned int calls;
	int err; /* sticky; atomic */
};

static struct engine *of(struct gather_engine *e)
{
	return (struct engine *)e; /* its first member */
}

static uint64_t done_now(const struct engine *e)
{
	return __atomic_load_n(e->done, __ATOMIC_ACQUIRE);
}

static int error_of(const struct engine *e)
{
	return __atomic_load_n(&e->err, __ATOMIC_ACQUIRE);
}

static int failed(struct engine *e, int cuda_error, const char *what)
{
	if (!error_of(e))
		WARN("%s on %s: %s", what, e->gpu->name, cuda_text(cuda_error));
	__atomic_store_n(&e->err, -EIO, __ATOMIC_RELEASE);
	return -EIO;
}

static struct slot *filling(struct engine *e)
{
	return &e->slot[(e->launched + 1) % SLOTS];
}

/* Has the batch that was in it before left it? */
static bool is_free(const struct engine *e)
{
	return done_now(e) + SLOTS > e->launched;
}

static int launch(struct engine *e)
{
	struct slot *s = filling(e);
	uint64_t ticket = e->launched + 1;
	uint64_t work = (uintptr_t)s->work, done = (uintptr_t)e->done;
	void *args[] = { &work, &s->count, &e->arrived, &done, &ticket };
	unsigned int blocks =
		gather_blocks(s->count, s->bytes, e->gpu->multiprocessors);
	struct gpu_scope scope;
	int rc = gpu_enter(e->gpu, &scope);

	rc = rc	   ?:
		     e->gpu->cuda->launch(e->function, blocks, 1, 1,
					  GATHER_THREADS, 1, 1, 0, e->stream,
					  args, NULL);
	gpu_leave(&scope);
	if (rc)
		return failed(e, rc, "starting to gather");
	e->launched = ticket;
	s = filling(e);
	s->count = 0;
	s->staged = 0;
	s->bytes = 0;
	return 0;
}

/* Launch what waits, if the GPU has little to do. */
static int kick(struct engine *e)
{
	if (!filling(e)->count || e->launched >= done_now(e) + AHEAD)
		return 0;
	return launch(e);
}

static bool has_room(const struct slot *s, size_t want)
{
	size_t least = want < LEAST_BYTES ? want : LEAST_BYTES;

	return s->count + LIST_PIECES <= WORK_MAX &&
	       STAGE_BYTES - s->staged >= least;
}

static int cuda_reserve(struct gather_engine *base, struct gather_room *room)
{
	struct engine *e = of(base);
	struct slot *s;
	int rc = error_of(e);

	if (rc)
		return rc;
	/* Another thread is filling the batch: it will not be long. */
	if (pthread_mutex_trylock(&e->lock))
		return -EAGAIN;
	rc = -EAGAIN;
	if (!is_free(e))
		goto err;
	if (!has_room(filling(e), room->bytes)) {
		rc = launch(e);
		if (!rc && !is_free(e))
			rc = -EAGAIN;
		if (rc)
			goto err;
	}
	s = filling(e);
	room->stage = s->stage + s->staged;
	if (room->bytes > STAGE_BYTES - s->staged)
		room->bytes = STAGE_BYTES - s->staged;
	return 0;
err:
	pthread_mutex_unlock(&e->lock);
	return rc;
}

static void cuda_release(struct gather_engine *base)
{
	pthread_mutex_unlock(&of(base)->lock);
}

static int add(struct slot *s, const struct gather_list *l,
	       const struct gather_op *op)
{
	uint64_t dst = (uintptr_t)op->dst;
	uint64_t src = (uintptr_t)(op->host ? op->host : l->pool + op->offset);

	for (size_t at = 0, n; at < op->len; at += n) {
		n = op->len - at;
		n = n < GATHER_PIECE_MAX ? n : GATHER_PIECE_MAX;
		if (s->count == WORK_MAX)
			return -ENOSPC;
		s->work[s->count++] = (struct gather_work){
			.dst = dst + at,
			.src = src + at,
			.len = n,
		};
	}
	s->bytes += op->len;
	return 0;
}

static int cuda_submit(struct gather_engine *base, const struct gather_list *l,
		       uint64_t *ticket)
{
	struct engine *e = of(base);
	struct slot *s = filling(e);
	uint32_t count = s->count;
	size_t bytes = s->bytes;
	int rc = 0;

	for (size_t i = 0; !rc && i < l->count; i++)
		rc = add(s, l, &l->op[i]);
	if (rc) {
		s->count = count;
		s->bytes = bytes;
	} else if (s->count == count) {
		/* Nothing to do: nothing to wait for. */
		*ticket = 0;
	} else {
		/* What the next list stages begins where vectors do. */
		s->staged += (l->staged + 15) & ~(size_t)15;
		s->staged = s->staged < STAGE_BYTES ? s->staged : STAGE_BYTES;
		*ticket = e->launched + 1;
		rc = kick(e);
	}
	pthread_mutex_unlock(&e->lock);
	return rc;
}

/* Nothing has been done for a while: is the GPU at work, or beyond help? */
static void look(struct engine *e, uint64_t done)
{
	uint64_t now = now_ms();
	struct gpu_scope scope;
	int rc;

	if (done != e->stuck_at || e->launched == done) {
		e->stuck_at = done;
		e->moved_at = now;
		e->look_at = now + STUCK_MS;
		return;
	}
	if (now < e->look_at)
		return;
	e->look_at = now + STUCK_MS;
	rc = gpu_enter(e->gpu, &scope);
	rc = rc ?: e->gpu->cuda->stream_query(e->stream);
	gpu_leave(&scope);
	if (rc == CUDA_ERROR_NOT_READY && now > e->moved_at + LATE_MS &&
	    !e->late) {
		e->late = true;
		WARN("what is to be gathered on %s has been waiting for %d s; "
		     "is CUDA_DEVICE_MAX_CONNECTIONS=1 set, so that it has to "
		     "wait for kernels of NCCL that wait for it?",
		     e->gpu->name, LATE_MS / 1000);
	}
	if (rc && rc != CUDA_ERROR_NOT_READY)
		failed(e, rc, "gathering");
	else if (!rc && done_now(e) < e->launched)
		failed(e, CUDA_ERROR_UNKNOWN, "gathering ended without a word");
}

static void set_stuck(const struct engine *e, bool stuck)
{
	__atomic_store_n(&e->gpu->stuck, stuck, __ATOMIC_RELEASE);
}

static uint64_t cuda_done(struct gather_engine *base, int *err)
{
	struct engine *e = of(base);
	uint64_t done = done_now(e);

	*err = error_of(e);
	if (*err || pthread_mutex_trylock(&e->lock))
		return done;
	if (gpu_is_stuck(e->gpu) && done == e->launched)
		set_stuck(e, false);
	kick(e);
	if (++e->calls % LOOK_CALLS == 0)
		look(e, done);
	pthread_mutex_unlock(&e->lock);
	return done;
}

static const struct gather_ops gather_cuda = {
	.name = "cuda",
	.reserve = cuda_reserve,
	.release = cuda_release,
	.submit = cuda_submit,
	.done = cuda_done,
};

/* Is a batch on the GPU, though the engine has failed? */
static bool is_running(const struct engine *e)
{
	struct gpu_scope scope;
	int rc = gpu_enter(e->gpu, &scope);

	rc = rc ?: e->gpu->cuda->stream_query(e->stream);
	gpu_leave(&scope);
	return rc == CUDA_ERROR_NOT_READY;
}

bool gather_wait(struct gather_engine *base, uint64_t ticket)
{
	uint64_t until = now_ms() + WAIT_MS, done, seen = 0;
	struct engine *e;
	int err = 0;

	while ((done = gather_done(base, &err)) < ticket) {
		/* Only that of a GPU fails, or is ever waited for. */
		e = of(base);
		if (err && !is_running(e))
			return true;
		if (gpu_is_stuck(e->gpu))
			return false;
		if (done != seen) {
			seen = done;
			until = now_ms() + WAIT_MS;
		} else if (now_ms() > until) {
			WARN("%s does not come to an end with gathering: "
			     "memory that it may be using is not freed",
			     e->gpu->name);
			set_stuck(e, true);
			return false;
		}
		sched_yield();
	}
	return true;
}

/* ---- making and freeing ---------------------------------------------------- */

static int make_stream(struct engine *e)
{
	const struct cuda *c = e->gpu->cuda;
	int least, greatest = 0, rc;

	rc = c->ctx_priorities(&least, &greatest);
	return rc    ?:
		       c->stream_create(&e->stream, CUDA_STREAM_NON_BLOCKING,
					greatest);
}

static int make_memory(struct engine *e)
{
	const struct gpu *g = e->gpu;
	int rc = g->cuda->mem_alloc(&e->arrived, sizeof(uint32_t));

	if (rc)
		return rc;
	e->work = gpu_host_alloc(g, SLOTS * WORK_MAX * sizeof(*e->work));
	e->stage = gpu_host_alloc(g, SLOTS * STAGE_BYTES);
	e->done = gpu_host_alloc(g, sizeof(*e->done));
	if (!e->work || !e->stage || !e->done)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (unsigned int i = 0; i < SLOTS; i++) {
		e->slot[i].work = e->work + i * WORK_MAX;
		e->slot[i].stage = e->stage + i * STAGE_BYTES;
	}
	/*
	 * By our stream: the default one may wait for others. From where nothing
	 * but 0 is until the first batch is done.
	 */
	return g->cuda->mem_copy_async(e->arrived, (uintptr_t)e->done,
				       sizeof(uint32_t), e->stream);
}

static int make(struct engine *e)
{
	const struct cuda *c = e->gpu->cuda;
	int rc = c->module_load(&e->module, gather_image(NULL));

	rc = rc ?: c->module_function(&e->function, e->module, GATHER_KERNEL);
	rc = rc ?: make_stream(e);
	return rc ?: make_memory(e);
}

static void unmake(struct engine *e)
{
	const struct gpu *g = e->gpu;
	struct gpu_scope scope;

	if (gpu_is_stuck(g))
		return;
	if (!gpu_enter(g, &scope)) {
		if (e->stream)
			g->cuda->stream_destroy(e->stream);
		if (e->arrived)
			g->cuda->mem_free(e->arrived);
		if (e->module)
			g->cuda->module_unload(e->module);
	}
	gpu_leave(&scope);
	gpu_host_free(g, e->work);
	gpu_host_free(g, e->stage);
	gpu_host_free(g, e->done);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

int gather_cuda_new(struct gpu *g, struct gather_engine **out, struct why *w)
{
	struct engine *e = calloc(1, sizeof(*e));
	struct gpu_scope scope;
	int rc;

	*out = NULL;
	if (!e)
		return why(w, -ENOMEM, "out of memory");
	e->base.ops = &gather_cuda;
	e->gpu = g;
	pthread_mutex_init(&e->lock, NULL);
	rc = gpu_enter(g, &scope);
	rc = rc ?: make(e);
	gpu_leave(&scope);
	if (rc)
		why(w, cuda_errno(rc), "gathering on %s cannot be set up: %s",
		    g->name, cuda_text(rc));
	/* An empty batch, so that the kernel is loaded before it is needed. */
	else if (launch(e))
		rc = why(w, -EIO, "the gather kernel does not start on %s",
			 g->name);
	if (rc) {
		unmake(e);
		return rc < 0 ? rc : cuda_errno(rc);
	}
	*out = &e->base;
	return 0;
}

void gather_cuda_free(struct gather_engine *base)
{
	struct engine *e;

	if (!base)
		return;
	e = of(base);
	gather_wait(base, e->launched);
	unmake(e);
}
