// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_options.c - the command line of devmem-nccl: parsed, checked, and
 * refused with exit status 2 before anything is started.
 */
#include <argp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nccl_allreduce.h"
#include "parse.h"
#include "text.h"

#define MAX_BYTES ((size_t)1 << 36)

enum {
	OPT_NET = 256,
	OPT_RANKS,
	OPT_VARIANT,
	OPT_ENV,
	OPT_ROUNDS,
	OPT_SECONDS,
	OPT_PROTO,
	OPT_ALGO,
	OPT_GRAPH,
	OPT_RECREATE,
	OPT_ABORT,
	OPT_ABORT_AFTER,
	OPT_ABORT_WITHIN,
	OPT_PROBE,
	OPT_PLUGIN,
	OPT_NCCL,
	OPT_TIMEOUT,
	OPT_LOGS,
	OPT_REQUIRE_RX,
	OPT_REQUIRE_GATHER,
	OPT_ANY_PATH,
	OPT_WRAP,
	OPT_AS_RANK,
};

static const struct argp_option table[] = {
	{ 0, 0, 0, 0, "What to run:", 1 },
	{ "minbytes", 'b', "SIZE", 0, "smallest size (K, M, G), default 8", 0 },
	{ "maxbytes", 'e', "SIZE", 0, "largest size, default 64M", 0 },
	{ "stepfactor", 'f', "N", 0, "factor between sizes, default 2", 0 },
	{ "iters", 'n', "N", 0, "timed iterations per size, default 20", 0 },
	{ "warmup", 'w', "N", 0, "untimed ones before them, default 2", 0 },
	{ "out-of-place", 'O', 0, 0, "leave out what is done in place", 0 },
	{ "check", 'c', "N", 0,
	  "verified iterations with fresh data each, every element and the "
	  "memory around them compared; default 1, 0: none",
	  0 },
	{ "datatype", 'd', "TYPE,...", 0,
	  "float (default), half, bfloat16, int32, int8; the operation is sum",
	  0 },
	{ "ranks", OPT_RANKS, "N", 0,
	  "processes, default 2; rank i takes GPU i, and they share if there "
	  "are fewer",
	  0 },
	{ "proto", OPT_PROTO, "NAME", 0, "NCCL_PROTO: LL, LL128, Simple", 0 },
	{ "algo", OPT_ALGO, "NAME", 0, "NCCL_ALGO: Ring, Tree, ...", 0 },
	{ 0, 0, 0, 0, "Over what:", 2 },
	{ "net", OPT_NET, "NAME,...", 0,
	  "NCCL's network: devmem (default), socket, or another; of several "
	  "each is measured in turn",
	  0 },
	{ "plugin", OPT_PLUGIN, "FILE", 0,
	  "NCCL_NET_PLUGIN for networks that are not NCCL's own; default the "
	  "one that was built beside this program, or \"devmem\"",
	  0 },
	{ "variant", OPT_VARIANT, "NAME:VAR=VALUE,...", 0,
	  "an environment to measure in turn with the others; net=NAME among "
	  "the values takes that network, else it is the first of --net",
	  0 },
	{ "env", OPT_ENV, "VAR=VALUE", 0, "environment of all ranks", 0 },
	{ "rounds", OPT_ROUNDS, "N", 0,
	  "times that all are measured, default 5 of several, else 1", 0 },
	{ "seconds", OPT_SECONDS, "S", 0,
	  "begin no further round after so many", 0 },
	{ "nccl", OPT_NCCL, "FILE", 0, "default libnccl.so.2", 0 },
	{ "wrap", OPT_WRAP, "COMMAND", 0,
	  "start each rank by this command, such as compute-sanitizer; words "
	  "are separated by spaces",
	  0 },
	{ 0, 0, 0, 0, "Instead of the plain table:", 3 },
	{ "graph", OPT_GRAPH, "N", 0,
	  "capture each operation in a CUDA graph, and replay that N times, "
	  "with fresh data each",
	  0 },
	{ "recreate", OPT_RECREATE, "N", 0,
	  "N communicators one after the other in the same processes, each "
	  "used and verified",
	  0 },
	{ "abort", OPT_ABORT, 0, 0,
	  "the last rank does not join an operation, the others call "
	  "ncclCommAbort; afterwards a new communicator must work",
	  0 },
	{ "abort-after-ms", OPT_ABORT_AFTER, "MS", 0,
	  "how long they wait before, default 1000", 0 },
	{ "abort-within-ms", OPT_ABORT_WITHIN, "MS", 0,
	  "how long ncclCommAbort and the operation may take, default 20000",
	  0 },
	{ "probe", OPT_PROBE, 0, 0,
	  "only say what GPU, driver and NCCL there are, and whether GPU "
	  "memory can be had as dma-bufs",
	  0 },
	{ 0, 0, 0, 0, "Output and verdict:", 4 },
	{ "timeout", OPT_TIMEOUT, "S", 0,
	  "end a run that takes longer, default 120", 0 },
	{ "logs", OPT_LOGS, "DIR", 0, "keep NCCL's logs there", 0 },
	{ "require-rx", OPT_REQUIRE_RX, "PATH", 0,
	  "fail unless the receive path of every rank is PATH, as the plugin's "
	  "path lines have it",
	  0 },
	{ "require-gather", OPT_REQUIRE_GATHER, "NAME", 0,
	  "the same for who gathers payload: cuda, unpack, cpu", 0 },
	{ "any-path", OPT_ANY_PATH, 0, 0,
	  "do not fail where NCCL went by shared memory or from GPU to GPU, "
	  "too",
	  0 },
	{ "as-rank", OPT_AS_RANK, "RANK,SETTING,SOCKET", OPTION_HIDDEN, 0, 0 },
	{ 0 }
};

