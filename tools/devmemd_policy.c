// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_policy.c - see devmemd_policy.h.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devmemd_policy.h"

#define WORDS_MAX      16
#define DEFAULT_LEASES 16
#define DEFAULT_RULES  1024
#define MOST	       65535

__attribute__((format(printf, 3, 4))) static int bad(char *why, int line,
						     const char *fmt, ...)
{
	int at = line ? snprintf(why, POLICY_WHY, "line %d: ", line) : 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why + at, POLICY_WHY - (size_t)at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool number(const char *word, unsigned long max, unsigned long *v)
{
	char *end;

	if (!isdigit((unsigned char)*word))
		return false;
	errno = 0;
	*v = strtoul(word, &end, 10);
	return !errno && !*end && *v <= max;
}

static int parse_who(const char *kind, const char *name, struct policy_line *l,
		     int line, char *why)
{
	bool group = !strcmp(kind, "group");
	unsigned long id;

	if (!group && strcmp(kind, "user"))
		return bad(why, line, "\"%.32s\" where user or group is due",
			   kind);
	l->who = group ? POLICY_GROUP : POLICY_USER;
	if (!strcmp(name, "*")) {
		if (group)
			return bad(why, line, "\"group *\": say \"user *\"");
		l->who = POLICY_ANY;
		return 0;
	}
	if (number(name, UINT_MAX - 1, &id)) {
		l->id = (uint32_t)id;
		return 0;
	}
	if (group) {
		const struct group *g = getgrnam(name);

		if (!g)
			return bad(why, line, "no such group: %.64s", name);
		l->id = g->gr_gid;
	} else {
		const struct passwd *p = getpwnam(name);

		if (!p)
			return bad(why, line, "no such user: %.64s", name);
		l->id = p->pw_uid;
	}
	return 0;
}

static int parse_limit(const char *key, const char *value,
		       struct policy_limits *l, unsigned int *seen, int line,
		       char *why)
{
	static const char *const keys[] = { "queues", "leases", "rules" };
	unsigned int *const to[] = { &l->queues, &l->leases, &l->rules };
	unsigned long v;

	for (unsigned int i = 0; i < 3; i++) {
		if (strcmp(key, keys[i]))
			continue;
		if (*seen & 1u << i)
			return bad(why, line, "%s is there twice", key);
		if (!number(value, MOST, &v) || !v)
			return bad(why, line,
				   "%s %.32s is no number from 1 to %d", key,
				   value, MOST);
		*to[i] = (unsigned int)v;
		*seen |= 1u << i;
		return 0;
	}
	return bad(why, line, "\"%.32s\" where queues, leases or rules is due",
		   key);
}

/* allow user|group NAME nic PATTERN queues N [leases N] [rules N] */
static int parse_line(char **word, unsigned int words, struct policy *p,
		      int line, char *why)
{
	struct policy_line l = { .limits = { .leases = DEFAULT_LEASES,
					     .rules = DEFAULT_RULES } };
	unsigned int seen = 0;
	int rc;

	if (strcmp(word[0], "allow"))
		return bad(why, line, "\"%.32s\" where allow is due", word[0]);
	if (words < 7 || words % 2 == 0)
		return bad(why, line,
			   "it must be: allow user|group NAME nic NIC queues N "
			   "[leases N] [rules N]");
	rc = parse_who(word[1], word[2], &l, line, why);
	if (rc)
		return rc;
	if (strcmp(word[3], "nic"))
		return bad(why, line, "\"%.32s\" where nic is due", word[3]);
	if (strlen(word[4]) >= sizeof(l.nic))
		return bad(why, line, "the name of the NIC is too long");
	strcpy(l.nic, word[4]);
	for (unsigned int i = 5; i < words; i += 2) {
		rc = parse_limit(word[i], word[i + 1], &l.limits, &seen, line,
				 why);
		if (rc)
			return rc;
	}
	if (!(seen & 1))
		return bad(why, line, "queues is missing");
	if (p->lines == POLICY_LINES)
		return bad(why, line, "more than %d lines", POLICY_LINES);
	p->line[p->lines++] = l;
	return 0;
}

static int next_line(const char **at, struct policy *p, int line, char *why)
{
	size_t len = strcspn(*at, "\n"), end = strcspn(*at, "#\n");
	char text[512], *word[WORDS_MAX], *save, *w;
	unsigned int words = 0;

	if (end >= sizeof(text))
		return bad(why, line, "too long");
	memcpy(text, *at, end);
	text[end] = '\0';
	*at += len + ((*at)[len] == '\n');
	for (w = strtok_r(text, " \t\r", &save); w;
	     w = strtok_r(NULL, " \t\r", &save)) {
		if (words == WORDS_MAX)
			return bad(why, line, "too many words");
		word[words++] = w;
	}
	return words ? parse_line(word, words, p, line, why) : 0;
}

int policy_parse(const char *text, struct policy *p, char why[POLICY_WHY])
{
	int rc = 0;

	memset(p, 0, sizeof(*p));
	for (int line = 1; !rc && *text; line++)
		rc = next_line(&text, p, line, why);
	return rc;
}

static int read_text(int fd, char *text, char *why)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return bad(why, 0, "%s", strerror(errno));
	if ((st.st_uid && st.st_uid != geteuid()) || (st.st_mode & 022) ||
	    !S_ISREG(st.st_mode))
		return bad(why, 0,
			   "must be a file of root's that nobody else can "
			   "write: chown root, chmod go-w");
	n = read(fd, text, POLICY_BYTES);
	if (n < 0)
		return bad(why, 0, "%s", strerror(errno));
	if (n == POLICY_BYTES)
		return bad(why, 0, "is larger than %u bytes", POLICY_BYTES - 1);
	text[n] = '\0';
	if (strlen(text) != (size_t)n)
		return bad(why, 0, "has a byte that is 0");
	return 0;
}

int policy_load(const char *path, struct policy *p, char why[POLICY_WHY])
{
	struct policy *new = malloc(sizeof(*new));
	char *text = malloc(POLICY_BYTES);
	int fd, rc;

	if (!new || !text) {
		rc = bad(why, 0, "out of memory");
		goto out;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		rc = bad(why, 0, "%s", strerror(errno));
		goto out;
	}
	rc = read_text(fd, text, why);
	close(fd);
	rc = rc ?: policy_parse(text, new, why);
	if (!rc)
		*p = *new;
out:
	free(text);
	free(new);
	return rc;
}

static bool is_about(const struct policy_line *l, const struct policy_peer *who)
{
	if (l->who == POLICY_ANY)
		return true;
	if (l->who == POLICY_USER)
		return l->id == who->uid;
	if (l->id == who->gid)
		return true;
	for (unsigned int i = 0; i < who->groups; i++)
		if (l->id == who->group[i])
			return true;
	return false;
}

bool policy_allows(const struct policy *p, const struct policy_peer *who,
		   const char *nic, struct policy_limits *out)
{
	bool found = false;

	for (unsigned int i = 0; i < p->lines; i++) {
		const struct policy_line *l = &p->line[i];

		if (!is_about(l, who) || fnmatch(l->nic, nic, 0))
			continue;
		if (!found || l->limits.queues > out->queues)
			*out = l->limits;
		found = true;
	}
	return found;
}

bool policy_knows(const struct policy *p, const struct policy_peer *who)
{
	for (unsigned int i = 0; i < p->lines; i++)
		if (is_about(&p->line[i], who))
			return true;
	return false;
}
