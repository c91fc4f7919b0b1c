// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor.c - the table of checks, and what they have found; see doctor.h.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "doctor.h"

static const struct doctor_check checks[] = {
	{ "parameters", "parameters", false, DOCTOR_BOTH, NULL,
	  check_parameters },
	{ "kernel", "kernel", false, DOCTOR_BOTH, NULL, check_kernel },
	{ "interfaces", "interfaces", false, DOCTOR_BOTH, "parameters",
	  check_interfaces },
	{ "privileges", "privileges", true, DOCTOR_RX, "kernel",
	  check_privileges },
	{ "carrier", "link", true, DOCTOR_BOTH, NULL, check_carrier },
	{ "bind-rx", "kernel: bind to receive", true, DOCTOR_RX, "privileges",
	  check_bind_rx },
	{ "bind-tx", "kernel: bind to send", true, DOCTOR_TX, "kernel",
	  check_bind_tx },
	{ "header-split", "header split", true, DOCTOR_RX, "kernel",
	  check_split },
	{ "queues", "receive queues", true, DOCTOR_RX, "kernel", check_queues },
	{ "steering", "flow steering", true, DOCTOR_RX, NULL, check_steering },
	{ "rss", "RSS", true, DOCTOR_RX, "queues", check_rss },
	{ "xdp", "XDP", true, DOCTOR_RX, NULL, check_xdp },
	/* XDP turns aggregation off. */
	{ "packing", "MTU and pages", true, DOCTOR_RX, "xdp", check_packing },
	{ "settings-left", "settings of the dead", true, DOCTOR_RX, "kernel",
	  check_left },
	{ "network", "IP networks", true, DOCTOR_BOTH, NULL, check_network },
	{ "region", "memory for the pool", false, DOCTOR_RX, "parameters",
	  check_region },
	{ "pool", "pool and rings", true, DOCTOR_RX, "header-split",
	  check_pool },
	{ "pcie", "PCIe to the GPU", true, DOCTOR_BOTH, "region", check_pcie },
	{ "bar1", "BAR1 of the GPU", true, DOCTOR_BOTH, "region", check_bar1 },
	{ "streams", "streams of the GPU", false, DOCTOR_BOTH, "region",
	  check_streams },
	{ "nofile", "open files", false, DOCTOR_BOTH, NULL, check_nofile },
	{ "memlock", "locked memory", false, DOCTOR_BOTH, NULL, check_memlock },
	{ "optmem", "socket's extra memory", false, DOCTOR_BOTH, NULL,
	  check_optmem },
	{ "tcp-memory", "TCP buffers", false, DOCTOR_BOTH, NULL,
	  check_tcp_memory },
	{ "nccl", "NCCL", false, DOCTOR_BOTH, NULL, check_nccl },
	{ "plugin", "NCCL's plugin", false, DOCTOR_BOTH, NULL, check_plugin },
	{ "nccl-net", "NCCL's choice", false, DOCTOR_BOTH, "plugin",
	  check_nccl_net },
	{ "nccl-ifname", "NCCL's own sockets", false, DOCTOR_BOTH, NULL,
	  check_nccl_ifname },
	{ "trial", "trial", true, DOCTOR_RX, "interfaces", check_trial },
};
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

/* ---- results ---- */

static struct doctor_result *add(struct doctor *d, enum doctor_level level)
{
	static struct doctor_result nowhere;
	struct doctor_result *r;

	if (d->results == d->room) {
		size_t room = d->room ? 2 * d->room : 64;

		r = realloc(d->result, room * sizeof(*r));
		if (!r) {
			d->no_memory = true;
			return &nowhere;
		}
		d->result = r;
		d->room = room;
	}
	r = &d->result[d->results++];
	memset(r, 0, sizeof(*r));
	r->check = d->check;
	snprintf(r->nic, sizeof(r->nic), "%s", d->nic_name);
	r->level = level;
	r->blocks = level == DOCTOR_FAIL ? d->check->path : 0;
	return r;
}

