/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devmemd_policy.h - who may have how many queues of which NIC: devmemd.conf(5).
 * What no line allows is refused.
 */
#ifndef TOOLS_DEVMEMD_POLICY_H
#define TOOLS_DEVMEMD_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define POLICY_LINES 256
#define POLICY_BYTES (64u << 10)
#define POLICY_WHY   256

/* Of one user, on one NIC, all leases together; of rules on all NICs. */
struct policy_limits {
	unsigned int queues, leases, rules;
};

struct policy {
	struct policy_line {
		enum policy_who { POLICY_USER, POLICY_GROUP, POLICY_ANY } who;
		uint32_t id;
		char nic[32]; /* a pattern */
		struct policy_limits limits;
	} line[POLICY_LINES];
	unsigned int lines;
};

/* Who asks; @group has their other groups. */
struct policy_peer {
	uid_t uid;
	gid_t gid;
	const gid_t *group;
	unsigned int groups;
};

/**
 * policy_parse() - of a text. 0, or -EINVAL, then @why names the line. User and
 * group names are looked up, which may take as long as their source takes.
 */
int policy_parse(const char *text, struct policy *p, char why[POLICY_WHY]);
/**
 * policy_load() - of a file that nobody but root and this process's user may write.
 * On failure *p is as it was.
 */
int policy_load(const char *path, struct policy *p, char why[POLICY_WHY]);

/* What a peer may have of a NIC: the most generous line for it; or false. */
bool policy_allows(const struct policy *p, const struct policy_peer *who,
		   const char *nic, struct policy_limits *out);
/* Is there any line for that peer? */
bool policy_knows(const struct policy *p, const struct policy_peer *who);

#endif /* TOOLS_DEVMEMD_POLICY_H */
