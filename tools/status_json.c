// SPDX-License-Identifier: BSD-3-Clause
/*
 * status_json.c - `devmemctl status --json`; docs/statistics.md describes it.
 */
#include <errno.h>
#include <string.h>

#include "json.h"
#include "status.h"
#include "uapi.h"

static void put_known(struct json *j, const char *name, int v)
{
	if (v >= 0)
		json_bool(j, name, v);
}

static void put_binding(struct json *j, const struct status_nic *n,
			const struct status_binding *b)
{
	json_open(j, NULL, '{');
	json_u64(j, "dmabuf", b->dmabuf);
	json_open(j, "queues", '[');
	for (unsigned int i = 0; i < n->queues && i < STATUS_QUEUES; i++)
		if (n->dmabuf[i] == b->dmabuf)
			json_u64(j, NULL, i);
	json_close(j, ']');
	if (b->pages_known)
		json_u64(j, "pages_in_use", b->pages);
	if (b->process) {
		json_u64(j, "pid", b->process->snap.head.pid);
		json_u64(j, "uid", b->process->owner);
		json_string(j, "comm", b->process->snap.head.comm);
		json_string(j, "region", b->pool->region);
		json_u64(j, "bytes", b->pool->bytes);
	}
	json_close(j, '}');
}

static void put_nic(struct json *j, const struct status_nic *n)
{
	static const char *const split[] = { "unknown", "off", "on" };

	json_open(j, NULL, '{');
	json_string(j, "name", n->name);
	json_u64(j, "ifindex", n->ifindex);
	json_u64(j, "rx_queues", n->queues);
	if (n->split >= 0 && n->split <= 2)
		json_string(j, "header_split", split[n->split]);
	put_known(j, "ntuple", n->ntuple);
	put_known(j, "rss_to_bound_queues", n->rss_hits);
	if (n->error[0])
		json_string(j, "error", n->error);
	json_open(j, "bindings", '[');
	for (unsigned int i = 0; i < n->bindings; i++)
		put_binding(j, n, &n->binding[i]);
	json_close(j, ']');
	json_open(j, "rules", '[');
	for (unsigned int i = 0; i < n->rules; i++) {
		json_open(j, NULL, '{');
		json_u64(j, "location", n->rule[i].location);
		json_u64(j, "queue", n->rule[i].queue);
		json_string(j, "flow", n->rule[i].text);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void put_rates(struct json *j, const struct status *s,
		      const struct status *was, const struct status_process *p)
{
	json_open(j, "rates", '[');
	for (unsigned int i = 0; i < p->snap.count; i++) {
		const struct stats_record *r = &p->snap.record[i];
		struct status_rate rate = status_rate(s, was, p, r);

		if (!rate.known || r->state != STATS_OPEN)
			continue;
		json_open(j, NULL, '{');
		json_u64(j, "id", r->id);
		json_double(j, "bytes_per_s", rate.bytes);
		json_double(j, "messages_per_s", rate.messages);
		json_close(j, '}');
	}
	json_close(j, ']');
}

int status_json(FILE *to, const struct status *s, const struct status *was,
		bool one_line)
{
	struct json j;

	json_begin(&j, to);
	j.one_line = one_line;
	json_open(&j, NULL, '{');
	json_u64(&j, "version", STATS_VERSION);
	json_double(&j, "time_s", (double)s->wall_ns / 1e9);
	if (was)
		json_double(&j, "interval_s",
			    (double)(s->now_ns - was->now_ns) / 1e9);
	json_u64(&j, "netns", s->netns);
	json_open(&j, "nics", '[');
	for (unsigned int i = 0; i < s->nics; i++)
		put_nic(&j, &s->nic[i]);
	json_close(&j, ']');
	json_open(&j, "processes", '[');
	for (unsigned int i = 0; i < s->processes; i++) {
		const struct status_process *p = &s->process[i];

		json_open(&j, NULL, '{');
		json_string(&j, "life", status_life(p));
		json_bool(&j, "false_claim", p->foreign);
		stats_json_members(&j, &p->snap);
		if (was)
			put_rates(&j, s, was, p);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_u64(&j, "stale_removed", s->removed);
	json_u64(&j, "unreadable", s->unreadable);
	json_u64(&j, "left_out", s->left_out);
	json_close(&j, '}');
	fputc('\n', to);
	return ferror(to) ? -EIO : 0;
}
