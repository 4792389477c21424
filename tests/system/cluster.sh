#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Clusters through the CLI: launch, call, hold, release, restart, terminate; the shapes of answers and exit codes.
. "$(dirname "$0")/lib.sh"

# launch --json has exactly the documented fields (V3: the bootstrap's answer is the launch result).
test_trio() {
	kernel_start
	launch "$(cluster vatd/examples/trio.json)"
	equal "bootstrapResult,rootKref,subclusterId,vats" "$(jq -r 'keys | join(",")' <<< "$LAUNCH")" fields
	equal "alice,bob,carol" "$(jq -r '.vats | keys | join(",")' <<< "$LAUNCH")" vats
	equal "string array" "$(jq -r '.bootstrapResult | "\(.body | type) \(.slots | type)"' <<< "$LAUNCH")" bootstrapResult
	matches '^#' "$(jq -r .bootstrapResult.body <<< "$LAUNCH")" body
	quiet_promises
}
# After the trio nothing is in flight: no promise is left undecided, no queue holds anything.
quiet_promises() {
	local p
	for p in "$RUN"/fs/promises/*; do
		[[ -e $p ]] || continue
		! grep -q '^state: unresolved' "$p" || fail "$(basename "$p") is unresolved: $(tr '\n' ' ' < "$p")"
	done
}

# The same in human form; a subcluster's end releases everything it had.
test_trio_text() {
	local n
	kernel_start
	status 0 capstan launch "$(cluster vatd/examples/trio.json)"
	matches s1 "$OUT"
	matches alice "$OUT"
	status 0 capstan ps
	for n in alice bob carol; do
		matches "$n" "$OUT" ps
	done
	status 0 capstan terminate s1
	status 0 capstan ps
	! grep -q running <<< "$OUT" || fail "something still runs: $OUT"
	status 0 capstan status
}

# V1: the vats' processes end with the subcluster.
test_terminate() {
	local pid
	kernel_start
	launch_counter
	pid=$(vat_pid "$COUNTER_VAT")
	status 0 capstan call "@$COUNTER" increment
	status 0 capstan terminate "$SUB"
	gone "$pid"
	status 1 capstan call "@$COUNTER" increment
	matches 'OBJECT_DELETED|ENDPOINT_UNREACHABLE' "$ERR" "calling what is gone"
	equal 1 "$(grep -c . <<< "$ERR")" "lines of the error"
	status 1 capstan terminate "$SUB"
	status 1 capstan terminate s999
	matches s999 "$ERR"
	status 1 capstan terminate v999
	matches v999 "$ERR"
}

# V16: a vat runs what was launched, whatever became of the file.
test_program_kept() {
	kernel_start
	cp "$VATS/counter" "$T/counter"
	launch "$(one_vat "$T/counter")"
	status 0 capstan call "@$ROOT" increment
	cp "$VATS/bob" "$T/new" && mv "$T/new" "$T/counter"
	status 0 capstan restart "$(jq -r '.vats[]' <<< "$LAUNCH")"
	status 0 capstan call "@$ROOT" increment
	rm "$T/counter"
	broker_kill
	status 0 capstan call "@$ROOT" get
}

test_terminate_vat() {
	local pid
	kernel_start
	launch_counter
	pid=$(vat_pid "$COUNTER_VAT")
	status 0 capstan terminate "$COUNTER_VAT"
	gone "$pid"
	status 1 capstan call "@$COUNTER" get
}

# Values: readable without --json, capdata with it.
test_call() {
	local i
	kernel_start
	launch_counter
	for i in 1 2 3; do
		status 0 capstan call "@$COUNTER" increment
		equal $i "$OUT" increment
	done
	status 0 cap_json call "@$COUNTER" get
	equal '{"body":"#3","slots":[]}' "$(jq -cS . <<< "$OUT")" "call --json"
	# a method that is not there is a rejection of the vat, not of the kernel
	status 1 capstan call "@$COUNTER" no-such-method
	matches no-such-method "$ERR"
	equal 1 "$(grep -c . <<< "$ERR")" "lines of the error"
	status 1 cap_json call "@$COUNTER" no-such-method
}

# Exit status 2 for usage, 1 for what the kernel refuses, 3 without a broker.
test_exit_codes() {
	kernel_start
	launch_counter
	status 2 capstan
	status 2 capstan dance
	matches dance "$ERR"
	status 2 capstan call
	status 2 capstan call "@$COUNTER"
	status 2 capstan call "$COUNTER" get
	matches "@" "$ERR"
	status 2 capstan call "@nonsense" get
	status 2 capstan call "@$COUNTER" increment '{"half'
	status 2 capstan --nonsense status
	status 2 capstan launch
	status 1 capstan call @ko999999 get
	matches OBJECT_DELETED "$ERR"
	matches ko999999 "$ERR"
	status 1 capstan ping v999
	matches v999 "$ERR"
	status 1 capstan restart v999
	status 1 capstan log v999
	status 1 capstan release @ko999999
	status 3 "$BIN/capstan" --run "$T/nowhere" status
	status 0 capstan --help
	matches launch "$OUT"
	status 0 capstan --version
	kernel_stop
	status 3 capstan status
	equal 1 "$(grep -c . <<< "$ERR")" "lines of the error"
}

test_ping_and_status() {
	local n
	kernel_start
	status 0 capstan status
	[[ -n $OUT ]] || fail "status says nothing"
	status 0 cap_json status
	jq -e 'type == "object"' <<< "$OUT" > /dev/null || fail "status --json is not an object: $OUT"
	launch_counter
	status 0 capstan ping "$COUNTER_VAT"
	status 0 cap_json ps
	jq -e . <<< "$OUT" > /dev/null || fail "ps --json is not JSON: $OUT"
	equal 1 "$(grep -c '^' <<< "$(cat "$RUN/fs/vats/$COUNTER_VAT/pid")")"
	for n in 1 2 3; do
		status 0 capstan ping "$COUNTER_VAT"
	done
}

# V5: restart by hand: a new process and incarnation, baggage kept, the root's kref the same; not counted as a death.
test_restart() {
	local pid i
	kernel_start
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	for i in 2 3 4 5 6; do
		pid=$(vat_pid "$COUNTER_VAT")
		status 0 capstan restart "$COUNTER_VAT"
		gone "$pid"
		status 0 capstan call "@$COUNTER" increment
		equal $i "$OUT" "increment after restart $((i - 1))"
	done
	status 0 cap_json ps
	matches running "$OUT"
}

# V4: a vat that is killed from outside comes back by itself, with what it had committed.
test_vat_killed() {
	local pid
	kernel_start
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	pid=$(vat_pid "$COUNTER_VAT")
	kill -KILL "$pid"
	gone "$pid"
	status 0 capstan call "@$COUNTER" increment
	equal 2 "$OUT" "increment after the death"
	[[ $(vat_pid "$COUNTER_VAT") != "$pid" ]] || fail "the old pid is still shown"
}

# Log lines of the vat are kept, and -f follows them as they come.
test_log() {
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 0 capstan call "@$ROOT" say '"first line"'
	status 0 capstan log "$(vat_id it)"
	matches 'first line' "$OUT"
	mkfifo "$T/follow"
	capstan log "$(vat_id it)" -f > "$T/follow" 2> "$T/follow.err" &
	exec 8< "$T/follow"
	IFS= read -r -t "$WAIT" -u 8 LINE || fail "log -f shows nothing"
	matches 'first line' "$LINE"
	status 0 capstan call "@$ROOT" say '"second line"'
	IFS= read -r -t "$WAIT" -u 8 LINE || fail "log -f does not follow"
	matches 'second line' "$LINE"
	kill %1
	wait %1 || true
	exec 8<&-
	# control characters of a vat never reach a terminal
	status 0 capstan call "@$ROOT" say '"\u001b[31mred\u0007"'
	status 0 capstan log "$(vat_id it)"
	! grep -q $'\e' "$T/.out" || fail "an escape character came out raw"
	matches 'red' "$OUT"
}

# A reference that `call` printed is a durable hold until it is released; it survives the broker and the kernel.
test_holds() {
	local ref
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 0 cap_json call "@$ROOT" make
	ref=$(jq -r '.slots[0]' <<< "$OUT")
	matches '^ko[0-9]+$' "$ref"
	status 0 capstan holds
	matches "$ref" "$OUT" holds
	status 0 capstan call "@$ref" hello
	broker_kill
	# an ordinary export of the earlier incarnation is gone (V5), the hold still says that somebody wanted it
	status 1 capstan call "@$ref" hello
	matches OBJECT_DELETED "$ERR"
	status 0 capstan release "@$ref"
	status 0 capstan holds
	! grep -qw "$ref" <<< "$OUT" || fail "still held: $OUT"
	status 1 capstan release "@$ref"
}

# A durable object of a vat (o+d…) keeps its kref over restarts of the vat and of the broker (V5).
test_durable_object() {
	local ref
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 0 cap_json call "@$ROOT" make-durable
	ref=$(jq -r '.slots[0]' <<< "$OUT")
	status 0 capstan call "@$ref" hello
	status 0 capstan restart "$(vat_id it)"
	status 0 capstan call "@$ref" hello
	broker_kill
	status 0 capstan call "@$ref" hello
	kernel_kill
	fsck
	kernel_start
	status 0 capstan call "@$ref" hello
	status 0 cap_json call "@$ROOT" make-durable
	equal "$ref" "$(jq -r '.slots[0]' <<< "$OUT")" "kref of the durable object after restarts"
}

# References as arguments: @ko… and {"@":"ko…"} inside JSON; the callee gets the same object (C3).
test_arguments() {
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 0 cap_json call "@$ROOT" echo "@$ROOT" 5 '"x"' '{"a":[{"@":"'"$ROOT"'"}]}'
	equal "[\"$ROOT\"]" "$(jq -c .slots <<< "$OUT")" slots
	status 1 capstan call "@$ROOT" echo @ko424242
	matches 'ko424242' "$ERR"
}

# Many clusters side by side, then gone: everything is back where it was, the broker's descriptors and the tables.
test_many() {
	local i fds before
	kernel_start
	many 5
	fds=$(ls "/proc/$(broker_pid)/fd" | wc -l)
	before=$(tables)
	many 30
	equal "$fds" "$(ls "/proc/$(broker_pid)/fd" | wc -l)" "descriptors of the broker"
	equal "$before" "$(tables)" "rows of the tables"
	stop_and_fsck
}
many() {
	local i subs=()
	for ((i = 0; i < $1; i++)); do
		launch "$(cluster vatd/examples/counter.json)"
		subs+=("$SUB")
		status 0 capstan call "@$ROOT" increment
		equal 1 "$OUT"
	done
	for i in "${subs[@]}"; do
		status 0 capstan terminate "$i"
	done
}
tables() { grep -E '^(vats|subclusters|objects|promises|queue-items|gc-actions|holds|services|set-aside): ' "$RUN/fs/status"; }

run_tests
