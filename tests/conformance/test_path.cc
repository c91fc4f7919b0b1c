// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_path.cc - of the devmem plugin only: which way bytes took is said in
 * one line per direction, and NCCL_DEVMEM_REQUIRE refuses any other way.
 */
#include <algorithm>
#include <cstdlib>
#include <string>

#include "fixture.h"

namespace {

class Path : public Conformance {
protected:
	void SetUp() override
	{
		Conformance::SetUp();
		if (!HasFatalFailure() &&
		    std::string(local().table()->name()) != "devmem")
			GTEST_SKIP() << "the log of another plugin";
	}

	static long value(const std::string &line, const std::string &key)
	{
		size_t at = line.find(" " + key + "=");

		return at == std::string::npos ?
			       -1 : atol(&line[at + key.size() + 2]);
	}
};

TEST_P(Path, OneLinePerDirectionWhenItOpensAndWhenItIsDone)
{
	constexpr long size = 300000;
	{
		Pair pair(there(), here());

		ASSERT_TRUE(pair.connect());
		ASSERT_TRUE(pair.exchange(size, 1));
		ASSERT_TRUE(pair.exchange(100, 2));
	}
	auto recv_open = plugin_log::containing("path recv open");
	auto recv_done = plugin_log::containing("path recv done");
	auto send_open = plugin_log::containing("path send open");
	auto send_done = plugin_log::containing("path send done");
	ASSERT_EQ(recv_open.size(), 1u) << plugin_log::all();
	ASSERT_EQ(recv_done.size(), 1u) << plugin_log::all();
	ASSERT_EQ(send_open.size(), 1u) << plugin_log::all();
	ASSERT_EQ(send_done.size(), 1u) << plugin_log::all();
	for (const char *key : {" nic=", " peer=", " flows="}) {
		EXPECT_NE(recv_open[0].find(key), std::string::npos) << key;
		EXPECT_NE(send_open[0].find(key), std::string::npos) << key;
	}
	const char *rx = getenv("CONFORMANCE_EXPECT_RX");
	for (const std::string &line : {recv_open[0], recv_done[0]})
		EXPECT_NE(line.find(std::string(" rx=") + (rx ? rx : "")),
			  std::string::npos) << line;
	EXPECT_NE(send_open[0].find(" tx="), std::string::npos);

	/* Every byte of both messages is in exactly one counter. */
	const std::string &done = recv_done[0];
	long devmem = value(done, "devmem"), host = value(done, "host");
	long linear = value(done, "linear"), in_line = value(done, "inline");
	/* Only said where the pool is filled by copying. */
	long emulated = std::max(value(done, "emulated"), 0l);
	EXPECT_EQ(devmem + emulated + host + linear + in_line, size + 100)
		<< done;
	EXPECT_EQ(value(done, "messages"), 2) << done;
	EXPECT_EQ(value(done, "tokens"), value(done, "returned")) << done;
	EXPECT_EQ(value(send_done[0], "messages"), 2) << send_done[0];
}

TEST_P(Path, AHostPathSaysWhy)
{
	{
		Pair pair(there(), here());
		ASSERT_TRUE(pair.connect());
	}
	for (const std::string &line : plugin_log::containing("recv open"))
		if (line.find(" rx=host") != std::string::npos) {
			EXPECT_NE(line.find("reason=\""), std::string::npos)
				<< line;
		}
}

using PathRequired = testing::TestWithParam<int>;

/* lo is no NIC: devmem cannot be had on it. */
TEST_P(PathRequired, RefusesTheHostPathAndSaysWhy)
{
	int count = 0;

	if (plugin_name() != "devmem")
		GTEST_SKIP() << "a parameter of another plugin";
	plugin_log::reset();
	RemoteSide side;
	ASSERT_TRUE(side.started());
	side.set_env("NCCL_DEVMEM_REQUIRE", "rx");
	side.set_env("NCCL_DEVMEM_IFNAME", "=lo");
	ASSERT_EQ(side.open(GetParam()), "");
	Got got = side.init();
	bool refused = !got.ok() || side.devices(&count) || count == 0;
	if (!refused) {
		Pair pair({&side, got.pointer}, {&side, got.pointer});
		refused = !pair.connect();
	}
	EXPECT_TRUE(refused) << "a connection was made on the host path";
	EXPECT_FALSE(plugin_log::containing("NCCL_DEVMEM_REQUIRE").empty())
		<< "nothing named the variable\n" << plugin_log::all();
	side.finalize(got.pointer);
}

EACH_TABLE(Path);
EACH_TABLE(PathRequired);

} // namespace
