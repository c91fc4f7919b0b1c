/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devmem.h - reliable, ordered messages over TCP whose payload lands in device
 * memory (libdevmem).
 *
 * A *region* of memory that can be a dma-buf is bound to receive queues of a
 * network interface (Linux devmem TCP, Documentation/networking/devmem.rst);
 * a connection's payload flows are steered to these queues, and each piece of
 * the stream is gathered from where it landed to where the receiver wants it.
 * Where that is not possible the same calls work over ordinary TCP, and say
 * so.
 *
 * Conventions
 *   - int results are 0 or a negative errno; -EAGAIN means "call again".
 *   - No call blocks or sleeps, but that closing, devmem_mr_release() and
 *     devmem_conn_stats() wait for what a progress thread is doing at the
 *     moment: at most a turn, and a call of the log function. The first two
 *     also wait for what a GPU is copying for the connection: microseconds,
 *     or five seconds if it does not come to an end. Without progress threads
 *     devmem_test() makes all progress; with them (struct
 *     devmem_options.threads) it only looks, and connections move by
 *     themselves once they are made. The first devmem_listen() on an
 *     interface takes as long as setting that up does; where a broker does it
 *     (struct devmem_options.broker), it waits for that, at most 6 seconds.
 *   - No call exits or aborts the process, whatever a peer, the kernel, the
 *     environment or a file does.
 *   - A connection and its requests belong to one thread at a time, except
 *     that memory may be registered and released from another thread at the
 *     same time. Different connections may be used from different threads.
 *   - A child of fork() has no progress threads, and shares the sockets of what
 *     was made before: using it there is not possible, closing it ends it for
 *     the parent, too. It can make its own.
 *   - Sizes are bytes.
 */
#ifndef DEVMEM_H
#define DEVMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DEVMEM_API __attribute__((visibility("default")))

/* Bytes of the opaque handle that names a listener to its peer. */
#define DEVMEM_HANDLE_BYTES 128
/* Requests that may be outstanding on one connection. */
#define DEVMEM_MAX_REQUESTS 32
/* Payload flows that one connection may have. */
#define DEVMEM_MAX_FLOWS 16
/* Interfaces that one device may be made of. */
#define DEVMEM_MAX_RAILS 4
/* The least that messages are cut in, in bytes: less is bad for the pool. */
#define DEVMEM_MIN_CHUNK 4096
/* Receive queues that one pool may be bound to. */
#define DEVMEM_MAX_QUEUES 16
/* Progress threads of a process, and to let the library choose how many. */
#define DEVMEM_MAX_THREADS  16
#define DEVMEM_THREADS_AUTO 0xffffffffu

struct devmem;		/* a user's context: a communicator, a process */
struct devmem_listener; /* waits for one peer after another */
struct devmem_conn;	/* one direction: a sender or a receiver */
struct devmem_mr;	/* memory registered with a connection */
struct devmem_request;	/* a send or a receive under way */

/* What the receive pool is made of. */
enum devmem_region_kind {
	DEVMEM_REGION_AUTO,    /* GPU memory where there is a GPU, else none */
	DEVMEM_REGION_NONE,    /* no pool: payload arrives in host memory */
	DEVMEM_REGION_UDMABUF, /* host memory exported by /dev/udmabuf */
	DEVMEM_REGION_CUDA,    /* memory of an NVIDIA GPU */
};

/* How payload gets into the pool. */
enum devmem_rx_kind {
	DEVMEM_RX_AUTO, /* by the NIC, where that can be */
	/*
	 * Copied there from ordinary TCP: for tests of all that comes after, on
	 * any interface, loopback included. The pool is a GPU's memory or, where
	 * there is none, host memory.
	 */
	DEVMEM_RX_EMULATE,
};

/* Who moves payload from the pool to its destination. */
enum devmem_gather_kind {
	DEVMEM_GATHER_AUTO, /* the CPU, or the GPU whose memory it is */
	DEVMEM_GATHER_NONE, /* nobody: for measurements, data stays behind. Only
			     * of a pool in host memory */
};

