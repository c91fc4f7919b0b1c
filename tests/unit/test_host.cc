// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_host.cc - messages from and to host memory, between two connections of
 * this process, with a kernel that takes what it is told to take.
 */
#include "host_pair.h"

#include <linux/capability.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>

#include <atomic>

Kernel host_kernel;

extern "C" ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);

extern "C" ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return host_kernel.sendmsg ? host_kernel.sendmsg(fd, msg, flags) :
				     __real_sendmsg(fd, msg, flags);
}

extern "C" ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);

extern "C" ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return host_kernel.recvmsg ? host_kernel.recvmsg(fd, msg, flags) :
				     __real_recvmsg(fd, msg, flags);
}

namespace {

using Host = HostPair;

/* The value of SO_BUSY_POLL of each connected socket of this process. */
std::vector<int> busy_poll_values()
{
	std::vector<int> values;

	for (int fd = 0; fd < 1024; fd++) {
		struct sockaddr_storage peer;
		socklen_t size = sizeof(peer), len = sizeof(int);
		int value;

		if (getpeername(fd, reinterpret_cast<struct sockaddr *>(&peer),
				&size) || peer.ss_family != AF_INET)
			continue;
		EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &value,
				     &len), 0);
		values.push_back(value);
	}
	return values;
}

/* With or without a capability that this thread may have. */
bool net_admin(bool have)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return false;
	if (have)
		data[0].effective |= 1u << CAP_NET_ADMIN;
	else
		data[0].effective &= ~(1u << CAP_NET_ADMIN);
	return !syscall(SYS_capset, &head, data);
}

TEST_F(Host, BusyPollIsSetOnEachSocket)
{
	int probe = socket(AF_INET, SOCK_STREAM, 0), value = 77;
	int error = setsockopt(probe, SOL_SOCKET, SO_BUSY_POLL, &value,
			       sizeof(int)) ? errno : 0;

	close(probe);
	if (error)
		GTEST_SKIP() << "SO_BUSY_POLL: " << strerror(error);
	options.busy_poll = 77;
	options.flows = 3;
	start();
	EXPECT_EQ(busy_poll_values(), std::vector<int>(8, 77));
	EXPECT_EQ(logged.find("busy poll"), std::string::npos) << logged;
}

TEST_F(Host, BusyPollIsTheSystemsUnlessAskedFor)
{
	int probe = socket(AF_INET, SOCK_STREAM, 0), value = -1;
	socklen_t len = sizeof(int);

	EXPECT_EQ(getsockopt(probe, SOL_SOCKET, SO_BUSY_POLL, &value, &len), 0);
	close(probe);
	start();
	EXPECT_EQ(busy_poll_values(), std::vector<int>(6, value));
}

/* Older kernels want the capability, newer ones only for preferring it. */
TEST_F(Host, WhoMayNotBusyPollIsToldTheRemedyAndGoesOn)
{
	int probe = socket(AF_INET, SOCK_STREAM, 0), value = 77;

	ASSERT_TRUE(net_admin(false));
	bool may = !setsockopt(probe, SOL_SOCKET, SO_BUSY_POLL, &value,
			       sizeof(int));
	close(probe);
	options.busy_poll = 77;
	start();
	net_admin(true);
	EXPECT_EQ(logged.find("CAP_NET_ADMIN") == std::string::npos, may)
		<< logged;
	for (int set : busy_poll_values())
		EXPECT_EQ(set, may ? 77 : 0);
	exchange({1000, 100000});
}

/* Where control's socket is full between two messages it is room that wakes it. */
TEST_F(Host, AThreadWaitsForRoomAndNotForItsNextLook)
{
	std::atomic<Clock::rep> full_until{0};
	std::vector<Clock::duration> took;

	options.threads = 1;
	start();
	ASSERT_FALSE(HasFatalFailure());
	host_kernel.sendmsg = [&](int fd, const struct msghdr *msg, int flags) {
		if (Clock::now().time_since_epoch().count() < full_until) {
			errno = EAGAIN;
			return ssize_t(-1);
		}
		return __real_sendmsg(fd, msg, flags);
	};
	for (int i = 0; i < 15; i++) {
		auto begin = Clock::now();

		full_until = (begin + std::chrono::milliseconds(5))
				     .time_since_epoch()
				     .count();
		exchange({5000});
		took.push_back(Clock::now() - begin);
	}
	std::nth_element(took.begin(), took.begin() + 7, took.end());
	EXPECT_LT(took[7], std::chrono::milliseconds(50));
}

/* Messages of which several go in one call, cut wherever the kernel likes. */
TEST_F(Host, MessagesAreWholeHoweverLittleTheKernelTakesAtOnce)
{
	const std::vector<size_t> most = {1, 5, 17, 300, 5000, 100000};
	size_t calls = 0, longest = 0;

	start();
	ASSERT_FALSE(HasFatalFailure());
	host_kernel.sendmsg = [&](int fd, const struct msghdr *msg, int flags) {
		size_t most_now = most[calls++ / 50 % most.size()];

		longest = std::max(longest, size_t(msg->msg_iovlen));
		/* Nothing at all now and then: messages pile up. */
		if (calls % 7 == 0) {
			errno = EAGAIN;
			return ssize_t(-1);
		}
		return send_at_most(fd, msg, flags,
				    1 + random() % most_now);
	};
	for (int round = 0; round < 40; round++) {
		std::vector<size_t> sizes(1 + random() % DEVMEM_MAX_REQUESTS);

		for (size_t &size : sizes)
			size = pick({0, 1, 255, 256, 257, 300, 1000, 9000,
				     70000, size_t(random() % 20000)});
		exchange(sizes);
		ASSERT_FALSE(HasFailure()) << "round " << round;
	}
	EXPECT_GT(longest, 5u) << "no two messages went in one call";
}

