// SPDX-License-Identifier: BSD-3-Clause
/*
 * broker_try.c - asks a broker for what it should give, and for what it should not.
 *
 *   broker-try SOCKET hold NIC QUEUES         have queues until a signal comes
 *   broker-try SOCKET again NIC QUEUES IFINDEX  have queues, and with the netlink
 *                                             socket of that try to have more
 *   broker-try SOCKET rule TOKEN QUEUE WHAT ADDRESS PORT [SECONDS]
 *                                             a rule for a socket of that kind:
 *                                             listen, leave (which then listens
 *                                             no more), bound, udp, unix, file
 *   broker-try SOCKET give-up TOKEN QUEUE WHAT ADDRESS PORT
 *                                             asks for one, and hangs up
 *   broker-try SOCKET unrule TOKEN LOCATION
 *   broker-try SOCKET status                  all leases that it tells of
 *   broker-try SOCKET bad WHAT                garbage, half, nofd, wrongfd, manyfds,
 *                                             silent, noread, hangup, huge, empty
 *   broker-try SOCKET fuzz COUNT SEED         messages that are nearly right
 *
 * Exit status: 0: given; 1: refused, with the reason on stdout; 3: hung up; 2: it
 * could not be tried.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"
#include "devnl.h"
#include "sock.h"

enum { GIVEN, REFUSED, NOT_TRIED, HUNG_UP };

#define POOL	(4u << 20)
#define WAIT_MS 8000

static const char *path;

__attribute__((noreturn)) static void not_tried(const char *what)
{
	fprintf(stderr, "broker-try: %s: %s\n", what, strerror(errno));
	exit(NOT_TRIED);
}

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (const void *)&a, sizeof(a)))
		not_tried(path);
	return fd;
}

static int dmabuf(size_t bytes)
{
	struct udmabuf_create create = { .size = bytes };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd;
	int mem = memfd_create("try", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (dev < 0 || mem < 0 || ftruncate(mem, (off_t)bytes) ||
	    fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK))
		not_tried("a dma-buf");
	create.memfd = (uint32_t)mem;
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	if (fd < 0)
		not_tried("a dma-buf");
	close(mem);
	close(dev);
	return fd;
}

/* 0, or -EPIPE: hung up. */
static int hear(int fd, struct broker_answer *a, int *got)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS) <= 0) {
		printf("no answer\n");
		exit(NOT_TRIED);
	}
	return broker_recv(fd, a, sizeof(*a), got);
}

static int outcome(int rc, const struct broker_answer *a)
{
	if (rc) {
		printf("hung up\n");
		return HUNG_UP;
	}
	if (a->status)
		printf("refused: %s (%s)\n", a->text, strerror(-a->status));
	return a->status ? REFUSED : GIVEN;
}

static int ask(int fd, const struct broker_request *q, int pass,
	       struct broker_answer *a, int *got)
{
	int rc = broker_send(fd, q, sizeof(*q), pass), none = -1;

	return rc ?: hear(fd, a, got ?: &none);
}

static struct broker_request bind_request(const char *nic, const char *queues)
{
	struct broker_request q = broker_request_of(BROKER_BIND_RX);

	snprintf(q.ifname, sizeof(q.ifname), "%s", nic);
	q.queues = (uint32_t)atoi(queues);
	return q;
}

static void print_lease(const struct broker_answer *a)
{
	for (int i = 0; i < BROKER_TOKEN; i++)
		printf("%02x", a->token[i]);
	printf(" id=%u queues=", a->dmabuf_id);
	for (unsigned int i = 0; i < a->queues && i < DEVMEM_MAX_QUEUES; i++)
		printf("%s%u", i ? "," : "", a->queue[i]);
	printf("\n");
	fflush(stdout);
}

static int bind_one(int fd, const char *nic, const char *queues,
		    struct broker_answer *a, int *netlink_fd)
{
	struct broker_request q = bind_request(nic, queues);
	int result = outcome(ask(fd, &q, dmabuf(POOL), a, netlink_fd), a);

	if (!result)
		print_lease(a);
	return result;
}

static int hold(char **arg)
{
	struct broker_answer a;
	int netlink_fd,
		result = bind_one(dial(), arg[0], arg[1], &a, &netlink_fd);

	if (!result)
		pause();
	return result;
}

