/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pictures.h - what becomes of results once they are there: --plot and --report of
 * a run, and the same from files that earlier runs left (`devmem-bench plot` and
 * `devmem-bench report`).
 */
#ifndef DEVMEM_BENCH_PICTURES_H
#define DEVMEM_BENCH_PICTURES_H

#include "bench.h"

/* Is argv[1] one of the two commands? Their exit status is then in *status. */
bool pictures_command(int argc, char **argv, int *status);
/* Before a run: false, with a complaint, where its pictures have no place. */
bool pictures_possible(const struct options *o);
/* After it. `all` as of json_write(); `code`: how it ended. */
int pictures_of(const struct options *o, const struct result *all, int code);

#endif /* DEVMEM_BENCH_PICTURES_H */
