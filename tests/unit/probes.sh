#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The static probes of a library are those that docs/statistics.md has, each with
# as many arguments.
# usage: probes.sh LIBRARY DOCUMENT
set -u
library=$1 document=$2

notes=$(readelf -n "$library" 2>/dev/null | awk '
	/Provider: / { ours = $2 == "devmem" }
	/Name: / { name = $2 }
	/Arguments: / && ours { print name, NF - 1 }' | sort -u)
[ -n "$notes" ] || {
	echo "SKIP: built without <sys/sdt.h> (systemtap-sdt-dev)"
	exit 77
}
# | `name` | arg, arg (of it, and so on) | ... |
documented=$(awk -F '|' '
	/^## / { probes = $0 ~ /^## Probes/ }
	probes && $2 ~ /^ `[a-z_]*` $/ {
		gsub(/[` ]/, "", $2)
		print $2, split($3, args, ";")
	}' "$document" | sort -u)
[ "$notes" = "$documented" ] && exit 0
echo "FAILED: probes and their number of arguments"
echo "in $library:"
echo "$notes"
echo "in $document:"
echo "$documented"
exit 1
