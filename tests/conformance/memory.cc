// SPDX-License-Identifier: BSD-3-Clause
/* memory.cc - see memory.h. Knows nothing of plugins or processes. */
#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda_memory.h"

memory::Kind memory::kind = memory::Kind::host;
int memory::gpu = 0;

namespace {

constexpr size_t total_size = size_t{4} << 30;
constexpr size_t page = 4096;
constexpr uint8_t zone_byte = 0x5a;

struct LogRing {
	static constexpr unsigned capacity = 512;
	std::atomic<unsigned> count;
	struct {
		std::atomic<bool> written;
		int level;
		char text[496];
	} line[capacity];
};

int memory_fd = -1;
uint8_t *base;
std::atomic<size_t> used;
LogRing *ring;

size_t round_up(size_t value, size_t to)
{
	return (value + to - 1) / to * to;
}

/* splitmix64: word `index` of the stream that `seed` names. */
uint64_t word_of(uint64_t seed, uint64_t index)
{
	uint64_t z = (seed + index) * 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

} // namespace

std::string memory::open_gpu()
{
	char why[256];

	struct gpu_memory memory;

	if (kind != Kind::cuda)
		return "";
	if (!gpu_open(gpu, why, sizeof(why)))
		return why;
	/* What the driver has for its first use is nobody's leftover. */
	int error = gpu_alloc(&memory, page);
	if (!error)
		error = gpu_write(memory.at, why, 1);
	if (!error)
		error = gpu_free(&memory);
	return error ? gpu_text(error) : "";
}

void memory::close_gpu()
{
	gpu_close();
}

bool memory::create()
{
	memory_fd = memfd_create("conformance",
				 MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory_fd < 0 || ftruncate(memory_fd, total_size) ||
	    fcntl(memory_fd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		perror("memfd of 4 GiB (sparse)");
		return false;
	}
	void *map = mmap(nullptr, total_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE, memory_fd, 0);
	if (map == MAP_FAILED) {
		perror("mmap of 4 GiB (sparse)");
		return false;
	}
	base = static_cast<uint8_t *>(map);
	ring = reinterpret_cast<LogRing *>(base);
	reset();
	return true;
}

void memory::reset()
{
	if (madvise(base, total_size, MADV_REMOVE))
		perror("madvise(MADV_REMOVE) of the test memory");
	used = round_up(sizeof(LogRing), page);
}

uint8_t *memory::allocate(size_t size, size_t align)
{
	size_t room = round_up(size + align, page);
	size_t at = used.fetch_add(room);

	if (at + room > total_size) {
		fprintf(stderr, "conformance: a test asked for %zu bytes "
			"and %zu of %zu are in use\n", size, at, total_size);
		_exit(1);
	}
	return base + round_up(at, align);
}

int memory::fd()
{
	return memory_fd;
}

size_t memory::offset_of(const void *pointer)
{
	return static_cast<const uint8_t *>(pointer) - base;
}

size_t memory::available()
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long kib = 0;

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %lu kB", &kib) == 1)
			break;
	fclose(file);
	return size_t{kib} * 1024;
}

Buffer::Buffer(size_t size, size_t misalign)
	: zone_(memory::allocate(size + misalign + 3 * page, page)),
	  data_(zone_ + page + misalign), size_(size)
{
	memset(zone_, zone_byte, page + misalign);
	clear();
	memset(data_ + size_, zone_byte, page);
}

void Buffer::fill(uint64_t seed) const
{
	size_t words = size_ / 8;

	for (size_t i = 0; i < words; i++) {
		uint64_t word = word_of(seed, i);
		memcpy(data_ + 8 * i, &word, 8);
	}
	uint64_t last = word_of(seed, words);
	memcpy(data_ + 8 * words, &last, size_ % 8);
}

void Buffer::clear() const
{
	memset(data_, zone_byte, size_);
}

bool Buffer::holds(uint64_t seed, size_t size) const
{
	size_t words = size / 8;

	for (size_t i = 0; i < words; i++) {
		uint64_t word = word_of(seed, i);
		if (memcmp(data_ + 8 * i, &word, 8))
			return false;
	}
	uint64_t last = word_of(seed, words);
	return !memcmp(data_ + 8 * words, &last, size % 8);
}

bool Buffer::untouched_from(size_t first) const
{
	auto is_zone = [](uint8_t byte) { return byte == zone_byte; };

	return std::all_of(zone_, data_, is_zone) &&
	       std::all_of(data_ + first, data_ + size_ + page, is_zone);
}

/* What it sees of a thread's writes is good enough, whichever it is. */
__attribute__((no_sanitize("thread"))) bool Buffer::begun() const
{
	for (size_t i = 0; i < size_ && i < page; i++)
		if (data_[i] != zone_byte)
			return true;
	return false;
}

void plugin_log::reset()
{
	memset(static_cast<void *>(ring), 0, sizeof(*ring));
}

void plugin_log::callback(ncclDebugLogLevel level, unsigned long, const char *,
			  int, const char *fmt, ...)
{
	unsigned at = ring->count.fetch_add(1);
	va_list args;

	if (at >= LogRing::capacity)
		return;
	va_start(args, fmt);
	vsnprintf(ring->line[at].text, sizeof(ring->line[at].text), fmt, args);
	va_end(args);
	ring->line[at].level = level;
	ring->line[at].written = true;
}

std::vector<plugin_log::Line> plugin_log::lines()
{
	std::vector<Line> result;
	unsigned count = std::min<unsigned>(ring->count, LogRing::capacity);

	for (unsigned i = 0; i < count; i++)
		if (ring->line[i].written)
			result.push_back({static_cast<ncclDebugLogLevel>(
						  ring->line[i].level),
					  ring->line[i].text});
	return result;
}

std::vector<std::string> plugin_log::containing(const std::string &part)
{
	std::vector<std::string> result;

	for (const Line &line : lines())
		if (line.text.find(part) != std::string::npos)
			result.push_back(line.text);
	return result;
}

std::string plugin_log::all()
{
	std::string result;

	for (const Line &line : lines())
		result += line.text + "\n";
	return result;
}
