// SPDX-License-Identifier: BSD-3-Clause
/*
 * space.c - the objects that the stand-in for the CUDA driver has given out, and
 * its address space. Device addresses lie in one range that no CPU may touch; what
 * is behind them is mapped a second time, at addresses that only this library
 * knows. A freed address is not given out again before all others were.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

#define GUARD FAKE_VMM /* around each: running over an end is found */

bool arena_init(void)
{
	void *at = mmap(NULL, ARENA_BYTES, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return false;
	fake.arena = fake.arena_next = (uintptr_t)at;
	return true;
}

uint64_t arena_take(size_t bytes, size_t align)
{
	uint64_t at = fake.arena_next, end = fake.arena + ARENA_BYTES;
	const struct object *o;
	bool again = false;

	if (bytes > ARENA_BYTES / 2 || align > ARENA_BYTES / 2)
		return 0;
	for (;;) {
		at = (at + align - 1) / align * align;
		if (at + bytes + GUARD > end) {
			if (again)
				return 0;
			again = true;
			at = fake.arena;
			continue;
		}
		o = object_overlap(BIT(KIND_MEMORY) | BIT(KIND_RANGE),
				   at - GUARD, bytes + 2 * GUARD);
		if (!o)
			break;
		at = o->at + o->bytes + GUARD;
	}
	fake.arena_next = at + bytes + GUARD;
	return at;
}

static bool in_arena(uint64_t at, size_t bytes)
{
	return at < fake.arena + ARENA_BYTES && at + bytes > fake.arena;
}

/* ---- objects --------------------------------------------------------------- */

struct object *object_add(enum kind kind, struct context *ctx, uint64_t at,
			  size_t bytes)
{
	struct object *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->kind = kind;
	o->ctx = ctx;
	o->at = at ?: (uintptr_t)o;
	o->bytes = bytes;
	o->next = fake.objects;
	fake.objects = o;
	return o;
}

struct object *object_find(enum kind kind, uint64_t at)
{
	struct object *o;

	for (o = fake.objects; o; o = o->next)
		if (o->kind == kind && o->at == at)
			break;
	return o;
}

struct object *object_overlap(unsigned int kinds, uint64_t at, size_t bytes)
{
	struct object *o;

	for (o = fake.objects; o; o = o->next)
		if (BIT(o->kind) & kinds && o->at < at + bytes &&
		    at < o->at + o->bytes)
			break;
	return o;
}

void object_drop(struct object *o)
{
	struct object **link = &fake.objects;

	while (*link != o)
		link = &(*link)->next;
	*link = o->next;
	if (o->kind == KIND_HOST)
		munmap((void *)(uintptr_t)o->at, o->bytes);
	if (o->backing)
		backing_put(o->backing);
	free(o);
}

struct backing *backing_new(size_t bytes, int device)
{
	struct backing *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->refs = 1;
	b->device = device;
	b->bytes = (bytes + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE;
	b->fd = memfd_create("fakecuda", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (b->fd < 0)
		goto err_free;
	/* The seal is what udmabuf asks for. */
	if (ftruncate(b->fd, (off_t)b->bytes) ||
	    fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK))
		goto err_close;
	b->shadow = mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			 b->fd, 0);
	if (b->shadow != MAP_FAILED)
		return b;
err_close:
	close(b->fd);
err_free:
	free(b);
	return NULL;
}

void backing_put(struct backing *b)
{
	if (--b->refs)
		return;
	munmap(b->shadow, b->bytes);
	close(b->fd);
	free(b);
}

/* ---- places ---------------------------------------------------------------- */

/* Does all of it lie in objects of such kinds that such devices may use? */
static bool covered(unsigned int kinds, uint32_t devices, uint64_t at,
		    size_t bytes)
{
	const struct object *o;
	uint64_t end = at + bytes;

	while (at < end) {
		o = object_overlap(kinds, at, 1);
		if (!o || (devices && !(o->access & devices)))
			return false;
		at = o->at + o->bytes;
	}
	return true;
}

static bool is_range(uint64_t at, size_t bytes)
{
	/* The first page is nobody's: a NULL with an offset is found. */
	return bytes && at >= FAKE_PAGE && bytes <= UINT64_MAX - at;
}

enum place place_kernel(int device, uint64_t at, size_t bytes)
{
	if (!is_range(at, bytes))
		return PLACE_BAD;
	if (covered(BIT(KIND_MEMORY) | BIT(KIND_MAPPING), BIT(device), at,
		    bytes))
		return PLACE_DEVICE;
	if (covered(BIT(KIND_HOST) | BIT(KIND_REGISTRATION), BIT(device), at,
		    bytes))
		return PLACE_PINNED;
	return PLACE_BAD;
}

enum place place_copy(uint64_t at, size_t bytes)
{
	unsigned int pinned = BIT(KIND_HOST) | BIT(KIND_REGISTRATION);

	if (!is_range(at, bytes))
		return PLACE_BAD;
	if (in_arena(at, bytes))
		return covered(BIT(KIND_MEMORY) | BIT(KIND_MAPPING),
			       ALL_DEVICES, at, bytes) ?
			       PLACE_DEVICE :
			       PLACE_BAD;
	if (covered(pinned, 0, at, bytes))
		return PLACE_PINNED;
	/* Partly pinned is not plain. */
	return object_overlap(pinned, at, bytes) ? PLACE_BAD : PLACE_PLAIN;
}

void *place_cpu(uint64_t at, size_t *bytes)
{
	const struct object *o;
	uint64_t in;

	if (!in_arena(at, *bytes))
		return (void *)(uintptr_t)at;
	o = object_overlap(BIT(KIND_MEMORY) | BIT(KIND_MAPPING), at, 1);
	in = at - o->at;
	if (*bytes > o->bytes - in)
		*bytes = o->bytes - in;
	return o->backing->shadow + in;
}
