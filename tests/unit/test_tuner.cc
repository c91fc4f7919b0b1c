// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_tuner.cc - the tuner keeps NCCL to what unpacks, changes nothing else, and is
 * not there if unpack is off. Tables are driven as src/enqueue.cc of NCCL drives
 * them: costs in microseconds, the cheapest one that is not negative is taken.
 */
#include <gtest/gtest.h>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cmath>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "tuner.h"
}

namespace {

using Environment = std::map<std::string, std::string>;

/* The environment is read once in a process: each one needs a process. */
void in_process(const Environment &environment, std::function<void()> body)
{
	int status = 0;

	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		unsetenv("NCCL_DEVMEM_UNPACK");
		for (auto &[name, value] : environment)
			setenv(name.c_str(), value.c_str(), 1);
		body();
		fflush(stdout);
		_exit(testing::Test::HasFailure());
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
}

std::vector<std::string> lines;

void log(ncclDebugLogLevel level, unsigned long flags, const char *, int,
	 const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	EXPECT_TRUE(flags & NCCL_SUBSYS_TUNING);
	lines.push_back((level == NCCL_LOG_WARN ? "WARN " : "INFO ") +
			std::string(text));
}

/* A version's table, as NCCL's newest one. */
class Tuner {
public:
	virtual ~Tuner() = default;
	virtual ncclResult_t init(ncclDebugLogger_t logger) = 0;
	virtual ncclResult_t info(float *cost, int nalgos, int nprotos) = 0;
	virtual ncclResult_t finalize() = 0;

	int channels = 0;
	void *ctx = this; /* what was there before */
};

float **as_passed(float *cost)
{
	return reinterpret_cast<float **>(cost);
}

struct V5 : Tuner {
	ncclResult_t init(ncclDebugLogger_t logger) override
	{
		ncclNvlDomainInfo_v5_t domains = { 2, 1, 1 };

		return tuner_v5.init(&ctx, 1, 2, 2, logger, &domains, nullptr);
	}
	ncclResult_t info(float *cost, int nalgos, int nprotos) override
	{
		return tuner_v5.getCollInfo(ctx, ncclFuncAllReduce, 1 << 20, 1,
					    as_passed(cost), nalgos, nprotos, 0,
					    &channels);
	}
	ncclResult_t finalize() override { return tuner_v5.finalize(ctx); }
};

struct V4 : Tuner {
	ncclResult_t init(ncclDebugLogger_t logger) override
	{
		return tuner_v4.init(2, 2, logger, &ctx);
	}
	ncclResult_t info(float *cost, int nalgos, int nprotos) override
	{
		return tuner_v4.getCollInfo(ctx, ncclFuncAllGather, 8, 1,
					    as_passed(cost), nalgos, nprotos, 1,
					    &channels);
	}
	ncclResult_t finalize() override { return tuner_v4.destroy(ctx); }
};

struct V3 : Tuner {
	ncclResult_t init(ncclDebugLogger_t logger) override
	{
		return tuner_v3.init(2, 2, logger, &ctx);
	}
	ncclResult_t info(float *cost, int nalgos, int nprotos) override
	{
		return tuner_v3.getCollInfo(ctx, ncclFuncBroadcast, 0, 1,
					    as_passed(cost), nalgos, nprotos,
					    &channels);
	}
	ncclResult_t finalize() override { return tuner_v3.destroy(ctx); }
};

/* ---- costs ------------------------------------------------------------------- */

constexpr float ignored = NCCL_ALGO_PROTO_IGNORE;
constexpr int all = NCCL_NUM_ALGORITHMS;

using Costs = std::vector<float>;

float &at(Costs &costs, int algo, int proto)
{
	return costs[algo * NCCL_NUM_PROTOCOLS + proto];
}

bool same(float a, float b)
{
	return !memcmp(&a, &b, sizeof(a));
}

/* NCCL's choice: algorithm and protocol, -1 if there is none. */
std::pair<int, int> choice(Costs &costs)
{
	std::pair<int, int> best(-1, -1);
	float least = 3600000000.0f;

	for (int a = 0; a < all; a++)
		for (int p = 0; p < NCCL_NUM_PROTOCOLS; p++) {
			float cost = at(costs, a, p);

			if (same(cost, ignored) || !(cost >= 0) ||
			    !(cost < least))
				continue;
			least = cost;
			best = { a, p };
		}
	return best;
}

class CostTable : public testing::TestWithParam<int> {
protected:
	CostTable()
	{
		lines.clear();
		if (GetParam() == 5)
			tuner = std::make_unique<V5>();
		else if (GetParam() == 4)
			tuner = std::make_unique<V4>();
		else
			tuner = std::make_unique<V3>();
	}
	void SetUp() override
	{
		ASSERT_EQ(tuner->init(log), ncclSuccess);
	}
	void TearDown() override
	{
		EXPECT_EQ(tuner->finalize(), ncclSuccess);
		EXPECT_FALSE(tuner_in_use());
	}

