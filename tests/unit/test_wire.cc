// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_wire.cc - the control protocol's records: their bytes, what decoders
 * refuse, and a reader that a peer cannot confuse.
 */
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "c_headers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

Bytes header(uint16_t type, uint16_t flags, uint32_t len, uint64_t seq = 0)
{
	Bytes bytes(WIRE_HEADER_BYTES);

	for (int i = 0; i < 2; i++) {
		bytes[i] = type >> 8 * i;
		bytes[2 + i] = flags >> 8 * i;
	}
	for (int i = 0; i < 4; i++)
		bytes[4 + i] = len >> 8 * i;
	for (int i = 0; i < 8; i++)
		bytes[8 + i] = seq >> 8 * i;
	return bytes;
}

Bytes record(uint16_t type, uint16_t flags, const Bytes &payload,
	     uint64_t seq = 0)
{
	Bytes bytes = header(type, flags, payload.size(), seq);

	bytes.insert(bytes.end(), payload.begin(), payload.end());
	return bytes;
}

/* A decoder reads a copy that ends where the payload ends (for sanitizers). */
template <typename Get, typename Out>
int decode(Get get, const Bytes &payload, Out *out)
{
	std::unique_ptr<uint8_t[]> copy(new uint8_t[payload.size() + 1]);
	uint8_t *start = copy.get() + 1;

	std::copy(payload.begin(), payload.end(), start);
	return get(start, payload.size(), out);
}

Bytes payload_of(const uint8_t *bytes, size_t size)
{
	return Bytes(bytes + WIRE_HEADER_BYTES, bytes + size);
}

class Reader {
public:
	explicit Reader(uint32_t max_payload, size_t cap = 0)
	{
		EXPECT_EQ(wire_reader_init(&r, cap, max_payload), 0);
	}
	~Reader() { wire_reader_free(&r); }

	/* As much as fits; returns how much that was. */
	size_t feed(const uint8_t *bytes, size_t size)
	{
		size_t room;
		uint8_t *to = wire_reader_space(&r, &room);

		size = std::min(size, room);
		memcpy(to, bytes, size);
		wire_reader_filled(&r, size);
		return size;
	}
	int peek() { return wire_reader_peek(&r, &hdr, &payload); }

	struct wire_reader r;
	struct wire_hdr hdr = {};
	const uint8_t *payload = nullptr;
};

TEST(WireLayout, HelloIsLittleEndianAsTheSpecificationSays)
{
	struct wire_hello hello = {0x0102, 0x0304, 0x1020, {}, 0x01020304};
	uint8_t bytes[WIRE_MAX_RECORD];

	for (int i = 0; i < WIRE_KEY_BYTES; i++)
		hello.key[i] = 0xa0 + i;
	ASSERT_EQ(wire_put_hello(bytes, &hello), 16u + 28u);
	const uint8_t expected[] = {
		1, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		2, 1, 4, 3, 0x20, 0x10, 0, 0,
		0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
		0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
		4, 3, 2, 1,
	};
	EXPECT_EQ(Bytes(bytes, bytes + 44),
		  Bytes(expected, expected + sizeof(expected)));
}

TEST(WireLayout, GrantAndDataCarryTheMessageNumberInTheHeader)
{
	uint8_t bytes[WIRE_MAX_RECORD];

	ASSERT_EQ(wire_put_grant(bytes, 0x1122334455667788, 0x99), 24u);
	EXPECT_EQ(Bytes(bytes, bytes + 16),
		  header(WIRE_GRANT, 0, 8, 0x1122334455667788));
	EXPECT_EQ(Bytes(bytes + 16, bytes + 24),
		  (Bytes{0x99, 0, 0, 0, 0, 0, 0, 0}));

	ASSERT_EQ(wire_put_inline_hdr(bytes, 7, 5000), 16u);
	EXPECT_EQ(Bytes(bytes, bytes + 16),
		  header(WIRE_DATA, WIRE_F_INLINE, 5000, 7));

	struct wire_data data = {};
	data.total = 0x0102030405;
	data.count = 1;
	data.chunk[0] = {3, 0x10000};
	ASSERT_EQ(wire_put_data(bytes, 8, &data), 32u);
	EXPECT_EQ(Bytes(bytes, bytes + 32),
		  record(WIRE_DATA, 0, {5, 4, 3, 2, 1, 0, 0, 0,
					3, 0, 0, 0, 0, 0, 1, 0}, 8));
}

