/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emulate.h - a stand-in for a NIC that receives into device memory: what comes by
 * ordinary TCP is copied to pages of the pool, scattered as a NIC would, and handed up
 * in the form in which the kernel does it (recvmsg with MSG_SOCK_DEVMEM). So whatever
 * is above, tokens, gathering, NCCL's unpacking, runs on a machine without such a
 * NIC. It saves no copy, and never counts as devmem.
 */
#ifndef DEVMEM_EMULATE_H
#define DEVMEM_EMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct emu_pool;
struct emu_flow;
struct gather_engine;
struct region;
struct token_batch;

/* A page holds as much at least, but for the last one of what was read: MTU 1500. */
#define EMU_SEGMENT 1448u

/* Over all pages of a region, which must stay. NULL: out of memory. Any thread. */
struct emu_pool *emu_pool_new(const struct region *r);
void emu_pool_free(struct emu_pool *p);

/* For one socket, of one thread at a time. */
struct emu_flow *emu_flow_new(struct emu_pool *p, int fd);
/* Its pages go back, too. NULL is allowed. */
void emu_flow_free(struct emu_flow *f);

/**
 * emu_land() - have payload in the pool: read up to @bytes, and begin to copy what
 * came, or see whether that has been done. What emu_recvmsg() then returns, at most
 * that much of it. Else as recv(): 0, or -1 with errno (EAGAIN also while it is being
 * copied).
 */
ssize_t emu_land(struct emu_flow *f, struct gather_engine *e, size_t bytes);
/* The ticket of the last copy, or 0. */
uint64_t emu_ticket(const struct emu_flow *f);
/* Is there something that has been read and not handed up? */
bool emu_has_landed(const struct emu_flow *f);

/** emu_recvmsg() - as recvmsg(MSG_SOCK_DEVMEM), of what has landed. */
ssize_t emu_recvmsg(struct emu_flow *f, struct gather_engine *e,
		    struct msghdr *msg);

/** emu_return() - as tokens_return(). */
int emu_return(struct emu_flow *f, struct token_batch *b, uint64_t *calls);

#endif /* DEVMEM_EMULATE_H */
