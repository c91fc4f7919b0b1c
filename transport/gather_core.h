/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gather_core.h - how the lanes of a warp copy one piece, and which pieces are a
 * warp's. C17, C++17 and CUDA device code alike: no lane needs another, so on a CPU
 * a loop over the lanes is the same copy, which is how it is tested without a GPU.
 *
 * Nothing outside [src, src + len) is read and nothing outside [dst, dst + len) is
 * written: what is next to them may be somebody else's, or not mapped.
 *
 * What takes time is waiting for memory, so a lane has 128 bytes on their way before
 * it stores the first of them, and a page is one wait. Units are as wide as the two
 * addresses allow. Payload begins on a page or so, and goes to a multiple of the
 * segment size: of segments of 1448 bytes half go by 16 and half by 8, of 8948 and
 * 1428 by 16, 8 and 4. A warp's units are neighbours, so narrow ones fill whole
 * sectors of memory as wide ones do, and take no more than instructions. Addresses
 * that differ by no multiple of 4 come with messages of odd length; there each word
 * is put together from the two that it lies in.
 */
#ifndef DEVMEM_GATHER_CORE_H
#define DEVMEM_GATHER_CORE_H

#include "gather_work.h"

/*
 * Loads leave L1 out (cg), since every byte is used once, but for the words that are
 * read twice (ca). No more is needed: what the host and the NIC wrote to be gathered,
 * they wrote before the launch, and a launch begins with a clean L1; what they write
 * meanwhile is no byte of this launch. Stores go to L2 (cg), where all others look.
 * All of these say that memory is global, which an address alone does not.
 */
#ifdef __CUDACC__
#define GATHER_FN	     static __device__ __forceinline__
#define GATHER_UNROLL	     _Pragma("unroll")
#define GATHER_LOAD(p)	     __ldcg(p)
#define GATHER_LOAD_TWICE(p) __ldca(p)
#define GATHER_STORE(p, v)   __stcg(p, v)
typedef uint4 gather_u16;
typedef uint2 gather_u8;
typedef unsigned int gather_u4;
#else
#define GATHER_FN static inline
#define GATHER_UNROLL
#ifndef GATHER_LOAD /* by a test that looks on */
#define GATHER_LOAD(p)	   (*(p))
#define GATHER_STORE(p, v) (*(p) = (v))
#endif
#define GATHER_LOAD_TWICE(p) GATHER_LOAD(p)
/* Any object's bytes, hence may_alias. */
typedef struct __attribute__((may_alias, aligned(16))) {
	uint64_t x, y;
} gather_u16;
typedef uint64_t __attribute__((may_alias)) gather_u8;
typedef uint32_t __attribute__((may_alias)) gather_u4;
#endif

/* Bytes of a piece that a warp has on their way at once. */
#define GATHER_PASS 4096
/* Lanes that copy the bytes before the first unit; the others those behind. */
#define GATHER_EDGE 16u

/* How a piece is cut: head bytes, units, tail bytes; at most GATHER_EDGE bytes each. */
struct gather_cut {
	uint32_t head, units, tail;
	uint32_t unit; /* bytes */
	uint32_t
		shift; /* bytes that the source is past a word where units begin */
};

GATHER_FN struct gather_cut gather_cut(uint64_t dst, uint64_t src, uint32_t len)
{
	uint32_t apart = (uint32_t)(src - dst) & 15u, ahead = 0, body;
	struct gather_cut c;

	c.shift = apart & 3u;
	c.unit = !apart ? 16u : !(apart & 7u) ? 8u : 4u;
	c.head = (uint32_t)(0u - dst) & (c.unit - 1u);
	if (c.shift) {
		/* The first word is read from before it, the last to behind. */
		if (c.head < c.shift)
			c.head += 4u;
		ahead = 4u - c.shift;
	}
	if (c.head > len)
		c.head = len;
	body = len - c.head;
	c.units = body > ahead ? (body - ahead) / c.unit : 0u;
	c.tail = body - c.units * c.unit;
	return c;
}

/*
 * A lane's part of @n units, of which neighbours are neighbouring lanes'. Both
 * addresses are multiples of the unit. Units that are not there are zeros in `v`: were
 * they nothing, `v` would hold its registers from one piece to the next.
 */
