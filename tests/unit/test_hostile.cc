// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_hostile.cc - a peer that has the key and means harm, or is broken. It
 * speaks raw records over loopback to the real library. Whatever it says, the
 * library neither crashes nor hangs, writes only into what was posted, sends
 * only what was granted, and has closed every descriptor at the end.
 */
#include <gtest/gtest.h>

#include <dirent.h>
#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "c_headers.h"

extern "C" {
#include "devmem.h"
#include "handle.h"
}

namespace {

using Clock = std::chrono::steady_clock;

bool poll_until(const std::function<bool()> &step, int seconds = 5)
{
	auto end = Clock::now() + std::chrono::seconds(seconds);

	while (!step()) {
		if (Clock::now() > end)
			return false;
		sched_yield();
	}
	return true;
}

int count_fds()
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

struct sockaddr_storage loopback(uint16_t port = 0)
{
	struct sockaddr_storage storage = {};
	auto *in = reinterpret_cast<struct sockaddr_in *>(&storage);

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return storage;
}

/* A socket that closes itself. */
class Socket {
public:
	explicit Socket(int open_fd = -1) : fd(open_fd) {}
	~Socket() { close(); }
	Socket(const Socket &) = delete;
	Socket &operator=(const Socket &) = delete;

	void close()
	{
		if (fd >= 0)
			::close(fd);
		fd = -1;
	}
	void say(const void *bytes, size_t size)
	{
		ssize_t sent = ::send(fd, bytes, size,
				      MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)sent; /* the other end may have had enough */
	}

	int fd;
};

/* The records that a hostile peer chooses from. */
class Hostility {
public:
	explicit Hostility(unsigned int seed) : random(seed) {}

	size_t pick(std::initializer_list<size_t> from)
	{
		return from.begin()[random() % from.size()];
	}
	uint64_t odd_size(size_t size)
	{
		return pick({size, size, size, size, size - 1, size + 1, 0, 1,
			     size / 2, UINT32_MAX, SIZE_MAX, SIZE_MAX - size});
	}
	uint64_t odd_seq()
	{
		return pick({0, 0, 0, 1, 1, 2, 3, 31, 32, 33, SIZE_MAX,
			     random()});
	}

	/* One record, or what looks like one, of a message of `size` bytes. */
	std::vector<uint8_t> record(size_t size, unsigned int flows)
	{
		uint8_t bytes[WIRE_MAX_RECORD + 4096];
		size_t n;

		memset(bytes, 0x33, sizeof(bytes));
		switch (random() % 12) {
		case 0: case 1: case 2: case 3: {
			struct wire_data data = {};
			data.total = odd_size(size);
			data.count = random() % 5;
			for (uint32_t i = 0; i < data.count; i++)
				data.chunk[i] = {
					static_cast<uint32_t>(
						random() % (flows + 1)),
					static_cast<uint32_t>(
						random() % 3 ?
						size / (1 + random() % 4) :
						odd_size(size))};
			n = wire_put_data(bytes, odd_seq(), &data);
			break;
		}
		case 4: case 5: {
			uint32_t len = random() % 4096;
			n = wire_put_inline_hdr(bytes, odd_seq(), len) + len;
			break;
		}
		case 6: case 7:
			n = wire_put_grant(bytes, odd_seq(), odd_size(size));
			break;
		case 8:
			n = wire_put_error(bytes, random(), "%s%n\x1b[2J");
			break;
		case 9:
			n = wire_put_bye(bytes);
			break;
		case 10: {
			struct wire_ready ready = {
				static_cast<uint16_t>(1 + random() % 65535), 0};
			n = wire_put_ready(bytes, &ready);
			break;
		}
		default:
			n = random() % 64;
			for (size_t i = 0; i < n; i++)
				bytes[i] = random() % 3 ? 0 : random();
		}
		/* Now and then not quite what the encoder meant. */
		if (n && random() % 10 == 0)
			bytes[random() % n] = random();
		return std::vector<uint8_t>(bytes, bytes + n);
	}

	std::mt19937 random;
};

class Hostile : public testing::Test {
protected:
	static constexpr unsigned int flows = 2;
	static constexpr size_t size = 50000;
	static constexpr size_t zone = 4096;
	static constexpr int messages = 4;

