// SPDX-License-Identifier: BSD-3-Clause
/*
 * page_run.c - what a page says of one run: in a sentence, in a table, which path the
 * data took, and the command.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "text.h"

#define NONE "–"

/* Three digits that count, as far as thousandths. */
static const char *digits(char *buf, size_t size, double v)
{
	snprintf(buf, size,
		 v >= 100   ? "%.0f" :
		 v >= 10    ? "%.1f" :
		 v >= 1	    ? "%.2f" :
		 v >= 0.001 ? "%.3f" :
		 v > 0	    ? "< 0.001" :
			      "0",
		 v);
	return buf;
}

static void number_cell(FILE *f, const char *name, double v, bool known)
{
	char text[32];

	html_cell(f, name, "%s",
		  known && v >= 0 ? digits(text, sizeof(text), v) : NONE);
}

static void spread_cells(FILE *f, const char *name, const struct spread *s)
{
	bool both = s->lo <= s->hi;

	number_cell(f, name, s->mid, true);
	number_cell(f, "", s->lo, both);
	number_cell(f, "", s->hi, both);
}

static void wrong_cell(FILE *f, const struct point *p)
{
	if (p->checked <= 0)
		html_cell(f, "", "not checked");
	else if (p->wrong > 0)
		html_cell(f, "bad", "%.0f wrong", p->wrong);
	else
		html_cell(f, "", "all right");
}

static const struct spread *main_spread(const struct saved *s,
					const struct point *p)
{
	return s->mode == MODE_LATENCY ? &p->time : &p->rate;
}

/* ---- in a sentence ----------------------------------------------------------- */

static void finding(FILE *f, const struct saved *s, int curve, int at)
{
	const struct curve *c = &s->curves[curve];
	const struct point *p = &c->p[at];
	char size[32], v[32], ratio[32], lo[32], hi[32];

	fputs("<li><b>", f);
	html_text(f, c->name);
	fprintf(f, "</b>: %s %s at %s",
		digits(v, sizeof(v), main_spread(s, p)->mid),
		s->mode == MODE_LATENCY ? "µs" : "GB/s",
		text_bytes(size, sizeof(size), p->size));
	if (p->ratio.mid > 0) {
		fprintf(f, ", <b>%s</b> times that of ",
			digits(ratio, sizeof(ratio), p->ratio.mid));
		html_text(f, s->curves[0].name);
		if (p->ratio.lo <= p->ratio.hi)
			fprintf(f,
				s->limit ? " (half of the turns: %s to %s)" :
					   " (%s to %s)",
				digits(lo, sizeof(lo), p->ratio.lo),
				digits(hi, sizeof(hi), p->ratio.hi));
	}
	fputs("</li>\n", f);
}

static void what_is_compared(FILE *f, const struct saved *s)
{
	const cJSON *shared =
		cJSON_GetObjectItemCaseSensitive(s->tree, "limit_shared");
	double rounds = s->rounds;

	fputs("<p>", f);
	switch (s->mode) {
	case MODE_LATENCY:
		fputs("A message goes there and comes back; half of that time "
		      "is shown, so less is better.",
		      f);
		break;
	case MODE_BANDWIDTH:
		fputs("One side sends message after message, several under "
		      "way; the rate at which they arrive is shown, so more is "
		      "better.",
		      f);
		break;
	default:
		fprintf(f,
			"%d processes run the collective together. The bus "
			"bandwidth is what each link carries in that time, as "
			"nccl-tests counts it: more is better; of the time less "
			"is.",
			s->ranks);
	}
	if (s->limit)
		fprintf(f,
			" The plugin is measured in turn with a plain loop of "
			"send and recv on %s, in the same processes and "
			"memory.",
			cJSON_IsTrue(shared) ? "one TCP socket for both ways" :
			s->mode == MODE_LATENCY ? "a TCP socket for each way" :
						  "a TCP socket");
	else if (s->ncurves > 1)
		fprintf(f,
			" %d settings were measured in turn, %.0f round%s of "
			"all.",
			s->ncurves, rounds, rounds == 1 ? "" : "s");
	fputs("</p>\n", f);
}

void page_findings(FILE *f, const struct saved *s)
{
	int i;

	what_is_compared(f, s);
	fputs("<ul>\n", f);
	for (i = 0; i < s->ncurves; i++) {
		if (!s->curves[i].n)
			continue;
		finding(f, s, i,
			s->mode == MODE_LATENCY ? 0 : s->curves[i].n - 1);
	}
	fputs("</ul>\n", f);
}

