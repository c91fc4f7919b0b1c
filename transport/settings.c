// SPDX-License-Identifier: BSD-3-Clause
/*
 * settings.c - NIC settings that a pool needs: header split, flow steering, RSS
 * kept off the pool's queues. Whatever is changed is noted, so that it can be
 * undone; see settings.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ethioctl.h"
#include "settings.h"
#include "uapi.h"

static int set_failed(struct why *w, int err, const char *ifname,
		      const char *what, const char *extack)
{
	if (err == -EPERM)
		return why(w, err, "%s on %s: CAP_NET_ADMIN is needed; run "
			   "with it, or set the NIC up beforehand and "
			   "NCCL_DEVMEM_NIC_SETUP=manual", what, ifname);
	return why(w, err, "%s on %s: %s%s%s", what, ifname, strerror(-err),
		   *extack ? ": " : "", extack);
}

int settings_split_on(struct nic_settings *s, const char *ifname,
		      unsigned int ifindex, bool manual, struct why *w)
{
	struct devnl_family et;
	struct devnl_rings r;
	int rc;

	rc = devnl_open(&et, "ethtool");
	if (rc)
		return why(w, rc, "the kernel has no ethtool netlink family: "
			   "CONFIG_ETHTOOL_NETLINK is needed");
	rc = devnl_rings_get(&et, ifindex, &r);
	if (rc || r.split < 0) {
		rc = why(w, rc ?: -EOPNOTSUPP, "%s has no header split "
			 "(tcp-data-split): devmem needs a NIC and driver "
			 "that have it", ifname);
		goto out;
	}
	if (r.split == DEVMEM_SPLIT_ON && (!r.has_hds_thresh || !r.hds_thresh))
		goto out;
	if (manual) {
		rc = why(w, -EOPNOTSUPP, "header split is off on %s and "
			 "NCCL_DEVMEM_NIC_SETUP=manual; turn it on: ethtool -G "
			 "%s tcp-data-split on%s", ifname, ifname,
			 r.has_hds_thresh ? " hds-thresh 0" : "");
		goto out;
	}
	rc = devnl_rings_set(&et, ifindex, DEVMEM_SPLIT_ON,
			     r.has_hds_thresh ? 0 : -1);
	if (rc) {
		rc = set_failed(w, rc, ifname, "turning header split on",
				et.extack);
		goto out;
	}
	s->split_set = true;
	s->split = r.split;
	s->hds_thresh = r.has_hds_thresh ? (int)r.hds_thresh : -1;
out:
	devnl_close(&et);
	return rc;
}

int settings_ntuple_on(struct nic_settings *s, const char *ifname, bool manual,
		       struct why *w)
{
	bool on;
	int rc;

	rc = eth_ntuple_probe(ifname);
	if (rc)
		return why(w, rc, "%s cannot steer flows (ntuple rules): %s",
			   ifname, strerror(-rc));
	rc = eth_ntuple_get(ifname, &on);
	if (rc || on)
		return 0;
	if (manual)
		return why(w, -EOPNOTSUPP, "ntuple filters are off on %s; turn "
			   "them on: ethtool -K %s ntuple on", ifname, ifname);
	rc = eth_ntuple_set(ifname, true);
	if (rc)
		return set_failed(w, rc, ifname, "turning ntuple filters on",
				  "");
	s->ntuple_set = true;
	return 0;
}

static bool listed(const unsigned int *queue, unsigned int queues, uint32_t q)
{
	for (unsigned int i = 0; i < queues; i++)
		if (queue[i] == q)
			return true;
	return false;
}

int settings_rss_avoid(struct nic_settings *s, const char *ifname,
		       const unsigned int *queue, unsigned int queues,
		       bool manual, struct why *w)
{
	uint32_t *table, below;
	size_t count = 0;
	int rc;

	table = calloc(ETH_MAX_INDIR, sizeof(*table));
	s->indir = calloc(ETH_MAX_INDIR, sizeof(*s->indir));
	if (!table || !s->indir) {
		rc = why(w, -ENOMEM, "out of memory");
		goto out;
	}
	rc = eth_indir_get(ifname, table, ETH_MAX_INDIR, &count);
	if (rc) {
		rc = why(w, rc, "%s has no RSS indirection table (%s): other "
			 "traffic cannot be kept off the pool's queues",
			 ifname, strerror(-rc));
		goto out;
	}
	/* Ours are the highest free ones: all below the lowest are others'. */
	below = queue[0];
	for (unsigned int i = 1; i < queues; i++)
		below = queue[i] < below ? queue[i] : below;
	for (size_t i = 0; i < count; i++) {
		if (!listed(queue, queues, table[i]))
			continue;
		s->indir[s->indir_count++] = (struct indir_change){
			.at = (uint32_t)i,
			.was = table[i],
			.is = (uint32_t)i % below,
		};
		table[i] = (uint32_t)i % below;
	}
	if (!s->indir_count)
		goto out;
	if (manual) {
		rc = why(w, -EOPNOTSUPP, "RSS of %s uses queue %u, which the "
			 "pool is to have; keep it off: ethtool -X %s equal %u",
			 ifname, s->indir[0].was, ifname, below);
		s->indir_count = 0;
		goto out;
	}
	rc = eth_indir_set(ifname, table, count);
	if (rc) {
		rc = set_failed(w, rc, ifname, "keeping RSS off the pool's "
				"queues", "");
		s->indir_count = 0;
	}
out:
	free(table);
	if (!s->indir_count) {
		free(s->indir);
		s->indir = NULL;
	}
	return rc;
}

void settings_rss_restore(struct nic_settings *s, const char *ifname)
{
	uint32_t *table = calloc(ETH_MAX_INDIR, sizeof(*table));
	size_t count = 0;
	int rc = table ? 0 : -ENOMEM;

	if (!s->indir_count)
		goto out;
	rc = rc ?: eth_indir_get(ifname, table, ETH_MAX_INDIR, &count);
	/* What somebody else has changed since is theirs. */
	for (size_t i = 0; !rc && i < s->indir_count; i++) {
		const struct indir_change *c = &s->indir[i];

		if (c->at < count && table[c->at] == c->is)
			table[c->at] = c->was;
	}
	rc = rc ?: eth_indir_set(ifname, table, count);
	if (rc)
		WARN("RSS of %s could not be restored: %s; to set the default: "
		     "ethtool -X %s default", ifname, strerror(-rc), ifname);
out:
	free(table);
	free(s->indir);
	s->indir = NULL;
	s->indir_count = 0;
}

void settings_restore(struct nic_settings *s, const char *ifname,
		      unsigned int ifindex)
{
	struct devnl_family et;
	int rc;

	settings_rss_restore(s, ifname);
	if (s->ntuple_set && eth_ntuple_set(ifname, false))
		WARN("ntuple filters of %s could not be turned off again",
		     ifname);
	s->ntuple_set = false;
	if (!s->split_set)
		return;
	s->split_set = false;
	rc = devnl_open(&et, "ethtool");
	if (!rc) {
		rc = devnl_rings_set(&et, ifindex, s->split, s->hds_thresh);
		devnl_close(&et);
	}
	/* Another process's queues are still bound: it needs the setting. */
	if (rc == -EBUSY || rc == -EINVAL)
		INFO("header split of %s stays on: other queues are bound",
		     ifname);
	else if (rc && rc != -ENODEV)
		WARN("header split of %s could not be restored: %s", ifname,
		     strerror(-rc));
}
