// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_nic.c - the interfaces, and how they are set: by the plugin's own code where
 * it has some, which never changes a setting if told that it may not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devnl.h"
#include "doctor.h"
#include "doctor_link.h"
#include "ifname.h"
#include "nicfile.h"
#include "settings.h"
#include "uapi.h"

#define QUEUES_MAX 1024

/* ---- which ---- */

static bool has_address(const struct ifaddrs *all, const char *name)
{
	for (; all; all = all->ifa_next) {
		const struct sockaddr *a = all->ifa_addr;

		if (!a || strcmp(all->ifa_name, name))
			continue;
		if (a->sa_family == AF_INET ||
		    (a->sa_family == AF_INET6 &&
		     !IN6_IS_ADDR_LINKLOCAL(
			     &((const struct sockaddr_in6 *)a)->sin6_addr)))
			return true;
	}
	return false;
}

/* Those that are meant by name and yet passed over. */
static unsigned int say_passed_over(struct doctor *d, const char *spec)
{
	struct ifaddrs *all;
	unsigned int said = 0;

	if (!spec || !*spec || *spec == '^' || getifaddrs(&all))
		return 0;
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		if (!a->ifa_addr || a->ifa_addr->sa_family != AF_PACKET ||
		    !ifname_selected(spec, a->ifa_name,
				     a->ifa_flags & IFF_LOOPBACK))
			continue;
		if (!(a->ifa_flags & IFF_UP))
			doctor_found(d, REASON_NIC_DOWN, .nic = a->ifa_name);
		else if (!has_address(all, a->ifa_name))
			doctor_found(d, REASON_NO_ADDRESS, .nic = a->ifa_name);
		else
			continue;
		said++;
	}
	freeifaddrs(all);
	return said;
}

/* As the plugin lists them; nothing is probed yet, and no GPU touched. */
static void list(struct doctor *d, const char *spec)
{
	struct devmem_options o;
	struct devmem *ctx;

	devmem_options_init(&o);
	o.ifname = spec;
	o.region = DEVMEM_REGION_NONE;
	o.threads = 0;
	if (devmem_open(&o, &ctx))
		return;
	while (d->nics < DOCTOR_NICS &&
	       !devmem_nic_info(ctx, (int)d->nics, &d->nic[d->nics]))
		d->nics++;
	devmem_close(ctx);
}

void check_interfaces(struct doctor *d, const struct devmem_nic_props *nic)
{
	char exact[IFNAMSIZ + 2], names[256] = "";
	const char *spec = d->options.ifname;
	size_t at = 0;

	(void)nic;
	if (d->ifname) {
		snprintf(exact, sizeof(exact), "=%s", d->ifname);
		spec = exact;
	}
	list(d, spec);
	for (unsigned int i = 0; i < d->nics && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, " %s",
				       d->nic[i].name);
	if (say_passed_over(d, spec))
		return;
	if (d->nics)
		doctor_ok(d, "up, with an address:%s", names);
	else
		doctor_fix(doctor_found(d, REASON_NO_INTERFACE,
					.detail = spec ?: ""),
			   getenv("NCCL_DEVMEM_IFNAME") ?
				   "unset NCCL_DEVMEM_IFNAME" :
				   NULL);
}

void check_carrier(struct doctor *d, const struct devmem_nic_props *nic)
{
	unsigned int flags;

	if (!link_flags(nic->name, &flags) && !(flags & IFF_RUNNING))
		doctor_found(d, REASON_NO_CARRIER, .nic = nic->name);
	else
		doctor_ok(d, "%u Mbit/s", nic->speed_mbps);
}

/* ---- settings ---- */

/* The plugin turns on by itself what is off, unless it is told not to. */
static bool left_to_plugin(const struct doctor *d, const struct why *w)
{
	return !d->options.nic_manual &&
	       (w->reason == REASON_HEADER_SPLIT_OFF ||
		w->reason == REASON_HDS_THRESH ||
		w->reason == REASON_NTUPLE_OFF ||
		w->reason == REASON_RSS_USES_QUEUE);
}

static void settled(struct doctor *d, int rc, const struct why *w,
		    const char *fine, const char *later)
{
	if (!rc)
		doctor_ok(d, "%s", fine);
	else if (left_to_plugin(d, w))
		doctor_ok(d, "%s", later);
	else
		doctor_why(d, w);
}

void check_split(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct nic_settings look;
	struct why w;

	settings_begin(&look, nic, true, &w);
	settled(d, settings_split_on(&look, &w), &w, "on",
		"off: the plugin turns it on while it needs it");
}

void check_steering(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct nic_settings look;
	struct why w;

	settings_begin(&look, nic, true, &w);
	settled(d, settings_ntuple_on(&look, &w), &w, "ntuple filters on",
		"ntuple filters off: the plugin turns them on while it needs "
		"them");
}

