// SPDX-License-Identifier: BSD-3-Clause
/* bind.c - binds that the kernel has to refuse, and what it has to refuse while
 * a dma-buf is bound.
 *
 *   kt-bind refused ERRNO WORDS [fd]      bind-rx gives this, with these words
 *   kt-bind hold COMMAND                  COMMAND runs while it is bound
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kt.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static struct region region;

static const char *need_arg(const char *what)
{
	const char *s = kt_arg();

	expect(s, "no %s on the command line", what);
	return s;
}

static int bind_here(struct binding *b, int fd, const uint32_t *queues,
		     unsigned int n)
{
	int rc = host_bind_rx(b, kt.bind_host, kt.rx_nic, fd, queues, n);

	say("bind-rx of %s: %s \"%s\"", kt.rx_nic,
	    rc ? strerrorname_np(-rc) : "ok", b->why);
	return rc;
}

/* A new region, bound to kt.queue. */
static void bind_region(struct binding *b)
{
	uint32_t queue = kt.queue;

	region_make(&region, kt.region);
	expect(!bind_here(b, region.fd, &queue, 1), "bind");
}

static int bad_fd(const char *kind)
{
	int fd;

	if (!strcmp(kind, "dmabuf"))
		return region.fd;
	if (!strcmp(kind, "closed"))
		return 1000;
	if (!strcmp(kind, "negative"))
		return -1;
	fd = !strcmp(kind, "memfd") ? memfd_create("kt", MFD_CLOEXEC) :
	     !strcmp(kind, "socket") ? socket(AF_INET, SOCK_STREAM, 0) :
	     open("/dev/null", O_RDONLY | O_CLOEXEC);
	expect(fd >= 0, "%s: %s", kind, strerror(errno));
	return fd;
}

static void refused(int fd, const char *name, const char *text)
{
	uint32_t queue = kt.queue;
	struct binding b;
	int before = dmabufs(), rc = bind_here(&b, fd, &queue, 1);

	expect(rc, "it was not refused, want %s", name);
	expect(!strcmp(strerrorname_np(-rc), name), "%s, want %s",
	       strerrorname_np(-rc), name);
	expect(strcasestr(b.why, text), "the words are \"%s\", want \"%s\"",
	       b.why, text);
	expect(dmabufs_fall_to(before, 3), "a dma-buf was left");
}

static void case_refused(void)
{
	const char *name = need_arg("errno"), *text = need_arg("words");

	region_make(&region, kt.region);
	refused(region.fd, name, text);
}

static void case_refused_fd(void)
{
	const char *kind = need_arg("kind"), *name = need_arg("errno");

	refused(bad_fd(kind), name, "");
}

/* Of two queues the first is good: it must not stay bound. */
static void case_refused_second(void)
{
	uint32_t queues[2] = { kt.queue, 99 };
	struct binding b;
	int rc;

	region_make(&region, kt.region);
	rc = bind_here(&b, region.fd, queues, 2);
	expect(rc == -ERANGE || rc == -EINVAL, "want ERANGE");
	rc = bind_here(&b, region.fd, queues, 1);
	expect(!rc, "the queue cannot be bound after a refused bind");
	unbind(&b);
}

static void case_no_queues(void)
{
	struct binding b;
	int rc;

	region_make(&region, kt.region);
	rc = bind_here(&b, region.fd, NULL, 0);
	expect(rc == -EINVAL, "want EINVAL");
}

static void case_twice(void)
{
	uint32_t queues[2] = { kt.queue, kt.queue };
	struct binding a, b;
	int rc;

	region_make(&region, kt.region);
	rc = bind_here(&b, region.fd, queues, 2);
	expect(rc == -EEXIST, "the same queue twice in one bind: want EEXIST");
	rc = bind_here(&a, region.fd, queues, 1);
	expect(!rc, "bind");
	rc = bind_here(&b, region.fd, queues, 1);
	expect(rc == -EEXIST, "a bound queue: want EEXIST");
	expect(*b.why, "no words of why");
	unbind(&a);
	rc = bind_here(&b, region.fd, queues, 1);
	expect(!rc, "after unbind it is not free");
	unbind(&b);
}

/* Many times, with the dma-buf's only reference held by the binding. */
static void case_again(void)
{
	uint32_t queue = kt.queue;
	struct binding b;

	for (int i = 0; i < 50; i++) {
		region_make(&region, 1 << 20);
		expect(!bind_here(&b, region.fd, &queue, 1), "bind %d", i);
		region_close(&region);
		unbind(&b);
	}
	expect(dmabufs_fall_to(0, 5), "dma-bufs stay");
}

static void case_unprivileged(void)
{
	uint32_t queue = kt.queue;
	struct binding b;
	unsigned int ifindex = host_ifindex(kt.bind_host, kt.rx_nic);
	int rc;

	region_make(&region, kt.region);
	host_enter(kt.bind_host);
	expect(!setuid(65534), "setuid: %s", strerror(errno));
	rc = bind_rx(&b, ifindex, region.fd, &queue, 1);
	expect(rc == -EPERM, "a user without rights: %d, want EPERM", rc);
}

static void case_hold(void)
{
	const char *command = need_arg("command");
	struct binding b;

	bind_region(&b);
	kt_shell(command);
	unbind(&b);
}

