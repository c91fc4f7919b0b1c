// SPDX-License-Identifier: BSD-3-Clause
/*
 * ifname.c - interface selection and identity; see ifname.h.
 */
#include <ifaddrs.h>
#include <netpacket/packet.h>
#include <string.h>

#include "ifname.h"

bool ifname_selected(const char *spec, const char *name, bool loopback)
{
	bool exclude = false, exact = false, listed = false;

	if (!spec || !*spec)
		return !loopback;
	if (*spec == '^') {
		exclude = true;
		spec++;
	}
	if (*spec == '=') {
		exact = true;
		spec++;
	}
	while (*spec && !listed) {
		size_t n = strcspn(spec, ",");

		listed = n && !strncmp(name, spec, n) && (!exact || !name[n]);
		spec += n;
		spec += *spec == ',';
	}
	return listed != exclude;
}

/*
 * Not from /sys/class/net, which shows the network namespace that it was mounted
 * in, not the one that we are in.
 */
uint64_t ifname_guid(const struct ifaddrs *all, const char *name)
{
	uint64_t guid = 0;

	for (; all; all = all->ifa_next) {
		const struct sockaddr_ll *ll = (const void *)all->ifa_addr;

		if (!ll || ll->sll_family != AF_PACKET ||
		    strcmp(all->ifa_name, name))
			continue;
		for (int i = 0; i < ll->sll_halen && i < 8; i++)
			guid = guid << 8 | ll->sll_addr[i];
	}
	return guid;
}
