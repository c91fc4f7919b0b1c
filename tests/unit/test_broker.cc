// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_broker.cc - the broker, as far as it goes without a NIC: who is allowed what,
 * what it remembers, and that no message of anybody's makes it fail, or keep
 * anything.
 */
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#ifndef _Static_assert
#define _Static_assert static_assert
#endif

extern "C" {
#include "devmemd.h"
#include "sock.h"
int broker_fuzz_one(const uint8_t *data, size_t size);
}

namespace {

std::string refusal(const std::string &text)
{
	auto p = std::make_unique<policy>();
	char why[POLICY_WHY] = "";

	return policy_parse(text.c_str(), p.get(), why) ? why : "";
}

struct Policy : testing::Test {
	std::unique_ptr<policy> p = std::make_unique<policy>();
	policy_limits got{};

	void load(const char *text)
	{
		char why[POLICY_WHY];

		ASSERT_EQ(policy_parse(text, p.get(), why), 0) << why;
	}
	unsigned queues(uid_t uid, gid_t gid, const char *nic,
			const std::vector<gid_t> &groups = {})
	{
		policy_peer who{uid, gid, groups.data(),
				static_cast<unsigned>(groups.size())};

		return policy_allows(p.get(), &who, nic, &got) ? got.queues : 0;
	}
};

TEST_F(Policy, WhatNoLineAllowsIsRefused)
{
	load("");
	EXPECT_EQ(queues(0, 0, "eth0"), 0u);
	load("# nothing\n\n   \n");
	EXPECT_EQ(queues(1000, 1000, "eth0"), 0u);
}

TEST_F(Policy, IsOfUsersGroupsAndPatterns)
{
	load("allow user 1000 nic eth1 queues 4\n"
	     "allow group 2000 nic eth* queues 8 rules 7 # all of them\n"
	     "allow user * nic dm0a queues 1 leases 3\n");
	EXPECT_EQ(queues(1000, 1000, "eth1"), 4u);
	EXPECT_EQ(queues(1000, 1000, "eth2"), 0u);
	EXPECT_EQ(queues(1001, 1000, "eth1"), 0u);
	EXPECT_EQ(queues(1001, 2000, "eth2"), 8u);
	EXPECT_EQ(got.rules, 7u);
	EXPECT_EQ(queues(1001, 1000, "eth2", {1, 2, 2000}), 8u);
	EXPECT_EQ(queues(2000, 1000, "eth2"), 0u) << "a group is no user";
	EXPECT_EQ(queues(1, 1, "dm0a"), 1u);
	EXPECT_EQ(got.leases, 3u);
}

TEST_F(Policy, TheMostGenerousLineCounts)
{
	load("allow user 1000 nic eth1 queues 2\n"
	     "allow group 7 nic * queues 6\n"
	     "allow user * nic eth1 queues 1\n");
	EXPECT_EQ(queues(1000, 7, "eth1"), 6u);
	EXPECT_EQ(queues(1000, 8, "eth1"), 2u);
	EXPECT_EQ(queues(5, 5, "eth1"), 1u);
}

TEST_F(Policy, NamesAreLookedUp)
{
	load("allow user root nic eth1 queues 2");
	EXPECT_EQ(queues(0, 0, "eth1"), 2u);
	EXPECT_NE(refusal("allow user no-such-user-here nic e queues 1")
			  .find("line 1: no such user"),
		  std::string::npos);
	EXPECT_NE(refusal("allow group no-such-group-here nic e queues 1")
			  .find("no such group"),
		  std::string::npos);
}

TEST(PolicyText, ThatIsWrongIsRefusedByLine)
{
	const struct {
		const char *text, *why;
	} wrong[] = {
		{"deny user 1 nic e queues 1", "allow is due"},
		{"allow", "it must be"},
		{"allow user 1 nic e", "it must be"},
		{"allow user 1 nic e queues", "it must be"},
		{"allow admin 1 nic e queues 1", "user or group is due"},
		{"allow group * nic e queues 1", "user *"},
		{"allow user 1 dev e queues 1", "nic is due"},
		{"allow user 1 nic e queues 0", "from 1 to"},
		{"allow user 1 nic e queues -1", "from 1 to"},
		{"allow user 1 nic e queues 1x", "from 1 to"},
		{"allow user 1 nic e queues 99999", "from 1 to"},
		{"allow user 1 nic e leases 1", "queues is missing"},
		{"allow user 1 nic e queues 1 queues 2", "twice"},
		{"allow user 1 nic e queues 1 cores 2", "is due"},
		{"allow user 1 nic eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee queues 1",
		 "too long"},
	};

	for (const auto &w : wrong) {
		std::string why = refusal(std::string("# one\n\n") + w.text);

		EXPECT_EQ(why.find("line 3: "), 0u) << w.text << ": " << why;
		EXPECT_NE(why.find(w.why), std::string::npos)
			<< w.text << ": " << why;
	}
	std::string many;
	for (int i = 0; i <= POLICY_LINES; i++)
		many += "allow user 1 nic e queues 1\n";
	EXPECT_EQ(refusal(many), "line 257: more than 256 lines");
}

TEST(PolicyFile, ThatOthersMayWriteIsRefusedAndTheOldOneStays)
{
	char path[] = "/tmp/policy.XXXXXX", why[POLICY_WHY];
	auto p = std::make_unique<policy>();
	int fd = mkstemp(path);
	const char text[] = "allow user 1 nic e queues 1\n";

	ASSERT_GE(fd, 0);
	ASSERT_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	EXPECT_EQ(policy_load(path, p.get(), why), 0) << why;
	EXPECT_EQ(p->lines, 1u);
	fchmod(fd, 0666);
	EXPECT_LT(policy_load(path, p.get(), why), 0);
	EXPECT_NE(strstr(why, "nobody else can write"), nullptr) << why;
	fchmod(fd, 0600);
	EXPECT_EQ(pwrite(fd, "x", 1, 0), 1);
	EXPECT_LT(policy_load(path, p.get(), why), 0);
	EXPECT_LT(policy_load("/nowhere/policy", p.get(), why), 0);
	EXPECT_EQ(p->lines, 1u);
	close(fd);
	unlink(path);
}

sockaddr_storage address(const char *text, uint16_t port)
{
	sockaddr_storage a{};
	bool v6 = strchr(text, ':');
	uint8_t bytes[16];

	inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes);
	addr_get(&a, v6 ? AF_INET6 : AF_INET, bytes);
	addr_set_port(&a, port);
	return a;
}

