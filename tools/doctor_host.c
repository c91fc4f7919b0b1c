// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_host.c - parameters, limits of processes and of sockets.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "doctor.h"
#include "params.h"

/* Descriptors that a job of some hundred connections needs. */
#define NOFILE_LEAST  1024u
#define NOFILE_ENOUGH 1048576u
/* What sockets may have under way by reference. */
#define MEMLOCK_LEAST (64u << 20)
/* The default of Linux since 6.8; it was 20480. */
#define OPTMEM_LEAST 131072u
#define OPTMEM_GOOD  1048576u
/* A flow of 40 Gbit/s over a way of 1 ms there and back has 5 MB under way. */
#define TCP_LEAST (4u << 20)
#define TCP_GOOD  (64u << 20)

#define CAP_IPC_LOCK_BIT 14

void check_parameters(struct doctor *d, const struct devmem_nic_props *nic)
{
	char text[256], name[64];

	(void)nic;
	if (!params_read(&d->options, text, sizeof(text))) {
		d->options_read = true;
		doctor_ok(d, "the plugin takes them; see: devmemctl params");
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, "="), text);
	doctor_found(d, REASON_BAD_PARAMETER, .detail = text, .what = name);
	devmem_options_init(&d->options);
}

void check_nofile(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct rlimit l;
	rlim_t to;

	(void)nic;
	if (getrlimit(RLIMIT_NOFILE, &l)) {
		doctor_skip(d, "the limit cannot be read");
		return;
	}
	to = l.rlim_max != RLIM_INFINITY && l.rlim_max > NOFILE_LEAST ?
		     l.rlim_max :
		     NOFILE_ENOUGH;
	if (l.rlim_cur < NOFILE_LEAST)
		doctor_found(d, REASON_NOFILE_SMALL, .n = l.rlim_cur, .m = to);
	else
		doctor_ok(d, "%ju may be open", (uintmax_t)l.rlim_cur);
}

static bool has_capability(unsigned int bit)
{
	FILE *f = fopen("/proc/self/status", "re");
	uint64_t caps = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &caps) == 1)
			break;
	if (f)
		fclose(f);
	return caps >> bit & 1;
}

void check_memlock(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct rlimit l;

	(void)nic;
	if (has_capability(CAP_IPC_LOCK_BIT))
		doctor_ok(d, "not limited, with CAP_IPC_LOCK");
	else if (getrlimit(RLIMIT_MEMLOCK, &l))
		doctor_skip(d, "the limit cannot be read");
	else if (l.rlim_cur < MEMLOCK_LEAST)
		doctor_found(d, REASON_MEMLOCK_SMALL, .n = l.rlim_cur >> 10,
			     .what = "unlimited");
	else
		doctor_ok(d, "%ju KiB", (uintmax_t)l.rlim_cur >> 10);
}

/* The last of the numbers in a file of /proc/sys, 0 if there is none. */
static uint64_t last_number(const char *path)
{
	FILE *f = fopen(path, "re");
	uint64_t v, last = 0;

	if (!f)
		return 0;
	while (fscanf(f, "%" SCNu64, &v) == 1)
		last = v;
	fclose(f);
	return last;
}

void check_optmem(struct doctor *d, const struct devmem_nic_props *nic)
{
	uint64_t v = last_number("/proc/sys/net/core/optmem_max");

	(void)nic;
	if (!v)
		doctor_skip(d, "net.core.optmem_max cannot be read here");
	else if (v < OPTMEM_LEAST)
		doctor_found(d, REASON_OPTMEM_SMALL, .n = v, .m = OPTMEM_GOOD);
	else
		doctor_ok(d, "net.core.optmem_max is %" PRIu64, v);
}

void check_tcp_memory(struct doctor *d, const struct devmem_nic_props *nic)
{
	uint64_t rmem = last_number("/proc/sys/net/ipv4/tcp_rmem");
	uint64_t wmem = last_number("/proc/sys/net/ipv4/tcp_wmem");

	(void)nic;
	if (!rmem || !wmem) {
		doctor_skip(d, "net.ipv4.tcp_rmem cannot be read");
		return;
	}
	if (rmem < TCP_LEAST)
		doctor_found(d, REASON_TCP_RMEM_SMALL, .n = rmem,
			     .m = TCP_GOOD);
	if (wmem < TCP_LEAST)
		doctor_found(d, REASON_TCP_WMEM_SMALL, .n = wmem,
			     .m = TCP_GOOD);
	if (rmem >= TCP_LEAST && wmem >= TCP_LEAST)
		doctor_ok(d,
			  "up to %" PRIu64 " to receive, %" PRIu64 " to send",
			  rmem, wmem);
}
