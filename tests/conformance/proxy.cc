// SPDX-License-Identifier: BSD-3-Clause
/* proxy.cc - see proxy.h. */
#include "proxy.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>

#include "cuda_memory.h"
#include "unpacker.h"

namespace {

constexpr auto flush_limit = std::chrono::seconds(10);

uintptr_t page_size()
{
	static const uintptr_t size = sysconf(_SC_PAGESIZE);

	return size;
}

uint8_t *page_down(uint8_t *at)
{
	return at - reinterpret_cast<uintptr_t>(at) % page_size();
}

size_t page_up(size_t size)
{
	return (size + page_size() - 1) / page_size() * page_size();
}

/* Of the GPU itself, never of the plugin. */
ncclResult_t gpu_result(int error, const char *what)
{
	if (!error)
		return ncclSuccess;
	fprintf(stderr, "conformance: %s: %s\n", what, gpu_text(error));
	return ncclUnhandledCudaError;
}

} // namespace

/* Of whole pages of the test memory. */
struct Proxy::Mirror {
	uint8_t *first;
	size_t size;
	struct gpu_memory gpu = {};
	std::atomic<int> receives = 0; /* posted and not over */

	Mirror(uint8_t *from, size_t bytes) : first(from), size(bytes) {}
	~Mirror() { gpu_free(&gpu); }

	bool has(const void *data) const
	{
		auto *at = static_cast<const uint8_t *>(data);

		return at >= first && at < first + size;
	}
	uint64_t at(const void *data) const
	{
		return gpu.at + (static_cast<const uint8_t *>(data) - first);
	}
	ncclResult_t upload(const void *data, size_t bytes) const
	{
		return gpu_result(gpu_write(at(data), data, bytes),
				  "copying to the GPU");
	}
	ncclResult_t download() const
	{
		return gpu_result(gpu_read(first, gpu.at, size),
				  "copying from the GPU");
	}
};

struct Proxy::Receive {
	void *comm, *request;
	struct unpacker *unpack;
	bool over = false, failed = false;
	int count;
	int bytes[max_group];
	void *data[max_group], *mr[max_group]; /* as the plugin has them */
	std::vector<std::weak_ptr<Mirror>> mirrors;
};

/* A thread's own, so that nothing here puts threads of a test in order. */
struct Proxy::Progress {
	std::map<void *, std::shared_ptr<Receive>> posted; /* by request */
	std::map<void *, std::deque<std::shared_ptr<Receive>>> order; /* by comm */
	/* What the plugin has refused for now: on the GPU already. By comm. */
	std::map<void *, std::pair<void *, size_t>> offered;

	bool again(void *comm, void *data, size_t size) const
	{
		auto it = offered.find(comm);

		return it != offered.end() &&
		       it->second == std::make_pair(data, size);
	}
	void answer(void *comm, void *data, size_t size, void *request)
	{
		offered.erase(comm);
		if (!request)
			offered[comm] = {data, size};
	}
};

Proxy::Progress &Proxy::progress()
{
	static thread_local Progress own;

	return own;
}

Proxy::~Proxy()
{
	char why[256];

	for (auto &[comm, unpack] : unpack_)
		unpacker_close(unpack, why, sizeof(why));
}

/* ---- connections ------------------------------------------------------------- */

ncclResult_t Proxy::listen(void *ctx, int dev, void *handle, void **comm)
{
	ncclResult_t result = net_->listen(ctx, dev, handle, comm);
	ncclNetProperties_v12_t props = {};

	if (result != ncclSuccess || net_->getProperties(dev, &props) ||
	    props.netDeviceType != NCCL_NET_DEVICE_UNPACK)
		return result;
	std::lock_guard<std::mutex> guard(lock_);
	unpacks_ = true;
	unpacker_prepare(&listeners_[*comm]);
	return result;
}

