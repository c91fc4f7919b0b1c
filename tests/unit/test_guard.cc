// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_guard.cc - the guard: that it is started as a process that has nothing to
 * do with ours, that it ends with what it guards, and when it is to look again.
 * What it restores is tested in the lab, where there are NICs (61-guard.sh).
 */
#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "c_headers.h"

namespace {

/* ---- when it looks again ---- */

using Report = std::unique_ptr<nic_report>;

Report report(nic_left left)
{
	Report r(new nic_report());

	r->left = left;
	return r;
}

/* A process that was, and is waited for. */
pid_t dead_pid()
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, nullptr, 0);
	return pid;
}

TEST(GuardLater, NotWhenThereIsNothingLeftToDo)
{
	for (nic_left left : { NIC_CLEAN, NIC_RESTORED, NIC_GONE, NIC_GARBLED })
		EXPECT_FALSE(restore_later(report(left).get(), 1)) << left;
}

TEST(GuardLater, WhenSomethingHasFailedOrWasLocked)
{
	for (nic_left left : { NIC_LOCKED, NIC_FAILED })
		EXPECT_TRUE(restore_later(report(left).get(), 1)) << left;
}

/* The kernel is closing it, or a child of fork() has its queues. */
TEST(GuardLater, WhileTheDeadOnesQueuesAreBound)
{
	for (nic_left left : { NIC_IN_USE, NIC_UNKNOWN }) {
		Report r = report(left);

		r->original.owner[7] = dead_pid();
		EXPECT_TRUE(restore_later(r.get(), r->original.owner[7]));
		/* Its number may be had again. */
		r->original.owner[7] = getpid();
		EXPECT_TRUE(restore_later(r.get(), getpid()));
	}
}

TEST(GuardLater, NotWhileAnotherOfOursLives)
{
	pid_t dead = dead_pid();

	for (nic_left left : { NIC_IN_USE, NIC_UNKNOWN }) {
		Report r = report(left);

		r->original.owner[7] = dead;
		r->original.owner[5] = getpid();
		EXPECT_FALSE(restore_later(r.get(), dead));
	}
}

TEST(GuardLater, WhileOnlyStrangersOrDeadOnesHaveQueues)
{
	pid_t dead = dead_pid();

	for (nic_left left : { NIC_IN_USE, NIC_UNKNOWN }) {
		Report r = report(left);

		EXPECT_TRUE(restore_later(r.get(), dead));
		r->original.owner[7] = NICFILE_NOBODY;
		r->original.owner[6] = dead_pid();
		EXPECT_TRUE(restore_later(r.get(), dead));
	}
}

/* ---- which program ---- */

TEST(GuardProgram, IsAutoOffOrAnAbsolutePath)
{
	EXPECT_TRUE(guard_valid(nullptr));
	for (const char *good : { "auto", "off", "/", "/usr/libexec/guard" })
		EXPECT_TRUE(guard_valid(good)) << good;
	for (const char *bad : { "", "on", "AUTO ", "devmem-guard", "./guard" })
		EXPECT_FALSE(guard_valid(bad)) << bad;
}

class GuardFile : public ::testing::Test {
protected:
	void SetUp() override
	{
		int fd = mkstemp(path);

		ASSERT_GE(fd, 0);
		close(fd);
	}
	void TearDown() override { unlink(path); }
	int open_with(mode_t mode)
	{
		struct why w = {};
		int fd;

		chmod(path, mode);
		fd = guard_open_program(path, &w);
		if (fd >= 0)
			close(fd);
		else
			EXPECT_NE(strstr(w.text, path), nullptr) << w.text;
		return fd < 0 ? fd : 0;
	}
	char path[32] = "/tmp/guard-test-XXXXXX";
};

