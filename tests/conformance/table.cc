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

namespace {

/* As many as the plugin says, and the array has. */
template <class VDevice> size_t devs_in(const VDevice &v)
{
	return std::clamp<int>(v.ndevs, 0, std::size(v.devs));
}

template <int V, class Net, class Props>
std::vector<std::string> untouched(const void *symbol, int dev)
{
	auto *net = static_cast<const Net *>(symbol);
	std::vector<std::string> names;
	Props a, b;
	auto check = [&](const void *x, const void *y, size_t size,
			 const char *field) {
		if (memcmp(x, y, size))
			names.push_back(field);
	};

	memset(static_cast<void *>(&a), 0xa5, sizeof(a));
	memset(static_cast<void *>(&b), 0x5a, sizeof(b));
	if (net->getProperties(dev, &a) != ncclSuccess ||
	    net->getProperties(dev, &b) != ncclSuccess)
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

} // namespace

std::unique_ptr<Table> Table::find(void *library, int version)
{
	std::string symbol = "ncclNetPlugin_v" + std::to_string(version);
	const ncclNet_v12_t *net = net_table(library, version);

	if (!net)
		return nullptr;
	return std::unique_ptr<Table>(
		new Table(net, dlsym(library, symbol.c_str()), version));
}

bool Table::has(Slot slot) const
{
	switch (slot) {
	case Slot::reg_mr_dmabuf:
		return net_->regMrDmaBuf;
	case Slot::get_device_mr:
		return net_->getDeviceMr;
	case Slot::irecv_consumed:
		return net_->irecvConsumed;
	case Slot::make_vdevice:
		return net_->makeVDevice;
	case Slot::set_net_attr:
		return net_->setNetAttr;
	}
	return false;
}

std::vector<std::string> Table::missing() const
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
	need(net_->finalize, "finalize");
	return names;
}

std::vector<std::string> Table::untouched_properties(int dev) const
{
	switch (version_) {
	case 8:
		return untouched<8, ncclNet_v8_t, ncclNetProperties_v8_t>(
			symbol_, dev);
	case 9:
		return untouched<9, ncclNet_v9_t, ncclNetProperties_v9_t>(
			symbol_, dev);
	case 10:
		return untouched<10, ncclNet_v10_t, ncclNetProperties_v10_t>(
			symbol_, dev);
	case 11:
		return untouched<11, ncclNet_v11_t, ncclNetProperties_v11_t>(
			symbol_, dev);
	default:
		return untouched<12, ncclNet_v12_t, ncclNetProperties_v12_t>(
			symbol_, dev);
	}
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

	for (int v = NET_TABLE_OLDEST; v <= NET_TABLE_NEWEST; v++)
		if (names.count("ncclNetPlugin_v" + std::to_string(v)))
			versions.push_back(v);
	return versions;
}
