// SPDX-License-Identifier: BSD-3-Clause
/* txerr.c - sends that the kernel has to refuse: with which errno, and that the
 * connection is none the worse for it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kt.h"

#define FLAGS (KT_MSG_ZEROCOPY | MSG_DONTWAIT)

static struct region out, in;
static struct binding tx, rx;
static struct flow flow;
static uint64_t pos;
static uint32_t sends;		/* that succeeded: ids of completions */

static int try_tx(struct binding *b, const char *host, const char *nic, int fd)
{
	int rc = host_bind_tx(b, host, nic, fd);

	say("bind-tx of %s: %s \"%s\"", nic, rc ? strerrorname_np(-rc) : "ok",
	    b->why);
	return rc;
}

static void begin_without_flow(void)
{
	uint32_t queue = kt.queue;

	region_make(&out, kt.region);
	region_make(&in, kt.region);
	must_bind_tx(&tx, kt.tx_host, kt.tx_nic, &out);
	must_bind_rx(&rx, kt.rx_host, kt.rx_nic, &in, &queue, 1);
}

static void begin(void)
{
	begin_without_flow();
	flow_open(&flow, KT_PORT);
	zerocopy_on(flow.tx);
}

static void send_right(uint64_t off, size_t len)
{
	ssize_t n;

	pattern_fill(out.mem + off, pos, len, kt.seed);
	n = send_dmabuf(flow.tx, tx.id, 4, off, len, FLAGS);
	expect(n == (ssize_t)len, "a right send of %zu bytes at %llu: %zd", len,
	       (unsigned long long)off, n);
	sends++;
}

static void receive(size_t len)
{
	struct totals t = { 0 };

	receive_checked(flow.rx, &in, rx.id, pos, len, kt.seed, &t);
	pos += len;
}

/* The stream goes on, from host memory and from the dma-buf, and there is no
 * completion of what was refused.
 */
static void unharmed(void)
{
	uint32_t lo, hi, next = 0;
	double until = kt_now() + 5;
	bool copied;

	send_pattern(flow.tx, pos, 3000, kt.seed);
	receive(3000);
	send_right(777, 5000);
	receive(5000);
	while (next != sends) {
		expect(kt_now() < until, "%u completions of %u sends", next,
		       sends);
		if (!completion_read(flow.tx, &lo, &hi, &copied)) {
			kt_sleep(0.001);
			continue;
		}
		expect(lo == next, "completion of %u, want %u", lo, next);
		expect(!copied, "the kernel says that it has copied");
		next = hi + 1;
	}
	expect(!completion_read(flow.tx, &lo, &hi, &copied),
	       "a completion of %u to %u, %u were sent", lo, hi, sends);
}

static void expect_errno(ssize_t n, int want, const char *what)
{
	expect(n == -want, "%s: %zd (%s), want %s", what, n,
	       n < 0 ? strerrorname_np((int)-n) : "bytes",
	       strerrorname_np(want));
}

static void case_bad_id(void)
{
	struct binding gone;

	begin();
	expect_errno(send_dmabuf(flow.tx, 0xffffffff, 4, 0, 100, FLAGS), EINVAL,
		     "an id that does not exist");
	expect_errno(send_dmabuf(flow.tx, tx.id + 1000, 4, 0, 100, FLAGS),
		     EINVAL, "an id that does not exist");
	expect_errno(send_dmabuf(flow.tx, rx.id, 4, 0, 100, FLAGS), EINVAL,
		     "the id of an rx binding");
	expect(!try_tx(&gone, kt.tx_host, kt.tx_nic, out.fd), "bind-tx");
	unbind(&gone);
	expect_errno(send_dmabuf(flow.tx, gone.id, 4, 0, 100, FLAGS), EINVAL,
		     "the id of a binding that is gone");
	unharmed();
}

static void case_cmsg_size(void)
{
	static const size_t sizes[] = { 1, 2, 3, 5, 8, 24 };

	begin();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		expect_errno(send_dmabuf(flow.tx, tx.id, sizes[i], 0, 100,
					 FLAGS),
			     EINVAL, "a cmsg of a wrong size");
	unharmed();
}

static void case_flags(void)
{
	begin();
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, 0, 100, MSG_DONTWAIT),
		     EINVAL, "no MSG_ZEROCOPY");
	unharmed();
}

