/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nic.h - the process's network interfaces, shared by all its contexts, and the
 * receive pool of each.
 */
#ifndef DEVMEM_NIC_H
#define DEVMEM_NIC_H

#include <pthread.h>
#include <sys/socket.h>

#include "devmem.h"
#include "log.h"

struct rxpool;

struct nic {
	struct devmem_nic_props info;
	struct sockaddr_storage addr; /* its first address, port 0 */
	pthread_mutex_t lock;	      /* for what follows */
	bool tried;		      /* to set up a pool */
	struct rxpool *pool;
	struct why no_pool; /* why there is none, once tried */
};

/**
 * nics_get() - find the interfaces at the first call, and hold them. The options
 * of the first call are those of the pools. nics_put() for each nics_get(); the
 * last one tears the pools down and restores the NICs.
 */
int nics_get(const struct devmem_options *o);
void nics_put(void);

int nic_count(void);
/* NULL if there is no such interface. */
struct nic *nic_at(int i);

/**
 * nic_pool() - the interface's receive pool, set up at the first call. NULL if
 * that cannot be; the reason is the same until the last nics_put().
 */
struct rxpool *nic_pool(struct nic *nic, struct why *w);

/* Is @addr (port ignored) an address of this host? */
bool address_is_local(const struct sockaddr_storage *addr);

#endif /* DEVMEM_NIC_H */
