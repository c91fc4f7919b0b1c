// SPDX-License-Identifier: BSD-3-Clause
/* test_memory.cc - T24..T29: registrations, dma-bufs among them. */
#include <unistd.h>

#include <thread>

#include "fixture.h"
#include "cuda_memory.h"

namespace {

constexpr size_t page = 4096;

class Memory : public Conformance {
protected:
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

	static bool of_gpu() { return memory::kind == memory::Kind::cuda; }

	/* Why dma-bufs cannot be tried here; "" if they can. */
	std::string no_dmabuf()
	{
		if (!(properties().ptrSupport & NCCL_PTR_DMABUF))
			return "the device does not offer NCCL_PTR_DMABUF";
		if (of_gpu())
			return gpu_exports() ?
				       no_memory() :
				       "the GPU's memory cannot be a dma-buf";
		/* Then dma-bufs are the GPU's, as they are NCCL's. */
		if (takes_gpu_memory(properties().ptrSupport))
			return "the device takes those of GPU memory: "
			       "--memory cuda";
		if (access("/dev/udmabuf", R_OK | W_OK))
			return "no /dev/udmabuf (CONFIG_UDMABUF)";
		return "";
	}

	/* Registers through a dma-buf over [start, ...) that is closed next. */
	Got try_reg(Pair::End &end, uint8_t *start, size_t whole,
		    uint64_t offset, size_t size)
	{
		if (of_gpu())
			return end.side->reg_gpu(end.comm, start, whole, offset,
						 size);
		int fd = end.side->make_udmabuf(start, whole);
		EXPECT_GE(fd, 0) << strerror(-fd);
		Got got = end.side->reg_mr_dmabuf(end.comm, start + offset,
						  size, NCCL_PTR_HOST, offset,
						  fd);
		end.side->close_fd(fd);
		return got;
	}

	void *reg(Pair::End &end, uint8_t *start, size_t whole, uint64_t offset,
		  size_t size)
	{
		Got got = try_reg(end, start, whole, offset, size);

		EXPECT_EQ(got.result, ncclSuccess) << plugin_log::all();
		return got.pointer;
	}

	/* One message through dma-buf registrations on both ends. */
	void exchange(size_t whole, uint64_t offset, size_t size)
	{
		Buffer from(whole), to(whole);
		void *from_mr = reg(pair_->tx, from.data(), whole, offset,
				    size);
		void *to_mr = reg(pair_->rx, to.data(), whole, offset, size);

		from.fill(offset + size);
		memset(to.data(), 0x5a, to.size());
		pair_->recv({{to.data() + offset, size, 0, to_mr}});
		pair_->send({from.data() + offset, size, 0, from_mr});
		ASSERT_TRUE(pair_->wait());
		EXPECT_EQ(memcmp(from.data() + offset, to.data() + offset,
				 size), 0)
			<< size << " bytes at offset " << offset;
		EXPECT_TRUE(to.untouched_from(offset + size));
		for (size_t i = 0; i < offset; i++)
			ASSERT_EQ(to.data()[i], 0x5a) << "byte " << i;
		EXPECT_EQ(pair_->tx.side->dereg_mr(pair_->tx.comm, from_mr),
			  ncclSuccess);
		EXPECT_EQ(pair_->rx.side->dereg_mr(pair_->rx.comm, to_mr),
			  ncclSuccess);
	}

