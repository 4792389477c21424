#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kernelFacet with real processes: the vat of a system subcluster launches, calls and ends another one from inside its cranks, and goes on
# with it over the death of the broker. Who is no system subcluster does not get it. (S1, S2, S11)
. "$(dirname "$0")/lib.sh"

# A kernel with the steward as system subcluster; STEWARD: its root; HASH: a program that the store has.
start_steward() {
	local end=$((SECONDS + WAIT))
	mkdir "$T/etc"
	cp "$VATS/steward" "$VATS/counter" "$T/etc/"
	echo '{"system": {"steward": {"bootstrap": "it", "services": ["kernelFacet"], "vats": {"it": {"program": "./steward"},
		"spare": {"program": "./counter"}}}}}' > "$T/etc/capstand.json"
	kernel_start --config "$T/etc/capstand.json"
	until status 0 capstan status --json && jq -e '.subclusters[0].status == "running"' <<< "$OUT" > /dev/null; do
		[[ $SECONDS -lt $end ]] || fail "the steward does not come up: $OUT"
	done
	STEWARD=$(jq -r '.subclusters[0].rootKref' <<< "$OUT")
	HASH=sha256:$(sha256sum < "$T/etc/counter" | cut -d' ' -f1)
}
steward() { status 0 capstan call "@$STEWARD" "$@"; }

test_launch() {
	start_steward
	steward work "\"$HASH\""
	equal 5 "$OUT"
	broker_kill
	steward work "\"$HASH\""
	equal 5 "$OUT"
	steward listSubclusters
	matches 'id: "s1", name: "steward"' "$OUT"
	# References go in and out as references: what is printed is held, and can be called.
	steward launchSubcluster "{\"bootstrap\": \"it\", \"vats\": {\"it\": {\"program\": \"$HASH\"}}}" --json
	ROOT=$(jq -r '(.body[1:] | fromjson).root[1:] | split(".")[0] | tonumber' <<< "$OUT")
	ROOT=$(jq -r ".slots[$ROOT]" <<< "$OUT")
	status 0 capstan call "@$ROOT" increment
	equal 1 "$OUT"
	steward revoke "{\"@\": \"$ROOT\"}"
	status 1 capstan call "@$ROOT" increment
	matches OBJECT_REVOKED "$ERR"
	status 1 capstan call "@$STEWARD" launchSubcluster '{"bootstrap": "it", "vats": {"it": {"program": "./counter"}}}'
	matches 'TypeError: kernelFacet.launchSubcluster: config: ./counter is a path' "$ERR"
	status 1 capstan call "@$STEWARD" terminateSubcluster '"s77"'
	matches 'SUBCLUSTER_UNKNOWN' "$ERR"
	stop_and_fsck
}

test_not_for_others() {
	start_steward
	jq -nc --arg p "$VATS/steward" '{bootstrap: "it", services: ["kernelFacet"], vats: {it: {program: $p}}}' > "$T/own.json"
	status 1 capstan launch "$T/own.json"
	local refused=$ERR
	jq -nc --arg p "$VATS/steward" '{bootstrap: "it", services: ["kernelFacex"], vats: {it: {program: $p}}}' > "$T/own.json"
	status 1 capstan launch "$T/own.json"
	equal "${ERR/kernelFacex/kernelFacet}" "$refused"
	steward terminateVat '"v2"'	# the spare one
	equal '{}' "$OUT"
	# It ends itself: whoever called it hears so.
	status 1 capstan call "@$STEWARD" terminateSubcluster '"s1"'
	matches 'VAT_TERMINATED' "$ERR"
	stop_and_fsck
}

run_tests
