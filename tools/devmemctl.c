// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemctl.c - for the people who run it: one program, one command for each
 * question. The commands are in files of their own, ctl_*.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const struct ctl_command commands[] = {
	{ "bench", "measure: runs devmem-bench", ctl_bench },
	{ "doctor", "is the fast path live, and if not, why not", ctl_doctor },
	{ "params", "the plugin's parameters, and what they are set to",
	  ctl_params },
	{ "restore", "put back settings of NICs that dead processes changed",
	  ctl_restore },
	{ "set", "header split, where ethtool cannot", ctl_set },
	{ "status", "what is bound and moved right now, and by whom",
	  ctl_status },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

bool ctl_has(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return true;
	return false;
}

static void usage(FILE *to)
{
	fputs("Usage: devmemctl COMMAND [ARG...]\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-10s %s\n", commands[i].name,
			commands[i].sentence);
	fputs("\nOptions of a command: devmemctl COMMAND --help\n", to);
}

const char *ctl_plain(char *text, size_t n, const char *s)
{
	size_t i;

	for (i = 0; s[i] && i + 1 < n; i++)
		text[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
	text[i] = '\0';
	return text;
}

void ctl_parse(const struct argp *argp, int argc, char **argv,
	       unsigned int flags, void *input)
{
	char name[64];

	/* argp takes the program's name from here. */
	snprintf(name, sizeof(name), "devmemctl %s", argv[0]);
	argv[0] = name;
	argp_err_exit_status = CTL_USAGE;
	argp_parse(argp, argc, argv, flags, NULL, input);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (!strcmp(name, "help") || !strcmp(name, "--help")) {
		usage(stdout);
		return CTL_OK;
	}
	if (!strcmp(name, "--version")) {
		puts("devmemctl " DEVMEM_VERSION);
		return CTL_OK;
	}
	if (*name)
		fprintf(stderr, "devmemctl: no such command: %s\n", name);
	usage(stderr);
	return CTL_USAGE;
}
