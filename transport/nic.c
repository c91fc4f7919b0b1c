// SPDX-License-Identifier: BSD-3-Clause
/*
 * nic.c - discovery of interfaces and the process's hold on them; see nic.h.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "ethioctl.h"
#include "ifname.h"
#include "nic.h"
#include "rxpool.h"
#include "sock.h"
#include "stats.h"
#include "txmem.h"

#define NICS_MAX    32
#define DEVICES_MAX 64

static struct {
	pthread_mutex_t lock;
	unsigned int users;
	struct devmem_options options;
	char broker[BROKER_PATH]; /* of the options, a copy */
	struct nic nic[NICS_MAX];
	int count;
	/* The interfaces, then what was made of them. */
	struct device device[DEVICES_MAX];
	int devices;
} nics = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void read_pci_path(struct devmem_nic_props *info)
{
	char path[64], real[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", info->name);
	if (realpath(path, real) && strstr(real, "/pci") &&
	    strlen(real) < sizeof(info->pci_path))
		strcpy(info->pci_path, real);
}

static bool usable_address(const struct ifaddrs *a)
{
	if (!a->ifa_addr || !(a->ifa_flags & IFF_UP))
		return false;
	if (a->ifa_addr->sa_family == AF_INET)
		return true;
	if (a->ifa_addr->sa_family != AF_INET6)
		return false;
	/* Link-local ones would need their scope known at the peer. */
	return !IN6_IS_ADDR_LINKLOCAL(
		&((struct sockaddr_in6 *)a->ifa_addr)->sin6_addr);
}

static struct nic *find(const char *name)
{
	for (int i = 0; i < nics.count; i++)
		if (!strcmp(nics.nic[i].info.name, name))
			return &nics.nic[i];
	return NULL;
}

static void add(const struct ifaddrs *all, const struct ifaddrs *a)
{
	struct nic *n = &nics.nic[nics.count++];
	struct why w = { .text = "" }, tx = { .text = "" };

	memset(n, 0, sizeof(*n));
	pthread_mutex_init(&n->lock, NULL);
	snprintf(n->info.name, sizeof(n->info.name), "%s", a->ifa_name);
	n->info.ifindex = if_nametoindex(a->ifa_name);
	memcpy(&n->addr, a->ifa_addr,
	       a->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
						   sizeof(struct sockaddr_in6));
	read_pci_path(&n->info);
	n->info.guid = ifname_guid(all, n->info.name) ?: n->info.ifindex;
	/* Virtual interfaces have none: what NCCL assumes for those. */
	n->info.speed_mbps = eth_speed_get(n->info.name) ?: 10000;
	n->info.devmem_rx = !rxpool_probe(&n->info, &nics.options, &w);
	snprintf(n->info.reason, sizeof(n->info.reason), "%.*s",
		 (int)sizeof(n->info.reason) - 1, w.text);
	rxpool_gpu_props(&n->info, &nics.options);
	n->info.devmem_tx = !txmem_probe(n->info.name, n->info.ifindex, &tx);
	snprintf(n->info.tx_reason, sizeof(n->info.tx_reason), "%.*s",
		 (int)sizeof(n->info.tx_reason) - 1, tx.text);
}

/* IPv4 first, then IPv6: an interface is listed once, by its first address. */
static int discover(void)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct ifaddrs *all;

	if (getifaddrs(&all)) {
		int err = errno;

		WARN("listing the network interfaces: %s", strerror(err));
		return -err;
	}
	nics.count = 0;
	for (int f = 0; f < 2; f++)
		for (struct ifaddrs *a = all; a; a = a->ifa_next)
			if (usable_address(a) && nics.count < NICS_MAX &&
			    a->ifa_addr->sa_family == families[f] &&
			    ifname_selected(nics.options.ifname, a->ifa_name,
					    a->ifa_flags & IFF_LOOPBACK) &&
			    !find(a->ifa_name))
				add(all, a);
	freeifaddrs(all);
	nics.devices = nics.count;
	for (int i = 0; i < nics.count; i++) {
		struct nic *n = &nics.nic[i];

		n->info.rails = 1;
		n->info.rail[0] = i;
		nics.device[i] = (struct device){
			.info = n->info,
			.rail = { n },
			.rails = 1,
		};
	}
	if (nics.count)
		return 0;
	WARN("no network interface that is up, has an address and fits "
	     "NCCL_DEVMEM_IFNAME=\"%s\"; see: ip -brief address",
	     nics.options.ifname ?: "");
	return -ENODEV;
}

