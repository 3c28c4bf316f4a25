#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A pair on disks that take their time for every write, metadata included: what waits for them must not be overtaken. Each case
# disturbs the Secondary under a writing Primary; then both must agree, and the roles change. DELAY: milliseconds (default 150).

. "$(dirname "$0")/common.sh"

skips_the_initial_sync() {
	for name in r0 r1; do adm "$name" create-md "$name" && adm "$name" up "$name" || return 1; done
	await 0 'cs:Connected' && adm r0 -- --clear-bitmap new-current-uuid r0/0 && adm r0 primary r0 && agree 0 1
}

# agree MINOR MINOR: connected, and both say the same of both disks, now and when everything on its way has arrived.
agree() {
	for minor in "$1" "$2"; do await "$minor" 'cs:Connected .*ds:UpToDate/UpToDate' || return 1; done
	sleep 1
	for minor in "$1" "$2"; do await "$minor" 'cs:Connected .*ds:UpToDate/UpToDate' || return 1; done
}

# disturbed COMMAND: what is written meanwhile is on both; then the other one becomes Primary.
disturbed() {
	count_of_rounds=$((count_of_rounds + 1))
	fill "/dev/rdb$own" "round $count_of_rounds" 4 &
	writer=$!
	"$1" || return 1
	wait "$writer" && agree "$own" "$other" && holds "/dev/rdb$own" "round $count_of_rounds" 4 || return 1
	adm "r$own" secondary "r$own" && adm "r$other" primary "r$other" || return 1
	swap=$own
	own=$other
	other=$swap
	holds "/dev/rdb$own" "round $count_of_rounds" 4
}

reconnect() { adm "r$other" disconnect "r$other" && sleep 0.2 && adm "r$other" connect "r$other"; }
restart() { adm "r$other" down "r$other" && adm "r$other" up "r$other"; }
reattach() { adm "r$other" detach "r$other" && adm "r$other" attach "r$other"; }
invalidate() { adm "r$other" invalidate "r$other"; }

disturbed_by_reconnect() { disturbed reconnect; }
disturbed_by_restart() { disturbed restart; }
disturbed_by_reattach() { disturbed reattach; }
disturbed_by_invalidate() { disturbed invalidate; }

ends_equal() {
	bytes=$(($(blockdev --getsz /dev/rdb0) * 512)) && adm r0 down r0 && adm r1 down r1 &&
		cmp -n "$bytes" "$loop0" "$loop1"
}

unmap() {
	dmsetup remove "$map0"
	dmsetup remove "$map1"
}

need blockdev dmsetup
modprobe dm-delay 2>/dev/null
dmsetup targets 2>/dev/null | grep -q '^delay' || skip_all "the kernel has no dm-delay"
plan 6
new_loop 64 || exit 1
loop0=$loop
new_loop 64 || exit 1
loop1=$loop
map0=rdb-selftest-0
map1=rdb-selftest-1
delayed() {
	dmsetup create "$1" --table "0 $(blockdev --getsz "$2") delay $2 0 0 $2 0 ${DELAY:-150}"
}
delayed "$map0" "$loop0" && delayed "$map1" "$loop1" && dmsetup mknodes || exit 1
before_cleanup=unmap
resource r0 0 "/dev/mapper/$map0" 7789 7790
resource r1 1 "/dev/mapper/$map1" 7790 7789
own=0
other=1
count_of_rounds=0
run "both agree that the initial sync is skipped" skips_the_initial_sync
run "the Secondary disconnects and connects" disturbed_by_reconnect
run "the Secondary goes down and up" disturbed_by_restart
run "the Secondary detaches and attaches" disturbed_by_reattach
run "the Secondary's data are invalidated" disturbed_by_invalidate
run "the disks are equal, byte for byte" ends_equal
finish
