// SPDX-License-Identifier: BSD-3-Clause
/*
 * stats.c - the process's table of records: who gets which, and what becomes of
 * the counts of those that are gone. See stats.h; the memory is from stats_map.c.
 *
 * A record stays where it is as long as its connection; a closed one until its
 * place is needed, when its counts go to the totals. When all are in use the
 * connection counts in memory of its own, and that goes to the totals, too.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gpu.h"
#include "json.h"
#include "log.h"
#include "process.h"
#include "rxpool.h"
#include "stats.h"
#include "stats_map.h"
#include "stats_read.h"

static struct {
	pthread_mutex_t lock;
	unsigned int users;
	pid_t pid; /* whose all this is */
	bool on;
	struct stats_map map;		/* head NULL: there is none */
	char path[512];			/* to be written at the end, or "" */
	struct stats_record carried[2]; /* totals of earlier tables */
	uint64_t opened;
} stats = { .lock = PTHREAD_MUTEX_INITIALIZER };

uint64_t stats_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t wall_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the table ------------------------------------------------------------- */

/* After fork() what is here is the parent's. */
static bool is_mine(void)
{
	return stats.pid == getpid();
}

static struct stats_header *my_table(void)
{
	return is_mine() ? stats.map.head : NULL;
}

static void forget_parents(void)
{
	if (stats.pid && !is_mine()) {
		if (stats.map.head && stats.map.fd >= 0)
			close(stats.map.fd);
		stats.users = 0;
		stats.map.head = NULL; /* stays mapped: its connections count */
		memset(stats.carried, 0, sizeof(stats.carried));
		stats.opened = 0;
	}
	stats.pid = getpid();
}

static void make_table(void)
{
	struct stats_header *h;

	if (stats_map_new(&stats.map))
		return;
	h = stats.map.head;
	h->since = wall_now();
	h->opened = stats.opened;
	memcpy(h->total, stats.carried, sizeof(h->total));
}

void stats_get(const struct devmem_options *o)
{
	pthread_mutex_lock(&stats.lock);
	forget_parents();
	if (!stats.users++) {
		stats.on = o->stats != DEVMEM_STATS_OFF;
		stats.path[0] = '\0';
		if (o->stats_file)
			stats_path_expand(o->stats_file, stats.path,
					  sizeof(stats.path));
		if (stats.on)
			make_table();
	}
	pthread_mutex_unlock(&stats.lock);
}

/* Order matters to whoever reads meanwhile; see stats_read(). */
static void turn(struct stats_header *h)
{
	__atomic_fetch_add(&h->turn, 1, __ATOMIC_SEQ_CST);
}

static void set_state(struct stats_record *r, enum stats_state state)
{
	__atomic_store_n(&r->state, state, __ATOMIC_RELEASE);
}

static void add_counts(struct stats_record *to, const struct stats_record *r)
{
	uint64_t *sum = (uint64_t *)&to->counters;
	const uint64_t *n = (const uint64_t *)&r->counters;

	_Static_assert(sizeof(r->counters) % sizeof(*n) == 0, "only u64");
	for (size_t i = 0; i < sizeof(r->counters) / sizeof(*n); i++)
		sum[i] += n[i];
	for (unsigned int i = 0; i < STATS_TIMES; i++)
		histogram_merge(&to->time[i], &r->time[i]);
}

/* Its counts go to the totals; its place is free. Lock held. */
static void retire(struct stats_header *h, struct stats_record *r)
{
	turn(h);
	add_counts(&h->total[!!r->sender], r);
	set_state(r, STATS_FREE);
	turn(h);
}

static uint32_t state_of(const struct stats_record *r)
{
	return __atomic_load_n(&r->state, __ATOMIC_ACQUIRE);
}

/* A free place, else a new one, else that of the one closed longest. */
static struct stats_record *find_place(struct stats_map *m)
{
	struct stats_record *oldest = NULL;
	unsigned int n = m->head->records;

	for (unsigned int i = 0; i < n; i++) {
		struct stats_record *r = &m->record[i];

		if (state_of(r) == STATS_FREE)
			return r;
		if (state_of(r) == STATS_CLOSED &&
		    (!oldest || r->closed < oldest->closed))
			oldest = r;
	}
	if (stats_map_grow(m))
		return &m->record[n];
	if (oldest)
		retire(m->head, oldest);
	return oldest;
}

bool stats_timed(void)
{
	bool on;

	pthread_mutex_lock(&stats.lock);
	on = stats.on;
	pthread_mutex_unlock(&stats.lock);
	return on;
}

/* ---- a connection's record ------------------------------------------------ */

