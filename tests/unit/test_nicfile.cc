// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_nicfile.cc - the file that keeps a NIC's original settings: what is
 * written is read again, and what makes no sense is refused, since it would
 * become settings of a NIC.
 */
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "c_headers.h"

namespace {

using Original = std::unique_ptr<nic_original>;

Original some_original()
{
	Original o(new nic_original());

	o->nic = 0xfe5400123456;
	o->split_changed = true;
	o->split = 1;
	o->hds_thresh = -1;
	o->owner[6] = o->owner[7] = 4194303;
	o->owner[NICFILE_QUEUES - 1] = NICFILE_NOBODY;
	o->rules = 3;
	o->rule[0] = 0;
	o->rule[1] = 1023;
	o->rule[2] = UINT32_MAX;
	o->indir_count = 128;
	for (uint32_t i = 0; i < 128; i++)
		o->indir[i] = i % 8;
	return o;
}

std::string text_of(const nic_original &o)
{
	std::string s(64 << 10, '\0');

	s.resize(nicfile_format(&o, s.data(), s.size()));
	return s;
}

bool same(const nic_original &a, const nic_original &b)
{
	return text_of(a) == text_of(b);
}

TEST(NicFile, WhatIsWrittenIsReadAgain)
{
	Original o = some_original(), back(new nic_original());

	ASSERT_EQ(nicfile_parse(text_of(*o).c_str(), back.get()), 0);
	EXPECT_EQ(back->nic, 0xfe5400123456u);
	EXPECT_TRUE(back->split_changed);
	EXPECT_EQ(back->split, 1);
	EXPECT_EQ(back->hds_thresh, -1);
	EXPECT_FALSE(back->ntuple_changed);
	EXPECT_EQ(back->owner[6], 4194303);
	EXPECT_EQ(back->owner[NICFILE_QUEUES - 1], NICFILE_NOBODY);
	EXPECT_EQ(back->owner[5], 0);
	EXPECT_EQ(back->rules, 3u);
	EXPECT_EQ(back->rule[2], UINT32_MAX);
	EXPECT_EQ(back->indir_count, 128u);
	EXPECT_TRUE(same(*o, *back));
}

TEST(NicFile, TheLargestFits)
{
	Original o = some_original(), back(new nic_original());

	o->rules = NICFILE_RULES;
	o->indir_count = ETH_MAX_INDIR;
	for (uint32_t i = 0; i < NICFILE_RULES; i++)
		o->rule[i] = UINT32_MAX - i;
	for (uint32_t i = 0; i < ETH_MAX_INDIR; i++)
		o->indir[i] = NICFILE_QUEUES - 1;
	for (int32_t &q : o->owner)
		q = INT32_MAX;
	ASSERT_EQ(nicfile_parse(text_of(*o).c_str(), back.get()), 0);
	EXPECT_TRUE(same(*o, *back));
}

TEST(NicFile, AFileCutShortAnywhereIsRefused)
{
	std::string text = text_of(*some_original());
	Original o(new nic_original());

	for (size_t n = 0; n < text.size(); n++)
		EXPECT_EQ(nicfile_parse(text.substr(0, n).c_str(), o.get()),
			  -EINVAL) << n;
}

TEST(NicFile, WhatALongerTextLeftBehindTheEndIsNotRead)
{
	Original o = some_original(), back(new nic_original());
	std::string text = text_of(*o) + "3 4 5\nend\n";

	ASSERT_EQ(nicfile_parse(text.c_str(), back.get()), 0);
	EXPECT_TRUE(same(*o, *back));
}

TEST(NicFile, NumbersOutOfRangeAreRefused)
{
	const char *good =
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues\nrules\nindir\nend\n";
	const char *bad[] = {
		"version 2\nnic 1\nsplit 1 3 -1\nntuple 0\nqueues\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 -1 -1\nntuple 0\nqueues\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1\nntuple 0\nqueues\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1 4\nntuple 0\nqueues\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 2\nqueues\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues 1024 7\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues -1 7\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues 6 0\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues 6\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues 6 2147483648\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues\nrules 4294967296\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues\nrules x\nindir\nend\n",
		"version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues\nrules\nindir 5000\nend\n",
		"version 2\nnic 1\nntuple 0\nsplit 1 1 -1\nqueues\nrules\nindir\nend\n",
		"version 2\nnic 1\nsplit 99999999999999999999 1 -1\nntuple 0\n",
	};
	Original o(new nic_original());

	EXPECT_EQ(nicfile_parse(good, o.get()), 0);
	for (const char *text : bad)
		EXPECT_EQ(nicfile_parse(text, o.get()), -EINVAL) << text;
}

TEST(NicFile, OtherVersionsAreRefused)
{
	std::string rest =
		"nic 1\nsplit 1 1 -1\nntuple 0\nqueues\nrules\nindir\nend\n";
	Original o(new nic_original());

	EXPECT_EQ(nicfile_parse(("version 2\n" + rest).c_str(), o.get()), 0);
	for (const char *first : { "", "version 1\n", "version 3\n",
				   "version\n", "version 2 2\n" })
		EXPECT_EQ(nicfile_parse((first + rest).c_str(), o.get()),
			  -EINVAL) << first;
}

TEST(NicFile, TooManyNumbersAreRefused)
{
	std::string text = "version 2\nnic 1\nsplit 1 1 -1\nntuple 0\nqueues\nrules";
	Original o(new nic_original());

	for (int i = 0; i <= NICFILE_RULES; i++)
		text += " 1";
	text += "\nindir\nend\n";
	EXPECT_EQ(nicfile_parse(text.c_str(), o.get()), -EINVAL);
}

/* The lock is the NIC's: number 0 is no interface, so nobody else has it. */
class NicFileLock : public ::testing::Test {
protected:
	void SetUp() override
	{
		int rc = nicfile_lock(&file, 0, true);

		if (rc == -EACCES || rc == -EROFS || rc == -EPERM)
			GTEST_SKIP() << "/run cannot be written here";
		ASSERT_EQ(rc, 0);
	}
	void TearDown() override
	{
		nicfile_remove(&file);
		nicfile_unlock(&file);
	}
	nicfile file = { -1, "" };
};

TEST_F(NicFileLock, IsEmptyUntilWritten)
{
	Original o(new nic_original());

	EXPECT_EQ(nicfile_read(&file, o.get()), -ENOENT);
	ASSERT_EQ(nicfile_write(&file, some_original().get()), 0);
	ASSERT_EQ(nicfile_read(&file, o.get()), 0);
	EXPECT_TRUE(same(*o, *some_original()));
}

TEST_F(NicFileLock, KeepsOthersOutForABoundedTime)
{
	nicfile other;

	EXPECT_EQ(nicfile_lock(&other, 0, true), -EBUSY);
	EXPECT_EQ(other.fd, -1);
}

/* Writing makes another file; the lock is the NIC's all the same. */
TEST_F(NicFileLock, IsKeptWhileItIsWritten)
{
	nicfile other;

	ASSERT_EQ(nicfile_write(&file, some_original().get()), 0);
	ASSERT_EQ(nicfile_write(&file, some_original().get()), 0);

	EXPECT_EQ(nicfile_lock(&other, 0, true), -EBUSY);
	EXPECT_EQ(other.fd, -1);
}

/* A writer that is killed leaves what it had; and not what it was making. */
TEST_F(NicFileLock, WhatAKilledWriterWasMakingDoesNotCount)
{
	Original o(new nic_original());
	std::string path = std::string(file.path) + ".new";
	FILE *f;

	ASSERT_EQ(nicfile_write(&file, some_original().get()), 0);
	f = fopen(path.c_str(), "we");
	ASSERT_NE(f, nullptr);
	fputs("version 2\nnic", f);
	fclose(f);
	ASSERT_EQ(nicfile_read(&file, o.get()), 0);
	EXPECT_TRUE(same(*o, *some_original()));
	nicfile_remove(&file);
	EXPECT_NE(access(path.c_str(), F_OK), 0);
	EXPECT_NE(access(file.path, F_OK), 0);
}

TEST_F(NicFileLock, IsListed)
{
	unsigned int ifindex[64];
	size_t count, elsewhere;
	bool found = false;

	ASSERT_EQ(nicfile_list(ifindex, 64, &count, &elsewhere), 0);
	for (size_t i = 0; i < count; i++)
		found |= ifindex[i] == 0;
	EXPECT_TRUE(found);
	nicfile_remove(&file);
	ASSERT_EQ(nicfile_list(ifindex, 64, &count, &elsewhere), 0);
	for (size_t i = 0; i < count; i++)
		EXPECT_NE(ifindex[i], 0u);
}

TEST_F(NicFileLock, EndsWithTheProcess)
{
	nicfile other;
	int status;
	pid_t pid;

	nicfile_unlock(&file);
	pid = fork();
	if (!pid)
		_exit(nicfile_lock(&other, 0, true) ? 1 : 0);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	EXPECT_EQ(nicfile_lock(&file, 0, true), 0);
}

/* A loader of training data, say, that was started meanwhile, and stays. */
TEST_F(NicFileLock, IsNotKeptByAChildOfFork)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		pause();
		_exit(0);
	}
	EXPECT_EQ(nicfile_write(&file, some_original().get()), 0);
	nicfile_unlock(&file);
	EXPECT_EQ(nicfile_lock(&file, 0, true), 0);
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);

	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	nicfile_unlock(&file);
	EXPECT_EQ(nicfile_lock(&file, 0, true), 0);
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
}

TEST_F(NicFileLock, AFileThatOthersCanWriteIsNotBelieved)
{
	nicfile other;

	nicfile_unlock(&file);
	ASSERT_EQ(chmod(file.path, 0666), 0);
	EXPECT_EQ(nicfile_lock(&other, 0, true), -EPERM);
	ASSERT_EQ(chmod(file.path, 0600), 0);
	EXPECT_EQ(nicfile_lock(&file, 0, true), 0);
}

} // namespace
