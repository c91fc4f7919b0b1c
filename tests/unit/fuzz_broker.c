// SPDX-License-Identifier: BSD-3-Clause
/*
 * fuzz_broker.c - any bytes as what the broker reads: a request, a policy, the file
 * of leases. A libFuzzer target (-DDEVMEM_FUZZ=ON, clang); test_broker.cc runs the
 * same function. It traps where a rule is broken.
 */
#include <stdlib.h>
#include <string.h>

#include "devmemd.h"

#define RULE(cond) do { if (!(cond)) __builtin_trap(); } while (0)

int broker_fuzz_one(const uint8_t *data, size_t size);

static void request(const uint8_t *data, size_t size)
{
	struct broker_request q = { 0 };
	struct why w;

	memcpy(&q, data, size < sizeof(q) ? size : sizeof(q));
	for (int has_fd = 0; has_fd < 2; has_fd++) {
		if (request_check(&q, has_fd, &w)) {
			RULE(memchr(w.text, 0, sizeof(w.text)));
			continue;
		}
		RULE(q.type >= BROKER_BIND_RX && q.type <= BROKER_STATUS);
		if (q.type != BROKER_BIND_RX)
			continue;
		RULE(has_fd && memchr(q.ifname, 0, sizeof(q.ifname)));
		RULE(q.queues && q.queues <= DEVMEM_MAX_QUEUES);
	}
}

static void policy(const char *text)
{
	static struct policy p;
	char why[POLICY_WHY] = "";

	if (policy_parse(text, &p, why)) {
		RULE(*why && memchr(why, 0, sizeof(why)));
		return;
	}
	RULE(p.lines <= POLICY_LINES);
	for (unsigned int i = 0; i < p.lines; i++)
		RULE(p.line[i].limits.queues && *p.line[i].nic);
}

static void leases(const char *text, size_t size)
{
	static struct devmemd d;
	char *copy = malloc(size + 1);
	int line;

	RULE(copy);
	memcpy(copy, text, size + 1);
	memset(d.held, 0, sizeof(d.held));
	memset(d.rule, 0, sizeof(d.rule));
	if (!state_parse(&d, copy, &line))
		for (unsigned int i = 0; i < LEASES_MAX; i++)
			RULE(!d.held[i].used ||
			     (d.held[i].lease.queues &&
			      d.held[i].lease.queues <= DEVMEM_MAX_QUEUES));
	free(copy);
}

int broker_fuzz_one(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	RULE(text);
	memcpy(text, data, size);
	text[size] = '\0';
	request(data, size);
	policy(text);
	leases(text, size);
	free(text);
	return 0;
}

#ifdef DEVMEM_FUZZ_MAIN
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return broker_fuzz_one(data, size);
}
#endif
