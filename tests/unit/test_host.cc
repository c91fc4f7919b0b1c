// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_host.cc - messages from and to host memory, between two connections of
 * this process, with a kernel that takes what it is told to take.
 */
#include "host_pair.h"

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
				     size_t(random() % 20000)});
		exchange(sizes);
		ASSERT_FALSE(HasFailure()) << "round " << round;
	}
	EXPECT_GT(longest, 5u) << "no two messages went in one call";
}

} // namespace