/* ---- XDP and AF_XDP -------------------------------------------------------- */

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* "return XDP_PASS" */
static int xdp_program(void)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uint64_t)(uintptr_t)code,
		.insn_cnt = 2,
		.license = (uint64_t)(uintptr_t)"GPL",
	};
	int fd = bpf(BPF_PROG_LOAD, &attr);

	if (fd < 0)
		skip("BPF_PROG_LOAD: %s", strerror(errno));
	return fd;
}

static int xdp_attach(unsigned int ifindex)
{
	union bpf_attr attr = {
		.link_create = { .prog_fd = (uint32_t)xdp_program(),
				 .target_ifindex = ifindex,
				 .attach_type = BPF_XDP,
				 .flags = XDP_FLAGS_SKB_MODE },
	};
	int fd = bpf(BPF_LINK_CREATE, &attr);

	return fd < 0 ? -errno : fd;
}

static void case_xdp_after(void)
{
	unsigned int ifindex = host_ifindex(kt.bind_host, kt.rx_nic);
	struct binding b;
	int rc;

	bind_region(&b);
	host_enter(kt.bind_host);
	rc = xdp_attach(ifindex);
	expect(rc < 0, "XDP can be attached to a NIC with a bound queue");
	say("XDP: %s", strerrorname_np(-rc));
	expect(rc == -EEXIST || rc == -EBUSY || rc == -EINVAL,
	       "XDP: %s", strerrorname_np(-rc));
	unbind(&b);
	rc = xdp_attach(ifindex);
	expect(rc >= 0, "XDP after unbind: %s", strerrorname_np(-rc));
	close(rc);
}

static void case_xdp_before(void)
{
	unsigned int ifindex = host_ifindex(kt.bind_host, kt.rx_nic);
	int rc;

	host_enter(kt.bind_host);
	rc = xdp_attach(ifindex);
	expect(rc >= 0, "XDP: %s", strerrorname_np(-rc));
	region_make(&region, kt.region);
	refused(region.fd, "EEXIST", "XDP");
	close(rc);
}

/* An AF_XDP socket on that queue, in copy mode. */
static int xsk_bind(unsigned int ifindex)
{
	struct xdp_umem_reg umem = { .len = 64 * KT_PAGE,
				     .chunk_size = KT_PAGE };
	struct sockaddr_xdp sa = { .sxdp_family = AF_XDP,
				   .sxdp_ifindex = ifindex,
				   .sxdp_queue_id = kt.queue,
				   .sxdp_flags = XDP_COPY };
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), n = 64;
	void *mem = mmap(NULL, umem.len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0)
		skip("AF_XDP: %s", strerror(errno));
	umem.addr = (uint64_t)(uintptr_t)mem;
	expect(!setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)),
	       "XDP_UMEM_REG: %s", strerror(errno));
	setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &n, sizeof(n));
	setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &n, sizeof(n));
	setsockopt(fd, SOL_XDP, XDP_RX_RING, &n, sizeof(n));
	if (!bind(fd, (void *)&sa, sizeof(sa)))
		return fd;
	n = -errno;
	close(fd);
	return n;
}

/* In copy mode it gets what an XDP program sends it, and there can be none. */
static void case_xsk_after(void)
{
	unsigned int ifindex = host_ifindex(kt.bind_host, kt.rx_nic);
	struct totals t = { 0 };
	struct binding b;
	struct flow flow;
	int fd;

	bind_region(&b);
	host_enter(kt.bind_host);
	fd = xsk_bind(ifindex);
	say("AF_XDP: %s", fd < 0 ? strerrorname_np(-fd) : "bound");
	expect(xdp_attach(ifindex) < 0, "XDP can be attached");
	flow_open(&flow, KT_PORT);
	send_pattern(flow.tx, 0, 50000, kt.seed);
	receive_checked(flow.rx, &region, b.id, 0, 50000, kt.seed, &t);
	expect(t.frag_bytes == 50000, "not all in the dma-buf");
	unbind(&b);
	if (fd >= 0)
		close(fd);
}

static void case_xsk_before(void)
{
	unsigned int ifindex = host_ifindex(kt.bind_host, kt.rx_nic);
	int fd;

	host_enter(kt.bind_host);
	fd = xsk_bind(ifindex);
	expect(fd >= 0, "AF_XDP: %s", strerrorname_np(-fd));
	region_make(&region, kt.region);
	refused(region.fd, "EBUSY", "AF_XDP");
	close(fd);
}

static const struct kt_case cases[] = {
	{ "refused", case_refused, "bind-rx fails: ERRNO WORDS" },
	{ "refused-fd", case_refused_fd, "so it does: KIND ERRNO" },
	{ "refused-second", case_refused_second, "one of two queues is bad" },
	{ "no-queues", case_no_queues, "no queue given" },
	{ "twice", case_twice, "a queue that is bound" },
	{ "again", case_again, "50 times" },
	{ "unprivileged", case_unprivileged, "without rights" },
	{ "hold", case_hold, "COMMAND runs while bound" },
	{ "xdp-after", case_xdp_after, "XDP after bind-rx" },
	{ "xdp-before", case_xdp_before, "XDP before bind-rx" },
	{ "xsk-after", case_xsk_after, "AF_XDP after bind-rx" },
	{ "xsk-before", case_xsk_before, "AF_XDP before bind-rx" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
