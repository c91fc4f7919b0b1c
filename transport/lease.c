// SPDX-License-Identifier: BSD-3-Clause
/*
 * lease.c - taking queues of a NIC for a dma-buf, and giving them back; see
 * lease.h.
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "guard.h"
#include "lease.h"
#include "reason.h"
#include "text.h"
#include "uapi.h"

/* Times that we look for other queues when somebody was faster. */
#define BIND_TRIES 8

int lease_open_netdev(struct devnl_family *f, struct why *w)
{
	int rc = devnl_open(f, DEVMEM_NETDEV_FAMILY);

	if (rc)
		return reason(w, rc, REASON_KERNEL_NO_NETDEV);
	return 0;
}

/* Receive queues of the NIC, and which of them have a dma-buf. */
static int read_queues(struct devnl_family *f, const char *ifname,
		       unsigned int ifindex, bool *bound, unsigned int *count,
		       struct why *w)
{
	int rc = devnl_bound_queues(f, ifindex, bound, LEASE_QUEUES_MAX, count);

	if (rc)
		return why(w, rc, "reading the queues of %s: %s%s%s", ifname,
			   strerror(-rc), *f->extack ? ": " : "", f->extack);
	if (*count > LEASE_QUEUES_MAX)
		*count = LEASE_QUEUES_MAX;
	if (*count < 2)
		return reason(w, -EOPNOTSUPP, REASON_FEW_QUEUES, .nic = ifname,
			      .n = *count, .what = *count == 1 ? "" : "s");
	return 0;
}

/* Header split that is off, and rules that are off, can be turned on. */
static bool can_be_set(const struct devmem_nic_props *nic)
{
	struct devnl_rings r;

	return !devnl_rings_get(nic->ifindex, &r) && r.split >= 0 &&
	       !eth_ntuple_probe(nic->name);
}

int lease_probe(const struct devmem_nic_props *nic, bool manual, struct why *w)
{
	struct nic_settings look;
	struct devnl_family f;
	unsigned int count = 0;
	bool *bound;
	int rc;

	rc = lease_open_netdev(&f, w);
	if (rc)
		return rc;
	bound = calloc(LEASE_QUEUES_MAX, sizeof(*bound));
	rc = bound ? read_queues(&f, nic->name, nic->ifindex, bound, &count,
				 w) :
		     why(w, -ENOMEM, "out of memory");
	free(bound);
	devnl_close(&f);
	if (rc)
		return rc;
	/* What can be set up is no obstacle, unless we are not to. */
	settings_begin(&look, nic, true, w);
	rc = settings_split_on(&look, w);
	rc = rc ?: settings_ntuple_on(&look, w);
	return rc == -EOPNOTSUPP && !manual && can_be_set(nic) ? 0 : rc;
}

/* The highest queues that are free, never the first; how many were found. */
static unsigned int pick_queues(const bool *bound, unsigned int count,
				const struct lease_want *want,
				unsigned int *queue)
{
	unsigned int n = 0;

	for (unsigned int q = count; q-- > 1 && n < want->queues;)
		if (!bound[q] && !(want->avoid && want->avoid[q]))
			queue[n++] = q;
	return n;
}

static int bind_failed(struct lease *l, int err, struct why *w)
{
	const char *say = l->netdev.extack;

	if (err == -EPERM)
		return reason(w, err, REASON_NO_PRIVILEGE, .nic = l->ifname,
			      .what = "binding memory to queues of");
	if (err == -EOPNOTSUPP)
		return reason(w, err, REASON_BIND_RX_UNSUPPORTED,
			      .nic = l->ifname, .detail = say);
	return why(w, err, "binding memory to queues of %s: %s%s%s", l->ifname,
		   strerror(-err), *say ? ": " : "", say);
}

/*
 * Take queues off RSS, then bind: in this order no foreign packet meets a bound
 * queue. Somebody else may take the same queues meanwhile; the kernel decides
 * (-EEXIST), and the loser looks for others.
 */
static int bind_queues(struct lease *l, const struct lease_want *want,
		       int dmabuf_fd, struct why *w)
{
	bool *bound = calloc(LEASE_QUEUES_MAX, sizeof(*bound));
	int rc = -ENOMEM;

	if (!bound)
		return why(w, rc, "out of memory");
	for (int try = 0; try < BIND_TRIES; try++) {
		unsigned int count = 0;

		rc = read_queues(&l->netdev, l->ifname, l->ifindex, bound,
				 &count, w);
		if (rc)
			break;
		l->queues = pick_queues(bound, count, want, l->queue);
		if (!l->queues) {
			rc = reason(w, -EUSERS, REASON_QUEUES_TAKEN,
				    .nic = l->ifname);
			break;
		}
		rc = settings_rss_avoid(&l->settings, l->queue, l->queues, w);
		if (rc)
			break;
		rc = devnl_bind_rx(&l->netdev, l->ifindex, dmabuf_fd, l->queue,
				   l->queues, &l->dmabuf_id);
		if (!rc)
			break;
		bind_failed(l, rc, w);
		settings_rss_restore(&l->settings);
		if (rc != -EEXIST && rc != -EBUSY)
			break;
	}
	free(bound);
	return rc;
}

