// SPDX-License-Identifier: BSD-3-Clause
/* test_names.cc - interface selection, and addresses as they are compared. */
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "c_headers.h"

namespace {

bool selects(const char *spec, const char *name)
{
	return ifname_selected(spec, name, !strcmp(name, "lo"));
}

TEST(Ifname, NothingSaidIsAllButLoopback)
{
	for (const char *spec : {static_cast<const char *>(nullptr), ""}) {
		EXPECT_TRUE(selects(spec, "eth0"));
		EXPECT_FALSE(selects(spec, "lo"));
	}
}

TEST(Ifname, APlainListIsOfPrefixes)
{
	EXPECT_TRUE(selects("eth", "eth0"));
	EXPECT_TRUE(selects("eth,ens", "ens3f0"));
	EXPECT_FALSE(selects("eth,ens", "docker0"));
	EXPECT_FALSE(selects("eth0", "eth"));
	EXPECT_TRUE(selects("eth1", "eth10"));
	EXPECT_TRUE(selects("lo", "lo")) << "loopback if it is asked for";
}

TEST(Ifname, AnEqualsSignMakesThemExact)
{
	EXPECT_TRUE(selects("=eth1", "eth1"));
	EXPECT_FALSE(selects("=eth1", "eth10"));
	EXPECT_FALSE(selects("=eth1", "eth"));
	EXPECT_TRUE(selects("=eth0,eth1,lo", "lo"));
}

TEST(Ifname, ACaretExcludes)
{
	EXPECT_FALSE(selects("^docker,lo", "docker0"));
	EXPECT_FALSE(selects("^docker,lo", "lo"));
	EXPECT_TRUE(selects("^docker,lo", "eth0"));
	EXPECT_TRUE(selects("^=eth1", "eth10"));
	EXPECT_FALSE(selects("^=eth1", "eth1"));
}

TEST(Ifname, EmptyItemsSelectNothing)
{
	EXPECT_FALSE(selects(",", "eth0"));
	EXPECT_FALSE(selects("=,,", "eth0"));
	EXPECT_TRUE(selects(",,eth0", "eth0"));
	EXPECT_TRUE(selects("eth0,,", "eth0"));
	EXPECT_FALSE(selects("=", "eth0"));
	EXPECT_TRUE(selects("^,", "eth0"));
}

struct sockaddr_storage v4(const char *text, uint16_t port)
{
	struct sockaddr_storage storage = {};
	auto *in = reinterpret_cast<struct sockaddr_in *>(&storage);

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	inet_pton(AF_INET, text, &in->sin_addr);
	return storage;
}

struct sockaddr_storage v6(const char *text, uint16_t port)
{
	struct sockaddr_storage storage = {};
	auto *in = reinterpret_cast<struct sockaddr_in6 *>(&storage);

	in->sin6_family = AF_INET6;
	in->sin6_port = htons(port);
	inet_pton(AF_INET6, text, &in->sin6_addr);
	return storage;
}

TEST(Address, PortsAreInHostOrder)
{
	for (auto address : {v4("10.0.0.1", 5000), v6("fe80::1", 5000)}) {
		EXPECT_EQ(addr_port(&address), 5000);
		addr_set_port(&address, 0x1234);
		EXPECT_EQ(addr_port(&address), 0x1234);
	}
}

TEST(Address, EqualIsHostAndPortAndFamily)
{
	auto a = v4("10.0.0.1", 5000), b = v4("10.0.0.1", 5000);
	auto c = v6("::1", 5000), d = v6("::1", 5000);

	EXPECT_TRUE(addr_equal(&a, &b));
	EXPECT_TRUE(addr_equal(&c, &d));
	EXPECT_FALSE(addr_equal(&a, &c));
	addr_set_port(&b, 5001);
	addr_set_port(&d, 5001);
	EXPECT_FALSE(addr_equal(&a, &b));
	EXPECT_FALSE(addr_equal(&c, &d));
	b = v4("10.0.0.2", 5000);
	d = v6("::2", 5000);
	EXPECT_FALSE(addr_equal(&a, &b));
	EXPECT_FALSE(addr_equal(&c, &d));
}

TEST(Address, TextFitsWhatIsGivenForIt)
{
	auto a = v4("10.0.0.1", 5000), b = v6("::1", 5000);
	char text[ADDR_TEXT], small[8];

	EXPECT_STREQ(addr_text(&a, true, text, sizeof(text)), "10.0.0.1:5000");
	EXPECT_STREQ(addr_text(&a, false, text, sizeof(text)), "10.0.0.1");
	EXPECT_STREQ(addr_text(&b, true, text, sizeof(text)), "[::1]:5000");
	memset(small, 'x', sizeof(small));
	addr_text(&a, true, small, sizeof(small) - 1);
	EXPECT_EQ(small[7], 'x');
	EXPECT_NE(memchr(small, 0, 7), nullptr);
}

TEST(Sockets, AreNonBlockingAndMeet)
{
	auto address = v4("127.0.0.1", 0), peer = address;
	int listener = sock_listen(&address, 4);
	uint16_t port = 0;

	ASSERT_GE(listener, 0);
	EXPECT_NE(addr_port(&address), 0);
	EXPECT_EQ(sock_accept(listener, &peer), -EAGAIN);
	auto own = v4("127.0.0.1", 0);
	int client = sock_bound(&own, &port);
	ASSERT_GE(client, 0);
	EXPECT_NE(port, 0);
	ASSERT_EQ(sock_connect(client, &address), 0);
	int accepted = -EAGAIN, connected = -EAGAIN;
	for (int i = 0; i < 100000 && (accepted == -EAGAIN ||
				       connected == -EAGAIN); i++) {
		if (accepted == -EAGAIN)
			accepted = sock_accept(listener, &peer);
		if (connected == -EAGAIN)
			connected = sock_connected(client);
	}
	ASSERT_GE(accepted, 0);
	EXPECT_EQ(connected, 0);
	EXPECT_EQ(addr_port(&peer), port) << "the port that was bound";
	EXPECT_EQ(sock_tune(accepted, 1), 0);
	EXPECT_EQ(sock_tune(client, 3600), 0);
	EXPECT_EQ(sock_silent_ms(client), 0u) << "nothing is sent again";
	EXPECT_GT(sock_mss(accepted), 0u);
	close(accepted);
	close(client);
	close(listener);
}

TEST(Sockets, AConnectionThatIsRefusedSaysSo)
{
	auto address = v4("127.0.0.1", 0), own = address;
	int listener = sock_listen(&address, 1);
	uint16_t port;

	ASSERT_GE(listener, 0);
	close(listener);
	int client = sock_bound(&own, &port);
	ASSERT_GE(client, 0);
	int rc = sock_connect(client, &address);
	for (int i = 0; i < 100000 && (rc == 0 || rc == -EAGAIN); i++)
		rc = sock_connected(client);
	EXPECT_EQ(rc, -ECONNREFUSED);
	close(client);
}

} // namespace
