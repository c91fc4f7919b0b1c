// SPDX-License-Identifier: BSD-3-Clause
/*
 * beside.c - what a connection suffers from another one.
 *
 *   beside HOST-OF-RECEIVER HOST-OF-SENDER [ROUNDS]
 *
 * A message of 8 bytes goes there and back, over one connection each way. Beside
 * it there is another connection, in the same process and, with CLIENT_THREADS=1,
 * on the same progress thread, which in turn
 *
 *   alone    has nothing to do;
 *   stalled  has sent all that it can to a receiver that posts nothing;
 *   flood    moves messages of 1 MiB, eight under way.
 *
 * A line for each: half a round trip in microseconds, median and 99 of 100, and in
 * ratio to that alone in the same round; the flood's GB/s.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"

#define PINGS	 300 /* of each phase and round */
#define ROUNDS	 9
#define MOST	 99 /* rounds */
#define MESSAGE	 (1u << 20)
#define INFLIGHT 8

enum phase { ALONE, STALLED, FLOOD, END, PHASES = END };

static const char *const names[] = { "alone", "stalled", "flood" };

/* What goes to the receiver, and the same comes back. */
struct ping {
	uint32_t phase;
	uint32_t messages; /* there: sent so far. back: received so far */
};

/* The other connection, at either end; the memory is never looked at. */
struct other {
	struct devmem_conn *c;
	struct devmem_request *under_way[DEVMEM_MAX_REQUESTS];
	uint32_t posted, done, inflight;
	bool sends;
	char *memory;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Post until there are @upto messages, or as many under way as there may be. */
static void other_turn(struct other *o, uint32_t upto)
{
	struct devmem_request **r;
	int rc;

	while (o->posted < upto && o->posted - o->done < o->inflight) {
		r = &o->under_way[o->posted % DEVMEM_MAX_REQUESTS];
		rc = o->sends ? devmem_send(o->c, o->memory, MESSAGE, NULL, r) :
				devmem_recv(o->c, o->memory, MESSAGE, NULL, r);
		if (rc)
			die(rc, "posting to the other connection");
		o->posted++;
	}
	while (o->done < o->posted) {
		r = &o->under_way[o->done % DEVMEM_MAX_REQUESTS];
		rc = devmem_test(*r, NULL);
		if (rc == -EAGAIN)
			break;
		if (rc)
			die(rc, "a message of the other connection");
		o->done++;
	}
}

static struct other *other_new(struct devmem_conn *c, bool sends)
{
	struct other *o = calloc(1, sizeof(*o));

	if (o)
		o->memory = malloc(MESSAGE);
	if (!o || !o->memory)
		die(-ENOMEM, "memory");
	memset(o->memory, 1, MESSAGE);
	o->c = c;
	o->sends = sends;
	return o;
}

static struct devmem_request *post_ping(struct devmem_conn *c, bool sends,
					struct ping *p)
{
	struct devmem_request *r;
	int rc = sends ? devmem_send(c, p, sizeof(*p), NULL, &r) :
			 devmem_recv(c, p, sizeof(*p), NULL, &r);

	if (rc)
		die(rc, "posting a small message");
	return r;
}

/* The other connection has a turn for each look at the request. */
static void await(struct devmem_request *r, struct other *o, uint32_t upto)
{
	time_t since = time(NULL);
	int rc;

	while ((rc = devmem_test(r, NULL)) == -EAGAIN) {
		other_turn(o, upto);
		client_again(since);
	}
	if (rc)
		die(rc, "a small message");
}

static void receive(int peer)
{
	struct devmem *d = client_open(0, 1);
	struct devmem_listener *l = client_listen(d, peer);
	struct devmem_conn *there = client_accept(l), *back;
	struct other *o = other_new(client_accept(l), false);
	char handle[DEVMEM_HANDLE_BYTES];
	struct ping in = { .phase = ALONE }, out;
	uint32_t upto = 0;

	o->inflight = INFLIGHT;
	client_handle(peer, handle);
	back = client_connect(d, handle);
	while (in.phase != END) {
		await(post_ping(there, false, &in), o, upto);
		if (in.phase != STALLED)
			upto = in.messages;
		other_turn(o, upto);
		out = (struct ping){ .phase = in.phase, .messages = o->done };
		await(post_ping(back, true, &out), o, upto);
	}
	client_wait_end(peer);
	devmem_close(d);
}

struct pinger {
	struct devmem_conn *there, *back;
	struct other *other;
};

/* Nanoseconds there and back. */
static uint64_t ping(struct pinger *p, enum phase phase, uint32_t upto,
		     struct ping *answer)
{
	struct ping out = { .phase = phase, .messages = p->other->posted };
	struct devmem_request *in = post_ping(p->back, false, answer);
	uint64_t start = now_ns();
	struct devmem_request *sent = post_ping(p->there, true, &out);

