// SPDX-License-Identifier: BSD-3-Clause
/*
 * path.c - the lines that say which way a connection's bytes take, and took: one
 * when it opens, one when it is done, for users and for devmem-bench to read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "conn.h"
#include "nic.h"
#include "rxpool.h"
#include "sock.h"

/* "devmem", "host", or both: memory of both kinds was sent from. */
static const char *tx_path(const struct devmem_stats *s)
{
	if (!s->bytes_devmem)
		return s->bytes_staged ? "staged" : "host";
	if (s->bytes_staged)
		return "devmem+staged";
	return s->bytes_host ? "devmem+host" : "devmem";
}

/* "devmem", "host", or both when a devmem connection got host bytes. */
static const char *rx_path(const struct devmem_conn *c)
{
	if (c->rx.emulated)
		return "emulated";
	if (!c->rx.devmem)
		return "host";
	return c->stats->bytes_host ? "devmem+host" : "devmem";
}

/* "6,7", and of several interfaces "6,7+6,7". */
static const char *queues_text(const struct devmem_conn *c, char *text,
			       size_t n)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < c->rx.pools && at + 1 < n; i++) {
		if (i)
			text[at++] = '+';
		lease_queues_text(&c->rx.rail[i].pool->lease, text + at,
				  n - at);
		at += strlen(text + at);
	}
	return text;
}

/* "udmabuf", "cuda gpu=0". */
static const char *region_text(const struct devmem_conn *c, char *text,
			       size_t n)
{
	const struct region *r = &c->rx.rail[0].pool->region;

	if (r->gpu)
		snprintf(text, n, "%s gpu=%d", r->ops->name, r->gpu->ordinal);
	else
		snprintf(text, n, "%s", r->ops->name);
	return text;
}

/* The same, for who reads the process's statistics. */
static void fill_record(struct devmem_conn *c, const char *reason)
{
	struct stats_record *r = c->record;
	const struct receiver *rx = &c->rx;

	stats_record_begin(r);
	r->sender = c->is_sender;
	r->rails = c->rails;
	r->flows = c->flows;
	r->gpu = -1;
	snprintf(r->nic, sizeof(r->nic), "%s", c->dev->info.name);
	addr_text(&c->peer, true, r->peer, sizeof(r->peer));
	snprintf(r->reason, sizeof(r->reason), "%s", reason);
	snprintf(r->path, sizeof(r->path), "%s",
		 c->is_sender ? (c->dev->info.devmem_tx ? "devmem" : "host") :
		 rx->emulated ? "emulated" :
		 rx->devmem   ? "devmem" :
				"host");
	for (unsigned int i = 0; i < rx->pools; i++)
		r->dmabuf[i] = rx->rail[i].pool->lease.dmabuf_id;
	r->pools = rx->pools;
	if (rx->pools) {
		const struct region *region = &rx->rail[0].pool->region;

		r->gpu = region->gpu ? region->gpu->ordinal : -1;
		snprintf(r->region, sizeof(r->region), "%s", region->ops->name);
		snprintf(r->gather, sizeof(r->gather), "%s",
			 rx->unpack ? "unpack" : rx->gather->ops->name);
	}
	stats_record_open(r);
	DEVMEM_PROBE(path_decided, r->id, r->sender, r->path, r->reason);
}

void path_opened(struct devmem_conn *c, const char *reason)
{
	const struct devmem_nic_props *nic = &c->dev->info;
	char peer[ADDR_TEXT], queues[DEVMEM_MAX_RAILS * 80], region[32];

	fill_record(c, c->is_sender ? nic->tx_reason :
		       c->rx.pools  ? "" :
				      reason);
	addr_text(&c->peer, false, peer, sizeof(peer));
	if (c->is_sender && nic->devmem_tx)
		INFO("path send open nic=%s peer=%s tx=devmem flows=%u rails=%u",
		     nic->name, peer, c->flows, c->rails);
	else if (c->is_sender)
		INFO("path send open nic=%s peer=%s tx=host flows=%u rails=%u "
		     "reason=\"%s\"",
		     nic->name, peer, c->flows, c->rails, nic->tx_reason);
	else if (c->rx.pools)
		INFO("path recv open nic=%s peer=%s rx=%s region=%s gather=%s"
		     "%s%s flows=%u rails=%u",
		     nic->name, peer, rx_path(c),
		     region_text(c, region, sizeof(region)),
		     c->rx.unpack ? "unpack" : c->rx.gather->ops->name,
		     c->rx.emulated ? "" : " queues=",
		     queues_text(c, queues, sizeof(queues)), c->flows,
		     c->rails);
	else
		INFO("path recv open nic=%s peer=%s rx=host flows=%u rails=%u "
		     "reason=\"%s\"",
		     nic->name, peer, c->flows, c->rails, reason);
}

void path_done(const struct devmem_conn *c)
{
	const struct devmem_stats *s = c->stats;
	char peer[ADDR_TEXT];

	addr_text(&c->peer, false, peer, sizeof(peer));
	if (c->is_sender)
		INFO("path send done nic=%s peer=%s tx=%s devmem=%" PRIu64
		     " host=%" PRIu64 " inline=%" PRIu64 " zerocopy=%" PRIu64
		     " staged=%" PRIu64 " grants=%" PRIu64 " messages=%" PRIu64,
		     c->dev->info.name, peer, tx_path(s), s->bytes_devmem,
		     s->bytes_host, s->bytes_inline, s->bytes_zerocopy,
		     s->bytes_staged, s->grants, s->messages);
	else
		INFO("path recv done nic=%s peer=%s rx=%s emulated=%" PRIu64
		     " devmem=%" PRIu64 " linear=%" PRIu64 " host=%" PRIu64
		     " inline=%" PRIu64 " frags=%" PRIu64 " tokens=%" PRIu64
		     " returned=%" PRIu64 " dontneed=%" PRIu64
		     " grants=%" PRIu64 " messages=%" PRIu64,
		     c->dev->info.name, peer, rx_path(c), s->bytes_emulated,
		     s->bytes_devmem, s->bytes_linear, s->bytes_host,
		     s->bytes_inline, s->frags, s->tokens_received,
		     s->tokens_returned, s->dontneed_calls, s->grants,
		     s->messages);
}
