#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One resource without a peer: from metadata to a file system, and away again.

. "$(dirname "$0")/common.sh"

creates_metadata() { adm r0 create-md r0; }

comes_up_secondary() {
	adm r0 up r0 && await 0 'ro:Secondary/Unknown ds:Inconsistent/DUnknown'
}

up_again_is_quiet() {
	adm r0 up r0 && line 0 | grep -q 'ds:Inconsistent'
}

secondary_cannot_be_used() {
	refused 'Wrong medium|No medium|medium' dd if=/dev/rdb0 of=/dev/null bs=4k count=1 &&
		refused 'Read-only|medium' dd if=/dev/zero of=/dev/rdb0 bs=4k count=1 conv=notrunc
}

primary_needs_force() {
	refused '\(-2\)' adm r0 primary r0 && line 0 | grep -q 'ro:Secondary'
}

becomes_primary() {
	adm r0 -- --overwrite-data-of-peer primary r0 && await 0 'ro:Primary/Unknown ds:UpToDate/DUnknown' &&
		[ "$(adm r0 role r0)" = Primary/Unknown ] && [ "$(adm r0 dstate r0)" = UpToDate/DUnknown ]
}

holds_data() {
	fill /dev/rdb0 one 24 && holds /dev/rdb0 one 24
}

counts() {
	sed -n 's/.* dw:\([0-9]*\) .*/\1/p' /proc/rdb | grep -Eqv '^0*$'
}

down_while_open_is_refused() {
	exec 9</dev/rdb0
	wrong=0
	refused '\(-12\)' adm r0 down r0 || wrong=1
	refused '\(-12\)' adm r0 secondary r0 || wrong=1
	refused 'in use' rmmod rdb || wrong=1
	exec 9<&-
	[ "$wrong" -eq 0 ]
}

makes_a_file_system() {
	mkdir -p "$work/mnt" && mkfs.ext4 -q /dev/rdb0 && mount /dev/rdb0 "$work/mnt" || return 1
	pattern two 4 >"$work/mnt/file" && umount "$work/mnt" || return 1
	mount -o ro /dev/rdb0 "$work/mnt" && pattern two 4 | cmp - "$work/mnt/file" && umount "$work/mnt" &&
		fsck.ext4 -fn /dev/rdb0
}

survives_down_and_up() {
	fill /dev/rdb0 three 16 && adm r0 down r0 && [ -z "$(devices)" ] &&
		adm r0 up r0 && await 0 'ro:Secondary/Unknown' && adm r0 primary r0 && holds /dev/rdb0 three 16
}

detaches() {
	adm r0 secondary r0 && adm r0 detach r0 && await 0 'ds:Diskless/|cs:Unconfigured' && adm r0 detach r0 && adm r0 attach r0 && await 0 'ds:UpToDate/'
}

module_stays_while_up() {
	refused 'in use' rmmod rdb
}

goes_down() {
	adm r0 down r0 && [ -z "$(devices)" ] && adm r0 down r0 && ! [ -b /dev/rdb0 ]
}

lower_disk_has_the_data() {
	holds "$loop" three 16
}

plan 15
new_loop 64 || exit 1
resource r0 0 "$loop" 7789 7790
run "create-md" creates_metadata
run "up gives a Secondary with inconsistent data" comes_up_secondary
run "up of what is up does no harm" up_again_is_quiet
run "a Secondary can neither be read nor written" secondary_cannot_be_used
run "primary without good data is refused with state code -2" primary_needs_force
run "the first primary is forced, in the old form" becomes_primary
run "what is written can be read" holds_data
run "counters count" counts
run "an open device is neither taken down nor demoted" down_while_open_is_refused
if command -v mkfs.ext4 >/dev/null 2>&1 && command -v fsck.ext4 >/dev/null 2>&1; then
	run "a file system works on it" makes_a_file_system
else
	skip "a file system works on it" "mkfs.ext4 is not installed"
fi
run "data survive down and up" survives_down_and_up
run "detach, twice, and attach" detaches
run "the module is in use while a resource is up" module_stays_while_up
run "down, twice" goes_down
run "the lower disk has the data where the volume had them" lower_disk_has_the_data
finish
