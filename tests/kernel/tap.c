// SPDX-License-Identifier: BSD-3-Clause
/*
 * tap.c - looks at packets of kt.rx_nic in kt.rx_host while a command runs, and
 * ends as the command does:  kt-tap KIND COMMAND
 *
 * What it reads is only counted: at least one packet must have been seen.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kt.h"

static uint64_t packets, bytes;
static char buf[1 << 17];

static pid_t start(const char *command)
{
	pid_t pid;

	expect(command, "no command");
	host_enter(".");
	pid = fork();
	expect(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Calls @look whenever @fd can be read, until the command has ended. */
static void watch(int fd, void (*look)(int fd))
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	pid_t pid = start(kt_arg());
	int status;

	do {
		if (poll(&p, 1, 10) > 0)
			look(fd);
	} while (waitpid(pid, &status, WNOHANG) != pid);
	while (poll(&p, 1, 0) > 0 && (p.revents & POLLIN))
		look(fd);
	say("%llu packets, %llu bytes seen", (unsigned long long)packets,
	    (unsigned long long)bytes);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	expect(packets, "the tap saw nothing");
}

/* ---- packet sockets -------------------------------------------------------- */

static int packet_socket(int type)
{
	unsigned int ifindex = host_ifindex(kt.rx_host, kt.rx_nic);
	struct sockaddr_ll sa = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)ifindex };
	int fd;

	host_enter(kt.rx_host);
	fd = socket(AF_PACKET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	expect(fd >= 0 && !bind(fd, (void *)&sa, sizeof(sa)), "AF_PACKET: %s",
	       strerror(errno));
	return fd;
}

static void packet_look(int fd)
{
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		packets++;
		bytes += (uint64_t)n;
	}
	expect(errno == EAGAIN || errno == EFAULT, "packet socket: %s",
	       strerror(errno));
}

static void case_packet(void) { watch(packet_socket(SOCK_RAW), packet_look); }
static void case_cooked(void) { watch(packet_socket(SOCK_DGRAM), packet_look); }

/* A ring of three generations of packet sockets. */
static struct tpacket_req3 ring = {
	.tp_block_size = 1 << 18, .tp_block_nr = 8,
	.tp_frame_size = 1 << 11, .tp_frame_nr = (1 << 18) / (1 << 11) * 8,
	.tp_retire_blk_tov = 10,
};
static unsigned char *ring_mem;

static int ring_socket(int version, size_t req_size)
{
	int fd = packet_socket(SOCK_RAW);
	size_t size = (size_t)ring.tp_block_size * ring.tp_block_nr;

	expect(!setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version,
			   sizeof(version)) &&
	       !setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring,
			   (socklen_t)req_size),
	       "PACKET_RX_RING: %s", strerror(errno));
	ring_mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect(ring_mem != MAP_FAILED, "mmap of a packet ring: %s",
	       strerror(errno));
	/* User-mode Linux loses count of a ring's big pages at fork. */
	madvise(ring_mem, size, MADV_DONTFORK);
	return fd;
}

static void v3_look(int fd)
{
	static unsigned int block;
	struct tpacket_block_desc *b;
	struct tpacket3_hdr *h;

	(void)fd;
	for (;; block = (block + 1) % ring.tp_block_nr) {
		b = (void *)(ring_mem + (size_t)block * ring.tp_block_size);
		if (!(b->hdr.bh1.block_status & TP_STATUS_USER))
			return;
		h = (void *)((char *)b + b->hdr.bh1.offset_to_first_pkt);
		for (unsigned int i = 0; i < b->hdr.bh1.num_pkts; i++) {
			packets++;
			bytes += h->tp_snaplen;
			expect(h->tp_snaplen <= h->tp_len, "more than a packet");
			h = (void *)((char *)h + h->tp_next_offset);
		}
		b->hdr.bh1.block_status = TP_STATUS_KERNEL;
	}
}

static void v2_look(int fd)
{
	static unsigned int frame;
	struct tpacket2_hdr *h;

	(void)fd;
	for (;; frame = (frame + 1) % ring.tp_frame_nr) {
		h = (void *)(ring_mem + (size_t)frame * ring.tp_frame_size);
		if (!(h->tp_status & TP_STATUS_USER))
			return;
		packets++;
		bytes += h->tp_snaplen;
		h->tp_status = TP_STATUS_KERNEL;
	}
}

