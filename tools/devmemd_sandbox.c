// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_sandbox.c - privileges, and what the daemon gets from systemd
 * (sd_listen_fds(3), sd_notify(3)), for which these few lines do.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "devmemd.h"

#define BACKLOG		 512
#define FIRST_SYSTEMD_FD 3

int sandbox_enter(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2] = {
		{ .effective = 1u << CAP_NET_ADMIN,
		  .permitted = 1u << CAP_NET_ADMIN }
	};

	/* Ends with the first that the kernel does not know. */
	for (unsigned long cap = 0; cap < 64; cap++)
		if (cap != CAP_NET_ADMIN && prctl(PR_CAPBSET_DROP, cap) &&
		    errno == EINVAL)
			break;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

static bool is_listening(int fd)
{
	socklen_t len = sizeof(int);
	int domain = 0, type = 0, listens = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) &&
	       !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) &&
	       domain == AF_UNIX && type == SOCK_SEQPACKET && listens;
}

int activation_socket(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	if (!pid || !fds || strtol(pid, NULL, 10) != getpid())
		return -ENOENT;
	if (strcmp(fds, "1") || !is_listening(FIRST_SYSTEMD_FD)) {
		say("systemd has not handed over one listening socket of type "
		    "SOCK_SEQPACKET: see devmemd.socket");
		return -EINVAL;
	}
	return FIRST_SYSTEMD_FD;
}

static int bind_path(int fd, const struct sockaddr_un *a)
{
	struct stat st;
	int probe;

	if (!bind(fd, (const void *)a, sizeof(*a)))
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	/* What is no socket refuses connections as well, and is not ours to remove. */
	if (lstat(a->sun_path, &st))
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	/* Left by one that was killed? */
	probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0);
	if (probe < 0)
		return -errno;
	if (!connect(probe, (const void *)a, sizeof(*a)) ||
	    errno != ECONNREFUSED) {
		close(probe);
		return -EADDRINUSE;
	}
	close(probe);
	unlink(a->sun_path);
	return bind(fd, (const void *)a, sizeof(*a)) ? -errno : 0;
}

int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = bind_path(fd, &a);
	/* Everybody may ask: the policy decides, by the kernel's word for who. */
	if (!rc && (chmod(path, 0666) || listen(fd, BACKLOG)))
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

void notify_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len;
	int fd;

	if (!path || (*path != '/' && *path != '@') ||
	    strlen(path) >= sizeof(a.sun_path))
		return;
	strcpy(a.sun_path, path);
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			  strlen(path));
	if (*path == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (const void *)&a, len) < 0)
		say("systemd was not told: %s", strerror(errno));
	close(fd);
}
