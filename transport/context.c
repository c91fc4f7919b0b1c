// SPDX-License-Identifier: BSD-3-Clause
/*
 * context.c - contexts: options, and closing whatever is left open.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "context.h"
#include "guard.h"
#include "nic.h"
#include "stats.h"
#include "unpack.h"
#include "worker.h"

DEVMEM_API void devmem_options_init(struct devmem_options *o)
{
	*o = (struct devmem_options){
		.struct_size = sizeof(*o),
		.region = DEVMEM_REGION_AUTO,
		.gather = DEVMEM_GATHER_AUTO,
		.pool_bytes = 64u << 20,
		.queues = 2,
		.flows = 2,
		.inline_bytes = 8192,
		.eager_bytes = 1u << 30,
		.chunk_bytes = 256u << 10,
		.timeout = 30,
		.threads = DEVMEM_THREADS_AUTO,
	};
}

static int option_bad(const char *name, size_t value, const char *range)
{
	WARN("%s is %zu; it must be %s", name, value, range);
	return -EINVAL;
}

static int check_options(const struct devmem_options *o)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[512];

	if (o->struct_size != sizeof(*o))
		return option_bad("struct_size", o->struct_size,
				  "set by devmem_options_init()");
	if (!o->pool_bytes || o->pool_bytes % page)
		return option_bad("the pool's size in bytes", o->pool_bytes,
				  "a multiple of the page size, at least one");
	if (!o->queues || o->queues > DEVMEM_MAX_QUEUES)
		return option_bad("the number of queues", o->queues,
				  "from 1 to 16");
	if (!o->flows || o->flows > DEVMEM_MAX_FLOWS)
		return option_bad("the number of flows", o->flows,
				  "from 1 to 16");
	if (o->inline_bytes > WIRE_MAX_PAYLOAD)
		return option_bad("the largest inline message", o->inline_bytes,
				  "at most 32768");
	if (o->eager_bytes > (1u << 30))
		return option_bad("the largest eager message", o->eager_bytes,
				  "at most 1073741824");
	if (o->chunk_bytes < DEVMEM_MIN_CHUNK || o->chunk_bytes > (64u << 20))
		return option_bad("the chunk's size in bytes", o->chunk_bytes,
				  "from 4096 to 67108864");
	if (!o->timeout || o->timeout > 3600)
		return option_bad("the timeout in seconds", o->timeout,
				  "from 1 to 3600");
	if (o->busy_poll > 1000000)
		return option_bad("the time of busy polling in us",
				  o->busy_poll, "at most 1000000");
	if ((unsigned int)o->zerocopy > DEVMEM_ZEROCOPY_ON)
		return option_bad("zerocopy", o->zerocopy,
				  "one of enum devmem_zerocopy");
	if ((unsigned int)o->stats > DEVMEM_STATS_OFF)
		return option_bad("stats", o->stats,
				  "one of enum devmem_stats_kind");
	if (o->stats_file &&
	    (!stats_path_valid(o->stats_file) ||
	     !stats_path_expand(o->stats_file, path, sizeof(path)))) {
		WARN("NCCL_DEVMEM_STATS_FILE=%s is not a name of at most 511 "
		     "bytes in which %% comes as %%h, %%p or %%%% only",
		     o->stats_file);
		return -EINVAL;
	}
	if ((unsigned int)o->region > DEVMEM_REGION_CUDA)
		return option_bad("region", o->region,
				  "one of enum devmem_region_kind");
	if ((unsigned int)o->rx > DEVMEM_RX_EMULATE)
		return option_bad("rx", o->rx, "one of enum devmem_rx_kind");
	if (o->unpack && o->pool_bytes > UNPACK_BOUNCE_BYTES)
		return option_bad("the pool's size in bytes", o->pool_bytes,
				  "at most 4G for unpacking");
	if (!guard_valid(o->guard)) {
		WARN("the guard's program is \"%s\"; it must be auto, off or an "
		     "absolute path",
		     o->guard);
		return -EINVAL;
	}
	if (o->rx == DEVMEM_RX_EMULATE && (o->require & DEVMEM_REQUIRE_RX)) {
		WARN("what is emulated is not devmem: NCCL_DEVMEM_REQUIRE=rx "
		     "and NCCL_DEVMEM_RX=emulate exclude each other");
		return -EINVAL;
	}
	if (!broker_choice_ok(o->broker)) {
		WARN("NCCL_DEVMEM_BROKER=%.120s is not one of auto, off, or the "
		     "broker's socket: a path from / on of less than %d bytes",
		     o->broker, BROKER_PATH);
		return -EINVAL;
	}
	if (o->threads > DEVMEM_MAX_THREADS &&
	    o->threads != DEVMEM_THREADS_AUTO)
		return option_bad("the number of progress threads", o->threads,
				  "from 0 to 16");
	return 0;
}

DEVMEM_API int devmem_open(const struct devmem_options *o, struct devmem **out)
{
	struct devmem *d;
	int rc;

	*out = NULL;
	log_open(o->log, o->log_arg);
	rc = check_options(o);
	if (rc)
		return rc;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	stats_get(o);
	rc = nics_get(o);
	if (rc) {
		stats_put();
		free(d);
		return rc;
	}
	d->pid = getpid();
	d->options = *o;
	/* Others have copies. */
	d->options.ifname = NULL;
	d->options.broker = NULL;
	d->options.guard = NULL;
	d->options.stats_file = NULL;
	pthread_mutex_init(&d->lock, NULL);
	workers_get(o->threads);
	*out = d;
	return 0;
}

