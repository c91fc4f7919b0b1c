# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Strangers on the ports that the plugin listens on neither join nor stall nor
# fail an all-reduce.

# Connects to whatever listens at the address, over and over, until killed:
# rubbish, silence, half a word, HTTP. Ports are read from /proc/PID/net/tcp.
# Prints a dot for each connection.
# shellcheck disable=SC2016
strangers='
use Socket;
my ($pid, $address) = @ARGV;
my @say = ("\xff" x 300, "", "n", "GET / HTTP/1.0\r\n\r\n");
my @open;
$SIG{PIPE} = "IGNORE";
$| = 1;
for (my $n = 0; ; ) {
	open(my $table, "<", "/proc/$pid/net/tcp") or exit 1;
	for (<$table>) {
		/^\s*\d+: \w+:(\w+) \w+:0000 0A / or next;
		socket(my $s, PF_INET, SOCK_STREAM, 0) or next;
		connect($s, sockaddr_in(hex($1), inet_aton($address))) or next;
		syswrite($s, $say[$n++ % @say]);
		print ".";
		push @open, $s;
		shift @open if @open > 40;
	}
	close($table);
	select(undef, undef, undef, 0.001);
}'

unaffected()
{
	local dots=$run_dir/dots i began=$SECONDS anchor pid

	make_pair
	# A long way, so that strangers have time to come before the peer does.
	for i in a b; do
		echo 5000 >"/sys/kernel/debug/dmsim/dm0$i/delay_us"
	done
	ip netns exec h0 sleep 1000 &
	anchor=$!
	ip netns exec h0 perl -e "$strangers" "$anchor" 10.0.0.1 >"$dots" &
	pid=$!
	for ((i = 0; i < 5; i++)); do
		bench allreduce --ranks 2 --channels 4 -b 64K -e 256K -f 4 -n 2 -w 1
		expect_right
		expect_devmem
	done
	kill -KILL $pid $anchor
	wait $pid $anchor 2>/dev/null
	echo "$(wc -c <"$dots") strangers in $((SECONDS - began)) s"
	[ "$(wc -c <"$dots")" -ge 20 ] ||
		fail "only $(wc -c <"$dots") strangers came: this shows nothing"
}
t "garbage and silence while ranks connect" 120 unaffected
