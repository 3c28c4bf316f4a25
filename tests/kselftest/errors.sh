#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Lower disks that fail: the volume goes on with the peer's, and comes back. Device mapper makes the errors.

. "$(dirname "$0")/common.sh"

# table NAME TARGET: give the mapped device another table.
table() {
	dmsetup suspend --noflush "$1" && dmsetup load "$1" --table "0 $sectors $2" && dmsetup resume "$1"
}
fails() { table "$1" error; }
works() { table "$1" "linear $2 0"; }

both_up() {
	for name in r0 r1; do adm "$name" create-md "$name" && adm "$name" up "$name" || return 1; done
	adm r0 primary --force r0 && await 0 'cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate'
}

secondary_disk_fails() {
	fails "$map1" && fill /dev/rdb0 one 4 && await 0 'cs:Connected ro:Primary/Secondary ds:UpToDate/Diskless' &&
		await 1 'ds:Diskless/UpToDate' && holds /dev/rdb0 one 4
}

secondary_disk_returns() {
	works "$map1" "$loop1" && adm r1 attach r1 && await 0 'cs:Connected .*ds:UpToDate/UpToDate' &&
		holds "$loop1" one 4
}

primary_disk_fails() {
	fails "$map0" && fill /dev/rdb0 two 4 && await 0 'cs:Connected ro:Primary/Secondary ds:Diskless/UpToDate' &&
		holds /dev/rdb0 two 4 && fill /dev/rdb0 three 4 && holds /dev/rdb0 three 4 && holds "$loop1" three 4
}

primary_disk_returns() {
	works "$map0" "$loop0" && adm r0 attach r0 && await 0 'cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate' &&
		holds /dev/rdb0 three 4 && holds "$loop0" three 4
}

both_disks_fail() {
	fails "$map0" && fails "$map1" || return 1
	if fill /dev/rdb0 four 1; then
		echo "a write to no disk at all succeeded"
		return 1
	fi
	if dd if=/dev/rdb0 of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null; then
		echo "a read from no disk at all succeeded"
		return 1
	fi
	works "$map0" "$loop0" && works "$map1" "$loop1" && adm r0 secondary r0 && adm r0 down r0 && adm r1 down r1
}

lone_disk_fails() {
	adm r0 up r0 && await 0 'ro:Secondary/Unknown' || return 1
	adm r0 primary r0 || adm r0 primary --force r0 || return 1
	fails "$map0" || return 1
	if fill /dev/rdb0 five 1; then return 1; fi
	await 0 'ds:Diskless/' && adm r0 secondary r0 && adm r0 down r0 && works "$map0" "$loop0" && [ -z "$(devices)" ]
}

metadata_cannot_be_read() {
	fails "$map0" || return 1
	refused 'read|I/O|Input/output' adm r0 up r0
	result=$?
	works "$map0" "$loop0" && adm r0 down r0 && [ -z "$(devices)" ] && return "$result"
}

unmap() {
	dmsetup remove "$map0"
	dmsetup remove "$map1"
}

need blockdev dmsetup
dmsetup targets 2>/dev/null | grep -q '^linear' || modprobe dm-mod 2>/dev/null
dmsetup targets 2>/dev/null | grep -q '^error' || skip_all "the kernel has no device mapper"
plan 8
new_loop 64 || exit 1
loop0=$loop
new_loop 64 || exit 1
loop1=$loop
sectors=$(blockdev --getsz "$loop0")
map0=rdb-selftest-0
map1=rdb-selftest-1
dmsetup create "$map0" --table "0 $sectors linear $loop0 0" && dmsetup create "$map1" --table "0 $sectors linear $loop1 0" &&
	dmsetup mknodes || exit 1
resource r0 0 "/dev/mapper/$map0" 7789 7790
resource r1 1 "/dev/mapper/$map1" 7790 7789
before_cleanup=unmap
run "a pair on mapped disks" both_up
run "the Secondary's disk fails: it goes on without" secondary_disk_fails
run "attached again, it catches up" secondary_disk_returns
run "the Primary's disk fails: it goes on with the peer's" primary_disk_fails
run "attached again, it catches up under the Primary" primary_disk_returns
run "both disks fail: errors, and down" both_disks_fail
run "a lone disk fails: errors, and down" lone_disk_fails
run "metadata that cannot be read" metadata_cannot_be_read
finish
