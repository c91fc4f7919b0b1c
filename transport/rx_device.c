// SPDX-License-Identifier: BSD-3-Clause
/*
 * rx_device.c - bytes that arrived in host memory and belong in a GPU's: the engine
 * brings them there, from its own part of host memory.
 */
#include <errno.h>
#include <string.h>

#include "conn.h"

/* What was put at @stage goes to @offset of a message. Ends the reservation. */
static int submit(struct devmem_conn *c, struct devmem_request *r,
		  size_t offset, const uint8_t *stage, size_t len)
{
	struct gather_op op = {
		.dst = r->addr + offset,
		.host = stage,
		.len = len,
	};
	uint64_t ticket;
	int rc = gather_submit_one(c->rx.gather, NULL, op, &ticket);

	if (rc)
		return conn_fail(c, rc, "%zu bytes to a GPU: %s", len,
				 strerror(-rc));
	r->ticket = ticket;
	rx_gathers(c, ticket);
	return 0;
}

int rx_reserve(struct devmem_conn *c, struct gather_room *room)
{
	int rc = gather_reserve(c->rx.gather, room);

	if (rc == -EAGAIN)
		c->rx.crowded = true;
	else if (rc)
		conn_fail(c, rc, "the GPU cannot gather any more");
	return rc;
}

_Static_assert(CONTROL_IN <= RX_DEVICE_MAX,
	       "what the control socket's buffer holds");

int rx_to_device(struct devmem_conn *c, struct devmem_request *r, size_t offset,
		 const void *data, size_t len)
{
	struct gather_room room = { .bytes = len };
	int rc = rx_reserve(c, &room);

	if (rc)
		return rc;
	memcpy(room.stage, data, len);
	return submit(c, r, offset, room.stage, len);
}

ssize_t rx_read_device(struct devmem_conn *c, int fd, struct devmem_request *r,
		       size_t offset, size_t len)
{
	struct gather_room room = { .bytes = len };
	int err = rx_reserve(c, &room);
	ssize_t n;

	if (err) {
		errno = -err;
		return -1;
	}
	n = recv(fd, room.stage, len < room.bytes ? len : room.bytes,
		 MSG_DONTWAIT);
	if (n > 0)
		return submit(c, r, offset, room.stage, (size_t)n) ? -1 : n;
	err = errno;
	gather_release(c->rx.gather);
	errno = err;
	return n;
}