/* Receive queues and which are bound; how many there are, or -errno. */
static int queues(const struct devmem_nic_props *nic, bool *bound)
{
	struct devnl_family f;
	unsigned int count = 0;
	int rc = devnl_open(&f, DEVMEM_NETDEV_FAMILY);

	if (rc)
		return rc;
	rc = devnl_bound_queues(&f, nic->ifindex, bound, QUEUES_MAX, &count);
	devnl_close(&f);
	return rc ?: (int)(count < QUEUES_MAX ? count : QUEUES_MAX);
}

/* The pool's queues as the plugin would take them: from the top, never the first. */
static unsigned int pick(const bool *bound, int count, unsigned int want,
			 unsigned int *queue)
{
	unsigned int n = 0;

	for (int q = count; q-- > 1 && n < want;)
		if (!bound[q])
			queue[n++] = (unsigned int)q;
	return n;
}

static void more_queues(struct doctor_result *r, const char *name)
{
	struct link_channels c;

	if (link_channels(name, &c) || c.most <= c.count)
		return;
	doctor_fix(r,
		   c.combined ? "ethtool -L {nic} combined {n}" :
				"ethtool -L {nic} rx {n}",
		   .nic = name, .n = c.most);
}

void check_queues(struct doctor *d, const struct devmem_nic_props *nic)
{
	bool *bound = calloc(QUEUES_MAX, sizeof(*bound));
	unsigned int queue[DEVMEM_MAX_QUEUES], n;
	unsigned int want = d->options.queues;
	int count = bound ? queues(nic, bound) : -ENOMEM;

	if (count < 0) {
		doctor_found(d, REASON_NONE, .detail = strerror(-count));
		free(bound);
		return;
	}
	n = pick(bound, count, want, queue);
	if (count < 2)
		more_queues(doctor_found(d, REASON_FEW_QUEUES, .nic = nic->name,
					 .n = (uint64_t)count,
					 .what = count == 1 ? "" : "s"),
			    nic->name);
	else if (!n)
		more_queues(
			doctor_found(d, REASON_QUEUES_TAKEN, .nic = nic->name),
			nic->name);
	else if (n < want)
		more_queues(doctor_found(d, REASON_FEWER_QUEUES,
					 .nic = nic->name, .n = n,
					 .m = (uint64_t)count, .k = want),
			    nic->name);
	else
		doctor_ok(d, "%d, of which the pool takes %u", count, n);
	free(bound);
}

void check_rss(struct doctor *d, const struct devmem_nic_props *nic)
{
	bool *bound = calloc(QUEUES_MAX, sizeof(*bound));
	unsigned int queue[DEVMEM_MAX_QUEUES], n;
	struct nic_settings look;
	struct why w;
	int count = bound ? queues(nic, bound) : -ENOMEM;

	n = pick(bound, count, d->options.queues, queue);
	free(bound);
	if (!n) {
		doctor_skip(d, "no queue is free");
		return;
	}
	settings_begin(&look, nic, true, &w);
	settled(d, settings_rss_avoid(&look, queue, n, &w), &w,
		"keeps off the pool's queues",
		"uses the pool's queues: the plugin keeps it off while it "
		"needs them");
}

void check_xdp(struct doctor *d, const struct devmem_nic_props *nic)
{
	const char *how;
	int rc = link_xdp(nic->ifindex, &how);

	if (rc)
		doctor_skip(d, "the kernel does not say: %s", strerror(-rc));
	else if (how)
		doctor_found(d, REASON_XDP_ATTACHED, .nic = nic->name,
			     .what = how);
	else
		doctor_ok(d, "no program is attached");
}

/* ---- what fits in a page ---- */

/* An IP header of either kind, TCP's, and its time stamps. */
#define HEADERS_V4 (20u + 20u + 12u)
/* Less than this share of its pages in use is worth a word, in percent. */
#define PACKED_WELL 75u

static const char *const aggregates[] = { "rx-gro-hw", "rx-lro" };

