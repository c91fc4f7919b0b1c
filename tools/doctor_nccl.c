// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_nccl.c - which library NCCL is, which plugin it would load and whether it
 * would use it. Libraries are loaded by a child, as the loader of this environment
 * finds them. What NCCL does is in its sources: src/plugin/plugin_open.cc, net.cc.
 */
#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doctor.h"
#include "ifname.h"

#define OUR_NAME     "devmem"
#define OUR_FILE     "libnccl-net-devmem.so"
#define DEFAULT_FILE "libnccl-net.so"
#define LOAD_SECONDS 30
/* Versions that the plugin was tried with: 2.20 to 2.30. */
#define NCCL_OLDEST 22000
#define NCCL_NEWEST 23099

struct library {
	bool loaded;
	int version;	 /* of NCCL */
	char path[512];	 /* of the file */
	char name[32];	 /* of the net table */
	char tables[64]; /* "v8 v9 ..." */
	char error[256]; /* of the last that was not loaded */
};

static void where(void *lib, char *path, size_t n)
{
	struct link_map *map;

	if (!dlinfo(lib, RTLD_DI_LINKMAP, &map) && map->l_name)
		snprintf(path, n, "%s", map->l_name);
}

/* ---- NCCL itself ---- */

static void load_nccl(void *result, void *arg)
{
	void *lib = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
	struct library *l = result;
	int (*version)(int *v);

	(void)arg;
	if (!lib)
		return;
	l->loaded = true;
	where(lib, l->path, sizeof(l->path));
	*(void **)&version = dlsym(lib, "ncclGetVersion");
	if (version)
		version(&l->version);
}

void check_nccl(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct library l;
	char text[32];
	int rc = doctor_in_child(load_nccl, NULL, &l, sizeof(l), LOAD_SECONDS);

	(void)nic;
	if (rc) {
		doctor_skip(d, "libnccl.so.2 cannot be asked: %s",
			    strerror(-rc));
		return;
	}
	if (!l.loaded) {
		doctor_skip(d, "the loader finds no libnccl.so.2 here; "
			       "PyTorch brings its own");
		return;
	}
	/* 2.8 and older have another way of counting, and are too old. */
	snprintf(text, sizeof(text), "%d.%d.%d", l.version / 10000,
		 l.version / 100 % 100, l.version % 100);
	if (l.version < NCCL_OLDEST)
		doctor_found(d, REASON_NCCL_TOO_OLD, .detail = text);
	else if (l.version > NCCL_NEWEST)
		doctor_found(d, REASON_NCCL_TOO_NEW, .detail = text);
	else
		doctor_ok(d, "%s, %s", text, l.path);
}

/* ---- the plugin ---- */

static bool load_plugin(const char *file, struct library *l)
{
	void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const char *const *table = NULL;
	size_t at = 0;

	if (!lib) {
		snprintf(l->error, sizeof(l->error), "%s", dlerror());
		return false;
	}
	l->loaded = true;
	where(lib, l->path, sizeof(l->path));
	for (int v = 5; v <= 12; v++) {
		char symbol[32];
		const char *const *t;

		snprintf(symbol, sizeof(symbol), "ncclNetPlugin_v%d", v);
		t = dlsym(lib, symbol);
		if (!t)
			continue;
		table = t; /* its first member is the name */
		at += (size_t)snprintf(l->tables + at, sizeof(l->tables) - at,
				       "%sv%d", at ? " " : "", v);
	}
	snprintf(l->name, sizeof(l->name), "%s",
		 table && *table ? *table : "?");
	return true;
}

/* A name of NCCL_NET_PLUGIN: a file, or what stands for one. */
static bool load_named(const char *name, struct library *l)
{
	size_t len = strlen(name);
	char file[300];

	if (load_plugin(name, l))
		return true;
	if (strchr(name, '/') || (!strncmp(name, "lib", 3) && len > 3 &&
				  !strcmp(name + len - 3, ".so")))
		return false;
	snprintf(file, sizeof(file), "libnccl-net-%s.so", name);
	return load_plugin(file, l);
}

/* The first that can be loaded; with NCCL_NET the first of that name. */
static void load_first(void *result, void *arg)
{
	const char *list = arg, *wanted = getenv("NCCL_NET");
	struct library *l = result, found = { .loaded = false };
	char text[1024], *name, *next = text;

	snprintf(text, sizeof(text), "%s", list);
	while ((name = strsep(&next, ","))) {
		struct library one = { .loaded = false };

		if (!*name)
			continue;
		if (!load_named(name, &one)) {
			memcpy(l->error, one.error, sizeof(l->error));
			continue;
		}
		if (!found.loaded ||
		    (wanted && strcasecmp(found.name, wanted) &&
		     !strcasecmp(one.name, wanted)))
			found = one;
	}
	if (found.loaded)
		*l = found;
}

