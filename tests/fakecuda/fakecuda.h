/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fakecuda.h - what tests can do to the stand-in for the CUDA driver (libcuda.so.1
 * in its build folder), beside calling it. It is stricter than a driver: memory
 * of the "GPU" cannot be touched by the CPU, calls without a context fail, what
 * would hang or corrupt on a real GPU is counted or refused, with a line on stderr.
 *
 * Environment, read by cuInit until it succeeds; what is not understood fails it:
 *
 *	FAKECUDA_DEVICES=n	GPUs, 0 to 16 (1)
 *	FAKECUDA_INIT=r		the CUresult that cuInit returns
 *	FAKECUDA_FAIL=spec	calls that fail; see fakecuda_fail()
 *	FAKECUDA_ATTR=a=v,...	attributes of all devices, by number
 *	FAKECUDA_DELAY_US=n	each operation of a stream waits for 0 to n
 *				microseconds first, the same ones in each run
 *	FAKECUDA_PCIE=1		dma-bufs can be had by way of PCIe
 *	FAKECUDA_REPORT=1	at exit, a line on stderr says what is left
 *
 * All functions may be called by any thread. In a child of a process that called
 * cuInit they do nothing, and return 0.
 */
#ifndef FAKECUDA_H
#define FAKECUDA_H

#include <stdbool.h>

#define FAKECUDA_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/**
 * fakecuda_capture() - from now on, or no longer, some other thread captures a
 * stream in global mode. Turning it on forgets an earlier break.
 */
FAKECUDA_API void fakecuda_capture(bool on);
/* Has a call been made that breaks such a capture? It returned 900. */
FAKECUDA_API bool fakecuda_capture_broken(void);

/**
 * fakecuda_spin() - from now on, or no longer, a kernel occupies the GPU that waits
 * for something of the CPU. Turning it on sets the count to 0.
 */
FAKECUDA_API void fakecuda_spin(bool on);
/* Calls made meanwhile that would have waited for that kernel's end. */
FAKECUDA_API unsigned int fakecuda_would_block(void);

/**
 * fakecuda_stall() - from now on, or no longer, no stream begins with anything: what is
 * handed to them does not end. What waits for it meanwhile waits for ever.
 */
FAKECUDA_API void fakecuda_stall(bool on);

/**
 * fakecuda_fail() - has calls fail, in place of those that were to fail so far.
 * @spec: "symbol:n=r,...": the nth call from now on of that symbol returns the
 *	CUresult r, and does nothing; "n+": all from the nth on. "": none.
 *
 * All counts of calls start anew. False, and nothing changed, if @spec is not
 * understood.
 */
FAKECUDA_API bool fakecuda_fail(const char *spec);

/* Calls of @symbol so far, failed ones too; see fakecuda_fail(). */
FAKECUDA_API unsigned long fakecuda_calls(const char *symbol);

/* Objects alive: memory, host memory, registrations, address ranges, handles,
 * mappings, streams and modules. */
FAKECUDA_API unsigned int fakecuda_left(void);
/* Objects that were alive when their context was released for the last time. */
FAKECUDA_API unsigned int fakecuda_leaked(void);

#ifdef __cplusplus
}
#endif

#endif /* FAKECUDA_H */
