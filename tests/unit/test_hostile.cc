// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_hostile.cc - a peer that has the key and means harm, or is broken. It
 * speaks raw records over loopback to the real library. Whatever it says, the
 * library neither crashes nor hangs, writes only into what was posted, sends
 * only what was granted, and has closed every descriptor at the end.
 */
#include "hostile.h"

namespace {

class HostileSender : public Hostile {
protected:
	/* Known by the key, and nothing more. */
	void introduce()
	{
		uint8_t bytes[DEVMEM_HANDLE_BYTES], record[WIRE_MAX_RECORD];
		struct wire_hello hello = {WIRE_VERSION_MAJOR, minor, 8192, {},
					   eager};

		ASSERT_EQ(devmem_listen(ctx, 0, bytes, &listener), 0);
		ASSERT_EQ(handle_decode(bytes, &handle), 0);
		control.fd = socket(AF_INET, SOCK_STREAM, 0);
		ASSERT_EQ(connect(control.fd,
				  reinterpret_cast<struct sockaddr *>(
					  &handle.addr[0]),
				  addr_len(&handle.addr[0])), 0);
		memcpy(hello.key, handle.key, sizeof(hello.key));
		control.say(record, wire_put_hello(record, &hello));
	}
	/* All the way to an accepted connection, as a sender should. */
	void join()
	{
		uint8_t record[WIRE_MAX_RECORD];
		struct wire_flows ports = {flows, {}};
		std::vector<uint8_t> payload;
		struct wire_ready ready;

		introduce();
		ASSERT_FALSE(HasFatalFailure());
		for (unsigned int i = 0; i < flows; i++) {
			auto own = loopback();
			flow[i].fd = sock_bound(&own, &ports.port[i]);
		}
		control.say(record, wire_put_flows(record, &ports));
		auto accept = [&] {
			if (!conn)
				devmem_accept(listener, &conn);
		};
		ASSERT_TRUE(await(WIRE_READY, &payload, accept));
		ASSERT_EQ(wire_get_ready(payload.data(), payload.size(),
					 &ready), 0);
		auto to = handle.addr[0];
		addr_set_port(&to, ready.port[0]);
		for (Socket &one : flow)
			ASSERT_EQ(sock_connect(one.fd, &to), 0);
		ASSERT_TRUE(poll_until([&] { accept(); return conn; }));
		memory.assign(messages * (size + zone) + zone, 0x5a);
		for (int i = 0; i < messages; i++)
			ASSERT_EQ(devmem_recv(conn, target(i), size, nullptr,
					      &request[i]), 0);
	}
	uint8_t *target(int i)
	{
		return &memory[zone + i * (size + zone)];
	}
	void expect_zones_intact()
	{
		for (int i = 0; i <= messages; i++)
			for (size_t j = 0; j < zone; j++)
				ASSERT_EQ(memory[i * (size + zone) + j], 0x5a)
					<< "before message " << i;
	}
	void expect_all_end()
	{
		for (struct devmem_request *one : request)
			EXPECT_TRUE(ends(one)) << devmem_conn_error(conn);
		expect_zones_intact();
	}

	/* The receiver does not go on with what was said. */
	void expect_refusal()
	{
		int rc = -EAGAIN;

		EXPECT_TRUE(poll_until([&] {
			rc = devmem_accept(listener, &conn);
			return rc != -EAGAIN;
		}));
		EXPECT_EQ(rc, -EPROTO);
		EXPECT_EQ(conn, nullptr);
	}

