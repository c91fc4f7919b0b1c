// SPDX-License-Identifier: BSD-3-Clause
/* kt_send.c - sending from dma-bufs, and the completions of it. */
#include <errno.h>
#include <time.h>	/* before errqueue.h, which needs it */
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>

#include "kt.h"

#ifndef SO_EE_ORIGIN_ZEROCOPY
#define SO_EE_ORIGIN_ZEROCOPY 5
#endif
#ifndef SO_EE_CODE_ZEROCOPY_COPIED
#define SO_EE_CODE_ZEROCOPY_COPIED 1
#endif

void zerocopy_on(int fd)
{
	int on = 1;

	expect(!setsockopt(fd, SOL_SOCKET, KT_SO_ZEROCOPY, &on, sizeof(on)),
	       "SO_ZEROCOPY: %s", strerror(errno));
}

ssize_t send_dmabuf(int fd, uint32_t id, size_t cmsg_len, uint64_t off,
		    size_t len, int flags)
{
	char control[CMSG_SPACE(64)] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)off,
			     .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	if (cmsg_len) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(cmsg_len);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = KT_SCM_DEVMEM_DMABUF;
		c->cmsg_len = CMSG_LEN(cmsg_len);
		memcpy(CMSG_DATA(c), &id,
		       cmsg_len < sizeof(id) ? cmsg_len : sizeof(id));
	}
	n = sendmsg(fd, &m, flags | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

bool completion_read(int fd, uint32_t *lo, uint32_t *hi, bool *copied)
{
	char control[512] __attribute__((aligned(8)));
	struct msghdr m = { .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct sock_extended_err e;
	struct cmsghdr *c;

	if (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
		expect(errno == EAGAIN, "error queue: %s", strerror(errno));
		return false;
	}
	c = CMSG_FIRSTHDR(&m);
	expect(c && ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		     (c->cmsg_level == IPPROTO_IPV6 &&
		      c->cmsg_type == IPV6_RECVERR)),
	       "no error cmsg on the error queue");
	memcpy(&e, CMSG_DATA(c), sizeof(e));
	expect(e.ee_origin == SO_EE_ORIGIN_ZEROCOPY && !e.ee_errno,
	       "on the error queue: origin %u, errno %u", e.ee_origin,
	       e.ee_errno);
	*lo = e.ee_info;
	*hi = e.ee_data;
	*copied = e.ee_code & SO_EE_CODE_ZEROCOPY_COPIED;
	expect(*hi - *lo < 1u << 31, "completion of %u..%u", *lo, *hi);
	return true;
}

void sender_open(struct sender *s, int fd, const struct region *r,
		 uint32_t dmabuf, uint64_t len, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->region = r;
	s->dmabuf = dmabuf;
	s->end = len;
	s->seed = seed;
	s->slots = r->size / SENDER_SLOTS < 2 * KT_PAGE ? 1 : SENDER_SLOTS;
	s->slot_size = r->size / s->slots;
	zerocopy_on(fd);
}

/* Writes the next bytes of the stream into the slot, from an odd offset on and
 * of an odd length if that is what the test is about.
 */
static void slot_write(struct sender *s, struct slot *t)
{
	uint32_t start = (uint32_t)((size_t)(t - s->slot) * s->slot_size);
	uint32_t skip_len = 0, len = (uint32_t)s->slot_size;

	if (kt.unaligned) {
		skip_len = kt_random() % KT_PAGE;
		len -= skip_len;
		len = 1 + kt_random() % len;
	}
	if (len > s->end - s->pos)
		len = (uint32_t)(s->end - s->pos);
	*t = (struct slot){ .busy = true, .off = start + skip_len, .len = len };
	region_sync(s->region, true);
	pattern_fill(s->region->mem + t->off, s->pos, len, s->seed);
	region_sync(s->region, false);
}

static void slot_sent(struct sender *s, struct slot *t, size_t n)
{
	if (t->sent + n < t->len)
		s->partial++;
	s->owner[(uint16_t)s->next_id++] = (uint8_t)(t - s->slot);
	expect(s->next_id - s->done_id < 1u << 16, "too many sends underway");
	t->pending++;
	t->sent += (uint32_t)n;
	s->pos += n;
	t->last = t->sent == t->len;
	if (t->last)
		s->cur = (s->cur + 1) % s->slots;
}

enum sender_state sender_step(struct sender *s)
{
	struct slot *t;
	int flags;
	ssize_t n;

	while (s->pos < s->end) {
		t = &s->slot[s->cur];
		if (t->busy && t->last)
			return SENDER_WAITS;
		if (!t->busy)
			slot_write(s, t);
		flags = kt.more && kt_random() % 3 && s->end - s->pos > t->len ?
			MSG_MORE : 0;
		n = send_dmabuf(s->fd, s->dmabuf, sizeof(s->dmabuf),
				t->off + t->sent, t->len - t->sent,
				KT_MSG_ZEROCOPY | MSG_DONTWAIT | flags);
		if (n == -EAGAIN)
			return SENDER_FULL;
		if (n == -ENOBUFS ||	/* notifications not read yet */
		    (kt.lossy && (n == -EHOSTUNREACH || n == -ENETUNREACH)))
			return SENDER_WAITS;
		expect(n > 0, "sendmsg of %u bytes at %u of dma-buf %u: %s",
		       t->len - t->sent, t->off + t->sent, s->dmabuf,
		       n ? strerror((int)-n) : "nothing sent");
		slot_sent(s, t, (size_t)n);
	}
	return SENDER_SENT;
}

/* Each send completes once. In disorder only where segments are lost, or wait
 * in a queue below TCP when they have been acknowledged already.
 */
static void send_completed(struct sender *s, uint32_t id)
{
	struct slot *t = &s->slot[s->owner[(uint16_t)id]];

	expect(id - s->done_id < s->next_id - s->done_id,
	       "completion of send %u, underway are %u up to %u", id,
	       s->done_id, s->next_id);
	expect(!s->done[(uint16_t)id] && t->pending,
	       "send %u completed twice", id);
	s->done[(uint16_t)id] = true;
	t->pending--;
	t->busy = !t->last || t->pending;
	s->disorder += id != s->done_id;
	while (s->done_id != s->next_id && s->done[(uint16_t)s->done_id])
		s->done[(uint16_t)s->done_id++] = false;
}

void sender_complete(struct sender *s)
{
	uint32_t lo, hi;
	bool copied;

	while (completion_read(s->fd, &lo, &hi, &copied)) {
		s->completions++;
		s->copied += copied;
		for (hi++; lo != hi; lo++)
			send_completed(s, lo);
	}
}

bool sender_done(const struct sender *s)
{
	return s->pos == s->end && s->done_id == s->next_id;
}
