// SPDX-License-Identifier: BSD-3-Clause
/* test_table.cc - T1..T5, T31, T34..T36: the library, its tables, contexts. */
#include <fcntl.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <set>
#include <thread>

#include "fixture.h"

namespace {

/* `prefix` and a number, no more. */
bool is_table(const std::string &name, const std::string &prefix)
{
	size_t length = prefix.size();

	return name.size() > length && !name.compare(0, length, prefix) &&
	       name.find_first_not_of("0123456789", length) ==
		       std::string::npos;
}

using Slots = Conformance;

} // namespace

TEST(Library, T1_ExportsTheTablesAndNothingElse)
{
	std::vector<int> versions = exported_tables(plugin_path);
	std::set<std::string> tuners;

	for (const std::string &name : exported_symbols(plugin_path)) {
		EXPECT_TRUE(is_table(name, "ncclNetPlugin_v") ||
			    is_table(name, "ncclCollNetPlugin_v") ||
			    is_table(name, "ncclTunerPlugin_v"))
			<< name << " is exported too";
		if (is_table(name, "ncclTunerPlugin_v"))
			tuners.insert(name);
	}
	if (plugin_name() == "devmem") {
		EXPECT_EQ(versions, (std::vector<int>{8, 9, 10, 11, 12}));
		EXPECT_EQ(tuners,
			  (std::set<std::string>{
				  "ncclTunerPlugin_v2", "ncclTunerPlugin_v3",
				  "ncclTunerPlugin_v4", "ncclTunerPlugin_v5"}));
	}
}

/* NCCL loads one; but two programs in one process may have an NCCL each. */
TEST(Library, T1_TablesOfOneProcessWorkTogether)
{
	if (plugin_name() != "devmem")
		GTEST_SKIP() << "NCCL does not ask it of a plugin";
	memory::reset();
	std::map<int, std::string> before = open_fds();
	std::vector<std::unique_ptr<LocalSide>> sides;
	std::vector<void *> contexts;

	for (int version : tables) {
		sides.push_back(std::make_unique<LocalSide>(plugin_path));
		ASSERT_EQ(sides.back()->open(version), "");
		Got got = sides.back()->init();
		ASSERT_TRUE(got.ok());
		contexts.push_back(got.pointer);
	}
	for (size_t i = 0; i < tables.size(); i++)
		for (size_t j = 0; j < tables.size(); j++) {
			Pair pair({sides[i].get(), contexts[i]},
				  {sides[j].get(), contexts[j]});

			ASSERT_TRUE(pair.connect());
			EXPECT_TRUE(pair.exchange(70000, 10 * i + j))
				<< "from v" << tables[i] << " to v"
				<< tables[j];
		}
	for (size_t i = 0; i < tables.size(); i++)
		EXPECT_EQ(sides[i]->finalize(contexts[i]), ncclSuccess);
	EXPECT_EQ(open_fds(), before);
}

TEST_P(Slots, T2_SlotsThatNcclCallsAreNotNull)
{
	Table *table = local().table();

	EXPECT_EQ(table->missing(), std::vector<std::string>());
	if (properties().ptrSupport & NCCL_PTR_DMABUF) {
		EXPECT_TRUE(table->has(Slot::reg_mr_dmabuf));
	}
	if (properties().netDeviceType != NCCL_NET_DEVICE_HOST) {
		EXPECT_TRUE(table->has(Slot::get_device_mr));
	}
}

TEST_P(Slots, T3_GetPropertiesSetsEveryField)
{
	EXPECT_EQ(local().table()->untouched_properties(test_device()),
		  std::vector<std::string>());
}

TEST_P(Slots, T3_PropertiesAreWithinNcclsRanges)
{
	std::set<std::string> names;
	int count = 0;

	ASSERT_EQ(local().devices(&count), ncclSuccess);
	for (int dev = 0; dev < count; dev++) {
		ncclNetProperties_v12_t props = {};
		std::string name, pci;

		ASSERT_EQ(local().properties(dev, &props, &name, &pci),
			  ncclSuccess);
		EXPECT_FALSE(name.empty());
		EXPECT_TRUE(names.insert(name).second)
			<< "two devices are called " << name;
		if (!pci.empty()) {
			EXPECT_EQ(access(pci.c_str(), F_OK), 0) << pci;
		}
		EXPECT_TRUE(props.ptrSupport & NCCL_PTR_HOST);
		EXPECT_GT(props.speed, 0);
		EXPECT_GE(props.latency, 0);
		EXPECT_GE(props.maxComms, 1);
		EXPECT_GE(props.maxRecvs, 1);
		EXPECT_GT(props.maxP2pBytes, 0u);
		EXPECT_LE(props.maxP2pBytes, NCCL_MAX_NET_SIZE_BYTES);
		EXPECT_GT(props.maxCollBytes, 0u);
		EXPECT_LE(props.maxCollBytes, NCCL_MAX_NET_SIZE_BYTES);
		EXPECT_GE(props.vProps.ndevs, 1);
		ASSERT_LE(props.vProps.ndevs, NCCL_NET_MAX_DEVS_PER_NIC_V12);
		for (int i = 0; i < props.vProps.ndevs; i++) {
			EXPECT_GE(props.vProps.devs[i], 0);
			EXPECT_LT(props.vProps.devs[i], count);
		}
	}
}

