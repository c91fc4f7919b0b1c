/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake.h - the inside of the stand-in for the CUDA driver; fakecuda.h says what it
 * is. One lock guards all of it: an entry point holds it from ENTER() on, a
 * stream's thread but for its delays. An int returned is a CUresult.
 */
#ifndef FAKE_H
#define FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "cuda_abi.h"
#include "fakecuda.h"

#define FAKE_CAPTURE_UNSUPPORTED 900 /* CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED */

#define FAKE_DEVICES 16
#define FAKE_PAGE    4096ul
#define FAKE_VMM     (2ul << 20) /* granularity of cuMemCreate and the like */

#define BIT(n) (1u << (n))

/* What the driver exports, and a number for each. */
#define FAKE_DECLARE(member, symbol, params) FAKECUDA_API int symbol params;
#define FAKE_NUMBER(member, symbol, params)  CALL_##symbol,
CUDA_CALLS(FAKE_DECLARE)
CUDA_CALLS_OPTIONAL(FAKE_DECLARE)
enum call { CUDA_CALLS(FAKE_NUMBER) CUDA_CALLS_OPTIONAL(FAKE_NUMBER) CALLS };
#undef FAKE_DECLARE
#undef FAKE_NUMBER

/* The primary context of a device: no other contexts are used. */
struct context {
	int device;
	unsigned int refs;
	int error;	       /* sticky: a kernel touched what it must not */
	struct stream *stream; /* the default one, made when first used */
};

enum kind {
	KIND_MEMORY,
	KIND_HOST,
	KIND_REGISTRATION,
	KIND_RANGE,
	KIND_HANDLE,
	KIND_MAPPING,
	KIND_MODULE,
	KIND_STREAM, /* not a struct object */
	KINDS
};

/* Physical memory of a device: a memfd. */
struct backing {
	unsigned int refs;
	int fd, device;
	char *shadow; /* where the driver itself reaches it */
	size_t bytes;
	bool rdma_capable;
};

struct object {
	struct object *next;
	enum kind kind;
	struct context *ctx; /* NULL: it belongs to no context */
	uint64_t at;	     /* address; handles and modules: their own */
	size_t bytes;
	uint32_t access; /* a bit for each device whose kernels may use it */
	struct backing *backing;
	char function; /* its address is a module's only function */
};

struct failure {
	enum call call;
	unsigned long nth;
	bool onwards;
	int result;
};

struct settings {
	unsigned long devices, init, delay_us, pcie, report;
	unsigned int failures, attributes;
	struct failure fail[32];
	struct {
		int attribute, value;
	} attribute[32];
};

extern struct fake {
	pthread_mutex_t lock;
	pthread_cond_t done; /* a stream has done an operation, or has ended */
	_Atomic pid_t owner; /* the process that called cuInit, or 0 */
	bool fail_set;	     /* by fakecuda_fail() */
	bool dma_buf;	     /* there is /dev/udmabuf */
	struct settings set;
	struct context contexts[FAKE_DEVICES];
	struct object *objects;
	struct stream *streams;
	uint64_t submitted; /* number of the last operation of any stream */
	uint64_t arena;	    /* all device addresses; no access for the CPU */
	uint64_t arena_next;
	unsigned long calls[CALLS];
	unsigned int leaked, would_block;
	bool capturing, capture_broken, spinning, stalled;
} fake;

/* calls.c */
/* 0: go on, with the lock held. */
int enter(enum call call);
void leave(const bool *held);
/* The first of each entry point: from here to its end it holds the lock. */
#define ENTER(symbol)                                            \
	int rc = enter(CALL_##symbol);                           \
	bool held __attribute__((cleanup(leave), unused)) = !rc; \
	if (rc)                                                  \
	return rc
/* The number of @symbol of @len characters, or CALLS. */
enum call call_number(const char *symbol, size_t len);
/* A line on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* settings.c: false with a line on stderr. */
bool settings_read(struct settings *set);
bool settings_fail(struct settings *set, const char *spec);

/* context.c */
extern __thread int capture_mode; /* CUstreamCaptureMode of the thread */
struct context *current(void);	  /* NULL if there is none that is alive */
int attribute(int device, int which, int *value);
bool is_set(int device, int which); /* is the attribute not 0? */

/* space.c: the objects, the addresses, and what is behind them. */
#define ARENA_BYTES (256ull << 30)
#define ALL_DEVICES (~0u)

bool arena_init(void);
/* 0 if there is no room. */
uint64_t arena_take(size_t bytes, size_t align);
struct object *object_add(enum kind kind, struct context *ctx, uint64_t at,
			  size_t bytes);
/* The one that starts at @at. */
struct object *object_find(enum kind kind, uint64_t at);
/* The first that has a byte in common, of the kinds with a bit in @kinds. */
struct object *object_overlap(unsigned int kinds, uint64_t at, size_t bytes);
void object_drop(struct object *o);
struct backing *backing_new(size_t bytes, int device);
void backing_put(struct backing *b);

enum place {
	PLACE_BAD,    /* not, or not all, to be used */
	PLACE_DEVICE, /* of the devices asked for */
	PLACE_PINNED,
	PLACE_PLAIN /* host memory that CUDA knows nothing of */
};
/* For kernels of the device: PLACE_DEVICE, or pinned and mapped for it. */
enum place place_kernel(int device, uint64_t at, size_t bytes);
/* For copies, and whatever does not run on one device. */
enum place place_copy(uint64_t at, size_t bytes);
/* The CPU's way to an address that has a place; @bytes: shortened to what is in
 * one piece there. */
void *place_cpu(uint64_t at, size_t *bytes);

/* stream.c */
struct gather_args {
	uint64_t work, arrived, done, ticket;
	uint32_t count;
};
/* Waits until all that was handed to streams so far is done. */
void streams_wait(void);
/* Ends a context's streams, which are idle; how many the caller left. */
unsigned int streams_end(struct context *ctx);
unsigned int streams_left(void);
/* Hands the kernel to a stream of the current context. */
int stream_gather(void *stream, const struct gather_args *args);
/* Copies between any two places, in order of the addresses. */
void copy(uint64_t dst, uint64_t src, size_t bytes);
uint64_t random_next(uint64_t *state);
/* Has the context be of no use from now on. */
void context_fault(struct context *ctx, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* gather.c */
void gather_run(struct context *ctx, const struct gather_args *args,
		uint64_t *random);

#endif /* FAKE_H */