/* Is host memory sent by reference (MSG_ZEROCOPY), and not copied? */
enum devmem_zerocopy {
	DEVMEM_ZEROCOPY_AUTO, /* where that takes less CPU time: measured */
	DEVMEM_ZEROCOPY_OFF,
	DEVMEM_ZEROCOPY_ON, /* each large message */
};

/* Are things timed, and shown to `devmemctl status`? */
enum devmem_stats_kind {
	DEVMEM_STATS_AUTO,
	DEVMEM_STATS_OFF, /* counters alone, and to this process */
};

enum devmem_log_level {
	DEVMEM_LOG_WARN, /* something will not work: what, why, remedy */
	DEVMEM_LOG_INFO, /* which path is live; counters */
	DEVMEM_LOG_TRACE,
};

/* Refuse to run on anything else (struct devmem_options.require). */
#define DEVMEM_REQUIRE_RX 0x1u /* receive by devmem */
#define DEVMEM_REQUIRE_TX 0x2u /* send dma-bufs by devmem */

/*
 * May be called from any thread that is inside a call of this library, and from
 * a progress thread until the last context is closed. It must not call the
 * library, nor take a lock that is held around such a call.
 */
typedef void (*devmem_log_fn)(void *arg, enum devmem_log_level level,
			      const char *file, int line, const char *text);

/* Filled by devmem_options_init(); then change what is to differ. */
struct devmem_options {
	size_t struct_size; /* set by devmem_options_init() */
	devmem_log_fn log;  /* NULL: silent */
	void *log_arg;
	/*
	 * Which interfaces: comma list of prefixes; a leading '=' makes them
	 * exact names, a leading '^' excludes them. NULL or "": every
	 * interface that is up and has an address, but loopback.
	 */
	const char *ifname;
	enum devmem_region_kind region;
	enum devmem_rx_kind rx;
	enum devmem_gather_kind gather;
	/*
	 * Payload in a GPU's pool stays there, and a list of where it is goes to
	 * the GPU: see devmem_accept_unpack().
	 */
	bool unpack;
	size_t pool_bytes;    /* a multiple of the page size */
	unsigned int queues;  /* receive queues to bind the pool to */
	unsigned int flows;   /* TCP connections for payload by each interface,
			       * 1..16; by all of a device not more than 16 */
	size_t inline_bytes;  /* messages up to this travel on control */
	size_t eager_bytes;   /* the same, to a receiver by host memory */
	size_t chunk_bytes;   /* larger ones are cut in pieces of this */
	unsigned int timeout; /* seconds a peer's host may be silent, 1..3600 */
	/*
	 * Progress threads, 0..16: 0: progress is made by devmem_test(). AUTO:
	 * 0 where the process may use less than 16 CPUs, else one for each 16,
	 * at most 4. The first context of a process decides.
	 */
	unsigned int threads;
	unsigned int require; /* mask of DEVMEM_REQUIRE_* */
	bool nic_manual;      /* leave header split and RSS as they are */
	/*
	 * The program that puts the NICs' settings back when this process is
	 * killed: an absolute path; "off": none; NULL or "auto": the one that is
	 * installed with the library. It is started before the first setting is
	 * changed, and is not a child of the process.
	 */
	const char *guard;
	enum devmem_zerocopy zerocopy;
	/*
	 * SO_BUSY_POLL of all sockets, in microseconds, up to 1000000; 0: as
	 * net.core.busy_read says. A call does not wait for so long, but asks
	 * the NIC when nothing is there.
	 */
	unsigned int busy_poll;
	/* The first context of a process decides on these. */
	enum devmem_stats_kind stats;
	/*
	 * Where to write statistics, as JSON, when the last context is closed:
	 * %h is the host, %p the process's number, %% a percent sign. NULL:
	 * nowhere. With stats, else nothing is there to write. That close then
	 * waits until it is written.
	 */
	const char *stats_file;
	/*
	 * Who takes queues of the NIC: "off": this process, which needs
	 * CAP_NET_ADMIN. A path: the broker that listens there, devmemd(8).
	 * "auto" or NULL: the one at its usual place, where there is one and
	 * this process lacks the capability.
	 */
	const char *broker;
};

/* A network interface as a device, or several as one: then the first one's path
 * and guid, and everybody's speed. */
