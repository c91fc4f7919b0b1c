// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_lease.c - leases of clients: how they begin, and that they end when the
 * kernel says that they have.
 */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "devmemd.h"
#include "nic.h"
#include "nicfile.h"

/* include/uapi/linux/magic.h: the filesystem that all dma-bufs are in. */
#define DMA_BUF_FS_MAGIC 0x444d4142
/* The largest pool that there is (NCCL_DEVMEM_POOL_BYTES). */
#define DMA_BUF_MOST ((off_t)1 << 32)

static int check_dmabuf(int fd, struct why *w)
{
	long page = sysconf(_SC_PAGESIZE);
	struct statfs fs;
	off_t bytes;

	if (fstatfs(fd, &fs) || fs.f_type != DMA_BUF_FS_MAGIC)
		return why(w, -EINVAL, "the descriptor is not a dma-buf");
	bytes = lseek(fd, 0, SEEK_END);
	if (bytes < page || bytes % page || bytes > DMA_BUF_MOST)
		return why(w, -EINVAL,
			   "a dma-buf of %jd bytes is not of whole pages, at "
			   "most 4 GiB",
			   (intmax_t)bytes);
	return 0;
}

/* What else that user has: queues of the NIC, and leases of it. */
static void sum_up(const struct devmemd *d, uid_t uid, unsigned int ifindex,
		   struct policy_limits *has)
{
	memset(has, 0, sizeof(*has));
	for (unsigned int i = 0; i < LEASES_MAX; i++) {
		const struct held *h = &d->held[i];

		if (!h->used || h->uid != uid || h->lease.ifindex != ifindex)
			continue;
		has->leases++;
		has->queues += h->lease.queues;
	}
}

static int check_limits(struct devmemd *d, const struct client *c,
			const struct devmem_nic_props *nic, unsigned int queues,
			struct why *w)
{
	struct policy_peer peer = client_peer(c);
	struct policy_limits may, has;

	if (!policy_allows(&d->policy, &peer, nic->name, &may))
		return why(w, -EACCES, "%s does not allow uid %u queues of %s",
			   d->policy_path, c->uid, nic->name);
	/*
	 * Queues that are free again keep no rule of those who had them. Not for
	 * those whom the policy does not know: it takes its time.
	 */
	leases_look(d);
	sum_up(d, c->uid, nic->ifindex, &has);
	if (has.queues + queues > may.queues)
		return why(w, -EDQUOT,
			   "%s allows uid %u %u queues of %s; it has %u, and "
			   "wants %u more (NCCL_DEVMEM_QUEUES)",
			   d->policy_path, c->uid, may.queues, nic->name,
			   has.queues, queues);
	if (has.leases >= may.leases)
		return why(w, -EDQUOT, "%s allows uid %u %u leases of %s",
			   d->policy_path, c->uid, may.leases, nic->name);
	return 0;
}

static struct held *free_held(struct devmemd *d)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++)
		if (!d->held[i].used)
			return &d->held[i];
	return NULL;
}

/*
 * Queues whose lease we have not seen end, since its rules, and its changes of RSS,
 * are still there: packets of others would be the next one's. A holder who lets go
 * while we take queues for another makes such ones.
 */
static void mark_queues(const struct devmemd *d, unsigned int ifindex,
			bool *queue)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++) {
		const struct held *h = &d->held[i];

		if (!h->used || h->lease.ifindex != ifindex)
			continue;
		for (unsigned int k = 0; k < h->lease.queues; k++)
			if (h->lease.queue[k] < LEASE_QUEUES_MAX)
				queue[h->lease.queue[k]] = true;
	}
}

int lease_bind(struct devmemd *d, struct client *c,
	       const struct broker_request *q, int dmabuf_fd, struct held **out,
	       struct why *w)
{
	bool avoid[LEASE_QUEUES_MAX] = { false };
	const struct lease_want want = {
		.queues = q->queues,
		.manual = q->manual,
		.guard = d->guard,
		.avoid = avoid,
	};
	struct devmem_nic_props nic;
	struct held *h;
	int rc;

