// SPDX-License-Identifier: BSD-3-Clause
/* kt_mem.c - dma-bufs of user memory, and the pattern that is sent. */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kt.h"

void region_make(struct region *r, size_t size)
{
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int mem = memfd_create("kt", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	struct udmabuf_create create = { .memfd = (unsigned int)mem,
					 .flags = UDMABUF_FLAGS_CLOEXEC,
					 .size = size };

	if (dev < 0)
		skip("/dev/udmabuf: %s", strerror(errno));
	expect(mem >= 0, "memfd_create: %s", strerror(errno));
	expect(!ftruncate(mem, (off_t)size), "ftruncate: %s", strerror(errno));
	expect(!fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK), "seal: %s",
	       strerror(errno));
	r->fd = ioctl(dev, UDMABUF_CREATE, &create);
	expect(r->fd >= 0, "UDMABUF_CREATE of %zu bytes: %s", size,
	       strerror(errno));
	r->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	expect(r->mem != MAP_FAILED, "mmap of a dma-buf: %s", strerror(errno));
	r->size = size;
	close(mem);
	close(dev);
}

void region_close(struct region *r)
{
	munmap(r->mem, r->size);
	close(r->fd);
	r->fd = -1;
}

void region_sync(const struct region *r, bool begin)
{
	struct dma_buf_sync sync = {
		.flags = DMA_BUF_SYNC_RW |
			 (begin ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END),
	};

	expect(!ioctl(r->fd, DMA_BUF_IOCTL_SYNC, &sync),
	       "DMA_BUF_IOCTL_SYNC: %s", strerror(errno));
}

static uint64_t word(uint64_t n, uint64_t seed)
{
	uint64_t x = (n + 1 + (seed << 48)) * 0x9e3779b97f4a7c15u;

	return x ^ x >> 29;
}

static unsigned char byte(uint64_t pos, uint64_t seed)
{
	return (unsigned char)(word(pos / 8, seed) >> 8 * (pos % 8));
}

void pattern_fill(void *to, uint64_t pos, size_t len, uint64_t seed)
{
	unsigned char *p = to;
	uint64_t w;

	for (; len && pos % 8; len--)
		*p++ = byte(pos++, seed);
	for (; len >= 8; len -= 8, pos += 8, p += 8) {
		w = word(pos / 8, seed);	/* little-endian hosts only */
		memcpy(p, &w, 8);
	}
	for (; len; len--)
		*p++ = byte(pos++, seed);
}

size_t pattern_match(const void *at, uint64_t pos, size_t len, uint64_t seed)
{
	const unsigned char *p = at;
	size_t n = 0;
	uint64_t w;

	for (; n < len && (pos + n) % 8; n++)
		if (p[n] != byte(pos + n, seed))
			return n;
	for (; len - n >= 8; n += 8) {
		memcpy(&w, p + n, 8);
		if (w != word((pos + n) / 8, seed))
			break;
	}
	for (; n < len; n++)
		if (p[n] != byte(pos + n, seed))
			return n;
	return n;
}
