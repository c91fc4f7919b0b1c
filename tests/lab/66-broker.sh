# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Jobs without any capability, by the broker: the path is root's, whoever is killed
# leaves nothing, and nobody gets at what is another's.

devmemd=${LAB_BUILD-}/tools/devmemd
try=${LAB_BUILD-}/tests/lab/broker-try
policy=${run_dir-}/policy
user_a=1001 user_b=1002

# A broker in a host; its pid in ${broker[HOST]}.
declare -A broker
start_broker()	# HOST
{
	local before

	touch "$run_dir/$1.log"
	before=$(grep -c ready "$run_dir/$1.log")
	ip netns exec "$1" "$devmemd" --socket "$run_dir/$1.sock" \
		--policy "$policy" --state "$run_dir/$1.state" \
		--guard "${guard:-$NCCL_DEVMEM_GUARD}" 2>>"$run_dir/$1.log" &
	broker[$1]=$!
	wait_for 5 ready "$1" "$before" || fail "the broker of $1 does not start"
}
ready() { [ "$(grep -c ready "$run_dir/$1.log")" -gt "$2" ]; }

# shellcheck disable=SC2317
end_brokers()
{
	jobs -p | xargs -r kill -KILL 2>/dev/null
	cat "$run_dir"/h?.log 2>/dev/null
	rm -rf "$run_dir"/h?.log "$run_dir"/h?.sock "$run_dir"/h?.state
}

kill_broker()	# SIGNAL HOST
{
	kill "-$1" "${broker[$2]}"
	wait "${broker[$2]}" 2>/dev/null
}

prepare()	# [option...]
{
	make_pair "$@"
	start_brokers
}

start_brokers()
{
	trap end_brokers EXIT
	chmod 666 /dev/udmabuf
	rm -f "$run_dir"/h?.log
	cat >"$policy" <<END
# two queues of a job, for user A
allow user $user_a nic dm* queues 2
END
	start_broker h0
	start_broker h1
}

# As bench, but with a process of that user's in each host; as jobs: does not wait.
ranks=()
user_start()	# UID MODE ARG...
{
	local i bootstrap=10.0.0.1:7000

	[ -n "$(ip -n h0 -4 address show scope global)" ] ||
		bootstrap='[fd00::1]:7000'
	for i in 1 0; do
		NCCL_DEVMEM_BROKER=$run_dir/h$i.sock ip netns exec "h$i" \
			setpriv --reuid "$1" --regid "$1" --clear-groups \
			--bounding-set -all --inh-caps -all --no-new-privs \
			"$devmem_bench" "$2" --plugin "$plugin" --ranks 2 \
			--rank $i --bootstrap "$bootstrap" --timeout 60 \
			"${@:3}" >"$run_dir/rank$i" 2>&1 &
		ranks[i]=$!
	done
}

user_wait()
{
	status=0
	wait "${ranks[1]}" 2>/dev/null
	wait "${ranks[0]}" 2>/dev/null || status=$?
	cat "$run_dir"/rank[01] >"$log"
	cat "$log"
}

user_bench() { user_start "$@"; user_wait; }

quiet_soon() { wait_for 2 nics_quiet || { check_nics; fail "$1"; }; }

opened() { sed -n 's/^\[rank \([0-9]\)\] INFO NET.devmem path \(....\) open/\1 \2/p' "$log" | sort; }

as_root_has_it()
{
	local with_root words=(-b 64K -e 1M -f 4 -n 3 -w 1 --debug)

	prepare "$@"
	bench allreduce --ranks 2 "${words[@]}"
	expect_right
	expect_devmem
	with_root=$(opened)
	[ "$(wc -l <<<"$with_root")" = 4 ] || fail "want 4 path lines"
	quiet_soon "root has left something"

	user_bench $user_a allreduce "${words[@]}"
	expect_right
	expect_devmem
	expect_sent
	[ "$(grep -c 'bound by the broker' "$log")" = 2 ] ||
		fail "no line says that the broker was used"
	[ "$(opened)" = "$with_root" ] ||
		fail "not root's path lines: $with_root"
	! grep -q ' WARN ' "$log" || fail "there is a warning"
	quiet_soon "the job has left something"
}
t "the path is root's" 60 as_root_has_it
t "the path is root's, IPv6" 60 as_root_has_it addr=6

