// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_params.cc - the environment variables: what they mean, and that a value
 * that makes no sense is refused with its name, itself and the remedy.
 */
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

extern "C" {
#include "params.h"
}

namespace {

class Params : public testing::Test {
protected:
	void SetUp() override { clear(); }
	void TearDown() override { clear(); }

	void clear()
	{
		for (size_t i = 0; i < params_count; i++) {
			unsetenv(params[i].name);
			if (params[i].fallback)
				unsetenv(params[i].fallback);
		}
	}
	int read()
	{
		text[0] = 0;
		return params_read(&options, text, sizeof(text));
	}
	int read(const char *name, const char *value)
	{
		setenv(name, value, 1);
		return read();
	}
	void expect_refused(const char *name, const char *value)
	{
		EXPECT_EQ(read(name, value), -EINVAL) << name << "=" << value;
		EXPECT_NE(strstr(text, name), nullptr) << text;
		EXPECT_NE(strstr(text, value), nullptr) << text;
		EXPECT_EQ(strchr(text, '\n'), nullptr) << text;
		unsetenv(name);
	}

	struct devmem_options options;
	char text[512];
};

TEST_F(Params, NothingSetIsTheDefaultsOfTheLibrary)
{
	struct devmem_options defaults;

	devmem_options_init(&defaults);
	ASSERT_EQ(read(), 0) << text;
	EXPECT_EQ(options.region, defaults.region);
	EXPECT_EQ(options.pool_bytes, defaults.pool_bytes);
	EXPECT_EQ(options.queues, defaults.queues);
	EXPECT_EQ(options.flows, defaults.flows);
	EXPECT_EQ(options.inline_bytes, defaults.inline_bytes);
	EXPECT_EQ(options.chunk_bytes, defaults.chunk_bytes);
	EXPECT_EQ(options.require, 0u);
	EXPECT_EQ(options.ifname, nullptr);
}

/* The table's words are what people read; they must be the truth. */
TEST_F(Params, ThePresetsOfTheTableAreTheDefaults)
{
	for (size_t i = 0; i < params_count; i++) {
		struct devmem_options defaults, set;
		const struct param *p = &params[i];

		if (p->kind == PARAM_TEXT || p->kind == PARAM_WORDS)
			continue;
		devmem_options_init(&defaults);
		ASSERT_EQ(read(p->name, p->preset), 0)
			<< p->name << ": " << text;
		set = options;
		EXPECT_EQ(memcmp(reinterpret_cast<char *>(&set) + p->offset,
				 reinterpret_cast<char *>(&defaults) +
					 p->offset,
				 p->kind == PARAM_SIZE ? sizeof(size_t) : 1),
			  0) << p->name << " " << p->preset;
		unsetenv(p->name);
	}
}

TEST_F(Params, EachHasAUniqueNameAndASentence)
{
	for (size_t i = 0; i < params_count; i++) {
		EXPECT_EQ(strncmp(params[i].name, "NCCL_DEVMEM_", 12), 0);
		EXPECT_GT(strlen(params[i].sentence), 10u);
		for (size_t j = 0; j < i; j++)
			EXPECT_STRNE(params[i].name, params[j].name);
	}
}

TEST_F(Params, SizesTakeSuffixes)
{
	struct { const char *text; size_t value; } cases[] = {
		{"65536", 65536}, {"64K", 65536}, {"64k", 65536},
		{"1M", 1 << 20}, {"1m", 1 << 20}, {"2G", size_t{2} << 30},
	};

	for (auto &one : cases) {
		ASSERT_EQ(read("NCCL_DEVMEM_POOL_BYTES", one.text), 0) << text;
		EXPECT_EQ(options.pool_bytes, one.value) << one.text;
	}
}

TEST_F(Params, BoundsAreInclusive)
{
	for (size_t i = 0; i < params_count; i++) {
		const struct param *p = &params[i];

		if (p->kind != PARAM_SIZE && p->kind != PARAM_COUNT)
			continue;
		EXPECT_EQ(read(p->name, std::to_string(p->min).c_str()), 0)
			<< text;
		EXPECT_EQ(read(p->name, std::to_string(p->max).c_str()), 0)
			<< text;
		unsetenv(p->name);
		expect_refused(p->name, std::to_string(p->max + 1).c_str());
		if (p->min)
			expect_refused(p->name,
				       std::to_string(p->min - 1).c_str());
	}
}

TEST_F(Params, NumbersThatAreNoneAreRefused)
{
	for (const char *value : {"banana", "-1", "+1", " 1", "1 ", "0x10",
				  "1e3", "4.5", "1KK", "1T", "K",
				  "18446744073709551616",
				  "99999999999999999999999999"}) {
		expect_refused("NCCL_DEVMEM_FLOWS", value);
		expect_refused("NCCL_DEVMEM_CHUNK_BYTES", value);
	}
	/* These would be in range if the shift wrapped. */
	expect_refused("NCCL_DEVMEM_CHUNK_BYTES", "18014398509486080K");
	expect_refused("NCCL_DEVMEM_CHUNK_BYTES", "17179869185G");
	/* A number of things has no unit. */
	expect_refused("NCCL_DEVMEM_FLOWS", "1K");
}

TEST_F(Params, APoolIsOfWholePages)
{
	EXPECT_EQ(read("NCCL_DEVMEM_POOL_BYTES", "65537"), -EINVAL);
	EXPECT_NE(strstr(text, "NCCL_DEVMEM_POOL_BYTES"), nullptr);
}

TEST_F(Params, ChoicesAreWholeWords)
{
	ASSERT_EQ(read("NCCL_DEVMEM_REGION", "udmabuf"), 0) << text;
	EXPECT_EQ(options.region, DEVMEM_REGION_UDMABUF);
	ASSERT_EQ(read("NCCL_DEVMEM_REGION", "none"), 0) << text;
	EXPECT_EQ(options.region, DEVMEM_REGION_NONE);
	ASSERT_EQ(read("NCCL_DEVMEM_REGION", "cuda"), 0) << text;
	EXPECT_EQ(options.region, DEVMEM_REGION_CUDA);
	for (const char *value : {"udma", "udmabuff", "none,auto", "auto|none",
				  "|"})
		expect_refused("NCCL_DEVMEM_REGION", value);

	ASSERT_EQ(read("NCCL_DEVMEM_GATHER", "none"), 0) << text;
	EXPECT_EQ(options.gather, DEVMEM_GATHER_NONE);
	ASSERT_EQ(read("NCCL_DEVMEM_RX", "emulate"), 0) << text;
	EXPECT_EQ(options.rx, DEVMEM_RX_EMULATE);
	ASSERT_EQ(read("NCCL_DEVMEM_UNPACK", "1"), 0) << text;
	EXPECT_TRUE(options.unpack);
	expect_refused("NCCL_DEVMEM_UNPACK", "2");
	expect_refused("NCCL_DEVMEM_UNPACK", "yes");
	unsetenv("NCCL_DEVMEM_UNPACK");
	ASSERT_EQ(read("NCCL_DEVMEM_ZEROCOPY", "on"), 0) << text;
	EXPECT_EQ(options.zerocopy, DEVMEM_ZEROCOPY_ON);
	ASSERT_EQ(read("NCCL_DEVMEM_ZEROCOPY", "off"), 0) << text;
	EXPECT_EQ(options.zerocopy, DEVMEM_ZEROCOPY_OFF);
	ASSERT_EQ(read("NCCL_DEVMEM_NIC_SETUP", "manual"), 0) << text;
	EXPECT_TRUE(options.nic_manual);
	ASSERT_EQ(read("NCCL_DEVMEM_NIC_SETUP", "auto"), 0) << text;
	EXPECT_FALSE(options.nic_manual);
}

TEST_F(Params, RequireIsASetOfDirections)
{
	struct { const char *text; unsigned int value; } cases[] = {
		{"rx", DEVMEM_REQUIRE_RX}, {"tx", DEVMEM_REQUIRE_TX},
		{"rx,tx", DEVMEM_REQUIRE_RX | DEVMEM_REQUIRE_TX},
		{"tx,rx", DEVMEM_REQUIRE_RX | DEVMEM_REQUIRE_TX},
	};

	for (auto &one : cases) {
		ASSERT_EQ(read("NCCL_DEVMEM_REQUIRE", one.text), 0) << text;
		EXPECT_EQ(options.require, one.value) << one.text;
	}
	/* Half understood would be the silent fallback that it forbids. */
	for (const char *value : {"both", "rx;tx", "rx tx", "r", "rx,,tx"})
		expect_refused("NCCL_DEVMEM_REQUIRE", value);
}

TEST_F(Params, TheInterfaceFallsBackToNcclsOwnVariable)
{
	ASSERT_EQ(read("NCCL_SOCKET_IFNAME", "eth"), 0) << text;
	EXPECT_STREQ(options.ifname, "eth");
	ASSERT_EQ(read("NCCL_DEVMEM_IFNAME", "=ens1"), 0) << text;
	EXPECT_STREQ(options.ifname, "=ens1");
	ASSERT_EQ(read("NCCL_DEVMEM_IFNAME", ""), 0) << text;
	EXPECT_STREQ(options.ifname, "eth") << "empty is unset";
}

TEST_F(Params, ALongValueDoesNotOverrunTheText)
{
	std::string value(100000, '7');
	char small[40];

	setenv("NCCL_DEVMEM_FLOWS", value.c_str(), 1);
	memset(small, 'x', sizeof(small));
	EXPECT_EQ(params_read(&options, small, sizeof(small) - 1), -EINVAL);
	EXPECT_EQ(small[39], 'x');
	EXPECT_NE(memchr(small, 0, 39), nullptr);
}

} // namespace
