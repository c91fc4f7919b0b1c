/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp_net.c - the variant "tcp": one ordinary TCP socket for a connection,
 * driven by non-blocking send and recv, behind the same table as a plugin, so
 * that the measuring loop is the same; --limit compares with a loop without the
 * table. No framing, so a receive must be posted with exactly the size that is
 * sent. That is so in bandwidth and latency, and the reason why an all-reduce
 * over it is refused.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench.h"

#define QUEUE NCCL_NET_MAX_REQUESTS

struct tcp_comm;

struct tcp_req {
	struct tcp_comm *comm;
	char *data;
	size_t size, at;
	bool used;
};

struct tcp_comm {
	int fd;
	bool send;
	unsigned int head, tail; /* head: the oldest not complete */
	struct tcp_req req[QUEUE];
};

static struct {
	char name[IFNAMSIZ + 8];
	struct sockaddr_storage addr;
	socklen_t len;
	ncclDebugLogger_t log;
} tcp;

#define tcp_warn(fmt, ...)                                          \
	tcp.log(NCCL_LOG_WARN, NCCL_SUBSYS_NET, __func__, __LINE__, \
		"tcp: " fmt, __VA_ARGS__)

/* NCCL_SOCKET_IFNAME's syntax: comma list of prefixes, "=" exact, "^" not. */
static bool ifname_wanted(const char *list, const char *name)
{
	bool not = false, exact = false, hit = false;
	size_t n;

	if (!list || !*list)
		return strcmp(name, "lo");
	for (; *list == '^' || *list == '='; list++) {
		not |= *list == '^';
		exact |= *list == '=';
	}
	for (; *list; list += n + (list[n] == ',')) {
		n = strcspn(list, ",");
		if (n && !strncmp(name, list, n) && (!exact || !name[n]))
			hit = true;
	}
	return hit != not ;
}

static bool usable(const struct ifaddrs *a, const char *list)
{
	const struct sockaddr_in6 *v6;

	if (!a->ifa_addr || !(a->ifa_flags & IFF_UP) ||
	    !ifname_wanted(list, a->ifa_name))
		return false;
	if (a->ifa_addr->sa_family == AF_INET)
		return true;
	v6 = (const struct sockaddr_in6 *)a->ifa_addr;
	return a->ifa_addr->sa_family == AF_INET6 &&
	       !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

static ncclResult_t tcp_init(void **ctx, uint64_t id,
			     ncclNetCommConfig_v11_t *config,
			     ncclDebugLogger_t log, ncclProfilerCallback_t prof)
{
	const char *list = getenv("NCCL_DEVMEM_IFNAME");
	struct ifaddrs *all, *a;

	(void)id;
	(void)config;
	(void)prof;
	*ctx = &tcp;
	tcp.log = log;
	if (!list || !*list)
		list = getenv("NCCL_SOCKET_IFNAME");
	if (getifaddrs(&all)) {
		tcp_warn("cannot list interfaces: %s", strerror(errno));
		return ncclSystemError;
	}
	for (a = all; a && !usable(a, list); a = a->ifa_next)
		;
	if (a) {
		tcp.len = a->ifa_addr->sa_family == AF_INET ?
				  sizeof(struct sockaddr_in) :
				  sizeof(struct sockaddr_in6);
		memcpy(&tcp.addr, a->ifa_addr, tcp.len);
		snprintf(tcp.name, sizeof(tcp.name), "%s", a->ifa_name);
	}
	freeifaddrs(all);
	return ncclSuccess;
}

static ncclResult_t tcp_devices(int *ndev)
{
	*ndev = tcp.len ? 1 : 0;
	return ncclSuccess;
}

static ncclResult_t tcp_properties(int dev, ncclNetProperties_v12_t *props)
{
	if (dev)
		return ncclInvalidArgument;
	*props = (ncclNetProperties_v12_t){
		.name = tcp.name,
		.ptrSupport = NCCL_PTR_HOST | NCCL_PTR_DMABUF,
		.maxComms = 1024,
		.maxRecvs = 1,
		.netDeviceType = NCCL_NET_DEVICE_HOST,
		.vProps = { .ndevs = 1 },
		.railId = NCCL_NET_ID_UNDEF,
		.planeId = NCCL_NET_ID_UNDEF,
		.maxP2pBytes = NCCL_MAX_NET_SIZE_BYTES,
		.maxCollBytes = NCCL_MAX_NET_SIZE_BYTES,
	};
	return ncclSuccess;
}

static ncclResult_t sys_fail(const char *what, int fd)
{
	tcp_warn("%s: %s", what, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ncclSystemError;
}

static struct tcp_comm *comm_new(int fd, bool send)
{
	struct tcp_comm *c = calloc(1, sizeof(*c));
	int one = 1;

	if (c) {
		c->fd = fd;
		c->send = send;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	return c;
}

static ncclResult_t tcp_listen_comm(void *ctx, int dev, void *handle,
				    void **comm)
{
	struct sockaddr_storage a = tcp.addr;
	socklen_t len = tcp.len;
	int fd;

	(void)ctx;
	(void)dev;
	_Static_assert(sizeof(a) <= NCCL_NET_HANDLE_MAXSIZE, "handle");
	fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 4) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		return sys_fail("listen", fd);
	memcpy(handle, &a, sizeof(a));
	*comm = comm_new(fd, false);
	return *comm ? ncclSuccess : sys_fail("listen", fd);
}

/* The peer listens already, so connect(2) takes a round trip. */
static ncclResult_t tcp_connect(void *ctx, int dev, void *handle, void **comm,
				ncclNetDeviceHandle_v11_t **dev_handle)
{
	struct timeval limit = { .tv_sec = 5 };
	struct sockaddr_storage a;
	int fd;

	(void)ctx;
	(void)dev;
	(void)dev_handle;
	memcpy(&a, handle, sizeof(a));
	fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return sys_fail("socket", fd);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&a,
		    a.ss_family == AF_INET ? sizeof(struct sockaddr_in) :
					     sizeof(struct sockaddr_in6)))
		return sys_fail("connect", fd);
	*comm = comm_new(fd, true);
	return *comm ? ncclSuccess : sys_fail("connect", fd);
}

