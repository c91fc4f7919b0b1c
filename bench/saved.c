// SPDX-License-Identifier: BSD-3-Clause
/*
 * saved.c - from the JSON of a run to curves. Draws and prints nothing.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "saved.h"
#include "text.h"

#define MAX_FILE ((size_t)64 << 20)
#define MAX_SIZE 1e15 /* of a message */
#define MAX_RUNS (MAX_VARIANTS * MAX_ROUNDS)

/* The figures of all rounds at one size. */
struct heap {
	int n, nratio;
	double time[MAX_ROUNDS], rate[MAX_ROUNDS], ratio[MAX_ROUNDS];
	double tx[MAX_ROUNDS], rx[MAX_ROUNDS];
};

/* Where the reader is, and what was wrong first. */
struct reader {
	struct saved *s;
	struct heap *heaps; /* MAX_ROWS, of the curve at work */
	int run, row;
	char *why;
	size_t size;
	bool bad;
};

static bool __attribute__((format(printf, 2, 3)))
refuse(struct reader *r, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (r->bad)
		return false;
	r->bad = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->row >= 0)
		snprintf(r->why, r->size, "runs[%d].rows[%d]: %s", r->run,
			 r->row, text);
	else if (r->run >= 0)
		snprintf(r->why, r->size, "runs[%d]: %s", r->run, text);
	else
		snprintf(r->why, r->size, "%s", text);
	return false;
}

/* A figure that has to be there. */
static double figure(struct reader *r, const cJSON *object, const char *key,
		     double least, double most)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!item)
		refuse(r, "there is no \"%s\"", key);
	else if (!cJSON_IsNumber(item))
		refuse(r, "\"%s\" is not a number", key);
	else if (!(item->valuedouble >= least && item->valuedouble <= most))
		refuse(r, "\"%s\" is %g, not within %g and %g", key,
		       item->valuedouble, least, most);
	else
		return item->valuedouble;
	return least;
}

static const cJSON *list(struct reader *r, const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!cJSON_IsArray(item))
		refuse(r, "there is no list \"%s\"", key);
	return item;
}

/* ---- curves ------------------------------------------------------------------ */

/* The point of that size, a new one if there is none; NULL if there is no room. */
static struct point *point_at(struct reader *r, struct curve *c, double size)
{
	int i;

	for (i = 0; i < c->n; i++)
		if (c->p[i].size == size)
			return &c->p[i];
	if (c->n == MAX_ROWS) {
		refuse(r, "more than %d sizes", MAX_ROWS);
		return NULL;
	}
	c->p[c->n] = (struct point){ .size = size };
	r->heaps[c->n].n = r->heaps[c->n].nratio = 0;
	return &c->p[c->n++];
}

/* The figure that is drawn, and that ratios are of. */
static double main_figure(struct reader *r, const cJSON *row)
{
	enum mode m = r->s->mode;

	if (m == MODE_LATENCY)
		return figure(r, row, "median_us", 1e-6, 1e15);
	return figure(r, row, mode_is_coll(m) ? "busbw" : "rate", 0, 1e12);
}

/* That of the first curve in the same round, at the same size; 0: none. */
static double base_figure(struct reader *r, const cJSON *runs, const cJSON *run,
			  double size)
{
	const char *first = saved_word(cJSON_GetArrayItem(runs, 0), "variant");
	double round = saved_number(run, "round");
	const cJSON *other, *row;

	cJSON_ArrayForEach(other, runs)
	{
		if (saved_number(other, "round") != round ||
		    strcmp(saved_word(other, "variant"), first))
			continue;
		cJSON_ArrayForEach(
			row, cJSON_GetObjectItemCaseSensitive(
				     other,
				     "rows")) if (saved_number(row, "size") ==
						  size) return main_figure(r,
									   row);
	}
	return 0;
}

