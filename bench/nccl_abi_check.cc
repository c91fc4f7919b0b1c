// SPDX-License-Identifier: BSD-3-Clause
/*
 * nccl_abi_check.cc - holds nccl_abi.h against NCCL's own nccl.h and CUDA's cuda.h,
 * at compile time, where there are such. Nothing in it is ever called.
 */
#include <type_traits>

#include <cuda.h>
#include <nccl.h>

#include "nccl_abi.h"

namespace
{

/* What a parameter is to the calling convention. */
template <class T>
using plain = std::conditional_t<
	std::is_enum_v<T>, int,
	std::conditional_t<std::is_pointer_v<T>, void *,
			   std::conditional_t<std::is_same_v<T, ncclUniqueId>,
					      nccl_id, T>>>;

template <class F> struct shape;
template <class R, class... P> struct shape<R (*)(P...)> {
	using type = plain<R> (*)(plain<P>...);
};

/* const char * and void * are the same, too. */
template <class A, class B>
constexpr bool same =
	std::is_same_v<typename shape<A>::type, typename shape<B>::type>;

#define CHECK(result, member, symbol, params)                       \
	static_assert(same<decltype(&symbol), decltype(A::member)>, \
		      #symbol " has other parameters");
using A = nccl;
NCCL_CALLS(CHECK)
#undef CHECK

/* By the names that cuda.h has macros for: the symbols behind them are ours. */
static_assert(same<decltype(&cuStreamBeginCapture),
		   decltype(cuda_graphs::capture_begin)>);
static_assert(same<decltype(&cuStreamEndCapture),
		   decltype(cuda_graphs::capture_end)>);
static_assert(same<decltype(&cuGraphInstantiate),
		   decltype(cuda_graphs::instantiate)>);
static_assert(same<decltype(&cuGraphLaunch), decltype(cuda_graphs::launch)>);
static_assert(same<decltype(&cuGraphExecDestroy),
		   decltype(cuda_graphs::exec_destroy)>);
static_assert(
	same<decltype(&cuGraphDestroy), decltype(cuda_graphs::graph_destroy)>);

constexpr bool is(int theirs, int ours)
{
	return theirs == ours;
}

static_assert(sizeof(ncclUniqueId) == sizeof(nccl_id));
static_assert(is(ncclSuccess, NCCL_OK) && is(ncclInProgress, NCCL_IN_PROGRESS));
static_assert(is(ncclInt8, NCCL_TYPE_INT8) && is(ncclInt32, NCCL_TYPE_INT32));
static_assert(is(ncclFloat16, NCCL_TYPE_HALF));
static_assert(is(ncclFloat32, NCCL_TYPE_FLOAT));
static_assert(is(ncclBfloat16, NCCL_TYPE_BFLOAT16));
static_assert(is(ncclSum, NCCL_OP_SUM));

} // namespace
