// SPDX-License-Identifier: BSD-3-Clause
/*
 * wire.c - records of the control protocol; see wire.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)v);
	put16(p + 2, (uint16_t)(v >> 16));
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p + 4, (uint32_t)(v >> 32));
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static size_t put_header(uint8_t *p, enum wire_type type, uint16_t flags,
			 uint64_t seq, size_t len)
{
	put16(p, type);
	put16(p + 2, flags);
	put32(p + 4, (uint32_t)len);
	put64(p + 8, seq);
	return WIRE_HEADER_BYTES + len;
}

size_t wire_put_hello(uint8_t *p, const struct wire_hello *h)
{
	uint8_t *b = p + WIRE_HEADER_BYTES;

	put16(b, h->major);
	put16(b + 2, h->minor);
	put32(b + 4, h->inline_bytes);
	memcpy(b + 8, h->key, WIRE_KEY_BYTES);
	put32(b + 8 + WIRE_KEY_BYTES, h->eager_bytes);
	return put_header(p, WIRE_HELLO, 0, 0, 12 + WIRE_KEY_BYTES);
}

int wire_get_hello(const uint8_t *p, uint32_t len, struct wire_hello *h)
{
	if (len < 8 + WIRE_KEY_BYTES)
		return -EPROTO;
	h->major = get16(p);
	h->minor = get16(p + 2);
	h->inline_bytes = get32(p + 4);
	memcpy(h->key, p + 8, WIRE_KEY_BYTES);
	/* Version 1.0 ends here. */
	h->eager_bytes = 0;
	if (h->minor >= 1 && len >= 12 + WIRE_KEY_BYTES)
		h->eager_bytes = get32(p + 8 + WIRE_KEY_BYTES);
	return h->inline_bytes <= WIRE_MAX_PAYLOAD ? 0 : -EPROTO;
}

size_t wire_put_flows(uint8_t *p, const struct wire_flows *f)
{
	uint8_t *b = p + WIRE_HEADER_BYTES;

	for (uint32_t i = 0; i < f->count; i++)
		put16(b + 2 * i, f->port[i]);
	return put_header(p, WIRE_FLOWS, 0, 0, 2 * (size_t)f->count);
}

int wire_get_flows(const uint8_t *p, uint32_t len, struct wire_flows *f)
{
	if (!len || len % 2 || len / 2 > WIRE_MAX_FLOWS)
		return -EPROTO;
	f->count = len / 2;
	for (uint32_t i = 0; i < f->count; i++) {
		f->port[i] = get16(p + 2 * i);
		if (!f->port[i])
			return -EPROTO;
	}
	return 0;
}

size_t wire_put_rails(uint8_t *p, const struct wire_rails *r)
{
	size_t n = (size_t)r->count * WIRE_ADDR_BYTES;

	memcpy(p + WIRE_HEADER_BYTES, r->addr, n);
	return put_header(p, WIRE_RAILS, 0, 0, n);
}

int wire_get_rails(const uint8_t *p, uint32_t len, struct wire_rails *r)
{
	if (!len || len % WIRE_ADDR_BYTES ||
	    len / WIRE_ADDR_BYTES > WIRE_MAX_RAILS)
		return -EPROTO;
	r->count = len / WIRE_ADDR_BYTES;
	memcpy(r->addr, p, len);
	return 0;
}

size_t wire_put_ready(uint8_t *p, const struct wire_ready *r)
{
	uint8_t *b = p + WIRE_HEADER_BYTES;

	put16(b, r->port[0]);
	put16(b + 2, r->path);
	put16(b + 4, (uint16_t)(r->rails - 1));
	for (uint32_t i = 1; i < r->rails; i++)
		put16(b + 4 + 2 * i, r->port[i]);
	return put_header(p, WIRE_READY, 0, 0, 4 + 2 * (size_t)r->rails);
}

int wire_get_ready(const uint8_t *p, uint32_t len, struct wire_ready *r)
{
	if (len < 4)
		return -EPROTO;
	r->port[0] = get16(p);
	r->path = get16(p + 2);
	/* Version 1.1 ends here. */
	r->rails = len < 6 ? 1 : 1 + get16(p + 4);
	if (r->rails > WIRE_MAX_RAILS ||
	    (r->rails > 1 && len < 4 + 2 * r->rails))
		return -EPROTO;
	for (uint32_t i = 0; i < r->rails; i++) {
		if (i)
			r->port[i] = get16(p + 4 + 2 * i);
		if (!r->port[i])
			return -EPROTO;
	}
	return 0;
}

size_t wire_put_grant(uint8_t *p, uint64_t seq, uint64_t upto)
{
	put64(p + WIRE_HEADER_BYTES, upto);
	return put_header(p, WIRE_GRANT, 0, seq, 8);
}

int wire_get_grant(const uint8_t *p, uint32_t len, uint64_t *upto)
{
	if (len != 8)
		return -EPROTO;
	*upto = get64(p);
	return 0;
}

size_t wire_put_inline_hdr(uint8_t *p, uint64_t seq, uint32_t len)
{
	put_header(p, WIRE_DATA, WIRE_F_INLINE, seq, len);
	return WIRE_HEADER_BYTES;
}

size_t wire_put_data(uint8_t *p, uint64_t seq, const struct wire_data *d)
{
	uint8_t *b = p + WIRE_HEADER_BYTES;

	put64(b, d->total);
	for (uint32_t i = 0; i < d->count; i++) {
		put32(b + 8 + 8 * i, d->chunk[i].flow);
		put32(b + 12 + 8 * i, d->chunk[i].len);
	}
	return put_header(p, WIRE_DATA, 0, seq, 8 + 8 * (size_t)d->count);
}

