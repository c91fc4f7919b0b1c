// SPDX-License-Identifier: BSD-3-Clause
/*
 * saved_words.c - what else is to be read off a run than its curves: words and
 * numbers that may be missing, and what to call it.
 */
#include <math.h>
#include <string.h>

#include "saved.h"
#include "text.h"

const char *saved_word(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(
		cJSON_GetObjectItemCaseSensitive(object, key));

	return text ? text : "";
}

double saved_number(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(item) && isfinite(item->valuedouble) &&
			       item->valuedouble >= 0 ?
		       item->valuedouble :
		       -1;
}

const cJSON *saved_last(const struct saved *s, int curve)
{
	const cJSON *runs = cJSON_GetObjectItemCaseSensitive(s->tree, "runs");
	const cJSON *run, *last = NULL;
	char name[40];

	cJSON_ArrayForEach(run, runs)
	{
		text_clean(name, sizeof(name), saved_word(run, "variant"));
		if (!*name || !strcmp(name, s->curves[curve].name))
			last = run;
	}
	return last;
}

const char *saved_title(const struct saved *s, char *buf, size_t size)
{
	static const char *const names[MODES] = {
		[MODE_ALLREDUCE] = "All-reduce",
		[MODE_ALLGATHER] = "All-gather",
		[MODE_REDUCESCATTER] = "Reduce-scatter",
		[MODE_BROADCAST] = "Broadcast",
		[MODE_ALLTOALL] = "All-to-all",
		[MODE_BANDWIDTH] = "Bandwidth, one way",
		[MODE_LATENCY] = "Latency, half a round trip",
	};

	if (mode_is_coll(s->mode))
		snprintf(buf, size, "%s of %d ranks", names[s->mode], s->ranks);
	else
		snprintf(buf, size, "%s", names[s->mode]);
	return buf;
}

const char *saved_place(const struct saved *s, int rank, char *buf, size_t size)
{
	const cJSON *run = saved_last(s, s->ncurves - 1);
	const cJSON *i = cJSON_GetArrayItem(
		cJSON_GetObjectItemCaseSensitive(run, "ranks"), rank);
	char host[64], cpu[64], kernel[128];
	double cpus = saved_number(i, "cpus");

	text_clean(host, sizeof(host), saved_word(i, "host"));
	text_clean(cpu, sizeof(cpu), saved_word(i, "cpu"));
	text_clean(kernel, sizeof(kernel), saved_word(i, "kernel"));
	snprintf(buf, size, "%s%s%s, %.0f CPU%s, %s", host, *host ? ": " : "",
		 *cpu ? cpu : "unknown CPU", cpus > 0 ? cpus : 0,
		 cpus == 1 ? "" : "s", *kernel ? kernel : "unknown kernel");
	return buf;
}
