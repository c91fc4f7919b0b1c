/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reason.h - one table of what keeps payload from the fast path, or slows it:
 * what it is, what it means, and the command that mends it. The plugin's lines
 * and `devmemctl doctor` say the same words, as both take them from here.
 */
#ifndef DEVMEM_REASON_H
#define DEVMEM_REASON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"

enum reason_id {
	REASON_NONE, /* a reason in words of its own: no entry of the table */
	/* kernel */
	REASON_KERNEL_NO_NETDEV,
	REASON_KERNEL_NO_ETHTOOL,
	REASON_BIND_RX_UNSUPPORTED,
	REASON_BIND_TX_UNSUPPORTED,
	/* the NIC */
	REASON_NO_INTERFACE,
	REASON_NIC_DOWN,
	REASON_NO_ADDRESS,
	REASON_NO_CARRIER,
	REASON_NO_HEADER_SPLIT,
	REASON_HEADER_SPLIT_OFF,
	REASON_HDS_THRESH,
	REASON_FEW_QUEUES,
	REASON_FEWER_QUEUES,
	REASON_QUEUES_TAKEN,
	REASON_NO_STEERING,
	REASON_NTUPLE_OFF,
	REASON_NO_RSS,
	REASON_RSS_USES_QUEUE,
	REASON_XDP_ATTACHED,
	REASON_SG_OFF,
	REASON_PACKING,
	REASON_SETTINGS_LEFT,
	REASON_SETTINGS_LOCKED,
	REASON_ARP_FLUX,
	/* the pool and its memory */
	REASON_POOL_TOO_SMALL,
	REASON_POOL_OVER_MEMORY,
	REASON_NO_UDMABUF,
	REASON_NO_UDMABUF_NODE,
	REASON_UDMABUF_DENIED,
	REASON_UDMABUF_LIMIT,
	REASON_REGION_NONE,
	/* the GPU */
	REASON_NO_CUDA,
	REASON_CUDA_TOO_OLD,
	REASON_CUDA_NO_START,
	REASON_CUDA_NO_GPU,
	REASON_GPU_NO_CODE,
	REASON_GPU_ADDRESSES,
	REASON_GPU_NO_DMABUF,
	REASON_GPU_FAR,
	REASON_ACS_REDIRECT,
	REASON_IOMMU_TRANSLATES,
	REASON_BAR1_SMALL,
	REASON_ONE_STREAM_QUEUE,
	/* the host */
	REASON_NO_PRIVILEGE,
	REASON_NOFILE_SMALL,
	REASON_MEMLOCK_SMALL,
	REASON_OPTMEM_SMALL,
	REASON_TCP_RMEM_SMALL,
	REASON_TCP_WMEM_SMALL,
	/* NCCL */
	REASON_BAD_PARAMETER,
	REASON_EMULATED,
	REASON_PLUGIN_NOT_FOUND,
	REASON_PLUGIN_OTHER,
	REASON_PLUGIN_DISABLED,
	REASON_PLUGIN_ONE_NAME,
	REASON_NCCL_NET_OTHER,
	REASON_NCCL_TOO_OLD,
	REASON_NCCL_TOO_NEW,
	REASON_NCCL_IFNAME,
	/* when it was tried */
	REASON_TRIAL_FAILED,
	REASON_COUNT
};

/*
 * Texts have slots, filled from struct reason_args: {nic}, {what}, {detail},
 * {:detail} (": DETAIL", or nothing if it is empty), {n}, {m}, {k}, {bytes}. In a
 * command {nic} and {detail} are in quotes if a shell would not take them as they
 * are; {what} is several words of a command, and never from outside.
 */
struct reason {
	const char *name;    /* for scripts; never changes */
	const char *text;    /* what is wrong, on what */
	const char *remedy;  /* what to do, or NULL; "...:" with the command */
	const char *fix;     /* the command that does it, or NULL */
	const char *meaning; /* one sentence */
	bool warn;	     /* the fast path is live all the same */
	bool safe; /* the command changes no traffic but ours, and can be undone */
};

extern const struct reason reasons[REASON_COUNT];

struct reason_args {
	const char *nic, *what, *detail;
	uint64_t n, m, k, bytes;
};

/**
 * reason() - set a reason of the table, "TEXT; REMEDY: COMMAND", and pass
 * @err through: `return reason(w, -EPERM, REASON_NO_PRIVILEGE, .nic = name)`.
 */
#define reason(w, err, id, ...) \
	reason_set(w, err, id, &(const struct reason_args){ __VA_ARGS__ })
int reason_set(struct why *w, int err, enum reason_id id,
	       const struct reason_args *a);

/* Text, remedy and command alone, "" if there is none: their lengths. */
size_t reason_text(enum reason_id id, const struct reason_args *a, char *text,
		   size_t n);
size_t reason_remedy(enum reason_id id, const struct reason_args *a, char *text,
		     size_t n);
/* A command that does not fit is "". */
size_t reason_fix(enum reason_id id, const struct reason_args *a, char *text,
		  size_t n);

/* The same of a command that is not in the table. */
size_t reason_command(const char *format, const struct reason_args *a,
		      char *text, size_t n);

#endif /* DEVMEM_REASON_H */