struct devmem_nic_props {
	char name[72];		    /* of several: "eth0+eth1" */
	unsigned int ifindex;	    /* 0 if several */
	unsigned int rails;	    /* interfaces */
	int rail[DEVMEM_MAX_RAILS]; /* their numbers */
	char pci_path[128];	    /* realpath under /sys, "" if not PCI */
	unsigned int speed_mbps;
	uint64_t guid;	     /* equal for functions of one card */
	bool devmem_rx;	     /* no obstacle to devmem receive was found */
	char reason[160];    /* the first obstacle, "" if none */
	bool devmem_tx;	     /* it can send from dma-bufs */
	char tx_reason[160]; /* why not, "" if it can */
	/*
	 * Memory of a GPU can be registered and is received into by it. That its
	 * interface reads it as well is devmem_tx; else it is copied to host memory
	 * to be sent.
	 */
	bool gpu_memory;
	bool gpu_dmabuf; /* the driver can export it */
	bool unpack;	 /* see devmem_accept_unpack() */
};

/* Counters of one connection. Those in bytes count payload only. */
struct devmem_stats {
	uint64_t messages;
	uint64_t bytes_inline;	 /* on the control connection */
	uint64_t bytes_devmem;	 /* received into the pool, or sent by the NIC
				* from a dma-buf */
	uint64_t bytes_emulated; /* received into the pool by copying */
	uint64_t bytes_linear;	 /* part of a packet that missed the pool */
	uint64_t bytes_host;	 /* flow bytes received into, or sent from, host
				 * memory */
	uint64_t frags;
	uint64_t tokens_received;
	uint64_t tokens_returned;
	uint64_t dontneed_calls;
	uint64_t grants;	 /* GRANT records sent, or received */
	uint64_t bytes_zerocopy; /* of bytes_inline and bytes_host: sent by
				  * reference, whether the kernel copied or not */
	uint64_t bytes_staged;	 /* of the same: from a GPU's memory, copied to
				  * host memory first */
};

/** Fill @o with the defaults. */
DEVMEM_API void devmem_options_init(struct devmem_options *o);

/**
 * devmem_open() - find the interfaces and make a context.
 *
 * The set of interfaces is made once per process, by the first context, and
 * kept until the last one is closed; so are pools and NIC settings, which are
 * shared by all contexts. @o is copied. Any thread.
 *
 * Errors: -EINVAL (an option is out of range; the log says which), -ENODEV (no
 * interface fits), -ENOMEM, -errno of the kernel.
 */
DEVMEM_API int devmem_open(const struct devmem_options *o, struct devmem **out);

/**
 * devmem_close() - close what is left of a context: listeners, connections
 * half made and made, in that order. The last one restores the NICs and unbinds
 * the pools. NULL is allowed.
 */
DEVMEM_API void devmem_close(struct devmem *d);

/**
 * devmem_idle() - is nothing left in a context: no listener, no connection?
 *
 * For users who close a context with the last connection. One half made counts
 * until devmem_connect() has failed; if that is not called any more, until the
 * time for connecting is over. No other call may use the context meanwhile.
 */
DEVMEM_API bool devmem_idle(struct devmem *d);

/** Number of devices, numbered from 0: interfaces, and what was made of them. */
DEVMEM_API int devmem_nic_count(struct devmem *d);

/**
 * devmem_bond() - make one device of several interfaces.
 * @nic: @count numbers of interfaces, from 2 to DEVMEM_MAX_RAILS, all different
 *
 * The payload of its connections goes over all of them at once, and control
 * over the first. Any thread. The device stays as long as the set of interfaces.
 *
 * Its number, or -EINVAL if these cannot be one, -ENOSPC if there are too many.
 */
DEVMEM_API int devmem_bond(struct devmem *d, const int *nic,
			   unsigned int count);

/** Properties of device @nic; -EINVAL if there is none. */
DEVMEM_API int devmem_nic_info(struct devmem *d, int nic,
			       struct devmem_nic_props *info);

/**
 * devmem_listen() - wait for a peer on an interface.
 * @handle: DEVMEM_HANDLE_BYTES, filled in: address and a secret key. To be
 *	carried to the peer by other means; it holds no pointers.
 *
 * The first listener on an interface sets it up for devmem receive. If that is
 * not possible the connection will receive into host memory and says why in one
 * INFO line; with DEVMEM_REQUIRE_RX it is -EOPNOTSUPP and a WARN line.
 */
