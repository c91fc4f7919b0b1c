// SPDX-License-Identifier: BSD-3-Clause
/*
 * parse.c - arguments of command lines, see parse.h.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "text.h"

int parse_number(struct argp_state *s, const char *name, const char *text,
		 int least, int most)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < least || v > most)
		argp_error(s, "--%s %s: want a number from %d to %d", name,
			   text, least, most);
	return (int)v;
}

/* Above `most` what is no size. */
static unsigned long long bytes_of(const char *text, size_t most)
{
	static const char units[] = "KMG";
	unsigned long long v;
	const char *unit;
	int shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return most + 1ull;
	errno = 0;
	v = strtoull(text, &end, 10);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		shift = 10 * (int)(unit - units + 1);
		end++;
	}
	return errno || *end || v > most >> shift ? most + 1ull : v << shift;
}

size_t parse_size(struct argp_state *s, const char *name, const char *text,
		  size_t least, size_t most)
{
	unsigned long long v = bytes_of(text, most);
	char from[32], to[32];

	if (v < least || v > most)
		argp_error(s,
			   "--%s %s: want a size such as 8, 512K or 64M, from "
			   "%s to %s",
			   name, text, text_tick(from, sizeof(from), least),
			   text_tick(to, sizeof(to), most));
	return (size_t)v;
}

bool is_setting(const char *text)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"
				"abcdefghijklmnopqrstuvwxyz");

	return n && !isdigit((unsigned char)*text) && text[n] == '=';
}

char *next_setting(char **rest)
{
	char *first = *rest, *comma;

	if (!first || !*first)
		return NULL;
	for (comma = strchr(first, ','); comma; comma = strchr(comma + 1, ','))
		if (is_setting(comma + 1))
			break;
	if (comma)
		*comma++ = '\0';
	*rest = comma;
	return first;
}
