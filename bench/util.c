/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * util.c - clocks, order statistics and messages to the user. Knows nothing
 * of ranks, plugins or sockets.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* User and system time of this process. */
double cpu_seconds(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_utime.tv_sec + ru.ru_utime.tv_usec * 1e-6 +
	       ru.ru_stime.tv_sec + ru.ru_stime.tv_usec * 1e-6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

void sort_doubles(double *v, int n)
{
	qsort(v, n, sizeof(*v), compare);
}

/* Nearest-rank quantile of `n` >= 1 sorted values. */
double quantile(double *sorted, int n, double q)
{
	int i = (int)(q * n);

	return sorted[i < n ? i : n - 1];
}

/* Sorts `v`. The mean of the middle two when `n` is even; 0 of nothing. */
double median(double *v, int n)
{
	if (n <= 0)
		return 0;
	sort_doubles(v, n);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Makes text that came from outside safe to print: ends it, hides controls. */
void printable(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (; *text; text++)
		if (!isprint((unsigned char)*text))
			*text = '?';
}

const char *mode_name(enum mode m)
{
	static const char *const names[MODES] = {
		[MODE_ALLREDUCE] = "allreduce",
		[MODE_ALLGATHER] = "allgather",
		[MODE_REDUCESCATTER] = "reducescatter",
		[MODE_BROADCAST] = "broadcast",
		[MODE_ALLTOALL] = "alltoall",
		[MODE_SOAK] = "soak",
		[MODE_BANDWIDTH] = "bandwidth",
		[MODE_LATENCY] = "latency",
	};

	return names[m];
}

bool mode_is_coll(enum mode m)
{
	return m <= MODE_SOAK;
}

/* One line on stderr in one write, so that lines of ranks do not mix. */
void complain(const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	int n;

	n = snprintf(line, sizeof(line), "devmem-bench: ");
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	strcat(line, "\n");
	fputs(line, stderr);
}
