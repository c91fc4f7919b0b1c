// SPDX-License-Identifier: BSD-3-Clause
/* tx.c - streams out of dma-bufs: every byte arrives, and completions tell when
 * memory may be written again.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "kt.h"

/* One direction of a flow. */
struct lane {
	const char *from, *to;		/* hosts */
	const char *from_nic, *to_nic;
	struct region out, in;
	struct binding tx, rx;
	bool to_dmabuf;
	int fd_out, fd_in;
	struct sender sender;
	enum sender_state state;
	uint64_t pos;			/* received */
	uint64_t seed;
	struct totals got;
};

static struct flow flow;
static struct batch *batch;

static void lane_bind(struct lane *l)
{
	uint32_t queue = kt.queue;

	region_make(&l->out, kt.region);
	must_bind_tx(&l->tx, l->from, l->from_nic, &l->out);
	expect(l->tx.id, "a tx binding with id 0");
	if (!l->to_dmabuf)
		return;
	region_make(&l->in, kt.region);
	must_bind_rx(&l->rx, l->to, l->to_nic, &l->in, &queue, 1);
}

static void lane_receive(struct lane *l)
{
	size_t left = l->sender.end - l->pos;
	ssize_t n;

	while (left) {
		n = batch_receive(batch, l->fd_in, left, BATCH_ALL_ROOM,
				  MSG_DONTWAIT);
		if (n == -EAGAIN)
			return;
		expect(n > 0, "recvmsg with %zu bytes to come: %s", left,
		       n ? strerror((int)-n) : "the end");
		batch_check(batch, l->to_dmabuf ? &l->in : &l->out, l->rx.id,
			    l->pos, l->seed);
		batch_return(batch, l->fd_in);
		l->pos += (uint64_t)n;
		left -= (size_t)n;
		totals_add(&l->got, batch);
	}
}

static bool lane_done(const struct lane *l)
{
	return l->pos == l->sender.end && sender_done(&l->sender);
}

static void lane_step(struct lane *l)
{
	sender_complete(&l->sender);
	l->state = sender_step(&l->sender);
	lane_receive(l);
}

static void lane_report(const struct lane *l)
{
	const struct sender *s = &l->sender;

	say("%s: %llu bytes by %u sends, %llu of them partial; %llu"
	    " completions, %llu in disorder, %llu copied; received %llu in the"
	    " dma-buf, %llu otherwise", l->from, (unsigned long long)s->pos,
	    s->next_id, (unsigned long long)s->partial,
	    (unsigned long long)s->completions,
	    (unsigned long long)s->disorder, (unsigned long long)s->copied,
	    (unsigned long long)l->got.frag_bytes,
	    (unsigned long long)(l->got.plain_bytes + l->got.linear_bytes));
	expect(!s->copied, "the kernel says that it has copied");
	expect(kt.lossy || !s->disorder, "completions in disorder");
	expect(!l->to_dmabuf || l->got.frag_bytes == l->pos,
	       "not all payload is in the dma-buf");
}

static void wait_for_any(struct lane *l, unsigned int n, double since)
{
	struct pollfd p[4];
	unsigned int i;

	for (i = 0; i < n; i++) {
		p[2 * i] = (struct pollfd){ .fd = l[i].fd_out };
		p[2 * i + 1] = (struct pollfd){ .fd = l[i].fd_in,
						.events = POLLIN };
		if (l[i].state == SENDER_FULL)
			p[2 * i].events = POLLOUT;
	}
	poll(p, 2 * n, 100);
	if (kt_now() - since < 30)
		return;
	for (i = 0; i < n; i++)
		say("%s: sent %llu, received %llu of %llu; sends %u done of %u",
		    l[i].from, (unsigned long long)l[i].sender.pos,
		    (unsigned long long)l[i].pos,
		    (unsigned long long)l[i].sender.end, l[i].sender.done_id,
		    l[i].sender.next_id);
	die("no progress for 30 s");
}

static void lanes_run(struct lane *l, unsigned int n)
{
	double since = kt_now();
	uint64_t before = 0, now;
	bool done;

	for (;;) {
		done = true;
		now = 0;
		for (unsigned int i = 0; i < n; i++) {
			lane_step(&l[i]);
			done &= lane_done(&l[i]);
			now += l[i].pos + l[i].sender.pos + l[i].sender.done_id;
		}
		if (done)
			return;
		if (now != before)
			since = kt_now();
		before = now;
		wait_for_any(l, n, since);
	}
}

static void lane_open(struct lane *l, bool reverse, bool to_dmabuf)
{
	*l = (struct lane){
		.from = reverse ? kt.rx_host : kt.tx_host,
		.from_nic = reverse ? kt.rx_nic : kt.tx_nic,
		.to = reverse ? kt.tx_host : kt.rx_host,
		.to_nic = reverse ? kt.tx_nic : kt.rx_nic,
		.to_dmabuf = to_dmabuf,
		.seed = kt.seed + reverse,
	};
	lane_bind(l);
}

