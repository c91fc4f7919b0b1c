// SPDX-License-Identifier: BSD-3-Clause
/*
 * settings.c - the environment of the stand-in for the CUDA driver; fakecuda.h
 * lists it. A misspelt one must not look like a test that passed.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

/* Decimal digits up to @max; @text moves behind them. */
static bool number(const char **text, unsigned long max, unsigned long *value)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	*value = strtoul(*text, &end, 10);
	*text = end;
	return !errno && *value <= max;
}

static bool literal(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

/* Behind an item of a list: its end, or a comma and more. */
static bool item_ends(const char **text)
{
	return !**text || (literal(text, ',') && **text);
}

static bool parse_failure(const char **text, struct failure *f)
{
	size_t len = strcspn(*text, ":");
	unsigned long result;

	f->call = call_number(*text, len);
	if (f->call == CALLS)
		return false;
	*text += len;
	if (!literal(text, ':') || !number(text, ULONG_MAX, &f->nth) || !f->nth)
		return false;
	f->onwards = literal(text, '+');
	if (!literal(text, '=') || !number(text, INT_MAX, &result) || !result)
		return false;
	f->result = (int)result;
	return item_ends(text);
}

bool settings_fail(struct settings *set, const char *spec)
{
	struct failure fail[sizeof(set->fail) / sizeof(*set->fail)];
	const char *text = spec;
	unsigned int count = 0;

	while (*text) {
		if (count == sizeof(fail) / sizeof(*fail) ||
		    !parse_failure(&text, &fail[count++])) {
			complain("not understood: what is to fail: \"%s\"",
				 spec);
			return false;
		}
	}
	memcpy(set->fail, fail, sizeof(fail));
	set->failures = count;
	return true;
}

static bool parse_attributes(struct settings *set, const char *text)
{
	unsigned long which, value;

	set->attributes = 0;
	while (*text) {
		if (set->attributes ==
		    sizeof(set->attribute) / sizeof(*set->attribute))
			return false;
		if (!number(&text, INT_MAX, &which) || !literal(&text, '=') ||
		    !number(&text, INT_MAX, &value) || !item_ends(&text))
			return false;
		set->attribute[set->attributes].attribute = (int)which;
		set->attribute[set->attributes++].value = (int)value;
	}
	return true;
}

static bool read_number(const char *name, unsigned long max,
			unsigned long *value, unsigned long unset)
{
	const char *text = getenv(name), *rest = text;

	*value = unset;
	if (!text || (number(&rest, max, value) && !*rest))
		return true;
	complain("not understood: %s=%s: a number up to %lu", name, text, max);
	return false;
}

bool settings_read(struct settings *set)
{
	const char *fail = getenv("FAKECUDA_FAIL");
	const char *attributes = getenv("FAKECUDA_ATTR");

	if (!read_number("FAKECUDA_DEVICES", FAKE_DEVICES, &set->devices, 1) ||
	    !read_number("FAKECUDA_INIT", INT_MAX, &set->init, 0) ||
	    !read_number("FAKECUDA_DELAY_US", 1000000, &set->delay_us, 0) ||
	    !read_number("FAKECUDA_PCIE", 1, &set->pcie, 0) ||
	    !read_number("FAKECUDA_REPORT", 1, &set->report, 0))
		return false;
	if (!parse_attributes(set, attributes ?: "")) {
		complain("not understood: FAKECUDA_ATTR=%s", attributes);
		return false;
	}
	/* What a test asked for itself comes first. */
	return fake.fail_set || settings_fail(set, fail ?: "");
}
