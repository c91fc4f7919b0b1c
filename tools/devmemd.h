/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devmemd.h - the broker from the inside. One thread, which never waits for a
 * client; all that a client can make it keep is in tables of fixed size.
 *
 * The kernel is the truth about leases: a lease is over when its queues are not
 * bound to its dma-buf any more, whatever its client says or has said.
 */
#ifndef TOOLS_DEVMEMD_H
#define TOOLS_DEVMEMD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "broker.h"
#include "devmemd_policy.h"
#include "lease.h"

#define CLIENTS_MAX	 1024
#define CLIENTS_OF_USER	 256
#define CLIENTS_UNLISTED 32 /* of all users together that no line allows */
#define LEASES_MAX	 256
#define RULES_MAX	 2048
/* Milliseconds between looks at leases whose clients are there, and are not. */
#define LOOK_MS	     1000
#define LOOK_AWAY_MS 200
/* A client without a lease that is silent for so long is one too many. */
#define IDLE_MS 30000

struct client {
	int fd; /* -1: there is none */
	uid_t uid;
	gid_t gid;
	pid_t pid;
	bool listed;	/* some line of the policy was for it when it came */
	uint64_t heard; /* ms */
};

/* A lease that a client has; what is in the state file of it. */
struct held {
	bool used;
	struct lease lease;
	uint64_t guid; /* of the NIC */
	uint8_t token[BROKER_TOKEN];
	uid_t uid;
	pid_t pid;
	int client; /* its index; -1: it is away, or we were started anew */
};

/* A flow rule of a lease. */
struct rule {
	bool used;
	unsigned int lease; /* its index */
	uint32_t location;
	bool whole_port;
	struct sockaddr_storage from, to;
	/*
	 * The listening socket: as long as the rule is there nobody else may get
	 * the port. The job has the socket as well, and can make it listen no
	 * more: then the rule goes. Index, or -1 after a restart.
	 */
	int port;
};

struct port {
	int fd;
	uint64_t cookie; /* the kernel's name of the socket */
	unsigned int users;
};

struct devmemd {
	int epoll_fd, listen_fd, signal_fd, spare_fd, lock_fd, state_dir;
	const char *policy_path, *state_path;
	const char *guard; /* see guard.h */
	struct policy policy;
	uint64_t netns; /* the kernel's cookie of ours */
	struct devnl_family netdev;
	struct client client[CLIENTS_MAX];
	struct held held[LEASES_MAX];
	struct rule rule[RULES_MAX];
	struct port port[RULES_MAX];
	bool ended;
};

/* devmemd_loop.c */

/**
 * devmemd_start() - take up what is in the state folder, serve @listen_fd, which
 * becomes the daemon's. 0 or -errno, logged.
 */
int devmemd_start(struct devmemd *d, int listen_fd);
/* The same without leases of before. */
int devmemd_serve(struct devmemd *d, int listen_fd);
/* Wait for what is to be done, at most @max_ms, and do it. */
void devmemd_step(struct devmemd *d, int max_ms);
/* Lets go of everything; leases stay their holders'. */
void devmemd_stop(struct devmemd *d);
void client_drop(struct devmemd *d, struct client *c);
/* Have rules_look() called when that socket ceases to listen. 0 or -errno. */
int port_watch(const struct devmemd *d, int fd, unsigned int port);
/* Who that is, for the policy; its groups are valid until the next call. */
struct policy_peer client_peer(const struct client *c);

/* devmemd_request.c */

/* 0, or -errno with the reason in @w: is it a request at all? */
int request_check(const struct broker_request *q, bool has_fd, struct why *w);
/**
 * request_handle() - one message of a client, which is dropped if it makes no sense
 * or does not read what it asked for. @fd is closed.
 */
void request_handle(struct devmemd *d, struct client *c,
		    const struct broker_request *q, int fd);

/* devmemd_lease.c */

int lease_bind(struct devmemd *d, struct client *c,
	       const struct broker_request *q, int dmabuf_fd, struct held **out,
	       struct why *w);
/* It was given to its client: its socket is the client's alone. Or take it back. */
void lease_given(struct held *h);
void lease_drop(struct devmemd *d, struct held *h, const char *why_text);
/* The client's, by token; NULL. */
struct held *lease_find(struct devmemd *d, const struct client *c,
			const uint8_t *token);
/* End those that the kernel says are over. */
void leases_look(struct devmemd *d);
/* Take up those of the state file, and restore NICs that nobody is left for. */
int leases_take_up(struct devmemd *d);
unsigned int lease_rules(const struct devmemd *d, const struct held *h);

/* devmemd_rule.c */

/* 1 if it is there already. */
int rule_add(struct devmemd *d, struct client *c, struct held *h,
	     const struct broker_request *q, int listen_fd, struct rule **out,
	     struct why *w);
int rule_delete(struct devmemd *d, struct held *h, uint32_t location,
		struct why *w);
void rules_delete_all(struct devmemd *d, struct held *h);
/* Something has happened to a socket: delete rules for which it listens no more. */
void rules_look(struct devmemd *d, unsigned int port);

/* devmemd_diag.c */

/* Has another user than @uid connections whose own end is @at? 1, 0, or -errno. */
int others_connected(const struct sockaddr_storage *at, uid_t uid);

/* devmemd_state.c: the leases, in a file of the state folder. */

int state_open(struct devmemd *d);
int state_read(struct devmemd *d);
void state_write(struct devmemd *d);
/* Its text, for tests. 0, or -EINVAL and the line's number in *line. */
size_t state_format(const struct devmemd *d, char *text, size_t n);
int state_parse(struct devmemd *d, char *text, int *line);

/* devmemd_log.c */

/* One line to stderr. Of refusals, which anybody can cause, only so many. */
__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void say_refusal(const char *fmt, ...);

/* devmemd_sandbox.c */

/* Keep CAP_NET_ADMIN and nothing else, for good. */
int sandbox_enter(void);
/* The socket that systemd has opened, -ENOENT if there is none. */
int activation_socket(void);
/* A socket at @path, in place of one that nobody listens on. */
int listen_at(const char *path);
void notify_ready(void);

#endif /* TOOLS_DEVMEMD_H */
