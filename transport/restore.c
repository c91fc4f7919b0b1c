// SPDX-License-Identifier: BSD-3-Clause
/*
 * restore.c - see restore.h. Everything that is done here is right whoever does
 * it, and however often.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devnl.h"
#include "ethioctl.h"
#include "log.h"
#include "nic.h"
#include "restore.h"
#include "uapi.h"

enum bound bound_queues(unsigned int ifindex, bool *bound)
{
	unsigned int present = 0;
	struct devnl_family netdev;
	enum bound is = BOUND_NONE;

	if (devnl_open(&netdev, DEVMEM_NETDEV_FAMILY))
		return BOUND_UNKNOWN;
	if (devnl_bound_queues(&netdev, ifindex, bound, NICFILE_QUEUES,
			       &present) ||
	    !present)
		is = BOUND_UNKNOWN;
	devnl_close(&netdev);
	for (int i = 0; i < NICFILE_QUEUES && is == BOUND_NONE; i++)
		if (bound[i])
			is = BOUND_SOME;
	return is;
}

static bool rule_is_original(const struct nic_original *o, uint32_t rule)
{
	for (size_t i = 0; i < o->rules; i++)
		if (o->rule[i] == rule)
			return true;
	return false;
}

/* 0: it is gone, whoever has removed it. */
static int delete_rule(const char *ifname, uint32_t rule, unsigned int *deleted)
{
	uint64_t queue;
	int rc = eth_rule_delete(ifname, rule);

	*deleted += !rc;
	return rc && !eth_rule_queue(ifname, rule, &queue) ? rc : 0;
}

/* Rules that came since and steer to such a queue: their owners are gone. */
static int delete_rules(const char *ifname, const struct nic_original *o,
			const bool *to, unsigned int *deleted)
{
	uint32_t *rule = calloc(NICFILE_RULES, sizeof(*rule));
	size_t count = 0;
	int rc = 0;

	if (rule)
		eth_rules_get(ifname, rule, NICFILE_RULES, &count);
	for (size_t i = 0; i < count; i++) {
		uint64_t queue;
		int err;

		if (rule_is_original(o, rule[i]) ||
		    eth_rule_queue(ifname, rule[i], &queue) ||
		    queue >= NICFILE_QUEUES || !to[queue])
			continue;
		err = delete_rule(ifname, rule[i], deleted);
		if (err && err != -ENODEV)
			WARN("rule %u of %s could not be removed: %s; "
			     "ethtool -N %s delete %u",
			     rule[i], ifname, strerror(-err), ifname, rule[i]);
		rc = rc ?: err;
	}
	free(rule);
	return rc;
}

/* Entries that were such a queue, and are not. */
static int restore_rss(const char *ifname, const struct nic_original *o,
		       const bool *was, unsigned int *restored)
{
	uint32_t *table;
	size_t count = 0;
	int rc;

	*restored = 0;
	if (!o->indir_count)
		return 0; /* there was none that could have changed */
	table = calloc(ETH_MAX_INDIR, sizeof(*table));
	rc = table ? eth_indir_get(ifname, table, ETH_MAX_INDIR, &count) :
		     -ENOMEM;
	if (!rc && count != o->indir_count)
		count = 0; /* another layout: not ours to mend */
	for (size_t i = 0; !rc && i < count; i++)
		if (o->indir[i] < NICFILE_QUEUES && was[o->indir[i]] &&
		    table[i] != o->indir[i]) {
			table[i] = o->indir[i];
			++*restored;
		}
	if (!rc && *restored)
		rc = eth_indir_set(ifname, table, count);
	free(table);
	if (rc)
		*restored = 0;
	if (rc && rc != -ENODEV)
		WARN("RSS of %s could not be restored: %s; to set the default: "
		     "ethtool -X %s default",
		     ifname, strerror(-rc), ifname);
	return rc;
}

static int restore_ntuple(const char *ifname)
{
	int rc = eth_ntuple_set(ifname, false);

	if (rc && rc != -ENODEV)
		WARN("ntuple filters of %s could not be turned off again: %s; "
		     "ethtool -K %s ntuple off",
		     ifname, strerror(-rc), ifname);
	return rc;
}

static int restore_split(const char *ifname, unsigned int ifindex,
			 const struct nic_original *o)
{
	char extack[160];
	int rc = devnl_rings_set(ifindex, o->split, o->hds_thresh, extack,
				 sizeof(extack));

	if (rc && rc != -ENODEV)
		WARN("header split of %s could not be restored: %s%s%s; "
		     "ethtool -G %s tcp-data-split %s",
		     ifname, strerror(-rc), *extack ? ": " : "", extack, ifname,
		     o->split == DEVMEM_SPLIT_OFF ? "off" : "auto");
	return rc;
}

