// SPDX-License-Identifier: BSD-3-Clause
/*
 * stats_map.c - see stats_map.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "stats.h"
#include "stats_map.h"
#include "stats_proc.h"

#define MAP_BYTES                      \
	(sizeof(struct stats_header) + \
	 STATS_RECORDS * sizeof(struct stats_record))
/* Processes of one user and number, in PID namespaces that share /dev/shm. */
#define NAMES 4

/* A file larger than the process may make would be a signal, which kills. */
static bool may_be_as_large(size_t bytes)
{
	struct rlimit r;

	return getrlimit(RLIMIT_FSIZE, &r) || r.rlim_cur == RLIM_INFINITY ||
	       r.rlim_cur >= bytes;
}

static int make_room(int fd, size_t bytes)
{
	if (!may_be_as_large(bytes))
		return -EFBIG;
	while (fallocate(fd, 0, 0, (off_t)bytes))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/*
 * A name for the file, that nobody has. It had none until it was whole: we may be
 * killed at any time, and what is not whole nobody could tell to be a dead one's.
 */
static int give_name(struct stats_map *m)
{
	char from[32], path[128], more[16] = "";
	int rc = -EEXIST;

	snprintf(from, sizeof(from), "/proc/self/fd/%d", m->fd);
	for (int i = 0; rc == -EEXIST && i < NAMES; i++) {
		if (i)
			snprintf(more, sizeof(more), "-%d", i);
		snprintf(m->name, sizeof(m->name), STATS_PREFIX "%u-%d%s",
			 geteuid(), getpid(), more);
		snprintf(path, sizeof(path), STATS_DIR "/%s", m->name);
		rc = linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW) ?
			     -errno :
			     0;
	}
	return rc;
}

static void remove_file(struct stats_map *m)
{
	char path[128];

	snprintf(path, sizeof(path), STATS_DIR "/%s", m->name);
	unlink(path);
	close(m->fd);
	m->fd = -1;
}

static void fill_header(struct stats_header *h)
{
	struct stats_identity id;

	stats_identity_self(&id);
	h->header_bytes = sizeof(*h);
	h->record_bytes = sizeof(struct stats_record);
	h->pid = (uint32_t)getpid();
	h->uid = geteuid();
	h->start_ticks = id.start_ticks;
	h->pid_ns = id.pid_ns;
	memcpy(h->boot_id, id.boot_id, sizeof(h->boot_id));
	snprintf(h->comm, sizeof(h->comm), "%s", program_invocation_short_name);
	if (gethostname(h->host, sizeof(h->host)))
		h->host[0] = '\0';
	h->host[sizeof(h->host) - 1] = '\0';
	h->version = STATS_VERSION;
	/* Without this nobody reads on. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(h->magic, STATS_MAGIC, sizeof(h->magic));
}

static void *map_file(struct stats_map *m)
{
	void *at = MAP_FAILED;
	int rc;

	m->fd = open(STATS_DIR, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	rc = m->fd < 0 ? -errno : make_room(m->fd, sizeof(struct stats_header));
	if (!rc) {
		at = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			  m->fd, 0);
		rc = at == MAP_FAILED ? -errno : 0;
	}
	if (!rc) {
		fill_header(at);
		rc = give_name(m);
	}
	if (!rc)
		return at;
	INFO("`devmemctl status` will not see this process: a file in " STATS_DIR
	     ": %s",
	     strerror(-rc));
	if (at != MAP_FAILED)
		munmap(at, MAP_BYTES);
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	return NULL;
}

int stats_map_new(struct stats_map *m)
{
	void *at;

	m->fd = -1;
	stats_remove_stale();
	at = map_file(m);
	if (!at) {
		at = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (at == MAP_FAILED)
			return -ENOMEM;
		fill_header(at);
	}
	m->head = at;
	m->record = (struct stats_record *)(m->head + 1);
	return 0;
}

bool stats_map_grow(struct stats_map *m)
{
	unsigned int n = m->head->records + STATS_STEP;
	size_t bytes = sizeof(*m->head) + n * sizeof(*m->record);

	if (n > STATS_RECORDS || (m->fd >= 0 && make_room(m->fd, bytes)))
		return false;
	__atomic_store_n(&m->head->records, n, __ATOMIC_RELEASE);
	return true;
}

void stats_map_free(struct stats_map *m)
{
	if (m->fd >= 0)
		remove_file(m);
	munmap(m->head, MAP_BYTES);
	m->head = NULL;
	m->record = NULL;
}

static int write_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t done = write(fd, text, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		text += done;
		n -= (size_t)done;
	}
	return 0;
}

/* A terminal, a pipe: whatever it is, it stays. */
static int write_there(const char *path, const char *text, size_t n)
{
	int fd = open(path,
		      O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, n);
	close(fd);
	return rc;
}

int stats_file_write(const char *path, const char *text, size_t n)
{
	char part[600];
	struct stat st;
	int fd, rc;

	if (!may_be_as_large(n))
		return -EFBIG;
	if (!stat(path, &st) && !S_ISREG(st.st_mode))
		return write_there(path, text, n);
	/* Whoever reads it finds the old one or the new one. */
	if (snprintf(part, sizeof(part), "%s.%d", path, getpid()) >=
	    (int)sizeof(part))
		return -ENAMETOOLONG;
	/* What is there is a dead process's, or a trap: never written to. */
	unlink(part);
	fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, n);
	if (close(fd) && !rc)
		rc = -errno;
	if (!rc && rename(part, path))
		rc = -errno;
	if (rc)
		unlink(part);
	return rc;
}

bool stats_path_valid(const char *path)
{
	for (; *path; path++)
		if (*path == '%' && !strchr("hp%", *++path))
			return false;
		else if (!*path)
			return false;
	return true;
}

bool stats_path_expand(const char *path, char *out, size_t n)
{
	char host[64] = "";
	size_t at = 0;

	gethostname(host, sizeof(host) - 1);
	for (; *path && at + 1 < n; path++) {
		if (*path != '%') {
			out[at++] = *path;
			continue;
		}
		path++;
		if (*path == 'h')
			at += (size_t)snprintf(out + at, n - at, "%s", host);
		else if (*path == 'p')
			at += (size_t)snprintf(out + at, n - at, "%d",
					       getpid());
		else
			out[at++] = '%';
	}
	if (*path || at >= n)
		at = 0;
	out[at] = '\0';
	return at;
}
