// SPDX-License-Identifier: BSD-3-Clause
/*
 * ctl_restore.c - `devmemctl restore`: what processes that died have left of
 * their settings of NICs is put back, now. What others use is not touched.
 */
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "log.h"
#include "restore.h"
#include "stats_proc.h"

#define NICS_MAX 256

enum {
	RESTORE_LEFT = 3, /* something is in use, or cannot be seen */
};

struct restore_args {
	bool force;
	unsigned int ifindex[NICS_MAX]; /* as named; none: all that are noted */
	size_t count;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct restore_args *a = state->input;
	unsigned int ifindex;

	switch (key) {
	case 'f':
		a->force = true;
		return 0;
	case ARGP_KEY_ARG:
		ifindex = if_nametoindex(arg);
		/* One that is gone has a number only. */
		if (!ifindex && strspn(arg, "0123456789") == strlen(arg))
			ifindex = (unsigned int)strtoul(arg, NULL, 10);
		if (!ifindex || a->count == NICS_MAX)
			argp_failure(state, CTL_USAGE, 0,
				     "no such interface: %s", arg);
		a->ifindex[a->count++] = ifindex;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* " by process 123 (python)", where it can be seen from here. */
static void print_owner(int32_t pid)
{
	char name[16], text[16];
	uint32_t uid;

	if (!pid) {
		printf(" by a process that is none of ours");
		return;
	}
	if (pid > 0 && stats_proc_info((uint32_t)pid, name, &uid))
		printf(" by process %d (%s)", (int)pid,
		       ctl_plain(text, sizeof(text), name));
	else
		printf(" by a process that cannot be seen from here");
}

static void print_users(const struct nic_report *r)
{
	const char *separator = " queue";

	for (int i = 0; i < NICFILE_QUEUES; i++) {
		if (!r->bound[i])
			continue;
		printf("%s %d", separator, i);
		print_owner(r->original.owner[i]);
		separator = ",";
	}
}

static void print_done(const struct restored *d)
{
	if (d->rules)
		printf("; %u flow rules removed", d->rules);
	if (d->rss)
		printf("; %u entries of RSS", d->rss);
	if (d->ntuple)
		printf("; ntuple filters off");
	if (d->split)
		printf("; header split as before");
}

static int print_report(const struct nic_report *r, bool force)
{
	int status = CTL_OK;

	printf("%s: ", r->ifname);
	switch (r->left) {
	case NIC_CLEAN:
		printf("nothing to restore");
		break;
	case NIC_RESTORED:
		printf("restored");
		break;
	case NIC_GONE:
		printf("the interface has gone, or is another; its note is "
		       "removed");
		break;
	case NIC_IN_USE:
		printf("in use:");
		print_users(r);
		status = r->err ? CTL_FAILED : RESTORE_LEFT;
		break;
	case NIC_UNKNOWN:
		printf("shows no queues (is it down?), which may be in use; "
		       "--force restores all the same");
		status = RESTORE_LEFT;
		break;
	case NIC_LOCKED:
		printf("a process is changing its settings, or is stopped");
		status = RESTORE_LEFT;
		break;
	case NIC_FAILED:
		printf("not restored: %s", strerror(-r->err));
		status = CTL_FAILED;
		break;
	case NIC_GARBLED:
		printf("its note makes no sense, or another version wrote it; %s",
		       force ? "removed" : "--force removes it");
		status = force ? CTL_OK : CTL_FAILED;
		break;
	}
	print_done(&r->done);
	putchar('\n');
	return status;
}

static void print_log(void *arg, enum devmem_log_level level, const char *file,
		      int line, const char *text)
{
	(void)arg;
	(void)file;
	(void)line;
	if (level == DEVMEM_LOG_WARN)
		fprintf(stderr, "devmemctl: %s\n", text);
}

/* Failed is worse than left, left is worse than nothing. */
static int worse(int a, int b)
{
	return a == CTL_FAILED || b == CTL_OK ? a : b;
}

int ctl_restore(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "force", 'f', 0, 0,
		  "Also restore an interface that does not show its queues, and "
		  "remove notes that make no sense; queues stay bound",
		  0 },
		{ 0 }
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[IFACE...]",
		.doc = "Put back the settings of interfaces that processes have "
		       "changed and died with: flow rules, RSS, ntuple "
		       "filters, header split. In this network namespace; of "
		       "all interfaces, or of those named.\v"
		       "Exit status: 0: nothing is left; 1: something could "
		       "not be restored; 3: something is in use, or it is not "
		       "known whether it is."
	};
	static struct restore_args a;
	static struct nic_report r;
	size_t noted, elsewhere;
	int status = CTL_OK, rc;
	static unsigned int all[NICS_MAX];

	ctl_parse(&argp, argc, argv, 0, &a);
	log_open(print_log, NULL);
	rc = nicfile_list(all, NICS_MAX, &noted, &elsewhere);
	if (rc) {
		fprintf(stderr,
			"devmemctl: /run/nccl-devmem: %s; run it as root\n",
			strerror(-rc));
		return CTL_FAILED;
	}
	for (size_t i = 0; i < (a.count ?: noted); i++) {
		restore_nic(a.count ? a.ifindex[i] : all[i], a.force, &r);
		status = worse(status, print_report(&r, a.force));
	}
	if (!a.count && !noted)
		puts("nothing to restore");
	if (!a.count && elsewhere)
		printf("%zu interfaces of other network namespaces are noted: "
		       "ip netns exec NAME devmemctl restore\n",
		       elsewhere);
	return status;
}
