/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limit.c - the plugin in turn with the least that can move the same messages:
 * send() and recv() on a TCP socket, with no header, no request and no table,
 * waiting as the plugin's ranks wait. Both use the same processes and the same
 * slots of the same buffers (of GPU memory the socket has the CPU's side, so its
 * messages never see the GPU), and take short turns, so that what else the
 * machine does hits both alike.
 *
 * NCCL's connections carry messages one way, so a ping and its answer have a
 * socket each; with --limit=shared they have one, where each message is also
 * the acknowledgement of the one before.
 *
 * Nothing is compared here but times; what the plugin moved is verified as in
 * every other mode, after the turns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "p2p.h"

#define TURN_SECONDS 0.02

/* Of tcp_net, which is used to connect only; by the rank that sends on it. */
static void *bare[2];

/* Rank 0 connects to rank 1, by the address that tcp_net picks. */
int limit_open(struct rank *r)
{
	char mine[NCCL_NET_HANDLE_MAXSIZE] = { 0 };
	char all[2][NCCL_NET_HANDLE_MAXSIZE];
	ncclNetCommConfig_v11_t config = { .trafficClass = -1 };
	void *ctx, *listener = NULL;
	int n = r->o->limit_shared ? 1 : 2, rc, ndev = 0, i;
	ncclResult_t nrc;

	nrc = tcp_net.init(&ctx, 0, &config, log_line, NULL);
	nrc = nrc ? nrc : tcp_net.devices(&ndev);
	if (!nrc && !ndev)
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "no interface for the bare socket: see "
				 "NCCL_SOCKET_IFNAME");
	if (!nrc && r->rank)
		nrc = tcp_net.listen(ctx, 0, mine, &listener);
	rc = nrc ? net_fail(r, "listen", nrc, "for the bare socket") :
		   rank_gather(r, mine, sizeof(mine), all, NULL);
	for (i = 0; i < n; i++) {
		if (!rc && !nrc && !r->rank)
			nrc = tcp_net.connect(ctx, 0, all[1], &bare[i], NULL);
		while (!rc && !nrc && !bare[i]) {
			nrc = tcp_net.accept(listener, &bare[i], NULL);
			if (!nrc && !bare[i])
				rc = rank_idle(r, "accept of the bare socket");
		}
	}
	if (listener)
		tcp_net.closeListen(listener);
	if (!rc && nrc)
		rc = net_fail(r, "connect", nrc, "the bare socket");
	return rc;
}

void limit_close(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (bare[i])
			tcp_net.closeSend(bare[i]);
		bare[i] = NULL;
	}
}

