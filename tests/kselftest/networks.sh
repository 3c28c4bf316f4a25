#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Pairs over the loopback interface in other shapes: several volumes, IPv6, with a secret, with strangers at the door.

. "$(dirname "$0")/common.sh"

# volumes NAME MINOR DISK MINOR DISK OWN-PORT PEER-PORT: a resource with two volumes.
volumes() {
	{
		echo "resource $1 {"
		echo "  volume 0 { device /dev/rdb$2 minor $2; disk $3; meta-disk internal; }"
		echo "  volume 7 { device /dev/rdb$4 minor $4; disk $5; meta-disk internal; }"
		echo "  disk { c-max-rate 1024M; c-min-rate 0; }"
		echo "  on $(uname -n) { address 127.0.0.1:$6; }"
		echo "  on the-other-node { address 127.0.0.1:$7; }"
		echo "}"
	} >"$work/$1.conf"
}

two_volumes() {
	volumes r0 0 "$disk0" 1 "$disk1" 7789 7790
	volumes r1 2 "$disk2" 3 "$disk3" 7790 7789
	for name in r0 r1; do adm "$name" create-md --force "$name" && adm "$name" up "$name" || return 1; done
	for minor in 0 1 2 3; do await "$minor" 'cs:Connected ro:Secondary/Secondary' || return 1; done
	adm r0 primary --force r0 || return 1
	for minor in 0 1; do await "$minor" 'cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate' || return 1; done
	fill /dev/rdb0 one 4 && fill /dev/rdb1 two 6 && holds "$disk2" one 4 && holds "$disk3" two 6
}

two_volumes_go() {
	adm r0 down r0 && adm r1 down r1 && [ -z "$(devices)" ]
}

# option WORDS: add options to the net sections of both.
option() {
	for name in r0 r1; do sed -i "s/net {/net { $1/" "$work/$name.conf" || return 1; done
}

both() {
	resource r0 0 "$disk0" 7789 7790
	resource r1 2 "$disk2" 7790 7789
}

with_secret() {
	both
	option 'cram-hmac-alg sha1; shared-secret "one for both";'
	adm r0 up r0 && adm r1 up r1 && await 0 'cs:Connected' && await 2 'cs:Connected' &&
		adm r0 disconnect r0 && adm r1 disconnect r1
}

with_wrong_secret() {
	sed -i 's/one for both/another one/' "$work/r1.conf" || return 1
	adm r1 connect r1 && adm r0 connect r0 || return 1
	# Refused nodes stop trying; one that tries on must not have been let in.
	tries=0
	until line 0 | grep -Eq 'cs:StandAlone' || line 2 | grep -Eq 'cs:StandAlone'; do
		tries=$((tries + 1))
		if [ "$tries" -ge 300 ]; then break; fi
		if line 0 | grep -q 'cs:Connected'; then return 1; fi
		sleep 0.1
	done
	! line 0 | grep -q 'cs:Connected' && ! line 2 | grep -q 'cs:Connected' &&
		adm r0 disconnect r0 && adm r1 disconnect r1
}

unknown_digest() {
	both
	option 'cram-hmac-alg no-such-digest; shared-secret "x";'
	refused '\(120\)|no-such-digest' adm r0 connect r0
}

over_ipv6() {
	both
	for name in r0 r1; do
		sed -i 's/address 127.0.0.1:\([0-9]*\)/address ipv6 [::1]:\1/' "$work/$name.conf" || return 1
		adm "$name" connect "$name" || return 1
	done
	await 0 'cs:Connected' && await 2 'cs:Connected' && adm r0 disconnect r0 && adm r1 disconnect r1
}

strangers() {
	both
	adm r0 connect r0 && await 0 'cs:WFConnection' || return 1
	for noise in 1 2 3 4 5; do
		head -c $((noise * 37)) /dev/urandom | timeout 5 busybox nc 127.0.0.1 7789 >/dev/null 2>&1
		: | timeout 5 busybox nc 127.0.0.1 7789 >/dev/null 2>&1
	done
	await 0 'cs:WFConnection' && adm r1 connect r1 && await 0 'cs:Connected' && await 2 'cs:Connected'
}

goes_down() {
	adm r0 down r0 && adm r1 down r1 && [ -z "$(devices)" ]
}

need uname sed
plan 8
new_loop 32 || exit 1
disk0=$loop
new_loop 32 || exit 1
disk1=$loop
new_loop 32 || exit 1
disk2=$loop
new_loop 32 || exit 1
disk3=$loop
run "two volumes of a resource are replicated" two_volumes
run "and go down" two_volumes_go
run "both nodes know the secret" with_secret
run "a node with another secret is not let in" with_wrong_secret
run "a digest that the kernel does not know is refused" unknown_digest
if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then
	run "over IPv6" over_ipv6
else
	skip "over IPv6" "no IPv6 on this machine"
fi
if command -v busybox >/dev/null 2>&1 && busybox --list | grep -q '^nc$'; then
	run "strangers at the port do no harm" strangers
else
	skip "strangers at the port do no harm" "no busybox with nc"
fi
run "both go down" goes_down
finish
