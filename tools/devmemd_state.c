// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_state.c - what a daemon that is started anew has to know: the leases and
 * their rules. A text, replaced as a whole. It has the leases' tokens in clear, for
 * those alone who could do all of it without them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devmemd.h"
#include "sock.h"
#include "text.h"

#define FILE_NAME "devmemd.leases"
#define NEW_NAME  "devmemd.leases.new"
#define LOCK_NAME "devmemd.lock"
#define TEXT_MAX  ((size_t)1 << 20)

int state_open(struct devmemd *d)
{
	struct stat st;

	d->lock_fd = -1;
	if (mkdir(d->state_path, 0755) && errno != EEXIST)
		return -errno;
	d->state_dir = open(d->state_path,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->state_dir < 0)
		return -errno;
	if (fstat(d->state_dir, &st))
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	/* One that is made for root's processes alone: clients must get in. */
	if (fchmod(d->state_dir, (st.st_mode & 07777) | 0555))
		return -errno;
	d->lock_fd = openat(d->state_dir, LOCK_NAME,
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return -errno;
	return flock(d->lock_fd, LOCK_EX | LOCK_NB) ? -EBUSY : 0;
}

static void put_address(struct text *t, const struct sockaddr_storage *a)
{
	char text[INET6_ADDRSTRLEN] = "?";
	uint8_t bytes[16];

	addr_put(a, bytes);
	inet_ntop(a->ss_family, bytes, text, sizeof(text));
	text_put(t, " %s %u", text, addr_port(a));
}

static void put_rules(struct text *t, const struct devmemd *d, unsigned int at)
{
	for (unsigned int i = 0; i < RULES_MAX; i++) {
		const struct rule *r = &d->rule[i];

		if (!r->used || r->lease != at)
			continue;
		text_put(t, "rule %" PRIu32 " %d", r->location, r->whole_port);
		put_address(t, &r->from);
		put_address(t, &r->to);
		text_put(t, "\n");
	}
}

size_t state_format(const struct devmemd *d, char *text, size_t n)
{
	struct text t = { .to = text, .n = n };

	text_put(&t, "devmemd 1 %" PRIu64 "\n", d->netns);
	for (unsigned int i = 0; i < LEASES_MAX; i++) {
		const struct held *h = &d->held[i];

		if (!h->used)
			continue;
		text_put(&t, "lease %u %d %s %u %" PRIu64 " %" PRIu32 " ",
			 h->uid, (int)h->pid, h->lease.ifname, h->lease.ifindex,
			 h->guid, h->lease.dmabuf_id);
		for (unsigned int k = 0; k < BROKER_TOKEN; k++)
			text_put(&t, "%02x", h->token[k]);
		for (unsigned int k = 0; k < h->lease.queues; k++)
			text_put(&t, " %u", h->lease.queue[k]);
		text_put(&t, "\n");
		put_rules(&t, d, i);
	}
	text_put(&t, "end\n");
	return t.at;
}

static bool next_number(char **save, uint64_t max, uint64_t *v)
{
	const char *word = strtok_r(NULL, " ", save);
	char *end;

	if (!word || *word < '0' || *word > '9')
		return false;
	errno = 0;
	*v = strtoull(word, &end, 10);
	return !errno && !*end && *v <= max;
}

static bool next_token(char **save, uint8_t *token)
{
	const char *word = strtok_r(NULL, " ", save);

	if (!word || strlen(word) != 2 * BROKER_TOKEN ||
	    strspn(word, "0123456789abcdef") != 2 * BROKER_TOKEN)
		return false;
	for (unsigned int i = 0; i < BROKER_TOKEN; i++)
		sscanf(word + 2 * (size_t)i, "%2hhx", &token[i]);
	return true;
}

static bool next_address(char **save, struct sockaddr_storage *a)
{
	const char *word = strtok_r(NULL, " ", save);
	uint8_t bytes[16];
	uint64_t port;
	int family;

	if (!word)
		return false;
	family = strchr(word, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, word, bytes) != 1 ||
	    !next_number(save, UINT16_MAX, &port))
		return false;
	addr_get(a, (sa_family_t)family, bytes);
	addr_set_port(a, (uint16_t)port);
	return true;
}

static bool parse_lease(char **save, struct held *h)
{
	uint64_t uid, pid, index, guid, id, queue;
	const char *name;

	memset(h, 0, sizeof(*h));
	if (!next_number(save, UINT32_MAX, &uid) ||
	    !next_number(save, INT32_MAX, &pid))
		return false;
	name = strtok_r(NULL, " ", save);
	if (!name || strlen(name) >= sizeof(h->lease.ifname))
		return false;
	strcpy(h->lease.ifname, name);
	if (!next_number(save, INT32_MAX, &index) ||
	    !next_number(save, UINT64_MAX, &guid) ||
	    !next_number(save, UINT32_MAX, &id) || !next_token(save, h->token))
		return false;
	while (*save && **save) {
		if (!next_number(save, LEASE_QUEUES_MAX - 1, &queue) ||
		    h->lease.queues == DEVMEM_MAX_QUEUES)
			return false;
		h->lease.queue[h->lease.queues++] = (unsigned int)queue;
	}
	h->used = h->lease.queues && index && id;
	h->lease.ifindex = (unsigned int)index;
	h->lease.dmabuf_id = (uint32_t)id;
	h->guid = guid;
	h->uid = (uid_t)uid;
	h->pid = (pid_t)pid;
	h->client = -1;
	return h->used;
}

