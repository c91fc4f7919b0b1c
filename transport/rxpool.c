// SPDX-License-Identifier: BSD-3-Clause
/*
 * rxpool.c - setting up a pool and taking it down; see rxpool.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ethioctl.h"
#include "rxpool.h"
#include "uapi.h"

/* Queues of a NIC that we look at. */
#define QUEUES_MAX 1024
/* Times that we look for other queues when somebody was faster. */
#define BIND_TRIES 8

static const struct region_ops *region_of(const struct devmem_options *o,
					  struct why *w)
{
	switch (o->region) {
	case DEVMEM_REGION_UDMABUF:
		return &region_udmabuf;
	case DEVMEM_REGION_NONE:
		why(w, 0, "NCCL_DEVMEM_REGION=none");
		return NULL;
	default:
		why(w, 0,
		    "this build has no GPU memory to receive into; "
		    "NCCL_DEVMEM_REGION=udmabuf uses host memory instead, for "
		    "tests");
		return NULL;
	}
}

static int open_netdev(struct devnl_family *f, struct why *w)
{
	int rc = devnl_open(f, DEVMEM_NETDEV_FAMILY);

	if (rc)
		return why(w, rc,
			   "the kernel has no \"netdev\" netlink "
			   "family: devmem TCP needs Linux 6.12 or later with "
			   "CONFIG_NET_DEVMEM");
	return 0;
}

/* Receive queues of the NIC, and which of them have a dma-buf. */
static int read_queues(struct devnl_family *f, const char *ifname,
		       unsigned int ifindex, bool *bound, unsigned int *count,
		       struct why *w)
{
	int rc = devnl_bound_queues(f, ifindex, bound, QUEUES_MAX, count);

	if (rc)
		return why(w, rc, "reading the queues of %s: %s%s%s", ifname,
			   strerror(-rc), *f->extack ? ": " : "", f->extack);
	if (*count > QUEUES_MAX)
		*count = QUEUES_MAX;
	if (*count < 2)
		return why(w, -EOPNOTSUPP,
			   "%s has %u receive queue%s: one is "
			   "needed for other traffic and one or more for the "
			   "pool; see: ethtool -l %s",
			   ifname, *count, *count == 1 ? "" : "s", ifname);
	return 0;
}

/* Header split that is off, and rules that are off, can be turned on. */
static bool can_be_set(const struct devmem_nic_props *nic)
{
	struct devnl_rings r;

	return !devnl_rings_get(nic->ifindex, &r) && r.split >= 0 &&
	       !eth_ntuple_probe(nic->name);
}

int rxpool_probe(const struct devmem_nic_props *nic,
		 const struct devmem_options *o, struct why *w)
{
	struct nic_settings look;
	struct devnl_family f;
	unsigned int count = 0;
	bool *bound;
	int rc;

	if (!region_of(o, w))
		return -EOPNOTSUPP;
	rc = open_netdev(&f, w);
	if (rc)
		return rc;
	bound = calloc(QUEUES_MAX, sizeof(*bound));
	rc = bound ? read_queues(&f, nic->name, nic->ifindex, bound, &count,
				 w) :
		     why(w, -ENOMEM, "out of memory");
	free(bound);
	devnl_close(&f);
	if (rc)
		return rc;
	/* What can be set up is no obstacle, unless we are not to. */
	settings_begin(&look, nic, true, w);
	rc = settings_split_on(&look, w);
	rc = rc ?: settings_ntuple_on(&look, w);
	return rc == -EOPNOTSUPP && !o->nic_manual && can_be_set(nic) ? 0 : rc;
}

/* The highest queues that are free, never the first; how many were found. */
static unsigned int pick_queues(const bool *bound, unsigned int count,
				unsigned int want, unsigned int *queue)
{
	unsigned int n = 0;

	for (unsigned int q = count; q-- > 1 && n < want;)
		if (!bound[q])
			queue[n++] = q;
	return n;
}

static int bind_failed(struct rxpool *p, int err, struct why *w)
{
	const char *say = p->lease.extack;

	if (err == -EPERM)
		return why(w, err,
			   "binding memory to queues of %s needs "
			   "CAP_NET_ADMIN",
			   p->ifname);
	if (err == -EOPNOTSUPP)
		return why(w, err,
			   "the kernel or the driver of %s cannot bind "
			   "memory to receive queues (CONFIG_NET_DEVMEM, "
			   "queue_mgmt_ops)%s%s",
			   p->ifname, *say ? ": " : "", say);
	return why(w, err, "binding memory to queues of %s: %s%s%s", p->ifname,
		   strerror(-err), *say ? ": " : "", say);
}

/*
 * Take queues off RSS, then bind: in this order no foreign packet meets a bound
 * queue. Somebody else may take the same queues meanwhile; the kernel decides
 * (-EEXIST), and the loser looks for others.
 */
static int bind_queues(struct rxpool *p, const struct devmem_options *o,
		       struct why *w)
{
	bool *bound = calloc(QUEUES_MAX, sizeof(*bound));
	int rc = -ENOMEM;

