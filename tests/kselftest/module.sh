#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The module alone: it loads, says who it is, and goes away again.

. "$(dirname "$0")/common.sh"

says_version() {
	head -n 1 /proc/rdb | grep -Eq '^version: [0-9]+\.[0-9]+\.[0-9]+ \(api:[0-9]+/proto:[0-9]+-[0-9]+\)$' || {
		head -n 1 /proc/rdb
		return 1
	}
}


down_of_nothing() {
	resource unknown 7 /dev/null 7789 7790
	adm unknown down unknown
}

ordinary_users_read() {
	su -s /bin/sh nobody -c 'cat /proc/rdb' | grep -q '^version:'
}

unloads() {
	rmmod rdb && ! is_loaded && ! [ -e /proc/rdb ]
}

loads_again() {
	load && is_loaded && [ -e /proc/rdb ]
}

plan 5
run "/proc/rdb begins with the version" says_version
run "down of a resource that is not up succeeds" down_of_nothing
if id nobody >/dev/null 2>&1 && command -v su >/dev/null 2>&1; then
	run "everybody may read /proc/rdb" ordinary_users_read
else
	skip "everybody may read /proc/rdb" "no user nobody, or no su"
fi
run "the module unloads" unloads
run "the module loads again" loads_again
finish
