// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_gather_core.cc - the gather kernel without a GPU: how a piece is copied, lane by
 * lane; that every piece is some warp's; and the kernel as it is, its threads being
 * the CPU's.
 */
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "c_headers.h"
#include "cuda_on_cpu.h"

namespace
{

/* Each load and store of a piece's bytes: where it may be, how often it was. */
struct {
	const uint8_t *src, *src_end;
	const uint8_t *dst, *dst_end;
	std::vector<uint8_t> stores; /* to each byte of dst */
	unsigned int strays;
} watch;

void watch_load(const void *p, size_t bytes)
{
	const uint8_t *at = static_cast<const uint8_t *>(p);

	if (at < watch.src || at + bytes > watch.src_end)
		__atomic_add_fetch(&watch.strays, 1, __ATOMIC_RELAXED);
}

void watch_store(const void *p, size_t bytes)
{
	const uint8_t *at = static_cast<const uint8_t *>(p);

	if (at < watch.dst || at + bytes > watch.dst_end) {
		__atomic_add_fetch(&watch.strays, 1, __ATOMIC_RELAXED);
		return;
	}
	for (size_t i = at - watch.dst; bytes; bytes--, i++)
		__atomic_add_fetch(&watch.stores[i], 1, __ATOMIC_RELAXED);
}

void watch_begin(const uint8_t *src, size_t src_bytes, const uint8_t *dst,
		 size_t dst_bytes)
{
	watch.src = src;
	watch.src_end = src + src_bytes;
	watch.dst = dst;
	watch.dst_end = dst + dst_bytes;
	watch.stores.assign(dst_bytes, 0);
	watch.strays = 0;
}

} // namespace

#define GATHER_LOAD(p)	   (watch_load(p, sizeof(*(p))), *(p))
#define GATHER_STORE(p, v) (watch_store(p, sizeof(*(p))), *(p) = (v))
extern "C" {
#include "gather_image.h"
}
#include "gather_kernel.cu"

