// SPDX-License-Identifier: BSD-3-Clause
/*
 * gather.c - modules of the stand-in for the CUDA driver, and the one kernel that it
 * knows, as gather_work.h describes it: here each piece is a plain copy, in an order
 * that nobody can rely on, and each address is checked.
 */
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "gather_work.h"

#define PTX_HEAD   4096 /* of a text; .version is among its first lines */
#define BLOCK_MAX  1024
#define SHARED_MAX (48u << 10)

/* ---- modules --------------------------------------------------------------- */

/* Machine code in a fat binary or an ELF file, or PTX, which is text. */
static bool is_image(const char *image)
{
	if (!strncmp(image, "\x50\xed\x55\xba", 4) ||
	    !strncmp(image, "\177ELF", 4))
		return true;
	return (image[0] == '.' || !strncmp(image, "//", 2)) &&
	       memmem(image, strnlen(image, PTX_HEAD), ".version", 8);
}

int cuModuleLoadData(void **module, const void *image)
{
	struct object *o;
	ENTER(cuModuleLoadData);

	if (!module || !image)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_image(image))
		return CUDA_ERROR_INVALID_IMAGE;
	o = object_add(KIND_MODULE, current(), 0, 0);
	*module = o;
	return o ? 0 : CUDA_ERROR_OUT_OF_MEMORY;
}

int cuModuleUnload(void *module)
{
	struct object *o;
	ENTER(cuModuleUnload);

	o = object_find(KIND_MODULE, (uintptr_t)module);
	if (!o)
		return CUDA_ERROR_INVALID_HANDLE;
	object_drop(o);
	return 0;
}

int cuModuleGetFunction(void **function, void *module, const char *name)
{
	struct object *o;
	ENTER(cuModuleGetFunction);

	o = object_find(KIND_MODULE, (uintptr_t)module);
	if (!function || !name)
		return CUDA_ERROR_INVALID_VALUE;
	if (!o)
		return CUDA_ERROR_INVALID_HANDLE;
	if (strcmp(name, GATHER_KERNEL))
		return CUDA_ERROR_NOT_FOUND;
	*function = &o->function;
	return 0;
}

/* ---- launches -------------------------------------------------------------- */

static const struct object *function_module(const void *function)
{
	const struct object *o;

	for (o = fake.objects; o; o = o->next)
		if (o->kind == KIND_MODULE && function == &o->function)
			break;
	return o;
}

/* Copied now: the caller's variables may be gone when the kernel runs. */
static bool take_arguments(void **params, struct gather_args *args)
{
	void *const to[] = { &args->work, &args->count, &args->arrived,
			     &args->done, &args->ticket };
	const size_t bytes[] = { sizeof(args->work), sizeof(args->count),
				 sizeof(args->arrived), sizeof(args->done),
				 sizeof(args->ticket) };
	unsigned int i;

	for (i = 0; i < sizeof(to) / sizeof(*to); i++) {
		if (!params[i])
			return false;
		memcpy(to[i], params[i], bytes[i]);
	}
	return true;
}

