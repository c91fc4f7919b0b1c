// SPDX-License-Identifier: BSD-3-Clause
/*
 * context.c - the start, the devices and their contexts, of the stand-in for the
 * CUDA driver; and names of errors.
 */
#include <stdio.h>
#include <unistd.h>

#include "fake.h"

#define DRIVER_VERSION 13000 /* of CUDA 13.0 */
#define STACK	       16

__thread int capture_mode; /* 0: global */

static __thread struct {
	struct context *ctx[STACK];
	unsigned int depth;
} stack;

/* ---- errors ---------------------------------------------------------------- */

static const struct {
	int error;
	const char *name, *text;
} errors[] = {
#define ERROR(name, text)                        \
	{                                        \
		CUDA_##name, "CUDA_" #name, text \
	}
	ERROR(SUCCESS, "no error"),
	ERROR(ERROR_INVALID_VALUE, "invalid argument"),
	ERROR(ERROR_OUT_OF_MEMORY, "out of memory"),
	ERROR(ERROR_NOT_INITIALIZED, "initialization error"),
	ERROR(ERROR_DEINITIALIZED, "driver shutting down"),
	ERROR(ERROR_NO_DEVICE, "no device"),
	ERROR(ERROR_INVALID_DEVICE, "invalid device ordinal"),
	ERROR(ERROR_INVALID_IMAGE, "device kernel image is invalid"),
	ERROR(ERROR_INVALID_CONTEXT, "invalid device context"),
	ERROR(ERROR_NO_BINARY_FOR_GPU, "no kernel image for the device"),
	ERROR(ERROR_INVALID_HANDLE, "invalid resource handle"),
	ERROR(ERROR_NOT_FOUND, "named symbol not found"),
	ERROR(ERROR_NOT_READY, "device not ready"),
	ERROR(ERROR_ILLEGAL_ADDRESS, "an illegal memory access"),
	ERROR(ERROR_HOST_MEMORY_ALREADY_REGISTERED, "already registered"),
	ERROR(ERROR_LAUNCH_FAILED, "unspecified launch failure"),
	ERROR(ERROR_NOT_SUPPORTED, "operation not supported"),
	{ FAKE_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
	  "operation not permitted when stream is capturing" },
	ERROR(ERROR_UNKNOWN, "unknown error"),
#undef ERROR
};

#define ERRORS (sizeof(errors) / sizeof(*errors))

static unsigned int error_find(int error)
{
	unsigned int i;

	for (i = 0; i < ERRORS; i++)
		if (errors[i].error == error)
			break;
	return i;
}

int cuGetErrorName(int error, const char **name)
{
	unsigned int i = error_find(error);
	ENTER(cuGetErrorName);

	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = i < ERRORS ? errors[i].name : NULL;
	return *name ? 0 : CUDA_ERROR_INVALID_VALUE;
}

int cuGetErrorString(int error, const char **text)
{
	unsigned int i = error_find(error);
	ENTER(cuGetErrorString);

	if (!text)
		return CUDA_ERROR_INVALID_VALUE;
	*text = i < ERRORS ? errors[i].text : NULL;
	return *text ? 0 : CUDA_ERROR_INVALID_VALUE;
}

/* ---- the start, and devices ------------------------------------------------ */

static int init(unsigned int flags)
{
	int i;

	if (atomic_load(&fake.owner))
		return flags ? CUDA_ERROR_INVALID_VALUE : 0;
	if (fake.set.init)
		return (int)fake.set.init;
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fake.set.devices)
		return CUDA_ERROR_NO_DEVICE;
	if (!arena_init())
		return CUDA_ERROR_OUT_OF_MEMORY;
	fake.dma_buf = !access("/dev/udmabuf", R_OK | W_OK);
	for (i = 0; i < FAKE_DEVICES; i++)
		fake.contexts[i].device = i;
	atomic_store(&fake.owner, getpid());
	return 0;
}

int cuInit(unsigned int flags)
{
	ENTER(cuInit);

	return init(flags);
}

static int give(int *to, int value)
{
	if (!to)
		return CUDA_ERROR_INVALID_VALUE;
	*to = value;
	return 0;
}

int cuDriverGetVersion(int *version)
{
	ENTER(cuDriverGetVersion);

	return give(version, DRIVER_VERSION);
}

static bool is_device(int dev)
{
	return dev >= 0 && (unsigned long)dev < fake.set.devices;
}

int cuDeviceGetCount(int *count)
{
	ENTER(cuDeviceGetCount);

	return give(count, (int)fake.set.devices);
}

int cuDeviceGet(int *dev, int ordinal)
{
	ENTER(cuDeviceGet);

	if (!is_device(ordinal))
		return CUDA_ERROR_INVALID_DEVICE;
	return give(dev, ordinal);
}

int cuDeviceGetName(char *name, int len, int dev)
{
	ENTER(cuDeviceGetName);

	if (!name || len <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_device(dev))
		return CUDA_ERROR_INVALID_DEVICE;
	snprintf(name, (size_t)len, "Fake GPU %d", dev);
	return 0;
}

