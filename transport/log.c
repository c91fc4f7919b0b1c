// SPDX-License-Identifier: BSD-3-Clause
/*
 * log.c - log lines and reasons; see log.h.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "log.h"

static _Atomic(devmem_log_fn) log_fn;
static void *_Atomic log_arg;

void log_open(devmem_log_fn fn, void *arg)
{
	atomic_store(&log_arg, arg);
	atomic_store(&log_fn, fn);
}

void log_line(enum devmem_log_level level, const char *file, int line,
	      const char *fmt, ...)
{
	devmem_log_fn fn = atomic_load(&log_fn);
	char text[1024];
	va_list ap;

	if (!fn)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fn(atomic_load(&log_arg), level, file, line, text);
}

int why(struct why *w, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->text, sizeof(w->text), fmt, ap);
	va_end(ap);
	w->reason = 0;
	w->head = WHY_BYTES;
	w->fix[0] = '\0';
	return err;
}