void stats_record_begin(struct stats_record *r)
{
	__atomic_store_n(&r->seq, r->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void record_end(struct stats_record *r)
{
	__atomic_store_n(&r->seq, r->seq + 1, __ATOMIC_RELEASE);
}

/* All of it but its seq. */
static void make_empty(struct stats_record *r, bool listed)
{
	const size_t from = offsetof(struct stats_record, state);

	stats_record_begin(r);
	memset((char *)r + from, 0, sizeof(*r) - from);
	r->listed = listed;
	r->counted_by = (uint32_t)getpid();
	r->id = ++stats.opened;
	set_state(r, STATS_MAKING);
	record_end(r);
}

struct stats_record *stats_record_new(void)
{
	struct stats_record *r = NULL;
	bool listed;

	pthread_mutex_lock(&stats.lock);
	if (stats.map.head && is_mine())
		r = find_place(&stats.map);
	listed = r;
	r = r ?: calloc(1, sizeof(*r));
	if (r)
		make_empty(r, listed);
	pthread_mutex_unlock(&stats.lock);
	return r;
}

void stats_record_open(struct stats_record *r)
{
	struct stats_header *h;

	r->opened = wall_now();
	set_state(r, STATS_OPEN);
	record_end(r);
	pthread_mutex_lock(&stats.lock);
	h = my_table();
	if (h) {
		h->opened = stats.opened;
		h->unlisted += !r->listed;
	}
	pthread_mutex_unlock(&stats.lock);
}

void stats_record_failed(struct stats_record *r, int err, const char *error)
{
	stats_record_begin(r);
	r->err = err;
	snprintf(r->error, sizeof(r->error), "%s", error);
	record_end(r);
}

/* Not a parent's, which a child of fork() has as well and may close. */
static struct stats_header *table_of(const struct stats_record *r)
{
	return r->counted_by == (uint32_t)getpid() ? my_table() : NULL;
}

/* Of a connection without a place in the table. Lock held. */
static void close_unlisted(struct stats_record *r)
{
	struct stats_header *h = table_of(r);

	if (h && state_of(r) == STATS_OPEN) {
		h->unlisted--;
		retire(h, r);
	}
	free(r);
}

void stats_record_close(struct stats_record *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&stats.lock);
	if (!r->listed) {
		close_unlisted(r);
	} else if (table_of(r)) {
		stats_record_begin(r);
		r->closed = wall_now();
		set_state(r, state_of(r) == STATS_OPEN ? STATS_CLOSED :
							 STATS_FREE);
		record_end(r);
	}
	pthread_mutex_unlock(&stats.lock);
}

/* ---- pools ------------------------------------------------------------------ */

static void fill_pool(struct stats_pool *at, const struct rxpool *p)
{
	at->ifindex = p->lease.ifindex;
	at->dmabuf = p->lease.dmabuf_id;
	at->netns = 0; /* not known */
	netns_inode(&at->netns);
	at->bytes = p->region.bytes;
	at->gpu = p->region.gpu ? p->region.gpu->ordinal : -1;
	at->queues = p->emulated ? 0 : p->lease.queues;
	memcpy(at->queue, p->lease.queue, sizeof(at->queue));
	snprintf(at->nic, sizeof(at->nic), "%s", p->lease.ifname);
	snprintf(at->region, sizeof(at->region), "%s", p->region.ops->name);
}

static void set_pool(struct stats_pool *at, const struct rxpool *p)
{
	__atomic_store_n(&at->seq, at->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (p)
		fill_pool(at, p);
	at->state = p ? STATS_OPEN : STATS_CLOSED;
	__atomic_store_n(&at->seq, at->seq + 1, __ATOMIC_RELEASE);
}

static void pool_changed(const struct rxpool *p, bool bound)
{
	pthread_mutex_lock(&stats.lock);
	for (unsigned int i = 0; stats.map.head && is_mine() && i < STATS_POOLS;
	     i++) {
		struct stats_pool *at = &stats.map.head->pool[i];

		if (bound ? at->state == STATS_OPEN :
			    at->state != STATS_OPEN ||
				    at->ifindex != p->lease.ifindex ||
				    at->dmabuf != p->lease.dmabuf_id)
			continue;
		set_pool(at, bound ? p : NULL);
		break;
	}
	pthread_mutex_unlock(&stats.lock);
}

void stats_pool_bound(const struct rxpool *p)
{
	pool_changed(p, true);
}

void stats_pool_gone(const struct rxpool *p)
{
	pool_changed(p, false);
}

/* ---- the end ---------------------------------------------------------------- */

static ssize_t pread_map(void *arg, void *buf, size_t n, uint64_t at)
{
	/* Up to "records" of the header, which stats_read() has looked at. */
	memcpy(buf, (const char *)arg + at, n);
	return (ssize_t)n;
}

static void write_file(void)
{
	struct stats_snapshot s;
	struct json j;
	FILE *f;
	int rc;

	rc = stats_read(pread_map, stats.map.head, &s);
	if (rc) {
		WARN("no statistics are written: %s", strerror(-rc));
		return;
	}
	f = open_memstream(&j.text, &j.bytes);
	if (f) {
		json_begin(&j, f);
		stats_json(&j, &s);
		rc = json_end(&j) ?:
				    stats_file_write(stats.path, j.text, j.bytes);
		free(j.text);
	} else {
		rc = -ENOMEM;
	}
	if (rc)
		WARN("NCCL_DEVMEM_STATS_FILE: %s cannot be written: %s",
		     stats.path, strerror(-rc));
	stats_snapshot_free(&s);
}

static void end_table(void)
{
	struct stats_header *h = stats.map.head;

	if (!h)
		return;
	if (stats.path[0])
		write_file();
	for (unsigned int i = 0; i < h->records; i++)
		if (state_of(&stats.map.record[i]) == STATS_CLOSED)
			retire(h, &stats.map.record[i]);
	memcpy(stats.carried, h->total, sizeof(stats.carried));
	stats_map_free(&stats.map);
}

void stats_put(void)
{
	pthread_mutex_lock(&stats.lock);
	if (is_mine() && !--stats.users)
		end_table();
	pthread_mutex_unlock(&stats.lock);
}
