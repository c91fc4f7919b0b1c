// SPDX-License-Identifier: BSD-3-Clause
/*
 * modes.c - what the modes of devmem-bench are called.
 */
#include "bench.h"

const char *mode_name(enum mode m)
{
	static const char *const names[MODES] = {
		[MODE_ALLREDUCE] = "allreduce",
		[MODE_ALLGATHER] = "allgather",
		[MODE_REDUCESCATTER] = "reducescatter",
		[MODE_BROADCAST] = "broadcast",
		[MODE_ALLTOALL] = "alltoall",
		[MODE_SOAK] = "soak",
		[MODE_BANDWIDTH] = "bandwidth",
		[MODE_LATENCY] = "latency",
	};

	return names[m];
}

bool mode_is_coll(enum mode m)
{
	return m <= MODE_SOAK;
}
