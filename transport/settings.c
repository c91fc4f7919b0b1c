// SPDX-License-Identifier: BSD-3-Clause
/*
 * settings.c - header split, flow steering and RSS of a NIC; see settings.h. How
 * all of it goes back is in restore.c.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devnl.h"
#include "process.h"
#include "reason.h"
#include "restore.h"
#include "settings.h"
#include "uapi.h"

static int set_failed(struct nic_settings *s, struct why *w, int err,
		      const char *what, const char *extack)
{
	if (err == -EPERM)
		return reason(w, err, REASON_NO_PRIVILEGE, .nic = s->ifname,
			      .what = what);
	return why(w, err, "%s %s: %s%s%s", what, s->ifname, strerror(-err),
		   *extack ? ": " : "", extack);
}

static void snapshot(const struct nic_settings *s, struct nic_original *o)
{
	struct devnl_rings r;

	memset(o, 0, sizeof(*o));
	o->nic = s->nic;
	o->hds_thresh = -1;
	if (!devnl_rings_get(s->ifindex, &r) && r.split >= 0) {
		o->split = r.split;
		o->hds_thresh = r.has_hds_thresh ? (int)r.hds_thresh : -1;
	}
	eth_rules_get(s->ifname, o->rule, NICFILE_RULES, &o->rules);
	eth_indir_get(s->ifname, o->indir, ETH_MAX_INDIR, &o->indir_count);
}

static void record(struct nic_settings *s)
{
	if (s->file.fd >= 0 && nicfile_write(&s->file, s->original))
		WARN("%s cannot be written: if this process dies, the settings "
		     "of %s stay changed",
		     s->file.path, s->ifname);
}

/*
 * Put back what nobody needs any more, and keep the note of it; true if that is
 * everything. What cannot be put back stays noted, for the next to try.
 */
static bool put_back(struct nic_settings *s)
{
	bool bound[NICFILE_QUEUES] = { false };
	struct restored done = { 0 };

	switch (bound_queues(s->ifindex, bound)) {
	case BOUND_NONE:
		return !restore_all(s->ifname, s->ifindex, s->original, &done);
	case BOUND_SOME:
		if (restore_unbound(s->ifname, s->original, bound, &done))
			record(s);
		break;
	case BOUND_UNKNOWN:
		break;
	}
	return false;
}

int settings_begin(struct nic_settings *s, const struct devmem_nic_props *nic,
		   bool manual, struct why *w)
{
	int rc;

	memset(s, 0, sizeof(*s));
	memcpy(s->ifname, nic->name, sizeof(s->ifname));
	s->ifindex = nic->ifindex;
	s->nic = nic->guid;
	s->manual = manual;
	s->file.fd = -1;
	if (manual)
		return 0;
	s->original = calloc(1, sizeof(*s->original));
	if (!s->original)
		return why(w, -ENOMEM, "out of memory");
	rc = nicfile_lock(&s->file, s->ifindex, true);
	if (rc == -EBUSY) {
		free(s->original);
		s->original = NULL;
		return reason(w, rc, REASON_SETTINGS_LOCKED, .nic = s->ifname,
			      .detail = s->file.path);
	}
	if (rc) {
		/* On our own: we restore what we find now. */
		if (has_net_admin())
			INFO("%s cannot be written (%s): if this process is "
			     "killed, settings of %s stay changed",
			     s->file.path, strerror(-rc), s->ifname);
		snapshot(s, s->original);
		return 0;
	}
	rc = nicfile_read(&s->file, s->original);
	if (rc == -EINVAL)
		WARN("%s makes no sense, or another version wrote it, and is "
		     "not used",
		     s->file.path);
	if (!rc && s->original->nic != s->nic)
		rc = -ENOENT; /* of one that had this number before */
	if (!rc && put_back(s)) {
		INFO("settings of %s that a process left behind are restored",
		     s->ifname);
		rc = -ENOENT;
	}
	if (rc) {
		snapshot(s, s->original);
		record(s);
	}
	return 0;
}

