// SPDX-License-Identifier: BSD-3-Clause
/* script.c - the life of a binding as a list of steps, e.g.
 *
 *   kt-script bind connect recv unbind tokens close gone
 *
 * binds a dma-buf, receives into it, unbinds it while tokens are held, returns
 * them, and wants the dma-buf to be gone in the end. See `steps` below.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kt.h"

#define HELD_MAX 32

static struct region region;
static struct binding binding;
static struct flow flow = { .tx = -1, .rx = -1 };
static struct batch *held[HELD_MAX];
static uint64_t held_at[HELD_MAX];
static unsigned int n_held;
static uint64_t pos;
static size_t chunk = 50000;	/* that the next step send sends */

static void step_bind(void)
{
	uint32_t queue = kt.queue;

	if (!region.mem)
		region_make(&region, kt.region);
	must_bind_rx(&binding, kt.bind_host, kt.rx_nic, &region, &queue, 1);
}

static void step_unbind(void) { unbind(&binding); }
static void step_connect(void) { flow_open(&flow, KT_PORT); }

static void send_chunk(size_t len)
{
	chunk = len;
	send_pattern(flow.tx, pos, chunk, kt.seed);
}

static void step_send(void) { send_chunk(50000); }

/* As much as a connection without acknowledgements may have underway. */
static void step_little(void) { send_chunk(8000); }

static void step_queued(void)
{
	step_send();
	wait_readable(flow.rx, 5, "data");
	kt_sleep(0.05);
}

/* What step send has sent. */
static void take(struct totals *t)
{
	uint64_t end = pos + chunk;
	struct batch *b;
	ssize_t n;

	while (pos < end) {
		expect(n_held < HELD_MAX, "too many batches held");
		b = batch_new();
		wait_readable(flow.rx, 10, "data");
		n = batch_receive(b, flow.rx, end - pos, BATCH_ALL_ROOM, 0);
		expect(n > 0, "recvmsg: %zd (%s)", n, strerror((int)-n));
		batch_check(b, &region, binding.id, pos, kt.seed);
		held_at[n_held] = pos;
		held[n_held++] = b;
		pos += (uint64_t)n;
		t->frag_bytes += b->frag_bytes;
		t->plain_bytes += b->plain_bytes + b->linear_bytes;
	}
}

static void step_take(void)
{
	struct totals t = { 0 };

	take(&t);
	expect(t.frag_bytes == chunk, "%llu bytes are not in the dma-buf",
	       (unsigned long long)t.plain_bytes);
}

static void step_recv(void)
{
	step_send();
	step_take();
}

/* A part of a packet may be left from before it was unbound. */
static void step_plain(void)
{
	struct totals t = { 0 };

	step_send();
	take(&t);
	expect(t.plain_bytes == chunk, "%llu bytes are in the dma-buf",
	       (unsigned long long)t.frag_bytes);
}

static void step_any(void)
{
	struct totals t = { 0 };

	step_send();
	take(&t);
}

/* What was received is still there; now it goes back. */
static void step_tokens(void)
{
	for (unsigned int i = 0; i < n_held; i++) {
		batch_check(held[i], &region, binding.id, held_at[i], kt.seed);
		batch_return(held[i], flow.rx);
		free(held[i]);
	}
	n_held = 0;
}

static void step_close(void)
{
	flow_close(&flow);
	while (n_held)
		free(held[--n_held]);
}

static void step_abort(void)
{
	reset_at_close(flow.tx);
	reset_at_close(flow.rx);
	step_close();
}

static void step_run(void)
{
	expect(kt.run, "no --run");
	kt_shell(kt.run);
}

/* What was sent is lost on the way. */
static void step_nothing(void)
{
	char c;

	kt_sleep(0.5);
	expect(recv(flow.rx, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN, "something came in");
}

/* A chunk that was sent comes into host memory, of a host without a binding. */
static void step_arrives(void)
{
	receive_pattern(flow.rx, pos, chunk, kt.seed);
	pos += chunk;
}

static void step_pause(void) { kt_sleep(0.3); }

static void step_gone(void)
{
	region_close(&region);
	expect(dmabufs_fall_to(0, 5), "something still refers to the dma-buf");
}

static void pools_now(struct pool_count *c)
{
	host_enter(kt.bind_host);
	pools_get(binding.id, c);
	host_enter(".");
}

static void step_pool_gone(void)
{
	struct pool_count c;
	double until = kt_now() + 5;

	do {
		kt_sleep(0.05);
		pools_now(&c);
	} while (c.pools && kt_now() < until);
	expect(!c.pools, "%u page pools with %llu net_iovs out", c.pools,
	       (unsigned long long)c.inflight);
}

static void step_pool_waits(void)
{
	struct pool_count c;

	kt_sleep(1.2);
	pools_now(&c);
	expect(c.pools && c.detached && c.inflight,
	       "no page pool waits for net_iovs: %u pools, %llu out", c.pools,
	       (unsigned long long)c.inflight);
}

static void expect_queue(uint32_t dmabuf)
{
	unsigned int ifindex = host_ifindex(kt.bind_host, kt.rx_nic);
	int64_t id;

	host_enter(kt.bind_host);
	id = queue_dmabuf(ifindex, kt.queue);
	host_enter(".");
	expect(id == dmabuf, "queue %u has dma-buf %lld, not %u", kt.queue,
	       (long long)id, dmabuf);
}

static void step_bound(void) { expect_queue(binding.id); }
static void step_free(void) { expect_queue(0); }

static void step_bufinfo(void)
{
	kt_shell("cat /sys/kernel/debug/dma_buf/bufinfo");
}

static const struct kt_case steps[] = {
	{ "bind", step_bind, "bind the dma-buf to the queue" },
	{ "unbind", step_unbind, "close the netlink socket" },
	{ "connect", step_connect, "open a flow" },
	{ "send", step_send, "send a chunk" },
	{ "little", step_little, "send a small chunk" },
	{ "queued", step_queued, "send a chunk and leave it in the socket" },
	{ "take", step_take, "receive it, all in the dma-buf, hold tokens" },
	{ "recv", step_recv, "send and take" },
	{ "plain", step_plain, "send and receive, all in host memory" },
	{ "any", step_any, "send and receive, wherever" },
	{ "nothing", step_nothing, "what was sent does not come in" },
	{ "arrives", step_arrives, "it does, read without MSG_SOCK_DEVMEM" },
	{ "tokens", step_tokens, "check what is held and return the tokens" },
	{ "close", step_close, "close the flow, with tokens held or not" },
	{ "abort", step_abort, "so, without a good-bye" },
	{ "run", step_run, "run the command of --run" },
	{ "pause", step_pause, "wait for 0.3 s" },
	{ "gone", step_gone, "close the dma-buf: it goes" },
	{ "pool-gone", step_pool_gone, "its page pools go" },
	{ "pool-waits", step_pool_waits, "its page pool waits for tokens" },
	{ "bound", step_bound, "the queue has the dma-buf" },
	{ "free", step_free, "the queue has none" },
	{ "bufinfo", step_bufinfo, "read what debugfs says of dma-bufs" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, steps); }
