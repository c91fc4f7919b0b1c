// SPDX-License-Identifier: BSD-3-Clause
/*
 * nicfile.c - see nicfile.h. The text: one line for a key, numbers behind it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "nicfile.h"
#include "process.h"
#include "text.h"

#define RUN_DIR	  "/run/nccl-devmem"
#define VERSION	  2
#define TEXT_MAX  (64u << 10)
#define LOCK_MS	  2000
#define LOCK_STEP 5

/* Ours alone: what is in it ends up as settings of a NIC. */
static int check_owner(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	return st.st_uid == geteuid() && !(st.st_mode & 022) ? 0 : -EPERM;
}

static int open_dir(bool create)
{
	int fd, rc;

	/* Others may look up the broker's socket there; the files are root's. */
	if (create && mkdir(RUN_DIR, 0755) && errno != EEXIST)
		return -errno;
	fd = open(RUN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = check_owner(fd);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

static int lock_file(int fd)
{
	const struct timespec step = { .tv_nsec = LOCK_STEP * 1000000 };

	for (int ms = 0; flock(fd, LOCK_EX | LOCK_NB); ms += LOCK_STEP) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (ms >= LOCK_MS)
			return -EBUSY;
		nanosleep(&step, NULL);
	}
	return 0;
}

/* Was it removed or replaced between open and lock? Another has its name. */
static bool still_there(int fd, int dir, const char *name)
{
	struct stat a, b;

	return !fstat(fd, &a) && !fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int nicfile_lock(struct nicfile *f, unsigned int ifindex, bool create)
{
	int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0);
	uint64_t netns = 0;
	char name[64];
	int dir, rc;

	f->fd = -1;
	rc = netns_inode(&netns);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "nic-%" PRIu64 "-%u", netns, ifindex);
	snprintf(f->path, sizeof(f->path), "%s/%s", RUN_DIR, name);
	dir = open_dir(create);
	if (dir < 0)
		return dir;
	for (int try = 0; try < 16; try++) {
		f->fd = openat(dir, name, flags, 0600);
		if (f->fd < 0) {
			rc = -errno;
			break;
		}
		rc = check_owner(f->fd) ?: lock_file(f->fd);
		if (!rc && still_there(f->fd, dir, name))
			break;
		close(f->fd);
		f->fd = -1;
		if (rc)
			break;
		rc = -EBUSY;
	}
	close(dir);
	return rc;
}

/* Closing alone would leave it to a child of fork() that has the file, too. */
static void unlock_file(int fd)
{
	flock(fd, LOCK_UN);
	close(fd);
}

void nicfile_unlock(struct nicfile *f)
{
	if (f->fd >= 0)
		unlock_file(f->fd);
	f->fd = -1;
}

/* Where it is written before it gets its name. */
static void new_path(const struct nicfile *f, char *path, size_t n)
{
	snprintf(path, n, "%s.new", f->path);
}

void nicfile_remove(struct nicfile *f)
{
	char path[128];

	if (f->fd < 0)
		return;
	/* First what a killed writer may have left, while there is a lock. */
	new_path(f, path, sizeof(path));
	unlink(path);
	unlink(f->path);
}

/* "nic-NETNS-IFINDEX", and nothing else. */
static bool parse_name(const char *name, uint64_t *netns, unsigned int *ifindex)
{
	char again[64];

	if (sscanf(name, "nic-%" SCNu64 "-%u", netns, ifindex) != 2)
		return false;
	snprintf(again, sizeof(again), "nic-%" PRIu64 "-%u", *netns, *ifindex);
	return !strcmp(name, again);
}

int nicfile_list(unsigned int *ifindex, size_t max, size_t *count,
		 size_t *elsewhere)
{
	uint64_t here = 0, netns;
	struct dirent *e;
	unsigned int i;
	DIR *dir;
	int fd, rc;

	*count = 0;
	*elsewhere = 0;
	rc = netns_inode(&here);
	if (rc)
		return rc;
	fd = open_dir(false);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while ((e = readdir(dir))) {
		if (!parse_name(e->d_name, &netns, &i))
			continue;
		if (netns != here)
			++*elsewhere;
		else if (*count < max)
			ifindex[(*count)++] = i;
	}
	closedir(dir);
	return 0;
}

size_t nicfile_format(const struct nic_original *o, char *text, size_t n)
{
	struct text t = { .to = text, .n = n };

	text_put(&t, "version %d\nnic %" PRIu64 "\n", VERSION, o->nic);
	text_put(&t, "split %d %d %d\n", o->split_changed, o->split,
		 o->hds_thresh);
	text_put(&t, "ntuple %d\nqueues", o->ntuple_changed);
	for (unsigned int i = 0; i < NICFILE_QUEUES; i++)
		if (o->owner[i])
			text_put(&t, " %u %" PRId32, i, o->owner[i]);
	text_put(&t, "\nrules");
	for (size_t i = 0; i < o->rules; i++)
		text_put(&t, " %" PRIu32, o->rule[i]);
	text_put(&t, "\nindir");
	for (size_t i = 0; i < o->indir_count; i++)
		text_put(&t, " %" PRIu32, o->indir[i]);
	text_put(&t, "\nend\n");
	return t.at;
}

