// SPDX-License-Identifier: BSD-3-Clause
/*
 * process.c - see process.h.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"

bool has_net_admin(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct cap[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return !syscall(SYS_capget, &head, cap) &&
	       (cap[0].effective & 1u << CAP_NET_ADMIN);
}

int netns_inode(uint64_t *inode)
{
	struct stat st;

	if (stat("/proc/thread-self/ns/net", &st))
		return -errno;
	*inode = st.st_ino;
	return 0;
}