#define GATHER_UNITS(name, type)                                            \
	GATHER_FN void name(uint64_t dst, uint64_t src, uint32_t n,         \
			    uint32_t lane)                                  \
	{                                                                   \
		enum {                                                      \
			ROW = (int)GATHER_WARP,                             \
			ROWS = GATHER_PASS / ROW / (int)sizeof(type)        \
		};                                                          \
		const type *from = (const type *)(uintptr_t)src + lane;     \
		type *to = (type *)(uintptr_t)dst + lane;                   \
                                                                            \
		for (int left = (int)n - (int)lane; left > 0;               \
		     left -= ROWS * ROW, from += ROWS * ROW,                \
			 to += ROWS * ROW) {                                \
			type v[ROWS] = {};                                  \
                                                                            \
			GATHER_UNROLL                                       \
			for (int i = 0; i < ROWS; i++)                      \
				if (i * ROW < left)                         \
					v[i] = GATHER_LOAD(from + i * ROW); \
			GATHER_UNROLL                                       \
			for (int i = 0; i < ROWS; i++)                      \
				if (i * ROW < left)                         \
					GATHER_STORE(to + i * ROW, v[i]);   \
		}                                                           \
	}

GATHER_UNITS(gather_units16, gather_u16)
GATHER_UNITS(gather_units8, gather_u8)
GATHER_UNITS(gather_units4, gather_u4)

/* A lane's part of @n words, of which each lies in two of the source's. */
GATHER_FN void gather_shifted(uint64_t dst, uint64_t src, uint32_t n,
			      uint32_t shift, uint32_t lane)
{
	enum { ROW = (int)GATHER_WARP, ROWS = GATHER_PASS / ROW / 8 };
	const gather_u4 *from =
		(const gather_u4 *)(uintptr_t)(src - shift) + lane;
	gather_u4 *to = (gather_u4 *)(uintptr_t)dst + lane;
	uint32_t low_bits = 8u * shift, high_bits = 32u - low_bits;

	for (int left = (int)n - (int)lane; left > 0;
	     left -= ROWS * ROW, from += ROWS * ROW, to += ROWS * ROW) {
		gather_u4 low[ROWS] = {}, high[ROWS] = {};

		GATHER_UNROLL
		for (int i = 0; i < ROWS; i++)
			if (i * ROW < left) {
				low[i] = GATHER_LOAD_TWICE(from + i * ROW);
				high[i] = GATHER_LOAD_TWICE(from + i * ROW + 1);
			}
		GATHER_UNROLL
		for (int i = 0; i < ROWS; i++)
			if (i * ROW < left)
				GATHER_STORE(to + i * ROW,
					     low[i] >> low_bits |
						     high[i] << high_bits);
	}
}

/**
 * gather_piece() - what lane @lane of a warp does of one piece; it is copied when all
 * lanes have. @len: up to GATHER_PIECE_MAX is meant, more works.
 */
GATHER_FN void gather_piece(uint64_t dst, uint64_t src, uint32_t len,
			    uint32_t lane)
{
	struct gather_cut c = gather_cut(dst, src, len);
	uint32_t edge =
		lane < GATHER_EDGE ? lane : len - c.tail + (lane - GATHER_EDGE);
	int mine = lane < GATHER_EDGE ? lane < c.head :
					lane - GATHER_EDGE < c.tail;
	uint8_t byte = 0;

	/* On its way together with the units. */
	if (mine)
		byte = GATHER_LOAD((const uint8_t *)(uintptr_t)(src + edge));
	dst += c.head;
	src += c.head;
	if (c.unit == 16u)
		gather_units16(dst, src, c.units, lane);
	else if (c.unit == 8u)
		gather_units8(dst, src, c.units, lane);
	else if (!c.shift)
		gather_units4(dst, src, c.units, lane);
	else
		gather_shifted(dst, src, c.units, c.shift, lane);
	if (mine)
		GATHER_STORE((uint8_t *)(uintptr_t)(dst - c.head + edge), byte);
}

/*
 * Which pieces are a warp's: [first of it, first of the next). Neighbours, so that
 * their descriptors are read together, and as many as any other warp has, or one more.
 */
GATHER_FN uint32_t gather_first(uint32_t count, uint32_t warps, uint32_t warp)
{
	uint32_t each = count / warps, more = count % warps;

	return warp * each + (warp < more ? warp : more);
}

/* Descriptors that a warp reads at a time: 16 bytes by each lane, in one request. */
#define GATHER_BATCH (GATHER_WARP / 2u)

#endif /* DEVMEM_GATHER_CORE_H */
