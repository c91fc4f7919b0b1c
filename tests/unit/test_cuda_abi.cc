// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_cuda_abi.cc - transport/cuda_abi.h says of the driver's interface what CUDA's
 * own header says, where there is one to compare with (CUDA_HEADER): constants,
 * layouts, and how each function is called.
 */
#include <gtest/gtest.h>

#ifndef CUDA_HEADER

TEST(CudaAbi, IsThatOfTheDriver)
{
	GTEST_SKIP() << "no cuda.h was found when this was built";
}

#else

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include CUDA_HEADER

/* Both name the errors: each in a room of its own. */
namespace ours
{
#include "cuda_abi.h"
}

namespace
{

/*
 * Is a value of one type handed over as one of the other is? Integers and enums by
 * their size, pointers by what they point to, where a void may be anything.
 */
template <class A, class B> constexpr bool same_value()
{
	constexpr bool a_number = std::is_integral_v<A> || std::is_enum_v<A>;
	constexpr bool b_number = std::is_integral_v<B> || std::is_enum_v<B>;

	if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
		using TargetA = std::remove_pointer_t<A>;
		using TargetB = std::remove_pointer_t<B>;

		/* Who writes to what the other may only read? */
		if (std::is_const_v<TargetB> && !std::is_const_v<TargetA>)
			return false;
		if constexpr (std::is_void_v<TargetA> ||
			      std::is_void_v<TargetB>)
			return true;
		else
			return same_value<std::remove_cv_t<TargetA>,
					  std::remove_cv_t<TargetB>>();
	} else if constexpr (std::is_class_v<A> && std::is_class_v<B>) {
		return sizeof(A) == sizeof(B) && alignof(A) == alignof(B);
	} else if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
		return sizeof(A) == sizeof(B) &&
		       std::is_signed_v<A> == std::is_signed_v<B>;
	} else {
		return a_number && b_number && sizeof(A) == sizeof(B);
	}
}

template <class A, class B> struct Calls : std::false_type {
};

template <class RA, class... A, class RB, class... B>
struct Calls<RA (*)(A...), RB (*)(B...)> {
	static constexpr bool value = [] {
		if constexpr (sizeof...(A) != sizeof...(B))
			return false;
		else
			return same_value<RA, RB>() &&
			       (same_value<A, B>() && ...);
	}();
};

/* That the comparison sees a difference. */
struct two_words {
	long a, b;
};
static_assert(Calls<int (*)(int *), CUresult (*)(CUdevice *)>::value);
static_assert(Calls<int (*)(uint64_t), CUresult (*)(CUdeviceptr)>::value);
static_assert(Calls<int (*)(void **), CUresult (*)(CUcontext *)>::value);
static_assert(!Calls<int (*)(int), CUresult (*)(CUdeviceptr)>::value);
static_assert(!Calls<int (*)(int *), CUresult (*)(size_t *)>::value);
static_assert(!Calls<int (*)(void *), CUresult (*)(CUdeviceptr)>::value);
static_assert(!Calls<int (*)(int), CUresult (*)(int, int)>::value);
static_assert(!Calls<int (*)(int), CUresult (*)(unsigned int)>::value);
static_assert(!Calls<long (*)(), CUresult (*)()>::value);
static_assert(!Calls<int (*)(void *), CUresult (*)(const void *)>::value);
static_assert(
	!Calls<int (*)(two_words *), CUresult (*)(CUmemAccessDesc *)>::value);

#define SAME_CALL(member, symbol, params)                              \
	{                                                              \
		using Ours = int(*) params;                            \
		EXPECT_TRUE((Calls<Ours, decltype(&::symbol)>::value)) \
			<< #symbol;                                    \
	}

namespace functions
{
using namespace ours;

TEST(CudaAbi, FunctionsAreCalledAsTheyAreDeclared)
{
	CUDA_CALLS(SAME_CALL)
	CUDA_CALLS_OPTIONAL(SAME_CALL)
}
} // namespace functions

