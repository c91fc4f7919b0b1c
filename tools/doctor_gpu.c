// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_gpu.c - memory for the pool: can it be had, be exported, be large enough;
 * and the way to it. A driver for GPUs is asked by a child, as it may do anything.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "credit.h"
#include "devnl.h"
#include "doctor.h"
#include "doctor_pci.h"
#include "gpu.h"
#include "region.h"

#define DRIVER_SECONDS 60
/* Of a GPU: BAR0 has its registers, BAR1 its memory. */
#define MEMORY_BAR 1

struct gpu_answer {
	int rc;
	struct why w;
	struct doctor_gpu gpu[DOCTOR_NICS];
};

static void pci_path(const struct gpu *g, char *real, size_t n)
{
	char id[32] = "", path[64], full[PATH_MAX];

	if (g->cuda->device_pci_id(id, sizeof(id), g->dev))
		return;
	id[sizeof(id) - 1] = '\0';
	for (char *p = id; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", id);
	if (realpath(path, full) && strlen(full) < n)
		strcpy(real, full);
}

static void ask_driver(void *result, void *arg)
{
	const struct doctor *d = arg;
	struct gpu_answer *a = result;

	for (unsigned int i = 0; i < d->nics || !i; i++) {
		int n = gpu_choose(d->nics ? d->nic[i].pci_path : "", &a->w);
		struct gpu g = { .ordinal = n };

		a->rc = n < 0 ? n : gpu_probe(n, true, &a->w);
		if (a->rc)
			return;
		if (gpu_describe(n, &g))
			continue;
		snprintf(a->gpu[i].name, sizeof(a->gpu[i].name), "%s", g.name);
		pci_path(&g, a->gpu[i].pci_path, sizeof(a->gpu[i].pci_path));
	}
}

static void check_gpu(struct doctor *d)
{
	struct gpu_answer a;
	int rc = doctor_in_child(ask_driver, d, &a, sizeof(a), DRIVER_SECONDS);

	if (rc) {
		doctor_found(d, REASON_CUDA_NO_START,
			     .detail = rc == -ETIMEDOUT ?
					       "no answer within 60 s" :
					       "the process that called it "
					       "died");
		return;
	}
	if (a.rc) {
		doctor_why(d, &a.w);
		return;
	}
	memcpy(d->gpu, a.gpu, sizeof(d->gpu));
	doctor_ok(d, "%s, whose memory can be exported as a dma-buf",
		  a.gpu[0].name);
}

/* Made and given back: nothing tells better whether it can be. */
static void check_udmabuf(struct doctor *d)
{
	struct region r = { .bytes = d->options.pool_bytes, .exported = true };
	struct why w;

	if (region_alloc(&r, &region_udmabuf, &w)) {
		doctor_why(d, &w);
		return;
	}
	region_free(&r);
	doctor_ok(d, "%zu bytes of host memory can be exported as a dma-buf",
		  d->options.pool_bytes);
}

void check_region(struct doctor *d, const struct devmem_nic_props *nic)
{
	(void)nic;
	if (d->options.rx == DEVMEM_RX_EMULATE)
		doctor_found(d, REASON_EMULATED);
	else if (d->options.region == DEVMEM_REGION_NONE)
		doctor_found(d, REASON_REGION_NONE);
	else if (d->options.region == DEVMEM_REGION_UDMABUF)
		check_udmabuf(d);
	else
		check_gpu(d);
}

/* The largest ring, a power of two, that leaves enough of a pool; 0: none does. */
static unsigned int ring_that_fits(unsigned int queues, size_t niovs)
{
	unsigned int ring = 1u << 16;

	while (ring &&
	       credit_least(credit_held_by_rings(queues, ring, 0)) > niovs)
		ring /= 2;
	return ring;
}

/* Smaller ones than this lose packets under load. */
#define RING_LEAST 256u

void check_pool(struct doctor *d, const struct devmem_nic_props *nic)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), held, niovs;
	struct doctor_result *r;
	struct devnl_rings rings;
	unsigned int ring;

	if (devnl_rings_get(nic->ifindex, &rings)) {
		doctor_skip(d, "the rings of %s cannot be read", nic->name);
		return;
	}
	held = credit_held_by_rings(d->options.queues, rings.rx, 0);
	niovs = d->options.pool_bytes / page;
	if (niovs >= credit_least(held)) {
		doctor_ok(d, "%zu pages, of which rings hold up to %zu", niovs,
			  held);
		return;
	}
	r = doctor_found(d, REASON_POOL_TOO_SMALL, .nic = nic->name, .n = niovs,
			 .m = d->options.queues, .k = held,
			 .bytes = 2 * held * page);
	/* Nobody has asked for a small pool: it is the rings, then. */
	ring = ring_that_fits(d->options.queues, niovs);
	if (!getenv("NCCL_DEVMEM_POOL_BYTES") && ring >= RING_LEAST)
		doctor_fix(r, "ethtool -G {nic} rx {n}", .nic = nic->name,
			   .n = ring);
}

