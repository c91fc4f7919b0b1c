// SPDX-License-Identifier: BSD-3-Clause
/*
 * handle.c - see handle.h. Layout: "devm", version, address family (4 or 6),
 * port, address (16 bytes), key (16 bytes); since protocol 1.2 how many
 * more addresses, 7 bytes of nothing, and those; the rest is zero.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "handle.h"
#include "sock.h"

#define MAGIC	"devm"
#define VERSION 1

#define KEY_AT	24
#define MORE_AT (KEY_AT + WIRE_KEY_BYTES)
#define ADDR_AT (MORE_AT + 8)

_Static_assert(ADDR_AT + (DEVMEM_MAX_RAILS - 1) * WIRE_ADDR_BYTES <=
		       DEVMEM_HANDLE_BYTES,
	       "handle");

void handle_encode(const struct handle *h, uint8_t *b)
{
	uint16_t port = addr_port(&h->addr[0]);

	memset(b, 0, DEVMEM_HANDLE_BYTES);
	memcpy(b, MAGIC, 4);
	b[4] = VERSION;
	b[5] = h->addr[0].ss_family == AF_INET6 ? 6 : 4;
	b[6] = (uint8_t)port;
	b[7] = (uint8_t)(port >> 8);
	addr_put(&h->addr[0], b + 8);
	memcpy(b + KEY_AT, h->key, WIRE_KEY_BYTES);
	b[MORE_AT] = (uint8_t)(h->rails - 1);
	for (unsigned int i = 1; i < h->rails; i++)
		addr_put(&h->addr[i], b + ADDR_AT + (i - 1) * WIRE_ADDR_BYTES);
}

int handle_decode(const uint8_t *b, struct handle *h)
{
	sa_family_t family = b[5] == 6 ? AF_INET6 : AF_INET;

	memset(h, 0, sizeof(*h));
	if (memcmp(b, MAGIC, 4) || b[4] != VERSION ||
	    (b[5] != 4 && b[5] != 6) || b[MORE_AT] >= DEVMEM_MAX_RAILS)
		return -EINVAL;
	h->rails = 1 + b[MORE_AT];
	addr_get(&h->addr[0], family, b + 8);
	addr_set_port(&h->addr[0], (uint16_t)(b[6] | b[7] << 8));
	for (unsigned int i = 1; i < h->rails; i++)
		addr_get(&h->addr[i], family,
			 b + ADDR_AT + (i - 1) * WIRE_ADDR_BYTES);
	memcpy(h->key, b + KEY_AT, WIRE_KEY_BYTES);
	return addr_port(&h->addr[0]) ? 0 : -EINVAL;
}