TEST(WireRoundTrip, EveryRecordSurvives)
{
	std::mt19937_64 random(1);
	uint8_t bytes[WIRE_MAX_RECORD];

	for (int i = 0; i < 2000; i++) {
		struct wire_hello hello = {}, hello2;
		hello.major = random();
		hello.minor = random();
		hello.inline_bytes = random() % (WIRE_MAX_PAYLOAD + 1);
		for (uint8_t &byte : hello.key)
			byte = random();
		hello.eager_bytes = random();
		size_t n = wire_put_hello(bytes, &hello);
		ASSERT_EQ(decode(wire_get_hello, payload_of(bytes, n),
				 &hello2), 0);
		EXPECT_EQ(hello.major, hello2.major);
		EXPECT_EQ(hello.minor, hello2.minor);
		EXPECT_EQ(hello.inline_bytes, hello2.inline_bytes);
		EXPECT_EQ(memcmp(hello.key, hello2.key, WIRE_KEY_BYTES), 0);
		EXPECT_EQ(hello2.eager_bytes,
			  hello.minor ? hello.eager_bytes : 0);

		struct wire_flows flows = {}, flows2;
		flows.count = 1 + random() % WIRE_MAX_FLOWS;
		uint16_t first = 1 + random() % 60000;
		for (uint32_t j = 0; j < flows.count; j++)
			flows.port[j] = first + 7 * j;
		n = wire_put_flows(bytes, &flows);
		ASSERT_EQ(decode(wire_get_flows, payload_of(bytes, n),
				 &flows2), 0);
		ASSERT_EQ(flows.count, flows2.count);
		for (uint32_t j = 0; j < flows.count; j++)
			EXPECT_EQ(flows.port[j], flows2.port[j]);

		struct wire_ready ready, ready2;
		ready.rails = 1 + random() % WIRE_MAX_RAILS;
		for (uint32_t j = 0; j < ready.rails; j++)
			ready.port[j] = 1 + random() % 65535;
		ready.path = random() % 2;
		n = wire_put_ready(bytes, &ready);
		ASSERT_EQ(decode(wire_get_ready, payload_of(bytes, n),
				 &ready2), 0);
		ASSERT_EQ(ready.rails, ready2.rails);
		EXPECT_EQ(memcmp(ready.port, ready2.port, 2 * ready.rails), 0);
		EXPECT_EQ(ready.path, ready2.path);

		struct wire_rails rails, rails2;
		rails.count = 1 + random() % WIRE_MAX_RAILS;
		for (auto &address : rails.addr)
			for (uint8_t &byte : address)
				byte = random();
		n = wire_put_rails(bytes, &rails);
		ASSERT_EQ(decode(wire_get_rails, payload_of(bytes, n),
				 &rails2), 0);
		ASSERT_EQ(rails.count, rails2.count);
		EXPECT_EQ(memcmp(rails.addr, rails2.addr,
				 rails.count * WIRE_ADDR_BYTES), 0);

		uint64_t upto = random(), upto2;
		n = wire_put_grant(bytes, random(), upto);
		ASSERT_EQ(decode(wire_get_grant, payload_of(bytes, n),
				 &upto2), 0);
		EXPECT_EQ(upto, upto2);

		struct wire_data data = {}, data2;
		data.total = random();
		data.count = random() % (WIRE_MAX_CHUNKS + 1);
		for (uint32_t j = 0; j < data.count; j++) {
			data.chunk[j].flow = random() % WIRE_MAX_FLOWS;
			data.chunk[j].len = 1 + random() % UINT32_MAX;
		}
		n = wire_put_data(bytes, random(), &data);
		ASSERT_LE(n, size_t{WIRE_MAX_RECORD});
		ASSERT_EQ(decode(wire_get_data, payload_of(bytes, n), &data2),
			  0);
		EXPECT_EQ(data.total, data2.total);
		ASSERT_EQ(data.count, data2.count);
		for (uint32_t j = 0; j < data.count; j++) {
			EXPECT_EQ(data.chunk[j].flow, data2.chunk[j].flow);
			EXPECT_EQ(data.chunk[j].len, data2.chunk[j].len);
		}
	}
}

