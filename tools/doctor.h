/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor.h - `devmemctl doctor`: a table of checks from the kernel to the GPU and
 * to NCCL, each of which adds results. Checks change nothing on the machine.
 */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "devmem.h"
#include "reason.h"

#define DOCTOR_NICS 32

enum doctor_level {
	DOCTOR_OK,
	DOCTOR_SKIPPED, /* does not apply, or what it needs has failed */
	DOCTOR_WARN,	/* the fast path is live, but not as it could be */
	DOCTOR_FAIL,	/* it is not live */
};

/* What a failure keeps from being live. */
#define DOCTOR_RX   0x1u
#define DOCTOR_TX   0x2u
#define DOCTOR_BOTH (DOCTOR_RX | DOCTOR_TX)

struct doctor;

struct doctor_check {
	const char *name; /* for scripts */
	const char *title;
	/* Of each interface; else of the host, and @nic is NULL. */
	bool each_nic;
	unsigned int path; /* DOCTOR_RX, DOCTOR_TX */
	const char *after; /* not asked where that check has failed, or NULL */
	void (*run)(struct doctor *d, const struct devmem_nic_props *nic);
};

struct doctor_result {
	const struct doctor_check *check;
	char nic[16]; /* "": of the host */
	enum doctor_level level;
	enum reason_id reason;
	unsigned int blocks; /* DOCTOR_RX, DOCTOR_TX */
	bool unasked;	     /* skipped, as another check has failed */
	bool safe; /* the command may be run without further thought */
	char text[320];
	char remedy[200];
	char fix[320]; /* command, or "" */
};

struct doctor {
	const char *ifname; /* the one asked about, or NULL: all */
	bool trial;	    /* set up a pool for a moment */
	bool can_restore;   /* there is a `devmemctl restore` */
	struct devmem_options options;
	bool options_read;
	struct devmem_nic_props nic[DOCTOR_NICS];
	unsigned int nics;
	/* The GPU that an interface's pool goes on; name "": none is known. */
	struct doctor_gpu {
		char name[64];
		char pci_path[128];
	} gpu[DOCTOR_NICS];
	/* What is under way. */
	const struct doctor_check *check;
	const char *nic_name; /* "" for the host */
	/* What was found. */
	struct doctor_result *result;
	size_t results, room;
	bool no_memory;
};

/* ---- for checks ---- */

__attribute__((format(printf, 2, 3))) void doctor_ok(struct doctor *d,
						     const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void doctor_skip(struct doctor *d,
						       const char *fmt, ...);

/**
 * doctor_found() - a reason of the table, as a failure or a warning as it says
 * there. The result is the latest until the next one: it can be changed.
 */
#define doctor_found(d, id, ...) \
	doctor_found_(d, id, &(const struct reason_args){ __VA_ARGS__ })
struct doctor_result *doctor_found_(struct doctor *d, enum reason_id id,
				    const struct reason_args *a);
/* The same of what a call of the library said. */
struct doctor_result *doctor_why(struct doctor *d, const struct why *w);
/* Its command, if the table cannot know it. */
#define doctor_fix(r, format, ...)                                         \
	reason_command(format, &(const struct reason_args){ __VA_ARGS__ }, \
		       (r)->fix, sizeof((r)->fix))

/**
 * doctor_in_child() - run @fn in a process of its own, which may crash, hang or
 * load what it likes. It fills in the @size bytes of @result, zeroed before. 0;
 * -ETIMEDOUT after @seconds; -EIO if it died; -errno.
 */
int doctor_in_child(void (*fn)(void *result, void *arg), void *arg,
		    void *result, size_t size, unsigned int seconds);

/* Does the installed ethtool know a word of its help, such as "tcp-data-split"? */
bool doctor_ethtool_knows(const char *word);

/* Does the pool go on a GPU? */
bool doctor_on_gpu(const struct doctor *d);

/* ---- the checks: one function a line of the table ---- */

#define DOCTOR_CHECK(name) \
	void name(struct doctor *d, const struct devmem_nic_props *nic)
DOCTOR_CHECK(check_parameters);
DOCTOR_CHECK(check_kernel);
DOCTOR_CHECK(check_interfaces);
DOCTOR_CHECK(check_privileges);
DOCTOR_CHECK(check_bind_rx);
DOCTOR_CHECK(check_bind_tx);
DOCTOR_CHECK(check_carrier);
DOCTOR_CHECK(check_split);
DOCTOR_CHECK(check_queues);
DOCTOR_CHECK(check_steering);
DOCTOR_CHECK(check_rss);
DOCTOR_CHECK(check_xdp);
DOCTOR_CHECK(check_packing);
DOCTOR_CHECK(check_left);
DOCTOR_CHECK(check_network);
DOCTOR_CHECK(check_region);
DOCTOR_CHECK(check_pool);
DOCTOR_CHECK(check_pcie);
DOCTOR_CHECK(check_bar1);
DOCTOR_CHECK(check_streams);
DOCTOR_CHECK(check_nofile);
DOCTOR_CHECK(check_memlock);
DOCTOR_CHECK(check_optmem);
DOCTOR_CHECK(check_tcp_memory);
DOCTOR_CHECK(check_nccl);
DOCTOR_CHECK(check_plugin);
DOCTOR_CHECK(check_nccl_net);
DOCTOR_CHECK(check_nccl_ifname);
DOCTOR_CHECK(check_trial);

/* ---- for ctl_doctor.c ---- */

/* Run all checks, from the beginning. 0 or -ENOMEM. */
int doctor_run(struct doctor *d);
void doctor_free(struct doctor *d);

enum doctor_level doctor_worst(const struct doctor *d);
/* Why @path does not go by devmem over an interface; NULL: it does. */
const struct doctor_result *doctor_obstacle(const struct doctor *d,
					    const char *nic, unsigned int path);

const char *doctor_level_text(enum doctor_level level);
void doctor_print(const struct doctor *d, bool all);
/* 0 or -ENOMEM. */
int doctor_print_json(const struct doctor *d);

#endif /* TOOLS_DOCTOR_H */
