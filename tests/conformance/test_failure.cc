// SPDX-License-Identifier: BSD-3-Clause
/* test_failure.cc - T22, T23: peers that die, comms that close too early. */
#include <algorithm>
#include <memory>
#include <vector>

#include "fixture.h"

namespace {

using Failure = Conformance;

/* Of eight more than all sockets hold, and no more than a small guest can map. */
constexpr size_t large = 8 << 20;

/* So many that they are not through before the peer is stopped; the last of them. */
struct Flood {
	static constexpr int count = 8;
	Transfer *in, *out;

	Flood(Pair &pair, uint64_t seed) : pair_(pair), from_(large)
	{
		from_.fill(seed);
		for (int i = 0; i < count; i++) {
			to_.push_back(std::make_unique<Buffer>(large));
			in = pair.recv(*to_.back(), large);
			out = pair.send(from_, large);
		}
	}

	/* Until a part of it is through. */
	bool in_the_middle()
	{
		return poll_until([&] {
			pair_.progress();
			return to_[0]->begun() || pair_.idle();
		}) && !pair_.idle();
	}

	bool arrived(uint64_t seed) const
	{
		return std::all_of(to_.begin(), to_.end(), [&](auto &to) {
			return to->holds(seed, large);
		});
	}

private:
	Pair &pair_;
	Buffer from_;
	std::vector<std::unique_ptr<Buffer>> to_;
};

/* What a NIC reads from GPU memory may have to wait for its receive. */
bool sent_ahead(Pair &pair, Transfer &last)
{
	for (int i = 0; i < 200 && !last.over(); i++)
		pair.progress();
	return last.over() || memory::kind == memory::Kind::host;
}

TEST_P(Failure, T22_AKilledSenderIsTheReceiversError)
{
	Pair pair(elsewhere(), here());

	ASSERT_TRUE(pair.connect());
	Flood flood(pair, 22);
	Transfer *in = flood.in;
	ASSERT_TRUE(flood.in_the_middle());
	remote()->kill();
	expect_dead();
	pair.forget(pair.tx);
	pair.tx.comm = nullptr;
	ASSERT_TRUE(pair.wait_for([&] { return in->over(); }));
	EXPECT_EQ(in->result, ncclRemoteError) << result_name(in->result);
}

TEST_P(Failure, T22_AKilledReceiverIsTheSendersError)
{
	Pair pair(here(), elsewhere());

	ASSERT_TRUE(pair.connect());
	Flood flood(pair, 23);
	Transfer *out = flood.out;
	ASSERT_TRUE(flood.in_the_middle());
	remote()->kill();
	expect_dead();
	pair.forget(pair.rx);
	pair.rx.comm = nullptr;
	ASSERT_TRUE(pair.wait_for([&] { return out->over(); }));
	EXPECT_EQ(out->result, ncclRemoteError) << result_name(out->result);
}

TEST_P(Failure, T22_APeerKilledWhileIdleIsAnErrorOfTheNextRequest)
{
	Buffer to(1000);
	Pair pair(elsewhere(), here());

	ASSERT_TRUE(pair.connect());
	ASSERT_TRUE(pair.exchange(100, 1));
	remote()->kill();
	expect_dead();
	pair.forget(pair.tx);
	pair.tx.comm = nullptr;
	Transfer *in = pair.recv(to, to.size());
	ASSERT_TRUE(pair.wait_for([&] { return in->over(); }));
	EXPECT_EQ(in->result, ncclRemoteError) << result_name(in->result);
}

TEST_P(Failure, T22_APeerKilledWhileConnecting)
{
	Pair pair(elsewhere(), here());

	ASSERT_TRUE(pair.listen());
	ASSERT_TRUE(pair.connect_step());
	ASSERT_TRUE(pair.accept_step());
	remote()->kill();
	expect_dead();
	pair.forget(pair.tx);
	pair.tx.comm = nullptr;
	/* accept may go on waiting, or fail; it must not hang or crash. */
	for (int i = 0; i < 200; i++)
		if (!pair.accept_step())
			break;
}

/* Frozen is not dead: nothing may fail, and all goes on after the thaw. */
TEST_P(Failure, T22_AFrozenSenderIsWaitedFor)
{
	Pair pair(elsewhere(), here());

	ASSERT_TRUE(pair.connect());
	Flood flood(pair, 24);
	Transfer *in = flood.in;
	ASSERT_TRUE(flood.in_the_middle());
	remote()->freeze();
	auto until = Clock::now() + std::chrono::seconds(1);
	while (Clock::now() < until && in->posted()) {
		Tested tested = here().side->test(in->request);
		ASSERT_EQ(tested.result, ncclSuccess);
		ASSERT_FALSE(tested.done);
	}
	remote()->thaw();
	ASSERT_TRUE(pair.wait());
	EXPECT_TRUE(flood.arrived(24));
}

TEST_P(Failure, T22_AClosedSenderIsTheReceiversError)
{
	Buffer to(1000);
	Pair pair(there(), here());

	ASSERT_TRUE(pair.connect());
	ASSERT_TRUE(pair.exchange(100, 1));
	pair.close_sender();
	Transfer *in = pair.recv(to, to.size());
	ASSERT_TRUE(pair.wait_for([&] { return in->over(); }));
	EXPECT_EQ(in->result, ncclRemoteError) << result_name(in->result);
}

/* What was sent before the close still arrives. */
TEST_P(Failure, T22_MessagesSentBeforeACloseArrive)
{
	for (size_t size : {0, 100, 3000}) {
		Buffer from(size), to(size);
		Pair pair(there(), here());

		ASSERT_TRUE(pair.connect());
		from.fill(size);
		Transfer *out = pair.send(from, size);
		ASSERT_TRUE(pair.wait_for([&] {
			return out->over() || (size && !pair.idle());
		}));
		Transfer *in = pair.recv(to, size);
		ASSERT_TRUE(pair.wait_for([&] { return out->over(); }));
		ASSERT_FALSE(out->failed());
		pair.close_sender();
		ASSERT_TRUE(pair.wait_for([&] { return in->over(); }));
		EXPECT_FALSE(in->failed()) << size;
		EXPECT_TRUE(to.holds(size, size)) << size;
	}
}

/* NCCL posts buffers of its slices' size, whatever the messages' sizes are. */
TEST_P(Failure, T22_LateReceivesIntoLargerBuffersGetWhatWasSent)
{
	constexpr int count = 6;
	constexpr size_t room = 1 << 20;
	Buffer from(1000);
	std::vector<std::unique_ptr<Buffer>> to;
	Pair pair(there(), here());
	Transfer *out[count], *in[count];

	ASSERT_TRUE(pair.connect());
	from.fill(4);
	for (Transfer *&t : out)
		t = pair.send(from, 1000);
	if (!sent_ahead(pair, *out[count - 1]))
		GTEST_SKIP() << "of GPU memory this plugin sends nothing ahead "
				"of a receive";
	ASSERT_TRUE(pair.wait_for([&] { return out[count - 1]->over(); }));
	pair.close_sender();
	/* One after the other, so that what is said of each meets no peer. */
	for (int i = 0; i < count; i++) {
		to.push_back(std::make_unique<Buffer>(room));
		in[i] = pair.recv(*to[i], room);
		pair.progress();
		usleep(2000);
	}
	for (int i = 0; i < count; i++) {
		ASSERT_TRUE(pair.wait_for([&] { return in[i]->over(); }));
		ASSERT_FALSE(in[i]->failed()) << i;
		EXPECT_TRUE(to[i]->holds(4, 1000)) << i;
	}
}

/*
 * What a sender is done with is on its way: its program may end, with more in
 * its sockets than the receiver's can hold before it reads.
 */
TEST_P(Failure, T22_MessagesSentBeforeFinalizeArrive)
{
	constexpr int count = NCCL_NET_MAX_REQUESTS;
	constexpr size_t size = 8000, room = 65536;
	Buffer from(size), to(count * room);
	Pair pair(elsewhere(), here());
	std::vector<Transfer *> out, in;

	ASSERT_TRUE(pair.connect());
	from.fill(5);
	for (int i = 0; i < count; i++)
		out.push_back(pair.send(from, size));
	/* Large ones, or a plugin's small ones, may need their receives. */
	for (int i = 0; i < 200 && !out.back()->over(); i++)
		pair.progress();
	if (!out.back()->over())
		GTEST_SKIP() << "this plugin sends nothing ahead of a receive";
	pair.close_sender();
	stop_remote();
	for (int i = 0; i < count; i++) {
		in.push_back(pair.recv({{to.data() + i * room, room, 0,
					 pair.mr(pair.rx, to)}}));
		pair.progress();
		usleep(2000);
	}
	for (int i = 0; i < count; i++) {
		ASSERT_TRUE(pair.wait_for([&] { return in[i]->over(); }));
		ASSERT_FALSE(in[i]->failed()) << i;
		EXPECT_EQ(memcmp(to.data() + i * room, from.data(), size), 0)
			<< i;
	}
}

TEST_P(Failure, T22_MoreReceivesThanMessagesGetTheMessages)
{
	Buffer from(large), to(large), never(large);
	Pair pair(there(), here());

	ASSERT_TRUE(pair.connect());
	from.fill(7);
	Transfer *out = pair.send(from, large);
	Transfer *in = pair.recv(to, large);
	Transfer *more = pair.recv(never, large);
	ASSERT_TRUE(pair.wait_for([&] { return out->over(); }));
	ASSERT_FALSE(out->failed());
	pair.close_sender();
	ASSERT_TRUE(pair.wait_for([&] { return in->over() && more->over(); }));
	EXPECT_FALSE(in->failed());
	EXPECT_TRUE(to.holds(7, large));
	EXPECT_TRUE(more->failed());
}

TEST_P(Failure, T23_CloseWithPendingRequestsReturnsSoon)
{
	for (bool sender_first : {true, false}) {
		Pair pair(there(), here());

		ASSERT_TRUE(pair.connect());
		Flood flood(pair, 25);
		ASSERT_TRUE(flood.in_the_middle());
		auto start = Clock::now();
		if (sender_first)
			pair.close_sender();
		else
			pair.close_receiver();
		EXPECT_LT(Clock::now() - start, patience());
		start = Clock::now();
		pair.close();
		EXPECT_LT(Clock::now() - start, patience());
	}
}

TEST_P(Failure, T23_CloseWithReceivesThatNothingAnswers)
{
	Buffer to(large);
	Pair pair(there(), here());

	ASSERT_TRUE(pair.connect());
	for (int i = 0; i < NCCL_NET_MAX_REQUESTS; i++)
		pair.recv(to, large);
	pair.progress();
	auto start = Clock::now();
	pair.close();
	EXPECT_LT(Clock::now() - start, patience());
}

TEST_P(Failure, T23_CloseWhileThePeerIsFrozen)
{
	Pair pair(here(), elsewhere());

	ASSERT_TRUE(pair.connect());
	Flood flood(pair, 26);
	ASSERT_TRUE(flood.in_the_middle());
	remote()->freeze();
	auto start = Clock::now();
	pair.close_sender();
	EXPECT_LT(Clock::now() - start, patience());
	remote()->thaw();
}

EACH_TABLE(Failure);

} // namespace
