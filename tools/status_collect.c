// SPDX-License-Identifier: BSD-3-Clause
/*
 * status_collect.c - going through processes' files and the kernel's NICs; see
 * status.h.
 */
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "process.h"
#include "status.h"

/* Names in the folder that are looked at. */
#define NAMES_MAX 65536

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Who stands behind the file? */
static void identify(struct status_process *p)
{
	struct stats_header *h = &p->snap.head;
	char comm[16];
	uint32_t uid;

	p->life = stats_life_of(h);
	h->uid = p->owner;
	if (p->life != STATS_LIVES || !stats_proc_info(h->pid, comm, &uid))
		return;
	memcpy(h->comm, comm, sizeof(comm));
	p->foreign = uid != p->owner;
}

static void take_file(struct status *s, int dir, const char *name)
{
	struct status_process *p = &s->process[s->processes];
	int fd, rc;

	memset(p, 0, sizeof(*p));
	fd = stats_open_file(dir, name, &p->owner);
	if (fd < 0)
		return;
	rc = stats_read_fd(fd, &p->snap);
	close(fd);
	if (rc) {
		/* It may just have been made, or is of another version. */
		s->unreadable++;
		return;
	}
	snprintf(p->file, sizeof(p->file), "%.*s", STATS_NAME - 1, name);
	identify(p);
	/* 512 records were made room for; a process has a few, mostly. */
	p->snap.record =
		realloc(p->snap.record, (p->snap.count + 1) * sizeof(*p->snap.record)) ?:
			p->snap.record;
	s->processes++;
}

static int by_pid(const void *a, const void *b)
{
	const struct status_process *p = a, *q = b;

	return p->snap.head.pid < q->snap.head.pid ?
		       -1 :
		       p->snap.head.pid > q->snap.head.pid;
}

static int take_processes(struct status *s)
{
	struct dirent *e;
	DIR *dir;

	s->process = calloc(STATUS_PROCESSES, sizeof(*s->process));
	if (!s->process)
		return -ENOMEM;
	s->removed = stats_remove_stale();
	dir = opendir(STATS_DIR);
	if (!dir)
		return 0;
	for (int i = 0; i < NAMES_MAX && (e = readdir(dir)); i++) {
		if (strncmp(e->d_name, STATS_PREFIX, strlen(STATS_PREFIX)))
			continue;
		if (s->processes == STATUS_PROCESSES)
			s->left_out++;
		else
			take_file(s, dirfd(dir), e->d_name);
	}
	closedir(dir);
	qsort(s->process, s->processes, sizeof(*s->process), by_pid);
	return 0;
}

/* May it speak of NICs of this namespace? */
static bool counts(const struct status_process *p)
{
	return !p->foreign && p->life != STATS_DEAD;
}

const struct status_process *status_owner(const struct status *s,
					  unsigned int ifindex, uint32_t dmabuf,
					  const struct stats_pool **pool)
{
	for (unsigned int i = 0; i < s->processes; i++) {
		const struct status_process *p = &s->process[i];

		for (unsigned int k = 0; counts(p) && k < STATS_POOLS; k++) {
			const struct stats_pool *at = &p->snap.head.pool[k];

			if (at->state != STATS_OPEN || !at->queues ||
			    at->netns != s->netns || at->ifindex != ifindex ||
			    at->dmabuf != dmabuf)
				continue;
			*pool = at;
			return p;
		}
	}
	*pool = NULL;
	return NULL;
}

/* Does a process have a pool there, or a connection by it? */
static bool is_used(const struct status *s, const struct status_nic *n)
{
	for (unsigned int i = 0; i < s->processes; i++) {
		const struct status_process *p = &s->process[i];

		for (unsigned int k = 0; counts(p) && k < STATS_POOLS; k++) {
			const struct stats_pool *at = &p->snap.head.pool[k];

			if (at->state == STATS_OPEN && at->netns == s->netns &&
			    at->ifindex == n->ifindex)
				return true;
		}
	}
	return false;
}

static int take_nics(struct status *s, const char *ifname)
{
	struct if_nameindex *all = if_nameindex();
	bool found = false;

	s->nic = calloc(STATUS_NICS, sizeof(*s->nic));
	if (!all || !s->nic) {
		if (all)
			if_freenameindex(all);
		return -ENOMEM;
	}
	for (struct if_nameindex *at = all;
	     at->if_index && s->nics < STATUS_NICS; at++) {
		struct status_nic *n = &s->nic[s->nics];

		if (ifname ? strcmp(ifname, at->if_name) != 0 :
			     !strcmp(at->if_name, "lo"))
			continue;
		memset(n, 0, sizeof(*n));
		n->named = ifname;
		found = true;
		status_nic_read(n, at->if_name, at->if_index);
		if (n->named || n->bindings || is_used(s, n))
			s->nics++;
	}
	if_freenameindex(all);
	return ifname && !found ? -ENODEV : 0;
}

static void find_owners(struct status *s)
{
	for (unsigned int i = 0; i < s->nics; i++) {
		struct status_nic *n = &s->nic[i];

		for (unsigned int k = 0; k < n->bindings; k++) {
			struct status_binding *b = &n->binding[k];

			b->process = status_owner(s, n->ifindex, b->dmabuf,
						  &b->pool);
		}
	}
}

int status_collect(struct status *s, const char *ifname)
{
	int rc;

	memset(s, 0, sizeof(*s));
	s->wall_ns = clock_ns(CLOCK_REALTIME);
	s->now_ns = clock_ns(CLOCK_MONOTONIC);
	netns_inode(&s->netns);
	rc = take_processes(s);
	rc = rc ?: take_nics(s, ifname);
	if (rc)
		status_free(s);
	else
		find_owners(s);
	return rc;
}

void status_free(struct status *s)
{
	for (unsigned int i = 0; i < s->processes; i++)
		stats_snapshot_free(&s->process[i].snap);
	free(s->process);
	free(s->nic);
	memset(s, 0, sizeof(*s));
}

uint64_t status_bytes(const struct stats_record *r)
{
	const struct devmem_stats *c = &r->counters;

	return c->bytes_inline + c->bytes_devmem + c->bytes_emulated +
	       c->bytes_linear + c->bytes_host;
}

static const struct stats_record *same_before(const struct status *was,
					      const struct status_process *p,
					      const struct stats_record *r)
{
	for (unsigned int i = 0; i < was->processes; i++) {
		const struct stats_snapshot *o = &was->process[i].snap;

		if (strcmp(was->process[i].file, p->file) ||
		    o->head.start_ticks != p->snap.head.start_ticks)
			continue;
		for (unsigned int k = 0; k < o->count; k++)
			if (o->record[k].id == r->id)
				return &o->record[k];
	}
	return NULL;
}

struct status_rate status_rate(const struct status *s, const struct status *was,
			       const struct status_process *p,
			       const struct stats_record *r)
{
	const struct stats_record *before = was ? same_before(was, p, r) : NULL;
	double seconds;

	if (!before || s->now_ns <= was->now_ns)
		return (struct status_rate){ .known = false };
	seconds = (double)(s->now_ns - was->now_ns) / 1e9;
	return (struct status_rate){
		.known = true,
		.bytes = (double)(status_bytes(r) - status_bytes(before)) /
			 seconds,
		.messages = (double)(r->counters.messages -
				     before->counters.messages) /
			    seconds,
	};
}

const char *status_life(const struct status_process *p)
{
	static const char *const word[] = {
		[STATS_LIVES] = "lives",
		[STATS_DEAD] = "dead",
		[STATS_UNKNOWN] = "unknown",
	};

	return word[p->life];
}
