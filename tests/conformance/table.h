// SPDX-License-Identifier: BSD-3-Clause
/*
 * table.h - a net table of any version from 8 to 12, in the form of the newest.
 *
 * What a version lacks is filled in as NCCL fills it in for its own core: below
 * version 11 init is called once, however many contexts there are, and finalize
 * does nothing; below 9 a device is alone and messages end at 1 GiB.
 */
#ifndef CONFORMANCE_TABLE_H
#define CONFORMANCE_TABLE_H

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "nccl_net_abi.h"

/* Slots that may be NULL in some version or other. */
enum class Slot {
	reg_mr_dmabuf,
	get_device_mr,
	irecv_consumed,
	make_vdevice,
	set_net_attr,
};

class Table {
public:
	/* The table of a library that is open; null if it has none such. */
	static std::unique_ptr<Table> find(void *library, int version);
	virtual ~Table() = default;

	virtual int version() const = 0;
	/* Every init gives a context, and finalize frees what is in it. */
	bool has_contexts() const { return version() >= 11; }
	virtual const char *name() const = 0;
	virtual bool has(Slot slot) const = 0;
	/* Slots that NCCL calls without looking, and that are NULL. */
	virtual std::vector<std::string> missing() const = 0;
	/* Fields that getProperties leaves as they were, in this version. */
	virtual std::vector<std::string> untouched_properties(int dev) = 0;

	virtual ncclResult_t init(void **ctx, uint64_t comm_id,
				  ncclDebugLogger_t log) = 0;
	virtual ncclResult_t finalize(void *ctx) = 0;
	virtual ncclResult_t devices(int *count) = 0;
	virtual ncclResult_t properties(int dev,
					ncclNetProperties_v12_t *props) = 0;
	virtual ncclResult_t listen(void *ctx, int dev, void *handle,
				    void **comm) = 0;
	virtual ncclResult_t connect(void *ctx, int dev, void *handle,
				     void **comm) = 0;
	virtual ncclResult_t accept(void *listen_comm, void **comm) = 0;
	virtual ncclResult_t reg_mr(void *comm, void *data, size_t size,
				    int type, void **mr) = 0;
	virtual ncclResult_t reg_mr_dmabuf(void *comm, void *data, size_t size,
					   int type, uint64_t offset, int fd,
					   void **mr) = 0;
	virtual ncclResult_t dereg_mr(void *comm, void *mr) = 0;
	/* In version 8 sizes are cut to an int, whatever they are. */
	virtual ncclResult_t isend(void *comm, void *data, size_t size, int tag,
				   void *mr, void **request) = 0;
	virtual ncclResult_t irecv(void *comm, int n, void **data,
				   size_t *sizes, int *tags, void **mrs,
				   void **request) = 0;
	virtual ncclResult_t iflush(void *comm, int n, void **data, int *sizes,
				    void **mrs, void **request) = 0;
	virtual ncclResult_t test(void *request, int *done, int *sizes) = 0;
	virtual ncclResult_t close_send(void *comm) = 0;
	virtual ncclResult_t close_recv(void *comm) = 0;
	virtual ncclResult_t close_listen(void *comm) = 0;
	virtual ncclResult_t irecv_consumed(void *comm, int n,
					    void *request) = 0;
	virtual ncclResult_t make_vdevice(int *dev,
					  const std::vector<int> &devs) = 0;
	virtual ncclResult_t set_net_attr(void *ctx,
					  ncclNetAttr_v11_t *attr) = 0;
};

/* Names of the symbols that a shared object defines for others to use. */
std::set<std::string> exported_symbols(const std::string &path);
/* Versions of the tables among them that this suite knows, oldest first. */
std::vector<int> exported_tables(const std::string &path);

#endif