TEST_P(Slots, T4_ADeviceOutOfRangeIsAnError)
{
	int count = 0;

	ASSERT_EQ(local().devices(&count), ncclSuccess);
	for (int dev : {-1, count, count + 1, INT_MAX, INT_MIN}) {
		ncclNetProperties_v12_t props = {};
		Handle handle = {};

		EXPECT_NE(local().properties(dev, &props), ncclSuccess) << dev;
		Got got = local().listen(ctx(), dev, handle);
		EXPECT_FALSE(got.ok() && got.pointer) << "listen " << dev;
		got = local().connect(ctx(), dev, handle);
		EXPECT_NE(got.result, ncclSuccess) << "connect " << dev;
	}
}

TEST_P(Slots, T5_EachInitGivesItsOwnContext)
{
	std::set<void *> contexts = {ctx()};
	constexpr int count = 16;

	if (!has_contexts())
		GTEST_SKIP() << "there are none in this version";
	for (int i = 0; i < count; i++) {
		Got got = local().init(100 + i);
		ASSERT_EQ(got.result, ncclSuccess);
		EXPECT_TRUE(contexts.insert(got.pointer).second);
	}
	contexts.erase(ctx());
	for (void *other : contexts)
		EXPECT_EQ(local().finalize(other), ncclSuccess);
	/* Those that are gone took nothing from the one that is left. */
	Pair pair(there(), here());
	ASSERT_TRUE(pair.connect());
	EXPECT_TRUE(pair.exchange(100000, 5));
}

TEST_P(Slots, T31_SetNetAttrFromTwoThreads)
{
	if (!local().table()->has(Slot::set_net_attr))
		GTEST_SKIP() << "the slot is NULL, as it may be";
	std::atomic<int> failed = 0;
	auto set = [&] {
		ncclNetAttr_v11_t attr = {};

		for (int i = 0; i < 2000; i++) {
			attr.sendCommAttr.maxConcurrentPeers = i;
			if (local().set_net_attr(ctx(), attr) != ncclSuccess)
				failed++;
		}
	};
	std::thread one(set), two(set);
	one.join();
	two.join();
	EXPECT_EQ(failed, 0);
}

TEST_P(Slots, T34_AVirtualDeviceIsTheLastOne)
{
	Table *table = local().table();
	ncclNetProperties_v12_t props = properties();
	int before = 0, after = 0, dev = -1;

	if (!table->has(Slot::make_vdevice)) {
		/* Then every device is one by itself. */
		EXPECT_EQ(props.vProps.ndevs, 1);
		EXPECT_EQ(props.vProps.devs[0], test_device());
		return;
	}
	ASSERT_EQ(table->net()->devices(&before), ncclSuccess);
	if (before < 2)
		GTEST_SKIP() << "the plugin has one device";
	/* NCCL takes a refusal, and leaves them as they are. */
	auto make = [&](ncclNetVDeviceProps_v12_t v) {
		return table->net()->makeVDevice(&dev, &v);
	};
	if (make({2, {0, 1}}) != ncclSuccess)
		GTEST_SKIP() << "the plugin makes none of the first two";
	ASSERT_EQ(table->net()->devices(&after), ncclSuccess);
	EXPECT_EQ(dev, after - 1);
	EXPECT_EQ(after, before + 1);
	ASSERT_EQ(local().properties(dev, &props), ncclSuccess);
	ASSERT_EQ(props.vProps.ndevs, 2);
	EXPECT_EQ(props.vProps.devs[0], 0);
	EXPECT_EQ(props.vProps.devs[1], 1);
	std::string name = props.name;
	ASSERT_EQ(local().properties(0, &props), ncclSuccess);
	EXPECT_NE(name, props.name);

	Pair::End one = here();
	one.dev = dev;
	Pair pair(one, one);
	ASSERT_TRUE(pair.connect());
	EXPECT_TRUE(pair.exchange(1 << 20, 34));
	pair.close();

	/* NCCL counts devices once if it never unloads the plugin. */
	ASSERT_NO_FATAL_FAILURE(renew_context());
	one.ctx = ctx();
	ASSERT_EQ(local().properties(dev, &props), ncclSuccess);
	EXPECT_EQ(props.name, name);
	Pair again(one, one);
	ASSERT_TRUE(again.connect());
	EXPECT_TRUE(again.exchange(1 << 20, 35));

	/* Of nothing, of what there is not, and of itself: no. */
	EXPECT_NE(make({0, {}}), ncclSuccess);
	EXPECT_NE(make({2, {0, after}}), ncclSuccess);
	EXPECT_NE(make({2, {0, -1}}), ncclSuccess);
	EXPECT_NE(make({2, {1, 1}}), ncclSuccess);
}

TEST_P(Slots, T35_NothingIsLoggedAfterFinalize)
{
	Got got = local().init(77);

	ASSERT_EQ(got.result, ncclSuccess);
	{
		Pair pair(there(), {&local(), got.pointer});
		ASSERT_TRUE(pair.connect());
		ASSERT_TRUE(pair.exchange(4096, 35));
	}
	ASSERT_EQ(local().finalize(got.pointer), ncclSuccess);
	size_t before = plugin_log::lines().size();
	std::this_thread::sleep_for(std::chrono::milliseconds(200));
	EXPECT_EQ(plugin_log::lines().size(), before) << plugin_log::all();
}

TEST_P(Slots, T36_EveryDescriptorIsCloseOnExec)
{
	std::map<int, std::string> before = open_fds();
	Pair pair(there(), here());

	ASSERT_TRUE(pair.connect());
	ASSERT_TRUE(pair.exchange(1 << 20, 36));
	EXPECT_GT(open_fds().size(), before.size());
	for (const auto &[fd, link] : open_fds()) {
		/* Of the plugin since dlopen: all are open now or then. */
		if (link.find("socket:") == 0 || !before.count(fd)) {
			EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC)
				<< fd << " is " << link;
		}
	}
}

EACH_TABLE(Slots);
