// SPDX-License-Identifier: BSD-3-Clause
/*
 * region.c - what providers share, and the CPU's view of foreign dma-bufs.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reason.h"
#include "region.h"

/*
 * Pinning more than is free invites the OOM killer, which picks its victim
 * freely; so ask first. 0 if the kernel does not say.
 */
static uint64_t memory_available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	uint64_t kib = 0;
	char line[128];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

int region_alloc(struct region *r, const struct region_ops *ops, struct why *w)
{
	uint64_t available = ops->on_gpu ? 0 : memory_available();

	if (available && r->bytes > available)
		return reason(w, -ENOMEM, REASON_POOL_OVER_MEMORY,
			      .n = r->bytes, .m = available);
	r->ops = ops;
	r->dmabuf_fd = -1;
	return ops->alloc(r, w);
}

void region_free(struct region *r)
{
	if (r->ops)
		r->ops->free(r);
	r->ops = NULL;
}

static int host_alloc(struct region *r, struct why *w)
{
	void *map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return why(w, -errno, "memory for a pool of %zu bytes: %s",
			   r->bytes, strerror(errno));
	r->map = map;
	return 0;
}

static void host_free(struct region *r)
{
	if (r->map)
		munmap(r->map, r->bytes);
	r->map = NULL;
}

const struct region_ops region_host = {
	.name = "host",
	.alloc = host_alloc,
	.free = host_free,
};

int region_check_dmabuf(int fd, uint64_t offset, size_t size, uint64_t *end)
{
	/* A dma-buf answers SEEK_END with its size; nothing else is one. */
	off_t bytes = lseek(fd, 0, SEEK_END);

	if (bytes < 0)
		return errno == EBADF ? -EBADF : -EOPNOTSUPP;
	*end = (uint64_t)bytes;
	return offset > *end || size > *end - offset ? -EINVAL : 0;
}

int region_map_dmabuf(int fd, uint64_t offset, size_t size, void **map,
		      size_t *map_bytes, void **addr)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t start = offset / page * page, end;
	int rc;

	if (!size || offset + size < offset)
		return -EINVAL;
	rc = region_check_dmabuf(fd, offset, size, &end);
	if (rc)
		return rc;

	*map_bytes = (size_t)(offset + size - start);
	*map = mmap(NULL, *map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    (off_t)start);
	if (*map == MAP_FAILED)
		return errno == ENOMEM ? -ENOMEM : -EOPNOTSUPP;
	*addr = (uint8_t *)*map + (offset - start);
	return 0;
}
