#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Load, up, write, down, unload, again and again; nothing may stay behind. ROUNDS: how often (default 10).

. "$(dirname "$0")/common.sh"

rounds=${ROUNDS:-10}

one_round() {
	is_loaded || load || return 1
	adm r0 up r0 && adm r1 up r1 && adm r0 primary --force r0 &&
		await 0 'cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate' &&
		fill /dev/rdb0 "round $1" 4 && adm r0 down r0 && adm r1 down r1 && rmmod rdb &&
		holds "$disk1" "round $1" 4
}

all_rounds() {
	round=0
	while [ "$round" -lt "$rounds" ]; do
		round=$((round + 1))
		one_round "$round" || {
			echo "in round $round of $rounds"
			return 1
		}
	done
}

# Unreclaimable slab memory in KiB, after what can be given back was given back.
slab() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sed -n 's/^SUnreclaim: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

slab_is_back() {
	after=$(slab)
	# What the rest of the machine does meanwhile is noise; a leak in every round is more.
	echo "unreclaimable slab: $before KiB before, $after KiB after $rounds rounds"
	[ $((after - before)) -lt $((2048 + rounds * 16)) ]
}

plan 2
new_loop 32 || exit 1
disk0=$loop
new_loop 32 || exit 1
disk1=$loop
resource r0 0 "$disk0" 7789 7790
resource r1 1 "$disk1" 7790 7789
adm r0 create-md r0 >/dev/null && adm r1 create-md r1 >/dev/null || exit 1
one_round 0 >"$work/first" 2>&1 || { sed 's/^/# /' "$work/first"; }
before=$(slab)
run "load, up, write, down, unload: $rounds rounds" all_rounds
run "unreclaimable memory is back where it was" slab_is_back
loaded_here=
is_loaded || load
loaded_here=y
finish