/* One row of a run, into the heap of its size. */
static void take_row(struct reader *r, struct curve *c, const cJSON *runs,
		     const cJSON *run, const cJSON *row)
{
	double size = figure(r, row, "size", 1, MAX_SIZE), base;
	struct point *p = r->bad ? NULL : point_at(r, c, size);
	struct heap *h = p ? &r->heaps[p - c->p] : NULL;

	if (!p)
		return;
	if (h->n == MAX_ROUNDS) {
		refuse(r, "more than %d rounds at one size", MAX_ROUNDS);
		return;
	}
	if (r->s->mode == MODE_LATENCY) {
		h->time[h->n] = main_figure(r, row);
		h->rate[h->n] = 0;
	} else {
		h->time[h->n] = figure(r, row, "time_us", 1e-6, 1e15);
		h->rate[h->n] = main_figure(r, row);
		p->algbw = saved_number(row, "algbw");
	}
	h->tx[h->n] = saved_number(row, "cpu_send_s_per_gb");
	h->rx[h->n] = saved_number(row, "cpu_recv_s_per_gb");
	h->n++;
	p->checked += fmax(saved_number(row, "checked"), 0);
	p->wrong += fmax(saved_number(row, "wrong"), 0);
	base = c == r->s->curves ? 0 : base_figure(r, runs, run, size);
	if (base > 0)
		h->ratio[h->nratio++] = main_figure(r, row) / base;
}

static struct spread spread(double *v, int n)
{
	struct spread s = { .mid = median(v, n), .lo = 1 };

	if (n > 1) {
		s.lo = v[0];
		s.hi = v[n - 1];
	}
	return s;
}

/* Heaps to medians; afterwards the points are in order of size. */
static void settle(struct reader *r, struct curve *c)
{
	struct point swap;
	struct heap *h;
	int i, k;

	for (i = 0; i < c->n; i++) {
		h = &r->heaps[i];
		c->p[i].time = spread(h->time, h->n);
		c->p[i].rate = spread(h->rate, h->n);
		c->p[i].ratio = spread(h->ratio, h->nratio);
		c->p[i].cpu_tx = median(h->tx, h->n);
		c->p[i].cpu_rx = median(h->rx, h->n);
	}
	for (i = 1; i < c->n; i++)
		for (k = i; k && c->p[k].size < c->p[k - 1].size; k--) {
			swap = c->p[k];
			c->p[k] = c->p[k - 1];
			c->p[k - 1] = swap;
		}
}

/* "devmem", then "devmem, host" where ranks or rounds differ. */
static void add_word(char *to, size_t size, const char *word)
{
	size_t n = strlen(to), len = strlen(word);
	const char *p;

	if (!len || !strcmp(word, "none"))
		return;
	for (p = to; (p = strstr(p, word)); p += len)
		if ((p == to || p[-1] == ' ') && (!p[len] || p[len] == ','))
			return;
	snprintf(to + n, size - n, "%s%s", n ? ", " : "", word);
}

/* The path of each direction, of all ranks and rounds of the curve. */
static void take_path(struct curve *c, const cJSON *run, char *rx, char *tx,
		      size_t size)
{
	const cJSON *rank, *path;
	char word[28];

	cJSON_ArrayForEach(rank, cJSON_GetObjectItemCaseSensitive(run, "ranks"))
	{
		path = cJSON_GetObjectItemCaseSensitive(rank, "path");
		text_clean(word, sizeof(word), saved_word(path, "rx"));
		add_word(rx, size, word);
		text_clean(word, sizeof(word), saved_word(path, "tx"));
		add_word(tx, size, word);
	}
	snprintf(c->path, sizeof(c->path), "%s%s%s%s%s", *rx ? "rx=" : "", rx,
		 *rx && *tx ? ", " : "", *tx ? "tx=" : "", tx);
}

/* All runs of one variant; NULL: all there are. */
static void take_curve(struct reader *r, const cJSON *runs, const char *variant)
{
	struct curve *c = &r->s->curves[r->s->ncurves];
	char rx[40] = "", tx[40] = "";
	const cJSON *run, *rows, *row;
	int rounds = 0;

	r->run = -1;
	cJSON_ArrayForEach(run, runs)
	{
		r->run++;
		if (variant && strcmp(saved_word(run, "variant"), variant))
			continue;
		rounds++;
		take_path(c, run, rx, tx, sizeof(rx));
		r->row = -1;
		rows = list(r, run, "rows");
		cJSON_ArrayForEach(row, rows)
		{
			r->row++;
			take_row(r, c, runs, run, row);
			if (r->bad)
				return;
		}
		r->row = -1;
		if (r->bad)
			return;
	}
	r->run = -1;
	text_clean(c->name, sizeof(c->name), variant ? variant : "");
	settle(r, c);
	r->s->ncurves++;
	if (rounds > r->s->rounds)
		r->s->rounds = rounds;
}