TEST_F(GuardFile, IsOneThatNobodyElseCanWrite)
{
	EXPECT_EQ(open_with(0755), 0);
	EXPECT_EQ(open_with(0500), 0);
	EXPECT_EQ(open_with(0775), -EPERM);
	EXPECT_EQ(open_with(0757), -EPERM);
}

TEST_F(GuardFile, IsNotSomebodyElses)
{
	if (geteuid())
		GTEST_SKIP() << "needs root";
	ASSERT_EQ(chown(path, 12345, 0), 0);
	EXPECT_EQ(open_with(0755), -EPERM);
}

TEST(GuardProgram, IsAFile)
{
	struct why w = {};

	EXPECT_EQ(guard_open_program("/tmp", &w), -EPERM);
	EXPECT_EQ(guard_open_program("/nowhere/guard", &w), -ENOENT);
}

/* ---- the process ---- */

class GuardProcess : public ::testing::Test {
protected:
	void SetUp() override
	{
		if (!has_net_admin())
			GTEST_SKIP() << "needs CAP_NET_ADMIN";
	}
	void TearDown() override
	{
		while (guard_pid())
			guard_stop();
	}
	/* Starts it, and says which process it is. */
	static pid_t start()
	{
		guard_start(DEVMEM_GUARD);
		return guard_pid();
	}
};

/* Bounded: a guard that does not end fails the test. Init may be slow to reap. */
bool ends(pid_t pid)
{
	struct pollfd p = { (int)syscall(SYS_pidfd_open, pid, 0), POLLIN, 0 };
	int rc;

	if (p.fd < 0)
		return errno == ESRCH;
	rc = poll(&p, 1, 4000);
	close(p.fd);
	return rc == 1;
}

bool has_no_child()
{
	return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD;
}

TEST_F(GuardProcess, LivesAsLongAsItIsNeeded)
{
	pid_t pid = start();

	ASSERT_GT(pid, 0);
	EXPECT_EQ(start(), pid) << "one for the process";
	guard_stop();
	EXPECT_EQ(guard_pid(), pid);
	EXPECT_EQ(kill(pid, 0), 0);
	guard_stop();
	EXPECT_EQ(guard_pid(), 0);
	EXPECT_TRUE(ends(pid));
	guard_stop();
}

TEST_F(GuardProcess, IsNobodysChildAndInNobodysSession)
{
	pid_t pid = start();

	ASSERT_GT(pid, 0);
	EXPECT_TRUE(has_no_child());
	EXPECT_NE(getpgid(pid), getpgid(0));
	EXPECT_NE(getsid(pid), getsid(0));
	EXPECT_NE(getsid(pid), pid) << "it could get a terminal";
}

TEST_F(GuardProcess, HasNothingOpenOfOurs)
{
	int fd[2], high;
	char byte;
	pid_t pid;

	ASSERT_EQ(pipe(fd), 0); /* not close-on-exec */
	high = fcntl(fd[1], F_DUPFD, 200);
	pid = start();
	close(fd[1]);
	close(high);
	ASSERT_GT(pid, 0);

	struct pollfd p = { fd[0], POLLIN, 0 };

	ASSERT_EQ(poll(&p, 1, 2000), 1) << "it has the pipe";
	EXPECT_EQ(read(fd[0], &byte, 1), 0);
	EXPECT_EQ(guard_pid(), pid);
	close(fd[0]);
}

TEST_F(GuardProcess, IsDeafToWhatEndsAJob)
{
	pid_t pid = start();

	ASSERT_GT(pid, 0);
	for (int sig : { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE })
		kill(pid, sig);
	usleep(100000);
	EXPECT_EQ(guard_pid(), pid);
}

TEST_F(GuardProcess, IsStartedAgainWhenItWasKilled)
{
	pid_t pid = start(), other;

	ASSERT_GT(pid, 0);
	kill(pid, SIGKILL);
	ASSERT_TRUE(ends(pid));
	EXPECT_EQ(guard_pid(), 0);
	other = start();
	EXPECT_GT(other, 0);
	EXPECT_NE(other, pid);
	guard_stop();
	guard_stop();
	EXPECT_TRUE(ends(other));
}

