// SPDX-License-Identifier: BSD-3-Clause
/* fuzz.c - random calls of what devmem adds to the kernel: it may refuse them,
 * it may not fall over, and afterwards all still works and nothing is left.
 *
 * The same --seed makes the same calls. Half of a message is right more often
 * than not, or all would be refused by the first check.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kt.h"

#define LEASES	8
#define REGION	(4u << 20)
#define BINDS	6	/* of a dma-buf: DMA_API_DEBUG objects to 8 mappings */

static unsigned int pick(unsigned int n) { return kt_random() % n; }
static bool mostly(void) { return pick(8); }

static unsigned long calls, worked;

static uint64_t odd_number(void)
{
	static const uint64_t odd[] = {
		0, 1, 2, 7, 8, 4095, 4096, 4097, 0x7fffffff, 0x80000000,
		0xffffffff, 0x100000000, 0x7fffffffffffffff, 0xffffffffffffffff,
		0xfffffffffffff000,
	};

	return pick(3) ? odd[pick(sizeof(odd) / sizeof(odd[0]))] : kt_random();
}

/* ---- netlink ------------------------------------------------------------------ */

static struct region region;
static unsigned int ifindex;
static int family, lease[LEASES] = { -1, -1, -1, -1, -1, -1, -1, -1 };
static unsigned int binds;	/* of the region */
static uint32_t binding_id;	/* of the last bind that worked */

struct message {
	struct nlmsghdr h;
	struct genlmsghdr g;
	char attrs[1024];
};

static struct nlattr *put(struct message *m, int type, const void *data,
			  size_t len)
{
	struct nlattr *a = (void *)((char *)m + m->h.nlmsg_len);

	if (m->h.nlmsg_len + NLA_HDRLEN + NLA_ALIGN(len) > sizeof(*m))
		return a;
	a->nla_type = (uint16_t)type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	memcpy((char *)a + NLA_HDRLEN, data, len);
	m->h.nlmsg_len += NLA_HDRLEN + (uint32_t)NLA_ALIGN(len);
	return a;
}

/* A number, now and then of a wrong type, size or value. */
static void put_number(struct message *m, int type, uint32_t right)
{
	uint64_t value = mostly() ? right : odd_number();

	if (!pick(30))
		return;
	put(m, pick(40) ? type : (int)pick(20), &value,
	    mostly() ? 4 : pick(9));
}

static void put_queue(struct message *m)
{
	uint32_t start = m->h.nlmsg_len;
	struct nlattr *a = put(m, KT_A_DMABUF_QUEUES | NLA_F_NESTED, "", 0);

	put_number(m, KT_A_QUEUE_TYPE, 0);
	put_number(m, KT_A_QUEUE_ID, 4 + pick(4));
	if (!pick(20))
		put_number(m, KT_A_QUEUE_IFINDEX, ifindex);
	a->nla_len = (uint16_t)(m->h.nlmsg_len - start);
	if (!pick(40))
		a->nla_len = (uint16_t)pick(64);
}

static void bind_message(struct message *m)
{
	int cmd = pick(2) ? KT_CMD_BIND_RX : KT_CMD_BIND_TX;

	memset(m, 0, sizeof(*m));
	m->h.nlmsg_type = (uint16_t)family;
	m->h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK |
			   (pick(50) ? 0 : NLM_F_DUMP);
	m->h.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->g.cmd = (uint8_t)(mostly() ? cmd : (int)pick(20));
	m->g.version = 1;
	put_number(m, KT_A_DMABUF_IFINDEX, pick(10) ? ifindex : pick(5));
	put_number(m, KT_A_DMABUF_FD, (uint32_t)region.fd);
	for (unsigned int n = m->g.cmd == KT_CMD_BIND_RX || !pick(10) ?
	     1 + pick(3) : 0; n; n--)
		put_queue(m);
	if (!pick(40))
		m->h.nlmsg_len -= pick(m->h.nlmsg_len - NLMSG_HDRLEN);
}

