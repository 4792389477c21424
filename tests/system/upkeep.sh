#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Looking after a kernel with the command: pins, revoking, collection at request, and what was set aside.
. "$(dirname "$0")/lib.sh"

pins() { cap_json holds | jq '[.holds[] | select(.kind == "pin") | .count] | add // 0'; }

# G5, G9, C7: pins nest, survive a restart of the kernel, and hold only what there is. X1, X3.
test_pin_and_revoke() {
	kernel_start
	launch_counter
	status 0 capstan pin "@$COUNTER"
	equal "@$COUNTER: pins: 1" "$OUT"
	status 0 cap_json pin "@$COUNTER"
	equal 2 "$(jq .pins <<< "$OUT")"
	kernel_stop
	kernel_start
	equal 2 "$(pins)"
	status 0 capstan unpin "@$COUNTER"
	status 0 capstan unpin "@$COUNTER"
	status 1 capstan unpin "@$COUNTER"
	matches NOT_PINNED "$ERR"
	status 1 capstan pin @ko999999
	matches OBJECT_DELETED "$ERR"
	status 0 capstan revoke "$COUNTER_VAT"
	status 1 capstan call "@$COUNTER" get
	matches OBJECT_REVOKED "$ERR"
	matches 'revoked: yes' "$(< "$RUN/fs/objects/$COUNTER/status")"
	status 1 capstan revoke v999
	matches VAT_UNKNOWN "$ERR"
	stop_and_fsck
}

# G4, G8
test_collect() {
	kernel_start
	launch_counter
	status 0 cap_json reap
	equal 1 "$(jq .vats <<< "$OUT")"
	status 0 capstan reap "$COUNTER_VAT"
	status 0 cap_json gc
	equal '["circular","objects","promises","vats"]' "$(jq -c keys <<< "$OUT")"
	equal 1 "$(jq .vats <<< "$OUT")"
	stop_and_fsck
}

# V4, V17: what killed its vat is listed, can be sent anew, kills again, and can be dropped.
test_aside() {
	local id
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 1 capstan call "@$ROOT" crash
	matches DELIVERY_FAILED "$ERR"
	status 0 cap_json aside
	equal '["crash",2,true,null]' "$(jq -c '.aside[0] | [.method, .deaths, .sendable, .lost]' <<< "$OUT")"
	id=$(jq '.aside[0].id' <<< "$OUT")
	status 1 capstan aside send "$id"
	matches DELIVERY_FAILED "$ERR"
	status 0 capstan aside drop "$id"
	status 1 capstan aside send "$id"
	matches ASIDE_UNKNOWN "$ERR"
	status 0 cap_json aside
	equal 1 "$(jq '.aside | length' <<< "$OUT")" "set aside anew"
	stop_and_fsck
}

run_tests
