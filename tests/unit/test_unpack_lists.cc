// SPDX-License-Identifier: BSD-3-Clause
/* test_unpack_lists.cc - what a list holds, its limits, and the ring of them. */
#include <cerrno>
#include <vector>

#include "unpack_lists.h"

namespace {

using Bytes = std::vector<uint8_t>;

/* ---- merging ----------------------------------------------------------------- */

TEST_F(UnpackLists, WhatContinuesInBothPlacesSharesAnEntry)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	EXPECT_EQ(unpack_add(&u, 0, 1000, 100, 50), 0);
	EXPECT_EQ(unpack_add(&u, 0, 1050, 150, 7), 0);
	EXPECT_EQ(unpack_add(&u, 0, 990, 90, 10), 0); /* before it */
	ASSERT_EQ(published(0), 1u);
	EXPECT_EQ(entry(0, 0).src_off, 990u);
	EXPECT_EQ(entry(0, 0).dst_off, 90u);
	EXPECT_EQ(entry(0, 0).len, 67u);
}

TEST_F(UnpackLists, WhatContinuesInOnePlaceOnlyDoesNot)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	EXPECT_EQ(unpack_add(&u, 0, 1000, 100, 50), 0);
	EXPECT_EQ(unpack_add(&u, 0, 1050, 151, 10), 0);
	EXPECT_EQ(unpack_add(&u, 0, 1051, 161, 10), 0);
	EXPECT_EQ(unpack_add(&u, 0, 990, 80, 10), 0);
	EXPECT_EQ(unpack_add(&u, 0, 980, 90, 10), 0);
	EXPECT_EQ(published(0), 5u);
}

/* Offsets are 32 bits wide: the end of the pool is not before its start. */
TEST_F(UnpackLists, TheEndOfThePoolIsNotItsStart)
{
	uint64_t last = UNPACK_BOUNCE_BYTES - 10;

	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	EXPECT_EQ(unpack_add(&u, 0, last, 100, 10), 0);
	EXPECT_EQ(unpack_add(&u, 0, 0, 110, 10), 0);
	EXPECT_EQ(published(0), 2u);
}

TEST_F(UnpackLists, FlowsThatTakeTurnsAreMergedEach)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	for (uint64_t i = 0; i < 32; i++)
		for (uint64_t flow = 0; flow < 16; flow++) {
			uint64_t at = flow * 100000 + i * 128;

			ASSERT_EQ(unpack_add(&u, 0, at + 5000, at, 128), 0);
		}
	EXPECT_EQ(published(0), 16u);
}

TEST_F(UnpackLists, MessagesAreNotMergedWithEachOther)
{
	begin_all(0, slice);
	for (uint64_t i = 0; i < UNPACK_SLOTS; i++)
		EXPECT_EQ(unpack_add(&u, i, 100 * i, 100 * i, 100), 0);
	for (uint64_t i = 0; i < UNPACK_SLOTS; i++) {
		EXPECT_EQ(published(i), 1u);
		EXPECT_EQ(entry(i, 0).len, 100u);
	}
}

/* NCCL deals entries out, not bytes: one long entry would be one warp's. */
TEST_F(UnpackLists, NoEntryIsMergedBeyondAPage)
{
	uint64_t total = 0;

	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	for (uint64_t at = 0; at < 64 * page; at += 512)
		ASSERT_EQ(unpack_add(&u, 0, at, at, 512), 0);
	ASSERT_EQ(published(0), 64u);
	for (size_t i = 0; i < 64; i++) {
		EXPECT_LE(entry(0, i).len, page);
		total += entry(0, i).len;
	}
	EXPECT_EQ(total, 64 * page);
}