static void read_answer(int fd)
{
	char buf[8192];
	const struct nlmsghdr *h = (void *)buf;
	const struct nlattr *a = (void *)(buf + NLMSG_LENGTH(GENL_HDRLEN));
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		if (n < (ssize_t)(NLMSG_LENGTH(GENL_HDRLEN) + NLA_HDRLEN + 4) ||
		    h->nlmsg_type != family || a->nla_type != KT_A_DMABUF_ID)
			continue;
		memcpy(&binding_id, (const char *)a + NLA_HDRLEN, 4);
		binds++;
		worked++;
	}
}

static void release_all(void)
{
	for (unsigned int i = 0; i < LEASES; i++) {
		if (lease[i] >= 0)
			close(lease[i]);
		lease[i] = -1;
	}
}

/* Tokens and packets may keep the old one mapped. */
static void renew_region(void)
{
	release_all();
	region_close(&region);
	region_make(&region, REGION);
	binds = 0;
}

static void fuzz_bind(void)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK };
	unsigned int i = pick(LEASES);
	struct message m;

	calls++;
	if (binds == BINDS)
		renew_region();
	if (lease[i] >= 0 && !pick(4)) {
		close(lease[i]);
		lease[i] = -1;
	}
	if (lease[i] < 0)
		lease[i] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
				  NETLINK_GENERIC);
	expect(lease[i] >= 0, "netlink: %s", strerror(errno));
	bind_message(&m);
	sendto(lease[i], &m, m.h.nlmsg_len, 0, (void *)&sa, sizeof(sa));
	read_answer(lease[i]);
}

/* ---- sockets --------------------------------------------------------------------- */

static struct flow flow;
static unsigned char *hole;	/* a page, and nothing behind it */

/* Mostly memory that is there; else its end is not, or nothing is. */
static void *memory(size_t want)
{
	static char mem[1 << 16];

	switch (pick(10)) {
	case 0: return hole + KT_PAGE - pick(KT_PAGE);
	case 1: return (void *)(uintptr_t)odd_number();
	default: return want <= sizeof(mem) ? mem : NULL;
	}
}

static void fuzz_dontneed(void)
{
	struct kt_token t[KT_DONTNEED_TOKENS + 2];
	size_t len = mostly() ? (1 + pick(KT_DONTNEED_TOKENS + 2)) * sizeof(t[0]) :
				pick(sizeof(t));
	int rc;

	calls++;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		t[i].start = mostly() ? pick(300) : (uint32_t)odd_number();
		t[i].count = mostly() ? pick(8) : (uint32_t)odd_number();
	}
	rc = mostly() ? dontneed(pick(2) ? flow.rx : flow.tx, t, len) :
			dontneed(flow.rx, memory(len), len);
	worked += rc > 0;
}

static void fuzz_receive(void)
{
	size_t room = mostly() ? pick(4096) : pick(1 << 16);
	struct iovec iov = { .iov_len = mostly() ? pick(1 << 16) : odd_number() };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = mostly() };
	int flags = KT_MSG_SOCK_DEVMEM | MSG_DONTWAIT;
	ssize_t n;

	calls++;
	iov.iov_base = memory(iov.iov_len);
	m.msg_control = memory(room);
	m.msg_controllen = room;
	if (!pick(4))
		flags |= MSG_PEEK;
	if (!pick(10))
		flags |= (int)(kt_random() & (MSG_TRUNC | MSG_OOB |
					       MSG_CMSG_CLOEXEC));
	if (!pick(10))
		flags &= ~KT_MSG_SOCK_DEVMEM;
	n = recvmsg(pick(6) ? flow.rx : flow.tx, &m, flags);
	worked += n > 0;
}

static size_t put_cmsg(char *control, size_t used, size_t size)
{
	struct cmsghdr *c = (void *)(control + used);
	uint32_t id = mostly() ? binding_id : (uint32_t)odd_number();
	size_t len = mostly() ? sizeof(id) : pick(16);

	if (used + CMSG_SPACE(16) > size)
		return used;
	c->cmsg_level = mostly() ? SOL_SOCKET : (int)pick(300);
	c->cmsg_type = mostly() ? KT_SCM_DEVMEM_DMABUF : (int)pick(100);
	c->cmsg_len = pick(30) ? CMSG_LEN(len) : odd_number();
	memcpy(CMSG_DATA(c), &id, sizeof(id));
	return used + CMSG_SPACE(len);
}

