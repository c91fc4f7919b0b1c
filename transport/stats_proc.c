// SPDX-License-Identifier: BSD-3-Clause
/*
 * stats_proc.c - see stats_proc.h and proc(5).
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stats_file.h"
#include "stats_proc.h"
#include "stats_read.h"

/* Files that are looked at; more are left to the next time. */
#define FILES_MAX 4096

static bool read_text(const char *path, char *text, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, text, n - 1);
	close(fd);
	if (got <= 0)
		return false;
	text[got] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return true;
}

/* Field 22 of /proc/PID/stat; 0: there is none such, or only its remains. */
static uint64_t start_ticks(const char *path)
{
	char text[1024], *at;
	int field;

	if (!read_text(path, text, sizeof(text)))
		return 0;
	/* Field 2 is a name in brackets, which may have brackets in it. */
	at = strrchr(text, ')');
	if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
		return 0;
	for (field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

void stats_identity_self(struct stats_identity *id)
{
	struct stat ns;

	memset(id, 0, sizeof(*id));
	id->start_ticks = start_ticks("/proc/self/stat");
	if (!stat("/proc/self/ns/pid", &ns))
		id->pid_ns = ns.st_ino;
	if (!read_text("/proc/sys/kernel/random/boot_id", id->boot_id,
		       sizeof(id->boot_id)))
		id->boot_id[0] = '\0';
}

enum stats_life stats_life_of(const struct stats_header *h)
{
	struct stats_identity me;
	char path[64];
	uint64_t began;

	stats_identity_self(&me);
	if (!me.start_ticks || !h->start_ticks)
		return STATS_UNKNOWN;
	if (strncmp(me.boot_id, h->boot_id, sizeof(me.boot_id)))
		return STATS_DEAD;
	if (me.pid_ns != h->pid_ns)
		return STATS_UNKNOWN;
	snprintf(path, sizeof(path), "/proc/%u/stat", h->pid);
	began = start_ticks(path);
	return began == h->start_ticks ? STATS_LIVES : STATS_DEAD;
}

bool stats_proc_info(uint32_t pid, char comm[16], uint32_t *uid)
{
	char path[64], text[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%u", pid);
	if (stat(path, &st))
		return false;
	*uid = st.st_uid;
	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	snprintf(comm, 16, "%.15s", text);
	return true;
}

unsigned int stats_remove_stale(void)
{
	DIR *dir = opendir(STATS_DIR);
	struct stats_header *h;
	unsigned int removed = 0;
	struct dirent *e;

	if (!dir)
		return 0;
	h = malloc(sizeof(*h));
	for (int i = 0; h && i < FILES_MAX && (e = readdir(dir)); i++) {
		uint32_t uid;
		int fd = stats_open_file(dirfd(dir), e->d_name, &uid);

		if (fd < 0)
			continue;
		if (uid == geteuid() && !stats_read_header(fd, h) &&
		    stats_life_of(h) == STATS_DEAD)
			removed += !unlinkat(dirfd(dir), e->d_name, 0);
		close(fd);
	}
	free(h);
	closedir(dir);
	return removed;
}
