/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor_link.h - what the doctor asks the kernel about an interface and the plugin
 * has no need of. All calls only read, take an interface's name or number, and
 * return 0 or -errno.
 */
#ifndef TOOLS_DOCTOR_LINK_H
#define TOOLS_DOCTOR_LINK_H

#include <stdbool.h>

struct link_channels {
	unsigned int count, most; /* that receive */
	bool combined;		  /* they send as well */
};

enum link_feature {
	FEATURE_NONE, /* the driver does not have it */
	FEATURE_OFF,  /* and cannot be turned on */
	FEATURE_CAN,  /* it is off, and can be turned on */
	FEATURE_ON,
};

int link_channels(const char *ifname, struct link_channels *c);
/* "" if the driver does not say. */
void link_driver(const char *ifname, char *text, unsigned int n);
int link_flags(const char *ifname, unsigned int *flags); /* IFF_* */
int link_mtu(const char *ifname, unsigned int *mtu);
/* A feature by ethtool's name for it, as "rx-gro-hw". */
enum link_feature link_feature(const char *ifname, const char *feature);
/* How an XDP program is attached, as `ip link set` names it; NULL: none is. */
int link_xdp(unsigned int ifindex, const char **how);

#endif /* TOOLS_DOCTOR_LINK_H */