/* The kernel asks for the capability of who opened the socket, and of who sends. */
static int again(char **arg)
{
	struct devnl_family own, theirs;
	unsigned int ifindex, queue = 1;
	struct broker_answer a;
	uint32_t id;
	int netlink_fd, rc, result;

	result = bind_one(dial(), arg[0], arg[1], &a, &netlink_fd);
	if (result)
		return result;
	ifindex = (unsigned int)atoi(arg[2]);
	if (devnl_open(&own, "netdev"))
		not_tried("netlink");
	theirs = own;
	theirs.sk = nl_socket_alloc();
	if (!theirs.sk ||
	    nl_socket_set_fd(theirs.sk, NETLINK_GENERIC, netlink_fd))
		not_tried("the socket that came");
	rc = devnl_bind_rx(&theirs, ifindex, dmabuf(POOL), &queue, 1, &id);
	printf("with the socket that came: %s\n", strerror(-rc));
	if (rc == -EPERM)
		return REFUSED;
	return rc ? NOT_TRIED : GIVEN;
}

static void read_token(const char *text, uint8_t *token)
{
	for (int i = 0; i < BROKER_TOKEN; i++)
		if (sscanf(text + 2 * i, "%2hhx", &token[i]) != 1)
			not_tried("a token");
}

/* What is shown as the socket that the flows arrive at. */
static int socket_like(const char *what, const char *address, const char *port)
{
	struct sockaddr_storage a = { 0 };
	bool v6 = strchr(address, ':'), udp = !strcmp(what, "udp");
	int fd, on = 1;

	if (!strcmp(what, "file"))
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	if (!strcmp(what, "unix"))
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	a.ss_family = v6 ? AF_INET6 : AF_INET;
	if (inet_pton(a.ss_family, address,
		      v6 ? (void *)&((struct sockaddr_in6 *)&a)->sin6_addr :
			   (void *)&((struct sockaddr_in *)&a)->sin_addr) != 1)
		not_tried(address);
	addr_set_port(&a, (uint16_t)atoi(port));
	fd = socket(a.ss_family,
		    (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	/* Needs no privilege, and lets it listen on what is not ours. */
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (bind(fd, (void *)&a, addr_len(&a)))
		not_tried("bind");
	if ((!strcmp(what, "listen") || !strcmp(what, "leave")) &&
	    listen(fd, 1))
		not_tried("listen");
	return fd;
}

static struct broker_request rule_request(char **arg)
{
	struct broker_request q = broker_request_of(BROKER_RULE_ADD);

	read_token(arg[0], q.token);
	q.queue = (uint32_t)atoi(arg[1]);
	q.family = strchr(arg[3], ':') ? AF_INET6 : AF_INET;
	q.port = 4711;
	q.addr[0] = 10;
	q.addr[3] = 77;
	return q;
}

static int give_up(char **arg)
{
	struct broker_request q = rule_request(arg);
	int fd = socket_like(arg[2], arg[3], arg[4]);

	if (broker_send(dial(), &q, sizeof(q), fd))
		not_tried("asking");
	return GIVEN;
}

static int rule(char **arg)
{
	int result, fd = socket_like(arg[2], arg[3], arg[4]);
	struct broker_request q = rule_request(arg);
	struct broker_answer a;

	result = outcome(ask(dial(), &q, fd, &a, NULL), &a);
	if (!result)
		printf("location=%u\n", a.location);
	if (!strcmp(arg[2], "leave"))
		shutdown(fd, SHUT_RDWR);
	fflush(stdout);
	if (!result && arg[5])
		sleep((unsigned int)atoi(arg[5]));
	return result;
}

static int unrule(char **arg)
{
	struct broker_request q = broker_request_of(BROKER_RULE_DELETE);
	struct broker_answer a;

	read_token(arg[0], q.token);
	q.location = (uint32_t)atoi(arg[1]);
	return outcome(ask(dial(), &q, -1, &a, NULL), &a);
}

static int status(char **arg)
{
	struct broker_answer a;
	int fd = dial(), rc;

	(void)arg;
	for (uint32_t i = 0; i < 1000; i++) {
		struct broker_request q = broker_request_of(BROKER_STATUS);

		q.queue = i;
		rc = ask(fd, &q, -1, &a, NULL);
		if (rc)
			return outcome(rc, &a);
		if (a.status)
			break;
		printf("uid=%u nic=%s rules=%u ", a.uid, a.ifname, a.rules);
		print_lease(&a);
	}
	return GIVEN;
}

static void send_many_fds(int fd, const struct broker_request *q)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(64 * sizeof(int))];
	} u = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)q,
			     .iov_len = sizeof(*q) };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &u,
			    .msg_controllen = sizeof(u.room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(64 * sizeof(int));
	for (int i = 0; i < 64; i++)
		((int *)(void *)CMSG_DATA(c))[i] = 0;
	if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0 && errno != EPIPE &&
	    errno != ECONNRESET)
		not_tried("64 descriptors");
}