TEST_F(GuardProcess, IsStartedWhereChildrenAreNotWaitedFor)
{
	sighandler_t was = signal(SIGCHLD, SIG_IGN);
	pid_t pid = start();

	signal(SIGCHLD, was);
	EXPECT_GT(pid, 0);
	guard_stop();
	EXPECT_TRUE(ends(pid));
}

TEST_F(GuardProcess, EndsWithTheProcess)
{
	int fd[2], status;
	pid_t child, pid = 0;

	ASSERT_EQ(pipe(fd), 0);
	child = fork();
	if (!child) {
		pid = start();
		if (write(fd[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	ASSERT_EQ(read(fd[0], &pid, sizeof(pid)), (ssize_t)sizeof(pid));
	close(fd[0]);
	close(fd[1]);
	ASSERT_GT(pid, 0);
	EXPECT_TRUE(ends(pid));
}

/* It has the channel, too, but what it does there does not count. */
TEST_F(GuardProcess, IsNotAChildsOfFork)
{
	pid_t pid = start(), child;
	int status;

	ASSERT_GT(pid, 0);
	child = fork();
	if (!child) {
		pid_t own;

		guard_stop();
		if (guard_pid())
			_exit(1);
		own = start();
		if (own <= 0 || own == pid)
			_exit(2);
		guard_stop();
		_exit(ends(own) ? 0 : 3);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(guard_pid(), pid);
}

/* What an older container's seccomp does to what it does not know. */
bool forbid(uint32_t nr)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof(code) / sizeof(*code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
}

/* 77: such a filter cannot be; else what @then says. */
template <typename Then> int forbidden(uint32_t nr, Then then)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(forbid(nr) ? then() : 77);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(GuardProcess, HasNothingOpenOfOursUnderSeccomp)
{
	int rc = forbidden(SYS_close_range, [] {
		int fd[2];
		char byte;

		if (pipe(fd) || fcntl(fd[1], F_DUPFD, 200) != 200)
			return 1;
		if (start() <= 0)
			return 2;
		close(fd[1]);
		close(200);

		struct pollfd p = { fd[0], POLLIN, 0 };

		if (poll(&p, 1, 2000) != 1 || read(fd[0], &byte, 1))
			return 3;
		return guard_pid() > 0 ? 0 : 4;
	});

	if (rc == 77)
		GTEST_SKIP() << "no seccomp here";
	EXPECT_EQ(rc, 0);
}

/* It must not take a process for dead that it cannot watch. */
TEST_F(GuardProcess, SaysThatItMayNotWatch)
{
	static std::string said;
	int rc = forbidden(SYS_pidfd_open, [] {
		log_open(
			[](void *, devmem_log_level, const char *, int,
			   const char *text) { said += text; },
			nullptr);
		if (start() > 0)
			return 1;
		return said.find("pidfd_open: Operation not permitted") ==
				       std::string::npos ?
			       2 :
			       0;
	});

	if (rc == 77)
		GTEST_SKIP() << "no seccomp here";
	EXPECT_EQ(rc, 0);
}

TEST_F(GuardProcess, OffIsNone)
{
	guard_start("off");
	EXPECT_EQ(guard_pid(), 0);
	EXPECT_TRUE(has_no_child());
	guard_stop();
}

/* Not a program; one that ends at once; one that says nothing for too long is
 * given up as well, but that takes two seconds. */
TEST_F(GuardProcess, OneThatCannotBeStartedIsDoneWithout)
{
	for (const char *bad : { "/nowhere/guard", "/etc/passwd", "/bin/true" }) {
		guard_start(bad);
		EXPECT_EQ(guard_pid(), 0) << bad;
		EXPECT_TRUE(has_no_child()) << bad;
		guard_stop();
	}
}

} // namespace