/* ---- the way to it ---- */

static const struct doctor_gpu *gpu_of_nic(const struct doctor *d,
					   const struct devmem_nic_props *nic)
{
	return &d->gpu[nic - d->nic];
}

static bool not_on_gpu(struct doctor *d)
{
	if (doctor_on_gpu(d))
		return false;
	doctor_skip(d, "the pool is not to be on a GPU (NCCL_DEVMEM_REGION)");
	return true;
}

void check_pcie(struct doctor *d, const struct devmem_nic_props *nic)
{
	const struct doctor_gpu *g = gpu_of_nic(d, nic);
	char bridge[32];

	if (not_on_gpu(d))
		return;
	if (!*nic->pci_path || !*g->pci_path)
		doctor_skip(d, "%s is on no PCI bus",
			    *nic->pci_path ? g->name : nic->name);
	else if (!pci_share_bridge(nic->pci_path, g->pci_path))
		doctor_found(d, REASON_GPU_FAR, .nic = nic->name,
			     .what = g->name);
	else if (pci_redirecting(nic->pci_path, g->pci_path, bridge,
				 sizeof(bridge)) ||
		 pci_redirecting(g->pci_path, nic->pci_path, bridge,
				 sizeof(bridge)))
		doctor_found(d, REASON_ACS_REDIRECT, .nic = nic->name,
			     .what = g->name, .detail = bridge);
	else if (pci_is_translated(nic->pci_path))
		doctor_found(d, REASON_IOMMU_TRANSLATES, .nic = nic->name,
			     .what = g->name);
	else
		doctor_ok(d, "by one switch to %s", g->name);
}

static uint64_t bar1_of(const char *path)
{
	char name[PATH_MAX], text[2048];
	size_t n;
	FILE *f;

	snprintf(name, sizeof(name), "%s/resource", path);
	f = fopen(name, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return pci_region_size(text, MEMORY_BAR);
}

void check_bar1(struct doctor *d, const struct devmem_nic_props *nic)
{
	const struct doctor_gpu *g = gpu_of_nic(d, nic);
	uint64_t size, pools = 0;

	if (not_on_gpu(d))
		return;
	size = *g->pci_path ? bar1_of(g->pci_path) : 0;
	if (!size) {
		doctor_skip(d, "%s does not say", g->name);
		return;
	}
	for (unsigned int i = 0; i < d->nics; i++)
		if (!strcmp(d->gpu[i].pci_path, g->pci_path))
			pools += d->options.pool_bytes;
	if (size < 2 * pools)
		doctor_found(d, REASON_BAR1_SMALL, .what = g->name,
			     .n = size >> 20, .m = pools >> 20);
	else
		doctor_ok(d, "%" PRIu64 " MiB, pools take %" PRIu64, size >> 20,
			  pools >> 20);
}

void check_streams(struct doctor *d, const struct devmem_nic_props *nic)
{
	const char *value = getenv("CUDA_DEVICE_MAX_CONNECTIONS");

	(void)nic;
	if (not_on_gpu(d))
		return;
	if (value && atoi(value) == 1)
		doctor_found(d, REASON_ONE_STREAM_QUEUE);
	else
		doctor_ok(d, "have queues of their own");
}
