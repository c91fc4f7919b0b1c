// SPDX-License-Identifier: BSD-3-Clause
/* cost.c - what the kernel spends on receiving: recv(), recv() that throws the
 * bytes away, and recvmsg() into a dma-buf with SO_DEVMEM_DONTNEED; and what a
 * flow of host memory moves. Nobody looks at the bytes.
 *
 * A receive queue is filled first and then drained with a clock around each
 * system call, so nothing else is in the figures. On a machine that counts a
 * nanosecond for each instruction (qemu -icount shift=0) they are instructions.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kt.h"

#define FILL	(2u << 20)
#define ROUNDS	9

struct cost {
	uint64_t fill, receive, give_back;	/* ns */
	uint64_t calls, frags;
};

typedef void drain_fn(int fd, size_t chunk, struct cost *c);

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Without sleeping, or the clock would count the idle time. */
static void fill(const struct flow *f)
{
	static char buf[256u << 10];
	double until = kt_now() + 60;
	size_t left = FILL;
	int there = 0;
	ssize_t n;

	while (there < (int)FILL) {
		n = 0;
		if (left)
			n = send(f->tx, buf, left < sizeof(buf) ? left :
				 sizeof(buf), MSG_NOSIGNAL | MSG_DONTWAIT);
		expect(n >= 0 || errno == EAGAIN, "send: %s", strerror(errno));
		if (n > 0)
			left -= (size_t)n;
		else
			sched_yield();
		expect(!ioctl(f->rx, SIOCINQ, &there), "SIOCINQ: %s",
		       strerror(errno));
		expect(kt_now() < until, "the receive queue takes no %u bytes",
		       FILL);
	}
}

static void drain_recv(int fd, void *buf, size_t chunk, int flags,
		       struct cost *c)
{
	uint64_t before;
	size_t left = FILL;
	ssize_t n;

	while (left) {
		before = now_ns();
		n = recv(fd, buf, chunk < left ? chunk : left,
			 MSG_DONTWAIT | flags);
		c->receive += now_ns() - before;
		expect(n > 0, "recv: %s", n ? strerror(errno) : "the end");
		left -= (size_t)n;
		c->calls++;
	}
}

static void drain_plain(int fd, size_t chunk, struct cost *c)
{
	static char buf[BATCH_BYTES];

	drain_recv(fd, buf, chunk, 0, c);
}

static void drain_away(int fd, size_t chunk, struct cost *c)
{
	drain_recv(fd, NULL, chunk, MSG_TRUNC, c);
}

static void give_back(int fd, const struct batch *b, struct cost *c)
{
	struct kt_token t[KT_DONTNEED_TOKENS];
	unsigned int i = 0, n;
	uint64_t before;

	while (i < b->n) {
		for (n = 0; i < b->n; i++) {
			const struct piece *p = &b->piece[i];

			expect(p->kind == PIECE_FRAG,
			       "bytes that are not in the dma-buf");
			if (n && t[n - 1].start + t[n - 1].count == p->token) {
				t[n - 1].count++;
				continue;
			}
			if (n == KT_DONTNEED_TOKENS)
				break;
			t[n++] = (struct kt_token){ p->token, 1 };
		}
		before = now_ns();
		expect(dontneed(fd, t, n * sizeof(t[0])) > 0, "DONTNEED: %s",
		       strerror(errno));
		c->give_back += now_ns() - before;
	}
	c->frags += b->n;
}

