// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_link.c - questions about an interface by ioctl and rtnetlink; see
 * doctor_link.h. Kernel side: net/ethtool/ioctl.c, net/core/rtnetlink.c.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doctor_link.h"

/* Names of features that are looked through. */
#define FEATURES_MAX 512u

static int link_ioctl(const char *ifname, unsigned long what, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", ifname);
	rc = ioctl(fd, what, ifr) ? -errno : 0;
	close(fd);
	return rc;
}

static int ethtool(const char *ifname, void *cmd)
{
	struct ifreq ifr = { .ifr_data = cmd };

	return link_ioctl(ifname, SIOCETHTOOL, &ifr);
}

int link_channels(const char *ifname, struct link_channels *c)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	int rc = ethtool(ifname, &ch);

	if (rc)
		return rc;
	c->combined = ch.max_combined != 0;
	c->count = ch.combined_count + ch.rx_count;
	c->most = c->combined ? ch.max_combined : ch.max_rx;
	return 0;
}

void link_driver(const char *ifname, char *text, unsigned int n)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };

	if (ethtool(ifname, &info))
		info.driver[0] = '\0';
	snprintf(text, n, "%.*s", (int)sizeof(info.driver), info.driver);
}

int link_flags(const char *ifname, unsigned int *flags)
{
	struct ifreq ifr = { .ifr_name = "" };
	int rc = link_ioctl(ifname, SIOCGIFFLAGS, &ifr);

	*flags = rc ? 0 : (unsigned short)ifr.ifr_flags;
	return rc;
}

int link_mtu(const char *ifname, unsigned int *mtu)
{
	struct ifreq ifr = { .ifr_name = "" };
	int rc = link_ioctl(ifname, SIOCGIFMTU, &ifr);

	*mtu = rc ? 0 : (unsigned int)ifr.ifr_mtu;
	return rc;
}

static unsigned int feature_count(const char *ifname)
{
	union {
		struct ethtool_sset_info info;
		char room[sizeof(struct ethtool_sset_info) + 4];
	} u = { .info = { .cmd = ETHTOOL_GSSET_INFO,
			  .sset_mask = 1ull << ETH_SS_FEATURES } };

	if (ethtool(ifname, &u) || !u.info.sset_mask)
		return 0;
	return u.info.data[0] < FEATURES_MAX ? u.info.data[0] : FEATURES_MAX;
}

/* The feature's bit, or -1. */
static int feature_bit(const char *ifname, const char *feature,
		       unsigned int count)
{
	struct ethtool_gstrings *s =
		calloc(1, sizeof(*s) + (size_t)count * ETH_GSTRING_LEN);
	int bit = -1;

	if (!s)
		return -1;
	s->cmd = ETHTOOL_GSTRINGS;
	s->string_set = ETH_SS_FEATURES;
	s->len = count;
	if (!ethtool(ifname, s))
		for (unsigned int i = 0; bit < 0 && i < count && i < s->len;
		     i++)
			if (!strncmp((char *)s->data + i * ETH_GSTRING_LEN,
				     feature, ETH_GSTRING_LEN))
				bit = (int)i;
	free(s);
	return bit;
}

enum link_feature link_feature(const char *ifname, const char *feature)
{
	unsigned int count = feature_count(ifname), blocks = (count + 31) / 32;
	enum link_feature is = FEATURE_NONE;
	struct ethtool_gfeatures *f;
	int bit = count ? feature_bit(ifname, feature, count) : -1;

	if (bit < 0)
		return FEATURE_NONE;
	f = calloc(1, sizeof(*f) + blocks * sizeof(f->features[0]));
	if (!f)
		return FEATURE_NONE;
	f->cmd = ETHTOOL_GFEATURES;
	f->size = blocks;
	if (!ethtool(ifname, f) && (unsigned int)bit / 32 < f->size) {
		const struct ethtool_get_features_block *b =
			&f->features[bit / 32];
		uint32_t mask = 1u << (bit % 32);

		if (b->active & mask)
			is = FEATURE_ON;
		else if (b->available & mask)
			is = b->never_changed & mask ? FEATURE_OFF :
						       FEATURE_CAN;
	}
	free(f);
	return is;
}

static const char *xdp_how(const struct rtattr *xdp)
{
	static const char *const how[] = {
		[XDP_ATTACHED_DRV] = "xdpdrv",
		[XDP_ATTACHED_SKB] = "xdpgeneric",
		[XDP_ATTACHED_HW] = "xdpoffload",
		[XDP_ATTACHED_MULTI] = "xdp",
	};
	int left = (int)RTA_PAYLOAD(xdp);

	for (const struct rtattr *a = RTA_DATA(xdp); RTA_OK(a, left);
	     a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == IFLA_XDP_ATTACHED &&
		    RTA_PAYLOAD(a) >= 1) {
			unsigned char at = *(const unsigned char *)RTA_DATA(a);

			return at < sizeof(how) / sizeof(*how) ? how[at] :
								 "xdp";
		}
	return NULL;
}

static int read_link(const struct nlmsghdr *h, size_t n, const char **how)
{
	const struct ifinfomsg *info;
	int left;

	if (n < sizeof(*h) || !NLMSG_OK(h, n) || h->nlmsg_type != RTM_NEWLINK)
		return -EIO;
	info = NLMSG_DATA(h);
	left = (int)IFLA_PAYLOAD(h);
	for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left);
	     a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == IFLA_XDP)
			*how = xdp_how(a);
	return 0;
}

int link_xdp(unsigned int ifindex, const char **how)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg info;
	} ask = {
		.h = { .nlmsg_len = sizeof(ask),
		       .nlmsg_type = RTM_GETLINK,
		       .nlmsg_flags = NLM_F_REQUEST },
		.info = { .ifi_index = (int)ifindex },
	};
	size_t room = 64u << 10;
	char *answer = malloc(room);
	ssize_t n = -1;
	int fd, rc;

	*how = NULL;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0 || !answer) {
		rc = fd < 0 ? -errno : -ENOMEM;
		goto out;
	}
	/* The kernel answers before send() returns. */
	if (send(fd, &ask, sizeof(ask), 0) == sizeof(ask))
		n = recv(fd, answer, room, MSG_DONTWAIT);
	rc = n < 0 ? -errno : read_link((void *)answer, (size_t)n, how);
out:
	if (fd >= 0)
		close(fd);
	free(answer);
	return rc;
}
