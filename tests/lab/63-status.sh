# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # expressions are perl's
# shellcheck shell=bash
# devmemctl status: while traffic goes on it names processes, queues, dma-bufs and
# rules, and its counters are those that processes end with; it works on stopped
# processes, for their user only, and cleans up after killed ones.

devmemctl=${LAB_BUILD-}/tools/devmemctl
status_dir=${run_dir-}/status

# Perl's view of a JSON file: prints what EXPRESSION says of $s.
query()	# FILE EXPRESSION
{
	perl -MJSON::PP -0777 -e '
		my $s = JSON::PP->new->decode(scalar <STDIN>);
		print eval $ARGV[0]; die $@ if $@' "$2" <"$1" ||
		fail "not as expected: $1: $2"
}

expect()	# FILE EXPRESSION: it is true
{
	[ "$(query "$1" "($2) ? 'yes' : 'no'")" = yes ] ||
		fail "$1: not true: $2"
}

# All-reduce with FILE as a shell script run in its middle.
paused()	# FILE
{
	bench allreduce --ranks 2 -b 1M -e 1M -n 4 -w 1 --debug \
		--pause-at-iter 2 --pause-cmd "bash $1"
}

# What the script sees: while data moves, and while nothing does.
write_script()
{
	mkdir -p "$status_dir"
	cat >"$status_dir/script" <<END
set -e
cd $status_dir
in_host() { ip netns exec "\$@"; }
in_host h0 $devmemctl status --json >h0.json
in_host h1 $devmemctl status --json >h1.json
in_host h0 $devmemctl status >h0.text
in_host h0 $devmemctl status dm0a >nic.text
in_host h0 $devmemctl status --prometheus >h0.prom
in_host h0 $devmemctl status --json --watch 1 --count 2 </dev/null >watch.json
in_host h0 $devmemctl status --watch=1 -n 2 </dev/null >watch.text
lie=/dev/shm/nccl-devmem-7-7
cp "\$(ls /dev/shm/nccl-devmem-0-* | head -n 1)" \$lie
in_host h0 $devmemctl status --prometheus >lie.prom
rm \$lie
chmod 755 . && ls -l /dev/shm >files
setpriv --reuid 65534 --clear-groups $devmemctl status --json >other.json
! setpriv --reuid 65534 --clear-groups cat /dev/shm/nccl-devmem-* >stolen 2>&1
pids=\$(sed -n 's/^.*nccl-devmem-0-//p' files)
kill -STOP \$pids
in_host h0 $devmemctl status --json >stopped.json
kill -CONT \$pids
END
}

check_view()	# HOST NIC, of two hosts
{
	local file=$status_dir/$1.json queues

	expect "$file" '@{$s->{nics}} == 1'
	expect "$file" '$s->{nics}[0]{name} eq "'"$2"'"'
	expect "$file" '$s->{nics}[0]{header_split} eq "on"'
	expect "$file" '!$s->{nics}[0]{rss_to_bound_queues}'
	queues=$(query "$file" 'join ",", @{$s->{nics}[0]{bindings}[0]{queues}}')
	[ "$queues" = 6,7 ] || fail "$1: queues $queues, not 6,7"
	expect "$file" '@{$s->{nics}[0]{rules}} == 2'
	expect "$file" '!grep { $_->{flow} !~ /^tcp 10\.0\.0\.[12]:\d+ > 10\.0\.0\.[12]:\d+$/ ||
		$_->{queue} < 6 } @{$s->{nics}[0]{rules}}'
	expect "$file" '$s->{nics}[0]{bindings}[0]{pages_in_use} > 0'
	# Both processes; the binding is that of the one with a pool of that id.
	expect "$file" '@{$s->{processes}} == 2'
	expect "$file" '!grep { $_->{life} ne "lives" || $_->{comm} !~ /^devmem-bench/ } @{$s->{processes}}'
	expect "$file" 'do { my $b = $s->{nics}[0]{bindings}[0];
		my ($p) = grep { $_->{pid} == $b->{pid} } @{$s->{processes}};
		grep { $_->{dmabuf} == $b->{dmabuf} && $_->{netns} == $s->{netns} &&
			join(",", sort @{$_->{queues}}) eq "6,7" } @{$p->{pools}} }'
	expect "$file" '!grep { @{$_->{connections}} != 2 } @{$s->{processes}}'
}

