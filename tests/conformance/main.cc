// SPDX-License-Identifier: BSD-3-Clause
/*
 * main.cc - devmem-conformance PLUGIN.so [gtest flags]
 *
 * Drives an NCCL net plugin through its v11 table as NCCL does and checks the
 * rules that NCCL relies on. Needs no GPU and no NCCL. Environment:
 *   NCCL_DEVMEM_IFNAME, NCCL_SOCKET_IFNAME  the device; neither set: lo
 *   CONFORMANCE_DEV          index of the device, default 0
 *   CONFORMANCE_PEER_NETNS   senders live in a process in /run/netns/NAME
 *   CONFORMANCE_PEER_IFNAME  ... and use this interface
 *   CONFORMANCE_EXPECT_RX    devmem or host: the way that data must take
 *   CONFORMANCE_TIMEOUT_MS   patience with anything, default 10000
 */
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "fixture.h"

std::string plugin_path;

int main(int argc, char **argv)
{
	if (argc < 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: %s PLUGIN.so [gtest flags]\n", argv[0]);
		return 2;
	}
	char *absolute = realpath(argv[1], nullptr);
	if (!absolute) {
		perror(argv[1]);
		return 2;
	}
	plugin_path = absolute;
	free(absolute);
	if (!getenv("NCCL_DEVMEM_IFNAME") && !getenv("NCCL_SOCKET_IFNAME")) {
		setenv("NCCL_DEVMEM_IFNAME", "=lo", 1);
		setenv("NCCL_SOCKET_IFNAME", "=lo", 1);
	}
	if (!memory::create() || !start_peers(plugin_path)) {
		fprintf(stderr, "%s: cannot set up processes\n", argv[0]);
		return 2;
	}
	/* A sanitizer's own thread comes with the first one: not in a test. */
	std::thread([] {}).join();
	argv[1] = argv[0];
	argc--;
	argv++;
	testing::InitGoogleTest(&argc, argv);
	return RUN_ALL_TESTS();
}