DEVMEM_API int devmem_listen(struct devmem *d, int nic, void *handle,
			     struct devmem_listener **out);
DEVMEM_API void devmem_listener_close(struct devmem_listener *l);

/**
 * devmem_connect() - connect to a listener.
 *
 * Call again with the same @nic and @handle (same address, same contents) while
 * it returns -EAGAIN. The result is a sender.
 *
 * Errors: -ECONNREFUSED, -ETIMEDOUT, -EPROTO and the like for what the peer
 * does, -EINVAL for a handle that is none, -EOPNOTSUPP if DEVMEM_REQUIRE_TX
 * cannot be.
 */
DEVMEM_API int devmem_connect(struct devmem *d, int nic, const void *handle,
			      struct devmem_conn **out);

/**
 * devmem_accept() - take the next peer that has proved its key.
 *
 * Strangers are turned away here and never make this fail. -EAGAIN while there
 * is none. The result is a receiver.
 */
DEVMEM_API int devmem_accept(struct devmem_listener *l,
			     struct devmem_conn **out);

/**
 * devmem_mr_host() - register memory that the CPU can reach.
 * The memory must stay until devmem_mr_release().
 */
DEVMEM_API int devmem_mr_host(struct devmem_conn *c, void *addr, size_t size,
			      struct devmem_mr **out);

/**
 * devmem_mr_dmabuf() - register memory given as a dma-buf.
 * @addr: the address by which sends and receives will name it
 * @offset, @fd: where @addr lies in which dma-buf. @fd is not kept: the caller
 *	may close it at once.
 *
 * A sender binds it to the interface, which then reads it by itself; the CPU
 * neither maps nor touches it. Where that is not possible the CPU copies from
 * it, if it can, and one INFO line says why; with DEVMEM_REQUIRE_TX that is
 * -EOPNOTSUPP and a WARN line. While it is registered the same address and size
 * name the same memory, on all connections of the process.
 *
 * -EOPNOTSUPP if nothing here can reach memory of that kind; -EINVAL if the
 * range is not inside the dma-buf, -EBADF if @fd is not open.
 */
DEVMEM_API int devmem_mr_dmabuf(struct devmem_conn *c, void *addr, size_t size,
				uint64_t offset, int fd,
				struct devmem_mr **out);

/**
 * devmem_mr_gpu() - register memory of a GPU, given by its address.
 *
 * A sender exports it as a dma-buf and goes on as devmem_mr_dmabuf(); where it cannot
 * be exported or the interface cannot read it, it is copied to host memory to be sent,
 * and one INFO line says why (with DEVMEM_REQUIRE_TX: -EOPNOTSUPP and a WARN line). A
 * receiver needs no dma-buf: the GPU itself moves payload there.
 *
 * -EOPNOTSUPP if it is not a GPU's memory, or not of the GPU that the connection's
 * other memory is on. Errors as of devmem_mr_dmabuf() besides.
 */
DEVMEM_API int devmem_mr_gpu(struct devmem_conn *c, void *addr, size_t size,
			     struct devmem_mr **out);

/**
 * devmem_mr_release() - undo one registration. If requests that use it are under
 * way, the connection ends here (-ECANCELED), so that no progress thread touches
 * that memory any more. -EINVAL if @mr is not registered with @c (released twice,
 * or foreign).
 */
DEVMEM_API int devmem_mr_release(struct devmem_conn *c, struct devmem_mr *mr);

/**
 * devmem_send() - start sending a message. Messages of one connection arrive in
 * the order of these calls.
 * @mr: covers [addr, addr + size), or NULL for host memory
 *
 * The end of a message may be kept back to go with the next one, while earlier
 * ones are under way, until a call of devmem_test().
 * The memory must not change before the request is done. Memory that the
 * interface reads by itself, or the kernel by reference, is done when the peer's
 * TCP has it, and up to 512 KiB that were sent behind it. After a failure or
 * devmem_conn_close() it may still be read for what TCP has to send again.
 * -EAGAIN if DEVMEM_MAX_REQUESTS are under way; -EINVAL if @mr does not cover
 * the range.
 */
