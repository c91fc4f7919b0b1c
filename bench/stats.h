/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.h - order statistics, and the clock that figures are taken with. */
#ifndef DEVMEM_BENCH_STATS_H
#define DEVMEM_BENCH_STATS_H

#include <stdint.h>

/* CLOCK_MONOTONIC */
int64_t now_ns(void);
/* User and system time of this process. */
double cpu_seconds(void);

void sort_doubles(double *v, int n);
/* Nearest-rank quantile of `n` >= 1 sorted values. */
double quantile(double *sorted, int n, double q);
/* Sorts `v`. The mean of the middle two when `n` is even; 0 of nothing. */
double median(double *v, int n);

#endif /* DEVMEM_BENCH_STATS_H */