/* ---- in a table -------------------------------------------------------------- */

/* Which columns there are. */
struct columns {
	bool ratio, cpu, time, algbw;
};

static struct columns columns_of(const struct saved *s)
{
	return (struct columns){
		.ratio = s->ncurves > 1,
		.cpu = s->mode == MODE_BANDWIDTH,
		.time = mode_is_coll(s->mode),
		.algbw = mode_is_coll(s->mode) && s->ncurves == 1,
	};
}

static void table_head(FILE *f, const struct saved *s, struct columns c)
{
	bool messages = s->bars == BARS_MESSAGES;
	int span = s->bars ? 3 : 1;
	int rows = s->bars || c.ratio || c.cpu ? 2 : 1;

	fprintf(f,
		"<thead><tr><th rowspan=\"%d\" class=\"left\">size</th>"
		"<th rowspan=\"%d\" class=\"left\">setting</th>",
		rows, rows);
	if (c.time)
		fprintf(f, "<th rowspan=\"%d\">time, µs</th>", rows);
	if (c.algbw)
		fprintf(f, "<th rowspan=\"%d\">algorithm<br/>GB/s</th>", rows);
	fprintf(f, "<th colspan=\"%d\" class=\"group\">%s</th>", span,
		s->mode == MODE_LATENCY ? "half a round trip, µs" :
		mode_is_coll(s->mode)	? "bus bandwidth, GB/s" :
					  "rate, GB/s");
	if (c.ratio) {
		fputs("<th colspan=\"3\" class=\"group\">ratio to ", f);
		html_text(f, s->curves[0].name);
		fputs("</th>", f);
	}
	if (c.cpu)
		fprintf(f, "<th colspan=\"%d\" class=\"group\">CPU, s/GB</th>",
			s->limit ? 1 : 2);
	fprintf(f, "<th rowspan=\"%d\">data</th></tr>\n", rows);
	if (rows == 2) {
		fputs(s->bars  ? "<tr><th>median</th>" :
		      s->limit ? "<tr><th>median</th>" :
				 "<tr><th></th>",
		      f);
		if (s->bars)
			fprintf(f, "<th>least</th><th>%s</th>",
				messages ? "99 %" : "greatest");
		if (c.ratio)
			fputs(s->limit ? "<th>median</th><th>25 %</th>"
					 "<th>75 %</th>" :
					 "<th>median</th><th>least</th>"
					 "<th>greatest</th>",
			      f);
		if (c.cpu)
			fputs(s->limit ? "<th>both sides</th>" :
					 "<th>sender</th><th>receiver</th>",
			      f);
		fputs("</tr>", f);
	}
	fputs("</thead>\n", f);
}

static void table_line(FILE *f, const struct saved *s, struct columns c,
		       int curve, const struct point *p)
{
	const struct spread *m = main_spread(s, p);

	html_cell(f, "left", "%s", s->curves[curve].name);
	if (c.time)
		number_cell(f, "", p->time.mid, true);
	if (c.algbw)
		number_cell(f, "", p->algbw, true);
	if (s->bars)
		spread_cells(f, "main", m);
	else
		number_cell(f, "main", m->mid, true);
	if (c.ratio && p->ratio.mid > 0)
		spread_cells(f, "main", &p->ratio);
	else if (c.ratio)
		fputs("<td>1</td><td></td><td></td>", f);
	if (c.cpu && s->limit) {
		number_cell(f, "", p->cpu_tx + fmax(p->cpu_rx, 0),
			    p->cpu_tx >= 0);
	} else if (c.cpu) {
		number_cell(f, "", p->cpu_tx, true);
		number_cell(f, "", p->cpu_rx, true);
	}
	if (s->limit && !curve)
		html_cell(f, "", NONE);
	else
		wrong_cell(f, p);
}

static const struct point *point_of(const struct curve *c, double size)
{
	int i;

	for (i = 0; i < c->n; i++)
		if (c->p[i].size == size)
			return &c->p[i];
	return NULL;
}

/* The next size that any curve has; 0: none. */
static double next_of(const struct saved *s, double size)
{
	double next = 0, v;
	int i, k;

	for (i = 0; i < s->ncurves; i++)
		for (k = 0; k < s->curves[i].n; k++) {
			v = s->curves[i].p[k].size;
			if (v > size && (!next || v < next))
				next = v;
		}
	return next;
}