static void lane_start(struct lane *l, bool reverse, uint64_t len)
{
	l->fd_out = reverse ? flow.rx : flow.tx;
	l->fd_in = reverse ? flow.tx : flow.rx;
	sender_open(&l->sender, l->fd_out, &l->out, l->tx.id, len, l->seed);
}

static void run(unsigned int lanes, bool to_dmabuf)
{
	static struct lane lane[2];
	unsigned int i;

	batch = batch_new();
	for (i = 0; i < lanes; i++)
		lane_open(&lane[i], i, to_dmabuf);
	flow_open(&flow, KT_PORT);
	for (i = 0; i < lanes; i++)
		lane_start(&lane[i], i, kt.bytes);
	lanes_run(lane, lanes);
	for (i = 0; i < lanes; i++)
		lane_report(&lane[i]);
}

static void case_stream(void) { run(1, true); }
static void case_to_host(void) { run(1, false); }
static void case_both(void) { run(2, true); }

/* A small buffer makes sends partial. */
static void case_small_buffer(void)
{
	static struct lane lane;
	int size = 20000;

	batch = batch_new();
	lane_open(&lane, false, true);
	flow_open(&flow, KT_PORT);
	setsockopt(flow.tx, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	lane_start(&lane, false, kt.bytes);
	lanes_run(&lane, 1);
	lane_report(&lane);
	expect(lane.sender.partial, "no send was partial");
}

/* One byte a send. */
static void case_tiny(void)
{
	static struct lane lane;

	kt.bytes = 3000;
	kt.region = 2 * SENDER_SLOTS * KT_PAGE;
	batch = batch_new();
	lane_open(&lane, false, true);
	flow_open(&flow, KT_PORT);
	lane_start(&lane, false, kt.bytes);
	lane.sender.slot_size = 1;
	lanes_run(&lane, 1);
	lane_report(&lane);
	expect(lane.sender.next_id == kt.bytes, "%u sends of one byte",
	       lane.sender.next_id);
}

/* ---- one socket, memory of all kinds --------------------------------------- */

static void drain_completions(struct lane *l)
{
	double until = kt_now() + 10;

	while (!sender_done(&l->sender)) {
		sender_complete(&l->sender);
		expect(kt_now() < until, "sends without completion: %u to %u",
		       l->sender.done_id, l->sender.next_id);
		kt_sleep(0.001);
	}
}

/* The next @len bytes of the stream from the dma-buf, those from host memory in
 * between have the same positions.
 */
static void mixed_dmabuf(struct lane *l, uint64_t pos, size_t len)
{
	struct sender *s = &l->sender;

	s->pos = pos;
	s->end = pos + len;
	while (sender_step(s) != SENDER_SENT) {
		sender_complete(s);
		lane_receive(l);
	}
}

static void mixed_sendfile(int fd, uint64_t pos, size_t len, uint64_t seed)
{
	int mem = memfd_create("kt", MFD_CLOEXEC);
	char buf[20000];
	off_t off = 0;
	ssize_t n;

	pattern_fill(buf, pos, len, seed);
	expect(mem >= 0 && write(mem, buf, len) == (ssize_t)len, "memfd: %s",
	       strerror(errno));
	while ((size_t)off < len) {
		n = sendfile(fd, mem, &off, len - (size_t)off);
		expect(n > 0 || errno == EAGAIN, "sendfile: %s",
		       strerror(errno));
		if (n <= 0)
			kt_sleep(0.001);
	}
	close(mem);
}

static void case_mixed(void)
{
	static struct lane lane;
	uint64_t pos = 0;
	unsigned int i;
	size_t len;

	batch = batch_new();
	lane_open(&lane, false, true);
	flow_open(&flow, KT_PORT);
	lane_start(&lane, false, 0);
	for (i = 0; pos < kt.bytes; i++) {
		len = 1 + kt_random() % 20000;
		if (i % 3 == 0)
			send_pattern(flow.tx, pos, len, lane.seed);
		else if (i % 3 == 1)
			mixed_dmabuf(&lane, pos, len);
		else
			mixed_sendfile(flow.tx, pos, len, lane.seed);
		pos += len;
		lane.sender.end = pos;
		lane.sender.pos = pos;
		lane_receive(&lane);
		sender_complete(&lane.sender);
	}
	while (lane.pos < pos) {
		wait_readable(flow.rx, 10, "data");
		lane_receive(&lane);
	}
	drain_completions(&lane);
	lane_report(&lane);
}

/* ---- completions ------------------------------------------------------------- */

/* While nothing gets through there is no completion. kt.run stops the link,
 * its argument starts it again.
 */
static void case_not_before_ack(void)
{
	static struct lane lane;
	const char *again = kt_arg();
	unsigned int i;

	expect(kt.run && again, "need --run STOP and START");
	batch = batch_new();
	lane_open(&lane, false, true);
	flow_open(&flow, KT_PORT);
	lane_start(&lane, false, 8000);
	kt_shell(kt.run);
	expect(sender_step(&lane.sender) != SENDER_FULL, "nothing was sent");
	for (i = 0; i < 50; i++) {
		sender_complete(&lane.sender);
		expect(!lane.sender.completions,
		       "a completion with nothing acknowledged");
		kt_sleep(0.01);
	}
	kt_shell(again);
	lanes_run(&lane, 1);
	lane_report(&lane);
}

/* ---- ends in the middle -------------------------------------------------------- */

/* Fills the socket's buffer, with a receiver that does not read. */
static void fill(struct lane *l, uint64_t len)
{
	batch = batch_new();
	lane_open(l, false, true);
	flow_open(&flow, KT_PORT);
	lane_start(l, false, len);
	for (int i = 0; i < 20; i++) {
		sender_complete(&l->sender);
		sender_step(&l->sender);
		kt_sleep(0.01);
	}
	expect(l->sender.pos < len && l->sender.done_id != l->sender.next_id,
	       "%llu bytes are not enough to fill a socket",
	       (unsigned long long)len);
}

static void expect_rest(struct lane *l)
{
	l->sender.end = l->sender.pos;
	lanes_run(l, 1);
	lane_report(l);
}

/* With the flow closed nothing refers to the lane's memory any more. */
static void expect_gone(struct lane *l, double seconds)
{
	unbind(&l->tx);
	unbind(&l->rx);
	region_close(&l->in);
	region_close(&l->out);
	expect(dmabufs_fall_to(0, seconds), "a dma-buf stays");
}

/* What was sent before still gets through. */
static void case_unbind(void)
{
	static struct lane l;
	ssize_t n;

	fill(&l, 64 << 20);
	unbind(&l.tx);
	n = send_dmabuf(flow.tx, l.sender.dmabuf, 4, 0, 100,
			KT_MSG_ZEROCOPY | MSG_DONTWAIT);
	expect(n == -EINVAL || n == -EAGAIN, "a send after unbind: %zd", n);
	expect_rest(&l);
	n = send_dmabuf(flow.tx, l.sender.dmabuf, 4, 0, 100,
			KT_MSG_ZEROCOPY | MSG_DONTWAIT);
	expect(n == -EINVAL, "a send after unbind: %zd", n);
	flow_close(&flow);
	expect_gone(&l, 5);
}

/* kt.run changes something with data underway, which arrives all the same. */
static void case_run(void)
{
	static struct lane l;

	fill(&l, kt.bytes);
	kt_shell(kt.run);
	lanes_run(&l, 1);
	lane_report(&l);
}

/* kt.run takes something away: the connection need not survive, but everything
 * is released.
 */
static void case_lost(void)
{
	static struct lane l;

	fill(&l, 64 << 20);
	kt_shell(kt.run);
	for (int i = 0; i < 20; i++) {
		send_dmabuf(flow.tx, l.sender.dmabuf, 4, 0, 4096,
			    KT_MSG_ZEROCOPY | MSG_DONTWAIT);
		batch_receive(batch, flow.rx, BATCH_BYTES, BATCH_ALL_ROOM,
			      MSG_DONTWAIT);
		kt_sleep(0.01);
	}
	if (kt_arg())		/* the bindings first */
		unbind(&l.tx), unbind(&l.rx);
	reset_at_close(flow.tx);
	reset_at_close(flow.rx);
	flow_close(&flow);
	expect_gone(&l, 10);
}

/* Closed with data underway, which nobody reads. */
static void case_abandon(void)
{
	static struct lane l;

	fill(&l, 64 << 20);
	close(flow.rx);
	kt_sleep(0.05);
	close(flow.tx);
	expect_gone(&l, 5);
}

static const struct kt_case cases[] = {
	{ "stream", case_stream, "from dma-buf to dma-buf" },
	{ "to-host", case_to_host, "from dma-buf to host memory" },
	{ "both", case_both, "from dma-buf to dma-buf, both ways at once" },
	{ "small-buffer", case_small_buffer, "sends that are partial" },
	{ "tiny", case_tiny, "sends of one byte" },
	{ "mixed", case_mixed, "host memory, dma-buf, sendfile in turn" },
	{ "not-before-ack", case_not_before_ack, "the link stops: START" },
	{ "unbind", case_unbind, "unbound with data underway" },
	{ "run", case_run, "--run with data underway, which arrives" },
	{ "lost", case_lost, "--run with data underway, which is lost" },
	{ "abandon", case_abandon, "closed with data underway" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
