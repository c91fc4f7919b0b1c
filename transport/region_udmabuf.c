// SPDX-License-Identifier: BSD-3-Clause
/*
 * region_udmabuf.c - host memory as a dma-buf, by /dev/udmabuf: a stand-in for a
 * GPU's memory on machines that have none.
 * Kernel side: drivers/dma-buf/udmabuf.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reason.h"
#include "region.h"

static unsigned long size_limit_mb(void)
{
	FILE *f = fopen("/sys/module/udmabuf/parameters/size_limit_mb", "re");
	unsigned long mb = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &mb) != 1)
		mb = 0;
	fclose(f);
	return mb;
}

/* The kernel has it, and somebody has left out the node. */
static bool device_numbers(unsigned int *major, unsigned int *minor)
{
	FILE *f = fopen("/sys/class/misc/udmabuf/dev", "re");
	bool read;

	if (!f)
		return false;
	read = fscanf(f, "%u:%u", major, minor) == 2;
	fclose(f);
	return read;
}

static int open_failed(struct why *w)
{
	unsigned int major, minor;
	int err = errno;

	if (err != ENOENT)
		return reason(w, -err, REASON_UDMABUF_DENIED,
			      .detail = strerror(err));
	if (device_numbers(&major, &minor))
		return reason(w, -ENODEV, REASON_NO_UDMABUF_NODE, .n = major,
			      .m = minor);
	return reason(w, -ENODEV, REASON_NO_UDMABUF);
}

static int create_failed(struct region *r, int err, struct why *w)
{
	unsigned long mb = size_limit_mb();

	if (err == EINVAL && mb && r->bytes > (mb << 20))
		return reason(w, -EINVAL, REASON_UDMABUF_LIMIT, .n = r->bytes,
			      .m = mb, .k = (r->bytes + (1u << 20) - 1) >> 20);
	return why(w, -err, "udmabuf cannot export %zu bytes: %s", r->bytes,
		   strerror(err));
}

static int udmabuf_alloc(struct region *r, struct why *w)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC };
	int dev, mem, rc = 0;
	void *map;

	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return open_failed(w);
	mem = memfd_create("devmem-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem < 0) {
		rc = why(w, -errno, "memfd_create: %s", strerror(errno));
		goto out_dev;
	}
	/* udmabuf wants a promise that the pages stay. */
	if (ftruncate(mem, (off_t)r->bytes) ||
	    fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK)) {
		rc = why(w, -errno, "memory for a pool of %zu bytes: %s",
			 r->bytes, strerror(errno));
		goto out_mem;
	}
	create.memfd = (uint32_t)mem;
	create.size = r->bytes;
	r->dmabuf_fd = ioctl(dev, UDMABUF_CREATE, &create);
	if (r->dmabuf_fd < 0) {
		rc = create_failed(r, errno, w);
		goto out_mem;
	}
	map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	if (map == MAP_FAILED) {
		rc = why(w, -errno, "mapping a pool of %zu bytes: %s", r->bytes,
			 strerror(errno));
		close(r->dmabuf_fd);
		r->dmabuf_fd = -1;
	} else {
		r->map = map;
	}
	/* Mapping and dma-buf keep the pages: the memfd is not needed. */
out_mem:
	close(mem);
out_dev:
	close(dev);
	return rc;
}

static void udmabuf_free(struct region *r)
{
	if (r->map)
		munmap(r->map, r->bytes);
	if (r->dmabuf_fd >= 0)
		close(r->dmabuf_fd);
	r->map = NULL;
	r->dmabuf_fd = -1;
}

const struct region_ops region_udmabuf = {
	.name = "udmabuf",
	.alloc = udmabuf_alloc,
	.free = udmabuf_free,
};
