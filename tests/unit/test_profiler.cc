// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_profiler.cc - the plugin and NCCL's profiler: each request that NCCL has a
 * step for is one event, begun and ended on the thread that calls the table, with
 * what a profiler that knows socket events reads.
 */
#include "host_pair.h"

#include <dlfcn.h>
#include <pthread.h>

#include <string>
#include <vector>

extern "C" {
#include "nccl_net_abi.h"
}

namespace {

struct Event {
	void *step;
	int op;
	size_t length;
	bool ended;
};

/* What the profiler was told; its handles are places here, from 1. */
std::vector<Event> events;
std::vector<std::string> mistakes;
pthread_t nccl_thread;
bool wanted;

ncclResult_t profiler(void **handle, int type, void *step, int64_t id,
		      void *data)
{
	const auto *what =
		static_cast<const ncclProfilerNetSockDescr_v1_t *>(data);

	if (!pthread_equal(pthread_self(), nccl_thread))
		mistakes.push_back("another thread's call");
	if (type == NCCL_PROFILER_NET_EVENT_START) {
		if (!step)
			mistakes.push_back("an event of no step");
		if (id != (2 << 16 | 1) || what->type != 1)
			mistakes.push_back("an event of another kind");
		if (*handle)
			mistakes.push_back("a handle that is not empty");
		if (!wanted)
			return ncclSuccess;
		events.push_back({step, what->op, what->length, false});
		*handle = reinterpret_cast<void *>(events.size());
		return ncclSuccess;
	}
	auto place = reinterpret_cast<uintptr_t>(*handle);
	if (type != NCCL_PROFILER_NET_EVENT_STOP)
		mistakes.push_back("neither start nor stop");
	else if (!place || place > events.size())
		mistakes.push_back("the end of no event");
	else if (events[place - 1].ended)
		mistakes.push_back("an end twice");
	else
		events[place - 1].ended = true;
	return ncclSuccess;
}

void no_log(ncclDebugLogLevel, unsigned long, const char *, int, const char *,
	    ...)
{
}

class Profiler : public testing::TestWithParam<const char *> {
protected:
	void SetUp() override
	{
		setenv("NCCL_DEVMEM_IFNAME", "=lo", 1);
		setenv("NCCL_DEVMEM_REGION", "none", 1);
		setenv("NCCL_DEVMEM_THREADS", GetParam(), 1);
		events.clear();
		mistakes.clear();
		nccl_thread = pthread_self();
		wanted = true;
		library_ = dlopen(DEVMEM_PLUGIN, RTLD_NOW | RTLD_LOCAL);
		ASSERT_TRUE(library_) << dlerror();
		net = static_cast<ncclNet_v12_t *>(
			dlsym(library_, "ncclNetPlugin_v12"));
		ASSERT_TRUE(net);
	}
	void TearDown() override
	{
		for (const char *name : {"IFNAME", "REGION", "THREADS"})
			unsetenv((std::string("NCCL_DEVMEM_") + name).c_str());
		close();
		dlclose(library_);
	}
	void connect(ncclProfilerCallback_t prof)
	{
		ncclNetCommConfig_v11_t config = {-1};
		unsigned char handle[NCCL_NET_HANDLE_MAXSIZE] = {};
		void *listener;

		ASSERT_EQ(net->init(&ctx_, 1, &config, no_log, prof),
			  ncclSuccess);
		ASSERT_EQ(net->listen(ctx_, 0, handle, &listener), ncclSuccess);
		EXPECT_TRUE(poll_until([&] {
			ncclNetDeviceHandle_v11_t *none = nullptr;

			if (!sender)
				net->connect(ctx_, 0, handle, &sender, &none);
			if (!receiver)
				net->accept(listener, &receiver, &none);
			return sender && receiver;
		}));
		net->closeListen(listener);
		ASSERT_FALSE(HasFailure());
	}
	void *receive(void *to, size_t size, void *step)
	{
		void *mr = nullptr, *request = nullptr;
		int tag = 0;

		EXPECT_EQ(net->irecv(receiver, 1, &to, &size, &tag, &mr,
				     step ? &step : nullptr, &request),
			  ncclSuccess);
		return request;
	}
	void *send(void *from, size_t size, void *step)
	{
		void *request = nullptr;

		EXPECT_EQ(net->isend(sender, from, size, 0, nullptr, step,
				     &request),
			  ncclSuccess);
		return request;
	}
	void finish(std::vector<void *> requests)
	{
		EXPECT_TRUE(poll_until([&] {
			bool all = true;

			for (void *&r : requests) {
				int done = 0;

				if (r && (net->test(r, &done, nullptr) !=
						  ncclSuccess ||
					  done))
					r = nullptr;
				all = all && !r;
			}
			return all;
		}));
	}
	void close()
	{
		if (sender)
			net->closeSend(sender);
		if (receiver)
			net->closeRecv(receiver);
		if (ctx_)
			net->finalize(ctx_);
		sender = receiver = ctx_ = nullptr;
	}
	void expect_no_mistakes()
	{
		for (const std::string &m : mistakes)
			ADD_FAILURE() << m;
	}

	ncclNet_v12_t *net = nullptr;
	void *sender = nullptr, *receiver = nullptr;
	std::vector<char> from = std::vector<char>(300000, 'x'), to = from;

private:
	void *library_ = nullptr, *ctx_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(, Profiler, testing::Values("0", "1"));

TEST_P(Profiler, EachRequestIsOneEventOfItsStep)
{
	int steps[16];

	connect(profiler);
	for (size_t size : {size_t(0), size_t(8), from.size()}) {
		std::vector<void *> requests;

		events.clear();
		for (int i = 0; i < 8; i++) {
			requests.push_back(
				receive(to.data(), to.size(), &steps[i]));
			requests.push_back(
				send(from.data(), size, &steps[8 + i]));
		}
		ASSERT_EQ(events.size(), 16u);
		finish(requests);
		for (int i = 0; i < 16; i++) {
			const Event &e = events[size_t(i)];

			EXPECT_EQ(e.step, i % 2 ? &steps[8 + i / 2] :
						  &steps[i / 2]);
			EXPECT_EQ(e.op, i % 2 ? 0 : 1);
			EXPECT_EQ(e.length, i % 2 ? size : to.size());
			EXPECT_TRUE(e.ended) << i;
		}
	}
	expect_no_mistakes();
}

TEST_P(Profiler, ARequestThatFailsIsEnded)
{
	int step;
	void *r;

	connect(profiler);
	r = receive(to.data(), to.size(), &step);
	net->closeSend(sender);
	sender = nullptr;
	finish({r});
	ASSERT_EQ(events.size(), 1u);
	EXPECT_TRUE(events[0].ended);
	expect_no_mistakes();
}

/* NCCL's bootstrap has no steps, and a profiler may want no such events. */
TEST_P(Profiler, WithoutAStepOrAWishThereIsNoEvent)
{
	int step;

	connect(profiler);
	finish({receive(to.data(), to.size(), nullptr),
		send(from.data(), 8, nullptr)});
	EXPECT_TRUE(events.empty());
	wanted = false;
	finish({receive(to.data(), to.size(), &step),
		send(from.data(), 8, &step)});
	EXPECT_TRUE(events.empty());
	expect_no_mistakes();
}

TEST_P(Profiler, WithoutACallbackThereIsNone)
{
	int step;

	connect(nullptr);
	finish({receive(to.data(), to.size(), &step),
		send(from.data(), 8, &step)});
	EXPECT_TRUE(events.empty());
}

} // namespace
