/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kt.h - what the kernel's test programs share: hosts (network namespaces),
 * dma-bufs of user memory, the netdev family's bind commands, TCP flows between
 * hosts, tokens, completions, and a pattern that tells where a byte belongs.
 *
 * A witness of its own: no code of the transport is used here. Numbers that
 * headers of a distribution may lack are here, from include/uapi of Linux.
 * These are tests: what goes wrong ends the program, with words and status 1;
 * status 77 means that the test could not be made here.
 */
#ifndef KT_H
#define KT_H

#include <netlink/genl/genl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define KT_PAGE		4096u
#define KT_SKIPPED	77

/* linux/socket.h, asm-generic/socket.h, linux/uio.h, linux/errno.h */
#define KT_MSG_SOCK_DEVMEM	0x2000000
#define KT_SCM_DEVMEM_LINEAR	78
#define KT_SCM_DEVMEM_DMABUF	79
#define KT_SO_DEVMEM_DONTNEED	80
#define KT_SO_ZEROCOPY		60
#define KT_MSG_ZEROCOPY		0x4000000
#define KT_ETOOSMALL		525
#define KT_DONTNEED_TOKENS	128
#define KT_DONTNEED_FRAGS	1024

struct kt_frag_cmsg {
	uint64_t frag_offset;
	uint32_t frag_size;
	uint32_t frag_token;
	uint32_t dmabuf_id;
	uint32_t flags;
};

struct kt_token {
	uint32_t start;
	uint32_t count;
};

/* linux/netdev.h */
enum { KT_CMD_PAGE_POOL_GET = 5, KT_CMD_QUEUE_GET = 10, KT_CMD_BIND_RX = 13,
       KT_CMD_BIND_TX = 15 };
enum { KT_A_DMABUF_IFINDEX = 1, KT_A_DMABUF_QUEUES, KT_A_DMABUF_FD,
       KT_A_DMABUF_ID };
enum { KT_A_QUEUE_ID = 1, KT_A_QUEUE_IFINDEX, KT_A_QUEUE_TYPE,
       KT_A_QUEUE_NAPI_ID, KT_A_QUEUE_DMABUF };
enum { KT_A_POOL_ID = 1, KT_A_POOL_IFINDEX, KT_A_POOL_NAPI_ID,
       KT_A_POOL_INFLIGHT, KT_A_POOL_INFLIGHT_MEM, KT_A_POOL_DETACH_TIME,
       KT_A_POOL_DMABUF };
enum { KT_A_MAX = 32 };

/* ---- options and words (kt_main.c) ----------------------------------------- */

/* Set by options that all programs take, see kt_main.c for their defaults. */
struct kt_options {
	const char *tx_host, *tx_nic;	/* who sends */
	const char *rx_host, *rx_nic;	/* who receives */
	const char *bind_host;		/* where rx_nic is, if not in rx_host */
	const char *connect_to;		/* whose address, by default rx_host's */
	int family;			/* AF_INET or AF_INET6 */
	bool fragment;			/* routers may cut what is sent */
	bool ip_options;		/* IP options in what is sent */
	bool unaligned;			/* odd offsets and lengths, sending */
	bool more;			/* MSG_MORE now and then */
	bool lossy;			/* completions may be in disorder */
	unsigned int queue;		/* that flows are steered to */
	size_t bytes;			/* to move */
	size_t region;			/* bytes of a dma-buf */
	double seconds;
	uint64_t seed;
	const char *run;		/* command to run at a certain point */
};
extern struct kt_options kt;

struct kt_case {
	const char *name;
	void (*run)(void);
	const char *what;
};

/* Runs the cases that argv asks for, one after the other. Never returns. */
void kt_main(int argc, char **argv, const struct kt_case *cases)
	__attribute__((noreturn));
const char *kt_arg(void);	/* the next of argv, NULL at the end */