static bool parse_rule(char **save, unsigned int lease, struct rule *r)
{
	uint64_t location, whole;

	*r = (struct rule){ .lease = lease, .port = -1 };
	if (!next_number(save, UINT32_MAX, &location) ||
	    !next_number(save, 1, &whole) || !next_address(save, &r->from) ||
	    !next_address(save, &r->to) || (*save && **save) ||
	    r->from.ss_family != r->to.ss_family)
		return false;
	r->location = (uint32_t)location;
	r->whole_port = whole;
	r->used = true;
	return true;
}

int state_parse(struct devmemd *d, char *text, int *line)
{
	unsigned int leases = 0, rules = 0;
	bool ended = false;
	uint64_t version;
	char *lines, *one;

	*line = 0;
	for (one = strtok_r(text, "\n", &lines); one && !ended;
	     one = strtok_r(NULL, "\n", &lines)) {
		char *save, *key = strtok_r(one, " ", &save);
		bool ok = false;

		++*line;
		if (*line == 1)
			ok = key && !strcmp(key, "devmemd") &&
			     next_number(&save, 1, &version) && version == 1 &&
			     next_number(&save, UINT64_MAX, &d->netns);
		else if (key && !strcmp(key, "lease") && leases < LEASES_MAX)
			ok = parse_lease(&save, &d->held[leases++]);
		else if (key && !strcmp(key, "rule") && leases &&
			 rules < RULES_MAX)
			ok = parse_rule(&save, leases - 1, &d->rule[rules++]);
		else if (key && !strcmp(key, "end"))
			ok = ended = true;
		if (!ok)
			return -EINVAL;
	}
	/* Without its end the file was not written to its end. */
	return ended ? 0 : -EINVAL;
}

static void forget_all(struct devmemd *d)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++)
		d->held[i].used = false;
	for (unsigned int i = 0; i < RULES_MAX; i++)
		d->rule[i].used = false;
}

static ssize_t read_text(int dir, char *text)
{
	int fd = openat(dir, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		close(fd);
		return -EPERM;
	}
	n = read(fd, text, TEXT_MAX - 1);
	close(fd);
	return n;
}

int state_read(struct devmemd *d)
{
	char *text = malloc(TEXT_MAX);
	uint64_t netns = d->netns;
	int line, rc = 0;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	n = read_text(d->state_dir, text);
	if (n == -ENOENT)
		goto out;
	if (n < 0) {
		rc = (int)n;
		say("%s/%s: %s", d->state_path, FILE_NAME, strerror(-rc));
		goto out;
	}
	text[n] = '\0';
	if (state_parse(d, text, &line)) {
		/* The kernel ends them all the same; NICs are restored. */
		say("%s/%s: line %d makes no sense: no lease is taken up",
		    d->state_path, FILE_NAME, line);
		forget_all(d);
	} else if (d->netns != netns) {
		rc = -EXDEV;
		say("%s is of a devmemd in another network namespace: give "
		    "this one a folder of its own (--state)",
		    d->state_path);
		forget_all(d);
	}
	d->netns = netns;
out:
	free(text);
	return rc;
}

static bool any_lease(const struct devmemd *d)
{
	for (unsigned int i = 0; i < LEASES_MAX; i++)
		if (d->held[i].used)
			return true;
	return false;
}

static int write_text(int dir, const char *text, size_t n)
{
	int fd = openat(dir, NEW_NAME,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	int rc;

	if (fd < 0)
		return -errno;
	rc = write(fd, text, n) == (ssize_t)n ? 0 : -EIO;
	close(fd);
	if (!rc && renameat(dir, NEW_NAME, dir, FILE_NAME))
		rc = -errno;
	return rc;
}

void state_write(struct devmemd *d)
{
	char *text;
	size_t n;
	int rc;

	if (!any_lease(d)) {
		unlinkat(d->state_dir, FILE_NAME, 0);
		return;
	}
	text = malloc(TEXT_MAX);
	n = text ? state_format(d, text, TEXT_MAX) : 0;
	rc = text ? write_text(d->state_dir, text, n) : -ENOMEM;
	free(text);
	if (rc)
		say_refusal("%s/%s cannot be written: %s: a devmemd that is "
			    "started anew will not know all leases",
			    d->state_path, FILE_NAME, strerror(-rc));
}
