// SPDX-License-Identifier: BSD-3-Clause
/*
 * stream.c - streams of the stand-in for the CUDA driver: each has a thread, which
 * does what it is handed in order, at some time later. Copies and kernels end up
 * here. The default stream of a context is made when it is first used; no other
 * waits for it.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

enum what { COPY, SET, GATHER };

struct operation {
	struct operation *next;
	uint64_t number;
	enum what what;
	uint64_t dst, src;
	size_t bytes;
	unsigned char value;
	struct gather_args gather;
};

struct stream {
	struct stream *next;
	struct context *ctx;
	bool is_default, ending; /* ending: no longer the caller's */
	pthread_cond_t wake;
	struct operation *first, *last; /* the first is at work */
	uint64_t random;
};

uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

void context_fault(struct context *ctx, const char *format, ...)
{
	char text[200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	complain("illegal address on device %d: %s", ctx->device, text);
	ctx->error = CUDA_ERROR_ILLEGAL_ADDRESS;
}

/* ---- the thread ------------------------------------------------------------ */

void copy(uint64_t dst, uint64_t src, size_t bytes)
{
	size_t n;
	void *to, *from;

	for (; bytes; bytes -= n, dst += n, src += n) {
		n = bytes;
		to = place_cpu(dst, &n);
		from = place_cpu(src, &n);
		memmove(to, from, n);
	}
}

static void set(uint64_t dst, unsigned char value, size_t bytes)
{
	size_t n;
	void *to;

	for (; bytes; bytes -= n, dst += n) {
		n = bytes;
		to = place_cpu(dst, &n);
		memset(to, value, n);
	}
}

static void run(struct stream *s, const struct operation *op)
{
	if (op->what == GATHER) {
		gather_run(s->ctx, &op->gather, &s->random);
		return;
	}
	/* It was there when the operation was handed over. */
	if (place_copy(op->dst, op->bytes) == PLACE_BAD ||
	    (op->what == COPY && place_copy(op->src, op->bytes) == PLACE_BAD)) {
		context_fault(s->ctx, "%s of %zu bytes: memory is gone",
			      op->what == COPY ? "copy" : "set", op->bytes);
		return;
	}
	if (op->what == COPY)
		copy(op->dst, op->src, op->bytes);
	else
		set(op->dst, op->value, op->bytes);
}

static void delay(struct stream *s)
{
	uint64_t us = random_next(&s->random) % (fake.set.delay_us + 1);

	pthread_mutex_unlock(&fake.lock);
	if (us)
		usleep((useconds_t)us);
	pthread_mutex_lock(&fake.lock);
	while (fake.stalled)
		pthread_cond_wait(&fake.done, &fake.lock);
}

static void stream_free(struct stream *s)
{
	struct stream **link = &fake.streams;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	pthread_cond_destroy(&s->wake);
	free(s);
}

static void *stream_main(void *arg)
{
	struct stream *s = arg;
	struct operation *op;

	pthread_mutex_lock(&fake.lock);
	for (;;) {
		while (!s->first && !s->ending)
			pthread_cond_wait(&s->wake, &fake.lock);
		op = s->first;
		if (!op)
			break;
		delay(s);
		/* Nothing runs any more behind what was illegal. */
		if (!s->ctx->error)
			run(s, op);
		s->first = op->next;
		free(op);
		pthread_cond_broadcast(&fake.done);
	}
	stream_free(s);
	pthread_mutex_unlock(&fake.lock);
	return NULL;
}

/* ---- what is handed to it --------------------------------------------------- */

/* Signals are for the threads of the program. */
static int start(struct stream *s)
{
	pthread_attr_t detached;
	sigset_t all, old;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, &detached, stream_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&detached);
	return rc;
}

static struct stream *stream_new(struct context *ctx, bool is_default)
{
	static uint64_t made;
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ctx = ctx;
	s->is_default = is_default;
	s->random = ++made * 0x9e3779b97f4a7c15;
	pthread_cond_init(&s->wake, NULL);
	s->next = fake.streams;
	fake.streams = s;
	if (start(s)) {
		stream_free(s);
		return NULL;
	}
	return s;
}

static bool is_stream(const struct stream *handle)
{
	const struct stream *s;

	for (s = fake.streams; s; s = s->next)
		if (s == handle)
			return !s->ending && !s->is_default;
	return false;
}

/* A stream of the current context; NULL is its default one. */
static int resolve(void *handle, struct stream **s)
{
	struct context *ctx = current();

	*s = handle;
	if (handle)
		return is_stream(*s) && (*s)->ctx == ctx ?
			       0 :
			       CUDA_ERROR_INVALID_HANDLE;
	if (!ctx->stream)
		ctx->stream = stream_new(ctx, true);
	*s = ctx->stream;
	return *s ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}

static int submit(void *handle, const struct operation *what)
{
	struct operation *op = malloc(sizeof(*op));
	struct stream *s;
	int rc = op ? resolve(handle, &s) : CUDA_ERROR_OUT_OF_MEMORY;

	if (rc) {
		free(op);
		return rc;
	}
	*op = *what;
	op->next = NULL;
	op->number = ++fake.submitted;
	if (s->first)
		s->last->next = op;
	else
		s->first = op;
	s->last = op;
	pthread_cond_signal(&s->wake);
	return 0;
}

