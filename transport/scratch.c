// SPDX-License-Identifier: BSD-3-Clause
/*
 * scratch.c - buffers for one recvmsg each, shared by a pool's connections; see
 * rxpool.h.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "conn.h"
#include "rxpool.h"
#include "uapi.h"

static void scratch_free(struct rx_scratch *s)
{
	gather_list_free(&s->list);
	free(s->bounce);
	free(s->cmsgs);
	free(s);
}

static struct rx_scratch *scratch_new(void)
{
	struct rx_scratch *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->cmsgs_bytes =
		SCRATCH_FRAGS * CMSG_SPACE(sizeof(struct devmem_uapi_cmsg));
	s->bounce = malloc(SCRATCH_BYTES);
	s->cmsgs = malloc(s->cmsgs_bytes);
	/* A frag can straddle runs. */
	if (!s->bounce || !s->cmsgs ||
	    gather_list_init(&s->list, SCRATCH_FRAGS + FLOW_RUNS)) {
		scratch_free(s);
		return NULL;
	}
	return s;
}

struct rx_scratch *rxpool_scratch_get(struct rxpool *p)
{
	struct rx_scratch *s;

	pthread_mutex_lock(&p->scratch_lock);
	s = p->scratch;
	if (s)
		p->scratch = s->next;
	pthread_mutex_unlock(&p->scratch_lock);
	s = s ?: scratch_new();
	if (s)
		s->list.pool = p->region.map;
	return s;
}

void rxpool_scratch_put(struct rxpool *p, struct rx_scratch *s)
{
	pthread_mutex_lock(&p->scratch_lock);
	s->next = p->scratch;
	p->scratch = s;
	pthread_mutex_unlock(&p->scratch_lock);
}

void rxpool_scratch_free(struct rxpool *p)
{
	while (p->scratch) {
		struct rx_scratch *s = p->scratch;

		p->scratch = s->next;
		scratch_free(s);
	}
}
