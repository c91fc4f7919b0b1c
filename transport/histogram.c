// SPDX-License-Identifier: BSD-3-Clause
/*
 * histogram.c - reading histograms; see histogram.h.
 */
#include "histogram.h"

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += h->bucket[i];
	return n;
}

uint64_t histogram_upto(const struct histogram *h, uint64_t ns)
{
	uint64_t n = 0;

	for (unsigned int i = 0;
	     i < HISTOGRAM_BUCKETS && histogram_bound(i) <= ns; i++)
		n += h->bucket[i];
	return n;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	uint64_t count = histogram_count(h), below = 0, bound;
	double want = percent / 100 * (double)count;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		below += h->bucket[i];
		if (!below || (double)below < want)
			continue;
		bound = histogram_bound(i);
		/* The last one has no bound. */
		if (i == HISTOGRAM_BUCKETS - 1 || bound > h->max)
			return h->max;
		return bound;
	}
	return 0;
}

void histogram_merge(struct histogram *to, const struct histogram *h)
{
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->bucket[i] += h->bucket[i];
	to->sum += h->sum;
	if (h->max > to->max)
		to->max = h->max;
}
