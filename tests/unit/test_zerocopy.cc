// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_zerocopy.cc - large messages from host memory by reference: when, what if
 * the kernel will not, and that nothing is done before its completion.
 */
#include "host_pair.h"

#include <ctime>
#include <linux/errqueue.h>

namespace {

constexpr size_t large = 256 << 10;

/* CPU time goes by, as if the kernel were slow. */
void spend_ms(int ms)
{
	clock_t end = clock() + ms * CLOCKS_PER_SEC / 1000;

	while (clock() < end)
		;
}

class Zerocopy : public HostPair {
protected:
	void start_with(enum devmem_zerocopy mode)
	{
		options.zerocopy = mode;
		start();
	}
	uint64_t by_reference()
	{
		struct devmem_stats stats;

		devmem_conn_stats(sender, &stats);
		return stats.bytes_zerocopy;
	}
	bool said(const std::string &text)
	{
		return logged.find(text) != std::string::npos;
	}
	int decisions()
	{
		int n = 0;

		for (size_t at = 0;
		     (at = logged.find("zerocopy nic=", at)) != std::string::npos;
		     at++)
			n++;
		return n;
	}
	/* Loopback copies: a kernel that says that it does not. */
	void hide_copies()
	{
		host_kernel.recvmsg = [](int fd, struct msghdr *msg, int flags) {
			ssize_t n = __real_recvmsg(fd, msg, flags);

			if (n >= 0 && flags & MSG_ERRQUEUE)
				reinterpret_cast<struct sock_extended_err *>(
					CMSG_DATA(CMSG_FIRSTHDR(msg)))->ee_code = 0;
			return n;
		};
	}
	void slow_down(bool reference)
	{
		host_kernel.sendmsg = [=](int fd, const struct msghdr *msg,
					  int flags) {
			size_t bytes = 0;

			for (size_t i = 0; i < msg->msg_iovlen; i++)
				bytes += msg->msg_iov[i].iov_len;
			if (bytes >= large / 2 &&
			    reference == !!(flags & MSG_ZEROCOPY))
				spend_ms(1);
			return __real_sendmsg(fd, msg, flags);
		};
	}
	void refuse(int error, const std::function<bool()> &when)
	{
		host_kernel.sendmsg = [=](int fd, const struct msghdr *msg,
					  int flags) {
			if (!(flags & MSG_ZEROCOPY) || !when())
				return __real_sendmsg(fd, msg, flags);
			errno = error;
			return ssize_t(-1);
		};
	}
	/* Several rounds of messages of all kinds. */
	void exchange_many(int rounds = 6)
	{
		for (int i = 0; i < rounds && !HasFailure(); i++)
			exchange({large, 3 * large + 1, 100, 5 * large, 0,
				  large, 70000, 2 * large, 2 * large + 77});
	}
	/* Of one round, what is large. */
	static constexpr uint64_t large_bytes = 14 * large + 78;
};

TEST_F(Zerocopy, IsOffForGoodWhereTheKernelCopies)
{
	uint64_t before;

	start_with(DEVMEM_ZEROCOPY_AUTO);
	exchange_many(2);
	EXPECT_TRUE(said("off reason=\"the kernel copied\"")) << logged;
	before = by_reference();
	EXPECT_GT(before, 0u) << "it was never tried";
	exchange_many();
	EXPECT_EQ(by_reference(), before);
	EXPECT_EQ(decisions(), 1) << logged;
}

/* Whatever goes along: what is timed goes in calls of its own. */
TEST_F(Zerocopy, IsDecidedWithSmallMessagesBetween)
{
	hide_copies();
	slow_down(false);
	start_with(DEVMEM_ZEROCOPY_AUTO);
	for (int i = 0; i < 40 && !HasFailure(); i++)
		exchange({1000, 12 * large, 1000, 12 * large, 1000,
			  12 * large, 1000, 12 * large});
	EXPECT_EQ(decisions(), 1) << logged;
}

TEST_F(Zerocopy, IsDecidedWithSmallMessagesBetweenOnFlows)
{
	options.eager_bytes = 0;
	options.flows = 1;
	hide_copies();
	slow_down(false);
	start_with(DEVMEM_ZEROCOPY_AUTO);
	for (int i = 0; i < 40 && !HasFailure(); i++)
		exchange({100000, 12 * large, 100000, 12 * large, 100000,
			  12 * large, 100000, 12 * large});
	EXPECT_EQ(decisions(), 1) << logged;
}

TEST_F(Zerocopy, OnMeansEachLargeMessageAndNoOther)
{
	start_with(DEVMEM_ZEROCOPY_ON);
	exchange_many(3);
	EXPECT_EQ(by_reference(), 3 * large_bytes);
	EXPECT_EQ(decisions(), 1) << logged;
}

TEST_F(Zerocopy, OffMeansNone)
{
	start_with(DEVMEM_ZEROCOPY_OFF);
	exchange_many(1);
	EXPECT_EQ(by_reference(), 0u);
}

TEST_F(Zerocopy, OnFlowsToo)
{
	options.eager_bytes = 0;
	options.flows = 3;
	start_with(DEVMEM_ZEROCOPY_ON);
	exchange_many(3);
	EXPECT_EQ(by_reference(), 3 * large_bytes);
}

TEST_F(Zerocopy, TheWayThatTakesLessCpuIsTaken)
{
	uint64_t before;

	hide_copies();
	slow_down(false);
	start_with(DEVMEM_ZEROCOPY_AUTO);
	exchange_many(23);
	EXPECT_TRUE(said(" on reason=")) << logged;
	before = by_reference();
	exchange_many(1);
	EXPECT_EQ(by_reference(), before + large_bytes);
	EXPECT_EQ(decisions(), 1) << logged;
}

TEST_F(Zerocopy, TheWayThatTakesMoreCpuIsLeft)
{
	uint64_t before;

	hide_copies();
	slow_down(true);
	start_with(DEVMEM_ZEROCOPY_AUTO);
	exchange_many(23);
	EXPECT_TRUE(said(" off reason=")) << logged;
	EXPECT_FALSE(said("copied")) << logged;
	before = by_reference();
	exchange_many(1);
	EXPECT_EQ(by_reference(), before);
}

TEST_F(Zerocopy, NoLeaveToPinIsNoFailure)
{
	for (int error : {ENOBUFS, EFAULT, ENOMEM}) {
		refuse(error, [] { return true; });
		start_with(DEVMEM_ZEROCOPY_ON);
		exchange_many(2);
		EXPECT_EQ(by_reference(), 0u);
		EXPECT_TRUE(said(error == ENOBUFS ? "ulimit -l" :
						    strerror(error)))
			<< logged;
		EXPECT_EQ(decisions(), 1) << logged;
		TearDown();
		SetUp();
	}
}

/* Room that comes back with completions is no reason to give up. */
TEST_F(Zerocopy, WhatDoesNotFitNowIsCopied)
{
	int calls = 0;

	refuse(ENOBUFS, [&] { return ++calls % 2 == 0; });
	/* What is under way stays so till the test's second half. */
	host_kernel.recvmsg = [&](int fd, struct msghdr *msg, int flags) {
		if (flags & MSG_ERRQUEUE && calls < 4) {
			errno = EAGAIN;
			return ssize_t(-1);
		}
		return __real_recvmsg(fd, msg, flags);
	};
	start_with(DEVMEM_ZEROCOPY_ON);
	exchange({large, large, large, large, large, large});
	EXPECT_GT(by_reference(), 0u);
	EXPECT_LT(by_reference(), 6 * large);
	EXPECT_FALSE(said("ulimit")) << logged;
}

TEST_F(Zerocopy, IsDoneWithItsCompletionAndNotBefore)
{
	std::vector<uint8_t> from(large, 1), to(large);
	struct devmem_request *out, *in;
	bool wait = true;

	host_kernel.recvmsg = [&](int fd, struct msghdr *msg, int flags) {
		if (flags & MSG_ERRQUEUE && wait) {
			errno = EAGAIN;
			return ssize_t(-1);
		}
		return __real_recvmsg(fd, msg, flags);
	};
	start_with(DEVMEM_ZEROCOPY_ON);
	for (bool closed : {false, true}) {
		wait = true;
		ASSERT_EQ(devmem_recv(receiver, to.data(), large, nullptr, &in),
			  0);
		ASSERT_EQ(devmem_send(sender, from.data(), large, nullptr,
				      &out), 0);
		ASSERT_TRUE(poll_until([&] {
			EXPECT_EQ(devmem_test(out, nullptr), -EAGAIN);
			return HasFailure() || devmem_test(in, nullptr) == 0;
		}));
		for (int i = 0; i < 100; i++)
			ASSERT_EQ(devmem_test(out, nullptr), -EAGAIN);
		if (closed)
			break; /* with a completion under way */
		wait = false;
		ASSERT_TRUE(poll_until([&] {
			return devmem_test(out, nullptr) == 0;
		}));
	}
}

} // namespace
