// SPDX-License-Identifier: BSD-3-Clause
/*
 * xdp_on.c - attach an XDP program that passes everything, in generic mode, and leave
 * it there: `xdp-on IF`. No compiler for BPF is needed: it has two instructions.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(void)
{
	static const struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr a = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uintptr_t)pass,
		.insn_cnt = sizeof(pass) / sizeof(pass[0]),
		.license = (uintptr_t) "BSD",
	};

	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
}

struct ask {
	struct nlmsghdr h;
	struct ifinfomsg info;
	struct rtattr xdp;
	struct rtattr fd_at;
	int32_t fd;
	struct rtattr flags_at;
	uint32_t flags;
};

static int attach(unsigned int ifindex, int prog)
{
	struct ask ask = {
		.h = { .nlmsg_len = sizeof(ask),
		       .nlmsg_type = RTM_SETLINK,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.info = { .ifi_index = (int)ifindex },
		.xdp = { .rta_len = sizeof(ask) - offsetof(struct ask, xdp),
			 .rta_type = IFLA_XDP | NLA_F_NESTED },
		.fd_at = { .rta_len = 8, .rta_type = IFLA_XDP_FD },
		.fd = prog,
		.flags_at = { .rta_len = 8, .rta_type = IFLA_XDP_FLAGS },
		.flags = XDP_FLAGS_SKB_MODE,
	};
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char more[4096];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || send(fd, &ask, sizeof(ask), 0) != sizeof(ask) ||
	    recv(fd, &answer, sizeof(answer), 0) < (ssize_t)sizeof(answer.h))
		return -errno;
	close(fd);
	return answer.h.nlmsg_type == NLMSG_ERROR ? answer.e.error : -EIO;
}

int main(int argc, char **argv)
{
	unsigned int ifindex = argc == 2 ? if_nametoindex(argv[1]) : 0;
	int prog, rc;

	if (!ifindex) {
		fprintf(stderr, "usage: xdp-on IF\n");
		return 2;
	}
	prog = load();
	rc = prog < 0 ? -errno : attach(ifindex, prog);
	if (rc)
		fprintf(stderr, "xdp-on: %s: %s\n", argv[1], strerror(-rc));
	return rc != 0;
}
