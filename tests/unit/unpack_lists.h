/* SPDX-License-Identifier: BSD-3-Clause */
/* unpack_lists.h - a connection's unpack lists, for the tests of them. */
#ifndef UNIT_UNPACK_LISTS_H
#define UNIT_UNPACK_LISTS_H

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

extern "C" {
#include "unpack.h"
}

constexpr uint64_t page = UNPACK_PAGE;
constexpr uint64_t slice = UNPACK_SLICE_BYTES;

class UnpackLists : public testing::Test {
protected:
	UnpackLists() : meta(std::make_unique<unpack_meta>())
	{
		/* As allocated memory is: anything. */
		memset(static_cast<void *>(meta.get()), 0xa5, sizeof(*meta));
		unpack_init(&u, meta.get());
	}

	unpack_entry entry(uint64_t seq, size_t i)
	{
		return meta->entry[seq % UNPACK_SLOTS][i];
	}
	uint64_t count(uint64_t seq) { return meta->count[seq % UNPACK_SLOTS]; }
	/* How long the list of the receive is, which this publishes. */
	uint64_t published(uint64_t seq)
	{
		EXPECT_EQ(unpack_publish(&u, seq), 0);
		return count(seq);
	}
	void begin_all(uint64_t first, uint64_t size)
	{
		for (uint64_t i = 0; i < UNPACK_SLOTS; i++)
			ASSERT_EQ(unpack_begin(&u, first + i, size), 0);
	}
	/* Entries that nothing can be merged with. */
	void fill(uint64_t seq, uint32_t entries)
	{
		for (uint32_t i = 0; i < entries; i++)
			ASSERT_EQ(unpack_add(&u, seq, 4 * i, 2 * i, 1), 0) << i;
	}

	std::unique_ptr<unpack_meta> meta;
	struct unpack u;
};

#endif
