/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * json.c - the same data as the tables, for programs: one object with the
 * command, the ranks, and a list of runs (one, or all of a comparison).
 */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "json_file.h"

static void add_info(cJSON *to, const struct info_report *i)
{
	cJSON_AddNumberToObject(to, "pid", i->pid);
	cJSON_AddStringToObject(to, "host", i->host);
	cJSON_AddStringToObject(to, "netns", i->netns);
	cJSON_AddStringToObject(to, "kernel", i->kernel);
	cJSON_AddStringToObject(to, "machine", i->machine);
	cJSON_AddNumberToObject(to, "cpus", i->cpus);
	cJSON_AddStringToObject(to, "cpu", i->cpu);
	cJSON_AddStringToObject(to, "plugin", i->plugin);
	cJSON_AddNumberToObject(to, "table", i->table);
	cJSON_AddStringToObject(to, "device", i->device);
	cJSON_AddNumberToObject(to, "speed_mbps", i->speed);
	cJSON_AddStringToObject(to, "memory", i->memory);
}

static void add_path(cJSON *to, const struct path_report *p)
{
	cJSON *path = cJSON_AddObjectToObject(to, "path");
	char key[32];
	int i;

	cJSON_AddStringToObject(path, "rx", p->rx);
	cJSON_AddStringToObject(path, "tx", p->tx);
	for (i = 0; i < RX_KEYS; i++)
		cJSON_AddNumberToObject(path, rx_key(i), p->rx_sum[i]);
	for (i = 0; i < TX_KEYS; i++) {
		snprintf(key, sizeof(key), "tx_%s", tx_key(i));
		cJSON_AddNumberToObject(path, key, p->tx_sum[i]);
	}
	if (devmem_share(p) >= 0)
		cJSON_AddNumberToObject(path, "devmem_share_percent",
					devmem_share(p));
	if (p->rx_reason[0])
		cJSON_AddStringToObject(path, "reason", p->rx_reason);
	if (p->tx_reason[0])
		cJSON_AddStringToObject(path, "tx_reason", p->tx_reason);
}

static void add_row(cJSON *rows, const struct options *o, const struct row *r)
{
	cJSON *to = cJSON_CreateObject();

	cJSON_AddItemToArray(rows, to);
	cJSON_AddNumberToObject(to, "size", r->size);
	if (o->mode == MODE_LATENCY) {
		cJSON_AddNumberToObject(to, "min_us", r->lat_min);
		cJSON_AddNumberToObject(to, "median_us", r->lat_med);
		cJSON_AddNumberToObject(to, "p99_us", r->lat_p99);
	} else {
		cJSON_AddNumberToObject(to, "time_us", r->us);
		cJSON_AddNumberToObject(
			to, mode_is_coll(o->mode) ? "algbw" : "rate", r->gbps);
	}
	if (mode_is_coll(o->mode))
		cJSON_AddNumberToObject(to, "busbw", r->gbps * bus_factor(o));
	if (o->mode == MODE_BANDWIDTH) {
		cJSON_AddNumberToObject(to, "cpu_send_s_per_gb", r->cpu_tx);
		cJSON_AddNumberToObject(to, "cpu_recv_s_per_gb", r->cpu_rx);
	}
	if (o->limit) {
		cJSON_AddNumberToObject(to, "limit", r->bare);
		cJSON_AddNumberToObject(to, "ratio", r->ratio[1]);
		cJSON_AddNumberToObject(to, "ratio_25", r->ratio[0]);
		cJSON_AddNumberToObject(to, "ratio_75", r->ratio[2]);
	}
	if (o->limit && o->mode == MODE_BANDWIDTH) {
		cJSON_AddNumberToObject(to, "cpu_limit_s_per_gb", r->cpu_bare);
		cJSON_AddNumberToObject(to, "cpu_ratio", r->cpu_ratio);
	}
	cJSON_AddNumberToObject(to, "checked", r->checked);
	if (r->checked)
		cJSON_AddNumberToObject(to, "wrong", r->wrong);
	else
		cJSON_AddNullToObject(to, "wrong");
}

static void add_kill(cJSON *run, const struct options *o,
		     const struct result *res)
{
	cJSON *list = cJSON_AddArrayToObject(run, "survivors"), *one;
	int i;

	for (i = 0; i < o->ranks; i++) {
		if (i == o->kill_rank)
			continue;
		one = cJSON_CreateObject();
		cJSON_AddItemToArray(list, one);
		cJSON_AddNumberToObject(one, "rank", i);
		if (res->error_ms[i] >= 0)
			cJSON_AddNumberToObject(one, "error_ms",
						res->error_ms[i]);
		else
			cJSON_AddNullToObject(one, "error_ms");
		cJSON_AddStringToObject(one, "error", res->survivor[i]);
	}
}

