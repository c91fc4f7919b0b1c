// SPDX-License-Identifier: BSD-3-Clause
/*
 * calls.c - what all calls of the stand-in for the CUDA driver have in common: what
 * each needs, counting, failing as told; and the functions of fakecuda.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

struct fake fake = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
};

#define ANYTIME 0x1  /* also before cuInit */
#define CONTEXT 0x2  /* needs a current context */
#define STICKY	0x4  /* fails when the current context is of no use any more */
#define UNSAFE	0x8  /* while another thread captures a stream in global mode */
#define SYNCS	0x10 /* waits for all that the GPU does */

static const unsigned int rules[CALLS] = {
	[CALL_cuInit] = ANYTIME,
	[CALL_cuDriverGetVersion] = ANYTIME,
	[CALL_cuGetErrorName] = ANYTIME,
	[CALL_cuGetErrorString] = ANYTIME,
	[CALL_cuCtxGetDevice] = CONTEXT,
	[CALL_cuCtxGetStreamPriorityRange] = CONTEXT | STICKY,
	[CALL_cuMemAlloc_v2] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuMemFree_v2] = CONTEXT | STICKY | UNSAFE | SYNCS,
	[CALL_cuMemcpy] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuMemcpyAsync] = CONTEXT | STICKY,
	[CALL_cuMemsetD8_v2] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuMemHostAlloc] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuMemFreeHost] = CONTEXT | STICKY | UNSAFE | SYNCS,
	[CALL_cuMemHostRegister_v2] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuMemHostUnregister] = CONTEXT | STICKY | UNSAFE | SYNCS,
	[CALL_cuPointerGetAttribute] = STICKY,
	[CALL_cuPointerSetAttribute] = STICKY,
	[CALL_cuMemAddressReserve] = STICKY | UNSAFE,
	[CALL_cuMemAddressFree] = STICKY | UNSAFE,
	[CALL_cuMemCreate] = STICKY | UNSAFE,
	[CALL_cuMemRelease] = STICKY | UNSAFE,
	[CALL_cuMemMap] = STICKY | UNSAFE,
	[CALL_cuMemUnmap] = STICKY | UNSAFE,
	[CALL_cuMemSetAccess] = STICKY | UNSAFE,
	[CALL_cuStreamCreateWithPriority] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuStreamDestroy_v2] = CONTEXT | STICKY,
	[CALL_cuStreamQuery] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuStreamSynchronize] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuModuleLoadData] = CONTEXT | STICKY | UNSAFE,
	[CALL_cuModuleUnload] = CONTEXT | STICKY | SYNCS,
	[CALL_cuModuleGetFunction] = CONTEXT | STICKY,
	[CALL_cuLaunchKernel] = CONTEXT | STICKY,
	[CALL_cuMemGetHandleForAddressRange] = CONTEXT | STICKY,
	[CALL_cuFlushGPUDirectRDMAWrites] = CONTEXT | STICKY,
};

#define NAME(member, symbol, params) #symbol,
static const char *const names[CALLS] = { CUDA_CALLS(NAME)
						  CUDA_CALLS_OPTIONAL(NAME) };
#undef NAME

enum call call_number(const char *symbol, size_t len)
{
	unsigned int i;

	for (i = 0; i < CALLS; i++)
		if (strlen(names[i]) == len && !memcmp(names[i], symbol, len))
			break;
	return (enum call)i;
}

void complain(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "fakecuda: %s\n", text);
}

/* A child has none of the threads, and perhaps a lock that nobody gives back. */
static bool is_child(void)
{
	pid_t owner = atomic_load(&fake.owner);

	return owner && owner != getpid();
}

static int told_to_fail(enum call call)
{
	const struct failure *f = fake.set.fail;
	unsigned int i;

	for (i = 0; i < fake.set.failures; i++, f++)
		if (f->call == call &&
		    (f->nth == fake.calls[call] ||
		     (f->onwards && f->nth < fake.calls[call])))
			return f->result;
	return 0;
}

