/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_table.h - a plugin's table of any version from 8 to 12 in the form of the
 * newest, for who drives plugins: the benchmark and the conformance suite.
 *
 * What a version lacks is filled in as NCCL fills it in for its own core: below
 * version 11 init is called by the first user alone, and finalize does nothing
 * but count them; below 9 a device is alone and messages end at 1 GiB.
 */
#ifndef NET_TABLE_H
#define NET_TABLE_H

#include "nccl_net_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NET_TABLE_OLDEST 8
#define NET_TABLE_NEWEST 12
/* Buffers that one irecv of a version 8 table may group, as many as NCCL's. */
#define NET_TABLE_MAX_RECVS 8

/*
 * The table of `version` in a library that dlopen has opened, or NULL if it has
 * none. Slots that are NULL in it are NULL here. There is one of each version in
 * a process: it is good until that of another library is asked for, or the
 * library is closed. Any thread.
 */
const ncclNet_v12_t *net_table(void *library, int version);

#ifdef __cplusplus
}
#endif
#endif /* NET_TABLE_H */
