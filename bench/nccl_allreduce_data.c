// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_data.c - the elements that are sent, and those that have to
 * arrive: small integers, whose sums every type here holds exactly. Host memory
 * only; knows nothing of CUDA or NCCL.
 */
#include <string.h>

#include "nccl_allreduce.h"

/*
 * `exact`: up to there every integer has a representation. Values are 0 to 15, or
 * fewer where the sum of so many ranks would not be exact.
 */
static const struct dtype types[] = {
	{ "float", NCCL_TYPE_FLOAT, 4, 1 << 24 },
	{ "half", NCCL_TYPE_HALF, 2, 1 << 11 },
	{ "bfloat16", NCCL_TYPE_BFLOAT16, 2, 1 << 8 },
	{ "int32", NCCL_TYPE_INT32, 4, 1 << 30 },
	{ "int8", NCCL_TYPE_INT8, 1, 127 },
};

const struct dtype *dtype_find(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i].name) == len &&
		    !strncmp(types[i].name, name, len))
			return &types[i];
	return NULL;
}

const char *dtype_names(void)
{
	return "float, half, bfloat16, int32, int8";
}

/* The value as the type has it; `v` is not above what it holds exactly. */
static uint32_t value_bits(const struct dtype *t, unsigned int v)
{
	float f = (float)v;
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	switch (t->nccl) {
	case NCCL_TYPE_FLOAT:
		return bits;
	case NCCL_TYPE_BFLOAT16: /* the upper half of a float */
		return bits >> 16;
	case NCCL_TYPE_HALF: /* five bits of exponent, biased by 15 */
		if (!v)
			return 0;
		return ((bits >> 23) - 127 + 15) << 10 | (bits >> 13 & 0x3ff);
	default:
		return v;
	}
}

static unsigned int value_mask(const struct dtype *t, int ranks)
{
	unsigned int mask = PATTERN_VALUES - 1;

	while (mask > 1 && mask * ranks > t->exact)
		mask >>= 1;
	return mask;
}

/* Ranks differ in every element, if there are no more of them than values. */
static unsigned int value_of(unsigned int hash, int rank, unsigned int mask)
{
	return (hash + 3 * rank) & mask;
}

/* What rank `from` sends. */
void pattern_of(struct pattern *p, const struct dtype *t, int ranks, int from,
		uint32_t seed)
{
	unsigned int mask = value_mask(t, ranks), h;

	p->size = t->size;
	p->seed = seed;
	for (h = 0; h < PATTERN_VALUES; h++)
		p->bits[h] = value_bits(t, value_of(h, from, mask));
}

/* The sum of what all send at the same index. */
void pattern_sum(struct pattern *p, const struct dtype *t, int ranks,
		 uint32_t seed)
{
	unsigned int mask = value_mask(t, ranks), h, sum;
	int i;

	p->size = t->size;
	p->seed = seed;
	for (h = 0; h < PATTERN_VALUES; h++) {
		for (sum = 0, i = 0; i < ranks; i++)
			sum += value_of(h, i, mask);
		p->bits[h] = value_bits(t, sum);
	}
}

/* Neighbours, and elements at any distance, have nothing to do with each other. */
static inline unsigned int hash(uint64_t index, uint32_t seed)
{
	uint32_t x = (uint32_t)index ^ (uint32_t)(index >> 32) * 0x9e3779b1u;

	x += seed * 0x85ebca6bu;
	x ^= x >> 16;
	x *= 0x7feb352du;
	x ^= x >> 15;
	x *= 0x846ca68bu;
	return x >> 28;
}

/* `n` elements, of which the first has the index `first`. */
void pattern_fill(const struct pattern *p, void *to, size_t n, size_t first)
{
	uint16_t *halves = to;
	uint32_t *words = to;
	uint8_t *bytes = to;
	size_t i;

	switch (p->size) {
	case 4:
		for (i = 0; i < n; i++)
			words[i] = p->bits[hash(first + i, p->seed)];
		break;
	case 2:
		for (i = 0; i < n; i++)
			halves[i] = p->bits[hash(first + i, p->seed)];
		break;
	default:
		for (i = 0; i < n; i++)
			bytes[i] = p->bits[hash(first + i, p->seed)];
		break;
	}
}

/* How many of them are not what they have to be. */
uint64_t pattern_wrong(const struct pattern *p, const void *from, size_t n,
		       size_t first)
{
	const uint16_t *halves = from;
	const uint32_t *words = from;
	const uint8_t *bytes = from;
	uint64_t wrong = 0;
	size_t i;

	switch (p->size) {
	case 4:
		for (i = 0; i < n; i++)
			wrong += words[i] != p->bits[hash(first + i, p->seed)];
		break;
	case 2:
		for (i = 0; i < n; i++)
			wrong += halves[i] != p->bits[hash(first + i, p->seed)];
		break;
	default:
		for (i = 0; i < n; i++)
			wrong += bytes[i] != p->bits[hash(first + i, p->seed)];
		break;
	}
	return wrong;
}
