// SPDX-License-Identifier: BSD-3-Clause
/*
 * text.c - see text.h.
 */
#include <stdarg.h>
#include <stdio.h>

#include "text.h"

void text_put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->to + t->at, t->n - t->at, fmt, ap);
	va_end(ap);
	t->at += n > 0 && (size_t)n < t->n - t->at ? (size_t)n : 0;
}
