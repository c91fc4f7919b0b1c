/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * histogram.h - how long things took: counts in buckets of fixed bounds, four
 * for each power of two of nanoseconds, so that a percentile is off by a quarter
 * at most. Fixed memory, no lock: one thread adds, others may read meanwhile and
 * see each number as it was at some time.
 */
#ifndef DEVMEM_HISTOGRAM_H
#define DEVMEM_HISTOGRAM_H

#include <stdint.h>

/* Up to 2^40 ns, 18 minutes; what takes longer is in the last bucket. */
#define HISTOGRAM_BITS	  40u
#define HISTOGRAM_BUCKETS (4u * (HISTOGRAM_BITS - 1))

struct histogram {
	uint64_t sum, max; /* ns */
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* The bucket of a time: 0 to 3 ns have their own, then come quarters. */
static inline unsigned int histogram_bucket(uint64_t ns)
{
	unsigned int bit;

	if (ns < 4)
		return (unsigned int)ns;
	bit = 63u - (unsigned int)__builtin_clzll(ns);
	if (bit >= HISTOGRAM_BITS)
		return HISTOGRAM_BUCKETS - 1;
	return 4 * (bit - 1) + (unsigned int)(ns >> (bit - 2) & 3);
}

/* The longest time that belongs to bucket @i. */
static inline uint64_t histogram_bound(unsigned int i)
{
	unsigned int bit = i / 4 + 1;

	if (i < 4)
		return i;
	return ((uint64_t)(4 + i % 4 + 1) << (bit - 2)) - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	uint64_t *at = &h->bucket[histogram_bucket(ns)];

	__atomic_store_n(at, *at + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&h->sum, h->sum + ns, __ATOMIC_RELAXED);
	if (ns > h->max)
		__atomic_store_n(&h->max, ns, __ATOMIC_RELAXED);
}

/* Whatever is in @h: it may come from elsewhere. */

uint64_t histogram_count(const struct histogram *h);
/* Times up to @ns: all of whose buckets end there or before. */
uint64_t histogram_upto(const struct histogram *h, uint64_t ns);
/**
 * histogram_percentile() - the time that @percent of all times do not exceed: the
 * upper bound of its bucket, but not more than the longest. 0 of none.
 */
uint64_t histogram_percentile(const struct histogram *h, double percent);
/* Add what is in @h to @to. */
void histogram_merge(struct histogram *to, const struct histogram *h);

#endif /* DEVMEM_HISTOGRAM_H */
