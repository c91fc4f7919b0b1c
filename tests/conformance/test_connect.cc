// SPDX-License-Identifier: BSD-3-Clause
/* test_connect.cc - T9..T13, T30, T39: how connections come and go. */
#include <algorithm>
#include <thread>

#include "fixture.h"

namespace {

using Connect = Conformance;

/*
 * "Returns at once", on a machine that may be busy: the median of a few is nothing
 * that a call that sleeps, or waits for its peer, can be.
 */
std::chrono::milliseconds at_once()
{
	return patience() / 20;
}

Clock::duration median_time(int times, const std::function<void()> &call)
{
	std::vector<Clock::duration> took;

	for (int i = 0; i < times; i++) {
		auto start = Clock::now();
		call();
		took.push_back(Clock::now() - start);
	}
	std::sort(took.begin(), took.end());
	return took[took.size() / 2];
}

/*
 * NCCL hands the handle to another process and retries connect on that
 * process's copy. The side checks that listen wrote no byte beyond it.
 */
TEST_P(Connect, T9_AHandleWorksInAnotherProcess)
{
	Pair pair(elsewhere(), here());

	ASSERT_TRUE(pair.listen());
	ASSERT_TRUE(pair.connect());
	EXPECT_TRUE(pair.exchange(300000, 9));
}

TEST_P(Connect, T9_BothDirectionsBetweenTwoProcesses)
{
	Pair out(elsewhere(), here()), back(here(), elsewhere());

	ASSERT_TRUE(out.connect());
	ASSERT_TRUE(back.connect());
	for (int i = 0; i < 5; i++) {
		EXPECT_TRUE(out.exchange(70000, i));
		EXPECT_TRUE(back.exchange(70000, 100 + i));
	}
}

TEST_P(Connect, T10_ConnectBeforeAcceptReturnsAtOnce)
{
	Pair pair(there(), here());

	ASSERT_TRUE(pair.listen());
	auto took = median_time(21, [&] {
		ASSERT_TRUE(pair.connect_step());
	});
	EXPECT_LT(took, at_once());
	ASSERT_TRUE(pair.connect());
	EXPECT_TRUE(pair.exchange(1000, 10));
}

TEST_P(Connect, T10_AcceptBeforeConnectReturnsAtOnceWithNull)
{
	Pair pair(there(), here());

	ASSERT_TRUE(pair.listen());
	auto took = median_time(21, [&] {
		ASSERT_TRUE(pair.accept_step());
		EXPECT_EQ(pair.rx.comm, nullptr);
	});
	EXPECT_LT(took, at_once());
	ASSERT_TRUE(pair.connect());
	EXPECT_TRUE(pair.exchange(1000, 11));
}

TEST_P(Connect, T10_ASlowPeerIsWaitedFor)
{
	Pair pair(there(), here());

	ASSERT_TRUE(pair.listen());
	/* The sender starts and pauses in the middle, the receiver asks on. */
	for (int i = 0; i < 3; i++) {
		ASSERT_TRUE(pair.connect_step());
		auto until = Clock::now() + std::chrono::milliseconds(100);
		while (Clock::now() < until)
			ASSERT_TRUE(pair.accept_step());
	}
	ASSERT_TRUE(pair.connect());
	EXPECT_TRUE(pair.exchange(1000, 12));
}

TEST_P(Connect, T11_ConnectToAClosedListenerFailsInFiniteTime)
{
	Pair pair(there(), here());
	AssertionResult result = testing::AssertionSuccess();

	ASSERT_TRUE(pair.listen());
	ASSERT_EQ(pair.close_listen(), ncclSuccess);
	bool ended = poll_until([&] {
		auto start = Clock::now();
		result = pair.connect_step();
		EXPECT_LT(Clock::now() - start, patience())
			<< "connect blocked";
		return !result;
	}, 3 * patience());
	EXPECT_TRUE(ended) << "connect never reported an error";
	EXPECT_EQ(pair.tx.comm, nullptr);
}

TEST_P(Connect, T11_AHandleOfNoListenerIsAnError)
{
	for (unsigned char byte : {0x00, 0xff, 0x5a}) {
		Pair pair(there(), here());
		bool ended = false;

		pair.handle.fill(byte);
		ended = poll_until([&] { return !pair.connect_step(); },
				   3 * patience());
		EXPECT_TRUE(ended) << "handle full of " << int{byte};
	}
}

TEST_P(Connect, T13_CloseListenWithoutAccept)
{
	for (int i = 0; i < 10; i++) {
		Pair pair(there(), here());

		ASSERT_TRUE(pair.listen());
		EXPECT_EQ(pair.close_listen(), ncclSuccess);
	}
}

TEST_P(Connect, T13_CloseListenWithAConnectionHalfMade)
{
	/* Without finalize nothing but the process's end frees the sender's. */
	if (!has_contexts())
		expect_orphans();
	for (int steps = 1; steps < 8; steps++) {
		Pair pair(has_contexts() ? there() : elsewhere(), here());

		ASSERT_TRUE(pair.listen());
		for (int i = 0; i < steps; i++) {
			if (!pair.connect_step())
				break;
			ASSERT_TRUE(pair.accept_step());
		}
		EXPECT_EQ(pair.close_listen(), ncclSuccess);
		/* The rest is an orphan of finalize, or a comm: close it. */
	}
}

/* On abort NCCL closes neither listeners nor half-made comms. */
TEST_P(Connect, T13_FinalizeReapsOrphans)
{
	if (!has_contexts())
		GTEST_SKIP() << "there is no finalize in this version";
	/* What all contexts share may come with the first listener, and stay. */
	{
		Pair pair(here(), here());
		ASSERT_TRUE(pair.listen());
	}
	for (int steps = 0; steps < 8; steps++) {
		std::map<int, std::string> before = open_fds();
		Got rx = local().init(1000), tx = local().init(1001);
		ASSERT_TRUE(rx.ok() && tx.ok());
		Handle handle = {};
		Got listener = local().listen(rx.pointer, test_device(),
					      handle);
		ASSERT_TRUE(listener.ok());
		void *sender = nullptr, *receiver = nullptr;
		for (int i = 0; i < steps && !sender && !receiver; i++) {
			Got got = local().connect(tx.pointer, test_device(),
						  handle);
			ASSERT_TRUE(got.ok()) << result_name(got.result);
			sender = got.pointer;
			got = local().accept(listener.pointer);
			ASSERT_TRUE(got.ok()) << result_name(got.result);
			receiver = got.pointer;
		}
		if (sender)
			local().close_send(sender);
		if (receiver)
			local().close_recv(receiver);
		EXPECT_EQ(local().finalize(tx.pointer), ncclSuccess);
		EXPECT_EQ(local().finalize(rx.pointer), ncclSuccess);
		EXPECT_EQ(open_fds(), before) << "after " << steps << " steps";
	}
}

/* Nothing else says that NCCL is done: below version 11 there is no finalize. */
TEST_P(Connect, T13_TheLastCloseLeavesNothing)
{
	if (has_contexts() || !leaves_nothing(GetParam()))
		GTEST_SKIP() << "what is left is finalize's, or nobody's";
	std::map<int, std::string> before = open_fds();
	for (int round = 0; round < 3; round++) {
		Pair first(here(), here()), last(here(), here());

		ASSERT_TRUE(first.connect());
		ASSERT_TRUE(last.connect());
		first.close();
		EXPECT_TRUE(last.exchange(50000, round));
		last.close();
		EXPECT_EQ(open_fds(), before) << "round " << round;
	}
}

/* One communicator ends while another one begins. */
TEST_P(Connect, T13_AConnectHalfMadeOutlivesOtherConnections)
{
	Pair ends(here(), here()), begins(here(), elsewhere());

	ASSERT_TRUE(ends.connect());
	ASSERT_TRUE(begins.listen());
	for (int i = 0; i < 3; i++) {
		ASSERT_TRUE(begins.connect_step());
		ASSERT_TRUE(begins.accept_step());
	}
	ends.close();
	ASSERT_TRUE(begins.connect());
	EXPECT_TRUE(begins.exchange(50000, 13));
}

TEST_P(Connect, T13_TwoSendersThroughOneListener)
{
	Pair first(there(), here()), second(there(), here());

	ASSERT_TRUE(first.listen());
	second.handle = first.handle;
	second.listener = first.listener;
	ASSERT_TRUE(poll_until([&] {
		EXPECT_TRUE(first.connect_step());
		EXPECT_TRUE(first.accept_step());
		return HasFailure() || first.connected();
	}));
	first.listener = nullptr;
	ASSERT_TRUE(second.connect());
	EXPECT_TRUE(first.exchange(50000, 131));
	EXPECT_TRUE(second.exchange(50000, 132));
}

TEST_P(Connect, T30_ManyConnectionsInOneThread)
{
	std::vector<std::unique_ptr<Pair>> pairs;

	for (int i = 0; i < 16; i++) {
		pairs.push_back(std::make_unique<Pair>(there(), here()));
		ASSERT_TRUE(pairs.back()->connect()) << "connection " << i;
	}
	for (size_t i = 0; i < pairs.size(); i++)
		EXPECT_TRUE(pairs[i]->exchange(65536, i)) << "connection " << i;
}

TEST_P(Connect, T30_CommunicatorsInThreadsDoNotMeet)
{
	std::vector<std::thread> threads;
	std::atomic<int> done = 0;

	for (int t = 0; t < 4; t++)
		threads.emplace_back([&, t] {
			Got own = local().init(3000 + t);
			ASSERT_TRUE(own.ok());
			for (int i = 0; i < 5; i++) {
				Pair pair({&local(), own.pointer},
					  {&local(), own.pointer});
				ASSERT_TRUE(pair.connect());
				ASSERT_TRUE(pair.exchange(200000, t * 100 + i));
			}
			EXPECT_EQ(local().finalize(own.pointer), ncclSuccess);
			done++;
		});
	for (std::thread &thread : threads)
		thread.join();
	EXPECT_EQ(done, 4);
}

EACH_TABLE(Connect);

} // namespace
