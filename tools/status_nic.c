// SPDX-License-Identifier: BSD-3-Clause
/*
 * status_nic.c - what the kernel says of a NIC: bindings, page pools, rules, and
 * settings that matter. Nothing is changed. See status.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ethioctl.h"
#include "status.h"
#include "uapi.h"

static void address(int family, const void *addr, const void *mask,
		    uint16_t port, uint16_t port_mask, char *text, size_t n)
{
	static const uint8_t none[16];
	char host[INET6_ADDRSTRLEN] = "*", number[8] = "*";
	size_t bytes = family == AF_INET ? 4 : 16;

	if (memcmp(mask, none, bytes))
		inet_ntop(family, addr, host, sizeof(host));
	if (port_mask)
		snprintf(number, sizeof(number), "%u", ntohs(port));
	snprintf(text, n,
		 family == AF_INET6 && host[0] != '*' ? "[%s]:%s" : "%s:%s",
		 host, number);
}

static void rule_text(const struct ethtool_rx_flow_spec *fs, char *text,
		      size_t n)
{
	const struct ethtool_tcpip4_spec *h4 = &fs->h_u.tcp_ip4_spec;
	const struct ethtool_tcpip4_spec *m4 = &fs->m_u.tcp_ip4_spec;
	const struct ethtool_tcpip6_spec *h6 = &fs->h_u.tcp_ip6_spec;
	const struct ethtool_tcpip6_spec *m6 = &fs->m_u.tcp_ip6_spec;
	uint32_t type = fs->flow_type & ~(uint32_t)(FLOW_EXT | FLOW_MAC_EXT);
	char src[64], dst[64];

	if (type == TCP_V4_FLOW) {
		address(AF_INET, &h4->ip4src, &m4->ip4src, h4->psrc, m4->psrc,
			src, sizeof(src));
		address(AF_INET, &h4->ip4dst, &m4->ip4dst, h4->pdst, m4->pdst,
			dst, sizeof(dst));
	} else if (type == TCP_V6_FLOW) {
		address(AF_INET6, h6->ip6src, m6->ip6src, h6->psrc, m6->psrc,
			src, sizeof(src));
		address(AF_INET6, h6->ip6dst, m6->ip6dst, h6->pdst, m6->pdst,
			dst, sizeof(dst));
	} else {
		snprintf(text, n, "of type %u", type);
		return;
	}
	snprintf(text, n, "tcp %s > %s", src, dst);
}

static int rule_get(const char *ifname, uint32_t location,
		    struct ethtool_rx_flow_spec *fs)
{
	struct ethtool_rxnfc cmd = { .cmd = ETHTOOL_GRXCLSRULE };
	struct ifreq ifr = { .ifr_data = (void *)&cmd };
	int fd, rc;

	cmd.fs.location = location;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = ioctl(fd, SIOCETHTOOL, &ifr) ? -errno : 0;
	close(fd);
	*fs = cmd.fs;
	return rc;
}

static bool is_bound(const struct status_nic *n, uint64_t queue)
{
	return queue < n->queues && queue < STATUS_QUEUES && n->dmabuf[queue];
}

static void read_rules(struct status_nic *n)
{
	uint32_t *location = calloc(8192, sizeof(*location));
	size_t count = 0;

	if (!location)
		return;
	if (eth_rules_get(n->name, location, 8192, &count))
		count = 0;
	for (size_t i = 0; i < count && n->rules < STATUS_RULES; i++) {
		struct status_rule *r = &n->rule[n->rules];
		struct ethtool_rx_flow_spec fs;

		if (rule_get(n->name, location[i], &fs) ||
		    !is_bound(n, fs.ring_cookie))
			continue;
		r->location = location[i];
		r->queue = fs.ring_cookie;
		rule_text(&fs, r->text, sizeof(r->text));
		n->rules++;
	}
	free(location);
}

static struct status_binding *binding(struct status_nic *n, uint32_t dmabuf)
{
	for (unsigned int i = 0; i < n->bindings; i++)
		if (n->binding[i].dmabuf == dmabuf)
			return &n->binding[i];
	if (n->bindings == STATUS_BINDINGS)
		return NULL;
	n->binding[n->bindings].dmabuf = dmabuf;
	return &n->binding[n->bindings++];
}

static void read_bindings(struct status_nic *n)
{
	struct devnl_family netdev;
	int rc = devnl_open(&netdev, DEVMEM_NETDEV_FAMILY);

	if (!rc) {
		rc = devnl_queue_dmabufs(&netdev, n->ifindex, n->dmabuf,
					 STATUS_QUEUES, &n->queues);
		for (unsigned int i = 0;
		     !rc && i < n->queues && i < STATUS_QUEUES; i++)
			if (n->dmabuf[i])
				binding(n, n->dmabuf[i]);
		for (unsigned int i = 0; i < n->bindings; i++) {
			struct status_binding *b = &n->binding[i];

			b->pages_known = !devnl_pages_held(
				&netdev, n->ifindex, b->dmabuf, &b->pages);
		}
		devnl_close(&netdev);
	}
	if (rc)
		snprintf(n->error, sizeof(n->error),
			 "the kernel tells nothing of its queues: %s",
			 strerror(-rc));
}

/* Does RSS still send packets to a queue that is bound? */
static int rss_hits(const struct status_nic *n)
{
	static uint32_t entry[ETH_MAX_INDIR];
	size_t count = 0;

	if (eth_indir_get(n->name, entry, ETH_MAX_INDIR, &count))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (is_bound(n, entry[i]))
			return 1;
	return 0;
}

void status_nic_read(struct status_nic *n, const char *name,
		     unsigned int ifindex)
{
	struct devnl_rings rings;
	bool on;

	snprintf(n->name, sizeof(n->name), "%s", name);
	n->ifindex = ifindex;
	n->split = devnl_rings_get(ifindex, &rings) ? -1 : rings.split;
	n->ntuple = eth_ntuple_get(name, &on) ? -1 : on;
	read_bindings(n);
	n->rss_hits = rss_hits(n);
	if (n->bindings)
		read_rules(n);
}