static void add_run(cJSON *runs, const struct options *o,
		    const struct result *res, int nr)
{
	cJSON *run = cJSON_CreateObject(), *ranks, *rows, *one;
	int i;

	cJSON_AddItemToArray(runs, run);
	if (o->nvariants) {
		cJSON_AddNumberToObject(run, "round", nr / o->nvariants);
		cJSON_AddStringToObject(run, "variant",
					o->variants[nr % o->nvariants].name);
	}
	cJSON_AddNumberToObject(run, "status", res->code);
	if (res->error[0])
		cJSON_AddStringToObject(run, "error", res->error);
	ranks = cJSON_AddArrayToObject(run, "ranks");
	for (i = 0; i < o->ranks; i++) {
		one = cJSON_CreateObject();
		cJSON_AddItemToArray(ranks, one);
		cJSON_AddNumberToObject(one, "rank", i);
		add_info(one, &res->info[i]);
		if (res->has_path[i] && res->path[i].lines)
			add_path(one, &res->path[i]);
	}
	rows = cJSON_AddArrayToObject(run, "rows");
	for (i = 0; i < res->nrows; i++)
		add_row(rows, o, &res->rows[i]);
	if (res->killed)
		add_kill(run, o, res);
}

/* Of a file that may not be there: then `buf` stays as it is. */
static void first_line(const char *file, char *buf, size_t size)
{
	FILE *f = fopen(file, "re");
	size_t n;

	if (!f)
		return;
	if (fgets(buf, (int)size, f)) {
		for (n = strcspn(buf, "\n"); n && buf[n - 1] == ' '; n--)
			;
		buf[n] = '\0';
		printable(buf, size);
	}
	fclose(f);
}

/* What a result may depend on, and that nobody writes down. */
static void add_machine(cJSON *top)
{
	cJSON *to = cJSON_AddObjectToObject(top, "machine");
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	char vendor[64] = "", name[64] = "", model[130];
	double load;

	first_line("/sys/class/dmi/id/sys_vendor", vendor, sizeof(vendor));
	first_line("/sys/class/dmi/id/product_name", name, sizeof(name));
	snprintf(model, sizeof(model), "%s%s%s", vendor, *vendor ? " " : "",
		 name);
	if (*model)
		cJSON_AddStringToObject(to, "model", model);
	if (pages > 0 && size > 0)
		cJSON_AddNumberToObject(to, "memory_bytes",
					(double)pages * (double)size);
	if (getloadavg(&load, 1) == 1)
		cJSON_AddNumberToObject(to, "load_1min", load);
}

/* Parameters of NCCL and of plugins, as the ranks inherited them. */
static void add_environment(cJSON *top)
{
	cJSON *to = cJSON_AddObjectToObject(top, "environment");
	char **v, name[128];

	for (v = environ; v && *v; v++) {
		if (strncmp(*v, "NCCL_", 5) || !strchr(*v, '='))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*v, "="), *v);
		cJSON_AddStringToObject(to, name, strchr(*v, '=') + 1);
	}
}

static void add_date(cJSON *top, time_t when)
{
	char text[40];
	struct tm tm;

	if (gmtime_r(&when, &tm) &&
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm))
		cJSON_AddStringToObject(top, "date", text);
}

cJSON *json_tree(const struct options *o, const struct result *all, int code)
{
	int n = o->nvariants ? o->nvariants * o->rounds : 1, i;
	cJSON *top = cJSON_CreateObject(), *runs;

	cJSON_AddStringToObject(top, "tool", "devmem-bench");
	cJSON_AddStringToObject(top, "version", DEVMEM_VERSION);
	cJSON_AddStringToObject(top, "mode", mode_name(o->mode));
	cJSON_AddStringToObject(top, "command", o->command);
	add_date(top, o->started);
	add_environment(top);
	add_machine(top);
	cJSON_AddNumberToObject(top, "status", code);
	if (o->limit)
		cJSON_AddBoolToObject(top, "limit_shared", o->limit_shared);
	runs = cJSON_AddArrayToObject(top, "runs");
	for (i = 0; i < n; i++)
		add_run(runs, o, &all[i], i);
	return top;
}

int json_write(const struct options *o, const struct result *all, int code)
{
	cJSON *top = json_tree(o, all, code);
	int rc = json_save(o->json, top);

	cJSON_Delete(top);
	return rc;
}
