/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gpu_gather.h - what the files of devmem-gpu-gather share: options, the GPU under
 * test, and rows of results. Unlike the rest of bench it measures a part of the
 * transport, by its own headers.
 */
#ifndef GPU_GATHER_H
#define GPU_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda.h"
#include "gather_image.h"
#include "say.h"
#include "stats.h"

#define MAX_ROUNDS     100
#define MAX_ROWS       32
#define SMALLEST_PIECE 1448u
#define PAGE	       4096u /* where pieces begin in the pool, as behind a NIC */
#define GUARD	       PAGE /* before and behind the target */
#define STAGE_BYTES    ((size_t)4 << 20)
#define FILLER	       0xee

enum { EXIT_OK = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_SKIP = 77 };

struct options {
	int device, rounds;
	unsigned int blocks; /* 0: as the library launches it */
	size_t max_bytes;
	const char *json;
	char command[4096];
};

struct gpu {
	const struct cuda *cuda;
	int dev;
	char name[96];
	int multiprocessors, major, minor, driver;
	bool fake; /* a stand-in for tests: figures mean nothing */
	void *ctx, *module, *function, *stream;
	/* Device memory. */
	uint64_t pool, target, arrived;
	size_t pool_bytes, target_bytes;
	/* Host memory that the GPU sees. */
	struct gather_work *work;
	uint8_t *stage;
	uint64_t *done;
	/* Where in the pool the pieces of the list are, in its order. */
	uint64_t *place;
	uint64_t ticket;
};

/* One figure for each round; sorted by the report. */
struct figures {
	double v[MAX_ROUNDS];
};

struct row {
	bool latency;
	size_t bytes, piece;
	unsigned int blocks;
	int turns;		     /* launches, or copies, of a round */
	struct figures copy, gather; /* GB/s; us in rows of latency */
	struct figures ratio;	     /* gather by copy of one round */
	uint64_t wrong;		     /* bytes */
};

/* gpu_gather_device.c. All return an exit status, and have complained. */
int device_find(struct gpu *g, const struct options *o);
int device_open(struct gpu *g, size_t max_bytes);
void device_close(struct gpu *g);
int device_failed(int cuda_error, const char *what);
/* By the stream, and waits for it. */
int device_copy(struct gpu *g, uint64_t dst, uint64_t src, size_t bytes);
int device_fill(struct gpu *g, uint64_t at, size_t bytes, bool filler);
/* The pool's bytes from @offset on, which is a multiple of 8. */
void pool_fill(uint8_t *at, uint64_t offset, size_t bytes);

/* gpu_gather_report.c. *rows are sorted there. */
void report_header(const struct options *o, const struct gpu *g);
void report_columns(bool latency);
void report_row(struct row *row, int rounds);
int report_json(const struct options *o, const struct gpu *g, struct row *rows,
		int count, int code);

#endif /* GPU_GATHER_H */
