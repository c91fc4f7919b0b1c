// SPDX-License-Identifier: BSD-3-Clause
/* network.h - a network in which an address family is missing. */
#ifndef CONFORMANCE_NETWORK_H
#define CONFORMANCE_NETWORK_H

#include <string>

/*
 * Moves the process to a network namespace of its own whose only interface, lo,
 * has addresses of one family: 4 or 6. "" or why that cannot be had here.
 */
std::string own_network(int family);

#endif