# Flows of a device of two NICs arrive at sockets that are bound to one each.
two_nics()
{
	two_cables
	start_brokers
	export NCCL_NET_FORCE_MERGE="dm0a,dm1a;dm0b,dm1b"
	user_bench $user_a allreduce -b 64K -e 1M -f 4 -n 2 -w 1 --device 0+1
	expect_right
	expect_devmem
	expect_sent
	[ "$(grep -c 'bound by the broker' "$log")" -le 4 ] || fail "too many leases"
	quiet_soon "the job has left something"
}
t "two NICs as one device" 60 two_nics

# As the job sees it: without the broker its want of privilege is the fault.
doctor()
{
	local doctor=(setpriv --reuid $user_a --regid $user_a --clear-groups
		      --bounding-set -all --inh-caps -all
		      "$LAB_BUILD/tools/devmemctl" doctor --all dm0a)

	prepare
	export NCCL_NET_PLUGIN=devmem LD_LIBRARY_PATH=$LAB_BUILD/plugin
	NCCL_DEVMEM_BROKER=$run_dir/h0.sock in_host h0 "${doctor[@]}" >"$log" || true
	cat "$log"
	grep -q "by the broker at $run_dir/h0.sock" "$log" ||
		fail "it does not see the broker"
	grep -q "^dm0a: receive by devmem: yes" "$log" || fail "it is not live"
	kill_broker KILL h0
	NCCL_DEVMEM_BROKER=$run_dir/h0.sock in_host h0 "${doctor[@]}" >"$log" || true
	cat "$log"
	grep -q "no, because .*needs CAP_NET_ADMIN" "$log" ||
		fail "it does not say what is missing"
	# Root's processes ask a broker as well that they are told of.
	NCCL_DEVMEM_BROKER=$run_dir/h0.sock in_host h0 \
		"$LAB_BUILD/tools/devmemctl" doctor dm0a >"$log" || true
	grep -q "receive .*no, because the broker at .*does not answer" "$log" ||
		{ cat "$log"; fail "it does not see that the broker is missing"; }
}
t "the doctor sees it" 30 doctor

not_in_the_policy()
{
	prepare
	user_bench $user_b allreduce -b 64K -e 64K -n 1 -w 0
	expect_host "does not allow uid $user_b queues of dm0[ab]"
	NCCL_DEVMEM_REQUIRE=rx user_bench $user_b allreduce -b 64K -e 64K -n 1
	grep -q "WARN.*NCCL_DEVMEM_REQUIRE.*does not allow uid $user_b" "$log" ||
		fail "it is not refused"
	check_nics || fail "something was changed"
}
t "a user who is not in the policy" 60 not_in_the_policy

more_than_allowed()
{
	prepare
	NCCL_DEVMEM_QUEUES=3 user_bench $user_a allreduce -b 64K -e 64K -n 1 -w 0
	expect_host "allows uid $user_a 2 queues of dm0[ab]; it has 0, and wants 3"
	check_nics || fail "something was changed"
}
t "more queues than allowed" 60 more_than_allowed

no_broker()
{
	prepare
	kill_broker KILL h0
	kill_broker KILL h1
	user_bench $user_a allreduce -b 64K -e 64K -n 1 -w 0
	expect_host "broker at .* does not answer" "systemctl status devmemd"
}
t "no broker there" 60 no_broker

stopped_broker()
{
	prepare
	kill -STOP "${broker[h0]}" "${broker[h1]}"
	user_bench $user_a allreduce -b 64K -e 64K -n 1 -w 0
	expect_host "broker at .* does not answer"
	kill -CONT "${broker[h0]}" "${broker[h1]}"
	quiet_soon "what came too late has left something"
}
t "a broker that is stopped" 60 stopped_broker

# ---- one user and another ---------------------------------------------------

