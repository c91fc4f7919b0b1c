// SPDX-License-Identifier: BSD-3-Clause
/*
 * exchange.c - buffers between the rank processes of the stand-in for NCCL, and the
 * sums of their elements. Shared memory is a memfd of rank 0, which others open by
 * /proc: nothing is left behind, however a rank ends.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fakenccl.h"
#include "nccl_abi.h"

static size_t shared_size(int ranks)
{
	return sizeof(struct shared) +
	       (size_t)ranks * ranks * sizeof(struct mailbox);
}

void pause_briefly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
}

/* Fills in the id that all ranks are given; the descriptor stays open. */
int shared_make(char *id, size_t size)
{
	int fd = memfd_create("fakenccl", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, shared_size(RANKS_MAX)))
		return -1;
	memset(id, 0, size);
	snprintf(id, size, "/proc/%d/fd/%d", getpid(), fd);
	return 0;
}

/* Waits for all ranks. */
bool shared_join(struct comm *c, const char *id)
{
	int fd = open(id, O_RDWR | O_CLOEXEC);
	void *at;

	c->shared_bytes = shared_size(c->ranks);
	at = mmap(NULL, c->shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  0);
	if (fd >= 0)
		close(fd);
	if (at == MAP_FAILED)
		return false;
	c->shared = at;
	atomic_fetch_add(&c->shared->joined, 1);
	while (atomic_load(&c->shared->joined) < c->ranks)
		pause_briefly();
	/* All have it open: of rank 0 the first descriptor goes, too. */
	if (!c->rank && sscanf(id, "/proc/%*d/fd/%d", &fd) == 1)
		close(fd);
	return true;
}

void shared_leave(struct comm *c)
{
	munmap(c->shared, c->shared_bytes);
}

/* As much as there is, or is room for; is that anything? */
static bool move(struct transfer *t)
{
	struct mailbox *b = t->box;
	uint64_t put = atomic_load_explicit(&b->put, memory_order_acquire);
	uint64_t taken = atomic_load_explicit(&b->taken, memory_order_acquire);
	uint64_t from = t->send ? put : taken;
	size_t n = t->send ? RING_BYTES - (put - taken) : put - taken;
	size_t whole = RING_BYTES - from % RING_BYTES;
	char *ring = b->ring + from % RING_BYTES;

	if (n > whole)
		n = whole;
	if (n > t->len - t->done)
		n = t->len - t->done;
	if (t->send)
		memcpy(ring, t->at + t->done, n);
	else
		memcpy(t->at + t->done, ring, n);
	atomic_store_explicit(t->send ? &b->put : &b->taken, from + n,
			      memory_order_release);
	t->done += n;
	return n;
}

bool exchange(struct comm *c, struct transfer *t, int n)
{
	bool moved, left = true;
	int i;

	while (left && !atomic_load(&c->aborted)) {
		moved = left = false;
		for (i = 0; i < n; i++) {
			if (t[i].done < t[i].len)
				moved |= move(&t[i]);
			left |= t[i].done < t[i].len;
		}
		if (left && !moved)
			pause_briefly();
	}
	return !left;
}

size_t element_size(int type)
{
	switch (type) {
	case NCCL_TYPE_INT8:
		return 1;
	case NCCL_TYPE_HALF:
	case NCCL_TYPE_BFLOAT16:
		return 2;
	case NCCL_TYPE_INT32:
	case NCCL_TYPE_FLOAT:
		return 4;
	}
	return 0;
}

/* A bfloat16 is the upper half of a float. */
static float from_bfloat16(uint16_t v)
{
	uint32_t bits = (uint32_t)v << 16;
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint16_t to_bfloat16(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits >> 16;
}

/* Integers wrap round, as they do on a GPU. */
bool add_elements(int type, void *to, const void *from, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		switch (type) {
		case NCCL_TYPE_INT8:
			((uint8_t *)to)[i] += ((const uint8_t *)from)[i];
			break;
		case NCCL_TYPE_INT32:
			((uint32_t *)to)[i] += ((const uint32_t *)from)[i];
			break;
		case NCCL_TYPE_FLOAT:
			((float *)to)[i] += ((const float *)from)[i];
			break;
		case NCCL_TYPE_HALF:
			((_Float16 *)to)[i] += ((const _Float16 *)from)[i];
			break;
		case NCCL_TYPE_BFLOAT16:
			((uint16_t *)to)[i] = to_bfloat16(
				from_bfloat16(((uint16_t *)to)[i]) +
				from_bfloat16(((const uint16_t *)from)[i]));
			break;
		default:
			return false;
		}
	}
	return true;
}
