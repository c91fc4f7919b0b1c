// SPDX-License-Identifier: BSD-3-Clause
/*
 * proxy.h - what NCCL's proxy does around the slots of a table, in the process that
 * calls them: GPU memory is flushed when a receive into it is done, a device's list
 * is unpacked, a receive is told to be consumed; each comm's in their order.
 *
 * GPU memory: the suite makes and checks contents in the test memory (memory.h),
 * where the CPU reaches them. A range of that which is registered as GPU memory has
 * a mirror, memory of the GPU's; the plugin is given addresses in there, and all is
 * copied on the way: to the GPU when a send or a receive is posted, with the red
 * zones around a buffer, and back when a receive is over.
 *
 * One thread posts and tests the requests of a comm, as in NCCL; another one may
 * register memory meanwhile.
 */
#ifndef CONFORMANCE_PROXY_H
#define CONFORMANCE_PROXY_H

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "nccl_net_abi.h"
#include "side.h"

struct unpacker;

class Proxy {
public:
	explicit Proxy(const ncclNet_v12_t *net) : net_(net) {}
	~Proxy();
	Proxy(const Proxy &) = delete;
	Proxy &operator=(const Proxy &) = delete;

	/* Whether irecvConsumed is called; if not, that is left to the test. */
	void consume(bool yes) { consume_ = yes; }
	/* Bytes that came out of a pool by a device's lists. */
	uint64_t unpacked() const { return unpacked_; }

	ncclResult_t listen(void *ctx, int dev, void *handle, void **comm);
	ncclResult_t accept(void *listen_comm, void **comm);
	ncclResult_t reg_mr(void *comm, void *data, size_t size, int type,
			    void **mr);
	/* The mirror of `whole` bytes from `start`, of which `size` at `offset`
	 * are registered, by a dma-buf where plugin and GPU can. */
	ncclResult_t reg_gpu(void *comm, uint8_t *start, size_t whole,
			     uint64_t offset, size_t size, void **mr);
	ncclResult_t dereg_mr(void *comm, void *mr);
	ncclResult_t isend(void *comm, void *data, size_t size, int tag,
			   void *mr, void **request);
	ncclResult_t irecv(void *comm, Call &call, void **request);
	ncclResult_t iflush(void *comm, Call &call, void **request);
	ncclResult_t test(void *request, int *done, int *sizes);
	ncclResult_t close_recv(void *comm);

private:
	struct Mirror;
	struct Receive;
	struct Progress;

	static Progress &progress();
	std::shared_ptr<Mirror> find(const void *data);
	std::shared_ptr<Mirror> make(uint8_t *start, size_t size);
	void *for_plugin(void *data, void *mr);
	ncclResult_t post_receive(void *comm, Call &call, void *request);
	ncclResult_t settle(void *comm);
	ncclResult_t finish(Receive &receive);
	ncclResult_t flush(Receive &receive);
	ncclResult_t unpack(Receive &receive);
	struct unpacker *unpack_of(void *comm);
	ncclResult_t tell_device(void *comm, void *mr);

	const ncclNet_v12_t *net_;
	std::atomic<bool> consume_ = true;
	std::atomic<bool> unpacks_ = false;
	std::atomic<uint64_t> unpacked_ = 0;
	std::mutex lock_; /* of the rest, which host memory never needs */
	std::multimap<void *, std::shared_ptr<Mirror>> mirrors_; /* by mr */
	std::map<void *, ncclNetDeviceHandle_v11_t> listeners_;
	std::map<void *, struct unpacker *> unpack_; /* by comm */
};

#endif