void die(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
void skip(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define expect(cond, ...) do { if (!(cond)) die(__VA_ARGS__); } while (0)

double kt_now(void);			/* seconds, monotonic */
void kt_sleep(double seconds);
void kt_shell(const char *command);	/* dies if it fails */
uint32_t kt_random(void);		/* follows --seed */
void kt_random_for(unsigned int thread);	/* another series, this thread */

/* ---- hosts (kt_net.c) ------------------------------------------------------ */

void host_enter(const char *host);	/* this thread; "." is where it began */
unsigned int host_ifindex(const char *host, const char *nic);

/* ---- memory (kt_mem.c) ----------------------------------------------------- */

struct region {
	int fd;				/* the dma-buf */
	unsigned char *mem;
	size_t size;
};

void region_make(struct region *r, size_t size);
void region_close(struct region *r);
void region_sync(const struct region *r, bool begin);

/* The byte at a position of a stream depends on that and on the seed. */
void pattern_fill(void *to, uint64_t pos, size_t len, uint64_t seed);
/* Bytes that are right from the first on. */
size_t pattern_match(const void *at, uint64_t pos, size_t len, uint64_t seed);

/* ---- netlink (kt_nl.c) ----------------------------------------------------- */

struct binding {
	struct nl_sock *sk;		/* the lease: unbound when it is closed */
	uint32_t id;
	char why[256];			/* the kernel's words on a failure */
};

/* In the host where the calling thread is; 0 or -errno. */
int bind_rx(struct binding *b, unsigned int ifindex, int fd,
	    const uint32_t *queues, unsigned int n);
int bind_tx(struct binding *b, unsigned int ifindex, int fd);
/* In @host, and the thread is where it began. */
int host_bind_rx(struct binding *b, const char *host, const char *nic, int fd,
		 const uint32_t *queues, unsigned int n);
int host_bind_tx(struct binding *b, const char *host, const char *nic, int fd);
/* Die if they cannot; skip if no driver here can send. */
void must_bind_rx(struct binding *b, const char *host, const char *nic,
		  const struct region *r, const uint32_t *queues,
		  unsigned int n);
void must_bind_tx(struct binding *b, const char *host, const char *nic,
		  const struct region *r);
void unbind(struct binding *b);		/* once more does nothing */

/* In the host where the calling thread is. */
struct pool_count {
	unsigned int pools;		/* of that dma-buf */
	uint64_t inflight;		/* net_iovs out */
	bool detached;			/* one is waiting for its last net_iov */
};

void pools_get(uint32_t dmabuf_id, struct pool_count *count);
/* The dma-buf bound to that rx queue, 0 for none, -1 for no such queue. */
int64_t queue_dmabuf(unsigned int ifindex, unsigned int queue);
/* dma-bufs in the system, and whether it comes down to @n in that time. */
int dmabufs(void);
bool dmabufs_fall_to(int n, double seconds);

/* ---- flows (kt_net.c) ------------------------------------------------------ */

struct flow {
	int tx, rx;			/* non-blocking */
	unsigned int port;		/* at both ends */
};

/* From kt.tx_host to kt.rx_host, port is that at both ends. */
void flow_open(struct flow *f, unsigned int port);
void flow_close(struct flow *f);
/* The connection ends without a good-bye, which an unreachable peer would be
 * told for minutes.
 */
void reset_at_close(int fd);
enum { KT_PORT = 5201, KT_PORT2 = 5202 };	/* steered by lib.sh */

void wait_readable(int fd, double seconds, const char *what);
/* All of it, from host memory, as pattern. */
void send_pattern(int fd, uint64_t pos, size_t len, uint64_t seed);
void receive_pattern(int fd, uint64_t pos, size_t len, uint64_t seed);

/* ---- receive (kt_recv.c) --------------------------------------------------- */

enum piece_kind { PIECE_FRAG, PIECE_LINEAR, PIECE_PLAIN };

struct piece {
	enum piece_kind kind;
	uint64_t offset;		/* in the dma-buf, or in batch.buf */
	uint32_t len;
	uint32_t token;
	uint32_t dmabuf;
};

#define BATCH_PIECES	2048
#define BATCH_BYTES	(256u << 10)
#define BATCH_ROOM	CMSG_SPACE(sizeof(struct kt_frag_cmsg))	/* for one */

struct batch {
	unsigned int n;
	struct piece piece[BATCH_PIECES];
	size_t frag_bytes, linear_bytes, plain_bytes;
	char buf[BATCH_BYTES];
	char control[BATCH_PIECES * 48];
};

struct batch *batch_new(void);
/* recvmsg with MSG_SOCK_DEVMEM: bytes or -errno. @room: of the control buffer,
 * 0 for none.
 */
ssize_t batch_receive(struct batch *b, int fd, size_t max, size_t room,
		      int flags);
#define BATCH_ALL_ROOM	sizeof(((struct batch *)0)->control)
/* What a recvmsg() of our own into @b's buffers gave. */
void batch_parse(struct batch *b, struct msghdr *m, ssize_t n);
/* Dies unless all bytes are those of the stream at @pos. */
void batch_check(const struct batch *b, const struct region *r, uint32_t dmabuf,
		 uint64_t pos, uint64_t seed);
/* All of its tokens go back; dies if the kernel did not know one. */
void batch_return(const struct batch *b, int fd);
int dontneed(int fd, const struct kt_token *t, size_t bytes);
/* Tokens that the kernel knew, or -errno. */
int dontneed_range(int fd, uint32_t start, uint32_t count);

struct totals {
	uint64_t bytes, frags, frag_bytes, linear_bytes, plain_bytes;
};

void totals_add(struct totals *t, const struct batch *b);

/* Receives, checks and returns @len bytes from @pos on. */
void receive_checked(int fd, const struct region *r, uint32_t dmabuf,
		     uint64_t pos, size_t len, uint64_t seed,
		     struct totals *t);

/* ---- send from a dma-buf (kt_send.c) --------------------------------------- */

#define SENDER_SLOTS	64

/* Sends a stream from a dma-buf. The region is written again only where the
 * kernel said that it is done with it, so a completion that comes early shows
 * as wrong bytes at the receiver.
 */
struct sender {
	int fd;
	const struct region *region;
	uint32_t dmabuf;
	uint64_t seed;
	uint64_t pos, end;		/* of the stream */
	size_t slot_size;
	struct slot {
		bool busy, last;	/* last: nothing more will be sent of it */
		uint32_t off, len, sent;
		uint32_t pending;	/* sends without completion */
	} slot[SENDER_SLOTS];
	unsigned int slots, cur;	/* cur: being sent */
	uint32_t next_id;		/* of the next send that succeeds */
	uint32_t done_id;		/* the next to complete */
	uint8_t owner[1 << 16];		/* id -> slot */
	bool done[1 << 16];		/* id completed */
	uint64_t completions, copied, partial, disorder;
};

void sender_open(struct sender *s, int fd, const struct region *r,
		 uint32_t dmabuf, uint64_t len, uint64_t seed);
/* Sends what fits. */
enum sender_state { SENDER_SENT,	/* all of the stream */
		    SENDER_FULL,	/* the socket's buffer is */
		    SENDER_WAITS };	/* for completions */
enum sender_state sender_step(struct sender *s);
/* Reads the error queue. */
void sender_complete(struct sender *s);
bool sender_done(const struct sender *s);

/* One sendmsg of @len bytes at @off: bytes or -errno. @id 0 is sent as such,
 * @cmsg_len is that of the id's cmsg's data, 0 for no cmsg.
 */
ssize_t send_dmabuf(int fd, uint32_t id, size_t cmsg_len, uint64_t off,
		    size_t len, int flags);
void zerocopy_on(int fd);
/* Next range of completions, false if there is none. */
bool completion_read(int fd, uint32_t *lo, uint32_t *hi, bool *copied);

#endif
