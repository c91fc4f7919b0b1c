#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# plot_test.sh DEVMEM-BENCH PLUGIN SCRATCH - pictures and pages of short runs over
# loopback: complete, well-formed, of themselves; and what becomes of files that are
# no runs, folders that cannot be written, and a gnuplot that fails or is not there.
set -u
bench=$1
plugin=$2
scratch=$3
hostile='<b>&"x'\'']]>`{/^_\'

fail() { echo "FAILED: $*"; exit 1; }
command -v gnuplot >/dev/null || { echo "SKIP: no gnuplot (gnuplot-nox)"; exit 77; }

if command -v xmllint >/dev/null; then
	well_formed() { xmllint --noout --nonet "$1"; }
elif command -v python3 >/dev/null; then
	well_formed() { python3 -c 'import sys, xml.sax
xml.sax.parse(sys.argv[1], xml.sax.ContentHandler())' "$1"; }
else
	echo "SKIP: neither xmllint nor python3 to check XML with"
	exit 77
fi

rm -rf "$scratch"
mkdir -p "$scratch" && cd "$scratch" || exit 1

run()	# MODE [ARG...]
{
	"$bench" "$1" --plugin "$plugin" --memory host -n 50 --rounds 2 \
		--variant tcp --variant "$hostile:NCCL_DEVMEM_FLOWS=1" \
		--json "$1.json" "${@:2}" >log 2>&1
}

is_picture()	# SVG NUMBER-OF-CURVES
{
	local n

	[ -s "$1" ] || fail "there is no $1"
	well_formed "$1" || fail "$1 is not XML"
	n=$(grep -c '<g id="gnuplot_plot_[0-9]*" *><title>' "$1")
	n=$((n - $(grep -c '<title>gnuplot_plot_[0-9]*</title>' "$1")))
	[ "$n" = "$2" ] || fail "$1 has $n curves, not $2"
}

is_png()
{
	[ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] ||
		fail "$1 is not a PNG file"
	[ "$(stat -c %s "$1")" -gt 5000 ] || fail "$1 is too small a picture"
}

# Nothing in it may come from elsewhere, nor run.
is_page()	# FILE
{
	well_formed "$1" || fail "$1 is not XML"
	! grep -o 'https\?://[^"'\'' <]*' "$1" | grep -v '^http://www.w3.org/' ||
		fail "$1 speaks of another place"
	! grep -oE '(src|href)=["'\''][^#]' "$1" || fail "$1 refers to a file"
	! grep -iE '<(script|link|iframe|img|object)|@import|url\([^#]' "$1" ||
		fail "$1 takes in what is not in it"
}

# ---- a run's own -------------------------------------------------------------

run latency -b 8 -e 32K -f 8 --plot pictures --report latency.html ||
	fail "latency: $(<log)"
run bandwidth -b 64K -e 1M -f 4 --plot pictures || fail "bandwidth: $(<log)"
for name in latency bandwidth; do
	is_picture "pictures/$name.svg" 2
	is_png "pictures/$name.png"
	grep -q '>tcp<' "pictures/$name.svg" || fail "$name: no tcp in the key"
	grep -qF '&lt;b>&amp;"x'\'']] >`{/^_\ (rx=host, tx=host)' "pictures/$name.svg" ||
		fail "$name: the key does not name the variant as it is"
	[ "$(grep -c '^[0-9]' "pictures/$name.dat")" -ge 6 ] ||
		fail "$name.dat lacks figures"
	(cd pictures && rm "$name.svg" && gnuplot "$name.gp") ||
		fail "$name.gp does not run by itself"
	is_picture "pictures/$name.svg" 2
done
is_page latency.html
[ "$(grep -c '<svg' latency.html)" = 1 ] || fail "the page has no picture"
grep -qF '<b>&lt;b&gt;&amp;&quot;x&#39;]]&gt;`{/^_\</b>: ' latency.html ||
	fail "the page does not name the variant as it is"
! grep -F '<b>&"x' latency.html || fail "a name is not escaped"
grep -q '<pre>.*NCCL_DEVMEM_IFNAME=lo .*devmem-bench latency .*--report latency.html</pre>' \
	latency.html || fail "the page lacks the command"

# ---- several -----------------------------------------------------------------

cp latency.json again.json
"$bench" plot both latency.json again.json bandwidth.json || fail "plot: $?"
is_picture both/latency.svg 4
grep -q '>again: tcp<' both/latency.svg || fail "curves do not name their run"
is_picture both/bandwidth.svg 2
printf '# words\n\n| a | b < c |\n|---|---|\n| 1 | 2 & 3 |\n\nplain <text>\n' >text
"$bench" report both.html --title 'A <title>' --fact 'what="that"' \
	--note $'no UTF-8: \xff\xc0\xaf, a control: \x01, a surrogate: \xed\xa0\x80' \
	--text 'Words=text' latency.json bandwidth.json || fail "report: $?"
is_page both.html
[ "$(grep -c '<svg' both.html)" = 2 ] || fail "the page lacks pictures"
grep -q '<th>b &lt; c</th>' both.html || fail "no table from the text"
grep -q '^<pre>plain &lt;text&gt;$' both.html || fail "no text from the text"
[ -z "$(grep -o ' id=.[^ ]*' both.html | sort | uniq -d)" ] ||
	fail "names of one picture are used by another"

# ---- files that are none of a run --------------------------------------------

refused()	# WORDS JSON
{
	printf '%s' "$2" >bad.json
	! "$bench" plot bad bad.json 2>log || fail "taken: $2"
	grep -qE "^devmem-bench: bad.json: .*$1" log || fail "\"$2\": $(<log)"
	! "$bench" report bad.html bad.json 2>log || fail "taken: $2"
	[ ! -e bad.html ] && [ ! -e bad/latency.gp ] || fail "$2 was drawn"
}

ranks='"ranks":[{},{}]'
row() { echo '{"tool":"devmem-bench","mode":"latency","runs":[{'"$ranks"',"rows":['"$1"']}]}'; }

refused 'line [0-9]+' "$(head -c 3000 latency.json)"
refused 'line 1' ''
refused 'no results of devmem-bench' '[1,2]'
refused 'no results of devmem-bench' '{"tool":7}'
refused 'mode "soak" has no curves' '{"tool":"devmem-bench","mode":"soak","runs":[]}'
refused 'there is no list "runs"' '{"tool":"devmem-bench","mode":"latency","runs":{}}'
refused '0 runs' '{"tool":"devmem-bench","mode":"latency","runs":[]}'
refused 'there are 1 ranks' '{"tool":"devmem-bench","mode":"latency","runs":[{"ranks":[{}],"rows":[]}]}'
refused 'no figures' "$(row '')"
refused 'runs\[0\].rows\[0\]: there is no "size"' "$(row '7')"
refused 'rows\[0\]: "size" is not a number' "$(row '{"size":"8"}')"
refused '"size" is -8' "$(row '{"size":-8}')"
refused '"size" is inf' "$(row '{"size":1e999}')"
refused 'line 1' "$(row '{"size":8,"median_us":NaN}')"
refused '"median_us" is 0' "$(row '{"size":8,"median_us":0}')"
refused '"median_us" is not' "$(row '{"size":8,"median_us":null}')"
refused 'more than 64 sizes' \
	"$(row "$(seq -s, 100 | sed 's/[0-9]*/{"size":&,"median_us":1}/g')")"
refused 'several runs without' \
	"$(row '{"size":8,"median_us":1}' | sed 's/"runs":\[\(.*\)\]}/"runs":[\1,\1]}/')"
refused 'more than 8 variants' '{"tool":"devmem-bench","mode":"latency","runs":['"$(
	seq -s, 9 | sed 's/[0-9]*/{"round":0,"variant":"v&",'"$ranks"',"rows":[]}/g')]}"
