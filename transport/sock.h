/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sock.h - TCP sockets and addresses. Every socket made here is non-blocking
 * and close-on-exec.
 */
#ifndef DEVMEM_SOCK_H
#define DEVMEM_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDR_TEXT 64

socklen_t addr_len(const struct sockaddr_storage *a);
uint16_t addr_port(const struct sockaddr_storage *a);
void addr_set_port(struct sockaddr_storage *a, uint16_t port);
/* Same host and port? */
bool addr_equal(const struct sockaddr_storage *a,
		const struct sockaddr_storage *b);
/* "10.0.0.1:5000", "[::1]:5000"; without the port if @port is false. */
const char *addr_text(const struct sockaddr_storage *a, bool port, char *text,
		      size_t n);

/* The address alone, in network byte order: 16 bytes, of IPv4 the first four. */
void addr_put(const struct sockaddr_storage *a, uint8_t *bytes);
void addr_get(struct sockaddr_storage *a, sa_family_t family,
	      const uint8_t *bytes);

/** sock_listen() - listen on @a; its port is filled in. The fd, or -errno. */
int sock_listen(struct sockaddr_storage *a, int backlog);
/** sock_bound() - a socket bound to @a with any port. *port is which. */
int sock_bound(const struct sockaddr_storage *a, uint16_t *port);
/**
 * sock_by_nic() - send and receive by that interface alone, whatever the routes
 * say. -EPERM without CAP_NET_RAW before Linux 5.7.
 */
int sock_by_nic(int fd, const char *ifname);
/** sock_connect() - start connecting; 0 also while under way. */
int sock_connect(int fd, const struct sockaddr_storage *to);
/** sock_connected() - 0: connected, -EAGAIN: not yet, -errno: failed. */
int sock_connected(int fd);
/** sock_accept() - the next connection, -EAGAIN if none. */
int sock_accept(int fd, struct sockaddr_storage *peer);
/**
 * sock_tune() - no delay, and an idle connection ends when its peer's host has
 * answered nothing for @timeout seconds. With bytes under way the kernel asks
 * nobody whether he is there: see sock_silent_ms().
 */
int sock_tune(int fd, unsigned int timeout);
/**
 * sock_busy_poll() - let calls on @fd ask the NIC for packets when there are
 * none, for up to @us. -EPERM where the kernel wants CAP_NET_ADMIN for that.
 */
int sock_busy_poll(int fd, unsigned int us);
/**
 * sock_silent_ms() - how long the peer's host has answered nothing, while the
 * kernel sends again what it was sent; 0 if it does not. A host whose process
 * does not read answers.
 */
uint64_t sock_silent_ms(int fd);
/**
 * sock_deafen() - drop what has come and what comes, so that close() is never
 * answered by a reset: the kernel goes on to deliver what was sent.
 */
void sock_deafen(int fd);
/** sock_mss() - the largest segment that the peer sends on @fd. */
unsigned int sock_mss(int fd);

/* A monotonic clock, in milliseconds. */
uint64_t now_ms(void);

#endif /* DEVMEM_SOCK_H */
