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
test_durable_caller() {
	local caller counter n=30000 i out before
	kernel_start
	launch "$(cluster tests/cluster/durable.json)"
	caller=$ROOT
	counter=$(basename "$(readlink "$RUN/fs/vats/$(vat_id counter)/clist/o+0")")
	echo "0 0 0" > "$T/tally"
	status 0 capstan call "@$caller" run $n
	storm --kills 60 --max-us 40000
	status 0 cap_json call "@$caller" report
	before=$OUT
	for ((i = 0; i < 20000; i++)); do
		status 0 cap_json call "@$caller" report
		out=$(jq -r '.body | ltrimstr("#") | fromjson | "\(.issued) \(.acked) \(.refused)"' <<< "$OUT")
		[[ $out != "$n $n 0" ]] || break
	done
	note "after the kills: $before"
	equal "$n $n 0" "$out" "issued, acknowledged and refused at rest"
	status 0 capstan call "@$counter" get
	equal $n "$OUT" "the counter at rest"
	stop_and_fsck
}

run_tests