ncclResult_t Proxy::accept(void *listen_comm, void **comm)
{
	ncclNetDeviceHandle_v11_t *handle = nullptr;
	char why[256];

	if (unpacks_) {
		std::lock_guard<std::mutex> guard(lock_);
		auto it = listeners_.find(listen_comm);

		if (it != listeners_.end())
			handle = &it->second;
	}
	ncclNetDeviceHandle_v11_t *given = handle;
	ncclResult_t result = net_->accept(listen_comm, comm, &given);
	if (result != ncclSuccess || !*comm)
		return result;
	/* Of one with the same address that nobody closed. */
	progress().order.erase(*comm);
	if (!handle)
		return result;
	std::lock_guard<std::mutex> guard(lock_);
	struct unpacker *unpack;
	if (!unpacker_open(handle, &unpack, why, sizeof(why))) {
		fprintf(stderr, "conformance: %s\n", why);
		return ncclInternalError;
	}
	if (unpack)
		unpack_[*comm] = unpack;
	return ncclSuccess;
}

struct unpacker *Proxy::unpack_of(void *comm)
{
	if (!unpacks_)
		return nullptr;
	std::lock_guard<std::mutex> guard(lock_);
	auto it = unpack_.find(comm);

	return it == unpack_.end() ? nullptr : it->second;
}

ncclResult_t Proxy::close_recv(void *comm)
{
	Progress &mine = progress();
	char why[256];

	for (auto &receive : mine.order[comm]) {
		mine.posted.erase(receive->request);
		for (auto &weak : receive->mirrors)
			if (auto mirror = weak.lock())
				mirror->receives--;
	}
	mine.order.erase(comm);
	mine.offered.erase(comm);
	if (struct unpacker *unpack = unpack_of(comm)) {
		std::lock_guard<std::mutex> guard(lock_);

		unpacker_close(unpack, why, sizeof(why));
		unpack_.erase(comm);
	}
	return net_->closeRecv(comm);
}

/* ---- memory ------------------------------------------------------------------ */

std::shared_ptr<Proxy::Mirror> Proxy::find(const void *data)
{
	if (!gpu_is_open())
		return nullptr;
	std::lock_guard<std::mutex> guard(lock_);

	for (auto &[mr, mirror] : mirrors_)
		if (mirror->has(data))
			return mirror;
	return nullptr;
}

/* With the red zones of a page on either side; nothing if there is no memory. */
std::shared_ptr<Proxy::Mirror> Proxy::make(uint8_t *start, size_t size)
{
	uint8_t *first = page_down(start) - page_size();
	size_t bytes = page_up(start + size - first) + page_size();
	auto mirror = std::make_shared<Mirror>(first, bytes);

	if (gpu_result(gpu_alloc(&mirror->gpu, bytes), "GPU memory") ||
	    mirror->upload(first, bytes))
		return nullptr;
	return mirror;
}

ncclResult_t Proxy::reg_gpu(void *comm, uint8_t *start, size_t whole,
			    uint64_t offset, size_t size, void **mr)
{
	std::shared_ptr<Mirror> mirror = find(start);
	uint8_t *page = page_down(start);
	ncclResult_t result;
	int fd = -1;

	if (!mirror)
		mirror = make(start, whole);
	if (!mirror)
		return ncclUnhandledCudaError;
	auto *data = reinterpret_cast<uint8_t *>(mirror->at(start)) + offset;
	if (net_->regMrDmaBuf && gpu_exports()) {
		/* Only whole pages can be one, and not none. */
		result = gpu_result(gpu_export(mirror->at(page),
					       page_up(start + whole + !whole -
						       page),
					       &fd), "a dma-buf");
		if (result != ncclSuccess)
			return result;
		result = net_->regMrDmaBuf(comm, data, size, NCCL_PTR_CUDA,
					   start - page + offset, fd, mr);
		::close(fd);
	} else {
		result = net_->regMr(comm, data, size, NCCL_PTR_CUDA, mr);
	}
	if (result != ncclSuccess)
		return result;
	{
		std::lock_guard<std::mutex> guard(lock_);

		mirrors_.emplace(*mr, mirror);
	}
	return tell_device(comm, *mr);
}

