#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Two resources of one machine as the two nodes of a pair, over the loopback interface.

. "$(dirname "$0")/common.sh"

both_up() {
	for name in r0 r1; do adm "$name" create-md "$name" && adm "$name" up "$name" || return 1; done
	await 0 'cs:Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent C' &&
		await 1 'cs:Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent C'
}

first_sync() {
	adm r0 primary --force r0 && await 0 'cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate' &&
		await 1 'cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate'
}

second_primary_is_refused() {
	refused '\(-1\)' adm r1 primary r1
}

replicates() {
	fill /dev/rdb0 one 24 && holds "$disk0" one 24 && holds "$disk1" one 24
}

secondary_is_closed() {
	refused 'medium' dd if=/dev/rdb1 of=/dev/null bs=4k count=1
}

roles_change() {
	adm r0 secondary r0 && adm r1 primary r1 && await 0 'ro:Secondary/Primary' && holds /dev/rdb1 one 24 &&
		fill /dev/rdb1 two 8 && adm r1 secondary r1 && adm r0 primary r0 && holds /dev/rdb0 two 8
}

goes_on_alone() {
	adm r1 disconnect r1 && await 1 'cs:(StandAlone|Unconfigured)' && await 0 'cs:WFConnection ro:Primary/Unknown' &&
		fill /dev/rdb0 three 12 && holds "$disk0" three 12
}

knows_what_changed() {
	oos=$(sed -n 's/.* oos:\([0-9]*\)$/\1/p' /proc/rdb | head -n 1)
	[ "$oos" -ge 12288 ] || {
		echo "out of sync: $oos KiB, should be at least 12288"
		return 1
	}
}

catches_up() {
	adm r1 connect r1 && await 0 'cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate' &&
		await 1 'ds:UpToDate/UpToDate' && grep -q ' oos:0$' /proc/rdb
}

ends_equal() {
	# The data area ends where the internal metadata begin; both disks have the same size.
	bytes=$(($(blockdev --getsz /dev/rdb0) * 512)) && adm r0 down r0 && adm r1 down r1 && [ -z "$(devices)" ] &&
		cmp -n "$bytes" "$disk0" "$disk1" && holds "$disk1" three 12
}

need blockdev cmp
plan 10
new_loop 64 || exit 1
disk0=$loop
new_loop 64 || exit 1
disk1=$loop
resource r0 0 "$disk0" 7789 7790
resource r1 1 "$disk1" 7790 7789
run "both come up and find each other" both_up
run "the first sync ends with good data on both" first_sync
run "the second primary is refused" second_primary_is_refused
run "a write is on both disks when it is done" replicates
run "the Secondary cannot be read" secondary_is_closed
run "the roles change" roles_change
run "the Primary goes on alone after a disconnect" goes_on_alone
run "it knows what changed" knows_what_changed
run "the peer catches up" catches_up
run "down on both; the disks are equal, byte for byte" ends_equal
finish
