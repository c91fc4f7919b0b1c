// SPDX-License-Identifier: BSD-3-Clause
/* stress.c - everything at once, for kt.seconds, to be run on more than one CPU.
 *
 * One flow is honest: its bytes are compared, from host memory into dma-bufs
 * one way, from a dma-buf the other way, while dma-bufs are bound and unbound
 * under it. The other flows are not: tokens are guessed, sockets closed with
 * tokens held, bindings closed with sends underway. Meanwhile the NIC is
 * changed, goes down and comes up, packet sockets open and close, and what the
 * kernel tells of all that is read. It lives, the honest flow gets through, and
 * no dma-buf is left.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kt.h"

#define REGION	(4u << 20)
#define PORTS_TX 5300		/* and on, steered nowhere */

static unsigned int tx_ifindex, rx_ifindex;
static bool can_send;		/* from device memory */
static double deadline;
static bool go_on(void) { return kt_now() < deadline; }
static unsigned int pick(unsigned int n) { return kt_random() % n; }
static void nap(unsigned int ms) { kt_sleep(pick(ms * 1000) * 1e-6); }

/* ---- what was bound to the honest flow's queue ------------------------------- */

#define KEPT 64

static struct kept {
	uint32_t id;
	struct region r;
} kept[KEPT];
static unsigned int n_kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(uint32_t id, const struct region *r)
{
	struct kept *k;

	pthread_mutex_lock(&kept_lock);
	k = &kept[n_kept++ % KEPT];
	if (k->r.mem)
		munmap(k->r.mem, k->r.size);
	*k = (struct kept){ .id = id, .r = *r };
	pthread_mutex_unlock(&kept_lock);
}

static struct region *kept_look(uint32_t id)
{
	struct region *r = NULL;

	pthread_mutex_lock(&kept_lock);
	for (unsigned int i = 0; i < KEPT && !r; i++)
		if (kept[i].id == id)
			r = &kept[i].r;
	pthread_mutex_unlock(&kept_lock);
	return r;
}

/* Data may come in before the thread that binds knows the id. */
static struct region *kept_find(uint32_t id)
{
	struct region *r = kept_look(id);

	for (int i = 0; i < 2000 && !r; i++) {
		kt_sleep(0.001);
		r = kept_look(id);
	}
	expect(r, "a frag in dma-buf %u, which nobody has", id);
	return r;
}

static atomic_ulong n_binds, n_bind_fails, n_tokens, n_guessed, n_closed,
		     n_sends, n_refused, n_seen, n_changes;

/* A new dma-buf each time: two of one memory would write over each other. The
 * lease goes, sometimes before, sometimes after the next one is there.
 */
static void *honest_binder(void *arg)
{
	uint32_t queue = kt.queue;
	struct binding b;
	struct region r;
	int rc;

	(void)arg;
	kt_random_for(1);
	while (go_on()) {
		region_make(&r, REGION);
		host_enter(kt.rx_host);
		rc = bind_rx(&b, rx_ifindex, r.fd, &queue, 1);
		expect(!rc || rc == -ENOMEM || rc == -EBUSY || rc == -ENETDOWN,
		       "bind-rx: %s (%s)", strerror(-rc), b.why);
		close(r.fd);
		if (rc) {
			n_bind_fails++;
			munmap(r.mem, r.size);
			nap(5);
			continue;
		}
		keep(b.id, &r);
		n_binds++;
		nap(100);
		unbind(&b);
		if (!pick(4))
			nap(20);
	}
	return NULL;
}

/* ---- the honest flow ------------------------------------------------------------ */

static struct flow honest;
static atomic_ulong sent_pos, got_pos, got_frags;
static atomic_bool sent_all;

static void *honest_sender(void *arg)
{
	struct pollfd p = { .fd = honest.tx, .events = POLLOUT };
	static char buf[32768];
	ssize_t n;

	(void)arg;
	while (go_on()) {
		pattern_fill(buf, sent_pos, sizeof(buf), kt.seed);
		n = send(honest.tx, buf, sizeof(buf), MSG_DONTWAIT |
			 MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			poll(&p, 1, 100);
			continue;
		}
		expect(n > 0, "send: %s", strerror(errno));
		sent_pos += (unsigned long)n;
	}
	sent_all = true;
	return NULL;
}

