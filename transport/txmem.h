/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * txmem.h - dma-bufs bound to a device for sending (netdev bind-tx). A buffer
 * that several connections send from is bound once for each device.
 * Any thread.
 */
#ifndef DEVMEM_TXMEM_H
#define DEVMEM_TXMEM_H

#include <stddef.h>
#include <stdint.h>

#include "log.h"

struct txmem;

/**
 * txmem_probe() - can the kernel and the driver of a device send from a dma-buf?
 * 0, or -errno with the reason in @w.
 */
int txmem_probe(const char *ifname, unsigned int ifindex, struct why *w);

/**
 * txmem_get() - bind the memory named [addr, addr + size), which lies at
 * @offset of dma-buf @fd, to a device, or hold the binding that is there. @fd is
 * not kept. 0, or -errno with the reason in @w.
 *
 * The name is the key: as long as somebody holds it, the same name is the same
 * memory, whichever descriptor it comes with.
 */
int txmem_get(const char *ifname, unsigned int ifindex, uintptr_t addr,
	      size_t size, uint64_t offset, int fd, struct txmem **out,
	      struct why *w);
/* The last one unbinds. What the kernel has not sent yet it still sends. */
void txmem_put(struct txmem *m);

/* What sendmsg() knows the binding by. */
uint32_t txmem_id(const struct txmem *m);
/* Bytes of the dma-buf. */
uint64_t txmem_end(const struct txmem *m);

#endif /* DEVMEM_TXMEM_H */
