// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_stats.cc - statistics of a process: what it shows of itself while it runs,
 * what it writes at its end, and what becomes of it when it is killed.
 */
#include "host_pair.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>

extern "C" {
#include "stats.h"
#include "stats_map.h"
#include "stats_proc.h"
#include "stats_read.h"
}

namespace {

std::string shown_file(pid_t pid = getpid())
{
	return std::string(STATS_DIR "/" STATS_PREFIX) +
	       std::to_string(geteuid()) + "-" + std::to_string(pid);
}

bool exists(const std::string &path)
{
	struct stat st;

	return !lstat(path.c_str(), &st);
}

class Stats : public HostPair {
protected:
	/* What others see of this process. */
	void look()
	{
		int fd = open(shown_file().c_str(), O_RDONLY);

		ASSERT_GE(fd, 0);
		stats_snapshot_free(&seen);
		ASSERT_EQ(stats_read_fd(fd, &seen), 0);
		close(fd);
	}
	void TearDown() override
	{
		HostPair::TearDown();
		stats_snapshot_free(&seen);
		EXPECT_FALSE(exists(shown_file()));
	}
	const struct stats_record *of(bool is_sender)
	{
		for (unsigned int i = 0; i < seen.count; i++)
			if (!seen.record[i].sender == !is_sender)
				return &seen.record[i];
		return nullptr;
	}

