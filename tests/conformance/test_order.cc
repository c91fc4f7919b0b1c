// SPDX-License-Identifier: BSD-3-Clause
/* test_order.cc - T14, T15, T18, T19, T32, T33, T37: requests and their order. */
#include "fixture.h"

namespace {

class Order : public Conformance {
protected:
	void SetUp() override
	{
		Conformance::SetUp();
		if (!HasFatalFailure() && !no_memory().empty())
			GTEST_SKIP() << no_memory();
	}

	void make_pair()
	{
		pair_ = std::make_unique<Pair>(there(), here());
		ASSERT_TRUE(pair_->connect());
	}

	void TearDown() override
	{
		pair_.reset();
		Conformance::TearDown();
	}

	std::unique_ptr<Pair> pair_;
};

TEST_P(Order, T14_ThirtyTwoReceivesAndOneMore)
{
	constexpr size_t size = 20000;
	int most = most_receives();
	make_pair();
	Buffer from(size * 33), to(size * 33);
	std::vector<Transfer *> receives;
	void *to_mr = pair_->mr(pair_->rx, to);
	void *from_mr = pair_->mr(pair_->tx, from);

	from.fill(14);
	for (int i = 0; i < most; i++)
		receives.push_back(pair_->recv(
			{{to.data() + i * size, size, 0, to_mr}}));
	ASSERT_TRUE(pair_->wait_for([&] {
		for (Transfer *transfer : receives)
			if (!transfer->posted())
				return false;
		return true;
	}));
	/* NCCL never does this; NULL, an error and a request all are sane. */
	Transfer *extra = pair_->recv({{to.data() + most * size, size, 0,
					to_mr}});
	for (int i = 0; i < 50; i++)
		pair_->progress();
	bool counted = !extra->failed();
	int sends = most + (counted ? 1 : 0);
	for (int i = 0; i < sends; i++)
		pair_->send({from.data() + i * size, size, 0, from_mr});
	ASSERT_TRUE(pair_->wait_for([&] { return pair_->idle(); }));
	EXPECT_TRUE(to.holds(14, size * sends));
}

TEST_P(Order, T14_ThirtyTwoSendsWithNobodyReceiving)
{
	constexpr size_t size = 65536;
	make_pair();
	Buffer from(size * 32), to(size * 32);
	std::vector<Transfer *> sends;
	void *to_mr = pair_->mr(pair_->rx, to);
	void *from_mr = pair_->mr(pair_->tx, from);

	from.fill(15);
	for (int i = 0; i < NCCL_NET_MAX_REQUESTS; i++)
		sends.push_back(pair_->send(
			{from.data() + i * size, size, 0, from_mr}));
	ASSERT_TRUE(pair_->wait_for([&] {
		for (Transfer *transfer : sends)
			if (transfer->state == Transfer::State::waiting)
				return false;
		return true;
	}));
	for (int i = 0; i < NCCL_NET_MAX_REQUESTS; i++)
		pair_->recv({{to.data() + i * size, size, 0, to_mr}});
	ASSERT_TRUE(pair_->wait());
	EXPECT_TRUE(to.holds(15, to.size()));
}

/* NCCL tells by *request == 1 that it could do without the completion. */
TEST_P(Order, T15_ARequestIsNeverWhatWasThereBefore)
{
	make_pair();
	for (size_t size : {0, 100, 100000}) {
		Buffer from(size), to(size);

		from.fill(size);
		for (uintptr_t before : {uintptr_t{1}, uintptr_t{0xdeadbeef}}) {
			Transfer *in = pair_->recv(to, size);
			Transfer *out = pair_->send(from, size);
			in->preset = reinterpret_cast<void *>(before);
			if (before != 1)
				out->preset = in->preset;
			while (in->state == Transfer::State::waiting) {
				pair_->progress();
				ASSERT_NE(in->request, in->preset);
			}
			ASSERT_TRUE(pair_->wait());
			EXPECT_TRUE(to.holds(size, size));
		}
	}
}

TEST_P(Order, T18_MessagesKeepTheirOrderWhateverIsTestedFirst)
{
	std::mt19937 random(18);
	size_t room = 100000;
	make_pair();
	std::vector<std::unique_ptr<Buffer>> from, to;

	for (int i = 0; i < 8; i++) {
		from.push_back(std::make_unique<Buffer>(room));
		to.push_back(std::make_unique<Buffer>(room));
	}
	pair_->shuffle = &random;
	for (int round = 0; round < 20; round++) {
		size_t size[8];
		for (int i = 0; i < 8; i++) {
			/* Small and large ones take different ways. */
			size[i] = random() % (random() % 2 ? 300 : room);
			from[i]->fill(round * 8 + i);
			to[i]->clear();
			pair_->recv(*to[i], room, i);
			pair_->send(*from[i], size[i], i);
		}
		ASSERT_TRUE(pair_->wait()) << "round " << round;
		for (int i = 0; i < 8; i++)
			ASSERT_TRUE(to[i]->holds(round * 8 + i, size[i]) &&
				    to[i]->untouched_from(size[i]))
				<< "round " << round << " message " << i
				<< " of " << size[i] << " bytes";
	}
}

/* Only the youngest request is asked; `test` makes all progress. */
TEST_P(Order, T18_TestOfOneRequestMovesThoseBeforeIt)
{
	constexpr size_t size = 50000;
	make_pair();
	Buffer from(size * 4), to(size * 4);
	void *to_mr = pair_->mr(pair_->rx, to);
	void *from_mr = pair_->mr(pair_->tx, from);
	Pair::End &rx = pair_->rx;
	std::vector<void *> requests;

	from.fill(181);
	for (int i = 0; i < 4; i++) {
		Got got = {};
		ASSERT_TRUE(poll_until([&] {
			got = rx.side->irecv(rx.comm, {{to.data() + i * size,
							size, 0, to_mr}});
			return !got.ok() || got.pointer;
		}));
		ASSERT_TRUE(got.ok());
		requests.push_back(got.pointer);
		pair_->send({from.data() + i * size, size, 0, from_mr});
	}
	for (int i = 3; i >= 0; i--)
		ASSERT_TRUE(pair_->wait_for([&] {
			Tested tested = rx.side->test(requests[i]);
			EXPECT_EQ(tested.result, ncclSuccess);
			return tested.done || HasFailure();
		})) << "request " << i;
	ASSERT_TRUE(pair_->wait());
	EXPECT_TRUE(to.holds(181, to.size()));
}

/* Nothing to send is no reason to overtake, nor to be forgotten. */
TEST_P(Order, T18_EmptyMessagesBehindLargeOnesThatNobodyReceivesYet)
{
	constexpr size_t size = 1 << 20;
	make_pair();
	Buffer from(size), to(size), empty(1);

	from.fill(182);
	for (int round = 0; round < 4; round++) {
		pair_->send(from, size);
		pair_->send(empty, 0);
		pair_->send(empty, 0);
	}
	for (int i = 0; i < 100; i++)
		pair_->progress();
	for (int round = 0; round < 4; round++) {
		Transfer *in = pair_->recv(to, size);
		ASSERT_TRUE(pair_->wait_for([&] { return in->over(); }));
		ASSERT_EQ(in->sizes[0], static_cast<int>(size));
		ASSERT_TRUE(to.holds(182, size));
		to.clear();
		for (int i = 0; i < 2; i++) {
			in = pair_->recv(to, size);
			ASSERT_TRUE(pair_->wait_for([&] {
				return in->over();
			}));
			ASSERT_EQ(in->sizes[0], 0);
		}
	}
	ASSERT_TRUE(pair_->wait());
	EXPECT_TRUE(to.untouched_from(0));
}

TEST_P(Order, T19_AGroupOfReceivesIsMatchedByTag)
{
	int count = std::min(properties().maxRecvs, max_group);
	std::mt19937 random(19);
	make_pair();

	if (count == 1)
		GTEST_SKIP() << "maxRecvs is 1: nothing is grouped";
	std::vector<std::unique_ptr<Buffer>> from, to;
	for (int i = 0; i < count; i++) {
		from.push_back(std::make_unique<Buffer>(1000 * (i + 1)));
		to.push_back(std::make_unique<Buffer>(1000 * (i + 1)));
		from[i]->fill(i);
	}
	std::vector<int> order(count);
	for (int i = 0; i < count; i++)
		order[i] = i;
	for (int round = 0; round < 20; round++) {
		std::vector<Piece> pieces;
		for (int i = 0; i < count; i++)
			pieces.push_back(pair_->piece(pair_->rx, *to[i],
						      to[i]->size(), 50 + i));
		Transfer *group = pair_->recv(pieces);
		std::shuffle(order.begin(), order.end(), random);
		for (int i : order)
			pair_->send(*from[i], from[i]->size(), 50 + i);
		ASSERT_TRUE(pair_->wait_for([&] { return pair_->idle(); }));
		for (int i = 0; i < count; i++) {
			EXPECT_EQ(group->sizes[i], 1000 * (i + 1));
			EXPECT_TRUE(to[i]->holds(i, to[i]->size()));
		}
		ASSERT_TRUE(pair_->wait());
	}
}

TEST_P(Order, T19_AGroupLargerThanMaxRecvsIsRefused)
{
	int count = properties().maxRecvs + 1;

	if (count > max_group)
		GTEST_SKIP() << "maxRecvs is more than this test can group";
	make_pair();
	Buffer to(4096);
	std::vector<Piece> pieces(count, pair_->piece(pair_->rx, to, 100));
	Got got = pair_->rx.side->irecv(pair_->rx.comm, pieces);
	EXPECT_NE(got.result, ncclSuccess);
	EXPECT_LT(got.result, peer_gone);
	/* That was misuse; the connection is as good as before. */
	EXPECT_TRUE(pair_->exchange(5000, 190));
}

TEST_P(Order, T32_FlushCompletesOrHasNothingToDo)
{
	make_pair();
	Buffer from(100000), to(100000);
	Piece piece = pair_->piece(pair_->rx, to, to.size());

	from.fill(32);
	pair_->recv({piece});
	pair_->send(from, from.size());
	ASSERT_TRUE(pair_->wait());
	Got got = pair_->rx.side->iflush(pair_->rx.comm, {piece});
	ASSERT_EQ(got.result, ncclSuccess);
	if (!got.pointer)
		return; /* already flushed */
	EXPECT_TRUE(poll_until([&] {
		Tested tested = pair_->rx.side->test(got.pointer, false);
		EXPECT_EQ(tested.result, ncclSuccess);
		return tested.done || HasFailure();
	}));
}

/* NCCL tells when its GPU is done with a receive, in order, by the request. */
TEST_P(Order, T33_ConsumedReceivesAreToldInOrder)
{
	constexpr int count = 16;
	constexpr size_t size = 20000;
	Table *table = local().table();
	Buffer from(size * count), to(size * count);
	std::vector<Transfer *> receives;

	if (!table->has(Slot::irecv_consumed)) {
		/* Only GPU code that reads what we hold makes it needed. */
		EXPECT_EQ(properties().netDeviceType, NCCL_NET_DEVICE_HOST);
		return;
	}
	make_pair();
	local().consume(false);
	from.fill(33);
	for (int i = 0; i < count; i++) {
		receives.push_back(pair_->recv({{to.data() + i * size, size, 0,
						 pair_->mr(pair_->rx, to)}}));
		pair_->send({from.data() + i * size, size, 0,
			     pair_->mr(pair_->tx, from)});
	}
	ASSERT_TRUE(pair_->wait_for([&] { return pair_->idle(); }));
	for (Transfer *transfer : receives) {
		ASSERT_FALSE(transfer->failed());
		EXPECT_EQ(table->net()->irecvConsumed(pair_->rx.comm, 1,
						      transfer->request),
			  ncclSuccess);
	}
	EXPECT_TRUE(to.holds(33, to.size()));
	/* A device that offloads does so, or this was no test of it. */
	if (properties().netDeviceType == NCCL_NET_DEVICE_UNPACK) {
		EXPECT_GT(local().unpacked(), 0u) << plugin_log::all();
	}
	ASSERT_TRUE(pair_->wait());
	local().consume(true);
	EXPECT_TRUE(pair_->exchange(100000, 34));
}

/*
 * What sendProxyProgress and recvProxyProgress do for a ring: a few
 * connections at once, eight steps in flight on each, a buffer of eight slots
 * that is used over and over, slices smaller than a slot now and then.
 */
TEST_P(Order, T37_ARingWithEightStepsInFlight)
{
	constexpr int ranks = 3, slots = 8, steps = 60;
	constexpr size_t slot = 131072;
	struct Link {
		std::unique_ptr<Pair> pair;
		std::unique_ptr<Buffer> from, to;
		int sent = 0, received = 0, checked = 0;
		std::deque<Transfer *> in, out;
	};
	std::vector<Link> ring(ranks);
	auto size_of = [](int step) {
		return step % 7 == 3 ? slot / 4 : step % 11 == 5 ? 0 : slot;
	};

	for (int r = 0; r < ranks; r++) {
		ring[r].pair = std::make_unique<Pair>(there(), here());
		ASSERT_TRUE(ring[r].pair->connect());
		ring[r].from = std::make_unique<Buffer>(slots * slot);
		ring[r].to = std::make_unique<Buffer>(slots * slot);
	}
	auto turn = [&](Link &link, int rank) {
		Pair &pair = *link.pair;
		void *from_mr = pair.mr(pair.tx, *link.from);
		void *to_mr = pair.mr(pair.rx, *link.to);

		while (link.sent < steps && link.out.size() < slots) {
			uint8_t *at = link.from->data() +
				      link.sent % slots * slot;
			memset(at, rank * 80 + link.sent, slot);
			link.out.push_back(pair.send(
				{at, size_of(link.sent++), 0, from_mr}));
		}
		while (link.received < steps && link.in.size() < slots)
			link.in.push_back(pair.recv(
				{{link.to->data() +
					  link.received++ % slots * slot,
				  slot, 0, to_mr}}));
		pair.progress();
		while (!link.out.empty() && link.out.front()->over()) {
			EXPECT_FALSE(link.out.front()->failed());
			link.out.pop_front();
		}
		while (!link.in.empty() && link.in.front()->over()) {
			int step = link.checked++;
			size_t size = size_of(step);
			uint8_t *at = link.to->data() + step % slots * slot;
			uint8_t want = rank * 80 + step;

			EXPECT_FALSE(link.in.front()->failed());
			EXPECT_EQ(link.in.front()->sizes[0],
				  static_cast<int>(size));
			EXPECT_TRUE(!size || (at[0] == want &&
					      !memcmp(at, at + 1, size - 1)))
				<< "rank " << rank << " step " << step;
			link.in.pop_front();
		}
		return link.checked == steps && link.out.empty();
	};
	EXPECT_TRUE(poll_until([&] {
		bool all = true;
		for (int r = 0; r < ranks; r++)
			all &= turn(ring[r], r);
		return all || HasFailure();
	}, 3 * patience())) << "the ring came to a stop";
}

EACH_TABLE(Order);

} // namespace
