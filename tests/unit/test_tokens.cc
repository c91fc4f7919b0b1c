// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_tokens.cc - each token goes back to the kernel exactly once, in calls
 * that the kernel takes. The kernel here is a model behind setsockopt (the
 * linker's --wrap), with the rules of Linux 6.12's sock_devmem_dontneed().
 */
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <random>

#include "c_headers.h"

namespace {

struct Kernel {
	std::map<uint32_t, int> held; /* token: how often it was returned */
	int calls = 0;
	int fail_with = 0;
	int stop_after = -1; /* frees no more than this many frags */

	void reset() { *this = Kernel(); }

	int dontneed(const struct devmem_uapi_token *range, size_t bytes)
	{
		int freed = 0;

		calls++;
		if (fail_with) {
			errno = fail_with;
			return -1;
		}
		if (!bytes || bytes % sizeof(*range) ||
		    bytes / sizeof(*range) > DEVMEM_MAX_DONTNEED_TOKENS) {
			errno = EINVAL;
			return -1;
		}
		uint64_t budget = DEVMEM_MAX_DONTNEED_FRAGS;
		for (size_t i = 0; i < bytes / sizeof(*range); i++)
			for (uint32_t j = 0; j < range[i].token_count; j++) {
				if (!budget-- || freed == stop_after)
					return freed;
				/* A wrapped range is another's token. */
				auto at = held.find(range[i].token_start + j);
				if (at != held.end() && !at->second++)
					freed++;
			}
		return freed;
	}
};

Kernel kernel;
constexpr int test_fd = 12345;

class Tokens : public testing::Test {
protected:
	void SetUp() override
	{
		kernel.reset();
		memset(&batch, 0, sizeof(batch));
	}

	/* Holds a token and puts it into the batch, as the receiver does. */
	void receive(uint32_t token, size_t bytes = 4096)
	{
		kernel.held[token] = 0;
		if (tokens_add(&batch, token, bytes))
			return;
		ASSERT_EQ(give_back(), 0);
		ASSERT_TRUE(tokens_add(&batch, token, bytes))
			<< "an empty batch takes any token";
	}

	/* The batch counts its calls as the kernel does. */
	int give_back()
	{
		uint64_t calls = kernel.calls;
		int rc = tokens_return(&batch, test_fd, &calls);

		EXPECT_EQ(calls, static_cast<uint64_t>(kernel.calls));
		return rc;
	}

	void expect_all_returned_once()
	{
		EXPECT_EQ(give_back(), 0);
		for (auto &[token, times] : kernel.held)
			ASSERT_EQ(times, 1) << "token " << token;
	}

	static struct token_batch batch; /* not small */
};

struct token_batch Tokens::batch;

} // namespace

extern "C" int __real_setsockopt(int fd, int level, int name,
				 const void *value, socklen_t size);
extern "C" int __wrap_setsockopt(int fd, int level, int name,
				 const void *value, socklen_t size);

extern "C" int __wrap_setsockopt(int fd, int level, int name,
				 const void *value, socklen_t size)
{
	if (fd != test_fd)
		return __real_setsockopt(fd, level, name, value, size);
	if (level != SOL_SOCKET || name != SO_DEVMEM_DONTNEED) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return kernel.dontneed(
		static_cast<const struct devmem_uapi_token *>(value), size);
}

namespace {

TEST_F(Tokens, ConsecutiveOnesShareARange)
{
	for (uint32_t token = 100; token < 200; token++)
		receive(token);
	EXPECT_EQ(batch.ranges, 1u);
	EXPECT_EQ(batch.frags, 100u);
	EXPECT_EQ(batch.bytes, 100u * 4096);
	expect_all_returned_once();
	EXPECT_EQ(kernel.calls, 1);
}

TEST_F(Tokens, AnEmptyBatchMakesNoCall)
{
	EXPECT_EQ(give_back(), 0);
	EXPECT_EQ(kernel.calls, 0);
}

/* One call takes 128 ranges; scattered tokens need a range each. */
TEST_F(Tokens, ScatteredOnesGoBackIn128RangesACall)
{
	for (uint32_t i = 0; i < TOKEN_RANGES; i++)
		receive(2 * i);
	expect_all_returned_once();
	EXPECT_EQ(kernel.calls, int{TOKEN_RANGES / DEVMEM_MAX_DONTNEED_TOKENS});
}

/* One call frees 1024 frags and no more, and says nothing about the rest. */
TEST_F(Tokens, ConsecutiveOnesGoBackIn1024FragsACall)
{
	for (uint32_t i = 0; i < 5000; i++)
		receive(7 + i);
	expect_all_returned_once();
	EXPECT_LE(kernel.calls, 6);
}

TEST_F(Tokens, RangesOfManySizesStayWithinBothBounds)
{
	uint32_t token = 0;

	for (uint32_t length : {1023, 2, 1024, 1, 1, 1025, 700, 400, 2048, 3}) {
		for (uint32_t i = 0; i < length; i++)
			receive(token++);
		token += 5;
	}
	expect_all_returned_once();
}

TEST_F(Tokens, AFullBatchRefusesAndStaysAsItWas)
{
	for (uint32_t i = 0; i < TOKEN_RANGES; i++) {
		EXPECT_EQ(tokens_room(&batch), TOKEN_RANGES - i);
		ASSERT_TRUE(tokens_add(&batch, 2 * i, 1));
	}
	EXPECT_EQ(tokens_room(&batch), 0u);
	EXPECT_FALSE(tokens_add(&batch, 1u << 20, 1));
	EXPECT_EQ(batch.frags, TOKEN_RANGES);
	EXPECT_EQ(batch.bytes, size_t{TOKEN_RANGES});
}

/* The kernel counts a range up from its start: it must not pass the top. */
TEST_F(Tokens, ARangeDoesNotWrap)
{
	receive(0xfffffffe);
	receive(0xffffffff);
	receive(0);
	receive(1);
	ASSERT_EQ(batch.ranges, 2u);
	EXPECT_EQ(batch.range[0].token_start, 0xfffffffeu);
	EXPECT_EQ(batch.range[0].token_count, 2u);
	EXPECT_EQ(batch.range[1].token_start, 0u);
	expect_all_returned_once();
}

TEST_F(Tokens, DescendingOnesAreNotMistakenForARange)
{
	for (uint32_t token = 300; token > 200; token--)
		receive(token);
	expect_all_returned_once();
}

TEST_F(Tokens, AnyOrderIsReturnedExactlyOnce)
{
	std::mt19937 random(6);

	for (int round = 0; round < 50; round++) {
		kernel.reset();
		uint32_t token = random();
		size_t count = 0;

		for (int i = 0; i < 5000; i++) {
			/* Mostly in order, as the kernel gives them out. */
			token += random() % 10 ? 1 : random() % 1000 + 2;
			if (kernel.held.count(token))
				continue;
			receive(token, random() % 4097);
			count++;
		}
		expect_all_returned_once();
		EXPECT_EQ(kernel.held.size(), count);
	}
}

/* The number is given out anew at once: a second return hits someone else. */
TEST_F(Tokens, AfterAnErrorTheBatchIsEmpty)
{
	receive(1);
	receive(5);
	kernel.fail_with = EBADF;
	EXPECT_EQ(give_back(), -EBADF);
	EXPECT_EQ(batch.ranges, 0u);
	EXPECT_EQ(batch.frags, 0u);
	EXPECT_EQ(batch.bytes, 0u);
	kernel.fail_with = 0;
	EXPECT_EQ(give_back(), 0);
	EXPECT_EQ(kernel.calls, 1);
}

TEST_F(Tokens, AFragThatTheKernelDidNotFreeIsReported)
{
	for (uint32_t token = 10; token < 20; token++)
		receive(token);
	kernel.stop_after = 9;
	EXPECT_EQ(give_back(), -EIO);
	EXPECT_EQ(batch.frags, 0u);
}

} // namespace
