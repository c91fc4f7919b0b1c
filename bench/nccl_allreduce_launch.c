// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_allreduce_launch.c - starts ranks as processes of this same program, with
 * what NCCL's environment needs so that ranks of one machine talk by the network,
 * and can share a GPU. All of it can be set otherwise, but for what tells ranks
 * apart.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nccl_allreduce_launch.h"

#define MAX_WORDS 32 /* of --wrap */

/*
 * Defaults. Of ranks of one machine NCCL would use shared memory and copies from
 * GPU to GPU; it would take GPU memory to a NIC only near it; and 2.28 and 2.29
 * forget the plugin's name with the last communicator, unless they keep it open.
 */
static const struct {
	const char *name, *value;
} defaults[] = {
	{ "NCCL_P2P_DISABLE", "1" },
	{ "NCCL_SHM_DISABLE", "1" },
	{ "NCCL_MNNVL_ENABLE", "0" },
	{ "NCCL_NVLS_ENABLE", "0" },
	{ "NCCL_RAS_ENABLE", "0" },
	{ "NCCL_NET_GDR_LEVEL", "SYS" },
	{ "NCCL_SOCKET_IFNAME", "lo" },
	{ "NCCL_NET_PLUGIN_REF_COUNT", "1" },
	{ "NCCL_DEBUG_SUBSYS", "INIT,NET" },
};

/* NCCL's own networks want no plugin beside them. */
static bool is_built_in(const char *net)
{
	return !strcasecmp(net, "socket") || !strcasecmp(net, "ib");
}

static bool set_environment(const struct job *j, const struct launch *l,
			    int rank)
{
	const struct setting *s = &j->settings[l->setting];
	const char *debug = getenv("NCCL_DEBUG");
	char text[320];
	bool bad = false;
	size_t i;
	int k;

	for (i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		bad |= setenv(defaults[i].name, defaults[i].value, 0);
	bad |= setenv("NCCL_NET", s->net, 1);
	bad |= setenv("NCCL_NET_PLUGIN",
		      is_built_in(s->net) ? "none" : j->plugin, 1);
	if (!debug || strcasecmp(debug, "TRACE"))
		bad |= setenv("NCCL_DEBUG", "INFO", 1);
	if (j->proto)
		bad |= setenv("NCCL_PROTO", j->proto, 1);
	if (j->algo)
		bad |= setenv("NCCL_ALGO", j->algo, 1);
	for (k = 0; k < j->nenv; k++)
		bad |= putenv(j->env[k]);
	for (k = 0; k < s->nenv; k++)
		bad |= putenv(s->env[k]);
	snprintf(text, sizeof(text), "devmem-nccl-%d-%d", getppid(), rank);
	bad |= setenv("NCCL_HOSTID", text, 1);
	launch_log(l, rank, text, sizeof(text));
	return !(bad | setenv("NCCL_DEBUG_FILE", text, 1));
}

/* The program, or the words of --wrap before it. */
static void run_program(const struct job *j, const struct launch *l, int rank)
{
	char exe[PATH_MAX], as_rank[192], *wrap, *save = NULL, *word;
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char **args = calloc(MAX_WORDS + j->argc + 2, sizeof(*args));
	int n = 0, i;

	if (len <= 0 || !args)
		return;
	exe[len] = '\0';
	wrap = strdup(j->wrap ? j->wrap : "");
	for (word = wrap ? strtok_r(wrap, " ", &save) : NULL;
	     word && n < MAX_WORDS; word = strtok_r(NULL, " ", &save))
		args[n++] = word;
	if (word) {
		complain("--wrap: more than %d words", MAX_WORDS);
		return;
	}
	snprintf(as_rank, sizeof(as_rank), "--as-rank=%d,%d,%s", rank,
		 l->setting, l->socket);
	args[n++] = exe;
	args[n++] = as_rank;
	for (i = 1; i < j->argc; i++)
		args[n++] = j->argv[i];
	execvp(args[0], args);
	complain("cannot start %s: %s", args[0], strerror(errno));
}

pid_t launch_start(const struct job *j, const struct launch *l, int rank)
{
	pid_t parent = getpid(), pid;
	char log[512];
	sigset_t none;

	/* One of an earlier run would prove nothing. */
	launch_log(l, rank, log, sizeof(log));
	unlink(log);
	fflush(NULL);
	pid = fork();
	if (pid) {
		if (pid > 0)
			setpgid(pid, pid); /* the child does so, too */
		return pid;
	}
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent ||
	    !set_environment(j, l, rank))
		_exit(EXIT_FAIL);
	run_program(j, l, rank);
	_exit(EXIT_FAIL);
}

void launch_log(const struct launch *l, int rank, char *file, size_t size)
{
	snprintf(file, size, "%s/run%d-rank%d.log", l->logs, l->run, rank);
}

int launch_open(struct launch *l, const struct job *j, int setting, int run)
{
	const char *tmp = getenv("TMPDIR");

	memset(l, 0, sizeof(*l));
	l->setting = setting;
	l->run = run;
	/* Its socket's name has to fit a sockaddr_un. */
	if (!tmp || strlen(tmp) > 32)
		tmp = "/tmp";
	snprintf(l->dir, sizeof(l->dir), "%s/devmem-nccl.XXXXXX", tmp);
	if (!mkdtemp(l->dir))
		return -1;
	snprintf(l->socket, sizeof(l->socket), "%s/hub", l->dir);
	if ((!j->logs || !mkdir(j->logs, 0777) || errno == EEXIST) &&
	    snprintf(l->logs, sizeof(l->logs), "%s",
		     j->logs ? j->logs : l->dir) < (int)sizeof(l->logs))
		return 0;
	rmdir(l->dir);
	return -1;
}

void launch_close(struct launch *l, const struct job *j)
{
	char file[512];
	int i;

	for (i = 0; i < j->ranks && !j->logs; i++) {
		launch_log(l, i, file, sizeof(file));
		unlink(file);
	}
	unlink(l->socket);
	rmdir(l->dir);
}