TEST(WireRoundTrip, AnErrorsTextIsCutToWhatARecordHolds)
{
	uint8_t bytes[WIRE_MAX_RECORD];
	struct wire_error error;

	for (size_t length : {0, 1, 255, 256, 257, 5000}) {
		std::string text(length, 'e');
		size_t n = wire_put_error(bytes, EMSGSIZE, text.c_str());
		ASSERT_LE(n, size_t{WIRE_MAX_RECORD});
		ASSERT_EQ(decode(wire_get_error, payload_of(bytes, n), &error),
			  0);
		EXPECT_EQ(error.code, EMSGSIZE);
		EXPECT_EQ(strlen(error.text),
			  std::min<size_t>(length, WIRE_MAX_TEXT));
	}
}

TEST(WireRefuses, PayloadsOfAWrongLength)
{
	/* For each decoder the lengths that it takes; all others are -EPROTO. */
	for (uint32_t len = 0; len <= 8 + 8 * WIRE_MAX_CHUNKS + 64; len++) {
		Bytes payload(len, 1);
		struct wire_hello hello;
		struct wire_flows flows;
		struct wire_ready ready;
		struct wire_rails rails;
		struct wire_error error;
		struct wire_data data;
		uint64_t upto;

		/* Hello: a sane inline size. Ready: four ports. */
		Bytes hello_bytes(len, 0), ready_bytes(len, 1);
		if (len > 4)
			ready_bytes[4] = 3;
		if (len > 5)
			ready_bytes[5] = 0;
		EXPECT_EQ(decode(wire_get_hello, hello_bytes, &hello),
			  len >= 24 ? 0 : -EPROTO) << len;
		EXPECT_EQ(decode(wire_get_flows, payload, &flows),
			  len && len % 2 == 0 && len / 2 <= WIRE_MAX_FLOWS ?
				  0 : -EPROTO) << len;
		EXPECT_EQ(decode(wire_get_ready, ready_bytes, &ready),
			  len == 4 || len == 5 || len >= 12 ?
				  0 : -EPROTO) << len;
		EXPECT_EQ(decode(wire_get_rails, payload, &rails),
			  len && len % WIRE_ADDR_BYTES == 0 &&
					  len / WIRE_ADDR_BYTES <=
						  WIRE_MAX_RAILS ?
				  0 : -EPROTO) << len;
		EXPECT_EQ(decode(wire_get_grant, payload, &upto),
			  len == 8 ? 0 : -EPROTO) << len;
		EXPECT_EQ(decode(wire_get_error, payload, &error),
			  len >= 4 && len <= 4 + WIRE_MAX_TEXT ?
				  0 : -EPROTO) << len;
		/* Data: flow 1 in each chunk. */
		Bytes chunks(len, 0);
		for (uint32_t i = 8; i < len; i += 4)
			chunks[i] = 1;
		EXPECT_EQ(decode(wire_get_data, chunks, &data),
			  len >= 8 && len % 8 == 0 &&
					  len <= 8 + 8 * WIRE_MAX_CHUNKS ?
				  0 : -EPROTO) << len;
	}
}

TEST(WireRefuses, FlowsThatCannotBe)
{
	struct wire_flows flows;

	EXPECT_EQ(decode(wire_get_flows, Bytes{0, 0}, &flows), -EPROTO);
	EXPECT_EQ(decode(wire_get_flows, Bytes{1, 0, 0, 0}, &flows), -EPROTO);
}

TEST(WireRefuses, ReadyWithoutAPort)
{
	struct wire_ready ready;

	EXPECT_EQ(decode(wire_get_ready, Bytes{0, 0, 1, 0}, &ready), -EPROTO);
	EXPECT_EQ(decode(wire_get_ready, Bytes{1, 0, 1, 0, 2, 0, 1, 0, 0, 0},
			 &ready), -EPROTO);
	EXPECT_EQ(decode(wire_get_ready, Bytes(64, 4), &ready), -EPROTO)
		<< "more rails than there can be";
}

TEST(WireRefuses, ChunksOfNothingAndOfNoFlow)
{
	struct wire_data data;

	EXPECT_EQ(decode(wire_get_data,
			 Bytes{9, 0, 0, 0, 0, 0, 0, 0,
			       0, 0, 0, 0, 0, 0, 0, 0}, &data), -EPROTO);
	EXPECT_EQ(decode(wire_get_data,
			 Bytes{9, 0, 0, 0, 0, 0, 0, 0,
			       WIRE_MAX_FLOWS, 0, 0, 0, 1, 0, 0, 0}, &data),
		  -EPROTO);
	EXPECT_EQ(decode(wire_get_data,
			 Bytes{9, 0, 0, 0, 0, 0, 0, 0,
			       0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0}, &data),
		  -EPROTO);
}

