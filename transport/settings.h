/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * settings.h - changing a NIC's settings for a pool, and changing them back.
 * The settings_*_on/avoid functions either leave the NIC fit for the purpose and
 * note in @s what they changed, or change nothing and say in @w why; with
 * @manual they never change anything.
 */
#ifndef DEVMEM_SETTINGS_H
#define DEVMEM_SETTINGS_H

#include <stdbool.h>

#include "rxpool.h"

int settings_split_on(struct nic_settings *s, const char *ifname,
		      unsigned int ifindex, bool manual, struct why *w);
int settings_ntuple_on(struct nic_settings *s, const char *ifname, bool manual,
		       struct why *w);
int settings_rss_avoid(struct nic_settings *s, const char *ifname,
		       const unsigned int *queue, unsigned int queues,
		       bool manual, struct why *w);
/* Undo settings_rss_avoid() alone, to try other queues. */
void settings_rss_restore(struct nic_settings *s, const char *ifname);
/* Undo all that is noted. */
void settings_restore(struct nic_settings *s, const char *ifname,
		      unsigned int ifindex);

#endif /* DEVMEM_SETTINGS_H */