std::unique_ptr<devmemd> with_leases()
{
	auto d = std::make_unique<devmemd>();

	d->netns = 18446744073709551615u;
	for (unsigned i : {0u, 5u}) {
		held *h = &d->held[i];

		h->used = true;
		strcpy(h->lease.ifname, "enp65s0f0np0");
		h->lease.ifindex = 3 + i;
		h->lease.dmabuf_id = 77;
		h->lease.queues = DEVMEM_MAX_QUEUES;
		for (unsigned k = 0; k < DEVMEM_MAX_QUEUES; k++)
			h->lease.queue[k] = 1000 - k;
		h->guid = 0xfe5400123456;
		memset(h->token, 0xa0 + (int)i, sizeof(h->token));
		h->uid = 1000 + i;
		h->pid = 4711;
	}
	d->rule[9] = {true, 5, 1023, true, address("10.0.0.1", 1),
		      address("10.0.0.2", 65535), -1};
	d->rule[2] = {true, 5, 0, false, address("fd00::1", 2),
		      address("fd00::2", 3), -1};
	return d;
}

std::string text_of(const devmemd &d)
{
	std::string s(1 << 20, '\0');

	s.resize(state_format(&d, s.data(), s.size()));
	return s;
}

TEST(BrokerState, WhatIsWrittenIsReadAgain)
{
	auto d = with_leases(), back = std::make_unique<devmemd>();
	std::string text = text_of(*d), copy = text;
	int line;

	ASSERT_EQ(state_parse(back.get(), copy.data(), &line), 0) << line;
	EXPECT_EQ(back->netns, d->netns);
	EXPECT_TRUE(back->held[0].used && back->held[1].used);
	EXPECT_FALSE(back->held[2].used);
	EXPECT_EQ(back->held[1].uid, 1005u);
	EXPECT_EQ(back->held[1].client, -1);
	EXPECT_EQ(back->held[0].lease.queues, (unsigned)DEVMEM_MAX_QUEUES);
	EXPECT_EQ(back->rule[0].lease, 1u);
	EXPECT_EQ(back->rule[0].port, -1);
	EXPECT_TRUE(addr_equal(&back->rule[0].to, &d->rule[2].to));
	EXPECT_EQ(text_of(*back), text);
}

