// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce.c - devmem-nccl: NCCL's collectives on GPU memory over a network
 * of choice, every element compared. This file decides which runs there are: one
 * of each setting, or, for a comparison, each in turn, round by round.
 */
#include <stdlib.h>

#include "children.h"
#include "nccl_allreduce.h"

static uint64_t result_wrong(const struct job_result *res)
{
	uint64_t wrong = 0;
	int i;

	for (i = 0; i < res->nrows; i++)
		wrong += res->rows[i].sum.wrong[0] + res->rows[i].sum.wrong[1];
	return wrong;
}

/* The run's exit status: wrong data is a failure of a run that went well. */
static int verdict(struct job_result *res)
{
	uint64_t wrong = result_wrong(res);

	if (!res->code && wrong) {
		res->code = EXIT_FAIL;
		snprintf(res->error, sizeof(res->error),
			 "%llu elements are wrong", (unsigned long long)wrong);
		complain("%s", res->error);
	}
	return res->code;
}

/* Each setting once, with its own table. */
static int run_each(const struct job *j)
{
	struct job_result *res = calloc(1, sizeof(*res));
	int i, rc = EXIT_OK;

	for (i = 0; res && !rc && i < j->nsettings; i++) {
		job_run(j, i, i, true, res);
		rc = verdict(res);
		job_end(j, &j->settings[i], res);
		free(res->rows);
	}
	free(res);
	return res ? rc : EXIT_FAIL;
}

static int run_compare(const struct job *j, struct job_result *all)
{
	int n = j->nsettings * j->rounds, i, rc = EXIT_OK;
	int64_t until = now_ns() + j->seconds * 1000000000ll;

	for (i = 0; !rc && i < n; i++) {
		if (i && i % j->nsettings == 0 && now_ns() > until)
			break;
		job_run(j, i % j->nsettings, i, false, &all[i]);
		rc = verdict(&all[i]);
		if (i == 0 && rc != EXIT_SKIP)
			job_header(j, NULL, &all[0]);
		if (rc) {
			printf("# round %d of %s:\n", i / j->nsettings + 1,
			       j->settings[i % j->nsettings].name);
			job_end(j, &j->settings[i % j->nsettings], &all[i]);
		} else if (all[i].nrows != all[0].nrows) {
			complain("two runs of the same table differ in length");
			rc = EXIT_FAIL;
		}
	}
	if (!rc)
		job_compare(j, all, i / j->nsettings);
	for (i = 0; i < n; i++)
		free(all[i].rows);
	return rc;
}

int main(int argc, char **argv)
{
	static struct job j;
	struct job_result *all;
	int rc;

	job_parse(argc, argv, &j);
	if (j.as_rank >= 0)
		return job_rank(&j);
	if (j.mode == JOB_PROBE)
		return job_probe(&j);
	signals_catch();
	if (j.mode != JOB_TABLE || j.nsettings * j.rounds == 1)
		return run_each(&j);
	all = calloc((size_t)j.nsettings * j.rounds, sizeof(*all));
	if (!all) {
		complain("no memory for the results");
		return EXIT_FAIL;
	}
	rc = run_compare(&j, all);
	free(all);
	return rc;
}
