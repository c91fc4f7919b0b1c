// SPDX-License-Identifier: BSD-3-Clause
/*
 * params.c - the parameters' table and its reader; see params.h.
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "params.h"

#define AT(field) offsetof(struct devmem_options, field)

const struct param params[] = {
	{ .name = "NCCL_DEVMEM_IFNAME",
	  .fallback = "NCCL_SOCKET_IFNAME",
	  .kind = PARAM_TEXT,
	  .offset = AT(ifname),
	  .preset = "all but loopback",
	  .sentence =
		  "Interfaces: prefixes, \"=\" exact names, \"^\" all but." },
	{ .name = "NCCL_DEVMEM_REGION",
	  .kind = PARAM_CHOICE,
	  .offset = AT(region),
	  .words = "auto|none|udmabuf|cuda",
	  .preset = "auto",
	  .sentence = "Memory that payload is received into." },
	{ .name = "NCCL_DEVMEM_RX",
	  .kind = PARAM_CHOICE,
	  .offset = AT(rx),
	  .words = "auto|emulate",
	  .preset = "auto",
	  .sentence = "emulate: payload is copied to that memory from "
		      "ordinary TCP, for tests." },
	{ .name = "NCCL_DEVMEM_UNPACK",
	  .kind = PARAM_CHOICE,
	  .offset = AT(unpack),
	  .words = "0|1",
	  .preset = "0",
	  .sentence = "1: NCCL's kernels take payload out of the pool." },
	{ .name = "NCCL_DEVMEM_REQUIRE",
	  .kind = PARAM_WORDS,
	  .offset = AT(require),
	  .words = "rx|tx",
	  .preset = "nothing",
	  .sentence = "Directions that must go by devmem, or fail." },
	{ .name = "NCCL_DEVMEM_POOL_BYTES",
	  .kind = PARAM_SIZE,
	  .offset = AT(pool_bytes),
	  .min = 4096,
	  .max = (size_t)1 << 32,
	  .preset = "64M",
	  .sentence = "Receive pool of each interface." },
	{ .name = "NCCL_DEVMEM_QUEUES",
	  .kind = PARAM_COUNT,
	  .offset = AT(queues),
	  .min = 1,
	  .max = DEVMEM_MAX_QUEUES,
	  .preset = "2",
	  .sentence = "Receive queues that the pool is bound to." },
	{ .name = "NCCL_DEVMEM_FLOWS",
	  .kind = PARAM_COUNT,
	  .offset = AT(flows),
	  .min = 1,
	  .max = DEVMEM_MAX_FLOWS,
	  .preset = "2",
	  .sentence = "TCP connections for the payload of one "
		      "NCCL connection." },
	{ .name = "NCCL_DEVMEM_INLINE_BYTES",
	  .kind = PARAM_SIZE,
	  .offset = AT(inline_bytes),
	  .min = 0,
	  .max = 32768,
	  .preset = "8K",
	  .sentence = "Messages up to this size travel on the control "
		      "connection." },
	{ .name = "NCCL_DEVMEM_EAGER_BYTES",
	  .kind = PARAM_SIZE,
	  .offset = AT(eager_bytes),
	  .min = 0,
	  .max = 1u << 30,
	  .preset = "1G",
	  .sentence = "The same where payload is received by host memory: "
		      "larger ones are spread over flows." },
	{ .name = "NCCL_DEVMEM_CHUNK_BYTES",
	  .kind = PARAM_SIZE,
	  .offset = AT(chunk_bytes),
	  .min = 4096,
	  .max = 64u << 20,
	  .preset = "256K",
	  .sentence = "Larger messages are spread over flows in such pieces." },
	{ .name = "NCCL_DEVMEM_TIMEOUT",
	  .kind = PARAM_COUNT,
	  .offset = AT(timeout),
	  .min = 1,
	  .max = 3600,
	  .preset = "30",
	  .sentence = "Seconds after which a host that answers nothing is "
		      "given up." },
	{ .name = "NCCL_DEVMEM_THREADS",
	  .kind = PARAM_COUNT,
	  .offset = AT(threads),
	  .min = 0,
	  .max = DEVMEM_MAX_THREADS,
	  .words = "auto",
	  .preset = "auto",
	  .sentence = "Threads of the process that move data; 0: it is moved "
		      "inside NCCL's calls." },
	{ .name = "NCCL_DEVMEM_NIC_SETUP",
	  .kind = PARAM_CHOICE,
	  .offset = AT(nic_manual),
	  .words = "auto|manual",
	  .preset = "auto",
	  .sentence = "manual: change no setting of the interface." },
	{ .name = "NCCL_DEVMEM_BROKER",
	  .kind = PARAM_TEXT,
	  .offset = AT(broker),
	  .preset = "auto",
	  .sentence = "Who takes the NIC's queues: off: the process; a path: "
		      "devmemd there; auto: devmemd, for the unprivileged." },
	{ .name = "NCCL_DEVMEM_GUARD",
	  .kind = PARAM_TEXT,
	  .offset = AT(guard),
	  .preset = "auto",
	  .sentence = "auto, off, or the path of devmem-guard, which restores "
		      "settings of interfaces if the process is killed." },
	{ .name = "NCCL_DEVMEM_GATHER",
	  .kind = PARAM_CHOICE,
	  .offset = AT(gather),
	  .words = "auto|none",
	  .preset = "auto",
	  .sentence = "Who moves payload out of the pool; none leaves it "
		      "there, for measurements." },
	{ .name = "NCCL_DEVMEM_BUSY_POLL",
	  .kind = PARAM_COUNT,
	  .offset = AT(busy_poll),
	  .min = 0,
	  .max = 1000000,
	  .preset = "0",
	  .sentence = "Microseconds of SO_BUSY_POLL; 0: as net.core.busy_read "
		      "says." },
	{ .name = "NCCL_DEVMEM_STATS",
	  .kind = PARAM_CHOICE,
	  .offset = AT(stats),
	  .words = "auto|off",
	  .preset = "auto",
	  .sentence = "off: nothing is timed, and `devmemctl status` does not "
		      "see the process." },
	{ .name = "NCCL_DEVMEM_STATS_FILE",
	  .kind = PARAM_TEXT,
	  .offset = AT(stats_file),
	  .preset = "nowhere",
	  .sentence = "Where to write statistics at the end: %h host, "
		      "%p process." },
	{ .name = "NCCL_DEVMEM_ZEROCOPY",
	  .kind = PARAM_CHOICE,
	  .offset = AT(zerocopy),
	  .words = "auto|off|on",
	  .preset = "auto",
	  .sentence = "Host memory is sent by reference; auto: where that "
		      "takes less CPU time." },
};
const size_t params_count = sizeof(params) / sizeof(params[0]);

/* Index of the @n bytes at @word in "a|b|c", or -1. */
static int word_index(const char *words, const char *word, size_t n)
{
	for (int i = 0;; i++) {
		size_t len = strcspn(words, "|");

		if (len == n && !strncasecmp(words, word, n))
			return i;
		if (!words[len])
			return -1;
		words += len + 1;
	}
}

