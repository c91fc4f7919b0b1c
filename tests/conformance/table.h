// SPDX-License-Identifier: BSD-3-Clause
/*
 * table.h - a net table of any version from 8 to 12, in the form of the newest
 * (net_table.h), and what only the table itself tells.
 */
#ifndef CONFORMANCE_TABLE_H
#define CONFORMANCE_TABLE_H

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "net_table.h"

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

	const char *name() const { return net_->name; }
	bool has(Slot slot) const;
	/* Slots that NCCL calls without looking, and that are NULL. */
	std::vector<std::string> missing() const;
	/* Fields that getProperties leaves as they were, in this version. */
	std::vector<std::string> untouched_properties(int dev) const;

	const ncclNet_v12_t *net() const { return net_; }

private:
	Table(const ncclNet_v12_t *net, const void *symbol, int version)
		: net_(net), symbol_(symbol), version_(version)
	{
	}

	const ncclNet_v12_t *net_;
	const void *symbol_; /* the plugin's own */
	int version_;
};

/* Names of the symbols that a shared object defines for others to use. */
std::set<std::string> exported_symbols(const std::string &path);
/* Versions of the tables among them that this suite knows, oldest first. */
std::vector<int> exported_tables(const std::string &path);

#endif
