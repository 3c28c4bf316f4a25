# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For the tests of this folder, to be sourced: TAP lines, loop devices, configuration files, waiting.
#
# A test sources this, calls plan, then run "description" function for each of its cases, then finish. A case fails when its
# function returns other than 0; what it prints is shown as comments.

RDBADM=${RDBADM:-rdbadm}
KSFT_SKIP=4
count=0
failures=0
work=
loops=
loaded_here=
# Called when the resources are down, before the loop devices go.
before_cleanup=

skip_all() {
	echo "1..0 # SKIP $*"
	exit $KSFT_SKIP
}

# need PROGRAM...: skip the test if one is missing.
need() {
	for program in "$@"; do
		command -v "$program" >/dev/null 2>&1 || skip_all "$program is not installed"
	done
}

cleanup() {
	trap - EXIT
	cd /
	if [ -n "$work" ]; then
		for mounted in "$work"/mnt*; do
			if [ -d "$mounted" ] && mountpoint -q "$mounted"; then umount "$mounted"; fi
		done
		for config in "$work"/*.conf; do
			if [ -e "$config" ]; then "$RDBADM" -c "$config" down all >/dev/null 2>&1; fi
		done
		if [ -n "$before_cleanup" ]; then "$before_cleanup" >/dev/null 2>&1; fi
		for loop in $loops; do losetup -d "$loop" 2>/dev/null; done
		rm -rf "$work"
	fi
	if [ -n "$loaded_here" ]; then rmmod rdb 2>/dev/null; fi
}

is_loaded() {
	[ -d /sys/module/rdb ]
}

load() {
	if [ -n "${RDB_KO:-}" ]; then insmod "$RDB_KO"; else modprobe rdb; fi
}

# plan NUMBER: check what all tests need, make a place to work in, announce the number of cases.
plan() {
	[ "$(id -u)" -eq 0 ] || skip_all "must be root"
	need losetup dd cmp timeout mktemp mountpoint
	command -v "$RDBADM" >/dev/null 2>&1 || skip_all "$RDBADM (rdbadm; set RDBADM) is not installed"
	work=$(mktemp -d) || exit 1
	trap cleanup EXIT
	trap 'exit 1' INT TERM
	if ! is_loaded; then
		if [ -n "${RDB_KO:-}" ] && [ ! -e "$RDB_KO" ]; then skip_all "no module at $RDB_KO"; fi
		# A module which is there and does not load is a failure, none at all is not.
		if [ -z "${RDB_KO:-}" ] && ! modinfo rdb >/dev/null 2>&1; then
			skip_all "the module rdb is not installed (set RDB_KO to load it from a file)"
		fi
		if ! load; then
			echo "Bail out! the module does not load"
			exit 1
		fi
		loaded_here=y
	fi
	if [ -n "$(devices)" ]; then skip_all "resources of rdb are in use on this machine: $(devices | tr '\n' ' ')"; fi
	echo "TAP version 13"
	echo "1..$1"
}

devices() {
	sed -n 's/^ *\([0-9]*\): cs:.*/\1/p' /proc/rdb
}

# run DESCRIPTION FUNCTION: one case.
run() {
	count=$((count + 1))
	if "$2" >"$work/output" 2>&1; then
		echo "ok $count $1"
	else
		sed 's/^/# /' "$work/output"
		sed 's/^/# \/proc\/rdb: /' /proc/rdb 2>/dev/null
		echo "not ok $count $1"
		failures=$((failures + 1))
	fi
}

# skip DESCRIPTION REASON: a case that cannot be run here.
skip() {
	count=$((count + 1))
	echo "ok $count $1 # SKIP $2"
}

finish() {
	[ "$failures" -eq 0 ]
	exit
}

# new_loop MIB: a loop device of that size; its name in $loop.
new_loop() {
	file=$(mktemp "$work/disk.XXXXXX") || return 1
	dd if=/dev/zero of="$file" bs=1M count=0 seek="$1" 2>/dev/null || return 1
	loop=$(losetup -f --show "$file") || return 1
	loops="$loops $loop"
}

# section MINOR DISK PORT: the inside of an "on" section.
section() {
	echo "    device /dev/rdb$1 minor $1;"
	echo "    disk $2;"
	echo "    address 127.0.0.1:$3;"
	echo "    meta-disk internal;"
}

# resource NAME MINOR DISK OWN-PORT PEER-PORT: a configuration file with one resource, $work/NAME.conf.
resource() {
	{
		echo "resource $1 {"
		echo "  net { protocol C; ping-timeout 20; }"
		echo "  disk { c-max-rate 1024M; c-min-rate 0; resync-rate 512M; }"
		echo "  on $(uname -n) {"
		section "$2" "$3" "$4"
		echo "  }"
		echo "  on the-other-node {"
		section "$2" /dev/null "$5"
		echo "  }"
		echo "}"
	} >"$work/$1.conf"
}

# adm NAME ARGUMENT...: rdbadm with the configuration of that resource.
adm() {
	config=$work/$1.conf
	shift
	"$RDBADM" -c "$config" "$@"
}

# refused PATTERN COMMAND...: the command must fail and say something that matches.
refused() {
	pattern=$1
	shift
	if said=$("$@" 2>&1); then
		echo "succeeded, should have been refused: $*"
		return 1
	fi
	if ! printf '%s\n' "$said" | grep -Eqi "$pattern"; then
		echo "refused, but not with a message like '$pattern':"
		echo "$said"
		return 1
	fi
}

# line MINOR: the state line of /proc/rdb.
line() {
	sed -n "s/^ *$1: //p" /proc/rdb
}

# await MINOR PATTERN: wait until the state line matches; the bound is for machines under load.
await() {
	tries=0
	until line "$1" | grep -Eq "$2"; do
		tries=$((tries + 1))
		if [ "$tries" -ge 600 ]; then
			echo "minor $1 did not become '$2' in 60 s: $(line "$1")"
			return 1
		fi
		sleep 0.1
	done
}

# fill DEVICE SEED MIB: write a pattern that can be made again; holds DEVICE SEED MIB: it is there.
pattern() {
	yes "rdb selftest $1" | dd bs=1M count="$2" iflag=fullblock 2>/dev/null
}
fill() {
	pattern "$2" "$3" | dd of="$1" bs=1M iflag=fullblock oflag=direct conv=fsync 2>&1
}
# What is on the device: a lower disk that is in use must be read past its page cache.
holds() {
	pattern "$2" "$3" >"$work/expected" &&
		dd if="$1" bs=1M count="$3" iflag=direct 2>/dev/null | cmp - "$work/expected"
}
