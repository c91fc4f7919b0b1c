# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What receiving costs beside the data itself.

# Tokens are given back in batches: a call for 256 KiB, not one for each frag.
few_calls()
{
	local calls bytes

	make_pair "$@"
	bench bandwidth --ranks 2 -b 4M -e 4M -n 60 -w 4
	expect_right
	# Rank 1 alone receives payload.
	bytes=$(path_sum devmem)
	calls=$(path_sum dontneed)
	[ "$bytes" -gt 100000000 ] || fail "only $bytes bytes by devmem"
	[ $((calls * 262144)) -le "$bytes" ] ||
		fail "$calls calls of SO_DEVMEM_DONTNEED for $bytes bytes"
}
t "few calls to return tokens" 60 few_calls
t "few calls to return tokens, one frame an MSS" 60 few_calls gro=off

# A connection of 48, beside the pool, on both sides: user memory in KiB, threads,
# CPU time while nothing is asked for.
connection()	# PROGRESS-THREADS
{
	local key figure

	make_pair
	export CLIENT_THREADS=$1
	"$LAB_BUILD/tests/lab/many-conns" h0 h1 48 2 96 2>/dev/null >"$log" ||
		fail "many-conns failed"
	cat "$log"
	for key in more_rss_kib=1024 more_data_kib=1024 fds=160 \
		   threads=$((1 + $1)) idle_ms=10; do
		[ "$(grep -c " ${key%=*}=" "$log")" = 2 ] || fail "no ${key%=*}"
		for figure in $(sed -n "s/.* ${key%=*}=\([0-9-]*\).*/\1/p" "$log"); do
			[ "$figure" -le "${key#*=}" ] || fail "${key%=*} is $figure"
		done
	done
	grep -q '^receiver: .* devmem=48 ' "$log" || fail "not all receive by devmem"
}
t "a connection: memory, files, threads, idle time" 60 connection 0
t "a connection, with progress threads" 60 connection 2

# A connection whose receiver posts nothing, on the same progress thread: half as
# long again at most, where a nap or a turn for nothing would be many times that.
beside()
{
	local ratio

	make_pair
	CLIENT_THREADS=$1 "$LAB_BUILD/tests/lab/beside" h0 h1 5 2>/dev/null >"$log" ||
		fail "beside failed"
	cat "$log"
	ratio=$(sed -n 's/^stalled: .* ratio=\([0-9]*\)\.\([0-9]*\) .*/\1\2/p' "$log")
	[ "${ratio:-9999}" -le 150 ] || fail "a stalled connection costs: $ratio / 100"
}
t "beside a stalled connection" 60 beside 0
t "beside a stalled connection of the same progress thread" 60 beside 1
