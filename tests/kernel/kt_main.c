// SPDX-License-Identifier: BSD-3-Clause
/* kt_main.c - options, words, time and chance of the kernel's test programs. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "kt.h"

struct kt_options kt = {
	.tx_host = "h0", .tx_nic = "dm0a",
	.rx_host = "h1", .rx_nic = "dm0b",
	.family = AF_INET,
	.queue = 7,
	.bytes = 4 << 20,
	.region = 8 << 20,
	.seconds = 5,
	.seed = 1,
};
static char **args;

static void words(const char *before, const char *fmt, va_list ap)
{
	fflush(stdout);
	fputs(before, stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	words("FAILED: ", fmt, ap);
	va_end(ap);
	exit(1);
}

void skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	words("SKIP: ", fmt, ap);
	va_end(ap);
	exit(KT_SKIPPED);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	words("", fmt, ap);
	va_end(ap);
}

double kt_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void kt_sleep(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

void kt_shell(const char *command)
{
	int status = system(command);

	expect(status == 0, "\"%s\" ended with status %d", command,
	       WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

/* xorshift64*, the same on each machine. */
static _Thread_local uint64_t state;

void kt_random_for(unsigned int thread)
{
	state = (kt.seed + thread) * 0x9e3779b97f4a7c15u | 1;
}

uint32_t kt_random(void)
{
	if (!state)
		kt_random_for(0);
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)(state * 0x2545f4914f6cdd1du >> 32);
}

static size_t number(const char *name, const char *s)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 0);
	if (*end == 'K' || *end == 'M' || *end == 'G')
		n <<= *end == 'K' ? 10 : *end == 'M' ? 20 : 30, end++;
	if (errno || end == s || *end || *s == '-')
		die("--%s wants a number, not \"%s\"", name, s);
	return n;
}

/* What an option sets; the last two take no value. */
enum kind { TEXT, SIZE, NUMBER, SEED, SECONDS, FLAG, V6 };

static const struct option_of {
	const char *name;
	enum kind kind;
	void *at;
} table[] = {
	{ "tx-host", TEXT, &kt.tx_host },
	{ "tx-nic", TEXT, &kt.tx_nic },
	{ "rx-host", TEXT, &kt.rx_host },
	{ "rx-nic", TEXT, &kt.rx_nic },
	{ "bind-host", TEXT, &kt.bind_host },
	{ "connect-to", TEXT, &kt.connect_to },
	{ "run", TEXT, &kt.run },
	{ "queue", NUMBER, &kt.queue },
	{ "bytes", SIZE, &kt.bytes },
	{ "region", SIZE, &kt.region },
	{ "seconds", SECONDS, &kt.seconds },
	{ "seed", SEED, &kt.seed },
	{ "v6", V6, &kt.family },
	{ "fragment", FLAG, &kt.fragment },
	{ "ip-options", FLAG, &kt.ip_options },
	{ "unaligned", FLAG, &kt.unaligned },
	{ "more", FLAG, &kt.more },
	{ "lossy", FLAG, &kt.lossy },
};
#define N_OPTIONS (sizeof(table) / sizeof(table[0]))

static bool has_value(const struct option_of *o) { return o->kind < FLAG; }

static void usage(const struct kt_case *c)
{
	fputs("usage: [OPTION...] CASE...\n", stderr);
	for (size_t i = 0; i < N_OPTIONS; i++)
		fprintf(stderr, "  --%s%s\n", table[i].name,
			has_value(&table[i]) ? " VALUE" : "");
	for (; c->name; c++)
		fprintf(stderr, "  %-18s %s\n", c->name, c->what);
	exit(2);
}

static void option_set(const struct option_of *o, const char *value)
{
	size_t n = has_value(o) && o->kind != TEXT ? number(o->name, value) : 0;

	switch (o->kind) {
	case TEXT:
		*(const char **)o->at = value;
		break;
	case SIZE:
		*(size_t *)o->at = n;
		break;
	case NUMBER:
		*(unsigned int *)o->at = (unsigned int)n;
		break;
	case SEED:
		*(uint64_t *)o->at = n;
		break;
	case SECONDS:
		*(double *)o->at = (double)n;
		break;
	case FLAG:
		*(bool *)o->at = true;
		break;
	case V6:
		*(int *)o->at = AF_INET6;
		break;
	}
}

static void options_read(int argc, char **argv, const struct kt_case *cases)
{
	struct option options[N_OPTIONS + 1] = { 0 };
	int index;

	for (size_t i = 0; i < N_OPTIONS; i++)
		options[i] = (struct option){ .name = table[i].name,
					      .has_arg = has_value(&table[i]) };
	for (;;) {
		switch (getopt_long(argc, argv, "+", options, &index)) {
		case 0: option_set(&table[index], optarg); continue;
		case -1: return;
		default: usage(cases);
		}
	}
}

const char *kt_arg(void) { return *args ? *args++ : NULL; }

void kt_main(int argc, char **argv, const struct kt_case *cases)
{
	const struct kt_case *c;
	const char *name;

	setvbuf(stdout, NULL, _IOLBF, 0);
	options_read(argc, argv, cases);
	if (optind >= argc)
		usage(cases);
	if (!kt.bind_host)
		kt.bind_host = kt.rx_host;
	if (!kt.connect_to)
		kt.connect_to = kt.rx_host;
	args = argv + optind;
	while ((name = kt_arg())) {
		for (c = cases; c->name && strcmp(c->name, name); c++)
			;
		if (!c->name)
			usage(cases);
		c->run();
	}
	exit(0);
}
