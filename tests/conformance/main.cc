// SPDX-License-Identifier: BSD-3-Clause
/*
 * main.cc - devmem-conformance: drives an NCCL net plugin through its tables as
 * NCCL does and checks the rules that NCCL relies on. docs/conformance.md says
 * what each test is about.
 */
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "fixture.h"

std::string plugin_path;
std::vector<int> tables;

namespace {

const char usage_text[] =
"usage: devmem-conformance [--table VERSION]... [--memory host|cuda] PLUGIN.so\n"
"                          [gtest options]\n"
"\n"
"Drives an NCCL net plugin through its tables, versions 8 to 12, as NCCL does,\n"
"and checks the rules that NCCL relies on. Needs no NCCL, and a GPU only if its\n"
"memory is asked for. Each test runs on each table, as Suite.Test/v11.\n"
"\n"
"  --table VERSION     8 to 12, or v8 to v12; may be given more than once.\n"
"                      Without it: every table that the plugin exports\n"
"  --memory cuda       buffers are in GPU memory, where the plugin takes such;\n"
"                      tests of messages are skipped where it does not\n"
"  --gpu N             which GPU, default 0\n"
"  --gtest_filter=...  choose tests; --gtest_help has all of gtest's options\n"
"\n"
"Environment:\n"
"  NCCL_DEVMEM_IFNAME, NCCL_SOCKET_IFNAME  the device; neither set: lo\n"
"  CONFORMANCE_DEV          index of the device, default 0\n"
"  CONFORMANCE_PEER_NETNS   senders live in a process in /run/netns/NAME\n"
"  CONFORMANCE_PEER_IFNAME  ... and use this interface\n"
"  CONFORMANCE_EXPECT_RX    devmem or host: the way that data must take\n"
"  CONFORMANCE_TIMEOUT_MS   patience with anything, default 10000\n"
"\n"
"Exit status: 0 all passed or skipped, 1 a test failed, 2 not run, 77 no GPU.\n";

int usage_error(const char *what, const char *which)
{
	fprintf(stderr, "devmem-conformance: %s %s; try --help\n", what, which);
	return 2;
}

/* The value in "--name VALUE" or "--name=VALUE"; null if it is neither. */
const char *option(const char *name, int argc, char **argv, int *i)
{
	size_t length = strlen(name);
	const char *arg = argv[*i];

	if (strncmp(arg, name, length))
		return nullptr;
	if (arg[length] == '=')
		return arg + length + 1;
	return !arg[length] && *i + 1 < argc ? argv[++*i] : nullptr;
}

/* One of ours, with its value: 0, or 2 if that makes no sense. */
int read_option(const char *table, const char *kind, const char *gpu,
		std::vector<int> *wanted)
{
	if (table) {
		wanted->push_back(atoi(table + (*table == 'v')));
		if (!wanted->back())
			return usage_error("not a version:", table);
	} else if (kind) {
		if (strcmp(kind, "host") && strcmp(kind, "cuda"))
			return usage_error("no such memory:", kind);
		memory::kind = *kind == 'c' ? memory::Kind::cuda :
					      memory::Kind::host;
	} else {
		char *end;

		memory::gpu = static_cast<int>(strtol(gpu, &end, 10));
		if (!*gpu || *end)
			return usage_error("not a number:", gpu);
	}
	return 0;
}

/* Takes the options that are ours; gtest's are left in argv. */
int read_arguments(int *argc, char **argv)
{
	std::vector<int> wanted;
	const char *plugin = nullptr;
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		const char *table = option("--table", *argc, argv, &i);
		const char *kind = option("--memory", *argc, argv, &i);
		const char *gpu = option("--gpu", *argc, argv, &i);

		if (table || kind || gpu) {
			if (read_option(table, kind, gpu, &wanted))
				return 2;
		} else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(usage_text, stdout);
			exit(0);
		} else if (!strncmp(argv[i], "--gtest_", 8)) {
			argv[kept++] = argv[i];
		} else if (argv[i][0] == '-' || plugin) {
			return usage_error("not understood:", argv[i]);
		} else {
			plugin = argv[i];
		}
	}
	*argc = kept;
	argv[kept] = nullptr;
	if (!plugin)
		return usage_error("the path of a plugin", "is missing");
	char *absolute = realpath(plugin, nullptr);
	if (!absolute) {
		perror(plugin);
		return 2;
	}
	plugin_path = absolute;
	free(absolute);
	tables = exported_tables(plugin_path);
	if (tables.empty())
		return usage_error("no table ncclNetPlugin_v8 to _v12 in",
				   plugin);
	for (int version : wanted)
		if (!std::count(tables.begin(), tables.end(), version))
			return usage_error("no such table in this plugin:",
					   std::to_string(version).c_str());
	if (!wanted.empty())
		tables = wanted;
	return 0;
}

} // namespace

int main(int argc, char **argv)
{
	if (read_arguments(&argc, argv))
		return 2;
	if (!getenv("NCCL_DEVMEM_IFNAME") && !getenv("NCCL_SOCKET_IFNAME")) {
		setenv("NCCL_DEVMEM_IFNAME", "=lo", 1);
		setenv("NCCL_SOCKET_IFNAME", "=lo", 1);
	}
	if (!memory::create() || !start_peers(plugin_path)) {
		fprintf(stderr, "%s: cannot set up processes\n", argv[0]);
		return 2;
	}
	/* After the fork: a driver that has started does not survive one. */
	std::string no_gpu = memory::open_gpu();
	if (!no_gpu.empty()) {
		fprintf(stderr, "%s: --memory cuda: %s\n", argv[0],
			no_gpu.c_str());
		return 77;
	}
	/* A sanitizer's own thread comes with the first one: not in a test. */
	std::thread([] {}).join();
	testing::InitGoogleTest(&argc, argv);
	int status = RUN_ALL_TESTS();
	memory::close_gpu();
	return status;
}