DEVMEM_API void devmem_close(struct devmem *d)
{
	bool own;

	if (!d)
		return;
	while (d->listeners) {
		struct devmem_listener *l = d->listeners;

		d->listeners = listener_next(l);
		listener_free(l);
	}
	connecting_free_all(d);
	while (d->conns)
		conn_free(d->conns);
	workers_put();
	pthread_mutex_destroy(&d->lock);
	own = d->pid == getpid();
	free(d);
	nics_put();
	if (own)
		stats_put();
}

DEVMEM_API bool devmem_idle(struct devmem *d)
{
	bool idle;

	connecting_free_late(d);
	pthread_mutex_lock(&d->lock);
	idle = !d->listeners && !d->conns;
	pthread_mutex_unlock(&d->lock);
	return idle;
}

DEVMEM_API int devmem_nic_count(struct devmem *d)
{
	(void)d;
	return device_count();
}

DEVMEM_API int devmem_nic_info(struct devmem *d, int nic,
			       struct devmem_nic_props *info)
{
	const struct device *dev = device_at(nic);

	(void)d;
	if (!dev)
		return -EINVAL;
	*info = dev->info;
	return 0;
}

DEVMEM_API int devmem_bond(struct devmem *d, const int *nic, unsigned int count)
{
	(void)d;
	return device_bond(nic, count);
}

const struct devmem_options *ctx_options(const struct devmem *d)
{
	return &d->options;
}

/* NCCL is going to abort; a kernel of its could not end at a list. */
void ctx_withdraw(struct devmem *d)
{
	if (!d || !d->options.unpack)
		return;
	pthread_mutex_lock(&d->lock);
	for (struct devmem_conn *c = d->conns; c; c = c->next) {
		struct unpack *u =
			__atomic_load_n(&c->rx.unpack, __ATOMIC_ACQUIRE);

		if (u)
			unpack_withdraw(u);
	}
	pthread_mutex_unlock(&d->lock);
}

void ctx_add(struct devmem *d, struct devmem_conn *c)
{
	pthread_mutex_lock(&d->lock);
	c->next = d->conns;
	d->conns = c;
	pthread_mutex_unlock(&d->lock);
}

void ctx_remove(struct devmem *d, struct devmem_conn *c)
{
	struct devmem_conn **at;

	pthread_mutex_lock(&d->lock);
	for (at = &d->conns; *at && *at != c; at = &(*at)->next)
		;
	if (*at)
		*at = c->next;
	pthread_mutex_unlock(&d->lock);
}