void settings_commit(struct nic_settings *s)
{
	nicfile_unlock(&s->file);
}

int settings_split_on(struct nic_settings *s, struct why *w)
{
	struct devnl_rings r;
	char extack[160];
	int rc = devnl_rings_get(s->ifindex, &r);

	if (rc == -ENOENT)
		return reason(w, rc, REASON_KERNEL_NO_ETHTOOL);
	if (rc || r.split < 0)
		return reason(w, rc ?: -EOPNOTSUPP, REASON_NO_HEADER_SPLIT,
			      .nic = s->ifname);
	if (r.split == DEVMEM_SPLIT_ON && (!r.has_hds_thresh || !r.hds_thresh))
		return 0;
	if (s->manual && r.split == DEVMEM_SPLIT_ON)
		return reason(w, -EOPNOTSUPP, REASON_HDS_THRESH,
			      .nic = s->ifname, .n = r.hds_thresh);
	if (s->manual)
		return reason(w, -EOPNOTSUPP, REASON_HEADER_SPLIT_OFF,
			      .nic = s->ifname,
			      .what = r.has_hds_thresh ? " hds-thresh 0" : "");
	/* Noted before it is done: we may not live to do it after. */
	s->original->split_changed = true;
	record(s);
	rc = devnl_rings_set(s->ifindex, DEVMEM_SPLIT_ON,
			     r.has_hds_thresh ? 0 : -1, extack, sizeof(extack));
	if (!rc)
		return 0;
	s->original->split_changed = false;
	record(s);
	return set_failed(s, w, rc, "turning on header split of", extack);
}

int settings_ntuple_on(struct nic_settings *s, struct why *w)
{
	bool on;
	int rc;

	rc = eth_ntuple_probe(s->ifname);
	if (rc)
		return reason(w, rc, REASON_NO_STEERING, .nic = s->ifname,
			      .detail = strerror(-rc));
	rc = eth_ntuple_get(s->ifname, &on);
	if (rc || on)
		return 0;
	if (s->manual)
		return reason(w, -EOPNOTSUPP, REASON_NTUPLE_OFF,
			      .nic = s->ifname);
	s->original->ntuple_changed = true;
	record(s);
	rc = eth_ntuple_set(s->ifname, true);
	if (!rc)
		return 0;
	s->original->ntuple_changed = false;
	record(s);
	return set_failed(s, w, rc, "turning on ntuple filters of", "");
}

static bool listed(const unsigned int *queue, unsigned int queues, uint32_t q)
{
	for (unsigned int i = 0; i < queues; i++)
		if (queue[i] == q)
			return true;
	return false;
}

/*
 * Note in s->indir which entries are to change, and change them in @table: to
 * queues that RSS uses already, since any other may be somebody's.
 */
static void plan_rss(struct nic_settings *s, uint32_t *table, size_t count,
		     const unsigned int *queue, unsigned int queues)
{
	uint32_t others[NICFILE_QUEUES] = { 0 };
	unsigned int n = 0;

	for (size_t i = 0; i < count && n < NICFILE_QUEUES; i++)
		if (!listed(queue, queues, table[i]) &&
		    !listed(others, n, table[i]))
			others[n++] = table[i];
	for (size_t i = 0; i < count; i++) {
		uint32_t to = others[n ? i % n : 0];

		if (!listed(queue, queues, table[i]))
			continue;
		s->indir[s->indir_count++] = (struct indir_change){
			.at = (uint32_t)i,
			.was = table[i],
			.is = to,
		};
		table[i] = to;
	}
}

/* RSS has to keep to the queues below: off these, and off those of others. */
static unsigned int lowest(const struct nic_settings *s,
			   const unsigned int *queue, unsigned int queues)
{
	bool bound[NICFILE_QUEUES] = { false };
	unsigned int low = queue[0];

	for (unsigned int i = 1; i < queues; i++)
		low = queue[i] < low ? queue[i] : low;
	bound_queues(s->ifindex, bound);
	for (unsigned int i = 1; i < low && i < NICFILE_QUEUES; i++)
		if (bound[i])
			low = i;
	return low;
}

