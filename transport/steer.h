/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * steer.h - the flow rules of a connection that is being made. A NIC takes a rule
 * at once; a broker is asked for it, and answers later.
 */
#ifndef DEVMEM_STEER_H
#define DEVMEM_STEER_H

#include "broker.h"
#include "conn.h"

struct steer {
	unsigned int next; /* flow without a rule */
	/* Each rail's: its rule takes all that comes to the port, so it has all
	 * that it needs. */
	bool whole_port[DEVMEM_MAX_RAILS];
	struct broker_call call;
	struct broker_request request; /* of the call */
	unsigned int queue;	       /* for the next flow */
	bool queue_chosen;
};
#define STEER_NONE                       \
	{                                \
		.call = BROKER_CALL_NONE \
	}

/* A flow as its rule has it: from where, to which listening socket. */
struct steer_flow {
	struct sockaddr_storage from, to;
	int listen_fd;
};
typedef struct steer_flow (*steer_flow_fn)(void *arg, unsigned int flow);

/**
 * steer_progress() - go on with the rules of the connection's flows, which @flow
 * describes. 0: all are there. -EAGAIN: call again. Else there is none left, and
 * @w says why.
 */
int steer_progress(struct steer *s, struct devmem_conn *c, steer_flow_fn flow,
		   void *arg, struct why *w);
/* It is over, whether done or not; rules stay the flows'. */
void steer_end(struct steer *s);

/* Delete the rules that the flows have. */
void steer_delete(struct devmem_conn *c);

#endif /* DEVMEM_STEER_H */
