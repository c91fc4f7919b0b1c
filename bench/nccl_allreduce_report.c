// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_report.c - the tables on stdout. The plain one has the columns of
 * nccl-tests, so that scripts which read those read this.
 */
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "nccl_allreduce.h"

static void print_machine(const struct job_result *res)
{
	const struct rank_info *i = &res->info[0];
	struct utsname u;

	if (!uname(&u))
		printf("# machine %s: %s %s, %s, %ld CPUs\n", u.nodename,
		       u.sysname, u.release, u.machine,
		       sysconf(_SC_NPROCESSORS_ONLN));
	printf("# NCCL %d.%d.%d, CUDA driver %d.%d, %d GPUs\n", i->nccl / 10000,
	       i->nccl / 100 % 100, i->nccl % 100, i->driver / 1000,
	       i->driver % 1000 / 10, i->devices);
}

static void print_setting(const struct job *j, const struct setting *s)
{
	int i;

	printf("# setting %s: NCCL_NET=%s", s->name, s->net);
	if (j->proto)
		printf(" NCCL_PROTO=%s", j->proto);
	if (j->algo)
		printf(" NCCL_ALGO=%s", j->algo);
	for (i = 0; i < j->nenv; i++)
		printf(" %s", j->env[i]);
	for (i = 0; i < s->nenv; i++)
		printf(" %s", s->env[i]);
	printf("\n");
}

/* Above the table; `s` NULL: of all settings. */
void job_header(const struct job *j, const struct setting *s,
		const struct job_result *res)
{
	const struct rank_info *i;
	int r;

	printf("# devmem-nccl: %d ranks, minBytes %zu maxBytes %zu step: %u"
	       "(factor) warmup iters: %d iters: %d validation: %d graph: %d\n"
	       "# command: %s\n",
	       j->ranks, j->min_bytes, j->max_bytes, j->factor, j->warmup,
	       j->iters, j->check, j->replays, j->command);
	print_machine(res);
	for (r = 0; r < j->nsettings; r++)
		if (!s || s == &j->settings[r])
			print_setting(j, &j->settings[r]);
	printf("# Using devices\n");
	for (r = 0; r < j->ranks; r++) {
		i = &res->info[r];
		printf("#  Rank %2d Pid %6u on %10s device %2d [%s] %s\n", r,
		       i->pid, i->host, i->device, i->pci, i->name);
	}
	fflush(stdout);
}

void job_columns(const struct job *j)
{
	if (j->mode == JOB_RECREATE) {
		printf("#\n#  number      init   destroy  open     #wrong\n"
		       "#              (ms)      (ms)  files  threads\n");
		return;
	}
	printf("#\n# %10s  %12s  %8s  %6s  %6s           out-of-place         "
	       "              in-place          \n",
	       "", "", "", "", "");
	printf("# %10s  %12s  %8s  %6s  %6s  %7s  %6s  %6s %6s  %7s  %6s  %6s "
	       "%6s\n",
	       "size", "count", "type", "redop", "root", "time", "algbw",
	       "busbw", "#wrong", "time", "algbw", "busbw", "#wrong");
	printf("# %10s  %12s  %8s  %6s  %6s  %7s  %6s  %6s  %6s  %7s  %6s  %6s  "
	       "%6s\n",
	       "(B)", "(elements)", "", "", "", "(us)", "(GB/s)", "(GB/s)", "",
	       "(us)", "(GB/s)", "(GB/s)", "");
	fflush(stdout);
}

/* As many digits as the column has room for. */
static const char *digits(char *buf, size_t size, double v)
{
	snprintf(buf, size, v < 10000 ? "%.2f" : "%.0f", v);
	return buf;
}

static void print_way(const struct job *j, const struct job_row *row, int way)
{
	const struct step *s = &row->step;
	double us = row->sum.us[way], algbw = us > 0 ? s->bytes / us / 1e3 : 0;
	char text[32];

	if (way == IN_PLACE && (!coll_in_place(s->coll) || j->out_of_place)) {
		printf("  %7s  %6s  %6s  %6s", "N/A", "N/A", "N/A", "N/A");
		return;
	}
	printf("  %7s  %6.2f  %6.2f", digits(text, sizeof(text), us), algbw,
	       algbw * coll_bus_factor(s->coll, j->ranks));
	if (row->sum.checked[way])
		printf("  %6llu", (unsigned long long)row->sum.wrong[way]);
	else
		printf("  %6s", "N/A");
}

static void recreate_row(const struct job *j, const struct job_row *row,
			 int index)
{
	printf("%9d  %8.1f  %8.1f  %5.1f  %7.1f  %7llu\n", index,
	       row->sum.us[0] * 1e-3, row->sum.us[1] * 1e-3,
	       (double)row->sum.files / j->ranks,
	       (double)row->sum.threads / j->ranks,
	       (unsigned long long)(row->sum.wrong[0] + row->sum.wrong[1]));
}

/* nccl-tests has a program for each collective; here it is a line above. */
void job_row(const struct job *j, const struct job_row *row, int index)
{
	static enum coll last = COLLS;
	const struct step *s = &row->step;

	if (j->mode == JOB_RECREATE) {
		recreate_row(j, row, index);
		fflush(stdout);
		return;
	}
	if (index == 0 || s->coll != last)
		printf("# %s\n", coll_name(s->coll));
	last = s->coll;
	printf("%12zu  %12zu  %8s  %6s  %6d", s->bytes, s->count, s->type->name,
	       coll_reduces(s->coll) ? "sum" : "none",
	       s->coll == COLL_BROADCAST ? 0 : -1);
	print_way(j, row, OUT_OF_PLACE);
	print_way(j, row, IN_PLACE);
	printf("\n");
	fflush(stdout);
}

