// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_cmsg.cc - what recvmsg(MSG_SOCK_DEVMEM) brought: every byte is in one
 * piece, in stream order, and no token is lost, whatever the kernel wrote.
 */
#include <gtest/gtest.h>

#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "c_headers.h"

namespace {

/* One recvmsg's outcome, with a control buffer of exactly its size. */
class Received {
public:
	void devmem(uint64_t offset, uint32_t size, uint32_t token,
		    uint32_t id = 1)
	{
		struct devmem_uapi_cmsg data = {offset, size, token, id, 0};
		add(SOL_SOCKET, SO_DEVMEM_DMABUF, &data, sizeof(data));
	}
	void linear(uint32_t size)
	{
		struct devmem_uapi_cmsg data = {};
		data.frag_size = size;
		add(SOL_SOCKET, SO_DEVMEM_LINEAR, &data, sizeof(data));
	}
	void add(int level, int type, const void *data, size_t size)
	{
		size_t at = control_.size();

		control_.resize(at + CMSG_SPACE(size));
		struct cmsghdr head = {};
		head.cmsg_len = CMSG_LEN(size);
		head.cmsg_level = level;
		head.cmsg_type = type;
		memcpy(&control_[at], &head, sizeof(head));
		memcpy(&control_[at + sizeof(head)], data, size);
	}

	struct Result {
		std::vector<struct piece> pieces;
		int errors = 0;
		int last = 1;
	};
	Result walk(size_t received)
	{
		std::unique_ptr<uint8_t[]> exact(new uint8_t[control_.size()]);
		struct msghdr msg = {};
		struct piece_walk walk;
		struct piece piece;
		Result result;

		std::copy(control_.begin(), control_.end(), exact.get());
		msg.msg_control = control_.empty() ? nullptr : exact.get();
		msg.msg_controllen = control_.size();
		pieces_begin(&walk, &msg, received);
		for (int i = 0; i < 10000; i++) {
			int rc = pieces_next(&walk, &piece);

			result.last = rc;
			if (rc == 0)
				break;
			if (rc > 0)
				result.pieces.push_back(piece);
			else
				result.errors++;
		}
		EXPECT_EQ(result.last, 0) << "the walk did not end";
		return result;
	}

private:
	std::vector<uint8_t> control_;
};

TEST(Pieces, NothingReceivedIsNoPiece)
{
	Received call;
	auto result = call.walk(0);

	EXPECT_TRUE(result.pieces.empty());
	EXPECT_EQ(result.errors, 0);
}

TEST(Pieces, BytesWithoutAControlMessageAreHostBytes)
{
	Received call;
	auto result = call.walk(5000);

	ASSERT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.pieces[0].where, PIECE_HOST);
	EXPECT_EQ(result.pieces[0].len, 5000u);
	EXPECT_EQ(result.pieces[0].offset, 0u);
	EXPECT_EQ(result.errors, 0);
}

TEST(Pieces, OtherControlMessagesAreNotOurs)
{
	Received call;
	uint64_t stamp[2] = {~0ull, ~0ull};

	call.add(SOL_SOCKET, SO_TIMESTAMP, stamp, sizeof(stamp));
	call.add(IPPROTO_TCP, SO_DEVMEM_DMABUF, stamp, sizeof(stamp));
	auto result = call.walk(100);
	ASSERT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.pieces[0].where, PIECE_HOST);

	call.devmem(4096, 100, 7);
	result = call.walk(100);
	ASSERT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.pieces[0].where, PIECE_DEVMEM);
	EXPECT_EQ(result.errors, 0);
}

TEST(Pieces, TokenZeroIsAToken)
{
	Received call;

	call.devmem(0, 10, 0, 0);
	auto result = call.walk(10);
	ASSERT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.pieces[0].where, PIECE_DEVMEM);
	EXPECT_EQ(result.pieces[0].token, 0u);
}

TEST(Pieces, LinearBytesLieOneBehindTheOtherInTheIov)
{
	Received call;

	call.linear(10);
	call.devmem(1 << 20, 4096, 5);
	call.linear(7);
	auto result = call.walk(10 + 4096 + 7);
	ASSERT_EQ(result.pieces.size(), 3u);
	EXPECT_EQ(result.pieces[0].where, PIECE_LINEAR);
	EXPECT_EQ(result.pieces[0].offset, 0u);
	EXPECT_EQ(result.pieces[1].offset, 1u << 20);
	EXPECT_EQ(result.pieces[2].where, PIECE_LINEAR);
	EXPECT_EQ(result.pieces[2].offset, 10u);
	EXPECT_EQ(result.errors, 0);
}

