// SPDX-License-Identifier: BSD-3-Clause
/*
 * text.c - words and files, see text.h.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "text.h"

/*
 * The length of the character at `p`, 0 if it is none: by RFC 3629, without
 * overlong forms and surrogates; the C1 controls are none either, nor are the
 * characters that XML 1.0 leaves out.
 */
static size_t utf8_length(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0x20, 0xa0, 0x800, 0x10000 };
	uint32_t code;
	size_t n, i;

	if (*p < 0x80)
		return *p >= 0x20 && *p != 0x7f;
	n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	code = *p & (0xff >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < least[n] || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000) || (code & 0xfffe) == 0xfffe)
		return 0;
	return n;
}

void text_clean(char *to, size_t size, const char *from)
{
	size_t n;

	for (; *from; from += n ? n : 1) {
		n = utf8_length((const unsigned char *)from);
		if (size <= (n ? n : 1))
			break;
		memcpy(to, n ? from : "?", n ? n : 1);
		to += n ? n : 1;
		size -= n ? n : 1;
	}
	*to = '\0';
}

/* In the largest unit that is not above it; which one. */
static int in_units(double *bytes)
{
	int unit = 0;

	for (; *bytes >= 1024 && unit < 4; unit++)
		*bytes /= 1024;
	return unit;
}

const char *text_tick(char *buf, size_t size, double bytes)
{
	static const char *const units[] = { "", "K", "M", "G", "T" };
	int unit = in_units(&bytes);

	snprintf(buf, size, "%.4g%s", bytes, units[unit]);
	return buf;
}

const char *text_bytes(char *buf, size_t size, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	int unit = in_units(&bytes);

	snprintf(buf, size, "%.4g %s", bytes, units[unit]);
	return buf;
}

const char *text_shell(char *buf, size_t size, const char *word)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"_-+=:,./@%";
	size_t n = 0;

	if (*word && !word[strspn(word, plain)]) {
		snprintf(buf, size, "%s", word);
		return buf;
	}
	/* A quote ends the quotes, is quoted by itself, and begins new ones. */
	for (buf[n++] = '\''; *word && n + 6 < size; word++) {
		if (*word == '\'')
			n += (size_t)sprintf(buf + n, "'\\''");
		else
			buf[n++] = *word;
	}
	buf[n++] = '\'';
	buf[n] = '\0';
	return buf;
}

void text_command(char *buf, size_t size, int argc, char **argv)
{
	char word[2048];
	size_t n = 0;
	int i;

	*buf = '\0';
	for (i = 0; i < argc && n + 1 < size; i++) {
		text_shell(word, sizeof(word), argv[i]);
		n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? " " : "",
				      word);
	}
}

char *text_of_file(const char *file, size_t most, size_t *len, char *why,
		   size_t size)
{
	FILE *f = fopen(file, "re");
	char *text = NULL, *more;
	size_t room = 0;

	*len = 0;
	if (!f) {
		snprintf(why, size, "%s", strerror(errno));
		return NULL;
	}
	do {
		room += (size_t)64 << 10;
		more = *len > most ? NULL : realloc(text, room + 1);
		if (!more)
			break;
		text = more;
		*len += fread(text + *len, 1, room - *len, f);
	} while (*len == room);
	if (more && !ferror(f)) {
		fclose(f);
		text[*len] = '\0';
		return text;
	}
	snprintf(why, size, "%s",
		 *len > most ? "larger than what it should be" :
		 !more	     ? "no memory" :
			       strerror(errno));
	fclose(f);
	free(text);
	return NULL;
}

int make_folders(const char *path)
{
	char *copy = strdup(path), *slash;
	int rc = 0;

	if (!copy)
		return -ENOMEM;
	for (slash = copy + 1; !rc && *slash; slash++) {
		if (*slash != '/')
			continue;
		*slash = '\0';
		if (mkdir(copy, 0777) && errno != EEXIST)
			rc = -errno;
		*slash = '/';
	}
	if (!rc && mkdir(copy, 0777) && errno != EEXIST)
		rc = -errno;
	free(copy);
	return rc;
}
