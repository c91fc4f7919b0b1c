/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nicfile.h - how a NIC was before any process of ours changed it, kept in a
 * file under /run so that the last of several processes that share the NIC, or
 * the next one after a crash, can put it back. One file for a NIC, locked while
 * settings are changed.
 */
#ifndef DEVMEM_NICFILE_H
#define DEVMEM_NICFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ethioctl.h"

#define NICFILE_QUEUES 1024
#define NICFILE_RULES  1024
/* Of a queue that was some process's and is nobody's now. */
#define NICFILE_NOBODY (-1)

struct nic_original {
	uint64_t nic;	     /* its MAC: names and numbers are used again */
	bool split_changed;  /* by us, since */
	int split;	     /* DEVMEM_SPLIT_* */
	int hds_thresh;	     /* -1: the NIC has none */
	bool ntuple_changed; /* by us, since: it was off */
	/*
	 * Queues that processes of ours have had since: 0: none has; the pid of
	 * the one that has it, or that died with it; or NICFILE_NOBODY.
	 */
	int32_t owner[NICFILE_QUEUES];
	uint32_t rule[NICFILE_RULES]; /* rules that were there */
	size_t rules;
	uint32_t indir[ETH_MAX_INDIR];
	size_t indir_count;
};

struct nicfile {
	int fd; /* -1: there is no file, and no lock */
	char path[96];
};

/**
 * nicfile_lock() - take the NIC's lock, waiting at most two seconds for another
 * process that is changing settings. @create: make the file if there is none.
 * 0; -ENOENT; -EBUSY: still locked; or -errno where /run cannot be written,
 * then this process is on its own. In the current network namespace.
 */
int nicfile_lock(struct nicfile *f, unsigned int ifindex, bool create);
void nicfile_unlock(struct nicfile *f);

/*
 * -ENOENT if the file is empty, -EINVAL if it makes no sense or is of another
 * version of ours.
 */
int nicfile_read(const struct nicfile *f, struct nic_original *o);
/*
 * All of it or nothing, also if the process is killed meanwhile: it is another
 * file afterwards, whose lock is had already.
 */
int nicfile_write(struct nicfile *f, const struct nic_original *o);
/* Remove it; to be unlocked all the same. */
void nicfile_remove(struct nicfile *f);

/**
 * nicfile_list() - interfaces of this network namespace that have a file: room
 * for @max numbers, *count out; *elsewhere counts files of other namespaces. 0,
 * also if there is no folder; -EPERM: it is somebody else's; or -errno.
 */
int nicfile_list(unsigned int *ifindex, size_t max, size_t *count,
		 size_t *elsewhere);

/* The file's text, for tests: a terminated string of less than @n bytes. */
size_t nicfile_format(const struct nic_original *o, char *text, size_t n);
int nicfile_parse(const char *text, struct nic_original *o);

#endif /* DEVMEM_NICFILE_H */
