/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * result.h - the one place where -errno becomes what NCCL understands.
 */
#ifndef PLUGIN_RESULT_H
#define PLUGIN_RESULT_H

#include "nccl_net_abi.h"

/* @rc: 0 or a negative errno. */
ncclResult_t result_of(int rc);

#endif /* PLUGIN_RESULT_H */
