// SPDX-License-Identifier: BSD-3-Clause
/*
 * sends.c - sends by reference and their completions; see sends.h.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <time.h>
#include <linux/errqueue.h> /* wants struct timespec */

#include "conn.h"
#include "sends.h"

/* Sends of one socket without completion; more wait. */
#define SENDS_MAX 256u
/* Completions, each of a range of sends, that one call reads. */
#define READS_MAX 16

/*
 * The kernel numbers the sends of a socket that are done by reference. Those in
 * [first, next) are under way or, behind one that is, complete.
 */
struct tx_sends {
	uint32_t first, next;
	bool copied;
	struct devmem_request *req[SENDS_MAX]; /* NULL: complete */
};

int sends_new(int fd, struct tx_sends **s)
{
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)))
		return -errno;
	*s = calloc(1, sizeof(**s));
	return *s ? 0 : -ENOMEM;
}

ssize_t sends_send(struct tx_sends *s, int fd, const struct msghdr *msg,
		   int flags, struct devmem_request *r)
{
	ssize_t n;

	if (s->next - s->first == SENDS_MAX)
		return -EAGAIN;
	n = sendmsg(fd, msg, flags | MSG_ZEROCOPY);
	if (n < 0)
		return -errno;
	s->req[s->next++ % SENDS_MAX] = r;
	r->unfinished++;
	return n;
}

/* One completion of ours, or -EPROTO: the kernel completes what was not sent. */
static int take_completion(struct tx_sends *s, uint32_t lo, uint32_t hi)
{
	uint32_t id, n = hi - lo + 1;

	if (lo - s->first >= SENDS_MAX || n > s->next - lo)
		return -EPROTO;
	for (id = lo; n--; id++) {
		struct devmem_request **r = &s->req[id % SENDS_MAX];

		if (!*r)
			return -EPROTO;
		(*r)->unfinished--;
		*r = NULL;
	}
	while (s->first != s->next && !s->req[s->first % SENDS_MAX])
		s->first++;
	return 0;
}

static const struct sock_extended_err *extended_error(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (!c || c->cmsg_len < CMSG_LEN(sizeof(struct sock_extended_err)) ||
	    !((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
	      (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR)))
		return NULL;
	return (const void *)CMSG_DATA(c);
}

/* 1: a range of sends in *lo and *hi; 0: something else; -EAGAIN, -errno. */
static int read_completion(int fd, uint32_t *lo, uint32_t *hi, bool *copied)
{
	char control[256] __attribute__((aligned(8)));
	struct msghdr msg = { .msg_control = control,
			      .msg_controllen = sizeof(control) };
	const struct sock_extended_err *e;

	if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return -errno;
	e = extended_error(&msg);
	if (!e || e->ee_origin != SO_EE_ORIGIN_ZEROCOPY || e->ee_errno)
		return 0;
	*lo = e->ee_info;
	*hi = e->ee_data;
	*copied |= e->ee_code == SO_EE_CODE_ZEROCOPY_COPIED;
	return 1;
}

int sends_complete(struct tx_sends *s, int fd)
{
	int rc, taken = 0;
	uint32_t lo, hi;

	for (int i = 0; i < READS_MAX && s->first != s->next; i++) {
		rc = read_completion(fd, &lo, &hi, &s->copied);
		if (rc == -EAGAIN || rc == -EINTR)
			break;
		if (rc < 0)
			return rc;
		taken += rc;
		rc = rc ? take_completion(s, lo, hi) : 0;
		if (rc)
			return rc;
	}
	return taken;
}

bool sends_wait(const struct tx_sends *s)
{
	return s && s->first != s->next;
}

bool sends_copied(const struct tx_sends *s)
{
	return s->copied;
}
