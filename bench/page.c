// SPDX-License-Identifier: BSD-3-Clause
/*
 * page.c - the page as a whole, see page.h: what is on top, a section for each run
 * with its pictures, a section for each text, and the file itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "page.h"
#include "plot.h"
#include "text.h"

#define MAX_TEXT ((size_t)4 << 20)

/* ---- on top ------------------------------------------------------------------ */

static void fact(FILE *f, const char *name, const char *value)
{
	if (!*value)
		return;
	fputs("<tr><th>", f);
	html_text(f, name);
	fputs("</th><td>", f);
	html_text(f, value);
	fputs("</td></tr>\n", f);
}

/* Each machine once, however many ranks and runs it has. */
static void machines(FILE *f, const struct saved *runs, int n)
{
	char seen[8][224], place[224];
	int i, r, k, known = 0;

	for (i = 0; i < n; i++)
		for (r = 0; r < runs[i].ranks; r++) {
			saved_place(&runs[i], r, place, sizeof(place));
			for (k = 0; k < known && strcmp(seen[k], place); k++)
				;
			if (k < known || known == 8)
				continue;
			strcpy(seen[known++], place);
			fact(f, "measured on", place);
		}
}

static void of_first_run(FILE *f, const struct saved *s)
{
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(s->tree, "machine");
	double bytes = saved_number(m, "memory_bytes");
	double load = saved_number(m, "load_1min");
	char text[64];

	fact(f, "its model", saved_word(m, "model"));
	if (bytes > 0)
		fact(f, "its memory", text_bytes(text, sizeof(text), bytes));
	if (load >= 0) {
		snprintf(text, sizeof(text),
			 "%.2f (processes that wanted to run, in the last "
			 "minute)",
			 load);
		fact(f, "its load", text);
	}
	fact(f, "devmem-bench", saved_word(s->tree, "version"));
}

static void facts(FILE *f, const struct saved *runs, int n,
		  const struct words *w)
{
	char name[128];
	const char *value;
	int i;

	fputs("<div class=\"wide\"><table class=\"facts\">\n", f);
	if (n)
		fact(f, "date", saved_word(runs[0].tree, "date"));
	for (i = 0; i < w->nfacts; i++) {
		value = strchr(w->fact[i], '=');
		snprintf(name, sizeof(name), "%.*s", (int)(value - w->fact[i]),
			 w->fact[i]);
		fact(f, name, value + 1);
	}
	machines(f, runs, n);
	if (n)
		of_first_run(f, &runs[0]);
	fputs("</table></div>\n", f);
}

static void how_to_read(FILE *f, const struct saved *runs, int n,
			const struct words *w)
{
	bool ratios = false;
	int i;

	for (i = 0; i < w->nnotes; i++) {
		fputs("<p>", f);
		html_text(f, w->note[i]);
		fputs("</p>\n", f);
	}
	for (i = 0; i < n; i++)
		ratios |= runs[i].ncurves > 1;
	if (ratios)
		fputs("<p>A <b>ratio</b> is of two measurements that follow "
		      "each other in one round, so that what else the machine "
		      "did in that time counts for both. 1 is as much as the "
		      "first setting; of rates more is better, of times less. "
		      "The median of the rounds' ratios is given, which need "
		      "not be the ratio of two medians, and how far single "
		      "rounds lie apart: where that spread includes 1, there "
		      "is no difference that can be told from noise.</p>\n",
		      f);
	if (n)
		fputs("<p>The <b>path</b>: rx=devmem means that the NIC put "
		      "the payload into memory that was given to it, where "
		      "no CPU touched it on its way; rx=host that it came "
		      "through ordinary TCP. tx= is the same for sending.</p>\n",
		      f);
}

/* ---- sections ---------------------------------------------------------------- */

/* A folder that is ours alone; false with the reason. */
static bool scratch_make(char *dir, size_t size, char *why, size_t why_size)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, size, "%s/devmem-bench.XXXXXX",
		 tmp && *tmp ? tmp : "/tmp");
	if (mkdtemp(dir))
		return true;
	snprintf(why, why_size, "%s: %s", dir, strerror(errno));
	return false;
}

static void scratch_end(const char *dir, const struct plots *made)
{
	static const char *const endings[] = { "dat", "gp", "svg", "png" };
	char file[4096];
	size_t k;
	int i;

	for (i = 0; i < made->n; i++)
		for (k = 0; k < sizeof(endings) / sizeof(endings[0]); k++) {
			snprintf(file, sizeof(file), "%s/%s.%s", dir,
				 made->name[i], endings[k]);
			unlink(file);
		}
	rmdir(dir);
}

