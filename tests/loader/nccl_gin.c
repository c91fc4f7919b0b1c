// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_gin.c - NCCL 2.28's tables for network transfers that a GPU starts.
 * The loader takes their addresses; nothing here calls what is in them, so no
 * header of NCCL is needed, nor are there such tables in other versions.
 */
extern void *ncclGinIbProxy[], *ncclGinIbGdaki[];

void *ncclGinIbProxy[32], *ncclGinIbGdaki[32];