int settings_rss_avoid(struct nic_settings *s, const unsigned int *queue,
		       unsigned int queues, struct why *w)
{
	uint32_t *table = calloc(ETH_MAX_INDIR, sizeof(*table));
	size_t count = 0;
	int rc;

	s->indir = calloc(ETH_MAX_INDIR, sizeof(*s->indir));
	s->indir_count = 0;
	if (!table || !s->indir) {
		rc = why(w, -ENOMEM, "out of memory");
		goto out;
	}
	rc = eth_indir_get(s->ifname, table, ETH_MAX_INDIR, &count);
	if (rc) {
		rc = reason(w, rc, REASON_NO_RSS, .nic = s->ifname,
			    .detail = strerror(-rc));
		goto out;
	}
	plan_rss(s, table, count, queue, queues);
	if (s->manual && s->indir_count) {
		rc = reason(w, -EOPNOTSUPP, REASON_RSS_USES_QUEUE,
			    .nic = s->ifname, .n = s->indir[0].was,
			    .m = lowest(s, queue, queues));
		s->indir_count = 0;
		goto out;
	}
	if (s->original) {
		for (unsigned int i = 0; i < queues; i++)
			if (queue[i] < NICFILE_QUEUES)
				s->original->owner[queue[i]] = getpid();
		record(s);
	}
	if (s->indir_count) {
		rc = eth_indir_set(s->ifname, table, count);
		if (rc) {
			s->indir_count = 0;
			rc = set_failed(s, w, rc,
					"keeping RSS off the pool's queues of",
					"");
		}
	}
out:
	free(table);
	if (!s->indir_count) {
		free(s->indir);
		s->indir = NULL;
	}
	return rc;
}

void settings_rss_restore(struct nic_settings *s)
{
	bool bound[NICFILE_QUEUES] = { false };
	uint32_t *table;
	size_t count = 0;
	int rc;

	if (!s->indir_count)
		return;
	table = calloc(ETH_MAX_INDIR, sizeof(*table));
	rc = table ? eth_indir_get(s->ifname, table, ETH_MAX_INDIR, &count) :
		     -ENOMEM;
	/*
	 * What somebody else has changed since is theirs, and a queue that is
	 * bound is, too: packets of all the host would be put into their memory.
	 * It comes back when they end, by the NIC's file.
	 */
	bound_queues(s->ifindex, bound);
	for (size_t i = 0; !rc && i < s->indir_count; i++) {
		const struct indir_change *c = &s->indir[i];

		if (c->at < count && table[c->at] == c->is &&
		    !(c->was < NICFILE_QUEUES && bound[c->was]))
			table[c->at] = c->was;
	}
	rc = rc ?: eth_indir_set(s->ifname, table, count);
	if (rc && rc != -ENODEV)
		WARN("RSS of %s could not be restored: %s; to set the default: "
		     "ethtool -X %s default",
		     s->ifname, strerror(-rc), s->ifname);
	free(table);
	free(s->indir);
	s->indir = NULL;
	s->indir_count = 0;
}

void settings_lock(struct nic_settings *s)
{
	if (s->original && s->file.fd < 0)
		nicfile_lock(&s->file, s->ifindex, false);
}

/* The interface was taken away, and its settings with it. */
static bool is_gone(const struct nic_settings *s)
{
	char name[IF_NAMESIZE];

	return !if_indextoname(s->ifindex, name) && errno == ENXIO;
}

void settings_end(struct nic_settings *s)
{
	struct nic_original *latest;

	settings_lock(s);
	settings_rss_restore(s);
	if (!s->original)
		return;
	/* Others may have added to it since we read it. */
	latest = calloc(1, sizeof(*latest));
	if (latest && s->file.fd >= 0 && !nicfile_read(&s->file, latest)) {
		free(s->original);
		s->original = latest;
		latest = NULL;
	}
	free(latest);
	if (is_gone(s) || put_back(s))
		nicfile_remove(&s->file);
	nicfile_unlock(&s->file);
	free(s->original);
	s->original = NULL;
}
