# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of tests/lab/lib.sh
# lib.sh - what the tests of the kernel share on top of tests/lab/lib.sh: a pair
# of NICs made ready for device memory, and the programs of this folder.

PATH=$LAB_BUILD/tests/lab:$LAB_BUILD/tests/kernel:/usr/sbin:/sbin:$PATH

kt() { "$LAB_BUILD/tests/kernel/kt-$1" "${@:2}"; }	# PROGRAM ARG...

# A NIC whose top two queues are kept free for device memory: flows to port 5201
# go to queue 7, those to port 5202 to queue 6. (Both ends of a flow of the
# programs have the same port.)
steer()	# HOST NIC
{
	local kind

	in_host "$1" "$nicstate" "$2" split on || fail "no header split on $2"
	in_host "$1" ethtool -X "$2" equal 6
	for kind in tcp4 tcp6; do
		in_host "$1" ethtool -N "$2" flow-type $kind dst-port 5201 action 7
		in_host "$1" ethtool -N "$2" flow-type $kind dst-port 5202 action 6
	done >/dev/null
}

# The NICs' IOMMU finds accesses to memory that is not mapped for them. Not all
# simulated NICs have one.
has_iommu()
{
	local answer=$run_dir/has_iommu

	[ -s "$answer" ] || {
		echo "63 iommu=1" >/sys/bus/dmsim/new_pair &&
			echo 63 >/sys/bus/dmsim/del_pair && echo yes || echo no
	} >"$answer" 2>/dev/null
	grep -q yes "$answer"
}

prepare()	# [option of make_pair,...]; iommu=0 for none
{
	local options=()

	IFS=, read -ra options <<<"${1-}"
	[[ ${1-} == *iommu=* ]] || ! has_iommu || options+=(iommu=1)
	make_pair "${options[@]}"
	steer h0 dm0a
	steer h1 dm0b
	resnapshot
}

# The test changes NICs, or takes them away: they are not looked at in the end.
forget_nics() { : >"$nics"; }

# Data may be lost on the way, but nothing may come in its place.
harmless()	# PROGRAM ARG...
{
	local words

	words=$(timeout 5 "$LAB_BUILD/tests/kernel/kt-$1" "${@:2}" 2>&1)
	echo "$words"
	[[ $words != *FAILED* ]] || exit 1
}

want()	# COMMAND...: needed for a test
{
	"$@" >/dev/null 2>&1 || skip "this kernel or system cannot: $*"
}

no_dmabufs() { grep -q '^Total 0 objects' /sys/kernel/debug/dma_buf/bufinfo; }

# A dma-buf that stays has lost a reference to it: of a token, or of an skb. A
# page pool looks once a second whether all has come back.
check_left()
{
	wait_for 4 no_dmabufs && return
	echo "left behind: a dma-buf, something still refers to it:"
	cat /sys/kernel/debug/dma_buf/bufinfo
	return 1
}