static void honest_check(struct batch *b, uint64_t pos)
{
	const struct piece *p;
	struct region *r;

	for (p = b->piece; p < b->piece + b->n; pos += p->len, p++) {
		if (p->kind != PIECE_FRAG) {
			expect(pattern_match(b->buf + p->offset, pos, p->len,
					     kt.seed) == p->len,
			       "wrong bytes in host memory after %llu",
			       (unsigned long long)pos);
			continue;
		}
		r = kept_find(p->dmabuf);
		expect(p->offset < r->size && p->len <= r->size - p->offset &&
		       pattern_match(r->mem + p->offset, pos, p->len,
				     kt.seed) == p->len,
		       "wrong bytes in dma-buf %u after %llu", p->dmabuf,
		       (unsigned long long)pos);
	}
}

static void *honest_receiver(void *arg)
{
	struct batch *b = batch_new();
	double since = kt_now();
	ssize_t n;

	(void)arg;
	while (!sent_all || got_pos != sent_pos) {
		n = batch_receive(b, honest.rx, BATCH_BYTES, BATCH_ALL_ROOM, 0);
		if (n == -EAGAIN) {
			expect(kt_now() - since < 60,
			       "the honest flow stands still at %lu of %lu",
			       (unsigned long)got_pos, (unsigned long)sent_pos);
			kt_sleep(0.0005);
			continue;
		}
		expect(n > 0, "recvmsg: %zd", n);
		honest_check(b, got_pos);
		batch_return(b, honest.rx);
		got_frags += b->frag_bytes;
		got_pos += (unsigned long)n;
		since = kt_now();
	}
	free(b);
	return NULL;
}

/* ---- the honest flow's other direction, out of a dma-buf ------------------------- */

static struct region out;
static struct binding out_binding;
static struct sender sender;
static atomic_ulong back_pos;
static atomic_bool back_sent;

static void *back_sender(void *arg)
{
	struct pollfd p = { .fd = honest.rx };
	double since;

	(void)arg;
	sender_open(&sender, honest.rx, &out, out_binding.id, UINT64_MAX / 2,
		    kt.seed + 1);
	while (go_on()) {
		sender_complete(&sender);
		p.events = sender_step(&sender) == SENDER_FULL ? POLLOUT : 0;
		poll(&p, 1, 20);
	}
	sender.end = sender.pos;
	back_sent = true;
	for (since = kt_now(); !sender_done(&sender);) {
		sender_complete(&sender);
		expect(kt_now() - since < 60,
		       "sends without completion: %u to %u", sender.done_id,
		       sender.next_id);
		kt_sleep(0.001);
	}
	return NULL;
}

static void *back_receiver(void *arg)
{
	static char buf[65536];
	double since = kt_now();
	ssize_t n;

	(void)arg;
	while (!back_sent || back_pos != sender.pos) {
		n = recv(honest.tx, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			expect(kt_now() - since < 60, "the way back stands "
			       "still at %lu", (unsigned long)back_pos);
			kt_sleep(0.0005);
			continue;
		}
		expect(n > 0, "recv: %s", strerror(errno));
		expect(pattern_match(buf, back_pos, (size_t)n, kt.seed + 1) ==
		       (size_t)n, "wrong bytes back after %lu",
		       (unsigned long)back_pos);
		back_pos += (unsigned long)n;
		since = kt_now();
	}
	return NULL;
}

/* ---- flows that are abused --------------------------------------------------------- */

static struct flow abused;
static atomic_int abused_fd = -1;	/* to receive from */

