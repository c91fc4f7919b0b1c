# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# lib.sh - what the tests of packages share: steps, each bounded in time and ended
# by our signals, and the folder that goes with us. To be sourced.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
source_dir=$(cd "$here/../.." && pwd -P)
LAB_BUILD=${LAB_BUILD:-$source_dir/build}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nccl-devmem
package_build=$LAB_BUILD-package
failed=0

say() { echo "# $*"; }
skip() { echo "SKIP: $*"; exit 77; }
die() { echo "FAILED: $*"; exit 1; }

# ---- the end ---------------------------------------------------------------

job='' tmp=''
# shellcheck disable=SC2317
cleanup()
{
	trap '' EXIT INT TERM HUP
	if [ -n "$job" ]; then
		kill -TERM "$job" 2>/dev/null
		wait "$job" 2>/dev/null
	fi
	leave
	[ -z "$tmp" ] || rm -rf --one-file-system "$tmp"
}
leave() { :; }	# what else is to be undone
trap cleanup EXIT
trap 'cleanup; exit 129' HUP
trap 'cleanup; exit 130' INT
trap 'cleanup; exit 143' TERM

make_tmp() { tmp=$(mktemp -d "${TMPDIR:-/tmp}/lab-package.XXXXXX") || die "no temporary folder"; }

# ---- steps -----------------------------------------------------------------

# A command that is given so many seconds, and that our signals end. Its output
# goes to $tmp/log and, where it fails, is shown.
bounded()	# SECONDS COMMAND...
{
	local status=0

	timeout --kill-after=10 "$@" >"$tmp/log" 2>&1 </dev/null &
	job=$!
	wait "$job" || status=$?
	job=''
	[ "$status" = 0 ] || tail -n 60 "$tmp/log"
	return "$status"
}

# One line of the verdict. A check that fails does not end the test.
check()	# TEXT COMMAND...
{
	local status=0 begin=$SECONDS

	"${@:2}" || status=1
	if [ "$status" = 0 ]; then
		echo "ok      $1 ($((SECONDS - begin)) s)"
	else
		echo "NOT OK  $1"
		failed=1
	fi
	return "$status"
}

# As check, of what all that follows needs.
must()	# TEXT COMMAND...
{
	check "$@" || exit 1
}

# ---- building --------------------------------------------------------------

# GPU kernels where the build that is tested has them.
cuda_option()
{
	local value

	value=$(sed -n 's/^DEVMEM_CUDA:[A-Z]*=//p' "$LAB_BUILD/CMakeCache.txt" 2>/dev/null)
	echo "-DDEVMEM_CUDA=${value:-AUTO}"
}

# Paths of the packages in $tmp/packages, one a line.
build_packages()	# deb|rpm
{
	bounded 1500 "$source_dir/packaging/build" "$1" \
		--build "$package_build" "$(cuda_option)" || return
	mkdir -p "$tmp/packages"
	while read -r path; do
		cp "$path" "$tmp/packages/" || return
	done <"$tmp/log"
	[ "$(ls "$tmp/packages" | wc -l)" = 3 ]
}
