/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plugin.c - loads a net plugin and gives it a logger. What the plugin says is
 * kept: the last warning, for the error line, and the sums of its
 * "path ... done" lines, for the report. The logger may be called from any
 * thread of the plugin.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bench.h"
#include "net_table.h"

/* The logger has no argument of ours, so this is the process's. */
static struct {
	pthread_mutex_t lock;
	int rank;
	bool debug;
	char warn[512];
	struct path_report path;
} logger = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const rx_names[RX_KEYS] = {
	"devmem", "emulated", "linear",	  "host",   "inline",	"frags",
	"tokens", "returned", "dontneed", "grants", "messages", "unpacked",
};
static const char *const tx_names[TX_KEYS] = { "devmem", "staged", "host",
					       "inline", "messages" };

const char *rx_key(int key)
{
	return rx_names[key];
}

const char *tx_key(int key)
{
	return tx_names[key];
}

/* The value of `key` in "key=value ..." words, or false. */
static bool word_value(const char *words, const char *key, char *value,
		       size_t size)
{
	size_t len = strlen(key), n;
	const char *p = words;

	while ((p = strstr(p, key))) {
		if ((p == words || p[-1] == ' ') && p[len] == '=')
			break;
		p += len;
	}
	if (!p)
		return false;
	p += len + 1;
	if (*p == '"') {
		p++;
		n = strcspn(p, "\"");
	} else {
		n = strcspn(p, " ");
	}
	if (n >= size)
		n = size - 1;
	memcpy(value, p, n);
	value[n] = '\0';
	return true;
}

static bool has_word(const char *list, const char *word, size_t len)
{
	const char *p = list;

	while (*p) {
		size_t n = strcspn(p, "+");

		if (n == len && !strncmp(p, word, len))
			return true;
		p += n + (p[n] == '+');
	}
	return false;
}

/* Adds the words of "a+b" to `list` that it has not yet. */
static void join_words(char *list, size_t size, const char *words)
{
	while (*words) {
		size_t n = strcspn(words, "+"), used = strlen(list);

		if (!has_word(list, words, n) && used + n + 2 <= size)
			snprintf(list + used, size - used, "%s%.*s",
				 used ? "+" : "", (int)n, words);
		words += n + (words[n] == '+');
	}
}

static void sum_words(uint64_t *sum, const char *const *names, int n,
		      const char *words)
{
	char value[32];
	int i;

	for (i = 0; i < n; i++)
		if (word_value(words, names[i], value, sizeof(value)))
			sum[i] += strtoull(value, NULL, 10);
}

/* What did not go by devmem alone is never called so. */
static void add_way(char *list, size_t size, const char *way, uint64_t bytes)
{
	if (bytes)
		join_words(list, size, way);
}

/* Reads "NET/... path recv|send open|buffer|done key=value ...". */
static void note_path(struct path_report *p, const char *line)
{
	const char *words = strstr(line, " path ");
	char value[64], *reason;
	bool recv, done;

	if (!words || strncmp(line, "NET/", 4))
		return;
	words += strlen(" path ");
	recv = !strncmp(words, "recv ", 5);
	if (!recv && strncmp(words, "send ", 5))
		return;
	words += 5;
	done = !strncmp(words, "done ", 5);
	reason = recv ? p->rx_reason : p->tx_reason;
	if (!reason[0])
		word_value(words, "reason", reason, sizeof(p->rx_reason));
	if (!done)
		return;
	p->lines++;
	if (recv) {
		if (word_value(words, "rx", value, sizeof(value)))
			join_words(p->rx, sizeof(p->rx), value);
		sum_words(p->rx_sum, rx_names, RX_KEYS, words);
		add_way(p->rx, sizeof(p->rx), "emulated",
			p->rx_sum[RX_EMULATED]);
	} else {
		if (word_value(words, "tx", value, sizeof(value)))
			join_words(p->tx, sizeof(p->tx), value);
		sum_words(p->tx_sum, tx_names, TX_KEYS, words);
		add_way(p->tx, sizeof(p->tx), "staged", p->tx_sum[TX_STAGED]);
	}
}

void log_line(ncclDebugLogLevel level, unsigned long flags, const char *file,
	      int line, const char *fmt, ...)
{
	char text[2048], out[2200];
	va_list ap;

	(void)flags;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&logger.lock);
	if (level == NCCL_LOG_WARN)
		snprintf(logger.warn, sizeof(logger.warn), "%.511s", text);
	else
		note_path(&logger.path, text);
	if (level == NCCL_LOG_WARN)
		snprintf(out, sizeof(out), "[rank %d] %s:%d WARN %s\n",
			 logger.rank, file ? file : "?", line, text);
	else
		snprintf(out, sizeof(out), "[rank %d] INFO %s\n", logger.rank,
			 text);
	if (level == NCCL_LOG_WARN || (level == NCCL_LOG_INFO && logger.debug))
		fputs(out, stderr);
	pthread_mutex_unlock(&logger.lock);
}

