// SPDX-License-Identifier: BSD-3-Clause
/* test_data.cc - T16, T17, T20, T21: what is sent is what arrives. */
#include "fixture.h"

namespace {

class Data : public Conformance {
protected:
	void SetUp() override
	{
		Conformance::SetUp();
		if (!HasFatalFailure() && !no_memory().empty())
			GTEST_SKIP() << no_memory();
	}

	/* A connection that is made at first use. */
	Pair &pair()
	{
		if (!pair_) {
			pair_ = std::make_unique<Pair>(there(), here());
			EXPECT_TRUE(pair_->connect());
		}
		return *pair_;
	}

	void TearDown() override
	{
		pair_.reset();
		Conformance::TearDown();
	}

private:
	std::unique_ptr<Pair> pair_;
};

TEST_P(Data, T16_SmallSizesAndThoseAroundBoundaries)
{
	for (size_t size : {0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1447,
			    1448, 1449, 4095, 4096, 4097, 8191, 8192, 8193,
			    65535, 65536, 65537, 131071, 131073, 524288})
		ASSERT_TRUE(pair().exchange(size, size)) << size << " bytes";
}

TEST_P(Data, T16_OneAndFourMebibytes)
{
	for (size_t size : {1 << 20, (1 << 20) + 1, 4 << 20, (4 << 20) - 1})
		ASSERT_TRUE(pair().exchange(size, size)) << size << " bytes";
}

TEST_P(Data, T16_SizesAtRandom)
{
	std::mt19937 random(16);

	for (int i = 0; i < 200; i++) {
		size_t size = random() % (size_t{1} << (random() % 20));
		ASSERT_TRUE(pair().exchange(size, random()))
			<< size << " bytes, message " << i;
	}
}

TEST_P(Data, T16_OneGibibyteLessOne)
{
	size_t size = (size_t{1} << 30) - 1;

	if (GetParam() != tables.front() && GetParam() != tables.back())
		GTEST_SKIP() << "takes seconds: oldest and newest table only";
	/* Of the GPU's there may be as much, in the same memory. */
	int copies = memory::kind == memory::Kind::cuda ? 5 : 3;
	if (!has_memory(copies * size))
		GTEST_SKIP() << "needs " << copies << " GiB of free memory";
	Buffer from(size), to(size);
	from.fill(30);
	pair().recv(to, size);
	pair().send(from, size);
	ASSERT_TRUE(pair().wait(12 * patience()));
	EXPECT_TRUE(to.holds(30, size));
	EXPECT_TRUE(to.untouched_from(size));
}

TEST_P(Data, T16_AReceiveBufferMayBeLarger)
{
	for (size_t size : {0, 1, 100, 5000, 200000, 3000000}) {
		Buffer from(size), to(size + 12345);

		from.fill(size);
		Transfer *received = pair().recv(to, to.size());
		pair().send(from, size);
		ASSERT_TRUE(pair().wait_for([&] { return pair().idle(); }));
		EXPECT_EQ(received->sizes[0], static_cast<int>(size));
		ASSERT_TRUE(pair().wait());
		EXPECT_TRUE(to.holds(size, size)) << size;
		EXPECT_TRUE(to.untouched_from(size)) << size;
	}
}

TEST_P(Data, T16_SendBeforeReceiveIsPosted)
{
	for (size_t size : {0, 64, 5000, 100000, 2000000}) {
		Buffer from(size), to(size);

		from.fill(size + 1);
		pair().send(from, size);
		for (int i = 0; i < 200; i++)
			pair().progress();
		pair().recv(to, size);
		ASSERT_TRUE(pair().wait()) << size;
		EXPECT_TRUE(to.holds(size + 1, size)) << size;
	}
}

/* A message that does not fit is the receiver's error, not its memory's. */
TEST_P(Data, T17_SendLargerThanReceiveIsAnError)
{
	struct { size_t sent, room; } cases[] = {
		{2, 1}, {129, 128}, {8192, 100}, {100000, 8192},
		{100000, 99999}, {4 << 20, 0}, {4 << 20, 1 << 20},
	};

	for (auto [sent, room] : cases) {
		Pair own(there(), here());
		Buffer from(sent), to(room);

		ASSERT_TRUE(own.connect());
		from.fill(17);
		Transfer *received = own.recv(to, room);
		Transfer *out = own.send(from, sent);
		EXPECT_TRUE(own.wait_for([&] { return received->over(); }))
			<< sent << " into " << room;
		EXPECT_TRUE(received->failed()) << sent << " into " << room;
		EXPECT_TRUE(to.untouched_from(room)) << sent << " into " << room;
		/* The sender hears of it at the latest when its peer closes. */
		own.close_receiver();
		EXPECT_TRUE(own.wait_for([&] { return out->over(); }))
			<< sent << " into " << room;
	}
}

/* Below version 9 sizes are ints, and these are negative or nearly so. */
TEST_P(Data, T17_SizesThatNoMessageHasAreRefused)
{
	Buffer buffer(1);

	if (plugin_name() != "devmem")
		GTEST_SKIP() << "NCCL never does it, and does not say";
	for (size_t size : {SIZE_MAX, size_t{1} << 31, (size_t{1} << 31) - 1,
			    (size_t{1} << 30) + 1}) {
		Piece piece = {buffer.data(), size, 0, nullptr};
		Pair &p = pair();

		EXPECT_NE(p.tx.side->isend(p.tx.comm, piece).result,
			  ncclSuccess) << size;
		EXPECT_NE(p.rx.side->irecv(p.rx.comm, {piece}).result,
			  ncclSuccess) << size;
	}
	EXPECT_TRUE(pair().exchange(5000, 17));
}

TEST_P(Data, T20_TestWithoutSizes)
{
	for (size_t size : {0, 100, 100000}) {
		Buffer from(size), to(size);

		from.fill(20);
		pair().recv(to, size)->want_sizes = false;
		pair().send(from, size)->want_sizes = false;
		ASSERT_TRUE(pair().wait());
		EXPECT_TRUE(to.holds(20, size));
	}
}

TEST_P(Data, T21_BuffersOfAnyAlignment)
{
	for (size_t shift : {1, 2, 3, 7, 13, 63, 4095})
		for (size_t size : {1, 777, 66000}) {
			Buffer from(size, shift), to(size, 4096 - shift);

			from.fill(shift);
			pair().recv(to, size);
			pair().send(from, size);
			ASSERT_TRUE(pair().wait());
			EXPECT_TRUE(to.holds(shift, size)) << shift;
			EXPECT_TRUE(to.untouched_from(size)) << shift;
		}
}

/* NCCL 2.28 negotiates no size: an irecv of its full slice gets less. */
TEST_P(Data, T16_OneBufferForManyMessages)
{
	constexpr size_t slice = 65536;
	Buffer from(8 * slice), to(8 * slice);
	void *from_mr = pair().mr(pair().tx, from);
	void *to_mr = pair().mr(pair().rx, to);

	from.fill(88);
	for (int round = 0; round < 4; round++) {
		to.clear();
		for (int i = 0; i < 8; i++) {
			pair().recv({{to.data() + i * slice, slice, 0, to_mr}});
			pair().send({from.data() + i * slice, slice, 0,
				     from_mr});
		}
		ASSERT_TRUE(pair().wait());
		ASSERT_TRUE(to.holds(88, to.size())) << "round " << round;
	}
}

EACH_TABLE(Data);

} // namespace
