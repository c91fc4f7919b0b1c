// SPDX-License-Identifier: BSD-3-Clause
/*
 * cmsg.c - control messages of devmem receive; see cmsg.h.
 */
#include <errno.h>
#include <string.h>

#include "cmsg.h"
#include "uapi.h"

void pieces_begin(struct piece_walk *w, const struct msghdr *msg,
		  size_t received)
{
	w->msg = msg;
	w->next = msg->msg_controllen ? CMSG_FIRSTHDR(msg) : NULL;
	w->left = received;
	w->iov_offset = 0;
	w->any = false;
}

static bool is_ours(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET &&
	       (c->cmsg_type == SO_DEVMEM_DMABUF ||
		c->cmsg_type == SO_DEVMEM_LINEAR);
}

static int rest_of_call(struct piece_walk *w, struct piece *p)
{
	if (!w->left)
		return 0;
	p->where = PIECE_HOST;
	p->len = (uint32_t)w->left;
	p->offset = w->iov_offset;
	p->token = 0;
	p->dmabuf_id = 0;
	w->left = 0;
	/* Behind control messages there is no telling where it belongs. */
	return w->any ? -EPROTO : 1;
}

int pieces_next(struct piece_walk *w, struct piece *p)
{
	struct devmem_uapi_cmsg d;
	struct cmsghdr *c;

	for (;;) {
		c = w->next;
		if (!c)
			return rest_of_call(w, p);
		w->next = CMSG_NXTHDR((struct msghdr *)w->msg, c);
		if (is_ours(c))
			break;
	}
	w->any = true;
	if (c->cmsg_len < CMSG_LEN(sizeof(d)))
		return -EPROTO;
	memcpy(&d, CMSG_DATA(c), sizeof(d));

	p->len = d.frag_size;
	p->dmabuf_id = d.dmabuf_id;
	if (c->cmsg_type == SO_DEVMEM_DMABUF) {
		p->where = PIECE_DEVMEM;
		p->offset = d.frag_offset;
		p->token = d.frag_token;
	} else {
		p->where = PIECE_LINEAR;
		p->offset = w->iov_offset;
		p->token = 0;
		w->iov_offset += d.frag_size;
	}
	if (d.frag_size > w->left) {
		/* A token is still a token, even if its length is not. */
		p->len = 0;
		w->left = 0;
		return p->where == PIECE_DEVMEM ? 1 : -EPROTO;
	}
	w->left -= d.frag_size;
	return 1;
}
