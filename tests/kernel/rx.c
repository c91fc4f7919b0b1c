// SPDX-License-Identifier: BSD-3-Clause
/* rx.c - what recvmsg and SO_DEVMEM_DONTNEED do, one case each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kt.h"

/* A dma-buf bound to kt.queue of the receiver, and a flow that is steered to
 * that queue.
 */
static struct region region;
static struct binding binding;
static struct flow flow;
static struct batch *batch;

static void bind_queues(struct binding *b, const struct region *r,
			const uint32_t *queues, unsigned int n)
{
	must_bind_rx(b, kt.bind_host, kt.rx_nic, r, queues, n);
}

static void begin(void)
{
	uint32_t queue = kt.queue;

	region_make(&region, kt.region);
	bind_queues(&binding, &region, &queue, 1);
	flow_open(&flow, KT_PORT);
	batch = batch_new();
}

/* Sends @len bytes at @pos of the stream and waits until all are there. */
static void send_and_wait(uint64_t pos, size_t len)
{
	double until = kt_now() + 10;
	ssize_t n;

	send_pattern(flow.tx, pos, len, kt.seed);
	for (;;) {
		n = batch_receive(batch, flow.rx, BATCH_BYTES, BATCH_ALL_ROOM,
				  MSG_PEEK);
		if (n > 0)
			batch_return(batch, flow.rx);
		if (n == (ssize_t)len)
			return;
		expect(kt_now() < until, "%zd of %zu bytes came in 10 s", n,
		       len);
		kt_sleep(0.001);
	}
}

static void receive_all(size_t len)
{
	ssize_t n = batch_receive(batch, flow.rx, len, BATCH_ALL_ROOM, 0);

	expect(n == (ssize_t)len, "recvmsg: %zd, want %zu", n, len);
}

