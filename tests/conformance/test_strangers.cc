// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_strangers.cc - T12: whatever a stranger does to the listening port,
 * the real peer connects and exchanges data as if nobody else was there, and
 * no descriptor is left (Conformance::TearDown counts them).
 */
#include "fixture.h"
#include "strangers.h"

namespace {

using Party = std::vector<std::unique_ptr<Stranger>>;

/* A control record's header as docs/protocol.md has it. */
std::string header(uint16_t type, uint16_t flags, uint32_t length,
		   uint64_t seq = 0)
{
	std::string bytes(16, 0);

	memcpy(&bytes[0], &type, 2);
	memcpy(&bytes[2], &flags, 2);
	memcpy(&bytes[4], &length, 4);
	memcpy(&bytes[8], &seq, 8);
	return bytes;
}

std::string noise(size_t size, unsigned seed)
{
	std::mt19937 random(seed);
	std::string bytes(size, 0);

	for (char &byte : bytes)
		byte = static_cast<char>(random());
	return bytes;
}

/* HELLO of version 1.0 with a key that nobody gave out. */
std::string false_hello()
{
	return header(1, 0, 24) + std::string("\1\0\0\0\0\x20\0\0", 8) +
	       noise(16, 99);
}

class Strangers : public Conformance {
protected:
	void listen()
	{
		std::map<int, std::string> before = open_fds();

		pair_ = std::make_unique<Pair>(there(), here());
		ASSERT_TRUE(pair_->listen());
		ports_ = new_listeners(before);
		ASSERT_FALSE(ports_.empty())
			<< "the listening socket is not to be found";
	}

	/* `count` strangers on each listening socket, each says `bytes`. */
	Party invite(int count, const std::string &bytes)
	{
		Party party;

		for (const Address &port : ports_)
			for (int i = 0; i < count; i++)
				party.push_back(
					std::make_unique<Stranger>(port));
		for (auto &stranger : party)
			if (!bytes.empty())
				stranger->say(bytes);
		return party;
	}

	void accept_for(int rounds)
	{
		for (int i = 0; i < rounds; i++)
			ASSERT_TRUE(pair_->accept_step());
		EXPECT_EQ(pair_->rx.comm, nullptr) << "a stranger joined";
	}

	void real_peer_connects()
	{
		ASSERT_TRUE(pair_->connect()) << plugin_log::all();
		for (size_t size : {0, 100, 5000, 1 << 20})
			ASSERT_TRUE(pair_->exchange(size, size));
	}

	/* The whole story for strangers that say one thing. */
	void visit(int count, const std::string &bytes)
	{
		listen();
		if (HasFatalFailure())
			return;
		Party first = invite(count, bytes);
		accept_for(50);
		Party more = invite(count, bytes);
		real_peer_connects();
	}

	void TearDown() override
	{
		pair_.reset();
		Conformance::TearDown();
	}

