/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text.h - words and files for what is drawn: text from anywhere made harmless,
 * sizes as people write them, whole files. Knows nothing of runs.
 */
#ifndef DEVMEM_BENCH_TEXT_H
#define DEVMEM_BENCH_TEXT_H

#include <stddef.h>
#include <stdio.h>

/*
 * Copies what fits of `from`: valid UTF-8 alone, no character cut, '?' in place of
 * control characters and of bytes that are none.
 */
void text_clean(char *to, size_t size, const char *from);

/* "8", "64K", "1M": for axes. */
const char *text_tick(char *buf, size_t size, double bytes);
/* "8 B", "64 KiB", "1 MiB" */
const char *text_bytes(char *buf, size_t size, double bytes);

/* A word as a shell takes it, in quotes where that needs them. */
const char *text_shell(char *buf, size_t size, const char *word);
/* A command line that can be given to a shell; what does not fit is left out. */
void text_command(char *buf, size_t size, int argc, char **argv);

/*
 * A file of at most `most` bytes, ended by a NUL that `len` does not count; to be
 * freed. NULL with the reason.
 */
char *text_of_file(const char *file, size_t most, size_t *len, char *why,
		   size_t size);

/* Folders with their parents, as mkdir -p. 0, or -errno. */
int make_folders(const char *path);

#endif /* DEVMEM_BENCH_TEXT_H */