void log_setup(int rank, bool debug)
{
	logger.rank = rank;
	logger.debug = debug;
}

void log_last_warn(char *buf, size_t size)
{
	pthread_mutex_lock(&logger.lock);
	snprintf(buf, size, "%s", logger.warn);
	pthread_mutex_unlock(&logger.lock);
}

void log_path(struct path_report *p)
{
	pthread_mutex_lock(&logger.lock);
	*p = logger.path;
	pthread_mutex_unlock(&logger.lock);
}

const char *nccl_name(ncclResult_t rc)
{
	static const char *const names[] = {
		"ncclSuccess",	       "ncclUnhandledCudaError",
		"ncclSystemError",     "ncclInternalError",
		"ncclInvalidArgument", "ncclInvalidUsage",
		"ncclRemoteError",     "ncclInProgress"
	};

	if ((unsigned int)rc >= sizeof(names) / sizeof(names[0]))
		return "an unknown ncclResult_t";
	return names[rc];
}

/* The newest table that we both know, as NCCL does, or the one of --table. */
static int load(struct rank *r, const char *name)
{
	int oldest = r->o->table ? r->o->table : NET_TABLE_OLDEST;
	int newest = r->o->table ? r->o->table : NET_TABLE_NEWEST;
	struct plugin *p = &r->plugin;

	p->lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!p->lib)
		return rank_fail(r, ERR_OTHER, EXIT_FAIL,
				 "cannot load the plugin: %s; give the path of "
				 "its .so file by --plugin",
				 dlerror());
	for (p->table = newest; p->table >= oldest; p->table--) {
		p->net = net_table(p->lib, p->table);
		if (p->net)
			return 0;
	}
	return rank_fail(r, ERR_OTHER, EXIT_SKIP,
			 "%s exports no table ncclNetPlugin_v%d%s", name,
			 newest,
			 oldest < newest ? ", nor an older one to v8" : "");
}

/* Loads, initialises and picks the devices. */
int plugin_open(struct rank *r, const struct variant *v)
{
	ncclNetCommConfig_v11_t config = { .trafficClass = -1 };
	uint64_t id[MAX_RANKS], mine = 0;
	struct plugin *p = &r->plugin;
	ncclResult_t rc;
	int err;

	if (v && v->tcp)
		p->net = &tcp_net;
	else if ((err = load(r, v && v->plugin ? v->plugin : r->o->plugin)))
		return err;
	if (getrandom(&mine, sizeof(mine), 0) != sizeof(mine))
		mine = now_ns();
	err = rank_gather(r, &mine, sizeof(mine), id, NULL);
	if (err)
		return err;
	rc = p->net->init(&p->ctx, id[0], &config, log_line, NULL);
	/* NCCL 2.28 calls finalize after a failed init, too. */
	p->inited = true;
	if (rc)
		return net_fail(r, "init", rc, "table %s", p->net->name);
	return devices_pick(r);
}

/*
 * NCCL takes the newest version that it knows. Until the fifth they differ in no
 * slot that is called here.
 */
int plugin_tune(struct rank *r)
{
	struct plugin *p = &r->plugin;
	const ncclTuner_v4_t *old;
	char symbol[32];
	ncclResult_t rc;
	int v;

	for (v = 5; v >= 2 && p->lib && !p->tuner; v--) {
		snprintf(symbol, sizeof(symbol), "ncclTunerPlugin_v%d", v);
		p->tuner = dlsym(p->lib, symbol);
		p->tuner_version = v;
	}
	if (!p->tuner)
		return 0;
	old = (const void *)p->tuner;
	rc = p->tuner_version < 5 ?
		     old->init(r->ranks, r->ranks, log_line, &p->tuner_ctx) :
		     p->tuner->init(&p->tuner_ctx, 0, r->ranks, r->ranks,
				    log_line, NULL, NULL);
	if (!rc)
		return 0;
	p->tuner = NULL;
	return net_fail(r, "init of the tuner", rc, "%s", symbol);
}

/* Finalizes and unloads, as NCCL does with its last communicator. */
void plugin_close(struct rank *r)
{
	struct plugin *p = &r->plugin;
	ncclResult_t rc;

	if (p->tuner) {
		rc = p->tuner->finalize(p->tuner_ctx);
		if (rc)
			net_fail(r, "finalize of the tuner", rc, "at the end");
	}
	if (p->inited && p->net->finalize) {
		rc = p->net->finalize(p->ctx);
		if (rc)
			net_fail(r, "finalize", rc, "at the end");
	}
	if (p->lib)
		dlclose(p->lib);
	memset(p, 0, sizeof(*p));
}