static bool parse_number(const char *text, bool suffixes, size_t *value)
{
	unsigned int shift = 0;
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (suffixes && *end) {
		const char *unit = strchr("kmg", tolower((unsigned char)*end));

		if (!unit)
			return false;
		shift = 10 * (unsigned int)(unit - "kmg" + 1);
		end++;
	}
	if (*end || v > (SIZE_MAX >> shift))
		return false;
	*value = (size_t)v << shift;
	return true;
}

static bool parse_words(const struct param *p, const char *text,
			unsigned int *mask)
{
	*mask = 0;
	while (*text) {
		size_t n = strcspn(text, ",");
		int i = word_index(p->words, text, n);

		if (i < 0)
			return false;
		*mask |= 1u << i;
		text += n;
		text += *text == ',';
	}
	return true;
}

static int bad_number(const struct param *p, const char *value, char *text,
		      size_t n)
{
	snprintf(text, n, "%s=%.64s is not %s%sa %s from %zu to %zu%s", p->name,
		 value, p->words ?: "", p->words ? " or " : "",
		 p->kind == PARAM_SIZE ? "size" : "number", p->min, p->max,
		 p->kind == PARAM_SIZE ? " (K, M, G)" : "");
	return -EINVAL;
}

static int bad_word(const struct param *p, const char *value, char *text,
		    size_t n)
{
	snprintf(text, n, "%s=%.64s is not %s %s", p->name, value,
		 p->kind == PARAM_WORDS ? "a comma list of" : "one of",
		 p->words);
	return -EINVAL;
}

