// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_doctor.cc - what the doctor reads of PCI, and the children that ask what may
 * crash or hang. The rest of it is tested in the lab, on hosts with faults.
 */
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

extern "C" {
#include "doctor.h"
#include "doctor_pci.h"
}

namespace {

const char nic[] = "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/"
		   "0000:02:08.0/0000:03:00.0";
const char gpu[] = "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/"
		   "0000:02:10.0/0000:04:00.0";
const char far_gpu[] = "/sys/devices/pci0000:00/0000:00:02.0/0000:05:00.0";
const char other_root[] = "/sys/devices/pci0000:80/0000:80:02.0/0000:85:00.0";

TEST(DoctorPci, OneSwitchOrTheRoot)
{
	EXPECT_TRUE(pci_share_bridge(nic, gpu));
	EXPECT_FALSE(pci_share_bridge(nic, far_gpu));
	EXPECT_FALSE(pci_share_bridge(nic, other_root));
	EXPECT_FALSE(pci_share_bridge("", ""));
	EXPECT_FALSE(pci_share_bridge("/", "/"));
}

std::vector<uint8_t> config(uint32_t first, uint32_t second, uint16_t control)
{
	std::vector<uint8_t> c(4096);

	memcpy(&c[0x100], &first, 4);
	memcpy(&c[0x140], &second, 4);
	memcpy(&c[0x146], &control, 2);
	return c;
}

TEST(DoctorPci, AcsIsFoundBehindOtherCapabilities)
{
	auto c = config(0x14010001, 0x0001000d, 0x001d);

	EXPECT_EQ(pci_acs_control(c.data(), c.size()), 0x1d);
	/* What an unprivileged reader gets ends before. */
	EXPECT_EQ(pci_acs_control(c.data(), 64), -1);
	EXPECT_EQ(pci_acs_control(c.data(), 0x140), -1);
	EXPECT_EQ(pci_acs_control(c.data(), 0x147), -1);
}

TEST(DoctorPci, AListThatIsACircleOrLeadsNowhereEnds)
{
	auto circle = config(0x10010001, 0, 0);
	auto back = config(0x14010001, 0x10010002, 0);
	auto out = config(0xfff10001, 0, 0);
	auto low = config(0x04010001, 0, 0);

	EXPECT_EQ(pci_acs_control(circle.data(), circle.size()), -1);
	EXPECT_EQ(pci_acs_control(back.data(), back.size()), -1);
	EXPECT_EQ(pci_acs_control(out.data(), out.size()), -1);
	EXPECT_EQ(pci_acs_control(low.data(), low.size()), -1);
}

TEST(DoctorPci, SizeOfARegion)
{
	const char text[] =
		"0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200\n"
		"0x0000383800000000 0x0000383bffffffff 0x000000000014220c\n"
		"0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

	EXPECT_EQ(pci_region_size(text, 0), 16u << 20);
	EXPECT_EQ(pci_region_size(text, 1), 16ull << 30);
	EXPECT_EQ(pci_region_size(text, 2), 0u);
	EXPECT_EQ(pci_region_size(text, 3), 0u);
	EXPECT_EQ(pci_region_size("", 1), 0u);
	EXPECT_EQ(pci_region_size("nonsense\nmore", 1), 0u);
}

/* A tree of folders as sysfs has it. */
class DoctorTree : public testing::Test {
protected:
	void SetUp() override
	{
		char name[] = "/tmp/doctor.XXXXXX";

		ASSERT_NE(mkdtemp(name), nullptr);
		root = name;
		bridge = folder("/pci0000:00") + "/0000:01:00.0";
		mkdir(bridge.c_str(), 0700);
		port = bridge + "/0000:02:08.0";
		mkdir(port.c_str(), 0700);
		a = port + "/0000:03:00.0";
		mkdir(a.c_str(), 0700);
		b = bridge + "/0000:02:10.0/0000:04:00.0";
	}
	void TearDown() override
	{
		std::string rm = "rm -rf " + root;

		EXPECT_EQ(system(rm.c_str()), 0);
	}
	std::string folder(const char *below)
	{
		std::string path = root + below;

		mkdir(path.c_str(), 0700);
		return path;
	}
	static void write(const std::string &path, const void *data, size_t n)
	{
		FILE *f = fopen(path.c_str(), "w");

		ASSERT_NE(f, nullptr);
		fwrite(data, 1, n, f);
		fclose(f);
	}
	std::string root, bridge, port, a, b;
};

TEST_F(DoctorTree, APortThatRedirectsIsNamed)
{
	auto off = config(0x14010001, 0x0001000d, 0);
	auto on = config(0x14010001, 0x0001000d, 0x1d);
	char name[32] = "";

	EXPECT_FALSE(pci_redirecting(a.c_str(), b.c_str(), name, sizeof(name)));
	write(port + "/config", off.data(), off.size());
	EXPECT_FALSE(pci_redirecting(a.c_str(), b.c_str(), name, sizeof(name)));
	/* The device itself, and what both are below, are not in the way. */
	write(a + "/config", on.data(), on.size());
	write(bridge + "/config", on.data(), on.size());
	EXPECT_FALSE(pci_redirecting(a.c_str(), b.c_str(), name, sizeof(name)));
	write(port + "/config", on.data(), on.size());
	EXPECT_TRUE(pci_redirecting(a.c_str(), b.c_str(), name, sizeof(name)));
	EXPECT_STREQ(name, "0000:02:08.0");
}

TEST_F(DoctorTree, WhatTheIommuDoes)
{
	std::string group = a + "/iommu_group";

	EXPECT_FALSE(pci_is_translated(a.c_str()));
	mkdir(group.c_str(), 0700);
	write(group + "/type", "identity\n", 9);
	EXPECT_FALSE(pci_is_translated(a.c_str()));
	write(group + "/type", "DMA-FQ\n", 7);
	EXPECT_TRUE(pci_is_translated(a.c_str()));
}

void answers(void *result, void *arg)
{
	*(int *)result = *(int *)arg + 1;
}

void crashes(void *, void *)
{
	raise(SIGKILL);
}

void hangs(void *, void *)
{
	for (;;)
		pause();
}

void leaves(void *, void *)
{
	_exit(0);
}

void talks(void *result, void *)
{
	printf("loaded\n");
	fflush(stdout);
	*(int *)result = 1;
}

/* It would be in the middle of what `doctor --json` prints. */
TEST(DoctorChild, SaysNothingInOurAnswer)
{
	int result, rc;

	testing::internal::CaptureStdout();
	rc = doctor_in_child(talks, nullptr, &result, sizeof(result), 30);
	EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
	EXPECT_EQ(rc, 0);
	EXPECT_EQ(result, 1);
}

TEST(DoctorChild, AnswersOrIsDoneWith)
{
	int result = 7, arg = 41;

	EXPECT_EQ(doctor_in_child(answers, &arg, &result, sizeof(result), 30),
		  0);
	EXPECT_EQ(result, 42);
	EXPECT_EQ(doctor_in_child(crashes, &arg, &result, sizeof(result), 30),
		  -EIO);
	EXPECT_EQ(result, 0);
	EXPECT_EQ(doctor_in_child(leaves, &arg, &result, sizeof(result), 30),
		  -EIO);
	EXPECT_EQ(doctor_in_child(hangs, &arg, &result, sizeof(result), 1),
		  -ETIMEDOUT);
}

} // namespace
