// SPDX-License-Identifier: BSD-3-Clause
/* test_table.cc - T1..T8, T31, T35, T36: the library, its table, contexts. */
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <set>
#include <thread>

#include "fixture.h"

namespace {

/* Names of the symbols that a shared object defines for others to use. */
std::set<std::string> exported_symbols(const std::string &path)
{
	std::set<std::string> names;
	struct stat st = {};
	int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		return names;
	void *map = mmap(nullptr, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return names;
	const char *base = static_cast<const char *>(map);
	auto *elf = reinterpret_cast<const Elf64_Ehdr *>(base);
	auto *section = reinterpret_cast<const Elf64_Shdr *>(base +
							     elf->e_shoff);
	for (int i = 0; i < elf->e_shnum; i++) {
		if (section[i].sh_type != SHT_DYNSYM)
			continue;
		auto *symbol = reinterpret_cast<const Elf64_Sym *>(
			base + section[i].sh_offset);
		const char *text = base + section[section[i].sh_link].sh_offset;
		size_t count = section[i].sh_size / sizeof(*symbol);
		for (size_t j = 0; j < count; j++)
			if (symbol[j].st_shndx != SHN_UNDEF &&
			    ELF64_ST_BIND(symbol[j].st_info) != STB_LOCAL)
				names.insert(text + symbol[j].st_name);
	}
	munmap(map, st.st_size);
	return names;
}

/* `prefix` and a number, no more. */
bool is_table(const std::string &name, const std::string &prefix)
{
	size_t length = prefix.size();

	return name.size() > length && !name.compare(0, length, prefix) &&
	       name.find_first_not_of("0123456789", length) ==
		       std::string::npos;
}

/* A process that has not loaded the plugin, with these variables set. */
class Fresh : public testing::Test {
protected:
	void SetUp() override
	{
		plugin_log::reset();
		side_ = std::make_unique<RemoteSide>();
		ASSERT_TRUE(side_->started());
		fds_ = side_->fds();
		threads_ = side_->threads();
	}

	void expect_nothing_left()
	{
		side_->close();
		EXPECT_EQ(side_->fds(), fds_);
		EXPECT_EQ(side_->threads(), threads_);
	}

	std::unique_ptr<RemoteSide> side_;
	int fds_ = 0, threads_ = 0;
};

using Table = Conformance;

} // namespace

TEST(Library, T1_ExportsTheTablesAndNothingElse)
{
	std::set<std::string> names = exported_symbols(plugin_path);

	EXPECT_TRUE(names.count("ncclNetPlugin_v11"));
	for (const std::string &name : names)
		EXPECT_TRUE(is_table(name, "ncclNetPlugin_v") ||
			    is_table(name, "ncclTunerPlugin_v"))
			<< name << " is exported too";
}

TEST_F(Table, T2_SlotsThatNcclCallsAreNotNull)
{
	const ncclNet_v11_t *net = local().table();

	ASSERT_NE(net->name, nullptr);
	EXPECT_GT(strlen(net->name), 0u);
	EXPECT_NE(net->init, nullptr);
	EXPECT_NE(net->devices, nullptr);
	EXPECT_NE(net->getProperties, nullptr);
	EXPECT_NE(net->listen, nullptr);
	EXPECT_NE(net->connect, nullptr);
	EXPECT_NE(net->accept, nullptr);
	EXPECT_NE(net->regMr, nullptr);
	EXPECT_NE(net->deregMr, nullptr);
	EXPECT_NE(net->isend, nullptr);
	EXPECT_NE(net->irecv, nullptr);
	EXPECT_NE(net->iflush, nullptr);
	EXPECT_NE(net->test, nullptr);
	EXPECT_NE(net->closeSend, nullptr);
	EXPECT_NE(net->closeRecv, nullptr);
	EXPECT_NE(net->closeListen, nullptr);
	EXPECT_NE(net->finalize, nullptr);
	if (properties().ptrSupport & NCCL_PTR_DMABUF) {
		EXPECT_NE(net->regMrDmaBuf, nullptr);
	}
	if (properties().netDeviceType != NCCL_NET_DEVICE_HOST) {
		EXPECT_NE(net->getDeviceMr, nullptr);
	}
}

TEST_F(Table, T3_GetPropertiesSetsEveryField)
{
	ncclNetProperties_v11_t a, b;
	auto *byte_a = reinterpret_cast<unsigned char *>(&a);
	auto *byte_b = reinterpret_cast<unsigned char *>(&b);
	std::set<size_t> free_bytes; /* padding, and unused vProps.devs */

	memset(&a, 0xa5, sizeof(a));
	memset(&b, 0x5a, sizeof(b));
	ASSERT_EQ(local().properties(test_device(), &a), ncclSuccess);
	ASSERT_EQ(local().properties(test_device(), &b), ncclSuccess);

	ASSERT_GE(a.vProps.ndevs, 1);
	ASSERT_LE(a.vProps.ndevs, NCCL_NET_MAX_DEVS_PER_NIC_V11);
	size_t devs = offsetof(ncclNetProperties_v11_t, vProps.devs);
	for (size_t i = devs + 4 * a.vProps.ndevs; i < 88; i++)
		free_bytes.insert(i);
	for (size_t i = 108; i < sizeof(a); i++)
		free_bytes.insert(i);
	for (size_t i = 0; i < sizeof(a); i++)
		if (!free_bytes.count(i)) {
			EXPECT_EQ(byte_a[i], byte_b[i])
				<< "byte " << i << " of the properties";
		}
}

TEST_F(Table, T3_PropertiesAreWithinNcclsRanges)
{
	std::set<std::string> names;
	int count = 0;

	ASSERT_EQ(local().devices(&count), ncclSuccess);
	for (int dev = 0; dev < count; dev++) {
		ncclNetProperties_v11_t props = {};
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
		for (int i = 0; i < props.vProps.ndevs; i++) {
			EXPECT_GE(props.vProps.devs[i], 0);
			EXPECT_LT(props.vProps.devs[i], count);
		}
	}
}

TEST_F(Table, T4_ADeviceOutOfRangeIsAnError)
{
	int count = 0;

	ASSERT_EQ(local().devices(&count), ncclSuccess);
	for (int dev : {-1, count, count + 1, INT_MAX, INT_MIN}) {
		ncclNetProperties_v11_t props = {};
		Handle handle = {};

		EXPECT_NE(local().properties(dev, &props), ncclSuccess) << dev;
		Got got = local().listen(ctx(), dev, handle);
		EXPECT_FALSE(got.ok() && got.pointer) << "listen " << dev;
		got = local().connect(ctx(), dev, handle);
		EXPECT_NE(got.result, ncclSuccess) << "connect " << dev;
	}
}

TEST_F(Table, T5_EachInitGivesItsOwnContext)
{
	std::set<void *> contexts = {ctx()};
	constexpr int count = 16;

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

TEST_F(Fresh, T6_FinalizeOfNullDoesNotCrash)
{
	ASSERT_EQ(side_->open(), "");
	/* Any result will do: NCCL ignores it. */
	EXPECT_LT(side_->finalize(nullptr), peer_gone);
	Got got = side_->init();
	ASSERT_EQ(got.result, ncclSuccess);
	EXPECT_LT(side_->finalize(nullptr), peer_gone);
	EXPECT_EQ(side_->finalize(got.pointer), ncclSuccess);
	expect_nothing_left();
}

TEST_F(Fresh, T7_AFailedInitLeavesNothingBehind)
{
	int count = 0;

	side_->set_env("NCCL_SOCKET_IFNAME", "=nosuchnic");
	side_->set_env("NCCL_DEVMEM_IFNAME", "=nosuchnic");
	ASSERT_EQ(side_->open(), "");
	Got got = side_->init();
	ASSERT_LT(got.result, peer_gone);
	if (got.ok()) {
		ASSERT_EQ(side_->devices(&count), ncclSuccess);
	}
	EXPECT_TRUE(!got.ok() || count == 0)
		<< "devices are offered although no interface matches";
	/* NCCL 2.28 finalizes in both cases. */
	EXPECT_LT(side_->finalize(got.pointer), peer_gone);
	expect_nothing_left();
}

TEST_F(Fresh, T7_ABadParameterIsNamedInOneWarning)
{
	if (plugin_name() != "devmem")
		GTEST_SKIP() << "parameters of another plugin";
	side_->set_env("NCCL_DEVMEM_FLOWS", "banana");
	ASSERT_EQ(side_->open(), "");
	Got got = side_->init();
	EXPECT_EQ(got.result, ncclInvalidUsage) << result_name(got.result);
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

TEST_F(Fresh, T8_AHundredLoadsLeaveNoDescriptorAndNoThread)
{
	for (int i = 0; i < 100; i++) {
		int count = 0;

		ASSERT_EQ(side_->open(), "");
		Got got = side_->init();
		ASSERT_EQ(got.result, ncclSuccess);
		ASSERT_EQ(side_->devices(&count), ncclSuccess);
		ASSERT_EQ(side_->finalize(got.pointer), ncclSuccess);
		side_->close();
		ASSERT_EQ(side_->fds(), fds_) << "after load " << i;
		ASSERT_EQ(side_->threads(), threads_) << "after load " << i;
	}
}

TEST_F(Table, T31_SetNetAttrFromTwoThreads)
{
	if (!local().table()->setNetAttr)
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

TEST_F(Table, T35_NothingIsLoggedAfterFinalize)
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

TEST_F(Table, T36_EveryDescriptorIsCloseOnExec)
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
