/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * communicator.h - a communicator of NCCL, as far as its loaders look into one, and
 * messages through the table that it gives to NCCL's core.
 *
 * The loaders keep their state for the life of a process, so each test is a process
 * of its own. Their functions differ with NCCL's version; which ones there are is
 * asked of the headers.
 */
#ifndef LOADER_COMMUNICATOR_H
#define LOADER_COMMUNICATOR_H

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "nccl_stubs.h"

#include "comm.h"
#include "net.h"
#include "tuner.h"

/* Of NCCL 2.20 and 2.21. */
__attribute__((weak)) ncclResult_t ncclNetPluginInit();

using Environment = std::map<std::string, std::string>;

constexpr auto patience = std::chrono::seconds(10);

inline void in_process(const Environment &environment, std::function<void()> body)
{
	int status = 0;

	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		setenv("NCCL_DEVMEM_IFNAME", "lo", 1);
		setenv("NCCL_DEVMEM_REGION", "none", 1);
		for (auto &[name, value] : environment)
			setenv(name.c_str(), value.c_str(), 1);
		body();
		if (testing::Test::HasFailure())
			printf("The log:\n%s", nccl_log.c_str());
		fflush(stdout);
		_exit(testing::Test::HasFailure());
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0) << "signal " << WTERMSIG(status);
}

/* ---- NCCL's functions, where its version has them ---------------------------- */

template <class C> auto plugin_load(C *c, int) -> decltype(ncclNetPluginLoad(c))
{
	return ncclNetPluginLoad(c);
}

template <class C> ncclResult_t plugin_load(C *, long)
{
	return ncclNetPluginInit ? ncclNetPluginInit() : ncclSuccess;
}

template <class C>
auto plugin_unload(C *c, int) -> decltype(ncclNetPluginUnload(c))
{
	return ncclNetPluginUnload(c);
}

template <class C> ncclResult_t plugin_unload(C *, long)
{
	return ncclSuccess;
}

template <class C> auto net_finalize(C *c, int) -> decltype(ncclNetFinalize(c))
{
	return ncclNetFinalize(c);
}

template <class C> ncclResult_t net_finalize(C *, long)
{
	return ncclSuccess;
}

template <class C> auto table_version(C *c, int) -> decltype(c->ncclNetVer)
{
	return c->ncclNetVer;
}

template <class C> int table_version(C *c, long)
{
	return ncclNetVersion(c);
}

template <class C> auto context_of(C *c, int) -> decltype(c->netContext)
{
	return c->netContext;
}

template <class C> void *context_of(C *, long)
{
	return nullptr;
}

template <class C>
auto tuner_context_of(C *c, int) -> decltype(c->tunerContext)
{
	return c->tunerContext;
}

template <class C> void *tuner_context_of(C *, long)
{
	return nullptr;
}

/* From 2.27 on, when it lost the function, the loader takes a list of names. */
template <class C> auto has_lists(C *c, int)
	-> decltype(ncclNetPluginLoad(c), false)
{
	return false;
}

template <class C> bool has_lists(C *, long)
{
	return !ncclNetPluginInit;
}

/* Not of NCCL 2.20, where a communicator has a tuner only if it is named. */
template <class C>
auto tuner_load(C *c, int) -> decltype(ncclTunerPluginLoad(c))
{
	return ncclTunerPluginLoad(c);
}

template <class C>
auto tuner_load(C *c, long) -> decltype(ncclTunerPluginLoad(&c->tuner))
{
	return ncclTunerPluginLoad(&c->tuner);
}

template <class C> ncclResult_t tuner_load(C *, ...)
{
	return ncclSuccess;
}

template <class C>
auto tuner_unload(C *c, int) -> decltype(ncclTunerPluginUnload(c))
{
	return ncclTunerPluginUnload(c);
}

template <class C>
auto tuner_unload(C *c, long) -> decltype(ncclTunerPluginUnload(&c->tuner))
{
	return ncclTunerPluginUnload(&c->tuner);
}

template <class C> ncclResult_t tuner_unload(C *, ...)
{
	return ncclSuccess;
}

template <class C> ncclResult_t tuner_init(C *c)
{
	if constexpr (NEWEST_TUNER >= 5)
		return c->tuner->init(&c->tunerContext, 1, 2, 2, ncclDebugLog,
				      &c->nvlDomainInfo, &c->tunerConstants);
	else if constexpr (NEWEST_TUNER >= 2)
		return c->tuner->init(2, 2, ncclDebugLog, &c->tunerContext);
	else
		return ncclSuccess;
}

template <class C> ncclResult_t tuner_finalize(C *c)
{
	if constexpr (NEWEST_TUNER >= 5)
		return c->tuner->finalize(c->tunerContext);
	else if constexpr (NEWEST_TUNER >= 2)
		return c->tuner->destroy(c->tunerContext);
	else
		return ncclSuccess;
}

/* A communicator, as far as the loaders look into one. */
class Comm {
public:
	/* @net: what NCCL_NET says, or NULL. */
	explicit Comm(const char *net)
		: comm_(static_cast<ncclComm *>(calloc(1, sizeof(ncclComm))))
	{
		comm_->config.netName = net;
		result_ = plugin_load(comm_, 0);
		if (result_ == ncclSuccess)
			result_ = ncclNetInit(comm_);
		if (result_ != ncclSuccess)
			return;
		EXPECT_EQ(tuner_load(comm_, 0), ncclSuccess);
		if (comm_->tuner) {
			EXPECT_EQ(tuner_init(comm_), ncclSuccess);
		}
	}

