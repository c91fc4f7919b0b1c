// SPDX-License-Identifier: BSD-3-Clause
/*
 * stats.c - order statistics and clocks, see stats.h.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "stats.h"

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

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

double quantile(double *sorted, int n, double q)
{
	int i = (int)(q * n);

	return sorted[i < n ? i : n - 1];
}

double median(double *v, int n)
{
	if (n <= 0)
		return 0;
	sort_doubles(v, n);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}