static void case_no_zerocopy(void)
{
	begin_without_flow();
	flow_open(&flow, KT_PORT);
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, 0, 100, FLAGS), EINVAL,
		     "no SO_ZEROCOPY");
	zerocopy_on(flow.tx);
	unharmed();
}

/* What is sent is user memory, as if there were no cmsg. */
static void case_id_0(void)
{
	char buf[1000];
	ssize_t n;

	begin();
	pattern_fill(buf, pos, sizeof(buf), kt.seed);
	n = send_dmabuf(flow.tx, 0, 4, (uintptr_t)buf, sizeof(buf),
			MSG_DONTWAIT);
	expect(n == sizeof(buf), "id 0: %zd", n);
	receive(sizeof(buf));
	unharmed();
}

static void case_bounds(void)
{
	size_t size;
	ssize_t n;

	begin();
	size = out.size;
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, size, 1, FLAGS), EFAULT,
		     "the first byte behind the end");
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, size + KT_PAGE, 100, FLAGS),
		     EFAULT, "behind the end");
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, 1ull << 63, 100, FLAGS),
		     EFAULT, "an offset of 2^63");
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, UINT64_MAX - 49, 100,
				 FLAGS),
		     EFAULT, "an offset and length that wrap");
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, UINT64_MAX - 0xfff, 4096,
				 FLAGS),
		     EFAULT, "the last page of all");
	unharmed();

	/* What is not behind the end may be sent. */
	pattern_fill(out.mem + size - 100, pos, 100, kt.seed);
	n = send_dmabuf(flow.tx, tx.id, 4, size - 100, 101, FLAGS);
	expect(n == -EFAULT || n == 100, "a byte too much at the end: %zd", n);
	if (n > 0) {
		sends++;
		receive(100);
	}
	send_right(size - 100, 100);
	receive(100);
}

static void case_zero_length(void)
{
	uint32_t lo, hi;
	bool copied;
	ssize_t n;

	begin();
	n = send_dmabuf(flow.tx, tx.id, 4, 0, 0, FLAGS);
	expect(n == 0, "no bytes: %zd", n);
	kt_sleep(0.05);
	/* As for MSG_ZEROCOPY of user memory, it may have an id. */
	if (completion_read(flow.tx, &lo, &hi, &copied))
		say("a send of no bytes has a completion");
	send_pattern(flow.tx, pos, 3000, kt.seed);
	receive(3000);
}

static void case_udp(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9) };
	ssize_t n;
	int fd;

	begin_without_flow();
	host_enter(kt.tx_host);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, "10.0.0.2", &to.sin_addr);
	expect(fd >= 0 && !connect(fd, (void *)&to, sizeof(to)), "UDP: %s",
	       strerror(errno));
	zerocopy_on(fd);
	n = send_dmabuf(fd, tx.id, 4, 0, 100, FLAGS);
	expect(n == -EINVAL || n == -EFAULT, "UDP: %zd, want EINVAL", n);
	say("UDP: %s", strerrorname_np((int)-n));
	close(fd);
}

static void case_unconnected(void)
{
	int fd;

	begin();
	host_enter(kt.tx_host);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	host_enter(".");
	zerocopy_on(fd);
	expect(send_dmabuf(fd, tx.id, 4, 0, 100, FLAGS) < 0,
	       "a send without connection worked");
	close(fd);
	unharmed();
}

/* --run makes a second NIC, the argument, in the sender's host. */
static void case_other_device(void)
{
	const char *nic = kt_arg();
	struct binding other;

	expect(nic, "no NIC given");
	begin();
	expect(!try_tx(&other, kt.tx_host, nic, out.fd), "bind-tx");
	expect_errno(send_dmabuf(flow.tx, other.id, 4, 0, 100, FLAGS), ENODEV,
		     "a binding of another device");
	unharmed();
	unbind(&other);
}

/* The flow stays in one host. */
static void case_loopback(void)
{
	begin_without_flow();
	kt.rx_host = kt.tx_host;
	kt.connect_to = kt.tx_host;
	flow_open(&flow, KT_PORT2);
	zerocopy_on(flow.tx);
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, 0, 100, FLAGS), ENODEV,
		     "by loopback");
	send_pattern(flow.tx, 0, 3000, kt.seed);
	receive_pattern(flow.rx, 0, 3000, kt.seed);
}

