/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h - the library's log, and reasons: one line that says what failed, on
 * what, why, and what to do.
 */
#ifndef DEVMEM_LOG_H
#define DEVMEM_LOG_H

#include "devmem.h"

/* The log is the process's: NICs and pools have no context of their own. */
void log_open(devmem_log_fn fn, void *arg);

__attribute__((format(printf, 4, 5))) void log_line(enum devmem_log_level level,
						    const char *file, int line,
						    const char *fmt, ...);

#define WARN(...) \
	log_line(DEVMEM_LOG_WARN, __FILE_NAME__, __LINE__, __VA_ARGS__)
#define INFO(...) \
	log_line(DEVMEM_LOG_INFO, __FILE_NAME__, __LINE__, __VA_ARGS__)
#define TRACE(...) \
	log_line(DEVMEM_LOG_TRACE, __FILE_NAME__, __LINE__, __VA_ARGS__)

#ifndef __FILE_NAME__
#define __FILE_NAME__ __FILE__
#endif

/* Why something cannot be done; carried up to the line that reports it. */
#define WHY_BYTES 224
struct why {
	char text[WHY_BYTES];
	unsigned int reason; /* enum reason_id (reason.h), 0: in its own words */
	unsigned int head;   /* bytes of text before "; REMEDY", if it has one */
	char fix[128];	     /* the command that mends it, or "" */
};

/** why() - set the reason and pass @err through: `return why(w, -EPERM, …)`. */
__attribute__((format(printf, 3, 4))) int why(struct why *w, int err,
					      const char *fmt, ...);

#endif /* DEVMEM_LOG_H */
