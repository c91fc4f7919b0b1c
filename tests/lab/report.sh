# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# report.sh - the page that `lab bench` leaves, of what its runs wrote to a folder:
# results as JSON, or what was printed. For `lab`, on the host.

report_words=()
say_title() { report_words+=(--title "$*"); }
say_note() { report_words+=(--note "$*"); }
say_fact() { [ -z "$2" ] || report_words+=(--fact "$1=$2"); }
say_text() { [ ! -s "$2" ] || report_words+=(--text "$1=$2"); }	# TITLE FILE

note_of_lab()
{
	local what="a kernel that runs as a program (user-mode Linux)"
	local calls=", and a system call costs a hundred times what it costs elsewhere"

	[ "$bed" = uml ] || what="an emulated machine (QEMU)" calls=''
	say_note "The lab is $what, with two hosts in it (network namespaces) and a" \
		"pair of simulated NICs between them. Its CPU does the work of both" \
		"hosts, of the kernel, and of the NICs' DMA engines, whose copies a" \
		"real NIC does not cost$calls. So absolute rates say nothing about" \
		"any hardware. What can be compared are the settings of one run:" \
		"they say what the transport adds to, or saves of, what the kernel" \
		"does by itself."
}

words_of_bench()
{
	say_title "Devmem and plain TCP in the lab"
	note_of_lab
	say_note "The settings: tcp is one plain socket; host our plugin without" \
		"device memory; devmem receives into memory that was given to the" \
		"NIC, and sends from such memory; 2flows the same over two" \
		"connections; nogather leaves the payload where the NIC put it, as" \
		"the last copy is a GPU's to make. In the lab ordinary memory" \
		"(udmabuf) stands in for a GPU's."
}

words_of_host()
{
	say_title "The plugin without devmem, by a bare socket"
	say_note "Everything is on this machine and goes over its loopback: no" \
		"NIC, no device memory. The bare socket is the limit that the" \
		"plugin is held against, measured in turn with it. In the first" \
		"latency that has a socket for each way, as NCCL's connections" \
		"carry messages one way; in the second one socket for both."
}

words_of_cost()	# DIR
{
	say_title "What connections cost"
	note_of_lab
	say_note "One process sends to one other over so many connections. Pairs of" \
		"figures are of the receiver and the sender: KiB resident, open" \
		"files, threads, milliseconds of CPU time in a second in which" \
		"nobody calls."
	say_text "By host memory, on this machine" "$1/here.txt"
	say_text "By devmem, in the lab" "$1/output.txt"
}

words_of_kernel()	# DIR
{
	say_title "The simulated NIC, and what receiving costs the kernel"
	note_of_lab
	say_note "First the simulated NIC (dmsim) in turn with a veth pair, which" \
		"copies nothing: MB/s, more is better. Then what a KiB costs the" \
		"kernel in each way of receiving, less is better: recv into memory," \
		"discard where the bytes are thrown away, which is TCP by itself," \
		"and devmem, where giving the tokens back (return) comes on top." \
		"The second column is what one call asks for."
	say_text "Output" "$1/output.txt"
}

bench_report()	# WHAT DIR FILE COMMAND
{
	local what=$1 dir=$2 file=$3 runs=() commit run

	report_words=()
	"words_of_${what:-bench}" "$dir"
	say_fact "command" "$4"
	commit=$(git -C "$root" describe --always --dirty --exclude='*' 2>/dev/null) || true
	say_fact "commit" "$commit"
	say_fact "machine" "$LAB_MACHINE, $(free -m | awk '/^Mem:/ { print $2 }') MB, load $(cut -d ' ' -f 1 /proc/loadavg) at the end"
	[ "$what" = host ] || say_fact "lab kernel" \
		"$(basename "$(dirname "$kernel")"), of kernel-patches/BASE and the series in kernel-patches/6.12"
	for run in "$dir"/*.json; do
		[ ! -s "$run" ] || runs+=("$run")
	done
	# Results say these themselves.
	if [ ${#runs[@]} = 0 ]; then
		say_fact "date" "$(date -u '+%Y-%m-%d %H:%M UTC')"
		say_fact "environment" "$(env | grep '^NCCL_' | paste -sd ' ')"
	fi
	if [ ${#runs[@]} = 0 ] && [[ " ${report_words[*]} " != *" --text "* ]]; then
		say "there are no results, and so no report"
		return 1
	fi
	mkdir -p "$(dirname "$file")"
	"$LAB_BUILD/bench/devmem-bench" report "$file" "${report_words[@]}" \
		"${runs[@]}" || return
	say "the report is $file"
}