static struct setting *setting_new(struct argp_state *s, struct job *j,
				   const char *name)
{
	size_t len = strlen(name);

	if (j->nsettings == JOB_SETTINGS) {
		argp_error(s, "more than %d networks and variants",
			   JOB_SETTINGS);
		return NULL;
	}
	if (!len || len > 32 || strspn(name, " /,") || strchr(name, '/'))
		argp_error(s, "\"%s\": want a name of 1 to 32 characters",
			   name);
	j->settings[j->nsettings].name = name;
	return &j->settings[j->nsettings++];
}

static void net_arg(struct argp_state *s, struct job *j, char *text)
{
	char *save = NULL, *name;
	struct setting *v;

	for (name = strtok_r(text, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		v = setting_new(s, j, name);
		if (v)
			v->net = name;
		if (!j->net)
			j->net = name;
	}
}

/* NAME[:VAR=VALUE[,VAR=VALUE...]]; a value may hold commas. */
static void variant_arg(struct argp_state *s, struct job *j, char *text)
{
	char *rest = strchr(text, ':'), *p;
	struct setting *v;

	if (rest)
		*rest++ = '\0';
	v = setting_new(s, j, text);
	while (v && (p = next_setting(&rest))) {
		if (!is_setting(p))
			argp_error(s, "--variant %s: \"%s\" is not VAR=VALUE",
				   v->name, p);
		else if (!strncmp(p, "net=", 4))
			v->net = p + 4;
		else if (v->nenv == MAX_ENV)
			argp_error(s, "--variant %s: more than %d variables",
				   v->name, MAX_ENV);
		else
			v->env[v->nenv++] = p;
	}
}

static void env_arg(struct argp_state *s, struct job *j, char *text)
{
	if (!is_setting(text))
		argp_error(s, "--env %s: not VAR=VALUE", text);
	else if (j->nenv == MAX_ENV)
		argp_error(s, "--env: more than %d variables", MAX_ENV);
	else
		j->env[j->nenv++] = text;
}

static void types_arg(struct argp_state *s, struct job *j, const char *text)
{
	const struct dtype *t;
	size_t n;

	j->ntypes = 0;
	for (; *text; text += n + (text[n] == ',')) {
		n = strcspn(text, ",");
		t = dtype_find(text, n);
		if (!t || j->ntypes == JOB_COLLS) {
			argp_error(s, "--datatype: want some of %s",
				   dtype_names());
			return;
		}
		j->types[j->ntypes++] = t;
	}
}

static void coll_arg(struct argp_state *s, struct job *j, const char *text)
{
	int c;

	if (!strcmp(text, "all")) {
		for (c = 0, j->ncolls = 0; c < COLLS; c++)
			j->colls[j->ncolls++] = c;
		return;
	}
	for (c = 0; c < COLLS; c++)
		if (!strcmp(text, coll_name(c)))
			break;
	if (c == COLLS || j->ncolls == JOB_COLLS)
		argp_error(s,
			   "\"%s\": want allreduce, allgather, "
			   "reducescatter, broadcast, sendrecv, alltoall or "
			   "all",
			   text);
	else
		j->colls[j->ncolls++] = c;
}

/* How the launcher starts a rank: which one, of which setting, where it is. */
static void as_rank_arg(struct argp_state *s, struct job *j, char *text)
{
	char *setting = strchr(text, ','), *path;

	path = setting ? strchr(setting + 1, ',') : NULL;
	if (!path) {
		argp_error(s, "--as-rank is for this program itself");
		return;
	}
	*setting++ = *path++ = '\0';
	j->as_rank = parse_number(s, "as-rank", text, 0, JOB_RANKS - 1);
	j->as_setting =
		parse_number(s, "as-rank", setting, 0, JOB_SETTINGS - 1);
	j->as_socket = path;
}

static void mode_arg(struct argp_state *s, struct job *j, enum job_mode mode)
{
	if (j->mode != JOB_TABLE && j->mode != mode)
		argp_error(s, "--graph, --recreate, --abort and --probe "
			      "exclude each other");
	j->mode = mode;
}

static error_t parse_mode_opt(int key, char *arg, struct argp_state *s)
{
	struct job *j = s->input;

	switch (key) {
	case OPT_GRAPH:
		mode_arg(s, j, JOB_GRAPH);
		j->replays = parse_number(s, "graph", arg, 1, 1000000);
		return 0;
	case OPT_RECREATE:
		mode_arg(s, j, JOB_RECREATE);
		j->communicators = parse_number(s, "recreate", arg, 1, 1000);
		return 0;
	case OPT_ABORT:
		mode_arg(s, j, JOB_ABORT);
		return 0;
	case OPT_ABORT_AFTER:
		j->abort_after_ms =
			parse_number(s, "abort-after-ms", arg, 1, 3600000);
		return 0;
	case OPT_ABORT_WITHIN:
		j->abort_within_ms =
			parse_number(s, "abort-within-ms", arg, 1, 3600000);
		return 0;
	case OPT_PROBE:
		mode_arg(s, j, JOB_PROBE);
		return 0;
	case OPT_TIMEOUT:
		j->timeout_s = parse_number(s, "timeout", arg, 1, 86400);
		return 0;
	case OPT_LOGS:
		j->logs = arg;
		return 0;
	case OPT_REQUIRE_RX:
		j->require_rx = arg;
		return 0;
	case OPT_REQUIRE_GATHER:
		j->require_gather = arg;
		return 0;
	case OPT_ANY_PATH:
		j->any_path = true;
		return 0;
	case OPT_WRAP:
		j->wrap = arg;
		return 0;
	case OPT_AS_RANK:
		as_rank_arg(s, j, arg);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static error_t parse_place_opt(int key, char *arg, struct argp_state *s)
{
	struct job *j = s->input;

	switch (key) {
	case OPT_RANKS:
		j->ranks = parse_number(s, "ranks", arg, 2, JOB_RANKS);
		return 0;
	case OPT_NET:
		net_arg(s, j, arg);
		return 0;
	case OPT_VARIANT:
		variant_arg(s, j, arg);
		return 0;
	case OPT_ENV:
		env_arg(s, j, arg);
		return 0;
	case OPT_ROUNDS:
		j->rounds = parse_number(s, "rounds", arg, 1, MAX_ROUNDS);
		return 0;
	case OPT_SECONDS:
		j->seconds = parse_number(s, "seconds", arg, 1, 86400);
		return 0;
	case OPT_PROTO:
		j->proto = arg;
		return 0;
	case OPT_ALGO:
		j->algo = arg;
		return 0;
	case OPT_PLUGIN:
		j->plugin = arg;
		return 0;
	case OPT_NCCL:
		j->nccl = arg;
		return 0;
	}
	return parse_mode_opt(key, arg, s);
}

static error_t parse_opt(int key, char *arg, struct argp_state *s)
{
	struct job *j = s->input;

	switch (key) {
	case 'b':
		j->min_bytes = parse_size(s, "minbytes", arg, 1, MAX_BYTES);
		return 0;
	case 'e':
		j->max_bytes = parse_size(s, "maxbytes", arg, 1, MAX_BYTES);
		return 0;
	case 'f':
		j->factor = parse_number(s, "stepfactor", arg, 2, 1 << 20);
		return 0;
	case 'n':
		j->iters = parse_number(s, "iters", arg, 0, 1000000);
		return 0;
	case 'w':
		j->warmup = parse_number(s, "warmup", arg, 0, 1000000);
		return 0;
	case 'c':
		j->check = parse_number(s, "check", arg, 0, 1000000);
		return 0;
	case 'O':
		j->out_of_place = true;
		return 0;
	case 'd':
		types_arg(s, j, arg);
		return 0;
	case ARGP_KEY_ARG:
		coll_arg(s, j, arg);
		return 0;
	}
	return parse_place_opt(key, arg, s);
}

static _Noreturn void usage(const char *text)
{
	complain("%s; see --help", text);
	exit(EXIT_USAGE);
}

/* The plugin of the build tree that this program is in, if it is in one. */
static const char *plugin_beside(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	static const char tail[] = "/plugin/libnccl-net-devmem.so";
	char *slash;
	int up;

	path[n > 0 ? n : 0] = '\0';
	for (up = 0; up < 2; up++) {
		slash = strrchr(path, '/');
		if (!slash)
			return "devmem";
		*slash = '\0';
	}
	if (strlen(path) + sizeof(tail) > sizeof(path))
		return "devmem";
	strcat(path, tail);
	return access(path, R_OK) ? "devmem" : path;
}

static void fill_in(struct job *j)
{
	int i;

	if (!j->ncolls)
		j->colls[j->ncolls++] = COLL_ALLREDUCE;
	if (!j->ntypes)
		j->types[j->ntypes++] = dtype_find("float", 5);
	if (!j->net)
		j->net = "devmem";
	if (!j->nsettings)
		j->settings[j->nsettings++].name = j->net;
	for (i = 0; i < j->nsettings; i++)
		if (!j->settings[i].net)
			j->settings[i].net = j->net;
	if (!j->rounds)
		j->rounds = j->nsettings > 1 ? 5 : 1;
	if (!j->plugin)
		j->plugin = plugin_beside();
	if (!j->max_bytes)
		j->max_bytes = 64 << 20;
	if (!j->min_bytes)
		j->min_bytes = j->max_bytes < 8 ? j->max_bytes : 8;
}

static void check(const struct job *j)
{
	int i, k;

	if (j->min_bytes > j->max_bytes)
		usage("--minbytes is above --maxbytes");
	if (j->as_setting >= j->nsettings || j->as_rank >= j->ranks)
		usage("--as-rank is for this program itself");
	if (!j->check && (j->mode != JOB_TABLE || !j->iters))
		usage("--check 0 leaves nothing to do");
	if (j->mode != JOB_TABLE && j->rounds > 1 && j->nsettings == 1)
		usage("--rounds is for the plain table");
	for (i = 0; i < j->nsettings; i++)
		for (k = 0; k < i; k++)
			if (!strcmp(j->settings[i].name, j->settings[k].name))
				usage("two of --net and --variant have the same "
				      "name");
}

/* Parsing cuts the arguments up, and ranks are started with the whole ones. */
static void keep_arguments(int argc, char **argv, struct job *j)
{
	int i = 0;

	j->argv = calloc(argc + 1, sizeof(*j->argv));
	for (i = 0; j->argv && i < argc; i++) {
		j->argv[i] = strdup(argv[i]);
		if (!j->argv[i])
			break;
	}
	j->argc = i;
	if (!j->argv || i < argc) {
		complain("no memory for the command line");
		exit(EXIT_FAIL);
	}
}

/* Does not return where they make no sense. */
void job_parse(int argc, char **argv, struct job *j)
{
	static const struct argp argp = {
		.options = table,
		.parser = parse_opt,
		.args_doc = "[COLLECTIVE...]",
		.doc = "Runs NCCL's collectives on GPU memory over a network of "
		       "NCCL or a plugin, compares every element, and proves by "
		       "NCCL's log which network it was. Collectives: allreduce "
		       "(default), allgather, reducescatter, broadcast, sendrecv, "
		       "alltoall, all.\v"
		       "Exit status: 0 all data right and every call succeeded; "
		       "1 not so; 2 wrong usage; 77 this machine has no GPU or no "
		       "NCCL, or they cannot do what was asked.",
	};

	memset(j, 0, sizeof(*j));
	j->ranks = 2;
	j->factor = 2;
	j->iters = 20;
	j->warmup = 2;
	j->check = 1;
	j->abort_after_ms = 1000;
	j->abort_within_ms = 20000;
	j->timeout_s = 120;
	j->seconds = 86400;
	j->nccl = "libnccl.so.2";
	j->as_rank = -1;
	text_command(j->command, sizeof(j->command), argc, argv);
	keep_arguments(argc, argv, j);
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, j);
	fill_in(j);
	check(j);
}
