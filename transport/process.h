/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * process.h - what the calling thread may do, and where it is.
 */
#ifndef DEVMEM_PROCESS_H
#define DEVMEM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Has it CAP_NET_ADMIN? Else it cannot change a setting of a NIC, or bind to it. */
bool has_net_admin(void);

/* The inode that tells its network namespace from others. 0 or -errno. */
int netns_inode(uint64_t *inode);

#endif /* DEVMEM_PROCESS_H */
