# shellcheck shell=bash
# Shared by the scripts of this folder: where things are, messages, locks. To be sourced, not run.
#
# Environment
#   RDB_CACHE   build roots, kernel trees and guests; default ${XDG_CACHE_HOME:-$HOME/.cache}/rdb
#   RDB_BUILD   products of the module build; default build/ in the checkout
#   RDB_JOBS    parallel jobs; default: number of processors

set -euo pipefail

RDB_TOP=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
RDB_CACHE=${RDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rdb}
RDB_BUILD=${RDB_BUILD:-$RDB_TOP/build}
RDB_JOBS=${RDB_JOBS:-$(nproc)}
export RDB_TOP RDB_CACHE RDB_BUILD RDB_JOBS

# Release of Debian whose stock kernel is the default target, and the pocket that has it.
export RDB_SUITE=trixie

say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	say "error: $*"
	exit 1
}

# need_root WHAT: mounts in a private namespace and chroot are root's.
need_root() {
	[ "$(id -u)" -eq 0 ] || die "$1 must be done as root (mount namespace and chroot): run it with sudo, keeping RDB_CACHE, or as root in a container"
}

# lock NAME: hold an exclusive lock until this shell ends; a second run waits here.
lock() {
	local fd
	mkdir -p "$RDB_CACHE/lock"
	exec {fd}>"$RDB_CACHE/lock/$1"
	if ! flock -n "$fd"; then
		say "waiting for another run that holds $RDB_CACHE/lock/$1"
		flock "$fd"
	fi
}

# quietly LOG COMMAND...: run with output in LOG, and show the end of LOG when it fails.
quietly() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -n 40 "$log" >&2
		die "failed: $* (whole output in $log)"
	fi
}

root_dir() {
	printf '%s/root/%s\n' "$RDB_CACHE" "$1"
}

# The Debian mirror this machine's apt uses for the main archive. Never spelled out in these scripts.
mirror() {
	local uri
	# shellcheck disable=SC2016 # apt-get expands it
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
		sed -n 's,/debian/*$,/debian,p' | sort -u | sed -n 1p)
	[ -n "$uri" ] || die "no Debian mirror in this machine's apt configuration (looked for a repository whose address ends in /debian)"
	printf '%s\n' "$uri"
}
