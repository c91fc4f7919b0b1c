/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unpacker_test.c - that pieces come to their places, each message's from its own
 * list, and that a list which is not sound is refused. Skipped without a GPU, or a
 * stand-in for its driver.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unpack_abi.h"
#include "unpacker.h"

#define POOL  (64u << 10)
#define BYTES 4096u

static int failures;
static struct gpu_memory pool, lists, handle, message;
static unsigned char pool_bytes[POOL];
static struct unpack_meta meta;
static struct unpacker *unpacker;

static void expect(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "FAILED: %s\n", what);
	failures++;
}

/* Of the GPU itself: without them there is nothing to test. */
static void must(int rc)
{
	if (!rc)
		return;
	fprintf(stderr, "FAILED: %s\n", gpu_text(rc));
	exit(1);
}

static void write_lists(void)
{
	must(gpu_write(lists.at, &meta, sizeof(meta)));
}

/* A list of pieces of 1 byte and more, backwards, from all over the pool. */
static void make_list(unsigned int slot, unsigned int count)
{
	unsigned int i, len = BYTES / count, last = BYTES - len * (count - 1);

	for (i = 0; i < count; i++)
		meta.entry[slot][i] = (struct unpack_entry){
			.src_off = (i * 7919 + slot * 101) % (POOL - BYTES),
			.len = i ? len : last,
			.dst_off = i ? (uint64_t)len * (count - 1 - i) :
				       (uint64_t)len * (count - 1),
		};
	meta.count[slot] = count;
}

/* What the message has to be by the list, read on the host. */
static void follow(unsigned int slot, unsigned char *want)
{
	unsigned int i;

	for (i = 0; i < meta.count[slot]; i++) {
		const struct unpack_entry *e = &meta.entry[slot][i];

		memcpy(want + e->dst_off, pool_bytes + e->src_off, e->len);
	}
}

static bool next(size_t bytes, char *why, size_t size)
{
	why[0] = '\0';
	return unpacker_next(unpacker, message.at, bytes, why, size);
}

static void open_all(void)
{
	struct unpack_handle h = { .head = UNPACK_FIRST_HEAD };
	ncclNetDeviceHandle_v11_t device;
	char why[256];
	size_t i;

	for (i = 0; i < POOL; i++)
		pool_bytes[i] = (unsigned char)(i * 131 + i / 251);
	must(gpu_alloc(&pool, POOL));
	must(gpu_alloc(&lists, sizeof(meta)));
	must(gpu_alloc(&handle, sizeof(h)));
	must(gpu_alloc(&message, BYTES));
	must(gpu_write(pool.at, pool_bytes, POOL));
	h.meta = lists.at;
	h.bounce = pool.at;
	must(gpu_write(handle.at, &h, sizeof(h)));
	unpacker_prepare(&device);
	device.handle = (void *)handle.at;
	device.size = sizeof(h);
	expect(!unpacker_open(&device, &unpacker, why, sizeof(why)),
	       "a handle without needsProxyProgress is refused");
	device.needsProxyProgress = 1;
	expect(unpacker_open(&device, &unpacker, why, sizeof(why)) && unpacker,
	       "a handle is read");
	if (!unpacker)
		exit(1);
}

/* More than there are lists: they are used again. */
static void test_messages(void)
{
	unsigned char want[BYTES], got[BYTES];
	unsigned int nr, slot;
	char why[256];

	for (nr = 0; nr < 2 * UNPACK_SLOTS + 3; nr++) {
		slot = nr % UNPACK_SLOTS;
		make_list(slot, 1 + (nr * 37) % 100);
		write_lists();
		memset(want, 0xee, BYTES);
		must(gpu_write(message.at, want, BYTES));
		follow(slot, want);
		expect(next(BYTES, why, sizeof(why)), why);
		must(gpu_read(got, message.at, BYTES));
		expect(!memcmp(got, want, BYTES), "pieces are in their places");
	}
}

/* Nothing to do is a message too: the next one has the next list. */
static void test_empty(void)
{
	unsigned char before[BYTES], after[BYTES];
	char why[256];

	memset(meta.count, 0, sizeof(meta.count));
	write_lists();
	must(gpu_read(before, message.at, BYTES));
	expect(next(0, why, sizeof(why)), why);
	must(gpu_read(after, message.at, BYTES));
	expect(!memcmp(before, after, BYTES), "no piece, no byte written");
}

/* Fills all lists with one, so that it does not matter whose turn it is. */
static void refused(const struct unpack_entry *e, uint64_t count,
		    const char *what)
{
	unsigned int slot;
	char why[256];

	for (slot = 0; slot < UNPACK_SLOTS; slot++) {
		meta.entry[slot][0] = *e;
		meta.count[slot] = count;
	}
	write_lists();
	expect(!next(BYTES, why, sizeof(why)) && why[0], what);
}

static void test_refusals(void)
{
	refused(&(struct unpack_entry){ 0, 1, BYTES }, 1,
		"a piece behind the message is refused");
	refused(&(struct unpack_entry){ 0, 2, BYTES - 1 }, 1,
		"a piece over the message's end is refused");
	refused(&(struct unpack_entry){ 0, 1, UINT64_MAX }, 1,
		"an offset that wraps is refused");
	refused(&(struct unpack_entry){ 0, 1, 0 }, UNPACK_ENTRIES + 1,
		"more pieces than a list has are refused");
}

int main(void)
{
	struct unpack_handle h;
	char why[256];

	if (!gpu_open(0, why, sizeof(why))) {
		fprintf(stderr, "skipped: %s\n", why);
		return 77;
	}
	open_all();
	test_messages();
	test_empty();
	test_refusals();
	expect(unpacker_close(unpacker, why, sizeof(why)), why);
	must(gpu_read(&h, handle.at, sizeof(h)));
	expect(h.head == 2 * UNPACK_SLOTS + 3 + 1 + 4 - 1,
	       "the place in the lists is left in the handle");
	must(gpu_free(&message));
	must(gpu_free(&handle));
	must(gpu_free(&lists));
	must(gpu_free(&pool));
	gpu_close();
	return failures ? 1 : 0;
}