static void pictures(FILE *f, const struct saved *s, int *number)
{
	char dir[512], why[600] = "gnuplot failed";
	struct plots made = { 0 };
	char title[96];
	int i, rc;

	if (!gnuplot_there()) {
		fputs("<p class=\"bad\">No pictures: there was no gnuplot "
		      "(Debian: gnuplot-nox).</p>\n",
		      f);
		complain("the report has no pictures: there is no gnuplot in "
			 "PATH (Debian's package is gnuplot-nox)");
		return;
	}
	rc = scratch_make(dir, sizeof(dir), why, sizeof(why)) ?
		     plot_runs(dir, s, 1, &made) :
		     EXIT_FAIL;
	fputs("<div class=\"pictures\">\n", f);
	for (i = 0; !rc && i < made.n; i++) {
		fputs("<figure role=\"img\" aria-label=\"", f);
		html_text(f, saved_title(s, title, sizeof(title)));
		fputs("\">\n", f);
		if (!html_svg(f, dir, made.name[i], ++*number))
			rc = EXIT_FAIL;
		fputs("</figure>\n", f);
	}
	fputs("</div>\n", f);
	if (rc) {
		fputs("<p class=\"bad\">No pictures: ", f);
		html_text(f, why);
		fputs("</p>\n", f);
		complain("the report lacks pictures: %s", why);
	}
	scratch_end(dir, &made);
}

static void failure(FILE *f, const struct saved *s)
{
	const cJSON *runs = cJSON_GetObjectItemCaseSensitive(s->tree, "runs");
	const cJSON *run;

	cJSON_ArrayForEach(run, runs)
	{
		if (!*saved_word(run, "error"))
			continue;
		fputs("<p class=\"bad\">This run did not end well: ", f);
		html_text(f, saved_word(run, "error"));
		fputs("</p>\n", f);
		return;
	}
}

static void section(FILE *f, const struct saved *s, int *number)
{
	char title[96];

	fputs("<h2>", f);
	html_text(f, saved_title(s, title, sizeof(title)));
	fputs("</h2>\n", f);
	failure(f, s);
	page_findings(f, s);
	pictures(f, s, number);
	page_table(f, s);
	page_paths(f, s);
	page_command(f, s);
}

/* "TITLE=FILE" */
static int text_section(FILE *f, const char *what)
{
	const char *file = strchr(what, '=') + 1;
	char title[128], why[256], *text;
	size_t len;

	text = text_of_file(file, MAX_TEXT, &len, why, sizeof(why));
	if (!text) {
		complain("--text: %s: %s", file, why);
		return EXIT_FAIL;
	}
	snprintf(title, sizeof(title), "%.*s", (int)(file - 1 - what), what);
	fputs("<h2>", f);
	html_text(f, title);
	fputs("</h2>\n", f);
	html_lines(f, text);
	free(text);
	return EXIT_OK;
}

static int write_all(FILE *f, const struct saved *runs, int n,
		     const struct words *w)
{
	char title[160], of[96];
	int i, number = 0, rc = EXIT_OK;

	snprintf(title, sizeof(title), "devmem-bench: %s",
		 n ? saved_title(&runs[0], of, sizeof(of)) : "report");
	html_head(f, w->title ?: title);
	facts(f, runs, n, w);
	how_to_read(f, runs, n, w);
	for (i = 0; i < n; i++)
		section(f, &runs[i], &number);
	for (i = 0; !rc && i < w->ntexts; i++)
		rc = text_section(f, w->text[i]);
	html_end(f);
	return rc;
}

/* Whole or not at all: a page that is half there could be taken for a whole one. */
int page_write(const char *file, const struct saved *runs, int n,
	       const struct words *w)
{
	char part[4096];
	int rc = EXIT_FAIL;
	bool bad;
	FILE *f;

	if (snprintf(part, sizeof(part), "%s.part", file) >=
	    (int)sizeof(part)) {
		complain("the name of the report is too long");
		return EXIT_FAIL;
	}
	f = fopen(part, "we");
	if (!f) {
		complain("report %s: %s", file, strerror(errno));
		return EXIT_FAIL;
	}
	rc = write_all(f, runs, n, w);
	bad = ferror(f);
	if (fclose(f) || bad || (!rc && rename(part, file))) {
		complain("report %s: cannot write: %s", file, strerror(errno));
		rc = EXIT_FAIL;
	}
	if (rc)
		unlink(part);
	return rc;
}
