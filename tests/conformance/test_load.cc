// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_load.cc - T6..T8, T38, T39: loading, failing and loading again, in a
 * process that is fresh for each test, with variables and addresses of its own.
 */
#include <cstdlib>
#include <cstring>

#include "fixture.h"

namespace {

/* A process that has not loaded the plugin, with these variables set. */
class Fresh : public testing::TestWithParam<int> {
protected:
	void SetUp() override
	{
		memory::reset();
		plugin_log::reset();
		side_ = std::make_unique<RemoteSide>();
		ASSERT_TRUE(side_->started());
		fds_ = side_->fds();
		threads_ = side_->threads();
	}

	bool has_contexts() const { return GetParam() >= 11; }

	void set_ifname(const std::string &ifname)
	{
		side_->set_env("NCCL_SOCKET_IFNAME", ifname);
		side_->set_env("NCCL_DEVMEM_IFNAME", ifname);
	}

	/* A communicator's life, with one message in it. */
	void load_and_use()
	{
		ncclNetProperties_v12_t props = {};
		int count = 0;

		ASSERT_EQ(side_->open(GetParam()), "");
		Got got = side_->init();
		ASSERT_EQ(got.result, ncclSuccess) << plugin_log::all();
		ASSERT_EQ(side_->devices(&count), ncclSuccess);
		ASSERT_GT(count, test_device()) << plugin_log::all();
		ASSERT_EQ(side_->properties(test_device(), &props),
			  ncclSuccess);
		{
			Pair pair({side_.get(), got.pointer},
				  {side_.get(), got.pointer});

			ASSERT_TRUE(pair.connect()) << plugin_log::all();
			EXPECT_TRUE(pair.exchange(100, 1));
			EXPECT_TRUE(pair.exchange(300000, 2));
		}
		EXPECT_EQ(side_->finalize(got.pointer), ncclSuccess);
	}

	void expect_nothing_left()
	{
		side_->close();
		if (!leaves_nothing(GetParam()))
			return;
		EXPECT_EQ(side_->fds(), fds_);
		EXPECT_EQ(threads_left(*side_, threads_), threads_);
	}