	~Comm()
	{
		if (result_ == ncclSuccess) {
			if (comm_->tuner) {
				EXPECT_EQ(tuner_finalize(comm_), ncclSuccess);
				EXPECT_EQ(tuner_unload(comm_, 0), ncclSuccess);
			}
			EXPECT_EQ(net_finalize(comm_, 0), ncclSuccess);
			EXPECT_EQ(plugin_unload(comm_, 0), ncclSuccess);
		}
		free(comm_);
	}

	ncclResult_t result() const { return result_; }
	std::string name() const
	{
		return result_ ? "none" : comm_->ncclNet->name;
	}
	int version() const { return table_version(comm_, 0); }
	void *context() const { return context_of(comm_, 0); }
	ncclNet_t *net() const { return comm_->ncclNet; }
	ncclTuner_t *tuner() const { return comm_->tuner; }
	void *tuner_context() const { return tuner_context_of(comm_, 0); }

private:
	ncclComm *comm_;
	ncclResult_t result_;
};

/* ---- NCCL's internal table, which is the newest that its version knows ------- */

template <class Net> auto listen(Net *net, void *ctx, void *handle, void **comm)
{
	if constexpr (NEWEST_TABLE >= 11)
		return net->listen(ctx, 0, handle, comm);
	else
		return net->listen(0, handle, comm);
}

template <class Net>
auto connect(Net *net, void *ctx, void *handle, void **comm)
{
	if constexpr (NEWEST_TABLE >= 11)
		return net->connect(ctx, 0, handle, comm, nullptr);
	else if constexpr (NEWEST_TABLE == 10)
		return net->connect(0, nullptr, handle, comm, nullptr);
	else
		return net->connect(0, handle, comm, nullptr);
}

template <class Net>
auto isend(Net *net, void *comm, std::string &data, void *mr, void **request)
{
	if constexpr (NEWEST_TABLE >= 10)
		return net->isend(comm, &data[0], data.size(), 0, mr, nullptr,
				  request);
	else
		return net->isend(comm, &data[0], data.size(), 0, mr, request);
}

template <class Net>
auto irecv(Net *net, void *comm, std::string &data, void *mr, void **request)
{
	using Size = std::conditional_t<NEWEST_TABLE >= 9, size_t, int>;
	Size size = data.size();
	void *buffer = &data[0];
	int tag = 0;

	if constexpr (NEWEST_TABLE >= 10) {
		void *none = nullptr;

		return net->irecv(comm, 1, &buffer, &size, &tag, &mr, &none,
				  request);
	} else {
		return net->irecv(comm, 1, &buffer, &size, &tag, &mr, request);
	}
}

/* Calls `step` until it says that it is done. */
template <class Step> bool until(Step step)
{
	auto end = std::chrono::steady_clock::now() + patience;

	while (!step()) {
		if (testing::Test::HasFailure() ||
		    std::chrono::steady_clock::now() > end)
			return false;
	}
	return true;
}

/* One direction between two communicators, and a message of `size` over it. */
inline void one_way(const Comm &from, const Comm &to, size_t size)
{
	ncclNet_t *tx = from.net(), *rx = to.net();
	void *listener = nullptr, *sender = nullptr, *receiver = nullptr;
	void *send = nullptr, *receive = nullptr, *mr[2] = {};
	std::string sent(size, 'a'), received(size, '-');
	int done = 0, sizes[64] = {};
	char handle[128] = {};

	for (size_t i = 0; i < size; i++)
		sent[i] += i % 23;
	ASSERT_EQ(listen(rx, to.context(), handle, &listener), ncclSuccess);
	ASSERT_TRUE(until([&] {
		if (!sender) {
			EXPECT_EQ(connect(tx, from.context(), handle, &sender),
				  ncclSuccess);
		}
		if (!receiver) {
			EXPECT_EQ(rx->accept(listener, &receiver, nullptr),
				  ncclSuccess);
		}
		return sender && receiver;
	}));
	EXPECT_EQ(rx->closeListen(listener), ncclSuccess);
	ASSERT_EQ(tx->regMr(sender, &sent[0], size, NCCL_PTR_HOST, &mr[0]),
		  ncclSuccess);
	ASSERT_EQ(rx->regMr(receiver, &received[0], size, NCCL_PTR_HOST,
			    &mr[1]),
		  ncclSuccess);
	ASSERT_TRUE(until([&] {
		if (!receive) {
			EXPECT_EQ(irecv(rx, receiver, received, mr[1],
					&receive),
				  ncclSuccess);
		}
		if (!send) {
			EXPECT_EQ(isend(tx, sender, sent, mr[0], &send),
				  ncclSuccess);
		}
		return send && receive;
	}));
	EXPECT_TRUE(until([&] {
		EXPECT_EQ(tx->test(send, &done, nullptr), ncclSuccess);
		return done;
	}));
	EXPECT_TRUE(until([&] {
		EXPECT_EQ(rx->test(receive, &done, sizes), ncclSuccess);
		return done;
	}));
	EXPECT_EQ(sizes[0], static_cast<int>(size));
	EXPECT_EQ(received, sent);
	EXPECT_EQ(tx->deregMr(sender, mr[0]), ncclSuccess);
	EXPECT_EQ(rx->deregMr(receiver, mr[1]), ncclSuccess);
	EXPECT_EQ(tx->closeSend(sender), ncclSuccess);
	EXPECT_EQ(rx->closeRecv(receiver), ncclSuccess);
}

inline const Environment by_name = {{"NCCL_NET_PLUGIN", "devmem"}};

inline Environment with(Environment environment, const char *name, const char *value)
{
	environment[name] = value;
	return environment;
}

#endif
