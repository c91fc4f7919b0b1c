// SPDX-License-Identifier: BSD-3-Clause
/*
 * tokens.c - batches of frag tokens; see tokens.h.
 */
#include <errno.h>
#include <string.h>

#include "tokens.h"

bool tokens_add(struct token_batch *b, uint32_t token, size_t bytes)
{
	struct devmem_uapi_token *last;

	last = b->ranges ? &b->range[b->ranges - 1] : NULL;
	/* No range wraps, and each fits one call. */
	if (last && token && last->token_start + last->token_count == token &&
	    last->token_count < DEVMEM_MAX_DONTNEED_FRAGS) {
		last->token_count++;
	} else {
		if (b->ranges == TOKEN_RANGES)
			return false;
		b->range[b->ranges].token_start = token;
		b->range[b->ranges].token_count = 1;
		b->ranges++;
	}
	b->frags++;
	b->bytes += bytes;
	return true;
}

void tokens_move(struct token_batch *to, struct token_batch *from)
{
	memcpy(to->range, from->range, from->ranges * sizeof(to->range[0]));
	to->ranges = from->ranges;
	to->frags = from->frags;
	to->bytes = from->bytes;
	from->ranges = 0;
	from->frags = 0;
	from->bytes = 0;
}

/* Ranges from @first on that fit one call; *frags is what they hold. */
static unsigned int one_call(const struct token_batch *b, unsigned int first,
			     unsigned int *frags)
{
	unsigned int n = 0;

	*frags = 0;
	while (first + n < b->ranges && n < DEVMEM_MAX_DONTNEED_TOKENS &&
	       *frags + b->range[first + n].token_count <=
		       DEVMEM_MAX_DONTNEED_FRAGS)
		*frags += b->range[first + n++].token_count;
	return n;
}

int tokens_return(struct token_batch *b, int fd, uint64_t *calls)
{
	int rc = 0;

	for (unsigned int at = 0; at < b->ranges;) {
		unsigned int frags, n = one_call(b, at, &frags);
		int freed = setsockopt(fd, SOL_SOCKET, SO_DEVMEM_DONTNEED,
				       &b->range[at],
				       n * (socklen_t)sizeof(b->range[0]));

		/* Not setsockopt's usual 0: the number of frags freed. */
		if (freed < 0)
			rc = rc ?: -errno;
		else if ((unsigned int)freed != frags)
			rc = rc ?: -EIO;
		++*calls;
		at += n;
	}
	b->ranges = 0;
	b->frags = 0;
	b->bytes = 0;
	return rc;
}