static int bad(char **arg)
{
	struct broker_request q = bind_request("lo", "1"), garbage;
	char huge[65536] = { 0 };
	struct broker_answer a;
	int fd = dial(), got;

	memset(&garbage, 0xa5, sizeof(garbage));
	if (!strcmp(arg[0], "garbage")) {
		broker_send(fd, &garbage, sizeof(garbage), -1);
	} else if (!strcmp(arg[0], "half")) {
		broker_send(fd, &q, sizeof(q) / 2, -1);
	} else if (!strcmp(arg[0], "huge")) {
		broker_send(fd, huge, sizeof(huge), -1);
	} else if (!strcmp(arg[0], "empty")) {
		broker_send(fd, &q, 0, -1);
	} else if (!strcmp(arg[0], "nofd")) {
		broker_send(fd, &q, sizeof(q), -1);
	} else if (!strcmp(arg[0], "wrongfd")) {
		broker_send(fd, &q, sizeof(q), 0);
	} else if (!strcmp(arg[0], "manyfds")) {
		send_many_fds(fd, &q);
	} else if (!strcmp(arg[0], "hangup")) {
		broker_send(fd, &q, sizeof(q), 0);
		return GIVEN;
	} else if (!strcmp(arg[0], "silent")) {
		pause();
	} else if (!strcmp(arg[0], "noread")) {
		q = broker_request_of(BROKER_STATUS);
		for (int i = 0; i < 100000; i++) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			if (broker_send(fd, &q, sizeof(q), -1) == -EPIPE)
				return HUNG_UP;
			poll(&p, 1, 100);
		}
		return GIVEN;
	} else {
		return NOT_TRIED;
	}
	return outcome(hear(fd, &a, &got), &a);
}

static uint64_t state;

static uint32_t pick(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

/* Right, but for some bytes. */
static void nearly_right(struct broker_request *q)
{
	*q = broker_request_of((enum broker_type)(1 + pick(4)));
	snprintf(q->ifname, sizeof(q->ifname), "%s", pick(2) ? "lo" : "dm0a");
	q->queues = 1 + pick(3);
	q->queue = pick(9);
	q->family = pick(2) ? AF_INET : AF_INET6;
	q->port = (uint16_t)pick(65536);
	for (uint32_t i = pick(4); i; i--)
		((uint8_t *)q)[pick(sizeof(*q))] = (uint8_t)pick(256);
}

static int fuzz(char **arg)
{
	int fds[] = { -1, 0, -1, -1, dmabuf(POOL), -1 }, fd = -1;
	uint32_t count = (uint32_t)atoi(arg[0]), answers = 0, hangups = 0;

	state = (uint64_t)atoll(arg[1]);
	fds[2] = socket_like("listen", "127.0.0.1", "0");
	fds[3] = socket_like("unix", "", "");
	for (uint32_t i = 0; i < count; i++) {
		struct broker_request q;
		size_t n = sizeof(q);
		int got = -1, rc;
		struct broker_answer a;

		if (fd < 0)
			fd = dial();
		nearly_right(&q);
		if (!pick(16))
			n = pick(sizeof(q));
		if (!pick(64))
			send_many_fds(fd, &q);
		rc = broker_send(fd, &q, n, fds[pick(6)]);
		/* Now and then several without a look at the answers. */
		if (!rc && !pick(4))
			continue;
		rc = rc ?: hear(fd, &a, &got);
		answers += !rc;
		if (!rc && got >= 0)
			close(got);
		if (rc || !pick(32)) {
			hangups += rc == -EPIPE;
			close(fd);
			fd = -1;
		}
	}
	printf("%u messages, %u answers, %u hang-ups\n", count, answers,
	       hangups);
	return GIVEN;
}

static const struct {
	const char *name;
	int args;
	int (*run)(char **arg);
} commands[] = {
	{ "hold", 2, hold },	 { "again", 3, again },
	{ "rule", 5, rule },	 { "give-up", 5, give_up },
	{ "unrule", 2, unrule }, { "status", 0, status },
	{ "bad", 1, bad },	 { "fuzz", 2, fuzz },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (argc >= 3 + commands[i].args &&
		    !strcmp(argv[2], commands[i].name)) {
			path = argv[1];
			return commands[i].run(argv + 3);
		}
	fprintf(stderr, "usage: see the beginning of broker_try.c\n");
	return NOT_TRIED;
}
