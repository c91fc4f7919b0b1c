// SPDX-License-Identifier: BSD-3-Clause
/* ovs.c - an Open vSwitch that takes over a NIC, in the least number of words:
 * a datapath without flows, so that each packet is copied to user space, which
 * is what skb_zerocopy() does.
 *
 *   kt-ovs copies      packets that have come into a dma-buf are copied
 *   kt-ovs cuts        they are big, and would have to be cut for that
 */
#include <errno.h>
#include <linux/openvswitch.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kt.h"

static struct region region;
static struct binding binding;
static struct flow flow;
static struct nl_sock *ask, *upcalls;
static int dp_ifindex;

static struct nl_sock *ovs_socket(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	expect(sk && !genl_connect(sk), "no generic netlink socket");
	return sk;
}

static struct nl_msg *ovs_message(const char *family, int cmd, int version)
{
	int id = genl_ctrl_resolve(ask, family);
	struct nl_msg *m = nlmsg_alloc();
	struct ovs_header *h;

	if (id < 0)
		skip("the kernel has no Open vSwitch");
	h = m ? genlmsg_put(m, 0, 0, id, sizeof(*h), 0, cmd, version) : NULL;
	expect(h, "out of memory");
	h->dp_ifindex = dp_ifindex;
	return m;
}

static void ovs_send(struct nl_msg *m, const char *what)
{
	int rc = nl_send_sync(ask, m);

	expect(rc >= 0, "%s: %s", what, nl_geterror(rc));
}

static void ovs_datapath(void)
{
	struct nl_msg *m = ovs_message(OVS_DATAPATH_FAMILY, OVS_DP_CMD_NEW,
				       OVS_DATAPATH_VERSION);

	/* Unaligned, or payload is always copied. */
	expect(!nla_put_string(m, OVS_DP_ATTR_NAME, "kt-ovs") &&
	       !nla_put_u32(m, OVS_DP_ATTR_UPCALL_PID,
			    nl_socket_get_local_port(upcalls)) &&
	       !nla_put_u32(m, OVS_DP_ATTR_USER_FEATURES, OVS_DP_F_UNALIGNED),
	       "too long");
	ovs_send(m, "OVS_DP_CMD_NEW");
	dp_ifindex = (int)host_ifindex(kt.rx_host, "kt-ovs");
	host_enter(kt.rx_host);
}

static void ovs_port(const char *nic)
{
	struct nl_msg *m = ovs_message(OVS_VPORT_FAMILY, OVS_VPORT_CMD_NEW,
				       OVS_VPORT_VERSION);

	expect(!nla_put_string(m, OVS_VPORT_ATTR_NAME, nic) &&
	       !nla_put_u32(m, OVS_VPORT_ATTR_TYPE, OVS_VPORT_TYPE_NETDEV) &&
	       !nla_put_u32(m, OVS_VPORT_ATTR_UPCALL_PID,
			    nl_socket_get_local_port(upcalls)), "too long");
	ovs_send(m, "OVS_VPORT_CMD_NEW");
}

static void ovs_remove(void)
{
	struct nl_msg *m = ovs_message(OVS_DATAPATH_FAMILY, OVS_DP_CMD_DEL,
				       OVS_DATAPATH_VERSION);

	expect(!nla_put_string(m, OVS_DP_ATTR_NAME, "kt-ovs"), "too long");
	ovs_send(m, "OVS_DP_CMD_DEL");
}

/* Copies that came in that time, and those of them whose payload cannot be read:
 * what was received into a dma-buf is there by reference only.
 */
static void ovs_read(double seconds, unsigned int *copies,
		     unsigned int *unreadable)
{
	struct pollfd p = { .fd = nl_socket_get_fd(upcalls), .events = POLLIN };
	double until = kt_now() + seconds;
	static char buf[1 << 17];
	ssize_t len;

	while (kt_now() < until) {
		if (poll(&p, 1, 20) != 1)
			continue;
		len = recv(p.fd, buf, sizeof(buf), MSG_DONTWAIT);
		*copies += len > 0;
		*unreadable += len < 0 && errno == EFAULT;
	}
}

static void copy(bool may_lack)
{
	uint32_t queue = kt.queue;
	struct totals t = { 0 };
	unsigned int copies = 0, unreadable = 0;

	region_make(&region, kt.region);
	must_bind_rx(&binding, kt.rx_host, kt.rx_nic, &region, &queue, 1);
	flow_open(&flow, KT_PORT);
	host_enter(kt.rx_host);
	ask = ovs_socket();
	upcalls = ovs_socket();
	ovs_datapath();
	ovs_port(kt.rx_nic);
	send_pattern(flow.tx, 0, 8000, kt.seed);
	ovs_read(0.7, &copies, &unreadable);
	say("%u copies, and %u whose payload cannot be read", copies,
	    unreadable);
	/* What was lost to the switch is sent again. */
	ovs_remove();
	receive_checked(flow.rx, &region, binding.id, 0, 8000, kt.seed, &t);
	if (!may_lack && !unreadable)
		skip("no packet with payload was copied");
}

static void case_copies(void) { copy(false); }
static void case_cuts(void) { copy(true); }

static const struct kt_case cases[] = {
	{ "copies", case_copies, "packets are copied to user space" },
	{ "cuts", case_cuts, "big ones, which cannot be cut" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