/* Left to itself the kernel has megabytes on their way, which no cache holds. */
TEST_F(Host, WithinAHostLittleIsOnItsWay)
{
	int most = 0;

	start();
	ASSERT_FALSE(HasFatalFailure());
	host_kernel.sendmsg = [&](int fd, const struct msghdr *msg, int flags) {
		socklen_t len = sizeof(int);
		int now = 0;

		EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &now, &len), 0);
		most = std::max(most, now);
		return __real_sendmsg(fd, msg, flags);
	};
	for (int i = 0; i < 4; i++)
		exchange(std::vector<size_t>(8, 1 << 20));
	EXPECT_GT(most, 0);
	EXPECT_LE(most, 1 << 20);
}

/*
 * What a message has beyond full packets may wait for the next message, but for
 * nothing else, and for no more than a call.
 */
class Packets : public HostPair {
protected:
	/* Messages that are a little more than full packets. */
	static constexpr size_t size = 64 << 10, most = 8;

	void SetUp() override
	{
		HostPair::SetUp();
		options.zerocopy = DEVMEM_ZEROCOPY_OFF;
		start();
		host_kernel.sendmsg = [&](int fd, const struct msghdr *msg,
					  int flags) {
			ssize_t n = __real_sendmsg(fd, msg, flags);
			socklen_t len = sizeof(int);
			int now = 0;

			getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &now, &len);
			same = now == packet ? same + 1 : 0;
			packet = now;
			if (n > 0)
				sent.push_back(size_t(n));
			return n;
		};
	}
	/* Receives are posted, then sends. */
	void post(int count)
	{
		for (int i = 0; i < count; i++)
			ASSERT_EQ(devmem_recv(receiver, to[i], size, nullptr,
					      &in[i]), 0);
		for (int i = 0; i < count; i++)
			ASSERT_EQ(devmem_send(sender, from, size, nullptr,
					      &out[i]), 0);
	}
	bool arrives(int i)
	{
		return poll_until([&] {
			return devmem_test(in[i], nullptr) == 0;
		});
	}
	/* All that is on its way comes, and that is not all of message @i. */
	bool lacks_its_end(int i)
	{
		uint64_t before;
		int calls = 0;

		do {
			before = inline_bytes();
			if (devmem_test(in[i], nullptr) != -EAGAIN)
				return false;
		} while (inline_bytes() != before || ++calls < 1000);
		return true;
	}
	int test(struct devmem_request *r)
	{
		return devmem_test(r, nullptr);
	}

	std::vector<size_t> sent;
	/* Bytes of one, and for how many calls it has been so. */
	int packet = 0, same = 0;
	struct devmem_request *in[most], *out[most];
	uint8_t from[size] = {}, to[most][size];

private:
	uint64_t inline_bytes()
	{
		struct devmem_stats stats;

		devmem_conn_stats(receiver, &stats);
		return stats.bytes_inline;
	}
};

TEST_F(Packets, AMessageThatIsAloneGoesWhole)
{
	for (int i = 0; i < 3; i++) {
		ASSERT_NO_FATAL_FAILURE(post(1));
		EXPECT_TRUE(arrives(0)) << "without a call of the sender";
		EXPECT_EQ(test(out[0]), 0);
	}
	EXPECT_EQ(sent, std::vector<size_t>(3, size + WIRE_HEADER_BYTES));
}

TEST_F(Packets, TheEndOfAMessageGoesWhenItIsAskedFor)
{
	ASSERT_NO_FATAL_FAILURE(post(2));
	EXPECT_TRUE(arrives(0));
	EXPECT_TRUE(lacks_its_end(1));
	EXPECT_EQ(test(out[0]), 0);
	EXPECT_EQ(test(out[1]), 0);
	EXPECT_TRUE(arrives(1));
}

TEST_F(Packets, TheEndOfAMessageWaitsForOneCallAboutOthers)
{
	ASSERT_NO_FATAL_FAILURE(post(4));
	EXPECT_TRUE(arrives(0));
	EXPECT_TRUE(arrives(1));
	EXPECT_TRUE(arrives(2));
	EXPECT_EQ(test(out[0]), 0);
	EXPECT_TRUE(lacks_its_end(3));
	EXPECT_EQ(test(out[1]), 0);
	EXPECT_TRUE(arrives(3));
	EXPECT_EQ(test(out[2]), 0);
	EXPECT_EQ(test(out[3]), 0);
}

TEST_F(Packets, AreFullWhereMessagesFollowEachOther)
{
	/* They grow with the window, which begins small. */
	for (int round = 0; round < 100 && same < 64; round++) {
		sent.clear();
		ASSERT_NO_FATAL_FAILURE(post(most));
		for (int i = 0; i < int(most); i++) {
			EXPECT_EQ(test(out[i]), 0);
			EXPECT_TRUE(arrives(i));
		}
	}
	ASSERT_GE(same, 64);
	ASSERT_EQ(sent.size(), most + 1);
	/* The first one is alone; the last call is for what is left. */
	for (size_t i = 1; i < most; i++)
		EXPECT_EQ(sent[i] % size_t(packet), 0u) << sent[i];
	EXPECT_LE(sent[most], 4096u);
}

} // namespace
