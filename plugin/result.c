// SPDX-License-Identifier: BSD-3-Clause
/*
 * result.c - see result.h. What the peer did is a remote error: NCCL's users
 * recover from it by aborting the communicator, as when a rank dies. Misuse is
 * the caller's; all else is the system's.
 */
#include <errno.h>

#include "result.h"

ncclResult_t result_of(int rc)
{
	switch (-rc) {
	case 0:
		return ncclSuccess;
	case ECONNRESET:
	case ECONNREFUSED:
	case ECONNABORTED:
	case EPIPE:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case EPROTO:
	case EREMOTEIO:
		return ncclRemoteError;
	case EINVAL:
	case EMSGSIZE:
	case EOPNOTSUPP:
		return ncclInvalidUsage;
	default:
		return ncclSystemError;
	}
}