static ncclResult_t tcp_accept(void *listen_comm, void **comm,
			       ncclNetDeviceHandle_v11_t **dev_handle)
{
	struct tcp_comm *l = listen_comm;
	int fd;

	(void)dev_handle;
	*comm = NULL;
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return errno == EAGAIN || errno == EINTR ?
			       ncclSuccess :
			       sys_fail("accept", fd);
	*comm = comm_new(fd, false);
	return *comm ? ncclSuccess : sys_fail("accept", fd);
}

int tcp_net_fd(const void *comm)
{
	return ((const struct tcp_comm *)comm)->fd;
}

static ncclResult_t tcp_reg(void *comm, void *data, size_t size, int type,
			    void **mhandle)
{
	(void)data;
	(void)size;
	(void)type;
	*mhandle = comm;
	return ncclSuccess;
}

static ncclResult_t tcp_reg_dmabuf(void *comm, void *data, size_t size,
				   int type, uint64_t offset, int fd,
				   void **mhandle)
{
	(void)offset;
	(void)fd;
	return tcp_reg(comm, data, size, type, mhandle);
}

static ncclResult_t tcp_dereg(void *comm, void *mhandle)
{
	(void)comm;
	(void)mhandle;
	return ncclSuccess;
}

static ncclResult_t post(struct tcp_comm *c, void *data, size_t size,
			 void **request)
{
	struct tcp_req *q = &c->req[c->tail % QUEUE];

	*request = NULL;
	if (q->used)
		return ncclSuccess;
	*q = (struct tcp_req){
		.comm = c, .data = data, .size = size, .used = true
	};
	c->tail++;
	*request = q;
	return ncclSuccess;
}

static ncclResult_t tcp_isend(void *comm, void *data, size_t size, int tag,
			      void *mhandle, void *phandle, void **request)
{
	(void)tag;
	(void)mhandle;
	(void)phandle;
	return post(comm, data, size, request);
}

static ncclResult_t tcp_irecv(void *comm, int n, void **data, size_t *sizes,
			      int *tags, void **mhandles, void **phandles,
			      void **request)
{
	(void)tags;
	(void)mhandles;
	(void)phandles;
	if (n != 1)
		return ncclInvalidUsage;
	return post(comm, data[0], sizes[0], request);
}

static ncclResult_t tcp_iflush(void *comm, int n, void **data, int *sizes,
			       void **mhandles, void **request)
{
	(void)comm;
	(void)n;
	(void)data;
	(void)sizes;
	(void)mhandles;
	*request = NULL;
	return ncclSuccess;
}

/* Moves bytes of the oldest requests until the socket has no more room. */
static ncclResult_t progress(struct tcp_comm *c)
{
	struct tcp_req *q;
	ssize_t n;

	while (c->head != c->tail) {
		q = &c->req[c->head % QUEUE];
		if (q->at == q->size) {
			c->head++;
			continue;
		}
		if (c->send)
			n = send(c->fd, q->data + q->at, q->size - q->at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = recv(c->fd, q->data + q->at, q->size - q->at,
				 MSG_DONTWAIT);
		if (n > 0) {
			q->at += n;
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		tcp_warn("%s: %s", c->send ? "send" : "recv",
			 n ? strerror(errno) : "the peer closed");
		return ncclRemoteError;
	}
	return ncclSuccess;
}

static ncclResult_t tcp_test(void *request, int *done, int *sizes)
{
	struct tcp_req *q = request;
	ncclResult_t rc = progress(q->comm);

	*done = 0;
	if (rc || q->at < q->size)
		return rc;
	*done = 1;
	if (sizes)
		sizes[0] = (int)q->size;
	q->used = false;
	return ncclSuccess;
}

static ncclResult_t tcp_close(void *comm)
{
	struct tcp_comm *c = comm;

	close(c->fd);
	free(c);
	return ncclSuccess;
}

static ncclResult_t tcp_finalize(void *ctx)
{
	(void)ctx;
	return ncclSuccess;
}

const ncclNet_v12_t tcp_net = {
	.name = "tcp",
	.init = tcp_init,
	.devices = tcp_devices,
	.getProperties = tcp_properties,
	.listen = tcp_listen_comm,
	.connect = tcp_connect,
	.accept = tcp_accept,
	.regMr = tcp_reg,
	.regMrDmaBuf = tcp_reg_dmabuf,
	.deregMr = tcp_dereg,
	.isend = tcp_isend,
	.irecv = tcp_irecv,
	.iflush = tcp_iflush,
	.test = tcp_test,
	.closeSend = tcp_close,
	.closeRecv = tcp_close,
	.closeListen = tcp_close,
	.finalize = tcp_finalize,
};
