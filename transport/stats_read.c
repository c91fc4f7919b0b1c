// SPDX-License-Identifier: BSD-3-Clause
/*
 * stats_read.c - see stats_read.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stats_read.h"

/* Times that a record, or the whole, is read anew. */
#define TRIES 8

/* "nccl-devmem-UID-PID" or "nccl-devmem-UID-PID-N"? */
static bool is_our_name(const char *name)
{
	size_t n = strlen(STATS_PREFIX);

	return strlen(name) < STATS_NAME && !strncmp(name, STATS_PREFIX, n) &&
	       name[n] && !name[n + strspn(name + n, "-0123456789")];
}

int stats_open_file(int dir, const char *name, uint32_t *uid)
{
	uid_t me = geteuid();
	struct stat st;
	int fd;

	if (!is_our_name(name))
		return -EINVAL;
	/* Opening must not wait, whatever lies there. */
	fd = openat(dir, name,
		    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	/* What others have put there is for root to see, and for nobody else. */
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (me && st.st_uid != me)) {
		close(fd);
		return -EPERM;
	}
	*uid = st.st_uid;
	return fd;
}

#define END(text) ((text)[sizeof(text) - 1] = '\0')

static void end_record(struct stats_record *r)
{
	END(r->nic);
	END(r->peer);
	END(r->path);
	END(r->region);
	END(r->gather);
	END(r->reason);
	END(r->error);
	if (r->pools > DEVMEM_MAX_RAILS)
		r->pools = DEVMEM_MAX_RAILS;
}

static void end_header(struct stats_header *h)
{
	END(h->boot_id);
	END(h->comm);
	END(h->host);
	for (unsigned int i = 0; i < STATS_POOLS; i++) {
		struct stats_pool *p = &h->pool[i];

		END(p->nic);
		END(p->region);
		if (p->queues > DEVMEM_MAX_QUEUES)
			p->queues = DEVMEM_MAX_QUEUES;
		/* It is changing, or its writer died in the middle of that. */
		if (p->seq & 1)
			p->state = STATS_FREE;
	}
	end_record(&h->total[0]);
	end_record(&h->total[1]);
}

static int read_all(stats_pread fn, void *arg, void *buf, size_t n, uint64_t at)
{
	ssize_t got = fn(arg, buf, n, at);

	if (got < 0)
		return -errno;
	return (size_t)got == n ? 0 : -EINVAL;
}

static int read_header(stats_pread fn, void *arg, struct stats_header *h)
{
	int rc =
		read_all(fn, arg, h, offsetof(struct stats_header, records), 0);

	if (rc)
		return rc;
	if (memcmp(h->magic, STATS_MAGIC, sizeof(h->magic)))
		return -EINVAL;
	if (h->version != STATS_VERSION)
		return -EPROTONOSUPPORT;
	if (h->header_bytes != sizeof(*h) ||
	    h->record_bytes != sizeof(struct stats_record))
		return -EPROTONOSUPPORT;
	rc = read_all(fn, arg, h, sizeof(*h), 0);
	if (rc)
		return rc;
	if (h->records > STATS_RECORDS)
		return -EINVAL;
	end_header(h);
	return 0;
}

static ssize_t pread_fd(void *arg, void *buf, size_t n, uint64_t at)
{
	return pread(*(int *)arg, buf, n, (off_t)at);
}

int stats_read_header(int fd, struct stats_header *h)
{
	return read_header(pread_fd, &fd, h);
}

/* 0: whole; 1: it was changing each time; or -errno. */
static int read_record(stats_pread fn, void *arg, unsigned int i,
		       struct stats_record *r)
{
	uint64_t at = sizeof(struct stats_header) +
		      (uint64_t)i * sizeof(struct stats_record);
	uint32_t before, after;
	int rc;

	for (int try = 0; try < TRIES; try++) {
		rc = read_all(fn, arg, &before, sizeof(before), at);
		rc = rc ?: read_all(fn, arg, r, sizeof(*r), at);
		rc = rc ?: read_all(fn, arg, &after, sizeof(after), at);
		if (rc)
			return rc;
		if (before == after && before == r->seq && !(before & 1)) {
			end_record(r);
			return 0;
		}
	}
	return 1;
}

/* A number is one connection's; whoever reads may count on that. */
static bool is_again(const struct stats_snapshot *s, uint64_t id)
{
	for (unsigned int i = 0; i < s->count; i++)
		if (s->record[i].id == id)
			return true;
	return false;
}

static int read_records(stats_pread fn, void *arg, struct stats_snapshot *s)
{
	s->count = 0;
	s->torn = 0;
	for (unsigned int i = 0; i < s->head.records; i++) {
		struct stats_record *r = &s->record[s->count];
		int rc = read_record(fn, arg, i, r);

		if (rc < 0)
			return rc;
		s->torn += (unsigned int)rc;
		if (!rc &&
		    (r->state == STATS_OPEN || r->state == STATS_CLOSED) &&
		    !is_again(s, r->id))
			s->count++;
	}
	return 0;
}

int stats_read(stats_pread fn, void *arg, struct stats_snapshot *s)
{
	uint32_t turn;
	int rc = 0;

	memset(s, 0, sizeof(*s));
	s->record = malloc(STATS_RECORDS * sizeof(*s->record));
	if (!s->record)
		return -ENOMEM;
	/* What moves to the totals meanwhile would be counted twice, or not. */
	for (int try = 0; !rc && try < TRIES; try++) {
		rc = read_header(fn, arg, &s->head);
		rc = rc ?: read_records(fn, arg, s);
		rc = rc	   ?:
			     read_all(fn, arg, &turn, sizeof(turn),
				      offsetof(struct stats_header, turn));
		if (!rc && turn == s->head.turn && !(turn & 1))
			return 0;
	}
	if (rc)
		stats_snapshot_free(s);
	return rc;
}

int stats_read_fd(int fd, struct stats_snapshot *s)
{
	return stats_read(pread_fd, &fd, s);
}

void stats_snapshot_free(struct stats_snapshot *s)
{
	free(s->record);
	s->record = NULL;
	s->count = 0;
}

const char *stats_path(const struct stats_record *r)
{
	const struct devmem_stats *c = &r->counters;

	if (!r->sender)
		return !strcmp(r->path, "devmem") && c->bytes_host ?
			       "devmem+host" :
			       r->path;
	if (!c->bytes_devmem)
		return c->bytes_staged ? "staged" : "host";
	if (c->bytes_staged)
		return "devmem+staged";
	return c->bytes_host ? "devmem+host" : "devmem";
}
