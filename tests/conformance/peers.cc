// SPDX-License-Identifier: BSD-3-Clause
/*
 * peers.cc - the processes behind RemoteSide.
 *
 * A nursery is forked from main before anything else. For each RemoteSide it
 * forks a child that answers calls on a socket until the socket closes.
 * CONFORMANCE_PEER_NETNS=NAME puts the children into /run/netns/NAME;
 * CONFORMANCE_PEER_IFNAME then says which interface they use.
 */
#include "side.h"

#include "memory.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

constexpr int call_timeout_ms = 60000; /* no call may block this long */

int nursery = -1;

bool send_fd(int socket, int fd)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {};

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(socket, &msg, MSG_NOSIGNAL) == 1;
}

/* -1: the other end is closed. */
int recv_fd(int socket)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {};
	int fd = -1;

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

bool enter_namespace()
{
	const char *name = getenv("CONFORMANCE_PEER_NETNS");
	const char *ifname = getenv("CONFORMANCE_PEER_IFNAME");
	char path[256];

	if (ifname) {
		setenv("NCCL_DEVMEM_IFNAME", ifname, 1);
		setenv("NCCL_SOCKET_IFNAME", ifname, 1);
	}
	if (!name || !*name)
		return true;
	if (snprintf(path, sizeof(path), "/run/netns/%s", name) >=
	    static_cast<int>(sizeof(path)))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET)) {
		fprintf(stderr, "conformance: enter %s: %s; make it with "
			"`ip netns add`, run as root\n", path,
			strerror(errno));
		return false;
	}
	close(fd);
	return true;
}

[[noreturn]] void serve(int socket, const std::string &plugin_path)
{
	LocalSide side(plugin_path);
	pid_t pid = getpid();
	Call call;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_DFL);
	if (!enter_namespace())
		_exit(1);
#ifdef __SANITIZE_THREAD__
	/* With the first thread comes one of the sanitizer's, which stays. */
	std::thread([] {}).join();
#endif
	std::string no_gpu = memory::open_gpu();
	if (!no_gpu.empty()) {
		fprintf(stderr, "conformance: %s\n", no_gpu.c_str());
		_exit(1);
	}
	if (send(socket, &pid, sizeof(pid), MSG_NOSIGNAL) != sizeof(pid))
		_exit(1);
	while (recv(socket, &call, sizeof(call), 0) == sizeof(call)) {
		side.call(call);
		if (send(socket, &call, sizeof(call), MSG_NOSIGNAL) < 0)
			break;
	}
	memory::close_gpu();
	_exit(0);
}

[[noreturn]] void run_nursery(int socket, const std::string &plugin_path)
{
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN); /* the kernel reaps */
	while ((fd = recv_fd(socket)) >= 0) {
		if (fork() == 0) {
			close(socket);
			serve(fd, plugin_path);
		}
		close(fd);
	}
	_exit(0);
}

bool recv_within(int socket, void *data, size_t size, int timeout_ms)
{
	struct pollfd poll_fd = {socket, POLLIN, 0};

	if (poll(&poll_fd, 1, timeout_ms) != 1) {
		errno = ETIMEDOUT;
		return false;
	}
	errno = ECONNRESET;
	return recv(socket, data, size, 0) == static_cast<ssize_t>(size);
}

} // namespace

bool start_peers(const std::string &plugin_path)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return false;
	pid_t pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0) {
		close(pair[0]);
		run_nursery(pair[1], plugin_path);
	}
	close(pair[1]);
	nursery = pair[0];
	return true;
}

RemoteSide::RemoteSide()
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return;
	socket_ = pair[0];
	bool sent = send_fd(nursery, pair[1]);
	::close(pair[1]);
	if (!sent || !recv_within(socket_, &pid_, sizeof(pid_), 10000))
		pid_ = -1;
}

RemoteSide::~RemoteSide()
{
	if (socket_ >= 0)
		::close(socket_);
}

void RemoteSide::call(Call &call)
{
	if (send(socket_, &call, sizeof(call), MSG_NOSIGNAL) < 0 ||
	    !recv_within(socket_, &call, sizeof(call), call_timeout_ms))
		call.result = errno == ETIMEDOUT ? peer_hangs : peer_gone;
}

void RemoteSide::kill()
{
	char byte;

	::kill(pid_, SIGKILL);
	recv_within(socket_, &byte, 1, 10000); /* end of file: it is gone */
	pid_ = -1;
}

void RemoteSide::freeze()
{
	::kill(pid_, SIGSTOP);
}

void RemoteSide::thaw()
{
	::kill(pid_, SIGCONT);
}