/* --run, with a connection open, does what makes it fail with the errno of the
 * argument; a second command, if given, makes it work again.
 */
static void case_after_run(void)
{
	const char *name = kt_arg(), *again = kt_arg();
	ssize_t n;

	expect(kt.run && name, "need --run and ERRNO");
	begin();
	unharmed();
	kt_shell(kt.run);
	n = send_dmabuf(flow.tx, tx.id, 4, 0, 100, FLAGS);
	expect(n < 0 && !strcmp(strerrorname_np((int)-n), name),
	       "send after \"%s\": %zd (%s), want %s", kt.run, n,
	       n < 0 ? strerrorname_np((int)-n) : "bytes", name);
	if (!again)
		return;
	kt_shell(again);
	sends = 0;
	flow_close(&flow);
	pos = 0;
	flow_open(&flow, KT_PORT2);
	zerocopy_on(flow.tx);
	kt.seed++;
	send_right(0, 1000);
	kt_sleep(0.1);
}

/* A connection that is not by the binding's device from the start. */
static void case_on_top(void)
{
	begin();
	expect_errno(send_dmabuf(flow.tx, tx.id, 4, 0, 100, FLAGS), ENODEV,
		     "by a device on top");
	send_pattern(flow.tx, 0, 3000, kt.seed);
	receive(3000);
}

/* ---- bind-tx ------------------------------------------------------------------ */

/* NIC and what is wanted of it: ERRNO WORDS. */
static void case_bind(void)
{
	const char *nic = kt_arg(), *name = kt_arg(), *text = kt_arg();
	int rc;

	expect(text, "need NIC ERRNO WORDS");
	region_make(&out, kt.region);
	rc = try_tx(&tx, kt.tx_host, nic, out.fd);
	expect(rc && !strcmp(strerrorname_np(-rc), name), "%s, want %s",
	       rc ? strerrorname_np(-rc) : "ok", name);
	expect(strcasestr(tx.why, text), "does not say \"%s\"", text);
}

static void case_bind_fd(void)
{
	int rc = try_tx(&tx, kt.tx_host, kt.tx_nic, 1000);

	if (rc == -EOPNOTSUPP)
		skip("%s: %s", kt.tx_nic, tx.why);
	expect(rc == -EBADF, "a file that is not open");
	rc = try_tx(&tx, kt.tx_host, kt.tx_nic, 0);
	expect(rc == -EINVAL, "a file that is not a dma-buf");
	expect(dmabufs_fall_to(0, 2), "a dma-buf stays");
}

/* Many, of the same dma-buf, each with an id of its own. */
static void case_bind_many(void)
{
	struct binding b[100];

	region_make(&out, 1 << 20);
	for (int i = 0; i < 100; i++) {
		must_bind_tx(&b[i], kt.tx_host, kt.tx_nic, &out);
		for (int j = 0; j < i; j++)
			expect(b[i].id != b[j].id, "the same id twice");
	}
	for (int i = 0; i < 100; i++)
		unbind(&b[i]);
	region_close(&out);
	expect(dmabufs_fall_to(0, 5), "the dma-buf stays");
}

static const struct kt_case cases[] = {
	{ "bad-id", case_bad_id, "ids that are no tx binding's" },
	{ "cmsg-size", case_cmsg_size, "cmsgs of a wrong size" },
	{ "flags", case_flags, "without MSG_ZEROCOPY" },
	{ "no-zerocopy", case_no_zerocopy, "without SO_ZEROCOPY" },
	{ "id-0", case_id_0, "id 0" },
	{ "bounds", case_bounds, "offsets and lengths" },
	{ "zero-length", case_zero_length, "no bytes" },
	{ "udp", case_udp, "UDP" },
	{ "unconnected", case_unconnected, "no connection" },
	{ "other-device", case_other_device, "the binding of another: NIC" },
	{ "loopback", case_loopback, "a flow in one host" },
	{ "after-run", case_after_run, "after --run: ERRNO [COMMAND]" },
	{ "on-top", case_on_top, "another device from the start" },
	{ "bind", case_bind, "bind-tx fails: NIC ERRNO WORDS" },
	{ "bind-fd", case_bind_fd, "bind-tx of what is not a dma-buf" },
	{ "bind-many", case_bind_many, "100 tx bindings" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
