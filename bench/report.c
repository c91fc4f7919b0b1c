/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.c - the tables on stdout. That of an all-reduce has the columns of
 * nccl-tests, so that scripts which read those read this.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* Bytes on each link per byte of the whole: nccl-tests' bus bandwidth. */
double bus_factor(const struct options *o)
{
	double others = o->ranks - 1;

	switch (o->mode) {
	case MODE_ALLREDUCE:
		return 2 * others / o->ranks;
	case MODE_ALLGATHER:
	case MODE_REDUCESCATTER:
	case MODE_ALLTOALL:
		return others / o->ranks;
	default:
		return 1;
	}
}

/* The figure that variants are compared by. */
double row_metric(const struct options *o, const struct row *row)
{
	if (o->mode == MODE_LATENCY)
		return row->lat_med;
	return mode_is_coll(o->mode) ? row->gbps * bus_factor(o) : row->gbps;
}

/* With the gather off, payload stays where it landed: nothing to compare. */
bool variant_unchecked(const struct variant *v)
{
	const char *env = getenv("NCCL_DEVMEM_GATHER");
	int i;

	for (i = 0; v && i < v->nenv; i++)
		if (!strncmp(v->env[i], "NCCL_DEVMEM_GATHER=", 19))
			env = v->env[i] + 19;
	return env && !strcmp(env, "none") && !(v && v->tcp);
}

static void print_unchecked(const struct options *o, const struct variant *v)
{
	if (!o->check)
		printf("# %s%snot verified: --check 0\n", v ? v->name : "",
		       v ? " is " : "");
	else if (variant_unchecked(v))
		printf("# %s%snot verified: NCCL_DEVMEM_GATHER=none leaves the "
		       "payload in the pool\n",
		       v ? v->name : "", v ? " is " : "");
}

static void print_limit_columns(const struct options *o)
{
	printf("#\n# %d blocks of each in turn; a ratio is of two blocks, "
	       "plugin by limit%s\n"
	       "#                    %s            ratio                   %s"
	       "\n#       size     limit    plugin   median     25 %%     "
	       "75 %%%s  #wrong\n",
	       o->rounds,
	       o->mode == MODE_LATENCY ? ": less is better" :
					 ", cpu of both sides",
	       o->mode == MODE_LATENCY ? "us, half r.t." : "GB/s         ",
	       o->mode == MODE_LATENCY ? "" : "    cpu s/GB",
	       o->mode == MODE_LATENCY ? "" : "     limit   plugin    ratio");
}

static void print_columns(const struct options *o)
{
	if (o->limit) {
		print_limit_columns(o);
		return;
	}
	if (o->mode == MODE_SOAK) {
		printf("#\n# iterations     time      rate  #wrong\n"
		       "#                (us)    (GB/s)\n");
		return;
	}
	if (mode_is_coll(o->mode)) {
		printf("#\n#                                                   "
		       "           out-of-place\n"
		       "#       size         count      type   redop    root  "
		       "   time   algbw   busbw #wrong\n"
		       "#        (B)    (elements)                            "
		       "   (us)  (GB/s)  (GB/s)\n");
		return;
	}
	switch (o->mode) {
	case MODE_BANDWIDTH:
		printf("#\n"
		       "#       size       time      rate  cpu send  cpu recv"
		       "  #wrong\n"
		       "#        (B)       (us)    (GB/s)    (s/GB)    (s/GB)"
		       " (bytes)\n");
		break;
	case MODE_LATENCY:
		printf("#\n"
		       "#       size        min    median       p99  #wrong\n"
		       "#        (B)       (us)      (us)      (us) (bytes)\n");
		break;
	default:
		break;
	}
}

static void print_machines(const struct options *o, const struct result *res)
{
	const struct info_report *i;
	int r;

	for (r = 0; r < o->ranks; r++) {
		i = &res->info[r];
		if (!r || strcmp(i->host, i[-1].host))
			printf("# machine %s: %s, %s, %d CPUs, %s\n", i->host,
			       i->kernel, i->machine, i->cpus, i->cpu);
	}
}

/* One line for each rank, of the variant `name` if there is one. */
void report_ranks(const struct options *o, const struct result *res,
		  const char *name)
{
	const struct info_report *i;
	char table[16] = "";
	int r;

	for (r = 0; r < o->ranks; r++) {
		i = &res->info[r];
		if (i->table)
			snprintf(table, sizeof(table), " v%d", i->table);
		printf("# %s Rank %2d Pid %6u on %s%s%s plugin %s%s device %d "
		       "%s %d Mb/s memory %s\n",
		       name, r, i->pid, i->host, i->netns[0] ? " netns " : "",
		       i->netns, i->plugin, table, i->dev, i->device, i->speed,
		       i->memory);
	}
}

