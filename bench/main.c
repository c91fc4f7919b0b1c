/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c - devmem-bench: measures and checks an NCCL net plugin through its
 * table, without NCCL, and without a GPU unless its memory is asked for. This file
 * decides which runs there are: one, or, for a comparison, each variant in turn,
 * round by round.
 */
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "children.h"
#include "pictures.h"

/* The part of a rank whose launcher is on another machine. */
static int follow(const struct options *o)
{
	int n = o->nvariants ? o->nvariants * o->rounds : 1, i, rc = 0;

	for (i = 0; !rc && i < n; i++)
		rc = member_run(
			o, o->nvariants ? &o->variants[i % o->nvariants] : NULL,
			i);
	return rc;
}

static int compare(const struct options *o, int listener, struct result *all)
{
	int n = o->nvariants * o->rounds, i, rc = 0;

	for (i = 0; !rc && i < n; i++) {
		rc = hub_run(o, &o->variants[i % o->nvariants], i, listener,
			     false, &all[i]);
		if (rc)
			complain("that was round %d of variant %s",
				 i / o->nvariants + 1,
				 o->variants[i % o->nvariants].name);
		else if (i == 0)
			report_header(o, &all[0]);
		if (!rc && i < o->nvariants)
			report_ranks(o, &all[i], o->variants[i].name);
	}
	if (!rc)
		report_compare(o, all);
	return rc;
}

static int lead(const struct options *o, int listener)
{
	size_t n = o->nvariants ? (size_t)o->nvariants * o->rounds : 1;
	struct result *all = calloc(n, sizeof(*all));
	int rc;

	if (!all) {
		complain("no memory for the results");
		return EXIT_FAIL;
	}
	if (o->nvariants) {
		rc = compare(o, listener, all);
	} else {
		rc = hub_run(o, NULL, 0, listener, true, all);
		report_end(o, all);
	}
	if (o->json && json_write(o, all, rc) && !rc)
		rc = EXIT_FAIL;
	if ((o->plot || o->report) && rc != EXIT_SKIP &&
	    pictures_of(o, all, rc) && !rc)
		rc = EXIT_FAIL;
	free(all);
	return rc;
}

int main(int argc, char **argv)
{
	static struct options o;
	int listener = -1, rc;
	char why[512];

	if (pictures_command(argc, argv, &rc))
		return rc;
	options_parse(argc, argv, &o);
	signals_catch();
	if (o.rank > 0)
		return follow(&o);
	if (!pictures_possible(&o))
		return EXIT_FAIL;
	if (o.bootstrap) {
		listener = tcp_listen(o.bootstrap, why, sizeof(why));
		if (listener < 0) {
			complain("%s", why);
			return EXIT_FAIL;
		}
	}
	rc = lead(&o, listener);
	if (listener >= 0)
		close(listener);
	return rc;
}
