// SPDX-License-Identifier: BSD-3-Clause
/*
 * tx_devmem.c - sending from device memory: sendmsg() gets offsets in a dma-buf
 * instead of addresses, and the NIC reads the payload while TCP still may have to
 * send it again. So a send is done when the peer has all of it: the kernel says
 * so on the socket's error queue (Documentation/networking/msg_zerocopy.rst).
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <linux/errqueue.h> /* wants struct timespec */

#include "conn.h"
#include "txmem.h"
#include "uapi.h"

/* Sends of one flow without completion; more wait. */
#define SENDS_MAX 256u
/* Completions, each of a range of sends, that one call reads. */
#define READS_MAX 16
/* What the kernel may round the end of a dma-buf up to. */
#define PAGE_MAX 65536ul

/*
 * The kernel numbers the sends of a socket that are done by reference. Those in
 * [first, next) are under way or, behind one that is, complete.
 */
struct tx_sends {
	uint32_t first, next;
	struct devmem_request *req[SENDS_MAX]; /* NULL: complete */
};

int tx_devmem_init(struct flow *f)
{
	int on = 1;

	if (setsockopt(f->fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)))
		return -errno;
	f->sends = calloc(1, sizeof(*f->sends));
	return f->sends ? 0 : -ENOMEM;
}

static void dmabuf_msg(struct msghdr *msg, void *control, size_t room,
		       uint32_t id)
{
	struct cmsghdr *c;

	memset(control, 0, room);
	msg->msg_control = control;
	msg->msg_controllen = room;
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = DEVMEM_SCM_DMABUF;
	c->cmsg_len = CMSG_LEN(sizeof(id));
	memcpy(CMSG_DATA(c), &id, sizeof(id));
}

static bool is_unreachable(int err)
{
	return err == EHOSTUNREACH || err == ENETUNREACH;
}

/*
 * Is it a matter of time? Without a route there may be one again, as for host
 * memory, whose sender the kernel does not tell; but nor does it tell here if
 * the connection has ended meanwhile.
 */
static bool can_wait(int fd, int *err)
{
	socklen_t len = sizeof(int);
	int ended = 0;

	if (!is_unreachable(*err))
		return *err == EAGAIN || *err == EINTR || *err == ENOBUFS;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &ended, &len))
		ended = errno;
	if (!ended || is_unreachable(ended))
		return true;
	*err = ended;
	return false;
}

ssize_t tx_devmem_send(struct flow *f, int flags)
{
	const struct run *r = &f->run[f->first];
	struct iovec iov = { .iov_base = r->req->addr + r->offset,
			     .iov_len = r->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	char control[CMSG_SPACE(sizeof(uint32_t))];
	struct tx_sends *s = f->sends;
	ssize_t n;
	int err;

	if (s->next - s->first == SENDS_MAX)
		return -EAGAIN;
	dmabuf_msg(&msg, control, sizeof(control),
		   txmem_id(r->req->mem[f->rail]));
	n = sendmsg(f->fd, &msg, flags | MSG_ZEROCOPY);
	if (n < 0) {
		err = errno;
		return can_wait(f->fd, &err) ? -EAGAIN : -err;
	}
	s->req[s->next++ % SENDS_MAX] = r->req;
	r->req->unfinished++;
	return n;
}

/* One completion of ours, or -EPROTO: the kernel completes what was not sent. */
static int take_completion(struct tx_sends *s, uint32_t lo, uint32_t hi)
{
	uint32_t id, n = hi - lo + 1;

	if (lo - s->first >= SENDS_MAX || n > s->next - lo)
		return -EPROTO;
	for (id = lo; n--; id++) {
		struct devmem_request **r = &s->req[id % SENDS_MAX];

		if (!*r)
			return -EPROTO;
		(*r)->unfinished--;
		*r = NULL;
	}
	while (s->first != s->next && !s->req[s->first % SENDS_MAX])
		s->first++;
	return 0;
}

static const struct sock_extended_err *extended_error(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (!c || c->cmsg_len < CMSG_LEN(sizeof(struct sock_extended_err)) ||
	    !((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
	      (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR)))
		return NULL;
	return (const void *)CMSG_DATA(c);
}

/* 1: a range of sends in *lo and *hi; 0: something else; -EAGAIN, -errno. */
static int read_completion(int fd, uint32_t *lo, uint32_t *hi)
{
	char control[256] __attribute__((aligned(8)));
	struct msghdr msg = { .msg_control = control,
			      .msg_controllen = sizeof(control) };
	const struct sock_extended_err *e;

	if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return -errno;
	e = extended_error(&msg);
	if (!e || e->ee_origin != SO_EE_ORIGIN_ZEROCOPY || e->ee_errno)
		return 0;
	*lo = e->ee_info;
	*hi = e->ee_data;
	return 1;
}

int tx_devmem_complete(struct flow *f)
{
	uint32_t lo, hi;
	int rc;

	for (int i = 0; i < READS_MAX && f->sends->first != f->sends->next;
	     i++) {
		rc = read_completion(f->fd, &lo, &hi);
		if (rc == -EAGAIN || rc == -EINTR)
			return 0;
		if (rc < 0)
			return rc;
		rc = rc ? take_completion(f->sends, lo, hi) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

bool tx_devmem_waits(const struct flow *f)
{
	return f->sends && f->sends->first != f->sends->next;
}

/*
 * A send of what is behind the end of the dma-buf fails, but not before the kernel
 * has looked at the binding, and whether the way to the peer goes by its device.
 * Nothing is sent; the socket may be in use meanwhile.
 */
int tx_devmem_try(int fd, const struct txmem *m)
{
	uintptr_t end = (txmem_end(m) + PAGE_MAX - 1) & -PAGE_MAX;
	struct iovec iov = { .iov_base = (void *)end, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	char control[CMSG_SPACE(sizeof(uint32_t))];
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)))
		return -errno;
	dmabuf_msg(&msg, control, sizeof(control), txmem_id(m));
	if (sendmsg(fd, &msg, MSG_ZEROCOPY | MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return -EPROTO;
	switch (errno) {
	case EINVAL:
	case ENODEV:
	case ENOMEM:
	case EOPNOTSUPP:
		return -errno;
	default: /* as it should be, or the payload will tell */
		return 0;
	}
}
