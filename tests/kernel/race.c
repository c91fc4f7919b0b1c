// SPDX-License-Identifier: BSD-3-Clause
/* race.c - races that are made to happen: userfaultfd stops recvmsg at the very
 * place where it writes a cmsg, and another thread does the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kt.h"

static struct region region;
static struct binding binding;
static struct flow flow;

static void begin(void)
{
	uint32_t queue = kt.queue;

	region_make(&region, kt.region);
	must_bind_rx(&binding, kt.rx_host, kt.rx_nic, &region, &queue, 1);
	flow_open(&flow, KT_PORT);
}

/* ---- a page whose first access waits ----------------------------------------- */

static unsigned char *page;
static int uffd;

static void page_make(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	page = mmap(NULL, KT_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(page != MAP_FAILED, "mmap: %s", strerror(errno));
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0)
		skip("userfaultfd: %s", strerror(errno));
	reg.range.start = (uintptr_t)page;
	reg.range.len = KT_PAGE;
	expect(!ioctl(uffd, UFFDIO_API, &api) &&
	       !ioctl(uffd, UFFDIO_REGISTER, &reg), "userfaultfd: %s",
	       strerror(errno));
}

/* Somebody waits for the page. */
static void page_wanted(void)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	expect(poll(&p, 1, 5000) == 1 &&
	       read(uffd, &msg, sizeof(msg)) == sizeof(msg) &&
	       msg.event == UFFD_EVENT_PAGEFAULT,
	       "nobody has touched the control buffer");
}

static void page_give(void)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)page, .len = KT_PAGE },
	};

	expect(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE: %s",
	       strerror(errno));
}

/* ---- token reserved, but not there yet --------------------------------------- */

static ssize_t received;
static struct piece piece[64];
static unsigned int pieces;

static void *receiver(void *arg)
{
	static char buf[65536];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = page, .msg_controllen = KT_PAGE };
	struct kt_frag_cmsg f;
	struct cmsghdr *c;

	(void)arg;
	received = recvmsg(flow.rx, &m, KT_MSG_SOCK_DEVMEM);
	for (c = CMSG_FIRSTHDR(&m); c && pieces < 64; c = CMSG_NXTHDR(&m, c)) {
		memcpy(&f, CMSG_DATA(c), sizeof(f));
		piece[pieces++] = (struct piece){ .token = f.frag_token,
						  .len = f.frag_size };
	}
	return NULL;
}

/* A thread that is in recvmsg, with a token reserved, until it is let go. */
static pthread_t stop_in_recvmsg(void)
{
	pthread_t thread;

	begin();
	page_make();
	send_pattern(flow.tx, 0, 10000, kt.seed);
	wait_readable(flow.rx, 5, "data");
	kt_sleep(0.05);
	expect(!pthread_create(&thread, NULL, receiver, NULL), "no thread");
	page_wanted();
	return thread;
}

static void let_go(pthread_t thread)
{
	page_give();
	pthread_join(thread, NULL);
	expect(received > 0 && pieces, "recvmsg: %zd", received);
}

static void settle(void)
{
	flow_close(&flow);
	unbind(&binding);
	region_close(&region);
	expect(dmabufs_fall_to(0, 5),
	       "a net_iov was lost: the dma-buf stays for ever");
}

/* recvmsg reserves ids of tokens before it has them all. Another thread guesses
 * an id and returns it in between: that frag must not be lost for ever.
 */
static void case_token_guessed(void)
{
	pthread_t thread;
	int before = dmabufs(), known;

	expect(!before, "%d dma-bufs are there already", before);
	thread = stop_in_recvmsg();
	known = dontneed_range(flow.rx, 0, 1000);
	expect(known == 0, "%d tokens were known before recvmsg has ended",
	       known);
	let_go(thread);
	say("recvmsg: %zd bytes, %u frags", received, pieces);
	for (unsigned int i = 0; i < pieces; i++)
		dontneed_range(flow.rx, piece[i].token, 1);
	settle();
}

/* The same with the binding, or the NIC, taken away meanwhile. */
static void case_unbound_meanwhile(void)
{
	pthread_t thread = stop_in_recvmsg();

	unbind(&binding);
	if (kt.run)
		kt_shell(kt.run);
	let_go(thread);
	for (unsigned int i = 0; i < pieces; i++)
		expect(dontneed_range(flow.rx, piece[i].token, 1) == 1,
		       "token %u is not known", piece[i].token);
	settle();
}

/* A control buffer that goes away in the middle of a batch. */
static void case_bad_control(void)
{
	unsigned char *mem = mmap(NULL, 2 * KT_PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct totals t = { 0 };
	static char buf[65536];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	begin();
	expect(mem != MAP_FAILED && !munmap(mem + KT_PAGE, KT_PAGE), "mmap");
	send_pattern(flow.tx, 0, 30000, kt.seed);
	wait_readable(flow.rx, 5, "data");
	kt_sleep(0.05);
	/* Room for one cmsg in front of the hole. */
	m.msg_control = mem + KT_PAGE - 48;
	m.msg_controllen = KT_PAGE;
	n = recvmsg(flow.rx, &m, KT_MSG_SOCK_DEVMEM);
	expect(n > 0 || errno == EFAULT, "recvmsg: %s", strerror(errno));
	say("recvmsg with a hole in the control buffer: %zd", n);
	if (n < 0)
		n = 0;
	receive_checked(flow.rx, &region, binding.id, (uint64_t)n,
			30000 - (size_t)n, kt.seed, &t);
	dontneed_range(flow.rx, 0, 1000);
	settle();
}

static const struct kt_case cases[] = {
	{ "token-guessed", case_token_guessed, "a token returned too early" },
	{ "unbound-meanwhile", case_unbound_meanwhile, "unbind in recvmsg" },
	{ "bad-control", case_bad_control, "a hole in the control buffer" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
