// SPDX-License-Identifier: BSD-3-Clause
/*
 * c_headers.h - the transport's internal headers, for tests in C++.
 * Include it after the standard headers.
 */
#ifndef UNIT_C_HEADERS_H
#define UNIT_C_HEADERS_H

#ifndef _Static_assert
#define _Static_assert static_assert
#endif

extern "C" {
#include "cmsg.h"
#include "credit.h"
#include "gather.h"
#include "guard.h"
#include "ifname.h"
#include "nicfile.h"
#include "process.h"
#include "restore.h"
#include "sock.h"
#include "tokens.h"
#include "uapi.h"
#include "wire.h"
}

#endif
