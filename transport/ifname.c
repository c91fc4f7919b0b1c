// SPDX-License-Identifier: BSD-3-Clause
/*
 * ifname.c - interface selection; see ifname.h.
 */
#include <string.h>

#include "ifname.h"

bool ifname_selected(const char *spec, const char *name, bool loopback)
{
	bool exclude = false, exact = false, listed = false;

	if (!spec || !*spec)
		return !loopback;
	if (*spec == '^') {
		exclude = true;
		spec++;
	}
	if (*spec == '=') {
		exact = true;
		spec++;
	}
	while (*spec && !listed) {
		size_t n = strcspn(spec, ",");

		listed = n && !strncmp(name, spec, n) && (!exact || !name[n]);
		spec += n;
		spec += *spec == ',';
	}
	return listed != exclude;
}