int cuLaunchKernel(void *function, unsigned int grid_x, unsigned int grid_y,
		   unsigned int grid_z, unsigned int block_x,
		   unsigned int block_y, unsigned int block_z,
		   unsigned int shared_bytes, void *stream, void **params,
		   void **extra)
{
	const struct object *o;
	struct gather_args args;
	ENTER(cuLaunchKernel);

	o = function_module(function);
	if (!o || !params || extra || !take_arguments(params, &args) ||
	    !grid_x || !grid_y || !grid_z || !block_x || !block_y || !block_z ||
	    (uint64_t)block_x * block_y * block_z > BLOCK_MAX ||
	    shared_bytes > SHARED_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	if (grid_y != 1 || grid_z != 1 || block_x != GATHER_THREADS ||
	    block_y != 1 || block_z != 1) {
		complain(
			"the kernel is made for blocks of %u threads, in a row",
			GATHER_THREADS);
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (o->ctx != current())
		return CUDA_ERROR_INVALID_HANDLE;
	return stream_gather(stream, &args);
}

/* ---- the kernel ------------------------------------------------------------ */

struct extent {
	uint64_t at, end;
};

static int by_address(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static bool is_zero(uint64_t at)
{
	uint32_t word;

	copy((uintptr_t)&word, at, sizeof(word));
	return !word;
}

static bool check_arguments(struct context *ctx, const struct gather_args *a)
{
	const char *wrong = NULL;
	int device = ctx->device;

	if (a->count && (a->work % 16 ||
			 place_kernel(device, a->work,
				      a->count * sizeof(struct gather_work)) !=
				 PLACE_PINNED))
		wrong = "work is not host memory that the GPU sees, in step "
			"with 16 bytes";
	else if (a->done % sizeof(uint64_t) ||
		 place_kernel(device, a->done, sizeof(uint64_t)) !=
			 PLACE_PINNED)
		wrong = "done is not a word of host memory that the GPU sees";
	else if (a->arrived % sizeof(uint32_t) ||
		 place_kernel(device, a->arrived, sizeof(uint32_t)) !=
			 PLACE_DEVICE)
		wrong = "arrived is not a word of the device's memory";
	else if (!is_zero(a->arrived))
		wrong = "arrived is not 0";
	if (wrong)
		context_fault(ctx, "%s", wrong);
	return !wrong;
}

static bool check_piece(struct context *ctx, const struct gather_work *w,
			uint32_t i)
{
	const char *wrong = NULL;

	if (w->reserved)
		wrong = "its reserved word is not 0";
	else if (w->len > GATHER_PIECE_MAX)
		wrong = "it is too long";
	else if (w->len &&
		 place_kernel(ctx->device, w->src, w->len) == PLACE_BAD)
		wrong = "its source is not memory that the GPU may use";
	else if (w->len &&
		 place_kernel(ctx->device, w->dst, w->len) == PLACE_BAD)
		wrong = "its destination is not memory that the GPU may use";
	if (wrong)
		context_fault(
			ctx, "piece %u (%#llx from %#llx, %llu bytes): %s", i,
			(unsigned long long)w->dst, (unsigned long long)w->src,
			(unsigned long long)w->len, wrong);
	return !wrong;
}

/* Is there a byte of [at, end) in one of these, which are sorted and apart? */
static bool meets(const struct extent *sorted, uint32_t count, uint64_t at,
		  uint64_t end)
{
	uint32_t low = 0, high = count, mid;

	while (low < high) { /* the first that starts at end or later */
		mid = low + (high - low) / 2;
		if (sorted[mid].at < end)
			low = mid + 1;
		else
			high = mid;
	}
	return low && sorted[low - 1].end > at;
}

static bool check_overlaps(struct context *ctx, const struct gather_work *w,
			   uint32_t count, struct extent *dst)
{
	uint32_t i, n = 0;

	for (i = 0; i < count; i++)
		if (w[i].len)
			dst[n++] = (struct extent){ w[i].dst,
						    w[i].dst + w[i].len };
	qsort(dst, n, sizeof(*dst), by_address);
	for (i = 1; i < n; i++) {
		if (dst[i - 1].end <= dst[i].at)
			continue;
		context_fault(ctx, "two pieces are copied to %#llx",
			      (unsigned long long)dst[i].at);
		return false;
	}
	for (i = 0; i < count; i++) {
		if (!w[i].len || !meets(dst, n, w[i].src, w[i].src + w[i].len))
			continue;
		context_fault(ctx, "the source of piece %u is a destination",
			      i);
		return false;
	}
	return true;
}

static bool check(struct context *ctx, const struct gather_work *w,
		  uint32_t count)
{
	struct extent *dst;
	bool good;
	uint32_t i;

	for (i = 0; i < count; i++)
		if (!check_piece(ctx, &w[i], i))
			return false;
	dst = malloc((count + 1) * sizeof(*dst));
	good = dst && check_overlaps(ctx, w, count, dst);
	free(dst);
	return good;
}

static void shuffle(struct gather_work *w, uint32_t count, uint64_t *random)
{
	struct gather_work swap;
	uint32_t i, other;

	for (i = count; i > 1; i--) {
		other = (uint32_t)(random_next(random) % i);
		swap = w[i - 1];
		w[i - 1] = w[other];
		w[other] = swap;
	}
}

void gather_run(struct context *ctx, const struct gather_args *a,
		uint64_t *random)
{
	struct gather_work *w;
	uint32_t i;

	if (!check_arguments(ctx, a))
		return;
	w = malloc((a->count + 1ul) * sizeof(*w));
	if (!w) {
		context_fault(ctx, "no memory to model a kernel with");
		return;
	}
	memcpy(w, (void *)(uintptr_t)a->work, a->count * sizeof(*w));
	if (check(ctx, w, a->count)) {
		shuffle(w, a->count, random);
		for (i = 0; i < a->count; i++)
			copy(w[i].dst, w[i].src, w[i].len);
		__atomic_store_n((uint64_t *)(uintptr_t)a->done, a->ticket,
				 __ATOMIC_RELEASE);
	}
	free(w);
}
