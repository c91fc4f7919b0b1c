// SPDX-License-Identifier: BSD-3-Clause
/*
 * gather.c - gather lists and the engines that need no GPU; see gather.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gather.h"

int gather_list_init(struct gather_list *l, size_t cap)
{
	l->op = calloc(cap, sizeof(*l->op));
	l->count = 0;
	l->cap = cap;
	return l->op ? 0 : -ENOMEM;
}

void gather_list_free(struct gather_list *l)
{
	free(l->op);
	l->op = NULL;
	l->cap = 0;
	l->count = 0;
}

/* Does @b go on where @a ends, at the source and at the destination? */
static bool continues(const struct gather_op *a, const struct gather_op *b)
{
	if ((uint8_t *)a->dst + a->len != b->dst)
		return false;
	if (a->host || b->host)
		return a->host && b->host &&
		       (const uint8_t *)a->host + a->len == b->host;
	return a->offset + a->len == b->offset;
}

bool gather_list_add(struct gather_list *l, const struct gather_op *op)
{
	if (!op->len)
		return true;
	if (l->count && continues(&l->op[l->count - 1], op)) {
		l->op[l->count - 1].len += op->len;
		return true;
	}
	if (l->count == l->cap)
		return false;
	l->op[l->count++] = *op;
	return true;
}

static int cpu_submit(struct gather_engine *e, const struct gather_list *l,
		      uint64_t *ticket)
{
	/*
	 * No DMA_BUF_IOCTL_SYNC around the reads: it walks every page of the
	 * pool at each call, and where this engine runs (udmabuf on a machine
	 * whose DMA is coherent with its caches) it has nothing to do.
	 */
	for (size_t i = 0; i < l->count; i++) {
		const struct gather_op *op = &l->op[i];

		memcpy(op->dst, op->host ? op->host : l->pool + op->offset,
		       op->len);
	}
	*ticket = ++e->ticket;
	return 0;
}

static int none_submit(struct gather_engine *e, const struct gather_list *l,
		       uint64_t *ticket)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->op[i].host)
			memcpy(l->op[i].dst, l->op[i].host, l->op[i].len);
	*ticket = ++e->ticket;
	return 0;
}

static uint64_t sync_done(struct gather_engine *e, int *err)
{
	*err = 0;
	return e->ticket;
}

const struct gather_ops gather_cpu = {
	.name = "cpu",
	.submit = cpu_submit,
	.done = sync_done,
};

const struct gather_ops gather_none = {
	.name = "none",
	.submit = none_submit,
	.done = sync_done,
};
