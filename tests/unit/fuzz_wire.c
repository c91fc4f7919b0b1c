// SPDX-License-Identifier: BSD-3-Clause
/*
 * fuzz_wire.c - any bytes through the reader and the decoders of the control
 * protocol. A libFuzzer target (-DDEVMEM_FUZZ=ON, clang); test_wire.cc runs the
 * same function over mutated records. It traps where a rule is broken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define RULE(cond) do { if (!(cond)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The longest inline message that is shown early. */
#define EARLY 2000u

static void decode(const uint8_t *payload, uint32_t len, unsigned int type)
{
	/* A copy of exactly that size, for the sanitizer to guard. */
	uint8_t *p = malloc(len ? len : 1);
	struct wire_hello hello;
	struct wire_flows flows;
	struct wire_ready ready;
	struct wire_rails rails;
	struct wire_error error;
	struct wire_data data;
	uint64_t upto;

	RULE(p);
	memcpy(p, payload, len);
	/* Whatever the header says: each decoder must stand any payload. */
	wire_get_hello(p, len, &hello);
	wire_get_grant(p, len, &upto);
	if (!wire_get_flows(p, len, &flows))
		RULE(flows.count >= 1 && flows.count <= WIRE_MAX_FLOWS);
	if (!wire_get_ready(p, len, &ready)) {
		RULE(ready.rails >= 1 && ready.rails <= WIRE_MAX_RAILS);
		for (uint32_t i = 0; i < ready.rails; i++)
			RULE(ready.port[i]);
	}
	if (!wire_get_rails(p, len, &rails))
		RULE(rails.count >= 1 && rails.count <= WIRE_MAX_RAILS);
	if (!wire_get_data(p, len, &data)) {
		RULE(data.count <= WIRE_MAX_CHUNKS);
		for (uint32_t i = 0; i < data.count; i++)
			RULE(data.chunk[i].len &&
			     data.chunk[i].flow < WIRE_MAX_FLOWS);
	}
	if (!wire_get_error(p, len, &error)) {
		RULE(error.code > 0);
		RULE(memchr(error.text, 0, sizeof(error.text)));
	}
	RULE(wire_type_name(type));
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_reader r;
	struct wire_hdr hdr;
	const uint8_t *payload;
	/* The first byte chooses sizes, so that boundaries move about. */
	size_t max_payload = size ? (size_t)data[0] * 4 : 64;
	size_t bite = size ? data[0] % 37 + 1 : 1;
	size_t at = 1;
	bool early = size && data[0] % 2;

	RULE(!wire_reader_init(&r, WIRE_HEADER_BYTES + max_payload + bite,
			       (uint32_t)max_payload));
	if (early)
		wire_reader_inline_early(&r, EARLY);
	while (at < size) {
		size_t room, n = size - at < bite ? size - at : bite;
		uint8_t *p = wire_reader_space(&r, &room);
		int rc;

		/* All whole records were taken: there must be room to go on. */
		RULE(room > 0 && p >= r.buf && p + room <= r.buf + r.cap);
		n = n < room ? n : room;
		memcpy(p, data + at, n);
		wire_reader_filled(&r, n);
		at += n;
		while ((rc = wire_reader_peek(&r, &hdr, &payload)) > 0) {
			size_t here = wire_reader_payload(&r);
			bool cut = early && hdr.type == WIRE_DATA &&
				   (hdr.flags & WIRE_F_INLINE);

			RULE(hdr.len <= (cut ? EARLY : max_payload));
			RULE(cut ? here <= hdr.len : here == hdr.len);
			RULE(payload >= r.buf &&
			     payload + here <= r.buf + r.tail);
			decode(payload, (uint32_t)here, hdr.type);
			wire_reader_consume(&r);
		}
		RULE(rc == 0 || rc == -EPROTO);
		if (rc)
			break;
	}
	wire_reader_free(&r);
	return 0;
}
