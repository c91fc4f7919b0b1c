// SPDX-License-Identifier: BSD-3-Clause
/*
 * ethioctl.c - flow rules and RSS by SIOCETHTOOL; see ethioctl.h.
 * Kernel side: net/ethtool/ioctl.c.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ethioctl.h"

/* Rules that we look through for a free place, where the driver wants one. */
#define RULES_MAX 8192u

static int eth_ioctl(const char *ifname, void *cmd)
{
	struct ifreq ifr = { .ifr_data = cmd };
	int fd, rc;

	if (strlen(ifname) >= IFNAMSIZ)
		return -EINVAL;
	strcpy(ifr.ifr_name, ifname);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

unsigned int eth_speed_get(const char *ifname)
{
	/* The kernel answers first how many words its link modes take. */
	union {
		struct ethtool_link_settings settings;
		char room[sizeof(struct ethtool_link_settings) + 3 * 4 * 128];
	} u = { .settings.cmd = ETHTOOL_GLINKSETTINGS };
	int words;

	if (eth_ioctl(ifname, &u))
		return 0;
	words = -u.settings.link_mode_masks_nwords;
	if (words <= 0 || words > 127)
		return 0;
	memset(&u, 0, sizeof(u));
	u.settings.cmd = ETHTOOL_GLINKSETTINGS;
	u.settings.link_mode_masks_nwords = (int8_t)words;
	if (eth_ioctl(ifname, &u) ||
	    u.settings.speed == (uint32_t)SPEED_UNKNOWN)
		return 0;
	return u.settings.speed;
}

int eth_sg_get(const char *ifname, bool *on)
{
	struct ethtool_value v = { .cmd = ETHTOOL_GSG };
	int rc = eth_ioctl(ifname, &v);

	*on = !rc && v.data;
	return rc;
}

int eth_ntuple_probe(const char *ifname)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_GRXCLSRLCNT };

	return eth_ioctl(ifname, &cmd);
}

int eth_ntuple_get(const char *ifname, bool *on)
{
	struct ethtool_value v = { .cmd = ETHTOOL_GFLAGS };
	int rc = eth_ioctl(ifname, &v);

	*on = !rc && (v.data & ETH_FLAG_NTUPLE);
	return rc;
}

int eth_ntuple_set(const char *ifname, bool on)
{
	struct ethtool_value v = { .cmd = ETHTOOL_GFLAGS };
	int rc = eth_ioctl(ifname, &v);

	if (rc)
		return rc;
	v.cmd = ETHTOOL_SFLAGS;
	v.data = on ? v.data | ETH_FLAG_NTUPLE :
		      v.data & ~(uint32_t)ETH_FLAG_NTUPLE;
	return eth_ioctl(ifname, &v);
}

static int flow_spec(const struct eth_flow *flow, bool with_source,
		     struct ethtool_rx_flow_spec *fs)
{
	memset(fs, 0, sizeof(*fs));
	if (flow->src->ss_family != flow->dst->ss_family)
		return -EINVAL;

	if (flow->dst->ss_family == AF_INET) {
		const struct sockaddr_in *src = (const void *)flow->src;
		const struct sockaddr_in *dst = (const void *)flow->dst;
		struct ethtool_tcpip4_spec *h = &fs->h_u.tcp_ip4_spec;
		struct ethtool_tcpip4_spec *m = &fs->m_u.tcp_ip4_spec;

		fs->flow_type = TCP_V4_FLOW;
		h->ip4dst = dst->sin_addr.s_addr;
		h->pdst = dst->sin_port;
		m->ip4dst = ~0u;
		m->pdst = 0xffff;
		if (with_source) {
			h->ip4src = src->sin_addr.s_addr;
			h->psrc = src->sin_port;
			m->ip4src = ~0u;
			m->psrc = 0xffff;
		}
		return 0;
	}
	if (flow->dst->ss_family == AF_INET6) {
		const struct sockaddr_in6 *src = (const void *)flow->src;
		const struct sockaddr_in6 *dst = (const void *)flow->dst;
		struct ethtool_tcpip6_spec *h = &fs->h_u.tcp_ip6_spec;
		struct ethtool_tcpip6_spec *m = &fs->m_u.tcp_ip6_spec;

		fs->flow_type = TCP_V6_FLOW;
		memcpy(h->ip6dst, &dst->sin6_addr, 16);
		memset(m->ip6dst, 0xff, 16);
		h->pdst = dst->sin6_port;
		m->pdst = 0xffff;
		if (with_source) {
			memcpy(h->ip6src, &src->sin6_addr, 16);
			memset(m->ip6src, 0xff, 16);
			h->psrc = src->sin6_port;
			m->psrc = 0xffff;
		}
		return 0;
	}
	return -EAFNOSUPPORT;
}

/* All rules; *size is that of the table, 0 where the driver does not say. */
static int all_rules(const char *ifname, struct ethtool_rxnfc **out,
		     uint32_t *size)
{
	struct ethtool_rxnfc *all;
	int rc;

	*out = NULL;
	all = calloc(1, sizeof(*all) + RULES_MAX * sizeof(uint32_t));
	if (!all)
		return -ENOMEM;
	all->cmd = ETHTOOL_GRXCLSRLALL;
	all->rule_cnt = RULES_MAX;
	rc = eth_ioctl(ifname, all);
	if (rc) {
		free(all);
		return rc;
	}
	if (all->rule_cnt > RULES_MAX)
		all->rule_cnt = RULES_MAX;
	*size = (uint32_t)all->data;
	*out = all;
	return 0;
}