	struct handle handle;
	std::vector<uint8_t> memory;
	struct devmem_request *request[messages];
};

/* First that this peer is one: else the tests below test nothing. */
TEST_F(HostileSender, CouldAlsoBehave)
{
	uint8_t record[WIRE_MAX_RECORD];
	std::vector<uint8_t> payload, bytes(size, 0x77);
	struct wire_data data = {size, 2, {{0, 20000}, {1, 30000}}};
	size_t got = 0;

	join();
	ASSERT_FALSE(HasFatalFailure());
	ASSERT_TRUE(await(WIRE_GRANT, &payload, [] {}));
	control.say(record, wire_put_data(record, 0, &data));
	flow[0].say(bytes.data(), 20000);
	flow[1].say(bytes.data(), 30000);
	int rc = -EAGAIN;
	ASSERT_TRUE(poll_until([&] {
		return (rc = devmem_test(request[0], &got)) != -EAGAIN;
	}));
	EXPECT_EQ(rc, 0);
	EXPECT_EQ(got, size);
	EXPECT_EQ(memcmp(target(0), bytes.data(), size), 0);
	control.close();
	for (int i = 1; i < messages; i++)
		EXPECT_TRUE(ends(request[i]));
	expect_zones_intact();
}

TEST_F(HostileSender, WhoSaysThatTwoFlowsHaveOnePort)
{
	uint8_t record[WIRE_MAX_RECORD];
	struct wire_flows ports = {3, {4000, 4001, 4000}};

	introduce();
	ASSERT_FALSE(HasFatalFailure());
	control.say(record, wire_put_flows(record, &ports));
	expect_refusal();
}

TEST_F(HostileSender, WhoHasMoreInterfacesThanThereAreHere)
{
	uint8_t record[WIRE_MAX_RECORD];
	struct wire_flows ports = {2, {4000, 4001}};
	struct wire_rails rails = {2, {{127, 0, 0, 1}, {127, 0, 0, 2}}};

	introduce();
	ASSERT_FALSE(HasFatalFailure());
	control.say(record, wire_put_rails(record, &rails));
	control.say(record, wire_put_flows(record, &ports));
	expect_refusal();
}

/* A flow comes from where it was announced to come from, or not at all. */
TEST_F(HostileSender, WhoseFlowsComeFromElsewhere)
{
	uint8_t record[WIRE_MAX_RECORD];
	struct wire_rails rails = {1, {{127, 0, 0, 2}}};
	struct wire_flows ports = {1, {}};
	std::vector<uint8_t> payload;
	struct wire_ready ready;
	auto own = loopback();

	introduce();
	ASSERT_FALSE(HasFatalFailure());
	flow[0].fd = sock_bound(&own, &ports.port[0]);
	control.say(record, wire_put_rails(record, &rails));
	control.say(record, wire_put_flows(record, &ports));
	ASSERT_TRUE(await(WIRE_READY, &payload, [&] {
		devmem_accept(listener, &conn);
	}));
	ASSERT_EQ(wire_get_ready(payload.data(), payload.size(), &ready), 0);
	auto to = handle.addr[0];
	addr_set_port(&to, ready.port[0]);
	ASSERT_EQ(sock_connect(flow[0].fd, &to), 0);
	EXPECT_TRUE(poll_until([&] {
		char byte;

		EXPECT_EQ(devmem_accept(listener, &conn), -EAGAIN);
		return recv(flow[0].fd, &byte, 1, MSG_DONTWAIT) == 0;
	})) << "it was let in";
	EXPECT_EQ(conn, nullptr);
}

TEST_F(HostileSender, WhoSendsMoreThanThereIsRoomFor)
{
	uint8_t record[WIRE_MAX_RECORD];
	std::vector<uint8_t> bytes(4 * size, 0x77);
	struct wire_data data = {size + 1, 1, {{0, size + 1}}};

	join();
	ASSERT_FALSE(HasFatalFailure());
	control.say(record, wire_put_data(record, 0, &data));
	flow[0].say(bytes.data(), bytes.size());
	EXPECT_TRUE(poll_until([&] {
		return devmem_test(request[0], nullptr) == -EMSGSIZE;
	}));
	for (int i = 1; i < messages; i++)
		EXPECT_TRUE(ends(request[i]));
	expect_zones_intact();
}

TEST_F(HostileSender, WhoListsMoreChunksThanTheMessageHas)
{
	uint8_t record[WIRE_MAX_RECORD];
	std::vector<uint8_t> bytes(4 * size, 0x77);
	struct wire_data data = {size, 2, {{0, size}, {1, size}}};

	join();
	ASSERT_FALSE(HasFatalFailure());
	control.say(record, wire_put_data(record, 0, &data));
	flow[0].say(bytes.data(), bytes.size());
	flow[1].say(bytes.data(), bytes.size());
	expect_all_end();
}

/* Its records wait at the connection; a progress thread must not do that too. */
TEST_F(HostileSender, WhoAnnouncesMoreThanIsPostedCostsNoTime)
{
	uint8_t record[WIRE_MAX_RECORD];
	struct wire_data data = {size, 1, {{0, size}}};
	clock_t start;

	speak_1_1(0);
	join();
	ASSERT_FALSE(HasFatalFailure());
	for (int i = 0; i < messages + 3000; i++)
		control.say(record, wire_put_data(record, i, &data));
	EXPECT_EQ(devmem_test(request[0], nullptr), -EAGAIN);
	usleep(100000);
	start = clock();
	usleep(500000);
	EXPECT_LT(clock() - start, CLOCKS_PER_SEC / 50);
	for (Socket &one : flow)
		one.close();
	control.close();
	expect_all_end();
}

TEST_F(HostileSender, WhoHangsUpInTheMiddleOfAMessage)
{
	uint8_t record[WIRE_MAX_RECORD];
	std::vector<uint8_t> bytes(size, 0x77);
	struct wire_data data = {size, 1, {{0, size}}};

	join();
	ASSERT_FALSE(HasFatalFailure());
	control.say(record, wire_put_data(record, 0, &data));
	flow[0].say(bytes.data(), size / 2);
	for (Socket &one : flow)
		one.close();
	expect_all_end();
}

/* The header, and its message in pieces of this. */
class EagerSender : public HostileSender {
protected:
	void say_inline(uint64_t seq, const std::vector<uint8_t> &bytes,
			size_t header_len, size_t piece)
	{
		uint8_t record[WIRE_HEADER_BYTES];

		control.say(record, wire_put_inline_hdr(record, seq,
							header_len));
		for (size_t at = 0; at < bytes.size(); at += piece) {
			control.say(&bytes[at],
				    std::min(piece, bytes.size() - at));
			devmem_test(request[messages - 1], nullptr);
		}
	}
};

TEST_F(EagerSender, MessagesComeWholeHoweverTheyAreCut)
{
	std::mt19937 random(5);

	speak_1_1(UINT32_MAX);
	join();
	ASSERT_FALSE(HasFatalFailure());
	/* The last is what drives the connection, and not sent. */
	for (int i = 0; i < messages - 1; i++) {
		/* Smaller than a header, than what is read ahead, and larger. */
		size_t len = std::array<size_t, 3>{size, 7, 8000}[i];
		std::vector<uint8_t> bytes(len);
		size_t got = 0;
		int rc = -EAGAIN;

		for (uint8_t &byte : bytes)
			byte = random();
		say_inline(i, bytes, len, 1 + random() % 5000);
		ASSERT_TRUE(poll_until([&] {
			rc = devmem_test(request[i], &got);
			return rc != -EAGAIN;
		})) << i;
		EXPECT_EQ(rc, 0);
		ASSERT_EQ(got, len);
		EXPECT_EQ(memcmp(target(i), bytes.data(), len), 0) << i;
		for (size_t j = len; j < size; j++)
			ASSERT_EQ(target(i)[j], 0x5a) << "behind the message";
	}
	expect_zones_intact();
}

TEST_F(EagerSender, WhoSendsMoreThanThereIsRoomFor)
{
	speak_1_1(UINT32_MAX);
	join();
	ASSERT_FALSE(HasFatalFailure());
	say_inline(0, std::vector<uint8_t>(size + 1, 0x77), size + 1, size);
	EXPECT_TRUE(poll_until([&] {
		return devmem_test(request[0], nullptr) == -EMSGSIZE;
	}));
	for (int i = 1; i < messages; i++)
		EXPECT_TRUE(ends(request[i]));
	expect_zones_intact();
}

TEST_F(EagerSender, WhoSendsMoreThanItSaidItWould)
{
	speak_1_1(40000);
	join();
	ASSERT_FALSE(HasFatalFailure());
	say_inline(0, std::vector<uint8_t>(40001, 0x77), 40001, size);
	EXPECT_TRUE(poll_until([&] {
		return devmem_test(request[0], nullptr) == -EPROTO;
	}));
	expect_zones_intact();
}

TEST_F(EagerSender, WhoHangsUpInTheMiddleOfTheOnlyMessage)
{
	speak_1_1(UINT32_MAX);
	join();
	ASSERT_FALSE(HasFatalFailure());
	for (int i = 0; i < messages - 1; i++)
		say_inline(i, std::vector<uint8_t>(10, 0x77), 10, 10);
	/* The last that is posted, so that no other is waited for. */
	say_inline(messages - 1, std::vector<uint8_t>(size / 2, 0x77), size,
		   size);
	for (Socket &one : flow)
		one.close();
	control.close();
	expect_all_end();
}

TEST_F(HostileSender, NeedsNoLeaveOf11WithHostMemoryButStillNoMoreRoom)
{
	uint8_t record[WIRE_MAX_RECORD];
	std::vector<uint8_t> bytes(4 * size, 0x77), payload;
	struct wire_data data = {size, 2, {{0, 20000}, {1, 30000}}};

	speak_1_1(0);
	join();
	ASSERT_FALSE(HasFatalFailure());
	control.say(record, wire_put_data(record, 0, &data));
	flow[0].say(bytes.data(), 20000);
	flow[1].say(bytes.data(), 30000);
	EXPECT_TRUE(poll_until([&] {
		return !devmem_test(request[0], nullptr);
	}));
	data = {size, 2, {{0, 20000}, {1, 30001}}};
	control.say(record, wire_put_data(record, 1, &data));
	flow[1].say(bytes.data(), 30001);
	EXPECT_TRUE(poll_until([&] {
		return devmem_test(request[1], nullptr) == -EPROTO;
	}));
	expect_zones_intact();
}

/* A record a time over many connections; then the peer hangs up. */
TEST(HostileSenders, NeverCrashNorHangNorOverrun)
{
	class One : public HostileSender {
	public:
		explicit One(unsigned int seed) : seed_(seed) {}
		void TestBody() override
		{
			Hostility peer(seed_);
			std::vector<uint8_t> bytes(2 * size, 0x77);

			if (seed_ % 2)
				speak_1_1(1u << (peer.random() % 32));
			join();
			ASSERT_FALSE(HasFatalFailure());
			for (int i = peer.random() % 12; i >= 0; i--) {
				auto record = peer.record(size, flows);
				control.say(record.data(), record.size());
				if (peer.random() % 2)
					flow[peer.random() % flows].say(
						bytes.data(),
						peer.random() % bytes.size());
				/* Requests that end are gone. */
				for (auto &one : request)
					if (one && devmem_test(one, nullptr) !=
							   -EAGAIN)
						one = nullptr;
			}
			for (Socket &one : flow)
				one.close();
			control.close();
			for (auto &one : request)
				EXPECT_TRUE(!one || ends(one));
			expect_zones_intact();
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
