// SPDX-License-Identifier: BSD-3-Clause
/*
 * pictures.c - see pictures.h. A run's own results go the same way as a file's, so
 * that what is drawn of them can be drawn again.
 */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "page.h"
#include "pictures.h"
#include "plot.h"
#include "text.h"

/* ---- of a run ---------------------------------------------------------------- */

static bool can_be_made(const char *file)
{
	const char *slash = strrchr(file, '/');
	char dir[4096];

	snprintf(dir, sizeof(dir), "%.*s",
		 slash ? (int)(slash - file + (slash == file)) : 1,
		 slash ? file : ".");
	if (!access(dir, W_OK | X_OK))
		return true;
	complain("--report %s: %s: %s", file, dir, strerror(errno));
	return false;
}

bool pictures_possible(const struct options *o)
{
	if (o->plot && plot_folder(o->plot))
		return false;
	return !o->report || can_be_made(o->report);
}

int pictures_of(const struct options *o, const struct result *all, int code)
{
	struct words words = { 0 };
	struct plots made;
	struct saved run;
	char why[512];
	int rc = EXIT_OK;

	if (!saved_take(&run, "this run", json_tree(o, all, code), why,
			sizeof(why))) {
		complain("nothing to draw: %s", why);
		saved_free(&run);
		return EXIT_FAIL;
	}
	if (o->plot && plot_runs(o->plot, &run, 1, &made) == EXIT_FAIL)
		rc = EXIT_FAIL;
	if (o->report && page_write(o->report, &run, 1, &words))
		rc = EXIT_FAIL;
	saved_free(&run);
	return rc;
}

/* ---- of files ---------------------------------------------------------------- */

enum { OPT_TITLE = 256, OPT_FACT, OPT_NOTE, OPT_TEXT };

struct request {
	bool report;
	const char *to; /* folder, or file */
	int n;
	const char *file[MAX_DRAWN];
	struct words words;
};

static const struct argp_option report_table[] = {
	{ "title", OPT_TITLE, "TEXT", 0, "heading of the page", 0 },
	{ "fact", OPT_FACT, "NAME=VALUE", 0,
	  "a line of the table on top, such as \"commit=abc123\"", 0 },
	{ "note", OPT_NOTE, "TEXT", 0, "a paragraph under that table", 0 },
	{ "text", OPT_TEXT, "TITLE=FILE", 0,
	  "a section with what is in FILE: lines that begin with | are rows of "
	  "a table, others stay as they are",
	  0 },
	{ 0 }
};

static void add(struct argp_state *s, const char **list, int *n, char *arg,
		bool pair)
{
	if (*n == MAX_WORDS)
		argp_error(s, "\"%s\": more than %d of that kind", arg,
			   MAX_WORDS);
	else if (pair && (!strchr(arg, '=') || *arg == '='))
		argp_error(s, "\"%s\": want NAME=VALUE", arg);
	else
		list[(*n)++] = arg;
}

static error_t parse(int key, char *arg, struct argp_state *s)
{
	struct request *q = s->input;
	struct words *w = &q->words;

	switch (key) {
	case OPT_TITLE:
		w->title = arg;
		return 0;
	case OPT_FACT:
		add(s, w->fact, &w->nfacts, arg, true);
		return 0;
	case OPT_NOTE:
		add(s, w->note, &w->nnotes, arg, false);
		return 0;
	case OPT_TEXT:
		add(s, w->text, &w->ntexts, arg, true);
		return 0;
	case ARGP_KEY_ARG:
		if (!q->to)
			q->to = arg;
		else if (q->n == MAX_DRAWN)
			argp_error(s, "more than %d runs", MAX_DRAWN);
		else
			q->file[q->n++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (!q->to || (!q->n && !w->ntexts))
			argp_error(s, q->report ?
					      "want a file to write, and runs "
					      "or texts" :
					      "want a folder, and files that "
					      "--json wrote");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int make(const struct request *q, struct saved *runs)
{
	struct plots made;
	char why[512];
	int i;

	for (i = 0; i < q->n; i++)
		if (!saved_read(&runs[i], q->file[i], why, sizeof(why))) {
			complain("%s: %s", q->file[i], why);
			return EXIT_FAIL;
		}
	if (q->report)
		return page_write(q->to, runs, q->n, &q->words);
	return plot_runs(q->to, runs, q->n, &made);
}

bool pictures_command(int argc, char **argv, int *status)
{
	static const struct argp plot = {
		.parser = parse,
		.args_doc = "plot DIR RUN.json...",
		.doc = "Draws runs that `devmem-bench MODE --json RUN.json` left, "
		       "those of one mode in one picture, so that they can be "
		       "compared. For each picture there is DIR/NAME.dat, "
		       "DIR/NAME.gp (a script for gnuplot, to be changed and run "
		       "again), DIR/NAME.svg and DIR/NAME.png.\v"
		       "Exit status: 0 all drawn; 1 not so, such as for a file "
		       "that is none of a run; 2 wrong usage; 77 data and scripts "
		       "are there, but no gnuplot.",
	};
	static const struct argp report = {
		.options = report_table,
		.parser = parse,
		.args_doc = "report FILE.html [RUN.json...]",
		.doc = "Writes one HTML file on runs that `devmem-bench MODE "
		       "--json RUN.json` left: machine, commands, pictures, "
		       "figures, and how to read them. It refers to no other "
		       "file.\v"
		       "Exit status: 0 written, if need be without pictures, which "
		       "it then says; 1 not so; 2 wrong usage.",
	};
	static struct saved runs[MAX_DRAWN];
	struct request q = { 0 };
	char *first;
	int i;

	if (argc < 2 || (strcmp(argv[1], "plot") && strcmp(argv[1], "report")))
		return false;
	q.report = !strcmp(argv[1], "report");
	/* Usage is of the program, arguments are those behind the command. */
	first = argv[1];
	argv[1] = argv[0];
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(q.report ? &report : &plot, argc - 1, argv + 1, 0, NULL, &q);
	argv[1] = first;
	*status = make(&q, runs);
	for (i = 0; i < q.n; i++)
		saved_free(&runs[i]);
	return true;
}
