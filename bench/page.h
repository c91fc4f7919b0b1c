/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page.h - one HTML file with all that runs came to: pictures, tables, machine,
 * commands, and how to read them. It refers to nothing outside itself, has no
 * scripts, and is XML as well.
 */
#ifndef DEVMEM_BENCH_PAGE_H
#define DEVMEM_BENCH_PAGE_H

#include "saved.h"

#define MAX_WORDS 32

/* What the runs do not say themselves. */
struct words {
	const char *title; /* NULL: made from the first run */
	int nfacts, nnotes, ntexts;
	const char *fact[MAX_WORDS]; /* "NAME=VALUE", for the table on top */
	const char *note[MAX_WORDS]; /* paragraphs under it */
	const char *text[MAX_WORDS]; /* "TITLE=FILE": a section each */
};

/*
 * An exit status. Pictures that cannot be drawn are missing in the page, which says
 * why; EXIT_FAIL where the page itself cannot be written, and has complained.
 */
int page_write(const char *file, const struct saved *runs, int n,
	       const struct words *w);

/* page_html.c: the words of HTML */
/* Made harmless and escaped, for contents and for attributes in double quotes. */
void html_text(FILE *f, const char *text);
__attribute__((format(printf, 3, 4))) void html_cell(FILE *f, const char *name,
						     const char *fmt, ...);
void html_head(FILE *f, const char *title);
void html_end(FILE *f);
/* Takes in DIR/NAME.svg, its names made unlike those of picture `number - 1`. */
bool html_svg(FILE *f, const char *dir, const char *name, int number);
/* Lines of text: those that begin with | are rows of a table. */
void html_lines(FILE *f, char *text);

/* page_run.c: the section of one run, without its pictures */
void page_findings(FILE *f, const struct saved *s);
void page_table(FILE *f, const struct saved *s);
void page_paths(FILE *f, const struct saved *s);
void page_command(FILE *f, const struct saved *s);

#endif /* DEVMEM_BENCH_PAGE_H */
