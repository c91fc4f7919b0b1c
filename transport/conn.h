/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * conn.h - a connection from the inside: one control socket, some flows, the
 * requests under way. Sending is in tx.c, receiving in rx.c, records in
 * control.c, setting up in connect.c and listen.c; conn.c has what is common.
 */
#ifndef DEVMEM_CONN_H
#define DEVMEM_CONN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "credit.h"
#include "devmem.h"
#include "gather.h"
#include "log.h"
#include "probe.h"
#include "stats.h"
#include "tokens.h"
#include "wire.h"

struct device;
struct emu_flow;
struct gpu;
struct lease;
struct rxpool;
struct tx_sends;
struct txmem;
struct unpack;
struct worker;

/* Runs of messages that one flow has under way; a full ring holds back more. */
#define FLOW_RUNS 256u
/*
 * What a connection may move in a turn of its worker, so that others have theirs
 * soon: some hundred microseconds, which makes the calls no more expensive.
 */
#define TURN_BYTES ((size_t)512 << 10)
/* Control bytes waiting to be sent: room for the largest inline message. */
#define CONTROL_OUT (2 * WIRE_MAX_PAYLOAD)
#define CONTROL_IN  (2 * WIRE_MAX_PAYLOAD)
/* Messages that one call sends on control: NCCL has 8 under way. */
#define CONTROL_BATCH 8u

/*
 * Whose a request is: of whoever calls the library, or of whoever makes the
 * connection's progress. Without workers that is the same thread. The state is
 * apart from the request, as it alone may be read by the other one.
 */
enum request_state {
	REQUEST_FREE,	/* the caller's */
	REQUEST_POSTED, /* for the progress to take up */
	REQUEST_ACTIVE, /* the progress's */
	REQUEST_DONE,	/* for the caller to find out; with workers only */
};

struct devmem_request {
	struct devmem_conn *conn;
	int rc;		/* when done: 0, or the connection's error */
	bool announced; /* receive: total is known */
	uint64_t seq;	/* which message of the connection */
	uint8_t *addr;	/* as the CPU sees it, or an offset in mem */
	bool device;	/* no: as the connection's GPU does */
	/* Send: the dma-buf, bound to each rail, if the NICs read it themselves. */
	struct txmem *const *mem;
	size_t size;	 /* send: of the message. receive: room for it */
	size_t total;	 /* of the message */
	size_t granted;	 /* may be sent up to here */
	size_t assigned; /* listed in DATA records up to here */
	size_t moved;	 /* bytes sent or received, in any order */
	unsigned int unfinished; /* sends by reference without completion */
	bool by_reference; /* send: host memory that is not to be copied */
	bool alone;	   /* send: in no call together with others */
	uint64_t ticket;   /* receive: of the last gather */
	/* Of a receiver that unpacks: */
	bool unlisted; /* it has no list; else it is number: */
	uint64_t number;
	bool listed;	/* some of it is on its list */
	bool gathered;	/* no more of it gets there */
	uint32_t taken; /* of its list, entries that are gathered after all */
	/* Send from a GPU without the NIC: see tx_stage.c. */
	uint64_t stage_at; /* its first byte's place in the stage's stream */
	size_t staged;	   /* bytes whose copy has begun */
	size_t ready;	   /* bytes that are there to be sent */
	/* Statistics, in ns: */
	uint64_t since;	       /* it began, 0: it is not timed */
	uint64_t waiting_from; /* send: it waits for leave, 0: it does not */
	uint64_t waited;       /* send: before that */
	union {
		char bytes[DEVMEM_NOTE_BYTES];
		void *align;
	} note; /* the user's */
};

/* Bytes [offset, offset + len) of a request's message. */
struct run {
	struct devmem_request *req;
	size_t offset, len;
};

/* When tokens may go back: a gather is done, and so many messages are consumed. */
struct token_gate {
	uint64_t ticket, messages;
	uint64_t
		since; /* ns: when the first of the tokens came, 0: not known */
};

/* One TCP connection with payload only, from the sender to the receiver. */
struct flow {
	int fd;
	unsigned int rail;     /* of our device */
	uint16_t port;	       /* the sender's */
	struct lease *steered; /* that has its steering rule, or NULL */
	uint32_t rule;	       /* and where */
	/* Runs that follow each other in the stream, oldest first. */
	struct run run[FLOW_RUNS];
	unsigned int first, count;
	size_t pending; /* bytes in these runs */
	/*
	 * Tokens may go back when their time has come. Those that wait for it
	 * are not joined by others, whose time comes later.
	 */
	struct token_batch tokens, waiting;
	struct token_gate tokens_gate, waiting_gate;
	struct emu_flow *emu;	/* NULL: what the kernel says is true */
	struct tx_sends *sends; /* NULL: none by reference so far */
};

