// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_gather.cc - scattered pieces into one place: merging neighbours changes
 * the number of operations and never the result.
 */
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "c_headers.h"

namespace {

class Gather : public testing::Test {
protected:
	void SetUp() override
	{
		std::mt19937 random(7);

		for (uint8_t &byte : pool)
			byte = random();
		for (uint8_t &byte : host)
			byte = random();
		engine.ops = &gather_cpu;
	}
	void TearDown() override { gather_list_free(&list); }

	void make_list(size_t cap)
	{
		gather_list_free(&list);
		ASSERT_EQ(gather_list_init(&list, cap), 0);
		list.pool = pool.data();
	}
	struct gather_op from_pool(size_t to, size_t offset, size_t len)
	{
		return {target.data() + to, nullptr, offset, len};
	}
	struct gather_op from_host(size_t to, size_t offset, size_t len)
	{
		return {target.data() + to, host.data() + offset, 0, len};
	}
	bool add(const struct gather_op &op)
	{
		return gather_list_add(&list, &op);
	}
	uint64_t submit()
	{
		uint64_t ticket = 0;
		int err = -1;

		EXPECT_EQ(engine.ops->submit(&engine, &list, &ticket), 0);
		EXPECT_GE(engine.ops->done(&engine, &err), ticket);
		EXPECT_EQ(err, 0);
		return ticket;
	}

	static constexpr size_t size = 65536;
	std::vector<uint8_t> pool = std::vector<uint8_t>(size);
	std::vector<uint8_t> host = std::vector<uint8_t>(size);
	std::vector<uint8_t> target = std::vector<uint8_t>(size, 0xee);
	struct gather_list list = {};
	struct gather_engine engine = {};
};

TEST_F(Gather, NeighboursInPoolAndTargetAreOneOperation)
{
	make_list(4);
	for (size_t at = 0; at < 40960; at += 4096)
		ASSERT_TRUE(add(from_pool(at, 8192 + at, 4096)));
	ASSERT_EQ(list.count, 1u);
	EXPECT_EQ(list.op[0].len, 40960u);
	submit();
	EXPECT_EQ(memcmp(target.data(), pool.data() + 8192, 40960), 0);
}

TEST_F(Gather, NeighboursOfOneSideOnlyAreNot)
{
	make_list(8);
	ASSERT_TRUE(add(from_pool(0, 0, 100)));
	ASSERT_TRUE(add(from_pool(101, 100, 100))); /* a gap in the target */
	ASSERT_TRUE(add(from_pool(201, 300, 100))); /* a gap in the pool */
	EXPECT_EQ(list.count, 3u);
}

TEST_F(Gather, PoolAndHostBytesAreNeverOneOperation)
{
	make_list(8);
	ASSERT_TRUE(add(from_pool(0, 0, 100)));
	ASSERT_TRUE(add(from_host(100, 100, 50)));
	ASSERT_TRUE(add(from_host(150, 150, 50)));
	ASSERT_TRUE(add(from_pool(200, 200, 100)));
	EXPECT_EQ(list.count, 3u);
	submit();
	EXPECT_EQ(memcmp(target.data(), pool.data(), 100), 0);
	EXPECT_EQ(memcmp(target.data() + 100, host.data() + 100, 100), 0);
	EXPECT_EQ(memcmp(target.data() + 200, pool.data() + 200, 100), 0);
}

TEST_F(Gather, AFullListRefusesAndStaysAsItWas)
{
	make_list(2);
	ASSERT_TRUE(add(from_pool(0, 0, 10)));
	ASSERT_TRUE(add(from_pool(20, 20, 10)));
	EXPECT_FALSE(add(from_pool(40, 40, 10)));
	EXPECT_EQ(list.count, 2u);
	EXPECT_EQ(list.op[1].len, 10u);
	EXPECT_TRUE(add(from_pool(30, 30, 5))) << "the last one may grow";
	EXPECT_TRUE(add(from_pool(50, 50, 0))) << "nothing always fits";
	EXPECT_EQ(list.count, 2u);
}

TEST_F(Gather, AnythingInAnyOrderIsWhatMemcpyMakesOfIt)
{
	std::mt19937 random(8);

	for (int round = 0; round < 500; round++) {
		std::vector<uint8_t> expected(size, 0xee);
		size_t to = random() % 64, from = random() % 64;

		std::fill(target.begin(), target.end(), 0xee);
		make_list(64);
		for (int i = 0; i < 60; i++) {
			size_t len = random() % 1000;
			bool pooled = random() % 3;

			if (random() % 3 == 0)
				from = random() % (size - 1000);
			if (to + len > size || from + len > size)
				break;
			ASSERT_TRUE(add(pooled ? from_pool(to, from, len) :
						 from_host(to, from, len)));
			memcpy(&expected[to],
			       pooled ? &pool[from] : &host[from], len);
			to += len + (random() % 4 ? 0 : random() % 9);
			from += len;
		}
		submit();
		ASSERT_EQ(target, expected) << "round " << round;
	}
}

TEST_F(Gather, TicketsRiseWithEachSubmission)
{
	make_list(1);
	uint64_t before = 0;

	for (int i = 0; i < 10; i++) {
		uint64_t ticket = submit();
		EXPECT_GT(ticket, before);
		before = ticket;
	}
}

TEST_F(Gather, NoneDeliversHostBytesAndLeavesThePoolAlone)
{
	engine.ops = &gather_none;
	make_list(2);
	list.pool = nullptr;
	ASSERT_TRUE(add(from_pool(0, 0, 100)));
	ASSERT_TRUE(add(from_host(100, 0, 100)));
	submit();
	EXPECT_EQ(target[0], 0xee);
	EXPECT_EQ(target[99], 0xee);
	EXPECT_EQ(memcmp(target.data() + 100, host.data(), 100), 0);
}

} // namespace
