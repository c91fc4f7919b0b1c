# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# cost.sh - the table of `lab bench cost`, a row for each number of connections and
# flows.

cost_table()	# HOST-OF-RECEIVER HOST-OF-SENDER COMMAND-BEFORE-EACH
{
	local conns flows figures

	echo "# of the receiver and the sender: KiB resident, open files, threads"
	echo
	echo "| connections | flows | set-up, ms each | KiB | files | threads | rules | by devmem | CPU s/GB, both | idle, ms/s |"
	echo "|---|---|---|---|---|---|---|---|---|---|"
	for conns in 1 8 64 256; do
		for flows in 1 4 16; do
			"$3" || return
			figures=$(ulimit -n 16384 2>/dev/null
				"$LAB_BUILD/tests/lab/many-conns" "$1" "$2" \
					"$conns" "$flows" 256 2>/dev/null) || return
			awk -v n="$conns" -v f="$flows" '
				{ for (i = 2; i <= NF; i++) {
					split($i, p, "=")
					v[$1 p[1]] = p[2] } }
				function both(key) { return v["receiver:" key] ", " v["sender:" key] }
				END { printf "| %d | %d | %s | %s | %s | %s | %s | %s | %.2f | %s |\n",
					n, f, v["receiver:setup_ms"], both("rss_kib"),
					both("fds"), both("threads"),
					v["receiver:rules"], v["receiver:devmem"],
					v["receiver:cpu_s_per_gb"] + v["sender:cpu_s_per_gb"],
					both("idle_ms") }' <<<"$figures"
		done
	done
}
