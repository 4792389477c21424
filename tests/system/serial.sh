#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --serial: one delivery in flight in the whole kernel. The same clusters, the same answers.
. "$(dirname "$0")/lib.sh"

test_trio() {
	local parallel
	kernel_start
	launch "$(cluster vatd/examples/trio.json)"
	parallel=$(jq -r .bootstrapResult.body <<< "$LAUNCH")
	stop_and_fsck
	rm -rf "$STATE"
	kernel_start --serial
	launch "$(cluster vatd/examples/trio.json)"
	equal "$parallel" "$(jq -r .bootstrapResult.body <<< "$LAUNCH")" "the bootstrap's answer"
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	status 0 capstan call "@$COUNTER" increment
	equal 2 "$OUT"
	broker_kill
	status 0 capstan call "@$COUNTER" get
	equal 2 "$OUT"
}

# Deterministic: two runs over the same clusters give the same krefs in the same places.
test_deterministic() {
	local first second
	kernel_start --serial
	launch "$(cluster vatd/examples/trio.json)"
	first=$(shape)
	stop_and_fsck
	rm -rf "$STATE"
	kernel_start --serial
	launch "$(cluster vatd/examples/trio.json)"
	second=$(shape)
	equal "$first" "$second" "objects, promises and clists"
}
shape() {
	(cd "$RUN/fs" && ls objects promises && for v in vats/*; do ls -l "$v/clist" | awk '{ print $(NF-2), $(NF-1), $NF }'; done)
}

# A stuck vat holds up a serial kernel only until its deadline.
test_stuck() {
	kernel_start --serial
	launch_counter
	launch "$(one_vat "$VATS/hostile" call | jq -c '.vats.it.limits.deadlineMs = 200')"
	capstan call "@$ROOT" spin > "$T/stuck" 2>&1 &
	status 0 capstan call "@$COUNTER" increment
	! wait $! || fail "the stuck call was answered"
	matches DELIVERY_FAILED "$(< "$T/stuck")"
	status 0 capstan call "@$COUNTER" get
}

# The other store implementation, slower and simpler, under the same kernel: --direct.
test_direct() {
	kernel_start --direct
	launch "$(cluster vatd/examples/trio.json)"
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	broker_kill
	status 0 capstan call "@$COUNTER" increment
	equal 2 "$OUT"
	stop_and_fsck
	# what one wrote the other reads
	kernel_start
	status 0 capstan call "@$COUNTER" get
	equal 2 "$OUT"
	stop_and_fsck
	kernel_start --direct --serial
	status 0 capstan call "@$COUNTER" increment
	equal 3 "$OUT"
}

run_tests