/* Everything above the table but the ranks of the variants. */
void report_header(const struct options *o, const struct result *res)
{
	printf("# devmem-bench %s: %d ranks, %zu to %zu bytes, factor %u, "
	       "check %d\n# command: %s\n",
	       mode_name(o->mode), o->ranks, o->min_bytes, o->max_bytes,
	       o->factor, o->check, o->command);
	if (mode_is_coll(o->mode))
		printf("# %d channels, slice %zu bytes, warmup iters: %d "
		       "iters: %d\n",
		       o->channels, o->slice, o->warmup, o->iters);
	print_machines(o, res);
	if (!o->nvariants) {
		report_ranks(o, res, "");
		print_unchecked(o, NULL);
		print_columns(o);
	}
	fflush(stdout);
}

/* As many digits as the column has room for. */
static const char *digits(char *buf, size_t size, double v)
{
	snprintf(buf, size, v < 10 ? "%.4f" : v < 1000 ? "%.2f" : "%.0f", v);
	return buf;
}

static const char *wrong_text(char *buf, size_t size, const struct row *row)
{
	if (!row->checked)
		snprintf(buf, size, "N/A");
	else
		snprintf(buf, size, "%llu", (unsigned long long)row->wrong);
	return buf;
}

static void report_coll_row(const struct options *o, const struct row *row,
			    const char *a, const char *wrong)
{
	bool reduces = o->mode == MODE_ALLREDUCE ||
		       o->mode == MODE_REDUCESCATTER;

	printf("%12llu  %12llu  %8s  %6s  %6d  %7s  %6.2f  %6.2f  "
	       "%5s\n",
	       (unsigned long long)row->size,
	       (unsigned long long)row->size / sizeof(float), "float",
	       reduces ? "sum" : "none", o->mode == MODE_BROADCAST ? 0 : -1, a,
	       row->gbps, row->gbps * bus_factor(o), wrong);
}

static void report_limit_row(const struct options *o, const struct row *row)
{
	char wrong[32];

	printf("%12llu %9.3f %9.3f  %7.3f  %7.3f  %7.3f",
	       (unsigned long long)row->size, row->bare, row_metric(o, row),
	       row->ratio[1], row->ratio[0], row->ratio[2]);
	if (o->mode == MODE_BANDWIDTH)
		printf("  %8.3f %8.3f %8.3f", row->cpu_bare,
		       row->cpu_tx + row->cpu_rx, row->cpu_ratio);
	printf(" %7s\n", wrong_text(wrong, sizeof(wrong), row));
	fflush(stdout);
}

void report_row(const struct options *o, const struct row *row)
{
	char a[32], b[32], c[32], wrong[32];

	if (o->limit) {
		report_limit_row(o, row);
		return;
	}
	wrong_text(wrong, sizeof(wrong), row);
	digits(a, sizeof(a), row->us);
	switch (o->mode) {
	case MODE_SOAK:
		printf("%12llu %9s %9.3f %7s\n",
		       (unsigned long long)row->checked, a, row->gbps, wrong);
		break;
	case MODE_BANDWIDTH:
		printf("%12llu %10s %9.3f %9s %9s %7s\n",
		       (unsigned long long)row->size, a, row->gbps,
		       digits(b, sizeof(b), row->cpu_tx),
		       digits(c, sizeof(c), row->cpu_rx), wrong);
		break;
	case MODE_LATENCY:
		printf("%12llu %10.2f %9.2f %9.2f %7s\n",
		       (unsigned long long)row->size, row->lat_min,
		       row->lat_med, row->lat_p99, wrong);
		break;
	default:
		report_coll_row(o, row, a, wrong);
		break;
	}
	fflush(stdout);
}

/* Percent of the bytes that came over flows and landed by devmem; < 0: none. */
double devmem_share(const struct path_report *p)
{
	double devmem = p->rx_sum[RX_DEVMEM];
	double all = devmem + p->rx_sum[RX_EMULATED] + p->rx_sum[RX_LINEAR] +
		     p->rx_sum[RX_HOST];

	return all > 0 ? 100 * devmem / all : -1;
}

void report_path(int rank, const struct result *res, const char *prefix)
{
	const struct path_report *p = &res->path[rank];
	double share = devmem_share(p);
	int i;

	printf("# %srank %d ", prefix, rank);
	if (!res->has_path[rank] || !p->lines) {
		printf("path unknown\n");
		return;
	}
	printf("rx=%s tx=%s", p->rx[0] ? p->rx : "none",
	       p->tx[0] ? p->tx : "none");
	for (i = 0; i < RX_KEYS; i++)
		printf(" %s=%llu", rx_key(i), (unsigned long long)p->rx_sum[i]);
	for (i = 0; i < TX_KEYS; i++)
		printf(" tx_%s=%llu", tx_key(i),
		       (unsigned long long)p->tx_sum[i]);
	if (share >= 0)
		printf(" devmem_share=%.2f%%", share);
	if (p->rx_reason[0])
		printf(" reason=\"%s\"", p->rx_reason);
	if (p->tx_reason[0])
		printf(" tx_reason=\"%s\"", p->tx_reason);
	printf("\n");
}