void doctor_ok(struct doctor *d, const char *fmt, ...)
{
	struct doctor_result *r = add(d, DOCTOR_OK);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

void doctor_skip(struct doctor *d, const char *fmt, ...)
{
	struct doctor_result *r = add(d, DOCTOR_SKIPPED);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

static struct doctor_result *add_reason(struct doctor *d, enum reason_id id)
{
	struct doctor_result *r =
		add(d, reasons[id].warn ? DOCTOR_WARN : DOCTOR_FAIL);

	r->reason = id;
	r->safe = reasons[id].safe;
	return r;
}

bool doctor_ethtool_knows(const char *word)
{
	FILE *f = popen("ethtool --help 2>/dev/null", "re");
	bool knows = false;
	char line[256];

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		knows |= strstr(line, word) != NULL;
	pclose(f);
	return knows;
}

/* Header split is too new for many an ethtool: then by this program. */
static void other_hand(struct doctor_result *r, const struct reason_args *a)
{
	if (r->reason == REASON_HEADER_SPLIT_OFF &&
	    !doctor_ethtool_knows("tcp-data-split"))
		reason_command(a->what && *a->what ?
				       "devmemctl set {nic} split=on "
				       "hds-thresh=0" :
				       "devmemctl set {nic} split=on",
			       a, r->fix, sizeof(r->fix));
	if (r->reason == REASON_HDS_THRESH &&
	    !doctor_ethtool_knows("hds-thresh"))
		reason_command("devmemctl set {nic} split=on hds-thresh=0", a,
			       r->fix, sizeof(r->fix));
}

struct doctor_result *doctor_found_(struct doctor *d, enum reason_id id,
				    const struct reason_args *a)
{
	struct doctor_result *r = add_reason(d, id);

	reason_text(id, a, r->text, sizeof(r->text));
	reason_remedy(id, a, r->remedy, sizeof(r->remedy));
	reason_fix(id, a, r->fix, sizeof(r->fix));
	other_hand(r, a);
	return r;
}

/* The line without the command, which is shown on a line of its own. */
static void split_line(struct doctor_result *r, const struct why *w)
{
	size_t head = w->head < strlen(w->text) ? w->head : strlen(w->text);
	size_t fix = strlen(w->fix), len;

	snprintf(r->text, sizeof(r->text), "%.*s", (int)head, w->text);
	if (strncmp(w->text + head, "; ", 2))
		return;
	snprintf(r->remedy, sizeof(r->remedy), "%s", w->text + head + 2);
	len = strlen(r->remedy);
	if (fix && fix < len && !strcmp(r->remedy + len - fix, w->fix))
		r->remedy[len - fix - 1] = '\0'; /* and the blank */
}

struct doctor_result *doctor_why(struct doctor *d, const struct why *w)
{
	enum reason_id id = w->reason < REASON_COUNT ? w->reason : REASON_NONE;
	struct doctor_result *r = add_reason(d, id);
	const struct reason_args a = {
		.nic = d->nic_name,
		.what = strstr(w->fix, "hds-thresh") ? "hds" : "",
	};

	split_line(r, w);
	snprintf(r->fix, sizeof(r->fix), "%s", w->fix);
	other_hand(r, &a);
	return r;
}

/* ---- running them ---- */

/* What keeps a check from being asked: the failed check's title, or NULL. */
static const char *unasked(const struct doctor *d, const char *after)
{
	for (size_t i = 0; after && i < d->results; i++) {
		const struct doctor_result *r = &d->result[i];

		if (strcmp(r->check->name, after) ||
		    (*r->nic && strcmp(r->nic, d->nic_name)))
			continue;
		if (r->level == DOCTOR_FAIL || r->unasked)
			return r->check->title;
	}
	return NULL;
}

static void run_one(struct doctor *d, const struct doctor_check *c,
		    const struct devmem_nic_props *nic)
{
	const char *failed;

	d->check = c;
	d->nic_name = nic ? nic->name : "";
	failed = unasked(d, c->after);
	if (failed) {
		doctor_skip(d, "not asked: %s failed", failed);
		if (!d->no_memory)
			d->result[d->results - 1].unasked = true;
		return;
	}
	c->run(d, nic);
}

int doctor_run(struct doctor *d)
{
	d->results = 0;
	d->nics = 0;
	d->options_read = false;
	for (size_t i = 0; i < CHECKS; i++) {
		if (!checks[i].each_nic)
			run_one(d, &checks[i], NULL);
		for (unsigned int n = 0; checks[i].each_nic && n < d->nics; n++)
			run_one(d, &checks[i], &d->nic[n]);
	}
	return d->no_memory ? -ENOMEM : 0;
}

void doctor_free(struct doctor *d)
{
	free(d->result);
	d->result = NULL;
	d->results = d->room = 0;
}

enum doctor_level doctor_worst(const struct doctor *d)
{
	enum doctor_level worst = DOCTOR_OK;

	for (size_t i = 0; i < d->results; i++)
		if (d->result[i].level > worst)
			worst = d->result[i].level;
	return worst;
}

const struct doctor_result *doctor_obstacle(const struct doctor *d,
					    const char *nic, unsigned int path)
{
	for (size_t i = 0; i < d->results; i++) {
		const struct doctor_result *r = &d->result[i];

		if ((r->blocks & path) && (!*r->nic || !strcmp(r->nic, nic)))
			return r;
	}
	return NULL;
}

bool doctor_on_gpu(const struct doctor *d)
{
	return d->options.region == DEVMEM_REGION_AUTO ||
	       d->options.region == DEVMEM_REGION_CUDA;
}

/* ---- children ---- */

/* For the kernel to end a child that was killed. */
#define END_MS 2000

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* All @size bytes of the pipe, or -errno. */
static int read_all(int fd, void *result, size_t size, unsigned int seconds)
{
	long long end = now_ms() + seconds * 1000ll, left;
	size_t at = 0;

	while (at < size) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		left = end - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(fd, (char *)result + at, size - at);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

/* Not back to main: neither buffers nor exit handlers are the child's. */
static void child(void (*fn)(void *result, void *arg), void *arg, void *result,
		  size_t size, int fd)
{
	size_t at = 0;
	ssize_t n;

	/* What libraries say is no part of the answer, least of all of JSON. */
	dup2(STDERR_FILENO, STDOUT_FILENO);
	fn(result, arg);
	for (; at < size; at += (size_t)n) {
		n = write(fd, (char *)result + at, size - at);
		if (n <= 0)
			break;
	}
	_exit(0);
}

/* One that is stuck in a driver does not even end when it is killed: left to init. */
static void end_child(pid_t pid)
{
	const struct timespec step = { .tv_nsec = 10000000 };
	long long end = now_ms() + END_MS;

	kill(pid, SIGKILL);
	while (!waitpid(pid, NULL, WNOHANG) && now_ms() < end)
		nanosleep(&step, NULL);
}

int doctor_in_child(void (*fn)(void *result, void *arg), void *arg,
		    void *result, size_t size, unsigned int seconds)
{
	int fd[2], rc;
	pid_t pid;

	memset(result, 0, size);
	if (pipe(fd))
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		rc = -errno;
		close(fd[0]);
		close(fd[1]);
		return rc;
	}
	if (!pid) {
		close(fd[0]);
		child(fn, arg, result, size, fd[1]);
	}
	close(fd[1]);
	rc = read_all(fd[0], result, size, seconds);
	close(fd[0]);
	end_child(pid);
	if (rc)
		memset(result, 0, size);
	return rc;
}
