// SPDX-License-Identifier: BSD-3-Clause
/*
 * emulate.c - a NIC that is none; see emulate.h.
 *
 * A token is the number of a page. Pages are given out in an order that has nothing
 * to do with their places, so that neighbours in the stream are none in the pool. Now
 * and then bytes stay in host memory, as headers that a NIC has not split off, and so
 * does what comes when no page is free.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "emulate.h"
#include "gather.h"
#include "region.h"
#include "tokens.h"
#include "uapi.h"

#define PAGE	     4096u
#define READ_BYTES   ((size_t)256 << 10) /* at once */
#define PIECES	     (READ_BYTES / EMU_SEGMENT + 64)
#define LINEAR_BYTES 8192u
/* One piece in so many is linear, and how long that is. */
#define LINEAR_EVERY 61u
#define LINEAR_LEN   200u

struct emu_pool {
	const struct region *region;
	pthread_mutex_t lock;
	uint32_t pages, free_pages;
	uint32_t *free_page; /* a stack */
	struct emu_flow **owner;
};

struct emu_piece {
	bool linear;
	uint32_t page, len;
};

struct emu_flow {
	struct emu_pool *pool;
	int fd;
	uint32_t random;
	uint64_t ticket; /* of the copy of what is here */
	struct emu_piece piece[PIECES];
	unsigned int first, count;
	size_t linear_first, linear_count;
	uint8_t linear[LINEAR_BYTES];
	uint8_t *buffer; /* for engines that read from anywhere */
	struct gather_list list;
};

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

struct emu_pool *emu_pool_new(const struct region *r)
{
	struct emu_pool *p = calloc(1, sizeof(*p));
	uint32_t random = 1;

	if (!p)
		return NULL;
	p->region = r;
	p->pages = (uint32_t)(r->bytes / PAGE);
	p->free_page = calloc(p->pages, sizeof(*p->free_page));
	p->owner = calloc(p->pages, sizeof(struct emu_flow *));
	pthread_mutex_init(&p->lock, NULL);
	if (!p->free_page || !p->owner) {
		emu_pool_free(p);
		return NULL;
	}
	for (uint32_t i = 0; i < p->pages; i++) {
		uint32_t at = next_random(&random) % (i + 1);

		p->free_page[i] = p->free_page[at];
		p->free_page[at] = i;
	}
	p->free_pages = p->pages;
	return p;
}