# The sum of a counter over processes, of connections of one direction.
sum()	# FILE DIRECTION COUNTER
{
	query "$status_dir/$1" 'my $n = 0; $n += $_->{'"$3"'} for
		grep { $_->{direction} eq "'"$2"'" } map { @{$_->{connections}} }
		@{$s->{processes} || [$s]}; $n'
}

live()
{
	local counter end=0 now pid

	make_pair
	write_script
	export NCCL_DEVMEM_STATS_FILE=$status_dir/end-%p.json
	paused "$status_dir/script"
	expect_right
	expect_devmem
	check_view h0 dm0a
	check_view h1 dm0b
	grep -q 'dma-buf [0-9]*: queues 6,7, .* pid [0-9]* (devmem-bench' "$status_dir/h0.text" ||
		fail "the text does not say whose the queues are"
	grep -q 'rule [0-9]*: tcp .* to queue [67]' "$status_dir/nic.text" ||
		fail "the text has no rules"

	# What they ended with is what the path lines say, and more than before.
	for counter in devmem frags tokens returned; do
		case $counter in
		devmem) now=bytes_devmem ;;
		frags) now=frags ;;
		tokens) now=tokens_received ;;
		returned) now=tokens_returned ;;
		esac
		end=0
		for pid in $(query "$status_dir/h0.json" 'join " ", map { $_->{pid} } @{$s->{processes}}'); do
			end=$((end + $(sum "end-$pid.json" recv $now)))
		done
		[ "$end" = "$(path_sum $counter)" ] ||
			fail "$counter: $end in the files, $(path_sum $counter) in the path lines"
		[ "$(sum h0.json recv $now)" -gt 0 ] && [ "$(sum h0.json recv $now)" -lt "$end" ] ||
			fail "$counter: $(sum h0.json recv $now) in the middle, $end at the end"
	done
	# Each receiver by devmem was timed in all three ways, each sender in both.
	expect "$status_dir/h0.json" '!grep { my $t = $_->{times};
		grep { !$t->{$_}{count} } $_->{direction} eq "recv" ?
			qw(token_hold gather completion) : qw(grant_wait completion)
		} map { @{$_->{connections}} } @{$s->{processes}}'
	[ -z "$(ls /dev/shm)" ] || fail "left behind: $(ls /dev/shm)"
}
t "queues, rules, owners and counters of a run" 60 live

# A parser of Prometheus's text format, as strict as that format is. Names have
# HELP and TYPE before them, once; samples of one are together; labels are
# escaped; buckets grow up to +Inf, which is the count.
prometheus()
{
	perl -e '
	my (%type, %done, %seen, $now, %last, %inf);
	while (<STDIN>) {
		chomp;
		die "line $.: $_: $!" if /[^\x20-\x7e]/;
		if (/^# HELP ([a-z_]+) \S.*$/) {
			die "again: $1" if $done{$1}++;
			$now = $1; next;
		}
		if (/^# TYPE ([a-z_]+) (counter|gauge|histogram)$/) {
			die "TYPE of $1 in $now" unless $1 eq $now && !$type{$1};
			$type{$1} = $2; next;
		}
		my ($name, $labels, $v) =
			/^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?[0-9.]+(?:e[-+]?[0-9]+)?)$/
			or die "line $.: no sample: $_";
		my $t = $type{$now} or die "no TYPE: $_";
		my $base = $name;
		$base =~ s/_(bucket|sum|count)$// if $t eq "histogram";
		die "$name among those of $now" unless $base eq $now;
		die "counter $name" if $t eq "counter" && $name !~ /_total$/;
		die "twice: $_" if $seen{"$name $labels"}++;
		next unless $t eq "histogram";
		if ($name =~ /_bucket$/) {
			$labels =~ s/(?:^|,)le="([^"]*)"// or die "no le: $_";
			my $le = $1;
			my $l = $last{"$base $labels"} ||= [-1, 0];
			die "buckets shrink: $_" if $v < $l->[1];
			die "le falls: $_" unless $le eq "+Inf" || $le > $l->[0];
			$last{"$base $labels"} = [$le eq "+Inf" ? 9e99 : $le, $v];
			$inf{"$base $labels"} = $v if $le eq "+Inf";
		} elsif ($name =~ /_count$/) {
			die "count: $_" unless $v == $inf{"$base $labels"};
		}
	}
	die "too little" if keys %type < 15;
	' <"$1" || fail "not Prometheus's format: $1"
}