ncclResult_t Proxy::reg_mr(void *comm, void *data, size_t size, int type,
			   void **mr)
{
	ncclResult_t result = net_->regMr(comm, data, size, type, mr);

	return result == ncclSuccess ? tell_device(comm, *mr) : result;
}

/* NCCL asks of each buffer of its own what it is to GPU code that unpacks. */
ncclResult_t Proxy::tell_device(void *comm, void *mr)
{
	void *for_device = nullptr;

	if (!unpack_of(comm) || !net_->getDeviceMr)
		return ncclSuccess;
	return net_->getDeviceMr(comm, mr, &for_device);
}

ncclResult_t Proxy::dereg_mr(void *comm, void *mr)
{
	ncclResult_t result = net_->deregMr(comm, mr);

	if (!gpu_is_open())
		return result;
	std::lock_guard<std::mutex> guard(lock_);
	auto it = mirrors_.find(mr);

	if (it != mirrors_.end())
		mirrors_.erase(it);
	return result;
}

/* Memory without a registration is nobody's mirror. */
void *Proxy::for_plugin(void *data, void *mr)
{
	std::shared_ptr<Mirror> mirror = mr ? find(data) : nullptr;

	return mirror ? reinterpret_cast<void *>(mirror->at(data)) : data;
}

/* ---- messages ---------------------------------------------------------------- */

ncclResult_t Proxy::isend(void *comm, void *data, size_t size, int tag,
			  void *mr, void **request)
{
	std::shared_ptr<Mirror> mirror = mr ? find(data) : nullptr;
	Progress &mine = progress();
	ncclResult_t result;

	if (mirror && !mine.again(comm, data, size) &&
	    (result = mirror->upload(data, size)) != ncclSuccess)
		return result;
	result = net_->isend(comm, for_plugin(data, mr), size, tag, mr, nullptr,
			     request);
	if (mirror)
		mine.answer(comm, data, size, *request);
	return result;
}

/* Which are over is looked for in the order in which they were posted. */
ncclResult_t Proxy::post_receive(void *comm, Call &call, void *request)
{
	int count = static_cast<int>(call.arg[1]);
	auto receive = std::make_shared<Receive>();
	Progress &mine = progress();

	receive->comm = comm;
	receive->request = request;
	receive->unpack = unpack_of(comm);
	receive->count = count;
	for (int i = 0; i < count; i++) {
		void *data = call.group.data[i];

		auto mirror = call.group.mr[i] ? find(data) : nullptr;

		receive->data[i] = for_plugin(data, call.group.mr[i]);
		receive->mr[i] = call.group.mr[i];
		receive->bytes[i] = static_cast<int>(call.group.size[i]);
		if (mirror) {
			mirror->receives++;
			receive->mirrors.push_back(mirror);
		}
	}
	mine.posted[request] = receive;
	mine.order[comm].push_back(receive);
	return ncclSuccess;
}

ncclResult_t Proxy::irecv(void *comm, Call &call, void **request)
{
	size_t count = call.arg[1];
	void *data[max_group], *phandles[max_group] = {};
	Progress &mine = progress();
	ncclResult_t result;

	if (count > max_group)
		return ncclInternalError;
	for (size_t i = 0; i < count; i++) {
		auto mirror = call.group.mr[i] ? find(call.group.data[i]) :
						 nullptr;

		data[i] = for_plugin(call.group.data[i], call.group.mr[i]);
		/* While others are on their way there, it is theirs. */
		if (mirror && !mirror->receives &&
		    !mine.again(comm, call.group.data[0], call.group.size[0]) &&
		    (result = mirror->upload(mirror->first, mirror->size)) !=
			    ncclSuccess)
			return result;
	}
	result = net_->irecv(comm, static_cast<int>(count), data,
			     call.group.size, call.group.tag, call.group.mr,
			     phandles, request);
	if (gpu_is_open())
		mine.answer(comm, call.group.data[0], call.group.size[0],
			    *request);
	if (result != ncclSuccess || !*request)
		return result;
	return post_receive(comm, call, *request);
}