/* The fields' types differ: each parameter is stored as its field's type. */
static void store(struct devmem_options *o, const struct param *p, size_t v)
{
	void *field = (char *)o + p->offset;

	if (p->offset == AT(nic_manual) || p->offset == AT(unpack))
		*(bool *)field = v;
	else if (p->offset == AT(rx))
		*(enum devmem_rx_kind *)field = (enum devmem_rx_kind)v;
	else if (p->offset == AT(region))
		*(enum devmem_region_kind *)field = (enum devmem_region_kind)v;
	else if (p->offset == AT(gather))
		*(enum devmem_gather_kind *)field = (enum devmem_gather_kind)v;
	else if (p->offset == AT(stats))
		*(enum devmem_stats_kind *)field = (enum devmem_stats_kind)v;
	else if (p->offset == AT(zerocopy))
		*(enum devmem_zerocopy *)field = (enum devmem_zerocopy)v;
	else if (p->kind == PARAM_SIZE)
		*(size_t *)field = v;
	else
		*(unsigned int *)field = (unsigned int)v;
}

static int read_one(struct devmem_options *o, const struct param *p,
		    const char *value, char *text, size_t n)
{
	unsigned int mask;
	size_t number;
	int word;

	switch (p->kind) {
	case PARAM_SIZE:
	case PARAM_COUNT:
		if (p->words && !strcasecmp(value, p->words)) {
			store(o, p, DEVMEM_THREADS_AUTO);
			break;
		}
		if (!parse_number(value, p->kind == PARAM_SIZE, &number) ||
		    number < p->min || number > p->max)
			return bad_number(p, value, text, n);
		store(o, p, number);
		break;
	case PARAM_CHOICE:
		word = word_index(p->words, value, strlen(value));
		if (word < 0)
			return bad_word(p, value, text, n);
		store(o, p, (size_t)word);
		break;
	case PARAM_WORDS:
		if (!parse_words(p, value, &mask))
			return bad_word(p, value, text, n);
		store(o, p, mask);
		break;
	case PARAM_TEXT:
		*(const char **)((char *)o + p->offset) = value;
		break;
	}
	return 0;
}

static bool word_or_path(const char *guard)
{
	return !guard || *guard == '/' || !strcmp(guard, "auto") ||
	       !strcmp(guard, "off");
}

int params_read(struct devmem_options *o, char *text, size_t n)
{
	devmem_options_init(o);
	for (size_t i = 0; i < params_count; i++) {
		const struct param *p = &params[i];
		const char *value = getenv(p->name);
		int rc;

		if ((!value || !*value) && p->fallback)
			value = getenv(p->fallback);
		if (!value || !*value)
			continue;
		rc = read_one(o, p, value, text, n);
		if (rc)
			return rc;
	}
	if (!word_or_path(o->guard)) {
		snprintf(text, n,
			 "NCCL_DEVMEM_GUARD=%.64s is not auto, off or an "
			 "absolute path",
			 o->guard);
		return -EINVAL;
	}
	if (o->pool_bytes % 4096) {
		snprintf(text, n,
			 "NCCL_DEVMEM_POOL_BYTES=%zu is not a "
			 "multiple of the page size, 4096",
			 o->pool_bytes);
		return -EINVAL;
	}
	return 0;
}