/* Sends as much as fits and receives what is there, by turns. */
static size_t send_some(size_t done)
{
	char buf[32768];
	size_t len = sizeof(buf);
	ssize_t n;

	if (len > kt.bytes - done)
		len = kt.bytes - done;
	pattern_fill(buf, done, len, kt.seed);
	n = send(flow.tx, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	expect(n > 0 || errno == EAGAIN, "send: %s", strerror(errno));
	return n > 0 ? (size_t)n : 0;
}

static size_t receive_some(size_t pos, struct totals *t)
{
	ssize_t n = batch_receive(batch, flow.rx, BATCH_BYTES, BATCH_ALL_ROOM,
				  0);

	if (n == -EAGAIN)
		return 0;
	expect(n > 0, "recvmsg after %zu bytes: %zd", pos, n);
	batch_check(batch, &region, binding.id, pos, kt.seed);
	batch_return(batch, flow.rx);
	totals_add(t, batch);
	return (size_t)n;
}

static void stream(struct totals *t)
{
	size_t sent = 0, got = 0, more;
	double since = kt_now();

	begin();
	while (got < kt.bytes) {
		more = sent < kt.bytes ? send_some(sent) : 0;
		sent += more;
		more += receive_some(got, t);
		got = t->bytes;
		if (more)
			since = kt_now();
		else
			kt_sleep(0.0005);
		expect(kt_now() - since < 20,
		       "no progress for 20 s: sent %zu, received %zu", sent,
		       got);
	}
	say("%zu bytes in %llu pieces: %llu dma-buf, %llu linear, %llu plain",
	    got, (unsigned long long)t->frags,
	    (unsigned long long)t->frag_bytes,
	    (unsigned long long)t->linear_bytes,
	    (unsigned long long)t->plain_bytes);
}

static void case_any(void)
{
	struct totals t = { 0 };

	stream(&t);
}

static void case_stream(void)
{
	struct totals t = { 0 };

	stream(&t);
	expect(t.frag_bytes == kt.bytes, "not all payload is in the dma-buf");
}

static void case_mixed(void)
{
	struct totals t = { 0 };

	stream(&t);
	expect(t.frag_bytes && t.linear_bytes + t.plain_bytes,
	       "not both dma-buf and host memory");
}

/* Segments of each length up to 8192, none of them with linear payload. */
static void case_segments(void)
{
	struct totals t = { 0 };
	uint64_t pos = 0;
	size_t len;

	begin();
	for (len = 1; len <= 8192; len++) {
		send_pattern(flow.tx, pos, len, kt.seed);
		receive_checked(flow.rx, &region, binding.id, pos, len,
				kt.seed, &t);
		pos += len;
	}
	expect(t.frag_bytes == pos, "%llu linear and %llu plain bytes",
	       (unsigned long long)t.linear_bytes,
	       (unsigned long long)t.plain_bytes);
}

static void expect_new_tokens(const struct batch *a, const struct batch *b)
{
	for (unsigned int i = 0; i < a->n; i++)
		for (unsigned int j = 0; j < b->n; j++)
			expect(a->piece[i].token != b->piece[j].token,
			       "token %u was given out twice", a->piece[i].token);
}

/* Each MSG_PEEK mints tokens, all of which have to be returned. */
static void case_peek(void)
{
	struct batch *peek[3];
	unsigned int i, j;
	ssize_t n;

	begin();
	send_and_wait(0, 20000);
	for (i = 0; i < 3; i++) {
		peek[i] = batch_new();
		n = batch_receive(peek[i], flow.rx, BATCH_BYTES, BATCH_ALL_ROOM,
				  MSG_PEEK);
		expect(n == 20000, "MSG_PEEK gives %zd of 20000 bytes", n);
		batch_check(peek[i], &region, binding.id, 0, kt.seed);
		for (j = 0; j < i; j++)
			expect_new_tokens(peek[j], peek[i]);
	}
	receive_all(20000);
	batch_check(batch, &region, binding.id, 0, kt.seed);
	for (i = 0; i < 3; i++) {
		expect_new_tokens(peek[i], batch);
		batch_return(peek[i], flow.rx);
		free(peek[i]);
	}
	/* What was read is still there. */
	batch_check(batch, &region, binding.id, 0, kt.seed);
	batch_return(batch, flow.rx);
}

/* As many bytes as the control buffer has room for cmsgs. */
static void case_room(void)
{
	uint64_t pos = 0;
	unsigned int i;
	ssize_t n;

	begin();
	send_and_wait(0, 30000);
	n = batch_receive(batch, flow.rx, BATCH_BYTES, 0, 0);
	expect(n == -KT_ETOOSMALL, "no control buffer: %zd, want -%d", n,
	       KT_ETOOSMALL);
	n = batch_receive(batch, flow.rx, BATCH_BYTES, BATCH_ROOM - 1, 0);
	expect(n == -KT_ETOOSMALL || n > 0,
	       "not quite room for a cmsg: %zd", n);
	if (n > 0)	/* the padding behind it is not needed */
		pos += (uint64_t)n, batch_return(batch, flow.rx);
	for (i = 1; i <= 3; i++) {
		n = batch_receive(batch, flow.rx, BATCH_BYTES, i * BATCH_ROOM,
				  0);
		expect(n > 0 && batch->n == i,
		       "room for %u cmsgs: %zd with %u cmsgs", i, n, batch->n);
		batch_check(batch, &region, binding.id, pos, kt.seed);
		batch_return(batch, flow.rx);
		pos += (uint64_t)n;
	}
	receive_all(30000 - pos);
	batch_check(batch, &region, binding.id, pos, kt.seed);
	batch_return(batch, flow.rx);
}

/* recvmsg may take a part of a frag, the rest comes with a token of its own. */
static void case_partial(void)
{
	struct batch *parts = batch_new();
	uint64_t pos = 0;
	ssize_t n;

	begin();
	send_and_wait(0, 10000);
	while (pos < 10000) {
		size_t want = 1 + kt_random() % 700;

		n = batch_receive(batch, flow.rx, want, BATCH_ALL_ROOM, 0);
		expect(n > 0 && (size_t)n <= want, "recvmsg of %zu: %zd", want,
		       n);
		batch_check(batch, &region, binding.id, pos, kt.seed);
		for (unsigned int i = 0; i < batch->n; i++) {
			expect(batch->piece[i].kind == PIECE_FRAG, "linear");
			parts->piece[parts->n++] = batch->piece[i];
		}
		pos += (uint64_t)n;
	}
	batch_return(parts, flow.rx);
	free(parts);
}

/* Without MSG_SOCK_DEVMEM the bytes cannot be read, and stay. */
static void case_no_flag(void)
{
	char buf[4096];
	ssize_t n;

	begin();
	send_and_wait(0, 10000);
	n = recv(flow.rx, buf, sizeof(buf), 0);
	expect(n < 0 && errno == EFAULT, "recv: %zd, %s, want EFAULT", n,
	       strerror(errno));
	n = read(flow.rx, buf, sizeof(buf));
	expect(n < 0 && errno == EFAULT, "read: %zd, %s, want EFAULT", n,
	       strerror(errno));
	n = recv(flow.rx, NULL, 3000, MSG_TRUNC);
	expect(n == 3000, "MSG_TRUNC of 3000 bytes: %zd", n);
	receive_all(7000);
	batch_check(batch, &region, binding.id, 3000, kt.seed);
	batch_return(batch, flow.rx);
}

static void expect_dontneed(int rc, int want, const char *what)
{
	expect(rc == want, "%s: %d, want %d", what, rc, want);
}

static void case_dontneed_bounds(void)
{
	struct kt_token t[KT_DONTNEED_TOKENS + 1];
	unsigned int i, n;

	begin();
	send_and_wait(0, 10000);
	receive_all(10000);
	n = batch->n;
	for (i = 0; i < KT_DONTNEED_TOKENS + 1; i++)
		t[i] = (struct kt_token){ 1000000 + i, 1 };
	expect_dontneed(dontneed(flow.rx, t, 0), -EINVAL, "no token");
	expect_dontneed(dontneed(flow.rx, t, 4), -EINVAL, "half a token");
	expect_dontneed(dontneed(flow.rx, t, 12), -EINVAL, "1.5 tokens");
	expect_dontneed(dontneed(flow.rx, t, sizeof(t)), -EINVAL, "129 tokens");
	expect_dontneed(dontneed(flow.rx, t, sizeof(t) - sizeof(t[0])), 0,
			"128 tokens that nobody has");
	expect_dontneed(dontneed(flow.rx, (void *)8, 8), -EFAULT,
			"a bad address");
	expect_dontneed(dontneed_range(flow.rx, batch->piece[0].token, 0), 0,
			"a range of none");
	expect_dontneed(dontneed_range(flow.rx, 1u << 31, 5), 0,
			"tokens that cannot be");
	expect_dontneed(dontneed_range(flow.rx, 0xffffffff, 2), 0,
			"a range that wraps behind the last token");
	batch_check(batch, &region, binding.id, 0, kt.seed);
	expect(batch->n == n, "lost count");
	batch_return(batch, flow.rx);
}

/* Tokens are known once. */
static void case_dontneed_twice(void)
{
	unsigned int i;

	begin();
	send_and_wait(0, 10000);
	receive_all(10000);
	batch_return(batch, flow.rx);
	for (i = 0; i < batch->n; i++)
		expect_dontneed(dontneed_range(flow.rx, batch->piece[i].token,
					       1),
				0, "a token that was returned already");
}

/* One call takes 1024 frags, and those that are not there count. */
static void case_dontneed_limit(void)
{
	uint32_t min = UINT32_MAX, max = 0, token;
	unsigned int held = 0, i;
	uint64_t pos = 0;
	ssize_t n;
	int rc;

	begin();
	for (; held < KT_DONTNEED_FRAGS + 50; pos += (uint64_t)n) {
		send_pattern(flow.tx, pos, 1000, kt.seed);
		wait_readable(flow.rx, 5, "data");
		n = batch_receive(batch, flow.rx, BATCH_BYTES, BATCH_ALL_ROOM,
				  0);
		expect(n == 1000, "recvmsg: %zd", n);
		for (i = 0; i < batch->n; i++, held++) {
			token = batch->piece[i].token;
			min = token < min ? token : min;
			max = token > max ? token : max;
		}
	}
	expect(max - min + 1 == held, "tokens %u to %u for %u frags", min, max,
	       held);
	rc = dontneed_range(flow.rx, max + 1, UINT32_MAX - max - 1);
	expect_dontneed(rc, 0, "all behind the last one");
	rc = dontneed_range(flow.rx, min, UINT32_MAX - min);
	expect_dontneed(rc, KT_DONTNEED_FRAGS, "all from the first one on");
	rc = dontneed_range(flow.rx, min, UINT32_MAX - min);
	expect_dontneed(rc, 0, "the same, whose first 1024 are gone");
	rc = dontneed_range(flow.rx, min + KT_DONTNEED_FRAGS, held);
	expect_dontneed(rc, (int)(held - KT_DONTNEED_FRAGS), "the rest");
}

static void case_dontneed_kind(void)
{
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	expect(udp >= 0 && unix_fd >= 0, "socket: %s", strerror(errno));
	expect_dontneed(dontneed_range(udp, 0, 1), -EBADF, "UDP");
	expect_dontneed(dontneed_range(unix_fd, 0, 1), -EBADF, "unix");
}

/* Tokens of one socket are not those of another. */
static void case_dontneed_other(void)
{
	struct flow other;

	begin();
	flow_open(&other, KT_PORT2);
	send_and_wait(0, 5000);
	receive_all(5000);
	for (unsigned int i = 0; i < batch->n; i++)
		expect_dontneed(dontneed_range(other.rx,
					       batch->piece[i].token, 1),
				0, "a token of another socket");
	batch_return(batch, flow.rx);
}

/* A child has the socket, and with it the tokens, also when the parent has
 * closed it.
 */
static void case_fork(void)
{
	int status, go[2];
	pid_t pid;
	char c;

	begin();
	send_and_wait(0, 10000);
	receive_all(10000);
	expect(!pipe(go), "pipe: %s", strerror(errno));
	pid = fork();
	expect(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		close(go[1]);
		if (read(go[0], &c, 1) < 0)
			_exit(1);
		batch_check(batch, &region, binding.id, 0, kt.seed);
		batch_return(batch, flow.rx);
		_exit(0);
	}
	close(flow.rx);
	close(go[0]);
	close(go[1]);
	expect(waitpid(pid, &status, 0) == pid && !status,
	       "the child could not use the tokens");
}

/* The last token held is released by the end of its process. */
static void case_held_by_child(void)
{
	int status;
	pid_t pid;

	region_make(&region, kt.region);
	pid = fork();
	if (!pid) {
		uint32_t queue = kt.queue;

		bind_queues(&binding, &region, &queue, 1);
		flow_open(&flow, KT_PORT);
		batch = batch_new();
		send_and_wait(0, 10000);
		receive_all(10000);
		_exit(0);
	}
	expect(pid > 0 && waitpid(pid, &status, 0) == pid && !status,
	       "the child failed");
	region_close(&region);
	expect(dmabufs_fall_to(0, 5), "the dma-buf stays after the process");
}

/* With all net_iovs held nothing comes in; it goes on with tokens returned. */
static void case_starve(void)
{
	struct batch *held[256];
	struct totals t = { 0 };
	unsigned int n_held = 0;
	size_t sent = 4 * kt.region, pos = 0;
	pid_t pid;
	int status;

	begin();
	pid = fork();
	if (!pid) {
		send_pattern(flow.tx, 0, sent, kt.seed);
		_exit(0);
	}
	expect(pid > 0, "fork: %s", strerror(errno));
	for (double idle = kt_now(); kt_now() - idle < 0.5 && n_held < 256;) {
		struct batch *b = batch_new();
		ssize_t n = batch_receive(b, flow.rx, BATCH_BYTES,
					  BATCH_ALL_ROOM, 0);

		if (n == -EAGAIN) {
			free(b);
			kt_sleep(0.001);
			continue;
		}
		expect(n > 0, "recvmsg: %zd", n);
		batch_check(b, &region, binding.id, pos, kt.seed);
		pos += (size_t)n;
		held[n_held++] = b;
		idle = kt_now();
	}
	expect(pos < sent, "all of %zu bytes fit in %zu", sent, kt.region);
	say("%zu of %zu bytes came until it starved", pos, sent);
	while (n_held) {
		batch_return(held[--n_held], flow.rx);
		free(held[n_held]);
	}
	receive_checked(flow.rx, &region, binding.id, pos, sent - pos, kt.seed,
			&t);
	expect(waitpid(pid, &status, 0) == pid && !status, "the sender failed");
}

/* Two flows by turns, the second into @r bound as @id; a MiB of each. */
static void two_flows(const struct region *r, uint32_t id, struct totals *t)
{
	struct flow second;

	flow_open(&second, KT_PORT2);
	for (uint64_t pos = 0; pos < 1 << 20; pos += 65536) {
		send_pattern(flow.tx, pos, 65536, 1);
		send_pattern(second.tx, pos, 65536, 2);
		receive_checked(flow.rx, &region, binding.id, pos, 65536, 1, t);
		receive_checked(second.rx, r, id, pos, 65536, 2, t);
	}
	expect(t->frag_bytes == 2 << 20, "not all in dma-bufs");
	flow_close(&second);
}

/* Two dma-bufs, two queues, two flows. */
static void case_two_dmabufs(void)
{
	uint32_t queue = kt.queue - 1;
	struct totals t = { 0 };
	struct binding second;
	struct region other;

	begin();
	region_make(&other, kt.region);
	bind_queues(&second, &other, &queue, 1);
	expect(second.id != binding.id, "two bindings with the same id");
	two_flows(&other, second.id, &t);
	/* One goes, the other stays. */
	unbind(&second);
	send_pattern(flow.tx, 1 << 20, 65536, 1);
	receive_checked(flow.rx, &region, binding.id, 1 << 20, 65536, 1, &t);
	expect(t.frag_bytes == (2 << 20) + 65536, "not all in dma-bufs");
}

/* One dma-buf, two queues, two flows. */
static void case_two_queues(void)
{
	uint32_t queues[2] = { kt.queue, kt.queue - 1 };
	struct totals t = { 0 };

	region_make(&region, kt.region);
	bind_queues(&binding, &region, queues, 2);
	flow_open(&flow, KT_PORT);
	two_flows(&region, binding.id, &t);
}

/* FIN, and a reset with data and tokens held. */
static void case_end(void)
{
	ssize_t n;

	begin();
	send_and_wait(0, 10000);
	expect(!shutdown(flow.tx, SHUT_WR), "shutdown: %s", strerror(errno));
	receive_all(10000);
	batch_check(batch, &region, binding.id, 0, kt.seed);
	wait_readable(flow.rx, 5, "the end");
	batch_return(batch, flow.rx);
	n = batch_receive(batch, flow.rx, 100, BATCH_ALL_ROOM, 0);
	expect(n == 0, "at the end recvmsg gives %zd", n);
	flow_close(&flow);

	flow_open(&flow, KT_PORT2);
	flow_close(&flow);
	kt_sleep(0.01);
	flow_open(&flow, KT_PORT);
	send_and_wait(0, 10000);
	receive_all(5000);
	reset_at_close(flow.tx);
	close(flow.tx);
	kt_sleep(0.05);
	batch_check(batch, &region, binding.id, 0, kt.seed);
	batch_return(batch, flow.rx);
	close(flow.rx);
}

static const struct kt_case cases[] = {
	{ "stream", case_stream, "all payload in the dma-buf, right" },
	{ "any", case_any, "payload wherever, right" },
	{ "mixed", case_mixed, "payload in the dma-buf and in host memory" },
	{ "segments", case_segments, "segments of 1 to 8192 bytes" },
	{ "peek", case_peek, "tokens of MSG_PEEK" },
	{ "room", case_room, "control buffers that are too small" },
	{ "partial", case_partial, "frags read in parts" },
	{ "no-flag", case_no_flag, "recv without MSG_SOCK_DEVMEM" },
	{ "dontneed-bounds", case_dontneed_bounds, "lengths and ranges" },
	{ "dontneed-twice", case_dontneed_twice, "tokens returned twice" },
	{ "dontneed-limit", case_dontneed_limit, "frags a call" },
	{ "dontneed-kind", case_dontneed_kind, "sockets that are not TCP" },
	{ "dontneed-other", case_dontneed_other, "tokens of another socket" },
	{ "fork", case_fork, "tokens in a child" },
	{ "held-by-child", case_held_by_child, "the end of a process" },
	{ "starve", case_starve, "all net_iovs held" },
	{ "two-dmabufs", case_two_dmabufs, "two queues, two dma-bufs" },
	{ "two-queues", case_two_queues, "two queues, one dma-buf" },
	{ "end", case_end, "FIN and reset" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