refused 'line 1' "$(printf '[%.0s' {1..5000})"
"$bench" plot bad none.json 2>log; [ $? = 1 ] && grep -q 'none.json: No such' log ||
	fail "a file that is not there: $(<log)"
"$bench" plot 2>/dev/null; [ $? = 2 ] || fail "plot without arguments: $?"

# ---- places and programs -----------------------------------------------------

! run latency -b 8 -e 8 --plot /dev/null/pictures || fail "plotted to /dev/null/..."
grep -q '^devmem-bench: /dev/null/pictures: no pictures' log && ! grep -q '^#' log ||
	fail "it was not said before the run: $(<log)"
! run latency -b 8 -e 8 --report /dev/null/page.html || fail "wrote to /dev/null/..."
! grep -q '^#' log || fail "it was not said before the run: $(<log)"
"$bench" soak --plugin "$plugin" --plot x 2>/dev/null
[ $? = 2 ] || fail "a soak was to be drawn"

mkdir fails
printf '#!/bin/sh\necho "line 7: what is this?" >&2\nexit 3\n' >fails/gnuplot
chmod +x fails/gnuplot
PATH=$PWD/fails:$PATH "$bench" plot fails latency.json 2>log
[ $? = 1 ] && grep -q 'exit status 3: line 7: what is this?' log ||
	fail "a gnuplot that fails: $(<log)"
PATH=$PWD/fails:$PATH "$bench" report fails.html latency.json 2>log ||
	fail "no page without pictures: $(<log)"
is_page fails.html
grep -q 'No pictures' fails.html || fail "the page does not say what it lacks"

PATH=/nonexistent "$bench" plot without latency.json 2>log
[ $? = 77 ] && grep -q 'gnuplot-nox' log || fail "without gnuplot: $(<log)"
[ -s without/latency.gp ] && [ -s without/latency.dat ] ||
	fail "without gnuplot there is no script"
(PATH=/nonexistent run latency -b 8 -e 8 --plot without) ||
	fail "a run without gnuplot: $(/bin/cat log)"
grep -q 'gnuplot-nox' log || fail "a run does not say that gnuplot is missing"
exit 0
