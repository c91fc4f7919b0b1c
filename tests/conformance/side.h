// SPDX-License-Identifier: BSD-3-Clause
/*
 * side.h - one user of the plugin: in this process or in another one.
 *
 * Side has a method for each slot of the table. LocalSide calls the table;
 * RemoteSide sends the call to a process of its own, which has loaded the
 * plugin for itself, perhaps in another network namespace. Data pointers are
 * valid on both (memory.h), also of what is registered as GPU memory, which a side
 * has for itself (proxy.h); comms, handles and requests are opaque and only mean
 * something to the side that made them.
 */
#ifndef CONFORMANCE_SIDE_H
#define CONFORMANCE_SIDE_H

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nccl_net_abi.h"
#include "table.h"

/* Results that are not NCCL's: the other process is gone, or it hangs. */
constexpr auto peer_gone = static_cast<ncclResult_t>(1000);
constexpr auto peer_hangs = static_cast<ncclResult_t>(1001);

constexpr int max_group = 8; /* receives in one irecv that we ever try */

enum class Op : uint32_t {
	open, close, init, finalize, devices, properties, listen, connect,
	accept, reg_mr, reg_mr_dmabuf, dereg_mr, isend, irecv, iflush, test,
	close_send, close_recv, close_listen, set_net_attr,
	count_fds, count_threads, set_env, make_udmabuf, close_fd,
	own_network, reg_gpu,
};

/* A call and its answer; small enough to be one datagram. */
struct Call {
	Op op;
	ncclResult_t result;
	uint64_t arg[6];
	uint64_t out[2];
	union {
		char text[1024];
		unsigned char handle[NCCL_NET_HANDLE_MAXSIZE];
		ncclNetProperties_v12_t properties;
		ncclNetAttr_v11_t attr;
		int sizes[64];
		struct {
			void *data[max_group];
			size_t size[max_group];
			int tag[max_group];
			int isize[max_group];
			void *mr[max_group];
		} group;
	};
};

struct alignas(8) Handle : std::array<unsigned char, NCCL_NET_HANDLE_MAXSIZE> {
};

/* What a slot returned, and the pointer that it gave out. */
struct Got {
	ncclResult_t result;
	void *pointer;
	bool ok() const { return result == ncclSuccess; }
};

struct Tested {
	ncclResult_t result;
	bool done;
	std::array<int, 64> sizes;
};

struct Piece {
	void *data;
	size_t size;
	int tag;
	void *mr;
};

class Side {
public:
	virtual ~Side() = default;
	virtual void call(Call &call) = 0;

	/* dlopen of the plugin, and one table; "" or what went wrong. */
	std::string open(int version);
	void close();

	Got init(uint64_t comm_id = 1);
	ncclResult_t finalize(void *ctx);
	ncclResult_t devices(int *count);
	ncclResult_t properties(int dev, ncclNetProperties_v12_t *props,
				std::string *name = nullptr,
				std::string *pci_path = nullptr);
	Got listen(void *ctx, int dev, Handle &handle);
	/* `handle` lies in the test memory and stays there between calls. */
	Got connect(void *ctx, int dev, Handle &handle);
	Got accept(void *listen_comm);
	Got reg_mr(void *comm, void *data, size_t size, int type);
	Got reg_mr_dmabuf(void *comm, void *data, size_t size, int type,
			  uint64_t offset, int fd);
	/* As GPU memory: `size` bytes at `offset` of `whole` from `start`. */
	Got reg_gpu(void *comm, uint8_t *start, size_t whole, uint64_t offset,
		    size_t size);
	ncclResult_t dereg_mr(void *comm, void *mr);
	/* `preset`: what *request holds when the slot is entered. */
	Got isend(void *comm, const Piece &piece, void *preset = nullptr);
	Got irecv(void *comm, const std::vector<Piece> &pieces,
		  void *preset = nullptr);
	Got iflush(void *comm, const std::vector<Piece> &pieces);
	Tested test(void *request, bool want_sizes = true);
	ncclResult_t close_send(void *comm);
	ncclResult_t close_recv(void *comm);
	ncclResult_t close_listen(void *comm);
	ncclResult_t set_net_attr(void *ctx, const ncclNetAttr_v11_t &attr);

	/* Not slots: the state of the process that the side lives in. */
	int fds();
	int threads();
	void set_env(const std::string &name, const std::string &value);
	/* A dma-buf over pages of the test memory; -errno if there is none. */
	int make_udmabuf(const void *page_start, size_t size);
	void close_fd(int fd);
	/* network.h; only for a process of its own. */
	std::string own_network(int family);

private:
	uint64_t simple(Op op, std::initializer_list<uint64_t> args,
			ncclResult_t *result);
	Got group(Op op, void *comm, const std::vector<Piece> &pieces,
		  void *preset);
};

class Proxy;

class LocalSide : public Side {
public:
	explicit LocalSide(std::string path);
	~LocalSide() override;
	LocalSide(const LocalSide &) = delete;
	LocalSide &operator=(const LocalSide &) = delete;

	void call(Call &call) override;
	Table *table() const { return net_.get(); }
	/* irecvConsumed is called for each receive; if not, by the test. */
	void consume(bool yes);
	/* Bytes that came by lists which a device leaves for GPU code. */
	uint64_t unpacked() const;

private:
	void open_plugin(Call &call);
	void net_call(Call &call);

	std::string path_;
	void *library_ = nullptr;
	std::unique_ptr<Table> net_;
	std::unique_ptr<Proxy> proxy_;
};

class RemoteSide : public Side {
public:
	RemoteSide();
	~RemoteSide() override;
	RemoteSide(const RemoteSide &) = delete;
	RemoteSide &operator=(const RemoteSide &) = delete;

	void call(Call &call) override;
	bool started() const { return pid_ > 0; }
	void kill(); /* SIGKILL, and waits until it is gone */
	/* SIGSTOP and SIGCONT: alive, but it makes no progress. */
	void freeze();
	void thaw();

private:
	int socket_ = -1;
	pid_t pid_ = -1;
};

/*
 * Forks the process that later forks the remote sides, so that these start
 * from an image that never loaded a plugin. Call in main, after
 * memory::create and before anything else.
 */
bool start_peers(const std::string &plugin_path);

#endif
