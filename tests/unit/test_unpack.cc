// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_unpack.cc - T40: what NCCL's kernels make of our unpack lists is the message.
 * In their place is a reader that does what docs/unpack.md says of them: count the
 * head up, take the list of that number, copy each entry, in any order.
 */
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "unpack_lists.h"

namespace {

using Bytes = std::vector<uint8_t>;
using Unpack = UnpackLists;

/* All that 32 bits can address; what is not touched takes no memory. */
class Bounce {
public:
	Bounce()
		: map_(mmap(nullptr, UNPACK_BOUNCE_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))
	{
	}
	~Bounce()
	{
		if (ok())
			munmap(map_, UNPACK_BOUNCE_BYTES);
	}
	bool ok() const { return map_ != MAP_FAILED; }
	uint8_t *at(uint64_t offset)
	{
		return static_cast<uint8_t *>(map_) + offset;
	}

private:
	void *map_;
};

/* The GPU's side of one connection. */
class Reader {
public:
	Reader(const unpack_meta *meta, Bounce *bounce)
		: meta_(meta), bounce_(bounce)
	{
	}

	/* One receive, into the buffer that was posted for it. */
	void receive(uint8_t *posted, std::mt19937 &random)
	{
		uint64_t slot = ++head_ % UNPACK_SLOTS;
		uint64_t count =
			__atomic_load_n(&meta_->count[slot], __ATOMIC_ACQUIRE);
		std::vector<unpack_entry> list(meta_->entry[slot],
					       meta_->entry[slot] + count);

		std::shuffle(list.begin(), list.end(), random);
		for (const unpack_entry &e : list)
			memcpy(posted + e.dst_off, bounce_->at(e.src_off),
			       e.len);
	}

private:
	const unpack_meta *meta_;
	Bounce *bounce_;
	uint64_t head_ = UNPACK_FIRST_HEAD;
};

/* ---- fuzz -------------------------------------------------------------------- */

struct Piece {
	uint64_t pool, dst, len;
};

struct Message {
	uint64_t seq;
	Bytes data, posted;
	/* Of each flow, in the order of their arrival. */
	std::vector<std::deque<Piece>> flows;

	static constexpr size_t guard = 64;

	uint8_t *buffer() { return posted.data() + guard; }
	bool complete() const
	{
		return std::all_of(flows.begin(), flows.end(),
				   [](auto &flow) { return flow.empty(); });
	}
	bool right() const
	{
		auto begin = posted.begin() + guard, end = posted.end() - guard;
		auto untouched = [](uint8_t byte) { return byte == 0xee; };

		return std::equal(begin, end, data.begin(), data.end()) &&
		       std::all_of(posted.begin(), begin, untouched) &&
		       std::all_of(end, posted.end(), untouched);
	}
};

struct Tally {
	int messages, empty, listed, elsewhere, full_ring;
};

class Fuzz {
public:
	Fuzz(struct unpack *u, Bounce *bounce, unsigned int seed)
		: u_(u), bounce_(bounce), reader_(u->meta, bounce), random_(seed)
	{
	}

	void run(int messages, Tally *t)
	{
		t_ = t;
		while (t->messages < messages || !open_.empty()) {
			ASSERT_NO_FATAL_FAILURE(step(t->messages < messages));
			if (testing::Test::HasFailure())
				return;
		}
	}

private:
	/* Each slot's pieces are in a window of their own, up to the very top. */
	static constexpr uint64_t window = 2u << 20;

	uint64_t below(uint64_t n) { return n ? random_() % n : 0; }

	void step(bool more)
	{
		uint64_t what = below(16);

		if (more && what < 2)
			begin();
		else if (!open_.empty() && what < 15)
			arrive(open_[below(open_.size())].get());
		else
			finish();
	}

