// SPDX-License-Identifier: BSD-3-Clause
/*
 * stats_json.c - statistics as JSON: the one form of `devmemctl status --json` and
 * of the file that a process writes at its end. docs/statistics.md describes it.
 */
#include <errno.h>
#include <string.h>

#include "json.h"
#include "stats_read.h"

#define COUNTER(field, r, s, text)                                            \
	{                                                                     \
		.name = #field,                                               \
		.offset = offsetof(struct devmem_stats, field), .help = text, \
		.receiver = r, .sender = s                                    \
	}

const struct stats_counter stats_counters[] = {
	COUNTER(messages, true, true, "Messages that are done."),
	COUNTER(bytes_inline, true, true,
		"Bytes of payload on the control connection."),
	COUNTER(bytes_devmem, true, true,
		"Bytes received into the pool, or read by the NIC."),
	COUNTER(bytes_emulated, true, false,
		"Bytes received into the pool by copying."),
	COUNTER(bytes_linear, true, false,
		"Bytes in the linear part of packets, which missed the pool."),
	COUNTER(bytes_host, true, true, "Bytes of flows by host memory."),
	COUNTER(frags, true, false, "Pieces that the kernel reported."),
	COUNTER(tokens_received, true, false, "Tokens received."),
	COUNTER(tokens_returned, true, false, "Tokens given back."),
	COUNTER(dontneed_calls, true, false, "Calls that gave tokens back."),
	COUNTER(grants, true, true, "Leaves to send, given or received."),
	COUNTER(bytes_zerocopy, false, true,
		"Bytes from host memory sent by reference."),
	COUNTER(bytes_staged, false, true,
		"Bytes from a GPU copied to host memory to be sent."),
};
const unsigned int stats_counters_count =
	sizeof(stats_counters) / sizeof(stats_counters[0]);
_Static_assert(sizeof(stats_counters) / sizeof(stats_counters[0]) ==
		       sizeof(struct devmem_stats) / sizeof(uint64_t),
	       "each counter has a name");

const char *const stats_time_names[STATS_TIMES] = {
	[STATS_GRANT_WAIT] = "grant_wait",
	[STATS_TOKEN_HOLD] = "token_hold",
	[STATS_GATHER] = "gather",
	[STATS_COMPLETION] = "completion",
};

static void put_time(struct json *j, const char *name,
		     const struct histogram *h)
{
	uint64_t count = histogram_count(h);
	bool one_line = j->one_line;

	json_open(j, name, '{');
	json_u64(j, "count", count);
	if (count) {
		json_u64(j, "sum_ns", h->sum);
		json_u64(j, "p50_ns", histogram_percentile(h, 50));
		json_u64(j, "p99_ns", histogram_percentile(h, 99));
		json_u64(j, "max_ns", h->max);
		/* Pairs: the longest time of a bucket, and how many. */
		json_open(j, "buckets", '[');
		j->one_line = true;
		for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
			if (!h->bucket[i])
				continue;
			json_open(j, NULL, '[');
			json_u64(j, NULL, histogram_bound(i));
			json_u64(j, NULL, h->bucket[i]);
			json_close(j, ']');
		}
		j->one_line = one_line;
		json_close(j, ']');
	}
	json_close(j, '}');
}

void stats_json_counters(struct json *j, const struct stats_record *r)
{
	for (unsigned int i = 0; i < stats_counters_count; i++) {
		const struct stats_counter *c = &stats_counters[i];

		if (r->sender ? c->sender : c->receiver)
			json_u64(j, c->name, stats_counter(r, c));
	}
	json_open(j, "times", '{');
	for (unsigned int i = 0; i < STATS_TIMES; i++)
		if (i == STATS_COMPLETION ||
		    !r->sender == (i != STATS_GRANT_WAIT))
			put_time(j, stats_time_names[i], &r->time[i]);
	json_close(j, '}');
}

static void put_connection(struct json *j, const struct stats_record *r)
{
	json_open(j, NULL, '{');
	json_u64(j, "id", r->id);
	json_string(j, "direction", r->sender ? "send" : "recv");
	json_string(j, "state", r->state == STATS_OPEN ? "open" : "closed");
	json_string(j, "nic", r->nic);
	json_string(j, "peer", r->peer);
	json_string(j, "path", stats_path(r));
	json_u64(j, "flows", r->flows);
	json_u64(j, "rails", r->rails);
	if (r->pools) {
		json_string(j, "region", r->region);
		json_string(j, "gather", r->gather);
		if (r->gpu >= 0)
			json_i64(j, "gpu", r->gpu);
		json_open(j, "dmabufs", '[');
		for (uint32_t i = 0; i < r->pools; i++)
			json_u64(j, NULL, r->dmabuf[i]);
		json_close(j, ']');
	}
	if (r->reason[0])
		json_string(j, "reason", r->reason);
	if (r->err) {
		json_i64(j, "errno", -(int64_t)r->err);
		json_string(j, "error", r->error);
	}
	json_double(j, "opened_s", (double)r->opened / 1e9);
	if (r->closed)
		json_double(j, "closed_s", (double)r->closed / 1e9);
	stats_json_counters(j, r);
	json_close(j, '}');
}

static void put_pool(struct json *j, const struct stats_pool *p)
{
	json_open(j, NULL, '{');
	json_string(j, "nic", p->nic);
	json_u64(j, "ifindex", p->ifindex);
	json_u64(j, "netns", p->netns);
	json_string(j, "state", p->state == STATS_OPEN ? "bound" : "closed");
	json_u64(j, "dmabuf", p->dmabuf);
	json_u64(j, "bytes", p->bytes);
	json_string(j, "region", p->region);
	if (p->gpu >= 0)
		json_i64(j, "gpu", p->gpu);
	json_open(j, "queues", '[');
	for (uint32_t i = 0; i < p->queues; i++)
		json_u64(j, NULL, p->queue[i]);
	json_close(j, ']');
	json_close(j, '}');
}

void stats_json_members(struct json *j, const struct stats_snapshot *s)
{
	static const char *const total[] = { "recv", "send" };
	const struct stats_header *h = &s->head;

	json_u64(j, "pid", h->pid);
	json_u64(j, "uid", h->uid);
	json_string(j, "comm", h->comm);
	json_string(j, "host", h->host);
	json_double(j, "since_s", (double)h->since / 1e9);
	json_open(j, "pools", '[');
	for (unsigned int i = 0; i < STATS_POOLS; i++)
		if (h->pool[i].state == STATS_OPEN ||
		    h->pool[i].state == STATS_CLOSED)
			put_pool(j, &h->pool[i]);
	json_close(j, ']');
	json_open(j, "connections", '[');
	for (unsigned int i = 0; i < s->count; i++)
		put_connection(j, &s->record[i]);
	json_close(j, ']');
	/* Those that have no entry of their own. */
	json_u64(j, "connections_unlisted", h->unlisted);
	json_u64(j, "connections_changing", s->torn);
	json_open(j, "retired", '{');
	for (unsigned int i = 0; i < 2; i++) {
		struct stats_record r = h->total[i];

		r.sender = i;
		json_open(j, total[i], '{');
		stats_json_counters(j, &r);
		json_close(j, '}');
	}
	json_close(j, '}');
}

void stats_json(struct json *j, const struct stats_snapshot *s)
{
	json_open(j, NULL, '{');
	json_u64(j, "version", STATS_VERSION);
	stats_json_members(j, s);
	json_close(j, '}');
}