TEST(Pieces, PoolOffsetsBeyondFourGibibytesAreKept)
{
	Received call;

	call.devmem(0x123456789000, 4096, 0xfffffffe, 0xabcd);
	auto result = call.walk(4096);
	ASSERT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.pieces[0].offset, 0x123456789000u);
	EXPECT_EQ(result.pieces[0].token, 0xfffffffeu);
	EXPECT_EQ(result.pieces[0].dmabuf_id, 0xabcdu);
}

/* The bytes cannot be placed: better an error than data in a wrong place. */
TEST(Pieces, BytesThatNoControlMessageExplainsAreAnError)
{
	Received call;

	call.devmem(0, 100, 1);
	auto result = call.walk(150);
	EXPECT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.errors, 1);
}

TEST(Pieces, ATokenSurvivesALengthThatCannotBe)
{
	Received call;

	call.devmem(0, 0xffffffff, 11);
	call.devmem(4096, 50, 12);
	auto result = call.walk(100);
	std::vector<uint32_t> tokens;
	size_t bytes = 0;
	for (auto &piece : result.pieces) {
		tokens.push_back(piece.token);
		bytes += piece.len;
	}
	EXPECT_EQ(tokens, (std::vector<uint32_t>{11, 12}));
	EXPECT_LE(bytes, 100u) << "more bytes than were received";
}

TEST(Pieces, ALinearLengthThatCannotBeIsAnErrorAndTheWalkGoesOn)
{
	Received call;

	call.linear(101);
	call.devmem(0, 0, 9);
	auto result = call.walk(100);
	EXPECT_GE(result.errors, 1);
	ASSERT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.pieces[0].token, 9u);
}

TEST(Pieces, AShortControlMessageIsAnError)
{
	Received call;
	uint64_t word = 0;

	call.add(SOL_SOCKET, SO_DEVMEM_DMABUF, &word, sizeof(word));
	call.devmem(0, 60, 3);
	auto result = call.walk(60);
	EXPECT_GE(result.errors, 1);
	ASSERT_EQ(result.pieces.size(), 1u);
	EXPECT_EQ(result.pieces[0].token, 3u);
}

/* Random calls that a correct kernel could make, against what was put in. */
TEST(Pieces, AreWhatTheKernelReported)
{
	std::mt19937 random(4);

	for (int round = 0; round < 2000; round++) {
		Received call;
		std::vector<struct piece> expected;
		size_t total = 0, linear = 0;

		for (int i = random() % 40; i > 0; i--) {
			uint32_t size = 1 + random() % 4096;
			struct piece piece = {};

			piece.len = size;
			if (random() % 5 == 0) {
				piece.where = PIECE_LINEAR;
				piece.offset = linear;
				linear += size;
				call.linear(size);
			} else {
				piece.where = PIECE_DEVMEM;
				piece.offset = random() * uint64_t{4096};
				piece.token = random();
				piece.dmabuf_id = 1;
				call.devmem(piece.offset, size, piece.token);
			}
			total += size;
			expected.push_back(piece);
		}
		auto result = call.walk(total);
		ASSERT_EQ(result.errors, 0);
		ASSERT_EQ(result.pieces.size(), expected.size());
		for (size_t i = 0; i < expected.size(); i++) {
			ASSERT_EQ(result.pieces[i].where, expected[i].where);
			ASSERT_EQ(result.pieces[i].len, expected[i].len);
			ASSERT_EQ(result.pieces[i].offset, expected[i].offset);
			ASSERT_EQ(result.pieces[i].token, expected[i].token);
		}
	}
}

/* Lengths that add up to nothing sensible: still all tokens, still bounded. */
TEST(Pieces, RandomLengthsNeverGiveMoreBytesThanWereReceived)
{
	std::mt19937 random(5);

	for (int round = 0; round < 2000; round++) {
		Received call;
		std::vector<uint32_t> tokens, seen;
		size_t received = random() % 5000, bytes = 0;

		for (int i = random() % 20; i > 0; i--) {
			uint32_t size = random() % 3 ? random() % 2000 :
						       random();
			if (random() % 3) {
				tokens.push_back(random());
				call.devmem(random(), size, tokens.back());
			} else {
				call.linear(size);
			}
		}
		for (auto &piece : call.walk(received).pieces) {
			bytes += piece.len;
			if (piece.where == PIECE_DEVMEM) {
				seen.push_back(piece.token);
			} else if (piece.len) { /* else it names no byte */
				ASSERT_LE(piece.offset + piece.len, received);
			}
		}
		ASSERT_LE(bytes, received);
		ASSERT_EQ(seen, tokens);
	}
}

} // namespace
