/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.c - the command line: parsed, checked, and refused with exit status
 * 2 before anything is started.
 */
#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "net_table.h"
#include "parse.h"
#include "text.h"

#define MAX_BYTES ((size_t)1 << 40)

enum {
	OPT_RANKS = 256,
	OPT_RANK,
	OPT_BOOTSTRAP,
	OPT_NETNS,
	OPT_TABLE,
	OPT_DEVICE,
	OPT_MEMORY,
	OPT_GPU,
	OPT_CHANNELS,
	OPT_SLICE,
	OPT_ALGO,
	OPT_SECONDS,
	OPT_SEED,
	OPT_CONNECTIONS,
	OPT_INFLIGHT,
	OPT_TIMEOUT,
	OPT_VARIANT,
	OPT_ROUNDS,
	OPT_LIMIT,
	OPT_JSON,
	OPT_PLOT,
	OPT_REPORT,
	OPT_REQUIRE_RX,
	OPT_REQUIRE_TX,
	OPT_DEBUG,
	OPT_KILL_RANK,
	OPT_BREAK_CMD,
	OPT_KILL_AFTER,
	OPT_EXPECT_ERROR,
	OPT_PAUSE_AT,
	OPT_PAUSE_CMD,
};

static const struct argp_option table[] = {
	{ 0, 0, 0, 0, "What to measure:", 1 },
	{ "plugin", 'p', "FILE", 0,
	  "NCCL net plugin with a table of version "
	  "8 to 12; a name without a slash is looked up as the loader does "
	  "(default libnccl-net-devmem.so)",
	  0 },
	{ "table", OPT_TABLE, "vN", 0,
	  "the plugin's table of version N, default the newest of v12 to v8",
	  0 },
	{ "device", OPT_DEVICE, "NAME|N[+...][,...]", 0,
	  "device of the plugin, default 0; of several (0,1) channels take "
	  "turns; 0+1 is one made of both, as NCCL does with the ports of a "
	  "card; 0+1/0 is rank 0's and that of the others",
	  0 },
	{ "memory", OPT_MEMORY, "auto|udmabuf|host|cuda", 0,
	  "buffers given to the "
	  "plugin; cuda: of a GPU, whose part the CPU plays; auto: udmabuf "
	  "where the device takes dma-bufs of host memory and the kernel has "
	  "/dev/udmabuf",
	  0 },
	{ "gpu", OPT_GPU, "N", 0,
	  "which GPU that is, as CUDA counts them; default: ranks take turns",
	  0 },
	{ "minbytes", 'b', "SIZE", 0, "smallest size (K, M, G)", 0 },
	{ "maxbytes", 'e', "SIZE", 0, "largest size", 0 },
	{ "stepfactor", 'f', "N", 0, "factor between sizes, default 2", 0 },
	{ "iters", 'n', "N", 0,
	  "timed iterations or messages per "
	  "size; default 20 (all-reduce), 1000 (latency), as many as take "
	  "half a second (bandwidth)",
	  0 },
	{ "warmup", 'w', "N", 0, "untimed iterations before them", 0 },
	{ "check", 'c', "N", 0,
	  "verified iterations after them, with fresh "
	  "data each, every element compared; default 1, 0: none",
	  0 },
	{ "channels", OPT_CHANNELS, "N", 0,
	  "channels of a collective, default "
	  "1",
	  0 },
	{ "algo", OPT_ALGO, "ring|tree", 0, "of an all-reduce, default ring",
	  0 },
	{ "slice", OPT_SLICE, "SIZE", 0,
	  "largest message of a collective, "
	  "default 512K; a connection's buffer is 8 of them",
	  0 },
	{ "connections", OPT_CONNECTIONS, "N", 0,
	  "connections at once (bandwidth), default 1", 0 },
	{ "inflight", OPT_INFLIGHT, "N", 0,
	  "messages in flight on each (bandwidth), default 8", 0 },
	{ "seconds", OPT_SECONDS, "S", 0, "how long to soak, default 600", 0 },
	{ "seed", OPT_SEED, "N", 0,
	  "of the random collectives, sizes, slices, channels, turns and "
	  "pauses of a soak, default 1",
	  0 },
	{ 0, 0, 0, 0, "Where:", 2 },
	{ "ranks", OPT_RANKS, "N", 0, "processes, default 2", 0 },
	{ "netns", OPT_NETNS, "NAME,...", 0,
	  "start rank i in the i-th network "
	  "namespace of /run/netns",
	  0 },
	{ "rank", OPT_RANK, "R", 0,
	  "start only rank R here; the others are "
	  "started by hand with the same options",
	  0 },
	{ "bootstrap", OPT_BOOTSTRAP, "HOST:PORT", 0,
	  "with --rank: where rank "
	  "0 listens. Use a trusted network",
	  0 },
	{ 0, 0, 0, 0, "Comparisons:", 3 },
	{ "variant", OPT_VARIANT, "NAME:VAR=VALUE,...", 0,
	  "a setting to "
	  "measure in turn with the others; plugin=FILE among the values "
	  "takes another plugin, connections=N and inflight=N are those of "
	  "bandwidth; the variant tcp is a plain TCP socket",
	  0 },
	{ "rounds", OPT_ROUNDS, "N", 0,
	  "times that all variants are measured, "
	  "default 5; with --limit 25",
	  0 },
	{ "limit", OPT_LIMIT, "shared", OPTION_ARG_OPTIONAL,
	  "measure in turn with a bare send and recv loop over a TCP socket, "
	  "in the same processes and memory (bandwidth, latency); shared: "
	  "one socket for both ways of a latency",
	  0 },
	{ 0, 0, 0, 0, "Output and verdict:", 4 },
	{ "json", OPT_JSON, "FILE", 0, "write the same data as JSON", 0 },
	{ "plot", OPT_PLOT, "DIR", 0,
	  "draw time and bandwidth over size there, by gnuplot: NAME.svg, "
	  "NAME.png, and NAME.gp with NAME.dat to draw them again",
	  0 },
	{ "report", OPT_REPORT, "FILE.html", 0,
	  "write a page with pictures, figures, machine and command, and how "
	  "to read them",
	  0 },
	{ "require-rx", OPT_REQUIRE_RX, "PATH", 0,
	  "fail unless the receive "
	  "path of every rank is PATH, e.g. devmem",
	  0 },
	{ "require-tx", OPT_REQUIRE_TX, "PATH", 0, "the same for sending", 0 },
	{ "timeout", OPT_TIMEOUT, "S", 0,
	  "end a run that takes longer, "
	  "default 120",
	  0 },
	{ "debug", OPT_DEBUG, 0, 0,
	  "show the plugin's INFO lines, as "
	  "NCCL_DEBUG=INFO does",
	  0 },
	{ 0, 0, 0, 0,
	  "Faults (all-reduce, ranks of one machine), at the "
	  "largest size after the table:",
	  5 },
	{ "kill-rank", OPT_KILL_RANK, "R", 0,
	  "SIGKILL rank R in mid-run; the "
	  "others must report an error",
	  0 },
	{ "break-cmd", OPT_BREAK_CMD, "CMD", 0,
	  "run CMD in mid-run, which breaks something; all ranks must report "
	  "an error",
	  0 },
	{ "kill-after-ms", OPT_KILL_AFTER, "MS", 0,
	  "how long traffic flows "
	  "before, default 100",
	  0 },
	{ "expect-error-ms", OPT_EXPECT_ERROR, "MS", 0,
	  "how soon each of them must see it, default 2000", 0 },
	{ "pause-at-iter", OPT_PAUSE_AT, "I", 0,
	  "at verified iteration I run "
	  "the command of --pause-cmd; traffic goes on until it has ended and "
	  "two iterations longer",
	  0 },
	{ "pause-cmd", OPT_PAUSE_CMD, "COMMAND", 0, "for /bin/sh; must succeed",
	  0 },
	{ 0 }
};

