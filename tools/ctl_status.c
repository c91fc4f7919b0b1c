// SPDX-License-Identifier: BSD-3-Clause
/*
 * ctl_status.c - `devmemctl status`: what is bound, steered and moved right now, by
 * whom. Once, or again and again.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "status.h"

#define SECONDS_DEFAULT 2
#define SECONDS_MAX	3600

struct options {
	enum { FORM_TEXT, FORM_JSON, FORM_PROMETHEUS } form;
	unsigned int seconds; /* 0: once */
	unsigned long count;  /* views, 0: without end */
	const char *ifname;
	bool bare_watch; /* the last argument was --watch, without its number */
};

static unsigned long number(struct argp_state *state, const char *what,
			    const char *arg, unsigned long max)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(arg, &end, 10);
	if (errno || end == arg || *end || *arg == '-' || !v || v > max)
		argp_error(state, "%s: not a number from 1 to %lu: %s", what,
			   max, arg);
	return v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	bool bare = o->bare_watch;

	o->bare_watch = key == 'w' && !arg;
	switch (key) {
	case 'j':
	case 'p':
		if (o->form != FORM_TEXT)
			argp_error(state, "one form of output only");
		o->form = key == 'j' ? FORM_JSON : FORM_PROMETHEUS;
		return 0;
	case 'w':
		o->seconds = SECONDS_DEFAULT;
		if (arg)
			o->seconds = (unsigned int)number(state, "--watch", arg,
							  SECONDS_MAX);
		return 0;
	case 'n':
		o->count = number(state, "--count", arg, 1000000000);
		return 0;
	case ARGP_KEY_ARG:
		if (bare && strspn(arg, "0123456789") == strlen(arg)) {
			o->seconds = (unsigned int)number(state, "--watch", arg,
							  SECONDS_MAX);
			return 0;
		}
		if (o->ifname)
			argp_error(state, "one interface at most");
		o->ifname = arg;
		return 0;
	case ARGP_KEY_END:
		if (o->seconds && o->form == FORM_PROMETHEUS)
			argp_error(state, "--prometheus is for one view");
		if (o->count && !o->seconds)
			argp_error(state, "--count needs --watch");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "JSON; with --watch one object a line", 0 },
	{ "prometheus", 'p', NULL, 0,
	  "Prometheus's text format, for node_exporter's textfile collector",
	  0 },
	{ "watch", 'w', "SECONDS", OPTION_ARG_OPTIONAL,
	  "again every 2 SECONDS, with rates, until q or ^C", 0 },
	{ "count", 'n', "N", 0, "with --watch: end after N views", 0 },
	{ 0 },
};

/* ---- watching ---------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void on_signal(int nr)
{
	(void)nr;
	stopped = 1;
}

static struct termios saved;
static bool raw;

/* Keys come at once, and are not shown. */
static void keys_on(void)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct termios t;

	/* Not restarted: waiting ends. */
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	/* A job in the background would be stopped by what follows. */
	if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
	    tcgetattr(STDIN_FILENO, &saved))
		return;
	t = saved;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw = !tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static void keys_off(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raw = false;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until the next view is due. false: the user wants no more. */
static bool wait_turn(unsigned int seconds)
{
	int64_t until = now_ms() + seconds * INT64_C(1000), left;
	struct pollfd key = { .fd = raw ? STDIN_FILENO : -1, .events = POLLIN };
	char c;

	while (!stopped && (left = until - now_ms()) > 0) {
		if (poll(&key, 1, (int)left) <= 0)
			continue;
		if (read(STDIN_FILENO, &c, 1) != 1)
			key.fd = -1; /* nobody is there any more */
		else if (c == 'q' || c == 'Q')
			return false;
	}
	return !stopped;
}

/* ---- views ------------------------------------------------------------------- */

static bool on_screen(const struct options *o)
{
	const char *term = getenv("TERM");

	return o->seconds && o->form == FORM_TEXT && isatty(STDOUT_FILENO) &&
	       term && *term && strcmp(term, "dumb");
}

static void put_heading(const struct options *o, const struct status *s)
{
	time_t t = (time_t)(s->wall_ns / 1000000000u);
	struct tm tm;
	char text[32];

	if (!o->seconds || o->form != FORM_TEXT)
		return;
	strftime(text, sizeof(text), "%F %T", localtime_r(&t, &tm));
	/* Where it can be: from the top left, what was there is cleared. */
	printf("%s%s, every %u s%s\n", on_screen(o) ? "\033[H\033[J" : "", text,
	       o->seconds, raw ? ", q ends" : "");
}

static int view(const struct options *o, const struct status *s,
		const struct status *was)
{
	put_heading(o, s);
	switch (o->form) {
	case FORM_TEXT:
		status_text(stdout, s, was);
		break;
	case FORM_JSON:
		status_json(stdout, s, was, o->seconds);
		break;
	case FORM_PROMETHEUS:
		status_prometheus(stdout, s);
		break;
	}
	return fflush(stdout) || ferror(stdout) ? -EIO : 0;
}

static int show(const struct options *o)
{
	struct status s[2];
	bool any = false;
	unsigned long n = 0;
	int rc;

	do {
		struct status *now = &s[n % 2], *was = &s[(n + 1) % 2];

		rc = status_collect(now, o->ifname);
		if (rc)
			break;
		rc = view(o, now, any ? was : NULL);
		if (any)
			status_free(was);
		any = true;
		n++;
	} while (!rc && o->seconds && n != o->count && wait_turn(o->seconds));
	if (any)
		status_free(&s[(n + 1) % 2]);
	return rc;
}

int ctl_status(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[INTERFACE]",
		.doc = "What is bound, steered and moved right now, and by "
		       "whom: what the kernel says of this network "
		       "namespace's interfaces, and what running processes "
		       "say of themselves, of all users for root, else of "
		       "one's own.\v"
		       "Exit status: 0; 1: failed; 2: usage. "
		       "devmemctl-status(8) explains the output.",
	};
	struct options o = { .form = FORM_TEXT };
	int rc;

	/* In the order given, so that what follows --watch is known. */
	ctl_parse(&argp, argc, argv, ARGP_IN_ORDER, &o);
	if (o.seconds)
		keys_on();
	rc = show(&o);
	keys_off();
	if (!rc)
		return CTL_OK;
	if (rc == -ENODEV)
		fprintf(stderr, "devmemctl: there is no interface %s\n",
			o.ifname);
	else
		fprintf(stderr, "devmemctl: status: %s\n", strerror(-rc));
	return CTL_FAILED;
}
