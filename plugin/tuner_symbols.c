// SPDX-License-Identifier: BSD-3-Clause
/*
 * tuner_symbols.c - the names by which NCCL finds our tuner, if unpack is on.
 *
 * When it is off NCCL must not even find one. An init that fails is an error of the
 * communicator. A tuner that does nothing is not nothing either: with it NCCL 2.26
 * closes the net plugin under itself, and with NCCL_NET_PLUGIN_REF_COUNT=0 the next
 * communicator hangs; from 2.27 on NCCL_CTA_POLICY_EFFICIENCY has no effect where
 * there is a tuner. So these symbols are indirect functions: dlsym calls a resolver,
 * and gives what it gives, a table or NULL, which to NCCL is "no such symbol".
 */
#include <stddef.h>

#include "net.h"
#include "tuner.h"

typedef void symbol(void);

#define TUNER_EXPORT(v)                                                       \
	__attribute__((used)) static symbol *find_v##v(void)                  \
	{                                                                     \
		return tuner_guards() ? (symbol *)(void *)&tuner_v##v : NULL; \
	}                                                                     \
	NET_EXPORT void ncclTunerPlugin_v##v(void)                            \
		__attribute__((ifunc("find_v" #v)))

TUNER_EXPORT(2);
TUNER_EXPORT(3);
TUNER_EXPORT(4);
TUNER_EXPORT(5);