static void free_options(void)
{
	free((char *)nics.options.ifname);
	free((char *)nics.options.guard);
}

/* Texts may be the environment's, which does not stay as it is. */
static int copy_options(const struct devmem_options *o)
{
	nics.options = *o;
	nics.options.ifname = o->ifname ? strdup(o->ifname) : NULL;
	nics.options.guard = o->guard ? strdup(o->guard) : NULL;
	snprintf(nics.broker, sizeof(nics.broker), "%s", o->broker ?: "auto");
	nics.options.broker = nics.broker;
	return (o->ifname && !nics.options.ifname) ||
			       (o->guard && !nics.options.guard) ?
		       -ENOMEM :
		       0;
}

int nics_get(const struct devmem_options *o)
{
	int rc = 0;

	pthread_mutex_lock(&nics.lock);
	if (!nics.users) {
		rc = copy_options(o) ?: discover();
		if (rc)
			free_options();
	}
	if (!rc)
		nics.users++;
	pthread_mutex_unlock(&nics.lock);
	return rc;
}

static void pool_down(struct rxpool *p)
{
	if (!p)
		return;
	stats_pool_gone(p);
	rxpool_teardown(p);
}

void nics_put(void)
{
	pthread_mutex_lock(&nics.lock);
	if (nics.users && !--nics.users) {
		for (int i = 0; i < nics.count; i++) {
			struct nic *n = &nics.nic[i];

			for (int k = 0; k <= GPUS_MAX; k++)
				pool_down(n->pool[k].pool);
			pthread_mutex_destroy(&n->lock);
		}
		nics.count = 0;
		nics.devices = 0;
		free_options();
	}
	pthread_mutex_unlock(&nics.lock);
}

int device_count(void)
{
	int count;

	pthread_mutex_lock(&nics.lock);
	count = nics.devices;
	pthread_mutex_unlock(&nics.lock);
	return count;
}

const struct device *device_at(int i)
{
	return i >= 0 && i < device_count() ? &nics.device[i] : NULL;
}

/* Device @dev gets one interface more. */
static int add_rail(struct device *dev, int nic)
{
	struct devmem_nic_props *info = &dev->info;
	const struct devmem_nic_props *more;
	size_t at = strlen(info->name);

	if (nic < 0 || nic >= nics.count)
		return -EINVAL;
	more = &nics.nic[nic].info;
	for (unsigned int i = 0; i < dev->rails; i++)
		if (info->rail[i] == nic)
			return -EINVAL;
	snprintf(info->name + at, sizeof(info->name) - at, "+%s", more->name);
	info->speed_mbps += more->speed_mbps;
	/* All of them, or the first reason why not. */
	if (info->devmem_rx && !more->devmem_rx) {
		info->devmem_rx = false;
		memcpy(info->reason, more->reason, sizeof(info->reason));
	}
	info->gpu_memory = info->gpu_memory && more->gpu_memory;
	info->unpack = info->unpack && more->unpack;
	if (info->devmem_tx && !more->devmem_tx) {
		info->devmem_tx = false;
		memcpy(info->tx_reason, more->tx_reason,
		       sizeof(info->tx_reason));
	}
	info->rail[dev->rails] = nic;
	dev->rail[dev->rails++] = &nics.nic[nic];
	info->rails = dev->rails;
	return 0;
}

/* Flows have to stay on their interface, and all speak of one kind of address. */
static bool can_be_one(const struct device *dev)
{
	for (unsigned int i = 0; i < dev->rails; i++) {
		const struct nic *n = dev->rail[i];
		uint16_t port;
		int rc, fd;

		if (n->addr.ss_family != dev->rail[0]->addr.ss_family) {
			INFO("%s: one has IPv4, one has not", dev->info.name);
			return false;
		}
		fd = sock_bound(&n->addr, &port);
		rc = fd < 0 ? fd : sock_by_nic(fd, n->info.name);
		if (fd >= 0)
			close(fd);
		if (rc) {
			INFO("%s: a socket on %s alone: %s", dev->info.name,
			     n->info.name, strerror(-rc));
			return false;
		}
	}
	return true;
}