namespace
{

uint64_t address(const void *p)
{
	return reinterpret_cast<uintptr_t>(p);
}

void copy_piece(void *dst, const void *src, uint32_t len)
{
	for (uint32_t lane = 0; lane < GATHER_WARP; lane++)
		gather_piece(address(dst), address(src), len, lane);
}

/* Pages between two that nobody may touch. */
class Guarded
{
      public:
	explicit Guarded(size_t bytes) : page(sysconf(_SC_PAGESIZE))
	{
		size = (bytes + page - 1) / page * page;
		map = static_cast<uint8_t *>(
			mmap(nullptr, size + 2 * page, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		if (map == MAP_FAILED ||
		    mprotect(map + page, size, PROT_READ | PROT_WRITE))
			abort();
	}
	~Guarded()
	{
		munmap(map, size + 2 * page);
	}
	Guarded(const Guarded &) = delete;
	uint8_t *begin()
	{
		return map + page;
	}
	uint8_t *end()
	{
		return map + page + size;
	}

      private:
	size_t page, size;
	uint8_t *map;
};

class Piece : public testing::Test
{
      protected:
	static constexpr size_t room = GATHER_PIECE_MAX + 128;

	void SetUp() override
	{
		std::mt19937 random(11);

		for (uint8_t *at = from.begin(); at < from.end(); at++)
			*at = random();
		memset(to.begin(), 0xee, to.end() - to.begin());
	}

	/* Each byte is there, was written once, and 64 on each side were not. */
	void expect_copied(uint8_t *dst, const uint8_t *src, uint32_t len)
	{
		uint8_t *first = std::max(to.begin(), dst - 64);
		uint8_t *last = std::min(to.end(), dst + len + 64);
		auto untouched = [](uint8_t byte) { return byte == 0xee; };
		auto once = [](uint8_t times) { return times == 1; };

		watch_begin(src, len, dst, len);
		copy_piece(dst, src, len);
		ASSERT_EQ(watch.strays, 0u) << where(dst, src, len);
		ASSERT_TRUE(std::all_of(watch.stores.begin(),
					watch.stores.end(), once))
			<< where(dst, src, len);
		ASSERT_EQ(memcmp(dst, src, len), 0) << where(dst, src, len);
		ASSERT_TRUE(std::all_of(first, dst, untouched))
			<< "before, " << where(dst, src, len);
		ASSERT_TRUE(std::all_of(dst + len, last, untouched))
			<< "behind, " << where(dst, src, len);
		memset(dst, 0xee, len);
	}
	std::string where(uint8_t *dst, const uint8_t *src, uint32_t len)
	{
		return std::to_string(len) + " bytes from " +
		       std::to_string(address(src) % 32) + " to " +
		       std::to_string(address(dst) % 32) + " modulo 32";
	}
	/* All alignments of both; false: a test has failed. */
	bool any_alignment(uint32_t len)
	{
		for (int i = 0; i < 32 * 32 && !HasFatalFailure(); i++)
			expect_copied(to.begin() + 64 + i / 32,
				      from.begin() + i % 32, len);
		return !HasFatalFailure();
	}

	Guarded from{ room }, to{ room };
};

TEST_F(Piece, OfAnyAlignmentAndOfUpTo300Bytes)
{
	for (uint32_t len = 0; len <= 300 && any_alignment(len); len++)
		;
}

TEST_F(Piece, OfAnyAlignmentAroundWhatRowsAndPassesHold)
{
	/* A row of each unit, several of them, a pass, two, and segments. */
	for (uint32_t edge : { 512u, 1024u, 1428u, 1448u, 2048u, 4096u, 8192u })
		for (uint32_t len : { edge - 33, edge - 17, edge - 1, edge,
				      edge + 1, edge + 15, edge + 40 })
			if (!any_alignment(len))
				return;
}

TEST_F(Piece, AsLongAsTheyGet)
{
	for (uint32_t cut = 0; cut < 40 && !HasFatalFailure(); cut++)
		expect_copied(to.begin() + 64 + cut % 17, from.begin() + cut,
			      GATHER_PIECE_MAX - cut);
}

/* A page on which the next access would fault, before or behind, on either side. */
TEST_F(Piece, NothingOutsideIsReadOrWritten)
{
	for (uint32_t len = 0; len < 1500 && !HasFatalFailure(); len++) {
		if (len > 300 && len % 7)
			continue;
		for (uint32_t skew = 0; skew < 32; skew++) {
			uint8_t *src_end = from.end() - len;
			uint8_t *dst_end = to.end() - len;
			uint8_t *dst_mid = to.begin() + 64 + skew;
			uint8_t *src_mid = from.begin() + 64 + skew;

			expect_copied(dst_mid, from.begin(), len);
			expect_copied(dst_mid, src_end, len);
			expect_copied(to.begin(), src_mid, len);
			expect_copied(dst_end, src_mid, len);
		}
		expect_copied(to.begin(), from.begin(), len);
		expect_copied(to.end() - len, from.end() - len, len);
	}
}

/* ---- who copies what ------------------------------------------------------- */

TEST(GatherShare, EveryPieceIsOneWarpsAndNoWarpHasTwoMoreThanAnother)
{
	std::mt19937 random(5);

	for (int round = 0; round < 20000; round++) {
		uint32_t warps = 1 + random() % (round % 2 ? 2000 : 20);
		uint32_t count = random() % (round % 3 ? 10000 : 40);
		uint32_t least = count / warps, end = 0;

		for (uint32_t w = 0; w < warps; w++) {
			uint32_t first = gather_first(count, warps, w);

			ASSERT_EQ(first, end) << count << " of " << warps;
			end = gather_first(count, warps, w + 1);
			ASSERT_GE(end - first, least) << count << warps;
			ASSERT_LE(end - first, least + 1) << count << warps;
		}
		ASSERT_EQ(end, count) << count << " of " << warps;
	}
}

TEST(GatherShare, CountsNearTheLargestDoNotWrap)
{
	uint32_t most = UINT32_MAX;

	EXPECT_EQ(gather_first(most, 7, 7), most);
	EXPECT_EQ(gather_first(most, 65536, 65536), most);
	EXPECT_EQ(gather_first(most, 65536, 65535), most - most / 65536);
}

TEST(GatherBlocks, AreNeverNoneNorMoreThanUseful)
{
	EXPECT_EQ(gather_blocks(0, 0, 132), 1u);
	EXPECT_EQ(gather_blocks(1, 100, 132), 1u);
	EXPECT_EQ(gather_blocks(8, 8 * 4096, 132), 1u);
	EXPECT_EQ(gather_blocks(9, 9 * 4096, 132), 2u);
	EXPECT_EQ(gather_blocks(256, 1 << 20, 132), 32u);
	EXPECT_EQ(gather_blocks(5, 1, 0), 1u);
	EXPECT_EQ(gather_blocks(5, 1, -1), 1u);
	EXPECT_EQ(gather_blocks(500, 500, 1), 1u);
}

TEST(GatherBlocks, LeaveHalfOfTheGpuWhereMoreIsNoGain)
{
	EXPECT_EQ(gather_blocks(1024, 4 << 20, 132), 66u);
	EXPECT_EQ(gather_blocks(16384, 64 << 20, 132), 132u);
	/* Few pieces, but long: a warp for each is all there can be. */
	EXPECT_EQ(gather_blocks(256, 256 * GATHER_PIECE_MAX, 132), 32u);
	EXPECT_EQ(gather_blocks(UINT32_MAX, SIZE_MAX, 132), 132u);
}

/* ---- the kernel ------------------------------------------------------------ */

class Kernel : public testing::Test
{
      protected:
	static constexpr size_t size = 1 << 20;

	/* Pieces of any length, scattered in the pool, side by side in target. */
	void make(uint32_t count)
	{
		std::vector<uint32_t> slots(size / 4096);
		size_t to = random() % 64;

		std::iota(slots.begin(), slots.end(), 0);
		std::shuffle(slots.begin(), slots.end(), random);
		std::fill(target.begin(), target.end(), 0xee);
		expected = target;
		written.assign(size, 0);
		watch_begin(pool.data(), size, target.data(), size);
		/* What is behind the last descriptor faults. */
		work = reinterpret_cast<struct gather_work *>(list.end()) -
		       count;
		for (uint32_t i = 0; i < count; i++) {
			size_t from = slots[i] * 4096ull + random() % 200;
			size_t len = i % 3 ? 1448 : random() % 3800;

			work[i] = { address(&target[to]), address(&pool[from]),
				    len, 0 };
			memcpy(&expected[to], &pool[from], len);
			memset(&written[to], 1, len);
			to += len + (random() % 4 ? 0 : random() % 30);
		}
	}
	void run(uint32_t count, unsigned int grid, unsigned int first,
		 unsigned int end, unsigned int block)
	{
		cuda_run(grid, first, end, block, [&] {
			devmem_gather(work, count, &arrived, &done, ticket);
		});
	}
	void expect_all_once()
	{
		ASSERT_EQ(target, expected);
		ASSERT_EQ(watch.stores, written);
		ASSERT_EQ(watch.strays, 0u);
	}
	void SetUp() override
	{
		for (uint8_t &byte : pool)
			byte = random();
	}

	std::mt19937 random{ 3 };
	std::vector<uint8_t> pool = std::vector<uint8_t>(size);
	std::vector<uint8_t> target = std::vector<uint8_t>(size);
	std::vector<uint8_t> expected, written;
	Guarded list{ 256 * sizeof(struct gather_work) };
	struct gather_work *work = nullptr;
	uint32_t arrived = 0;
	uint64_t done = 0, ticket = 0;
};

TEST_F(Kernel, CopiesEveryListByEveryGrid)
{
	struct {
		unsigned int blocks, threads;
	} grids[] = { { 1, 32 }, { 1, 64 }, { 2, 64 }, { 3, 96 } };

	/* None, fewer than warps, and around what a warp reads at a time. */
	for (uint32_t count : { 0, 1, 3, 15, 16, 17, 32, 33, 70 })
		for (auto grid : grids) {
			make(count);
			ticket++;
			run(count, grid.blocks, 0, grid.blocks, grid.threads);
			SCOPED_TRACE(std::to_string(count) + " pieces by " +
				     std::to_string(grid.blocks) + " of " +
				     std::to_string(grid.threads));
			expect_all_once();
			ASSERT_EQ(done, ticket);
			ASSERT_EQ(arrived, 0u) << "for the next launch";
		}
}

TEST_F(Kernel, AsTheHostLaunchesIt)
{
	unsigned int blocks = gather_blocks(20, 20 * 1448, 2);

	make(20);
	ticket = UINT64_MAX - 1;
	run(20, blocks, 0, blocks, GATHER_THREADS);
	expect_all_once();
	EXPECT_EQ(done, ticket);
}

TEST_F(Kernel, BlocksNeedNotRunAtOnceAndTheLastOneSpeaks)
{
	make(50);
	ticket = 7;
	for (unsigned int block : { 2, 0, 1 }) {
		ASSERT_EQ(done, 0u) << "before block " << block;
		run(50, 3, block, block + 1, 64);
	}
	EXPECT_EQ(done, 7u);
	EXPECT_EQ(arrived, 0u);
	expect_all_once();
}

TEST_F(Kernel, ABlockArrivesBehindAllOfItsBytes)
{
	int times = 0;

	make(60);
	ticket = 1;
	cuda_at_atomic = [&] {
		times++;
		EXPECT_EQ(target, expected);
		EXPECT_EQ(done, 0u);
	};
	run(60, 1, 0, 1, 128);
	cuda_at_atomic = nullptr;
	EXPECT_EQ(times, 1) << "one for the block, not for each thread";
	EXPECT_EQ(done, 1u);
}

/* ---- its code -------------------------------------------------------------- */

TEST(GatherImage, IsAFatBinaryAsLongAsItSays)
{
	/* The file's header: a mark, a version, its own size, the rest's. */
	struct {
		uint32_t mark;
		uint16_t version, header;
		uint64_t rest;
	} head;
	size_t bytes = 1;
	const void *image = gather_image(&bytes);

	EXPECT_EQ(gather_image(nullptr), image);
	if (!image) {
		EXPECT_EQ(bytes, 0u);
		GTEST_SKIP() << "built without nvcc";
	}
	ASSERT_GT(bytes, sizeof(head));
	memcpy(&head, image, sizeof(head));
	EXPECT_EQ(address(image) % 16, 0u);
	EXPECT_EQ(head.mark, 0xba55ed50u);
	EXPECT_EQ(head.header + head.rest, bytes);
}

} // namespace
