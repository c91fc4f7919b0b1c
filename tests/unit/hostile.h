// SPDX-License-Identifier: BSD-3-Clause
/*
 * hostile.h - what both hostile peers have: raw sockets, random records, and the
 * real library at the other end.
 */
#ifndef DEVMEM_TESTS_HOSTILE_H
#define DEVMEM_TESTS_HOSTILE_H

#include <gtest/gtest.h>

#include <dirent.h>
#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
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


using Clock = std::chrono::steady_clock;

inline bool poll_until(const std::function<bool()> &step, int seconds = 5)
{
	auto end = Clock::now() + std::chrono::seconds(seconds);

	while (!step()) {
		if (Clock::now() > end)
			return false;
		sched_yield();
	}
	return true;
}

inline int count_fds()
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

inline struct sockaddr_storage loopback(uint16_t port = 0)
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
		switch (random() % 13) {
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
		case 11: {
			struct wire_rails rails = {2, {}};
			n = wire_put_rails(bytes, &rails);
			break;
		}
		case 10: {
			struct wire_ready ready = {
				{static_cast<uint16_t>(1 + random() % 65535)},
				1, 0};
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
		const char *threads = getenv("UNIT_THREADS");
		struct devmem_options options;

		fds_ = count_fds();
		devmem_options_init(&options);
		options.ifname = "=lo";
		options.region = DEVMEM_REGION_NONE;
		options.flows = flows;
		options.eager_bytes = 1u << 30;
		options.threads = threads ? atoi(threads) : 0;
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

/* A peer of each seed in turn, as many as two seconds have time for. */
template <class One> void try_seeds()
{
	auto end = Clock::now() + std::chrono::seconds(2);

	for (unsigned int seed = 0; seed < 2000 && Clock::now() < end; seed++) {
		One(seed).run();
		ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed;
	}
}

#endif // DEVMEM_TESTS_HOSTILE_H