TEST_F(UnpackLists, LongPiecesAreCutIntoPages)
{
	uint64_t at = 7;

	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	ASSERT_EQ(unpack_add(&u, 0, at, at + 1, 3 * page + 5), 0);
	ASSERT_EQ(published(0), 4u);
	for (size_t i = 0; i < 4; i++) {
		EXPECT_EQ(entry(0, i).src_off, at);
		EXPECT_EQ(entry(0, i).dst_off, at + 1);
		EXPECT_EQ(entry(0, i).len, i < 3 ? page : 5);
		at += page;
	}
}

TEST_F(UnpackLists, AWholeSliceInOnePieceIsCutTooAndLeavesHalfTheList)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	ASSERT_EQ(unpack_add(&u, 0, 0, 0, slice), 0);
	EXPECT_EQ(published(0), slice / page);
	EXPECT_LE(count(0), UNPACK_ENTRIES / 2);
}

TEST_F(UnpackLists, WhereTheListRunsShortLongPiecesStayWhole)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	ASSERT_NO_FATAL_FAILURE(fill(0, UNPACK_ENTRIES - 1));
	ASSERT_EQ(unpack_add(&u, 0, 1u << 20, 1u << 20, 100 * page), 0);
	ASSERT_EQ(published(0), UNPACK_ENTRIES);
	EXPECT_EQ(entry(0, UNPACK_ENTRIES - 1).len, 100 * page);
}

/* ---- limits ------------------------------------------------------------------ */

TEST_F(UnpackLists, AFullListRefusesAndStaysAsItWas)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	ASSERT_NO_FATAL_FAILURE(fill(0, UNPACK_ENTRIES));
	Bytes before(sizeof(*meta));
	memcpy(before.data(), meta.get(), sizeof(*meta));
	for (uint64_t len : { uint64_t{ 1 }, page, 100 * page })
		EXPECT_EQ(unpack_add(&u, 0, 1u << 20, 1u << 20, len),
			  -EMSGSIZE);
	EXPECT_EQ(memcmp(before.data(), meta.get(), sizeof(*meta)), 0);
	/* Where there is an entry already, there is room. */
	EXPECT_EQ(unpack_add(&u, 0, 4 * (UNPACK_ENTRIES - 1) + 1,
			     2 * (UNPACK_ENTRIES - 1) + 1, 1),
		  0);
	EXPECT_EQ(published(0), UNPACK_ENTRIES);
}

TEST_F(UnpackLists, NothingIsPlacedBeyondTheReceive)
{
	ASSERT_EQ(unpack_begin(&u, 0, 1000), 0);
	EXPECT_EQ(unpack_add(&u, 0, 0, 990, 11), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, 1000, 1), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, 0, 1001), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, UINT64_MAX, 1), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, UINT64_MAX - 5, 10), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, 1, UINT64_MAX), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, 990, 10), 0);
	EXPECT_EQ(published(0), 1u);
}

TEST_F(UnpackLists, NothingIsPlacedBeyondTheSlice)
{
	ASSERT_EQ(unpack_begin(&u, 0, UINT64_MAX), 0);
	EXPECT_EQ(unpack_add(&u, 0, 0, slice - 1, 2), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, slice, 1), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, 0, slice + 1), -EMSGSIZE);
	EXPECT_EQ(unpack_add(&u, 0, 0, slice - 1, 1), 0);
	EXPECT_EQ(published(0), 1u);
}

TEST_F(UnpackLists, NothingIsTakenFromBeyondThePool)
{
	uint64_t end = UNPACK_BOUNCE_BYTES;

	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	EXPECT_EQ(unpack_add(&u, 0, end, 0, 1), -ERANGE);
	EXPECT_EQ(unpack_add(&u, 0, end - 1, 0, 2), -ERANGE);
	EXPECT_EQ(unpack_add(&u, 0, end + 5, 0, 1), -ERANGE);
	EXPECT_EQ(unpack_add(&u, 0, UINT64_MAX, 0, 1), -ERANGE);
	EXPECT_EQ(unpack_add(&u, 0, UINT64_MAX - 3, 0, 4), -ERANGE);
	EXPECT_EQ(unpack_add(&u, 0, end - 1, 0, 1), 0);
	ASSERT_EQ(published(0), 1u);
	EXPECT_EQ(entry(0, 0).src_off, UINT32_MAX);
}

