// SPDX-License-Identifier: BSD-3-Clause
/* table.cc - see table.h. */
#include "table.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>

namespace {

constexpr int oldest = 8, newest = 12;

template <int V, class Net, class Props> class TableOf : public Table {
public:
	explicit TableOf(const void *symbol)
		: net_(static_cast<const Net *>(symbol))
	{
	}

	int version() const override { return V; }
	const char *name() const override { return net_->name; }

	bool has(Slot slot) const override
	{
		switch (slot) {
		case Slot::reg_mr_dmabuf:
			return net_->regMrDmaBuf;
		case Slot::get_device_mr:
			return net_->getDeviceMr;
		case Slot::irecv_consumed:
			return net_->irecvConsumed;
		case Slot::make_vdevice:
			if constexpr (V >= 9)
				return net_->makeVDevice;
			return false;
		case Slot::set_net_attr:
			if constexpr (V >= 11)
				return net_->setNetAttr;
			return false;
		}
		return false;
	}

	std::vector<std::string> missing() const override
	{
		std::vector<std::string> names;
		auto need = [&](bool there, const char *slot) {
			if (!there)
				names.push_back(slot);
		};

		need(net_->name && *net_->name, "name");
		need(net_->init, "init");
		need(net_->devices, "devices");
		need(net_->getProperties, "getProperties");
		need(net_->listen, "listen");
		need(net_->connect, "connect");
		need(net_->accept, "accept");
		need(net_->regMr, "regMr");
		need(net_->deregMr, "deregMr");
		need(net_->isend, "isend");
		need(net_->irecv, "irecv");
		need(net_->iflush, "iflush");
		need(net_->test, "test");
		need(net_->closeSend, "closeSend");
		need(net_->closeRecv, "closeRecv");
		need(net_->closeListen, "closeListen");
		if constexpr (V >= 11)
			need(net_->finalize, "finalize");
		return names;
	}

	std::vector<std::string> untouched_properties(int dev) override
	{
		std::vector<std::string> names;
		Props a, b;
		auto check = [&](const void *x, const void *y, size_t size,
				 const char *field) {
			if (memcmp(x, y, size))
				names.push_back(field);
		};

		memset(static_cast<void *>(&a), 0xa5, sizeof(a));
		memset(static_cast<void *>(&b), 0x5a, sizeof(b));
		if (net_->getProperties(dev, &a) != ncclSuccess ||
		    net_->getProperties(dev, &b) != ncclSuccess)
			return {"all: getProperties failed"};
#define CHECK(field) check(&a.field, &b.field, sizeof(a.field), #field)
		CHECK(name);
		CHECK(pciPath);
		CHECK(guid);
		CHECK(ptrSupport);
		CHECK(regIsGlobal);
		CHECK(speed);
		CHECK(port);
		CHECK(latency);
		CHECK(maxComms);
		CHECK(maxRecvs);
		CHECK(netDeviceType);
		CHECK(netDeviceVersion);
		if constexpr (V >= 9) {
			CHECK(forceFlush);
			CHECK(vProps.ndevs);
			check(a.vProps.devs, b.vProps.devs,
			      devs_in(a.vProps) * sizeof(int), "vProps.devs");
			CHECK(maxP2pBytes);
			CHECK(maxCollBytes);
		}
		if constexpr (V >= 11)
			CHECK(maxMultiRequestSize);
		if constexpr (V >= 12) {
			CHECK(railId);
			CHECK(planeId);
		}
#undef CHECK
		return names;
	}

	ncclResult_t init(void **ctx, uint64_t comm_id,
			  ncclDebugLogger_t log) override
	{
		if constexpr (V >= 11) {
			return net_->init(ctx, comm_id, &config_, log, nullptr);
		} else {
			std::lock_guard<std::mutex> guard(lock_);
			ncclResult_t result = ncclSuccess;

			*ctx = &config_;
			if (!users_) {
				if constexpr (V == 10)
					result = net_->init(log, nullptr);
				else
					result = net_->init(log);
			}
			users_ += result == ncclSuccess;
			return result;
		}
	}

	ncclResult_t finalize(void *ctx) override
	{
		if constexpr (V >= 11) {
			return net_->finalize(ctx);
		} else {
			std::lock_guard<std::mutex> guard(lock_);

			users_ -= ctx && users_;
			return ncclSuccess;
		}
	}

	ncclResult_t devices(int *count) override
	{
		return net_->devices(count);
	}

	ncclResult_t properties(int dev, ncclNetProperties_v12_t *out) override
	{
		Props in = {};
		ncclResult_t result = net_->getProperties(dev, &in);

		if (result != ncclSuccess)
			return result;
		*out = {};
		out->name = in.name;
		out->pciPath = in.pciPath;
		out->guid = in.guid;
		out->ptrSupport = in.ptrSupport;
		out->regIsGlobal = in.regIsGlobal;
		out->speed = in.speed;
		out->port = in.port;
		out->latency = in.latency;
		out->maxComms = in.maxComms;
		out->maxRecvs = in.maxRecvs;
		out->netDeviceType = in.netDeviceType;
		out->netDeviceVersion = in.netDeviceVersion;
		out->vProps.ndevs = 1;
		out->vProps.devs[0] = dev;
		out->maxP2pBytes = NCCL_NET_MAX_INT_SIZE;
		out->maxCollBytes = NCCL_NET_MAX_INT_SIZE;
		out->maxMultiRequestSize = 1;
		out->railId = out->planeId = NCCL_NET_ID_UNDEF;
		if constexpr (V >= 9) {
			out->forceFlush = in.forceFlush;
			out->vProps.ndevs = in.vProps.ndevs;
			memcpy(out->vProps.devs, in.vProps.devs,
			       devs_in(in.vProps) * sizeof(int));
			out->maxP2pBytes = in.maxP2pBytes;
			out->maxCollBytes = in.maxCollBytes;
		}
		if constexpr (V >= 11)
			out->maxMultiRequestSize = in.maxMultiRequestSize;
		if constexpr (V >= 12) {
			out->railId = in.railId;
			out->planeId = in.planeId;
		}
		return ncclSuccess;
	}

	ncclResult_t listen([[maybe_unused]] void *ctx, int dev, void *handle,
			    void **comm) override
	{
		if constexpr (V >= 11)
			return net_->listen(ctx, dev, handle, comm);
		else
			return net_->listen(dev, handle, comm);
	}

	ncclResult_t connect([[maybe_unused]] void *ctx, int dev, void *handle,
			     void **comm) override
	{
		/* NCCL gives no place for the device's handle, unless asked. */
		if constexpr (V >= 11)
			return net_->connect(ctx, dev, handle, comm, nullptr);
		else if constexpr (V == 10)
			return net_->connect(dev, &config_, handle, comm,
					     nullptr);
		else
			return net_->connect(dev, handle, comm, nullptr);
	}

	ncclResult_t accept(void *listen_comm, void **comm) override
	{
		ncclNetDeviceHandle_v11_t *none = nullptr;

		return net_->accept(listen_comm, comm, &none);
	}

	ncclResult_t reg_mr(void *comm, void *data, size_t size, int type,
			    void **mr) override
	{
		return net_->regMr(comm, data, size, type, mr);
	}

	ncclResult_t reg_mr_dmabuf(void *comm, void *data, size_t size,
				   int type, uint64_t offset, int fd,
				   void **mr) override
	{
		return net_->regMrDmaBuf(comm, data, size, type, offset, fd,
					 mr);
	}

	ncclResult_t dereg_mr(void *comm, void *mr) override
	{
		return net_->deregMr(comm, mr);
	}

	ncclResult_t isend(void *comm, void *data, size_t size, int tag,
			   void *mr, void **request) override
	{
		if constexpr (V >= 10)
			return net_->isend(comm, data, size, tag, mr, nullptr,
					   request);
		else if constexpr (V == 9)
			return net_->isend(comm, data, size, tag, mr, request);
		else
			return net_->isend(comm, data, static_cast<int>(size),
					   tag, mr, request);
	}

	ncclResult_t irecv(void *comm, int n, void **data, size_t *sizes,
			   int *tags, void **mrs, void **request) override
	{
		if constexpr (V >= 10) {
			std::vector<void *> handles(n);

			return net_->irecv(comm, n, data, sizes, tags, mrs,
					   handles.data(), request);
		} else if constexpr (V == 9) {
			return net_->irecv(comm, n, data, sizes, tags, mrs,
					   request);
		} else {
			std::vector<int> ints(sizes, sizes + n);

			/* NCCL keeps the hint of version 9 to itself. */
			if (*request == reinterpret_cast<void *>(
					NCCL_NET_OPTIONAL_RECV_COMPLETION))
				*request = nullptr;
			return net_->irecv(comm, n, data, ints.data(), tags,
					   mrs, request);
		}
	}

	ncclResult_t iflush(void *comm, int n, void **data, int *sizes,
			    void **mrs, void **request) override
	{
		return net_->iflush(comm, n, data, sizes, mrs, request);
	}

	ncclResult_t test(void *request, int *done, int *sizes) override
	{
		return net_->test(request, done, sizes);
	}

	ncclResult_t close_send(void *comm) override
	{
		return net_->closeSend(comm);
	}

	ncclResult_t close_recv(void *comm) override
	{
		return net_->closeRecv(comm);
	}

	ncclResult_t close_listen(void *comm) override
	{
		return net_->closeListen(comm);
	}

	ncclResult_t irecv_consumed(void *comm, int n, void *request) override
	{
		return net_->irecvConsumed(comm, n, request);
	}

	ncclResult_t
	make_vdevice([[maybe_unused]] int *dev,
		     [[maybe_unused]] const std::vector<int> &devs) override
	{
		if constexpr (V >= 9) {
			decltype(Props::vProps) props = {};

			props.ndevs = static_cast<int>(devs.size());
			std::copy(devs.begin(), devs.end(), props.devs);
			return net_->makeVDevice(dev, &props);
		}
		return ncclInvalidUsage;
	}

	ncclResult_t
	set_net_attr([[maybe_unused]] void *ctx,
		     [[maybe_unused]] ncclNetAttr_v11_t *attr) override
	{
		if constexpr (V >= 11)
			return net_->setNetAttr(ctx, attr);
		return ncclInvalidUsage;
	}

private:
	/* As many as the plugin says, and the array has. */
	template <class VDevice> static size_t devs_in(const VDevice &v)
	{
		return std::clamp<int>(v.ndevs, 0, std::size(v.devs));
	}

	const Net *net_;
	ncclNetCommConfig_v11_t config_ = {-1}; /* no traffic class */
	std::mutex lock_;
	int users_ = 0;
};

} // namespace

