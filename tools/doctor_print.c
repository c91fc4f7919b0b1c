// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_print.c - what the doctor has found: for people, and as JSON. The names in
 * the JSON are for scripts, and never change their meaning.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"

const char *doctor_level_text(enum doctor_level level)
{
	static const char *const text[] = {
		[DOCTOR_OK] = "ok",
		[DOCTOR_SKIPPED] = "skipped",
		[DOCTOR_WARN] = "warn",
		[DOCTOR_FAIL] = "fail",
	};

	return text[level];
}

static const char *by_whom(const struct doctor_result *r)
{
	if (!strncmp(r->fix, "export ", 7) || !strncmp(r->fix, "unset ", 6) ||
	    !strncmp(r->fix, "ulimit ", 7))
		return "in the job's environment";
	return r->safe ? "or --fix" : "by hand: it may touch other traffic";
}

static void print_result(const struct doctor_result *r)
{
	char where[40] = "";

	if (*r->nic)
		snprintf(where, sizeof(where), "%s: ", r->nic);
	printf("%-7s  %s%s: %s\n", doctor_level_text(r->level), where,
	       r->check->title, r->text);
	if (r->level < DOCTOR_WARN)
		return;
	if (*reasons[r->reason].meaning)
		printf("         %s\n", reasons[r->reason].meaning);
	if (*r->fix)
		printf("         fix: %s    (%s)\n", r->fix, by_whom(r));
	else if (*r->remedy)
		printf("         what to do: %s\n", r->remedy);
}

static const char *told(const struct doctor *d, const char *nic,
			unsigned int path, char *text, size_t n)
{
	const struct doctor_result *r = doctor_obstacle(d, nic, path);

	if (!r)
		return "yes";
	snprintf(text, n, "no, because %s", r->text);
	return text;
}

static void print_summary(const struct doctor *d, const char *nic)
{
	char text[400];

	printf("%s: receive by devmem: %s\n", nic,
	       told(d, nic, DOCTOR_RX, text, sizeof(text)));
	printf("%s: send by devmem: %s\n", nic,
	       told(d, nic, DOCTOR_TX, text, sizeof(text)));
}

void doctor_print(const struct doctor *d, bool all)
{
	for (size_t i = 0; i < d->results; i++)
		if (all || d->result[i].level >= DOCTOR_WARN)
			print_result(&d->result[i]);
	if (all || doctor_worst(d) >= DOCTOR_WARN)
		putchar('\n');
	for (unsigned int i = 0; i < d->nics; i++)
		print_summary(d, d->nic[i].name);
	if (!d->nics)
		print_summary(d, d->ifname ?: "no interface");
}

/* ---- JSON ---- */

static bool add_text(cJSON *o, const char *name, const char *text)
{
	return *text ? cJSON_AddStringToObject(o, name, text) != NULL :
		       cJSON_AddNullToObject(o, name) != NULL;
}

static bool add_path(cJSON *o, const struct doctor *d, const char *nic,
		     const char *name, unsigned int path)
{
	const struct doctor_result *r = doctor_obstacle(d, nic, path);
	cJSON *p = cJSON_AddObjectToObject(o, name);

	return p && cJSON_AddBoolToObject(p, "devmem", !r) &&
	       add_text(p, "reason", r ? reasons[r->reason].name : "") &&
	       add_text(p, "text", r ? r->text : "");
}

static bool add_nic(cJSON *list, const struct doctor *d, const char *name)
{
	cJSON *o = cJSON_CreateObject();

	if (!o || !cJSON_AddItemToArray(list, o)) {
		cJSON_Delete(o);
		return false;
	}
	return cJSON_AddStringToObject(o, "name", name) &&
	       add_path(o, d, name, "receive", DOCTOR_RX) &&
	       add_path(o, d, name, "send", DOCTOR_TX);
}

static bool add_check(cJSON *list, const struct doctor_result *r)
{
	bool bad = r->level >= DOCTOR_WARN;
	cJSON *o = cJSON_CreateObject();

	if (!o || !cJSON_AddItemToArray(list, o)) {
		cJSON_Delete(o);
		return false;
	}
	return cJSON_AddStringToObject(o, "check", r->check->name) &&
	       add_text(o, "interface", r->nic) &&
	       cJSON_AddStringToObject(o, "level",
				       doctor_level_text(r->level)) &&
	       add_text(o, "reason", bad ? reasons[r->reason].name : "") &&
	       cJSON_AddStringToObject(o, "text", r->text) &&
	       add_text(o, "meaning", bad ? reasons[r->reason].meaning : "") &&
	       add_text(o, "remedy", r->remedy) && add_text(o, "fix", r->fix) &&
	       cJSON_AddBoolToObject(o, "safe", *r->fix && r->safe);
}

static bool fill(cJSON *root, const struct doctor *d)
{
	cJSON *nics = cJSON_AddArrayToObject(root, "interfaces");
	cJSON *list = cJSON_AddArrayToObject(root, "checks");
	bool fine = nics && list;

	for (unsigned int i = 0; fine && i < d->nics; i++)
		fine = add_nic(nics, d, d->nic[i].name);
	for (size_t i = 0; fine && i < d->results; i++)
		fine = add_check(list, &d->result[i]);
	return fine &&
	       cJSON_AddStringToObject(root, "level",
				       doctor_level_text(doctor_worst(d)));
}

int doctor_print_json(const struct doctor *d)
{
	cJSON *root = cJSON_CreateObject();
	char *text = root && fill(root, d) ? cJSON_Print(root) : NULL;

	if (text)
		puts(text);
	cJSON_free(text);
	cJSON_Delete(root);
	return text ? 0 : -ENOMEM;
}