/* Of a file that is cut off somewhere nothing is believed. */
TEST(BrokerState, WithoutItsEndIsRefused)
{
	std::string text = text_of(*with_leases());

	for (size_t n = 0; n + 4 < text.size(); n += 7) {
		auto d = std::make_unique<devmemd>();
		std::string cut = text.substr(0, n);
		int line;

		EXPECT_NE(state_parse(d.get(), cut.data(), &line), 0) << cut;
	}
}

TEST(BrokerFuzz, NoTextAndNoRequestIsTooStrange)
{
	const std::string seeds[] = {
		text_of(*with_leases()),
		"allow user 1000 nic eth* queues 4 leases 2 rules 9\n",
	};
	std::mt19937 random(7);

	for (int i = 0; i < 10000; i++) {
		broker_request q = broker_request_of(broker_type(1 + random() % 4));
		std::string s = i % 3 ? seeds[i % 3 - 1] :
					std::string((char *)&q, sizeof(q));

		for (unsigned k = random() % 8; k; k--)
			s[random() % s.size()] = (char)random();
		if (random() % 4 == 0)
			s.resize(random() % s.size());
		broker_fuzz_one((const uint8_t *)s.data(), s.size());
	}
}

/* A broker that is served in between, on this thread. */
struct Broker : testing::Test {
	std::unique_ptr<devmemd> d = std::make_unique<devmemd>();
	char dir[32] = "/tmp/broker.XXXXXX";
	std::string path;

	void SetUp() override
	{
		char why[POLICY_WHY];
		int fd;

		ASSERT_NE(mkdtemp(dir), nullptr);
		path = std::string(dir) + "/sock";
		ASSERT_EQ(policy_parse("allow user * nic lo queues 4",
				       &d->policy, why),
			  0);
		d->policy_path = "the policy";
		d->state_path = dir;
		d->state_dir = open(dir, O_DIRECTORY | O_RDONLY);
		fd = listen_at(path.c_str());
		ASSERT_GE(fd, 0);
		fcntl(fd, F_SETFL, O_NONBLOCK);
		ASSERT_EQ(devmemd_serve(d.get(), fd), 0);
		testing::internal::CaptureStderr();
	}
	void TearDown() override
	{
		testing::internal::GetCapturedStderr();
		devmemd_stop(d.get());
		close(d->state_dir);
		unlink(path.c_str());
		rmdir(dir);
	}
	void serve()
	{
		for (int i = 0; i < 8; i++)
			devmemd_step(d.get(), 0);
	}
	int dial()
	{
		sockaddr_un a{};
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

		a.sun_family = AF_UNIX;
		strcpy(a.sun_path, path.c_str());
		EXPECT_EQ(connect(fd, (sockaddr *)&a, sizeof(a)), 0);
		return fd;
	}
	/* The answer's text, or "hung up". */
	std::string ask(int fd, const broker_request &q, int pass = -1,
			size_t n = sizeof(broker_request))
	{
		broker_answer a;
		int got = -1, rc = broker_send(fd, &q, n, pass);

		serve();
		rc = rc ? rc : broker_recv(fd, &a, sizeof(a), &got);
		EXPECT_EQ(got, -1);
		if (rc)
			return rc == -EPIPE ? "hung up" : strerror(-rc);
		EXPECT_EQ(a.magic, BROKER_MAGIC);
		EXPECT_EQ(a.type, q.type);
		return a.status ? a.text : "given";
	}
	std::string ask_anew(const broker_request &q, int pass = -1,
			     size_t n = sizeof(broker_request))
	{
		int fd = dial();
		std::string text = ask(fd, q, pass, n);

		close(fd);
		serve();
		return text;
	}
	static size_t open_files()
	{
		DIR *all = opendir("/proc/self/fd");
		size_t n = 0;

		while (readdir(all))
			n++;
		closedir(all);
		return n;
	}
	unsigned clients() const
	{
		unsigned n = 0;

		for (const client &c : d->client)
			n += c.fd >= 0;
		return n;
	}
};

broker_request bind_lo()
{
	broker_request q = broker_request_of(BROKER_BIND_RX);

	strcpy(q.ifname, "lo");
	q.queues = 2;
	return q;
}

