/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * strangers.h - who has connected to a control port and not shown the key: few,
 * cheap and short lived, and none can delay another, nor a peer.
 */
#ifndef DEVMEM_STRANGERS_H
#define DEVMEM_STRANGERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "wire.h"

#define STRANGERS_MAX 64 /* the oldest gives way to a newer one */

struct stranger {
	int fd;
	uint64_t deadline;
	struct sockaddr_storage peer;
	struct wire_reader in;
};

struct strangers {
	struct stranger one[STRANGERS_MAX]; /* oldest first */
	unsigned int count;
};

/**
 * strangers_accept() - take in those who wait at listening socket @fd, at most
 * @max. 0, or -errno when no more could be taken.
 */
int strangers_accept(struct strangers *s, int fd, int max);
/* Its socket is closed, unless it is another's by now. */
void strangers_drop(struct strangers *s, unsigned int i, bool close_fd);
void strangers_drop_all(struct strangers *s);
/**
 * stranger_hello() - read its HELLO. 1: it has the key, and *hello is set; 0: not
 * all of it is there; -errno: it is to be dropped.
 */
int stranger_hello(struct stranger *s, const uint8_t *key,
		   struct wire_hello *hello);

#endif /* DEVMEM_STRANGERS_H */
