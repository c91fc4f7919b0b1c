// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_engine.cc - the gather engine of a GPU: what lists say arrives, many lists go
 * in one launch, nothing on the way waits or allocates, and a GPU that fails is
 * noticed.
 */
#include "gpu_test.h"

#include <cstring>
#include <memory>

namespace {

class Engine : public GpuTest {
protected:
	static constexpr size_t pool_bytes = 8 << 20;

	void SetUp() override
	{
		struct why why;

		GpuTest::SetUp();
		if (IsSkipped())
			return;
		gpu = gpu_get(0, &why);
		ASSERT_NE(gpu, nullptr) << why.text;
		e = gpu->gather;
		pool = std::make_unique<DeviceBytes>(gpu, pool_bytes);
		pool_now = random_bytes(random, pool_bytes);
		pool->write(pool_now);
		ASSERT_EQ(gather_list_init(&list, GATHER_LIST_OPS), 0);
		list.pool = static_cast<uint8_t *>(pool->address());
	}
	void TearDown() override
	{
		if (gpu) {
			gather_list_free(&list);
			pool.reset();
			gpu_put(gpu);
		}
		GpuTest::TearDown();
	}
	bool done(uint64_t ticket)
	{
		int err;

		return gather_done(e, &err) >= ticket || err;
	}
	/* One operation from the pool, as soon as there is room. */
	uint64_t submit(const DeviceBytes &to, size_t at, size_t from,
			size_t len)
	{
		struct gather_op op = {to.address(at), nullptr, from, len};
		struct gather_room room = {0, nullptr};
		uint64_t ticket = 0;

		EXPECT_TRUE(wait_until([&] {
			return gather_reserve(e, &room) != -EAGAIN;
		}));
		list.count = 0;
		list.staged = 0;
		gather_list_add(&list, &op);
		EXPECT_EQ(gather_submit(e, &list, &ticket), 0);
		return ticket;
	}

