// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_reason.cc - the table of reasons: every entry is whole, every slot is filled,
 * and no name of an interface becomes a command of its own.
 */
#include <gtest/gtest.h>

#include <cctype>
#include <set>
#include <string>

extern "C" {
#include "reason.h"
}

namespace {

struct reason_args about(const char *nic, const char *what, const char *detail)
{
	struct reason_args a = {};

	a.nic = nic;
	a.what = what;
	a.detail = detail;
	return a;
}

const struct reason_args everything = { "eth0", "what", "detail", 1, 2, 3, 4 };

/* What looks like a slot and is none that reason.h lists. */
std::string odd_slot(const char *format)
{
	static const std::set<std::string> known = {
		"{nic}", "{what}", "{detail}", "{:detail}",
		"{n}",	 "{m}",	   "{k}",      "{bytes}"
	};
	std::string text = format ? format : "";

	for (size_t at = 0; (at = text.find('{', at)) != std::string::npos;
	     at++) {
		size_t end = text.find('}', at);

		if (end == std::string::npos ||
		    !known.count(text.substr(at, end - at + 1)))
			return text.substr(at);
	}
	return "";
}

std::string command_of(enum reason_id id, const char *nic)
{
	struct reason_args a = everything;
	char text[256];

	a.nic = nic;
	reason_fix(id, &a, text, sizeof(text));
	return text;
}

TEST(Reason, EveryEntryIsWhole)
{
	std::set<std::string> names;

	for (int i = 0; i < REASON_COUNT; i++) {
		const struct reason &r = reasons[i];

		ASSERT_NE(r.name, nullptr) << i;
		ASSERT_NE(r.text, nullptr) << r.name;
		ASSERT_NE(r.meaning, nullptr) << r.name;
		EXPECT_TRUE(names.insert(r.name).second) << r.name;
		for (const char *c = r.name; *c; c++)
			EXPECT_TRUE(islower((unsigned char)*c) || *c == '-' ||
				    isdigit((unsigned char)*c))
				<< r.name;
		if (i != REASON_NONE) {
			EXPECT_EQ(std::string(r.meaning).back(), '.') << r.name;
		}
		EXPECT_FALSE(r.safe && r.fix && std::string(r.fix).find(
				     "export ") == 0)
			<< r.name << ": a variable of the user's shell";
	}
}

TEST(Reason, EverySlotIsKnown)
{
	for (int i = 0; i < REASON_COUNT; i++) {
		EXPECT_EQ(odd_slot(reasons[i].text), "") << reasons[i].name;
		EXPECT_EQ(odd_slot(reasons[i].remedy), "") << reasons[i].name;
		EXPECT_EQ(odd_slot(reasons[i].fix), "") << reasons[i].name;
	}
}

/* With a remedy that ends in a colon comes the command; there has to be one. */
TEST(Reason, LinesAreWholeAndFit)
{
	for (int i = 0; i < REASON_COUNT; i++) {
		const struct reason &r = reasons[i];
		std::string remedy = r.remedy ? r.remedy : "";
		struct why w;

		EXPECT_EQ(reason_set(&w, -5, (enum reason_id)i, &everything),
			  -5);
		EXPECT_EQ(std::string(w.text).find('{'), std::string::npos)
			<< w.text;
		EXPECT_LT(strlen(w.text), sizeof(w.text) - 1) << r.name;
		EXPECT_EQ(w.reason, (unsigned)i);
		if (!remedy.empty() && remedy.back() == ':') {
			ASSERT_NE(r.fix, nullptr) << r.name;
			EXPECT_NE(std::string(w.text).find(w.fix),
				  std::string::npos)
				<< w.text;
		}
		if (r.fix) {
			EXPECT_NE(std::string(w.fix), "") << r.name;
		}
		EXPECT_EQ(std::string(w.text).substr(0, w.head).find("; "),
			  std::string::npos)
			<< r.name << ": \"; \" is before the remedy";
	}
}

TEST(Reason, TheLineOfHeaderSplit)
{
	struct reason_args a = about("eth1", "", nullptr);
	struct why w;

	reason_set(&w, 0, REASON_HEADER_SPLIT_OFF, &a);
	EXPECT_STREQ(w.text,
		     "header split is off on eth1 and "
		     "NCCL_DEVMEM_NIC_SETUP=manual; turn it on: ethtool -G "
		     "eth1 tcp-data-split on");
	EXPECT_STREQ(w.fix, "ethtool -G eth1 tcp-data-split on");
	a.what = " hds-thresh 0";
	reason_set(&w, 0, REASON_HEADER_SPLIT_OFF, &a);
	EXPECT_STREQ(w.fix, "ethtool -G eth1 tcp-data-split on hds-thresh 0");
}

TEST(Reason, WhatTheKernelSaidComesBehindAColonOrNotAtAll)
{
	struct reason_args a = about("e", nullptr, "no");
	struct why w;

	reason_set(&w, 0, REASON_BIND_TX_UNSUPPORTED, &a);
	EXPECT_NE(std::string(w.text).find("netmem_tx): no"),
		  std::string::npos);
	a.detail = "";
	reason_set(&w, 0, REASON_BIND_TX_UNSUPPORTED, &a);
	EXPECT_EQ(std::string(w.text).find("netmem_tx):"), std::string::npos);
}

TEST(Reason, NamesAreQuotedInCommands)
{
	EXPECT_EQ(command_of(REASON_NIC_DOWN, "eth0.7@x"),
		  "ip link set eth0.7@x up");
	EXPECT_EQ(command_of(REASON_NIC_DOWN, "a;reboot"),
		  "ip link set 'a;reboot' up");
	EXPECT_EQ(command_of(REASON_NIC_DOWN, "a$(id)`b"),
		  "ip link set 'a$(id)`b' up");
	EXPECT_EQ(command_of(REASON_NIC_DOWN, "it's"),
		  "ip link set 'it'\\''s' up");
	EXPECT_EQ(command_of(REASON_NIC_DOWN, ""), "ip link set '' up");
}

/* A name that looks like a slot stays what it is. */
TEST(Reason, WhatIsFilledInIsNotFilledInAgain)
{
	EXPECT_EQ(command_of(REASON_NIC_DOWN, "{n}"), "ip link set '{n}' up");
}

TEST(Reason, ACommandThatDoesNotFitIsNone)
{
	const struct reason_args a = about("eth0", nullptr, nullptr);
	char text[12];

	EXPECT_EQ(reason_fix(REASON_NIC_DOWN, &a, text, sizeof(text)),
		  strlen("ip link set eth0 up"));
	EXPECT_STREQ(text, "");
	EXPECT_EQ(reason_text(REASON_NIC_DOWN, &a, text, sizeof(text)),
		  strlen("eth0 is down"));
	EXPECT_STREQ(text, "eth0 is dow");
}

} // namespace
