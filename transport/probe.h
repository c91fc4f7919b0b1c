/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probe.h - static probes (USDT) of provider "devmem", for bpftrace, perf and
 * SystemTap: docs/statistics.md has them all, with their arguments. Where nobody
 * looks each is one instruction that does nothing; without <sys/sdt.h> it is
 * nothing at all. Arguments are values at hand, without side effects.
 */
#ifndef DEVMEM_PROBE_H
#define DEVMEM_PROBE_H

#ifdef HAVE_SYS_SDT_H
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define DEVMEM_PROBE(name, ...) STAP_PROBEV(devmem, name, __VA_ARGS__)
#else
/* Not evaluated, but looked at by the compiler. */
#define DEVMEM_PROBE(name, ...) ((void)sizeof(devmem_probe_((0), __VA_ARGS__)))
static inline int devmem_probe_(int nothing, ...)
{
	return nothing;
}
#endif

#endif /* DEVMEM_PROBE_H */