TEST_F(Broker, RefusesWhatIsNoRequest)
{
	broker_request q = bind_lo();

	EXPECT_EQ(ask_anew(q, -1, 10), "hung up");
	q.magic++;
	EXPECT_EQ(ask_anew(q), "that is no request");
	q = bind_lo();
	q.version = 9;
	EXPECT_EQ(ask_anew(q).find("version 9 where 1 is spoken"), 0u);
	q = bind_lo();
	EXPECT_EQ(ask_anew(q), "there is no dma-buf");
	q.reserved[19] = 1;
	EXPECT_EQ(ask_anew(q, 0), "reserved bytes are not 0");
	q = bind_lo();
	memset(q.ifname, 'x', sizeof(q.ifname));
	EXPECT_EQ(ask_anew(q, 0), "the NIC has no name");
	q = bind_lo();
	q.queues = DEVMEM_MAX_QUEUES + 1;
	EXPECT_EQ(ask_anew(q, 0), "17 queues: it must be 1 to 16");
	EXPECT_EQ(ask_anew(broker_request_of(BROKER_STATUS), 0),
		  "nobody asked for a descriptor");
	EXPECT_EQ(ask_anew(broker_request_of(broker_type(99))),
		  "no such request: 99");
}

TEST_F(Broker, RefusesWhatThePolicyDoesNotAllow)
{
	broker_request q = bind_lo();
	int file = open("/dev/null", O_RDWR);

	EXPECT_EQ(ask_anew(q, file), "the descriptor is not a dma-buf");
	q.queues = 5;
	EXPECT_NE(ask_anew(q, file).find("4 queues of lo; it has 0, and wants 5"),
		  std::string::npos);
	d->policy.lines = 0;
	EXPECT_NE(ask_anew(bind_lo(), file).find("does not allow"),
		  std::string::npos);
	strcpy(q.ifname, "nowhere0");
	EXPECT_EQ(ask_anew(q, file).find("nowhere0: "), 0u);
	close(file);
}

/* A lease of this user's, and one of another's, on queues that nothing is bound to. */
struct BrokerRules : Broker {
	int listener = -1;
	uint16_t port = 0;

	void SetUp() override
	{
		sockaddr_storage a = address("127.0.0.1", 0);

		Broker::SetUp();
		for (unsigned i = 0; i < 2; i++) {
			held *h = &d->held[i];

			h->used = true;
			strcpy(h->lease.ifname, "lo");
			h->lease.ifindex = 1;
			h->lease.queues = 1;
			h->lease.queue[0] = 3 + i;
			h->uid = geteuid() + i;
			h->client = 0;
			memset(h->token, 'a' + (int)i, sizeof(h->token));
		}
		listener = sock_listen(&a, 1);
		port = addr_port(&a);
	}
	void TearDown() override
	{
		d->held[0].used = d->held[1].used = false;
		state_write(d.get());
		close(listener);
		Broker::TearDown();
	}
	broker_request rule(char token = 'a')
	{
		broker_request q = broker_request_of(BROKER_RULE_ADD);

		memset(q.token, token, sizeof(q.token));
		q.queue = 3;
		q.family = AF_INET;
		q.port = 4711;
		q.addr[0] = 10;
		return q;
	}
};

TEST_F(BrokerRules, AreForTheLeasesUserAlone)
{
	broker_request q = rule('b'), gone = broker_request_of(BROKER_RULE_DELETE);
	std::string foreign = ask_anew(q, listener);

	EXPECT_NE(foreign.find("no such lease"), std::string::npos);
	/* It is not told apart from one that there is not. */
	EXPECT_EQ(ask_anew(rule('c'), listener), foreign);
	q = rule();
	q.token[15]++;
	EXPECT_EQ(ask_anew(q, listener), foreign);
	q = rule();
	q.queue = 4;
	EXPECT_EQ(ask_anew(q, listener), "queue 4 is not of that lease");

	d->rule[0] = {true, 1, 8, false, {}, {}, -1};
	d->rule[1] = {true, 0, 9, false, {}, {}, -1};
	gone.location = 8;
	memset(gone.token, 'a', sizeof(gone.token));
	EXPECT_EQ(ask_anew(gone), "rule 8 is not of that lease");
	memset(gone.token, 'b', sizeof(gone.token));
	EXPECT_EQ(ask_anew(gone), foreign);
	EXPECT_TRUE(d->rule[0].used);
}

