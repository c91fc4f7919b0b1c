/* SPDX-License-Identifier: BSD-3-Clause */
/* json_file.h - results of a program here, as a file. */
#ifndef DEVMEM_BENCH_JSON_FILE_H
#define DEVMEM_BENCH_JSON_FILE_H

#include <cjson/cJSON.h>

/* Of --json: 0, or EXIT_FAILURE with a complaint. */
int json_save(const char *file, const cJSON *tree);

#endif /* DEVMEM_BENCH_JSON_FILE_H */