static void variant_setting(struct argp_state *s, struct variant *v, char *text)
{
	if (!is_setting(text))
		argp_error(s, "--variant %s: \"%s\" is not VAR=VALUE", v->name,
			   text);
	if (!strncmp(text, "plugin=", 7))
		v->plugin = text + 7;
	else if (!strncmp(text, "connections=", 12))
		v->connections =
			parse_number(s, "variant", text + 12, 1, MAX_LINKS);
	else if (!strncmp(text, "inflight=", 9))
		v->inflight =
			parse_number(s, "variant", text + 9, 1, MAX_INFLIGHT);
	else if (v->nenv == MAX_ENV)
		argp_error(s, "--variant %s: more than %d variables", v->name,
			   MAX_ENV);
	else
		v->env[v->nenv++] = text;
}

/* NAME[:VAR=VALUE[,VAR=VALUE...]]; a value may hold commas. */
static void variant_arg(struct argp_state *s, struct options *o, char *text)
{
	struct variant *v;
	char *p, *setting;

	if (o->nvariants == MAX_VARIANTS) {
		argp_error(s, "more than %d variants", MAX_VARIANTS);
		return;
	}
	v = &o->variants[o->nvariants++];
	p = strchr(text, ':');
	v->name = text;
	v->tcp = !p && !strcmp(text, "tcp");
	if (p)
		*p++ = '\0';
	if (!*text || strlen(text) > 32)
		argp_error(s, "--variant: want a NAME of 1 to 32 characters");
	while ((setting = next_setting(&p)))
		variant_setting(s, v, setting);
}

