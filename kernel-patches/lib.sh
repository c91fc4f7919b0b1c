# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# lib.sh - what build and check share: the source of BASE, the patches, the
# configuration, and the tools for all of it. To be sourced. Options set bed,
# kasan and stock (the unpatched kernel, if not empty).

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
bed=uml kasan='' stock=''
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nccl-devmem
read -r base package <"$here/BASE" || die "cannot read $here/BASE"
tarball=/usr/src/$package.tar.xz
shopt -s nullglob
patches=("$here"/6.12/*.patch)
shopt -u nullglob
[ ${#patches[@]} -gt 0 ] || die "no patches in $here/6.12"

check_bed()
{
	case $bed in
	uml) arch=um target=linux image=linux ;;
	x86_64) arch=x86_64 target=bzImage image=arch/x86/boot/bzImage ;;
	*) die "no such bed: $bed (uml or x86_64)" ;;
	esac
}

# ---- what must be there ----------------------------------------------------

more_tools=()	# TOOL:PACKAGE, more than a kernel build needs
install_tools()
{
	local t need=()

	for t in gcc:gcc make:make flex:flex bison:bison bc:bc xz:xz-utils \
		 patch:patch perl:perl "${more_tools[@]}"; do
		command -v "${t%:*}" >/dev/null || need+=("${t#*:}")
	done
	[ -r "$tarball" ] || need+=("$package")
	[ -e /usr/include/stdio.h ] || need+=(libc6-dev)
	if [ "$bed" = x86_64 ]; then
		[ -e /usr/include/libelf.h ] || need+=(libelf-dev)
		[ -e /usr/include/openssl/ssl.h ] || need+=(libssl-dev)
	fi
	if [ ${#need[@]} -gt 0 ]; then
		[ "$(id -u)" = 0 ] ||
			die "missing: ${need[*]}; install with: apt-get install ${need[*]}"
		say "installing ${need[*]}"
		# The list of packages may be old, or not there yet.
		apt_install "${need[@]}" || { apt-get update >&2; apt_install "${need[@]}"; } ||
			die "apt-get could not install: ${need[*]}"
	fi
	version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) ||
		version=$(sha256sum <"$tarball") || die "cannot read $tarball"
}

apt_install()
{
	DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "$@" >&2
}

# The same files are compiled again for other patches.
cc=()
! command -v ccache >/dev/null || cc=("CC=ccache gcc")

# A folder in the cache; it goes when we do, and so does the job.
tmp='' job=''
make_tmp()	# NAME
{
	tmp=$(mktemp -d "$cache/$1.XXXXXX") || die "cannot write to $cache"
	trap '[ -z "$job" ] || kill -TERM -- "-$job"; rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM HUP
}

# ---- source and patches ----------------------------------------------------

unpack()	# DIR
{
	say "unpacking $package $version"
	mkdir "$1" || exit
	tar -C "$1" --strip-components=1 -xf "$tarball" \
		--exclude='*/drivers/gpu/*.[ch]' --exclude='*/sound/*.[ch]' ||
		die "cannot unpack $tarball"
	[[ $version = "$base"* ]] ||
		say "patches were made for $base, the source is $version"
}

touched() { sed -n 's,^[-+]\{3\} [ab]/,,p' "$1" | sort -u; }	# PATCH

# Of the subject, which may go over several lines, what comes after [PATCH].
subject()	# PATCH
{
	awk '/^Subject: / { s = $0; next } s && /^ / { s = s $0; next }
	     s { sub(/^Subject: (\[[^]]*\] )?/, "", s); print s; exit }' "$1"
}

# Those that an unpatched kernel can be given as a module: they change nothing
# but the driver, and come before it sends from device memory, which stock 6.12
# knows nothing of. Into module_patches.
find_module_patches()
{
	local p own='^(drivers/net/(dmsim/.*|Kconfig|Makefile)|MAINTAINERS|Documentation/.*)$'

	module_patches=()
	for p in "${patches[@]}"; do
		[ "$(subject "$p")" != "net: dmsim: send from device memory" ] || break
		touched "$p" | grep -qvE "$own" || module_patches+=("$p")
	done
	[ ${#module_patches[@]} -gt 0 ] || die "no patch of the driver alone in $here/6.12"
}

# ---- configuration ---------------------------------------------------------

config_parts()
{
	echo "$here/$bed.config" "$here/common.config"
	[ -z "$kasan" ] || echo "$here/debug.config"
	[ -z "$kasan" ] || [ "$bed" != uml ] || echo "$here/uml-debug.config"
	[ -z "$stock" ] || echo "$here/base.config"
}

# Of two lines for the same option the later one counts.
merge_config()
{
	# shellcheck disable=SC2046
	awk -F= '/^CONFIG_/ { if (!($1 in line)) order[n++] = $1; line[$1] = $0 }
		 END { for (i = 0; i < n; i++) print line[order[i]] }' $(config_parts)
}

configure()	# CONFIG, in the source's folder
{
	make ARCH="$arch" KCONFIG_ALLCONFIG="$1" allnoconfig >"$tmp/log" 2>&1 ||
		{ cat "$tmp/log" >&2; die "cannot configure"; }
}

# Lines of CONFIG that .config does not have, for want of what they depend on.
config_lost()	# CONFIG
{
	local line

	while read -r line; do
		case $line in
		*=n) ! grep -q "^${line%=n}=" .config ;;
		*) grep -qxF -- "$line" .config ;;
		esac || echo "$line"
	done <"$1"
}
