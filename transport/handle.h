/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handle.h - the bytes that tell a peer where a listener is, and the secret that
 * proves that it was told.
 */
#ifndef DEVMEM_HANDLE_H
#define DEVMEM_HANDLE_H

#include <stdint.h>
#include <sys/socket.h>

#include "devmem.h"
#include "wire.h"

struct handle {
	/* Control's, with its port; then of its other interfaces, without. */
	struct sockaddr_storage addr[DEVMEM_MAX_RAILS];
	unsigned int rails; /* how many; all of one family */
	uint8_t key[WIRE_KEY_BYTES];
};

/* @bytes: DEVMEM_HANDLE_BYTES. */
void handle_encode(const struct handle *h, uint8_t *bytes);
/* -EINVAL if the bytes are no handle of this version. */
int handle_decode(const uint8_t *bytes, struct handle *h);

#endif /* DEVMEM_HANDLE_H */