static void drain_devmem(int fd, size_t chunk, struct cost *c)
{
	static struct batch b;
	struct iovec iov = { .iov_base = b.buf };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint64_t before;
	size_t left = FILL;
	ssize_t n;

	while (left) {
		iov.iov_len = chunk < left ? chunk : left;
		m.msg_control = b.control;
		m.msg_controllen = sizeof(b.control);
		before = now_ns();
		n = recvmsg(fd, &m, MSG_DONTWAIT | KT_MSG_SOCK_DEVMEM);
		c->receive += now_ns() - before;
		expect(n > 0, "recvmsg: %s", n ? strerror(errno) : "the end");
		batch_parse(&b, &m, n);
		give_back(fd, &b, c);
		left -= (size_t)n;
		c->calls++;
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The median of rounds, each figure for itself. */
static void measure(const char *name, const struct flow *f, size_t chunk,
		    drain_fn *drain)
{
	uint64_t fills[ROUNDS], receives[ROUNDS], backs[ROUNDS];
	struct cost c = { 0 };
	const double kib = FILL / 1024.0;
	uint64_t before;
	int i;

	for (i = -1; i < ROUNDS; i++) {		/* one to warm up */
		c = (struct cost){ 0 };
		before = now_ns();
		fill(f);
		c.fill = now_ns() - before;
		drain(f->rx, chunk, &c);
		if (i < 0)
			continue;
		fills[i] = c.fill;
		receives[i] = c.receive;
		backs[i] = c.give_back;
	}
	qsort(fills, ROUNDS, sizeof(fills[0]), compare);
	qsort(receives, ROUNDS, sizeof(receives[0]), compare);
	qsort(backs, ROUNDS, sizeof(backs[0]), compare);
	printf("%-8s %6zu %6llu %6llu %9.1f %9.1f %9.1f %9.1f\n", name,
	       chunk >> 10, (unsigned long long)c.calls,
	       (unsigned long long)c.frags, (double)fills[ROUNDS / 2] / kib,
	       (double)receives[ROUNDS / 2] / kib,
	       (double)backs[ROUNDS / 2] / kib,
	       (double)(receives[ROUNDS / 2] + backs[ROUNDS / 2]) / kib);
}

static struct region region;
static struct binding binding;

static void bind_region(void)
{
	uint32_t queue = kt.queue;

	region_make(&region, kt.region);
	must_bind_rx(&binding, kt.bind_host, kt.rx_nic, &region, &queue, 1);
}

static void unbind_region(void)
{
	unbind(&binding);
	region_close(&region);
}

static void table(void)
{
	static const size_t chunks[] = { 64u << 10, 256u << 10 };
	struct flow f;
	unsigned int i;

	printf("# median of %d times %u KiB; ns for a KiB\n", ROUNDS,
	       FILL >> 10);
	printf("# %-6s %6s %6s %6s %9s %9s %9s %9s\n", "", "KiB", "calls",
	       "frags", "fill", "receive", "return", "both");
	flow_open(&f, KT_PORT);
	for (i = 0; i < 2; i++) {
		measure("recv", &f, chunks[i], drain_plain);
		measure("discard", &f, chunks[i], drain_away);
	}
	flow_close(&f);

	bind_region();
	flow_open(&f, KT_PORT);
	for (i = 0; i < 2; i++)
		measure("devmem", &f, chunks[i], drain_devmem);
	flow_close(&f);
	unbind_region();
}

/* --bytes of one kind, for a profiler: what two runs of different length differ
 * by is without what comes before and after.
 */
static void only(drain_fn *drain)
{
	struct cost c = { 0 };
	struct flow f;
	size_t done;

	flow_open(&f, KT_PORT);
	for (done = 0; done < kt.bytes; done += FILL) {
		fill(&f);
		drain(f.rx, 256u << 10, &c);
	}
	flow_close(&f);
}

static void only_recv(void) { only(drain_plain); }
static void only_discard(void) { only(drain_away); }

static void only_devmem(void)
{
	bind_region();
	only(drain_devmem);
	unbind_region();
}

/* A flow of host memory from a process to another, for --seconds. */
static void bulk(void)
{
	static char buf[256u << 10];
	double begin, end;
	uint64_t bytes = 0;
	struct flow f;
	ssize_t n;
	pid_t pid;

	flow_open(&f, KT_PORT);
	fcntl(f.tx, F_SETFL, 0);
	fcntl(f.rx, F_SETFL, 0);
	pid = fork();
	expect(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(f.rx);
		while (write(f.tx, buf, sizeof(buf)) > 0)
			;
		_exit(1);
	}
	close(f.tx);
	begin = kt_now() + 0.2;		/* slow start is over */
	do {
		n = read(f.rx, buf, sizeof(buf));
		expect(n > 0, "read: %s", n ? strerror(errno) : "the end");
		end = kt_now();
		if (end >= begin)
			bytes += (uint64_t)n;
	} while (end < begin + kt.seconds);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(f.rx);
	printf("%.0f\n", (double)bytes / (end - begin) / 1e6);
}

static const struct kt_case cases[] = {
	{ "bulk", bulk, "MB/s of host memory in --seconds" },
	{ "table", table, "all of them, one after the other" },
	{ "recv", only_recv, "--bytes by recv()" },
	{ "discard", only_discard, "--bytes by recv() with MSG_TRUNC" },
	{ "devmem", only_devmem, "--bytes by recvmsg() into a dma-buf" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
