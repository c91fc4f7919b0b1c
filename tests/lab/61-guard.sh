# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# kill -9 at any moment, of one process or of all: within two seconds nothing is
# bound and every NIC is as before, also where others go on with it. Without a
# guard the next start does that, or devmemctl restore.

hold=$LAB_BUILD/tests/lab/hold
devmemctl=$LAB_BUILD/tools/devmemctl
notes=/run/nccl-devmem

guards() { pgrep -x devmem-guard; }
noted() { [ -n "$(ls "$notes" 2>/dev/null)" ]; }

# Every NIC as before, no note of it, no guard that still waits.
all_back() { nics_quiet && ! noted && [ -z "$(guards)" ]; }

expect_all_back()	# WHEN
{
	wait_for 2 all_back && return
	check_nics
	ls "$notes"
	guards
	fail "not all is back: $1"
}

# The seed is that of a run that failed, or of this moment.
random_begin()
{
	seed=${LAB_SEED:-$((${EPOCHREALTIME/./} % 32768))}
	echo "LAB_SEED=$seed"
	RANDOM=$seed
}

sleep_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# A run between the hosts, a process group of its own: job, and its output.
start_job()	# LOG [ARG...]
{
	setsid "$devmem_bench" allreduce --plugin "$plugin" --netns "$hosts" \
		--ranks 2 --timeout 60 -b 64K -e 64K -w 1 --debug "${@:2}" \
		>"$1" 2>&1 &
	job=$!
}

kill_job() { kill -KILL -- "-$1"; wait "$1" 2>/dev/null || :; }

both_open() { [ "$(grep -c '^.rank .*path recv open' "$1" 2>/dev/null)" = 2 ]; }

expect_open()	# LOG
{
	wait_for 10 both_open "$1" || { cat "$1"; fail "the run did not start"; }
}

# One process in h0 that has the NIC: holder.
start_hold()	# [MODE]
{
	rm -f "$log"
	ip netns exec h0 "$hold" "$@" >"$log" 2>&1 &
	holder=$!
	wait_for 10 grep -q '^ready' "$log" ||
		{ cat "$log"; fail "the NIC was not set up"; }
}

kill_hold() { kill -KILL "$holder"; wait "$holder" 2>/dev/null || :; }

# ---- killed ----------------------------------------------------------------

group()
{
	make_pair
	start_job "$log" -n 100000
	expect_open "$log"
	[ "$(guards | wc -l)" = 2 ] || fail "want two guards: $(guards | xargs)"
	! nics_quiet || fail "nothing is changed while it runs"
	kill_job "$job"
	expect_all_back "the process group was killed"
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
}
t "a process group is killed" 60 group

# Of a run as it comes: set-up, traffic, tear-down.
moments()	# ROUNDS all|one
{
	local i took at began

	make_pair
	random_begin
	began=$(now_ms)
	start_job "$log" -n 2
	wait "$job" || fail "the run failed"
	took=$(($(now_ms) - began))
	for ((i = 0; i < $1; i++)); do
		at=$((RANDOM % took))
		start_job "$log" -n 2
		sleep_ms "$at"
		if [ "$2" = all ]; then
			kill_job "$job"
		else
			pkill -KILL -P "$job" -f -n devmem-bench
			wait "$job"
		fi
		expect_all_back "killed at $at of $took ms (round $i)"
	done
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 2 -w 1
	expect_right
	expect_devmem
}
t "all ranks are killed, at any moment" 200 moments 40 all
t "one rank is killed, at any moment" 200 moments 20 one
full "all ranks are killed, at any moment, often" 2000 moments 500 all

# Set-up and restoring alone, again and again, so that most kills meet them.
set_ups()	# ROUNDS
{
	local i at

	make_pair
	random_begin
	for ((i = 0; i < $1; i++)); do
		at=$((RANDOM % 120))
		ip netns exec h0 "$hold" loop >"$log" 2>&1 &
		holder=$!
		sleep_ms "$at"
		kill_hold
		expect_all_back "killed after $at ms (round $i)"
	done
}
t "killed in set-up or while restoring" 200 set_ups 80
full "killed in set-up or while restoring, often" 2000 set_ups 1000