TEST(WireRefuses, AnInlineSizeBeyondEveryRecord)
{
	struct wire_hello hello = {}, got;
	uint8_t bytes[WIRE_MAX_RECORD];

	hello.inline_bytes = WIRE_MAX_PAYLOAD + 1;
	size_t n = wire_put_hello(bytes, &hello);
	EXPECT_EQ(decode(wire_get_hello, payload_of(bytes, n), &got), -EPROTO);
}

/* The text of a peer's error goes to a log and to a terminal. */
TEST(WireError, TextAndCodeFromAPeerAreTamed)
{
	struct wire_error error;
	Bytes payload = {5, 0, 0, 0, 'a', '\n', 0x1b, '[', 0, 0xff, 'z', '%'};

	ASSERT_EQ(decode(wire_get_error, payload, &error), 0);
	EXPECT_STREQ(error.text, "a??[??z%");
	for (uint32_t code : {0u, 4096u, 0x80000000u, 0xffffffffu}) {
		for (int i = 0; i < 4; i++)
			payload[i] = code >> 8 * i;
		ASSERT_EQ(decode(wire_get_error, payload, &error), 0);
		EXPECT_EQ(error.code, EPROTO) << code;
	}
}

TEST(WireType, EveryTypeHasANameAndUnknownOnesToo)
{
	for (unsigned int type = 0; type < 70000; type++) {
		const char *name = wire_type_name(type);
		ASSERT_NE(name, nullptr);
		EXPECT_EQ(type >= WIRE_HELLO && type <= WIRE_RAILS,
			  strcmp(name, "unknown") != 0) << type;
	}
}

/* However a stream is cut in pieces, the same records come out of it. */
TEST(WireReader, RecordsDoNotDependOnHowTheStreamIsCut)
{
	std::mt19937 random(2);

	for (int round = 0; round < 300; round++) {
		uint32_t max_payload = random() % 300;
		size_t cap = random() % 1000;
		Bytes stream;
		std::vector<Bytes> records;

		for (int i = 0; i < 60; i++) {
			Bytes payload(random() % (max_payload + 1));
			for (uint8_t &byte : payload)
				byte = random();
			bool unknown = random() % 4 == 0;
			Bytes one = record(unknown ? 9 + random() % 1000 :
						     1 + random() % 7,
					   unknown ? WIRE_F_OPTIONAL : 0,
					   payload, random());
			stream.insert(stream.end(), one.begin(), one.end());
			if (!unknown)
				records.push_back(one);
		}
		Reader reader(max_payload, cap);
		size_t at = 0, seen = 0;
		size_t bite = 1 + random() % 200;
		while (at < stream.size()) {
			size_t n = std::min<size_t>(1 + random() % bite,
						    stream.size() - at);
			size_t fed = reader.feed(&stream[at], n);
			ASSERT_GT(fed, 0u) << "no room, and no record either";
			at += fed;
			while (reader.peek() == 1) {
				ASSERT_LT(seen, records.size());
				const Bytes &want = records[seen++];
				ASSERT_EQ(reader.hdr.len,
					  want.size() - WIRE_HEADER_BYTES);
				ASSERT_EQ(header(reader.hdr.type,
						 reader.hdr.flags,
						 reader.hdr.len,
						 reader.hdr.seq),
					  Bytes(want.begin(), want.begin() +
						WIRE_HEADER_BYTES));
				ASSERT_EQ(memcmp(reader.payload,
						 want.data() +
							 WIRE_HEADER_BYTES,
						 reader.hdr.len), 0);
				wire_reader_consume(&reader.r);
			}
			ASSERT_EQ(reader.peek(), 0);
		}
		EXPECT_EQ(seen, records.size());
	}
}

