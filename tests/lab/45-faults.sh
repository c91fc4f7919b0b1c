# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2016,SC2154 # for the launcher's shell; lib.sh
# What befalls a run from outside: what passes costs time and no byte, what stays
# ends the run on every rank, soon, with the reason.

# COMMAND runs in the middle of verified traffic, which goes on until it has ended.
survives()	# COMMAND [host option...]
{
	make_pair "${@:2}"
	bench allreduce --ranks 2 -b 1M -e 1M -n 3 -w 1 --check 1 \
		--pause-at-iter 2 --pause-cmd "$1"
	expect_right
	expect_tokens
}

# All processes of the run but one, and that it comes back.
rank1='$(pgrep -n -x devmem-bench)'
t "a rank stopped for 4 s" 60 survives "kill -STOP $rank1; sleep 4; kill -CONT $rank1"
t "the NIC down for 3 s" 60 survives \
	'ip -n h1 link set dm0b down; sleep 3; ip -n h1 link set dm0b up'
t "all packets lost for 3 s" 60 survives \
	'cd /sys/kernel/debug/dmsim && echo 1000000 >dm0a/loss_ppm && sleep 3 &&
	 echo 0 >dm0a/loss_ppm'

broken()	# MS REGEX COMMAND
{
	make_pair
	NCCL_DEVMEM_TIMEOUT=4 bench allreduce --ranks 2 -b 1M -e 1M -n 3 -w 1 \
		--break-cmd "$3" --expect-error-ms "$1"
	expect_status 0
	! grep -q 'saw no error' "$log" || fail "a rank saw no error"
	grep -qE "^# rank [01] saw it after .*($2)" "$log" ||
		fail "no rank says \"$2\""
}

# COMMAND breaks something for good, until REPAIR: then the next run finds all in
# order, and leaves it so.
breaks()	# MS REGEX COMMAND [REPAIR]
{
	broken "$@"
	eval "${4-}"
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
}

# Ports of flows are those that rules name; the rest is control.
rule_port()	# HOST NIC Src|Dest
{
	echo "\$(ip netns exec $1 ethtool -n $2 |
		sed -n \"s/.*$3 port: \([0-9]*\).*/\1/p\" | head -n 1)"
}
in_port=$(rule_port h1 dm0b Dest)
out_port=$(rule_port h0 dm0a Dest)
one_flow="ip netns exec h1 ss -K 'sport = :'$in_port 'dport = :'$(rule_port h1 dm0b Src)"
control="ip netns exec h1 ss -K 'sport != :'$in_port 'dport != :'$out_port"
t "one flow cut" 60 breaks 3000 "receiving payload|sending payload|a flow ended" "$one_flow"
t "control cut" 60 breaks 3000 "control connection|is gone" "$control"
gone='has answered nothing for 4 s|timed out|No route to host|unreachable'
t "all packets lost for good" 60 breaks 15000 "$gone" \
	'cd /sys/kernel/debug/dmsim && echo 1000000 | tee dm0a/loss_ppm >dm0b/loss_ppm' \
	'cd /sys/kernel/debug/dmsim && echo 0 | tee dm0a/loss_ppm >dm0b/loss_ppm'
t "the NIC down for good" 60 breaks 15000 "$gone" \
	'ip -n h1 link set dm0b down' 'ip -n h1 link set dm0b up'
t "the address gone" 60 breaks 15000 "$gone" \
	'ip -n h1 address flush dev dm0b' 'ip -n h1 address add 10.0.0.2/24 dev dm0b'

nic_gone()
{
	broken 15000 "$gone|No such device" 'echo 0 >/sys/bus/dmsim/del_pair'
	: >"$nics"
}
t "the NIC taken away, with the queues" 60 nic_gone

# By whoever: the rest arrives in host memory, and the NIC is as before at the end.
unbound()
{
	make_pair
	timeout 50 "$LAB_BUILD/tests/lab/unbound" h0 h1 || fail "unbound failed"
}
t "the queues unbound under way" 60 unbound
