/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * settings.h - changing a NIC's settings for a pool, and changing them back.
 *
 * Processes that share a NIC share its original settings in a file (nicfile.h):
 * whoever unbinds the last queue restores them, and so does the next to come
 * after a crash. Each takes only its own changes of RSS back when it leaves
 * earlier.
 *
 *	settings_begin()	lock, note what is there
 *	settings_*_on(), settings_rss_avoid()
 *	settings_commit()	unlock; the pool is in use
 *	settings_end()		after unbinding; also when something failed
 *
 * The functions that change something either leave the NIC fit for the purpose
 * or say in @w why not; with @manual they never change anything.
 */
#ifndef DEVMEM_SETTINGS_H
#define DEVMEM_SETTINGS_H

#include <stdbool.h>

#include "log.h"
#include "nicfile.h"

struct nic_settings {
	char ifname[16];
	unsigned int ifindex;
	uint64_t nic; /* MAC */
	bool manual;
	struct nicfile file;
	struct nic_original *original; /* NULL: nothing is to be restored */
	struct indir_change {
		uint32_t at, was, is;
	} * indir; /* entries taken off our queues */
	size_t indir_count;
};

int settings_begin(struct nic_settings *s, const struct devmem_nic_props *nic,
		   bool manual, struct why *w);
int settings_split_on(struct nic_settings *s, struct why *w);
int settings_ntuple_on(struct nic_settings *s, struct why *w);
int settings_rss_avoid(struct nic_settings *s, const unsigned int *queue,
		       unsigned int queues, struct why *w);
/* Undo settings_rss_avoid() alone, to try other queues. */
void settings_rss_restore(struct nic_settings *s);
void settings_commit(struct nic_settings *s);
/*
 * Before unbinding: from then until settings_end() nobody may take our queues
 * and find RSS as we have it.
 */
void settings_lock(struct nic_settings *s);
void settings_end(struct nic_settings *s);

#endif /* DEVMEM_SETTINGS_H */
