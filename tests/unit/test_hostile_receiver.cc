// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_hostile_receiver.cc - as test_hostile.cc, with the library as the sender.
 */
#include "hostile.h"

namespace {

class HostileReceiver : public Hostile {
protected:
	/* Listens, is connected to, and lets the flows in. */
	void join()
	{
		uint8_t bytes[DEVMEM_HANDLE_BYTES], record[WIRE_MAX_RECORD];
		struct handle handle = {{loopback()}, 1, {1, 2, 3}};
		auto flow_address = loopback();
		Socket control_port(sock_listen(&handle.addr[0], 4));
		Socket flow_port(sock_listen(&flow_address, 4));
		struct wire_hello hello = {WIRE_VERSION_MAJOR, minor, 8192, {},
					   eager};
		struct wire_ready ready = {{addr_port(&flow_address)}, 1,
					   WIRE_RX_HOST};
		std::vector<uint8_t> payload;
		struct sockaddr_storage who;
		int arrived = 0;

		handle_encode(&handle, bytes);
		auto connect = [&] {
			if (!conn)
				devmem_connect(ctx, 0, bytes, &conn);
		};
		ASSERT_TRUE(poll_until([&] {
			connect();
			control.fd = sock_accept(control_port.fd, &who);
			return control.fd >= 0;
		}));
		ASSERT_TRUE(await(WIRE_FLOWS, &payload, connect));
		ASSERT_EQ(payload.size(), 2 * flows);
		control.say(record, wire_put_hello(record, &hello));
		control.say(record, wire_put_ready(record, &ready));
		ASSERT_TRUE(poll_until([&] {
			connect();
			if (arrived < static_cast<int>(flows))
				flow[arrived].fd = sock_accept(flow_port.fd,
							       &who);
			arrived += arrived < static_cast<int>(flows) &&
				   flow[arrived].fd >= 0;
			return conn && arrived == flows;
		}));
		memory.assign(size, 0x66);
		for (auto &one : request)
			ASSERT_EQ(devmem_send(conn, memory.data(), size,
					      nullptr, &one), 0);
	}
	/* Payload that has come so far. */
	size_t received()
	{
		uint8_t bytes[65536];
		ssize_t n;

		for (Socket &one : flow)
			while ((n = recv(one.fd, bytes, sizeof(bytes),
					 MSG_DONTWAIT)) > 0)
				received_ += n;
		return received_;
	}
	void test_all()
	{
		for (auto &one : request)
			if (one && devmem_test(one, nullptr) != -EAGAIN)
				one = nullptr;
	}

	std::vector<uint8_t> memory;
	struct devmem_request *request[messages];

private:
	size_t received_ = 0;
};

TEST_F(HostileReceiver, GetsNoMoreThanItGranted)
{
	uint8_t record[WIRE_MAX_RECORD];

	join();
	ASSERT_FALSE(HasFatalFailure());
	for (int i = 0; i < 50; i++)
		test_all();
	EXPECT_EQ(received(), 0u) << "payload without a grant";
	control.say(record, wire_put_grant(record, 0, 12345));
	EXPECT_TRUE(poll_until([&] {
		test_all();
		return received() == 12345;
	}));
	/* A smaller one takes nothing back, a larger one ends at the size. */
	control.say(record, wire_put_grant(record, 0, 5));
	control.say(record, wire_put_grant(record, 0, UINT64_MAX));
	EXPECT_TRUE(poll_until([&] {
		test_all();
		return received() >= size && !request[0];
	}));
	for (int i = 0; i < 50; i++)
		test_all();
	EXPECT_EQ(received(), size);
	EXPECT_NE(request[1], nullptr);
	control.close();
	for (Socket &one : flow)
		one.close();
	for (auto &one : request)
		EXPECT_TRUE(!one || ends(one));
}

/* It says 1.1, so it takes payload without having granted it. */
TEST_F(HostileReceiver, Of11WithHostMemoryIsSentToWithoutLeave)
{
	speak_1_1(0);
	join();
	ASSERT_FALSE(HasFatalFailure());
	EXPECT_TRUE(poll_until([&] {
		test_all();
		return received() == messages * size;
	}));
}

/* Closed in the middle of a message: no BYE may be taken for a part of it. */
TEST_F(HostileReceiver, GetsNothingButTheMessageBehindItsHeader)
{
	constexpr size_t before = messages * (WIRE_HEADER_BYTES + size);
	std::vector<uint8_t> large(64 << 20, 0x11), got, chunk(1 << 20);
	struct devmem_request *last = nullptr;
	ssize_t n = -1;

	speak_1_1(UINT32_MAX);
	join();
	ASSERT_FALSE(HasFatalFailure());
	ASSERT_EQ(devmem_send(conn, large.data(), large.size(), nullptr, &last),
		  0);
	for (int i = 0; i < 50; i++)
		ASSERT_EQ(devmem_test(last, nullptr), -EAGAIN);
	usleep(50000); /* a progress thread does it in its own time */
	ASSERT_EQ(devmem_test(last, nullptr), -EAGAIN);
	devmem_conn_close(conn);
	conn = nullptr;
	EXPECT_TRUE(poll_until([&] {
		n = recv(control.fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
		if (n > 0)
			got.insert(got.end(), chunk.begin(), chunk.begin() + n);
		return !n;
	}));
	ASSERT_GT(got.size(), before + WIRE_HEADER_BYTES);
	ASSERT_LT(got.size(), before + WIRE_HEADER_BYTES + large.size());
	for (size_t i = before + WIRE_HEADER_BYTES; i < got.size(); i++)
		ASSERT_EQ(got[i], 0x11) << i;
}

TEST_F(HostileReceiver, WhoGrantsTooFarAheadIsRefused)
{
	uint8_t record[WIRE_MAX_RECORD];
	uint64_t last = messages + DEVMEM_MAX_REQUESTS - 1;

	join();
	ASSERT_FALSE(HasFatalFailure());
	control.say(record, wire_put_grant(record, last, 1));
	control.say(record, wire_put_grant(record, last + 1, 1));
	EXPECT_TRUE(poll_until([&] {
		return devmem_test(request[0], nullptr) == -EPROTO;
	}));
}

TEST(HostileReceivers, NeverCrashNorHangTheSender)
{
	class One : public HostileReceiver {
	public:
		explicit One(unsigned int seed) : seed_(seed) {}
		void TestBody() override
		{
			Hostility peer(seed_);

			if (seed_ % 2)
				speak_1_1(1u << (peer.random() % 32));
			join();
			ASSERT_FALSE(HasFatalFailure());
			for (int i = peer.random() % 12; i >= 0; i--) {
				auto record = peer.record(size, flows);
				control.say(record.data(), record.size());
				if (peer.random() % 2)
					flow[peer.random() % flows].say("x", 1);
				test_all();
				EXPECT_LE(received(), messages * size);
			}
			for (Socket &one : flow)
				one.close();
			control.close();
			for (auto &one : request)
				EXPECT_TRUE(!one || ends(one));
		}
		void run()
		{
			SetUp();
			TestBody();
			TearDown();
		}

	private:
		unsigned int seed_;
	};

	try_seeds<One>();
}

} // namespace