static void *abuser(void *arg)
{
	uint32_t queue = kt.queue - 1;
	static char junk[16384];
	struct binding bind;
	struct region r;
	double until;
	int rc;

	(void)arg;
	kt_random_for(2);
	while (go_on()) {
		region_make(&r, REGION);
		host_enter(kt.rx_host);
		rc = bind_rx(&bind, rx_ifindex, r.fd, &queue, 1);
		region_close(&r);
		flow_open(&abused, KT_PORT2);
		abused_fd = abused.rx;
		for (until = kt_now() + pick(200) * 1e-3; kt_now() < until;) {
			if (send(abused.tx, junk, 1 + pick(sizeof(junk)),
				 MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
				kt_sleep(0.0005);
			if (!rc && !pick(200)) {
				unbind(&bind);
				rc = -1;
			}
		}
		abused_fd = -1;
		reset_at_close(abused.tx);
		flow_close(&abused);
		if (!rc)
			unbind(&bind);
		n_closed++;
	}
	return NULL;
}

/* Reads, and forgets the tokens or returns some of them. */
static void *abused_reader(void *arg)
{
	struct batch *b = batch_new();
	ssize_t n;

	kt_random_for(3 + (unsigned int)(uintptr_t)arg);
	while (go_on()) {
		n = batch_receive(b, abused_fd, 1 + pick(BATCH_BYTES),
				  pick(3) ? BATCH_ALL_ROOM : pick(1000),
				  MSG_DONTWAIT | (pick(8) ? 0 : MSG_PEEK));
		if (n <= 0) {
			kt_sleep(0.0005);
			continue;
		}
		n_tokens += b->n;
		for (unsigned int i = 0; i < b->n; i++)
			if (b->piece[i].kind == PIECE_FRAG && pick(8))
				dontneed_range(abused_fd, b->piece[i].token,
					       1 + pick(4));
	}
	free(b);
	return NULL;
}

static void *guesser(void *arg)
{
	int n;

	(void)arg;
	kt_random_for(5);
	while (go_on()) {
		n = dontneed_range(abused_fd, pick(2000), pick(100));
		if (n > 0)
			n_guessed += (unsigned long)n;
		if (!pick(50))
			nap(3);
	}
	return NULL;
}

/* Sends from device memory whose binding goes in between. */
static void *tx_abuser(void *arg)
{
	static char buf[65536];
	unsigned int flows = 0;
	struct binding b;
	struct region r;
	struct flow f;
	ssize_t n;
	int rc;

	(void)arg;
	kt_random_for(6);
	while (go_on()) {
		region_make(&r, REGION);
		host_enter(kt.tx_host);
		rc = bind_tx(&b, tx_ifindex, r.fd);
		region_close(&r);
		/* The last one may still be sending, with nobody's socket. */
		flow_open(&f, PORTS_TX + flows++ % 1000);
		zerocopy_on(f.tx);
		for (unsigned int i = pick(400); i; i--) {
			n = send_dmabuf(f.tx, b.id + !pick(50), 4,
					pick(REGION + 4096), pick(100000),
					KT_MSG_ZEROCOPY | MSG_DONTWAIT);
			n < 0 ? n_refused++ : n_sends++;
			if (recv(f.rx, buf, sizeof(buf), MSG_DONTWAIT) < 0)
				kt_sleep(0.0002);
			if (!rc && !pick(300)) {
				unbind(&b);
				rc = -1;
			}
		}
		reset_at_close(pick(2) ? f.tx : f.rx);
		flow_close(&f);
		if (!rc)
			unbind(&b);
	}
	return NULL;
}

/* ---- what looks, and what changes the NIC --------------------------------------------- */

static void *tapper(void *arg)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)rx_ifindex };
	static char buf[65536];
	double until;
	int fd;

	(void)arg;
	kt_random_for(7);
	host_enter(kt.rx_host);
	while (go_on()) {
		fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
		expect(fd >= 0 && !bind(fd, (void *)&sa, sizeof(sa)),
		       "AF_PACKET: %s", strerror(errno));
		for (until = kt_now() + pick(100) * 1e-3; kt_now() < until;)
			recv(fd, buf, sizeof(buf), 0) > 0 ? (void)n_seen++ :
				kt_sleep(0.0005);
		close(fd);
		nap(100);
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct pool_count c;

	(void)arg;
	kt_random_for(8);
	while (go_on()) {
		host_enter(kt.rx_host);
		pools_get(1, &c);
		queue_dmabuf(rx_ifindex, kt.queue);
		dmabufs();
		nap(10);
	}
	return NULL;
}

static int eth(int fd, const char *nic, void *cmd)
{
	struct ifreq ifr = { .ifr_data = cmd };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic);
	return ioctl(fd, SIOCETHTOOL, &ifr);
}

static void change_ring(int fd, const char *nic)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };

	if (eth(fd, nic, &ring))
		return;
	ring.cmd = ETHTOOL_SRINGPARAM;
	ring.rx_pending = 128u << pick(2);
	eth(fd, nic, &ring);
}

static void change_channels(int fd, const char *nic)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };

	if (eth(fd, nic, &ch))
		return;
	ch.cmd = ETHTOOL_SCHANNELS;
	ch.combined_count = 7 + pick(2);	/* 7 is refused */
	eth(fd, nic, &ch);
}

static void change_feature(int fd, const char *nic, uint32_t cmd)
{
	struct ethtool_value v = { .cmd = cmd, .data = pick(2) };

	eth(fd, nic, &v);
}