DEVMEM_API int devmem_send(struct devmem_conn *c, const void *addr, size_t size,
			   struct devmem_mr *mr, struct devmem_request **out);

/**
 * devmem_recv() - start receiving the next message, of at most @size bytes.
 * A larger one ends the connection on both sides (-EMSGSIZE).
 */
DEVMEM_API int devmem_recv(struct devmem_conn *c, void *addr, size_t size,
			   struct devmem_mr *mr, struct devmem_request **out);

/* Bytes of a request that are its user's. */
#define DEVMEM_NOTE_BYTES 16

/**
 * devmem_request_note() - DEVMEM_NOTE_BYTES bytes that the user of a request may
 * keep with it, aligned for pointers: 0 when it begins, gone when it is.
 */
DEVMEM_API void *devmem_request_note(struct devmem_request *r);

/**
 * devmem_test() - make progress on the request's connection, or see what its
 * progress thread has made.
 * @size: if not NULL, the bytes sent or received, set when done
 *
 * 0: done, the request is gone. -EAGAIN: not yet. Anything else: the connection
 * has failed (devmem_conn_error() says how), the request is gone.
 * -ECONNRESET, -EPIPE, -ETIMEDOUT, -EPROTO, -EREMOTEIO are the peer's doing.
 */
DEVMEM_API int devmem_test(struct devmem_request *r, size_t *size);

/*
 * Unpacking: NCCL's kernels take payload out of the pool (docs/unpack.md).
 */

/**
 * devmem_accept_unpack() - as devmem_accept(), of a receiver whose user unpacks, if it
 * has a pool on a GPU and devmem_options.unpack says so: devmem_unpack_handle() tells.
 *
 * Messages of such a connection that are done are not whole: what the message's list
 * names is still to be copied, then devmem_consumed() called. Lists are for receives
 * into memory that devmem_unpack_mr() was called for; others are whole when they are
 * done, and have a list that is empty. Receive number n has list n % 16. At most 16
 * messages may be between devmem_recv() and devmem_consumed(): -EAGAIN for more.
 */
DEVMEM_API int devmem_accept_unpack(struct devmem_listener *l,
				    struct devmem_conn **out);
/**
 * devmem_unpack_handle() - the address in the GPU's memory of what NCCL's kernels read
 * (struct unpack_handle), and its size. NULL: this connection's payload is gathered.
 */
DEVMEM_API void *devmem_unpack_handle(const struct devmem_conn *c,
				      size_t *bytes);
/**
 * devmem_unpack_off() - the next receives have no list, for good: whoever unpacks may
 * have lost count of them. The connection's thread.
 */
DEVMEM_API void devmem_unpack_off(struct devmem_conn *c);
/** devmem_unpack_mr() - receives into that memory are unpacked. */
DEVMEM_API void devmem_unpack_mr(struct devmem_conn *c, struct devmem_mr *mr);
/**
 * devmem_recv_unlisted() - as devmem_recv(), of a message for which whoever unpacks
 * looks for no list: it has no number there. It is consumed as all others.
 */
DEVMEM_API int devmem_recv_unlisted(struct devmem_conn *c, void *addr,
				    size_t size, struct devmem_mr *mr,
				    struct devmem_request **out);
/**
 * devmem_consumed() - the oldest message that is done and was not consumed is. The
 * connection's thread. -EINVAL if there is none. Of connections without a handle: 0.
 */
DEVMEM_API int devmem_consumed(struct devmem_conn *c);

/** Why the connection failed, in words; "" if it has not. */
DEVMEM_API const char *devmem_conn_error(const struct devmem_conn *c);

/** Counters so far. */
DEVMEM_API void devmem_conn_stats(const struct devmem_conn *c,
				  struct devmem_stats *s);

/**
 * devmem_conn_close() - end a connection. Requests under way are gone, and so
 * are its registrations. Tokens still held are returned. NULL is allowed.
 */
DEVMEM_API void devmem_conn_close(struct devmem_conn *c);

#ifdef __cplusplus
}
#endif
#endif /* DEVMEM_H */
