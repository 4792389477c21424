#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# L2: a message that ends the broker does so three times; then it is set aside and rejected, and everything goes on.
. "$(dirname "$0")/lib.sh"

reported() { jq -r '.body | ltrimstr("#") | fromjson | "\(.issued) \(.acked) \(.refused)"' "$T/report"; }
poisoned() {	# poisoned STAGE MOST: brokers end when the caller's message comes to that stage, three of them to so many
	local i n
	touch "$T/broker-may-exit"
	CAPSTAN_TEST_FAULT=$1:increment kernel_start
	launch "$(cluster tests/cluster/durable.json)"
	CALLER=$ROOT
	COUNTER=$(basename "$(readlink "$RUN/fs/vats/$(vat_id counter)/clist/o+0")")
	for ((i = 0; i < 2000; i++)); do
		cap_json call "@$CALLER" report > "$T/report" 2> /dev/null || continue	# its broker ended
		case $(reported) in
		"0 0 0") capstan call "@$CALLER" run 1 || true ;;	# what was not on disk yet is gone with the broker
		"1 0 1") break ;;
		esac
	done
	[[ $i -lt 2000 ]] || fail "the message was never rejected: $(< "$T/report")"
	n=$(grep -c 'the broker was killed by signal 6' "$RUN/capstand.log")
	[[ $n -ge 3 && $n -le $2 ]] || fail "it ended $n brokers"
	status 0 capstan call "@$COUNTER" get
	equal 0 "$OUT" "the counter: nothing of it was applied"
	status 0 capstan aside
	matches 'increment' "$OUT" "what was set aside"
	broker_kill	# and it stays so
	status 0 capstan call "@$COUNTER" get
	stop_and_fsck
}
test_apply() { poisoned apply 3; }
test_prepare() { poisoned prepare 4; }

run_tests