static void lease_init(struct lease *l, const struct devmem_nic_props *nic)
{
	memset(l, 0, sizeof(*l));
	memcpy(l->ifname, nic->name, sizeof(l->ifname) - 1);
	l->ifindex = nic->ifindex;
}

int lease_take(const struct devmem_nic_props *nic,
	       const struct lease_want *want, int dmabuf_fd, struct lease *l,
	       struct why *w)
{
	int rc;

	lease_init(l, nic);
	rc = lease_open_netdev(&l->netdev, w);
	if (rc)
		return rc;
	/* Nor would "off" do: it goes for all that come while this one is there. */
	if (!want->manual)
		guard_start(want->guard);
	l->guarded = !want->manual;
	rc = settings_begin(&l->settings, nic, want->manual, w);
	rc = rc ?: settings_ntuple_on(&l->settings, w);
	rc = rc ?: settings_split_on(&l->settings, w);
	rc = rc ?: bind_queues(l, want, dmabuf_fd, w);
	if (rc) {
		lease_end(l);
		return rc;
	}
	settings_commit(&l->settings);
	return 0;
}

/* What reading about the NIC needs; no privilege. */
static int take_brokered(const char *path, const struct devmem_nic_props *nic,
			 const struct devmem_options *o, int dmabuf_fd,
			 struct lease *l, struct why *w)
{
	int rc;

	lease_init(l, nic);
	rc = lease_open_netdev(&l->netdev, w);
	if (rc)
		return rc;
	rc = broker_take(path, o->queues, o->nic_manual, dmabuf_fd, l, w);
	if (rc)
		devnl_close(&l->netdev);
	return rc;
}

int lease_get(const struct devmem_nic_props *nic,
	      const struct devmem_options *o, int dmabuf_fd, struct lease *l,
	      struct why *w)
{
	const struct lease_want want = {
		.queues = o->queues,
		.manual = o->nic_manual,
		.guard = o->guard,
	};
	const char *path = broker_choose(o->broker, false);
	int rc;

	if (!path) {
		rc = lease_take(nic, &want, dmabuf_fd, l, w);
		/* The capability may be that of a container's own users. */
		if (rc == -EPERM)
			path = broker_choose(o->broker, true);
		if (!path)
			return rc;
	}
	return take_brokered(path, nic, o, dmabuf_fd, l, w);
}

int lease_adopt(const struct devmem_nic_props *nic, const char *guard,
		struct lease *l, struct why *w)
{
	int rc;

	l->ifindex = nic->ifindex;
	guard_start(guard);
	l->guarded = true;
	rc = settings_begin(&l->settings, nic, false, w);
	if (!rc)
		settings_commit(&l->settings);
	return rc;
}

bool lease_is_bound(const struct lease *l, struct devnl_family *netdev)
{
	uint32_t id[LEASE_QUEUES_MAX];
	unsigned int present = 0;
	char name[IF_NAMESIZE];

	if (!if_indextoname(l->ifindex, name) && errno == ENXIO)
		return false;
	if (!netdev->sk ||
	    devnl_queue_dmabufs(netdev, l->ifindex, id, LEASE_QUEUES_MAX,
				&present) ||
	    !present)
		return true;
	for (unsigned int i = 0; i < l->queues; i++)
		if (l->queue[i] < LEASE_QUEUES_MAX &&
		    id[l->queue[i]] == l->dmabuf_id)
			return true;
	return false;
}

int lease_netlink_fd(const struct lease *l)
{
	return devnl_fd(&l->netdev);
}

void lease_let_go(struct lease *l)
{
	devnl_close(&l->netdev);
}

void lease_end(struct lease *l)
{
	if (l->brokered) {
		broker_end(l);
		devnl_close(&l->netdev);
		return;
	}
	settings_lock(&l->settings);
	devnl_close(&l->netdev);
	settings_end(&l->settings);
	if (l->guarded)
		guard_stop();
	l->guarded = false;
}

int lease_rule_add(struct lease *l, const struct eth_flow *flow,
		   unsigned int queue, uint32_t *location, bool *whole_port)
{
	return eth_rule_insert(l->ifname, flow, queue, location, whole_port);
}

void lease_rule_delete(struct lease *l, uint32_t location)
{
	if (l->brokered)
		broker_rule_delete(l->brokered, location);
	else
		eth_rule_delete(l->ifname, location);
}

const char *lease_queues_text(const struct lease *l, char *text, size_t n)
{
	struct text t = { .to = text, .n = n };

	text[0] = '\0';
	for (unsigned int i = 0; i < l->queues; i++)
		text_put(&t, "%s%u", i ? "," : "", l->queue[i]);
	return text;
}
