// SPDX-License-Identifier: BSD-3-Clause
/*
 * nicstate.c - shows and sets what devmem changes of a NIC.
 *
 *   nicstate IF                  one line: split=on|off|none ntuple=on|off
 *                                ring=N rules=N indir=SUM queues=N bound=LIST
 *   nicstate IF split on|off     header split (ethtool -G IF tcp-data-split)
 *   nicstate IF indir            the RSS table, one entry a word
 *   nicstate IF rules            location and queue of each flow rule
 *
 * An independent witness: it shares no code with the transport. For old
 * systems, whose ethtool and headers lack tcp-data-split and the "netdev"
 * family: numbers of Linux 6.12 are here in our own words.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUES_MAX 1024
#define TABLE_MAX  4096

/* linux/ethtool_netlink.h */
enum { RINGS_GET = 15, RINGS_SET = 16 };
enum { RINGS_HEADER = 1, RINGS_RX = 6, RINGS_SPLIT = 11, RINGS_ATTRS = 32 };
enum { HEADER_DEV_INDEX = 1 };
enum { SPLIT_UNKNOWN, SPLIT_OFF, SPLIT_ON };

/* linux/netdev.h */
enum { QUEUE_GET = 10 };
enum { QUEUE_ID = 1, QUEUE_IFINDEX = 2, QUEUE_TYPE = 3, QUEUE_DMABUF = 5,
       QUEUE_ATTRS = 32 };
enum { QUEUE_TYPE_RX };

struct rings {
	unsigned int split;
	unsigned int rx;
};

struct queues {
	unsigned int seen;
	bool bound[QUEUES_MAX];
};

struct query {
	struct nl_sock *sk;
	int family;
};

static int query_open(struct query *q, const char *family)
{
	q->sk = nl_socket_alloc();
	if (!q->sk)
		return -1;
	q->family = genl_connect(q->sk) ?: genl_ctrl_resolve(q->sk, family);
	if (q->family > 0)
		return 0;
	fprintf(stderr, "nicstate: the kernel has no \"%s\" netlink family\n",
		family);
	nl_socket_free(q->sk);
	return -1;
}

/* One reply or a dump of many; @msg is consumed. */
static int query_ask(struct query *q, struct nl_msg *msg,
		     nl_recvmsg_msg_cb_t parse, void *arg)
{
	int rc;

	nl_socket_modify_cb(q->sk, NL_CB_VALID, NL_CB_CUSTOM, parse, arg);
	rc = nl_send_auto(q->sk, msg);
	nlmsg_free(msg);
	return rc < 0 ? rc : nl_recvmsgs_default(q->sk);
}

static struct nl_msg *rings_message(struct query *q, int cmd,
				    unsigned int ifindex)
{
	struct nl_msg *msg = nlmsg_alloc();
	struct nlattr *head;

	if (!msg)
		return NULL;
	if (!genlmsg_put(msg, 0, 0, q->family, 0, 0, cmd, 1))
		goto err;
	head = nla_nest_start(msg, RINGS_HEADER | NLA_F_NESTED);
	if (!head || nla_put_u32(msg, HEADER_DEV_INDEX, ifindex))
		goto err;
	nla_nest_end(msg, head);
	return msg;
err:
	nlmsg_free(msg);
	return NULL;
}

static int rings_parse(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[RINGS_ATTRS + 1];
	struct rings *r = arg;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, RINGS_ATTRS, NULL))
		return NL_SKIP;
	if (a[RINGS_RX])
		r->rx = nla_get_u32(a[RINGS_RX]);
	if (a[RINGS_SPLIT])
		r->split = nla_get_u8(a[RINGS_SPLIT]);
	return NL_OK;
}

static int rings_get(unsigned int ifindex, struct rings *r)
{
	struct nl_msg *msg;
	struct query q;
	int rc = -1;

	*r = (struct rings){ .split = SPLIT_UNKNOWN };
	if (query_open(&q, "ethtool"))
		return -1;
	msg = rings_message(&q, RINGS_GET, ifindex);
	if (msg)
		rc = query_ask(&q, msg, rings_parse, r);
	nl_socket_free(q.sk);
	return rc < 0 ? -1 : 0;
}

static int split_set(unsigned int ifindex, const char *value)
{
	bool on = !strcmp(value, "on");
	struct nl_msg *msg;
	struct query q;
	int rc = -NLE_NOMEM;

	if (!on && strcmp(value, "off")) {
		fprintf(stderr, "nicstate: split is on or off\n");
		return 2;
	}
	if (query_open(&q, "ethtool"))
		return 1;
	msg = rings_message(&q, RINGS_SET, ifindex);
	if (msg && !nla_put_u8(msg, RINGS_SPLIT, on ? SPLIT_ON : SPLIT_OFF))
		rc = nl_send_sync(q.sk, msg);	/* consumes msg */
	nl_socket_free(q.sk);
	if (rc < 0)
		fprintf(stderr, "nicstate: header split %s: %s\n", value,
			nl_geterror(rc));
	return rc < 0;
}

static int queue_parse(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[QUEUE_ATTRS + 1];
	struct queues *q = arg;
	unsigned int id;

	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, QUEUE_ATTRS, NULL) ||
	    !a[QUEUE_ID] || !a[QUEUE_TYPE] ||
	    nla_get_u32(a[QUEUE_TYPE]) != QUEUE_TYPE_RX)
		return NL_SKIP;
	id = nla_get_u32(a[QUEUE_ID]);
	q->seen++;
	if (id < QUEUES_MAX && a[QUEUE_DMABUF])
		q->bound[id] = true;
	return NL_OK;
}

