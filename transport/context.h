/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * context.h - a user's context and what lives in it.
 */
#ifndef DEVMEM_CONTEXT_H
#define DEVMEM_CONTEXT_H

#include <pthread.h>

#include "conn.h"

struct connecting;

struct devmem {
	struct devmem_options options;
	pthread_mutex_t lock;	   /* for the lists */
	struct devmem_conn *conns; /* senders and receivers */
	struct devmem_listener *listeners;
	pid_t pid;		       /* whose it is */
	struct connecting *connecting; /* senders half made */
};

/* listen.c: free without touching the context's list. */
void listener_free(struct devmem_listener *l);
struct devmem_listener *listener_next(const struct devmem_listener *l);
/* connect.c */
void connecting_free_all(struct devmem *d);
/* Those whose time is over: their callers have given up asking. */
void connecting_free_late(struct devmem *d);

#endif /* DEVMEM_CONTEXT_H */