int stream_gather(void *stream, const struct gather_args *args)
{
	return submit(stream,
		      &(struct operation){ .what = GATHER, .gather = *args });
}

/* Has a stream, or any if NULL, something to do that is not younger than that? A
 * stream that has gone meanwhile has done it all. */
static bool is_busy(const struct stream *only, uint64_t number)
{
	const struct stream *s;

	for (s = fake.streams; s; s = s->next)
		if ((!only || s == only) && s->first &&
		    s->first->number <= number)
			return true;
	return false;
}

static void wait_for(const struct stream *only)
{
	uint64_t number = fake.submitted;

	while (is_busy(only, number))
		pthread_cond_wait(&fake.done, &fake.lock);
}

void streams_wait(void)
{
	wait_for(NULL);
}

static void stream_end(struct stream *s)
{
	s->ending = true;
	pthread_cond_signal(&s->wake);
}

unsigned int streams_end(struct context *ctx)
{
	unsigned int left = 0;
	struct stream *s;

	for (s = fake.streams; s; s = s->next) {
		if (s->ctx != ctx || s->ending)
			continue;
		left += !s->is_default;
		stream_end(s);
	}
	ctx->stream = NULL;
	return left;
}

unsigned int streams_left(void)
{
	unsigned int left = 0;
	const struct stream *s;

	for (s = fake.streams; s; s = s->next)
		left += !s->ending && !s->is_default;
	return left;
}

/* ---- the driver's calls ------------------------------------------------------ */

int cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
	ENTER(cuCtxGetStreamPriorityRange);

	if (least)
		*least = 0;
	if (greatest)
		*greatest = -5;
	return 0;
}

int cuStreamCreateWithPriority(void **stream, unsigned int flags, int priority)
{
	ENTER(cuStreamCreateWithPriority);

	(void)priority; /* one that is out of range is brought into it */
	if (!stream || flags & ~(unsigned int)CUDA_STREAM_NON_BLOCKING)
		return CUDA_ERROR_INVALID_VALUE;
	if (!flags) {
		complain("a stream that waits for the default one: work of the "
			 "application would hold it up");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	*stream = stream_new(current(), false);
	return *stream ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}

int cuStreamDestroy_v2(void *stream)
{
	ENTER(cuStreamDestroy_v2);

	if (!is_stream(stream))
		return CUDA_ERROR_INVALID_HANDLE;
	stream_end(stream);
	return 0;
}

int cuStreamQuery(void *stream)
{
	struct stream *s;
	ENTER(cuStreamQuery);

	rc = resolve(stream, &s);
	if (!rc && s->first)
		rc = CUDA_ERROR_NOT_READY;
	return rc;
}

int cuStreamSynchronize(void *stream)
{
	struct context *ctx;
	struct stream *s;
	ENTER(cuStreamSynchronize);

	ctx = current();
	rc = resolve(stream, &s);
	if (rc)
		return rc;
	wait_for(s);
	return ctx->error;
}

/* Those of pageable memory are done when the call returns, by the stream as well:
 * the driver has a buffer of its own for some of them. */
static int copy_submit(void *stream, const struct operation *op, bool wait)
{
	struct context *ctx = current();
	enum place dst = place_copy(op->dst, op->bytes);
	enum place src = place_copy(op->src, op->bytes);
	int rc;

	if (!op->bytes)
		return 0;
	if (dst == PLACE_BAD || src == PLACE_BAD)
		return CUDA_ERROR_INVALID_VALUE;
	rc = submit(stream, op);
	if (rc || (!wait && dst != PLACE_PLAIN && src != PLACE_PLAIN))
		return rc;
	wait_for(stream ?: ctx->stream);
	return ctx->error;
}

/* From device to device the driver does not wait either. */
int cuMemcpy(uint64_t dst, uint64_t src, size_t bytes)
{
	const struct operation op = {
		.what = COPY, .dst = dst, .src = src, .bytes = bytes
	};
	bool wait;
	ENTER(cuMemcpy);

	wait = place_copy(dst, bytes) != PLACE_DEVICE ||
	       place_copy(src, bytes) != PLACE_DEVICE;
	return copy_submit(NULL, &op, wait);
}

int cuMemcpyAsync(uint64_t dst, uint64_t src, size_t bytes, void *stream)
{
	const struct operation op = {
		.what = COPY, .dst = dst, .src = src, .bytes = bytes
	};
	ENTER(cuMemcpyAsync);

	return copy_submit(stream, &op, false);
}

/* Not waited for, unless it is host memory. */
int cuMemsetD8_v2(uint64_t dst, unsigned char value, size_t bytes)
{
	const struct operation op = {
		.what = SET, .dst = dst, .bytes = bytes, .value = value
	};
	struct context *ctx;
	enum place place;
	ENTER(cuMemsetD8_v2);

	ctx = current();
	place = place_copy(dst, bytes);
	if (!bytes)
		return 0;
	if (place != PLACE_DEVICE && place != PLACE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	rc = submit(NULL, &op);
	if (rc || place == PLACE_DEVICE)
		return rc;
	wait_for(ctx->stream);
	return ctx->error;
}
