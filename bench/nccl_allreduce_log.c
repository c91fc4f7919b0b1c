// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_log.c - reads what NCCL wrote at NCCL_DEBUG=INFO: which network
 * it took, whether it went by anything else, and what a plugin says of its paths.
 * A file may have any content: nothing is taken on trust but words that are there.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "nccl_allreduce.h"

/* Adds the words of "a+b" to `list` that it has not yet. */
static void join_words(char *list, size_t size, const char *words, size_t len)
{
	const char *end = words + len, *p;
	size_t n, used;

	for (; words < end; words += n + 1) {
		n = strcspn(words, "+");
		if (n > (size_t)(end - words))
			n = end - words;
		for (p = list; *p; p += strcspn(p, "+") + !!strchr(p, '+'))
			if (strcspn(p, "+") == n && !strncmp(p, words, n))
				break;
		used = strlen(list);
		if (!*p && n && used + n + 2 <= size)
			snprintf(list + used, size - used, "%s%.*s",
				 used ? "+" : "", (int)n, words);
	}
}

static void add_number(struct path_side *side, const char *key, size_t len,
		       uint64_t value)
{
	int i;

	if (len >= sizeof(side->keys[0].key))
		return;
	for (i = 0; i < side->nkeys; i++)
		if (strlen(side->keys[i].key) == len &&
		    !strncmp(side->keys[i].key, key, len))
			break;
	if (i == PATH_KEYS)
		return;
	if (i == side->nkeys) {
		memcpy(side->keys[i].key, key, len);
		side->nkeys++;
	}
	side->keys[i].sum += value;
}

/* A word key=value of a path line, with `len` characters of value. */
static void take_word(struct path_side *side, const char *which, bool done,
		      const char *key, const char *value, size_t len)
{
	size_t klen = value - key - 1;
	char *end;
	uint64_t v;

	if (*value == '"')
		value++, len -= 2;
	if (klen == 6 && !strncmp(key, "reason", 6) && !side->reason[0]) {
		snprintf(side->reason, sizeof(side->reason), "%.*s", (int)len,
			 value);
		printable(side->reason, sizeof(side->reason));
	}
	if (klen == 6 && !strncmp(key, "gather", 6))
		join_words(side->gather, sizeof(side->gather), value, len);
	if (!done)
		return;
	if (klen == strlen(which) && !strncmp(key, which, klen)) {
		join_words(side->word, sizeof(side->word), value, len);
		return;
	}
	if (!isdigit((unsigned char)*value))
		return;
	v = strtoull(value, &end, 10);
	if (end == value + len)
		add_number(side, key, klen, v);
}

/* "recv done nic=... rx=host devmem=0 ...": what is behind "path ". */
static void take_path(struct rank_log *log, const char *line)
{
	bool recv = !strncmp(line, "recv ", 5), done;
	struct path_side *side = recv ? &log->recv : &log->send;
	const char *p, *value;
	size_t len;

	if (!recv && strncmp(line, "send ", 5))
		return;
	done = !strncmp(line + 5, "done ", 5);
	side->lines += done;
	for (p = line + 5; *p; p += strspn(p, " ")) {
		len = strcspn(p, " =");
		if (p[len] != '=') {
			p += len;
			continue;
		}
		value = p + len + 1;
		len = strcspn(value, " ");
		if (*value == '"') {
			len = strcspn(value + 1, "\"") + 2;
			if (len > strlen(value))
				return;
		}
		take_word(side, recv ? "rx" : "tx", done, p, value, len);
		p = value + len;
	}
}

static void take_transport(struct rank_log *log, const char *via)
{
	static const char *const others[] = { "P2P", "SHM" };
	size_t i;

	if (!strncmp(via, "NET/", 4)) {
		log->via++;
		log->gdr += !!strstr(via, "/GDRDMA");
		return;
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strncmp(via, others[i], 3))
			join_words(log->other, sizeof(log->other), others[i],
				   3);
}

static void take_warning(struct rank_log *log, const char *text)
{
	int max = sizeof(log->warn) / sizeof(log->warn[0]);
	char *to;

	if (log->nwarn >= max)
		memmove(log->warn[0], log->warn[1],
			(max - 1) * sizeof(log->warn[0]));
	to = log->warn[log->nwarn < max ? log->nwarn : max - 1];
	snprintf(to, sizeof(log->warn[0]), "%s", text);
	printable(to, sizeof(log->warn[0]));
	log->nwarn++;
}

static void take_line(struct rank_log *log, char *line)
{
	static const char using[] = "Using network ", warn[] = "NCCL WARN ";
	char *p;

	line[strcspn(line, "\n")] = '\0';
	p = strstr(line, warn);
	if (p)
		take_warning(log, p + sizeof(warn) - 1);
	p = strstr(line, "NCCL INFO ");
	if (!p)
		return;
	line = p + 10;
	if (!strncmp(line, using, sizeof(using) - 1)) {
		p = line + sizeof(using) - 1;
		join_words(log->net, sizeof(log->net), p, strcspn(p, " "));
		printable(log->net, sizeof(log->net));
	}
	p = strstr(line, " via ");
	if (!strncmp(line, "Channel ", 8) && p)
		take_transport(log, p + 5);
	p = strstr(line, " path ");
	if (!strncmp(line, "NET/", 4) && p)
		take_path(log, p + 6);
}

void log_read(const char *file, struct rank_log *log)
{
	FILE *f = fopen(file, "re");
	char line[4096];

	memset(log, 0, sizeof(*log));
	log->there = f;
	while (f && fgets(line, sizeof(line), f))
		take_line(log, line);
	if (f)
		fclose(f);
}

static int refuse(struct job_result *res, int rank, const char *text,
		  const char *what)
{
	res->code = EXIT_FAIL;
	snprintf(res->error, sizeof(res->error), "rank %d: %s%s", rank, text,
		 what);
	complain("%s", res->error);
	return res->code;
}

/* The path, and who gathers, if they were asked for. */
static int judge_path(const struct job *j, struct job_result *res, int rank)
{
	const struct path_side *p = &res->log[rank].recv;

	if (!j->require_rx && !j->require_gather)
		return 0;
	if (!p->lines)
		return refuse(res, rank, "no path lines in NCCL's log", "");
	if (j->require_rx && strcmp(p->word, j->require_rx))
		return refuse(res, rank, "it received by ", p->word);
	if (j->require_gather && strcmp(p->gather, j->require_gather))
		return refuse(res, rank, "payload was gathered by ",
			      p->gather[0] ? p->gather : "nobody");
	return 0;
}

/* Was it the network that was asked for, and no other way? */
int log_judge(const struct job *j, const struct setting *s,
	      struct job_result *res)
{
	const struct rank_log *log;
	int i, rc = 0;

	for (i = 0; !rc && i < j->ranks; i++) {
		log = &res->log[i];
		if (!log->net[0])
			rc = refuse(res, i,
				    "NCCL's log does not say which network it "
				    "used; it wants NCCL_DEBUG=INFO and "
				    "NCCL_DEBUG_SUBSYS with INIT and NET",
				    "");
		else if (strcasecmp(log->net, s->net))
			rc = refuse(res, i, "NCCL used the network ", log->net);
		else if (!log->via)
			rc = refuse(res, i,
				    "NCCL made no connection by the network",
				    "");
		else if (log->other[0] && !j->any_path)
			rc = refuse(res, i,
				    "NCCL went not by the network alone, but "
				    "also by ",
				    log->other);
		else
			rc = judge_path(j, res, i);
	}
	return rc;
}
