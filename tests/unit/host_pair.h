// SPDX-License-Identifier: BSD-3-Clause
/*
 * host_pair.h - a sender and a receiver of host memory in one process, over
 * loopback, and a kernel that a test can take the place of.
 */
#ifndef DEVMEM_TESTS_HOST_PAIR_H
#define DEVMEM_TESTS_HOST_PAIR_H

#include <algorithm>
#include <string>

#include "hostile.h"

/* What the library's calls reach instead of the kernel, where it is set. */
struct Kernel {
	std::function<ssize_t(int, const struct msghdr *, int)> sendmsg;
	std::function<ssize_t(int, struct msghdr *, int)> recvmsg;
};
extern Kernel host_kernel;

extern "C" ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
extern "C" ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);

/* The first bytes of a message, as a kernel with no room for more. */
inline ssize_t send_at_most(int fd, const struct msghdr *msg, int flags,
			    size_t most)
{
	std::vector<struct iovec> iov(msg->msg_iov,
				      msg->msg_iov + msg->msg_iovlen);
	struct msghdr cut = *msg;

	for (struct iovec &one : iov) {
		one.iov_len = std::min(one.iov_len, most);
		most -= one.iov_len;
	}
	cut.msg_iov = iov.data();
	return __real_sendmsg(fd, &cut, flags);
}

class HostPair : public testing::Test {
protected:
	void SetUp() override
	{
		devmem_options_init(&options);
		options.ifname = "=lo";
		options.region = DEVMEM_REGION_NONE;
		options.threads = 0;
		options.log = log;
		options.log_arg = this;
		fds_ = count_fds();
	}
	void TearDown() override
	{
		host_kernel = {};
		devmem_conn_close(sender);
		devmem_conn_close(receiver);
		devmem_close(ctx);
		sender = receiver = nullptr;
		ctx = nullptr;
		logged.clear();
		EXPECT_EQ(count_fds(), fds_) << "descriptors were left open";
	}

	/* Connects, with the options as they are by then. */
	void start()
	{
		struct devmem_listener *listener;
		uint8_t handle[DEVMEM_HANDLE_BYTES];

		ASSERT_EQ(devmem_open(&options, &ctx), 0) << logged;
		ASSERT_EQ(devmem_listen(ctx, 0, handle, &listener), 0);
		EXPECT_TRUE(poll_until([&] {
			if (!sender)
				devmem_connect(ctx, 0, handle, &sender);
			if (!receiver)
				devmem_accept(listener, &receiver);
			return sender && receiver;
		}));
		devmem_listener_close(listener);
		ASSERT_FALSE(HasFailure());
	}

	size_t pick(std::initializer_list<size_t> from)
	{
		return from.begin()[random() % from.size()];
	}

	/* All at once; each arrives whole, and nothing behind its end changes. */
	void exchange(const std::vector<size_t> &sizes)
	{
		constexpr size_t zone = 64;
		std::vector<std::vector<uint8_t>> from, to;
		std::vector<struct devmem_request *> out(sizes.size()),
			in(sizes.size());

		for (size_t size : sizes) {
			from.emplace_back(size);
			for (uint32_t i = 0, seed = random(); i < size; i++)
				from.back()[i] = (seed + i * 167) ^ i >> 8;
			to.emplace_back(size + zone, 0x77);
		}
		for (size_t i = 0; i < sizes.size(); i++) {
			ASSERT_EQ(devmem_recv(receiver, to[i].data(),
					      to[i].size(), nullptr, &in[i]),
				  0);
			ASSERT_EQ(devmem_send(sender, from[i].data(), sizes[i],
					      nullptr, &out[i]),
				  0);
		}
		/* A send by reference may be done with one behind it only. */
		auto over = [](struct devmem_request *&r) {
			if (r && devmem_test(r, nullptr) != -EAGAIN)
				r = nullptr;
			return !r;
		};
		ASSERT_TRUE(poll_until([&] {
			size_t done = 0;

			for (size_t i = 0; i < sizes.size(); i++) {
				done += over(out[i]);
				done += over(in[i]);
			}
			return done == 2 * sizes.size();
		})) << logged;
		for (size_t i = 0; i < sizes.size(); i++) {
			from[i].insert(from[i].end(), zone, 0x77);
			ASSERT_TRUE(from[i] == to[i]) << "message " << i;
		}
	}

	std::mt19937 random{1};
	struct devmem_options options;
	struct devmem *ctx = nullptr;
	struct devmem_conn *sender = nullptr, *receiver = nullptr;
	std::string logged;

private:
	static void log(void *arg, enum devmem_log_level, const char *, int,
			const char *text)
	{
		static_cast<HostPair *>(arg)->logged += text;
		static_cast<HostPair *>(arg)->logged += '\n';
	}

	int fds_ = 0;
};

#endif // DEVMEM_TESTS_HOST_PAIR_H