# Its rules go and RSS has its queues again, while the other goes on.
two_jobs()
{
	local first second queues rules

	make_pair
	start_job "$run_dir/log.0" -n 100000
	first=$job
	expect_open "$run_dir/log.0"
	rules=$(in_host h0 "$nicstate" dm0a rules | wc -l)
	start_job "$run_dir/log.1" -n 2 --pause-at-iter 1 --pause-cmd \
		"n=0; until [ -e $run_dir/go ]; do n=\$((n + 1)); [ \$n -lt 400 ] || exit 1; sleep 0.05; done"
	second=$job
	expect_open "$run_dir/log.1"
	queues=$(sed -n 's/.*path recv open nic=dm0a .*queues=\([0-9,]*\).*/\1/p' \
		"$run_dir/log.0" | tr , ' ')
	[ -n "$queues" ] || fail "the first has no queues"
	[ "$(in_host h0 "$nicstate" dm0a rules | wc -l)" -gt "$rules" ] ||
		fail "the second has no rules"
	kill_job "$first"
	# shellcheck disable=SC2317
	given_back()
	{
		local q

		for q in $queues; do
			! in_host h0 "$nicstate" dm0a rules | grep -q " $q\$" ||
				return 1
			in_host h0 "$nicstate" dm0a indir | grep -qw "$q" ||
				return 1
		done
		[ "$(guards | wc -l)" = 2 ]
	}
	wait_for 2 given_back || {
		in_host h0 "$nicstate" dm0a rules
		in_host h0 "$nicstate" dm0a indir
		cat "$notes"/*
		guards
		fail "queues $queues are not given back"
	}
	[[ $(nic_state h0 dm0a) == *split=on*bound=?* ]] ||
		fail "the other's settings are gone: $(nic_state h0 dm0a)"
	touch "$run_dir/go"
	status=0
	wait "$second" || status=$?
	log=$run_dir/log.1
	cat "$log"
	rm -f "$run_dir/go"
	expect_right
	expect_devmem
	expect_all_back "the other has ended"
}
t "one of two jobs on a NIC is killed" 60 two_jobs

# A process that is stopped is not dead.
stopped()
{
	make_pair
	start_hold
	kill -STOP "$holder"
	sleep 1
	[[ $(nic_state h0 dm0a) == *split=on*bound=?* ]] ||
		fail "settings are gone: $(nic_state h0 dm0a)"
	in_host h0 "$devmemctl" restore dm0a
	[ $? = 3 ] || fail "devmemctl restore does not say that it is in use"
	kill -CONT "$holder"
	kill -TERM "$holder"
	wait "$holder" || { cat "$log"; fail "it did not end well"; }
	expect_all_back "an orderly end"
}
t "a process is stopped" 30 stopped

# Open what the parent had open, the queues stay bound; then all is restored.
child()
{
	local child

	make_pair
	start_hold fork
	child=$(sed -n 's/^child //p' "$log")
	kill_hold
	sleep 1
	[[ $(nic_state h0 dm0a) == *split=on*bound=?* ]] ||
		fail "settings are gone: $(nic_state h0 dm0a)"
	kill -KILL "$child"
	expect_all_back "the child is killed, too"
}
t "a child of fork has the queues" 30 child

# What else it has keeps nothing back.
heir()
{
	make_pair
	start_hold heir
	kill_hold
	expect_all_back "the child has no queues"
	kill -KILL "$(sed -n 's/^child //p' "$log")" || fail "there is no child"
}
t "a child of fork has not the queues" 30 heir

becomes_another()
{
	make_pair
	start_hold exec
	expect_all_back "the process is another program"
	kill_hold
}
t "the process becomes another program" 30 becomes_another

# ---- no guard --------------------------------------------------------------

# All at once, and the guards before: everything stays until somebody comes.
guards_killed()	# COMMAND...
{
	make_pair
	start_job "$log" -n 100000
	expect_open "$log"
	guards | xargs -r kill -KILL
	kill_job "$job"
	sleep 1
	! nics_quiet || fail "nothing is left, with no guard"
	noted || fail "nothing is noted"
	"$@"
	expect_all_back "$*"
}

next_start()
{
	bench allreduce --ranks 2 -b 64K -e 64K -n 1 -w 0
	expect_right
	expect_devmem
}
t "guards are killed, the next start restores" 60 guards_killed next_start

restore_by_hand()
{
	in_host h0 "$devmemctl" restore | tee "$log"
	[ "${PIPESTATUS[0]}" = 0 ] || fail "devmemctl restore failed"
	grep -q '^dm0a: restored.*flow rules removed.*RSS.*header split' "$log" ||
		fail "it does not say what it did"
	grep -q '^1 interfaces of other network namespaces' "$log" ||
		fail "it does not say that there is more"
	[ "$(nic_state h0 dm0a)" = "$(sed -n 's/^h0 dm0a //p' "$nics")" ] ||
		fail "dm0a is not as before"
	in_host h1 "$devmemctl" restore dm0b || fail "devmemctl restore dm0b failed"
	in_host h1 "$devmemctl" restore | grep -qx 'nothing to restore' ||
		fail "there is something left"
}
t "guards are killed, devmemctl restores" 60 guards_killed restore_by_hand

no_guard()	# PROGRAM REGEX
{
	make_pair
	export NCCL_DEVMEM_GUARD=$1
	start_job "$log" -n 2 --pause-at-iter 1 \
		--pause-cmd "! pgrep -x devmem-guard"
	wait "$job" || { cat "$log"; fail "the run failed"; }
	status=0
	expect_right
	expect_devmem
	[ "$(grep -cE "INFO NET/devmem no guard .*$2" "$log")" = "$3" ] ||
		{ cat "$log"; fail "want $3 lines that say \"$2\""; }
	check_nics || fail "settings are not as before"
}
t "no such program" 30 no_guard /nowhere/devmem-guard 'No such file' 2
t "a program that is none" 30 no_guard /etc/passwd 'cannot be started' 2
t "a program of another kind" 30 no_guard /bin/true 'ended at once' 2
t "turned off" 30 no_guard off '' 0

others_can_write()
{
	install -m 777 "$NCCL_DEVMEM_GUARD" "$run_dir/open-guard"
	no_guard "$run_dir/open-guard" 'root or this user alone' 2
}
t "a program that others can write" 30 others_can_write

bad_value()
{
	make_pair
	export NCCL_DEVMEM_GUARD=bin/guard
	bench allreduce --ranks 2 -b 64K -e 64K -n 1 -w 0
	expect_refused 'NCCL_DEVMEM_GUARD=bin/guard is not' 'absolute path'
}
t "a program by a relative path" 30 bad_value

unprivileged()
{
	make_pair
	setpriv --bounding-set -net_admin --inh-caps -net_admin \
		"$devmem_bench" allreduce --plugin "$plugin" --netns "$hosts" \
		--ranks 2 -b 64K -e 64K -n 1 -w 0 --debug --pause-at-iter 0 \
		--pause-cmd "! pgrep -x devmem-guard" >"$log" 2>&1 ||
		{ cat "$log"; fail "the run failed"; }
	status=0
	expect_host CAP_NET_ADMIN
	! grep "no guard" "$log" || fail "there is a word of a guard"
	noted && fail "something is noted"
	check_nics || fail "settings are not as before"
}
t "no CAP_NET_ADMIN, no guard" 30 unprivileged

# ---- NICs ------------------------------------------------------------------

down()
{
	make_pair
	start_hold
	ip -n h0 link set dm0a down
	kill_hold
	sleep 1
	noted || fail "what cannot be seen was taken for unbound"
	in_host h0 "$devmemctl" restore | tee "$log"
	[ "${PIPESTATUS[0]}" = 3 ] || fail "devmemctl restore does not say so"
	grep -q '^dm0a: shows no queues' "$log" || fail "nor why"
	ip -n h0 link set dm0a up
	expect_all_back "the NIC is up again"
}
t "a NIC that is down" 30 down

down_force()
{
	make_pair
	start_hold
	guards | xargs -r kill -KILL
	ip -n h0 link set dm0a down
	kill_hold
	in_host h0 "$devmemctl" restore --force || fail "not with --force either"
	ip -n h0 link set dm0a up
	expect_all_back "by force"
}
t "a NIC that is down, by force" 30 down_force

removed()
{
	make_pair
	start_hold
	ip -n h0 link set dm0a down
	kill_hold
	echo 0 >/sys/bus/dmsim/del_pair
	: >"$nics"
	expect_all_back "the NIC has gone"
}
t "a NIC that is taken away" 30 removed

garbage()
{
	local note

	make_pair
	start_hold
	note=$(echo "$notes"/*)
	guards | xargs -r kill -KILL
	kill_hold
	cp "$note" "$run_dir/note"
	echo "version 1" >"$note"
	in_host h0 "$devmemctl" restore
	[ $? = 1 ] || fail "devmemctl restore makes sense of it"
	noted || fail "it is removed without being asked for"
	in_host h0 "$devmemctl" restore --force || fail "nor with --force"
	! noted || fail "it is not removed"
	cp "$run_dir/note" "$note"
	chmod 600 "$note"
	in_host h0 "$devmemctl" restore || fail "the right one is not good either"
	expect_all_back "by the right one"
}
t "a note that makes no sense" 30 garbage