int restore_all(const char *ifname, unsigned int ifindex,
		const struct nic_original *o, struct restored *done)
{
	bool ours[NICFILE_QUEUES];
	int rc, err;

	for (int i = 0; i < NICFILE_QUEUES; i++)
		ours[i] = o->owner[i] != 0;
	rc = delete_rules(ifname, o, ours, &done->rules);
	err = restore_rss(ifname, o, ours, &done->rss);
	rc = rc ?: err;
	if (o->ntuple_changed) {
		err = restore_ntuple(ifname);
		done->ntuple = !err;
		rc = rc ?: err;
	}
	if (o->split_changed) {
		err = restore_split(ifname, ifindex, o);
		done->split = !err;
		rc = rc ?: err;
	}
	return rc == -ENODEV ? 0 : rc;
}

bool restore_unbound(const char *ifname, struct nic_original *o,
		     const bool *bound, struct restored *done)
{
	bool left[NICFILE_QUEUES], any = false;

	for (int i = 0; i < NICFILE_QUEUES; i++) {
		left[i] = o->owner[i] > 0 && !bound[i];
		any |= left[i];
	}
	if (!any)
		return false;
	/* What fails is tried again when the last one goes. */
	delete_rules(ifname, o, left, &done->rules);
	restore_rss(ifname, o, left, &done->rss);
	for (int i = 0; i < NICFILE_QUEUES; i++)
		if (left[i])
			o->owner[i] = NICFILE_NOBODY;
	return true;
}

/*
 * Is the interface that has the number the file's? By the MAC, as it is in
 * devmem_nic_props.guid. -ENXIO: no, or there is none.
 */
static int find_nic(struct nic_report *r)
{
	struct devmem_nic_props nic;
	int rc;

	if (!if_indextoname(r->ifindex, r->ifname)) {
		snprintf(r->ifname, sizeof(r->ifname), "%u", r->ifindex);
		return -errno;
	}
	rc = nic_describe(r->ifname, &nic);
	return rc ?: nic.guid == r->original.nic ? 0 : -ENXIO;
}

static enum nic_left restore_known(struct nic_report *r, struct nicfile *f,
				   bool force)
{
	enum bound is = bound_queues(r->ifindex, r->bound);

	if (is == BOUND_UNKNOWN && !force)
		return NIC_UNKNOWN;
	if (is == BOUND_SOME) {
		if (restore_unbound(r->ifname, &r->original, r->bound,
				    &r->done))
			r->err = nicfile_write(f, &r->original);
		return NIC_IN_USE;
	}
	r->err = restore_all(r->ifname, r->ifindex, &r->original, &r->done);
	if (r->err)
		return NIC_FAILED;
	nicfile_remove(f);
	return NIC_RESTORED;
}

/* The file is locked. */
static enum nic_left restore_locked(struct nic_report *r, struct nicfile *f,
				    bool force)
{
	int rc = nicfile_read(f, &r->original);

	if (rc == -ENOENT) {
		/* Its writer died before anything was changed. */
		nicfile_remove(f);
		return NIC_CLEAN;
	}
	if (rc == -EINVAL && force)
		nicfile_remove(f);
	if (rc) {
		r->err = rc;
		return rc == -EINVAL ? NIC_GARBLED : NIC_FAILED;
	}
	rc = find_nic(r);
	if (rc == -ENXIO || rc == -ENODEV) {
		nicfile_remove(f);
		return NIC_GONE;
	}
	if (rc) {
		r->err = rc;
		return NIC_FAILED;
	}
	return restore_known(r, f, force);
}

void restore_nic(unsigned int ifindex, bool force, struct nic_report *r)
{
	struct nicfile f;
	int rc;

	memset(r, 0, sizeof(*r));
	r->ifindex = ifindex;
	if (!if_indextoname(ifindex, r->ifname))
		snprintf(r->ifname, sizeof(r->ifname), "%u", ifindex);
	rc = nicfile_lock(&f, ifindex, false);
	if (rc) {
		r->err = rc;
		r->left = rc == -ENOENT ? NIC_CLEAN :
			  rc == -EBUSY	? NIC_LOCKED :
					  NIC_FAILED;
		return;
	}
	r->left = restore_locked(r, &f, force);
	nicfile_unlock(&f);
}

static bool lives(pid_t pid)
{
	return !kill(pid, 0) || errno == EPERM;
}

bool restore_later(const struct nic_report *r, pid_t dead)
{
	switch (r->left) {
	case NIC_CLEAN:
	case NIC_RESTORED:
	case NIC_GONE:
	case NIC_GARBLED:
		return false;
	case NIC_LOCKED:
	case NIC_FAILED:
		return true;
	case NIC_IN_USE:
	case NIC_UNKNOWN:
		break;
	}
	for (int i = 0; i < NICFILE_QUEUES; i++)
		if (r->original.owner[i] > 0 && r->original.owner[i] != dead &&
		    lives(r->original.owner[i]))
			return false;
	return true;
}
