// SPDX-License-Identifier: BSD-3-Clause
/*
 * memory.h - memory that every process of a test run sees at one address.
 *
 * It is one memfd, mapped before the first fork, so a data pointer means the
 * same in the process that holds the sender and in the one that holds the
 * receiver, and any page range of it can be turned into a dma-buf (udmabuf).
 * The log that the plugin writes through NCCL's logger lies in it too.
 *
 * With GPU memory (--memory cuda) contents are made and checked here all the same;
 * proxy.h copies them to and from the GPU.
 */
#ifndef CONFORMANCE_MEMORY_H
#define CONFORMANCE_MEMORY_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "nccl_net_abi.h"

namespace memory {

/* What the plugin is given as buffers: this memory, or the GPU's behind it. */
enum class Kind { host, cuda };
extern Kind kind;
extern int gpu; /* its number, as CUDA counts them */

/* Takes the GPU, if it is to be its memory; "" or why there is none. */
std::string open_gpu();
void close_gpu();

/* Maps the memory; call once, in main, before anything forks. */
bool create();

/* Gives back all that was allocated, and the pages. No buffer may be left. */
void reset();

/* Never null: a test that asks for more than there is ends the program. */
uint8_t *allocate(size_t size, size_t align);

int fd();
size_t offset_of(const void *pointer);

/* Bytes that a test may use without making a small guest swap or die. */
size_t available();

} // namespace memory

/*
 * `size` bytes between two red zones. `misalign` shifts the first byte off
 * its 4096-byte boundary. The contents are a function of a seed.
 */
class Buffer {
public:
	explicit Buffer(size_t size, size_t misalign = 0);

	uint8_t *data() const { return data_; }
	size_t size() const { return size_; }

	void fill(uint64_t seed) const;
	void clear() const;
	/* The first `size` bytes are what fill(seed) writes. */
	bool holds(uint64_t seed, size_t size) const;
	/* Nothing was written outside the buffer, nor from `used` on. */
	bool untouched_from(size_t used) const;
	/* Its first page has changed since clear(); a plugin may be at it. */
	bool begun() const;

private:
	uint8_t *zone_;
	uint8_t *data_;
	size_t size_;
};

/* What the plugin said through NCCL's logger, in all processes of the test. */
namespace plugin_log {

struct Line {
	ncclDebugLogLevel level;
	std::string text;
};

void reset();
void callback(ncclDebugLogLevel level, unsigned long flags, const char *file,
	      int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
std::vector<Line> lines();
std::vector<std::string> containing(const std::string &part);
std::string all();

} // namespace plugin_log

#endif
