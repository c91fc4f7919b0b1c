// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_messages.cc - messages from and into memory of a GPU, over loopback: staged on
 * the sending side; received by host memory, or into a pool by emulation, gathered or
 * left to NCCL's unpacking, of which this is the GPU's part.
 */
#include "gpu_test.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>

#include "devmem.h"

namespace {

enum Way { STAGED, GATHERED, UNPACKED };

class Messages : public GpuTest, public testing::WithParamInterface<Way> {
protected:
	static constexpr size_t size = 6 << 20;

	void SetUp() override
	{
		GpuTest::SetUp();
		if (IsSkipped())
			return;
		const char *threads = std::getenv("GPU_TEST_THREADS");

		devmem_options_init(&options);
		options.ifname = "=lo";
		options.threads = threads ? unsigned(std::atoi(threads)) : 0;
		options.log = log;
		options.log_arg = this;
		/* With 32 connections as with two: a small one. */
		options.pool_bytes = 8 << 20;
		options.region = GetParam() == STAGED ? DEVMEM_REGION_NONE :
							DEVMEM_REGION_CUDA;
		if (GetParam() != STAGED)
			options.rx = DEVMEM_RX_EMULATE;
		options.unpack = GetParam() == UNPACKED;
		struct why why;
		gpu = gpu_get(0, &why);
		ASSERT_NE(gpu, nullptr) << why.text;
		from = std::make_unique<DeviceBytes>(gpu, size);
		to = std::make_unique<DeviceBytes>(gpu, size);
	}
	void TearDown() override
	{
		devmem_conn_close(sender);
		devmem_conn_close(receiver);
		devmem_close(ctx);
		from.reset();
		to.reset();
		gpu_put(gpu);
		GpuTest::TearDown();
	}
	void start()
	{
		ASSERT_EQ(devmem_open(&options, &ctx), 0) << logged;
		connect(&sender, &receiver);
	}
	void connect(struct devmem_conn **from_here, struct devmem_conn **to_here)
	{
		struct devmem_listener *listener;
		uint8_t handle[DEVMEM_HANDLE_BYTES];

		*from_here = *to_here = nullptr;
		ASSERT_EQ(devmem_listen(ctx, 0, handle, &listener), 0);
		EXPECT_TRUE(wait_until([&] {
			if (!*from_here)
				devmem_connect(ctx, 0, handle, from_here);
			if (!*to_here)
				devmem_accept_unpack(listener, to_here);
			return *from_here && *to_here;
		})) << logged;
		devmem_listener_close(listener);
	}
	void register_all()
	{
		ASSERT_EQ(devmem_mr_gpu(sender, from->address(), size,
					&from_mr),
			  0)
			<< logged;
		ASSERT_EQ(devmem_mr_gpu(receiver, to->address(), size, &to_mr),
			  0)
			<< logged;
		devmem_unpack_mr(receiver, to_mr);
	}

	struct unpack_handle handle()
	{
		size_t bytes = 0;
		void *address = devmem_unpack_handle(receiver, &bytes);
		struct unpack_handle h = {};
		Scope s(gpu);

		EXPECT_EQ(bytes, sizeof(h));
		EXPECT_EQ(s.cuda->mem_copy(
				  reinterpret_cast<uintptr_t>(&h),
				  reinterpret_cast<uintptr_t>(address),
				  sizeof(h)),
			  0);
		EXPECT_EQ(h.head, UNPACK_FIRST_HEAD);
		return h;
	}
	/* Entries of a list, as the GPU sees it. */
	uint64_t listed(unsigned int slot)
	{
		auto *meta =
			reinterpret_cast<struct unpack_meta *>(handle().meta);

		return __atomic_load_n(&meta->count[slot], __ATOMIC_ACQUIRE);
	}

	/* What NCCL's kernels do with a message that is done. */
	void unpack(uint64_t message, void *at)
	{
		struct unpack_handle h = handle();
		auto *meta = reinterpret_cast<struct unpack_meta *>(h.meta);
		unsigned int slot = message % UNPACK_SLOTS;
		Scope s(gpu);

		for (uint64_t i = 0; i < meta->count[slot]; i++) {
			const struct unpack_entry &e = meta->entry[slot][i];

			ASSERT_EQ(s.cuda->mem_copy(
					  reinterpret_cast<uintptr_t>(at) +
						  e.dst_off,
					  h.bounce + e.src_off, e.len),
				  0);
		}
		/* A copy on the GPU alone goes on when the call is back. */
		ASSERT_EQ(s.cuda->stream_sync(nullptr), 0);
		ASSERT_EQ(devmem_consumed(receiver), 0);
	}

