// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_credit.cc - what peers may send never exceeds what the pool can take,
 * and every connection can always make progress with its floor.
 */
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <thread>
#include <vector>

#include "c_headers.h"

namespace {

class Credit : public testing::Test {
protected:
	void make(size_t total) { credit_init(&credit, total); }
	void TearDown() override { credit_destroy(&credit); }

	struct credit credit;
};

TEST_F(Credit, AFloorIsAlwaysThereForItsOwner)
{
	struct credit_member greedy = {}, modest = {};

	make(100);
	ASSERT_EQ(credit_join(&credit, &greedy, 10), 0);
	ASSERT_EQ(credit_join(&credit, &modest, 10), 0);
	size_t taken = credit_take(&credit, &greedy, SIZE_MAX, 1);
	EXPECT_GT(taken, 10u) << "what nobody uses is lent";
	EXPECT_EQ(credit_take(&credit, &greedy, 1, 1), 0u);
	EXPECT_EQ(credit_take(&credit, &modest, 10, 10), 10u);
}

TEST_F(Credit, LaterMembersFindTheirFloorInTheHeadroom)
{
	struct credit_member first = {}, later = {};

	make(100);
	ASSERT_EQ(credit_join(&credit, &first, 10), 0);
	credit_take(&credit, &first, SIZE_MAX, 1);
	EXPECT_EQ(credit_join(&credit, &later, 10), 0);
	EXPECT_EQ(credit_take(&credit, &later, 10, 10), 10u);
}

TEST_F(Credit, AFloorThatDoesNotFitIsRefused)
{
	struct credit_member member = {};

	make(100);
	EXPECT_EQ(credit_join(&credit, &member, 101), -ENOSPC);
	EXPECT_EQ(credit_join(&credit, &member, SIZE_MAX), -ENOSPC);
	EXPECT_EQ(credit_join(&credit, &member, 100), 0);
	EXPECT_EQ(credit_take(&credit, &member, 200, 1), 100u);
}

TEST_F(Credit, LessThanTheLeastIsNothing)
{
	struct credit_member member = {};

	make(100);
	ASSERT_EQ(credit_join(&credit, &member, 10), 0);
	EXPECT_EQ(credit_take(&credit, &member, 200, 150), 0u);
	EXPECT_EQ(member.used, 0u) << "a refusal takes nothing";
	EXPECT_GT(credit_take(&credit, &member, 200, 10), 10u);
}

/* Borrowed niovs go back first: the floor is what lasts. */
TEST_F(Credit, WhatIsGivenBackCanBeLentAgain)
{
	struct credit_member a = {}, b = {};

	make(100);
	ASSERT_EQ(credit_join(&credit, &a, 10), 0);
	ASSERT_EQ(credit_join(&credit, &b, 10), 0);
	size_t taken = credit_take(&credit, &a, 1000, 1);
	ASSERT_EQ(credit_take(&credit, &b, 11, 11), 0u);
	credit_give(&credit, &a, taken - 10);
	EXPECT_EQ(credit_take(&credit, &b, 1000, 1), taken);
	EXPECT_EQ(credit_take(&credit, &a, 1, 1), 0u);
}

TEST_F(Credit, GivingMoreThanIsHeldMakesNoCredit)
{
	struct credit_member a = {}, b = {};

	make(100);
	ASSERT_EQ(credit_join(&credit, &a, 10), 0);
	ASSERT_EQ(credit_join(&credit, &b, 10), 0);
	credit_give(&credit, &a, 1000);
	size_t taken = credit_take(&credit, &a, SIZE_MAX, 1);
	taken += credit_take(&credit, &b, SIZE_MAX, 1);
	EXPECT_LE(taken, 100u);
}

TEST_F(Credit, LeavingGivesEverythingBack)
{
	make(100);
	for (int i = 0; i < 100; i++) {
		struct credit_member member = {};

		ASSERT_EQ(credit_join(&credit, &member, 60), 0) << i;
		credit_take(&credit, &member, 1 + i, 1);
		credit_leave(&credit, &member);
	}
}

/* Randomly, against sums that cannot be wrong. */
TEST_F(Credit, HoldingsNeverExceedThePool)
{
	std::mt19937 random(9);

	for (int round = 0; round < 200; round++) {
		size_t total = 1 + random() % 1000;
		std::vector<struct credit_member> members(6);
		std::vector<size_t> held(6), floors(6);
		std::vector<bool> joined(6);

		make(total);
		for (int i = 0; i < 500; i++) {
			size_t m = random() % 6, n = random() % (total + 9);

			if (!joined[m]) {
				size_t floor = random() % (total / 4 + 2);
				joined[m] = !credit_join(&credit, &members[m],
							 floor);
				floors[m] = joined[m] ? floor : 0;
				held[m] = 0;
			} else if (random() % 20 == 0) {
				credit_leave(&credit, &members[m]);
				joined[m] = false;
				held[m] = floors[m] = 0;
			} else if (random() % 2) {
				size_t own = floors[m] > held[m] ?
						     floors[m] - held[m] : 0;
				size_t got = credit_take(&credit, &members[m],
							 n, 1);
				ASSERT_LE(got, n);
				ASSERT_GE(got, std::min(own, n))
					<< "the floor was not to be had";
				held[m] += got;
			} else {
				n %= held[m] + 1;
				credit_give(&credit, &members[m], n);
				held[m] -= n;
			}
			/* Held or reserved: that is what the pool must take. */
			size_t sum = 0;
			for (size_t j = 0; j < 6; j++)
				sum += std::max(held[j], floors[j]);
			ASSERT_LE(sum, total);
			if (joined[m]) {
				ASSERT_EQ(members[m].used, held[m]);
			}
		}
		for (size_t j = 0; j < 6; j++)
			if (joined[j])
				credit_leave(&credit, &members[j]);
		/* Nothing was lost on the way. */
		ASSERT_EQ(credit_join(&credit, &members[0], total), 0);
		credit_destroy(&credit);
	}
	make(1);
}

TEST_F(Credit, ThreadsDoNotLoseOrMakeCredit)
{
	std::vector<std::thread> threads;

	make(1000);
	for (int t = 0; t < 4; t++)
		threads.emplace_back([&, t] {
			std::mt19937 random(t);
			struct credit_member member = {};

			for (int i = 0; i < 3000; i++) {
				if (credit_join(&credit, &member, 50))
					continue;
				size_t n = credit_take(&credit, &member,
						       random() % 300, 1);
				credit_give(&credit, &member, n / 2);
				credit_leave(&credit, &member);
			}
		});
	for (std::thread &thread : threads)
		thread.join();
	struct credit_member all = {};
	EXPECT_EQ(credit_join(&credit, &all, 1000), 0);
}

} // namespace
