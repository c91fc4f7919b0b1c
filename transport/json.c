// SPDX-License-Identifier: BSD-3-Clause
/*
 * json.c - see json.h. RFC 8259.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "json.h"

void json_begin(struct json *j, FILE *to)
{
	j->to = to;
	j->depth = 0;
	j->first = true;
	j->one_line = false;
}

int json_end(struct json *j)
{
	int rc;

	fputc('\n', j->to);
	rc = ferror(j->to) ? -EIO : 0;
	if (fclose(j->to) && !rc)
		rc = -errno;
	return rc;
}

static void next_line(struct json *j)
{
	if (j->one_line)
		return;
	fputc('\n', j->to);
	for (int i = 0; i < j->depth; i++)
		fputc('\t', j->to);
}

static void item(struct json *j, const char *name)
{
	if (j->depth) {
		if (!j->first)
			fputc(',', j->to);
		next_line(j);
	}
	j->first = false;
	if (name)
		fprintf(j->to, "\"%s\": ", name);
}

void json_open(struct json *j, const char *name, char bracket)
{
	item(j, name);
	fputc(bracket, j->to);
	j->depth++;
	j->first = true;
}

void json_close(struct json *j, char bracket)
{
	j->depth--;
	if (!j->first)
		next_line(j);
	fputc(bracket, j->to);
	j->first = false;
}

void json_u64(struct json *j, const char *name, uint64_t v)
{
	item(j, name);
	fprintf(j->to, "%" PRIu64, v);
}

void json_i64(struct json *j, const char *name, int64_t v)
{
	item(j, name);
	fprintf(j->to, "%" PRId64, v);
}

void json_double(struct json *j, const char *name, double v)
{
	char text[64];

	item(j, name);
	if (!isfinite(v)) {
		fputs("null", j->to);
		return;
	}
	snprintf(text, sizeof(text), "%.12g", v);
	/* Whatever the locale's decimal point is. */
	for (char *p = text; *p; p++)
		if (*p == ',')
			*p = '.';
	fputs(text, j->to);
}

void json_bool(struct json *j, const char *name, bool v)
{
	item(j, name);
	fputs(v ? "true" : "false", j->to);
}

/* Bytes of the UTF-8 character at @s, 0: it is none. RFC 3629. */
static unsigned int utf8(const unsigned char *s)
{
	unsigned int n;

	if (*s < 0xc2 || *s > 0xf4)
		return 0;
	n = *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
	for (unsigned int i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than it need be, a surrogate, or beyond the last. */
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) ||
	    (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void json_string(struct json *j, const char *name, const char *v)
{
	const unsigned char *s = (const unsigned char *)v;

	item(j, name);
	fputc('"', j->to);
	while (*s) {
		unsigned int n = *s < 0x80 ? 1 : utf8(s);

		if (!n)
			fputs("\\ufffd", j->to);
		else if (*s < 0x20 || *s == 0x7f)
			fprintf(j->to, "\\u%04x", *s);
		else if (*s == '"' || *s == '\\')
			fprintf(j->to, "\\%c", *s);
		else
			fwrite(s, 1, n, j->to);
		s += n ?: 1;
	}
	fputc('"', j->to);
}
