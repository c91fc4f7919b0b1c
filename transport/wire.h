/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.h - the control protocol's records (docs/protocol.md): encoding,
 * decoding and the incremental reader. Pure bytes: no sockets, no connection
 * state. Everything that is decoded here comes from a peer and is checked.
 */
#ifndef DEVMEM_WIRE_H
#define DEVMEM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION_MAJOR 1
#define WIRE_VERSION_MINOR 2

#define WIRE_HEADER_BYTES 16
#define WIRE_KEY_BYTES	  16
#define WIRE_ADDR_BYTES	  16
/* No record's payload is larger; a length beyond it is a broken peer. */
#define WIRE_MAX_PAYLOAD 32768u
#define WIRE_MAX_TEXT	 256u
/* Payload flows of one connection. */
#define WIRE_MAX_FLOWS 16u
/* Interfaces that each side's flows are spread over. */
#define WIRE_MAX_RAILS 4u
/* Chunks that one DATA record may list. */
#define WIRE_MAX_CHUNKS 64u

enum wire_type {
	WIRE_HELLO = 1, /* both ways, first: version, capabilities, key */
	WIRE_FLOWS = 2, /* sender: source ports of its flows */
	WIRE_READY = 3, /* receiver: flows may connect, to this port */
	WIRE_GRANT = 4, /* receiver: leave to send up to a byte of a message */
	WIRE_DATA = 5,	/* sender: a message's size, and where its bytes are */
	WIRE_ERROR = 6, /* either: the connection is over, and why */
	WIRE_BYE = 7,	/* either: no more records follow */
	WIRE_RAILS = 8, /* sender: where its flows come from, in turn */
};

/* wire_hdr.flags */
#define WIRE_F_INLINE	0x0001u /* DATA: the payload is the whole message */
#define WIRE_F_OPTIONAL 0x8000u /* skip this record if its type is unknown */

/* wire_ready.path */
#define WIRE_RX_HOST   0u
#define WIRE_RX_DEVMEM 1u

struct wire_hdr {
	uint16_t type; /* enum wire_type */
	uint16_t flags;
	uint32_t len; /* payload bytes that follow the header */
	uint64_t seq; /* the message that GRANT and DATA are about, else 0 */
};

struct wire_hello {
	uint16_t major, minor;
	uint32_t inline_bytes; /* messages up to this come without grant */
	uint8_t key[WIRE_KEY_BYTES];
	uint32_t eager_bytes; /* the same where payload goes to host memory */
};

struct wire_flows {
	uint32_t count;
	uint16_t port[WIRE_MAX_FLOWS]; /* host byte order */
};

/* Addresses only: the family is control's, the ports are in FLOWS. */
struct wire_rails {
	uint32_t count;
	uint8_t addr[WIRE_MAX_RAILS][WIRE_ADDR_BYTES];
};

struct wire_ready {
	/*
	 * Where flows connect to, host byte order: flow i to port i % rails, at
	 * the handle's address of the same index.
	 */
	uint16_t port[WIRE_MAX_RAILS];
	uint32_t rails;
	uint16_t path; /* WIRE_RX_*: how payload will be received */
};

struct wire_chunk {
	uint32_t flow;
	uint32_t len; /* never 0 */
};

/* A DATA record without WIRE_F_INLINE. No chunks: only announces the size. */
struct wire_data {
	uint64_t total; /* size of the message */
	uint32_t count;
	struct wire_chunk chunk[WIRE_MAX_CHUNKS];
};

struct wire_error {
	int code;		      /* a positive errno value */
	char text[WIRE_MAX_TEXT + 1]; /* printable, terminated */
};

/*
 * Encoders write one whole record to @p and return its length. @p has room for
 * WIRE_HEADER_BYTES plus the payload; WIRE_MAX_RECORD is enough for all of them
 * (inline data is not copied: only its header is written).
 */
#define WIRE_MAX_RECORD (WIRE_HEADER_BYTES + 8 + 8 * WIRE_MAX_CHUNKS)

