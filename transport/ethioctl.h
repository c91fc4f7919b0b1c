/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ethioctl.h - what ethtool netlink cannot set on the kernels we run on: flow
 * rules (ntuple) and the RSS indirection table, by SIOCETHTOOL. Each call takes
 * an interface name; none keeps state.
 */
#ifndef DEVMEM_ETHIOCTL_H
#define DEVMEM_ETHIOCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Entries of an indirection table that we are prepared for. */
#define ETH_MAX_INDIR 4096

/* A TCP flow as the receiver sees it; both addresses of one family. */
struct eth_flow {
	const struct sockaddr_storage *src, *dst;
};

/** eth_speed_get() - of the link, in Mbit/s; 0 if the device does not say. */
unsigned int eth_speed_get(const char *ifname);

/* Can packets be sent in several pieces? */
int eth_sg_get(const char *ifname, bool *on);

/** eth_ntuple_probe() - can the device steer flows? 0, -EOPNOTSUPP, -errno. */
int eth_ntuple_probe(const char *ifname);
/** eth_ntuple_get/set() - the "ntuple-filters" feature flag. */
int eth_ntuple_get(const char *ifname, bool *on);
int eth_ntuple_set(const char *ifname, bool on);

/**
 * eth_rule_insert() - steer a flow to a queue: by source and destination where
 * the device can, else by destination address and port alone, then *whole_port is
 * set: the rule is for all flows to that port. *location is for
 * eth_rule_delete().
 */
int eth_rule_insert(const char *ifname, const struct eth_flow *flow,
		    unsigned int queue, uint32_t *location, bool *whole_port);
int eth_rule_delete(const char *ifname, uint32_t location);

/**
 * eth_rules_get() - locations of all rules: @cap of room in, *count out. -ENOSPC
 * if there are more. eth_rule_queue() - where a rule steers to.
 */
int eth_rules_get(const char *ifname, uint32_t *location, size_t cap,
		  size_t *count);
int eth_rule_queue(const char *ifname, uint32_t location, uint64_t *queue);
/**
 * eth_rule_is() - is the rule there the one that eth_rule_insert() has made of
 * @flow and @whole_port? 0: yes, and it steers to *queue. -ENOENT: it is another.
 */
int eth_rule_is(const char *ifname, uint32_t location,
		const struct eth_flow *flow, bool whole_port, uint64_t *queue);

/**
 * eth_indir_get() - read the RSS indirection table: @cap entries of room in,
 * *count entries out. -EOPNOTSUPP: the device has none.
 */
int eth_indir_get(const char *ifname, uint32_t *entry, size_t cap,
		  size_t *count);
int eth_indir_set(const char *ifname, const uint32_t *entry, size_t count);

#endif /* DEVMEM_ETHIOCTL_H */
