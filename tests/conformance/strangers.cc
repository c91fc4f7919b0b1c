// SPDX-License-Identifier: BSD-3-Clause
/* strangers.cc - see strangers.h. */
#include "strangers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "fixture.h"

namespace {

constexpr unsigned tcp_listen = 0x0a;

/* One line of /proc/net/tcp or tcp6; addresses are words in host order. */
bool parse_line(const char *line, bool v6, const std::set<unsigned long> &inodes,
		Address *address)
{
	unsigned word[4] = {}, port = 0, state = 0;
	unsigned long inode = 0;
	int fields;

	memset(address, 0, sizeof(*address));
	if (v6)
		fields = sscanf(line, " %*d: %8x%8x%8x%8x:%4x %*s %2x %*s %*s "
				"%*s %*s %*s %lu", &word[0], &word[1], &word[2],
				&word[3], &port, &state, &inode) == 7;
	else
		fields = sscanf(line, " %*d: %8x:%4x %*s %2x %*s %*s %*s %*s "
				"%*s %lu", &word[0], &port, &state,
				&inode) == 4;
	if (!fields || state != tcp_listen || !inodes.count(inode))
		return false;
	if (v6) {
		auto *in6 = reinterpret_cast<struct sockaddr_in6 *>(
			&address->storage);
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, word, 16);
		if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
			in6->sin6_addr = in6addr_loopback;
		address->size = sizeof(*in6);
	} else {
		auto *in = reinterpret_cast<struct sockaddr_in *>(
			&address->storage);
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = word[0] ? word[0] :
						htonl(INADDR_LOOPBACK);
		address->size = sizeof(*in);
	}
	return true;
}

} // namespace

std::vector<Address> new_listeners(const std::map<int, std::string> &before)
{
	std::vector<Address> result;
	std::set<unsigned long> inodes;
	unsigned long inode;
	char line[512];

	for (const auto &[fd, link] : open_fds())
		if (sscanf(link.c_str(), "socket:[%lu]", &inode) == 1 &&
		    (!before.count(fd) || before.at(fd) != link))
			inodes.insert(inode);
	for (bool v6 : {false, true}) {
		FILE *file = fopen(v6 ? "/proc/self/net/tcp6" :
					"/proc/self/net/tcp", "re");
		Address address;

		while (file && fgets(line, sizeof(line), file))
			if (parse_line(line, v6, inodes, &address))
				result.push_back(address);
		if (file)
			fclose(file);
	}
	return result;
}

Stranger::Stranger(const Address &to, int rcvbuf)
	: fd_(socket(to.storage.ss_family,
		     SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
{
	if (rcvbuf)
		setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &rcvbuf,
			   sizeof(rcvbuf));
	if (connect(fd_, reinterpret_cast<const struct sockaddr *>(&to.storage),
		    to.size) && errno != EINPROGRESS)
		perror("a stranger's connect");
}

Stranger::~Stranger()
{
	close(fd_);
}

void Stranger::say(const std::string &bytes)
{
	ssize_t sent = send(fd_, bytes.data(), bytes.size(),
			    MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)sent; /* it may have been shown the door already */
}

void Stranger::reset_on_close()
{
	struct linger linger = {1, 0};

	setsockopt(fd_, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

bool Stranger::dismissed()
{
	char bytes[4096];
	ssize_t got;

	do
		got = recv(fd_, bytes, sizeof(bytes), MSG_DONTWAIT);
	while (got > 0);
	return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}