int attribute(int device, int which, int *value)
{
	unsigned int i;

	for (i = 0; i < fake.set.attributes; i++) {
		if (fake.set.attribute[i].attribute != which)
			continue;
		*value = fake.set.attribute[i].value;
		return 0;
	}
	switch (which) {
	case CUDA_ATTR_UNIFIED_ADDRESSING:
	case CUDA_ATTR_VMM_SUPPORTED:
	case CUDA_ATTR_RDMA_WITH_VMM_SUPPORTED:
	case CUDA_ATTR_RDMA_SUPPORTED:
		*value = 1;
		return 0;
	case CUDA_ATTR_MULTIPROCESSOR_COUNT:
		*value = 8;
		return 0;
	case CUDA_ATTR_PCI_BUS_ID:
		*value = 0x4a + device;
		return 0;
	case CUDA_ATTR_PCI_DEVICE_ID:
	case CUDA_ATTR_PCI_DOMAIN_ID:
	case CUDA_ATTR_COMPUTE_CAPABILITY_MINOR:
		*value = 0;
		return 0;
	case CUDA_ATTR_COMPUTE_CAPABILITY_MAJOR:
		*value = 9;
		return 0;
	case CUDA_ATTR_RDMA_FLUSH_OPTIONS:
		*value = CUDA_RDMA_FLUSH_HOST;
		return 0;
	case CUDA_ATTR_RDMA_WRITES_ORDERING:
		*value = CUDA_RDMA_ORDERED_OWNER;
		return 0;
	case CUDA_ATTR_DMA_BUF_SUPPORTED:
		*value = fake.dma_buf;
		return 0;
	}
	complain("attribute %d of a device is not known here", which);
	return CUDA_ERROR_INVALID_VALUE;
}

bool is_set(int device, int which)
{
	int value;

	return !attribute(device, which, &value) && value;
}

int cuDeviceGetAttribute(int *value, int which, int dev)
{
	ENTER(cuDeviceGetAttribute);

	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_device(dev))
		return CUDA_ERROR_INVALID_DEVICE;
	return attribute(dev, which, value);
}

/* In capitals, unlike sysfs, as the driver writes it. */
int cuDeviceGetPCIBusId(char *id, int len, int dev)
{
	int domain, bus, device;
	char text[40];
	ENTER(cuDeviceGetPCIBusId);

	if (!is_device(dev))
		return CUDA_ERROR_INVALID_DEVICE;
	attribute(dev, CUDA_ATTR_PCI_DOMAIN_ID, &domain);
	attribute(dev, CUDA_ATTR_PCI_BUS_ID, &bus);
	attribute(dev, CUDA_ATTR_PCI_DEVICE_ID, &device);
	if (!id || snprintf(text, sizeof(text), "%04X:%02X:%02X.0",
			    (unsigned int)domain, (unsigned int)bus,
			    (unsigned int)device) >= len)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(id, (size_t)len, "%s", text);
	return 0;
}

/* ---- contexts -------------------------------------------------------------- */

struct context *current(void)
{
	struct context *ctx = stack.depth ? stack.ctx[stack.depth - 1] : NULL;

	return ctx && ctx->refs ? ctx : NULL;
}

int cuDevicePrimaryCtxRetain(void **ctx, int dev)
{
	ENTER(cuDevicePrimaryCtxRetain);

	if (!ctx)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_device(dev))
		return CUDA_ERROR_INVALID_DEVICE;
	fake.contexts[dev].refs++;
	*ctx = &fake.contexts[dev];
	return 0;
}

/* What was left in it is gone with it; a fault of the device stays. */
static void context_end(struct context *ctx)
{
	struct object *o, *next;

	fake.leaked += streams_end(ctx);
	for (o = fake.objects; o; o = next) {
		next = o->next;
		if (o->ctx != ctx)
			continue;
		fake.leaked++;
		object_drop(o);
	}
}

int cuDevicePrimaryCtxRelease_v2(int dev)
{
	struct context *ctx;
	ENTER(cuDevicePrimaryCtxRelease_v2);

	if (!is_device(dev))
		return CUDA_ERROR_INVALID_DEVICE;
	ctx = &fake.contexts[dev];
	if (!ctx->refs)
		return CUDA_ERROR_INVALID_CONTEXT;
	/* Now, while it is still whole: others may come while this waits. */
	if (ctx->refs == 1) {
		if (fake.spinning)
			fake.would_block++;
		streams_wait();
	}
	if (!--ctx->refs)
		context_end(ctx);
	return 0;
}

static bool is_context(const void *ctx)
{
	int i;

	for (i = 0; i < FAKE_DEVICES; i++)
		if (ctx == &fake.contexts[i])
			return fake.contexts[i].refs;
	return false;
}

int cuCtxPushCurrent_v2(void *ctx)
{
	ENTER(cuCtxPushCurrent_v2);

	if (!is_context(ctx))
		return CUDA_ERROR_INVALID_CONTEXT;
	if (stack.depth == STACK) {
		complain("%d contexts pushed and not popped", STACK);
		return CUDA_ERROR_INVALID_CONTEXT;
	}
	stack.ctx[stack.depth++] = ctx;
	return 0;
}

int cuCtxPopCurrent_v2(void **ctx)
{
	ENTER(cuCtxPopCurrent_v2);

	if (!stack.depth)
		return CUDA_ERROR_INVALID_CONTEXT;
	stack.depth--;
	if (ctx)
		*ctx = stack.ctx[stack.depth];
	return 0;
}

int cuCtxGetCurrent(void **ctx)
{
	ENTER(cuCtxGetCurrent);

	if (!ctx)
		return CUDA_ERROR_INVALID_VALUE;
	*ctx = stack.depth ? stack.ctx[stack.depth - 1] : NULL;
	return 0;
}

int cuCtxGetDevice(int *dev)
{
	ENTER(cuCtxGetDevice);

	return give(dev, current()->device);
}

int cuThreadExchangeStreamCaptureMode(int *mode)
{
	int old;
	ENTER(cuThreadExchangeStreamCaptureMode);

	if (!mode || *mode < 0 || *mode > CUDA_CAPTURE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	old = capture_mode;
	capture_mode = *mode;
	*mode = old;
	return 0;
}
