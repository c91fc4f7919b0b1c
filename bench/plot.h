/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plot.h - pictures of runs over size: for each DIR/NAME.dat (the figures),
 * DIR/NAME.gp (a script for gnuplot, to be restyled and run again), and what gnuplot
 * makes of them, DIR/NAME.svg and DIR/NAME.png.
 */
#ifndef DEVMEM_BENCH_PLOT_H
#define DEVMEM_BENCH_PLOT_H

#include "saved.h"

#define MAX_PICTURES 16
#define MAX_DRAWN    16 /* curves of one picture, and runs */

struct plots {
	int n;
	char name[MAX_PICTURES][48]; /* "allreduce-time" */
};

/*
 * Draws `n` runs, those of one kind in one picture. EXIT_OK; EXIT_FAIL where
 * something cannot be written or gnuplot fails; EXIT_SKIP without a gnuplot, with
 * data and script in place. Has complained of what is not EXIT_OK.
 */
int plot_runs(const char *dir, const struct saved *runs, int n,
	      struct plots *made);

/* Makes the folder, and says whether files can be made in it. */
int plot_folder(const char *dir);

/* gnuplot.c: is there one in PATH? */
bool gnuplot_there(void);
/* Runs DIR/NAME.gp in DIR; false with the reason. Takes a minute at most. */
bool gnuplot_run(const char *dir, const char *script, char *why, size_t size);

#endif /* DEVMEM_BENCH_PLOT_H */