	std::unique_ptr<Pair> pair_;
};

TEST_P(Memory, T24_DeregistrationOfNullDoesNotCrash)
{
	make_pair();
	EXPECT_LT(pair_->tx.side->dereg_mr(pair_->tx.comm, nullptr),
		  peer_gone);
	EXPECT_LT(pair_->rx.side->dereg_mr(pair_->rx.comm, nullptr),
		  peer_gone);
	EXPECT_TRUE(pair_->exchange(1000, 24));
}

TEST_P(Memory, T25_AMemoryTypeThatIsNotOfferedIsRefused)
{
	int support = properties().ptrSupport;
	Buffer buffer(65536);

	make_pair();
	for (int type : {NCCL_PTR_CUDA, 0, 8, -1}) {
		if (type > 0 && support & type)
			continue;
		Got got = pair_->tx.side->reg_mr(pair_->tx.comm, buffer.data(),
						 buffer.size(), type);
		EXPECT_NE(got.result, ncclSuccess) << "type " << type;
		EXPECT_LT(got.result, peer_gone) << "type " << type;
	}
	EXPECT_TRUE(pair_->exchange(1000, 25));
}

TEST_P(Memory, T26_TheCallerClosesADmabufRightAfterRegistering)
{
	std::string reason = no_dmabuf();

	if (!reason.empty())
		GTEST_SKIP() << reason;
	make_pair();
	exchange(1 << 20, 0, 1 << 20);
	exchange(4 << 20, 0, 4 << 20);
}

TEST_P(Memory, T26_AnFdThatIsNoDmabufIsRefused)
{
	std::string reason = no_dmabuf();
	Buffer buffer(65536);

	if (!reason.empty())
		GTEST_SKIP() << reason;
	if (of_gpu())
		GTEST_SKIP() << "by its address GPU memory is to be had without";
	make_pair();
	for (int fd : {-1, 1, 100000}) {
		Got got = pair_->rx.side->reg_mr_dmabuf(
			pair_->rx.comm, buffer.data(), buffer.size(),
			NCCL_PTR_HOST, 0, fd);
		EXPECT_NE(got.result, ncclSuccess) << "fd " << fd;
		EXPECT_LT(got.result, peer_gone) << "fd " << fd;
	}
	EXPECT_TRUE(pair_->exchange(1000, 26));
}

TEST_P(Memory, T27_DmabufsWithAnOffsetAndAnOddSize)
{
	std::string reason = no_dmabuf();

	if (!reason.empty())
		GTEST_SKIP() << reason;
	make_pair();
	exchange(1 << 20, page, 100001);
	exchange(1 << 20, 12345, 70001);
	exchange(1 << 20, (1 << 20) - 1, 1);
	exchange(page, 1, page - 1);
}

TEST_P(Memory, T27_ARegistrationPastTheDmabufsEndIsRefused)
{
	std::string reason = no_dmabuf();
	Buffer buffer(2 * page);

	if (!reason.empty())
		GTEST_SKIP() << reason;
	make_pair();
	struct { uint64_t offset; size_t size; bool nobodys; } cases[] = {
		{0, 3 * page, false}, {page, 2 * page, false},
		{3 * page, 1, false}, {UINT64_MAX - 100, 200, false},
		{1, SIZE_MAX, true}, {0, size_t{1} << 40, true},
	};
	for (auto [offset, size, nobodys] : cases) {
		/* By its address more than the dma-buf has is the GPU's. */
		if (of_gpu() && !nobodys)
			continue;
		Got got = try_reg(pair_->rx, buffer.data(), 2 * page, offset,
				  size);
		EXPECT_NE(got.result, ncclSuccess)
			<< size << " bytes at " << offset;
		EXPECT_LT(got.result, peer_gone);
	}
	EXPECT_TRUE(pair_->exchange(1000, 27));
}

TEST_P(Memory, T28_PartsOfARegistrationCanBeSentAndReceived)
{
	constexpr size_t size = 1 << 20;
	Buffer from(size), to(size);
	std::mt19937 random(28);

	if (!no_memory().empty())
		GTEST_SKIP() << no_memory();
	make_pair();
	void *from_mr = pair_->mr(pair_->tx, from);
	void *to_mr = pair_->mr(pair_->rx, to);
	from.fill(28);
	for (int i = 0; i < 40; i++) {
		size_t at = random() % size, length = random() % (size - at);
		size_t where = random() % (size - length);

		to.clear();
		pair_->recv({{to.data() + where, length, 0, to_mr}});
		pair_->send({from.data() + at, length, 0, from_mr});
		ASSERT_TRUE(pair_->wait());
		ASSERT_EQ(memcmp(from.data() + at, to.data() + where, length),
			  0) << length << " bytes";
		ASSERT_TRUE(to.untouched_from(where + length));
	}
}

TEST_P(Memory, T28_RegisteringAgainIsFast)
{
	constexpr int times = 200;
	Buffer buffer(4 << 20);
	std::vector<void *> mrs;

	if (!no_memory().empty())
		GTEST_SKIP() << no_memory();
	make_pair();
	/* The first one is the one that may take its time. */
	pair_->mr(pair_->tx, buffer);
	auto start = Clock::now();
	for (int i = 0; i < times; i++) {
		Got got = pair_->register_buffer(pair_->tx, buffer);
		ASSERT_EQ(got.result, ncclSuccess);
		mrs.push_back(got.pointer);
	}
	for (void *mr : mrs)
		EXPECT_EQ(pair_->tx.side->dereg_mr(pair_->tx.comm, mr),
			  ncclSuccess);
	EXPECT_LT(Clock::now() - start, patience());
}

TEST_P(Memory, T28_ADmabufIsRegisteredAgainAndAgain)
{
	std::string reason = no_dmabuf();

	if (!reason.empty())
		GTEST_SKIP() << reason;
	make_pair();
	Buffer buffer(1 << 20);
	std::vector<void *> mrs;
	int before = pair_->rx.side->fds();

	for (int i = 0; i < 20; i++)
		mrs.push_back(reg(pair_->rx, buffer.data(), 1 << 20, 0,
				  1 << 20));
	for (void *mr : mrs)
		EXPECT_EQ(pair_->rx.side->dereg_mr(pair_->rx.comm, mr),
			  ncclSuccess);
	EXPECT_EQ(pair_->rx.side->fds(), before);
	exchange(1 << 20, 0, 1 << 20);
}

/* NCCL registers on its service thread while its progress thread sends. */
TEST_P(Memory, T29_RegistrationWhileMessagesMove)
{
	std::atomic<bool> stop = false;
	std::atomic<int> failed = 0;

	pair_ = std::make_unique<Pair>(here(), here());
	ASSERT_TRUE(pair_->connect());
	Buffer buffer(1 << 20);
	void *comms[2] = {pair_->tx.comm, pair_->rx.comm};
	std::thread registers([&] {
		for (int i = 0; !stop && i < 1000000; i++) {
			void *comm = comms[i % 2];
			Got got = local().reg_mr(comm, buffer.data() + i % page,
						 65536, NCCL_PTR_HOST);
			if (!got.ok() ||
			    local().dereg_mr(comm, got.pointer) != ncclSuccess)
				failed++;
		}
	});
	for (int i = 0; i < 200 && !HasFailure(); i++)
		EXPECT_TRUE(pair_->exchange(1 + i * 1000, i));
	stop = true;
	registers.join();
	EXPECT_EQ(failed, 0);
}

EACH_TABLE(Memory);

} // namespace
