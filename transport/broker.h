/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * broker.h - how a process without CAP_NET_ADMIN gets receive queues: from devmemd,
 * over a SOCK_SEQPACKET socket of this machine. The messages, which docs/broker.md
 * describes, and the client's side of them.
 *
 * A message is one struct, as it is in memory, and at most one descriptor. Each
 * request has one answer, in order. What comes from the other side is hostile until
 * checked, on both sides.
 */
#ifndef DEVMEM_BROKER_H
#define DEVMEM_BROKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "devmem.h"
#include "log.h"

#define BROKER_SOCKET  "/run/nccl-devmem/devmemd.sock"
#define BROKER_MAGIC   0x4d564544u /* "DEVM" */
#define BROKER_VERSION 1
#define BROKER_TOKEN   16
/* Of a socket's path, with its end: struct sockaddr_un has room for it. */
#define BROKER_PATH 108

enum broker_type {
	BROKER_BIND_RX = 1, /* with a dma-buf */
	BROKER_RULE_ADD,    /* with a listening socket */
	BROKER_RULE_DELETE,
	BROKER_STATUS,
};

/* What a type does not use is 0. */
struct broker_request {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	char ifname[16];   /* BIND_RX; ends with a 0 */
	uint32_t queues;   /* BIND_RX: at most so many */
	uint32_t queue;	   /* RULE_ADD: steer to it; STATUS: index */
	uint32_t location; /* RULE_DELETE */
	uint16_t family;   /* RULE_ADD: of the peer, AF_INET, AF_INET6 */
	uint16_t port;	   /* RULE_ADD: the peer's, host order */
	uint8_t addr[16];  /* RULE_ADD: the peer's, of IPv4 the first 4 */
	uint8_t token[BROKER_TOKEN]; /* RULE_*: of the lease */
	uint32_t manual;	     /* BIND_RX: 1: change nothing of the NIC */
	uint8_t reserved[20];
};
_Static_assert(sizeof(struct broker_request) == 96, "a request's layout");

struct broker_answer {
	uint32_t magic;
	uint16_t version;
	uint16_t type;	     /* of the request */
	int32_t status;	     /* 0 or a negative errno */
	uint32_t dmabuf_id;  /* BIND_RX, STATUS */
	uint32_t queues;     /* BIND_RX, STATUS */
	uint32_t location;   /* RULE_ADD */
	uint32_t whole_port; /* RULE_ADD: 1 if it takes all that comes there */
	uint32_t uid;	     /* STATUS: whose, */
	uint32_t pid;	     /* of which process, */
	uint32_t rules;	     /* and with how many rules */
	char ifname[16];     /* STATUS */
	uint16_t queue[DEVMEM_MAX_QUEUES];
	uint8_t token[BROKER_TOKEN]; /* BIND_RX */
	char text[WHY_BYTES];	     /* why not; ends with a 0 */
};
_Static_assert(sizeof(struct broker_answer) == 328, "an answer's layout");

/* A lease as its holder has it. */
struct broker_hold {
	char path[BROKER_PATH]; /* of the broker's socket */
	uint8_t token[BROKER_TOKEN];
	/*
	 * The netlink socket that the binding lives on. The process has no use
	 * for it but to have it, and to close it.
	 */
	int netlink_fd;
	pthread_mutex_t lock; /* for fd */
	int fd;		      /* to the broker: its end tells of ours; or -1 */
};

/*
 * Which broker is to be asked, NULL: none. @choice is devmem_options.broker; with
 * "auto" it is the one that is there, for processes without CAP_NET_ADMIN; or to
 * which, with @refused, the kernel has said that theirs is of no use.
 */
const char *broker_choose(const char *choice, bool refused);
/* Is @choice one of auto, off, a path? */
bool broker_choice_ok(const char *choice);

/** A request under way: never blocks, and can be given up at any time. */
struct broker_call {
	int fd; /* -1: not connected */
	bool sent;
	uint64_t retry_at, deadline; /* ms; 0: not begun */
};
#define BROKER_CALL_NONE \
	{                \
		.fd = -1 \
	}

/**
 * broker_call() - go on with request @q, to be called again with the same while it
 * is -EAGAIN. @pass_fd: goes along, or -1. 0: *a is the answer, and *got_fd, if
 * not NULL, the descriptor that came with it, or -1. -ETIMEDOUT: no broker has
 * answered for some seconds; meanwhile one that was started anew is asked again.
 * -EPROTO: it is none of ours.
 */
int broker_call(struct broker_call *k, const char *path,
		const struct broker_request *q, int pass_fd,
		struct broker_answer *a, int *got_fd);
/* Hang up; the next broker_call() begins anew. */
void broker_call_end(struct broker_call *k);

/* A request of @type with all else 0. */
struct broker_request broker_request_of(enum broker_type type);

/** broker_probe() - does a broker answer at @path? 0 or -errno. Waits for it. */
int broker_probe(const char *path);

struct lease;
/**
 * broker_take() - the rest of lease_take(), by the broker at @path. Waits for its
 * answer, at most some seconds; a second where there is none.
 */
int broker_take(const char *path, unsigned int queues, bool manual,
		int dmabuf_fd, struct lease *l, struct why *w);
/* Give it back; the broker does the rest. Does not wait. */
void broker_end(struct lease *l);
/*
 * Delete a rule without waiting for it: the broker keeps the port from others until
 * it has. A request that gets lost costs the rule's place until the lease's end.
 */
void broker_rule_delete(struct broker_hold *b, uint32_t location);

/* Both sides: one message. Each 0, -EAGAIN, -EPIPE (hung up) or -errno. */
int broker_send(int fd, const void *msg, size_t n, int pass_fd);
/*
 * *got_fd is -1 if none came. -EPROTO: another size than @n, more than one
 * descriptor, or something that is none; no descriptor stays open then.
 */
int broker_recv(int fd, void *msg, size_t n, int *got_fd);

#endif /* DEVMEM_BROKER_H */
