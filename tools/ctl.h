/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctl.h - the commands of devmemctl: each gets the arguments that follow the
 * program's name, its own first, and returns the program's exit status.
 */
#ifndef TOOLS_CTL_H
#define TOOLS_CTL_H

#include <argp.h>
#include <stdbool.h>

/* Exit statuses that all commands share; a command's --help names its others. */
enum ctl_status {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2, /* argp's as well */
};

struct ctl_command {
	const char *name;
	const char *sentence;
	int (*run)(int argc, char **argv);
};

/* Is there a command of that name? */
bool ctl_has(const char *name);

int ctl_bench(int argc, char **argv);
int ctl_doctor(int argc, char **argv);
int ctl_params(int argc, char **argv);
int ctl_restore(int argc, char **argv);
int ctl_set(int argc, char **argv);
int ctl_status(int argc, char **argv);

/**
 * ctl_parse() - argp_parse() for a command, whose messages and help call it
 * "devmemctl NAME". Does not return on --help or on arguments that are wrong.
 */
void ctl_parse(const struct argp *argp, int argc, char **argv,
	       unsigned int flags, void *input);

/*
 * Printable ASCII of @s, anything else as a question mark, as much as @n bytes hold:
 * other people's text is nothing that a terminal is to obey. @text.
 */
const char *ctl_plain(char *text, size_t n, const char *s);

#endif /* TOOLS_CTL_H */
