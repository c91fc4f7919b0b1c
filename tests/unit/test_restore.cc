// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_restore.cc - putting settings back on a NIC whose driver refuses: what could
 * not be done is told, and the rest is done all the same. The NIC is one that
 * ioctl() is asked for; with a true one it is tested in the lab (61-guard.sh).
 */
#include <gtest/gtest.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "c_headers.h"

namespace {

struct FakeNic {
	std::map<uint32_t, uint64_t> rules; /* location, queue */
	std::set<uint32_t> stuck;	    /* not to be deleted */
	std::set<uint32_t> racing;	    /* somebody else is faster */
};
FakeNic *fake;

int rule_command(struct ethtool_rxnfc *c)
{
	uint32_t at = c->fs.location;

	switch (c->cmd) {
	case ETHTOOL_GRXCLSRLALL:
		c->rule_cnt = 0;
		for (const auto &r : fake->rules)
			c->rule_locs[c->rule_cnt++] = r.first;
		return 0;
	case ETHTOOL_GRXCLSRULE:
		if (!fake->rules.count(at))
			return ENOENT;
		c->fs.ring_cookie = fake->rules[at];
		return 0;
	case ETHTOOL_SRXCLSRLDEL:
		if (fake->stuck.count(at))
			return EBUSY;
		fake->rules.erase(at);
		return fake->racing.count(at) ? ENOENT : 0;
	}
	return EOPNOTSUPP;
}

class Restore : public ::testing::Test {
protected:
	void SetUp() override
	{
		o->owner[6] = 1;
		o->owner[7] = NICFILE_NOBODY;
		o->rules = 1;
		o->rule[0] = 1;
		/* One that was there; two that came; one to another queue. */
		nic.rules = {{1, 7}, {2, 6}, {3, 7}, {4, 0}};
		fake = &nic;
	}
	void TearDown() override { fake = nullptr; }

	FakeNic nic;
	std::unique_ptr<nic_original> o{new nic_original()};
	restored done = {};
};

TEST_F(Restore, RulesThatCameSinceGo)
{
	EXPECT_EQ(restore_all("fake0", 1, o.get(), &done), 0);
	EXPECT_EQ(done.rules, 2u);
	EXPECT_EQ(nic.rules.size(), 2u);
	EXPECT_EQ(nic.rules.count(1) + nic.rules.count(4), 2u);
}

TEST_F(Restore, ARuleThatStaysIsAnErrorAndTheOthersGo)
{
	nic.stuck = {2};
	EXPECT_EQ(restore_all("fake0", 1, o.get(), &done), -EBUSY);
	EXPECT_EQ(done.rules, 1u);
	EXPECT_EQ(nic.rules.count(3), 0u);
	nic.stuck.clear();
	EXPECT_EQ(restore_all("fake0", 1, o.get(), &done), 0);
	EXPECT_EQ(nic.rules.size(), 2u);
}

TEST_F(Restore, ARuleThatAnotherHasRemovedIsNone)
{
	nic.racing = {2};
	EXPECT_EQ(restore_all("fake0", 1, o.get(), &done), 0);
	EXPECT_EQ(done.rules, 1u);
}

} // namespace

extern "C" int __real_ioctl(int fd, unsigned long what, void *arg);

extern "C" int __wrap_ioctl(int fd, unsigned long what, void *arg)
{
	auto *ifr = static_cast<struct ifreq *>(arg);

	if (!fake || what != SIOCETHTOOL || strcmp(ifr->ifr_name, "fake0"))
		return __real_ioctl(fd, what, arg);
	errno = rule_command(reinterpret_cast<struct ethtool_rxnfc *>(
		ifr->ifr_data));
	return errno ? -1 : 0;
}
