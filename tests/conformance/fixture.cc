// SPDX-License-Identifier: BSD-3-Clause
/* fixture.cc - see fixture.h. */
#include "fixture.h"

#include "unpack_abi.h"

#include <dirent.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace {

/* Ends the program when a call into the plugin blocks: nothing else can. */
unsigned test_limit_s()
{
	return 60 + 6 * static_cast<unsigned>(patience().count() / 1000);
}

void call_blocked(int)
{
	static const char text[] = "conformance: a call into the plugin "
		"blocked, or a test never ended\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(1);
}

} // namespace

std::map<int, std::string> open_fds()
{
	std::map<int, std::string> result;
	DIR *dir = opendir("/proc/self/fd");
	char link[256];

	if (!dir)
		return result;
	while (struct dirent *entry = readdir(dir)) {
		int fd = atoi(entry->d_name);
		ssize_t size = readlinkat(dirfd(dir), entry->d_name, link,
					  sizeof(link) - 1);
		if (entry->d_name[0] == '.' || size < 0 || fd == dirfd(dir))
			continue;
		result[fd] = std::string(link, size);
	}
	closedir(dir);
	return result;
}

int threads_left(Side &side, int before)
{
	/* One that has been joined is still on its way out of the kernel's list. */
	auto limit = memory::kind == memory::Kind::cuda ?
			     patience() : std::chrono::milliseconds(200);

	poll_until([&] { return side.threads() == before; }, limit);
	return side.threads();
}

std::string plugin_name()
{
	static const std::string name = [] {
		LocalSide side(plugin_path);

		return std::string(side.open(tables.back()).empty() ?
					   side.table()->name() : "");
	}();

	return name;
}

bool leaves_nothing(int table)
{
	return table >= 11 || plugin_name() == "devmem";
}

std::string table_name(const testing::TestParamInfo<int> &table)
{
	return "v" + std::to_string(table.param);
}

void Conformance::SetUp()
{
	signal(SIGALRM, call_blocked);
	alarm(test_limit_s());
	memory::reset();
	plugin_log::reset();
	fds_before_ = open_fds();

	local_ = std::make_unique<LocalSide>(plugin_path);
	threads_before_ = local_->threads();
	ASSERT_EQ(local_->open(GetParam()), "") << "dlopen of " << plugin_path;
	Got got = local_->init();
	ASSERT_EQ(got.result, ncclSuccess)
		<< "init\n" << plugin_log::all();
	ctx_ = got.pointer;
	int count = 0;
	ASSERT_EQ(local_->devices(&count), ncclSuccess);
	ASSERT_GT(count, test_device())
		<< "the plugin offers " << count << " devices; set "
		   "NCCL_DEVMEM_IFNAME or NCCL_SOCKET_IFNAME\n"
		<< plugin_log::all();
}

void Conformance::renew_context()
{
	ASSERT_EQ(local_->finalize(ctx_), ncclSuccess);
	Got got = local_->init();
	ASSERT_EQ(got.result, ncclSuccess) << "init\n" << plugin_log::all();
	ctx_ = got.pointer;
}

void Conformance::start_remote()
{
	int count = 0;

	remote_ = std::make_unique<RemoteSide>();
	ASSERT_TRUE(remote_->started()) << "the peer process did not start";
	remote_fds_before_ = remote_->fds();
	remote_threads_before_ = remote_->threads();
	ASSERT_EQ(remote_->open(GetParam()), "") << "dlopen in the peer process";
	Got got = remote_->init();
	ASSERT_EQ(got.result, ncclSuccess) << "init in the peer process";
	remote_ctx_ = got.pointer;
	ASSERT_EQ(remote_->devices(&count), ncclSuccess);
	ASSERT_GT(count, test_device()) << "devices in the peer process";
}

Pair::End Conformance::elsewhere()
{
	if (!remote_)
		start_remote();
	return {remote_.get(), remote_ctx_};
}

Pair::End Conformance::there()
{
	return getenv("CONFORMANCE_PEER_NETNS") ? elsewhere() : here();
}

ncclNetProperties_v12_t Conformance::properties()
{
	ncclNetProperties_v12_t props = {};

	EXPECT_EQ(local_->properties(test_device(), &props), ncclSuccess);
	return props;
}

std::string Conformance::no_memory()
{
	if (memory::kind == memory::Kind::host ||
	    takes_gpu_memory(properties().ptrSupport))
		return "";
	return "the device takes no GPU memory (NCCL_PTR_CUDA)";
}

int Conformance::most_receives()
{
	return properties().netDeviceType == NCCL_NET_DEVICE_UNPACK ?
		       UNPACK_SLOTS : NCCL_NET_MAX_REQUESTS;
}

void Conformance::stop_remote()
{
	if (!remote_ || remote_dead_ || remote_stopped_)
		return;
	remote_stopped_ = true;
	if (remote_ctx_) {
		EXPECT_EQ(remote_->finalize(remote_ctx_), ncclSuccess);
	}
	remote_->close();
	if (remote_orphans_ || !leaves_nothing(GetParam()))
		return;
	EXPECT_EQ(remote_->fds(), remote_fds_before_)
		<< "descriptors of the peer process after finalize";
	EXPECT_EQ(threads_left(*remote_, remote_threads_before_),
		  remote_threads_before_)
		<< "threads of the peer process after finalize";
}

void Conformance::TearDown()
{
	stop_remote();
	remote_.reset();
	if (ctx_) {
		EXPECT_EQ(local_->finalize(ctx_), ncclSuccess);
	}
	local_->close();
	if (leaves_nothing(GetParam()))
		expect_nothing_left();
	if (HasFailure())
		printf("--- what the plugin logged ---\n%s",
		       plugin_log::all().c_str());
	alarm(0);
}

void Conformance::expect_nothing_left()
{
	for (const auto &[fd, link] : open_fds())
		EXPECT_TRUE(fds_before_.count(fd))
			<< "descriptor " << fd << " (" << link
			<< ") was left open";
	EXPECT_EQ(threads_left(*local_, threads_before_), threads_before_)
		<< "threads left after finalize";
}
