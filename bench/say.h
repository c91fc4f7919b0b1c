/* SPDX-License-Identifier: BSD-3-Clause */
/* say.h - words to the user, of all programs here. */
#ifndef DEVMEM_BENCH_SAY_H
#define DEVMEM_BENCH_SAY_H

#include <stddef.h>

/*
 * One line on stderr, behind the program's name, in one write, so that lines of
 * processes that share it do not mix. What is longer than 2 KiB is cut off.
 */
__attribute__((format(printf, 1, 2))) void complain(const char *fmt, ...);

/* Makes text that came from outside safe to print: ends it, hides controls. */
void printable(char *text, size_t size);

#endif /* DEVMEM_BENCH_SAY_H */
