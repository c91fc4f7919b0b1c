// SPDX-License-Identifier: BSD-3-Clause
/*
 * plot.c - from curves to data, scripts and pictures, see plot.h. Everything that
 * comes from a file is in single quotes of gnuplot's, in which nothing but a quote
 * means anything, and those are doubled.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plot.h"
#include "text.h"

#define MAX_TICKS 16

enum kind { KIND_TIME, KIND_RATE };

/* One curve of a picture. */
struct drawn {
	const struct saved *run;
	const struct curve *curve;
	char title[192];
};

struct picture {
	enum mode mode;
	enum kind kind;
	char name[48];
	int n;
	struct drawn d[MAX_DRAWN];
	unsigned int bars;  /* kinds, 1 << enum bars */
	double least, most; /* sizes */
	double low, high;   /* figures */
};

/*
 * Colours that are told apart with any colour vision (Okabe and Ito's, without the
 * yellow), and without colour by their points and dashes.
 */
static const struct {
	const char *colour, *dash;
	int point;
} styles[] = {
	{ "#0072b2", "1", 7 },		{ "#d55e00", "1", 5 },
	{ "#009e73", "(12,5)", 9 },	{ "#cc79a7", "(12,5)", 11 },
	{ "#000000", "(3,4)", 13 },	{ "#e69f00", "(3,4)", 6 },
	{ "#56b4e9", "(12,4,3,4)", 4 }, { "#666666", "(12,4,3,4)", 8 },
};

#define STYLES ((int)(sizeof(styles) / sizeof(styles[0])))

/* ---- what is in a picture ---------------------------------------------------- */

static const struct spread *figure(const struct picture *p,
				   const struct point *at)
{
	return p->kind == KIND_TIME ? &at->time : &at->rate;
}

static void widen(struct picture *p, const struct curve *c)
{
	const struct spread *f;
	int i;

	for (i = 0; i < c->n; i++) {
		f = figure(p, &c->p[i]);
		p->least = fmin(p->least, c->p[i].size);
		p->most = fmax(p->most, c->p[i].size);
		p->low = fmin(p->low, f->lo <= f->hi ? f->lo : f->mid);
		p->high = fmax(p->high, f->lo <= f->hi ? f->hi : f->mid);
	}
}

/* "tcp", or of several runs "monday: tcp", and by which path. */
static void name_curve(struct drawn *d, bool several)
{
	const struct curve *c = d->curve;

	snprintf(d->title, sizeof(d->title), "%s%s%s%s%s%s",
		 several ? d->run->name : "", several ? ": " : "", c->name,
		 c->path[0] ? " (" : "", c->path, c->path[0] ? ")" : "");
}

/* All runs of that mode. */
static int fill_picture(struct picture *p, enum mode mode, enum kind kind,
			const struct saved *runs, int n)
{
	int i, k, of_mode = 0;

	memset(p, 0, sizeof(*p));
	p->mode = mode;
	p->kind = kind;
	p->least = p->low = INFINITY;
	snprintf(p->name, sizeof(p->name), "%s%s", mode_name(mode),
		 !mode_is_coll(mode) ? "" :
		 kind == KIND_TIME   ? "-time" :
				       "-busbw");
	for (i = 0; i < n; i++)
		of_mode += runs[i].mode == mode;
	for (i = 0; i < n; i++)
		for (k = 0; k < runs[i].ncurves; k++) {
			if (runs[i].mode != mode || !runs[i].curves[k].n)
				continue;
			if (p->n == MAX_DRAWN) {
				complain("%s: more than %d curves in one "
					 "picture",
					 p->name, MAX_DRAWN);
				return EXIT_FAIL;
			}
			p->d[p->n].run = &runs[i];
			p->d[p->n].curve = &runs[i].curves[k];
			name_curve(&p->d[p->n++], of_mode > 1);
			widen(p, &runs[i].curves[k]);
			if (runs[i].bars &&
			    (kind == KIND_TIME || runs[i].bars == BARS_ROUNDS))
				p->bars |= 1u << runs[i].bars;
		}
	return EXIT_OK;
}

