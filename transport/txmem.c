// SPDX-License-Identifier: BSD-3-Clause
/*
 * txmem.c - bindings for sending, shared by the process; see txmem.h.
 *
 * NCCL registers the same pool anew with each connection, with a new descriptor
 * each time, and what a device can map at once is limited.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "devnl.h"
#include "ethioctl.h"
#include "reason.h"
#include "region.h"
#include "txmem.h"
#include "uapi.h"

struct txmem {
	struct txmem *next;
	unsigned int users;
	unsigned int ifindex;
	uintptr_t addr;
	size_t size;
	uint64_t offset;
	uint64_t end; /* of the dma-buf */
	/* The binding ends with its socket: one for each. */
	struct devnl_family lease;
	uint32_t id;
};

static struct {
	pthread_mutex_t lock;
	struct txmem *first;
} bound = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int bind_failed(const struct devnl_family *f, const char *ifname,
		       int err, struct why *w)
{
	if (err == -EOPNOTSUPP)
		return reason(w, err, REASON_BIND_TX_UNSUPPORTED, .nic = ifname,
			      .detail = f->extack);
	if (err == -EBADF)
		return why(w, err, "the file descriptor is not open");
	return why(w, err, "binding memory to %s for sending: %s%s%s", ifname,
		   strerror(-err), *f->extack ? ": " : "", f->extack);
}

static int netdev_open(struct devnl_family *f, struct why *w)
{
	int rc = devnl_open(f, DEVMEM_NETDEV_FAMILY);

	if (rc)
		reason(w, rc, REASON_KERNEL_NO_NETDEV);
	return rc;
}

int txmem_probe(const char *ifname, unsigned int ifindex, struct why *w)
{
	struct devnl_family f;
	uint32_t id;
	bool sg;
	int rc;

	rc = eth_sg_get(ifname, &sg);
	if (!rc && !sg)
		return reason(w, -EOPNOTSUPP, REASON_SG_OFF, .nic = ifname);
	rc = netdev_open(&f, w);
	if (rc)
		return rc;
	/* Those that can send get as far as looking for the dma-buf. */
	rc = devnl_bind_tx(&f, ifindex, -1, &id);
	rc = rc == -EBADF ? 0 : bind_failed(&f, ifname, rc ?: -EPROTO, w);
	devnl_close(&f);
	return rc;
}

static struct txmem *find(unsigned int ifindex, uintptr_t addr, size_t size,
			  uint64_t offset)
{
	struct txmem *m;

	for (m = bound.first; m; m = m->next)
		if (m->ifindex == ifindex && m->addr == addr &&
		    m->size == size && m->offset == offset)
			break;
	return m;
}

static int bind_new(const char *ifname, const struct txmem *like, int fd,
		    struct txmem **out, struct why *w)
{
	struct txmem *m = malloc(sizeof(*m));
	int rc;

	if (!m)
		return why(w, -ENOMEM, "out of memory");
	*m = *like;
	rc = netdev_open(&m->lease, w);
	if (rc)
		goto err_free;
	rc = devnl_bind_tx(&m->lease, m->ifindex, fd, &m->id);
	if (rc) {
		bind_failed(&m->lease, ifname, rc, w);
		goto err_close;
	}
	m->next = bound.first;
	bound.first = m;
	*out = m;
	return 0;

err_close:
	devnl_close(&m->lease);
err_free:
	free(m);
	return rc;
}

int txmem_get(const char *ifname, unsigned int ifindex, uintptr_t addr,
	      size_t size, uint64_t offset, int fd, struct txmem **out,
	      struct why *w)
{
	struct txmem like = {
		.ifindex = ifindex, .addr = addr, .size = size, .offset = offset
	};
	struct txmem *m;
	int rc;

	*out = NULL;
	rc = region_check_dmabuf(fd, offset, size, &like.end);
	if (rc)
		return why(w, rc,
			   rc == -EINVAL ?
				   "the range is not inside the dma-buf" :
				   "the file descriptor is not a dma-buf");
	pthread_mutex_lock(&bound.lock);
	m = find(ifindex, addr, size, offset);
	if (!m)
		rc = bind_new(ifname, &like, fd, &m, w);
	if (!rc) {
		m->users++;
		*out = m;
	}
	pthread_mutex_unlock(&bound.lock);
	return rc;
}

void txmem_put(struct txmem *m)
{
	struct txmem **at;

	if (!m)
		return;
	pthread_mutex_lock(&bound.lock);
	if (--m->users) {
		pthread_mutex_unlock(&bound.lock);
		return;
	}
	for (at = &bound.first; *at != m; at = &(*at)->next)
		;
	*at = m->next;
	pthread_mutex_unlock(&bound.lock);
	devnl_close(&m->lease);
	free(m);
}

uint32_t txmem_id(const struct txmem *m)
{
	return m->id;
}

uint64_t txmem_end(const struct txmem *m)
{
	return m->end;
}
