// SPDX-License-Identifier: BSD-3-Clause
/*
 * rxpool.c - setting up a pool and taking it down; see rxpool.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulate.h"
#include "ethioctl.h"
#include "reason.h"
#include "rxpool.h"
#include "uapi.h"

/* Queues of a NIC that we look at. */
#define QUEUES_MAX 1024
/* Times that we look for other queues when somebody was faster. */
#define BIND_TRIES 8

static bool emulates(const struct devmem_options *o)
{
	return o->rx == DEVMEM_RX_EMULATE;
}

int rxpool_gpu(const struct devmem_nic_props *nic,
	       const struct devmem_options *o)
{
	struct why w;
	int gpu;

	if (o->region != DEVMEM_REGION_AUTO && o->region != DEVMEM_REGION_CUDA)
		return -1;
	gpu = gpu_choose(nic->pci_path, &w);
	if (gpu < 0 || gpu_probe(gpu, !emulates(o), &w))
		return -1;
	return gpu;
}

/* Memory of a GPU, or why not. */
static const struct region_ops *cuda_region(const struct devmem_nic_props *nic,
					    const struct devmem_options *o,
					    struct why *w)
{
	int gpu = gpu_choose(nic->pci_path, w);

	if (gpu < 0 || gpu_probe(gpu, !emulates(o), w))
		return NULL;
	return &region_cuda;
}

static const struct region_ops *region_of(const struct devmem_nic_props *nic,
					  const struct devmem_options *o,
					  struct why *w)
{
	const struct region_ops *cuda;

	switch (o->region) {
	case DEVMEM_REGION_UDMABUF:
		return &region_udmabuf;
	case DEVMEM_REGION_NONE:
		reason(w, 0, REASON_REGION_NONE);
		return NULL;
	default:
		cuda = cuda_region(nic, o, w);
		/* What is emulated needs no GPU, unless it is asked for. */
		if (!cuda && emulates(o) && o->region == DEVMEM_REGION_AUTO)
			return &region_host;
		return cuda;
	}
}

void rxpool_gpu_props(struct devmem_nic_props *nic,
		      const struct devmem_options *o)
{
	int gpu = rxpool_gpu(nic, o);
	struct gpu g = { .ordinal = gpu };

	nic->gpu_memory = nic->devmem_rx && gpu >= 0;
	if (!nic->gpu_memory || gpu_describe(gpu, &g))
		return;
	nic->gpu_dmabuf = g.dmabuf;
	nic->unpack = o->unpack && g.vmm && (g.writes_ordered || g.can_flush);
	if (o->unpack && !nic->unpack)
		WARN("NCCL_DEVMEM_UNPACK=1 needs a GPU with virtual memory "
		     "management for RDMA, whose kernels see what NICs write: "
		     "%s %s; its gather engine is used instead",
		     g.name, g.vmm ? "does not" : "has none");
}

static int open_netdev(struct devnl_family *f, struct why *w)
{
	int rc = devnl_open(f, DEVMEM_NETDEV_FAMILY);

	if (rc)
		return reason(w, rc, REASON_KERNEL_NO_NETDEV);
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
		return reason(w, -EOPNOTSUPP, REASON_FEW_QUEUES, .nic = ifname,
			      .n = *count, .what = *count == 1 ? "" : "s");
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

	if (!region_of(nic, o, w))
		return -EOPNOTSUPP;
	if (emulates(o))
		return 0;
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
		return reason(w, err, REASON_NO_PRIVILEGE, .nic = p->ifname,
			      .what = "binding memory to queues of");
	if (err == -EOPNOTSUPP)
		return reason(w, err, REASON_BIND_RX_UNSUPPORTED,
			      .nic = p->ifname, .detail = say);
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
			rc = reason(w, -EUSERS, REASON_QUEUES_TAKEN,
				    .nic = p->ifname);
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

static size_t niovs_in_rings(struct rxpool *p)
{
	struct devnl_rings r;
	size_t filled = 0;

	devnl_rings_get(p->ifindex, &r);
	devnl_pages_held(&p->lease, p->ifindex, p->dmabuf_id, &filled);
	return credit_held_by_rings(p->queues, r.rx, filled);
}

static int init_credit(struct rxpool *p, struct why *w)
{
	size_t niovs = p->region.bytes / (size_t)sysconf(_SC_PAGESIZE);
	size_t held = niovs_in_rings(p);

	if (niovs < credit_least(held))
		return reason(
			w, -ENOSPC, REASON_POOL_TOO_SMALL, .nic = p->ifname,
			.n = niovs, .m = p->queues, .k = held,
			.bytes = 2 * held * (size_t)sysconf(_SC_PAGESIZE));
	credit_init(&p->credit, niovs - held);
	return 0;
}

/* Bind it to queues of the NIC, and set that up for it. */
static int bind_pool(struct rxpool *p, const struct devmem_nic_props *nic,
		     const struct devmem_options *o, struct why *w)
{
	int rc = settings_begin(&p->settings, nic, o->nic_manual, w);

	rc = rc ?: settings_ntuple_on(&p->settings, w);
	rc = rc ?: settings_split_on(&p->settings, w);
	rc = rc ?: bind_queues(p, o, w);
	rc = rc ?: init_credit(p, w);
	if (rc) {
		devnl_close(&p->lease);
		settings_end(&p->settings);
		return rc;
	}
	settings_commit(&p->settings);
	return 0;
}

static int emulate_pool(struct rxpool *p, struct why *w)
{
	p->emulated = emu_pool_new(&p->region);
	if (!p->emulated)
		return why(w, -ENOMEM, "out of memory");
	credit_init(&p->credit,
		    p->region.bytes / (size_t)sysconf(_SC_PAGESIZE));
	return 0;
}

int rxpool_setup(const struct devmem_nic_props *nic,
		 const struct devmem_options *o, int gpu, struct rxpool **out,
		 struct why *w)
{
	const struct region_ops *ops = region_of(nic, o, w);
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
	p->region.bytes = o->pool_bytes;
	p->region.exported = !emulates(o);
	pthread_mutex_init(&p->scratch_lock, NULL);

	rc = emulates(o) ? 0 : open_netdev(&p->lease, w);
	if (rc)
		goto err_free;
	if (ops->on_gpu) {
		p->region.gpu = gpu_get(gpu < 0 ? 0 : gpu, w);
		rc = p->region.gpu ? 0 : -EOPNOTSUPP;
		if (rc)
			goto err_lease;
	}
	/* Before the NIC's lock is taken: this may take its time. */
	rc = region_alloc(&p->region, ops, w);
	if (rc)
		goto err_gpu;
	rc = emulates(o) ? emulate_pool(p, w) : bind_pool(p, nic, o, w);
	if (rc)
		goto err_region;
	*out = p;
	return 0;

err_region:
	region_free(&p->region);
err_gpu:
	gpu_put(p->region.gpu);
err_lease:
	devnl_close(&p->lease);
err_free:
	pthread_mutex_destroy(&p->scratch_lock);
	free(p);
	return rc;
}

void rxpool_teardown(struct rxpool *p)
{
	if (!p)
		return;
	if (p->emulated) {
		emu_pool_free(p->emulated);
		region_free(&p->region);
	} else {
		settings_lock(&p->settings);
		devnl_close(&p->lease);
		region_free(&p->region);
		settings_end(&p->settings);
	}
	gpu_put(p->region.gpu);
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
