// SPDX-License-Identifier: BSD-3-Clause
/*
 * unpack.c - writing NCCL's unpack lists; see unpack.h.
 */
#include <errno.h>

#include "unpack.h"

/* An earlier piece of the same flow is no further back, whatever others brought. */
#define LOOK_BACK 16u
/* Long pieces are cut until so much is used: pages of a whole slice. */
#define CUT_UP_TO (UNPACK_ENTRIES / 2)

static_assert(CUT_UP_TO * (uint64_t)UNPACK_PAGE >= UNPACK_SLICE_BYTES,
	      "a slice of whole pages is cut into pages");

static unsigned int slot_of(uint64_t seq)
{
	return seq % UNPACK_SLOTS;
}

/*
 * Only here does the GPU learn of a list: the entries are seen no later than their
 * number. When that happens is up to NCCL: the receive is reported as
 * done after this, then NCCL's proxy has a full fence and stores the tail; a warp
 * that has seen the tail reads the number after it, from memory and not from a
 * cache. The thread that reports need not be the one that wrote: it learns that
 * the receive is complete under the connection's lock.
 */
static void set_count(struct unpack *u, uint64_t seq, uint64_t count)
{
	__atomic_store_n(&u->meta->count[slot_of(seq)], count,
			 __ATOMIC_SEQ_CST);
}

void unpack_init(struct unpack *u, struct unpack_meta *meta)
{
	*u = (struct unpack){ .meta = meta };
	for (unsigned int i = 0; i < UNPACK_SLOTS; i++)
		set_count(u, i, 0);
}

int unpack_begin(struct unpack *u, uint64_t seq, uint64_t size)
{
	if (seq != u->begun)
		return -EINVAL;
	if (unpack_in_flight(u) == UNPACK_SLOTS)
		return -EAGAIN;
	u->slot[slot_of(seq)] = (struct unpack_slot){ .size = size };
	u->begun++;
	return 0;
}

static bool in_flight(const struct unpack *u, uint64_t seq)
{
	return seq - u->consumed < u->begun - u->consumed;
}

static struct unpack_slot *open_slot(struct unpack *u, uint64_t seq)
{
	struct unpack_slot *s = &u->slot[slot_of(seq)];

	return in_flight(u, seq) && !s->published ? s : NULL;
}

/* Are @len bytes from @offset on within the first @size? */
static bool within(uint64_t offset, uint64_t len, uint64_t size)
{
	return len <= size && offset <= size - len;
}

/* Add a piece to an entry that it goes on from, or that goes on from it. */
static bool merge(struct unpack_entry *first, uint32_t count,
		  const struct unpack_entry *piece)
{
	uint32_t stop = count > LOOK_BACK ? count - LOOK_BACK : 0;

	for (uint32_t i = count; i-- > stop;) {
		struct unpack_entry *e = &first[i];
		uint64_t len = (uint64_t)e->len + piece->len;

		if (len > UNPACK_PAGE)
			continue;
		if ((uint64_t)e->src_off + e->len == piece->src_off &&
		    e->dst_off + e->len == piece->dst_off) {
			e->len = (uint32_t)len;
			return true;
		}
		if ((uint64_t)piece->src_off + piece->len == e->src_off &&
		    piece->dst_off + piece->len == e->dst_off) {
			*e = *piece;
			e->len = (uint32_t)len;
			return true;
		}
	}
	return false;
}

/* Entries of a piece that is not merged: pages if there is room, else one. */
static uint32_t pieces(uint64_t len, uint32_t count)
{
	uint64_t n = (len + UNPACK_PAGE - 1) / UNPACK_PAGE;

	return count + n <= CUT_UP_TO ? (uint32_t)n : 1;
}

int unpack_add(struct unpack *u, uint64_t seq, uint64_t pool_offset,
	       uint64_t dst_offset, uint64_t len)
{
	struct unpack_slot *s = open_slot(u, seq);
	struct unpack_entry *first, e;
	uint32_t n;

	if (!s)
		return -EINVAL;
	if (!len)
		return 0;
	if (!within(dst_offset, len, s->size) ||
	    !within(dst_offset, len, UNPACK_SLICE_BYTES))
		return -EMSGSIZE;
	if (!within(pool_offset, len, UNPACK_BOUNCE_BYTES))
		return -ERANGE;
	first = u->meta->entry[slot_of(seq)];
	e = (struct unpack_entry){ (uint32_t)pool_offset, (uint32_t)len,
				   dst_offset };
	if (merge(first, s->count, &e))
		return 0;
	n = pieces(len, s->count);
	if (n > UNPACK_ENTRIES - s->count)
		return -EMSGSIZE;
	while (n-- > 1) {
		first[s->count] = e;
		first[s->count++].len = UNPACK_PAGE;
		e.src_off += UNPACK_PAGE;
		e.dst_off += UNPACK_PAGE;
		e.len -= UNPACK_PAGE;
	}
	first[s->count++] = e;
	return 0;
}

uint32_t unpack_entries(const struct unpack *u, uint64_t seq,
			const struct unpack_entry **first)
{
	const struct unpack_slot *s = &u->slot[slot_of(seq)];

	*first = u->meta->entry[slot_of(seq)];
	return in_flight(u, seq) && !s->published ? s->count : 0;
}

void unpack_empty(struct unpack *u, uint64_t seq)
{
	struct unpack_slot *s = open_slot(u, seq);

	if (s)
		s->count = 0;
}

int unpack_publish(struct unpack *u, uint64_t seq)
{
	struct unpack_slot *s = open_slot(u, seq);

	if (!s)
		return -EINVAL;
	s->published = true;
	set_count(u, seq, s->count);
	/* Whoever withdraws meanwhile sees the count, or is seen here. */
	if (!__atomic_load_n(&u->withdrawn, __ATOMIC_SEQ_CST))
		return 0;
	set_count(u, seq, 0);
	return s->count ? -ECANCELED : 0;
}

int unpack_consume(struct unpack *u, uint64_t seq)
{
	if (seq != u->consumed || !in_flight(u, seq) ||
	    !u->slot[slot_of(seq)].published)
		return -EINVAL;
	/* Who is aborted finds no old list in a slot that waits for its next. */
	set_count(u, seq, 0);
	u->consumed++;
	return 0;
}

void unpack_withdraw(struct unpack *u)
{
	__atomic_store_n(&u->withdrawn, true, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < UNPACK_SLOTS; i++)
		set_count(u, i, 0);
}
