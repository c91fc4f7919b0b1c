// SPDX-License-Identifier: BSD-3-Clause
/*
 * other_plugin.c - somebody else's net plugin, as far as its name goes: nothing in it
 * can be called.
 */
#include "nccl_net_abi.h"

__attribute__((visibility("default")))
const ncclNet_v11_t ncclNetPlugin_v11 = { .name = "other" };
