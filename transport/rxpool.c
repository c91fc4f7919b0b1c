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
#include "reason.h"
#include "rxpool.h"

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

int rxpool_probe(const struct devmem_nic_props *nic,
		 const struct devmem_options *o, struct why *w)
{
	if (!region_of(nic, o, w))
		return -EOPNOTSUPP;
	return emulates(o) ? 0 : lease_probe(nic, o->nic_manual, w);
}

static size_t niovs_in_rings(struct lease *l)
{
	struct devnl_rings r;
	size_t filled = 0;

	devnl_rings_get(l->ifindex, &r);
	devnl_pages_held(&l->netdev, l->ifindex, l->dmabuf_id, &filled);
	return credit_held_by_rings(l->queues, r.rx, filled);
}

static int init_credit(struct rxpool *p, struct why *w)
{
	size_t niovs = p->region.bytes / (size_t)sysconf(_SC_PAGESIZE);
	size_t held = niovs_in_rings(&p->lease);

	if (niovs < credit_least(held))
		return reason(w, -ENOSPC, REASON_POOL_TOO_SMALL,
			      .nic = p->lease.ifname, .n = niovs,
			      .m = p->lease.queues, .k = held,
			      .bytes =
				      2 * held * (size_t)sysconf(_SC_PAGESIZE));
	credit_init(&p->credit, niovs - held);
	return 0;
}

static int bind_pool(struct rxpool *p, const struct devmem_nic_props *nic,
		     const struct devmem_options *o, struct why *w)
{
	int rc = lease_get(nic, o, p->region.dmabuf_fd, &p->lease, w);

	if (rc)
		return rc;
	rc = init_credit(p, w);
	if (rc)
		lease_end(&p->lease);
	return rc;
}

static int emulate_pool(struct rxpool *p, const struct devmem_nic_props *nic,
			struct why *w)
{
	/* Nobody's queues, but it has a name. */
	memcpy(p->lease.ifname, nic->name, sizeof(p->lease.ifname));
	p->lease.ifindex = nic->ifindex;
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
	p->region.bytes = o->pool_bytes;
	p->region.exported = !emulates(o);
	pthread_mutex_init(&p->scratch_lock, NULL);

	if (ops->on_gpu) {
		p->region.gpu = gpu_get(gpu < 0 ? 0 : gpu, w);
		rc = p->region.gpu ? 0 : -EOPNOTSUPP;
		if (rc)
			goto err_free;
	}
	/* Before the NIC's lock is taken: this may take its time. */
	rc = region_alloc(&p->region, ops, w);
	if (rc)
		goto err_gpu;
	rc = emulates(o) ? emulate_pool(p, nic, w) : bind_pool(p, nic, o, w);
	if (rc)
		goto err_region;
	*out = p;
	return 0;

err_region:
	region_free(&p->region);
err_gpu:
	gpu_put(p->region.gpu);
err_free:
	pthread_mutex_destroy(&p->scratch_lock);
	free(p);
	return rc;
}

void rxpool_teardown(struct rxpool *p)
{
	if (!p)
		return;
	if (p->emulated)
		emu_pool_free(p->emulated);
	else
		lease_end(&p->lease);
	region_free(&p->region);
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

	return p->lease.queue[n % p->lease.queues];
}
