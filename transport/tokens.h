/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tokens.h - tokens of received frags, collected in ranges until they are
 * returned to the kernel together. A batch belongs to one socket, as tokens do.
 */
#ifndef DEVMEM_TOKENS_H
#define DEVMEM_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uapi.h"

/* Room for what several calls of recvmsg bring, however scattered. */
#define TOKEN_RANGES 2048u

struct token_batch {
	struct devmem_uapi_token range[TOKEN_RANGES];
	unsigned int ranges;
	unsigned int frags; /* tokens in all ranges */
	size_t bytes;	    /* payload that they hold in the pool */
};

/**
 * tokens_add() - add the token of a frag of @bytes. Consecutive tokens share a
 * range. false: there is no room for another range.
 */
bool tokens_add(struct token_batch *b, uint32_t token, size_t bytes);

/* All of @from becomes all of @to, which is empty. */
void tokens_move(struct token_batch *to, struct token_batch *from);

/* Ranges that can be added for sure. */
static inline unsigned int tokens_room(const struct token_batch *b)
{
	return TOKEN_RANGES - b->ranges;
}

/**
 * tokens_return() - give the whole batch back to the kernel on socket @fd, in as
 * few calls as its bounds allow (128 ranges and 1024 frags each); adds their
 * number to *calls.
 *
 * The batch is empty afterwards, whatever the result: a token must never be
 * returned twice, since the kernel gives its number out again. 0, or -errno;
 * -EIO if the kernel freed another number of frags than it was given.
 */
int tokens_return(struct token_batch *b, int fd, uint64_t *calls);

#endif /* DEVMEM_TOKENS_H */