	struct Message {
		size_t at, size;
		struct devmem_request *out = nullptr, *in = nullptr;
	};

	/* All at once; each arrives whole, and nothing around it changes. */
	void exchange(const std::vector<size_t> &sizes)
	{
		std::vector<uint8_t> was = random_bytes(random, size),
				     want(size, 0x55);
		std::list<Message> under_way;
		size_t at = 1;

		from->write(was);
		to->write(want);
		for (size_t n : sizes) {
			Message m = {at, n};

			std::memcpy(&want[at], &was[at], n);
			ASSERT_TRUE(wait_until([&] {
				return devmem_recv(receiver, to->address(at), n,
						   to_mr, &m.in) != -EAGAIN;
			}));
			ASSERT_TRUE(m.in);
			ASSERT_EQ(devmem_send(sender, from->address(at), n,
					      from_mr, &m.out),
				  0);
			under_way.push_back(m);
			at += n + random() % 20;
			ASSERT_LT(at, size);
			if (under_way.size() == 16)
				finish(under_way);
		}
		finish(under_way);
		ASSERT_FALSE(HasFatalFailure());
		ASSERT_TRUE(to->read() == want) << logged;
	}
	void finish(std::list<Message> &under_way)
	{
		auto over = [&](struct devmem_request *&r) {
			int rc = r ? devmem_test(r, nullptr) : 0;

			EXPECT_TRUE(rc == 0 || rc == -EAGAIN) << logged;
			if (rc != -EAGAIN)
				r = nullptr;
			return !r;
		};

		ASSERT_TRUE(wait_until([&] {
			bool all = true, came = true;

			/* Receives are asked for in their order, as by NCCL. */
			for (Message &m : under_way) {
				bool was = m.in;

				all &= over(m.out);
				came = came && over(m.in);
				if (was && came && options.unpack)
					unpack(number_++, to->address(m.at));
			}
			return all && came;
		})) << logged;
		under_way.clear();
	}