ask()	# UID ARG...: broker-try in h0; what it says in $said, its status in $status
{
	status=0
	said=$(in_host h0 setpriv --reuid "$1" --regid "$1" --clear-groups \
		--bounding-set -all "$try" "$run_dir/h0.sock" "${@:2}") ||
		status=$?
	echo "$1: ${*:2}: $said ($status)"
}

expect_said()	# STATUS [REGEX]
{
	[ "$status" = "$1" ] || fail "status $status, not $1"
	[[ $said =~ ${2-} ]] || fail "it does not say: $2"
}

# A process of the user's has queues until it is killed: $token, $queues, $holder.
hold()	# UID QUEUES
{
	: >"$run_dir/held"
	ip netns exec h0 setpriv --reuid "$1" --regid "$1" --clear-groups \
		--bounding-set -all "$try" "$run_dir/h0.sock" hold dm0a "$2" \
		>"$run_dir/held" &
	holder=$!
	wait_for 5 test -s "$run_dir/held" || fail "no queues"
	read -r token _ queues <"$run_dir/held"
	queues=${queues#queues=}
}

two_users()
{
	local holders=() one queue location

	prepare
	echo "allow user $user_b nic dm0a queues 2" >>"$policy"
	kill -HUP "${broker[h0]}"
	hold $user_a 2
	holders+=("$holder")
	one=$token queue=${queues%,*}
	[ "$queues" = 7,6 ] || fail "A has queues $queues"

	# B has others, and a token does not make them B's.
	hold $user_b 2
	holders+=("$holder")
	[ "$queues" = 5,4 ] || fail "B has queues $queues"
	ask $user_b status
	expect_said 0 "^uid=$user_b .*queues=5,4$"
	ask 0 status
	[ "$(grep -c '^uid=' <<<"$said")" = 2 ] || fail "root does not see both"
	ask $user_b rule "$one" "$queue" listen 10.0.0.1 6000
	expect_said 1 "no such lease"
	ask $user_a rule "$token" 5 listen 10.0.0.1 6000
	expect_said 1 "no such lease"
	ask $user_a rule "$one" 5 listen 10.0.0.1 6000
	expect_said 1 "queue 5 is not of that lease"
	ask $user_a rule 00000000000000000000000000000000 7 listen 10.0.0.1 6000
	expect_said 1 "no such lease"

	# A rule is for who listens there, and nobody else listens there then.
	ask $user_a rule "$one" "$queue" bound 10.0.0.1 6000
	expect_said 1 "not a TCP socket that listens"
	ask $user_a rule "$one" "$queue" udp 10.0.0.1 6000
	expect_said 1 "not a TCP socket that listens"
	ask $user_a rule "$one" "$queue" unix 10.0.0.1 6000
	expect_said 1 "not a TCP socket that listens"
	ask $user_a rule "$one" "$queue" file 10.0.0.1 6000
	expect_said 1 "not a TCP socket that listens"
	ask $user_a rule "$one" "$queue" listen 10.0.0.2 6000
	expect_said 1 "does not listen on an address of dm0a"
	ask $user_a rule "$one" "$queue" listen 0.0.0.0 6000
	expect_said 1 "does not listen on an address of dm0a"
	ask $user_a rule "$one" "$queue" listen 127.0.0.1 6000
	expect_said 1 "does not listen on an address of dm0a"
	[[ $(nic_state h0 dm0a) == *rules=0* ]] || fail "there is a rule"
	ask $user_a rule "$one" "$queue" listen 10.0.0.1 6000
	expect_said 0 "location="
	location=${said##*location=}
	[[ $(nic_state h0 dm0a) == *rules=1* ]] || fail "there is no rule"
	ask $user_b rule "$token" 5 listen 10.0.0.1 6000
	expect_said 2	# the port is A's, though A does not listen any more
	ask $user_b unrule "$token" "$location"
	expect_said 1 "is not of that lease"
	ask $user_b unrule "$one" "$location"
	expect_said 1 "no such lease"
	ask $user_a unrule "$one" "$location"
	expect_said 0
	ask $user_b rule "$token" 5 listen 10.0.0.1 6000
	expect_said 0

	# Who makes the socket listen no more leaves the port to others.
	ask $user_a rule "$one" "$queue" leave 10.0.0.1 6001
	expect_said 0
	wait_for 2 rules_are 1 || fail "A's rule is there without A's port"

	# A rule whose client has given up before it is made is nobody's.
	kill -STOP "${broker[h0]}"
	ask $user_a give-up "$one" "$queue" listen 10.0.0.1 6002
	expect_said 0
	kill -CONT "${broker[h0]}"
	ask $user_a status	# after the other one, of the same user
	rules_are 1 || fail "a rule is there that nobody asks for any more"

	kill -KILL "${holders[@]}"
	quiet_soon "killed holders have left something"
}
rules_are() { [[ $(nic_state h0 dm0a) == *"rules=$1 "* ]]; }
t "one user and another" 60 two_users

# A process of root's takes queues of a job that has ended, before the broker knows:
# then neither RSS nor the rules there are the broker's to mend.
taken_by_root()
{
	local root i

	prepare
	hold $user_a 2
	ask $user_a rule "$token" 7 listen 10.0.0.1 6000
	expect_said 0
	kill -STOP "${broker[h0]}"
	kill -KILL "$holder"
	wait "$holder" 2>/dev/null
	NCCL_DEVMEM_GUARD=off ip netns exec h0 "$LAB_BUILD/tests/lab/hold" \
		>"$log" 2>&1 &
	root=$!
	wait_for 5 grep -q ready "$log" || fail "root's process gets no queues"
	in_host h0 ethtool -N dm0a flow-type tcp4 dst-ip 10.0.0.1 \
		dst-port 7777 action 7 || fail "no rule"
	in_host h0 "$nicstate" dm0a rules
	kill -CONT "${broker[h0]}"
	wait_for 5 grep -q "lease ends" "$run_dir/h0.log" ||
		fail "the broker does not see that the lease is over"
	ask 0 status
	[[ $(nic_state h0 dm0a) == *bound=6,7* ]] || fail "root's has other queues"
	for i in $(in_host h0 "$nicstate" dm0a indir); do
		[[ $i != [67] ]] || fail "RSS uses bound queue $i"
	done
	rules_are 1 || fail "the rule of root's process is gone"
	kill -TERM $root
	wait $root
	quiet_soon "something is left"
}
t "queues that are taken before the broker knows" 30 taken_by_root

# The socket that keeps the binding is root's, but is of no use.
netlink_socket()
{
	prepare
	ask $user_a again dm0a 1 "$(in_host h0 cat /sys/class/net/dm0a/ifindex)"
	expect_said 1 "with the socket that came: Operation not permitted"
	quiet_soon "something is left"
}
t "the netlink socket is of no other use" 30 netlink_socket

other_namespace()
{
	prepare
	said=$(in_host h1 setpriv --reuid $user_a --regid $user_a --clear-groups \
		"$try" "$run_dir/h0.sock" hold dm0a 1)
	echo "$said"
	[[ $said == *"hung up"* ]] || fail "it is not refused"
	grep -q "is in another network namespace" "$run_dir/h0.log" ||
		fail "the broker does not say why"
}
t "a job in another network namespace" 30 other_namespace

reload()
{
	prepare
	ask $user_b hold dm0a 1
	expect_said 1 "does not allow"
	echo "allow user $user_b nic dm0a" >>"$policy"
	kill -HUP "${broker[h0]}"
	wait_for 5 grep -q "line 3: it must be.*policy stays" "$run_dir/h0.log" ||
		fail "the broker does not say what is wrong"
	hold $user_a 2
	kill -KILL "$holder"
	sed -i '$ s/$/ queues 1/' "$policy"
	kill -HUP "${broker[h0]}"
	wait_for 5 grep -q "read again, 2 lines" "$run_dir/h0.log" ||
		fail "the policy is not read again"
	hold $user_b 1
	kill -KILL "$holder"
	quiet_soon "something is left"

	echo nonsense >"$policy"
	! "$devmemd" --policy "$policy" --check || fail "nonsense is right"
	! in_host h0 "$devmemd" --policy "$policy" --socket "$run_dir/x.sock" \
		--state "$run_dir/x" || fail "it starts with nonsense"
}
t "the policy, read again" 30 reload

# ---- hostile clients --------------------------------------------------------

broker_fds() { find "/proc/${broker[h0]}/fd" -mindepth 1 | wc -l; }
broker_rss() { awk '/^VmRSS:/ { print $2 }' "/proc/${broker[h0]}/status"; }
fds_are() { [ "$(broker_fds)" = "$1" ]; }

hostile()
{
	local what fds rss pids=() i

	prepare
	fds=$(broker_fds)
	for what in garbage half huge empty nofd wrongfd manyfds hangup noread; do
		ask $user_b bad $what
		[ "$status" != 2 ] || fail "$what could not be tried"
		[ "$what" = hangup ] || [ "$status" != 0 ] || fail "$what is taken"
	done
	wait_for 5 fds_are "$fds" || fail "the broker keeps $(broker_fds) descriptors"

	# Many that say nothing, and one that is stopped, keep nobody out.
	for ((i = 0; i < 150; i++)); do
		ip netns exec h0 setpriv --reuid $user_b --clear-groups \
			"$try" "$run_dir/h0.sock" bad silent >/dev/null 2>&1 &
		pids+=($!)
	done
	hold $user_a 1
	kill -STOP "$holder"
	ask $user_a status
	expect_said 0 "^uid=$user_a "
	kill -KILL "${pids[@]}" "$holder"
	wait "${pids[@]}" 2>/dev/null
	wait_for 5 fds_are "$fds" || fail "the broker keeps $(broker_fds) descriptors"
	quiet_soon "something is left"

	rss=$(broker_rss)
	for i in 1 2 3 4 5; do
		ask $((user_a + i % 2)) fuzz 2000 $i
		expect_said 0 "2000 messages"
	done
	wait_for 5 fds_are "$fds" || fail "the broker keeps $(broker_fds) descriptors"
	[ "$(broker_rss)" -le $((rss + 512)) ] ||
		fail "the broker grew from $rss to $(broker_rss) KiB"
	quiet_soon "something is left"
	user_bench $user_a allreduce -b 64K -e 64K -n 1 -w 0
	expect_right
	expect_devmem
	quiet_soon "something is left"
}
t "hostile clients" 240 hostile

# ---- killed at any moment ---------------------------------------------------

someone_killed()	# job, broker, both, or for-good: nobody starts the broker again
{
	local round i delay

	prepare
	RANDOM=7
	for round in 1 2 3 4 5; do
		user_start $user_a allreduce -b 1M -e 1M -n 15 -w 1
		delay=$((RANDOM % 1500))
		sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
		echo "round $round: after $delay ms"
		[ "$1" = broker ] || kill -KILL "${ranks[@]}" 2>/dev/null
		if [ "$1" != job ]; then
			kill_broker KILL h0
			kill_broker KILL h1
		fi
		if [ "$1" = broker ]; then
			user_wait
			expect_right
		fi
		for i in 0 1; do
			wait "${ranks[i]}" 2>/dev/null
			[[ $1 == @(job|for-good) ]] || start_broker h$i
		done
		quiet_soon "round $round: something is left"
		[ "$1" != for-good ] || { start_broker h0; start_broker h1; }
	done
	user_bench $user_a allreduce -b 64K -e 64K -n 1 -w 0
	expect_right
	expect_devmem
	quiet_soon "something is left"
}
t "the job is killed" 120 someone_killed job
t "the broker is killed" 120 someone_killed broker
t "job and broker are killed" 120 someone_killed both
t "job and broker are killed for good" 120 someone_killed for-good

# A process goes on to make connections by devmem, whatever befalls the broker.
started_anew()	# SIGNAL...
{
	local signal reconnect

	prepare
	NCCL_DEVMEM_BROKER=$run_dir/h1.sock \
		"$LAB_BUILD/tests/lab/reconnect" h1 h0 30 $user_a >"$log" 2>&1 &
	reconnect=$!
	for signal in "$@"; do
		sleep 0.7
		kill_broker "$signal" h1
		sleep 0.2
		start_broker h1
	done
	status=0
	wait $reconnect || status=$?
	cat "$log"
	expect_status 0
	grep -q '^connection 29$' "$log" || fail "there were fewer connections"
	[ "$(grep -c 'leases are taken up' "$run_dir/h1.log")" = $# ] ||
		fail "not every broker has taken the lease up"
	quiet_soon "something is left"
}
t "a broker that is started anew, killed" 60 started_anew KILL KILL KILL
t "a broker that is started anew, ended" 60 started_anew TERM TERM

# Killed between making a rule and noting it, of which only the NIC knows then.
rule_not_noted()
{
	local location

	prepare
	hold $user_a 2
	ask $user_a rule "$token" 7 listen 10.0.0.1 6000
	expect_said 0 "location="
	location=${said##*location=}
	kill_broker KILL h0
	sed -i '/^rule /d' "$run_dir/h0.state/devmemd.leases"
	start_broker h0
	ask $user_a rule "$token" 6 listen 10.0.0.1 6000
	expect_said 0 "location=$location\$"
	[[ $(nic_state h0 dm0a) == *rules=1* ]] || fail "there are more rules"
	ask $user_a unrule "$token" "$location"
	expect_said 0
	[[ $(nic_state h0 dm0a) == *rules=0* ]] || fail "the rule is still there"
	kill -KILL "$holder"
	quiet_soon "something is left"
}
t "a rule that was made and not noted" 30 rule_not_noted

# The job ends while there is no broker, and no guard; the next one finds out.
ended_meanwhile()
{
	local guard=off

	prepare
	hold $user_a 2
	ask $user_a rule "$token" 7 listen 10.0.0.1 6000
	expect_said 0
	kill_broker KILL h0
	kill -KILL "$holder"
	wait "$holder" 2>/dev/null
	! nics_quiet || fail "nothing was changed that could be restored"
	start_broker h0
	quiet_soon "something is left"
}
t "a job that ends while there is no broker" 30 ended_meanwhile

# One of two jobs ends after the broker was started anew: only its own is undone.
one_of_two()
{
	local first

	prepare
	echo "allow user $user_b nic dm0a queues 2" >>"$policy"
	kill -HUP "${broker[h0]}"
	hold $user_a 2
	first=$holder
	ask $user_a rule "$token" 7 listen 10.0.0.1 6000
	hold $user_b 2
	kill_broker KILL h0
	start_broker h0
	kill -KILL "$first"
	wait_for 2 one_lease || fail "A's lease did not end"
	[[ $(nic_state h0 dm0a) == *bound=4,5* ]] || fail "B's queues are not bound"
	ask $user_b rule "$token" 5 listen 10.0.0.1 6000
	expect_said 0
	kill -KILL "$holder"
	quiet_soon "something is left"
}
one_lease() { ask 0 status; [ "$(grep -c '^uid=' <<<"$said")" = 1 ]; }
t "one of two jobs ends" 30 one_of_two

two_brokers()
{
	prepare
	said=$(in_host h0 "$devmemd" --socket "$run_dir/h0.sock" \
		--policy "$policy" --state "$run_dir/h0.state" 2>&1) &&
		fail "a second one starts"
	[[ $said == *"another devmemd uses it"* ]] || fail "it says: $said"
	said=$(in_host h0 "$devmemd" --socket "$run_dir/h0.sock" \
		--policy "$policy" --state "$run_dir/other" 2>&1) &&
		fail "a second one starts"
	[[ $said == *"another one listens there"* ]] || fail "it says: $said"
	said=$(in_host h0 setpriv --reuid $user_a --clear-groups "$devmemd" \
		--socket "$run_dir/x.sock" --policy "$policy" 2>&1) &&
		fail "it starts without a capability"
	[[ $said == *"CAP_NET_ADMIN is needed"* ]] || fail "it says: $said"
	[ "$(awk '/^CapEff:/ { print $2 }' "/proc/${broker[h0]}/status")" = 0000000000001000 ] ||
		fail "the broker has other capabilities"
	[ "$(awk '/^NoNewPrivs:/ { print $2 }' "/proc/${broker[h0]}/status")" = 1 ] ||
		fail "the broker could get more"
	rm -rf "$run_dir/other"
}
t "starts that are refused" 30 two_brokers