struct control {
	int fd;
	struct wire_reader in;
	uint8_t *out; /* [head, tail) is to be sent */
	size_t out_head, out_tail;
	bool eof; /* the peer sends no more */
	bool bye; /* and said so */
	/*
	 * The message that is part way through: nothing else may be sent here,
	 * and nothing else comes, before its end.
	 */
	struct devmem_request *inlining;
	size_t ahead;	    /* bytes worth reading before it is known whose */
	size_t packet;	    /* bytes of a full one, */
	unsigned int asked; /* and calls that wanted to know */
	unsigned int held;  /* calls since the end of a message was kept back */
	struct tx_sends *sends; /* as of a flow */
};

/* Receiver only. */
struct receiver {
	/* A pool for each rail, or none: flows are received by host memory. */
	struct rx_rail {
		struct rxpool *pool;
		struct credit_member credit;
	} rail[DEVMEM_MAX_RAILS];
	unsigned int pools;
	/* There were pools when it was set up, that NICs write to, or not. */
	bool devmem, emulated;
	size_t niov_bytes;    /* payload of one niov in the worst packing */
	size_t unreceived;    /* bytes granted and not here yet */
	uint64_t grant_seq;   /* oldest message that wants more grant */
	uint64_t grants_sent; /* grants of messages before this are sent */
	bool grants_urgent;   /* some message is granted in part only */
	uint64_t data_seq;    /* message that the next DATA is about */
	bool stalled;	      /* a DATA record waits for a request, or room */
	bool crowded;	      /* it is the engine that has no room */
	struct gather_engine *gather; /* NULL: there is nothing to gather */
	struct gather_engine own;     /* the CPU's */
	uint64_t last_ticket;
	/* A gather that is timed, 0: none is; and when it was submitted, in ns. */
	uint64_t timed_ticket, timed_from;
	/* Payload in the pool is left to NCCL's kernels, or NULL. */
	struct unpack *unpack;
	uint64_t unpack_handle; /* on the GPU */
	bool unpack_off;	/* no receive has a list any more */
	/* Messages that were posted, and their lists; whether each has one. */
	uint64_t lists, settled;
	bool has_list[DEVMEM_MAX_REQUESTS];
	uint64_t tested;   /* messages that the user knows to be done */
	uint64_t consumed; /* and of which it needs no more; atomic */
};

/* Are large messages from host memory sent by reference? */
struct zerocopy {
	enum zerocopy_state {
		ZEROCOPY_TRY,
		ZEROCOPY_ON,
		ZEROCOPY_OFF,
	} state;
	unsigned int tried; /* messages */
	struct {
		uint64_t due, bytes; /* to be sent, and sent */
		uint64_t ns;	     /* of CPU, for that */
	} way[2];		     /* by copying, by reference */
};

/* Sender only. */
struct sender {
	struct zerocopy zerocopy;
	uint64_t emit_seq; /* message whose DATA is to be sent next */
	bool announced;	   /* its size has been sent ahead of a grant */
	bool fresh;	   /* a message was posted since the last call */
	size_t chunk_bytes;
	struct tx_stage *stage; /* NULL: nothing was sent from a GPU so far */
	/* Grants for messages that are not posted here yet. */
	struct early_grant {
		uint64_t seq, upto;
	} early[DEVMEM_MAX_REQUESTS];
};

struct devmem_conn {
	struct devmem *ctx;
	struct devmem_conn *next; /* in the context's list */
	const struct device *dev;
	struct gpu *gpu;    /* whose memory it can use, or NULL; held */
	unsigned int rails; /* of the device's, how many it uses */
	bool is_sender;
	bool established; /* from here on it has path lines */
	int err;	  /* sticky; negative errno. Set after error */
	char error[256];
	struct sockaddr_storage local, peer; /* of the control socket */
	struct control control;
	struct flow *flow;
	unsigned int flows;
	/* The largest inline message, of whoever is the sender. */
	size_t inline_bytes;
	uint16_t peer_minor; /* of the peer's HELLO, as the next */
	uint32_t peer_eager;
	bool ungranted; /* messages are sent without waiting for leave */
	struct devmem_request request[DEVMEM_MAX_REQUESTS];
	enum request_state state[DEVMEM_MAX_REQUESTS];	   /* of each */
	const struct devmem_mr *uses[DEVMEM_MAX_REQUESTS]; /* the same */
	uint64_t posted;	  /* requests so far; the caller's */
	uint64_t next_seq;	  /* of the next request that is taken up */
	uint64_t oldest;	  /* with a worker: those before are done */
	struct worker *worker;	  /* NULL: progress is made by the caller */
	struct devmem_conn *link; /* in the worker's list */
	size_t budget; /* bytes it may move before others have their turn */
	unsigned int waits;	 /* calls that waited for flows */
	unsigned int idle_calls; /* calls that moved nothing */
	uint64_t look_at; /* when to ask next whether the peer's host answers */
	struct receiver rx;
	struct sender tx;
	struct stats_record *record; /* what others may read of it */
	struct devmem_stats *stats;  /* its counters */
	bool timed;		     /* its histograms are filled */
	pthread_mutex_t mr_lock;     /* for mrs, and to suspend the worker */
	struct devmem_mr *mrs;
};

