#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kernel's timer with real processes: a wakeup and a delay, set before the broker is killed, come once, after it. An idle
# kernel sleeps until then. (S9, V9)
. "$(dirname "$0")/lib.sh"

sleeper() { jq -nc --arg p "$VATS/sleeper" '{bootstrap: "it", services: ["timer"], vats: {it: {program: $p}}}'; }
told() { status 0 capstan call "@$ROOT" told; echo "$OUT"; }
# Nobody can wait for a vat from outside; each look is a call.
woken() {
	local end=$((SECONDS + WAIT))
	while [[ $(told) != "$1" ]]; do
		[[ $SECONDS -lt $end ]] || fail "not woken: $(told)"
		sleep 0.02
	done
}

test_once_over_kills() {
	kernel_start
	launch "$(sleeper)"
	status 0 capstan call "@$ROOT" arm "$(($(date +%s%3N) + 500))" 500
	broker_kill
	equal "[0, 0]" "$(told)"
	woken "[1, 1]"
	broker_kill
	equal "[1, 1]" "$(told)"
	# Due while nothing runs at all.
	status 0 capstan call "@$ROOT" arm "$(($(date +%s%3N) + 50))" 50
	kernel_kill
	kernel_start
	woken "[2, 2]"
	stop_and_fsck
}

# The broker wakes up by itself, and does not look at the clock all the time until then.
test_idle() {
	local broker before after
	kernel_start
	launch "$(sleeper)"
	status 0 capstan call "@$ROOT" arm "$(($(date +%s%3N) + 300))" 300
	broker=$(broker_pid)
	status 0 cap_json holds
	before=$(awk '/^voluntary/ { print $2 }' "/proc/$broker/status")
	sleep 0.5
	after=$(awk '/^voluntary/ { print $2 }' "/proc/$broker/status")
	[[ $((after - before)) -lt 40 ]] || fail "the broker woke up $((after - before)) times in half a second"
	equal "[1, 1]" "$(told)"
}

run_tests
