#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# run.sh TEST...: run tests one after the other, as the kernel's selftest runner does: TAP 13, the output of each test as
# comments in front of its line. Exit 4 of a test is a skip. Ends with 1 if any test failed.

cd "$(dirname "$0")" || exit 1
echo "TAP version 13"
echo "1..$#"
number=0
failed=0
for test in "$@"; do
	number=$((number + 1))
	echo "# selftests: rdb: $test"
	output=$(mktemp) || exit 1
	status=0
	timeout "${KSFT_TIMEOUT:-600}" sh "./$test" >"$output" 2>&1 || status=$?
	sed 's/^/# /' "$output"
	reason=$(sed -n 's/^1\.\.0 # SKIP //p' "$output" | head -n 1)
	rm -f "$output"
	case $status in
	0) echo "ok $number selftests: rdb: $test" ;;
	4) echo "ok $number selftests: rdb: $test # SKIP${reason:+ $reason}" ;;
	124)
		echo "not ok $number selftests: rdb: $test # TIMEOUT"
		failed=1
		;;
	*)
		echo "not ok $number selftests: rdb: $test # exit=$status"
		failed=1
		;;
	esac
done
exit "$failed"
