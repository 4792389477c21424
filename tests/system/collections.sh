#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A map of 20,000 entries in a vat's store: over restarts of the vat and of everything, and let go a part at a time while
# the vat goes on working, also when it dies in the middle.
. "$(dirname "$0")/lib.sh"

ask() { status 0 capstan call "@$KEEPER" "$@"; }
entries() { grep -ac '^entry\.' "$RUN/fs/vats/$KEEPER_VAT/vatstore" || true; }
filled_keeper() {
	local i
	kernel_start
	launch "$(one_vat "$VATS/keeper")"
	KEEPER=$ROOT KEEPER_VAT=$(vat_id it)
	for ((i = 0; i < 20000; i += 5000)); do
		ask fill $i 5000
		equal $((i + 5000)) "$OUT" "the size"
	done
}
whole() {
	ask size
	equal 20000 "$OUT" "the size"
	ask get 141
	equal 19881 "$OUT" "an entry"
	ask walk -5 30000
	equal 20000 "$OUT" "all keys, in order"
	ask walk 1000 1010
	equal 10 "$OUT" "a range"
}
# Each look is a call that the vat answers, so their number is bounded by its work and not by a clock.
until_no_entries() {
	local i
	for ((i = 0; i < 5000; i++)); do
		ask echo "$i"
		equal "$i" "$OUT" "the answer of a vat that cleans up"
		[[ $(entries) != 0 ]] || return 0
	done
	fail "$(entries) entries are left"
}
kill_vat() {
	local pid
	pid=$(vat_pid "$KEEPER_VAT")
	kill -KILL "$pid"
	gone "$pid"
}

test_restarts() {
	filled_keeper
	equal 20000 "$(entries)" "rows"
	whole
	kill_vat
	whole
	kernel_kill
	fsck
	kernel_start
	whole
	broker_kill
	whole
	stop_and_fsck
}

test_clear() {
	filled_keeper
	ask clear
	ask size
	equal 0 "$OUT" "the size at once"
	ask get 141
	equal undefined "$OUT" "an entry that was cleared"
	ask fill 0 100
	equal 100 "$OUT" "the size of what is new"
	[[ $(entries) -gt 10000 ]] || fail "all was deleted at once"
	kill_vat
	ask walk 0 30000
	equal 100 "$OUT" "what is new"
	ask drop
	until_no_entries
	stop_and_fsck
}

test_drop() {
	filled_keeper
	ask drop
	[[ $(entries) -gt 10000 ]] || fail "all was deleted at once"
	kill_vat
	ask echo 1
	kernel_kill
	fsck
	kernel_start
	until_no_entries
	! grep -a '^count\.\|^gone\.\|^object\.o+d' "$RUN/fs/vats/$KEEPER_VAT/vatstore" || fail "something of the map is left"
	stop_and_fsck
}

run_tests
