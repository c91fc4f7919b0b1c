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

# User memory of a connection beside the pool, of both sides, in KiB.
memory()
{
	local each

	make_pair
	"$LAB_BUILD/tests/lab/many-conns" h0 h1 48 >"$log" || fail "many-conns failed"
	cat "$log"
	each=$(sed -n 's/.* \([0-9-]*\) KiB a connection.*/\1/p' "$log")
	[ "$(wc -w <<<"$each")" = 4 ] || fail "no figures"
	for each in $each; do
		[ "$each" -le 1024 ] || fail "$each KiB a connection"
	done
}
t "memory of a connection" 60 memory

# Connections that nobody asks anything of take no time, and no thread.
idle()
{
	local ms

	make_pair
	"$LAB_BUILD/tests/lab/many-conns" h0 h1 48 >"$log" || fail "many-conns failed"
	cat "$log"
	[ "$(grep -c ' 48 connections: .* 1 threads' "$log")" = 2 ] || fail "more than one thread"
	for ms in $(sed -n 's/.* idle \([0-9]*\)\.[0-9]* ms.*/\1/p' "$log"); do
		[ "$ms" -le 10 ] || fail "$ms ms in a second of idleness"
	done
}
t "idle connections" 60 idle