/* Shown at its header, dropped as far as it is here; the rest is not read. */
TEST(WireReader, InlineDataIsShownEarlyWhereThatIsAskedFor)
{
	for (size_t have : {0, 1, 60, 300}) {
		Reader reader(64, 1000);
		Bytes bytes = record(WIRE_DATA, WIRE_F_INLINE, Bytes(300, 3), 9);
		Bytes bye = record(WIRE_BYE, 0, {});

		wire_reader_inline_early(&reader.r, 300);
		reader.feed(bytes.data(), WIRE_HEADER_BYTES + have);
		if (have == 300)
			reader.feed(bye.data(), bye.size());
		ASSERT_EQ(reader.peek(), 1);
		EXPECT_EQ(reader.hdr.len, 300u);
		EXPECT_EQ(wire_reader_payload(&reader.r), have);
		wire_reader_consume(&reader.r);
		ASSERT_EQ(reader.peek(), have == 300);
		if (have == 300) {
			EXPECT_EQ(reader.hdr.type, WIRE_BYE);
		}
	}
	Reader reader(64, 1000);
	Bytes bytes = header(WIRE_DATA, WIRE_F_INLINE, 301);

	wire_reader_inline_early(&reader.r, 300);
	reader.feed(bytes.data(), bytes.size());
	EXPECT_EQ(reader.peek(), -EPROTO);
}

TEST(WireReader, PeekingDoesNotConsume)
{
	Reader reader(64);
	Bytes grant = record(WIRE_GRANT, 0, Bytes(8, 3), 9);

	reader.feed(grant.data(), grant.size());
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(reader.peek(), 1);
		EXPECT_EQ(reader.hdr.seq, 9u);
	}
	wire_reader_consume(&reader.r);
	EXPECT_EQ(reader.peek(), 0);
}

/* The verdict falls at the header: such a payload must not be waited for. */
TEST(WireReader, ALengthThatCannotBeIsAnErrorAtOnce)
{
	for (uint32_t len : {101u, 0x7fffffffu, 0xffffffffu, 0xfffffff0u}) {
		Reader reader(100);
		Bytes bytes = header(WIRE_GRANT, 0, len);

		reader.feed(bytes.data(), bytes.size());
		EXPECT_EQ(reader.peek(), -EPROTO) << len;
		EXPECT_EQ(reader.peek(), -EPROTO) << "it stays an error";
	}
}

TEST(WireReader, AnUnknownMandatoryTypeIsAnErrorAtOnce)
{
	for (uint16_t type : {0, 9, 10, 0xffff}) {
		Reader reader(100);
		Bytes bytes = header(type, 0x7fff, 50);

		reader.feed(bytes.data(), bytes.size());
		EXPECT_EQ(reader.peek(), -EPROTO) << type;
	}
}

TEST(WireReader, AnUnknownOptionalTypeIsSkippedButNotItsLengthLimit)
{
	Reader reader(100, 1000);
	Bytes bytes = record(500, WIRE_F_OPTIONAL, Bytes(100, 1));
	Bytes bye = record(WIRE_BYE, 0, {});

	bytes.insert(bytes.end(), bye.begin(), bye.end());
	reader.feed(bytes.data(), bytes.size());
	ASSERT_EQ(reader.peek(), 1);
	EXPECT_EQ(reader.hdr.type, WIRE_BYE);

	Reader other(100);
	bytes = header(500, WIRE_F_OPTIONAL, 101);
	other.feed(bytes.data(), bytes.size());
	EXPECT_EQ(other.peek(), -EPROTO);
}

/* About a second of mutated records; the fuzz target has the rules. */
TEST(WireFuzz, MutatedRecordsBreakNoRule)
{
	auto end = std::chrono::steady_clock::now() +
		   std::chrono::milliseconds(1000);
	std::mt19937 random(3);
	int runs = 0;

	for (; runs < 200000; runs++) {
		Bytes bytes = {static_cast<uint8_t>(random())};

		for (int i = random() % 6; i >= 0; i--) {
			Bytes payload(random() % 80);
			for (uint8_t &byte : payload)
				byte = random() % 3 ? random() % 4 : random();
			Bytes one = record(random() % 10,
					   random() % 3 ? 0 : 0x8000 | random(),
					   payload, random());
			bytes.insert(bytes.end(), one.begin(), one.end());
		}
		for (int i = random() % 5; i > 0; i--)
			bytes[random() % bytes.size()] = random();
		if (random() % 4 == 0)
			bytes.resize(1 + random() % bytes.size());
		LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
		if (runs % 256 == 0 && std::chrono::steady_clock::now() > end)
			break;
	}
	EXPECT_GT(runs, 100);
}

} // namespace
