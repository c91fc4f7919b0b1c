// SPDX-License-Identifier: BSD-3-Clause
/*
 * ctl_set.c - `devmemctl set`: header split of an interface, for systems whose
 * ethtool does not know it yet.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "devnl.h"
#include "uapi.h"

#define THRESH_MAX 65535

struct setting {
	const char *ifname;
	unsigned int ifindex;
	int split;  /* DEVMEM_SPLIT_*, -1: as it is */
	int thresh; /* bytes, -1: as it is */
};

static int split_of(const char *word)
{
	if (!strcmp(word, "on"))
		return DEVMEM_SPLIT_ON;
	if (!strcmp(word, "off"))
		return DEVMEM_SPLIT_OFF;
	return strcmp(word, "auto") ? -1 : DEVMEM_SPLIT_UNKNOWN;
}

static int thresh_of(const char *word)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(word, &end, 10);
	if (end == word || *end || errno || v < 0 || v > THRESH_MAX)
		return -1;
	return (int)v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct setting *s = state->input;

	if (key == ARGP_KEY_END &&
	    (!s->ifname || (s->split < 0 && s->thresh < 0)))
		argp_error(state, "an interface, and what to set");
	if (key != ARGP_KEY_ARG)
		return key == ARGP_KEY_END ? 0 : ARGP_ERR_UNKNOWN;
	if (!s->ifname) {
		s->ifname = arg;
		s->ifindex = if_nametoindex(arg);
		if (!s->ifindex)
			argp_error(state, "there is no interface %s", arg);
	} else if (!strncmp(arg, "split=", 6)) {
		s->split = split_of(arg + 6);
		if (s->split < 0)
			argp_error(state, "split is on, off or auto");
	} else if (!strncmp(arg, "hds-thresh=", 11)) {
		s->thresh = thresh_of(arg + 11);
		if (s->thresh < 0)
			argp_error(state, "hds-thresh is 0 to %d bytes",
				   THRESH_MAX);
	} else {
		argp_error(state, "no such setting: %s", arg);
	}
	return 0;
}

int ctl_set(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "IFACE [split=on|off|auto] [hds-thresh=BYTES]",
		.doc = "Header split of an interface (tcp-data-split), which "
		       "not every ethtool can set.\v"
		       "Exit status: 0; 1: the kernel refused; 2: usage.",
	};
	struct setting s = { .split = -1, .thresh = -1 };
	struct devnl_rings now;
	char extack[160] = "";
	int rc;

	ctl_parse(&argp, argc, argv, 0, &s);
	rc = devnl_rings_get(s.ifindex, &now);
	if (!rc && now.split < 0)
		rc = -EOPNOTSUPP;
	if (!rc && s.split < 0)
		s.split = now.split;
	rc = rc	   ?:
		     devnl_rings_set(s.ifindex, s.split, s.thresh, extack,
				     sizeof(extack));
	if (rc)
		fprintf(stderr, "devmemctl: header split of %s: %s%s%s\n",
			s.ifname, strerror(-rc), *extack ? ": " : "", extack);
	return rc ? CTL_FAILED : CTL_OK;
}
