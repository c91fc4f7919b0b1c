// SPDX-License-Identifier: BSD-3-Clause
/*
 * devmemd_log.c - lines for the journal. What a client can cause as often as it
 * likes is counted, and said when there is room again.
 */
#include <stdarg.h>
#include <stdio.h>

#include "devmemd.h"
#include "sock.h"

#define BURST	  20
#define EACH_MS	  1000
#define LINE_MAX_ 512

static void print(const char *fmt, va_list ap)
{
	char line[LINE_MAX_];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	/* What a client or a file has put in is not to look like two lines. */
	for (int i = 0; i < n && i < LINE_MAX_ - 1; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	fprintf(stderr, "devmemd: %s\n", line);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
}

void say_refusal(const char *fmt, ...)
{
	static unsigned int room = BURST, left_out;
	static uint64_t since;
	uint64_t now = now_ms();
	va_list ap;

	if (now - since >= EACH_MS) {
		uint64_t more = (now - since) / EACH_MS;

		room = more > BURST - room ? BURST : room + (unsigned int)more;
		since = now;
	}
	if (!room) {
		left_out++;
		return;
	}
	room--;
	if (left_out)
		say("%u refusals more were not logged", left_out);
	left_out = 0;
	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
}