	std::unique_ptr<RemoteSide> side_;
	int fds_ = 0, threads_ = 0;
};

TEST_P(Fresh, T6_FinalizeOfNullDoesNotCrash)
{
	if (!has_contexts())
		GTEST_SKIP() << "there is no finalize in this version";
	ASSERT_EQ(side_->open(GetParam()), "");
	/* Any result will do: NCCL ignores it. */
	EXPECT_LT(side_->finalize(nullptr), peer_gone);
	Got got = side_->init();
	ASSERT_EQ(got.result, ncclSuccess);
	EXPECT_LT(side_->finalize(nullptr), peer_gone);
	EXPECT_EQ(side_->finalize(got.pointer), ncclSuccess);
	expect_nothing_left();
}

/* NCCL 2.28 crashes when init fails below version 11: no device is enough. */
TEST_P(Fresh, T7_AFailedInitLeavesNothingBehind)
{
	int count = 0;

	set_ifname("=nosuchnic");
	ASSERT_EQ(side_->open(GetParam()), "");
	Got got = side_->init();
	ASSERT_LT(got.result, peer_gone);
	if (!has_contexts()) {
		EXPECT_EQ(got.result, ncclSuccess);
	}
	if (got.ok()) {
		ASSERT_EQ(side_->devices(&count), ncclSuccess);
	}
	EXPECT_TRUE(!got.ok() || count == 0)
		<< "devices are offered although no interface matches";
	/* NCCL 2.28 finalizes in both cases. */
	EXPECT_LT(side_->finalize(got.pointer), peer_gone);
	expect_nothing_left();
}

TEST_P(Fresh, T7_ABadParameterIsNamedInOneWarning)
{
	if (plugin_name() != "devmem")
		GTEST_SKIP() << "parameters of another plugin";
	side_->set_env("NCCL_DEVMEM_FLOWS", "banana");
	ASSERT_EQ(side_->open(GetParam()), "");
	Got got = side_->init();
	if (has_contexts()) {
		EXPECT_EQ(got.result, ncclInvalidUsage);
	} else {
		int count = -1;

		EXPECT_EQ(got.result, ncclSuccess);
		EXPECT_EQ(side_->devices(&count), ncclSuccess);
		EXPECT_EQ(count, 0);
	}
	std::vector<std::string> said;
	for (const auto &line : plugin_log::lines())
		if (line.level == NCCL_LOG_WARN)
			said.push_back(line.text);
	ASSERT_EQ(said.size(), 1u) << plugin_log::all();
	EXPECT_NE(said[0].find("NCCL_DEVMEM_FLOWS"), std::string::npos)
		<< said[0];
	EXPECT_NE(said[0].find("banana"), std::string::npos) << said[0];
	side_->finalize(got.pointer);
	expect_nothing_left();
}

TEST_P(Fresh, T8_AHundredLoadsLeaveNoDescriptorAndNoThread)
{
	for (int i = 0; i < 100; i++) {
		int count = 0;

		ASSERT_EQ(side_->open(GetParam()), "");
		Got got = side_->init();
		ASSERT_EQ(got.result, ncclSuccess);
		ASSERT_EQ(side_->devices(&count), ncclSuccess);
		ASSERT_EQ(side_->finalize(got.pointer), ncclSuccess);
		side_->close();
		if (!i && !leaves_nothing(GetParam())) {
			fds_ = side_->fds(); /* but not more each time */
			threads_ = side_->threads();
		}
		ASSERT_EQ(side_->fds(), fds_) << "after load " << i;
		ASSERT_EQ(threads_left(*side_, threads_), threads_)
			<< "after load " << i;
	}
}

/* What the loader of NCCL does around a plugin that fails at first. */
TEST_P(Fresh, T38_AFailedLoadDoesNotSpoilTheNext)
{
	const char *peer = getenv("CONFORMANCE_PEER_IFNAME");
	const char *own = getenv("NCCL_DEVMEM_IFNAME");
	const char *socket = getenv("NCCL_SOCKET_IFNAME");
	std::string good = peer ? peer : own ? own : socket ? socket : "";
	int count = 0;

	for (int round = 0; round < 3 && !HasFailure(); round++) {
		set_ifname("=nosuchnic");
		ASSERT_EQ(side_->open(GetParam()), "");
		Got got = side_->init();
		ASSERT_LT(got.result, peer_gone);
		/* None, though there were some the last time. */
		if (got.ok() && !side_->devices(&count)) {
			EXPECT_EQ(count, 0) << "round " << round;
		}
		EXPECT_LT(side_->finalize(got.pointer), peer_gone);
		side_->close();
		set_ifname(good);
		load_and_use();
		expect_nothing_left();
	}
}

TEST_P(Fresh, T38_CommunicatorsOneAfterTheOther)
{
	for (int round = 0; round < 5 && !HasFailure(); round++) {
		load_and_use();
		expect_nothing_left();
	}
}

TEST_P(Fresh, T39_IPv4AloneWillDo)
{
	std::string reason = side_->own_network(4);

	if (!reason.empty())
		GTEST_SKIP() << reason;
	set_ifname("=lo");
	load_and_use();
	expect_nothing_left();
}

TEST_P(Fresh, T39_IPv6AloneWillDo)
{
	std::string reason = side_->own_network(6);

	if (!reason.empty())
		GTEST_SKIP() << reason;
	set_ifname("=lo");
	/* NCCL's own variable; ours takes what there is. */
	side_->set_env("NCCL_SOCKET_FAMILY", "AF_INET6");
	load_and_use();
	expect_nothing_left();
}

EACH_TABLE(Fresh);

} // namespace