	void begin()
	{
		uint64_t size = below(4) ? below(20000) : below(1u << 20);
		auto m = std::make_unique<Message>();

		if (!below(10))
			size = 0;
		int rc = unpack_begin(u_, next_, size + below(2) * 1000);
		if (open_.size() == UNPACK_SLOTS) {
			EXPECT_EQ(rc, -EAGAIN);
			t_->full_ring++;
			return;
		}
		ASSERT_EQ(rc, 0);
		m->seq = next_++;
		m->data.resize(size);
		for (uint8_t &byte : m->data)
			byte = random_();
		m->posted.assign(size + 2 * Message::guard, 0xee);
		cut(m.get());
		t_->messages++;
		t_->empty += !size;
		open_.push_back(std::move(m));
	}

	uint64_t piece_size()
	{
		switch (below(8)) {
		case 0:
			return 1 + below(16);
		case 1:
			return 1 + below(60000);
		case 2:
		case 3:
			return page;
		default:
			return 1448;
		}
	}

	/* Chunks dealt to flows, and each chunk into pieces in the pool. */
	void cut(Message *m)
	{
		uint64_t base = UNPACK_BOUNCE_BYTES - UNPACK_SLOTS * window +
				m->seq % UNPACK_SLOTS * window;
		uint64_t used = 0, size = m->data.size(), unit = piece_size();
		bool one_size = below(2), packed = below(2);
		size_t left = 0, flow = 0;

		m->flows.resize(1 + below(4));
		for (uint64_t at = 0, len; at < size; at += len) {
			if (!left--) {
				flow = below(m->flows.size());
				left = below(100);
			}
			len = std::min(one_size ? unit : piece_size(),
				       size - at);
			if (!packed && window - used > size - at + page)
				used = (used + page - 1) / page * page;
			/* The last ends where the pool ends. */
			if (at + len == size)
				used = window - len;
			memcpy(bounce_->at(base + used), &m->data[at], len);
			m->flows[flow].push_back({ base + used, at, len });
			used += len;
		}
		if (!below(8))
			for (auto &pieces : m->flows)
				std::shuffle(pieces.begin(), pieces.end(),
					     random_);
	}

	void arrive(Message *m)
	{
		auto &flow = m->flows[below(m->flows.size())];

		for (uint64_t n = below(20); n && !flow.empty(); n--) {
			Piece p = flow.front();
			int rc = unpack_add(u_, m->seq, p.pool, p.dst, p.len);

			flow.pop_front();
			if (rc == -EMSGSIZE)
				memcpy(m->buffer() + p.dst, bounce_->at(p.pool),
				       p.len);
			else
				ASSERT_EQ(rc, 0);
			(rc ? t_->elsewhere : t_->listed)++;
		}
		if (m->complete() && !published(m->seq)) {
			ASSERT_EQ(unpack_publish(u_, m->seq), 0);
			published_.push_back(m->seq);
		}
	}

	bool published(uint64_t seq) const
	{
		return std::count(published_.begin(), published_.end(), seq);
	}

	/* The GPU takes the oldest, if it is there. */
	void finish()
	{
		if (open_.empty())
			return;
		Message *m = open_.front().get();
		if (!published(m->seq)) {
			EXPECT_EQ(unpack_consume(u_, m->seq), -EINVAL);
			return;
		}
		reader_.receive(m->buffer(), random_);
		EXPECT_TRUE(m->right()) << "message " << m->seq << " of "
					<< m->data.size() << " bytes";
		ASSERT_EQ(unpack_consume(u_, m->seq), 0);
		published_.erase(std::find(published_.begin(), published_.end(),
					   m->seq));
		open_.pop_front();
	}

