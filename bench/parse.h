/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * parse.h - what command lines here have in common: numbers, sizes, and lists of
 * settings. An argument that is none ends the program by argp_error(), whose status
 * is argp_err_exit_status. Knows nothing of any program's options.
 */
#ifndef DEVMEM_BENCH_PARSE_H
#define DEVMEM_BENCH_PARSE_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

/* `name` is that of the option, for the complaint. */
int parse_number(struct argp_state *s, const char *name, const char *text,
		 int least, int most);
/* Bytes, with K, M or G behind them. */
size_t parse_size(struct argp_state *s, const char *name, const char *text,
		  size_t least, size_t most);

/* Is `text` the start of NAME=..., so that a comma before it separates? */
bool is_setting(const char *text);
/*
 * Cuts the first setting off "NAME=VALUE,NAME=VALUE...", where a value may hold
 * commas, and moves *rest behind it. NULL where there is none; what it returns may
 * still be none, if the first is not.
 */
char *next_setting(char **rest);

#endif /* DEVMEM_BENCH_PARSE_H */
