/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * params.h - the plugin's parameters: environment variables, in one table.
 */
#ifndef PLUGIN_PARAMS_H
#define PLUGIN_PARAMS_H

#include <stddef.h>

#include "devmem.h"

enum param_kind {
	PARAM_SIZE,   /* bytes; suffixes K, M, G */
	PARAM_COUNT,  /* or the word: as many as the library thinks right */
	PARAM_CHOICE, /* one of the words; its index is the value */
	PARAM_WORDS,  /* comma list of the words; bit i for word i */
	PARAM_TEXT,
};

struct param {
	const char *name;     /* of the environment variable */
	const char *fallback; /* another one, if that is unset, or NULL */
	enum param_kind kind;
	size_t offset;	      /* of the field in struct devmem_options */
	size_t min, max;      /* SIZE and COUNT */
	const char *words;    /* CHOICE and WORDS: "a|b|c"; COUNT: "a" */
	const char *preset;   /* the default, in words */
	const char *sentence; /* what it does */
};

extern const struct param params[];
extern const size_t params_count;

/**
 * params_read() - defaults, then what the environment says.
 *
 * 0, or -EINVAL for the first value that makes no sense; then @text says in one
 * line which variable, which value and what it may be. Text values point into
 * the environment.
 */
int params_read(struct devmem_options *o, char *text, size_t n);

#endif /* PLUGIN_PARAMS_H */
