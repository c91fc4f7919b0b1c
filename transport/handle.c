// SPDX-License-Identifier: BSD-3-Clause
/*
 * handle.c - see handle.h. Layout: "devm", version, address family (4 or 6),
 * port, address (16 bytes), key (16 bytes); the rest is zero.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "handle.h"
#include "sock.h"

#define MAGIC	"devm"
#define VERSION 1

_Static_assert(8 + 16 + WIRE_KEY_BYTES <= DEVMEM_HANDLE_BYTES, "handle");

void handle_encode(const struct handle *h, uint8_t *b)
{
	uint16_t port = addr_port(&h->addr);

	memset(b, 0, DEVMEM_HANDLE_BYTES);
	memcpy(b, MAGIC, 4);
	b[4] = VERSION;
	b[6] = (uint8_t)port;
	b[7] = (uint8_t)(port >> 8);
	if (h->addr.ss_family == AF_INET6) {
		b[5] = 6;
		memcpy(b + 8, &((struct sockaddr_in6 *)&h->addr)->sin6_addr,
		       16);
	} else {
		b[5] = 4;
		memcpy(b + 8, &((struct sockaddr_in *)&h->addr)->sin_addr, 4);
	}
	memcpy(b + 24, h->key, WIRE_KEY_BYTES);
}

int handle_decode(const uint8_t *b, struct handle *h)
{
	memset(h, 0, sizeof(*h));
	if (memcmp(b, MAGIC, 4) || b[4] != VERSION)
		return -EINVAL;
	if (b[5] == 6) {
		h->addr.ss_family = AF_INET6;
		memcpy(&((struct sockaddr_in6 *)&h->addr)->sin6_addr, b + 8,
		       16);
	} else if (b[5] == 4) {
		h->addr.ss_family = AF_INET;
		memcpy(&((struct sockaddr_in *)&h->addr)->sin_addr, b + 8, 4);
	} else {
		return -EINVAL;
	}
	addr_set_port(&h->addr, (uint16_t)(b[6] | b[7] << 8));
	memcpy(h->key, b + 24, WIRE_KEY_BYTES);
	return addr_port(&h->addr) ? 0 : -EINVAL;
}