	struct stats_snapshot seen = {};
};

TEST_F(Stats, OthersSeeTheCountersOfARunningProcess)
{
	struct devmem_stats mine;
	struct stat st;

	start();
	exchange({100, 200000, 8});
	ASSERT_EQ(stat(shown_file().c_str(), &st), 0);
	EXPECT_EQ(st.st_mode & 07777, 0600u);
	look();
	ASSERT_EQ(seen.count, 2u);
	EXPECT_EQ(seen.head.pid, uint32_t(getpid()));
	EXPECT_EQ(stats_life_of(&seen.head), STATS_LIVES);
	for (bool is_sender : {false, true}) {
		const struct stats_record *r = of(is_sender);

		ASSERT_TRUE(r);
		devmem_conn_stats(is_sender ? sender : receiver, &mine);
		EXPECT_EQ(memcmp(&mine, &r->counters, sizeof(mine)), 0);
		EXPECT_EQ(mine.messages, 3u);
		EXPECT_STREQ(r->nic, "lo");
		EXPECT_EQ(strncmp(r->peer, "127.0.0.1:", 10), 0) << r->peer;
		EXPECT_STREQ(stats_path(r), "host");
		EXPECT_EQ(r->state, uint32_t(STATS_OPEN));
	}
	EXPECT_NE(of(false)->reason[0], 0);
}

TEST_F(Stats, LargeMessagesAreAllTimedAndOfSmallOnesASample)
{
	const struct histogram *h;

	start();
	for (int i = 0; i < 34; i++)
		exchange({8});
	look();
	h = &of(true)->time[STATS_COMPLETION];
	EXPECT_EQ(histogram_count(h), 2u);
	for (int i = 0; i < 10; i++)
		exchange({100000});
	look();
	h = &of(true)->time[STATS_COMPLETION];
	EXPECT_GE(histogram_count(h), 12u);
	EXPECT_GT(h->max, 0u);
	EXPECT_GE(h->sum, h->max);
}

TEST_F(Stats, WhatIsOffIsNotShownAndNotTimed)
{
	struct devmem_stats mine;

	options.stats = DEVMEM_STATS_OFF;
	start();
	exchange({100000});
	EXPECT_FALSE(exists(shown_file()));
	devmem_conn_stats(receiver, &mine);
	EXPECT_EQ(mine.messages, 1u);
}

TEST_F(Stats, AClosedConnectionStaysToBeSeen)
{
	start();
	exchange({100000});
	devmem_conn_close(sender);
	sender = nullptr;
	look();
	ASSERT_TRUE(of(true));
	EXPECT_EQ(of(true)->state, uint32_t(STATS_CLOSED));
	EXPECT_EQ(of(true)->counters.messages, 1u);
	EXPECT_EQ(of(false)->state, uint32_t(STATS_OPEN));
}

TEST_F(Stats, AFailureIsShownWithItsReason)
{
	struct devmem_request *r;
	char c;

	start();
	devmem_conn_close(sender);
	sender = nullptr;
	ASSERT_EQ(devmem_recv(receiver, &c, 1, nullptr, &r), 0);
	EXPECT_TRUE(poll_until([&] {
		return devmem_test(r, nullptr) != -EAGAIN;
	}));
	look();
	EXPECT_EQ(of(false)->err, -ECONNRESET);
	EXPECT_STREQ(of(false)->error, devmem_conn_error(receiver));
}

TEST_F(Stats, TheFileAtTheEndHasWhatWasClosed)
{
	const std::string path = "/tmp/devmem-stats-" +
				 std::to_string(getpid()) + ".json";
	std::stringstream text;

	options.stats_file = "/tmp/devmem-stats-%p.json";
	start();
	exchange({100000, 3});
	devmem_conn_close(sender);
	devmem_conn_close(receiver);
	devmem_close(ctx);
	sender = receiver = nullptr;
	ctx = nullptr;
	text << std::ifstream(path).rdbuf();
	EXPECT_NE(text.str().find("\"messages\": 2"), std::string::npos)
		<< text.str();
	EXPECT_NE(text.str().find("\"state\": \"closed\""), std::string::npos);
	unlink(path.c_str());
}

/* A log, a device: it is written to, not replaced. */
TEST_F(Stats, WhatIsNoPlainFileStays)
{
	struct stat st;

	options.stats_file = "/dev/null";
	start();
	devmem_conn_close(sender);
	devmem_conn_close(receiver);
	devmem_close(ctx);
	sender = receiver = nullptr;
	ctx = nullptr;
	ASSERT_EQ(stat("/dev/null", &st), 0);
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(logged.find("cannot be written"), std::string::npos);
}

/* In a folder like /tmp anybody may put a link where the name can be guessed. */
TEST(StatsFile, AnothersFileBehindTheNameIsNotWrittenTo)
{
	char dir[] = "/tmp/devmem-stats-XXXXXX";
	std::stringstream text, kept;

	ASSERT_TRUE(mkdtemp(dir));
	const std::string path = std::string(dir) + "/out";
	const std::string mine = std::string(dir) + "/mine";
	const std::string trap = path + "." + std::to_string(getpid());

	std::ofstream(mine) << "kept";
	for (bool symbolic : {false, true}) {
		ASSERT_EQ(symbolic ? symlink(mine.c_str(), trap.c_str()) :
				     link(mine.c_str(), trap.c_str()),
			  0);
		EXPECT_EQ(stats_file_write(path.c_str(), "new", 3), 0);
	}
	text << std::ifstream(path).rdbuf();
	kept << std::ifstream(mine).rdbuf();
	EXPECT_EQ(text.str(), "new");
	EXPECT_EQ(kept.str(), "kept");
	EXPECT_FALSE(exists(trap));
	unlink(path.c_str());
	unlink(mine.c_str());
	EXPECT_EQ(rmdir(dir), 0);
}

TEST_F(Stats, ANameThatMakesNoSenseIsRefused)
{
	for (const std::string &name :
	     {std::string("a%d"), std::string("a%"), std::string(600, 'a')}) {
		options.stats_file = name.c_str();
		EXPECT_EQ(devmem_open(&options, &ctx), -EINVAL) << name;
		EXPECT_NE(logged.find("NCCL_DEVMEM_STATS_FILE"),
			  std::string::npos);
	}
	EXPECT_TRUE(stats_path_valid("%h-%p-%%"));
}

TEST_F(Stats, AChildOfForkLeavesItsParentsAlone)
{
	pid_t pid;
	int status;

	start();
	exchange({100000});
	pid = fork();
	if (!pid) {
		/* It counts on, where its parent did, and removes nothing. */
		devmem_conn_close(sender);
		devmem_conn_close(receiver);
		devmem_close(ctx);
		_exit(exists(shown_file(getppid())) ? 0 : 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	look();
	ASSERT_EQ(seen.count, 2u);
	EXPECT_EQ(seen.record[0].state, uint32_t(STATS_OPEN));
}

/* Closing what it has from its parent, with statistics of its own by then. */
TEST_F(Stats, AChildOfForkWithItsOwnLeavesItsParentsAlone)
{
	pid_t pid;
	int status;

	start();
	exchange({100000});
	pid = fork();
	if (!pid) {
		const int fds = count_fds();
		struct devmem *own;

		if (devmem_open(&options, &own))
			_exit(1);
		/* Its file for its parent's. */
		if (count_fds() != fds)
			_exit(2);
		devmem_conn_close(sender);
		devmem_conn_close(receiver);
		devmem_close(own);
		_exit(exists(shown_file(getppid())) ? 0 : 3);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	look();
	ASSERT_EQ(seen.count, 2u);
	EXPECT_EQ(seen.record[0].state, uint32_t(STATS_OPEN));
	EXPECT_EQ(seen.record[1].state, uint32_t(STATS_OPEN));
}

TEST_F(Stats, AChildOfForkDoesNotMissWhatItsParentCountedElsewhere)
{
	std::vector<struct stats_record *> all;
	pid_t pid;
	int status;

	stats_get(&options);
	for (unsigned int i = 0; i <= STATS_RECORDS; i++) {
		all.push_back(stats_record_new());
		ASSERT_TRUE(all.back());
		stats_record_begin(all.back());
		stats_record_open(all.back());
	}
	pid = fork();
	if (!pid) {
		stats_get(&options);
		stats_record_close(all.back());
		look();
		_exit(seen.head.unlisted);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	unlink(shown_file(pid).c_str());
	look();
	EXPECT_EQ(seen.head.unlisted, 1u);
	for (struct stats_record *r : all)
		stats_record_close(r);
	stats_put();
}

TEST_F(Stats, TheFileOfAProcessThatWasKilledIsRemovedByTheNext)
{
	int pipes[2], status;
	char c;
	pid_t pid;

	ASSERT_EQ(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		if (!devmem_open(&options, &ctx))
			(void)!write(pipes[1], "x", 1);
		pause();
		_exit(1);
	}
	close(pipes[1]);
	EXPECT_EQ(read(pipes[0], &c, 1), 1);
	close(pipes[0]);
	EXPECT_TRUE(exists(shown_file(pid)));
	/* Not while it lives. */
	EXPECT_EQ(stats_remove_stale(), 0u);
	EXPECT_TRUE(exists(shown_file(pid)));
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_TRUE(exists(shown_file(pid)));
	start();
	EXPECT_FALSE(exists(shown_file(pid)));
}

/* Numbers of processes are used again: it is the one that began then. */
TEST_F(Stats, AnotherProcessOfTheSameNumberIsAnother)
{
	start();
	look();
	seen.head.start_ticks++;
	EXPECT_EQ(stats_life_of(&seen.head), STATS_DEAD);
	seen.head.start_ticks--;
	seen.head.pid_ns++;
	EXPECT_EQ(stats_life_of(&seen.head), STATS_UNKNOWN);
}

TEST_F(Stats, MoreConnectionsThanRecordsAreInTheTotals)
{
	std::vector<struct stats_record *> all;
	constexpr unsigned int more = 3;

	stats_get(&options);
	look();
	/* Of the tests before. */
	const uint64_t messages = seen.head.total[1].counters.messages;
	const uint64_t times = histogram_count(
		&seen.head.total[1].time[STATS_COMPLETION]);
	for (unsigned int i = 0; i < STATS_RECORDS + more; i++) {
		struct stats_record *r = stats_record_new();

		ASSERT_TRUE(r);
		stats_record_begin(r);
		r->sender = 1;
		stats_record_open(r);
		r->counters.messages = 1;
		histogram_add(&r->time[STATS_COMPLETION], 1000);
		all.push_back(r);
	}
	look();
	EXPECT_EQ(seen.count, STATS_RECORDS);
	EXPECT_EQ(seen.head.unlisted, more);
	for (struct stats_record *r : all)
		stats_record_close(r);
	look();
	EXPECT_EQ(seen.head.unlisted, 0u);
	EXPECT_EQ(seen.head.total[1].counters.messages, messages + more);
	EXPECT_EQ(histogram_count(&seen.head.total[1].time[STATS_COMPLETION]),
		  times + more);
	/* The place of one that is closed is given to a new one. */
	all[0] = stats_record_new();
	look();
	EXPECT_EQ(seen.count, STATS_RECORDS - 1);
	EXPECT_EQ(seen.head.total[1].counters.messages, messages + more + 1);
	stats_record_close(all[0]);
	stats_put();
	/* What was counted before is not forgotten with the file. */
	stats_get(&options);
	look();
	EXPECT_EQ(seen.head.total[1].counters.messages,
		  messages + STATS_RECORDS + more);
	stats_put();
}

} // namespace
