/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * client.h - what the lab's own clients of devmem.h share: two processes, in two
 * hosts, that end with words and status 1 when something fails.
 */
#ifndef LAB_CLIENT_H
#define LAB_CLIENT_H

#include <stdarg.h>
#include <time.h>

#include "devmem.h"

/* rc: negative errno, or 0 if that says nothing. */
void die(int rc, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

/*
 * Interfaces of the host where the process is; payload into udmabuf pools; and
 * CLIENT_THREADS progress threads, by default none.
 */
struct devmem *client_open(unsigned int require, unsigned int flows);
/* The same in two steps, for other options. */
struct devmem_options client_options(unsigned int flows);
struct devmem *client_open_with(const struct devmem_options *o);
/* Lets others run; ends the process if that goes on for too long. */
void client_again(time_t since);
/* Waits for the request; bytes moved. */
size_t client_finish(struct devmem_request *r);
/* Each a connection of its own, to or from the peer. */
struct devmem_conn *client_accept(struct devmem_listener *l);
struct devmem_conn *client_connect(struct devmem *d, const void *handle);
/* The handle goes to the peer. */
struct devmem_listener *client_listen(struct devmem *d, int peer);
void client_handle(int peer, char *handle);
/*
 * Messages of host memory that tell which they are, eight under way: the memory
 * of each is written anew in the moment in which it is done.
 */
void client_stream_out(struct devmem_conn *c, size_t messages, size_t size);
/* Compares each. @before, which may be NULL, is called ahead of each receive. */
void client_stream_in(struct devmem_conn *c, size_t messages, size_t size,
		      void (*before)(struct devmem_conn *c, size_t message));
/* Until the peer's process has ended. */
void client_wait_end(int peer);

/*
 * Runs @receiver in one host and @sender in another, each with its end of a
 * socket pair. Host "-" is where we are: there payload goes by host memory over
 * lo, on flows, unless CLIENT_EAGER_BYTES says otherwise. The exit status of
 * main().
 */
int client_pair(const char *receiver_host, void (*receiver)(int peer),
		const char *sender_host, void (*sender)(int peer));

#endif