	ncclResult_t guard(Costs &costs)
	{
		return tuner->info(costs.data(), costs.size() / 3, 3);
	}

	std::unique_ptr<Tuner> tuner;
	std::mt19937 random{ 7 };
};

INSTANTIATE_TEST_SUITE_P(, CostTable, testing::Values(3, 4, 5),
			 [](auto &table) {
				 return "v" + std::to_string(table.param);
			 });

TEST_P(CostTable, IgnoresWhatDoesNotUnpackAndLeavesTheRest)
{
	/* NCCL 2.22 has six algorithms. */
	for (int nalgos : { 6, all }) {
		Costs costs, before;

		for (int i = 0; i < nalgos * NCCL_NUM_PROTOCOLS; i++)
			costs.push_back(random() % 4 ? i + 0.25f : ignored);
		at(costs, NCCL_ALGO_TREE, NCCL_PROTO_SIMPLE) = 12.5f;
		before = costs;
		ASSERT_EQ(guard(costs), ncclSuccess);
		for (int a = 0; a < nalgos; a++)
			for (int p = 0; p < NCCL_NUM_PROTOCOLS; p++) {
				bool may = p == NCCL_PROTO_SIMPLE &&
					   a != NCCL_ALGO_PAT;

				EXPECT_TRUE(same(at(costs, a, p),
						 may ? at(before, a, p) :
						       ignored))
					<< a << " " << p;
			}
	}
	EXPECT_EQ(tuner->channels, 0) << "NCCL chooses how many";
}

TEST_P(CostTable, WhatNcclWouldTakeBecomesWhatIsSafe)
{
	Costs costs(all * NCCL_NUM_PROTOCOLS, 100);

	at(costs, NCCL_ALGO_TREE, NCCL_PROTO_LL) = 1;
	at(costs, NCCL_ALGO_RING, NCCL_PROTO_LL128) = 2;
	at(costs, NCCL_ALGO_PAT, NCCL_PROTO_SIMPLE) = 3;
	at(costs, NCCL_ALGO_TREE, NCCL_PROTO_SIMPLE) = 4;
	EXPECT_EQ(choice(costs), std::make_pair(NCCL_ALGO_TREE, NCCL_PROTO_LL));
	ASSERT_EQ(guard(costs), ncclSuccess);
	EXPECT_EQ(choice(costs),
		  std::make_pair(NCCL_ALGO_TREE, NCCL_PROTO_SIMPLE));
}

/* NCCL_PROTO=LL, or NCCL_ALGO=PAT; and costs that are no numbers. */
TEST_P(CostTable, WhereNothingIsLeftThereIsARing)
{
	for (float nothing : { ignored, -3.0f, NAN }) {
		Costs costs(all * NCCL_NUM_PROTOCOLS, nothing);

		at(costs, NCCL_ALGO_RING, NCCL_PROTO_LL) = 5;
		at(costs, NCCL_ALGO_PAT, NCCL_PROTO_SIMPLE) = 1;
		ASSERT_EQ(guard(costs), ncclSuccess);
		EXPECT_EQ(choice(costs),
			  std::make_pair(NCCL_ALGO_RING, NCCL_PROTO_SIMPLE))
			<< nothing;
	}
}

TEST_P(CostTable, AFreeOneIsOneThatIsLeft)
{
	Costs costs(all * NCCL_NUM_PROTOCOLS, ignored);

	at(costs, NCCL_ALGO_TREE, NCCL_PROTO_SIMPLE) = 0;
	ASSERT_EQ(guard(costs), ncclSuccess);
	EXPECT_EQ(choice(costs),
		  std::make_pair(NCCL_ALGO_TREE, NCCL_PROTO_SIMPLE));
	EXPECT_TRUE(same(at(costs, NCCL_ALGO_RING, NCCL_PROTO_SIMPLE),
			 ignored));
}

/* A later NCCL: what it adds is not known to unpack. */
TEST_P(CostTable, OtherSizesAreReadByTheirRows)
{
	for (auto [nalgos, nprotos] : std::vector<std::pair<int, int>>{
		     { 2, 3 }, { 8, 3 }, { 7, 4 }, { 9, 5 }, { 64, 16 } }) {
		Costs costs(nalgos * nprotos, 10);

		ASSERT_EQ(tuner->info(costs.data(), nalgos, nprotos),
			  ncclSuccess);
		for (int a = 0; a < nalgos; a++)
			for (int p = 0; p < nprotos; p++)
				EXPECT_TRUE(same(
					costs[a * nprotos + p],
					p == NCCL_PROTO_SIMPLE &&
							a < NCCL_ALGO_PAT ?
						10 :
						ignored))
					<< a << " " << p;
	}
}

/* Where it could not keep its promise it says so, and touches nothing. */
TEST_P(CostTable, SizesThatMakeNoSenseAreRefused)
{
	for (auto [nalgos, nprotos] : std::vector<std::pair<int, int>>{
		     { 0, 0 }, { 7, 0 }, { 7, 2 }, { 1, 3 }, { 0, 3 },
		     { -1, 3 }, { 7, -1 }, { -7, -3 }, { 65, 3 }, { 7, 17 },
		     { INT_MAX, 3 }, { 7, INT_MAX }, { INT_MAX, INT_MAX },
		     { INT_MIN, INT_MIN } }) {
		Costs costs(21, 10), before = costs;

		lines.clear();
		EXPECT_EQ(tuner->info(costs.data(), nalgos, nprotos),
			  ncclInvalidArgument)
			<< nalgos << " " << nprotos;
		EXPECT_EQ(costs, before);
		ASSERT_EQ(lines.size(), 1u);
		EXPECT_EQ(lines[0].find("WARN TUNER/devmem"), 0u) << lines[0];
	}
	EXPECT_EQ(tuner->info(nullptr, 7, 3), ncclInvalidArgument);
}

TEST_P(CostTable, ACommunicatorHasOneLineInTheLog)
{
	Costs costs(all * NCCL_NUM_PROTOCOLS, 10);

	for (int i = 0; i < 10; i++)
		EXPECT_EQ(guard(costs), ncclSuccess);
	ASSERT_EQ(lines.size(), 1u);
	EXPECT_EQ(lines[0].find("INFO TUNER/devmem NCCL_DEVMEM_UNPACK=1"), 0u)
		<< lines[0];
	EXPECT_EQ(tuner->ctx, nullptr);
}

TEST_P(CostTable, IsInUseWhileACommunicatorHasIt)
{
	EXPECT_TRUE(tuner_in_use());
	/* Without a logger, too. */
	EXPECT_EQ(tuner->init(nullptr), ncclSuccess);
	EXPECT_EQ(tuner->info(nullptr, 0, 0), ncclInvalidArgument);
	EXPECT_EQ(tuner->finalize(), ncclSuccess);
	EXPECT_TRUE(tuner_in_use());
}

/* NCCL 2.21 takes both or none. */
TEST(TunerV2, NamesARingAndItsProtocol)
{
	int algorithm = -1, protocol = -1, channels = 0;
	void *ctx = &channels;

	lines.clear();
	ASSERT_EQ(tuner_v2.init(4, 2, log, &ctx), ncclSuccess);
	EXPECT_EQ(lines.size(), 1u);
	EXPECT_EQ(tuner_v2.getCollInfo(ctx, ncclFuncReduceScatter, 1 << 30, 1,
				       1, 5, &algorithm, &protocol, &channels),
		  ncclSuccess);
	EXPECT_EQ(algorithm, NCCL_ALGO_RING);
	EXPECT_EQ(protocol, NCCL_PROTO_SIMPLE);
	EXPECT_EQ(channels, 0);
	EXPECT_EQ(tuner_v2.destroy(ctx), ncclSuccess);
	EXPECT_FALSE(tuner_in_use());
}

/* ---- the environment --------------------------------------------------------- */

constexpr int versions[] = { 2, 3, 4, 5 };

std::vector<void *> found()
{
	void *library = dlopen(DEVMEM_PLUGIN, RTLD_NOW | RTLD_LOCAL);
	std::vector<void *> tables;

	EXPECT_NE(library, nullptr) << dlerror();
	for (int version : versions) {
		std::string name =
			"ncclTunerPlugin_v" + std::to_string(version);

		tables.push_back(dlsym(library, name.c_str()));
	}
	return tables;
}

const std::vector<void *> none(std::size(versions), nullptr);

TEST(TunerSymbols, AreNotThereIfUnpackIsOff)
{
	for (const Environment &environment : std::vector<Environment>{
		     {}, { { "NCCL_DEVMEM_UNPACK", "" } },
		     { { "NCCL_DEVMEM_UNPACK", "0" } } })
		in_process(environment, [] {
			EXPECT_EQ(found(), none);
			EXPECT_FALSE(tuner_guards());
		});
}

TEST(TunerSymbols, AreTablesIfUnpackIsOn)
{
	in_process({ { "NCCL_DEVMEM_UNPACK", "1" } }, [] {
		EXPECT_TRUE(tuner_guards());
		for (void *table : found()) {
			ASSERT_NE(table, nullptr);
			/* All begin alike. */
			auto *v5 = static_cast<ncclTuner_v5_t *>(table);
			EXPECT_STREQ(v5->name, "devmem");
			EXPECT_TRUE(v5->init && v5->getCollInfo &&
				    v5->finalize);
		}
		/* The newest, as NCCL would call it. */
		auto *v5 = static_cast<ncclTuner_v5_t *>(found().back());
		Costs costs(all * NCCL_NUM_PROTOCOLS, 1);
		int channels = 0;
		void *ctx;
		ASSERT_EQ(v5->init(&ctx, 0, 2, 2, log, nullptr, nullptr),
			  ncclSuccess);
		EXPECT_EQ(v5->getCollInfo(ctx, ncclFuncAllReduce, 8, 1,
					  as_passed(costs.data()), all,
					  NCCL_NUM_PROTOCOLS, 0, &channels),
			  ncclSuccess);
		EXPECT_EQ(choice(costs),
			  std::make_pair(NCCL_ALGO_TREE, NCCL_PROTO_SIMPLE));
		EXPECT_EQ(v5->finalize(ctx), ncclSuccess);
	});
}

/* The net plugin refuses such an environment, and says why. */
TEST(TunerSymbols, AreNotThereIfAParameterIsNotValid)
{
	in_process({ { "NCCL_DEVMEM_UNPACK", "yes" } },
		   [] { EXPECT_EQ(found(), none); });
	in_process({ { "NCCL_DEVMEM_UNPACK", "1" },
		     { "NCCL_DEVMEM_FLOWS", "many" } },
		   [] { EXPECT_EQ(found(), none); });
}

/* NCCL asks once: who offers unpack later would be without a guard. */
TEST(TunerSymbols, ComeAndGoNoMore)
{
	in_process({}, [] {
		EXPECT_EQ(found(), none);
		setenv("NCCL_DEVMEM_UNPACK", "1", 1);
		EXPECT_EQ(found(), none);
	});
	in_process({ { "NCCL_DEVMEM_UNPACK", "1" } }, [] {
		std::vector<void *> tables = found();

		EXPECT_NE(tables, none);
		unsetenv("NCCL_DEVMEM_UNPACK");
		EXPECT_EQ(found(), tables);
	});
}

} // namespace