static void print_kill(const struct options *o, const struct result *res)
{
	int i;

	for (i = 0; i < o->ranks; i++) {
		if (i == o->kill_rank)
			printf("# rank %d killed\n", i);
		else if (res->error_ms[i] >= 0 && res->survivor[i][0])
			printf("# rank %d saw it after %.1f ms: %s\n", i,
			       res->error_ms[i], res->survivor[i]);
		else
			printf("# rank %d saw no error\n", i);
	}
}

static void print_summary(const struct options *o, const struct result *res)
{
	uint64_t wrong = 0, checked = 0;
	double bus = 0;
	int i;

	for (i = 0; i < res->nrows; i++) {
		wrong += res->rows[i].wrong;
		checked += res->rows[i].checked;
		bus += res->rows[i].gbps * bus_factor(o) / res->nrows;
	}
	if (!res->nrows)
		return;
	if (checked)
		printf("# Out of bounds values : %llu %s\n",
		       (unsigned long long)wrong, wrong ? "FAILED" : "OK");
	if (mode_is_coll(o->mode) && o->mode != MODE_SOAK)
		printf("# Avg bus bandwidth    : %g\n", bus);
}

void report_end(const struct options *o, const struct result *res)
{
	int i;

	print_summary(o, res);
	if (res->code)
		printf("# %s: %s\n",
		       res->code == EXIT_SKIP ? "SKIPPED" : "FAILED",
		       res->error);
	for (i = 0; i < o->ranks; i++)
		if (res->has_path[i] && (res->path[i].lines || !res->code))
			report_path(i, res, "");
	if (res->killed)
		print_kill(o, res);
	fflush(stdout);
}

/* Gathers one figure of all rounds; returns how many there are. */
static int rounds_of(const struct options *o, const struct result *all,
		     int variant, int row, double *v)
{
	const struct result *res;
	int i, n = 0;

	for (i = 0; i < o->rounds; i++) {
		res = &all[i * o->nvariants + variant];
		if (row < res->nrows)
			v[n++] = row_metric(o, &res->rows[row]);
	}
	return n;
}

static void compare_row(const struct options *o, const struct result *all,
			int variant, int row)
{
	double v[MAX_ROUNDS], base[MAX_ROUNDS], tx[MAX_ROUNDS], rx[MAX_ROUNDS];
	double mid;
	char wrong[32];
	struct row sum = { 0 };
	int n = rounds_of(o, all, variant, row, v), i;

	for (i = 0; i < n; i++) {
		const struct row *r =
			&all[i * o->nvariants + variant].rows[row];

		sum.size = r->size;
		sum.wrong += r->wrong;
		sum.checked += r->checked;
		tx[i] = r->cpu_tx;
		rx[i] = r->cpu_rx;
	}
	rounds_of(o, all, 0, row, base);
	for (i = 0; i < n; i++)
		base[i] = v[i] / base[i];
	mid = median(v, n);
	printf("%12llu %-16s %9.3f %9.3f %9.3f", (unsigned long long)sum.size,
	       o->variants[variant].name, mid, v[0], v[n - 1]);
	mid = median(base, n);
	printf("  %7.3f %7.3f %7.3f", mid, base[0], base[n - 1]);
	if (o->mode == MODE_BANDWIDTH)
		printf("  %8.3f %8.3f", median(tx, n), median(rx, n));
	printf(" %7s\n", wrong_text(wrong, sizeof(wrong), &sum));
}

/* `all`: the runs, `nvariants` of each round, all of them complete. */
void report_compare(const struct options *o, const struct result *all)
{
	const struct result *last = &all[(o->rounds - 1) * o->nvariants];
	char prefix[48];
	int row, i, r;

	for (i = 0; i < o->nvariants; i++)
		print_unchecked(o, &o->variants[i]);
	printf("#\n# %d rounds, the variants measured in turn in each; a ratio "
	       "is of two runs of one round\n"
	       "#                                       %s            ratio to "
	       "%s%s\n",
	       o->rounds,
	       o->mode == MODE_LATENCY	 ? "us, half round trip" :
	       o->mode == MODE_BANDWIDTH ? "GB/s               " :
					   "busbw GB/s         ",
	       o->variants[0].name,
	       o->mode == MODE_BANDWIDTH ? "        cpu s/GB" : "");
	printf("#       size variant             median       min       max   "
	       "median     min     max%s  #wrong\n",
	       o->mode == MODE_BANDWIDTH ? "      send     recv" : "");
	for (row = 0; row < last->nrows; row++)
		for (i = 0; i < o->nvariants; i++)
			compare_row(o, all, i, row);
	for (i = 0; i < o->nvariants; i++) {
		if (o->variants[i].tcp)
			continue;
		snprintf(prefix, sizeof(prefix), "%s, last round, ",
			 o->variants[i].name);
		for (r = 0; r < o->ranks; r++)
			report_path(r, &last[i], prefix);
	}
	fflush(stdout);
}
