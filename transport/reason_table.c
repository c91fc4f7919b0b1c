// SPDX-License-Identifier: BSD-3-Clause
/*
 * reason_table.c - the table of reasons; see reason.h. Commands are those of
 * ethtool 6.x, iproute2 and the shell, to be run in the host's network namespace.
 */
#include "reason.h"

const struct reason reasons[REASON_COUNT] = {
	[REASON_NONE] = { .name = "other", .text = "{detail}", .meaning = "" },

	/* ---- kernel ---- */
	[REASON_KERNEL_NO_NETDEV] = {
		.name = "kernel-no-netdev",
		.text = "the kernel has no \"netdev\" netlink family",
		.remedy = "devmem TCP needs Linux 6.12 or later with "
			  "CONFIG_NET_DEVMEM",
		.meaning = "The kernel is too old, or was built without "
			   "devmem TCP: nothing of it can be had.",
	},
	[REASON_KERNEL_NO_ETHTOOL] = {
		.name = "kernel-no-ethtool",
		.text = "the kernel has no ethtool netlink family",
		.remedy = "CONFIG_ETHTOOL_NETLINK is needed",
		.meaning = "Header split can be neither seen nor turned on.",
	},
	[REASON_BIND_RX_UNSUPPORTED] = {
		.name = "bind-rx-unsupported",
		.text = "the kernel or the driver of {nic} cannot bind memory "
			"to receive queues (CONFIG_NET_DEVMEM, "
			"queue_mgmt_ops){:detail}",
		.meaning = "Payload cannot land in a pool: the NIC's driver "
			   "has no way to give it to a queue.",
	},
	[REASON_BIND_TX_UNSUPPORTED] = {
		.name = "bind-tx-unsupported",
		.text = "the kernel or the driver of {nic} cannot send from "
			"device memory (bind-tx, netmem_tx){:detail}",
		.meaning = "What is in GPU memory is copied to host memory to "
			   "be sent.",
		.warn = true,
	},

	/* ---- the NIC ---- */
	[REASON_NO_INTERFACE] = {
		.name = "no-interface",
		.text = "no network interface that is up, has an address and "
			"fits NCCL_DEVMEM_IFNAME=\"{detail}\"",
		.remedy = "see: ip -brief address",
		.meaning = "The plugin has no device to offer: NCCL goes on "
			   "without it.",
	},
	[REASON_NIC_DOWN] = {
		.name = "nic-down",
		.text = "{nic} is down",
		.remedy = "bring it up:",
		.fix = "ip link set {nic} up",
		.meaning = "The plugin passes over interfaces that are down.",
		.safe = true,
	},
	[REASON_NO_ADDRESS] = {
		.name = "no-address",
		.text = "{nic} has no IP address but link-local ones",
		.remedy = "give it one: ip address add ADDRESS/BITS dev {nic}",
		.meaning = "The plugin passes over interfaces without an "
			   "address.",
	},
	[REASON_NO_CARRIER] = {
		.name = "no-carrier",
		.text = "{nic} has no carrier",
		.remedy = "see to the cable, and the other end",
		.meaning = "Nothing can be sent by it.",
	},
	[REASON_NO_HEADER_SPLIT] = {
		.name = "no-header-split",
		.text = "{nic} has no header split (tcp-data-split)",
		.remedy = "devmem needs a NIC and a driver that have it",
		.meaning = "The NIC cannot put payload elsewhere than headers.",
	},
	[REASON_HEADER_SPLIT_OFF] = {
		.name = "header-split-off",
		.text = "header split is off on {nic} and "
			"NCCL_DEVMEM_NIC_SETUP=manual",
		.remedy = "turn it on:",
		.fix = "ethtool -G {nic} tcp-data-split on{what}",
		.meaning = "The NIC puts payload where headers go, and the "
			   "plugin was told to change no setting.",
		.safe = true,
	},
	[REASON_HDS_THRESH] = {
		.name = "hds-thresh",
		.text = "header split of {nic} begins at {n} bytes "
			"(hds-thresh) and NCCL_DEVMEM_NIC_SETUP=manual",
		.remedy = "have all payload split off:",
		.fix = "ethtool -G {nic} hds-thresh 0",
		.meaning = "Payload of short packets would miss the pool.",
		.safe = true,
	},
	[REASON_FEW_QUEUES] = {
		.name = "few-queues",
		.text = "{nic} has {n} receive queue{what}: one is needed for "
			"other traffic and one or more for the pool",
		.remedy = "see: ethtool -l {nic}",
		.meaning = "A pool takes whole queues: there is none to spare.",
	},
	[REASON_FEWER_QUEUES] = {
		.name = "fewer-queues",
		.text = "{n} of {m} receive queues of {nic} are free, "
			"NCCL_DEVMEM_QUEUES is {k}",
		.remedy = "ask for fewer, or give the NIC more",
		.meaning = "The pool gets fewer queues than asked for, and "
			   "its flows fewer CPUs.",
		.warn = true,
	},
	[REASON_QUEUES_TAKEN] = {
		.name = "queues-taken",
		.text = "all receive queues of {nic} but the first are bound "
			"by others",
		.meaning = "Other jobs have pools on them, which end with "
			   "those jobs.",
	},
	[REASON_NO_STEERING] = {
		.name = "no-flow-steering",
		.text = "{nic} cannot steer flows (ntuple rules){:detail}",
		.meaning = "Payload cannot be sent to the pool's queues.",
	},
	[REASON_NTUPLE_OFF] = {
		.name = "ntuple-off",
		.text = "ntuple filters are off on {nic} and "
			"NCCL_DEVMEM_NIC_SETUP=manual",
		.remedy = "turn them on:",
		.fix = "ethtool -K {nic} ntuple on",
		.meaning = "Payload cannot be steered to the pool's queues, "
			   "and the plugin was told to change no setting.",
		.safe = true,
	},
	[REASON_NO_RSS] = {
		.name = "no-rss-table",
		.text = "{nic} has no RSS indirection table{:detail}",
		.remedy = "other traffic cannot be kept off the pool's queues",
		.meaning = "Packets of others would take the pool's memory.",
	},
	[REASON_RSS_USES_QUEUE] = {
		.name = "rss-uses-queue",
		.text = "RSS of {nic} uses queue {n}, which the pool is to "
			"have",
		.remedy = "keep it off:",
		.fix = "ethtool -X {nic} equal {m}",
		.meaning = "Packets of others would take the pool's memory, "
			   "and the plugin was told to change no setting.",
		.safe = true,
	},
	[REASON_XDP_ATTACHED] = {
		.name = "xdp-attached",
		.text = "an XDP program is attached to {nic}",
		.remedy = "whoever put it there may take it off:",
		.fix = "ip link set {nic} {what} off",
		.meaning = "XDP, and AF_XDP with it, reads packets with the "
			   "CPU: the kernel binds no memory to such a NIC.",
	},
	[REASON_SG_OFF] = {
		.name = "sg-off",
		.text = "scatter-gather of {nic} is off",
		.remedy = "turn it on:",
		.fix = "ethtool -K {nic} sg on",
		.meaning = "The kernel then copies all that is sent, and what "
			   "is in device memory it cannot.",
		.safe = true,
	},
	[REASON_PACKING] = {
		.name = "bad-packing",
		.text = "{nic} does not aggregate, and a segment of {n} bytes "
			"(MTU {m}) fills {k} % of the pages that it takes",
		.remedy = "have it aggregate, or pick an MTU that fits",
		.meaning = "Each segment begins on a page of its own: the "
			   "rest of the pool lies idle, and each page is one "
			   "more piece to gather.",
		.warn = true,
	},
	[REASON_SETTINGS_LEFT] = {
		.name = "settings-left",
		.text = "a process that died has left settings of {nic} "
			"changed ({detail})",
		.remedy = "the next one restores them",
		.meaning = "Header split, RSS or rules are not as their owner "
			   "had them; no memory is bound.",
		.warn = true,
		.safe = true,
	},
	[REASON_SETTINGS_LOCKED] = {
		.name = "settings-locked",
		.text = "another process holds {detail} and does not let go: "
			"it is changing settings of {nic}, or is stopped",
		.meaning = "Nobody else can set the NIC up meanwhile.",
	},
	[REASON_ARP_FLUX] = {
		.name = "arp-flux",
		.text = "{nic} and {detail} are in one IP network, and each "
			"answers for the other's address",
		.remedy = "have each answer for its own, and route by source:",
		.fix = "sysctl -w net.ipv4.conf.all.arp_ignore=1",
		.meaning = "Payload arrives at another NIC than the one that "
			   "it is steered on, and part of it in host memory.",
		.warn = true,
	},

	/* ---- the pool and its memory ---- */
	[REASON_POOL_TOO_SMALL] = {
		.name = "pool-too-small",
		.text = "a pool of {n} pages is too small: the rings of {m} "
			"queues of {nic} hold up to {k}",
		.remedy = "set NCCL_DEVMEM_POOL_BYTES to {bytes} or more, or "
			  "shrink the rings: ethtool -G {nic} rx N",
		.fix = "export NCCL_DEVMEM_POOL_BYTES={bytes}",
		.meaning = "Rings keep pages to themselves: none would be "
			   "left for payload on its way.",
	},
	[REASON_POOL_OVER_MEMORY] = {
		.name = "pool-over-memory",
		.text = "a pool of {n} bytes does not fit the {m} bytes of "
			"memory available",
		.remedy = "set NCCL_DEVMEM_POOL_BYTES lower",
		.fix = "unset NCCL_DEVMEM_POOL_BYTES",
		.meaning = "Pinning more than there is would have the kernel "
			   "kill processes.",
	},
	[REASON_NO_UDMABUF] = {
		.name = "no-udmabuf",
		.text = "there is no /dev/udmabuf",
		.remedy = "the kernel needs CONFIG_UDMABUF",
		.fix = "modprobe udmabuf",
		.meaning = "Host memory cannot be made a dma-buf, which "
			   "NCCL_DEVMEM_REGION=udmabuf asks for.",
		.safe = true,
	},
	[REASON_NO_UDMABUF_NODE] = {
		.name = "no-udmabuf-node",
		.text = "there is no /dev/udmabuf, but the kernel has udmabuf",
		.remedy = "make the device node, as in a container that was "
			  "given none:",
		.fix = "mknod -m 600 /dev/udmabuf c {n} {m}",
		.meaning = "Host memory cannot be made a dma-buf, which "
			   "NCCL_DEVMEM_REGION=udmabuf asks for.",
		.safe = true,
	},
	[REASON_UDMABUF_DENIED] = {
		.name = "udmabuf-denied",
		.text = "/dev/udmabuf: {detail}",
		.remedy = "run as root or grant access to it",
		.meaning = "Host memory cannot be made a dma-buf, which "
			   "NCCL_DEVMEM_REGION=udmabuf asks for.",
	},
	[REASON_UDMABUF_LIMIT] = {
		.name = "udmabuf-limit",
		.text = "a pool of {n} bytes exceeds udmabuf's limit of {m} "
			"MiB",
		.remedy = "set NCCL_DEVMEM_POOL_BYTES lower or load udmabuf "
			  "with a larger size_limit_mb",
		.fix = "echo {k} >/sys/module/udmabuf/parameters/size_limit_mb",
		.meaning = "The kernel makes no dma-buf of that size of host "
			   "memory.",
		.safe = true,
	},
	[REASON_REGION_NONE] = {
		.name = "region-none",
		.text = "NCCL_DEVMEM_REGION=none",
		.fix = "unset NCCL_DEVMEM_REGION",
		.meaning = "There is to be no pool: payload goes by host "
			   "memory.",
	},

	/* ---- the GPU ---- */
	[REASON_NO_CUDA] = {
		.name = "no-cuda-driver",
		.text = "there is no CUDA driver to load (libcuda.so.1)",
		.meaning = "Without a GPU there is no pool: payload goes by "
			   "host memory.",
	},
	[REASON_CUDA_TOO_OLD] = {
		.name = "cuda-too-old",
		.text = "the CUDA driver is too old: it has no {detail}",
		.remedy = "11.7 or later is needed",
		.meaning = "Memory of the GPU cannot be given to a NIC.",
	},
	[REASON_CUDA_NO_START] = {
		.name = "cuda-does-not-start",
		.text = "the CUDA driver does not start: {detail}",
		.meaning = "Without a GPU there is no pool: payload goes by "
			   "host memory.",
	},
	[REASON_CUDA_NO_GPU] = {
		.name = "no-gpu",
		.text = "the CUDA driver sees no GPU",
		.meaning = "Without a GPU there is no pool: payload goes by "
			   "host memory.",
	},
	[REASON_GPU_NO_CODE] = {
		.name = "no-gpu-code",
		.text = "this build has no code for GPUs: it was made without "
			"nvcc",
		.meaning = "Nothing could take payload out of a pool that is "
			   "on a GPU.",
	},
	[REASON_GPU_ADDRESSES] = {
		.name = "gpu-addresses",
		.text = "{what} does not share its addresses with the CPU",
		.meaning = "The GPU is too old for what is done here.",
	},
	[REASON_GPU_NO_DMABUF] = {
		.name = "gpu-no-dmabuf",
		.text = "the driver of {what} cannot export its memory as a "
			"dma-buf",
		.remedy = "NVIDIA's open kernel modules can, with Linux 5.12 "
			  "or later",
		.meaning = "The NIC cannot be given the GPU's memory.",
	},
	[REASON_GPU_FAR] = {
		.name = "gpu-far",
		.text = "{nic} and {what} have no PCIe switch in common",
		.remedy = "NCCL copies by host memory unless NCCL_NET_GDR_LEVEL"
			  " allows that way",
		.fix = "export NCCL_NET_GDR_LEVEL=SYS",
		.meaning = "Payload crosses the CPU's root complex, which can "
			   "be slower than the NIC.",
		.warn = true,
	},
	[REASON_ACS_REDIRECT] = {
		.name = "acs-redirect",
		.text = "PCIe bridge {detail} sends what {nic} writes to {what} "
			"up to the root complex (ACS)",
		.remedy = "turn that off in the firmware, or until the next "
			  "boot, where no guest relies on it:",
		.fix = "setpci -s {detail} ECAP_ACS+6.w=0:c",
		.meaning = "The short way through the switch is not taken.",
		.warn = true,
	},
	[REASON_IOMMU_TRANSLATES] = {
		.name = "iommu-translates",
		.text = "the IOMMU translates what {nic} writes to {what}",
		.remedy = "boot with iommu=pt if it is slow",
		.meaning = "Each transfer between them goes up to the IOMMU "
			   "first.",
		.warn = true,
	},
	[REASON_BAR1_SMALL] = {
		.name = "bar1-small",
		.text = "BAR1 of {what} is {n} MiB, pools take {m} of it",
		.remedy = "turn on Resizable BAR in the firmware, or set "
			  "NCCL_DEVMEM_POOL_BYTES lower",
		.meaning = "Memory that a NIC is to reach needs room in the "
			   "GPU's BAR1, pools and NCCL's buffers alike.",
		.warn = true,
	},
	[REASON_ONE_STREAM_QUEUE] = {
		.name = "one-stream-queue",
		.text = "CUDA_DEVICE_MAX_CONNECTIONS=1 has all streams share "
			"one queue to the GPU",
		.remedy = "if a run stands still, leave it alone:",
		.fix = "unset CUDA_DEVICE_MAX_CONNECTIONS",
		.meaning = "The gather kernel may wait behind a kernel of "
			   "NCCL's that waits for it.",
		.warn = true,
	},

	/* ---- the host ---- */
	[REASON_NO_PRIVILEGE] = {
		.name = "no-cap-net-admin",
		.text = "{what} {nic} needs CAP_NET_ADMIN",
		.remedy = "run as root or with that capability, or start the "
			  "broker, devmemd(8)",
		.meaning = "The kernel lets only administrators of the network "
			   "bind memory and steer flows.",
	},
	[REASON_NOFILE_SMALL] = {
		.name = "nofile-small",
		.text = "a process may have {n} open files",
		.remedy = "allow more:",
		.fix = "ulimit -n {m}",
		.meaning = "Each connection takes a descriptor for control and "
			   "one for each flow: NCCL may run out of them.",
		.warn = true,
	},
	[REASON_MEMLOCK_SMALL] = {
		.name = "memlock-small",
		.text = "a process without CAP_IPC_LOCK may lock {n} KiB of "
			"memory",
		.remedy = "allow more:",
		.fix = "ulimit -l {what}",
		.meaning = "What is sent by reference counts as locked: beyond "
			   "the limit it is copied, or fails from devices.",
		.warn = true,
	},
	[REASON_OPTMEM_SMALL] = {
		.name = "optmem-small",
		.text = "net.core.optmem_max is {n} bytes",
		.remedy = "set it higher:",
		.fix = "sysctl -w net.core.optmem_max={m}",
		.meaning = "A socket may then have few sends under way whose "
			   "end the kernel has to report: it waits for these.",
		.warn = true,
		.safe = true,
	},
	[REASON_TCP_RMEM_SMALL] = {
		.name = "tcp-rmem-small",
		.text = "the largest receive buffer of TCP (the third number "
			"of net.ipv4.tcp_rmem) is {n} bytes",
		.remedy = "set it higher:",
		.fix = "sysctl -w net.ipv4.tcp_rmem=\"4096 131072 {m}\"",
		.meaning = "The peer may have no more than that under way on "
			   "a flow, which caps its rate.",
		.warn = true,
		.safe = true,
	},
	[REASON_TCP_WMEM_SMALL] = {
		.name = "tcp-wmem-small",
		.text = "the largest send buffer of TCP (the third number of "
			"net.ipv4.tcp_wmem) is {n} bytes",
		.remedy = "set it higher:",
		.fix = "sysctl -w net.ipv4.tcp_wmem=\"4096 65536 {m}\"",
		.meaning = "No more than that can be under way on a flow, "
			   "which caps its rate.",
		.warn = true,
		.safe = true,
	},

	/* ---- NCCL ---- */
	[REASON_BAD_PARAMETER] = {
		.name = "bad-parameter",
		.text = "{detail}",
		.remedy = "take it back:",
		.fix = "unset {what}",
		.meaning = "The plugin refuses to start with such a value.",
	},
	[REASON_EMULATED] = {
		.name = "emulated",
		.text = "NCCL_DEVMEM_RX=emulate",
		.remedy = "leave that to tests:",
		.fix = "unset NCCL_DEVMEM_RX",
		.meaning = "Payload goes by ordinary TCP and is copied as a "
			   "NIC would have put it.",
	},
	[REASON_PLUGIN_NOT_FOUND] = {
		.name = "plugin-not-found",
		.text = "NCCL finds no plugin: {detail}",
		.remedy = "have the loader look where it is",
		.meaning = "NCCL goes by its own transport for sockets.",
	},
	[REASON_PLUGIN_OTHER] = {
		.name = "plugin-other",
		.text = "NCCL loads another plugin: {detail}",
		.remedy = "name this one:",
		.fix = "export NCCL_NET_PLUGIN=devmem",
		.meaning = "The first plugin that starts is the one that is "
			   "used.",
	},
	[REASON_PLUGIN_DISABLED] = {
		.name = "plugin-disabled",
		.text = "NCCL_NET_PLUGIN={detail} has NCCL load no plugin",
		.remedy = "name this one:",
		.fix = "export NCCL_NET_PLUGIN=devmem",
		.meaning = "NCCL goes by its own transport for sockets.",
	},
	[REASON_PLUGIN_ONE_NAME] = {
		.name = "plugin-one-name",
		.text = "there is no libnccl-net.so of ours beside {detail}",
		.remedy = "install both names, or have NCCL count:",
		.fix = "export NCCL_NET_PLUGIN_REF_COUNT=1",
		.meaning = "NCCL 2.28 and 2.29 forget the plugin's name with "
			   "the last communicator, and look for that one.",
		.warn = true,
	},
	[REASON_NCCL_NET_OTHER] = {
		.name = "nccl-net-other",
		.text = "NCCL_NET={detail} has NCCL use another network",
		.remedy = "take it back, or set it to devmem:",
		.fix = "export NCCL_NET=devmem",
		.meaning = "NCCL takes a network of that name only, ours is "
			   "called devmem.",
	},
	[REASON_NCCL_TOO_OLD] = {
		.name = "nccl-too-old",
		.text = "NCCL {detail} is too old",
		.remedy = "2.20 or later is needed",
		.meaning = "It knows none of the plugin's tables.",
	},
	[REASON_NCCL_TOO_NEW] = {
		.name = "nccl-too-new",
		.text = "NCCL {detail} was not tried with this plugin",
		.remedy = "2.20 to 2.30 were",
		.meaning = "NCCL takes older tables as well: it is likely to "
			   "work.",
		.warn = true,
	},
	[REASON_NCCL_IFNAME] = {
		.name = "nccl-ifname",
		.text = "NCCL_SOCKET_IFNAME=\"{detail}\" fits no interface "
			"that is up and has an address",
		.remedy = "take it back:",
		.fix = "unset NCCL_SOCKET_IFNAME",
		.meaning = "NCCL's ranks find each other by such an interface, "
			   "whatever goes by the plugin.",
	},

	[REASON_TRIAL_FAILED] = {
		.name = "trial-failed",
		.text = "{detail}",
		.meaning = "A pool was set up as the plugin does, and that "
			   "failed.",
	},
};
