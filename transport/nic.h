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
#include "gpu.h"
#include "log.h"

struct rxpool;

struct nic {
	struct devmem_nic_props info;
	struct sockaddr_storage addr; /* its first address, port 0 */
	pthread_mutex_t lock;	      /* for what follows */
	/* In host memory, then on each GPU. */
	struct nic_pool {
		bool tried; /* to set it up */
		struct rxpool *pool;
		struct why none; /* why there is none, once tried */
	} pool[1 + GPUS_MAX];
};

/* What a number stands for: an interface, or several that are used as one. */
struct device {
	struct devmem_nic_props info;
	struct nic *rail[DEVMEM_MAX_RAILS];
	unsigned int rails;
};

/**
 * nics_get() - find the interfaces at the first call, and hold them. The options
 * of the first call are those of the pools. nics_put() for each nics_get(); the
 * last one tears the pools down and restores the NICs.
 */
int nics_get(const struct devmem_options *o);
void nics_put(void);

int device_count(void);
/* NULL if there is no such device. */
const struct device *device_at(int i);
/* One device of several interfaces: its number, -EINVAL or -ENOSPC. */
int device_bond(const int *nic, unsigned int count);

/* The GPU that the calling thread's pools are on, -1: they are in host memory. */
int device_gpu(const struct device *dev);

/**
 * device_pools() - the receive pools of the first @rails interfaces, on @gpu as
 * device_gpu() said, if all of them have one: they are set up at the first call. If
 * that cannot be, the reason is the same until the last nics_put().
 */
bool device_pools(const struct device *dev, unsigned int rails, int gpu,
		  struct rxpool **pool, struct why *w);

/*
 * Name, number and guid of an interface, without the list; nothing else. 0 or
 * -errno.
 */
int nic_describe(const char *ifname, struct devmem_nic_props *nic);

/* Is @addr (port ignored) an address of this host? */
bool address_is_local(const struct sockaddr_storage *addr);

#endif /* DEVMEM_NIC_H */
