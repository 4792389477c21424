#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Very many durable objects in one vat: its memory stays small, they survive, and letting go of all of them at once takes
# many cranks and no crank too long. TROVE=1000000 makes it the million (some minutes; not part of the run).
. "$(dirname "$0")/lib.sh"

MANY=${TROVE:-50000}
BOUND_KB=6144

# What the process has for itself alone.
private_kb() {
	awk '/^Private_(Clean|Dirty):/ { n += $2 } END { print n }' "/proc/$(vat_pid "$VAT")/smaps_rollup"
}
bounded() {
	local kb bound=${2:-$BOUND_KB}
	kb=$(private_kb)
	note "$1: $kb KiB private"
	[[ $kb -lt $bound ]] || fail "$1: $kb KiB private, more than $bound"
}
ask() {
	status 0 cap_json call "@$ROOT" "$@"
	OUT=$(jq -r '.body | ltrimstr("#")' <<< "$OUT")
}
stored_bytes() { sed -n 's/^vatstore-bytes[ :]*//p' "$RUN/fs/vats/$VAT/usage"; }

trove_start() {
	kernel_start
	launch "$(one_vat "$VATS/trove")"
	VAT=$(vat_id it)
}

test_many() {
	local i
	trove_start
	for ((i = 0; i < MANY; i += 1000)); do
		ask more
	done
	equal "$MANY" "$OUT" "leaves"
	bounded "$MANY made"
	for ((i = 1; i <= 100; i++)); do
		ask touch "$i" 25
		equal 25 "$OUT" "touched"
	done
	bounded "2500 touched at random"
	ask lend 777
	status 0 capstan restart "$VAT"
	ask touch 101 25
	equal 25 "$OUT" "touched after a restart"
	bounded "after a restart"

	ask letGo
	for ((i = 0; $(stored_bytes) > 3000; i++)); do
		[[ $i -lt $((MANY / 10)) ]] || fail "$(stored_bytes) bytes are left in the vatstore"
		ask touch 1 1
	done
	note "gone after $i further calls"
	# Deleting them leaves the process larger than keeping them did: some 250 bytes an object.
	bounded "all gone" $((BOUND_KB + MANY / 4))
	stop_and_fsck
}

# A list of 100,000 that is let go at once: no deep recursion, and no crank beyond the kernel's limit of 100,000 syscalls.
test_chain() {
	local i
	trove_start
	for ((i = 0; i < 50; i++)); do
		ask chain 2000
	done
	equal 100000 "$OUT" "links"
	bounded "a chain of 100,000"
	ask letGo
	bounded "let go"
	# in the middle of it, another incarnation goes on
	status 0 capstan restart "$VAT"
	for ((i = 0; $(stored_bytes) > 3000; i++)); do
		[[ $i -lt 20000 ]] || fail "$(stored_bytes) bytes are left in the vatstore"
		ask touch 1 1
	done
	note "gone after $i further calls"
	stop_and_fsck
}

run_tests
