// SPDX-License-Identifier: BSD-3-Clause
/* side.cc - Side's methods as calls, and how a call reaches the table. */
#include "side.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "memory.h"
#include "network.h"
#include "proxy.h"

namespace {

uint64_t word(const void *pointer)
{
	return reinterpret_cast<uintptr_t>(pointer);
}

void *pointer(uint64_t word)
{
	return reinterpret_cast<void *>(word);
}

Call make_call(Op op, std::initializer_list<uint64_t> args)
{
	Call call;

	memset(static_cast<void *>(&call), 0, sizeof(call));
	call.op = op;
	std::copy(args.begin(), args.end(), call.arg);
	return call;
}

int count_entries(const char *folder)
{
	DIR *dir = opendir(folder);
	int count = 0;

	if (!dir)
		return -1;
	while (struct dirent *entry = readdir(dir))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

int udmabuf_over(const void *start, size_t size)
{
	struct udmabuf_create create = {};
	int device = ::open("/dev/udmabuf", O_RDWR | O_CLOEXEC);

	if (device < 0)
		return -errno;
	create.memfd = memory::fd();
	create.flags = UDMABUF_FLAGS_CLOEXEC;
	create.offset = memory::offset_of(start);
	create.size = size;
	int fd = ioctl(device, UDMABUF_CREATE, &create);
	int error = errno;
	::close(device);
	return fd < 0 ? -error : fd;
}

} // namespace

uint64_t Side::simple(Op op, std::initializer_list<uint64_t> args,
		      ncclResult_t *result)
{
	Call request = make_call(op, args);

	call(request);
	if (result)
		*result = request.result;
	return request.out[0];
}

std::string Side::open(int version)
{
	Call request = make_call(Op::open, {static_cast<uint64_t>(version)});

	call(request);
	request.text[sizeof(request.text) - 1] = 0;
	return request.result == ncclSuccess ? "" : request.text;
}

void Side::close()
{
	simple(Op::close, {}, nullptr);
}

Got Side::init(uint64_t comm_id)
{
	Got got = {};

	got.pointer = pointer(simple(Op::init, {comm_id}, &got.result));
	return got;
}

ncclResult_t Side::finalize(void *ctx)
{
	ncclResult_t result;

	simple(Op::finalize, {word(ctx)}, &result);
	return result;
}

ncclResult_t Side::devices(int *count)
{
	ncclResult_t result;

	*count = static_cast<int>(simple(Op::devices, {}, &result));
	return result;
}

ncclResult_t Side::properties(int dev, ncclNetProperties_v12_t *props,
			      std::string *name, std::string *pci_path)
{
	Call request = make_call(Op::properties, {static_cast<uint64_t>(dev)});

	request.properties = *props;
	call(request);
	*props = request.properties;
	/* The strings live in the side's process; they follow the struct. */
	const char *strings = request.text + sizeof(*props);
	if (name)
		*name = strings;
	if (pci_path)
		*pci_path = strings + strlen(strings) + 1;
	return request.result;
}

Got Side::listen(void *ctx, int dev, Handle &handle)
{
	Call request = make_call(Op::listen, {word(ctx),
					      static_cast<uint64_t>(dev)});

	memcpy(request.handle, handle.data(), handle.size());
	call(request);
	memcpy(handle.data(), request.handle, handle.size());
	return {request.result, pointer(request.out[0])};
}

Got Side::connect(void *ctx, int dev, Handle &handle)
{
	Got got = {};

	got.pointer = pointer(simple(Op::connect,
				     {word(ctx), static_cast<uint64_t>(dev),
				      word(&handle)}, &got.result));
	return got;
}

Got Side::accept(void *listen_comm)
{
	Got got = {};

	got.pointer = pointer(simple(Op::accept, {word(listen_comm)},
				     &got.result));
	return got;
}

Got Side::reg_mr(void *comm, void *data, size_t size, int type)
{
	Got got = {};

	got.pointer = pointer(simple(Op::reg_mr,
				     {word(comm), word(data), size,
				      static_cast<uint64_t>(type)},
				     &got.result));
	return got;
}

Got Side::reg_mr_dmabuf(void *comm, void *data, size_t size, int type,
			uint64_t offset, int fd)
{
	Got got = {};

	got.pointer = pointer(simple(Op::reg_mr_dmabuf,
				     {word(comm), word(data), size,
				      static_cast<uint64_t>(type), offset,
				      static_cast<uint64_t>(fd)},
				     &got.result));
	return got;
}

Got Side::reg_gpu(void *comm, uint8_t *start, size_t whole, uint64_t offset,
		  size_t size)
{
	Got got = {};

	got.pointer = pointer(simple(Op::reg_gpu,
				     {word(comm), word(start), whole, offset,
				      size}, &got.result));
	return got;
}

ncclResult_t Side::dereg_mr(void *comm, void *mr)
{
	ncclResult_t result;

	simple(Op::dereg_mr, {word(comm), word(mr)}, &result);
	return result;
}

Got Side::isend(void *comm, const Piece &piece, void *preset)
{
	Got got = {};

	got.pointer = pointer(simple(Op::isend,
				     {word(comm), word(piece.data), piece.size,
				      static_cast<uint64_t>(piece.tag),
				      word(piece.mr), word(preset)},
				     &got.result));
	return got;
}

Got Side::group(Op op, void *comm, const std::vector<Piece> &pieces,
		void *preset)
{
	Call request = make_call(op, {word(comm), pieces.size(),
				      word(preset)});
	size_t count = std::min<size_t>(pieces.size(), max_group);

	for (size_t i = 0; i < count; i++) {
		request.group.data[i] = pieces[i].data;
		request.group.size[i] = pieces[i].size;
		request.group.isize[i] = static_cast<int>(pieces[i].size);
		request.group.tag[i] = pieces[i].tag;
		request.group.mr[i] = pieces[i].mr;
	}
	call(request);
	return {request.result, pointer(request.out[0])};
}

Got Side::irecv(void *comm, const std::vector<Piece> &pieces, void *preset)
{
	return group(Op::irecv, comm, pieces, preset);
}

Got Side::iflush(void *comm, const std::vector<Piece> &pieces)
{
	return group(Op::iflush, comm, pieces, nullptr);
}

Tested Side::test(void *tested, bool want_sizes)
{
	Call request = make_call(Op::test, {word(tested), want_sizes});
	Tested answer = {};

	call(request);
	answer.result = request.result;
	answer.done = request.out[0];
	std::copy(std::begin(request.sizes), std::end(request.sizes),
		  answer.sizes.begin());
	return answer;
}

ncclResult_t Side::close_send(void *comm)
{
	ncclResult_t result;

	simple(Op::close_send, {word(comm)}, &result);
	return result;
}

ncclResult_t Side::close_recv(void *comm)
{
	ncclResult_t result;

	simple(Op::close_recv, {word(comm)}, &result);
	return result;
}

ncclResult_t Side::close_listen(void *comm)
{
	ncclResult_t result;

	simple(Op::close_listen, {word(comm)}, &result);
	return result;
}

ncclResult_t Side::set_net_attr(void *ctx, const ncclNetAttr_v11_t &attr)
{
	Call request = make_call(Op::set_net_attr, {word(ctx)});

	request.attr = attr;
	call(request);
	return request.result;
}

int Side::fds()
{
	return static_cast<int>(simple(Op::count_fds, {}, nullptr));
}

int Side::threads()
{
	return static_cast<int>(simple(Op::count_threads, {}, nullptr));
}

void Side::set_env(const std::string &name, const std::string &value)
{
	Call request = make_call(Op::set_env, {name.size() + 1});
	std::string both = name + '\0' + value;

	memcpy(request.text, both.c_str(),
	       std::min(both.size() + 1, sizeof(request.text) - 1));
	call(request);
}

int Side::make_udmabuf(const void *page_start, size_t size)
{
	return static_cast<int>(simple(Op::make_udmabuf,
				       {word(page_start), size}, nullptr));
}

void Side::close_fd(int fd)
{
	simple(Op::close_fd, {static_cast<uint64_t>(fd)}, nullptr);
}

std::string Side::own_network(int family)
{
	Call request = make_call(Op::own_network,
				 {static_cast<uint64_t>(family)});

	call(request);
	request.text[sizeof(request.text) - 1] = 0;
	return request.text;
}

LocalSide::LocalSide(std::string path) : path_(std::move(path)) {}

LocalSide::~LocalSide()
{
	proxy_.reset();
	if (library_)
		dlclose(library_);
}

void LocalSide::consume(bool yes)
{
	proxy_->consume(yes);
}

uint64_t LocalSide::unpacked() const
{
	return proxy_->unpacked();
}

void LocalSide::open_plugin(Call &call)
{
	const char *failure = nullptr;

	/* As NCCL does it: RTLD_NOW, RTLD_LOCAL. */
	library_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
	if (!library_) {
		failure = dlerror();
	} else {
		net_ = Table::find(library_, static_cast<int>(call.arg[0]));
		if (!net_)
			failure = "no table of that version";
	}
	if (!failure) {
		proxy_ = std::make_unique<Proxy>(net_->net());
		return;
	}
	call.result = ncclSystemError;
	strncpy(call.text, failure, sizeof(call.text) - 1);
}

/* What concerns the process; the slots are in net_call. */
void LocalSide::call(Call &call)
{
	uint64_t *arg = call.arg;

	call.result = ncclSuccess;
	switch (call.op) {
	case Op::open:
		open_plugin(call);
		break;
	case Op::close:
		proxy_.reset();
		net_.reset();
		if (library_)
			dlclose(library_);
		library_ = nullptr;
		break;
	case Op::count_fds: /* less the one that opendir holds */
		call.out[0] = count_entries("/proc/self/fd") - 1;
		break;
	case Op::count_threads:
		call.out[0] = count_entries("/proc/self/task");
		break;
	case Op::set_env:
		setenv(call.text, call.text + arg[0], 1);
		break;
	case Op::make_udmabuf:
		call.out[0] = udmabuf_over(pointer(arg[0]), arg[1]);
		break;
	case Op::close_fd:
		::close(static_cast<int>(arg[0]));
		break;
	case Op::own_network:
		strncpy(call.text,
			::own_network(static_cast<int>(arg[0])).c_str(),
			sizeof(call.text) - 1);
		break;
	default:
		if (net_)
			net_call(call);
		else
			call.result = ncclInternalError;
	}
}

void LocalSide::net_call(Call &call)
{
	uint64_t *arg = call.arg;
	void *out = nullptr;
	int number = 0;
	const ncclNet_v12_t *net = net_->net();
	ncclNetCommConfig_v11_t config = {-1}; /* no traffic class */

	switch (call.op) {
	case Op::init:
		call.result = net->init(&out, arg[0], &config,
					plugin_log::callback, nullptr);
		break;
	case Op::finalize:
		call.result = net->finalize(pointer(arg[0]));
		break;
	case Op::devices:
		call.result = net->devices(&number);
		break;
	case Op::properties: {
		ncclNetProperties_v12_t *props = &call.properties;
		char *strings = call.text + sizeof(*props);

		call.result = net->getProperties(static_cast<int>(arg[0]),
						 props);
		if (call.result != ncclSuccess)
			*props = {};
		const char *name = props->name ? props->name : "";
		const char *path = props->pciPath ? props->pciPath : "";
		size_t length = strnlen(name, 256);
		memcpy(strings, name, length);
		strings[length] = 0;
		strncpy(strings + length + 1, path, 256);
		break;
	}
	case Op::listen: {
		/* Past its 128 bytes the handle is someone else's memory. */
		alignas(8) unsigned char room[3 * NCCL_NET_HANDLE_MAXSIZE];
		auto *handle = room + NCCL_NET_HANDLE_MAXSIZE;

		memset(room, 0x5a, sizeof(room));
		memcpy(handle, call.handle, NCCL_NET_HANDLE_MAXSIZE);
		call.result = proxy_->listen(pointer(arg[0]),
					     static_cast<int>(arg[1]), handle,
					     &out);
		memcpy(call.handle, handle, NCCL_NET_HANDLE_MAXSIZE);
		for (int i = 0; i < NCCL_NET_HANDLE_MAXSIZE; i++)
			if (room[i] != 0x5a ||
			    handle[NCCL_NET_HANDLE_MAXSIZE + i] != 0x5a)
				call.result = ncclInternalError;
		break;
	}
	case Op::connect:
		/* NCCL gives no place for the device's handle, unless asked. */
		call.result = net->connect(pointer(arg[0]),
					   static_cast<int>(arg[1]),
					   pointer(arg[2]), &out, nullptr);
		break;
	case Op::accept:
		call.result = proxy_->accept(pointer(arg[0]), &out);
		break;
	case Op::reg_mr:
		call.result = proxy_->reg_mr(pointer(arg[0]), pointer(arg[1]),
					     arg[2], static_cast<int>(arg[3]),
					     &out);
		break;
	case Op::reg_mr_dmabuf:
		if (!net_->has(Slot::reg_mr_dmabuf)) {
			call.result = ncclInvalidUsage;
			break;
		}
		call.result = net->regMrDmaBuf(pointer(arg[0]), pointer(arg[1]),
					       arg[2],
					       static_cast<int>(arg[3]), arg[4],
					       static_cast<int>(arg[5]), &out);
		break;
	case Op::reg_gpu:
		call.result = proxy_->reg_gpu(
			pointer(arg[0]), static_cast<uint8_t *>(pointer(arg[1])),
			arg[2], arg[3], arg[4], &out);
		break;
	case Op::dereg_mr:
		call.result = proxy_->dereg_mr(pointer(arg[0]),
					       pointer(arg[1]));
		break;
	case Op::isend:
		out = pointer(arg[5]);
		call.result = proxy_->isend(pointer(arg[0]), pointer(arg[1]),
					    arg[2], static_cast<int>(arg[3]),
					    pointer(arg[4]), &out);
		break;
	case Op::irecv:
		out = pointer(arg[2]);
		call.result = proxy_->irecv(pointer(arg[0]), call, &out);
		break;
	case Op::iflush:
		call.result = proxy_->iflush(pointer(arg[0]), call, &out);
		break;
	case Op::test:
		call.result = proxy_->test(pointer(arg[0]), &number,
					   arg[1] ? call.sizes : nullptr);
		break;
	case Op::close_send:
		call.result = net->closeSend(pointer(arg[0]));
		break;
	case Op::close_recv:
		call.result = proxy_->close_recv(pointer(arg[0]));
		break;
	case Op::close_listen:
		call.result = net->closeListen(pointer(arg[0]));
		break;
	case Op::set_net_attr:
		call.result = net->setNetAttr(pointer(arg[0]), &call.attr);
		break;
	default:
		call.result = ncclInternalError;
	}
	call.out[0] = out ? word(out) : static_cast<uint64_t>(number);
}