int eth_rules_get(const char *ifname, uint32_t *location, size_t cap,
		  size_t *count)
{
	struct ethtool_rxnfc *all;
	uint32_t size;
	int rc;

	*count = 0;
	rc = all_rules(ifname, &all, &size);
	if (rc)
		return rc;
	if (all->rule_cnt > cap) {
		rc = -ENOSPC;
	} else {
		*count = all->rule_cnt;
		memcpy(location, all->rule_locs, *count * sizeof(*location));
	}
	free(all);
	return rc;
}

int eth_rule_queue(const char *ifname, uint32_t location, uint64_t *queue)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_GRXCLSRULE };
	int rc;

	cmd.fs.location = location;
	rc = eth_ioctl(ifname, &cmd);
	*queue = cmd.fs.ring_cookie;
	return rc;
}

int eth_rule_is(const char *ifname, uint32_t location,
		const struct eth_flow *flow, bool whole_port, uint64_t *queue)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_GRXCLSRULE };
	struct ethtool_rx_flow_spec want;
	const uint8_t *has = cmd.fs.h_u.hdata, *value = want.h_u.hdata,
		      *mask = want.m_u.hdata;
	int rc = flow_spec(flow, !whole_port, &want);

	if (rc)
		return rc;
	cmd.fs.location = location;
	rc = eth_ioctl(ifname, &cmd);
	if (rc)
		return rc;
	if (cmd.fs.flow_type != want.flow_type)
		return -ENOENT;
	/* Its mask is left alone: not every driver tells of it. */
	for (size_t i = 0; i < sizeof(want.h_u.hdata); i++)
		if ((has[i] ^ value[i]) & mask[i])
			return -ENOENT;
	*queue = cmd.fs.ring_cookie;
	return 0;
}

/* A place in the table that holds no rule, for drivers that want it named. */
static int free_location(const char *ifname, uint32_t *location)
{
	struct ethtool_rxnfc *all;
	uint32_t size;
	int rc;

	rc = all_rules(ifname, &all, &size);
	if (rc)
		return rc;
	rc = -ENOSPC;
	/* From the end: what people add by hand starts at the front. */
	for (uint32_t at = size ?: RULES_MAX; rc && at-- > 0;) {
		bool taken = false;

		for (uint32_t i = 0; i < all->rule_cnt && !taken; i++)
			taken = all->rule_locs[i] == at;
		if (!taken) {
			*location = at;
			rc = 0;
		}
	}
	free(all);
	return rc;
}

static int insert(const char *ifname, const struct ethtool_rx_flow_spec *fs,
		  uint32_t *location)
{
	struct ethtool_rxnfc count = { .cmd = ETHTOOL_GRXCLSRLCNT };
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_SRXCLSRLINS, .fs = *fs };
	int rc;

	cmd.fs.location = RX_CLS_LOC_ANY;
	rc = eth_ioctl(ifname, &count);
	if (rc)
		return rc;
	if (!(count.data & RX_CLS_LOC_SPECIAL)) {
		rc = free_location(ifname, &cmd.fs.location);
		if (rc)
			return rc;
	}
	rc = eth_ioctl(ifname, &cmd);
	if (!rc)
		*location = cmd.fs.location;
	return rc;
}

int eth_rule_insert(const char *ifname, const struct eth_flow *flow,
		    unsigned int queue, uint32_t *location, bool *whole_port)
{
	struct ethtool_rx_flow_spec fs;
	int rc;

	*whole_port = false;
	rc = flow_spec(flow, true, &fs);
	if (rc)
		return rc;
	fs.ring_cookie = queue;
	rc = insert(ifname, &fs, location);
	if (rc != -EINVAL && rc != -EOPNOTSUPP)
		return rc;
	flow_spec(flow, false, &fs);
	fs.ring_cookie = queue;
	*whole_port = true;
	return insert(ifname, &fs, location);
}

int eth_rule_delete(const char *ifname, uint32_t location)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_SRXCLSRLDEL };

	cmd.fs.location = location;
	return eth_ioctl(ifname, &cmd);
}

int eth_indir_get(const char *ifname, uint32_t *entry, size_t cap,
		  size_t *count)
{
	struct ethtool_rxfh_indir size = { .cmd = ETHTOOL_GRXFHINDIR };
	struct ethtool_rxfh_indir *table;
	int rc;

	rc = eth_ioctl(ifname, &size);
	if (rc)
		return rc;
	if (!size.size || size.size > cap)
		return -EOPNOTSUPP;

	table = calloc(1, sizeof(*table) + size.size * sizeof(uint32_t));
	if (!table)
		return -ENOMEM;
	table->cmd = ETHTOOL_GRXFHINDIR;
	table->size = size.size;
	rc = eth_ioctl(ifname, table);
	if (!rc && table->size != size.size)
		rc = -EAGAIN; /* the queues changed in between */
	if (!rc) {
		*count = table->size;
		memcpy(entry, table->ring_index, *count * sizeof(uint32_t));
	}
	free(table);
	return rc;
}

int eth_indir_set(const char *ifname, const uint32_t *entry, size_t count)
{
	struct ethtool_rxfh_indir *table;
	int rc;

	table = calloc(1, sizeof(*table) + count * sizeof(uint32_t));
	if (!table)
		return -ENOMEM;
	table->cmd = ETHTOOL_SRXFHINDIR;
	table->size = (uint32_t)count;
	memcpy(table->ring_index, entry, count * sizeof(uint32_t));
	rc = eth_ioctl(ifname, table);
	free(table);
	return rc;
}
