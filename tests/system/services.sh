#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Services of programs outside, on the real control socket.
. "$(dirname "$0")/lib.sh"

# greeter: runs the example; GREETER its pid, SERVICE its reference.
greeter() {
	local word
	exec 8< <(exec "$SOURCE/tools/examples/greeter.py" "$RUN" 2>&1)
	GREETER=$!
	read -r -t "$WAIT" word SERVICE <&8 || fail "the greeter does not serve"
	equal serving "$word"
}
hangs_up() {
	kill -KILL "$GREETER"
	gone "$GREETER"
	exec 8<&-
}
listed() { status 0 capstan services; matches "$1" "$OUT" services; }

# The example as its page shows it: called, given references, lost, back under the same reference, removed (S3, S7, S8, V9).
test_greeter() {
	local first
	kernel_start
	greeter
	first=$SERVICE
	launch "$(jq -c '.services = ["greeter", "console"]' "$(cluster vatd/examples/counter.json)")"
	status 0 capstan call "@$SERVICE" hello '"Ann"'
	equal '"Hello, Ann!"' "$OUT"
	status 0 cap_json call "@$SERVICE" introduce "@$ROOT" "@$SERVICE"
	equal "$ROOT $SERVICE" "$(jq -r '.slots | join(" ")' <<< "$OUT")" "references"
	status 1 capstan call "@$SERVICE" hello
	matches 'TypeError' "$ERR"
	status 1 capstan call "@$SERVICE" sing
	matches "has no attribute 'sing'" "$ERR"
	listed "greeter +$SERVICE +host +attached +0 +no +0"
	listed "console +ko1 +builtin +- +- +no +0"
	equal "$SERVICE" "$(basename "$(readlink "$RUN/fs/services/greeter")")" "the mount"
	hangs_up
	status 1 capstan call "@$SERVICE" hello '"Ann"'
	matches SERVICE_UNAVAILABLE "$ERR"
	listed "greeter +$SERVICE +host +away"
	greeter
	equal "$first" "$SERVICE" "the reference of the greeter that came back"
	broker_kill
	gone "$GREETER"
	exec 8<&-
	greeter
	equal "$first" "$SERVICE" "the reference after the broker's death"
	status 0 capstan call "@$SERVICE" count
	equal 0 "$OUT"
	status 0 capstan unregister greeter
	status 1 capstan unregister greeter
	matches SERVICE_UNKNOWN "$ERR"
	status 1 capstan call "@$SERVICE" count
	matches "SERVICE_UNAVAILABLE|OBJECT_DELETED" "$ERR"
	hangs_up
}

# S1: the same words for what is not there and what is not for it.
test_system_only() {
	local unknown
	kernel_start
	jq -c '.services = ["secret"]' "$(cluster vatd/examples/counter.json)" > "$T/asks.json"
	status 1 capstan launch "$T/asks.json"
	unknown=$ERR
	echo '{"jsonrpc":"2.0","id":1,"method":"registerService","params":{"name":"secret","systemOnly":true}}' |
		"$HELPERS/rpc" "$RUN/control.sock" > "$T/reply"
	jq -e .result.kref "$T/reply" > /dev/null || fail "$(< "$T/reply")"
	status 1 capstan launch "$T/asks.json"
	equal "$unknown" "$ERR"
}

# L1, S7, S8
test_hostile_hosts() {
	kernel_start
	launch_counter
	chmod 755 "$RUN"
	chmod 666 "$RUN/control.sock"	# for a client of another uid
	status 0 python3 "$SOURCE/tests/helpers/hosts.py" "$RUN"
	status 0 capstan call "@$COUNTER" increment
	listed "odd +ko[0-9]+ +host +away +0 +no +0"
}

run_tests