/* conn.c */

struct devmem_conn *conn_new(struct devmem *ctx, const struct device *dev,
			     unsigned int rails, bool is_sender);
/* Make @count flows, by one rail after the other, none of them open. */
int conn_make_flows(struct devmem_conn *c, unsigned int count);
/* The interface that a flow is by. */
const char *conn_nic(const struct devmem_conn *c, const struct flow *f);
/* Now, in ns, if the connection is timed; else 0. */
static inline uint64_t conn_now(const struct devmem_conn *c)
{
	return c->timed ? stats_now() : 0;
}

/* Something has taken from @from, of conn_now(), until now. 0: not known. */
static inline void conn_took(struct devmem_conn *c, enum stats_time what,
			     uint64_t from)
{
	if (from)
		histogram_add(&c->record->time[what], stats_now() - from);
}

/* Log the path of a connection that is ready for messages. */
void conn_established(struct devmem_conn *c, const char *reason);
void conn_free(struct devmem_conn *c);

/**
 * conn_fail() - the connection is over. The first reason counts: it is logged,
 * and sent to the peer unless the peer is the cause. Returns the error.
 */
__attribute__((format(printf, 3, 4))) int
conn_fail(struct devmem_conn *c, int err, const char *fmt, ...);

static inline struct devmem_request *conn_request(struct devmem_conn *c,
						  uint64_t seq)
{
	return &c->request[seq % DEVMEM_MAX_REQUESTS];
}

static inline bool conn_is_active(const struct devmem_conn *c, uint64_t slot)
{
	return __atomic_load_n(&c->state[slot], __ATOMIC_ACQUIRE) ==
	       REQUEST_ACTIVE;
}

/* The active request for message @seq, or NULL. */
struct devmem_request *conn_active(struct devmem_conn *c, uint64_t seq);

/**
 * conn_idle() - nothing could be moved: ends the connection if that is because
 * the peer's host is gone. Cheap enough for each such call.
 */
int conn_idle(struct devmem_conn *c);

/* What HELLO says of us. */
struct wire_hello conn_hello(const struct devmem_conn *c);
/*
 * The path of payload is known, and the peer's HELLO in inline_bytes and
 * peer_eager: settle which messages travel on control, and whether others wait
 * for grants.
 */
void conn_settle(struct devmem_conn *c, bool host);

static inline size_t conn_within_budget(const struct devmem_conn *c, size_t n)
{
	return n < c->budget ? n : c->budget;
}

/* Wait until a GPU's engine has done what the connection has given it. Any thread. */
void conn_gather_wait(struct devmem_conn *c);
/* Is there a request that uses @mr? Any thread. */
bool conn_uses(const struct devmem_conn *c, const struct devmem_mr *mr);
/* Nothing moves any more: as conn_fail(), but that nobody is told. */
void conn_cancel(struct devmem_conn *c);

/* For the connection's worker alone. */

/* Is there a request that it has not taken up? */
bool conn_is_posted(struct devmem_conn *c);
/* Is there a request at all? */
bool conn_under_way(struct devmem_conn *c);
/**
 * conn_turn() - take up what is posted, make progress once, and tell the caller
 * of what is done. Did anything happen?
 * @late: for some time there was nothing to do: look at the clock
 */
bool conn_turn(struct devmem_conn *c, bool late);

/* flow.c */

bool flow_push(struct flow *f, struct devmem_request *req, size_t offset,
	       size_t len);
/*
 * The first runs that the CPU reads or writes, at most @max, as @iov; how many, and
 * their bytes in *bytes.
 */
unsigned int flow_iov(const struct flow *f, struct iovec *iov, unsigned int max,
		      size_t *bytes);
/* Drop @n bytes from the front; they have been moved. */
void flow_advance(struct flow *f, size_t n);

/* Are there runs that flows have not moved yet? */
bool conn_runs_left(const struct devmem_conn *c);