	/* What the peer speaks: 1.0, where all payload waits for grants, or 1.1. */
	void speak_1_1(uint32_t eager_bytes)
	{
		minor = 1;
		eager = eager_bytes;
	}

	void SetUp() override
	{
		struct devmem_options options;

		fds_ = count_fds();
		devmem_options_init(&options);
		options.ifname = "=lo";
		options.region = DEVMEM_REGION_NONE;
		options.flows = flows;
		options.eager_bytes = 1u << 30;
		ASSERT_EQ(devmem_open(&options, &ctx), 0);
	}
	void TearDown() override
	{
		devmem_conn_close(conn);
		devmem_listener_close(listener);
		devmem_close(ctx);
		for (Socket &socket : flow)
			socket.close();
		control.close();
		EXPECT_EQ(count_fds(), fds_) << "descriptors were left open";
	}

	/* Reads control until a record of this type is there. */
	bool await(wire_type type, std::vector<uint8_t> *payload,
		   const std::function<void()> &drive)
	{
		return poll_until([&] {
			uint8_t bytes[512];
			ssize_t n = recv(control.fd, bytes, sizeof(bytes),
					 MSG_DONTWAIT);
			drive();
			if (n > 0)
				said.insert(said.end(), bytes, bytes + n);
			while (said.size() >= WIRE_HEADER_BYTES) {
				size_t len = said[4] | said[5] << 8;
				size_t whole = WIRE_HEADER_BYTES + len;
				int seen = said[0];

				if (said.size() < whole)
					break;
				payload->assign(said.begin() +
							WIRE_HEADER_BYTES,
						said.begin() + whole);
				said.erase(said.begin(), said.begin() + whole);
				if (seen == type)
					return true;
			}
			return false;
		});
	}

	/* Until the request ends, in one way or the other. */
	bool ends(struct devmem_request *request)
	{
		return poll_until([&] {
			return devmem_test(request, nullptr) != -EAGAIN;
		});
	}

	struct devmem *ctx = nullptr;
	struct devmem_listener *listener = nullptr;
	struct devmem_conn *conn = nullptr;
	Socket control, flow[flows];
	std::vector<uint8_t> said;
	uint16_t minor = 0;
	uint32_t eager = 0;

private:
	int fds_ = 0;
};

class HostileSender : public Hostile {
protected:
	/* All the way to an accepted connection, as a sender should. */
	void join()
	{
		uint8_t bytes[DEVMEM_HANDLE_BYTES], record[WIRE_MAX_RECORD];
		struct wire_hello hello = {WIRE_VERSION_MAJOR, minor, 8192, {},
					   eager};
		struct wire_flows ports = {flows, {}};
		std::vector<uint8_t> payload;
		struct wire_ready ready;
		struct handle handle;

		ASSERT_EQ(devmem_listen(ctx, 0, bytes, &listener), 0);
		ASSERT_EQ(handle_decode(bytes, &handle), 0);
		control.fd = socket(AF_INET, SOCK_STREAM, 0);
		ASSERT_EQ(connect(control.fd,
				  reinterpret_cast<struct sockaddr *>(
					  &handle.addr),
				  addr_len(&handle.addr)), 0);
		memcpy(hello.key, handle.key, sizeof(hello.key));
		control.say(record, wire_put_hello(record, &hello));
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
		auto to = handle.addr;
		addr_set_port(&to, ready.port);
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

	auto end = Clock::now() + std::chrono::seconds(2);
	for (unsigned int seed = 0; seed < 2000 && Clock::now() < end; seed++) {
		One(seed).run();
		ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed;
	}
}

class HostileReceiver : public Hostile {
protected:
	/* Listens, is connected to, and lets the flows in. */
	void join()
	{
		uint8_t bytes[DEVMEM_HANDLE_BYTES], record[WIRE_MAX_RECORD];
		struct handle handle = {loopback(), {1, 2, 3}};
		auto flow_address = loopback();
		Socket control_port(sock_listen(&handle.addr, 4));
		Socket flow_port(sock_listen(&flow_address, 4));
		struct wire_hello hello = {WIRE_VERSION_MAJOR, minor, 8192, {},
					   eager};
		struct wire_ready ready = {addr_port(&flow_address),
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

	auto end = Clock::now() + std::chrono::seconds(2);
	for (unsigned int seed = 0; seed < 2000 && Clock::now() < end; seed++) {
		One(seed).run();
		ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed;
	}
}

} // namespace