	rc = nic_describe(q->ifname, &nic);
	if (rc)
		return why(w, rc, "%s: %s", q->ifname, strerror(-rc));
	rc = check_limits(d, c, &nic, q->queues, w);
	rc = rc ?: check_dmabuf(dmabuf_fd, w);
	if (rc)
		return rc;
	h = free_held(d);
	if (!h)
		return why(w, -EUSERS, "all users together have %d leases",
			   LEASES_MAX);
	memset(h, 0, sizeof(*h));
	if (getrandom(h->token, sizeof(h->token), 0) != sizeof(h->token))
		return why(w, -EIO, "no random numbers");
	mark_queues(d, nic.ifindex, avoid);
	rc = lease_take(&nic, &want, dmabuf_fd, &h->lease, w);
	if (rc)
		return rc;
	h->used = true;
	h->guid = nic.guid;
	h->uid = c->uid;
	h->pid = c->pid;
	h->client = (int)(c - d->client);
	/* Before the client has it: it may be the last thing that we do. */
	state_write(d);
	*out = h;
	return 0;
}

void lease_given(struct held *h)
{
	char queues[128];

	lease_let_go(&h->lease);
	say("lease begins: uid %u pid %d nic %s queues %s", h->uid, (int)h->pid,
	    h->lease.ifname,
	    lease_queues_text(&h->lease, queues, sizeof(queues)));
}

/* That were changed by one who was killed before it could write that down. */
static void restore_left(const char *ifname)
{
	struct devmem_nic_props nic;
	struct nic_settings s;
	struct nicfile f;
	struct why w;

	if (nic_describe(ifname, &nic) || nicfile_lock(&f, nic.ifindex, false))
		return;
	nicfile_unlock(&f);
	if (settings_begin(&s, &nic, false, &w))
		say("%s", w.text);
	else
		settings_end(&s);
}

void lease_drop(struct devmemd *d, struct held *h, const char *why_text)
{
	char queues[128];
	bool adopted;

	say("lease ends: uid %u pid %d nic %s queues %s: %s", h->uid,
	    (int)h->pid, h->lease.ifname,
	    lease_queues_text(&h->lease, queues, sizeof(queues)), why_text);
	rules_delete_all(d, h);
	adopted = h->lease.settings.original;
	lease_end(&h->lease);
	/* Somebody was in the way when it was taken up. */
	if (!adopted)
		restore_left(h->lease.ifname);
	h->used = false;
	state_write(d);
}

static bool token_matches(const uint8_t *a, const uint8_t *b)
{
	uint8_t diff = 0;

	/* All bytes, always: timing must not tell how many were right. */
	for (int i = 0; i < BROKER_TOKEN; i++)
		diff |= a[i] ^ b[i];
	return !diff;
}

struct held *lease_find(struct devmemd *d, const struct client *c,
			const uint8_t *token)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++) {
		struct held *h = &d->held[i];

		if (h->used && h->uid == c->uid &&
		    token_matches(h->token, token))
			return h;
	}
	return NULL;
}

void leases_look(struct devmemd *d)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++) {
		struct held *h = &d->held[i];

		if (h->used && !lease_is_bound(&h->lease, &d->netdev))
			lease_drop(d, h, "its job has ended, or let go of it");
	}
}

unsigned int lease_rules(const struct devmemd *d, const struct held *h)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < RULES_MAX; i++)
		n += d->rule[i].used && &d->held[d->rule[i].lease] == h;
	return n;
}

static void take_up(struct devmemd *d, struct held *h)
{
	struct devmem_nic_props nic;
	struct why w;
	int rc = nic_describe(h->lease.ifname, &nic);

	/* Names and numbers are used again, for other NICs. */
	if (rc || nic.guid != h->guid || nic.ifindex != h->lease.ifindex) {
		say("lease ends: uid %u nic %s: it is gone", h->uid,
		    h->lease.ifname);
		for (unsigned int i = 0; i < RULES_MAX; i++)
			if (&d->held[d->rule[i].lease] == h)
				d->rule[i].used = false;
		h->used = false;
		return;
	}
	rc = lease_adopt(&nic, d->guard, &h->lease, &w);
	if (rc)
		say("%s", w.text);
}

int leases_take_up(struct devmemd *d)
{
	struct if_nameindex *all = if_nameindex();
	unsigned int n = 0;

	for (unsigned int i = 0; i < LEASES_MAX; i++)
		if (d->held[i].used)
			take_up(d, &d->held[i]);
	leases_look(d);
	for (struct if_nameindex *one = all; one && one->if_index; one++)
		restore_left(one->if_name);
	if (all)
		if_freenameindex(all);
	for (unsigned int i = 0; i < LEASES_MAX; i++)
		n += d->held[i].used;
	if (n)
		say("%u leases are taken up", n);
	state_write(d);
	return 0;
}
