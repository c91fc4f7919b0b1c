// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_flow.cc - a flow's runs (which bytes of the stream are whose), and the
 * handle that names a listener.
 */
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <random>

#include "c_headers.h"

extern "C" {
#include "conn.h"
#include "handle.h"
}

namespace {

class Runs : public testing::Test {
protected:
	void SetUp() override
	{
		memset(static_cast<void *>(flow.get()), 0, sizeof(*flow));
		memset(static_cast<void *>(request), 0, sizeof(request));
	}

	std::unique_ptr<struct flow> flow{new struct flow};
	struct devmem_request request[4];
};

TEST_F(Runs, ThatFollowEachOtherInAMessageAreOne)
{
	ASSERT_TRUE(flow_push(flow.get(), &request[0], 0, 100));
	ASSERT_TRUE(flow_push(flow.get(), &request[0], 100, 50));
	EXPECT_EQ(flow->count, 1u);
	EXPECT_EQ(flow->pending, 150u);
	/* A gap, and another message, begin a new one. */
	ASSERT_TRUE(flow_push(flow.get(), &request[0], 151, 10));
	ASSERT_TRUE(flow_push(flow.get(), &request[1], 161, 10));
	EXPECT_EQ(flow->count, 3u);
	flow_advance(flow.get(), 165);
	EXPECT_EQ(request[0].moved, 160u);
	EXPECT_EQ(request[1].moved, 5u);
	EXPECT_EQ(flow->pending, 5u);
}

TEST_F(Runs, AFullRingRefusesAndStaysAsItWas)
{
	for (unsigned int i = 0; i < FLOW_RUNS; i++)
		ASSERT_TRUE(flow_push(flow.get(), &request[i % 2], 10 * i, 5));
	EXPECT_FALSE(flow_push(flow.get(), &request[2], 0, 5));
	EXPECT_EQ(flow->pending, 5u * FLOW_RUNS);
	EXPECT_EQ(flow->count, FLOW_RUNS);
	flow_advance(flow.get(), 5);
	EXPECT_TRUE(flow_push(flow.get(), &request[2], 0, 5));
}

TEST_F(Runs, BytesAreCountedToTheirMessageInStreamOrder)
{
	struct Model {
		int request;
		size_t length;
	};
	std::mt19937 random(10);
	std::deque<Model> model;
	size_t moved[4] = {}, at[4] = {};

	for (int i = 0; i < 100000; i++) {
		if (random() % 2) {
			int r = random() % 4;
			size_t length = 1 + random() % 5000;

			/* Sometimes other flows take a part in between. */
			at[r] += random() % 3 ? 0 : 777;
			if (!flow_push(flow.get(), &request[r], at[r], length))
				continue;
			at[r] += length;
			model.push_back({r, length});
		} else {
			size_t n = random() % (flow->pending + 1);

			n = random() % 2 ? n : n % 3000;
			flow_advance(flow.get(), n);
			while (n) {
				Model &front = model.front();
				size_t step = std::min(n, front.length);

				moved[front.request] += step;
				front.length -= step;
				n -= step;
				if (!front.length)
					model.pop_front();
			}
		}
		size_t pending = 0;
		if (i % 100 == 0) {
			for (const Model &one : model)
				pending += one.length;
			ASSERT_EQ(flow->pending, pending);
		}
		for (int r = 0; r < 4; r++)
			ASSERT_EQ(request[r].moved, moved[r]);
	}
}

TEST(HandleBytes, SurviveForBothFamilies)
{
	const char *const text[2][DEVMEM_MAX_RAILS] = {
		{"192.0.2.7", "192.0.3.7", "198.51.100.1", "203.0.113.255"},
		{"2001:db8::7", "2001:db8:1::7", "::1", "2001:db8::ffff"},
	};

	for (unsigned int i = 0; i < 2 * DEVMEM_MAX_RAILS; i++) {
		struct handle handle = {}, decoded;
		uint8_t bytes[DEVMEM_HANDLE_BYTES];
		int family = i % 2 ? AF_INET6 : AF_INET;

		handle.rails = 1 + i / 2;
		for (unsigned int r = 0; r < handle.rails; r++) {
			uint8_t address[16];

			ASSERT_EQ(inet_pton(family, text[i % 2][r], address),
				  1);
			addr_get(&handle.addr[r], family, address);
		}
		addr_set_port(&handle.addr[0], 40001);
		for (int k = 0; k < WIRE_KEY_BYTES; k++)
			handle.key[k] = 200 + k;
		handle_encode(&handle, bytes);
		ASSERT_EQ(handle_decode(bytes, &decoded), 0);
		ASSERT_EQ(handle.rails, decoded.rails);
		for (unsigned int r = 0; r < handle.rails; r++)
			EXPECT_TRUE(addr_equal(&handle.addr[r],
					       &decoded.addr[r])) << r;
		EXPECT_EQ(memcmp(handle.key, decoded.key, WIRE_KEY_BYTES), 0);
	}
}

TEST(HandleBytes, ThatAreNoneAreRefused)
{
	struct handle handle = {};
	uint8_t good[DEVMEM_HANDLE_BYTES], bytes[DEVMEM_HANDLE_BYTES];

	handle.rails = 1;
	handle.addr[0].ss_family = AF_INET;
	addr_set_port(&handle.addr[0], 1);
	handle_encode(&handle, good);
	ASSERT_EQ(handle_decode(good, &handle), 0);
	for (uint8_t byte : {0x00, 0xff}) {
		memset(bytes, byte, sizeof(bytes));
		EXPECT_EQ(handle_decode(bytes, &handle), -EINVAL);
	}
	for (int at = 0; at < 6; at++) { /* magic, version, family */
		memcpy(bytes, good, sizeof(bytes));
		bytes[at] ^= 0x41;
		EXPECT_EQ(handle_decode(bytes, &handle), -EINVAL) << at;
	}
	memcpy(bytes, good, sizeof(bytes));
	bytes[6] = bytes[7] = 0;
	EXPECT_EQ(handle_decode(bytes, &handle), -EINVAL) << "port 0";
	memcpy(bytes, good, sizeof(bytes));
	bytes[40] = DEVMEM_MAX_RAILS;
	EXPECT_EQ(handle_decode(bytes, &handle), -EINVAL) << "addresses";
}

/* A handle goes to other hosts: none of our memory may go along. */
TEST(HandleBytes, HoldNothingThatIsNotMeant)
{
	struct handle handle;
	uint8_t a[DEVMEM_HANDLE_BYTES], b[DEVMEM_HANDLE_BYTES];

	memset(static_cast<void *>(&handle), 0, sizeof(handle));
	handle.rails = 1;
	handle.addr[0].ss_family = AF_INET;
	addr_set_port(&handle.addr[0], 1);
	memset(a, 0xaa, sizeof(a));
	memset(b, 0x55, sizeof(b));
	handle_encode(&handle, a);
	handle_encode(&handle, b);
	EXPECT_EQ(memcmp(a, b, sizeof(a)), 0);
}

} // namespace