	std::unique_ptr<Pair> pair_;
	std::vector<Address> ports_;
};

TEST_P(Strangers, T12_SilentOnes)
{
	visit(3, "");
}

TEST_P(Strangers, T12_SixtyFourSilentOnes)
{
	visit(64, "");
}

TEST_P(Strangers, T12_RandomBytes)
{
	visit(3, noise(1000, 12));
}

TEST_P(Strangers, T12_FloodOfRandomBytes)
{
	visit(3, noise(1 << 20, 13));
}

TEST_P(Strangers, T12_ABrowser)
{
	visit(2, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
}

TEST_P(Strangers, T12_ATlsClient)
{
	visit(2, std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
			     11) + noise(400, 1));
}

TEST_P(Strangers, T12_HalfAHeaderThenSilence)
{
	visit(3, header(1, 0, 24).substr(0, 9));
}

TEST_P(Strangers, T12_HalfAHelloThenSilence)
{
	visit(3, false_hello().substr(0, 25));
}

TEST_P(Strangers, T12_AHelloWithAWrongKey)
{
	visit(3, false_hello());
}

TEST_P(Strangers, T12_AHelloWithAWrongKeyAndEagerData)
{
	visit(3, false_hello() + header(2, 0, 2) + "\x10\x20" +
		 header(5, 1, 100) + noise(100, 3));
}

TEST_P(Strangers, T12_AHugeLength)
{
	visit(3, header(1, 0, 0xffffffff) + noise(64, 5));
}

TEST_P(Strangers, T12_RecordsOutOfTurn)
{
	for (uint16_t type = 0; type < 12; type++) {
		visit(1, header(type, 0, 8, 1) + noise(8, type));
		ASSERT_FALSE(HasFailure()) << "record type " << type;
		pair_.reset();
	}
}

TEST_P(Strangers, T12_EndlessOptionalRecords)
{
	std::string bytes;

	for (int i = 0; i < 2000; i++)
		bytes += header(4000, 0x8000, 64) + std::string(64, 'x');
	visit(2, bytes);
}

TEST_P(Strangers, T12_ConnectAndClose)
{
	listen();
	ASSERT_FALSE(HasFatalFailure());
	for (int i = 0; i < 20; i++) {
		Party party = invite(2, i % 2 ? "x" : "");
		party[0]->reset_on_close();
		if (i % 3)
			party.clear();
		accept_for(5);
	}
	Party last = invite(5, "");
	last.clear();
	real_peer_connects();
}

/* A byte now and then: no timeout of one read catches it. */
TEST_P(Strangers, T12_ASlowDrip)
{
	listen();
	ASSERT_FALSE(HasFatalFailure());
	Party party = invite(3, "");
	std::string hello = false_hello();
	size_t said = 0;
	auto drip = [&] {
		if (said < hello.size())
			for (auto &stranger : party)
				stranger->say(hello.substr(said, 1));
		said++;
	};
	for (int i = 0; i < 8; i++) {
		drip();
		accept_for(3);
	}
	ASSERT_TRUE(poll_until([&] {
		drip();
		EXPECT_TRUE(pair_->connect_step());
		EXPECT_TRUE(pair_->accept_step());
		return HasFailure() || pair_->connected();
	}));
	real_peer_connects();
}

/* Strangers who come while the real peer is half connected. */
TEST_P(Strangers, T12_ACrowdBetweenTheRealPeersSteps)
{
	std::vector<Party> parties;

	listen();
	ASSERT_FALSE(HasFatalFailure());
	for (int i = 0; i < 200 && !pair_->connected(); i++) {
		if (i < 30)
			parties.push_back(invite(1, noise(i * 3, i)));
		ASSERT_TRUE(pair_->connect_step());
		ASSERT_TRUE(pair_->accept_step());
	}
	real_peer_connects();
}

/* Those who only connect and never read must not hold what they got. */
TEST_P(Strangers, T12_StrangersAreDismissedWithTheListener)
{
	listen();
	ASSERT_FALSE(HasFatalFailure());
	Party party = invite(4, "hello?");
	accept_for(20);
	real_peer_connects();
	EXPECT_TRUE(poll_until([&] {
		for (auto &stranger : party)
			if (!stranger->dismissed())
				return false;
		return true;
	})) << "a stranger is still connected after closeListen";
}

/* Open ports may also be those of payload flows; they know their peers. */
TEST_P(Strangers, T12_OnAnyPortThatOpensLater)
{
	std::map<int, std::string> before = open_fds();

	listen();
	ASSERT_FALSE(HasFatalFailure());
	for (int i = 0; i < 100 && !pair_->connected(); i++) {
		ports_ = new_listeners(before);
		Party party = invite(1, noise(100, i));
		ASSERT_TRUE(pair_->connect_step());
		ASSERT_TRUE(pair_->accept_step());
	}
	real_peer_connects();
}

EACH_TABLE(Strangers);

} // namespace
