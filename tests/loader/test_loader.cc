// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_loader.cc - the plugin as NCCL's own loader finds, chooses, initialises
 * and unloads it.
 */
#include <dirent.h>

#include "communicator.h"

namespace {

size_t entries(const char *directory)
{
	DIR *dir = opendir(directory);
	size_t count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

/* By each table, with newer ones hidden. */
class LoaderTable : public testing::TestWithParam<int> {
protected:
	void in_process(const Environment &e, std::function<void()> body)
	{
		newest_table = GetParam();
		::in_process(e, body);
	}
};

INSTANTIATE_TEST_SUITE_P(, LoaderTable, testing::Range(8, NEWEST_TABLE + 1),
			 [](auto &table) {
				 return "v" + std::to_string(table.param);
			 });

TEST_P(LoaderTable, IsTheNewestOfBoth)
{
	in_process(by_name, [this] {
		Comm comm("devmem");

		ASSERT_EQ(comm.result(), ncclSuccess);
		EXPECT_EQ(comm.name(), "devmem");
		EXPECT_EQ(comm.version(), GetParam());
	});
}

TEST_P(LoaderTable, MovesMessagesBothWays)
{
	in_process(by_name, [] {
		Comm a("devmem"), b("devmem");

		ASSERT_EQ(a.result(), ncclSuccess);
		ASSERT_EQ(b.result(), ncclSuccess);
		for (size_t size : {1, 100, 1 << 20}) {
			one_way(a, b, size);
			one_way(b, a, size);
		}
	});
}

/* NCCL 2.28 forgets the plugin's name in between: it finds the other one. */
TEST_P(LoaderTable, ServesCommunicatorsOneAfterTheOther)
{
	in_process(by_name, [] {
		size_t files = 0;

		for (int i = 0; i < 5; i++) {
			{
				Comm comm("devmem");

				ASSERT_EQ(comm.result(), ncclSuccess) << i;
				one_way(comm, comm, 1000);
			}
			if (!i)
				files = entries("/proc/self/fd");
		}
		EXPECT_EQ(entries("/proc/self/fd"), files);
		EXPECT_EQ(entries("/proc/self/task"), 3u) << "., .. and one";
	});
}

/* An error of init, or no device: NCCL goes on without us, and does not crash. */
TEST_P(LoaderTable, ThatFailsGivesWayToSocket)
{
	in_process(with(by_name, "NCCL_DEVMEM_FLOWS", "many"), [] {
		for (int i = 0; i < 2; i++) {
			Comm comm(nullptr);

			EXPECT_EQ(comm.name(), "Socket");
		}
		EXPECT_NE(nccl_log.find("WARN NET/devmem NCCL_DEVMEM_FLOWS"),
			  std::string::npos);
	});
}

TEST_P(LoaderTable, ThatFailsIsAnErrorWhereItIsDemanded)
{
	in_process(with(by_name, "NCCL_DEVMEM_FLOWS", "many"), [] {
		Comm comm("devmem");

		EXPECT_EQ(comm.result(), ncclInvalidUsage);
	});
}

TEST(Loader, FindsTheDefaultName)
{
	in_process({}, [] {
		Comm comm(nullptr);

		EXPECT_EQ(comm.name(), "devmem");
	});
}

TEST(Loader, TakesTheFirstOfAListThatThereIs)
{
	if (!has_lists(static_cast<ncclComm *>(nullptr), 0))
		GTEST_SKIP() << "this NCCL takes one name";
	in_process({{"NCCL_NET_PLUGIN", "none-such,devmem"}}, [] {
		Comm comm("devmem");

		EXPECT_EQ(comm.name(), "devmem");
	});
}

TEST(Loader, LeavesOutWhatIsNotAskedFor)
{
	in_process(by_name, [] {
		Comm comm("Socket");

		EXPECT_EQ(comm.name(), "Socket");
	});
}

} // namespace