static void print_side(const struct path_side *p, const char *which)
{
	int i;

	printf(" %s=%s", which, p->word[0] ? p->word : "none");
	if (p->gather[0])
		printf(" gather=%s", p->gather);
	for (i = 0; i < p->nkeys; i++)
		printf(" %s%s=%llu", *which == 't' ? "tx_" : "", p->keys[i].key,
		       (unsigned long long)p->keys[i].sum);
	if (p->reason[0])
		printf(" %sreason=\"%s\"", *which == 't' ? "tx_" : "",
		       p->reason);
}

static void print_log(const struct setting *s, int rank,
		      const struct rank_log *log)
{
	int n = log->nwarn < 3 ? log->nwarn : 3, i;

	printf("# %s rank %d: network %s, %d connections by it, %d with GPU "
	       "memory\n",
	       s->name, rank, log->net[0] ? log->net : "unknown", log->via,
	       log->gdr);
	if (log->recv.lines + log->send.lines) {
		printf("# %s rank %d", s->name, rank);
		print_side(&log->recv, "rx");
		print_side(&log->send, "tx");
		printf("\n");
	}
	for (i = 0; i < n; i++)
		printf("# %s rank %d warned: %s\n", s->name, rank,
		       log->warn[i]);
}

static void print_sums(const struct job *j, const struct job_result *res)
{
	uint64_t wrong = 0, checked = 0;
	double bus = 0;
	int i, w, n = 0;

	for (i = 0; i < res->nrows; i++) {
		const struct job_row *row = &res->rows[i];

		for (w = 0; w < 2; w++) {
			wrong += row->sum.wrong[w];
			checked += row->sum.checked[w];
			if (row->sum.us[w] <= 0)
				continue;
			bus += row->step.bytes / row->sum.us[w] / 1e3 *
			       coll_bus_factor(row->step.coll, j->ranks);
			n++;
		}
	}
	if (checked)
		printf("# Out of bounds values : %llu %s\n",
		       (unsigned long long)wrong, wrong ? "FAILED" : "OK");
	if (n && (j->mode == JOB_TABLE || j->mode == JOB_GRAPH))
		printf("# Avg bus bandwidth    : %g\n", bus / n);
}

/* Under the table of one run. */
void job_end(const struct job *j, const struct setting *s,
	     const struct job_result *res)
{
	int i;

	print_sums(j, res);
	for (i = 0; i < j->ranks; i++)
		if (res->notes[i][0])
			printf("# %s rank %d: %s\n", s->name, i, res->notes[i]);
	for (i = 0; i < j->ranks; i++)
		if (res->log[i].there)
			print_log(s, i, &res->log[i]);
	if (res->code)
		printf("# %s: %s\n",
		       res->code == EXIT_SKIP ? "SKIPPED" : "FAILED",
		       res->error);
	fflush(stdout);
}

static double row_us(const struct job_row *row)
{
	return row->sum.us[OUT_OF_PLACE];
}

/* One line: the setting's times of all rounds, by the first setting's. */
static void compare_row(const struct job *j, const struct job_result *all,
			int rounds, int setting, int row)
{
	double us[MAX_ROUNDS], ratio[MAX_ROUNDS], mid;
	const struct step *s = &all[setting].rows[row].step;
	const struct job_row *mine;
	uint64_t wrong = 0, checked = 0;
	int i;

	for (i = 0; i < rounds; i++) {
		mine = &all[i * j->nsettings + setting].rows[row];
		us[i] = row_us(mine);
		ratio[i] = us[i] > 0 ?
				   row_us(&all[i * j->nsettings].rows[row]) /
					   us[i] :
				   0;
		wrong += mine->sum.wrong[0] + mine->sum.wrong[1];
		checked += mine->sum.checked[0] + mine->sum.checked[1];
	}
	mid = median(us, rounds);
	printf("%12zu %-13s %-8s %-16s %10.2f %10.2f %10.2f %8.3f", s->bytes,
	       coll_name(s->coll), s->type->name, j->settings[setting].name,
	       mid, us[0], us[rounds - 1],
	       mid > 0 ? s->bytes / mid / 1e3 *
				 coll_bus_factor(s->coll, j->ranks) :
			 0);
	mid = median(ratio, rounds);
	printf("  %7.3f %7.3f %7.3f", mid, ratio[0], ratio[rounds - 1]);
	if (checked)
		printf(" %7llu\n", (unsigned long long)wrong);
	else
		printf(" %7s\n", "N/A");
}

/* `all`: the runs, one of each setting for each round, all of them complete. */
void job_compare(const struct job *j, const struct job_result *all, int rounds)
{
	const struct job_result *last = &all[(rounds - 1) * j->nsettings];
	int row, i, r;

	printf("#\n# %d rounds, each of the settings in turn, out of place; a "
	       "speed is %s's time by the setting's, of two runs of one round\n"
	       "#                                                          "
	       "time (us)            busbw      speed against %s\n"
	       "#       size collective    type     setting              median "
	       "       min        max   (GB/s)   median     min     max  "
	       "#wrong\n",
	       rounds, j->settings[0].name, j->settings[0].name);
	for (row = 0; row < last->nrows; row++)
		for (i = 0; i < j->nsettings; i++)
			compare_row(j, all, rounds, i, row);
	for (i = 0; i < j->nsettings; i++)
		for (r = 0; r < j->ranks; r++)
			print_log(&j->settings[i], r, &last[i].log[r]);
	fflush(stdout);
}
