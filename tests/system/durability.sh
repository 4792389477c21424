#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SIGKILL at random moments, over calls that count in baggage. Outside callers: acknowledged <= counter <= issued. A durable
# caller vat: exactly equal at rest. fsck clean after each death of everything. At least 200 kills in all. The seed of
# the random moments is printed by tests/helpers/storm on failure and can be given as STORM_SEED.
. "$(dirname "$0")/lib.sh"

storm() {
	"$HELPERS/storm" --run "$RUN" --tally "$T/tally" ${STORM_SEED:+--seed "$STORM_SEED"} "$@"
}

outside_callers() {
	kernel_start "${@:2}"
	launch_counter
	echo "0 0 0" > "$T/tally"
	storm --ref "$COUNTER" --kills "$1"
	cat "$T/tally"
	[[ $(awk '{ print $2 }' "$T/tally") -gt 0 ]] || fail "nothing was ever acknowledged"
	stop_and_fsck
}
test_broker() { outside_callers 100; }
test_broker_deep() {
	kernel_start
	launch_counter
	echo "0 0 0" > "$T/tally"
	storm --ref "$COUNTER" --kills 30 --depth 500
	stop_and_fsck
}
# The same, short: what the sanitised kernel runs.
test_broker_short() { outside_callers 8; }

# Everything dies at once; the store is checked before anything opens it again.
test_everything() {
	local i
	kernel_start
	launch_counter
	echo "0 0 0" > "$T/tally"
	for ((i = 0; i < 50; i++)); do
		storm --ref "$COUNTER" --kills 1 --spawner
		gone "$SPAWNER"
		orphans_gone
		fsck
		kernel_start
	done
	storm --ref "$COUNTER" --kills 0
	stop_and_fsck
}

# A durable caller in a vat: it remembers what it sent and what came back, over all deaths, and at rest all is equal.
durable_start() {
	kernel_start
	launch "$(cluster tests/cluster/durable.json)"
	CALLER=$ROOT CALLER_VAT=$(vat_id caller) COUNTER_VAT=$(vat_id counter)
	COUNTER=$(basename "$(readlink "$RUN/fs/vats/$COUNTER_VAT/clist/o+0")")
	echo "0 0 0" > "$T/tally"
	status 0 capstan call "@$CALLER" run "$1"
}
reported() { jq -r '.body | ltrimstr("#") | fromjson | "\(.issued) \(.acked) \(.refused)"' <<< "$OUT"; }
# Each report is a call of its own, so the number of looks is bounded by the kernel's work and not by a clock.
durable_at_rest() {
	local n=$1 i
	for ((i = 0; i < 20000; i++)); do
		status 0 cap_json call "@$CALLER" report
		[[ $(reported) != "$n $n 0" ]] || break
	done
	equal "$n $n 0" "$(reported)" "issued, acknowledged and refused at rest"
	status 0 capstan call "@$COUNTER" get
	equal "$n" "$OUT" "the counter at rest"
	stop_and_fsck
}
test_durable_caller() {
	durable_start 30000
	storm --kills 60 --max-us 40000
	status 0 cap_json call "@$CALLER" report
	note "after the kills: $OUT"
	durable_at_rest 30000
}
test_durable_caller_everything() {
	local i
	durable_start 20000
	for ((i = 0; i < 20; i++)); do
		storm --kills 1 --max-us 60000 --spawner
		gone "$SPAWNER"
		orphans_gone
		fsck
		kernel_start
	done
	durable_at_rest 20000
}
# The vats themselves are killed, caller and counter by turns, as often as the restart policy forgives (V4, V5).
test_durable_caller_vats() {
	local i pid vat
	durable_start 20000
	for ((i = 0; i < 3; i++)); do
		for vat in "$CALLER_VAT" "$COUNTER_VAT"; do
			status 0 capstan ping "$vat"
			pid=$(vat_pid "$vat")
			kill -KILL "$pid"
			gone "$pid"
			status 0 cap_json call "@$CALLER" report
		done
	done
	note "after the kills: $OUT"
	durable_at_rest 20000
}

run_tests
