// SPDX-License-Identifier: BSD-3-Clause
/*
 * ctl_doctor.c - `devmemctl doctor`: is the fast path live, and if not, why not and
 * what to do. The checks are in doctor*.c.
 */
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"
#include "doctor.h"

enum doctor_status {
	DOCTOR_IS_WELL = 0,
	DOCTOR_HAS_WARNED = 1,
	DOCTOR_HAS_FAILED = 3,
};

struct wishes {
	const char *ifname;
	bool json, fix, yes, all, trial;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct wishes *w = state->input;

	switch (key) {
	case 'a':
		w->all = true;
		return 0;
	case 'j':
		w->json = true;
		return 0;
	case 'f':
		w->fix = true;
		return 0;
	case 'y':
		w->yes = true;
		return 0;
	case 't':
		w->trial = true;
		return 0;
	case ARGP_KEY_ARG:
		if (w->ifname)
			argp_error(state, "one interface, or none for all");
		/* A list of names is separated by commas. */
		if (!if_nametoindex(arg) || strchr(arg, ','))
			argp_error(state, "there is no interface %s", arg);
		w->ifname = arg;
		return 0;
	case ARGP_KEY_END:
		if (w->fix && w->json)
			argp_error(state,
				   "--fix and --json exclude each other");
		if (w->yes && !w->fix)
			argp_error(state, "--yes is for --fix");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static bool agreed(const struct wishes *w, const struct doctor_result *r)
{
	char answer[16] = "";

	printf("%s\n    %s\n", r->text, r->fix);
	if (w->yes)
		return true;
	printf("run it? [y/N] ");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) &&
	       (*answer == 'y' || *answer == 'Y');
}

static bool run(const char *command)
{
	int status;

	fflush(NULL);
	status = system(command);
	if (status != -1 && WIFEXITED(status) && !WEXITSTATUS(status))
		return true;
	fprintf(stderr, "devmemctl: failed: %s\n", command);
	return false;
}

/* Of one command found twice only the first: that mends both. */
static bool is_first(const struct doctor *d, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!strcmp(d->result[k].fix, d->result[i].fix))
			return false;
	return true;
}

/* How many commands were run and succeeded. */
static unsigned int fix(const struct doctor *d, const struct wishes *w)
{
	unsigned int done = 0;

	for (size_t i = 0; i < d->results; i++) {
		const struct doctor_result *r = &d->result[i];

		if (r->level < DOCTOR_WARN || !*r->fix || !r->safe ||
		    !is_first(d, i))
			continue;
		if (agreed(w, r) && run(r->fix))
			done++;
	}
	return done;
}

static int status_of(const struct doctor *d)
{
	switch (doctor_worst(d)) {
	case DOCTOR_FAIL:
		return DOCTOR_HAS_FAILED;
	case DOCTOR_WARN:
		return DOCTOR_HAS_WARNED;
	default:
		return DOCTOR_IS_WELL;
	}
}

/* What is mended may show what was behind it: each time something else. */
#define FIX_ROUNDS 8

static int examine(struct doctor *d, const struct wishes *w)
{
	int rc = doctor_run(d);

	for (int i = 0; !rc && w->fix && i < FIX_ROUNDS; i++) {
		if (!fix(d, w))
			break;
		rc = doctor_run(d);
	}
	return rc;
}

int ctl_doctor(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "what was found, for scripts", 0 },
		{ "fix", 'f', NULL, 0,
		  "run the commands that touch no other traffic, each after "
		  "asking",
		  0 },
		{ "yes", 'y', NULL, 0, "with --fix: do not ask", 0 },
		{ "try", 't', NULL, 0,
		  "set up a pool for a moment as the plugin does: the surest "
		  "answer, but queues of the interface restart",
		  0 },
		{ "all", 'a', NULL, 0, "print what is in order, too", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[IFACE]",
		.doc = "Is the fast path live, and if not, why not and what to "
		       "do? Asks for each condition from the kernel to the GPU "
		       "and NCCL, in this environment, for IFACE or all "
		       "interfaces that the plugin would use. Changes nothing, "
		       "but with --fix and --try.\v"
		       "Exit status: 0: all is well; 1: there are warnings; 2: "
		       "usage; 3: the fast path is not live; 4: out of memory.",
	};
	struct wishes w = { .ifname = NULL };
	struct doctor d;
	int rc;

	ctl_parse(&argp, argc, argv, 0, &w);
	if (w.fix && !w.yes && !isatty(STDIN_FILENO)) {
		fprintf(stderr, "devmemctl: --fix asks, and there is no "
				"terminal; --yes does without\n");
		return CTL_USAGE;
	}
	memset(&d, 0, sizeof(d));
	d.ifname = w.ifname;
	d.trial = w.trial;
	d.can_restore = ctl_has("restore");
	rc = examine(&d, &w);
	if (!rc && w.json)
		rc = doctor_print_json(&d);
	else if (!rc)
		doctor_print(&d, w.all);
	if (rc)
		fprintf(stderr, "devmemctl: %s\n", strerror(-rc));
	rc = rc ? 4 : status_of(&d);
	doctor_free(&d);
	return rc;
}
