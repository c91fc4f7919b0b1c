// SPDX-License-Identifier: BSD-3-Clause
/*
 * status_text.c - `devmemctl status` for people. Text that a process wrote is
 * printed without what a terminal would obey.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "status.h"
#include "uapi.h"

#define TEXT 192

static const char *bytes_text(char text[TEXT], double v)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned int i = 0;

	while (v >= 1024 && i < 4) {
		v /= 1024;
		i++;
	}
	snprintf(text, TEXT, i ? "%.1f %s" : "%.0f %s", v, unit[i]);
	return text;
}

static const char *time_text(char text[TEXT], uint64_t ns)
{
	if (ns < 10000)
		snprintf(text, TEXT, "%" PRIu64 " ns", ns);
	else if (ns < 10000000)
		snprintf(text, TEXT, "%" PRIu64 " us", ns / 1000);
	else if (ns < 10000000000u)
		snprintf(text, TEXT, "%" PRIu64 " ms", ns / 1000000);
	else
		snprintf(text, TEXT, "%" PRIu64 " s", ns / 1000000000u);
	return text;
}

static void put_settings(FILE *to, const struct status_nic *n)
{
	static const char *const split[] = { "not said", "off", "on" };

	fprintf(to, "%s (ifindex %u): %u rx queues, header split %s, ntuple %s",
		n->name, n->ifindex, n->queues,
		n->split >= 0 && n->split <= 2 ? split[n->split] : "none",
		n->ntuple < 0 ? "not known" :
		n->ntuple     ? "on" :
				"off");
	if (n->bindings)
		fprintf(to, ", RSS %s",
			n->rss_hits < 0 ? "not known" :
			n->rss_hits	? "SENDS TO BOUND QUEUES" :
					  "kept off bound queues");
	fputc('\n', to);
	if (n->error[0])
		fprintf(to, "  %s\n", n->error);
	else if (!n->bindings)
		fputs("  no queue is bound\n", to);
}

static void put_owner(FILE *to, const struct status_binding *b)
{
	char text[TEXT], size[TEXT];

	if (!b->process) {
		fputs(", another program's\n", to);
		return;
	}
	fprintf(to, ", %s of %s, pid %u (%s, uid %u)\n",
		bytes_text(size, (double)b->pool->bytes),
		ctl_plain(text, TEXT, b->pool->region),
		b->process->snap.head.pid,
		ctl_plain((char[TEXT]){ 0 }, TEXT, b->process->snap.head.comm),
		b->process->owner);
}

static void put_binding(FILE *to, const struct status_nic *n,
			const struct status_binding *b)
{
	const char *sep = "queues ";
	char text[TEXT];

	fprintf(to, "  dma-buf %u: ", b->dmabuf);
	for (unsigned int i = 0; i < n->queues && i < STATUS_QUEUES; i++) {
		if (n->dmabuf[i] != b->dmabuf)
			continue;
		fprintf(to, "%s%u", sep, i);
		sep = ",";
	}
	if (b->pages_known)
		fprintf(to, ", %zu pages in use (%s)", b->pages,
			bytes_text(text, (double)b->pages * 4096));
	put_owner(to, b);
	for (unsigned int i = 0; i < n->rules; i++) {
		const struct status_rule *r = &n->rule[i];

		if (n->dmabuf[r->queue] == b->dmabuf)
			fprintf(to, "    rule %u: %s to queue %" PRIu64 "\n",
				r->location, r->text, r->queue);
	}
}

static void put_times(FILE *to, const struct stats_record *r)
{
	char p50[TEXT], p99[TEXT], max[TEXT];

	for (unsigned int i = 0; i < STATS_TIMES; i++) {
		const struct histogram *h = &r->time[i];

		if (!histogram_count(h))
			continue;
		fprintf(to, "      %-10s  p50 %s, p99 %s, max %s\n",
			stats_time_names[i],
			time_text(p50, histogram_percentile(h, 50)),
			time_text(p99, histogram_percentile(h, 99)),
			time_text(max, h->max));
	}
}

static void put_counts(FILE *to, const struct stats_record *r)
{
	const struct devmem_stats *c = &r->counters;
	const struct {
		const char *name;
		uint64_t n;
	} part[] = {
		{ "devmem", c->bytes_devmem },
		{ "host", c->bytes_host },
		{ "inline", c->bytes_inline },
		{ "linear", c->bytes_linear },
		{ "emulated", c->bytes_emulated },
		{ "staged", c->bytes_staged },
	};
	char text[TEXT];

	fprintf(to, "      %" PRIu64 " messages", c->messages);
	for (unsigned int i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		if (part[i].n)
			fprintf(to, ", %s %s", part[i].name,
				bytes_text(text, (double)part[i].n));
	if (!r->sender && c->tokens_received)
		fprintf(to, ", tokens out %" PRIu64,
			c->tokens_received - c->tokens_returned);
	fputc('\n', to);
}

static void put_connection(FILE *to, const struct status *s,
			   const struct status *was,
			   const struct status_process *p,
			   const struct stats_record *r)
{
	struct status_rate rate = status_rate(s, was, p, r);
	char nic[TEXT], peer[TEXT], text[TEXT];

	fprintf(to, "  #%" PRIu64 " %s %s %s by %s, %s=%s", r->id,
		r->sender ? "send" : "recv", r->sender ? "to" : "from",
		ctl_plain(peer, TEXT, r->peer), ctl_plain(nic, TEXT, r->nic),
		r->sender ? "tx" : "rx", ctl_plain(text, TEXT, stats_path(r)));
	if (r->pools) {
		fprintf(to, " region=%s", ctl_plain(text, TEXT, r->region));
		fprintf(to, " gather=%s", ctl_plain(text, TEXT, r->gather));
	}
	fprintf(to, " flows=%u%s\n", r->flows,
		r->state == STATS_CLOSED ? " (closed)" : "");
	if (r->err)
		fprintf(to, "      FAILED: %s\n",
			ctl_plain(text, TEXT, r->error));
	put_counts(to, r);
	if (rate.known)
		fprintf(to, "      now %s/s, %.0f messages/s\n",
			bytes_text(text, rate.bytes), rate.messages);
	put_times(to, r);
}

static void put_process(FILE *to, const struct status *s,
			const struct status *was,
			const struct status_process *p)
{
	const struct stats_header *h = &p->snap.head;
	unsigned int open = 0;
	char text[TEXT];

	for (unsigned int i = 0; i < p->snap.count; i++)
		open += p->snap.record[i].state == STATS_OPEN;
	fprintf(to,
		"pid %u (%s, uid %u): %u connections open, %" PRIu64
		" since it began%s%s\n",
		h->pid, ctl_plain(text, TEXT, h->comm), p->owner,
		open + h->unlisted, h->opened,
		p->life == STATS_LIVES ? "" :
		p->life == STATS_DEAD  ? " (dead)" :
					 " (in another PID namespace)",
		p->foreign ? " (a false claim: that pid is another user's)" :
			     "");
	for (unsigned int i = 0; i < p->snap.count; i++)
		if (p->snap.record[i].state == STATS_OPEN)
			put_connection(to, s, was, p, &p->snap.record[i]);
	if (h->unlisted)
		fprintf(to,
			"  %u more connections have no place of their own "
			"here\n",
			h->unlisted);
}

void status_text(FILE *to, const struct status *s, const struct status *was)
{
	for (unsigned int i = 0; i < s->nics; i++) {
		put_settings(to, &s->nic[i]);
		for (unsigned int k = 0; k < s->nic[i].bindings; k++)
			put_binding(to, &s->nic[i], &s->nic[i].binding[k]);
	}
	if (!s->nics)
		fputs("no queue of any interface is bound here\n", to);
	for (unsigned int i = 0; i < s->processes; i++)
		put_process(to, s, was, &s->process[i]);
	if (!s->processes)
		fputs("no process uses the library, or none that you may "
		      "see\n",
		      to);
	if (s->left_out)
		fprintf(to, "%u more processes are not shown\n", s->left_out);
	if (s->unreadable)
		fprintf(to,
			"%u files in " STATS_DIR " are not of this version\n",
			s->unreadable);
	if (s->removed)
		fprintf(to, "%u files of dead processes were removed\n",
			s->removed);
}