int wire_get_data(const uint8_t *p, uint32_t len, struct wire_data *d)
{
	if (len < 8 || len % 8 || (len - 8) / 8 > WIRE_MAX_CHUNKS)
		return -EPROTO;
	d->total = get64(p);
	d->count = (len - 8) / 8;
	for (uint32_t i = 0; i < d->count; i++) {
		d->chunk[i].flow = get32(p + 8 + 8 * i);
		d->chunk[i].len = get32(p + 12 + 8 * i);
		if (!d->chunk[i].len || d->chunk[i].flow >= WIRE_MAX_FLOWS)
			return -EPROTO;
	}
	return 0;
}

size_t wire_put_error(uint8_t *p, int code, const char *text)
{
	size_t n = strnlen(text, WIRE_MAX_TEXT);

	put32(p + WIRE_HEADER_BYTES, (uint32_t)code);
	memcpy(p + WIRE_HEADER_BYTES + 4, text, n);
	return put_header(p, WIRE_ERROR, 0, 0, 4 + n);
}

int wire_get_error(const uint8_t *p, uint32_t len, struct wire_error *e)
{
	uint32_t code;
	size_t n;

	if (len < 4 || len - 4 > WIRE_MAX_TEXT)
		return -EPROTO;
	code = get32(p);
	e->code = code && code < 4096 ? (int)code : EPROTO;
	n = len - 4;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = p[4 + i];

		/* The text goes to a log: nothing but plain characters. */
		e->text[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
	}
	e->text[n] = '\0';
	return 0;
}

size_t wire_put_bye(uint8_t *p)
{
	return put_header(p, WIRE_BYE, 0, 0, 0);
}

const char *wire_type_name(unsigned int type)
{
	static const char *const name[] = {
		[WIRE_HELLO] = "HELLO", [WIRE_FLOWS] = "FLOWS",
		[WIRE_READY] = "READY", [WIRE_GRANT] = "GRANT",
		[WIRE_DATA] = "DATA",	[WIRE_ERROR] = "ERROR",
		[WIRE_BYE] = "BYE",	[WIRE_RAILS] = "RAILS",
	};

	if (type < sizeof(name) / sizeof(name[0]) && name[type])
		return name[type];
	return "unknown";
}

int wire_reader_init(struct wire_reader *r, size_t cap, uint32_t max_payload)
{
	if (cap < WIRE_HEADER_BYTES + (size_t)max_payload)
		cap = WIRE_HEADER_BYTES + (size_t)max_payload;
	r->buf = malloc(cap);
	if (!r->buf)
		return -ENOMEM;
	r->cap = cap;
	r->head = 0;
	r->tail = 0;
	r->max_payload = max_payload;
	r->max_inline = 0;
	return 0;
}

void wire_reader_free(struct wire_reader *r)
{
	free(r->buf);
	r->buf = NULL;
}

uint8_t *wire_reader_space(struct wire_reader *r, size_t *room)
{
	if (r->head == r->tail) {
		r->head = 0;
		r->tail = 0;
	} else if (r->head > r->cap / 2) {
		memmove(r->buf, r->buf + r->head, r->tail - r->head);
		r->tail -= r->head;
		r->head = 0;
	}
	*room = r->cap - r->tail;
	return r->buf + r->tail;
}

void wire_reader_filled(struct wire_reader *r, size_t n)
{
	r->tail += n;
}

void wire_reader_inline_early(struct wire_reader *r, uint32_t max)
{
	r->max_inline = max;
}

size_t wire_reader_payload(const struct wire_reader *r)
{
	size_t have = r->tail - r->head - WIRE_HEADER_BYTES;
	size_t len = get32(r->buf + r->head + 4);

	return have < len ? have : len;
}

static bool shown_early(const struct wire_reader *r, const struct wire_hdr *h)
{
	return r->max_inline && h->type == WIRE_DATA &&
	       (h->flags & WIRE_F_INLINE);
}

static bool type_known(unsigned int type)
{
	return type >= WIRE_HELLO && type <= WIRE_RAILS;
}

int wire_reader_peek(struct wire_reader *r, struct wire_hdr *hdr,
		     const uint8_t **payload)
{
	for (;;) {
		const uint8_t *p = r->buf + r->head;
		size_t have = r->tail - r->head;

		if (have < WIRE_HEADER_BYTES)
			return 0;
		hdr->type = get16(p);
		hdr->flags = get16(p + 2);
		hdr->len = get32(p + 4);
		hdr->seq = get64(p + 8);
		*payload = p + WIRE_HEADER_BYTES;
		if (shown_early(r, hdr))
			return hdr->len <= r->max_inline ? 1 : -EPROTO;
		/* Judged before the payload is there: a wrong length never is. */
		if (hdr->len > r->max_payload)
			return -EPROTO;
		if (!type_known(hdr->type) && !(hdr->flags & WIRE_F_OPTIONAL))
			return -EPROTO;
		if (have < WIRE_HEADER_BYTES + (size_t)hdr->len) {
			/* Make sure that the rest will fit behind it. */
			if (r->head + WIRE_HEADER_BYTES + hdr->len > r->cap) {
				memmove(r->buf, p, have);
				r->tail = have;
				r->head = 0;
			}
			return 0;
		}
		if (type_known(hdr->type))
			return 1;
		wire_reader_consume(r);
	}
}

void wire_reader_consume(struct wire_reader *r)
{
	r->head += WIRE_HEADER_BYTES + wire_reader_payload(r);
}
