// SPDX-License-Identifier: BSD-3-Clause
/*
 * json_file.c - writes a tree, see json_file.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_file.h"
#include "say.h"

static int write_text(const char *file, const char *text)
{
	FILE *f = fopen(file, "we");
	int bad;

	if (!f) {
		complain("--json %s: %s", file, strerror(errno));
		return EXIT_FAILURE;
	}
	bad = fputs(text, f) < 0 || fputc('\n', f) < 0;
	if (fclose(f) || bad) {
		complain("--json %s: cannot write: %s", file, strerror(errno));
		return EXIT_FAILURE;
	}
	return 0;
}

int json_save(const char *file, const cJSON *tree)
{
	char *text = cJSON_Print(tree);
	int rc = EXIT_FAILURE;

	if (text)
		rc = write_text(file, text);
	else
		complain("--json %s: no memory", file);
	free(text);
	return rc;
}