	struct gpu *gpu = nullptr;
	struct gather_engine *e = nullptr;
	std::unique_ptr<DeviceBytes> pool;
	std::vector<uint8_t> pool_now;
	struct gather_list list = {};
};

TEST_F(Engine, BringsPiecesOfThePoolAndOfHostMemory)
{
	constexpr size_t size = 1 << 20;
	DeviceBytes to(gpu, size);

	for (int round = 0; round < 20; round++) {
		std::vector<uint8_t> want(size, 0x33);
		struct gather_room room = {64 << 10, nullptr};
		size_t at = 0;
		uint64_t ticket;

		to.write(want);
		ASSERT_TRUE(wait_until(
			[&] { return gather_reserve(e, &room) != -EAGAIN; }));
		ASSERT_NE(room.stage, nullptr);
		list.count = 0;
		list.staged = 0;
		while (list.count < 200 && at < size - 9000) {
			size_t len = random() % 8000 + 1;
			struct gather_op op = {to.address(at), nullptr, 0, len};

			if (random() % 4 == 0 &&
			    list.staged + len <= room.bytes) {
				uint8_t *stage = room.stage + list.staged;

				for (size_t i = 0; i < len; i++)
					stage[i] = uint8_t(random());
				std::memcpy(&want[at], stage, len);
				op.host = stage;
				list.staged += len;
			} else {
				op.offset = random() % (pool_bytes - len);
				std::memcpy(&want[at], &pool_now[op.offset],
					    len);
			}
			ASSERT_TRUE(gather_list_add(&list, &op));
			at += len + random() % 50;
		}
		ASSERT_EQ(gather_submit(e, &list, &ticket), 0);
		ASSERT_TRUE(wait_until([&] { return done(ticket); }));
		ASSERT_TRUE(to.read() == want) << "round " << round;
	}
}

TEST_F(Engine, LongOperationsAreCut)
{
	constexpr size_t size = (4 << 20) - 5;
	DeviceBytes to(gpu, size);
	/* The stand-in refuses a piece that is longer than GATHER_PIECE_MAX. */
	uint64_t ticket = submit(to, 0, 3, size);

	ASSERT_TRUE(wait_until([&] { return done(ticket); }));
	EXPECT_TRUE(std::equal(pool_now.begin() + 3,
			       pool_now.begin() + 3 + size, to.read().begin()));
}

TEST_F(Engine, ManyListsGoInOneLaunch)
{
	constexpr size_t lists = 400, len = 1448;
	DeviceBytes to(gpu, lists * len);
	unsigned long before = fakecuda_calls("cuLaunchKernel");
	uint64_t ticket = 0;

	/* Two are launched at once, and the rest when one of them is done. */
	ASSERT_TRUE(wait_until([&] { return done(1); })); /* the first, empty */
	fakecuda_stall(true);
	for (size_t i = 0; i < lists; i++) {
		uint64_t next = submit(to, i * len, i * 4096, len);

		EXPECT_GE(next, ticket);
		ticket = next;
	}
	EXPECT_EQ(fakecuda_calls("cuLaunchKernel") - before, 2u);
	fakecuda_stall(false);
	ASSERT_TRUE(wait_until([&] { return done(ticket); }));
	EXPECT_EQ(fakecuda_calls("cuLaunchKernel") - before, 3u);
	std::vector<uint8_t> is = to.read();
	for (size_t i = 0; i < lists; i++)
		ASSERT_EQ(std::memcmp(&is[i * len], &pool_now[i * 4096], len),
			  0)
			<< "list " << i;
}

TEST_F(Engine, AListAloneIsLaunchedAtOnce)
{
	DeviceBytes to(gpu, 4096);
	unsigned long before = fakecuda_calls("cuLaunchKernel");

	ASSERT_TRUE(wait_until([&] { return done(1); })); /* the first, empty */
	uint64_t ticket = submit(to, 0, 0, 4096);
	EXPECT_EQ(fakecuda_calls("cuLaunchKernel"), before + 1);
	EXPECT_TRUE(wait_until([&] { return done(ticket); }));
}

TEST_F(Engine, AnEmptyListIsDone)
{
	struct gather_room room = {0, nullptr};
	uint64_t ticket = 7;

	ASSERT_TRUE(wait_until(
		[&] { return gather_reserve(e, &room) != -EAGAIN; }));
	list.count = 0;
	ASSERT_EQ(gather_submit(e, &list, &ticket), 0);
	EXPECT_EQ(ticket, 0u);
}

TEST_F(Engine, WithoutRoomItSaysSoAndHasRoomLater)
{
	DeviceBytes to(gpu, 2 << 20);
	struct gather_room room = {2 << 20, nullptr};
	uint64_t ticket = 0;
	int full = 0;

	/* More host memory than all batches hold. */
	fakecuda_stall(true);
	for (int i = 0; i < 64; i++) {
		room.bytes = 2 << 20;
		if (gather_reserve(e, &room) == -EAGAIN) {
			full++;
			fakecuda_stall(false);
			ASSERT_TRUE(wait_until([&] {
				room.bytes = 2 << 20;
				done(ticket);
				return gather_reserve(e, &room) != -EAGAIN;
			}));
		}
		ASSERT_GT(room.bytes, 0u);
		std::memset(room.stage, i, room.bytes);
		struct gather_op op = {to.address(), room.stage, 0, room.bytes};
		list.count = 0;
		gather_list_add(&list, &op);
		list.staged = room.bytes;
		ASSERT_EQ(gather_submit(e, &list, &ticket), 0);
	}
	EXPECT_GT(full, 0);
	ASSERT_TRUE(wait_until([&] { return done(ticket); }));
	EXPECT_EQ(to.read()[0], 63);
}

/* From the first moment on, however late the GPU begins. */
TEST_F(Engine, FullBatchesBeforeTheFirstIsDone)
{
	struct why why;

	fakecuda_stall(true);
	struct gpu *other = gpu_get(1, &why);
	ASSERT_NE(other, nullptr) << why.text;
	struct gather_engine *engine = other->gather;
	auto to = std::make_unique<DeviceBytes>(other, 8 << 20);
	uint64_t ticket = 0;
	int err = 0;

	/* Another one's: lists until there is no room. */
	for (int i = 0; i < 1000; i++) {
		struct gather_room room = {2 << 20, nullptr};

		if (gather_reserve(engine, &room))
			break;
		list.count = 0;
		for (size_t k = 0; k < 1500; k++) {
			struct gather_op op = {to->address(k * 8 + 4),
					       room.stage + k, 0, 1};

			gather_list_add(&list, &op);
		}
		list.staged = room.bytes;
		ASSERT_EQ(gather_submit(engine, &list, &ticket), 0);
	}
	EXPECT_GT(ticket, 2u);
	fakecuda_stall(false);
	EXPECT_TRUE(wait_until([&] {
		return gather_done(engine, &err) >= ticket || err;
	}));
	EXPECT_EQ(err, 0);
	to.reset();
	gpu_put(other);
}

/* Kernels that wait for what is gathered must not be waited for. */
TEST_F(Engine, OnTheWayNothingIsAllocatedAndNothingWaits)
{
	static const char *const calls[] = {
		"cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostAlloc",
		"cuMemFreeHost", "cuMemcpy", "cuMemcpyAsync",
		"cuStreamSynchronize", "cuStreamCreateWithPriority",
		"cuModuleLoadData", "cuMemHostRegister_v2",
	};
	DeviceBytes to(gpu, 1 << 20);
	std::vector<unsigned long> before;
	uint64_t ticket = 0;

	for (const char *call : calls)
		before.push_back(fakecuda_calls(call));
	fakecuda_spin(true);
	fakecuda_capture(true);
	for (size_t i = 0; i < 1000; i++)
		ticket = submit(to, i * 1024, i * 4096, 1000);
	EXPECT_TRUE(wait_until([&] { return done(ticket); }));
	EXPECT_FALSE(fakecuda_capture_broken());
	fakecuda_capture(false);
	EXPECT_EQ(fakecuda_would_block(), 0u);
	fakecuda_spin(false);
	for (size_t i = 0; i < std::size(calls); i++)
		EXPECT_EQ(fakecuda_calls(calls[i]), before[i]) << calls[i];
}

TEST_F(Engine, ALaunchThatFailsIsTheEnd)
{
	DeviceBytes to(gpu, 4096);
	struct gather_op op = {to.address(), nullptr, 0, 4096};
	struct gather_room room = {0, nullptr};
	uint64_t ticket;
	int err = 0;

	ASSERT_TRUE(wait_until([&] { return done(1); }));
	ASSERT_TRUE(fakecuda_fail("cuLaunchKernel:1=719"));
	ASSERT_EQ(gather_reserve(e, &room), 0);
	list.count = 0;
	gather_list_add(&list, &op);
	EXPECT_EQ(gather_submit(e, &list, &ticket), -EIO);
	gather_done(e, &err);
	EXPECT_EQ(err, -EIO);
	EXPECT_EQ(gather_reserve(e, &room), -EIO);
}

/* Whoever closes meanwhile leaves memory behind, rather than take it away. */
TEST_F(Engine, AGpuThatDoesNotEndIsWaitedForOnceAndForgiven)
{
	DeviceBytes to(gpu, 4096);

	ASSERT_TRUE(wait_until([&] { return done(1); }));
	fakecuda_stall(true);
	uint64_t ticket = submit(to, 0, 0, 4096);
	EXPECT_FALSE(gather_wait(e, ticket));
	EXPECT_TRUE(gpu_is_stuck(gpu));
	unsigned long before = fakecuda_calls("cuMemFreeHost");
	void *host = gpu_host_alloc(gpu, 4096);
	gpu_host_free(gpu, host);
	EXPECT_EQ(fakecuda_calls("cuMemFreeHost"), before);
	fakecuda_stall(false);
	EXPECT_TRUE(wait_until([&] { return done(ticket); }));
	EXPECT_TRUE(gather_wait(e, ticket));
	EXPECT_TRUE(wait_until([&] {
		done(ticket);
		return !gpu_is_stuck(gpu);
	}));
	gpu_host_free(gpu, host);
	EXPECT_EQ(fakecuda_calls("cuMemFreeHost"), before + 1);
	EXPECT_TRUE(std::equal(pool_now.begin(), pool_now.begin() + 4096,
			       to.read().begin()));
}

/* A page, by the engine of a GPU: its ticket, or 0. */
uint64_t submit_page(struct gpu *gpu, const DeviceBytes &to,
		     const DeviceBytes &from)
{
	struct gather_room room = {0, nullptr};
	struct gather_op op = {to.address(), nullptr, 0, 4096};
	struct gather_list list = {};
	uint64_t ticket;

	gather_list_init(&list, 1);
	list.pool = static_cast<uint8_t *>(from.address());
	gather_list_add(&list, &op);
	if (gather_reserve(gpu->gather, &room) ||
	    gather_submit(gpu->gather, &list, &ticket))
		ticket = 0;
	gather_list_free(&list);
	return ticket;
}

/* Its last user goes, and another comes: with an engine of its own. */
void come_again()
{
	struct why why;
	struct gpu *gpu = gpu_get(1, &why);
	DeviceBytes to(gpu, 4096), from(gpu, 4096);
	int err = 0;

	fakecuda_stall(true);
	if (!submit_page(gpu, to, from))
		_exit(2);
	gpu_put(gpu);
	if (!gpu_is_stuck(gpu) || fakecuda_leaked())
		_exit(3);
	fakecuda_stall(false);
	gpu = gpu_get(1, &why);
	if (!gpu || gpu_is_stuck(gpu))
		_exit(4);
	if (!gather_wait(gpu->gather, submit_page(gpu, to, from)))
		_exit(5);
	gather_done(gpu->gather, &err);
	_exit(err ? 6 : 0);
}

TEST_F(Engine, AGpuThatDidNotEndCanBeUsedAgain)
{
	EXPECT_EXIT(come_again(), testing::ExitedWithCode(0), "");
}

/* A kernel that faults never says that it is done. */
void fault()
{
	struct why why;
	struct gpu *gpu = gpu_get(0, &why);
	struct gather_room room = {0, nullptr};
	struct gather_list list = {};
	uint64_t ticket;
	int err = 0;

	gather_list_init(&list, 1);
	struct gather_op op = {&list, nullptr, 0, sizeof(list)};
	list.pool = reinterpret_cast<uint8_t *>(&list); /* not pinned */
	gather_list_add(&list, &op);
	gather_reserve(gpu->gather, &room);
	if (gather_submit(gpu->gather, &list, &ticket))
		_exit(2);
	if (!wait_until([&] {
		    return gather_done(gpu->gather, &err) >= ticket || err;
	    }))
		_exit(3);
	std::fprintf(stderr, "the engine says %d\n", err);
	_exit(err == -EIO ? 0 : 4);
}

TEST_F(Engine, AFaultOfTheKernelIsNoticed)
{
	EXPECT_EXIT(fault(), testing::ExitedWithCode(0), "the engine says -5");
}

} // namespace
