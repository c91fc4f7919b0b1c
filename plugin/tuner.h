/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tuner.h - NCCL's device unpack is safe for some of its algorithms and protocols
 * alone; a tuner of ours keeps NCCL to these. docs/unpack.md says which, and why.
 */
#ifndef PLUGIN_TUNER_H
#define PLUGIN_TUNER_H

#include <stdbool.h>

#include "nccl_tuner_abi.h"

extern ncclTuner_v5_t tuner_v5;
extern ncclTuner_v4_t tuner_v4;
extern ncclTuner_v3_t tuner_v3;
extern ncclTuner_v2_t tuner_v2;

/**
 * tuner_guards() - is unpack asked for (NCCL_DEVMEM_UNPACK=1)? If not, or if any
 * parameter is not valid, NCCL finds no tuner here. The environment is read once in
 * a process: NCCL, too, looks for a tuner once. Any thread.
 */
bool tuner_guards(void);

/**
 * tuner_in_use() - has a communicator of this process our tuner? NCCL takes another
 * one where there is one, and 2.20 none of ours. It has it when it is initialised,
 * which is before its first collective, but after its connections. Any thread.
 */
bool tuner_in_use(void);

#endif /* PLUGIN_TUNER_H */
