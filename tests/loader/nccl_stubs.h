/* SPDX-License-Identifier: BSD-3-Clause */
/* nccl_stubs.h - what the tests may ask of the rest of NCCL. */
#ifndef NCCL_STUBS_H
#define NCCL_STUBS_H

#include <string>

/* All that was logged in this process, by NCCL's loader and by the plugin. */
extern std::string nccl_log;

/* Newer tables are hidden from the loader. */
extern int newest_table, newest_tuner;

#endif