views()
{
	make_pair
	write_script
	paused "$status_dir/script"
	expect_right
	prometheus "$status_dir/h0.prom"
	# One that claims to be the same process: no series is there twice.
	prometheus "$status_dir/lie.prom"
	grep -q 'file="7-7"' "$status_dir/lie.prom" || fail "the lie is not there"
	grep -q '^nccl_devmem_bound_queues{nic="dm0a"} 2$' "$status_dir/h0.prom" ||
		fail "no queues there"
	grep -q '^nccl_devmem_completion_seconds_bucket{.*direction="recv",.*le="+Inf"} [1-9]' \
		"$status_dir/h0.prom" || fail "no histogram there"
	# Two views: two lines of JSON, the second with rates; two headings.
	[ "$(wc -l <"$status_dir/watch.json")" = 2 ] || fail "not two lines of JSON"
	tail -n 1 "$status_dir/watch.json" >"$status_dir/second.json"
	expect "$status_dir/second.json" '$s->{interval_s} >= 1'
	expect "$status_dir/second.json" 'grep { $_->{bytes_per_s} > 0 } map { @{$_->{rates}} } @{$s->{processes}}'
	[ "$(grep -c 'every 1 s$' "$status_dir/watch.text")" = 2 ] || fail "not two views"
	! grep -q $'\033' "$status_dir/watch.text" || fail "escapes in a file"
	grep -q 'now .*/s, ' "$status_dir/watch.text" || fail "no rates"
	# Stopped, it is seen as before.
	expect "$status_dir/stopped.json" '@{$s->{processes}} == 2'
	# Another user sees nothing of it, but whatever the kernel tells everybody.
	grep -q '^-rw------- 1 root' "$status_dir/files" || fail "files are not root's alone"
	expect "$status_dir/other.json" '@{$s->{processes}} == 0'
	! grep -q NCDVSTAT "$status_dir/stolen" || fail "another user read a file"
}
t "watching, Prometheus, stopped, another user" 60 views

killed()
{
	make_pair
	bench allreduce --ranks 2 -b 2M -e 2M -n 3 -w 1 --kill-rank 1 \
		--kill-after-ms 150 --expect-error-ms 2000
	expect_status 0
	[ "$(ls /dev/shm | wc -l)" = 1 ] || fail "not one file: $(ls /dev/shm)"
	mkdir -p "$status_dir"
	"$devmemctl" status --json >"$status_dir/after.json"
	expect "$status_dir/after.json" '$s->{stale_removed} == 1 && !@{$s->{processes}}'
	[ -z "$(ls /dev/shm)" ] || fail "still there: $(ls /dev/shm)"
	# And without it, the next process of ours does the same.
	bench allreduce --ranks 2 -b 2M -e 2M -n 3 -w 1 --kill-rank 1 \
		--kill-after-ms 150 --expect-error-ms 2000
	expect_status 0
	bench allreduce --ranks 2 -b 64K -e 64K -n 2 -w 1
	expect_right
	[ -z "$(ls /dev/shm)" ] || fail "left behind: $(ls /dev/shm)"
	check_nics || fail "settings are not as before"
}
t "a process that was killed" 60 killed

# No room for files, none wanted, something else in their place: it runs.
without()
{
	local pid

	make_pair
	mount -o remount,size=16k /dev/shm
	bench allreduce --ranks 2 -b 64K -e 1M -f 4 -n 2 -w 1 --debug
	mount -o remount,size=50% /dev/shm
	expect_right
	expect_devmem
	grep -q 'will not see this process: a file in /dev/shm: No space' "$log" ||
		fail "it does not say that there is no room"
	NCCL_DEVMEM_STATS=off bench allreduce --ranks 2 -b 64K -e 1M -n 2 -w 1 \
		--pause-at-iter 1 --pause-cmd "ls /dev/shm >$run_dir/shm"
	expect_right
	[ ! -s "$run_dir/shm" ] || fail "files though they are off"
	# Lies of another user: not shown to root as a process's own.
	setpriv --reuid 65534 --clear-groups sh -c 'head -c 200000 /dev/urandom >/dev/shm/nccl-devmem-0-1; ln -s /etc/passwd /dev/shm/nccl-devmem-0-2; mkfifo /dev/shm/nccl-devmem-0-3'
	"$devmemctl" status --json >"$run_dir/lies.json" || fail "status failed"
	expect "$run_dir/lies.json" '!@{$s->{processes}} && $s->{unreadable} == 1'
	rm /dev/shm/nccl-devmem-*
	! "$devmemctl" status nosuch 2>/dev/null || fail "there is no such interface"
}
t "no room, not wanted, lies" 60 without
