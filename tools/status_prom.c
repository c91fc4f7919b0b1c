// SPDX-License-Identifier: BSD-3-Clause
/*
 * status_prom.c - `devmemctl status --prometheus`: the text exposition format,
 * version 0.0.4, fit for node_exporter's textfile collector.
 */
#include <inttypes.h>
#include <string.h>

#include "status.h"

/* Bounds of a histogram there: 2^10 to 2^34 ns, each four times the last. */
#define LE_FIRST 10
#define LE_LAST	 34
#define LE_STEP	 2

static void put_label(FILE *to, const char *name, const char *v)
{
	fprintf(to, "%s=\"", name);
	for (; *v; v++) {
		if (*v == '\\' || *v == '"')
			fprintf(to, "\\%c", *v);
		else
			fputc(*v >= ' ' && *v <= '~' ? *v : '?', to);
	}
	fputc('"', to);
}

/*
 * One series for each connection, whatever processes claim: pids of several
 * namespaces may be the same, names of files are not. A series that is there twice
 * would have the collector drop them all.
 */
static void put_labels(FILE *to, const struct status_process *p,
		       const struct stats_record *r)
{
	put_label(to, "comm", p->snap.head.comm);
	fprintf(to, ",conn=\"%" PRIu64 "\",", r->id);
	put_label(to, "direction", r->sender ? "send" : "recv");
	fputc(',', to);
	put_label(to, "file", p->file + strlen(STATS_PREFIX));
	fputc(',', to);
	put_label(to, "nic", r->nic);
	fputc(',', to);
	put_label(to, "path", r->path);
	fputc(',', to);
	put_label(to, "peer", r->peer);
	fprintf(to, ",pid=\"%u\"", p->snap.head.pid);
}

static void head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP nccl_devmem_%s %s\n# TYPE nccl_devmem_%s %s\n",
		name, help, name, type);
}

/* Is it shown? What is closed would be there for ever. */
static bool shown(const struct status_process *p, const struct stats_record *r)
{
	return p->life != STATS_DEAD && !p->foreign && r->state == STATS_OPEN;
}

#define EACH_CONNECTION(s, p, r)                                    \
	for (const struct status_process *p = (s)->process;         \
	     p < (s)->process + (s)->processes; p++)                \
		for (const struct stats_record *r = p->snap.record; \
		     r < p->snap.record + p->snap.count; r++)       \
			if (shown(p, r))

static void put_counter(FILE *to, const struct status *s,
			const struct stats_counter *c)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_total", c->name);
	head(to, name, "counter", c->help);
	EACH_CONNECTION(s, p, r)
	{
		if (!(r->sender ? c->sender : c->receiver))
			continue;
		fprintf(to, "nccl_devmem_%s{", name);
		put_labels(to, p, r);
		fprintf(to, "} %" PRIu64 "\n", stats_counter(r, c));
	}
}

static void put_bucket(FILE *to, const char *name,
		       const struct status_process *p,
		       const struct stats_record *r, const char *le, uint64_t n)
{
	fprintf(to, "nccl_devmem_%s_seconds_bucket{", name);
	put_labels(to, p, r);
	fprintf(to, ",le=\"%s\"} %" PRIu64 "\n", le, n);
}

static void put_histogram(FILE *to, const char *name,
			  const struct status_process *p,
			  const struct stats_record *r,
			  const struct histogram *h)
{
	uint64_t count = histogram_count(h);

	for (unsigned int bit = LE_FIRST; bit <= LE_LAST; bit += LE_STEP) {
		uint64_t ns = ((uint64_t)1 << bit) - 1;
		char le[32];

		snprintf(le, sizeof(le), "%" PRIu64 ".%09" PRIu64,
			 ns / 1000000000u, ns % 1000000000u);
		put_bucket(to, name, p, r, le, histogram_upto(h, ns));
	}
	put_bucket(to, name, p, r, "+Inf", count);
	fprintf(to, "nccl_devmem_%s_seconds_sum{", name);
	put_labels(to, p, r);
	fprintf(to, "} %" PRIu64 ".%09" PRIu64 "\n", h->sum / 1000000000u,
		h->sum % 1000000000u);
	fprintf(to, "nccl_devmem_%s_seconds_count{", name);
	put_labels(to, p, r);
	fprintf(to, "} %" PRIu64 "\n", count);
}

static void put_histograms(FILE *to, const struct status *s, unsigned int what)
{
	static const char *const help[STATS_TIMES] = {
		[STATS_GRANT_WAIT] =
			"Time that a message waited for leave to be sent.",
		[STATS_TOKEN_HOLD] =
			"Time until tokens were given back, from the first.",
		[STATS_GATHER] = "Time from submitting pieces to their place.",
		[STATS_COMPLETION] = "Time from posting a message to its end; "
				     "of small ones a sample.",
	};
	char name[64];

	snprintf(name, sizeof(name), "%s_seconds", stats_time_names[what]);
	head(to, name, "histogram", help[what]);
	EACH_CONNECTION(s, p, r)
	{
		if (what != STATS_COMPLETION &&
		    !r->sender == (what == STATS_GRANT_WAIT))
			continue;
		put_histogram(to, stats_time_names[what], p, r, &r->time[what]);
	}
}

static void put_bindings(FILE *to, const struct status *s)
{
	head(to, "binding_pages_in_use", "gauge",
	     "Pages of a bound dma-buf in rings, in the stack, with users.");
	for (unsigned int i = 0; i < s->nics; i++) {
		const struct status_nic *n = &s->nic[i];

		for (unsigned int k = 0; k < n->bindings; k++) {
			const struct status_binding *b = &n->binding[k];

			if (!b->pages_known)
				continue;
			fprintf(to,
				"nccl_devmem_binding_pages_in_use{"
				"dmabuf=\"%u\",",
				b->dmabuf);
			put_label(to, "nic", n->name);
			fprintf(to, ",pid=\"%u\"} %zu\n",
				b->process ? b->process->snap.head.pid : 0,
				b->pages);
		}
	}
}

static void put_nics(FILE *to, const struct status *s)
{
	head(to, "bound_queues", "gauge", "Receive queues that are bound.");
	for (unsigned int i = 0; i < s->nics; i++) {
		const struct status_nic *n = &s->nic[i];
		unsigned int bound = 0;

		for (unsigned int k = 0; k < n->queues && k < STATUS_QUEUES;
		     k++)
			bound += n->dmabuf[k] != 0;
		fputs("nccl_devmem_bound_queues{", to);
		put_label(to, "nic", n->name);
		fprintf(to, "} %u\n", bound);
	}
	head(to, "rules", "gauge", "Flow rules to bound receive queues.");
	for (unsigned int i = 0; i < s->nics; i++) {
		fputs("nccl_devmem_rules{", to);
		put_label(to, "nic", s->nic[i].name);
		fprintf(to, "} %u\n", s->nic[i].rules);
	}
}

void status_prometheus(FILE *to, const struct status *s)
{
	unsigned int live = 0;

	for (unsigned int i = 0; i < s->processes; i++)
		live += s->process[i].life != STATS_DEAD;
	head(to, "processes", "gauge", "Processes that use the library.");
	fprintf(to, "nccl_devmem_processes %u\n", live);
	put_nics(to, s);
	put_bindings(to, s);
	for (unsigned int i = 0; i < stats_counters_count; i++)
		put_counter(to, s, &stats_counters[i]);
	for (unsigned int i = 0; i < STATS_TIMES; i++)
		put_histograms(to, s, i);
}
