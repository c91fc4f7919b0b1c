// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_stubs.cc - what NCCL's plugin loader needs from the rest of NCCL, as any
 * of its versions has it: log, environment, and two plugins that are built in,
 * of which one has no device and the other, Socket, has one.
 */
#include "nccl_stubs.h"

#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "nccl.h"
#include "debug.h"
#include "nccl_net.h"

std::string nccl_log;
int newest_table = NEWEST_TABLE, newest_tuner = NEWEST_TUNER;

/* ---- log --------------------------------------------------------------------- */

int ncclDebugLevel = NCCL_LOG_INFO;
uint64_t ncclDebugMask = ~UINT64_C(0);
thread_local int ncclDebugNoWarn;

static void log_line(ncclDebugLogLevel level, const char *format, va_list ap)
{
	static std::mutex lock;
	std::lock_guard<std::mutex> guard(lock);
	char text[2048];

	vsnprintf(text, sizeof(text), format, ap);
	nccl_log += level == NCCL_LOG_WARN ? "WARN " : "INFO ";
	nccl_log += text;
	nccl_log += '\n';
}

void ncclDebugLog(ncclDebugLogLevel level, unsigned long, const char *, int,
		  const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	log_line(level, format, ap);
	va_end(ap);
}

/* Since 2.30. */
void ncclDebugLogInternal(ncclDebugLogLevel level, unsigned long, const char *,
			  const char *, int, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	log_line(level, format, ap);
	va_end(ap);
}

ncclResult_t ncclProfilerCallback(void **, int, void *, int64_t, void *)
{
	return ncclSuccess;
}

/* ---- environment ------------------------------------------------------------- */

const char *ncclGetEnv(const char *name)
{
	return getenv(name);
}

static void load_param(const char *name, int64_t value, int64_t *cache)
{
	const char *text = getenv(name);

	*cache = text ? strtoll(text, nullptr, 0) : value;
}

/* NCCL_NET_PLUGIN_REF_COUNT and its like; the second form is since 2.29. */
void ncclLoadParam(const char *name, int64_t value, int64_t, int64_t *cache)
{
	load_param(name, value, cache);
}

int64_t ncclLoadParam(const char *name, int64_t value, int64_t, int64_t *cache,
		      int8_t *)
{
	load_param(name, value, cache);
	return *cache;
}

/* Not one that there is. */
int64_t ncclParamGinType()
{
	return -2;
}

/* ---- libraries --------------------------------------------------------------- */

/* Since 2.30, for systems that have no dlopen. */
void *ncclOsDlopen(const char *name)
{
	return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

void *ncclOsDlsym(void *library, const char *name)
{
	return dlsym(library, name);
}

void ncclOsDlclose(void *library)
{
	dlclose(library);
}

const char *ncclOsDlerror()
{
	return dlerror();
}

extern "C" void *__real_dlsym(void *library, const char *name);
extern "C" void *__wrap_dlsym(void *library, const char *name);

void *__wrap_dlsym(void *library, const char *name)
{
	int version;

	if (sscanf(name, "ncclNetPlugin_v%d", &version) == 1 &&
	    version > newest_table)
		return nullptr;
	if (sscanf(name, "ncclTunerPlugin_v%d", &version) == 1 &&
	    version > newest_tuner)
		return nullptr;
	return __real_dlsym(library, name);
}

/* ---- built-in plugins -------------------------------------------------------- */

template <class... Args> static ncclResult_t succeed(Args...)
{
	return ncclSuccess;
}

template <int count> static ncclResult_t devices(int *n)
{
	*n = count;
	return ncclSuccess;
}

static ncclResult_t properties(int, ncclNetProperties_t *props)
{
	*props = {};
	return ncclSuccess;
}

/* There is none below table version 11. */
template <class Net> static auto set_finalize(Net &net, int)
	-> decltype((void)net.finalize)
{
	net.finalize = succeed;
}

template <class Net> static void set_finalize(Net &, long)
{
}

static ncclNet_t builtin(const char *name, ncclResult_t (*count)(int *))
{
	ncclNet_t net = {};

	net.name = name;
	net.init = succeed;
	net.devices = count;
	net.getProperties = properties;
	set_finalize(net, 0);
	return net;
}

ncclNet_t ncclNetIb = builtin("IB", devices<0>);
ncclNet_t ncclNetSocket = builtin("Socket", devices<1>);