#define SAME(mine, theirs) \
	EXPECT_EQ(long(mine), long(theirs)) << #mine " is not " #theirs
#define SAME_NAME(name) SAME(ours::name, ::name)

TEST(CudaAbi, ErrorsHaveTheirNumbers)
{
	SAME_NAME(CUDA_SUCCESS);
	SAME_NAME(CUDA_ERROR_INVALID_VALUE);
	SAME_NAME(CUDA_ERROR_OUT_OF_MEMORY);
	SAME_NAME(CUDA_ERROR_NOT_INITIALIZED);
	SAME_NAME(CUDA_ERROR_DEINITIALIZED);
	SAME_NAME(CUDA_ERROR_NO_DEVICE);
	SAME_NAME(CUDA_ERROR_INVALID_DEVICE);
	SAME_NAME(CUDA_ERROR_INVALID_IMAGE);
	SAME_NAME(CUDA_ERROR_INVALID_CONTEXT);
	SAME_NAME(CUDA_ERROR_NO_BINARY_FOR_GPU);
	SAME_NAME(CUDA_ERROR_INVALID_HANDLE);
	SAME_NAME(CUDA_ERROR_NOT_FOUND);
	SAME_NAME(CUDA_ERROR_NOT_READY);
	SAME_NAME(CUDA_ERROR_ILLEGAL_ADDRESS);
	SAME_NAME(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
	SAME_NAME(CUDA_ERROR_LAUNCH_FAILED);
	SAME_NAME(CUDA_ERROR_NOT_SUPPORTED);
	SAME_NAME(CUDA_ERROR_UNKNOWN);
}

#define SAME_ATTR(mine, theirs) \
	SAME(ours::CUDA_ATTR_##mine, ::CU_DEVICE_ATTRIBUTE_##theirs)

TEST(CudaAbi, AttributesHaveTheirNumbers)
{
	SAME_ATTR(MULTIPROCESSOR_COUNT, MULTIPROCESSOR_COUNT);
	SAME_ATTR(PCI_BUS_ID, PCI_BUS_ID);
	SAME_ATTR(PCI_DEVICE_ID, PCI_DEVICE_ID);
	SAME_ATTR(PCI_DOMAIN_ID, PCI_DOMAIN_ID);
	SAME_ATTR(UNIFIED_ADDRESSING, UNIFIED_ADDRESSING);
	SAME_ATTR(COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MAJOR);
	SAME_ATTR(COMPUTE_CAPABILITY_MINOR, COMPUTE_CAPABILITY_MINOR);
	SAME_ATTR(VMM_SUPPORTED, VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED);
	SAME_ATTR(RDMA_WITH_VMM_SUPPORTED,
		  GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED);
	SAME_ATTR(RDMA_SUPPORTED, GPU_DIRECT_RDMA_SUPPORTED);
	SAME_ATTR(RDMA_FLUSH_OPTIONS, GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS);
	SAME_ATTR(RDMA_WRITES_ORDERING, GPU_DIRECT_RDMA_WRITES_ORDERING);
	SAME_ATTR(DMA_BUF_SUPPORTED, DMA_BUF_SUPPORTED);
}

TEST(CudaAbi, FlagsAndKindsHaveTheirNumbers)
{
	SAME(CUDA_RDMA_FLUSH_HOST, CU_FLUSH_GPU_DIRECT_RDMA_WRITES_OPTION_HOST);
	SAME(CUDA_RDMA_ORDERED_NONE, CU_GPU_DIRECT_RDMA_WRITES_ORDERING_NONE);
	SAME(CUDA_RDMA_ORDERED_OWNER, CU_GPU_DIRECT_RDMA_WRITES_ORDERING_OWNER);
	SAME(CUDA_RDMA_ORDERED_ALL,
	     CU_GPU_DIRECT_RDMA_WRITES_ORDERING_ALL_DEVICES);
	SAME(CUDA_RDMA_FLUSH_TARGET_CTX,
	     CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX);
	SAME(CUDA_RDMA_FLUSH_TO_OWNER,
	     CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER);
	SAME(ours::CUDA_POINTER_CONTEXT, CU_POINTER_ATTRIBUTE_CONTEXT);
	SAME(ours::CUDA_POINTER_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
	SAME(ours::CUDA_POINTER_SYNC_MEMOPS, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS);
	SAME(ours::CUDA_POINTER_DEVICE_ORDINAL,
	     CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
	SAME(CUDA_MEMORY_HOST, CU_MEMORYTYPE_HOST);
	SAME(CUDA_MEMORY_DEVICE, CU_MEMORYTYPE_DEVICE);
	SAME(CUDA_HOST_PORTABLE, CU_MEMHOSTALLOC_PORTABLE);
	SAME(CUDA_HOST_DEVICEMAP, CU_MEMHOSTALLOC_DEVICEMAP);
	SAME(CUDA_HOST_PORTABLE, CU_MEMHOSTREGISTER_PORTABLE);
	SAME(CUDA_HOST_DEVICEMAP, CU_MEMHOSTREGISTER_DEVICEMAP);
	SAME(CUDA_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
	SAME(CUDA_CAPTURE_RELAXED, CU_STREAM_CAPTURE_MODE_RELAXED);
	SAME(CUDA_RANGE_DMA_BUF_FD, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD);
#if CUDA_VERSION >= 12080
	SAME(CUDA_RANGE_DMA_BUF_PCIE,
	     CU_MEM_RANGE_FLAG_DMA_BUF_MAPPING_TYPE_PCIE);
#endif
	SAME(CUDA_ALLOC_PINNED, CU_MEM_ALLOCATION_TYPE_PINNED);
	SAME(CUDA_LOCATION_DEVICE, CU_MEM_LOCATION_TYPE_DEVICE);
	SAME(CUDA_ACCESS_READ_WRITE, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
	SAME(CUDA_GRANULARITY_MINIMUM, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
	SAME(CUDA_GRANULARITY_RECOMMENDED,
	     CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
}

#define SAME_FIELD(mine, field, theirs, other)                      \
	SAME(offsetof(ours::mine, field), offsetof(theirs, other)); \
	SAME(sizeof(ours::mine::field), sizeof(((theirs *)nullptr)->other))

TEST(CudaAbi, StructsAreLaidOutAlike)
{
	SAME(sizeof(ours::cuda_location), sizeof(CUmemLocation));
	SAME_FIELD(cuda_location, type, CUmemLocation, type);
	SAME_FIELD(cuda_location, id, CUmemLocation, id);
	SAME(sizeof(ours::cuda_alloc_prop), sizeof(CUmemAllocationProp));
	SAME_FIELD(cuda_alloc_prop, type, CUmemAllocationProp, type);
	SAME_FIELD(cuda_alloc_prop, handle_types, CUmemAllocationProp,
		   requestedHandleTypes);
	SAME_FIELD(cuda_alloc_prop, location, CUmemAllocationProp, location);
	SAME_FIELD(cuda_alloc_prop, win32, CUmemAllocationProp,
		   win32HandleMetaData);
	SAME_FIELD(cuda_alloc_prop, compression, CUmemAllocationProp,
		   allocFlags.compressionType);
	SAME_FIELD(cuda_alloc_prop, rdma_capable, CUmemAllocationProp,
		   allocFlags.gpuDirectRDMACapable);
	SAME_FIELD(cuda_alloc_prop, usage, CUmemAllocationProp,
		   allocFlags.usage);
	SAME_FIELD(cuda_alloc_prop, reserved, CUmemAllocationProp,
		   allocFlags.reserved);
	SAME(sizeof(ours::cuda_access), sizeof(CUmemAccessDesc));
	SAME_FIELD(cuda_access, location, CUmemAccessDesc, location);
	SAME_FIELD(cuda_access, flags, CUmemAccessDesc, flags);
}

} // namespace

#endif
