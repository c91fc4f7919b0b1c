// SPDX-License-Identifier: BSD-3-Clause
/*
 * consumer.c - a user of libdevmem as one would write it: built with what
 * pkg-config says, it opens the library on lo and looks at the only interface.
 */
#include <devmem.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	struct devmem_options o;
	struct devmem_nic_props props;
	struct devmem *d;
	int rc, count;

	devmem_options_init(&o);
	o.ifname = "=lo";
	o.region = DEVMEM_REGION_NONE;
	rc = devmem_open(&o, &d);
	if (rc) {
		printf("devmem_open: %s\n", strerror(-rc));
		return 1;
	}
	count = devmem_nic_count(d);
	rc = devmem_nic_info(d, 0, &props);
	printf("%d interface, %s\n", count, rc ? strerror(-rc) : props.name);
	devmem_close(d);
	return count != 1 || rc || strcmp(props.name, "lo") != 0;
}
