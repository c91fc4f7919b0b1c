/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lease.h - receive queues of a NIC with a dma-buf bound to them, the NIC set up
 * for that, and what it takes to leave it as it was. Whose memory it is, and what
 * is received there, is the pool's affair (rxpool.h).
 */
#ifndef DEVMEM_LEASE_H
#define DEVMEM_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "devmem.h"
#include "devnl.h"
#include "ethioctl.h"
#include "log.h"
#include "settings.h"

/* Queues of a NIC that we look at. */
#define LEASE_QUEUES_MAX 1024

struct broker_hold;

struct lease {
	char ifname[16];
	unsigned int ifindex;
	/* Of one that a broker has taken for us, NULL: it is our own. */
	struct broker_hold *brokered;
	struct nic_settings settings;
	/*
	 * Of our own: closing it unbinds. It is closed after every socket that may hold
	 * tokens and before the settings are restored, which the kernel refuses
	 * while queues are bound.
	 */
	struct devnl_family netdev;
	uint32_t dmabuf_id;
	bool guarded; /* see guard.h */
	unsigned int queue[DEVMEM_MAX_QUEUES];
	unsigned int queues;
};

/* The netlink family that all of this goes by, or why there is none. */
int lease_open_netdev(struct devnl_family *f, struct why *w);

/** lease_probe() - look for an obstacle without changing anything. */
int lease_probe(const struct devmem_nic_props *nic, bool manual, struct why *w);

struct lease_want {
	unsigned int queues; /* at most */
	bool manual;	     /* change no setting of the NIC */
	const char *guard;   /* which one to start, see guard.h */
	/* LEASE_QUEUES_MAX of them that are not to be taken, or NULL. */
	const bool *avoid;
};

/**
 * lease_take() - header split and flow rules on, RSS off some queues, and
 * @dmabuf_fd bound to them. On failure everything is as before and @w says why;
 * -EBUSY: somebody else is at it, try again. Blocks for as long as the NIC takes,
 * and up to two seconds for others.
 */
int lease_take(const struct devmem_nic_props *nic,
	       const struct lease_want *want, int dmabuf_fd, struct lease *l,
	       struct why *w);
/**
 * lease_get() - the same for a process with options @o: by a broker where they,
 * and its want of privilege, say so. *w has then the broker's reason.
 */
int lease_get(const struct devmem_nic_props *nic,
	      const struct devmem_options *o, int dmabuf_fd, struct lease *l,
	      struct why *w);

/**
 * lease_adopt() - be the one who restores what a lease has changed whose binding
 * somebody else holds: ifname, queues and dmabuf_id of @l are known, and lost are
 * only its own changes of RSS, which come back with the NIC's last lease.
 */
int lease_adopt(const struct devmem_nic_props *nic, const char *guard,
		struct lease *l, struct why *w);
/*
 * Is it still bound? Also true while that cannot be told, as of a NIC that is down.
 * @netdev: from lease_open_netdev().
 */
bool lease_is_bound(const struct lease *l, struct devnl_family *netdev);
/*
 * Hand the socket over that keeps it bound: a descriptor that is valid until
 * lease_let_go(), after which the lease ends with whoever has it.
 */
int lease_netlink_fd(const struct lease *l);
void lease_let_go(struct lease *l);

/** lease_end() - unbind, and restore what nobody else needs. */
void lease_end(struct lease *l);

/**
 * lease_rule_add() - steer a flow to a queue of the lease of our own:
 * eth_rule_insert(). Of another's the broker is asked (steer.h).
 */
int lease_rule_add(struct lease *l, const struct eth_flow *flow,
		   unsigned int queue, uint32_t *location, bool *whole_port);
void lease_rule_delete(struct lease *l, uint32_t location);

/* "6,7", for log lines. */
const char *lease_queues_text(const struct lease *l, char *text, size_t n);

#endif /* DEVMEM_LEASE_H */
