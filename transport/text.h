/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text.h - a text that is put together piece by piece in a buffer of a fixed size.
 */
#ifndef DEVMEM_TEXT_H
#define DEVMEM_TEXT_H

#include <stddef.h>

struct text {
	char *to;
	size_t n, at;
};

/* Add a piece, or nothing of it if it does not fit. */
__attribute__((format(printf, 2, 3))) void text_put(struct text *t,
						    const char *fmt, ...);

#endif /* DEVMEM_TEXT_H */