/* Cut @n pieces to what may be moved now: how many are left. */
unsigned int conn_cut(const struct devmem_conn *c, struct iovec *iov,
		      unsigned int n);

/* control.c: each 0, -EAGAIN where noted, or the connection's error. */

int control_init(struct control *k, int fd);
void control_free(struct control *k);
/* Room for a record of @n bytes? */
bool control_has_room(const struct control *k, size_t n);
/* The place for a record; control_put_done() says how long it is. */
uint8_t *control_put(struct control *k);
void control_put_done(struct control *k, size_t n);
/*
 * Send more of the inline messages @r, which follow each other, the first of them
 * perhaps part way through; small ones may go with control_flush() only. How
 * many from the first are not needed any more, or the connection's error.
 */
int control_send_inline(struct devmem_conn *c, struct devmem_request *const *r,
			unsigned int count);
/*
 * Is the end of a message, which was kept back for the next one, to go now? To be
 * asked in calls that have nothing else to do.
 */
bool control_overdue(struct devmem_conn *c);
/* May a record begin now? */
bool control_may_speak(const struct devmem_conn *c);
int control_flush(struct devmem_conn *c);
/* Read what is there. */
int control_fill(struct devmem_conn *c);
/* 0: the record is dealt with; 1: it has to wait, as all behind it; or -errno. */
typedef int (*record_fn)(struct devmem_conn *c, const struct wire_hdr *h,
			 const uint8_t *payload);
/*
 * Read, and give each record of type @due to @take; BYE and ERROR are dealt with
 * here, and any other ends the connection. 1: a record waits.
 */
int control_read(struct devmem_conn *c, enum wire_type due, record_fn take);
/* Has control not been looked at for a few calls? */
bool control_due(struct devmem_conn *c);
/* Say goodbye and close, without losing what was sent. */
void control_close(struct devmem_conn *c);

/* tx.c */
void tx_post(struct devmem_conn *c, struct devmem_request *r);
int tx_progress(struct devmem_conn *c);
/* Read what the receiver has said. */
int tx_read_records(struct devmem_conn *c);
bool tx_done(const struct devmem_conn *c, const struct devmem_request *r);
/* Does it wait for room in control's socket? */
bool tx_waits_for_control(struct devmem_conn *c);
/* Does it wait for what no socket tells of? */
bool tx_waits_unseen(const struct devmem_conn *c);
/* tx_devmem.c */
/* Send of the first run, which is in a dma-buf: bytes, -EAGAIN or -errno. */
ssize_t tx_devmem_send(struct flow *f, int flags);
/* Could a connected socket send from @m? 0 or -errno. */
int tx_devmem_try(int fd, const struct txmem *m);
/* tx_stage.c */
/* Messages from a GPU's memory may come. 0 or -ENOMEM. */
int stage_new(struct devmem_conn *c);
void stage_free(struct devmem_conn *c);
/* The last copy's ticket, or 0. */
uint64_t stage_ticket(const struct devmem_conn *c);
/* Go on with copying what is to be sent to host memory. */
int stage_progress(struct devmem_conn *c);
/*
 * Where bytes of a message from @offset on are to be sent from, and in *len how
 * many of these that many there are in one piece.
 */
const uint8_t *tx_bytes(const struct devmem_request *r, size_t offset,
			size_t *len);
/* Up to where it may be sent, as far as it is up to this side. */
static inline size_t tx_ready(const struct devmem_request *r)
{
	return r->device && !r->mem ? r->ready : r->size;
}
/* zerocopy.c */
void zerocopy_init(struct devmem_conn *c);
/* A message is to be sent: which way? */
void zerocopy_post(struct devmem_conn *c, struct devmem_request *r);
/* Is it still to be sent by reference? */
bool zerocopy_wanted(const struct devmem_conn *c,
		     const struct devmem_request *r);
/*
 * Send [offset, offset + len) of a message by reference, or the first part of
 * that. *s is made when there is none. Bytes; 0: copy it; -EAGAIN or -errno.
 */
ssize_t zerocopy_send(struct devmem_conn *c, int fd, struct tx_sends **s,
		      struct devmem_request *r, size_t offset, size_t len,
		      int flags);
/* Before bytes of a message that is alone are sent, and behind: what that took. */
uint64_t zerocopy_clock(const struct devmem_conn *c,
			const struct devmem_request *r);
void zerocopy_sent(struct devmem_conn *c, const struct devmem_request *r,
		   uint64_t since, size_t n);
