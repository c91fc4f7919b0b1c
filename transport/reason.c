// SPDX-License-Identifier: BSD-3-Clause
/*
 * reason.c - from an entry of the table to a line and to a command; see reason.h.
 * The table is in reason_table.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "reason.h"

struct out {
	char *text;
	size_t n, at; /* what would be there if there were room */
};

static void put(struct out *o, const char *text, size_t len)
{
	if (o->at < o->n) {
		size_t room = o->n - 1 - o->at;

		memcpy(o->text + o->at, text, len < room ? len : room);
		o->text[o->at + (len < room ? len : room)] = '\0';
	}
	o->at += len;
}

static void put_text(struct out *o, const char *text)
{
	put(o, text ?: "", strlen(text ?: ""));
}

static void put_number(struct out *o, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, v);
	put_text(o, text);
}

/* A name may hold anything but a slash and blanks: even that of an interface. */
static void put_word(struct out *o, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_.,:/@%+-=";

	if (!word || (*word && !word[strspn(word, plain)])) {
		put_text(o, word);
		return;
	}
	put_text(o, "'");
	for (; *word; word++)
		if (*word == '\'')
			put_text(o, "'\\''");
		else
			put(o, word, 1);
	put_text(o, "'");
}

struct slot {
	const char *name;
	const char *text; /* or, if NULL: */
	uint64_t number;
	bool is_text, quoted;
};

static void put_slot(struct out *o, const struct slot *s, bool command)
{
	if (!s->is_text)
		put_number(o, s->number);
	else if (command && s->quoted)
		put_word(o, s->text);
	else
		put_text(o, s->text);
}

/* @format with its slots filled in. What is no slot stays as it is. */
static void expand(struct out *o, const char *format,
		   const struct reason_args *a, bool command)
{
	const struct slot slots[] = {
		{ "{nic}", a->nic, 0, true, true },
		{ "{what}", a->what, 0, true, false },
		{ "{detail}", a->detail, 0, true, true },
		{ "{n}", NULL, a->n, false, false },
		{ "{m}", NULL, a->m, false, false },
		{ "{k}", NULL, a->k, false, false },
		{ "{bytes}", NULL, a->bytes, false, false },
	};
	static const char behind_colon[] = "{:detail}";

	while (*format) {
		size_t len = strcspn(format, "{"), used = 0;

		put(o, format, len);
		format += len;
		if (!*format)
			break;
		for (size_t i = 0; !used && i < sizeof(slots) / sizeof(*slots);
		     i++)
			if (!strncmp(format, slots[i].name,
				     strlen(slots[i].name))) {
				put_slot(o, &slots[i], command);
				used = strlen(slots[i].name);
			}
		if (!used &&
		    !strncmp(format, behind_colon, strlen(behind_colon))) {
			if (a->detail && *a->detail) {
				put_text(o, ": ");
				put_text(o, a->detail);
			}
			used = strlen(behind_colon);
		}
		if (!used) {
			put(o, format, 1);
			used = 1;
		}
		format += used;
	}
}

static size_t expanded(const char *format, const struct reason_args *a,
		       bool command, char *text, size_t n)
{
	struct out o = { .text = text, .n = n };

	if (n)
		*text = '\0';
	if (format)
		expand(&o, format, a, command);
	return o.at;
}

size_t reason_text(enum reason_id id, const struct reason_args *a, char *text,
		   size_t n)
{
	return expanded(reasons[id].text, a, false, text, n);
}

size_t reason_remedy(enum reason_id id, const struct reason_args *a, char *text,
		     size_t n)
{
	return expanded(reasons[id].remedy, a, false, text, n);
}

size_t reason_fix(enum reason_id id, const struct reason_args *a, char *text,
		  size_t n)
{
	return reason_command(reasons[id].fix, a, text, n);
}

size_t reason_command(const char *format, const struct reason_args *a,
		      char *text, size_t n)
{
	size_t len = expanded(format, a, true, text, n);

	/* Half a command is none. */
	if (len >= n && n)
		*text = '\0';
	return len;
}

int reason_set(struct why *w, int err, enum reason_id id,
	       const struct reason_args *a)
{
	struct out o = { .text = w->text, .n = sizeof(w->text) };
	const struct reason *r = &reasons[id];

	w->reason = id;
	w->text[0] = '\0';
	reason_fix(id, a, w->fix, sizeof(w->fix));
	expand(&o, r->text, a, false);
	w->head = (unsigned int)o.at;
	if (!r->remedy)
		return err;
	put_text(&o, "; ");
	expand(&o, r->remedy, a, false);
	/* "turn it on:" */
	if (r->remedy[strlen(r->remedy) - 1] == ':') {
		put_text(&o, " ");
		put_text(&o, w->fix);
	}
	return err;
}
