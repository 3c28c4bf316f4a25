#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What is refused, and by what name.

. "$(dirname "$0")/common.sh"

disk_is_missing() {
	resource r0 0 /dev/no-such-disk 7789 7790
	refused '/dev/no-such-disk' adm r0 up r0
	result=$?
	adm r0 down r0 && return "$result"
}

not_a_block_device() {
	resource r0 0 /dev/null 7789 7790
	refused '/dev/null' adm r0 up r0
	result=$?
	adm r0 down r0 && return "$result"
}

no_metadata() {
	resource r0 0 "$good" 7789 7790
	refused '\(119\)|create-md' adm r0 up r0 </dev/null
	result=$?
	adm r0 down r0 && return "$result"
}

too_small() {
	resource r0 0 "$small" 7789 7790
	refused '32 sectors' adm r0 create-md --force r0
}

disk_in_use() {
	resource r0 0 "$good" 7789 7790
	resource r1 1 "$good" 7791 7792
	adm r0 create-md --force r0 && adm r0 up r0 || return 1
	refused "$good" adm r1 up r1
	result=$?
	adm r1 down r1
	return "$result"
}

mounted() {
	adm r0 down r0 && mkfs.ext4 -q "$other" && mkdir -p "$work/mnt" && mount "$other" "$work/mnt" || return 1
	resource r1 1 "$other" 7791 7792
	refused "$other" adm r1 up r1 </dev/null
	result=$?
	umount "$work/mnt" && dd if=/dev/zero of="$other" bs=1M count=1 conv=fsync 2>/dev/null && adm r1 down r1
	return "$result"
}

address_in_use() {
	resource r0 0 "$good" 7789 7790
	resource r1 1 "$other" 7789 7791
	adm r0 up r0 && adm r1 create-md --force r1 || return 1
	refused '\(102\).*7789|7789' adm r1 up r1
	result=$?
	adm r1 down r1 && adm r0 down r0 && return "$result"
}

minor_in_use() {
	resource r0 0 "$good" 7789 7790
	resource r1 0 "$other" 7791 7792
	adm r0 up r0 || return 1
	refused '\(161\)' adm r1 up r1
	result=$?
	adm r1 down r1
	adm r0 down r0 && return "$result"
}

no_disk_to_be_primary_of() {
	adm r0 up r0 && adm r0 detach r0 || return 1
	refused '\(-2\)' adm r0 primary --force r0
	result=$?
	adm r0 down r0 && return "$result"
}

changes_need_capability() {
	cp "$work/r0.conf" "$work/public.conf" && chmod 755 "$work" && chmod 644 "$work/public.conf" || return 1
	refused 'permi|root|CAP_NET_ADMIN' su -s /bin/sh nobody -c "$RDBADM -c $work/public.conf up r0"
	result=$?
	rm -f "$work/public.conf"
	[ -z "$(devices)" ] && return "$result"
}

plan 10
new_loop 64 || exit 1
good=$loop
new_loop 64 || exit 1
other=$loop
file=$(mktemp "$work/disk.XXXXXX") && dd if=/dev/zero of="$file" bs=4096 count=4 2>/dev/null &&
	small=$(losetup -f --show "$file") || exit 1
loops="$loops $small"
run "a missing lower disk is named" disk_is_missing
run "a character device is no lower disk" not_a_block_device
run "a disk without metadata: create-md is named" no_metadata
run "a disk that is too small" too_small
run "a disk that another resource has" disk_in_use
if command -v mkfs.ext4 >/dev/null 2>&1; then
	run "a mounted disk" mounted
else
	adm r0 down r0
	skip "a mounted disk" "mkfs.ext4 is not installed"
fi
run "an address that another resource has" address_in_use
run "a minor that another resource has" minor_in_use
run "Primary without a disk" no_disk_to_be_primary_of
if id nobody >/dev/null 2>&1 && command -v su >/dev/null 2>&1; then
	run "changes need a capability" changes_need_capability
else
	skip "changes need a capability" "no user nobody, or no su"
fi
finish
