/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cmsg.h - what one recvmsg(MSG_SOCK_DEVMEM) brought, piece by piece.
 */
#ifndef DEVMEM_CMSG_H
#define DEVMEM_CMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum piece_where {
	PIECE_DEVMEM, /* in the pool, at offset; token to be returned */
	PIECE_LINEAR, /* in the iov: a packet's bytes that were not split */
	PIECE_HOST,   /* in the iov, without a cmsg: an ordinary packet */
};

/* A run of the stream's bytes; runs follow each other in stream order. */
struct piece {
	enum piece_where where;
	uint32_t len;
	uint64_t offset;    /* DEVMEM: in the pool. Else: in the iov */
	uint32_t token;	    /* DEVMEM */
	uint32_t dmabuf_id; /* DEVMEM */
};

struct piece_walk {
	const struct msghdr *msg;
	struct cmsghdr *next;
	size_t left; /* bytes of the call not yet accounted for */
	uint64_t iov_offset;
	bool any; /* a cmsg of ours has been seen */
};

/**
 * pieces_begin() - walk the pieces of a recvmsg that returned @received bytes
 * into @msg, whose control buffer holds what the kernel wrote.
 */
void pieces_begin(struct piece_walk *w, const struct msghdr *msg,
		  size_t received);

/**
 * pieces_next() - the next piece.
 *
 * 1: *p is set; 0: that was all; -EPROTO: the kernel's control messages do not
 * fit the bytes that it returned. After an error the walk can go on: pieces that
 * follow still carry tokens, which must be returned.
 *
 * Where the call brought bytes with no control message at all, they are one
 * HOST piece: the kernel never mixes readable and unreadable packets in one
 * call (net/ipv4/tcp.c, tcp_recvmsg_locked).
 */
int pieces_next(struct piece_walk *w, struct piece *p);

#endif /* DEVMEM_CMSG_H */