/* Moves `count` messages of s->size over the bare socket. */
static int bare_run(struct stream *s, uint64_t count)
{
	int from = s->send ? s->r->rank : s->end->peer;
	int fd = tcp_net_fd(bare[s->r->o->limit_shared ? 0 : from]), rc;
	uint64_t nr;
	ssize_t n;

	for (nr = 0; nr < count; nr++) {
		char *at = stream_cpu(s, nr), *end = at + s->size;

		while (at < end) {
			if (s->send)
				n = send(fd, at, end - at,
					 MSG_DONTWAIT | MSG_NOSIGNAL);
			else
				n = recv(fd, at, end - at, MSG_DONTWAIT);
			if (n > 0) {
				at += n;
				continue;
			}
			if (!n || (errno != EAGAIN && errno != EINTR))
				return rank_fail(s->r, ERR_OTHER, EXIT_FAIL,
						 "the bare socket: %s",
						 n ? strerror(errno) :
						     "the peer closed it");
			rc = rank_idle(s->r, "bare socket");
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int bare_pings(struct stream *tx, struct stream *rx, int count,
		      double *us)
{
	bool first = !tx->r->rank;
	int64_t start;
	int i, rc = 0;

	for (i = 0; !rc && i < count; i++) {
		start = now_ns();
		rc = bare_run(first ? tx : rx, 1);
		if (!rc)
			rc = bare_run(first ? rx : tx, 1);
		if (us)
			us[i] = (now_ns() - start) * 1e-3 / 2;
	}
	return rc;
}

struct turn {
	double seconds, cpu, us;
};

/* One turn of a stream: a few messages to get under way, then the timed. */
static int stream_turn(struct stream *s, bool plain, uint64_t count,
		       struct turn *both)
{
	int (*run)(struct stream * s, uint64_t n) = plain ? bare_run :
							    stream_run;
	struct turn mine = { 0 };
	int64_t start;
	double cpu;
	int rc;

	rc = run(s, s->inflight);
	start = now_ns();
	cpu = cpu_seconds();
	rc = rc ? rc : run(s, count);
	mine.seconds = (now_ns() - start) * 1e-9;
	mine.cpu = cpu_seconds() - cpu;
	return rc ? rc : rank_gather(s->r, &mine, sizeof(mine), both, NULL);
}

static void quartiles(double *v, int n, double *q)
{
	sort_doubles(v, n);
	q[0] = quantile(v, n, 0.25);
	q[1] = median(v, n);
	q[2] = quantile(v, n, 0.75);
}

struct turns {
	double bare[MAX_ROUNDS], cpu_bare[MAX_ROUNDS];
	double ours[MAX_ROUNDS], cpu_tx[MAX_ROUNDS], cpu_rx[MAX_ROUNDS];
	double ratio[MAX_ROUNDS], cpu_ratio[MAX_ROUNDS];
};

static int stream_turns(struct stream *s, uint64_t count, struct turns *t)
{
	double gb = (double)s->size * count / 1e9;
	struct turn both[2][2];
	int i, k, rc = 0;

	for (i = 0; !rc && i < s->r->o->rounds; i++) {
		/* Which one goes first changes: neither follows always. */
		for (k = 0; !rc && k < 2; k++)
			rc = stream_turn(s, (i + k) % 2, count,
					 both[(i + k) % 2]);
		if (rc)
			return rc;
		t->ours[i] = gb / both[0][1].seconds;
		t->bare[i] = gb / both[1][1].seconds;
		t->ratio[i] = t->ours[i] / t->bare[i];
		t->cpu_tx[i] = both[0][0].cpu / gb;
		t->cpu_rx[i] = both[0][1].cpu / gb;
		t->cpu_bare[i] = (both[1][0].cpu + both[1][1].cpu) / gb;
		t->cpu_ratio[i] =
			(t->cpu_tx[i] + t->cpu_rx[i]) / t->cpu_bare[i];
	}
	return rc;
}

/* How many messages make a turn, by the bare socket's pace. */
static int stream_count(struct stream *s, uint64_t *count)
{
	struct turn both[2];
	double n;
	int rc;

	*count = s->r->o->iters;
	if (*count)
		return 0;
	rc = stream_turn(s, true, 8 * s->inflight, both);
	if (rc)
		return rc;
	n = TURN_SECONDS * 8 * s->inflight / both[1].seconds;
	*count = n < s->inflight ? s->inflight : n < 1e6 ? n : 1000000;
	return 0;
}

/* Sums what was wrong on both ranks; rank 0 reports. */
static int limit_report(struct rank *r, struct row *row, uint64_t mine)
{
	uint64_t wrong[2];
	int rc = rank_gather(r, &mine, sizeof(mine), wrong, NULL);

	if (rc)
		return rc;
	row->wrong = wrong[0] + wrong[1];
	if (row->wrong)
		rank_fail(r, ERR_DATA, EXIT_FAIL,
			  "%llu wrong bytes at size %zu",
			  (unsigned long long)row->wrong, r->size);
	return r->rank ? 0 : rank_send(r, MSG_ROW, row, sizeof(*row));
}

int limit_bandwidth(struct rank *r, size_t size)
{
	struct stream s = stream_of(r, 0, !r->rank, size, r->inflight);
	struct row row = { .size = size };
	int n = r->o->rounds, rc;
	static struct turns t;
	uint64_t count;

	r->size = size;
	r->iter++;
	rc = stream_count(&s, &count);
	if (!rc)
		rc = stream_turns(&s, count, &t);
	if (!rc && r->check) {
		s.verify = true;
		rc = stream_run(&s, r->o->check);
		row.checked = r->o->check;
	}
	if (rc)
		return rc;
	row.gbps = median(t.ours, n);
	row.us = size / row.gbps * 1e-3;
	row.bare = median(t.bare, n);
	row.cpu_tx = median(t.cpu_tx, n);
	row.cpu_rx = median(t.cpu_rx, n);
	row.cpu_bare = median(t.cpu_bare, n);
	row.cpu_ratio = median(t.cpu_ratio, n);
	quartiles(t.ratio, n, row.ratio);
	return limit_report(r, &row, s.wrong);
}

/* One turn of pings; *mid is the median time, in microseconds. */
static int ping_turn(struct stream *tx, struct stream *rx, bool plain,
		     double *us, double *mid)
{
	int (*run)(struct stream * tx, struct stream * rx, int n, double *us) =
		plain ? bare_pings : pings;
	int n = tx->r->o->iters, rc;

	rc = run(tx, rx, n / 10 + 1, NULL);
	if (!rc)
		rc = run(tx, rx, n, us);
	*mid = median(us, n);
	return rc ? rc : rank_barrier(tx->r);
}

int limit_latency(struct rank *r, size_t size, double *us)
{
	struct stream tx = stream_of(r, r->rank, true, size, 1);
	struct stream rx = stream_of(r, !r->rank, false, size, 1);
	int n = r->o->rounds, i, k, rc = 0;
	struct row row = { .size = size };
	static struct turns t;

	r->size = size;
	r->iter++;
	for (i = 0; !rc && i < n; i++) {
		for (k = 0; !rc && k < 2; k++)
			rc = ping_turn(&tx, &rx, (i + k) % 2, us,
				       (i + k) % 2 ? &t.bare[i] : &t.ours[i]);
		t.ratio[i] = t.ours[i] / t.bare[i];
	}
	if (!rc && r->check) {
		tx.verify = rx.verify = true;
		rc = pings(&tx, &rx, r->o->check, NULL);
		row.checked = r->o->check;
	}
	if (rc)
		return rc;
	quartiles(t.ratio, n, row.ratio);
	row.bare = median(t.bare, n);
	row.lat_med = median(t.ours, n);
	row.lat_min = t.ours[0];
	row.lat_p99 = t.ours[n - 1];
	row.us = row.lat_med;
	return limit_report(r, &row, rx.wrong);
}
