// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_grants.cc - what a receiver over several interfaces grants: whichever of
 * them the sender chooses, its pool has room for all of it.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include <gtest/gtest.h>

#include "c_headers.h"

extern "C" {
#include "conn.h"
#include "rxpool.h"
}

namespace {

constexpr size_t floor_mss = 536; /* of sockets that are not TCP's */
constexpr size_t message = 8 << 20;

/* A receiver of two flows by two interfaces, with nobody at the other end. */
class Grants : public testing::Test {
protected:
	void SetUp() override
	{
		ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				     ends), 0);
		ASSERT_EQ(control_init(&conn.control, ends[0]), 0);
		conn.rails = 2;
		conn.record = &record;
		conn.stats = &record.counters;
		ASSERT_EQ(conn_make_flows(&conn, 2), 0);
	}
	void TearDown() override
	{
		if (conn.rx.pools) {
			rx_free(&conn);
			for (struct rxpool &one : pool)
				credit_destroy(&one.credit);
		}
		control_free(&conn.control);
		free(conn.flow);
		close(ends[0]);
		close(ends[1]);
	}
	void join(size_t niovs, size_t niovs2)
	{
		struct rxpool *const pools[] = {&pool[0], &pool[1]};
		struct why why = {};

		credit_init(&pool[0].credit, niovs);
		credit_init(&pool[1].credit, niovs2);
		ASSERT_EQ(rx_init(&conn, pools, DEVMEM_GATHER_NONE, &why), 0)
			<< why.text;
	}
	/* Post a receive; how much of it is granted. */
	size_t granted()
	{
		struct devmem_request *r = conn_request(&conn, conn.next_seq);

		r->conn = &conn;
		conn.state[conn.next_seq % DEVMEM_MAX_REQUESTS] =
			REQUEST_ACTIVE;
		r->seq = conn.next_seq++;
		r->size = message;
		EXPECT_EQ(rx_send_grants(&conn), 0);
		return r->granted;
	}
	size_t used(int rail) { return conn.rx.rail[rail].credit.used; }

	struct stats_record record = {};
	struct devmem_conn conn = {};
	struct rxpool pool[2] = {};
	int ends[2];
};

TEST_F(Grants, HaveRoomInEachPool)
{
	join(4000, 8000);
	size_t bytes = granted();
	ASSERT_GT(bytes, 0u);
	EXPECT_LT(bytes, message);
	for (int rail = 0; rail < 2; rail++)
		EXPECT_GE(used(rail), bytes / conn.rx.niov_bytes) << rail;
	EXPECT_EQ(used(0), used(1)) << "more than was granted is held";
}

TEST_F(Grants, AreWhatTheSmallerPoolTakes)
{
	join(8000, 1500);
	EXPECT_LE(granted() / conn.rx.niov_bytes, 1500u);
	EXPECT_EQ(used(0), used(1));
}

TEST_F(Grants, AreNoneOfAConnectionThatOnePoolHasNoRoomFor)
{
	struct rxpool *const pools[] = {&pool[0], &pool[1]};
	struct why why = {};

	credit_init(&pool[0].credit, 4000);
	credit_init(&pool[1].credit, 10);
	strcpy(pool[1].lease.ifname, "second");
	EXPECT_LT(rx_init(&conn, pools, DEVMEM_GATHER_NONE, &why), 0);
	EXPECT_NE(strstr(why.text, "second"), nullptr) << why.text;
	EXPECT_EQ(conn.rx.pools, 0u);
	EXPECT_EQ(used(0), 0u);
	EXPECT_EQ(pool[0].credit.common, pool[0].credit.total);
}

/* What has no room in a turn is left for the next one, and nobody is gone. */
TEST_F(Grants, TheEndOfATurnIsNotTheEndOfTheStream)
{
	struct devmem_request *r = conn_request(&conn, 0);
	uint8_t message[100] = {}, bytes[100];

	memset(bytes, 0x44, sizeof(bytes));
	ASSERT_EQ(write(ends[1], bytes, sizeof(bytes)), 100);
	r->addr = message;
	r->total = sizeof(message);
	conn.control.inlining = r;
	conn.budget = 0;
	ASSERT_EQ(control_fill(&conn), 0);
	EXPECT_FALSE(conn.control.eof);
	EXPECT_EQ(r->moved, 0u);
	conn.budget = 60;
	ASSERT_EQ(control_fill(&conn), 0);
	EXPECT_EQ(r->moved, 60u);
	conn.budget = SIZE_MAX;
	ASSERT_EQ(control_fill(&conn), 0);
	EXPECT_FALSE(conn.control.eof);
	EXPECT_EQ(memcmp(message, bytes, sizeof(bytes)), 0);
}

TEST_F(Grants, CountTheSmallestSegmentsOfAnyFlow)
{
	int mss = 9000;

	join(8000, 8000);
	/* As if control had larger segments than the flows have. */
	conn.rx.niov_bytes = mss;
	conn.flow[0].fd = socket(AF_INET, SOCK_STREAM, 0);
	conn.flow[1].fd = ends[0];
	ASSERT_EQ(setsockopt(conn.flow[0].fd, IPPROTO_TCP, TCP_MAXSEG, &mss,
			     sizeof(mss)), 0);
	rx_start(&conn);
	EXPECT_LE(conn.rx.niov_bytes, floor_mss);
	EXPECT_GT(conn.rx.niov_bytes, floor_mss / 2);
	close(conn.flow[0].fd);
}

} // namespace
