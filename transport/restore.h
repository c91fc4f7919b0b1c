/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restore.h - putting settings of a NIC back: the half of settings.h that also
 * runs without the process that changed them, in the guard, in `devmemctl
 * restore` and at the next start after a crash.
 *
 * What is a dead process's and what is not is seen from the NIC and its file
 * alone, under the file's lock: processes of ours bind and unbind under it, so a
 * queue that one of them had and that is not bound is nobody's.
 */
#ifndef DEVMEM_RESTORE_H
#define DEVMEM_RESTORE_H

#include <net/if.h>
#include <stdbool.h>
#include <sys/types.h>

#include "nicfile.h"

/* Whether anybody has memory bound to queues of a NIC. */
enum bound {
	BOUND_NONE,
	BOUND_SOME,
	BOUND_UNKNOWN, /* a NIC that is down shows no queues */
};

/* @bound: NICFILE_QUEUES, filled in. */
enum bound bound_queues(unsigned int ifindex, bool *bound);

/* What was put back, for people. */
struct restored {
	unsigned int rules; /* removed */
	unsigned int rss;   /* entries of the indirection table */
	bool split, ntuple;
};

/**
 * restore_all() - everything; for when no queue is bound. 0, or the first error,
 * each of which is a WARN line. That the NIC has gone meanwhile is none.
 */
int restore_all(const char *ifname, unsigned int ifindex,
		const struct nic_original *o, struct restored *done);

/**
 * restore_unbound() - what processes left that have unbound or died while others
 * go on: flow rules to their queues, and RSS without these. Marks the queues as
 * nobody's; true if there were any, then @o is to be written.
 */
bool restore_unbound(const char *ifname, struct nic_original *o,
		     const bool *bound, struct restored *done);

/* What has become of a NIC whose file was looked at. */
enum nic_left {
	NIC_CLEAN,    /* there is no file: nothing is changed */
	NIC_RESTORED, /* all is as before; there was a file */
	NIC_GONE,     /* and its file has, too; another may have its number */
	NIC_IN_USE, /* queues are bound; what dead processes left is put back */
	NIC_UNKNOWN, /* is down: see BOUND_UNKNOWN */
	NIC_LOCKED,  /* somebody is changing settings, or is stopped */
	NIC_FAILED,  /* something could not be put back: see @err */
	NIC_GARBLED, /* the file makes no sense */
};

struct nic_report {
	unsigned int ifindex;
	char ifname[IF_NAMESIZE]; /* its number, if it is gone */
	enum nic_left left;
	int err;
	struct restored done;
	/* IN_USE, UNKNOWN */
	bool bound[NICFILE_QUEUES];
	struct nic_original original;
};

/**
 * restore_nic() - put back what nobody needs any more of one NIC. In the current
 * network namespace. Waits at most two seconds for the lock.
 * @force: also where it is not known whether queues are bound, and remove a file
 *	that makes no sense
 */
void restore_nic(unsigned int ifindex, bool force, struct nic_report *r);

/**
 * restore_later() - is the NIC to be looked at again by the guard of @dead? Not if
 * another process that lives has queues of it: that has a guard of its own.
 */
bool restore_later(const struct nic_report *r, pid_t dead);

#endif /* DEVMEM_RESTORE_H */
