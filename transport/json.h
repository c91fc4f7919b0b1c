/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * json.h - writing JSON, one thing after the other, to a stream. Who calls sees to
 * it that members have names and elements have none; commas, indentation and
 * escapes are seen to here. Names are constants of ours.
 */
#ifndef DEVMEM_JSON_H
#define DEVMEM_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *to;
	int depth;
	bool first;    /* nothing is in the innermost object or list so far */
	bool one_line; /* no line ends */
	char *text;    /* for open_memstream(), as the next */
	size_t bytes;
};

void json_begin(struct json *j, FILE *to);
/* Ends the text with a newline and closes the stream. 0 or -errno. */
int json_end(struct json *j);

/* @name NULL: an element of a list, or the whole. */
void json_open(struct json *j, const char *name, char bracket);
void json_close(struct json *j, char bracket);
void json_u64(struct json *j, const char *name, uint64_t v);
void json_i64(struct json *j, const char *name, int64_t v);
/* Not a number, or infinite: null. */
void json_double(struct json *j, const char *name, double v);
void json_bool(struct json *j, const char *name, bool v);
/* Any bytes: what is not UTF-8 is written as U+FFFD. */
void json_string(struct json *j, const char *name, const char *v);

#endif /* DEVMEM_JSON_H */