TEST_F(UnpackLists, NoBytesAreNoEntry)
{
	ASSERT_EQ(unpack_begin(&u, 0, 0), 0);
	EXPECT_EQ(unpack_add(&u, 0, 0, 0, 0), 0);
	EXPECT_EQ(published(0), 0u);
	EXPECT_EQ(unpack_consume(&u, 0), 0);
}

/* ---- the ring ---------------------------------------------------------------- */

TEST_F(UnpackLists, ListsAreEmptyAtFirst)
{
	for (uint64_t n : meta->count)
		EXPECT_EQ(n, 0u);
	EXPECT_EQ(unpack_in_flight(&u), 0u);
}

TEST_F(UnpackLists, AListIsSeenWhenItIsPublishedAndNotAfterItsConsumption)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	EXPECT_EQ(unpack_add(&u, 0, 1, 2, 3), 0);
	EXPECT_EQ(count(0), 0u);
	EXPECT_EQ(published(0), 1u);
	EXPECT_EQ(unpack_consume(&u, 0), 0);
	EXPECT_EQ(count(0), 0u);
}

TEST_F(UnpackLists, TheSeventeenthWaitsForTheFirst)
{
	for (uint64_t round = 0; round < 3; round++) {
		uint64_t first = round * UNPACK_SLOTS;

		begin_all(first, slice);
		EXPECT_EQ(unpack_in_flight(&u), UNPACK_SLOTS);
		EXPECT_EQ(unpack_begin(&u, first + UNPACK_SLOTS, slice),
			  -EAGAIN);
		for (uint64_t i = 0; i < UNPACK_SLOTS; i++) {
			EXPECT_EQ(unpack_publish(&u, first + i), 0);
			EXPECT_EQ(unpack_consume(&u, first + i), 0);
		}
	}
}

TEST_F(UnpackLists, ASlotThatIsUsedAgainHasNothingOfItsLastReceive)
{
	for (uint64_t seq = 0; seq < 5 * UNPACK_SLOTS; seq++) {
		uint64_t entries = 1 + seq * 7 % 50;

		ASSERT_EQ(unpack_begin(&u, seq, slice), 0);
		ASSERT_NO_FATAL_FAILURE(fill(seq, entries));
		EXPECT_EQ(published(seq), entries);
		EXPECT_EQ(unpack_consume(&u, seq), 0);
	}
}

TEST_F(UnpackLists, NumbersGoUpByOne)
{
	EXPECT_EQ(unpack_begin(&u, 1, slice), -EINVAL);
	EXPECT_EQ(unpack_begin(&u, UINT64_MAX, slice), -EINVAL);
	EXPECT_EQ(unpack_begin(&u, 0, slice), 0);
	EXPECT_EQ(unpack_begin(&u, 0, slice), -EINVAL);
	EXPECT_EQ(unpack_begin(&u, 2, slice), -EINVAL);
}

TEST_F(UnpackLists, OnlyAnOpenListIsAddedToAndPublished)
{
	for (uint64_t seq : { uint64_t{ 0 }, uint64_t{ 16 }, UINT64_MAX }) {
		EXPECT_EQ(unpack_add(&u, seq, 0, 0, 1), -EINVAL);
		EXPECT_EQ(unpack_publish(&u, seq), -EINVAL);
	}
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	/* The same slot, another receive. */
	EXPECT_EQ(unpack_add(&u, 16, 0, 0, 1), -EINVAL);
	EXPECT_EQ(unpack_publish(&u, 16), -EINVAL);
	ASSERT_EQ(unpack_publish(&u, 0), 0);
	EXPECT_EQ(unpack_add(&u, 0, 0, 0, 1), -EINVAL);
	EXPECT_EQ(unpack_add(&u, 0, 0, 0, 0), -EINVAL);
	EXPECT_EQ(unpack_publish(&u, 0), -EINVAL);
	ASSERT_EQ(unpack_consume(&u, 0), 0);
	EXPECT_EQ(unpack_add(&u, 0, 0, 0, 1), -EINVAL);
	EXPECT_EQ(unpack_publish(&u, 0), -EINVAL);
}