/* Take note of sends of @s, which may be NULL, that are complete. */
int zerocopy_complete(struct devmem_conn *c, int fd, struct tx_sends *s);
/* rx.c */
void rx_post(struct devmem_conn *c, struct devmem_request *r);
/* Receive into @pool, one for each rail. */
int rx_init(struct devmem_conn *c, struct rxpool *const *pool,
	    enum devmem_gather_kind gather, struct why *w);
/* All flows are there: messages may come. 0 or the connection's error. */
int rx_start(struct devmem_conn *c);
void rx_free(struct devmem_conn *c);
int rx_progress(struct devmem_conn *c);
/* Grant what requests want, as far as the pool allows. */
int rx_send_grants(struct devmem_conn *c);
bool rx_done(struct devmem_conn *c, const struct devmem_request *r);
/* All of it has come, and a GPU that works is bringing it to its place. */
bool rx_gathering(struct devmem_conn *c, const struct devmem_request *r);
/* The gather that is timed is done. */
void rx_gather_over(struct devmem_conn *c);
/* Return tokens and credit, if nothing more is to come that would do it. */
int rx_settle(struct devmem_conn *c);
/* Does it wait for what no socket tells of: room in the pool, a gather? */
bool rx_waits_unseen(struct devmem_conn *c);
/* Does it wait for room in control's socket? */
bool rx_waits_for_control(const struct devmem_conn *c);
/* rx_flow.c */
/* Receive what is there for the flow's runs; *moved is set if there was some. */
int rx_flow_receive(struct devmem_conn *c, struct flow *f, bool *moved);
/* Return all tokens, gathered or not. */
int rx_return_tokens(struct devmem_conn *c, struct flow *f);
/* Return what is gathered, of every flow. */
int rx_return_gathered(struct devmem_conn *c);
/* rx_device.c: bytes that are in host memory, to a request's in a GPU's. */
/* The engine has work of the connection's, up to that ticket. */
static inline void rx_gathers(struct devmem_conn *c, uint64_t ticket)
{
	/* Whoever releases memory reads it, too. */
	if (ticket > c->rx.last_ticket)
		__atomic_store_n(&c->rx.last_ticket, ticket, __ATOMIC_RELEASE);
}
/* Room in the connection's engine: 0, -EAGAIN or the connection's error. */
int rx_reserve(struct devmem_conn *c, struct gather_room *room);
/*
 * Take @len bytes at @data, at most RX_DEVICE_MAX, to @offset of a message. 0,
 * -EAGAIN: the engine has no room; or the connection's error.
 */
#define RX_DEVICE_MAX ((size_t)64 << 10)
int rx_to_device(struct devmem_conn *c, struct devmem_request *r, size_t offset,
		 const void *data, size_t len);
/* Read up to @len bytes from @fd to there: as recv(), or -EAGAIN and the like. */
ssize_t rx_read_device(struct devmem_conn *c, int fd, struct devmem_request *r,
		       size_t offset, size_t len);
/* rx_unpack.c */
int rx_unpack_new(struct devmem_conn *c, struct why *w);
void rx_unpack_free(struct devmem_conn *c);
/* Are there as many messages as there are lists? */
bool rx_unpack_full(const struct devmem_conn *c);
int rx_unpack_post(struct devmem_conn *c, struct devmem_request *r);
/* Lists of what was consumed are empty again. */
int rx_unpack_settle(struct devmem_conn *c);
/* Is there something consumed of which progress does not know? */
bool rx_unpack_pending(const struct devmem_conn *c);
/*
 * The pool is short, and what is listed of a message that has not come whole keeps it
 * so: gather that instead, and the rest of it. 0 or the connection's error.
 */
int rx_unpack_relieve(struct devmem_conn *c, struct devmem_request *r);
/* All of it is here: the GPU may know. */
int rx_unpack_done(struct devmem_conn *c, const struct devmem_request *r);
/* mr.c */
/*
 * Fill in where [addr, addr + size) is of a request. -EINVAL if that is not
 * covered.
 */
int mr_place(const struct devmem_mr *mr, const void *addr, size_t size,
	     struct devmem_request *r);
void mr_free_all(struct devmem_conn *c);

/* path.c: @reason: why not by devmem, of a receiver. */
void path_opened(struct devmem_conn *c, const char *reason);
void path_done(const struct devmem_conn *c);

/* context.c */
const struct devmem_options *ctx_options(const struct devmem *d);
void ctx_add(struct devmem *d, struct devmem_conn *c);
void ctx_remove(struct devmem *d, struct devmem_conn *c);
/* A connection of it has failed: nothing is left on NCCL's unpack lists of any. */
void ctx_withdraw(struct devmem *d);

#endif /* DEVMEM_CONN_H */