/* The next number of the line, up to @max. false at the line's end. */
static bool next_number(const char **at, long max, long *v, int *err)
{
	char *end;

	while (**at == ' ')
		++*at;
	if (**at == '\n') {
		++*at;
		return false;
	}
	errno = 0;
	*v = strtol(*at, &end, 10);
	if (end == *at || errno || *v < -1 || *v > max) {
		*err = -EINVAL;
		return false;
	}
	*at = end;
	return true;
}

/* A line "key n n n …" with at most @max numbers; returns how many. */
static size_t numbers(const char **at, const char *key, long largest,
		      long *value, size_t max, int *err)
{
	size_t n = 0, len = strlen(key);
	long v;

	if (*err || strncmp(*at, key, len)) {
		*err = -EINVAL;
		return 0;
	}
	*at += len;
	while (next_number(at, largest, &v, err)) {
		if (n == max) {
			*err = -EINVAL;
			return 0;
		}
		value[n++] = v;
	}
	return n;
}

/* A queue and its owner, and so on. */
static int read_owners(const char **at, long *v, struct nic_original *o)
{
	int err = 0;
	size_t n =
		numbers(at, "queues", INT32_MAX, v, 2 * NICFILE_QUEUES, &err);

	if (err || n % 2)
		return -EINVAL;
	for (size_t i = 0; i < n; i += 2) {
		if (v[i] < 0 || v[i] >= NICFILE_QUEUES || !v[i + 1])
			return -EINVAL;
		o->owner[v[i]] = (int32_t)v[i + 1];
	}
	return 0;
}

int nicfile_parse(const char *text, struct nic_original *o)
{
	long *v = calloc(ETH_MAX_INDIR, sizeof(*v));
	const char *at = text;
	int err = 0;
	size_t n;

	memset(o, 0, sizeof(*o));
	if (!v)
		return -ENOMEM;
	if (numbers(&at, "version", VERSION, v, 1, &err) != 1 ||
	    v[0] != VERSION)
		err = -EINVAL;
	if (numbers(&at, "nic", LONG_MAX, v, 1, &err) != 1)
		err = -EINVAL;
	o->nic = (uint64_t)v[0];
	n = numbers(&at, "split", INT_MAX, v, 3, &err);
	if (n != 3 || v[1] < 0 || v[1] > 2)
		err = -EINVAL;
	o->split_changed = v[0] == 1;
	o->split = (int)v[1];
	o->hds_thresh = (int)v[2];
	if (numbers(&at, "ntuple", 1, v, 1, &err) != 1)
		err = -EINVAL;
	o->ntuple_changed = v[0] == 1;
	err = err ?: read_owners(&at, v, o);
	o->rules = numbers(&at, "rules", UINT32_MAX, v, NICFILE_RULES, &err);
	for (size_t i = 0; i < o->rules; i++)
		o->rule[i] = (uint32_t)v[i];
	o->indir_count =
		numbers(&at, "indir", NICFILE_QUEUES, v, ETH_MAX_INDIR, &err);
	for (size_t i = 0; i < o->indir_count; i++)
		o->indir[i] = (uint32_t)v[i];
	free(v);
	/* Without its end the file was not written to its end. */
	return err ?: strncmp(at, "end\n", 4) ? -EINVAL : 0;
}

int nicfile_read(const struct nicfile *f, struct nic_original *o)
{
	char *text = malloc(TEXT_MAX);
	ssize_t n;
	int rc;

	if (!text)
		return -ENOMEM;
	n = pread(f->fd, text, TEXT_MAX - 1, 0);
	if (n <= 0) {
		rc = n ? -errno : -ENOENT;
	} else {
		text[n] = '\0';
		rc = nicfile_parse(text, o);
	}
	free(text);
	return rc;
}

/* A file of ours alone with that text, locked; -EIO where that cannot be. */
static int write_new(const char *path, const char *text, size_t n)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		      0600);

	if (fd < 0)
		return -EIO;
	if (check_owner(fd) || flock(fd, LOCK_EX | LOCK_NB) ||
	    pwrite(fd, text, n, 0) != (ssize_t)n) {
		close(fd);
		return -EIO;
	}
	return fd;
}

int nicfile_write(struct nicfile *f, const struct nic_original *o)
{
	char *text = malloc(TEXT_MAX);
	char path[128];
	int fd;

	if (!text)
		return -ENOMEM;
	new_path(f, path, sizeof(path));
	fd = write_new(path, text, nicfile_format(o, text, TEXT_MAX));
	free(text);
	if (fd < 0 || rename(path, f->path)) {
		if (fd >= 0)
			close(fd);
		unlink(path);
		return -EIO;
	}
	/* Who waits for the old one's lock will see that it is not there. */
	unlock_file(f->fd);
	f->fd = fd;
	return 0;
}