TEST_F(UnpackLists, ReceivesAreConsumedInOrder)
{
	EXPECT_EQ(unpack_consume(&u, 0), -EINVAL);
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	ASSERT_EQ(unpack_begin(&u, 1, slice), 0);
	/* They may be complete in any. */
	ASSERT_EQ(unpack_publish(&u, 1), 0);
	EXPECT_EQ(unpack_consume(&u, 1), -EINVAL);
	EXPECT_EQ(unpack_consume(&u, 0), -EINVAL) << "it is not published";
	ASSERT_EQ(unpack_publish(&u, 0), 0);
	EXPECT_EQ(unpack_consume(&u, 16), -EINVAL);
	EXPECT_EQ(unpack_consume(&u, 0), 0);
	EXPECT_EQ(unpack_consume(&u, 0), -EINVAL);
	EXPECT_EQ(unpack_consume(&u, 1), 0);
	EXPECT_EQ(unpack_consume(&u, 2), -EINVAL);
}

TEST_F(UnpackLists, AfterWithdrawalThereIsNothingToCopy)
{
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	ASSERT_EQ(unpack_begin(&u, 1, slice), 0);
	ASSERT_EQ(unpack_add(&u, 0, 0, 0, 10), 0);
	ASSERT_EQ(unpack_add(&u, 1, 0, 0, 10), 0);
	ASSERT_EQ(published(0), 1u);
	unpack_withdraw(&u);
	EXPECT_EQ(count(0), 0u);
	EXPECT_EQ(unpack_add(&u, 1, 100, 100, 10), 0);
	EXPECT_EQ(unpack_publish(&u, 1), -ECANCELED);
	EXPECT_EQ(count(1), 0u);
	EXPECT_EQ(unpack_consume(&u, 0), 0);
	EXPECT_EQ(unpack_consume(&u, 1), 0);
	/* What has nothing on its list lacks nothing. */
	ASSERT_EQ(unpack_begin(&u, 2, slice), 0);
	EXPECT_EQ(unpack_publish(&u, 2), 0);
}

TEST_F(UnpackLists, AnOpenListCanBeReadAndTakenBack)
{
	const unpack_entry *first = nullptr;

	EXPECT_EQ(unpack_entries(&u, 0, &first), 0u);
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	ASSERT_EQ(unpack_begin(&u, 1, slice), 0);
	ASSERT_NO_FATAL_FAILURE(fill(0, 3));
	ASSERT_NO_FATAL_FAILURE(fill(1, 5));
	ASSERT_EQ(unpack_entries(&u, 0, &first), 3u);
	EXPECT_EQ(first, meta->entry[0]);
	unpack_empty(&u, 0);
	unpack_empty(&u, 16); /* the same slot, another receive */
	EXPECT_EQ(unpack_entries(&u, 0, &first), 0u);
	EXPECT_EQ(unpack_entries(&u, 1, &first), 5u);
	/* It is open as before, and nothing is merged with what is gone. */
	EXPECT_EQ(unpack_add(&u, 0, 9, 5, 1), 0);
	EXPECT_EQ(published(0), 1u);
	EXPECT_EQ(entry(0, 0).src_off, 9u);
	EXPECT_EQ(entry(0, 0).len, 1u);
	/* What is published is not. */
	unpack_empty(&u, 0);
	EXPECT_EQ(count(0), 1u);
	EXPECT_EQ(unpack_entries(&u, 0, &first), 0u);
	EXPECT_EQ(unpack_entries(&u, 17, &first), 0u);
}

} // namespace