	await(in, p->other, upto);
	start = now_ns() - start;
	await(sent, p->other, upto);
	return start;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

struct figures {
	double median, most; /* half round trip, us */
	double ratio;	     /* to that alone in the same round */
	double gbps;
};

static struct figures measure(struct pinger *p, enum phase phase)
{
	struct other *o = p->other;
	struct ping answer;
	uint64_t took[PINGS], start;
	struct figures f = { .ratio = 1 };
	uint32_t upto = phase == ALONE ? o->posted : UINT32_MAX, before;

	o->inflight = phase == STALLED ? DEVMEM_MAX_REQUESTS : INFLIGHT;
	/* Into the phase: sockets full, or all that was sent received. */
	for (int i = 0; i < PINGS / 10; i++)
		ping(p, phase, upto, &answer);
	while (phase == ALONE && answer.messages < o->posted)
		ping(p, phase, upto, &answer);
	before = o->done;
	start = now_ns();
	for (int i = 0; i < PINGS; i++)
		took[i] = ping(p, phase, upto, &answer);
	f.gbps = (double)(o->done - before) * MESSAGE /
		 (double)(now_ns() - start);
	qsort(took, PINGS, sizeof(took[0]), compare);
	f.median = (double)took[PINGS / 2] / 2000;
	f.most = (double)took[PINGS * 99 / 100] / 2000;
	return f;
}

static double median_of(const struct figures *f, int rounds, size_t offset)
{
	double values[MOST];

	for (int i = 0; i < rounds; i++)
		memcpy(&values[i], (const char *)&f[i] + offset,
		       sizeof(double));
	qsort(values, (size_t)rounds, sizeof(values[0]), compare_doubles);
	return values[rounds / 2];
}

static int rounds = ROUNDS;

static void send_pings(int peer)
{
	struct devmem *d = client_open(0, 1);
	struct figures f[PHASES][MOST];
	char handle[DEVMEM_HANDLE_BYTES];
	struct devmem_listener *l;
	struct ping answer;
	struct pinger p;

	client_handle(peer, handle);
	p.there = client_connect(d, handle);
	p.other = other_new(client_connect(d, handle), true);
	l = client_listen(d, peer);
	p.back = client_accept(l);
	for (int i = 0; i < rounds; i++)
		for (enum phase phase = ALONE; phase < PHASES; phase++) {
			f[phase][i] = measure(&p, phase);
			f[phase][i].ratio =
				f[phase][i].median / f[ALONE][i].median;
		}
	ping(&p, END, p.other->posted, &answer);
#define MEDIAN(field) \
	median_of(f[phase], rounds, offsetof(struct figures, field))
	for (enum phase phase = ALONE; phase < PHASES; phase++)
		printf("%s: us=%.1f us_99=%.1f ratio=%.2f gbps=%.2f\n",
		       names[phase], MEDIAN(median), MEDIAN(most),
		       MEDIAN(ratio), MEDIAN(gbps));
	devmem_close(d);
}

int main(int argc, char **argv)
{
	if (argc > 3)
		rounds = atoi(argv[3]);
	if (argc < 3 || argc > 4 || rounds < 1 || rounds > MOST) {
		fprintf(stderr,
			"usage: %s HOST-OF-RECEIVER HOST-OF-SENDER "
			"[ROUNDS]\n",
			argv[0]);
		return 2;
	}
	return client_pair(argv[1], receive, argv[2], send_pings);
}