void emu_pool_free(struct emu_pool *p)
{
	if (!p)
		return;
	free(p->free_page);
	free(p->owner);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct emu_flow *emu_flow_new(struct emu_pool *p, int fd)
{
	struct emu_flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->pool = p;
	f->fd = fd;
	f->random = (uint32_t)fd;
	f->buffer = malloc(READ_BYTES);
	if (!f->buffer || gather_list_init(&f->list, PIECES)) {
		free(f->buffer);
		free(f);
		return NULL;
	}
	return f;
}

/* Up to @want pages, their numbers in @page; how many. */
static unsigned int take_pages(struct emu_flow *f, uint32_t *page,
			       unsigned int want)
{
	struct emu_pool *p = f->pool;
	unsigned int n = 0;

	pthread_mutex_lock(&p->lock);
	while (n < want && p->free_pages) {
		page[n] = p->free_page[--p->free_pages];
		p->owner[page[n++]] = f;
	}
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* Is it a page of ours that is in use? Then no more. */
static bool give_page(struct emu_flow *f, uint32_t page)
{
	struct emu_pool *p = f->pool;
	bool was;

	pthread_mutex_lock(&p->lock);
	was = page < p->pages && p->owner[page] == f;
	if (was) {
		p->owner[page] = NULL;
		p->free_page[p->free_pages++] = page;
	}
	pthread_mutex_unlock(&p->lock);
	return was;
}

void emu_flow_free(struct emu_flow *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < f->pool->pages; i++)
		give_page(f, i);
	gather_list_free(&f->list);
	free(f->buffer);
	free(f);
}

uint64_t emu_ticket(const struct emu_flow *f)
{
	return f->ticket;
}

bool emu_has_landed(const struct emu_flow *f)
{
	return f->count;
}

static void put_piece(struct emu_flow *f, bool linear, uint32_t page, size_t n)
{
	f->piece[f->count++] = (struct emu_piece){
		.linear = linear,
		.page = page,
		.len = (uint32_t)n,
	};
}

static bool put_linear(struct emu_flow *f, const uint8_t *data, size_t n)
{
	if (n > LINEAR_BYTES - f->linear_count)
		return false;
	memcpy(f->linear + f->linear_count, data, n);
	f->linear_count += n;
	put_piece(f, true, 0, n);
	return true;
}

/*
 * Cut @n bytes at @data in pieces, and list the copies of those that have a page: at
 * most @pages; how many were used.
 */
static unsigned int cut(struct emu_flow *f, const uint8_t *data, size_t n,
			const uint32_t *page, unsigned int pages)
{
	unsigned int used = 0;
	size_t at = 0, len;

	while (at < n) {
		uint32_t random = next_random(&f->random);
		struct gather_op op = { .host = data + at };

		len = n - at < LINEAR_LEN ? n - at : LINEAR_LEN;
		if (used == pages || !(random % LINEAR_EVERY))
			if (f->count + (pages - used) + 1 < PIECES &&
			    put_linear(f, data + at, len)) {
				at += len;
				continue;
			}
		len = random & 0x100 ? PAGE : EMU_SEGMENT;
		len = n - at < len ? n - at : len;
		op.dst = f->pool->region->map + (size_t)page[used] * PAGE;
		op.len = len;
		gather_list_add(&f->list, &op);
		put_piece(f, false, page[used++], len);
		at += len;
	}
	return used;
}

/* Read, and begin to copy; there is room at @to. Results as recv(). */
static ssize_t land(struct emu_flow *f, struct gather_engine *e, uint8_t *to,
		    size_t bytes)
{
	uint32_t page[PIECES];
	unsigned int used, pages;
	ssize_t n;
	int rc;

	pages = take_pages(f, page, (unsigned int)(bytes / EMU_SEGMENT) + 1);
	/* What has no page stays in host memory. */
	if (pages <= bytes / EMU_SEGMENT)
		bytes = pages			 ? pages * (size_t)EMU_SEGMENT :
			bytes < LINEAR_BYTES / 2 ? bytes :
						   LINEAR_BYTES / 2;
	n = recv(f->fd, to, bytes, MSG_DONTWAIT);
	f->first = 0;
	f->count = 0;
	f->linear_first = 0;
	f->linear_count = 0;
	f->list.count = 0;
	f->list.staged = n > 0 ? (size_t)n : 0;
	used = n > 0 ? cut(f, to, (size_t)n, page, pages) : 0;
	while (pages > used)
		give_page(f, page[--pages]);
	if (n <= 0) {
		int err = errno;

		gather_release(e);
		errno = err;
		return n;
	}
	rc = gather_submit(e, &f->list, &f->ticket);
	if (rc) {
		f->count = 0;
		errno = -rc;
		return -1;
	}
	return n;
}

ssize_t emu_land(struct emu_flow *f, struct gather_engine *e, size_t bytes)
{
	struct gather_room room = {
		.bytes = bytes < READ_BYTES ? bytes : READ_BYTES,
	};
	ssize_t n;
	int rc, err;

	if (!f->count) {
		rc = gather_reserve(e, &room);
		if (rc) {
			errno = -rc;
			return -1;
		}
		n = land(f, e, room.stage ?: f->buffer, room.bytes);
		if (n <= 0)
			return n;
	}
	if (gather_done(e, &err) < f->ticket) {
		errno = EAGAIN;
		return -1;
	}
	return 1;
}

static void put_cmsg(struct msghdr *msg, struct cmsghdr *c,
		     const struct emu_piece *piece)
{
	struct devmem_uapi_cmsg d = { .frag_size = piece->len };

	if (!piece->linear) {
		d.frag_offset = (uint64_t)piece->page * PAGE;
		d.frag_token = piece->page;
	}
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = piece->linear ? SO_DEVMEM_LINEAR : SO_DEVMEM_DMABUF;
	c->cmsg_len = CMSG_LEN(sizeof(d));
	memcpy(CMSG_DATA(c), &d, sizeof(d));
	msg->msg_controllen += CMSG_SPACE(sizeof(d));
}

ssize_t emu_recvmsg(struct emu_flow *f, struct gather_engine *e,
		    struct msghdr *msg)
{
	size_t room = msg->msg_controllen, step, total = 0, in_iov = 0;
	uint8_t *iov = msg->msg_iov->iov_base;
	int err;

	msg->msg_controllen = 0;
	if (gather_done(e, &err) < f->ticket) {
		errno = EAGAIN;
		return -1;
	}
	step = CMSG_SPACE(sizeof(struct devmem_uapi_cmsg));
	while (f->count && msg->msg_controllen + step <= room) {
		const struct emu_piece *piece = &f->piece[f->first];

		if (total + piece->len > msg->msg_iov->iov_len)
			break;
		if (piece->linear) {
			memcpy(iov + in_iov, f->linear + f->linear_first,
			       piece->len);
			f->linear_first += piece->len;
			in_iov += piece->len;
		}
		put_cmsg(msg,
			 (struct cmsghdr *)((uint8_t *)msg->msg_control +
					    msg->msg_controllen),
			 piece);
		total += piece->len;
		f->first++;
		f->count--;
	}
	if (!total) {
		errno = EAGAIN;
		return -1;
	}
	return (ssize_t)total;
}

int emu_return(struct emu_flow *f, struct token_batch *b, uint64_t *calls)
{
	unsigned int given = 0;
	int rc;

	for (unsigned int i = 0; i < b->ranges; i++)
		for (uint32_t k = 0; k < b->range[i].token_count; k++)
			given += give_page(f, b->range[i].token_start + k);
	rc = given == b->frags ? 0 : -EIO;
	++*calls;
	b->ranges = 0;
	b->frags = 0;
	b->bytes = 0;
	return rc;
}