	if (!bound)
		return why(w, rc, "out of memory");
	for (int try = 0; try < BIND_TRIES; try++) {
		unsigned int count = 0;

		rc = read_queues(&p->lease, p->ifname, p->ifindex, bound,
				 &count, w);
		if (rc)
			break;
		p->queues = pick_queues(bound, count, o->queues, p->queue);
		if (!p->queues) {
			rc = why(w, -EUSERS,
				 "all receive queues of %s but the "
				 "first are bound by others",
				 p->ifname);
			break;
		}
		rc = settings_rss_avoid(&p->settings, p->queue, p->queues, w);
		if (rc)
			break;
		rc = devnl_bind_rx(&p->lease, p->ifindex, p->region.dmabuf_fd,
				   p->queue, p->queues, &p->dmabuf_id);
		if (!rc)
			break;
		bind_failed(p, rc, w);
		settings_rss_restore(&p->settings);
		if (rc != -EEXIST && rc != -EBUSY)
			break;
	}
	free(bound);
	return rc;
}

/*
 * niovs that bound queues can keep from us at any time: descriptors in the ring,
 * and pages in the page pool's cache (128 a queue) and ring (as large as the
 * descriptors', as drivers have it). A driver may use several pages for a
 * descriptor: what the rings took when they were filled tells.
 */
static size_t niovs_in_rings(struct rxpool *p)
{
	struct devnl_rings r;
	size_t filled = 0, by_size;

	devnl_rings_get(p->ifindex, &r);
	devnl_pages_held(&p->lease, p->ifindex, p->dmabuf_id, &filled);
	by_size = (size_t)p->queues * (r.rx ?: 1024);
	return 2 * (filled > by_size ? filled : by_size) + p->queues * 128ul;
}

static int init_credit(struct rxpool *p, struct why *w)
{
	size_t niovs = p->region.bytes / (size_t)sysconf(_SC_PAGESIZE);
	size_t held = niovs_in_rings(p);

	if (niovs < held + held / 4)
		return why(w, -ENOSPC,
			   "a pool of %zu pages is too small: the "
			   "rings of %u queues of %s hold up to %zu; set "
			   "NCCL_DEVMEM_POOL_BYTES to %zu or more, or shrink "
			   "the rings: ethtool -G %s rx N",
			   niovs, p->queues, p->ifname, held,
			   2 * held * (size_t)sysconf(_SC_PAGESIZE), p->ifname);
	credit_init(&p->credit, niovs - held);
	pthread_mutex_init(&p->scratch_lock, NULL);
	return 0;
}

int rxpool_setup(const struct devmem_nic_props *nic,
		 const struct devmem_options *o, struct rxpool **out,
		 struct why *w)
{
	const struct region_ops *ops = region_of(o, w);
	struct rxpool *p;
	int rc;

	*out = NULL;
	if (!ops)
		return -EOPNOTSUPP;
	p = calloc(1, sizeof(*p));
	if (!p)
		return why(w, -ENOMEM, "out of memory");
	memcpy(p->ifname, nic->name, sizeof(p->ifname));
	p->ifindex = nic->ifindex;

	rc = open_netdev(&p->lease, w);
	if (rc)
		goto err_free;
	/* Before the NIC's lock is taken: this may take its time. */
	rc = region_alloc(&p->region, ops, o->pool_bytes, w);
	if (rc)
		goto err_lease;
	rc = settings_begin(&p->settings, nic, o->nic_manual, w);
	rc = rc ?: settings_ntuple_on(&p->settings, w);
	rc = rc ?: settings_split_on(&p->settings, w);
	rc = rc ?: bind_queues(p, o, w);
	rc = rc ?: init_credit(p, w);
	if (rc)
		goto err_settings;
	settings_commit(&p->settings);
	*out = p;
	return 0;

err_settings:
	devnl_close(&p->lease);
	settings_end(&p->settings);
	region_free(&p->region);
err_lease:
	devnl_close(&p->lease);
err_free:
	free(p);
	return rc;
}

void rxpool_teardown(struct rxpool *p)
{
	if (!p)
		return;
	settings_lock(&p->settings);
	devnl_close(&p->lease);
	region_free(&p->region);
	settings_end(&p->settings);
	rxpool_scratch_free(p);
	pthread_mutex_destroy(&p->scratch_lock);
	credit_destroy(&p->credit);
	free(p);
}

unsigned int rxpool_next_queue(struct rxpool *p)
{
	unsigned int n =
		__atomic_fetch_add(&p->next_queue, 1, __ATOMIC_RELAXED);

	return p->queue[n % p->queues];
}

const char *rxpool_queues_text(const struct rxpool *p, char *text, size_t n)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < p->queues && at < n; i++)
		at += (size_t)snprintf(text + at, n - at, "%s%u", i ? "," : "",
				       p->queue[i]);
	return text;
}
