// SPDX-License-Identifier: BSD-3-Clause
/*
 * device.c - which of the plugin's devices a rank uses.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "unpack_abi.h"

static bool name_is_index(const char *name, int *dev)
{
	char *end;

	*dev = (int)strtol(name, &end, 10);
	return *name && !*end;
}

static int read_properties(struct rank *r, int dev,
			   ncclNetProperties_v12_t *props)
{
	ncclResult_t rc;

	/* NCCL gives uninitialised memory: every field must be set. */
	memset(props, 0xa5, sizeof(*props));
	rc = r->plugin.net->getProperties(dev, props);
	if (rc)
		return net_fail(r, "getProperties", rc, "device %d", dev);
	return 0;
}

static int find(struct rank *r, const char *want, int *dev)
{
	const ncclNet_v12_t *net = r->plugin.net;
	ncclNetProperties_v12_t props;
	int ndev = 0, index, err;
	bool by_index = name_is_index(want, &index);
	ncclResult_t rc = net->devices(&ndev);

	if (rc)
		return net_fail(r, "devices", rc, "counting devices");
	for (*dev = 0; *dev < ndev; ++*dev) {
		if (by_index && *dev != index)
			continue;
		err = read_properties(r, *dev, &props);
		if (err || by_index ||
		    (props.name && !strcmp(props.name, want)))
			return err;
	}
	return rank_fail(r, ERR_OTHER, EXIT_SKIP,
			 "plugin %s has no device \"%s\" here (%d devices)",
			 net->name, want, ndev);
}

/* One of several, as NCCL has it made. */
static int bond(struct rank *r, char *names, int *dev)
{
	const ncclNet_v12_t *net = r->plugin.net;
	ncclNetVDeviceProps_v12_t v = { 0 };
	ncclResult_t rc;

	for (char *at, *name = strtok_r(names, "+", &at); name;
	     name = strtok_r(NULL, "+", &at)) {
		int err;

		if (v.ndevs == NCCL_NET_MAX_DEVS_PER_NIC_V12)
			return rank_fail(r, ERR_OTHER, EXIT_FAIL,
					 "--device: at most %d become one",
					 v.ndevs);
		err = find(r, name, &v.devs[v.ndevs++]);
		if (err)
			return err;
	}
	if (!net->makeVDevice)
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "plugin %s makes no device of several",
				 net->name);
	rc = net->makeVDevice(dev, &v);
	if (rc)
		return net_fail(r, "makeVDevice", rc, "of %d devices", v.ndevs);
	return 0;
}

/* What GPU code has to do with received data: nothing, or what NCCL's knows. */
static int check_type(struct rank *r, const ncclNetProperties_v12_t *props)
{
	const char *name = props->name ? props->name : "(no name)";
	bool unpacks = props->netDeviceType == NCCL_NET_DEVICE_UNPACK;
	struct plugin *p = &r->plugin;

	if (!unpacks && props->netDeviceType != NCCL_NET_DEVICE_HOST)
		return rank_fail(r, ERR_OTHER, EXIT_FAIL,
				 "device %s is of a type that nobody knows: %d",
				 name, (int)props->netDeviceType);
	if (unpacks && props->netDeviceVersion != UNPACK_VERSION)
		return rank_fail(r, ERR_OTHER, EXIT_FAIL,
				 "device %s unpacks by version %d, NCCL by %d",
				 name, props->netDeviceVersion, UNPACK_VERSION);
	if (p->ndevs && p->unpacks != unpacks)
		return rank_fail(r, ERR_OTHER, EXIT_FAIL,
				 "device %s unpacks, or not, unlike the first",
				 name);
	p->unpacks = unpacks;
	return 0;
}

static int add(struct rank *r, char *want)
{
	struct plugin *p = &r->plugin;
	ncclNetProperties_v12_t props;
	size_t used = strlen(p->names);
	int dev = -1, err;

	err = strchr(want, '+') ? bond(r, want, &dev) : find(r, want, &dev);
	err = err ? err : read_properties(r, dev, &props);
	err = err ? err : check_type(r, &props);
	if (err)
		return err;
	snprintf(p->names + used, sizeof(p->names) - used, "%s%s",
		 p->ndevs ? "," : "", props.name ? props.name : "(no name)");
	p->ptr_support = p->ndevs ? p->ptr_support & props.ptrSupport :
				    props.ptrSupport;
	p->speed += props.speed;
	p->devs[p->ndevs++] = dev;
	return 0;
}

/* The rank's part of a list with slashes; the last one is also the others'. */
static char *part_of(const char *list, int rank)
{
	const char *slash;

	while (rank-- > 0 && (slash = strchr(list, '/')))
		list = slash + 1;
	return strndup(list, strcspn(list, "/"));
}

int devices_pick(struct rank *r)
{
	char *list = part_of(r->o->device ? r->o->device : "0", r->rank), *at;
	int err = list ? 0 :
			 rank_fail(r, ERR_OTHER, EXIT_FAIL, "out of memory");

	for (char *want = err ? NULL : strtok_r(list, ",", &at);
	     want && !err && r->plugin.ndevs < MAX_DEVICES;
	     want = strtok_r(NULL, ",", &at))
		err = add(r, want);
	if (!err && !r->plugin.ndevs)
		err = rank_fail(r, ERR_OTHER, EXIT_USAGE,
				"--device: want a name or a number");
	free(list);
	return err;
}

int plugin_device(const struct plugin *p, int channel)
{
	return p->devs[channel % p->ndevs];
}