static void case_v2(void)
{
	watch(ring_socket(TPACKET_V2, sizeof(struct tpacket_req)), v2_look);
}

static void case_v3(void)
{
	watch(ring_socket(TPACKET_V3, sizeof(ring)), v3_look);
}

/* ---- nfnetlink_queue: the rules send packets to queue 0 ---------------------- */

static struct nl_sock *nfq;

static struct nl_msg *nfq_message(int type)
{
	struct nfgenmsg g = { .nfgen_family = AF_UNSPEC,
			      .version = NFNETLINK_V0, .res_id = htons(0) };
	struct nl_msg *m = nlmsg_alloc_simple(NFNL_SUBSYS_QUEUE << 8 | type,
					      NLM_F_REQUEST);

	expect(m && !nlmsg_append(m, &g, sizeof(g), NLMSG_ALIGNTO),
	       "out of memory");
	return m;
}

static void nfq_send(struct nl_msg *m)
{
	int rc = nl_send_auto(nfq, m);

	expect(rc >= 0, "nfnetlink_queue: %s", nl_geterror(rc));
	nlmsg_free(m);
}

static void nfq_packet(struct nlmsghdr *h)
{
	struct nfqnl_msg_verdict_hdr v = { .verdict = htonl(NF_ACCEPT) };
	struct nlattr *a[NFQA_MAX + 1];
	struct nl_msg *m;

	if (h->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) ||
	    nlmsg_parse(h, sizeof(struct nfgenmsg), a, NFQA_MAX, NULL) ||
	    !a[NFQA_PACKET_HDR])
		return;
	packets++;
	if (a[NFQA_PAYLOAD])
		bytes += (uint64_t)nla_len(a[NFQA_PAYLOAD]);
	v.id = ((struct nfqnl_msg_packet_hdr *)
		nla_data(a[NFQA_PACKET_HDR]))->packet_id;
	m = nfq_message(NFQNL_MSG_VERDICT);
	expect(!nla_put(m, NFQA_VERDICT_HDR, sizeof(v), &v), "too long");
	nfq_send(m);
}

static void nfq_look(int fd)
{
	struct nlmsghdr *h;
	ssize_t n;
	int left;

	n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
		return;
	expect(n > 0, "nfnetlink_queue: %s", strerror(errno));
	left = (int)n;
	for (h = (void *)buf; nlmsg_ok(h, left); h = nlmsg_next(h, &left))
		nfq_packet(h);
}

static void nfqueue(bool gso)
{
	struct nfqnl_msg_config_cmd cmd = { .command = NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params params = {
		.copy_range = htonl(0xffff), .copy_mode = NFQNL_COPY_PACKET };
	struct nl_msg *m = nfq_message(NFQNL_MSG_CONFIG);

	host_enter(kt.rx_host);
	nfq = nl_socket_alloc();
	if (!nfq || nl_connect(nfq, NETLINK_NETFILTER))
		skip("the kernel has no nfnetlink");
	expect(!nla_put(m, NFQA_CFG_CMD, sizeof(cmd), &cmd), "too long");
	nfq_send(m);
	m = nfq_message(NFQNL_MSG_CONFIG);
	expect(!nla_put(m, NFQA_CFG_PARAMS, sizeof(params), &params) &&
	       (!gso || (!nla_put_u32(m, NFQA_CFG_FLAGS,
				      htonl(NFQA_CFG_F_GSO)) &&
			 !nla_put_u32(m, NFQA_CFG_MASK,
				      htonl(NFQA_CFG_F_GSO)))), "too long");
	nfq_send(m);
	watch(nl_socket_get_fd(nfq), nfq_look);
}

static void case_nfqueue(void) { nfqueue(false); }
static void case_nfqueue_gso(void) { nfqueue(true); }

static const struct kt_case cases[] = {
	{ "packet", case_packet, "packet socket, with link headers" },
	{ "cooked", case_cooked, "packet socket, without" },
	{ "tpacket-v2", case_v2, "mapped ring of frames" },
	{ "tpacket-v3", case_v3, "mapped ring of blocks" },
	{ "nfqueue", case_nfqueue, "accepts what comes to nf queue 0" },
	{ "nfqueue-gso", case_nfqueue_gso, "so, and takes big packets" },
	{ NULL, NULL, NULL },
};

int main(int argc, char **argv) { kt_main(argc, argv, cases); }
