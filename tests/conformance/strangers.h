// SPDX-License-Identifier: BSD-3-Clause
/*
 * strangers.h - TCP clients that have no business with a listening comm:
 * scanners, browsers, half-dead peers, someone who means harm.
 */
#ifndef CONFORMANCE_STRANGERS_H
#define CONFORMANCE_STRANGERS_H

#include <sys/socket.h>

#include <map>
#include <string>
#include <vector>

struct Address {
	struct sockaddr_storage storage;
	socklen_t size;
};

/*
 * Where this process listens on sockets that `before` does not have, learnt
 * from /proc/self/net/tcp*: no knowledge of the handle's layout is needed.
 */
std::vector<Address> new_listeners(const std::map<int, std::string> &before);

class Stranger {
public:
	/* Connects without waiting for it. `rcvbuf` 0: the system's choice. */
	explicit Stranger(const Address &to, int rcvbuf = 0);
	~Stranger();
	Stranger(const Stranger &) = delete;
	Stranger &operator=(const Stranger &) = delete;

	/* As much as goes out without blocking. */
	void say(const std::string &bytes);
	/* Closes with a reset instead of in good order. */
	void reset_on_close();
	/* The other end has closed this connection. */
	bool dismissed();

private:
	int fd_;
};

#endif
