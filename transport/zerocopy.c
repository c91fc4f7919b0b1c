// SPDX-License-Identifier: BSD-3-Clause
/*
 * zerocopy.c - large messages from host memory, sent by reference where that
 * pays. The kernel then pins pages instead of copying them and reports when it
 * needs them no longer, which costs more or less than the copy, by CPU, memory
 * and NIC: so the first large messages of a connection go both ways in turn,
 * and the CPU time of a byte decides.
 *
 * Some ways end in a copy all the same (loopback, a tap, a NIC without
 * scatter-gather). The kernel says so with the completion.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conn.h"
#include "nic.h"
#include "sends.h"
#include "sock.h"

/* A smaller message is copied faster than it is told of: two calls more. */
#define LARGE_BYTES ((size_t)256 << 10)
/* What one call sends: all of it counts as pinned, also what it did not take. */
#define CALL_BYTES ((size_t)512 << 10)
/* Messages for the decision, half of them each way. */
#define TRIES 128u

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((format(printf, 3, 4))) static void
decided(struct devmem_conn *c, enum zerocopy_state state, const char *fmt, ...)
{
	char peer[ADDR_TEXT], text[160];
	va_list ap;

	c->tx.zerocopy.state = state;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	INFO("zerocopy nic=%s peer=%s %s reason=\"%s\"", c->dev->info.name,
	     addr_text(&c->peer, false, peer, sizeof(peer)),
	     state == ZEROCOPY_ON ? "on" : "off", text);
}

void zerocopy_init(struct devmem_conn *c)
{
	static const enum zerocopy_state at_first[] = {
		[DEVMEM_ZEROCOPY_AUTO] = ZEROCOPY_TRY,
		[DEVMEM_ZEROCOPY_OFF] = ZEROCOPY_OFF,
		[DEVMEM_ZEROCOPY_ON] = ZEROCOPY_ON,
	};

	c->tx.zerocopy.state = at_first[ctx_options(c->ctx)->zerocopy];
}

static bool sends_left(const struct devmem_conn *c)
{
	for (unsigned int i = 0; i < c->flows; i++)
		if (sends_wait(c->flow[i].sends))
			return true;
	return sends_wait(c->control.sends);
}

/* All that was tried is sent and complete: which way took less? */
static void decide(struct devmem_conn *c)
{
	const struct zerocopy *z = &c->tx.zerocopy;
	double copy, ref;

	for (int i = 0; i < 2; i++)
		if (z->way[i].bytes < z->way[i].due)
			return;
	if (sends_left(c))
		return;
	copy = (double)z->way[0].ns / (double)z->way[0].bytes;
	ref = (double)z->way[1].ns / (double)z->way[1].bytes;
	/* It is done a round trip later, so it has to pay. */
	decided(c, ref < copy * 7 / 8 ? ZEROCOPY_ON : ZEROCOPY_OFF,
		"%.1f us of CPU for a MiB by reference, %.1f by copying",
		ref * (1 << 20) / 1000, copy * (1 << 20) / 1000);
}

void zerocopy_post(struct devmem_conn *c, struct devmem_request *r)
{
	struct zerocopy *z = &c->tx.zerocopy;
	unsigned int way;

	if (z->state == ZEROCOPY_OFF || r->mem || r->device ||
	    r->size < LARGE_BYTES)
		return;
	if (z->state == ZEROCOPY_TRY && z->tried == TRIES)
		decide(c);
	if (z->state == ZEROCOPY_TRY && z->tried < TRIES) {
		way = z->tried++ % 2;
		z->way[way].due += r->size;
		r->by_reference = way;
		/* What it takes must not be mixed with what others take. */
		r->alone = true;
	}
	if (z->state == ZEROCOPY_ON)
		r->by_reference = r->alone = true;
}

bool zerocopy_wanted(const struct devmem_conn *c,
		     const struct devmem_request *r)
{
	return r->by_reference && c->tx.zerocopy.state != ZEROCOPY_OFF;
}

uint64_t zerocopy_clock(const struct devmem_conn *c,
			const struct devmem_request *r)
{
	/* Reading it is a call. */
	return c->tx.zerocopy.state == ZEROCOPY_TRY && r->alone ? cpu_ns() : 0;
}

void zerocopy_sent(struct devmem_conn *c, const struct devmem_request *r,
		   uint64_t since, size_t n)
{
	struct zerocopy *z = &c->tx.zerocopy;

	if (!since)
		return;
	z->way[r->by_reference].ns += cpu_ns() - since;
	z->way[r->by_reference].bytes += n;
}

static void refused(struct devmem_conn *c, int err)
{
	if (err == ENOBUFS)
		decided(c, ZEROCOPY_OFF,
			"the kernel may not pin so much: raise "
			"net.core.optmem_max and the limit of locked memory "
			"(ulimit -l)");
	else
		decided(c, ZEROCOPY_OFF, "%s", strerror(err));
}

ssize_t zerocopy_send(struct devmem_conn *c, int fd, struct tx_sends **s,
		      struct devmem_request *r, size_t offset, size_t len,
		      int flags)
{
	struct iovec iov = { .iov_base = r->addr + offset };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint64_t since = zerocopy_clock(c, r);
	ssize_t n;
	int rc;

	rc = *s ? 0 : sends_new(fd, s);
	if (rc) {
		refused(c, -rc);
		return 0;
	}
	iov.iov_len = len < CALL_BYTES ? len : CALL_BYTES;
	n = sends_send(*s, fd, &msg, flags, r);
	switch (n) {
	case -EAGAIN:
	case -EINTR:
		return -EAGAIN;
	case -ENOBUFS:
		/* It may be what other sockets of the user have pinned. */
		if (!c->stats->bytes_zerocopy && !sends_left(c))
			refused(c, ENOBUFS);
		return 0;
	case -EFAULT: /* memory that can be copied but not pinned */
	case -ENOMEM:
	case -EOPNOTSUPP:
		refused(c, (int)-n);
		return 0;
	}
	if (n > 0) {
		c->stats->bytes_zerocopy += (uint64_t)n;
		zerocopy_sent(c, r, since, (size_t)n);
		if (c->tx.zerocopy.state == ZEROCOPY_ON &&
		    c->stats->bytes_zerocopy == (uint64_t)n)
			decided(c, ZEROCOPY_ON, "NCCL_DEVMEM_ZEROCOPY=on");
	}
	return n;
}

int zerocopy_complete(struct devmem_conn *c, int fd, struct tx_sends *s)
{
	struct zerocopy *z = &c->tx.zerocopy;
	uint64_t since;
	int rc;

	if (!sends_wait(s))
		return 0;
	since = z->state == ZEROCOPY_TRY ? cpu_ns() : 0;
	rc = sends_complete(s, fd);
	if (rc < 0)
		return conn_fail(c, rc,
				 "completions of payload sent by reference: %s",
				 strerror(-rc));
	/* To look in vain is a way to wait. */
	if (rc && since)
		z->way[1].ns += cpu_ns() - since;
	if (sends_copied(s) && z->state != ZEROCOPY_OFF &&
	    ctx_options(c->ctx)->zerocopy == DEVMEM_ZEROCOPY_AUTO)
		decided(c, ZEROCOPY_OFF, "the kernel copied");
	return 0;
}