std::unique_ptr<Table> Table::find(void *library, int version)
{
	std::string symbol = "ncclNetPlugin_v" + std::to_string(version);
	const void *net = dlsym(library, symbol.c_str());

	if (!net)
		return nullptr;
	switch (version) {
	case 8:
		return std::make_unique<
			TableOf<8, ncclNet_v8_t, ncclNetProperties_v8_t>>(net);
	case 9:
		return std::make_unique<
			TableOf<9, ncclNet_v9_t, ncclNetProperties_v9_t>>(net);
	case 10:
		return std::make_unique<
			TableOf<10, ncclNet_v10_t, ncclNetProperties_v10_t>>(
			net);
	case 11:
		return std::make_unique<
			TableOf<11, ncclNet_v11_t, ncclNetProperties_v11_t>>(
			net);
	case 12:
		return std::make_unique<
			TableOf<12, ncclNet_v12_t, ncclNetProperties_v12_t>>(
			net);
	}
	return nullptr;
}

std::set<std::string> exported_symbols(const std::string &path)
{
	std::set<std::string> names;
	struct stat st = {};
	int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return names;
	void *map = fstat(fd, &st) ? MAP_FAILED :
				     mmap(nullptr, st.st_size, PROT_READ,
					  MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return names;
	const char *base = static_cast<const char *>(map);
	auto *elf = reinterpret_cast<const Elf64_Ehdr *>(base);
	if (static_cast<size_t>(st.st_size) < sizeof(*elf) ||
	    memcmp(base, ELFMAG, SELFMAG)) {
		munmap(map, st.st_size);
		return names;
	}
	auto *section = reinterpret_cast<const Elf64_Shdr *>(base +
							     elf->e_shoff);
	for (int i = 0; i < elf->e_shnum; i++) {
		if (section[i].sh_type != SHT_DYNSYM)
			continue;
		auto *symbol = reinterpret_cast<const Elf64_Sym *>(
			base + section[i].sh_offset);
		const char *text = base + section[section[i].sh_link].sh_offset;
		size_t count = section[i].sh_size / sizeof(*symbol);
		for (size_t j = 0; j < count; j++)
			if (symbol[j].st_shndx != SHN_UNDEF &&
			    ELF64_ST_BIND(symbol[j].st_info) != STB_LOCAL)
				names.insert(text + symbol[j].st_name);
	}
	munmap(map, st.st_size);
	return names;
}

std::vector<int> exported_tables(const std::string &path)
{
	std::set<std::string> names = exported_symbols(path);
	std::vector<int> versions;

	for (int v = oldest; v <= newest; v++)
		if (names.count("ncclNetPlugin_v" + std::to_string(v)))
			versions.push_back(v);
	return versions;
}