/* ---- data -------------------------------------------------------------------- */

static const char *unit_text(const struct picture *p)
{
	if (p->kind == KIND_TIME)
		return p->mode == MODE_LATENCY ? "half a round trip, us" :
						 "time, us";
	return mode_is_coll(p->mode) ? "bus bandwidth, GB/s" : "rate, GB/s";
}

static void write_data(FILE *f, const struct picture *p)
{
	const struct spread *s;
	const struct curve *c;
	bool bars;
	int i, k;

	fprintf(f,
		"# size in bytes; %s: median, least, greatest (all the same: "
		"one figure)\n",
		unit_text(p));
	for (i = 0; i < p->n; i++) {
		c = p->d[i].curve;
		fprintf(f, "%s# %s\n", i ? "\n\n" : "", p->d[i].title);
		for (k = 0; k < c->n; k++) {
			s = figure(p, &c->p[k]);
			bars = s->lo <= s->hi;
			fprintf(f, "%.0f %.6g %.6g %.6g\n", c->p[k].size,
				s->mid, bars ? s->lo : s->mid,
				bars ? s->hi : s->mid);
		}
	}
}

/* ---- script ------------------------------------------------------------------ */

static void quote(FILE *f, const char *text)
{
	int brackets = 0;

	fputc('\'', f);
	for (; *text; text++) {
		if (*text == '\'')
			fputc('\'', f);
		/* gnuplot escapes < and & alone, which leaves XML this end. */
		if (*text == ']')
			brackets++;
		if (*text == '>' && brackets >= 2)
			fputc(' ', f);
		if (*text != ']')
			brackets = 0;
		fputc(*text, f);
	}
	fputc('\'', f);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sizes that were measured, with room between their labels. */
static void write_ticks(FILE *f, const struct picture *p)
{
	double sizes[MAX_DRAWN * MAX_ROWS], last = 0, gap;
	bool first = true;
	char text[32];
	int n = 0, i, k;

	for (i = 0; i < p->n; i++)
		for (k = 0; k < p->d[i].curve->n; k++)
			sizes[n++] = p->d[i].curve->p[k].size;
	qsort(sizes, n, sizeof(*sizes), by_size);
	gap = log2(p->most / p->least) / MAX_TICKS;
	fprintf(f, "set xtics (");
	for (i = 0; i < n; i++) {
		if (!first && log2(sizes[i] / last) < fmax(gap, 0.01))
			continue;
		fprintf(f, "%s'%s' %.0f", first ? "" : ", ",
			text_tick(text, sizeof(text), sizes[i]), sizes[i]);
		first = false;
		last = sizes[i];
	}
	fprintf(f, ")\n");
}

static const char *bars_text(const struct picture *p)
{
	switch (p->bars) {
	case 1u << BARS_ROUNDS:
		return "median of the rounds, with bars from the least to the "
		       "greatest";
	case 1u << BARS_MESSAGES:
		return "median of the messages, with bars from the least to "
		       "99 %";
	case 1u << BARS_ROUNDS | 1u << BARS_MESSAGES:
		return "medians, with bars from the least to the greatest of "
		       "the rounds, or to 99 % of one run's messages";
	default:
		return p->d[0].run->limit ? "median of the turns" :
					    "mean of the iterations";
	}
}

static void write_label(FILE *f, int number, double y, int font,
			const char *text)
{
	fprintf(f, "set label %d ", number);
	quote(f, text);
	fprintf(f,
		" at screen 0.02, screen %.3f left noenhanced font ',%d' "
		"textcolor rgb '%s'\n",
		y, font, font > 12 ? "#000000" : "#444444");
}

/* What it is, where and when it was measured. */
static void write_words(FILE *f, const struct picture *p)
{
	const struct saved *run = p->d[0].run;
	char text[320], title[96], place[224], date[40];
	int i, runs = 1;

	for (i = 1; i < p->n; i++)
		runs += p->d[i].run != p->d[i - 1].run;
	snprintf(text, sizeof(text), "%s: %s",
		 saved_title(run, title, sizeof(title)),
		 p->kind == KIND_TIME  ? "time over size" :
		 mode_is_coll(p->mode) ? "bus bandwidth over size" :
					 "rate over message size");
	write_label(f, 1, 0.958, 15, text);
	saved_place(run, 0, place, sizeof(place));
	text_clean(date, sizeof(date), saved_word(run->tree, "date"));
	if (runs > 1)
		snprintf(text, sizeof(text), "%d runs, the first %s%s%s", runs,
			 date, *date ? " on " : "on ", place);
	else
		snprintf(text, sizeof(text), "%s%s%s", place, *date ? "; " : "",
			 date);
	write_label(f, 2, 0.91, 10, text);
	write_label(f, 3, 0.87, 10, bars_text(p));
}

static void write_axes(FILE *f, const struct picture *p)
{
	bool log_y = p->kind == KIND_TIME && p->low > 0 &&
		     (mode_is_coll(p->mode) || p->high / p->low >= 8);

	fprintf(f, "set logscale x 2\nset xrange [%.6g:%.6g]\n",
		p->least / 1.25, p->most * 1.25);
	write_ticks(f, p);
	fprintf(f, "set xlabel '%s'\nset ylabel '%s'\n",
		mode_is_coll(p->mode) ? "size, bytes" : "message size, bytes",
		p->kind == KIND_TIME && p->mode == MODE_LATENCY ?
			"half a round trip, µs" :
		p->kind == KIND_TIME ? "time, µs" :
				       unit_text(p));
	if (log_y)
		fprintf(f,
			"set logscale y 10\nset format y '%%.12g'\n"
			"set yrange [%.6g:%.6g]\n",
			p->low / 1.3, p->high * 1.3);
	else
		fprintf(f, "set yrange [0:%.6g]\n",
			p->high > 0 ? p->high * 1.08 : 1);
}

static void write_styles(FILE *f, const struct picture *p)
{
	int i;

	for (i = 0; i < p->n; i++)
		fprintf(f,
			"set style line %d linecolor rgb '%s' linewidth 2 "
			"dashtype %s pointtype %d pointsize 0.9\n",
			i + 1, styles[i % STYLES].colour,
			styles[(i + i / STYLES) % STYLES].dash,
			styles[(i + 3 * (i / STYLES)) % STYLES].point);
}

/* Bars of several curves are set beside each other, by up to 4 % of the size. */
static void write_plot(FILE *f, const struct picture *p)
{
	double shift;
	int i;

	fprintf(f, "plot \\\n");
	for (i = 0; i < p->n; i++) {
		shift = p->n > 1 && p->bars ?
				exp2(0.12 * (2.0 * i / (p->n - 1) - 1)) :
				1;
		if (p->d[i].run->bars && p->bars)
			fprintf(f,
				"  '%s.dat' index %d using ($1*%.4f):2:3:4 with "
				"yerrorbars linecolor rgb '%s' linewidth 1 "
				"pointtype 0 notitle, \\\n",
				p->name, i, shift, styles[i % STYLES].colour);
		fprintf(f,
			"  '%s.dat' index %d using ($1*%.4f):2 with linespoints "
			"linestyle %d title ",
			p->name, i, shift, i + 1);
		quote(f, p->d[i].title);
		fprintf(f, "%s\n", i < p->n - 1 ? ", \\" : "");
	}
}

static void write_script(FILE *f, const struct picture *p)
{
	int height = 430 + 20 * p->n;

	fprintf(f,
		"# gnuplot %s.gp draws %s.svg and %s.png from %s.dat\n"
		"reset\nset encoding utf8\n"
		"set border 3 linecolor rgb '#888888'\n"
		"set tics nomirror out textcolor rgb '#000000'\n"
		"set grid x y linetype 1 linecolor rgb '#dddddd' linewidth 0.5\n"
		"set key below left Left reverse noenhanced samplen 4 "
		"maxcols 1 width 1 height 0.8 spacing 1.1\n"
		"set tmargin at screen 0.83\nset rmargin 3\n",
		p->name, p->name, p->name, p->name);
	write_words(f, p);
	write_axes(f, p);
	write_styles(f, p);
	/* Each line of the key takes its height, and not the picture's. */
	fprintf(f,
		"set terminal svg size 720,%d dynamic noenhanced "
		"font 'sans-serif,13' background '#ffffff'\n"
		"set output '%s.svg'\n",
		height, p->name);
	write_plot(f, p);
	fprintf(f,
		"set output\n"
		"if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
		"  set terminal pngcairo size 1296,%d noenhanced "
		"font 'sans-serif,13' fontscale 1.65 linewidth 1.8 "
		"pointscale 1.8 background '#ffffff'\n"
		"} else {\n"
		"  set terminal png size 1296,%d font ',13' background "
		"'#ffffff'\n"
		"}\n"
		"set output '%s.png'\nreplot\nset output\n",
		height * 9 / 5, height * 9 / 5, p->name);
}

/* ---- files ------------------------------------------------------------------- */

static int write_file(const char *dir, const struct picture *p,
		      const char *ending,
		      void (*write)(FILE *f, const struct picture *p))
{
	char file[4096];
	bool bad;
	FILE *f;

	snprintf(file, sizeof(file), "%s/%s.%s", dir, p->name, ending);
	f = fopen(file, "we");
	if (!f) {
		complain("%s: %s", file, strerror(errno));
		return EXIT_FAIL;
	}
	write(f, p);
	bad = ferror(f);
	if (fclose(f) || bad) {
		complain("%s: cannot write: %s", file, strerror(errno));
		return EXIT_FAIL;
	}
	return EXIT_OK;
}

static int draw(const char *dir, const struct picture *p)
{
	char script[64], why[1200];
	int rc;

	rc = write_file(dir, p, "dat", write_data);
	rc = rc ?: write_file(dir, p, "gp", write_script);
	if (rc)
		return rc;
	if (!gnuplot_there())
		return EXIT_SKIP;
	snprintf(script, sizeof(script), "%s.gp", p->name);
	if (gnuplot_run(dir, script, why, sizeof(why)))
		return EXIT_OK;
	complain("gnuplot %s/%s: %s", dir, script, why);
	return EXIT_FAIL;
}

int plot_folder(const char *dir)
{
	int rc = make_folders(dir);

	if (!rc && access(dir, W_OK | X_OK))
		rc = -errno;
	if (!rc)
		return EXIT_OK;
	complain("%s: no pictures can be put there: %s", dir, strerror(-rc));
	return EXIT_FAIL;
}

static bool is_drawn(const struct saved *runs, int n, enum mode mode)
{
	int i;

	for (i = 0; i < n; i++)
		if (runs[i].mode == mode)
			return true;
	return false;
}

int plot_runs(const char *dir, const struct saved *runs, int n,
	      struct plots *made)
{
	static struct picture p;
	int m, kind, rc = plot_folder(dir), worst = rc;

	made->n = 0;
	for (m = 0; m < MODES && worst != EXIT_FAIL; m++) {
		if (!is_drawn(runs, n, m))
			continue;
		for (kind = KIND_TIME; kind <= KIND_RATE; kind++) {
			if (kind == (m == MODE_LATENCY	 ? KIND_RATE :
				     m == MODE_BANDWIDTH ? KIND_TIME :
							   -1))
				continue;
			rc = fill_picture(&p, m, kind, runs, n);
			rc = rc ?: draw(dir, &p);
			worst = rc == EXIT_FAIL ? rc : rc ?: worst;
			if (rc != EXIT_FAIL && made->n < MAX_PICTURES)
				strcpy(made->name[made->n++], p.name);
		}
	}
	if (worst == EXIT_SKIP)
		complain("no pictures: there is no gnuplot in PATH (Debian's "
			 "package is gnuplot-nox); their data and scripts are "
			 "in %s: install it, go there, and run \"gnuplot "
			 "%s.gp\"",
			 dir, made->n ? made->name[0] : "NAME");
	return worst;
}
