/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uapi.h - numbers of the kernel's devmem interface that the system's headers
 * may be too old to have. Facts of Linux 6.12 (include/uapi/asm-generic/socket.h,
 * linux/uio.h, linux/netdev.h, linux/ethtool_netlink.h), and of 6.16 for sending,
 * in our own words; they are the same in every later version.
 */
#ifndef DEVMEM_UAPI_H
#define DEVMEM_UAPI_H

#include <stdint.h>
#include <sys/socket.h>

#ifndef SO_DEVMEM_LINEAR
#define SO_DEVMEM_LINEAR 78
#endif
#ifndef SO_DEVMEM_DMABUF
#define SO_DEVMEM_DMABUF 79
#endif
#ifndef SO_DEVMEM_DONTNEED
#define SO_DEVMEM_DONTNEED 80
#endif
/* sendmsg: the dma-buf that iov_base is an offset in (u32, from bind-tx). */
#define DEVMEM_SCM_DMABUF SO_DEVMEM_DMABUF
#ifndef MSG_SOCK_DEVMEM
#define MSG_SOCK_DEVMEM 0x2000000
#endif

/* The kernel's own "buffer too small": recvmsg had no room for one cmsg. */
#define DEVMEM_ETOOSMALL 525

/* Payload of both cmsgs; LINEAR sets frag_size only. */
struct devmem_uapi_cmsg {
	uint64_t frag_offset; /* where in the dma-buf */
	uint32_t frag_size;
	uint32_t frag_token; /* 0 is as good as any other */
	uint32_t dmabuf_id;  /* the binding */
	uint32_t flags;
};
_Static_assert(sizeof(struct devmem_uapi_cmsg) == 24, "struct dmabuf_cmsg");

/* A run of tokens, the argument of SO_DEVMEM_DONTNEED. */
struct devmem_uapi_token {
	uint32_t token_start;
	uint32_t token_count;
};
_Static_assert(sizeof(struct devmem_uapi_token) == 8, "struct dmabuf_token");

/* Bounds of one SO_DEVMEM_DONTNEED call. */
#define DEVMEM_MAX_DONTNEED_TOKENS 128
#define DEVMEM_MAX_DONTNEED_FRAGS  1024

/* genetlink family "netdev" */
#define DEVMEM_NETDEV_FAMILY "netdev"
enum {
	DEVMEM_NETDEV_CMD_PAGE_POOL_GET = 5,
	DEVMEM_NETDEV_CMD_QUEUE_GET = 10,
	DEVMEM_NETDEV_CMD_BIND_RX = 13,
	DEVMEM_NETDEV_CMD_BIND_TX = 15,
};
enum {
	DEVMEM_NETDEV_A_PAGE_POOL_ID = 1,
	DEVMEM_NETDEV_A_PAGE_POOL_IFINDEX = 2,
	DEVMEM_NETDEV_A_PAGE_POOL_INFLIGHT = 4,
	DEVMEM_NETDEV_A_PAGE_POOL_DMABUF = 7,
};
enum {
	DEVMEM_NETDEV_A_QUEUE_ID = 1,
	DEVMEM_NETDEV_A_QUEUE_IFINDEX = 2,
	DEVMEM_NETDEV_A_QUEUE_TYPE = 3,
	DEVMEM_NETDEV_A_QUEUE_DMABUF = 5,
};
#define DEVMEM_NETDEV_QUEUE_TYPE_RX 0
enum {
	DEVMEM_NETDEV_A_DMABUF_IFINDEX = 1,
	DEVMEM_NETDEV_A_DMABUF_QUEUES = 2,
	DEVMEM_NETDEV_A_DMABUF_FD = 3,
	DEVMEM_NETDEV_A_DMABUF_ID = 4,
};

/* genetlink family "ethtool": rings */
enum {
	DEVMEM_ETHTOOL_MSG_RINGS_GET = 15,
	DEVMEM_ETHTOOL_MSG_RINGS_SET = 16,
};
enum {
	DEVMEM_ETHTOOL_A_HEADER_DEV_INDEX = 1,
};
enum {
	DEVMEM_ETHTOOL_A_RINGS_HEADER = 1,
	DEVMEM_ETHTOOL_A_RINGS_RX = 6,
	DEVMEM_ETHTOOL_A_RINGS_TCP_DATA_SPLIT = 11,
	DEVMEM_ETHTOOL_A_RINGS_HDS_THRESH = 17,
};
/* values of TCP_DATA_SPLIT */
enum {
	DEVMEM_SPLIT_UNKNOWN = 0, /* the driver does not say; set: auto */
	DEVMEM_SPLIT_OFF = 1,
	DEVMEM_SPLIT_ON = 2,
};

#endif /* DEVMEM_UAPI_H */
