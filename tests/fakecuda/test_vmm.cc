// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_vmm.cc - virtual memory management of the stand-in for the CUDA driver, and
 * dma-bufs of its memory, which need /dev/udmabuf.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "fixture.h"

namespace {

const size_t kPage = 4096, kVmm = 2 << 20;

uint64_t address(const void *p)
{
	return reinterpret_cast<uintptr_t>(p);
}

struct cuda_alloc_prop prop_of(int device, bool rdma)
{
	struct cuda_alloc_prop prop = {};

	prop.type = CUDA_ALLOC_PINNED;
	prop.location.type = CUDA_LOCATION_DEVICE;
	prop.location.id = device;
	prop.rdma_capable = rdma;
	return prop;
}

unsigned long long create(size_t bytes, bool rdma = true)
{
	struct cuda_alloc_prop prop = prop_of(0, rdma);
	unsigned long long handle = 0;

	EXPECT_EQ(cuMemCreate(&handle, bytes, &prop, 0), 0);
	return handle;
}

int give_access(uint64_t at, size_t bytes, int flags = CUDA_ACCESS_READ_WRITE)
{
	struct cuda_access access = {};

	access.location.type = CUDA_LOCATION_DEVICE;
	access.flags = flags;
	return cuMemSetAccess(at, bytes, &access, 1);
}

TEST(Vmm, IsUsableWhenMappedWithAccess)
{
	in_process({}, [] {
		Gpu gpu;
		auto handle = create(kVmm);
		uint64_t at, other;

		EXPECT_EQ(cuMemAddressReserve(&at, 2 * kVmm, 0, 0, 0), 0);
		EXPECT_EQ(cuMemAddressReserve(&other, kVmm, 64 << 20, 0, 0), 0);
		EXPECT_EQ(other % (64 << 20), 0u);
		EXPECT_EQ(cuMemsetD8_v2(at, 0, 1), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(at + kVmm, kVmm, 0, handle, 0), 0);
		EXPECT_EQ(cuMemsetD8_v2(at + kVmm, 0, 1),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(give_access(at + kVmm, kVmm), 0);
		gpu.write(at + kVmm, pattern(kVmm, 1));
		EXPECT_EQ(cuMemsetD8_v2(at + kVmm - 1, 0, 2),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(give_access(at + kVmm, kVmm, 0), 0);
		EXPECT_EQ(cuMemsetD8_v2(at + kVmm, 0, 1),
			  CUDA_ERROR_INVALID_VALUE);
		/* The memory is the handle's, and stays while it is mapped. */
		EXPECT_EQ(cuMemMap(other, kVmm, 0, handle, 0), 0);
		EXPECT_EQ(cuMemUnmap(at + kVmm, kVmm), 0);
		EXPECT_EQ(cuMemRelease(handle), 0);
		EXPECT_EQ(cuMemRelease(handle), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(give_access(other, kVmm), 0);
		EXPECT_EQ(gpu.read(other, kVmm), pattern(kVmm, 1));
		EXPECT_EQ(fakecuda_left(), 3u);
		EXPECT_EQ(cuMemUnmap(other, kVmm), 0);
		EXPECT_EQ(cuMemAddressFree(other, kVmm), 0);
		EXPECT_EQ(cuMemAddressFree(at, 2 * kVmm), 0);
		EXPECT_EQ(fakecuda_left(), 0u);
	});
}

TEST(Vmm, MappingsSideBySideAreOneRange)
{
	in_process({}, [] {
		Gpu gpu;
		auto handle = create(2 * kVmm), single = create(kVmm);
		uint64_t at;

		EXPECT_EQ(cuMemAddressReserve(&at, 3 * kVmm, 0, 0, 0), 0);
		EXPECT_EQ(cuMemMap(at, 2 * kVmm, 0, handle, 0), 0);
		EXPECT_EQ(give_access(at, 3 * kVmm), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(at + 2 * kVmm, kVmm, 0, single, 0), 0);
		EXPECT_EQ(give_access(at, 3 * kVmm), 0);
		gpu.write(at + 100, pattern(3 * kVmm - 100, 2));
		EXPECT_EQ(gpu.read(at + 100, 3 * kVmm - 100),
			  pattern(3 * kVmm - 100, 2));
		/* Mappings are whole. */
		EXPECT_EQ(give_access(at, kVmm), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemUnmap(at, kVmm), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemUnmap(at + kVmm, 2 * kVmm),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemAddressFree(at, 3 * kVmm),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemFree_v2(at), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemUnmap(at, 3 * kVmm), 0);
		EXPECT_EQ(cuMemUnmap(at, 3 * kVmm), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemAddressFree(at, 3 * kVmm), 0);
	});
}

TEST(Vmm, WhatIsNotWholeIsRefused)
{
	in_process({}, [] {
		struct cuda_alloc_prop prop = prop_of(0, true);
		unsigned long long handle, bad;
		size_t granularity = 0;
		uint64_t at, none;

		ASSERT_EQ(cuInit(0), 0);
		EXPECT_EQ(cuMemGetAllocationGranularity(&granularity, &prop, 1),
			  0);
		EXPECT_EQ(granularity, kVmm);
		EXPECT_EQ(cuMemCreate(&bad, kVmm + kPage, &prop, 0),
			  CUDA_ERROR_INVALID_VALUE);
		prop.location.id = 1;
		EXPECT_EQ(cuMemCreate(&bad, kVmm, &prop, 0),
			  CUDA_ERROR_INVALID_DEVICE);
		handle = create(kVmm);
		EXPECT_EQ(cuMemAddressReserve(&none, kPage, 0, 0, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemAddressReserve(&none, kVmm, 3 * kVmm, 0, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemAddressReserve(&at, 2 * kVmm, 0, 0, 0), 0);
		EXPECT_EQ(cuMemMap(at + kPage, kVmm, 0, handle, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(at, kVmm, kVmm, handle, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(at, 2 * kVmm, 0, handle, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(at + 2 * kVmm, kVmm, 0, handle, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(at, kVmm, 0, handle + 8, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(at, kVmm, 0, handle, 0), 0);
		EXPECT_EQ(cuMemMap(at, kVmm, 0, handle, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemAddressFree(at, kVmm), CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemAddressFree(at + kVmm, kVmm),
			  CUDA_ERROR_INVALID_VALUE);
	});
}

TEST(Vmm, IsMissingWhereAttributesSaySo)
{
	in_process({ { "FAKECUDA_ATTR", "102=0" } }, [] {
		struct cuda_alloc_prop prop = prop_of(0, false);
		unsigned long long handle;
		uint64_t at;

		ASSERT_EQ(cuInit(0), 0);
		EXPECT_EQ(cuMemCreate(&handle, kVmm, &prop, 0),
			  CUDA_ERROR_NOT_SUPPORTED);
		EXPECT_EQ(cuMemAddressReserve(&at, kVmm, 0, 0, 0),
			  CUDA_ERROR_NOT_SUPPORTED);
	});
	in_process({ { "FAKECUDA_ATTR", "110=0" } }, [] {
		struct cuda_alloc_prop prop = prop_of(0, true);
		unsigned long long handle;

		ASSERT_EQ(cuInit(0), 0);
		EXPECT_EQ(cuMemCreate(&handle, kVmm, &prop, 0),
			  CUDA_ERROR_NOT_SUPPORTED);
		create(kVmm, false);
	});
}

/* ---- dma-bufs -------------------------------------------------------------- */

int export_range(int *fd, uint64_t at, size_t bytes, unsigned long long flags)
{
	return cuMemGetHandleForAddressRange(fd, at, bytes,
					     CUDA_RANGE_DMA_BUF_FD, flags);
}

#define NEED_UDMABUF()                                                  \
	do {                                                            \
		if (access("/dev/udmabuf", R_OK | W_OK))                \
			GTEST_SKIP() << "there is no /dev/udmabuf here"; \
	} while (0)

/* The bytes of a dma-buf, which is closed. */
std::vector<uint8_t> bytes_of(int fd, size_t bytes)
{
	void *p = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
	std::vector<uint8_t> v;

	EXPECT_NE(p, MAP_FAILED);
	EXPECT_EQ(lseek(fd, 0, SEEK_END), static_cast<off_t>(bytes));
	if (p != MAP_FAILED) {
		v.assign(static_cast<uint8_t *>(p),
			 static_cast<uint8_t *>(p) + bytes);
		munmap(p, bytes);
	}
	close(fd);
	return v;
}

std::vector<uint8_t> part(const std::vector<uint8_t> &v, size_t at, size_t bytes)
{
	auto from = v.begin() + static_cast<ptrdiff_t>(at);

	return { from, from + static_cast<ptrdiff_t>(bytes) };
}

TEST(DmaBuf, IsRefusedWhereThereIsNone)
{
	in_process({ { "FAKECUDA_ATTR", "124=0" } }, [] {
		Gpu gpu;
		int fd = -1;

		EXPECT_EQ(export_range(&fd, gpu.alloc(kPage), kPage, 0),
			  CUDA_ERROR_NOT_SUPPORTED);
		EXPECT_EQ(fd, -1);
	});
	/* Where the device says that it could, and the kernel cannot. */
	if (!access("/dev/udmabuf", F_OK))
		return;
	in_process({ { "FAKECUDA_ATTR", "124=1" } }, [] {
		Gpu gpu;
		int fd = -1;

		EXPECT_EQ(export_range(&fd, gpu.alloc(kPage), kPage, 0),
			  CUDA_ERROR_UNKNOWN);
	});
}

TEST(DmaBuf, RefusesWhatIsNoWholePagesOfTheDevice)
{
	in_process({ { "FAKECUDA_ATTR", "124=1" } }, [] {
		Gpu gpu;
		uint64_t at = gpu.alloc(2 * kPage), mapped;
		uint64_t host = address(gpu.host_alloc(kPage));
		auto handle = create(kVmm, false);
		int fd;

		for (auto [from, bytes] :
		     { std::make_pair(at + 1, kPage),
		       std::make_pair(at, kPage + 1),
		       std::make_pair(at, size_t{ 0 }),
		       std::make_pair(at, 3 * kPage),
		       std::make_pair(at - kPage, kPage),
		       std::make_pair(uint64_t{ 0 }, kPage),
		       std::make_pair(at, SIZE_MAX / kPage * kPage) })
			EXPECT_EQ(export_range(&fd, from, bytes, 0),
				  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemGetHandleForAddressRange(&fd, at, kPage, 2, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(export_range(&fd, at, kPage, CUDA_RANGE_DMA_BUF_PCIE),
			  CUDA_ERROR_NOT_SUPPORTED);
		EXPECT_EQ(export_range(&fd, host, kPage, 0),
			  CUDA_ERROR_NOT_SUPPORTED);
		/* Memory that was not made for it. */
		EXPECT_EQ(cuMemAddressReserve(&mapped, kVmm, 0, 0, 0), 0);
		EXPECT_EQ(export_range(&fd, mapped, kVmm, 0),
			  CUDA_ERROR_INVALID_VALUE);
		EXPECT_EQ(cuMemMap(mapped, kVmm, 0, handle, 0), 0);
		EXPECT_EQ(export_range(&fd, mapped, kVmm, 0),
			  CUDA_ERROR_NOT_SUPPORTED);
	});
}

TEST(DmaBuf, HasTheBytesOfItsRange)
{
	in_process({ { "FAKECUDA_PCIE", "1" } }, [] {
		NEED_UDMABUF();
		Gpu gpu;
		auto bytes = pattern(4 * kPage, 3);
		/* Pages are whole, as they are on a GPU. */
		uint64_t at = gpu.alloc(4 * kPage - 100);
		int fd = -1;

		gpu.write(at, part(bytes, 0, 4 * kPage - 100));
		ASSERT_EQ(export_range(&fd, at, 4 * kPage, 0), 0);
		EXPECT_EQ(part(bytes_of(fd, 4 * kPage), 0, 4 * kPage - 100),
			  part(bytes, 0, 4 * kPage - 100));
		ASSERT_EQ(export_range(&fd, at + kPage, 2 * kPage,
				       CUDA_RANGE_DMA_BUF_PCIE),
			  0);
		EXPECT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		EXPECT_EQ(bytes_of(fd, 2 * kPage), part(bytes, kPage, 2 * kPage));
	});
}

/* As a NIC does. */
TEST(DmaBuf, WritesAreSeenByTheDevice)
{
	in_process({}, [] {
		NEED_UDMABUF();
		Gpu gpu;
		uint64_t at = gpu.alloc(2 * kPage);
		int fd = -1;

		gpu.write(at, std::vector<uint8_t>(2 * kPage));
		ASSERT_EQ(export_range(&fd, at + kPage, kPage, 0), 0);
		void *p = mmap(nullptr, kPage, PROT_READ | PROT_WRITE,
			       MAP_SHARED, fd, 0);
		ASSERT_NE(p, MAP_FAILED);
		memset(p, 0x77, kPage);
		munmap(p, kPage);
		close(fd);
		EXPECT_EQ(gpu.read(at, kPage), std::vector<uint8_t>(kPage));
		EXPECT_EQ(gpu.read(at + kPage, kPage),
			  std::vector<uint8_t>(kPage, 0x77));
	});
}

TEST(DmaBuf, SpansMappings)
{
	in_process({}, [] {
		NEED_UDMABUF();
		Gpu gpu;
		auto first = create(kVmm), second = create(kVmm);
		auto bytes = pattern(2 * kVmm, 4);
		uint64_t at;
		int fd = -1;

		ASSERT_EQ(cuMemAddressReserve(&at, 2 * kVmm, 0, 0, 0), 0);
		EXPECT_EQ(cuMemMap(at, kVmm, 0, second, 0), 0);
		EXPECT_EQ(cuMemMap(at + kVmm, kVmm, 0, first, 0), 0);
		EXPECT_EQ(give_access(at, 2 * kVmm), 0);
		gpu.write(at, bytes);
		ASSERT_EQ(export_range(&fd, at + kPage, 2 * kVmm - kPage, 0),
			  0);
		EXPECT_EQ(bytes_of(fd, 2 * kVmm - kPage),
			  part(bytes, kPage, 2 * kVmm - kPage));
	});
}

TEST(DmaBuf, LimitOfUdmabufIsPassedOn)
{
	in_process({}, [] {
		NEED_UDMABUF();
		std::ifstream f("/sys/module/udmabuf/parameters/size_limit_mb");
		size_t mb = 0;
		int fd;

		if (!(f >> mb) || mb > 256)
			GTEST_SKIP() << "udmabuf has no limit that is near";
		Gpu gpu;
		size_t bytes = (mb + 1) << 20;
		EXPECT_EQ(export_range(&fd, gpu.alloc(bytes), bytes, 0),
			  CUDA_ERROR_UNKNOWN);
	});
}

int open_files()
{
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

TEST(DmaBuf, NoFileStaysOpen)
{
	in_process({}, [] {
		Gpu gpu;
		int before = open_files(), fd;

		uint64_t at = gpu.alloc(kPage);
		auto handle = create(kVmm);
		if (!export_range(&fd, at, kPage, 0))
			close(fd);
		EXPECT_EQ(cuMemFree_v2(at), 0);
		EXPECT_EQ(cuMemRelease(handle), 0);
		EXPECT_EQ(open_files(), before);
	});
}

} // namespace
