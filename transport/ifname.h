/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ifname.h - which interfaces the user means, in NCCL_SOCKET_IFNAME's language,
 * and which one a name stands for at present.
 */
#ifndef DEVMEM_IFNAME_H
#define DEVMEM_IFNAME_H

#include <stdbool.h>
#include <stdint.h>

struct ifaddrs;

/**
 * ifname_selected() - does @spec select interface @name?
 *
 * @spec is a comma list. "eth,ens": names that begin so; "=eth0,eth1": these
 * names; "^docker": all but those that begin so; "^=lo": all but these. NULL or
 * "" selects every interface but loopback (@loopback says whether @name is).
 */
bool ifname_selected(const char *spec, const char *name, bool loopback);

/** ifname_guid() - the MAC of interface @name in getifaddrs()' list; 0: none. */
uint64_t ifname_guid(const struct ifaddrs *all, const char *name);

#endif /* DEVMEM_IFNAME_H */
