/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devnl.h - the generic netlink requests that we make, over libnl-genl-3: families
 * "netdev" (devmem bindings, queues) and "ethtool" (rings, channels).
 *
 * Blocking, but for no longer than the kernel takes to answer. One socket, one
 * thread at a time.
 */
#ifndef DEVMEM_DEVNL_H
#define DEVMEM_DEVNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_sock;

struct devnl_family {
	struct nl_sock *sk;
	int id;
	char extack[160]; /* what the kernel said of the last error, or "" */
};

/** devnl_open() - a socket for family @name. -ENOENT: the kernel has none such. */
int devnl_open(struct devnl_family *f, const char *name);
/* Closing the netdev socket unbinds what was bound on it. */
void devnl_close(struct devnl_family *f);
/* The socket's descriptor, which stays the family's. */
int devnl_fd(const struct devnl_family *f);

/**
 * devnl_bind_rx() - bind dma-buf @fd to @count receive queues of a device. It
 * stays bound until devnl_close(), or until the process ends. The binding's id is
 * what received frags carry.
 */
int devnl_bind_rx(struct devnl_family *netdev, unsigned int ifindex, int fd,
		  const unsigned int *queue, unsigned int count, uint32_t *id);

/**
 * devnl_bind_tx() - bind dma-buf @fd to a device for sending, until
 * devnl_close(). @id is what sendmsg() knows it by. -EOPNOTSUPP: the kernel or
 * the driver cannot; asked before @fd is looked at, which is -EBADF if it is none.
 */
int devnl_bind_tx(struct devnl_family *netdev, unsigned int ifindex, int fd,
		  uint32_t *id);

/**
 * devnl_bound_queues() - which of the first @count receive queues have a dma-buf.
 * *present, if not NULL, is the number of receive queues reported.
 */
int devnl_bound_queues(struct devnl_family *netdev, unsigned int ifindex,
		       bool *bound, unsigned int count, unsigned int *present);

/**
 * devnl_queue_dmabufs() - the same, and whose: the ids of the bindings of the first
 * @count receive queues, 0 where there is none.
 */
int devnl_queue_dmabufs(struct devnl_family *netdev, unsigned int ifindex,
			uint32_t *id, unsigned int count,
			unsigned int *present);

/**
 * devnl_pages_held() - pages of dma-buf binding @dmabuf_id that page pools of a
 * device have taken and not got back: in rings, in the stack, with users.
 */
int devnl_pages_held(struct devnl_family *netdev, unsigned int ifindex,
		     uint32_t dmabuf_id, size_t *pages);

struct devnl_rings {
	unsigned int rx; /* descriptors per receive ring */
	int split;	 /* DEVMEM_SPLIT_*; -1: the driver has none */
	bool has_hds_thresh;
	unsigned int hds_thresh;
};

/* -ENOENT: the kernel has no ethtool family. */
int devnl_rings_get(unsigned int ifindex, struct devnl_rings *r);
/*
 * Set header split (DEVMEM_SPLIT_*), and the threshold where @hds_thresh >= 0.
 * @extack: what the kernel said of an error, or "", in @n bytes.
 */
int devnl_rings_set(unsigned int ifindex, int split, int hds_thresh,
		    char *extack, size_t n);

#endif /* DEVMEM_DEVNL_H */