static void table_size(FILE *f, const struct saved *s, struct columns c,
		       double size)
{
	const struct point *p;
	char text[32];
	int i, lines = 0;

	for (i = 0; i < s->ncurves; i++)
		lines += point_of(&s->curves[i], size) != NULL;
	fprintf(f, "<tr><th rowspan=\"%d\" class=\"left\">%s</th>", lines,
		text_bytes(text, sizeof(text), size));
	for (i = 0; i < s->ncurves; i++) {
		p = point_of(&s->curves[i], size);
		if (!p)
			continue;
		table_line(f, s, c, i, p);
		fputs("</tr>\n", f);
		if (--lines)
			fputs("<tr>", f);
	}
}

void page_table(FILE *f, const struct saved *s)
{
	struct columns c = columns_of(s);
	double size;

	fputs("<h3>Figures</h3>\n<div class=\"wide\"><table>\n", f);
	table_head(f, s, c);
	fputs("<tbody>\n", f);
	for (size = next_of(s, 0); size > 0; size = next_of(s, size))
		table_size(f, s, c, size);
	fputs("</tbody></table></div>\n", f);
}

/* ---- by which way ------------------------------------------------------------ */

static const char *or_none(const char *word)
{
	return *word ? word : NONE;
}

static void path_row(FILE *f, const char *name, const cJSON *rank)
{
	const cJSON *path = cJSON_GetObjectItemCaseSensitive(rank, "path");
	double share = saved_number(path, "devmem_share_percent");
	const char *netns = saved_word(rank, "netns");
	const char *why = saved_word(path, "reason");
	const char *tx_why = saved_word(path, "tx_reason");

	fputs("<tr>", f);
	html_cell(f, "left", "%s", name);
	html_cell(f, "left", "%.0f on %.64s%s%.64s",
		  fmax(saved_number(rank, "rank"), 0), saved_word(rank, "host"),
		  *netns ? " in " : "", netns);
	html_cell(f, "left", "%.64s", or_none(saved_word(rank, "device")));
	html_cell(f, "left", "%.96s", or_none(saved_word(rank, "memory")));
	html_cell(f, "left", "%.28s", or_none(saved_word(path, "rx")));
	html_cell(f, "left", "%.28s", or_none(saved_word(path, "tx")));
	if (share >= 0)
		html_cell(f, "", "%.1f %%", share);
	else
		html_cell(f, "", NONE);
	html_cell(f, "left long", "%.220s%s%.220s", why,
		  *why && *tx_why ? "; sending: " : "", tx_why);
	fputs("</tr>\n", f);
}

void page_paths(FILE *f, const struct saved *s)
{
	const cJSON *ranks, *rank;
	int i;

	fputs("<h3>The way of the data</h3>\n<div class=\"wide\"><table>\n"
	      "<thead><tr><th class=\"left\">setting</th>"
	      "<th class=\"left\">rank</th><th class=\"left\">device</th>"
	      "<th class=\"left\">buffers</th><th class=\"left\">received by</th>"
	      "<th class=\"left\">sent by</th><th>by devmem</th>"
	      "<th class=\"left\">why not devmem</th></tr></thead>\n<tbody>\n",
	      f);
	for (i = s->limit; i < s->ncurves; i++) {
		ranks = cJSON_GetObjectItemCaseSensitive(saved_last(s, i),
							 "ranks");
		cJSON_ArrayForEach(rank, ranks)
			path_row(f, s->curves[i].name, rank);
	}
	fputs("</tbody></table></div>\n", f);
}

void page_command(FILE *f, const struct saved *s)
{
	const cJSON *env =
		cJSON_GetObjectItemCaseSensitive(s->tree, "environment");
	const cJSON *one;
	char quoted[1100];

	fputs("<h3>Command</h3>\n<pre>", f);
	cJSON_ArrayForEach(one, env)
	{
		if (!one->string || !cJSON_IsString(one))
			continue;
		html_text(f, one->string);
		fputc('=', f);
		text_shell(quoted, sizeof(quoted), one->valuestring);
		html_text(f, quoted);
		fputc(' ', f);
	}
	html_text(f, or_none(saved_word(s->tree, "command")));
	fputs("</pre>\n", f);
}
