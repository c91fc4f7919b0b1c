// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_kernel.c - what the kernel and a NIC's driver can do, found out by asking
 * for what cannot succeed: a binding of descriptor -1. The kernel looks for the
 * dma-buf before it touches a queue, so such a request has no effect, and how it
 * fails tells how far it got.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "broker.h"
#include "devnl.h"
#include "doctor.h"
#include "doctor_link.h"
#include "rxpool.h"
#include "txmem.h"
#include "uapi.h"

void check_kernel(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct devnl_family f;
	struct utsname u;

	(void)nic;
	if (devnl_open(&f, DEVMEM_NETDEV_FAMILY)) {
		doctor_found(d, REASON_KERNEL_NO_NETDEV);
		return;
	}
	devnl_close(&f);
	if (devnl_open(&f, "ethtool")) {
		doctor_found(d, REASON_KERNEL_NO_ETHTOOL);
		return;
	}
	devnl_close(&f);
	uname(&u);
	doctor_ok(d, "%s %s", u.sysname, u.release);
}

/* -EBADF: nothing is in the way but that there is no such dma-buf. */
static int probe_rx(const struct devmem_nic_props *nic, char *say, size_t n)
{
	static const unsigned int first = 0;
	struct devnl_family f;
	uint32_t id;
	int rc = devnl_open(&f, DEVMEM_NETDEV_FAMILY);

	*say = '\0';
	if (rc)
		return rc;
	rc = devnl_bind_rx(&f, nic->ifindex, -1, &first, 1, &id);
	snprintf(say, n, "%s", f.extack);
	devnl_close(&f);
	return rc;
}

/* As the plugin gets its queues: one that is named is asked in any case. */
void check_privileges(struct doctor *d, const struct devmem_nic_props *nic)
{
	char say[160], text[256];
	bool may = probe_rx(nic, say, sizeof(say)) != -EPERM;
	const char *broker = broker_choose(d->options.broker, !may);
	int rc = broker ? broker_probe(broker) : 0;

	if (may && !broker) {
		doctor_ok(d, "may bind memory and steer flows");
	} else if (may && rc) {
		snprintf(text, sizeof(text),
			 "the broker at %s (NCCL_DEVMEM_BROKER) does not "
			 "answer: %s",
			 broker, strerror(-rc));
		doctor_found(d, REASON_NONE, .detail = text);
	} else if (broker && !rc) {
		doctor_ok(d, "by the broker at %s, as far as its policy goes",
			  broker);
	} else {
		doctor_found(d, REASON_NO_PRIVILEGE, .nic = nic->name,
			     .what = "binding memory to queues of");
	}
}

void check_bind_rx(struct doctor *d, const struct devmem_nic_props *nic)
{
	char say[160], driver[32];
	int rc = probe_rx(nic, say, sizeof(say));

	link_driver(nic->name, driver, sizeof(driver));
	if (rc == -EBADF)
		doctor_ok(d, "can be asked for%s%s", *driver ? ", driver " : "",
			  driver);
	else if (rc == -EEXIST)
		doctor_skip(d, "cannot be asked: %s", say);
	else if (rc == -EPERM)
		doctor_skip(d, "the broker will ask; --try tells");
	else if (rc == -EOPNOTSUPP)
		doctor_found(d, REASON_BIND_RX_UNSUPPORTED, .nic = nic->name,
			     .detail = say);
	else
		doctor_found(d, REASON_NONE,
			     .detail = *say ? say : strerror(-rc));
}

void check_bind_tx(struct doctor *d, const struct devmem_nic_props *nic)
{
	bool required = d->options.require & DEVMEM_REQUIRE_TX;
	struct doctor_result *r;
	struct why w;

	if (!txmem_probe(nic->name, nic->ifindex, &w)) {
		doctor_ok(d, "can be asked for");
		return;
	}
	r = doctor_why(d, &w);
	r->blocks = DOCTOR_TX;
	if (required)
		r->level = DOCTOR_FAIL;
}

/* ---- the real thing ---- */

struct trial {
	const struct devmem_nic_props *nic;
	const struct devmem_options *options;
};

struct trial_result {
	int rc;
	struct why w;
	char queues[128];
};

static void try_pool(void *result, void *arg)
{
	const struct trial *t = arg;
	struct trial_result *r = result;
	struct rxpool *p = NULL;

	r->rc = rxpool_setup(t->nic, t->options, rxpool_gpu(t->nic, t->options),
			     &p, &r->w);
	if (!r->rc)
		lease_queues_text(&p->lease, r->queues, sizeof(r->queues));
	rxpool_teardown(p);
}

/* In a child: whatever befalls it, the kernel unbinds. */
void check_trial(struct doctor *d, const struct devmem_nic_props *nic)
{
	struct trial t = { .nic = nic, .options = &d->options };
	struct trial_result r;
	int rc;

	if (!d->trial) {
		doctor_skip(d, "a pool was not set up; --try does that for a "
			       "moment, which restarts its queues");
		return;
	}
	rc = doctor_in_child(try_pool, &t, &r, sizeof(r), 60);
	if (rc)
		doctor_found(d, REASON_TRIAL_FAILED, .nic = nic->name,
			     .detail = rc == -ETIMEDOUT ?
					       "setting up a pool did not end "
					       "within 60 s" :
					       "setting up a pool crashed");
	else if (r.rc)
		doctor_why(d, &r.w);
	else
		doctor_ok(d, "a pool was bound to queues %s, and taken down",
			  r.queues);
}
