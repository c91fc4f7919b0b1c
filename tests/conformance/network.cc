// SPDX-License-Identifier: BSD-3-Clause
/* network.cc - see network.h. */
#include "network.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace {

std::string failure(const char *what)
{
	return std::string(what) + ": " + strerror(errno);
}

bool has_ipv6()
{
	struct sockaddr_in6 self = {};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	self.sin6_family = AF_INET6;
	self.sin6_addr = in6addr_loopback;
	bool there = fd >= 0 && !bind(fd, reinterpret_cast<sockaddr *>(&self),
				      sizeof(self));
	if (fd >= 0)
		close(fd);
	return there;
}

/* A kernel without IPv6 has no such file, and nothing to switch off. */
bool switch_ipv6_off()
{
	int fd = open("/proc/sys/net/ipv6/conf/all/disable_ipv6",
		      O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	bool done = write(fd, "1", 1) == 1;
	close(fd);
	return done;
}

} // namespace

std::string own_network(int family)
{
	struct ifreq lo = {};

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return failure("a network namespace");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return failure("a socket");
	strcpy(lo.ifr_name, "lo");
	lo.ifr_flags = IFF_UP;
	int bad = ioctl(fd, SIOCSIFFLAGS, &lo);
	if (!bad && family == 6) {
		/* The address 0.0.0.0 takes 127.0.0.1 away. */
		lo.ifr_flags = 0;
		lo.ifr_addr.sa_family = AF_INET;
		bad = ioctl(fd, SIOCSIFADDR, &lo);
	}
	std::string reason = bad ? failure("lo") : "";
	close(fd);
	if (!bad && family == 6 && !has_ipv6())
		return "no IPv6 here";
	if (!bad && family == 4 && !switch_ipv6_off())
		return failure("disable_ipv6");
	return reason;
}