static int queues_get(unsigned int ifindex, struct queues *queues)
{
	struct nl_msg *msg;
	struct query q;
	int rc = -1;

	memset(queues, 0, sizeof(*queues));
	if (query_open(&q, "netdev"))
		return -1;
	msg = nlmsg_alloc();
	if (msg && genlmsg_put(msg, 0, 0, q.family, 0, NLM_F_DUMP, QUEUE_GET,
			       1) &&
	    !nla_put_u32(msg, QUEUE_IFINDEX, ifindex))
		rc = query_ask(&q, msg, queue_parse, queues);
	else
		nlmsg_free(msg);
	nl_socket_free(q.sk);
	return rc < 0 ? -1 : 0;
}

static int eth(const char *name, void *cmd)
{
	struct ifreq ifr = { .ifr_data = cmd };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -1;
	memcpy(ifr.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	rc = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return rc;
}

/* The RSS table, NULL if there is none. */
static struct ethtool_rxfh_indir *indir_get(const char *name)
{
	struct ethtool_rxfh_indir *t =
		calloc(1, sizeof(*t) + TABLE_MAX * sizeof(t->ring_index[0]));

	if (!t)
		return NULL;
	t->cmd = ETHTOOL_GRXFHINDIR;
	if (!eth(name, t) && t->size <= TABLE_MAX) {
		t->cmd = ETHTOOL_GRXFHINDIR;
		if (!eth(name, t))
			return t;
	}
	free(t);
	return NULL;
}

/* FNV-1a, enough to see that two tables differ. */
static unsigned int indir_sum(const struct ethtool_rxfh_indir *t)
{
	unsigned int h = 2166136261u;

	for (unsigned int i = 0; i < t->size; i++)
		h = (h ^ t->ring_index[i]) * 16777619u;
	return h;
}

/* Number of rules; with @print their locations and queues. */
static unsigned int rules(const char *name, bool print)
{
	struct ethtool_rxnfc *all, one, count = { .cmd = ETHTOOL_GRXCLSRLCNT };

	if (eth(name, &count) || !print || count.rule_cnt > TABLE_MAX)
		return count.rule_cnt;
	all = calloc(1, sizeof(*all) + count.rule_cnt * sizeof(__u32));
	if (!all)
		return 0;
	all->cmd = ETHTOOL_GRXCLSRLALL;
	all->rule_cnt = count.rule_cnt;
	if (eth(name, all))
		all->rule_cnt = 0;
	for (unsigned int i = 0; i < all->rule_cnt; i++) {
		one = (struct ethtool_rxnfc){ .cmd = ETHTOOL_GRXCLSRULE,
					      .fs.location = all->rule_locs[i] };
		if (!eth(name, &one))
			printf("%u %llu\n", one.fs.location,
			       (unsigned long long)one.fs.ring_cookie);
	}
	free(all);
	return count.rule_cnt;
}

static int show_indir(const char *name)
{
	struct ethtool_rxfh_indir *t = indir_get(name);

	for (unsigned int i = 0; t && i < t->size; i++)
		printf("%u%c", t->ring_index[i], i + 1 < t->size ? ' ' : '\n');
	free(t);
	return !t;
}

static int show(const char *name, unsigned int ifindex)
{
	static const char *const split[] = { "none", "off", "on" };
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	struct ethtool_rxfh_indir *indir = indir_get(name);
	struct queues queues;
	struct rings rings;
	const char *comma = "";

	if (eth(name, &flags) || queues_get(ifindex, &queues)) {
		fprintf(stderr, "nicstate: cannot read the state of %s\n",
			name);
		free(indir);
		return 1;
	}
	rings_get(ifindex, &rings);
	printf("split=%s ntuple=%s ring=%u rules=%u ",
	       rings.split > SPLIT_ON ? "?" : split[rings.split],
	       flags.data & ETH_FLAG_NTUPLE ? "on" : "off", rings.rx,
	       rules(name, false));
	if (indir)
		printf("indir=%08x ", indir_sum(indir));
	else
		printf("indir=none ");
	printf("queues=%u bound=", queues.seen);
	for (unsigned int i = 0; i < QUEUES_MAX; i++)
		if (queues.bound[i]) {
			printf("%s%u", comma, i);
			comma = ",";
		}
	printf("\n");
	free(indir);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[2] : "";
	unsigned int ifindex;

	if (argc < 2 || argc > 4 || (argc == 4) != !strcmp(what, "split")) {
		fprintf(stderr, "usage: nicstate IF [split on|off | indir | "
			"rules]\n");
		return 2;
	}
	ifindex = if_nametoindex(argv[1]);
	if (!ifindex) {
		fprintf(stderr, "nicstate: %s: %s\n", argv[1],
			strerror(errno));
		return 1;
	}
	if (!strcmp(what, "split"))
		return split_set(ifindex, argv[3]);
	if (!strcmp(what, "indir"))
		return show_indir(argv[1]);
	if (!strcmp(what, "rules")) {
		rules(argv[1], true);
		return 0;
	}
	if (!*what)
		return show(argv[1], ifindex);
	fprintf(stderr, "nicstate: no such command: %s\n", what);
	return 2;
}
