// SPDX-License-Identifier: BSD-3-Clause
/* kt_recv.c - receiving into dma-bufs: tokens, and whether bytes are right. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kt.h"

struct batch *batch_new(void)
{
	struct batch *b = calloc(1, sizeof(*b));

	expect(b, "out of memory");
	return b;
}

static void add_piece(struct batch *b, const struct cmsghdr *c)
{
	struct kt_frag_cmsg f;
	struct piece *p;

	if (c->cmsg_level != SOL_SOCKET ||
	    (c->cmsg_type != KT_SCM_DEVMEM_LINEAR &&
	     c->cmsg_type != KT_SCM_DEVMEM_DMABUF))
		return;
	expect(c->cmsg_len == CMSG_LEN(sizeof(f)),
	       "a cmsg of %zu bytes, not %zu", (size_t)c->cmsg_len,
	       (size_t)CMSG_LEN(sizeof(f)));
	expect(b->n < BATCH_PIECES, "too many cmsgs");
	memcpy(&f, CMSG_DATA(c), sizeof(f));
	p = &b->piece[b->n++];
	*p = (struct piece){ .len = f.frag_size };
	if (c->cmsg_type == KT_SCM_DEVMEM_LINEAR) {
		p->kind = PIECE_LINEAR;
		p->offset = b->linear_bytes;
		b->linear_bytes += f.frag_size;
		return;
	}
	p->kind = PIECE_FRAG;
	p->offset = f.frag_offset;
	p->token = f.frag_token;
	p->dmabuf = f.dmabuf_id;
	b->frag_bytes += f.frag_size;
}

void batch_parse(struct batch *b, struct msghdr *m, ssize_t n)
{
	struct cmsghdr *c;

	b->n = 0;
	b->frag_bytes = 0;
	b->linear_bytes = 0;
	b->plain_bytes = 0;
	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		add_piece(b, c);
	if (b->n) {
		expect(b->frag_bytes + b->linear_bytes == (size_t)n,
		       "recvmsg gave %zd bytes, its cmsgs tell of %zu", n,
		       b->frag_bytes + b->linear_bytes);
	} else if (n) {
		b->n = 1;
		b->piece[0] = (struct piece){ .kind = PIECE_PLAIN,
					      .len = (uint32_t)n };
		b->plain_bytes = (size_t)n;
	}
}

ssize_t batch_receive(struct batch *b, int fd, size_t max, size_t room,
		      int flags)
{
	struct iovec iov = { .iov_base = b->buf,
			     .iov_len = max < BATCH_BYTES ? max : BATCH_BYTES };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = room ? b->control : NULL,
			    .msg_controllen = room };
	ssize_t n = recvmsg(fd, &m, flags | KT_MSG_SOCK_DEVMEM);

	if (n < 0)
		return -errno;
	batch_parse(b, &m, n);
	return n;
}

void batch_check(const struct batch *b, const struct region *r, uint32_t dmabuf,
		 uint64_t pos, uint64_t seed)
{
	const struct piece *p;
	const void *at;
	size_t ok;

	region_sync(r, true);
	for (p = b->piece; p < b->piece + b->n; pos += p->len, p++) {
		at = b->buf + p->offset;
		if (p->kind == PIECE_FRAG) {
			expect(p->dmabuf == dmabuf,
			       "a frag in dma-buf %u, bound is %u", p->dmabuf,
			       dmabuf);
			expect(p->len && p->offset < r->size &&
			       p->len <= r->size - p->offset,
			       "a frag of %u bytes at %llu of %zu", p->len,
			       (unsigned long long)p->offset, r->size);
			at = r->mem + p->offset;
		}
		ok = pattern_match(at, pos, p->len, seed);
		expect(ok == p->len, "wrong bytes after %llu, in %s at %llu",
		       (unsigned long long)(pos + ok),
		       p->kind == PIECE_FRAG ? "the dma-buf" : "host memory",
		       (unsigned long long)(p->offset + ok));
	}
	region_sync(r, false);
}

int dontneed(int fd, const struct kt_token *t, size_t bytes)
{
	int n = setsockopt(fd, SOL_SOCKET, KT_SO_DEVMEM_DONTNEED, t,
			   (socklen_t)bytes);

	return n < 0 ? -errno : n;
}

int dontneed_range(int fd, uint32_t start, uint32_t count)
{
	struct kt_token t = { .start = start, .count = count };

	return dontneed(fd, &t, sizeof(t));
}

void batch_return(const struct batch *b, int fd)
{
	struct kt_token t[KT_DONTNEED_TOKENS];
	const struct piece *p;
	unsigned int n = 0;
	int rc;

	for (p = b->piece; p < b->piece + b->n; p++) {
		if (p->kind == PIECE_FRAG)
			t[n++] = (struct kt_token){ p->token, 1 };
		if (!n || (n < KT_DONTNEED_TOKENS && p + 1 < b->piece + b->n))
			continue;
		rc = dontneed(fd, t, n * sizeof(t[0]));
		expect(rc == (int)n, "%u tokens returned, DONTNEED says %d", n,
		       rc);
		n = 0;
	}
}

void totals_add(struct totals *t, const struct batch *b)
{
	t->bytes += b->frag_bytes + b->linear_bytes + b->plain_bytes;
	t->frag_bytes += b->frag_bytes;
	t->linear_bytes += b->linear_bytes;
	t->plain_bytes += b->plain_bytes;
	t->frags += b->n;
}

void receive_checked(int fd, const struct region *r, uint32_t dmabuf,
		     uint64_t pos, size_t len, uint64_t seed, struct totals *t)
{
	struct batch *b = batch_new();
	ssize_t n;

	while (len) {
		n = batch_receive(b, fd, len, BATCH_ALL_ROOM, 0);
		if (n == -EAGAIN) {
			wait_readable(fd, 20, "data");
			continue;
		}
		expect(n > 0, "recvmsg with %zu bytes to come: %s", len,
		       n ? strerror((int)-n) : "the end");
		batch_check(b, r, dmabuf, pos, seed);
		batch_return(b, fd);
		pos += (uint64_t)n;
		len -= (size_t)n;
		totals_add(t, b);
	}
	free(b);
}
