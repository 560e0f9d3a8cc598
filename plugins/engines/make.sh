#!/usr/bin/env bash
# Makes the engines that run plugins written in interpreted languages:
#
#	bash plugins/engines/make.sh [FOLDER [ENGINE...]]
#
# FOLDER (dist/engines unless said) gets what the engines are, for a release of the hub,
# and so does the cache, where this user's hub finds them. Sources are
# Debian's source packages, fetched by apt from the mirror that this machine uses and held
# to the digests in engines.lock; a source that lies in the cache already is not fetched.
# The compiler is Debian's clang with wasi-libc. What was made before from the same
# inputs comes from the cache. Exit code 3 says that something is missing here, which is
# no defect; the text says what.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/../../dist/engines}
cache=${STAVILY_ENGINES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stavily/engines}
mkdir -p "$out" "$cache/sources" "$cache/made"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

missing() { echo "engines: $*" >&2; exit 3; }

# lock KEY: the words after KEY in engines.lock.
lock() { awk -v key="$1" '$1 == key {$1 = ""; print substr($0, 2)}' "$here/engines.lock"; }

sum() { sha256sum "$1" | cut -d ' ' -f 1; }

# compiler: the clang and the linker of engines.lock, and Debian's WASI C library.
compiler() {
	clang=clang-$(lock llvm) ld=wasm-ld-$(lock llvm)
	for tool in "$clang" "$ld"; do
		command -v "$tool" >/dev/null || missing "no $tool here: apt-get install clang-$(lock llvm)" \
			"lld-$(lock llvm) llvm-$(lock llvm) wasi-libc libclang-rt-$(lock llvm)-dev-wasm32"
	done
	wasi_include=/usr/include/wasm32-wasi wasi_lib=/usr/lib/wasm32-wasi
	[ -e $wasi_lib/libc.a ] || missing "no wasi-libc here: apt-get install wasi-libc"
	builtins=$(find /usr/lib/llvm-"$(lock llvm)"/lib/clang -name 'libclang_rt.builtins*' -path '*wasm32*' -o \
		-name 'libclang_rt.builtins-wasm32.a' | sort | head -n 1)
	[ -n "$builtins" ] || missing "no builtins for wasm32: apt-get install libclang-rt-$(lock llvm)-dev-wasm32"
}

# source NAME: puts the pinned source archive of the Debian package NAME into $archive.
source_of() {
	local suite file want lists mirror
	read -r suite file want <<<"$(lock "source-$1")"
	archive=$cache/sources/$file
	if [ -e "$archive" ] && [ "$(sum "$archive")" = "$want" ]; then return; fi
	command -v apt-get >/dev/null || missing "no apt here: put $file (SHA-256 $want) into $cache/sources"
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Suite: stable' 2>/dev/null | head -n 1)
	mirror=${mirror:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		grep -E '/debian/?$' | sort -u | head -n 1)}
	[ -n "$mirror" ] || missing "apt knows no mirror: put $file (SHA-256 $want) into $cache/sources"
	lists=$work/apt
	mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$lists/sources.list"
	(
		cd "$work"
		apt() {
			apt-get -qq -o Dir::Etc::SourceList="$lists/sources.list" -o Dir::Etc::SourceParts=/nonexistent \
				-o Dir::State::Lists="$lists/lists" -o Dir::Cache="$lists/cache" -o APT::Sandbox::User="$(id -un)" "$@"
		}
		apt update && apt source --download-only --tar-only "$1"
	) >"$work/apt.log" 2>&1 || { tail -n 3 "$work/apt.log" >&2; missing "the source of $1 could not be fetched"; }
	[ -e "$work/$file" ] || missing "the mirror has another $1 than $file; put that into $cache/sources"
	[ "$(sum "$work/$file")" = "$want" ] || { echo "engines: $file has SHA-256 $(sum "$work/$file"), want $want" >&2; exit 1; }
	mv "$work/$file" "$archive"
}

# inputs FILE...: a digest over all that an engine follows from.
inputs() {
	{ cat "$here/make.sh" "$@"; "$clang" --version | head -n 1; sum $wasi_lib/libc.a; sum "$builtins"; } |
		sha256sum | cut -d ' ' -f 1
}

# keep ENGINE FILE...: files of $work/made into the cache and the folder; says the digest.
keep() {
	local engine=$1 kept=$cache/made/$2 file
	shift 2
	if [ ! -d "$kept" ]; then
		mkdir "$kept.new.$$"
		for file; do cp "$work/made/$file" "$kept.new.$$/$file"; done
		mv "$kept.new.$$" "$kept" 2>/dev/null || rm -rf "$kept.new.$$"
	fi
	for file; do
		for to in "$out" "$cache"; do
			cp "$kept/$file" "$to/.$file.new"
			chmod 644 "$to/.$file.new"
			mv "$to/.$file.new" "$to/$file"
		done
		local got want
		got=$(sum "$out/$file")
		want=$(lock "made-$file")
		if [ "$got" = "$want" ]; then
			echo "$engine: $file, $(stat -c %s "$out/$file") bytes, sha256 $got, as pinned"
		else
			echo "$engine: $file, $(stat -c %s "$out/$file") bytes, sha256 $got; pinned is ${want:-nothing}:" \
				"another compiler or library than the pinned ones made it"
		fi
	done
}

mkdir "$work/made"
shift $(($# > 0 ? 1 : 0))
[ $# -gt 0 ] || set -- quickjs cpython
for engine; do
	[ -e "$here/$engine/make.sh" ] || { echo "engines: no engine $engine" >&2; exit 2; }
	compiler
	# shellcheck source=/dev/null
	. "$here/$engine/make.sh"
done