/* ---- kinds of runs ----------------------------------------------------------- */

static void take_variants(struct reader *r, const cJSON *runs)
{
	const char *names[MAX_VARIANTS], *name;
	const cJSON *run;
	int n = 0, i;

	cJSON_ArrayForEach(run, runs)
	{
		r->run++;
		name = saved_word(run, "variant");
		figure(r, run, "round", 0, 1e6);
		if (!*name)
			refuse(r, "one with \"variant\", one without");
		for (i = 0; i < n && strcmp(names[i], name); i++)
			;
		if (i == MAX_VARIANTS)
			refuse(r, "more than %d variants", MAX_VARIANTS);
		if (r->bad)
			return;
		if (i == n)
			names[n++] = name;
	}
	for (i = 0; i < n && !r->bad; i++)
		take_curve(r, runs, names[i]);
	r->s->bars = r->s->rounds > 1 ? BARS_ROUNDS : BARS_NONE;
}

/* What is in one row of both the plugin and the bare socket. */
static void take_limit_row(struct reader *r, const cJSON *row, int i)
{
	struct point *bare = &r->s->curves[0].p[i];
	struct point *ours = &r->s->curves[1].p[i];
	double v;

	v = figure(r, row, "limit", 1e-9, 1e15);
	*bare = (struct point){ .size = figure(r, row, "size", 1, MAX_SIZE),
				.time = { v, 1, 0 },
				.rate = { v, 1, 0 },
				.cpu_tx =
					saved_number(row, "cpu_limit_s_per_gb"),
				.cpu_rx = -1 };
	v = main_figure(r, row);
	*ours = (struct point){ .size = bare->size,
				.time = { v, 1, 0 },
				.rate = { v, 1, 0 } };
	ours->ratio = (struct spread){ figure(r, row, "ratio", 0, 1e12),
				       figure(r, row, "ratio_25", 0, 1e12),
				       figure(r, row, "ratio_75", 0, 1e12) };
	ours->cpu_tx = saved_number(row, "cpu_send_s_per_gb");
	ours->cpu_rx = saved_number(row, "cpu_recv_s_per_gb");
	ours->checked = fmax(saved_number(row, "checked"), 0);
	ours->wrong = fmax(saved_number(row, "wrong"), 0);
}

static void take_limit(struct reader *r, const cJSON *run)
{
	struct curve *c = r->s->curves;
	char rx[40] = "", tx[40] = "";
	const cJSON *row;
	int i = 0;

	r->s->limit = true;
	r->run = 0;
	take_path(&c[1], run, rx, tx, sizeof(rx));
	cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(run, "rows"))
	{
		r->row = i;
		if (i == MAX_ROWS)
			refuse(r, "more than %d sizes", MAX_ROWS);
		else
			take_limit_row(r, row, i++);
		if (r->bad)
			return;
	}
	c[0].n = c[1].n = i;
	snprintf(c[0].name, sizeof(c[0].name), "bare socket");
	text_clean(
		c[1].name, sizeof(c[1].name),
		saved_word(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(
						      run, "ranks"),
					      0),
			   "plugin"));
	r->s->ncurves = 2;
}

/* The spread of the messages of one run, which it has of latencies alone. */
static void take_messages(struct saved *s, const cJSON *run)
{
	struct curve *c = s->curves;
	const cJSON *row;
	double lo, hi;
	int i;

	s->bars = BARS_MESSAGES;
	cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(
					run, "rows")) for (i = 0; i < c->n; i++)
	{
		lo = saved_number(row, "min_us");
		hi = saved_number(row, "p99_us");
		if (saved_number(row, "size") == c->p[i].size && lo > 0 &&
		    hi >= lo) {
			c->p[i].time.lo = lo;
			c->p[i].time.hi = hi;
		}
	}
}

static void take_single(struct reader *r, const cJSON *runs)
{
	const cJSON *run = cJSON_GetArrayItem(runs, 0), *ranks;
	struct curve *c = r->s->curves;

	take_curve(r, runs, NULL);
	if (r->bad)
		return;
	ranks = cJSON_GetObjectItemCaseSensitive(run, "ranks");
	text_clean(c->name, sizeof(c->name),
		   saved_word(cJSON_GetArrayItem(ranks, 0), "plugin"));
	if (!c->name[0])
		snprintf(c->name, sizeof(c->name), "plugin");
	if (r->s->mode == MODE_LATENCY)
		take_messages(r->s, run);
}

