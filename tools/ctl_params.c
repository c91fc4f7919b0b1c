// SPDX-License-Identifier: BSD-3-Clause
/*
 * ctl_params.c - `devmemctl params`: the plugin's parameters with their defaults,
 * and what the environment says; values that the plugin would refuse.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"
#include "params.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key == ARGP_KEY_ARG)
		argp_error(state, "takes no arguments");
	return key == ARGP_KEY_ARG ? 0 : ARGP_ERR_UNKNOWN;
}

static const char *value_of(const struct param *p)
{
	const char *value = getenv(p->name);

	if ((!value || !*value) && p->fallback)
		value = getenv(p->fallback);
	return value && *value ? value : NULL;
}

static void print_range(const struct param *p)
{
	switch (p->kind) {
	case PARAM_SIZE:
	case PARAM_COUNT:
		printf("%s%s%zu to %zu", p->words ?: "", p->words ? ", " : "",
		       p->min, p->max);
		break;
	case PARAM_CHOICE:
		printf("%s", p->words);
		break;
	case PARAM_WORDS:
		printf("comma list of %s", p->words);
		break;
	case PARAM_TEXT:
		printf("text");
		break;
	}
}

int ctl_params(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.doc = "The plugin's parameters: environment variables, their "
		       "defaults, and what this environment says.\v"
		       "Exit status: 0; 1: the plugin would refuse a value."
	};
	struct devmem_options o;
	char text[256];

	ctl_parse(&argp, argc, argv, 0, NULL);
	for (size_t i = 0; i < params_count; i++) {
		const struct param *p = &params[i];
		const char *value = value_of(p);

		printf("%s=%s%s\n    %s\n    ", p->name, value ?: p->preset,
		       value ? "" : "  (default)", p->sentence);
		print_range(p);
		putchar('\n');
	}
	if (!params_read(&o, text, sizeof(text)))
		return CTL_OK;
	fprintf(stderr, "devmemctl: %s\n", text);
	return CTL_FAILED;
}