ncclResult_t Proxy::iflush(void *comm, Call &call, void **request)
{
	int count = static_cast<int>(call.arg[1]);
	void *data[max_group];

	for (int i = 0; i < count && i < max_group; i++)
		data[i] = for_plugin(call.group.data[i], call.group.mr[i]);
	return net_->iflush(comm, count, data, call.group.isize, call.group.mr,
			    request);
}

ncclResult_t Proxy::test(void *request, int *done, int *sizes)
{
	Progress &mine = progress();
	std::shared_ptr<Receive> receive;
	auto it = mine.posted.find(request);

	/* A request that is done may be another one's at once. */
	if (it != mine.posted.end()) {
		receive = it->second;
		mine.posted.erase(it);
	}
	ncclResult_t result = net_->test(request, done, sizes);
	if (!receive)
		return result;
	if (result == ncclSuccess && !*done) {
		mine.posted[request] = receive;
		return result;
	}
	receive->over = true;
	receive->failed = result != ncclSuccess;
	for (int i = 0; sizes && i < receive->count; i++)
		receive->bytes[i] = sizes[i];
	ncclResult_t settled = settle(receive->comm);
	return result == ncclSuccess ? settled : result;
}

/* ---- receives that are over -------------------------------------------------- */

ncclResult_t Proxy::settle(void *comm)
{
	auto &order = progress().order[comm];
	ncclResult_t result = ncclSuccess;

	while (result == ncclSuccess && !order.empty() && order.front()->over) {
		std::shared_ptr<Receive> receive = order.front();

		order.pop_front();
		result = finish(*receive);
	}
	return result;
}

ncclResult_t Proxy::finish(Receive &receive)
{
	ncclResult_t result = ncclSuccess;

	if (!receive.failed)
		result = flush(receive);
	if (!receive.failed && result == ncclSuccess)
		result = unpack(receive);
	for (auto &weak : receive.mirrors)
		if (auto mirror = weak.lock()) {
			mirror->receives--;
			if (result == ncclSuccess)
				result = mirror->download();
		}
	if (!receive.failed && result == ncclSuccess && consume_ &&
	    net_->irecvConsumed)
		result = net_->irecvConsumed(receive.comm, receive.count,
					     receive.request);
	return result;
}

/* Receives into GPU memory, those of nothing aside. */
ncclResult_t Proxy::flush(Receive &receive)
{
	auto end = std::chrono::steady_clock::now() + flush_limit;
	void *request = nullptr;
	int total = 0, done = 0;

	for (int i = 0; i < receive.count; i++)
		total += receive.bytes[i];
	if (receive.mirrors.empty() || !total)
		return ncclSuccess;
	ncclResult_t result = net_->iflush(receive.comm, receive.count,
					   receive.data, receive.bytes,
					   receive.mr, &request);
	while (result == ncclSuccess && request && !done) {
		result = net_->test(request, &done, nullptr);
		sched_yield();
		if (std::chrono::steady_clock::now() > end) {
			fprintf(stderr, "conformance: iflush has no end\n");
			return ncclInternalError;
		}
	}
	return result;
}

ncclResult_t Proxy::unpack(Receive &receive)
{
	char why[256];

	if (!receive.unpack)
		return ncclSuccess;
	uint64_t before = unpacker_bytes(receive.unpack);
	bool done = unpacker_next(receive.unpack,
				  reinterpret_cast<uintptr_t>(receive.data[0]),
				  receive.bytes[0], why, sizeof(why));
	unpacked_ += unpacker_bytes(receive.unpack) - before;
	if (done)
		return ncclSuccess;
	fprintf(stderr, "conformance: unpacking: %s\n", why);
	return ncclInternalError;
}
