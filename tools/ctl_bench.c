// SPDX-License-Identifier: BSD-3-Clause
/*
 * ctl_bench.c - `devmemctl bench`: devmem-bench, which stands beside this program
 * or in PATH, with the arguments as they are.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

#define BENCH "devmem-bench"

/* What is installed together, or built together, belongs together. */
static void run_beside(char **argv)
{
	static const char *const where[] = { "", "../bin/", "../bench/" };
	char self[PATH_MAX], path[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return;
	slash[1] = '\0';
	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		snprintf(path, sizeof(path), "%s%s" BENCH, self, where[i]);
		execv(path, argv);
	}
}

int ctl_bench(int argc, char **argv)
{
	char name[] = BENCH;

	(void)argc; /* argv ends with NULL */
	argv[0] = name;
	run_beside(argv);
	execvp(BENCH, argv);
	fprintf(stderr, "devmemctl: " BENCH " cannot be run: %s\n",
		strerror(errno));
	return CTL_FAILED;
}
