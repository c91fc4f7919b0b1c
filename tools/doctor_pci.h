/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor_pci.h - what sysfs says of the way between two PCI devices, which are given
 * by their folders as realpath() has them:
 * /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0.
 */
#ifndef TOOLS_DOCTOR_PCI_H
#define TOOLS_DOCTOR_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is there a bridge that both are below? Else the way leads by the root complex. */
bool pci_share_bridge(const char *a, const char *b);

/**
 * pci_redirecting() - the first bridge between that which both share and @a that
 * sends requests of devices to each other upstream (ACS). Its name in @name, or
 * false: none does, or it cannot be told without privileges.
 */
bool pci_redirecting(const char *a, const char *b, char *name, size_t n);

/* Of @n bytes of configuration space: the ACS control register, -1: no such. */
int pci_acs_control(const uint8_t *config, size_t n);
#define PCI_ACS_REDIRECTS 0x000cu /* requests and completions */

/* Size of region @bar of the text of a "resource" file; 0: there is none. */
uint64_t pci_region_size(const char *resource, unsigned int bar);

/* Does an IOMMU translate for the device? */
bool pci_is_translated(const char *path);

#endif /* TOOLS_DOCTOR_PCI_H */