static void netns_arg(struct argp_state *s, struct options *o, char *text)
{
	char *save = NULL, *name;

	o->nnetns = 0;
	for (name = strtok_r(text, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		if (o->nnetns == MAX_RANKS || strchr(name, '/') ||
		    name[0] == '.' || strlen(name) > 60)
			argp_error(s,
				   "--netns: \"%s\" is not a name under "
				   "/run/netns, or the list is too long",
				   name);
		o->netns[o->nnetns++] = name;
	}
}

static void memory_arg(struct argp_state *s, struct options *o,
		       const char *text)
{
	int i;

	for (i = MEM_AUTO; i <= MEM_CUDA; i++) {
		if (!strcmp(text, memory_name(i))) {
			o->memory = i;
			return;
		}
	}
	argp_error(s, "--memory %s: want auto, udmabuf, host or cuda", text);
}

static const char modes[] =
	"allreduce|allgather|reducescatter|broadcast|alltoall|soak|bandwidth|"
	"latency";

static void algo_arg(struct argp_state *s, struct options *o, const char *text)
{
	o->tree = !strcmp(text, "tree");
	if (!o->tree && strcmp(text, "ring"))
		argp_error(s, "--algo %s: want ring or tree", text);
}

static void mode_arg(struct argp_state *s, struct options *o, const char *text)
{
	int i;

	for (i = 0; i < MODES; i++) {
		if (!strcmp(text, mode_name(i))) {
			o->mode = i;
			return;
		}
	}
	argp_error(s, "\"%s\": want %s", text, modes);
}

static error_t parse_size_opt(int key, char *arg, struct argp_state *s)
{
	struct options *o = s->input;

	switch (key) {
	case 'b':
		o->min_bytes = parse_size(s, "minbytes", arg, 1, MAX_BYTES);
		return 0;
	case 'e':
		o->max_bytes = parse_size(s, "maxbytes", arg, 1, MAX_BYTES);
		return 0;
	case 'f':
		o->factor = parse_number(s, "stepfactor", arg, 2, 1 << 20);
		return 0;
	case 'n':
		o->iters = parse_number(s, "iters", arg, 1, 10000000);
		return 0;
	case 'w':
		o->warmup = parse_number(s, "warmup", arg, 0, 1000000);
		return 0;
	case 'c':
		o->check = parse_number(s, "check", arg, 0, 1000000);
		return 0;
	case OPT_CHANNELS:
		o->channels = parse_number(s, "channels", arg, 1, MAX_CHANNELS);
		return 0;
	case OPT_SLICE:
		o->slice = parse_size(s, "slice", arg, 1, MAX_BYTES);
		return 0;
	case OPT_ALGO:
		algo_arg(s, o, arg);
		return 0;
	case OPT_SECONDS:
		o->seconds = parse_number(s, "seconds", arg, 1, 86400);
		return 0;
	case OPT_SEED:
		o->seed = parse_number(s, "seed", arg, 0, 1000000000);
		return 0;
	case OPT_CONNECTIONS:
		o->connections =
			parse_number(s, "connections", arg, 1, MAX_LINKS);
		return 0;
	case OPT_INFLIGHT:
		o->inflight = parse_number(s, "inflight", arg, 1, MAX_INFLIGHT);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static error_t parse_place_opt(int key, char *arg, struct argp_state *s)
{
	struct options *o = s->input;

	switch (key) {
	case OPT_RANKS:
		o->ranks = parse_number(s, "ranks", arg, 2, MAX_RANKS);
		return 0;
	case OPT_RANK:
		o->rank = parse_number(s, "rank", arg, 0, MAX_RANKS - 1);
		return 0;
	case OPT_BOOTSTRAP:
		o->bootstrap = arg;
		return 0;
	case OPT_NETNS:
		netns_arg(s, o, arg);
		return 0;
	case OPT_KILL_RANK:
		o->kill_rank =
			parse_number(s, "kill-rank", arg, 0, MAX_RANKS - 1);
		return 0;
	case OPT_BREAK_CMD:
		o->break_cmd = arg;
		return 0;
	case OPT_KILL_AFTER:
		o->kill_after_ms =
			parse_number(s, "kill-after-ms", arg, 0, 3600000);
		return 0;
	case OPT_EXPECT_ERROR:
		o->expect_error_ms =
			parse_number(s, "expect-error-ms", arg, 1, 3600000);
		return 0;
	case OPT_PAUSE_AT:
		o->pause_at = parse_number(s, "pause-at-iter", arg, 0, 1000000);
		return 0;
	case OPT_PAUSE_CMD:
		o->pause_cmd = arg;
		return 0;
	}
	return parse_size_opt(key, arg, s);
}

static error_t parse_opt(int key, char *arg, struct argp_state *s)
{
	struct options *o = s->input;

	switch (key) {
	case 'p':
		o->plugin = arg;
		return 0;
	case OPT_TABLE:
		o->table = parse_number(s, "table", arg + (*arg == 'v'),
					NET_TABLE_OLDEST, NET_TABLE_NEWEST);
		return 0;
	case OPT_DEVICE:
		if (!*arg || *arg == ',')
			argp_error(s, "--device: want a name or a number");
		o->device = arg;
		return 0;
	case OPT_MEMORY:
		memory_arg(s, o, arg);
		return 0;
	case OPT_GPU:
		o->gpu = parse_number(s, "gpu", arg, 0, 1000);
		return 0;
	case OPT_VARIANT:
		variant_arg(s, o, arg);
		return 0;
	case OPT_ROUNDS:
		o->rounds = parse_number(s, "rounds", arg, 1, MAX_ROUNDS);
		return 0;
	case OPT_LIMIT:
		o->limit = true;
		o->limit_shared = arg;
		if (arg && strcmp(arg, "shared"))
			argp_error(s, "--limit=%s: want shared, or nothing",
				   arg);
		return 0;
	case OPT_JSON:
		o->json = arg;
		return 0;
	case OPT_PLOT:
		o->plot = arg;
		return 0;
	case OPT_REPORT:
		o->report = arg;
		return 0;
	case OPT_REQUIRE_RX:
		o->require_rx = arg;
		return 0;
	case OPT_REQUIRE_TX:
		o->require_tx = arg;
		return 0;
	case OPT_TIMEOUT:
		o->timeout_s = parse_number(s, "timeout", arg, 1, 86400);
		return 0;
	case OPT_DEBUG:
		o->debug = true;
		return 0;
	case ARGP_KEY_ARG:
		if (s->arg_num)
			argp_error(s, "\"%s\": one mode only", arg);
		mode_arg(s, o, arg);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(s, "want %s", modes);
		return 0;
	}
	return parse_place_opt(key, arg, s);
}

static void defaults(struct options *o)
{
	static const struct {
		size_t min, max;
		int iters, warmup;
	} by_mode[] = {
		[MODE_ALLREDUCE] = { 8, 64 << 20, 20, 2 },
		[MODE_ALLGATHER] = { 8, 64 << 20, 20, 2 },
		[MODE_REDUCESCATTER] = { 8, 64 << 20, 20, 2 },
		[MODE_BROADCAST] = { 8, 64 << 20, 20, 2 },
		[MODE_ALLTOALL] = { 8, 64 << 20, 20, 2 },
		[MODE_SOAK] = { 64 << 20, 64 << 20, 1, 0 },
		[MODE_BANDWIDTH] = { 64 << 10, 16 << 20, 0, 32 },
		[MODE_LATENCY] = { 8, 64 << 10, 1000, 50 },
	};

	if (!o->max_bytes)
		o->max_bytes = by_mode[o->mode].max;
	if (!o->min_bytes)
		o->min_bytes = o->max_bytes < by_mode[o->mode].min ?
				       o->max_bytes :
				       by_mode[o->mode].min;
	if (!o->iters)
		o->iters = by_mode[o->mode].iters;
	if (o->warmup < 0)
		o->warmup = by_mode[o->mode].warmup;
	if (!o->rounds)
		o->rounds = o->limit ? 25 : 5;
	if (o->mode == MODE_SOAK) {
		o->min_bytes = o->max_bytes;
		o->timeout_s += o->seconds;
	}
	if (!o->ranks)
		o->ranks = o->nnetns ? o->nnetns : 2;
}

void options_parse(int argc, char **argv, struct options *o)
{
	static const struct argp argp = {
		.options = table,
		.parser = parse_opt,
		.args_doc = modes,
		.doc = "Measures an NCCL net plugin without NCCL, and without a "
		       "GPU unless its memory is asked for, and checks every "
		       "byte that it moves. What --json FILE has written can "
		       "be drawn and compared later: `devmem-bench plot DIR "
		       "FILE...`, `devmem-bench report FILE.html FILE...`.\v"
		       "Exit status: 0 all data right and every call "
		       "succeeded; 1 not so; 2 wrong usage; 77 this machine "
		       "or plugin cannot do what was asked.",
	};
	const char *debug;

	memset(o, 0, sizeof(*o));
	o->plugin = "libnccl-net-devmem.so";
	o->factor = 2;
	o->warmup = -1;
	o->check = 1;
	o->channels = 1;
	o->slice = 512 << 10;
	o->connections = 1;
	o->inflight = 8;
	o->rank = -1;
	o->gpu = -1;
	o->seconds = 600;
	o->seed = 1;
	o->timeout_s = 120;
	o->kill_rank = -1;
	o->kill_after_ms = 100;
	o->expect_error_ms = 2000;
	o->pause_at = -1;
	text_command(o->command, sizeof(o->command), argc, argv);
	o->started = time(NULL);
	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, o);
	defaults(o);
	options_check(o);
	debug = getenv("NCCL_DEBUG");
	if (debug &&
	    (!strcasecmp(debug, "INFO") || !strcasecmp(debug, "TRACE")))
		o->debug = true;
}