static void change_mtu(int fd, const char *nic, int mtu)
{
	struct ifreq ifr = { .ifr_mtu = mtu };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic);
	ioctl(fd, SIOCSIFMTU, &ifr);
}

static void bounce(int fd, const char *nic)
{
	struct ifreq ifr = { .ifr_flags = 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic);
	ioctl(fd, SIOCSIFFLAGS, &ifr);
	nap(10);
	ifr.ifr_flags = IFF_UP;
	expect(!ioctl(fd, SIOCSIFFLAGS, &ifr), "%s does not come up: %s", nic,
	       strerror(errno));
}

static void *changer(void *arg)
{
	bool rx = arg;
	const char *nic = rx ? kt.rx_nic : kt.tx_nic;
	int fd;

	kt_random_for(9 + rx);
	host_enter(rx ? kt.rx_host : kt.tx_host);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	while (go_on()) {
		switch (pick(8)) {
		case 0: change_ring(fd, nic); break;
		case 1: change_channels(fd, nic); break;
		case 2: change_feature(fd, nic, ETHTOOL_SGRO); break;
		case 3: change_feature(fd, nic, ETHTOOL_STSO); break;
		case 4: change_mtu(fd, nic, pick(2) ? 1500 : 9000); break;
		case 5: if (rx && !pick(4)) bounce(fd, nic); break;
		default: break;
		}
		n_changes++;
		nap(100);
	}
	return NULL;
}

/* ---- all of it ---------------------------------------------------------------------- */

static void prepare_send(void)
{
	int rc;

	region_make(&out, REGION);
	rc = host_bind_tx(&out_binding, kt.rx_host, kt.rx_nic, out.fd);
	can_send = !rc;
	expect(!rc || rc == -EOPNOTSUPP, "bind-tx: %s (%s)", strerror(-rc),
	       out_binding.why);
	if (rc)
		say("nothing is sent from device memory: %s", out_binding.why);
}

static void *(*const jobs[])(void *) = {
	honest_binder, honest_sender, honest_receiver, back_sender,
	back_receiver, abuser, abused_reader, abused_reader, guesser,
	tx_abuser, tapper, reader, changer, changer,
};
#define N_JOBS (sizeof(jobs) / sizeof(jobs[0]))

static bool is_wanted(void *(*job)(void *))
{
	return can_send || (job != back_sender && job != back_receiver &&
			    job != tx_abuser);
}

static void settle(void)
{
	flow_close(&honest);
	unbind(&out_binding);
	region_close(&out);
	for (struct kept *k = kept; k < kept + KEPT; k++)
		if (k->r.mem)
			munmap(k->r.mem, k->r.size);
	expect(dmabufs_fall_to(0, 30), "%d dma-bufs are left", dmabufs());
}

static void case_all(void)
{
	pthread_t thread[N_JOBS];
	double began;

	kt.lossy = true;	/* there is no route while the NIC is down */
	tx_ifindex = host_ifindex(kt.tx_host, kt.tx_nic);
	rx_ifindex = host_ifindex(kt.rx_host, kt.rx_nic);
	say("seed %llu", (unsigned long long)kt.seed);
	flow_open(&honest, KT_PORT);
	prepare_send();
	began = kt_now();
	deadline = began + kt.seconds;
	for (unsigned int i = 0; i < N_JOBS; i++) {
		if (!is_wanted(jobs[i]))
			continue;
		/* Of two that are the same the second has an argument. */
		expect(!pthread_create(&thread[i], NULL, jobs[i],
				       i && jobs[i] == jobs[i - 1] ? &deadline :
								     NULL),
		       "no thread");
	}
	for (unsigned int i = 0; i < N_JOBS; i++)
		if (is_wanted(jobs[i]))
			pthread_join(thread[i], NULL);
	say("%.1f s: honest flow %lu bytes (%lu in dma-bufs), back %lu",
	    kt_now() - began, got_pos, got_frags, back_pos);
	say("%lu binds (%lu failed), %lu pieces, %lu tokens guessed, %lu sockets"
	    " closed, %lu sends (%lu refused), %lu packets seen, %lu changes",
	    n_binds, n_bind_fails, n_tokens, n_guessed, n_closed, n_sends,
	    n_refused, n_seen, n_changes);
	expect(got_pos && got_frags, "the honest flow got nowhere");
	expect(!can_send || back_pos, "the way back got nowhere");
	settle();
}

static const struct kt_case cases[] = {
	{ "all", case_all, "all of it, for --seconds" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
