// SPDX-License-Identifier: BSD-3-Clause
/*
 * fixture.h - a loaded plugin around each test, and the count of what it left
 * behind: file descriptors and threads after finalize and dlclose must be
 * those from before dlopen, in every process that took part.
 */
#ifndef CONFORMANCE_FIXTURE_H
#define CONFORMANCE_FIXTURE_H

#include <map>

#include "pair.h"

/* Of main: path of the plugin under test, and the versions of its tables. */
extern std::string plugin_path;
extern std::vector<int> tables;

std::string plugin_name();
/*
 * Nothing may be left after the last close and finalize; of another plugin whose
 * table has no finalize, that cannot be asked.
 */
bool leaves_nothing(int table);

/* How many there are; a GPU's driver is given time to end its own. */
int threads_left(Side &side, int before);

std::string table_name(const testing::TestParamInfo<int> &table);

/* Runs all tests of a suite on each table, as Suite.Test/v11. */
#define EACH_TABLE(suite)                                           \
	INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(tables), \
				 table_name)

class Conformance : public testing::TestWithParam<int> {
protected:
	void SetUp() override;
	void TearDown() override;

	/* The plugin in this process, opened and initialised. */
	Pair::End here() const { return {local_.get(), ctx_}; }
	/*
	 * The sender of a pair: in this process too, unless the environment
	 * says that peers live in another network namespace.
	 */
	Pair::End there();
	/* A process of its own, in any case. */
	Pair::End elsewhere();
	RemoteSide *remote() const { return remote_.get(); }
	/* Finalizes there, and looks for what is left; else done at the end. */
	void stop_remote();

	LocalSide &local() const { return *local_; }
	void *ctx() const { return ctx_; }
	/* The communicator ends, and the next one begins. */
	void renew_context();
	ncclNetProperties_v12_t properties();
	bool has_contexts() const { return GetParam() >= 11; }
	bool has_memory(size_t size) const
	{
		return memory::available() > size;
	}
	/* The remote process was killed on purpose. */
	void expect_dead() { remote_dead_ = true; }
	/* It will end with connections half made: nothing can close them. */
	void expect_orphans() { remote_orphans_ = true; }
	/* Receives that may be on their way, in NCCL's or that code's count. */
	int most_receives();
	/* GPU memory was asked for, and why it cannot be tried; "" if it can. */
	std::string no_memory();

private:
	void start_remote();
	void expect_nothing_left();

	std::unique_ptr<LocalSide> local_;
	std::unique_ptr<RemoteSide> remote_;
	void *ctx_ = nullptr;
	void *remote_ctx_ = nullptr;
	std::map<int, std::string> fds_before_;
	int remote_fds_before_ = 0;
	int threads_before_ = 1, remote_threads_before_ = 1;
	bool remote_dead_ = false, remote_orphans_ = false;
	bool remote_stopped_ = false;
};

/* What each descriptor of this process is, e.g. {5, "socket:[123]"}. */
std::map<int, std::string> open_fds();

#endif