/* The folder that our plugin is in, beside this program, or false. */
static bool find_ours(char *dir, size_t n)
{
	static const char *const places[] = {
		"../" DEVMEM_LIBDIR,
		"../lib",
		"../lib64",
		"../plugin",
	};
	char self[PATH_MAX], path[PATH_MAX + 64], real[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len < 0)
		return false;
	self[len] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%s/%s/" OUR_FILE, self,
			 places[i]);
		if (access(path, R_OK))
			continue;
		/* The folder, with no link followed but those to it. */
		snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		if (!realpath(path, real) || strlen(real) >= n)
			continue;
		strcpy(dir, real);
		return true;
	}
	return false;
}

static void not_found(struct doctor *d, const char *error)
{
	struct doctor_result *r =
		doctor_found(d, REASON_PLUGIN_NOT_FOUND, .detail = error);
	struct library ours;
	char dir[PATH_MAX];
	int rc;

	/* Can it be had by its name? Then it is the name that is wrong. */
	rc = doctor_in_child(load_first, (char[]){ OUR_NAME }, &ours,
			     sizeof(ours), LOAD_SECONDS);
	if (!rc && ours.loaded)
		doctor_fix(r, "export NCCL_NET_PLUGIN=" OUR_NAME);
	else if (find_ours(dir, sizeof(dir)))
		doctor_fix(r,
			   "export LD_LIBRARY_PATH={detail}"
			   "\"${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\" "
			   "NCCL_NET_PLUGIN=" OUR_NAME,
			   .detail = dir);
}

static bool has_default_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "%.*s%s",
		 slash ? (int)(slash - path + 1) : 0, path, DEFAULT_FILE);
	return !access(file, R_OK);
}

void check_plugin(struct doctor *d, const struct devmem_nic_props *nic)
{
	const char *list = getenv("NCCL_NET_PLUGIN");
	struct library l;
	char which[512];
	int rc;

	(void)nic;
	if (list && !strcasecmp(list, "none")) {
		doctor_found(d, REASON_PLUGIN_DISABLED, .detail = list);
		return;
	}
	snprintf(which, sizeof(which), "%s",
		 list && *list ? list : DEFAULT_FILE);
	rc = doctor_in_child(load_first, which, &l, sizeof(l), LOAD_SECONDS);
	if (rc || !l.loaded) {
		not_found(d, rc ? "the process that loaded it died" : l.error);
		return;
	}
	if (strcmp(l.name, OUR_NAME)) {
		snprintf(which, sizeof(which), "%.200s (\"%s\")", l.path,
			 l.name);
		doctor_found(d, REASON_PLUGIN_OTHER, .detail = which);
	} else if (!has_default_name(l.path) &&
		   !getenv("NCCL_NET_PLUGIN_REF_COUNT")) {
		doctor_found(d, REASON_PLUGIN_ONE_NAME, .detail = l.path);
	} else {
		doctor_ok(d, "%.200s, tables %s", l.path, l.tables);
	}
}

void check_nccl_net(struct doctor *d, const struct devmem_nic_props *nic)
{
	const char *wanted = getenv("NCCL_NET");

	(void)nic;
	if (wanted && *wanted && strcasecmp(wanted, OUR_NAME))
		doctor_found(d, REASON_NCCL_NET_OTHER, .detail = wanted);
	else if (wanted && *wanted)
		doctor_ok(d, OUR_NAME ", or it fails (NCCL_NET)");
	else
		doctor_ok(d, OUR_NAME ", and if that does not start its own; "
				      "NCCL_NET=" OUR_NAME " would forbid it");
}

void check_nccl_ifname(struct doctor *d, const struct devmem_nic_props *nic)
{
	const char *spec = getenv("NCCL_SOCKET_IFNAME");
	struct ifaddrs *all;
	const char *first = NULL;
	char name[IFNAMSIZ] = "";

	(void)nic;
	if (!spec || !*spec) {
		doctor_ok(d, "by any interface");
		return;
	}
	if (getifaddrs(&all)) {
		doctor_skip(d, "%s", strerror(errno));
		return;
	}
	for (const struct ifaddrs *a = all; a && !first; a = a->ifa_next)
		if (a->ifa_addr && (a->ifa_flags & IFF_UP) &&
		    (a->ifa_addr->sa_family == AF_INET ||
		     a->ifa_addr->sa_family == AF_INET6) &&
		    ifname_selected(spec, a->ifa_name, false))
			first = a->ifa_name;
	if (first)
		snprintf(name, sizeof(name), "%s", first);
	freeifaddrs(all);
	if (*name)
		doctor_ok(d, "by %s", name);
	else
		doctor_found(d, REASON_NCCL_IFNAME, .detail = spec);
}