TEST_F(BrokerRules, AreForSocketsThatListenThere)
{
	int file = open("/dev/null", O_RDWR);
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	int tcp = socket(AF_INET, SOCK_STREAM, 0);
	int local = socket(AF_UNIX, SOCK_STREAM, 0);
	int wild = socket(AF_INET, SOCK_STREAM, 0);
	int elsewhere = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	const char not_tcp[] = "the descriptor is not a TCP socket that listens";
	sockaddr_storage far = address("192.0.2.9", 0);
	broker_request q = rule();

	for (int fd : {file, udp, tcp, local})
		EXPECT_EQ(ask_anew(q, fd), not_tcp);
	ASSERT_EQ(listen(wild, 1), 0);
	EXPECT_EQ(ask_anew(q, wild),
		  "the socket does not listen on an address of lo");
	setsockopt(elsewhere, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	ASSERT_EQ(bind(elsewhere, (sockaddr *)&far, addr_len(&far)), 0);
	ASSERT_EQ(listen(elsewhere, 1), 0);
	EXPECT_EQ(ask_anew(q, elsewhere),
		  "the socket does not listen on an address of lo");
	q.family = AF_INET6;
	EXPECT_EQ(ask_anew(q, listener), "the flow comes from nowhere");
	q = rule();
	q.port = 0;
	EXPECT_EQ(ask_anew(q, listener), "the flow comes from nowhere");
	/* All is right, but loopback steers nothing. */
	EXPECT_EQ(ask_anew(rule(), listener).find("lo took no rule"), 0u);
	d->policy.line[0].limits.rules = 1;
	d->rule[1] = {true, 0, 9, false, {}, {}, -1};
	EXPECT_NE(ask_anew(rule(), listener).find("1 rules"), std::string::npos);
	for (int fd : {file, udp, tcp, local, wild, elsewhere})
		close(fd);
}

/* Which a server has that listens no more: its place can be taken. */
TEST_F(BrokerRules, AreNotForConnectionsOfOthers)
{
	sockaddr_storage a = address("127.0.0.1", 0);
	int server = socket(AF_INET, SOCK_STREAM, 0), on = 1, taken, mine;
	int peer = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(a);

	if (geteuid())
		GTEST_SKIP() << "only root can be two users";
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	ASSERT_EQ(bind(server, (sockaddr *)&a, addr_len(&a)), 0);
	ASSERT_EQ(listen(server, 1), 0);
	ASSERT_EQ(getsockname(server, (sockaddr *)&a, &len), 0);
	ASSERT_EQ(connect(peer, (sockaddr *)&a, addr_len(&a)), 0);
	/* Not accepted, it is nobody's; then it is another user's. */
	EXPECT_EQ(ask_anew(rule(), server).find("lo took no rule"), 0u);
	ASSERT_EQ(seteuid(12345), 0);
	taken = accept(server, nullptr, nullptr);
	ASSERT_EQ(seteuid(0), 0);
	ASSERT_GE(taken, 0);
	close(server);

	mine = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(mine, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	ASSERT_EQ(bind(mine, (sockaddr *)&a, addr_len(&a)), 0);
	ASSERT_EQ(listen(mine, 1), 0);
	EXPECT_NE(ask_anew(rule(), mine).find("connections of another user"),
		  std::string::npos);
	close(taken);
	EXPECT_EQ(ask_anew(rule(), mine).find("lo took no rule"), 0u);
	close(mine);
	close(peer);
}

/* The job has the socket, too, and could leave its port to others that way. */
TEST_F(BrokerRules, GoWithTheirSocketsListening)
{
	sockaddr_storage to = address("127.0.0.1", port);
	size_t before;

	/* As from a file: loopback takes none. */
	d->rule[0] = {true, 0, 9, false, address("10.0.0.0", 4711), to, -1};
	EXPECT_EQ(ask_anew(rule(), listener), "given");
	ASSERT_GE(d->rule[0].port, 0);
	EXPECT_TRUE(d->rule[0].used);
	before = open_files();
	ASSERT_EQ(shutdown(listener, SHUT_RDWR), 0);
	serve();
	EXPECT_FALSE(d->rule[0].used);
	EXPECT_EQ(open_files(), before - 1);
}

TEST_F(BrokerRules, StatusTellsOfOnesOwnLeases)
{
	broker_request q = broker_request_of(BROKER_STATUS);

	EXPECT_EQ(ask_anew(q), "given");
	q.queue = 1;
	/* Root sees all. */
	EXPECT_EQ(ask_anew(q), geteuid() ? "there are no more" : "given");
	q.queue = 2;
	EXPECT_EQ(ask_anew(q), "there are no more");
}

TEST_F(Broker, HasRoomForOthersWhateverOneDoes)
{
	std::vector<int> fds;

	for (int i = 0; i < CLIENTS_OF_USER + 20; i++) {
		fds.push_back(dial());
		serve();
	}
	EXPECT_EQ(clients(), (unsigned)CLIENTS_OF_USER);
	for (int fd : fds)
		close(fd);
	serve();
	serve();
	for (int i = 0; i < 40; i++)
		serve();
	EXPECT_EQ(clients(), 0u);

	/* Who is on no line of the policy shares a small room with his like. */
	d->policy.lines = 0;
	fds.clear();
	for (int i = 0; i < CLIENTS_UNLISTED + 5; i++) {
		fds.push_back(dial());
		serve();
	}
	EXPECT_EQ(clients(), (unsigned)CLIENTS_UNLISTED);
	for (int fd : fds)
		close(fd);
}

TEST_F(Broker, GivesEachUserATurnHoweverManyConnectionsItHas)
{
	broker_request q = broker_request_of(BROKER_STATUS);
	std::vector<int> fds;
	unsigned answers = 0;

	for (int i = 0; i < 5; i++)
		fds.push_back(dial());
	serve();
	for (int fd : fds)
		ASSERT_EQ(broker_send(fd, &q, sizeof(q), -1), 0);
	for (unsigned turn = 1; turn <= 5; turn++) {
		devmemd_step(d.get(), 0);
		for (int fd : fds) {
			broker_answer a;
			int got;

			answers += !broker_recv(fd, &a, sizeof(a), &got);
		}
		EXPECT_EQ(answers, turn);
	}
	for (int fd : fds)
		close(fd);
}

TEST(BrokerSocket, ReplacesNothingButASocket)
{
	char path[] = "/tmp/broker.XXXXXX";
	int file = mkstemp(path), fd;
	struct stat st;

	EXPECT_EQ(listen_at(path), -ENOTSOCK);
	EXPECT_EQ(stat(path, &st), 0) << "it was removed";
	close(file);
	unlink(path);
	/* One that was left by somebody who was killed, and one that was not. */
	fd = listen_at(path);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(listen_at(path), -EADDRINUSE);
	close(fd);
	fd = listen_at(path);
	EXPECT_GE(fd, 0);
	close(fd);
	unlink(path);
}

TEST_F(Broker, DropsWhoDoesNotReadItsAnswers)
{
	broker_request q = broker_request_of(BROKER_STATUS);
	int fd = dial(), rc = 0;

	for (int i = 0; !rc && i < 10000; i++) {
		rc = broker_send(fd, &q, sizeof(q), -1);
		serve();
	}
	EXPECT_EQ(rc, -EPIPE);
	EXPECT_EQ(clients(), 0u);
	close(fd);
}

TEST_F(Broker, KeepsNothingOfTenThousandMessages)
{
	std::mt19937 random(11);
	sockaddr_storage a = address("127.0.0.1", 0);
	int pass[] = {-1, -1, open("/dev/null", O_RDWR), sock_listen(&a, 1)};
	size_t before = open_files();
	int fd = -1;

	for (int i = 0; i < 10000; i++) {
		broker_request q =
			broker_request_of(broker_type(1 + random() % 4));
		size_t n = sizeof(q);
		broker_answer out;
		int got;

		if (fd < 0)
			fd = dial();
		strcpy(q.ifname, "lo");
		q.queues = 1 + random() % 4;
		q.queue = random() % 3;
		for (unsigned k = random() % 4; k; k--)
			((uint8_t *)&q)[random() % sizeof(q)] =
				(uint8_t)random();
		if (random() % 16 == 0)
			n = random() % sizeof(q);
		if (broker_send(fd, &q, n, pass[random() % 4]) ||
		    random() % 64 == 0) {
			close(fd);
			fd = -1;
		}
		devmemd_step(d.get(), 0);
		if (fd >= 0 && random() % 4)
			broker_recv(fd, &out, sizeof(out), &got);
	}
	if (fd >= 0)
		close(fd);
	for (int i = 0; i < 100; i++)
		serve();
	EXPECT_EQ(clients(), 0u);
	EXPECT_EQ(open_files(), before);
	for (const rule &r : d->rule)
		EXPECT_FALSE(r.used);
	EXPECT_EQ(ask_anew(broker_request_of(BROKER_STATUS)), "there are no more");
	close(pass[2]);
	close(pass[3]);
}

} // namespace
