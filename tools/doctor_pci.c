// SPDX-License-Identifier: BSD-3-Clause
/*
 * doctor_pci.c - the PCI tree as sysfs shows it; see doctor_pci.h. Layout of
 * configuration space: PCI Express base specification, extended capabilities.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "doctor_pci.h"

#define CONFIG_BYTES 4096
#define FIRST_CAP    0x100u
#define ACS_ID	     0x000du
#define ACS_CONTROL  6u

/* Bytes of what two paths have in common, in whole parts. */
static size_t common(const char *a, const char *b)
{
	size_t at = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			at = i;
	return at;
}

/* "0000:01:00.0": anything with a function number. "pci0000:00" is a root. */
static bool is_device(const char *part, size_t len)
{
	return len > 2 && part[len - 2] == '.' && memchr(part, ':', len);
}

bool pci_share_bridge(const char *a, const char *b)
{
	size_t end = common(a, b), from = end;

	while (from && a[from - 1] != '/')
		from--;
	return end && is_device(a + from, end - from);
}

static uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

int pci_acs_control(const uint8_t *config, size_t n)
{
	size_t at = FIRST_CAP;

	/* Each takes 4 bytes at least: more of them would be a circle. */
	for (unsigned int i = 0; i < CONFIG_BYTES / 4; i++) {
		uint32_t head;

		if (at < FIRST_CAP || at + 8 > n)
			return -1;
		head = le32(config + at);
		if ((head & 0xffff) == ACS_ID)
			return config[at + ACS_CONTROL] |
			       config[at + ACS_CONTROL + 1] << 8;
		at = head >> 20;
	}
	return -1;
}

static int acs_of(const char *path, size_t len)
{
	uint8_t config[CONFIG_BYTES];
	char name[PATH_MAX];
	size_t n;
	FILE *f;

	snprintf(name, sizeof(name), "%.*s/config", (int)len, path);
	f = fopen(name, "re");
	if (!f)
		return -1;
	n = fread(config, 1, sizeof(config), f);
	fclose(f);
	return pci_acs_control(config, n);
}

bool pci_redirecting(const char *a, const char *b, char *name, size_t n)
{
	size_t from = common(a, b) + 1;
	const char *slash;

	/* The device itself, the last part, is no bridge. */
	while ((slash = strchr(a + from, '/'))) {
		size_t end = (size_t)(slash - a);
		int control = acs_of(a, end);

		if (control >= 0 && (control & PCI_ACS_REDIRECTS)) {
			snprintf(name, n, "%.*s", (int)(end - from), a + from);
			return true;
		}
		from = end + 1;
	}
	return false;
}

uint64_t pci_region_size(const char *resource, unsigned int bar)
{
	uint64_t start, end;

	for (unsigned int i = 0; i < bar; i++) {
		resource = strchr(resource, '\n');
		if (!resource)
			return 0;
		resource++;
	}
	if (sscanf(resource, "%" SCNx64 " %" SCNx64, &start, &end) != 2 ||
	    end <= start)
		return 0;
	return end - start + 1;
}

bool pci_is_translated(const char *path)
{
	char name[PATH_MAX], type[32] = "";
	FILE *f;

	snprintf(name, sizeof(name), "%s/iommu_group/type", path);
	f = fopen(name, "re");
	if (!f)
		return false;
	if (!fgets(type, sizeof(type), f))
		*type = '\0';
	fclose(f);
	return !strncmp(type, "DMA", 3); /* or "identity" */
}