	struct unpack *u_;
	Bounce *bounce_;
	Reader reader_;
	std::mt19937 random_;
	uint64_t next_ = 0;
	std::deque<std::unique_ptr<Message>> open_;
	std::vector<uint64_t> published_;
	Tally *t_ = nullptr;
};

TEST_F(Unpack, T40_MessagesOfManyFlowsInAnyOrderArriveWhole)
{
	Bounce bounce;
	Tally all = {};

	if (!bounce.ok())
		GTEST_SKIP() << "no 4 GiB of addresses here";
	for (unsigned int seed = 1; seed <= 12; seed++) {
		Tally t = {};

		unpack_init(&u, meta.get());
		Fuzz fuzz(&u, &bounce, seed);
		fuzz.run(60, &t);
		ASSERT_FALSE(HasFailure()) << "seed " << seed;
		EXPECT_EQ(unpack_in_flight(&u), 0u);
		all.messages += t.messages;
		all.empty += t.empty;
		all.listed += t.listed;
		all.elsewhere += t.elsewhere;
		all.full_ring += t.full_ring;
	}
	/* It has been everywhere. */
	EXPECT_EQ(all.messages, 12 * 60);
	EXPECT_GT(all.empty, 20);
	EXPECT_GT(all.listed, 10000);
	EXPECT_GT(all.elsewhere, 100);
	EXPECT_GT(all.full_ring, 20);
}

/* The most that fits, in the worst way that a 1500-byte network has. */
TEST_F(Unpack, T40_ASegmentInEachPageFillsTheList)
{
	constexpr uint64_t segment = 1448, size = segment * UNPACK_ENTRIES;
	Bounce bounce;
	std::mt19937 random(5);
	Bytes data(size), posted(size);

	if (!bounce.ok())
		GTEST_SKIP() << "no 4 GiB of addresses here";
	for (uint8_t &byte : data)
		byte = random();
	ASSERT_EQ(unpack_begin(&u, 0, slice), 0);
	for (uint64_t i = 0; i < UNPACK_ENTRIES; i++) {
		memcpy(bounce.at(i * page), &data[i * segment], segment);
		ASSERT_EQ(unpack_add(&u, 0, i * page, i * segment, segment), 0);
	}
	EXPECT_EQ(unpack_add(&u, 0, UNPACK_ENTRIES * page, size, segment),
		  -EMSGSIZE);
	EXPECT_EQ(published(0), UNPACK_ENTRIES);
	Reader(meta.get(), &bounce).receive(posted.data(), random);
	EXPECT_EQ(posted, data);
}

/* Beside the writer, as the GPU runs; ThreadSanitizer looks on. */
TEST_F(Unpack, WhoSeesTheNumberSeesTheEntries)
{
	constexpr uint64_t messages = 2000;
	std::atomic<uint64_t> read = 0, consumed = 0;
	std::atomic<int> wrong = 0;

	std::thread gpu([&] {
		for (uint64_t seq = 0; seq < messages; seq++) {
			uint64_t *number = &meta->count[seq % UNPACK_SLOTS], n;

			/* Not the number of who had the slot before. */
			while (consumed + UNPACK_SLOTS <= seq)
				std::this_thread::yield();
			while (!(n = __atomic_load_n(number, __ATOMIC_ACQUIRE)))
				std::this_thread::yield();
			wrong += n != 1 + seq % 3;
			for (uint64_t i = 0; i < n; i++)
				wrong += entry(seq, i).src_off != 2 * seq + i;
			read = seq + 1;
		}
	});
	for (uint64_t seq = 0; consumed < messages;) {
		if (seq < messages && !unpack_begin(&u, seq, slice)) {
			for (uint64_t i = 0; i <= seq % 3; i++)
				EXPECT_EQ(unpack_add(&u, seq, 2 * seq + i,
						     8 * i, 1),
					  0);
			EXPECT_EQ(unpack_publish(&u, seq), 0);
			seq++;
		} else {
			std::this_thread::yield();
		}
		while (consumed < read) {
			EXPECT_EQ(unpack_consume(&u, consumed), 0);
			consumed++;
		}
	}
	gpu.join();
	EXPECT_EQ(wrong, 0);
}

} // namespace
