// SPDX-License-Identifier: BSD-3-Clause
/*
 * fakenccl.c - the calls of the stand-in for NCCL; see fakenccl.h. Buffers are
 * reached by the CUDA driver's cuMemcpy alone. An operation goes on its stream by
 * cuLaunchHostFunc where the driver has that, so that graphs can capture it.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fakenccl.h"
#include "nccl_abi.h"

#define API	__attribute__((visibility("default")))
#define VERSION 29999 /* 2.99.99: no NCCL has it */
#define OPS_MAX 128   /* of a group */

enum {
	CUDA_ERROR = 1,
	SYSTEM_ERROR = 2,
	INVALID_ARGUMENT = 4,
	REMOTE_ERROR = 6
};

#define DECLARE(result, member, symbol, params) API result symbol params;
NCCL_CALLS(DECLARE)
#undef DECLARE

enum kind { REDUCE, GATHER, SCATTER, BROADCAST, SEND, RECV };

struct op {
	enum kind kind;
	const char *send;
	char *recv;
	size_t count;
	int type, peer; /* or root */
	struct comm *comm;
	void *stream;
	char *mine;	       /* what this rank hands in, in host memory */
	char *from[RANKS_MAX]; /* what it gets from each */
};

struct batch {
	struct batch *next; /* of those that graphs may run again */
	bool captured;
	int n;
	struct op op[OPS_MAX];
};

static __thread struct batch *group, *captured;
static __thread int depth;
static struct comm *aborted;
static char last_error[128] = "";

/* ---- log -------------------------------------------------------------------- */

