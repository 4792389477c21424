#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What goes on in a kernel at work: its events and logs while they grow, and states of it that are kept.
. "$(dirname "$0")/lib.sh"

# follow FILE COMMAND…: runs it with its output into FILE; said_in FILE REGEX waits for a line there, which tail -f of a plain
# file hears of from the kernel, and is the line in $LINE.
follow() {
	local out=$1
	shift
	: > "$out"
	"$@" > "$out" 2> "$out.err" &
	FOLLOWER=$!
}
said_in() {
	LINE=$(timeout "$WAIT" tail -n +1 -f "$1" | grep -m 1 -E -- "$2") || true
	[[ -n $LINE ]] || fail "nothing like /$2/ in $1: $(tail -n 5 "$1")"
}
# Calls one after the other until told to stop.
keep_calling() {
	while [[ ! -e $T/enough ]]; do capstan call "@$COUNTER" increment > /dev/null || return 1; done
}

# events: what a call did, a kill, and the start after it, each as one line, in this order, to each of many readers.
test_events() {
	local n readers=()
	kernel_start
	launch_counter
	for n in {1..20}; do
		follow "$T/events.$n" cat "$RUN/fs/events"
		readers+=("$FOLLOWER")
	done
	# One that was opened before the call sees it; whether those in the background were, their first line tells.
	exec 7< "$RUN/fs/events"
	status 0 capstan call "@$COUNTER" increment
	IFS= read -r -u 7 LINE
	matches "^[0-9T:.-]+Z crank $COUNTER_VAT delivery=[0-9]+ work=message target=$COUNTER method=increment syscalls=[0-9]+ us=[0-9]+ outcome=applied\$" \
		"$LINE" "the call"
	IFS= read -r -u 7 LINE
	matches "^[^ ]+ resolve $COUNTER_VAT promise=kp[0-9]+ state=fulfilled\$" "$LINE" "its result"
	kill -9 "$(vat_pid "$COUNTER_VAT")"
	status 0 capstan call "@$COUNTER" increment
	timeout "$WAIT" grep -m 1 -E "^[^ ]+ death $COUNTER_VAT incarnation=1 why=.*(KILL|signal 9)" <&7 > /dev/null || fail "no death"
	timeout "$WAIT" grep -m 1 -E "^[^ ]+ spawn $COUNTER_VAT incarnation=2 pid=$(vat_pid "$COUNTER_VAT")\$" "$RUN/fs/recent" > /dev/null ||
		fail "no spawn: $(cat "$RUN/fs/recent")"
	exec 7<&-
	for n in {1..20}; do
		status 0 capstan call "@$COUNTER" increment
		said_in "$T/events.$n" " crank $COUNTER_VAT .* outcome=applied\$"
	done
	matches "subcluster=s1" "$(grep -m 1 ' launch ' "$RUN/fs/recent")" "the launch"
	kill "${readers[@]}"
	wait "${readers[@]}" 2> /dev/null || true
}

# A log is followed by tail -f while its vat writes.
test_log() {
	local log
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	log=$RUN/fs/vats/$(vat_id it)/log
	status 0 capstan call "@$ROOT" say '"first"'
	follow "$T/tail" tail -n +1 -s 0.05 -f "$log"
	said_in "$T/tail" "first"
	status 0 capstan call "@$ROOT" say '"second line"'
	said_in "$T/tail" "second line"
	kill "$FOLLOWER"
	equal "$(wc -c < "$log")" "$(stat -c %s "$log")" "size of the log"
	equal "$(cat "$log")" "$(cat "$T/tail")" "what tail -f gave"
}

# While the kernel works: a frozen tree is one state, complete, and says so again and again; and calls go on.
test_snapshot() {
	local calls left before
	kernel_start
	launch "$(cluster vatd/examples/trio.json)"
	launch_counter
	keep_calling & calls=$!
	status 0 ls "$RUN/fs/snapshot/a"
	for n in 1 2; do tar cf "$T/$n.tar" -C "$RUN/fs/snapshot" a || fail "tar"; done
	cmp "$T/1.tar" "$T/2.tar" || fail "two archives of one state differ"
	equal "" "$(find "$RUN/fs/snapshot/a" -xtype l)" "links that lead nowhere"
	tar xf "$T/1.tar" -C "$T"
	diff -r --no-dereference "$T/a" "$RUN/fs/snapshot/a" || fail "the archive is not the state"
	before=$(awk '/^cranks:/ { print $2 }' "$RUN/fs/snapshot/a/status")
	status 0 cat "$RUN/fs/snapshot/b/status"
	[[ $(awk '/^cranks:/ { print $2 }' <<< "$OUT") -ge $before ]] || fail "time goes back: $OUT"
	status 0 capstan call "@$COUNTER" increment
	equal "$before" "$(awk '/^cranks:/ { print $2 }' "$RUN/fs/snapshot/a/status")" "cranks of a frozen tree"
	equal "a b" "$(awk 'NR > 1 { print $1 }' "$RUN/fs/snapshot.txt" | xargs)"
	# And all over what is not kept: nothing but what has gone meanwhile is missing.
	left=$(find "$RUN/fs" -path "$RUN/fs/snapshot" -prune -o -type f ! -name events -exec cat {} + 2>&1 > /dev/null |
		grep -v 'No such file or directory' || true)
	equal "" "$left" "what a walk says"
	touch "$T/enough"
	wait "$calls" || fail "a call failed meanwhile"
	stop_and_fsck
}

# Its deadline is the setting's; the broker's death ends it too.
test_snapshot_ends() {
	local until
	echo '{"mount": {"snapshotMs": 1000}}' > "$T/config.json"
	kernel_start --config "$T/config.json"
	status 0 ls "$RUN/fs/snapshot/x"
	until=$(date -d "$(awk '$1 == "x" { print $5 }' "$RUN/fs/snapshot.txt")" +%s%N)
	cd "$RUN/fs/snapshot/x"
	while ls vats > /dev/null 2>&1; do
		[[ $(date +%s%N) -lt $((until + 1000000000)) ]] || fail "x lives on"
	done
	[[ $(date +%s%N) -ge $((until - 50000000)) ]] || fail "x ended early"
	cd "$T"
	equal "" "$(ls "$RUN/fs/snapshot")" "after its end"
}

# Fifty who wait, one who is stopped in the middle: the kernel does not notice, and the end of capstan-fs lets all of them go.
test_hostile_readers() {
	local n waiting=() stopped fs
	kernel_start
	launch_counter
	for n in {1..50}; do
		follow "$T/wait.$n" cat "$RUN/fs/events"
		waiting+=("$FOLLOWER")
	done
	( kill -STOP "$BASHPID"; cat <&8 > /dev/null ) 8< "$RUN/fs/events" & stopped=$!
	for n in {1..20}; do status 0 capstan call "@$COUNTER" increment; done
	said_in "$T/wait.50" "outcome=applied"
	status 0 cat "$RUN/fs/vats/$COUNTER_VAT/name"
	fs=$(fs_pid)
	kill -9 "$fs"
	kill -CONT "$stopped"
	gone "${waiting[@]}" "$stopped" || fail "readers hang after capstan-fs is gone"
	wait 2> /dev/null || true
	status 0 capstan call "@$COUNTER" get
	equal "20" "$OUT"
}

run_tests
