/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sends.h - sends by reference: the kernel reads the payload while TCP may have
 * to send it again, so a send is done when the peer has all of it. The kernel
 * says so on the socket's error queue
 * (Documentation/networking/msg_zerocopy.rst).
 */
#ifndef DEVMEM_SENDS_H
#define DEVMEM_SENDS_H

#include <stdbool.h>
#include <sys/socket.h>

struct devmem_request;
struct tx_sends;

/* Make a socket ready to send by reference; free(*s) undoes it. 0 or -errno. */
int sends_new(int fd, struct tx_sends **s);
/*
 * One sendmsg() by reference, of @r's memory: bytes, or -errno. -EAGAIN also if
 * too many have no completion.
 */
ssize_t sends_send(struct tx_sends *s, int fd, const struct msghdr *msg,
		   int flags, struct devmem_request *r);
/* Take note of sends that are complete. >0: there were some; 0; or -errno. */
int sends_complete(struct tx_sends *s, int fd);
/* Are there sends without completion? @s may be NULL. */
bool sends_wait(const struct tx_sends *s);
/* Has the kernel made a copy of what it was to refer to? */
bool sends_copied(const struct tx_sends *s);

#endif /* DEVMEM_SENDS_H */
