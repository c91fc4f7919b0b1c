// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_tuner.cc - the tuner as NCCL's own loader finds it in the net plugin, if unpack
 * is on, and not at all if it is off.
 */
#include "communicator.h"

namespace {

const Environment unpack = {{"NCCL_NET_PLUGIN", "devmem"},
			    {"NCCL_DEVMEM_UNPACK", "1"}};

/* What NCCL runs where LL costs least: algorithm and protocol. */
template <class Tuner>
std::pair<int, int> choice(Tuner *tuner, void *ctx)
{
	float cost[NCCL_NUM_ALGORITHMS][NCCL_NUM_PROTOCOLS];
	float **table = (float **)cost, least = 1e9;
	std::pair<int, int> best(-1, -1);
	int channels = 0;

	for (auto &row : cost)
		std::fill(std::begin(row), std::end(row), 10);
	cost[NCCL_ALGO_TREE][NCCL_PROTO_LL] = 1;
	if (NCCL_NUM_ALGORITHMS > 6) /* from 2.23 on there is PAT */
		cost[NCCL_NUM_ALGORITHMS - 1][NCCL_PROTO_SIMPLE] = 2;
	if constexpr (NEWEST_TUNER >= 4)
		EXPECT_EQ(tuner->getCollInfo(ctx, ncclFuncAllReduce, 64, 1,
					     table, NCCL_NUM_ALGORITHMS,
					     NCCL_NUM_PROTOCOLS, 0, &channels),
			  ncclSuccess);
	else if constexpr (NEWEST_TUNER == 3)
		EXPECT_EQ(tuner->getCollInfo(ctx, ncclFuncAllReduce, 64, 1,
					     table, NCCL_NUM_ALGORITHMS,
					     NCCL_NUM_PROTOCOLS, &channels),
			  ncclSuccess);
	else if constexpr (NEWEST_TUNER == 2) {
		EXPECT_EQ(tuner->getCollInfo(ctx, ncclFuncAllReduce, 64, 0, 0,
					     1, &best.first, &best.second,
					     &channels),
			  ncclSuccess);
		return best;
	}
	for (int a = 0; a < NCCL_NUM_ALGORITHMS; a++)
		for (int p = 0; p < NCCL_NUM_PROTOCOLS; p++)
			if (cost[a][p] >= 0 && cost[a][p] < least) {
				least = cost[a][p];
				best = {a, p};
			}
	return best;
}

bool guarded(const Comm &comm)
{
	if (!comm.tuner())
		return false;
	EXPECT_STREQ(comm.tuner()->name, "devmem");
	auto [algorithm, protocol] =
		choice(comm.tuner(), comm.tuner_context());
	EXPECT_EQ(protocol, NCCL_PROTO_SIMPLE);
	EXPECT_TRUE(algorithm == NCCL_ALGO_TREE || algorithm == NCCL_ALGO_RING);
	return true;
}

/* By each version that NCCL and the plugin know, with newer ones hidden. */
class LoaderTuner : public testing::TestWithParam<int> {
protected:
	void in_process(const Environment &e, std::function<void()> body)
	{
		newest_tuner = GetParam();
		::in_process(e, body);
	}
};

INSTANTIATE_TEST_SUITE_P(, LoaderTuner,
			 testing::Range(2, std::min(NEWEST_TUNER, 5) + 1),
			 [](auto &table) {
				 return "v" + std::to_string(table.param);
			 });
/* NCCL 2.20 knows the first version alone. */
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LoaderTuner);

TEST_P(LoaderTuner, IsFoundInTheNetPluginIfUnpackIsOn)
{
	in_process(unpack, [] {
		Comm comm("devmem");

		ASSERT_EQ(comm.result(), ncclSuccess);
		EXPECT_TRUE(guarded(comm));
		EXPECT_NE(nccl_log.find("INFO TUNER/devmem NCCL_DEVMEM_UNPACK"),
			  std::string::npos);
	});
}

/* Where another would be found first; and for NCCL 2.26, see below. */
TEST_P(LoaderTuner, MayBeNamed)
{
	in_process(with(unpack, "NCCL_TUNER_PLUGIN", "libnccl-net-devmem.so"),
		   [] {
			   for (int i = 0; i < 5; i++) {
				   Comm comm("devmem");

				   ASSERT_EQ(comm.result(), ncclSuccess) << i;
				   /* 2.21 forgets it when it unloads it. */
				   EXPECT_TRUE(guarded(comm) ||
					       (i && NEWEST_TUNER == 2))
					   << i;
				   one_way(comm, comm, 1000);
			   }
		   });
}

TEST_P(LoaderTuner, IsThereForCommunicatorsOneAfterTheOther)
{
	/* Nor does 2.27 find it anew, before 2.27.6. */
	if (NCCL_VERSION_CODE >= 22600 && NCCL_VERSION_CODE < 22706)
		GTEST_SKIP() << "NCCL closes the net plugin with its tuner";
	in_process(unpack, [] {
		for (int i = 0; i < 5; i++) {
			Comm comm("devmem");

			ASSERT_EQ(comm.result(), ncclSuccess) << i;
			/* 2.21 forgets it when it unloads it. */
			EXPECT_TRUE(guarded(comm) || (i && NEWEST_TUNER == 2))
				<< i;
			one_way(comm, comm, 1000);
		}
	});
}

/* Why: see plugin/tuner_symbols.c. */
TEST(Loader, FindsNoTunerIfUnpackIsOff)
{
	for (auto &e : {by_name, with(by_name, "NCCL_DEVMEM_UNPACK", "0"),
			with(by_name, "NCCL_TUNER_PLUGIN",
			     "libnccl-net-devmem.so")})
		in_process(e, [] {
			Comm comm("devmem");

			ASSERT_EQ(comm.result(), ncclSuccess);
			EXPECT_EQ(comm.tuner(), nullptr);
			EXPECT_EQ(nccl_log.find("Using tuner plugin"),
				  std::string::npos);
			EXPECT_EQ(nccl_log.find("TUNER/Plugin: Using devmem"),
				  std::string::npos);
		});
}

} // namespace
