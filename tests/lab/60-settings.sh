# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A NIC is left as it was found, whatever it was found like, also when several
# processes share it and whichever ends last. (That the settings are as before
# after every other test, too, is checked by tests/lab/run.)

default_settings()
{
	make_pair
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
	check_nics || fail "settings are not as before"
}
t "default settings" 30 default_settings

own_settings()
{
	make_pair
	in_host h0 "$nicstate" dm0a split on
	in_host h0 ethtool -X dm0a weight 1 0 3 0 2 0 1 1
	in_host h0 ethtool -G dm0a rx 128
	in_host h1 ethtool -N dm0b flow-type tcp4 dst-port 9 action 3 loc 7
	in_host h1 ethtool -X dm0b equal 8
	resnapshot
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
	check_nics || fail "settings are not as before"
}
t "settings and a rule of somebody else" 30 own_settings

ntuple_off()
{
	make_pair
	in_host h0 ethtool -K dm0a ntuple off
	in_host h1 ethtool -K dm0b ntuple off
	resnapshot
	[[ $(nic_state h0 dm0a) == *ntuple=off* ]] || skip "ntuple cannot be turned off"
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
	check_nics || fail "settings are not as before"
}
t "ntuple filters off" 30 ntuple_off

opened() { [ "$(grep -c '^.rank .*path recv open' "$1" 2>/dev/null)" = 2 ]; }

# Two runs over the same pair of NICs, which overlap: each goes on until the other
# is there, and the one that is to end last until the other has ended.
shared()	# LAST: 0 or 1, the run that ends last
{
	local i pids=() queues there

	rm -f "$run_dir"/log.[01] "$run_dir"/ended.[01]
	make_pair
	for i in 0 1; do
		# For sh, which has none of our functions.
		there="[ \"\$(grep -c '^.rank .*path recv open' $run_dir/log.$((1 - i)) 2>/dev/null)\" = 2 ]"
		[ "$1" != "$i" ] || there="[ -e $run_dir/ended.$((1 - i)) ]"
		{
			"$devmem_bench" allreduce --plugin "$plugin" \
				--netns "$hosts" --ranks 2 -b 1M -e 1M -w 2 \
				-n 5 --debug --pause-at-iter 1 \
				--pause-cmd "n=0; until $there; do n=\$((n + 1)); [ \$n -lt 400 ] || exit 1; sleep 0.05; done" \
				>"$run_dir/log.$i" 2>&1
			status=$?
			touch "$run_dir/ended.$i"
			exit $status
		} &
		pids+=($!)
		wait_for 10 opened "$run_dir/log.$i" || fail "run $i did not start"
	done
	for i in 0 1; do
		status=0
		wait "${pids[i]}" || status=$?
		log=$run_dir/log.$i
		cat "$log"
		expect_right
		expect_devmem
	done
	queues=$(sed -n 's/.*path recv open nic=dm0a .*queues=\([0-9,]*\).*/\1/p' \
		"$run_dir"/log.[01] | tr , '\n')
	[ "$(wc -w <<<"$queues")" = 4 ] || fail "want 2 queues each, got: $queues"
	[ -z "$(sort <<<"$queues" | uniq -d)" ] ||
		fail "both took the same queue: $queues"
	check_nics || fail "settings are not as before"
}
t "two processes a NIC, the first ends first" 60 shared 1
t "two processes a NIC, the first ends last" 60 shared 0

two_ranks_a_host()
{
	make_pair
	hosts=h0,h1,h0,h1
	bench allreduce --ranks 4 -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
	check_nics || fail "settings are not as before"
}
t "two ranks a host in one ring" 60 two_ranks_a_host

# Both ends of a connection in one host: no NIC is between them.
same_host()
{
	make_pair
	hosts=h0,h0
	bench allreduce --ranks 2 -b 8 -e 256K -f 8 -n 2 -w 1
	expect_host .
	check_nics || fail "settings are not as before"
}
t "both ranks in one host" 30 same_host