static bool take_mode(struct reader *r)
{
	const char *name = saved_word(r->s->tree, "mode");
	char clean[40];
	int m;

	if (strcmp(saved_word(r->s->tree, "tool"), "devmem-bench"))
		return refuse(r, "these are no results of devmem-bench "
				 "(\"tool\")");
	for (m = 0; m < MODES; m++)
		if (!strcmp(name, mode_name(m)))
			break;
	text_clean(clean, sizeof(clean), name);
	if (m == MODES || m == MODE_SOAK)
		return refuse(r, "the mode \"%s\" has no curves over size",
			      clean);
	r->s->mode = m;
	return true;
}

static bool take_all(struct reader *r)
{
	const cJSON *runs, *run, *row;
	int i, points = 0;

	if (!take_mode(r))
		return false;
	runs = list(r, r->s->tree, "runs");
	if (r->bad)
		return false;
	run = cJSON_GetArrayItem(runs, 0);
	if (!run || cJSON_GetArraySize(runs) > MAX_RUNS)
		return refuse(r, "there are %d runs, not 1 to %d",
			      cJSON_GetArraySize(runs), MAX_RUNS);
	r->run = 0;
	r->s->ranks = cJSON_GetArraySize(list(r, run, "ranks"));
	row = cJSON_GetArrayItem(list(r, run, "rows"), 0);
	if (r->s->ranks < 2 || r->s->ranks > MAX_RANKS)
		refuse(r, "there are %d ranks, not 2 to %d", r->s->ranks,
		       MAX_RANKS);
	r->run = -1;
	if (r->bad)
		return false;
	if (*saved_word(run, "variant"))
		take_variants(r, runs);
	else if (cJSON_GetArraySize(runs) > 1)
		refuse(r, "several runs without \"variant\"");
	else if (cJSON_HasObjectItem(row, "limit"))
		take_limit(r, run);
	else
		take_single(r, runs);
	for (i = 0; i < r->s->ncurves; i++)
		points += r->s->curves[i].n;
	r->run = r->row = -1;
	if (!points)
		refuse(r, "there are no figures: the run did not get so far");
	return !r->bad;
}

bool saved_take(struct saved *s, const char *name, cJSON *tree, char *why,
		size_t size)
{
	struct reader r = {
		.s = s, .run = -1, .row = -1, .why = why, .size = size
	};

	memset(s, 0, sizeof(*s));
	s->tree = tree;
	text_clean(s->name, sizeof(s->name), name);
	s->curves = calloc(MAX_VARIANTS, sizeof(*s->curves));
	r.heaps = calloc(MAX_ROWS, sizeof(*r.heaps));
	if (s->curves && r.heaps)
		take_all(&r);
	else
		refuse(&r, "no memory");
	free(r.heaps);
	return !r.bad;
}

/* ---- files ------------------------------------------------------------------- */

static cJSON *parse(const char *text, size_t len, char *why, size_t size)
{
	const char *end = NULL, *p;
	cJSON *tree = cJSON_ParseWithLengthOpts(text, len + 1, &end, 1);
	int line = 1;

	for (p = text; !tree && end && p < end; p++)
		line += *p == '\n';
	if (!tree)
		snprintf(why, size, "not JSON, or not all of it: line %d",
			 line);
	return tree;
}

/* The file's name without folder and ending. */
static void short_name(char *to, size_t size, const char *file)
{
	const char *slash = strrchr(file, '/');
	size_t n;

	text_clean(to, size, slash ? slash + 1 : file);
	n = strlen(to);
	if (n > 5 && !strcmp(to + n - 5, ".json"))
		to[n - 5] = '\0';
}

bool saved_read(struct saved *s, const char *file, char *why, size_t size)
{
	char name[64], *text;
	cJSON *tree;
	size_t len;

	memset(s, 0, sizeof(*s));
	text = text_of_file(file, MAX_FILE, &len, why, size);
	if (!text)
		return false;
	tree = parse(text, len, why, size);
	free(text);
	short_name(name, sizeof(name), file);
	return tree && saved_take(s, name, tree, why, size);
}

void saved_free(struct saved *s)
{
	cJSON_Delete(s->tree);
	free(s->curves);
	memset(s, 0, sizeof(*s));
}