/* The number of the device that is made of the same, or of a new one. */
static int add_device(const struct device *dev)
{
	for (int i = nics.count; i < nics.devices; i++)
		if (nics.device[i].rails == dev->rails &&
		    !memcmp(nics.device[i].rail, dev->rail, sizeof(dev->rail)))
			return i;
	if (!can_be_one(dev))
		return -EINVAL;
	if (nics.devices == DEVICES_MAX)
		return -ENOSPC;
	nics.device[nics.devices] = *dev;
	return nics.devices++;
}

int device_bond(const int *nic, unsigned int count)
{
	struct device dev;
	int rc = -EINVAL;

	if (count < 2 || count > DEVMEM_MAX_RAILS)
		return rc;
	pthread_mutex_lock(&nics.lock);
	if (nic[0] >= 0 && nic[0] < nics.count) {
		dev = nics.device[nic[0]];
		dev.info.ifindex = 0;
		rc = 0;
	}
	for (unsigned int i = 1; !rc && i < count; i++)
		rc = add_rail(&dev, nic[i]);
	rc = rc ?: add_device(&dev);
	pthread_mutex_unlock(&nics.lock);
	return rc;
}

int device_gpu(const struct device *dev)
{
	return rxpool_gpu(&dev->rail[0]->info, &nics.options);
}

static struct rxpool *nic_pool(struct nic *nic, int gpu, struct why *w)
{
	struct nic_pool *at = &nic->pool[1 + gpu];
	struct rxpool *p;

	pthread_mutex_lock(&nic->lock);
	if (!at->tried) {
		/* Somebody else is setting the NIC up: another time, then. */
		at->tried = rxpool_setup(&nic->info, &nics.options, gpu,
					 &at->pool, &at->none) != -EBUSY;
		if (at->pool)
			stats_pool_bound(at->pool);
	}
	p = at->pool;
	*w = at->none;
	pthread_mutex_unlock(&nic->lock);
	return p;
}

bool device_pools(const struct device *dev, unsigned int rails, int gpu,
		  struct rxpool **pool, struct why *w)
{
	/* Not one set up for nothing. */
	if (rails > 1 && !dev->info.devmem_rx) {
		why(w, -EOPNOTSUPP, "%s", dev->info.reason);
		return false;
	}
	for (unsigned int i = 0; i < rails; i++) {
		pool[i] = nic_pool(dev->rail[i], gpu, w);
		if (!pool[i])
			return false;
	}
	return true;
}

static bool same_address(const struct sockaddr_storage *a,
			 const struct sockaddr *b)
{
	if (a->ss_family != b->sa_family)
		return false;
	if (a->ss_family == AF_INET)
		return ((struct sockaddr_in *)a)->sin_addr.s_addr ==
		       ((struct sockaddr_in *)b)->sin_addr.s_addr;
	return !memcmp(&((struct sockaddr_in6 *)a)->sin6_addr,
		       &((struct sockaddr_in6 *)b)->sin6_addr, 16);
}

int nic_describe(const char *ifname, struct devmem_nic_props *nic)
{
	struct ifaddrs *all;

	memset(nic, 0, sizeof(*nic));
	snprintf(nic->name, sizeof(nic->name), "%s", ifname);
	nic->ifindex = if_nametoindex(ifname);
	if (!nic->ifindex)
		return -errno;
	if (getifaddrs(&all))
		return -errno;
	nic->guid = ifname_guid(all, nic->name) ?: nic->ifindex;
	freeifaddrs(all);
	return 0;
}

bool address_is_local(const struct sockaddr_storage *addr)
{
	struct ifaddrs *all;
	bool local = false;

	if (getifaddrs(&all))
		return false;
	for (struct ifaddrs *a = all; a && !local; a = a->ifa_next)
		local = a->ifa_addr &&
			(a->ifa_addr->sa_family == AF_INET ||
			 a->ifa_addr->sa_family == AF_INET6) &&
			same_address(addr, a->ifa_addr);
	freeifaddrs(all);
	return local;
}