/* What the call asks of its own thread. */
static int needs(unsigned int rule)
{
	const struct context *ctx = current();

	if (rule & CONTEXT && !ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	return rule & STICKY && ctx ? ctx->error : 0;
}

/* What other threads and kernels that run make of the call. */
static int others(unsigned int rule)
{
	if (rule & UNSAFE && fake.capturing &&
	    capture_mode != CUDA_CAPTURE_RELAXED) {
		fake.capture_broken = true;
		return FAKE_CAPTURE_UNSUPPORTED;
	}
	if (!(rule & SYNCS))
		return 0;
	if (fake.spinning)
		fake.would_block++;
	streams_wait();
	return needs(rule);
}

static int may_go_on(enum call call)
{
	unsigned int rule = rules[call];
	int rc;

	/* Before anything else: it may say that this very call fails. */
	if (call == CALL_cuInit && !atomic_load(&fake.owner) &&
	    !settings_read(&fake.set))
		return CUDA_ERROR_UNKNOWN;
	rc = told_to_fail(call);
	if (rc || rule & ANYTIME)
		return rc;
	if (!atomic_load(&fake.owner))
		return CUDA_ERROR_NOT_INITIALIZED;
	return needs(rule) ?: others(rule);
}

int enter(enum call call)
{
	int rc;

	if (is_child())
		return CUDA_ERROR_NOT_INITIALIZED;
	pthread_mutex_lock(&fake.lock);
	fake.calls[call]++;
	rc = may_go_on(call);
	if (rc)
		pthread_mutex_unlock(&fake.lock);
	return rc;
}

void leave(const bool *held)
{
	if (*held)
		pthread_mutex_unlock(&fake.lock);
}

/* ---- fakecuda.h ----------------------------------------------------------- */

static bool control(void)
{
	if (is_child())
		return false;
	pthread_mutex_lock(&fake.lock);
	return true;
}

/* As ENTER(), for what a test asks. */
#define CONTROL()                                              \
	bool held __attribute__((cleanup(leave))) = control(); \
	if (!held)                                             \
	return 0

void fakecuda_capture(bool on)
{
	bool held __attribute__((cleanup(leave))) = control();

	if (!held)
		return;
	fake.capturing = on;
	if (on)
		fake.capture_broken = false;
}

bool fakecuda_capture_broken(void)
{
	CONTROL();
	return fake.capture_broken;
}

void fakecuda_spin(bool on)
{
	bool held __attribute__((cleanup(leave))) = control();

	if (!held)
		return;
	fake.spinning = on;
	if (on)
		fake.would_block = 0;
}

void fakecuda_stall(bool on)
{
	bool held __attribute__((cleanup(leave))) = control();

	if (!held)
		return;
	fake.stalled = on;
	pthread_cond_broadcast(&fake.done);
}

unsigned int fakecuda_would_block(void)
{
	CONTROL();
	return fake.would_block;
}

bool fakecuda_fail(const char *spec)
{
	CONTROL();
	if (!settings_fail(&fake.set, spec))
		return false;
	fake.fail_set = true;
	memset(fake.calls, 0, sizeof(fake.calls));
	return true;
}

unsigned long fakecuda_calls(const char *symbol)
{
	enum call call = call_number(symbol, strlen(symbol));
	CONTROL();

	if (call != CALLS)
		return fake.calls[call];
	complain("no such call: %s", symbol);
	return 0;
}

static unsigned int count_left(unsigned int by_kind[KINDS])
{
	const struct object *o;
	unsigned int left = streams_left();

	memset(by_kind, 0, KINDS * sizeof(*by_kind));
	by_kind[KIND_STREAM] = left;
	for (o = fake.objects; o; o = o->next, left++)
		by_kind[o->kind]++;
	return left;
}

unsigned int fakecuda_left(void)
{
	unsigned int by_kind[KINDS];
	CONTROL();

	return count_left(by_kind);
}

unsigned int fakecuda_leaked(void)
{
	CONTROL();
	return fake.leaked;
}

static void report(void)
{
	static const char *const kinds[KINDS] = {
		[KIND_MEMORY] = "memory",
		[KIND_HOST] = "host memory",
		[KIND_REGISTRATION] = "registrations",
		[KIND_RANGE] = "address ranges",
		[KIND_HANDLE] = "handles",
		[KIND_MAPPING] = "mappings",
		[KIND_MODULE] = "modules",
		[KIND_STREAM] = "streams",
	};
	unsigned int by_kind[KINDS], left = count_left(by_kind), kind;
	char text[200] = "";
	size_t len = 0;

	for (kind = 0; kind < KINDS; kind++)
		if (by_kind[kind])
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s %u %s", len ? "," : ":",
						by_kind[kind], kinds[kind]);
	complain("left %u%s; leaked %u", left, text, fake.leaked);
}

__attribute__((destructor)) static void end(void)
{
	bool held __attribute__((cleanup(leave))) = control();

	if (held && atomic_load(&fake.owner) && fake.set.report)
		report();
}