static void fuzz_send(void)
{
	char control[256] __attribute__((aligned(8))) = { 0 };
	struct iovec iov[4];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 1 + pick(4),
			    .msg_control = control };
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	ssize_t n;

	calls++;
	for (unsigned int i = 0; i < 4; i++) {
		iov[i].iov_base = (void *)(uintptr_t)(mostly() ?
			pick((unsigned int)region.size + 5000) : odd_number());
		iov[i].iov_len = mostly() ? pick(40000) : odd_number();
	}
	for (unsigned int i = 1 + !pick(6); i; i--)
		m.msg_controllen = put_cmsg(control, m.msg_controllen,
					    sizeof(control));
	if (mostly())
		flags |= KT_MSG_ZEROCOPY;
	if (!pick(5))
		flags |= (int)(kt_random() & (MSG_MORE | MSG_OOB | MSG_EOR |
					       MSG_CONFIRM));
	if (!pick(200))
		flags |= 0x20000000;	/* MSG_FASTOPEN */
	n = sendmsg(pick(6) ? flow.tx : flow.rx, &m, flags);
	worked += n > 0;
}

static void fuzz_option(void)
{
	static const int names[] = { KT_SO_ZEROCOPY, SO_SNDBUF, SO_RCVBUF, SO_RCVLOWAT,
				     SO_KEEPALIVE, SO_TIMESTAMP };
	int value = mostly() ? (int)pick(100000) : (int)odd_number();

	calls++;
	setsockopt(pick(2) ? flow.tx : flow.rx, SOL_SOCKET, names[pick(6)],
		   &value, sizeof(value));
}

static void fuzz_more(void)
{
	uint32_t lo, hi;
	char junk[3000];
	bool copied;
	int on = 1;

	memset(junk, 0, sizeof(junk));
	send(flow.tx, junk, 1 + pick(sizeof(junk)), MSG_DONTWAIT | MSG_NOSIGNAL);
	setsockopt(flow.tx, SOL_SOCKET, KT_SO_ZEROCOPY, &on, sizeof(on));
	while (completion_read(flow.tx, &lo, &hi, &copied))
		;
}

static void fuzz_flow(void)
{
	if (flow.tx > 0) {
		reset_at_close(flow.tx);
		flow_close(&flow);
	}
	kt_sleep(0.002);
	flow_open(&flow, pick(2) ? KT_PORT : KT_PORT2);
	zerocopy_on(flow.tx);
}

static void (*const kinds[])(void) = {
	fuzz_bind, fuzz_dontneed, fuzz_dontneed, fuzz_receive, fuzz_receive,
	fuzz_receive, fuzz_send, fuzz_send, fuzz_send, fuzz_option, fuzz_more,
	fuzz_more, fuzz_more,
};

static void begin(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	say("seed %llu", (unsigned long long)kt.seed);
	hole = mmap(NULL, 2 * KT_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(hole != MAP_FAILED && !munmap(hole + KT_PAGE, KT_PAGE), "mmap");
	region_make(&region, REGION);
	ifindex = host_ifindex(kt.rx_host, kt.rx_nic);
	expect(sk && !genl_connect(sk), "no generic netlink socket");
	family = genl_ctrl_resolve(sk, "netdev");
	nl_socket_free(sk);
	fuzz_flow();
	host_enter(kt.rx_host);
}

static void run(void (*one)(void))
{
	double until;

	begin();
	for (until = kt_now() + kt.seconds; kt_now() < until;) {
		for (unsigned int i = 0; i < 200; i++)
			one ? one() : kinds[pick(sizeof(kinds) /
						  sizeof(kinds[0]))]();
		if (!pick(10)) {
			host_enter(".");
			fuzz_flow();
			host_enter(kt.rx_host);
		}
	}
	say("%lu calls, %lu of them did something", calls, worked);
	expect(worked, "no call did anything");
	release_all();
	flow_close(&flow);
	region_close(&region);
	host_enter(".");
	expect(dmabufs_fall_to(0, 10), "a dma-buf is left");
}

static void case_all(void) { run(NULL); }
static void case_bind(void) { run(fuzz_bind); }

static const struct kt_case cases[] = {
	{ "all", case_all, "netlink, cmsgs, DONTNEED" },
	{ "bind", case_bind, "netlink alone" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