	struct gpu *gpu = nullptr;
	struct devmem_options options;
	struct devmem *ctx = nullptr;
	struct devmem_conn *sender = nullptr, *receiver = nullptr;
	struct devmem_mr *from_mr = nullptr, *to_mr = nullptr;
	std::unique_ptr<DeviceBytes> from, to;
	std::string logged;

private:
	static void log(void *arg, enum devmem_log_level, const char *, int,
			const char *text)
	{
		Messages *test = static_cast<Messages *>(arg);
		std::lock_guard<std::mutex> guard(test->lock_);

		test->logged += text;
		test->logged += '\n';
	}
	std::mutex lock_;
	uint64_t number_ = 0;
};

TEST_P(Messages, ArriveWhole)
{
	start();
	register_all();
	exchange({0, 1, 7, 4096, 8191, 8192, 8193, 100000, 1 << 20, 3 << 20});
	for (int round = 0; round < 5; round++) {
		std::vector<size_t> sizes;
		size_t sum = 0;

		while (sum < 4 << 20 && sizes.size() < 60) {
			sizes.push_back(random() % (1u << random() % 20));
			sum += sizes.back();
		}
		exchange(sizes);
	}

	struct devmem_stats sent, got;

	devmem_conn_stats(sender, &sent);
	/* A progress thread gives the last ones' tokens back when it comes to it. */
	EXPECT_TRUE(wait_until([&] {
		devmem_conn_stats(receiver, &got);
		return got.tokens_received == got.tokens_returned;
	}));
	EXPECT_GT(sent.bytes_staged, size_t(4) << 20);
	EXPECT_EQ(sent.bytes_staged, sent.bytes_inline + sent.bytes_host);
	EXPECT_EQ(sent.bytes_devmem + got.bytes_devmem, 0u);
	EXPECT_EQ(got.bytes_emulated > 0, GetParam() != STAGED);
	EXPECT_EQ(got.tokens_received, got.frags);
	EXPECT_EQ(got.bytes_inline + got.bytes_emulated + got.bytes_linear +
			  got.bytes_host,
		  sent.bytes_staged);
}

TEST_P(Messages, OnManyFlowsInSmallChunks)
{
	options.flows = 7;
	options.chunk_bytes = 4096;
	options.inline_bytes = 100;
	options.eager_bytes = 100;
	start();
	register_all();
	for (int round = 0; round < 3; round++)
		exchange({50, 60000, 101, 3 << 20, 0, 4097, 1 << 20});
}

/* The pages of a pool suffice for what is under way, not for what is sent. */
TEST_P(Messages, MoreThanThePoolHolds)
{
	options.pool_bytes = 2 << 20;
	start();
	register_all();
	for (int round = 0; round < 4; round++)
		exchange({4 << 20, 1 << 20});
}

TEST_P(Messages, ReceivesIntoHostMemory)
{
	std::vector<uint8_t> bytes(1 << 20), was;
	struct devmem_request *out, *in;
	struct devmem_mr *mr;

	start();
	register_all();
	was = random_bytes(random, bytes.size());
	from->write(was);
	ASSERT_EQ(devmem_mr_host(receiver, bytes.data(), bytes.size(), &mr), 0);
	ASSERT_EQ(devmem_recv(receiver, bytes.data(), bytes.size(), mr, &in),
		  0);
	ASSERT_EQ(devmem_send(sender, from->address(), bytes.size(), from_mr,
			      &out),
		  0);
	std::list<Message> m = {{0, bytes.size(), out, in}};
	finish(m);
	EXPECT_TRUE(bytes == was);
	EXPECT_EQ(devmem_mr_release(receiver, mr), 0);
	if (GetParam() == STAGED)
		return;
	/* What the driver has pinned may go as soon as it is released, too. */
	void *pinned = gpu_host_alloc(gpu, bytes.size());
	ASSERT_EQ(devmem_mr_host(receiver, pinned, bytes.size(), &mr), 0);
	ASSERT_EQ(devmem_recv(receiver, pinned, bytes.size(), mr, &in), 0);
	ASSERT_EQ(devmem_send(sender, from->address(), bytes.size(), from_mr,
			      &out),
		  0);
	for (int i = 0; i < 10; i++) {
		devmem_test(in, nullptr);
		devmem_test(out, nullptr);
	}
	EXPECT_EQ(devmem_mr_release(receiver, mr), 0);
	gpu_host_free(gpu, pinned);
	/* The GPU that gathers sees no other memory than it is told of. */
	EXPECT_LT(devmem_recv(receiver, bytes.data(), bytes.size(), nullptr,
			      &in),
		  0);
}

TEST_P(Messages, MemoryOfAnotherGpuIsRefused)
{
	struct devmem_mr *mr;
	struct why why;
	struct gpu *other = gpu_get(1, &why);

	start();
	register_all();
	{
		DeviceBytes bytes(other, 4096);

		EXPECT_EQ(devmem_mr_gpu(receiver, bytes.address(), 4096, &mr),
			  -EOPNOTSUPP);
		EXPECT_EQ(devmem_mr_gpu(sender, bytes.address(), 4096, &mr),
			  -EOPNOTSUPP);
	}
	gpu_put(other);
	EXPECT_NE(logged.find("GPU 1"), std::string::npos) << logged;
}

TEST_P(Messages, HostMemoryIsNoGpus)
{
	struct devmem_mr *mr;
	char here[64];

	start();
	EXPECT_EQ(devmem_mr_gpu(receiver, here, sizeof(here), &mr),
		  -EOPNOTSUPP);
	EXPECT_EQ(devmem_mr_gpu(sender, here, sizeof(here), &mr), -EOPNOTSUPP);
}

/* The user's memory may go as soon as it is released. */
TEST_P(Messages, ReleasedUnderWay)
{
	struct devmem_request *out, *in;

	start();
	register_all();
	ASSERT_EQ(devmem_recv(receiver, to->address(), size, to_mr, &in), 0);
	ASSERT_EQ(devmem_send(sender, from->address(), 4 << 20, from_mr, &out),
		  0);
	for (int i = 0; i < 20; i++) {
		devmem_test(in, nullptr);
		devmem_test(out, nullptr);
	}
	EXPECT_EQ(devmem_mr_release(sender, from_mr), 0);
	EXPECT_EQ(devmem_mr_release(receiver, to_mr), 0);
	from.reset();
	to.reset(); /* the stand-in refuses copies from and to there */
}

/* An engine that is done between two looks, each time that it is asked. */
struct {
	const struct gather_ops *ops;
	std::atomic<uint64_t> seen;
} real;

uint64_t done_by_now(struct gather_engine *e, int *err)
{
	return real.seen.exchange(real.ops->done(e, err));
}

TEST_P(Messages, WhatHasComeCountsWheneverTheGpuIsDone)
{
	if (GetParam() != GATHERED)
		GTEST_SKIP() << "no GPU gathers";
	static struct gather_ops ops;
	real.ops = gpu->gather->ops;
	real.seen = 0;
	ops = *real.ops;
	ops.done = done_by_now;
	gpu->gather->ops = &ops;
	for (int round = 0; round < 20; round++) {
		struct devmem_request *out, *in, *more;
		int sent = -EAGAIN, got = -EAGAIN, none = -EAGAIN;

		start();
		register_all();
		ASSERT_EQ(devmem_recv(receiver, to->address(), size, to_mr,
				      &in),
			  0);
		ASSERT_EQ(devmem_recv(receiver, to->address(), size, to_mr,
				      &more),
			  0);
		ASSERT_EQ(devmem_send(sender, from->address(), 1 << 20,
				      from_mr, &out),
			  0);
		ASSERT_TRUE(wait_until([&] {
			if (got == -EAGAIN)
				got = devmem_test(in, nullptr);
			sent = devmem_test(out, nullptr);
			return sent != -EAGAIN;
		}));
		EXPECT_EQ(sent, 0);
		devmem_conn_close(sender);
		sender = nullptr;
		ASSERT_TRUE(wait_until([&] {
			if (got == -EAGAIN)
				got = devmem_test(in, nullptr);
			if (none == -EAGAIN)
				none = devmem_test(more, nullptr);
			return got != -EAGAIN && none != -EAGAIN;
		}));
		ASSERT_EQ(got, 0) << "round " << round;
		EXPECT_LT(none, 0);
		devmem_conn_close(receiver);
		receiver = nullptr;
		devmem_close(ctx);
		ctx = nullptr;
	}
	gpu->gather->ops = real.ops;
}

TEST_P(Messages, AGpuThatFailsEndsBoth)
{
	struct devmem_request *out, *in;
	int sent = -EAGAIN, got = -EAGAIN;

	start();
	register_all();
	ASSERT_EQ(devmem_recv(receiver, to->address(), size, to_mr, &in), 0);
	ASSERT_TRUE(fakecuda_fail("cuLaunchKernel:3+=719"));
	ASSERT_EQ(devmem_send(sender, from->address(), 4 << 20, from_mr, &out),
		  0);
	ASSERT_TRUE(wait_until([&] {
		if (sent == -EAGAIN)
			sent = devmem_test(out, nullptr);
		if (got == -EAGAIN)
			got = devmem_test(in, nullptr);
		return sent != -EAGAIN && got != -EAGAIN;
	}));
	EXPECT_LT(sent, 0);
	EXPECT_LT(got, 0);
	EXPECT_NE(logged.find("CUDA_ERROR_LAUNCH_FAILED"), std::string::npos)
		<< logged;
}

TEST_P(Messages, ThePathSaysWhatItIs)
{
	const char *rx = GetParam() == STAGED ? "rx=host" : "rx=emulated";
	const char *gather = GetParam() == GATHERED ? "gather=cuda" :
			     GetParam() == UNPACKED ? "gather=unpack" :
						      "reason=";

	start();
	register_all();
	exchange({100000});
	devmem_conn_close(sender);
	devmem_conn_close(receiver);
	sender = receiver = nullptr;
	EXPECT_NE(logged.find(rx), std::string::npos) << logged;
	EXPECT_NE(logged.find(gather), std::string::npos) << logged;
	EXPECT_EQ(logged.find("rx=devmem"), std::string::npos) << logged;
	EXPECT_NE(logged.find("tx=staged"), std::string::npos) << logged;
}

class Unpacking : public Messages {
protected:
	/* One message, with its list or without; true: it is done. */
	bool transfer(size_t n, bool unlisted)
	{
		auto receive = unlisted ? devmem_recv_unlisted : devmem_recv;
		struct devmem_request *in, *out;
		int got = -EAGAIN, sent = -EAGAIN;

		EXPECT_EQ(receive(receiver, to->address(), n, to_mr, &in), 0);
		EXPECT_EQ(devmem_send(sender, from->address(), n, from_mr,
				      &out),
			  0);
		return wait_until([&] {
			if (sent == -EAGAIN)
				sent = devmem_test(out, nullptr);
			if (got == -EAGAIN)
				got = devmem_test(in, nullptr);
			return !sent && !got;
		});
	}
};

TEST_P(Unpacking, WhatIsConsumedHasAnEmptyList)
{
	start();
	register_all();
	ASSERT_TRUE(transfer(100000, false));
	EXPECT_GT(listed(0), 0u);
	ASSERT_EQ(devmem_consumed(receiver), 0);
	EXPECT_TRUE(wait_until([&] { return listed(0) == 0; }));
	EXPECT_EQ(devmem_consumed(receiver), -EINVAL);
}

/* NCCL counts receives of SIMPLE, and no others. */
TEST_P(Unpacking, WhatIsUnlistedHasNoNumber)
{
	std::vector<uint8_t> was;

	start();
	register_all();
	was = random_bytes(random, 100000);
	from->write(was);
	ASSERT_TRUE(transfer(was.size(), true));
	EXPECT_EQ(listed(0), 0u);
	EXPECT_EQ(std::memcmp(to->read().data(), was.data(), was.size()), 0)
		<< "it is whole without unpacking";
	ASSERT_TRUE(transfer(was.size(), false));
	EXPECT_GT(listed(0), 0u);
	EXPECT_EQ(devmem_consumed(receiver), 0);
	EXPECT_EQ(devmem_consumed(receiver), 0);
	EXPECT_TRUE(wait_until([&] { return listed(0) == 0; }));
}

/* A user's buffer: its number counts, but kernels copy to nowhere. */
TEST_P(Unpacking, OtherMemoryIsGathered)
{
	std::vector<uint8_t> was;
	struct devmem_mr *other;

	start();
	register_all();
	ASSERT_EQ(devmem_mr_gpu(receiver, to->address(), size, &other), 0);
	std::swap(to_mr, other);
	was = random_bytes(random, 100000);
	from->write(was);
	ASSERT_TRUE(transfer(was.size(), false));
	EXPECT_EQ(listed(0), 0u);
	EXPECT_EQ(std::memcmp(to->read().data(), was.data(), was.size()), 0);
	std::swap(to_mr, other);
	ASSERT_TRUE(transfer(was.size(), false));
	EXPECT_EQ(listed(0), 0u);
	EXPECT_GT(listed(1), 0u);
}

/* An aborted kernel would go round a list that is not empty for ever. */
TEST_P(Unpacking, AConnectionThatFailsHasNoLists)
{
	struct devmem_request *in;

	start();
	register_all();
	ASSERT_TRUE(transfer(100000, false));
	EXPECT_GT(listed(0), 0u);
	ASSERT_EQ(devmem_recv(receiver, to->address(), 1000, to_mr, &in), 0);
	devmem_conn_close(sender);
	sender = nullptr;
	ASSERT_TRUE(wait_until(
		[&] { return devmem_test(in, nullptr) != -EAGAIN; }));
	EXPECT_EQ(listed(0), 0u);
}

/* Tokens of one message alone fill what a flow can hold of them. */
TEST_P(Unpacking, AMessageOfMorePiecesThanAFlowHolds)
{
	options.flows = 1;
	options.pool_bytes = 64 << 20;
	start();
	register_all();
	exchange({4 << 20});
	exchange({100, 1 << 20});
}

/*
 * NCCL aborts all connections when one fails, and a kernel of its could not end at a
 * list. Whoever gets a message without its list must not take it for whole.
 */
TEST_P(Unpacking, WhenAnotherConnectionFailsMessagesDoToo)
{
	struct devmem_conn *sender2, *receiver2;
	struct devmem_request *in, *out;
	int got = -EAGAIN;
	char byte;

	start();
	register_all();
	connect(&sender2, &receiver2);
	ASSERT_EQ(devmem_recv(receiver2, &byte, 0, nullptr, &in), 0);
	devmem_conn_close(sender2);
	ASSERT_TRUE(wait_until(
		[&] { return devmem_test(in, nullptr) != -EAGAIN; }));

	ASSERT_EQ(devmem_recv(receiver, to->address(), 100000, to_mr, &in), 0);
	ASSERT_EQ(devmem_send(sender, from->address(), 100000, from_mr, &out),
		  0);
	ASSERT_TRUE(wait_until([&] {
		devmem_test(out, nullptr);
		got = devmem_test(in, nullptr);
		return got != -EAGAIN;
	}));
	EXPECT_EQ(got, -ECANCELED);
	EXPECT_EQ(listed(0), 0u);
	devmem_conn_close(receiver2);
}

TEST_P(Unpacking, NoMoreThanThereAreLists)
{
	struct devmem_request *in;
	int posted = 0, rc = 0;

	start();
	register_all();
	while (posted < 40 && !rc) {
		rc = devmem_recv(receiver, to->address(), 100, to_mr, &in);
		posted += !rc;
	}
	EXPECT_EQ(posted, int(UNPACK_SLOTS));
	EXPECT_EQ(rc, -EAGAIN);
	EXPECT_EQ(devmem_consumed(receiver), -EINVAL);
}

INSTANTIATE_TEST_SUITE_P(Ways, Unpacking, testing::Values(UNPACKED));

std::string way_name(const testing::TestParamInfo<Way> &info)
{
	static const char *const names[] = {"Staged", "Gathered", "Unpacked"};

	return names[info.param];
}

INSTANTIATE_TEST_SUITE_P(Ways, Messages,
			 testing::Values(STAGED, GATHERED, UNPACKED), way_name);

} // namespace
