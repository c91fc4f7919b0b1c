/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - buffers that a plugin sends from and receives into, and the data
 * in them. A udmabuf stands in for GPU memory: it is a dma-buf, and the CPU
 * that stands in for the GPU has it mapped. Of GPU memory itself the CPU makes
 * and reads the data in host memory of the same size, and copies it.
 *
 * No DMA_BUF_IOCTL_SYNC around CPU access: a udmabuf is page cache memory, and
 * the machines that this runs on are cache-coherent for DMA. The dma-buf's
 * descriptor is closed after registration, as NCCL does, so there would be
 * nothing left to issue it on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "cuda_memory.h"

const char *memory_name(enum memory kind)
{
	static const char *const names[] = { "auto", "host", "udmabuf",
					     "cuda" };

	return names[kind];
}

static size_t page_round(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

/* A dma-buf over the first `size` bytes of `memfd`, or -errno. */
static int udmabuf_create(int memfd, size_t size)
{
	struct udmabuf_create c = { .memfd = memfd,
				    .flags = UDMABUF_FLAGS_CLOEXEC,
				    .size = size };
	int dev, fd;

	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -errno;
	fd = ioctl(dev, UDMABUF_CREATE, &c);
	if (fd < 0)
		fd = -errno;
	close(dev);
	return fd;
}

static int udmabuf_alloc(struct buffer *b)
{
	int memfd, rc;

	memfd = memfd_create("devmem-bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0)
		return -errno;
	rc = -EINVAL;
	/* udmabuf wants a file that cannot shrink under it. */
	if (ftruncate(memfd, b->size) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		goto err_errno;
	b->base = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, memfd, 0);
	if (b->base == MAP_FAILED)
		goto err_errno;
	rc = udmabuf_create(memfd, b->size);
	if (rc < 0) {
		munmap(b->base, b->size);
		b->base = NULL;
		goto err_close;
	}
	b->fd = rc;
	close(memfd);
	return 0;
err_errno:
	rc = -errno;
	b->base = NULL;
err_close:
	close(memfd);
	return rc;
}

static int host_alloc(struct buffer *b)
{
	b->base = mmap(NULL, b->size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (b->base != MAP_FAILED)
		return 0;
	b->base = NULL;
	return -errno;
}

/* A CUresult. */
static int cuda_alloc(struct buffer *b)
{
	int rc = gpu_alloc(&b->gpu, b->size);

	if (rc)
		return rc;
	rc = gpu_host_alloc(&b->cpu, b->size);
	if (rc) {
		gpu_free(&b->gpu);
		b->cpu = NULL;
		return rc;
	}
	/* As new pages of the host are: nothing of others, and the same twice. */
	memset(b->cpu, 0, b->size);
	b->base = (void *)b->gpu.at;
	return buffer_write(b, 0, b->size);
}

bool buffer_alloc(struct buffer *b, enum memory kind, size_t size, char *why,
		  size_t why_size)
{
	int rc;

	*b = (struct buffer){ .fd = -1, .size = page_round(size) };
	if (kind == MEM_CUDA) {
		rc = cuda_alloc(b);
		if (rc)
			snprintf(why, why_size, "%s", gpu_text(rc));
		return !rc;
	}
	rc = kind == MEM_UDMABUF ? udmabuf_alloc(b) : host_alloc(b);
	if (rc)
		snprintf(why, why_size, "%s%s", strerror(-rc),
			 kind == MEM_UDMABUF ?
				 "; see size_limit_mb of the module udmabuf" :
				 "");
	b->cpu = b->base;
	return !rc;
}

void buffer_free(struct buffer *b)
{
	if (b->gpu.at) {
		gpu_host_free(b->cpu);
		gpu_free(&b->gpu);
	} else if (b->base) {
		munmap(b->base, b->size);
	}
	if (b->fd >= 0)
		close(b->fd);
	b->base = b->cpu = NULL;
	b->fd = -1;
}

int buffer_read(const struct buffer *b, size_t at, size_t n)
{
	if (!b->gpu.at)
		return 0;
	return gpu_read((char *)b->cpu + at, b->gpu.at + at, n);
}

int buffer_write(const struct buffer *b, size_t at, size_t n)
{
	if (!b->gpu.at)
		return 0;
	return gpu_write(b->gpu.at + at, (char *)b->cpu + at, n);
}

/* Tries one page; false with the reason. */
bool udmabuf_works(char *why, size_t size)
{
	struct buffer b = { .size = page_round(1) };
	int rc = udmabuf_alloc(&b);

	if (rc) {
		snprintf(why, size,
			 "/dev/udmabuf: %s; the kernel needs "
			 "CONFIG_UDMABUF and this user access to the device",
			 strerror(-rc));
		return false;
	}
	buffer_free(&b);
	return true;
}

static inline uint32_t mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352du;
	x ^= x >> 15;
	x *= 0x846ca68bu;
	return x ^ x >> 16;
}

/* Bits of a value such that the sum over all ranks is exact in a float. */
static int value_shift(int ranks)
{
	int bits = 24;

	while (ranks > 1 << (24 - bits))
		bits--;
	return 32 - bits;
}

static inline uint32_t value(uint32_t i, uint32_t rank, uint32_t iter)
{
	return mix(i * 0x9e3779b1u + rank * 0x85ebca77u + iter * 0xc2b2ae3du);
}

/*
 * Input `i` of a rank: a whole number below 2^24 / ranks that depends on the
 * index, the rank and the iteration, so that a byte from another place or an
 * earlier iteration shows.
 */
void fill_floats(float *v, size_t n, int rank, int ranks, uint32_t iter)
{
	int shift = value_shift(ranks);
	size_t i;

	for (i = 0; i < n; i++)
		v[i] = (float)(int)(value(i, rank, iter) >> shift);
}

/*
 * How many of `n` results differ from the sum of the inputs from `at` on of the
 * ranks from `from` to below `to`.
 */
uint64_t wrong_floats(const float *v, size_t n, size_t at, int from, int to,
		      int ranks, uint32_t iter)
{
	int shift = value_shift(ranks), rank;
	uint64_t wrong = 0;
	uint32_t sum;
	size_t i;

	for (i = 0; i < n; i++) {
		sum = 0;
		for (rank = from; rank < to; rank++)
			sum += value(at + i, rank, iter) >> shift;
		wrong += v[i] != (float)(int)sum;
	}
	return wrong;
}

static inline uint64_t word(uint64_t i, uint64_t seed)
{
	uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull ^
		     (seed + 1) * 0xbf58476d1ce4e5b9ull;

	x ^= x >> 29;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 32;
}

/* Bytes of a message: they depend on the offset and on `seed`. */
void fill_bytes(void *data, size_t n, uint64_t seed)
{
	uint64_t w;
	size_t i;

	for (i = 0; i < n; i += sizeof(w)) {
		w = word(i, seed);
		memcpy((char *)data + i, &w, n - i < sizeof(w) ? n - i : 8);
	}
}

/* How many of `n` bytes are not what fill_bytes wrote. */
uint64_t wrong_bytes(const void *data, size_t n, uint64_t seed)
{
	const char *p = data;
	uint64_t wrong = 0, w;
	char want[8];
	size_t i, j, len;

	for (i = 0; i < n; i += sizeof(w)) {
		len = n - i < sizeof(w) ? n - i : sizeof(w);
		w = word(i, seed);
		memcpy(want, &w, sizeof(w));
		if (!memcmp(p + i, want, len))
			continue;
		for (j = 0; j < len; j++)
			wrong += p[i + j] != want[j];
	}
	return wrong;
}