void check_packing(struct doctor *d, const struct devmem_nic_props *nic)
{
	unsigned int page = (unsigned int)sysconf(_SC_PAGESIZE), mtu, mss;
	unsigned int percent;
	struct doctor_result *r;

	if (link_mtu(nic->name, &mtu) || mtu <= HEADERS_V4) {
		doctor_skip(d, "MTU %u", mtu);
		return;
	}
	for (size_t i = 0; i < sizeof(aggregates) / sizeof(*aggregates); i++)
		if (link_feature(nic->name, aggregates[i]) == FEATURE_ON) {
			doctor_ok(d, "MTU %u; %s fills whole pages", mtu,
				  aggregates[i]);
			return;
		}
	mss = mtu - HEADERS_V4;
	percent = 100 * mss / ((mss + page - 1) / page * page);
	if (percent >= PACKED_WELL) {
		doctor_ok(d, "MTU %u: a segment fills %u %% of its pages", mtu,
			  percent);
		return;
	}
	r = doctor_found(d, REASON_PACKING, .nic = nic->name, .n = mss,
			 .m = mtu, .k = percent);
	for (size_t i = 0; i < sizeof(aggregates) / sizeof(*aggregates); i++)
		if (link_feature(nic->name, aggregates[i]) == FEATURE_CAN) {
			doctor_fix(r, "ethtool -K {nic} {what} on",
				   .nic = nic->name, .what = aggregates[i]);
			return;
		}
	/* Both ends, and what is between them, have to have it. */
	if (mtu > page)
		doctor_fix(r, "ip link set {nic} mtu {n}", .nic = nic->name,
			   .n = mss / page * page + HEADERS_V4);
}

/* ---- what others have done ---- */

static const char *changes(const struct nic_original *o)
{
	if (o->split_changed)
		return o->ntuple_changed ? "header split and ntuple filters" :
					   "header split";
	return o->ntuple_changed ? "ntuple filters" : "RSS or rules";
}

static void left(struct doctor *d, const struct devmem_nic_props *nic,
		 const struct nic_original *o)
{
	bool *bound = calloc(QUEUES_MAX, sizeof(*bound)), any = false;
	int count = bound ? queues(nic, bound) : -ENOMEM;

	for (int q = 0; q < count; q++)
		any |= bound[q];
	free(bound);
	if (any || count <= 0 || o->nic != nic->guid)
		doctor_ok(d, "in use");
	else
		doctor_fix(doctor_found(d, REASON_SETTINGS_LEFT,
					.nic = nic->name, .detail = changes(o)),
			   d->can_restore ? "devmemctl restore {nic}" : NULL,
			   .nic = nic->name);
}

void check_left(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct nic_original *o = calloc(1, sizeof(*o));
	struct nicfile f;
	int rc = o ? nicfile_lock(&f, nic->ifindex, false) : -ENOMEM;

	if (rc == -EBUSY) {
		doctor_found(d, REASON_SETTINGS_LOCKED, .nic = nic->name,
			     .detail = f.path);
	} else if (rc) {
		if (rc == -ENOENT)
			doctor_ok(d, "none");
		else
			doctor_skip(d, "cannot be read: %s", strerror(-rc));
	} else {
		rc = nicfile_read(&f, o);
		nicfile_unlock(&f);
		if (rc == -ENOENT)
			doctor_ok(d, "none");
		else if (rc)
			doctor_skip(d, "%s makes no sense", f.path);
		else
			left(d, nic, o);
	}
	free(o);
}

/* ---- IP networks ---- */

static bool network_of(const struct ifaddrs *all, const char *name,
		       in_addr_t *net, in_addr_t *mask)
{
	for (; all; all = all->ifa_next)
		if (all->ifa_addr && all->ifa_netmask &&
		    all->ifa_addr->sa_family == AF_INET &&
		    !strcmp(all->ifa_name, name)) {
			*mask = ((struct sockaddr_in *)all->ifa_netmask)
					->sin_addr.s_addr;
			*net = ((struct sockaddr_in *)all->ifa_addr)
				       ->sin_addr.s_addr &
			       *mask;
			return true;
		}
	return false;
}

static int arp_ignore(const char *name)
{
	char path[96];
	int value = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/arp_ignore",
		 name);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%d", &value) != 1)
		value = 0;
	if (f)
		fclose(f);
	return value;
}

void check_network(struct doctor *d, const struct devmem_nic_props *nic)
{
	in_addr_t net, mask, net2, mask2;
	const char *twin = NULL;
	struct ifaddrs *all;

	if (getifaddrs(&all)) {
		doctor_skip(d, "%s", strerror(errno));
		return;
	}
	if (network_of(all, nic->name, &net, &mask))
		for (unsigned int i = 0; i < d->nics && !twin; i++)
			if (strcmp(d->nic[i].name, nic->name) &&
			    network_of(all, d->nic[i].name, &net2, &mask2) &&
			    net == net2 && mask == mask2)
				twin = d->nic[i].name;
	freeifaddrs(all);
	if (!twin)
		doctor_ok(d, "no other of them is in the same");
	else if (arp_ignore("all") || arp_ignore(nic->name))
		doctor_ok(d, "with %s, and it answers for its own address",
			  twin);
	else
		doctor_found(d, REASON_ARP_FLUX, .nic = nic->name,
			     .detail = twin);
}