size_t wire_put_hello(uint8_t *p, const struct wire_hello *h);
size_t wire_put_flows(uint8_t *p, const struct wire_flows *f);
size_t wire_put_rails(uint8_t *p, const struct wire_rails *r);
size_t wire_put_ready(uint8_t *p, const struct wire_ready *r);
size_t wire_put_grant(uint8_t *p, uint64_t seq, uint64_t upto);
size_t wire_put_inline_hdr(uint8_t *p, uint64_t seq, uint32_t len);
size_t wire_put_data(uint8_t *p, uint64_t seq, const struct wire_data *d);
size_t wire_put_error(uint8_t *p, int code, const char *text);
size_t wire_put_bye(uint8_t *p);

/*
 * Decoders read the payload of a record whose header says @len bytes. 0, or
 * -EPROTO if the payload is not what the type demands. HELLO and READY may be
 * longer than what we know of them: a later minor version may add fields.
 */
int wire_get_hello(const uint8_t *p, uint32_t len, struct wire_hello *h);
int wire_get_flows(const uint8_t *p, uint32_t len, struct wire_flows *f);
int wire_get_rails(const uint8_t *p, uint32_t len, struct wire_rails *r);
int wire_get_ready(const uint8_t *p, uint32_t len, struct wire_ready *r);
int wire_get_grant(const uint8_t *p, uint32_t len, uint64_t *upto);
int wire_get_data(const uint8_t *p, uint32_t len, struct wire_data *d);
int wire_get_error(const uint8_t *p, uint32_t len, struct wire_error *e);

/*
 * The reader: a buffer between a stream of bytes and records.
 *
 *	size_t room;
 *	uint8_t *p = wire_reader_space(r, &room);
 *	n = recv(fd, p, room, MSG_DONTWAIT);
 *	wire_reader_filled(r, n);
 *	while ((rc = wire_reader_peek(r, &hdr, &payload)) > 0) {
 *		...
 *		wire_reader_consume(r);
 *	}
 */
struct wire_reader {
	uint8_t *buf;
	size_t cap;	   /* >= WIRE_HEADER_BYTES + max_payload */
	size_t head, tail; /* unread bytes are [head, tail) */
	uint32_t max_payload;
	uint32_t max_inline; /* of inline DATA, if shown early; else 0 */
};

/**
 * wire_reader_init() - reader of records with payloads up to @max_payload
 * (<= WIRE_MAX_PAYLOAD). 0 or -ENOMEM. Buffers @cap bytes, at least one record.
 */
int wire_reader_init(struct wire_reader *r, size_t cap, uint32_t max_payload);
void wire_reader_free(struct wire_reader *r);

/* Where to read to; *room may be 0 when the buffer is full. */
uint8_t *wire_reader_space(struct wire_reader *r, size_t *room);
void wire_reader_filled(struct wire_reader *r, size_t n);

/**
 * wire_reader_inline_early() - from now on show inline DATA as soon as its
 * header is there, so that its message can be read to where it belongs. It may
 * be up to @max bytes; wire_reader_payload() says how many are in the buffer,
 * the others are the caller's to read.
 */
void wire_reader_inline_early(struct wire_reader *r, uint32_t max);
/* Bytes of the payload of the record that is shown that are in the buffer. */
size_t wire_reader_payload(const struct wire_reader *r);

/**
 * wire_reader_peek() - look at the next whole record without consuming it.
 *
 * Unknown optional records are skipped. 1: *hdr and *payload are set (payload
 * lives in the buffer until the next call of wire_reader_space or _consume);
 * 0: more bytes are needed; -EPROTO: a length or type that cannot be.
 */
int wire_reader_peek(struct wire_reader *r, struct wire_hdr *hdr,
		     const uint8_t **payload);
/* Drop the record that wire_reader_peek() showed, as far as it is here. */
void wire_reader_consume(struct wire_reader *r);

/* Name of a record type, for messages. */
const char *wire_type_name(unsigned int type);

#endif /* DEVMEM_WIRE_H */
