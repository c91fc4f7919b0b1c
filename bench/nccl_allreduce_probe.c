// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_probe.c - what a machine offers: its GPUs, the attributes that
 * decide whether a NIC may reach their memory, and whether the driver hands that
 * memory out as dma-bufs, or why not. Changes nothing.
 */
#include <string.h>
#include <unistd.h>

#include "nccl_allreduce.h"

#define PROBE_BYTES ((size_t)2 << 20)

static const struct {
	const char *name;
	int attribute;
} attributes[] = {
	{ "compute capability, major", CUDA_ATTR_COMPUTE_CAPABILITY_MAJOR },
	{ "compute capability, minor", CUDA_ATTR_COMPUTE_CAPABILITY_MINOR },
	{ "multiprocessors", CUDA_ATTR_MULTIPROCESSOR_COUNT },
	{ "virtual memory management", CUDA_ATTR_VMM_SUPPORTED },
	{ "GPUDirect RDMA", CUDA_ATTR_RDMA_SUPPORTED },
	{ "GPUDirect RDMA with virtual memory management",
	  CUDA_ATTR_RDMA_WITH_VMM_SUPPORTED },
	{ "GPUDirect RDMA flush options (1: host, 2: memory operations)",
	  CUDA_ATTR_RDMA_FLUSH_OPTIONS },
	{ "GPUDirect RDMA writes ordering (0: none, 100: owner, 200: all)",
	  CUDA_ATTR_RDMA_WRITES_ORDERING },
	{ "dma-buf", CUDA_ATTR_DMA_BUF_SUPPORTED },
};

/* Asks for a dma-buf of the memory, and looks whether that is one. */
static void try_export(const struct libs *l, const char *what, uint64_t ptr,
		       unsigned long long flags)
{
	char path[64], target[128] = "";
	int fd = -1, rc;
	off_t size;
	ssize_t n;

	printf("  dma-buf of %s%s: ", what,
	       flags ? ", for PCIe (12.8 and later)" : "");
	if (!l->cu.range_handle) {
		printf("no, the driver has no cuMemGetHandleForAddressRange\n");
		return;
	}
	rc = l->cu.range_handle(&fd, ptr, PROBE_BYTES, CUDA_RANGE_DMA_BUF_FD,
				flags);
	if (rc) {
		printf("no, %s\n", cuda_error(l, rc));
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	size = lseek(fd, 0, SEEK_END);
	printf("yes, %s, %lld bytes\n", target[0] ? target : "a descriptor",
	       (long long)size);
	close(fd);
}

static void try_plain(const struct libs *l)
{
	uint64_t ptr;
	int rc = l->cu.mem_alloc(&ptr, PROBE_BYTES);

	if (rc) {
		printf("  cuMemAlloc: %s\n", cuda_error(l, rc));
		return;
	}
	try_export(l, "memory of cuMemAlloc", ptr, 0);
	try_export(l, "memory of cuMemAlloc", ptr, CUDA_RANGE_DMA_BUF_PCIE);
	l->cu.mem_free(ptr);
}

/* Memory as a pool would be made of: mapped by hand, and marked for RDMA. */
static void try_mapped(const struct libs *l, int ordinal)
{
	struct cuda_alloc_prop prop = {
		.type = CUDA_ALLOC_PINNED,
		.location = { CUDA_LOCATION_DEVICE, ordinal },
		.rdma_capable = 1,
	};
	struct cuda_access access = { { CUDA_LOCATION_DEVICE, ordinal },
				      CUDA_ACCESS_READ_WRITE };
	unsigned long long handle = 0;
	size_t unit = 0, bytes;
	uint64_t ptr = 0;
	int rc;

	rc = l->cu.granularity(&unit, &prop, CUDA_GRANULARITY_RECOMMENDED);
	if (rc || !unit) {
		printf("  granularity of RDMA-capable memory: %s\n",
		       cuda_error(l, rc));
		return;
	}
	bytes = (PROBE_BYTES + unit - 1) / unit * unit;
	rc = l->cu.mem_create(&handle, bytes, &prop, 0);
	if (rc) {
		printf("  RDMA-capable memory: %s\n", cuda_error(l, rc));
		return;
	}
	rc = l->cu.address_reserve(&ptr, bytes, 0, 0, 0);
	if (!rc) {
		rc = l->cu.mem_map(ptr, bytes, 0, handle, 0);
		if (!rc) {
			rc = l->cu.set_access(ptr, bytes, &access, 1);
			if (!rc) {
				try_export(l, "RDMA-capable mapped memory", ptr,
					   0);
				try_export(l, "RDMA-capable mapped memory", ptr,
					   CUDA_RANGE_DMA_BUF_PCIE);
			}
			l->cu.mem_unmap(ptr, bytes);
		}
		l->cu.address_free(ptr, bytes);
	}
	if (rc)
		printf("  mapping RDMA-capable memory: %s\n",
		       cuda_error(l, rc));
	l->cu.mem_release(handle);
}

static void probe_device(const struct libs *l, int ordinal)
{
	char name[96] = "?", pci[32] = "?";
	int dev, value, rc;
	void *ctx;
	size_t i;

	rc = l->cu.device_get(&dev, ordinal);
	if (rc) {
		printf("GPU %d: %s\n", ordinal, cuda_error(l, rc));
		return;
	}
	l->cu.device_name(name, sizeof(name), dev);
	l->cu.device_pci_id(pci, sizeof(pci), dev);
	printf("GPU %d: %s [%s]\n", ordinal, name, pci);
	for (i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		rc = l->cu.device_attribute(&value, attributes[i].attribute,
					    dev);
		if (rc)
			printf("  %s: %s\n", attributes[i].name,
			       cuda_error(l, rc));
		else
			printf("  %s: %d\n", attributes[i].name, value);
	}
	rc = l->cu.primary_retain(&ctx, dev);
	if (rc) {
		printf("  a context: %s\n", cuda_error(l, rc));
		return;
	}
	l->cu.ctx_push(ctx);
	try_plain(l);
	try_mapped(l, ordinal);
	l->cu.ctx_pop(&ctx);
	l->cu.primary_release(dev);
}

int job_probe(const struct job *j)
{
	static struct libs l;
	int devices, version = 0, i;
	char why[512];
	bool nccl;

	nccl = nccl_load(&l, j->nccl, why, sizeof(why));
	if (nccl)
		l.nccl.get_version(&version);
	printf("NCCL: ");
	if (nccl)
		printf("%d.%d.%d\n", version / 10000, version / 100 % 100,
		       version % 100);
	else
		printf("none (%s)\n", why);
	if (!cuda_load(&l, &devices, why, sizeof(why))) {
		printf("CUDA driver: none that works (%s)\n", why);
		return EXIT_SKIP;
	}
	l.cu.driver_version(&version);
	printf("CUDA driver: %d.%d, %s graphs\n", version / 1000,
	       version % 1000 / 10, l.missing_graph[0] ? "no" : "captures");
	for (i = 0; i < devices; i++)
		probe_device(&l, i);
	return EXIT_OK;
}
