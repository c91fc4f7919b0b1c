// SPDX-License-Identifier: BSD-3-Clause
/*
 * tx_devmem.c - sending from device memory: sendmsg() gets offsets in a dma-buf
 * instead of addresses, and the NIC reads the payload.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "conn.h"
#include "sends.h"
#include "txmem.h"
#include "uapi.h"

/* What the kernel may round the end of a dma-buf up to. */
#define PAGE_MAX 65536ul

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
	ssize_t n;
	int err;

	dmabuf_msg(&msg, control, sizeof(control),
		   txmem_id(r->req->mem[f->rail]));
	n = sends_send(f->sends, f->fd, &msg, flags, r->req);
	if (n >= 0)
		return n;
	err = (int)-n;
	return can_wait(f->fd, &err) ? -EAGAIN : -err;
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