static void info(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void info(const char *format, ...)
{
	const char *file = getenv("NCCL_DEBUG_FILE"),
		   *level = getenv("NCCL_DEBUG");
	FILE *f = level && !strcmp(level, "INFO") && file ? fopen(file, "ae") :
							    NULL;
	va_list ap;

	if (!f)
		return;
	fprintf(f, "fakenccl:%d:%d [0] NCCL INFO ", getpid(), getpid());
	va_start(ap, format);
	vfprintf(f, format, ap);
	va_end(ap);
	fputc('\n', f);
	fclose(f);
}

static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static bool is(const char *name, const char *value)
{
	return !strcmp(setting(name), value);
}

static const char *network(void)
{
	const char *net = setting("FAKENCCL_NET");

	return *net ? net : setting("NCCL_NET");
}

/* ---- operations ------------------------------------------------------------- */

static void *driver(const char *symbol)
{
	static void *lib;

	if (!lib)
		lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	return lib ? dlsym(lib, symbol) : NULL;
}

static int copy(void *to, const void *from, size_t bytes)
{
	static int (*mem_copy)(uint64_t, uint64_t, size_t);

	if (!mem_copy)
		*(void **)&mem_copy = driver("cuMemcpy");
	return mem_copy ? mem_copy((uint64_t)to, (uint64_t)from, bytes) : -1;
}

/* The blocks of `count` elements that a rank hands in. */
static size_t blocks_in(const struct op *op)
{
	if (op->kind == RECV ||
	    (op->kind == BROADCAST && op->comm->rank != op->peer))
		return 0;
	return op->kind == SCATTER ? op->comm->ranks : 1;
}

/* Does `rank` hand in what `to` gets out? */
static bool gives(const struct op *op, int rank, int to)
{
	int me = op->comm->rank;

	switch (op->kind) {
	case SEND:
		return rank == me && to == op->peer;
	case RECV:
		return rank == op->peer && to == me;
	case BROADCAST:
		return rank == op->peer;
	default:
		return true;
	}
}

static int prepare(struct op *op, struct transfer *t, int n)
{
	size_t size = op->count * element_size(op->type);
	int me = op->comm->rank, ranks = op->comm->ranks, peer;

	op->mine = malloc(size * blocks_in(op) + 1);
	if (copy(op->mine, op->send, size * blocks_in(op)))
		return -1;
	for (peer = 0; peer < ranks; peer++) {
		size_t part = op->kind == SCATTER ? peer * size : 0;

		if (op->kind != RECV && gives(op, me, peer))
			t[n++] = (struct transfer){
				.box = &op->comm->shared
						->box[me * ranks + peer],
				.send = true,
				.at = op->mine + part,
				.len = size
			};
		if (op->kind == SEND || !gives(op, peer, me))
			continue;
		op->from[peer] = malloc(size + 1);
		t[n++] = (struct transfer){
			.box = &op->comm->shared->box[peer * ranks + me],
			.at = op->from[peer],
			.len = size
		};
		op->comm->received += peer == me ? 0 : size;
		op->comm->messages++;
	}
	return n;
}

/* What FAKENCCL_WRONG asks for, in the result that ends at `end`. */
static void spoil(const struct op *op, char *end)
{
	char byte = 0;

	if (op->comm->rank != 1 || !*setting("FAKENCCL_WRONG"))
		return;
	if (!is("FAKENCCL_WRONG", "beyond"))
		end--;
	copy(&byte, end, 1);
	byte ^= 1;
	copy(end, &byte, 1);
}

static int deliver(struct op *op)
{
	size_t size = op->count * element_size(op->type);
	int ranks = op->comm->ranks, first = -1, i, rc = 0;
	bool sums = op->kind == REDUCE || op->kind == SCATTER;
	char *end = op->recv;

	for (i = 0; i < ranks && !rc; i++) {
		if (!op->from[i])
			continue;
		if (sums && first >= 0) {
			add_elements(op->type, op->from[first], op->from[i],
				     op->count);
			continue;
		}
		first = i;
		end = op->recv + (op->kind == GATHER ? i * size : 0) + size;
		if (!sums)
			rc = copy(end - size, op->from[i], size);
	}
	if (sums)
		rc = copy(op->recv, op->from[first], size);
	if (!rc && first >= 0)
		spoil(op, end);
	return rc;
}

/* On the stream: all transfers of a group at once. */
static void batch_run(void *arg)
{
	struct batch *b = arg;
	struct comm *c = b->op[0].comm;
	struct transfer *t = calloc(2 * c->ranks * b->n, sizeof(*t));
	int n = t ? 0 : -1, i, k;

	for (i = 0; n >= 0 && i < b->n; i++)
		n = prepare(&b->op[i], t, n);
	while (is("FAKENCCL_HANG", "call") && c->rank == 1 &&
	       !atomic_load(&c->aborted))
		pause_briefly();
	if (n >= 0 && exchange(c, t, n))
		for (i = 0; i < b->n; i++)
			if (deliver(&b->op[i]))
				fprintf(stderr, "fakenccl: bad memory\n");
	for (i = 0; i < b->n; i++) {
		free(b->op[i].mine);
		for (k = 0; k < c->ranks; k++) {
			free(b->op[i].from[k]);
			b->op[i].from[k] = NULL;
		}
	}
	free(t);
	if (!b->captured)
		free(b);
}

/* What a graph captures stays for as long as the process. */
static int batch_start(struct batch *b)
{
	int (*host_func)(void *, void (*)(void *), void *);
	int (*is_capturing)(void *, int *), status = 0;

	if (is("FAKENCCL_FAIL", "call")) {
		snprintf(last_error, sizeof(last_error), "told to fail");
		free(b);
		return SYSTEM_ERROR;
	}
	*(void **)&host_func = driver("cuLaunchHostFunc");
	*(void **)&is_capturing = driver("cuStreamIsCapturing");
	if (!host_func || !is_capturing) {
		batch_run(b);
		return NCCL_OK;
	}
	if (is_capturing(b->op[0].stream, &status))
		return CUDA_ERROR;
	b->captured = status;
	if (b->captured) {
		b->next = captured;
		captured = b;
	}
	return host_func(b->op[0].stream, batch_run, b) ? CUDA_ERROR : NCCL_OK;
}

static int submit(const struct op *op)
{
	bool alone = !depth;
	int rc = NCCL_OK;

	if (!op->comm || !element_size(op->type) || op->peer < 0 ||
	    op->peer >= op->comm->ranks)
		return INVALID_ARGUMENT;
	if (!group)
		group = calloc(1, sizeof(*group));
	if (!group || group->n == OPS_MAX)
		return SYSTEM_ERROR;
	group->op[group->n++] = *op;
	if (alone) {
		rc = batch_start(group);
		group = NULL;
	}
	return rc;
}

int ncclGroupStart(void)
{
	depth++;
	return NCCL_OK;
}

int ncclGroupEnd(void)
{
	struct batch *b = group;

	if (--depth || !b)
		return NCCL_OK;
	group = NULL;
	return batch_start(b);
}

#define OP(k, p, s, r)                                       \
	&(struct op)                                         \
	{                                                    \
		k, s, r, count, type, p, comm, stream, NULL, \
		{                                            \
			NULL                                 \
		}                                            \
	}

int ncclAllReduce(const void *send, void *recv, size_t count, int type, int op,
		  void *comm, void *stream)
{
	return op == NCCL_OP_SUM ? submit(OP(REDUCE, 0, send, recv)) :
				   INVALID_ARGUMENT;
}

int ncclAllGather(const void *send, void *recv, size_t count, int type,
		  void *comm, void *stream)
{
	return submit(OP(GATHER, 0, send, recv));
}

int ncclReduceScatter(const void *send, void *recv, size_t count, int type,
		      int op, void *comm, void *stream)
{
	return op == NCCL_OP_SUM ? submit(OP(SCATTER, 0, send, recv)) :
				   INVALID_ARGUMENT;
}

int ncclBroadcast(const void *send, void *recv, size_t count, int type,
		  int root, void *comm, void *stream)
{
	return submit(OP(BROADCAST, root, send, recv));
}

int ncclSend(const void *send, size_t count, int type, int peer, void *comm,
	     void *stream)
{
	return submit(OP(SEND, peer, send, NULL));
}

int ncclRecv(void *recv, size_t count, int type, int peer, void *comm,
	     void *stream)
{
	return submit(OP(RECV, peer, NULL, recv));
}

/* ---- communicators ---------------------------------------------------------- */

int ncclGetVersion(int *version)
{
	*version = VERSION;
	return NCCL_OK;
}

const char *ncclGetErrorString(int result)
{
	return result ? "an error of the stand-in for NCCL" : "no error";
}

const char *ncclGetLastError(void *comm)
{
	(void)comm;
	return last_error;
}

int ncclGetUniqueId(struct nccl_id *id)
{
	return shared_make(id->bytes, sizeof(id->bytes)) ? SYSTEM_ERROR :
							   NCCL_OK;
}

int ncclCommInitRank(void **comm, int ranks, struct nccl_id id, int rank)
{
	const char *net = network();
	struct comm *c = calloc(1, sizeof(*c));
	int next = (rank + 1) % ranks, last = (rank + ranks - 1) % ranks;

	if (!c || ranks > RANKS_MAX || is("FAKENCCL_FAIL", "init")) {
		snprintf(last_error, sizeof(last_error), "told to fail");
		free(c);
		return SYSTEM_ERROR;
	}
	if (is("FAKENCCL_FAIL", "die") && rank == 1)
		raise(SIGKILL);
	c->rank = rank;
	c->ranks = ranks;
	id.bytes[sizeof(id.bytes) - 1] = '\0';
	if (!shared_join(c, id.bytes)) {
		free(c);
		return SYSTEM_ERROR;
	}
	info("Using network %s", net);
	info("Channel 00/0 : %d[0] -> %d[0] [send] via NET/%s/0", rank, next,
	     net);
	info("Channel 00/0 : %d[0] -> %d[0] [receive] via NET/%s/0", last, rank,
	     net);
	if (*setting("FAKENCCL_VIA"))
		info("Channel 00/0 : %d[0] -> %d[0] via %s/direct", rank, next,
		     setting("FAKENCCL_VIA"));
	info("comm %p rank %d nranks %d - Init COMPLETE", (void *)c, rank,
	     ranks);
	*comm = c;
	return NCCL_OK;
}

/* A plugin of this project would write such lines; so does this, of its own. */
static void tell_paths(const struct comm *c)
{
	bool emulated = is("NCCL_DEVMEM_RX", "emulate");
	const char *rx = emulated ? "emulated" : "host";

	if (strcasecmp(network(), "devmem"))
		return;
	if (emulated)
		info("NET/devmem path recv open nic=fakenccl peer=fakenccl "
		     "rx=%s region=cuda gather=%s flows=2",
		     rx, is("NCCL_DEVMEM_UNPACK", "1") ? "unpack" : "cuda");
	else
		info("NET/devmem path recv open nic=fakenccl peer=fakenccl "
		     "rx=host flows=2 reason=\"no NIC, no plugin\"");
	info("NET/devmem path recv done nic=fakenccl peer=fakenccl rx=%s "
	     "%s=%llu messages=%llu",
	     rx, rx, (unsigned long long)c->received,
	     (unsigned long long)c->messages);
	info("NET/devmem path send done nic=fakenccl peer=fakenccl tx=host "
	     "host=%llu",
	     (unsigned long long)c->received);
}

int ncclCommDestroy(void *comm)
{
	struct comm *c = comm;

	tell_paths(c);
	shared_leave(c);
	free(c);
	return NCCL_OK;
}

/* What is under way ends; its memory stays, for as long as it may be in use. */
int ncclCommAbort(void *comm)
{
	struct comm *c = comm;

	while (is("FAKENCCL_HANG", "abort"))
		pause_briefly();
	atomic_store(&c->aborted, true);
	c->next = aborted;
	aborted = c;
	return NCCL_OK;
}

int ncclCommGetAsyncError(void *comm, int *result)
{
	struct comm *c = comm;

	*result = atomic_load(&c->aborted) ? REMOTE_ERROR : NCCL_OK;
	return NCCL_OK;
}
