// SPDX-License-Identifier: BSD-3-Clause
/*
 * strangers.c - see strangers.h.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sock.h"
#include "strangers.h"

#define STRANGER_MS 10000

int strangers_accept(struct strangers *s, int fd, int max)
{
	for (int i = 0; i < max; i++) {
		struct sockaddr_storage peer;
		struct stranger *new;
		int got = sock_accept(fd, &peer);

		if (got < 0)
			return got == -EAGAIN ? 0 : got;
		if (s->count == STRANGERS_MAX)
			strangers_drop(s, 0, true);
		new = &s->one[s->count];
		memset(new, 0, sizeof(*new));
		if (wire_reader_init(&new->in, 1024, 512)) {
			close(got);
			return -ENOMEM;
		}
		new->fd = got;
		new->peer = peer;
		new->deadline = now_ms() + STRANGER_MS;
		s->count++;
	}
	return 0;
}

void strangers_drop(struct strangers *s, unsigned int i, bool close_fd)
{
	struct stranger *gone = &s->one[i];

	if (close_fd)
		close(gone->fd);
	wire_reader_free(&gone->in);
	s->count--;
	memmove(gone, gone + 1, (s->count - i) * sizeof(*gone));
}

void strangers_drop_all(struct strangers *s)
{
	while (s->count)
		strangers_drop(s, s->count - 1, true);
}

static bool key_matches(const uint8_t *a, const uint8_t *b)
{
	uint8_t diff = 0;

	/* All bytes, always: timing must not tell how many were right. */
	for (int i = 0; i < WIRE_KEY_BYTES; i++)
		diff |= a[i] ^ b[i];
	return !diff;
}

int stranger_hello(struct stranger *s, const uint8_t *key,
		   struct wire_hello *hello)
{
	const uint8_t *payload;
	struct wire_hdr h;
	size_t room;
	uint8_t *p = wire_reader_space(&s->in, &room);
	ssize_t n = recv(s->fd, p, room, MSG_DONTWAIT);
	int rc;

	if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
		return -ECONNRESET;
	if (n > 0)
		wire_reader_filled(&s->in, (size_t)n);
	rc = wire_reader_peek(&s->in, &h, &payload);
	if (rc <= 0)
		return rc ?: now_ms() > s->deadline ? -ETIMEDOUT : 0;
	if (h.type != WIRE_HELLO || wire_get_hello(payload, h.len, hello) ||
	    !key_matches(hello->key, key))
		return -EPROTO;
	wire_reader_consume(&s->in);
	return 1;
}
