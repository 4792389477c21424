#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A vat in Python (vatd/examples/vat.py) in the real jail, as a peer of vats in C.
. "$(dirname "$0")/lib.sh"

# A cluster file of the tree; C vats from this build, scripts and their files from the tree.
mixed() {
	jq --arg v "$VATS/" --arg s "$(realpath "$SOURCE/$(dirname "$1")")/" '.vats |= map_values(
		.program |= (if endswith(".py") then $s + . else $v + sub(".*/"; "") end)
		| if .files then .files |= map_values($s + .) else . end)' "$SOURCE/$1" > "$T/$(basename "$1")"
	echo "$T/$(basename "$1")"
}
peer() {
	jq -nc --arg p "$SOURCE/tests/vats/peer.py" --arg f "$SOURCE/vatd/examples/vat.py" --arg c "$VATS/counter" '{bootstrap: "it",
		vats: {it: {program: $p, runtime: "host", files: {"vat.py": $f}}, counter: {program: $c}}}'
}
says() { status 0 capstan call "@$ROOT" "${@:2}"; equal "$1" "$OUT" "$2"; }
# becomes REGEX FILE: looks after each of so many calls.
becomes() {
	local i
	for ((i = 0; i < 1000; i++)); do
		status 0 capstan status
		! grep -qE "$1" "$2" || return 0
	done
	fail "$2 has no $1: $(cat "$2")"
}
kref() { basename "$(readlink "$RUN/fs/vats/$1/clist/o+0")"; }

# The example: entries are numbered by C, greeted by C, kept by Python, over all that dies.
test_guestbook() {
	local entry vat pid
	kernel_start
	launch "$(mixed vatd/examples/guestbook.json)"
	vat=$(vat_id guestbook)
	status 0 cap_json call "@$ROOT" sign '"Ann"' '"hello"'
	matches 'number.":1' "$OUT"
	entry=$(jq -r '.slots[0]' <<< "$OUT")
	status 0 cap_json call "@$ROOT" sign '"Ben"' '"me too"'
	says '["Ann: hello", "Ben: me too"]' read
	status 0 capstan log "$vat"
	matches 'Ben was here' "$OUT"
	matches 'entries.*o\+d1\.1' "$(grep '^s\.o+0' "$RUN/fs/vats/$vat/vatstore" | sed 's/\(o+d1.1\)\(.*\)/\2 \1/')" "the mount"
	[[ -L $RUN/fs/vats/$vat/clist/o+d1.1 ]] || fail "the entry is not in the clist: $(ls "$RUN/fs/vats/$vat/clist")"
	equal "$entry" "$(basename "$(readlink "$RUN/fs/vats/$vat/clist/o+d1.1")")" "the entry's kref"
	status 1 capstan call "@$ROOT" sign 5 '"x"'
	matches 'TypeError' "$ERR"
	status 1 capstan call "@$ROOT" sign '"x"'
	matches "missing 1 required positional argument: 'words'" "$ERR"

	pid=$(vat_pid "$vat")
	status 0 capstan restart "$vat"
	gone "$pid"
	says '["Ann: hello", "Ben: me too"]' read
	pid=$(vat_pid "$vat")
	kill -KILL "$pid"
	gone "$pid"
	says '["Ann: hello", "Ben: me too"]' read
	broker_kill
	status 0 capstan call "@$entry" read
	equal '"Ann: hello"' "$OUT" "the entry"
	kernel_kill
	fsck
	kernel_start
	status 0 capstan call "@$entry" withdraw
	says '["Ben: me too"]' read
	status 0 capstan call "@$ROOT" sign '"Eve"' '"third"'
	matches 'number: 3' "$OUT"
	status 0 capstan ping "$vat"

	# It ends itself; who waited for the next entry is told.
	capstan call "@$ROOT" next > "$T/next.out" 2> "$T/next.err" < /dev/null &
	becomes '^kp' "$RUN/fs/vats/$vat/decides.txt"
	status 0 capstan call "@$ROOT" close
	! wait $! || fail "next was answered: $(cat "$T/next.out")"
	matches 'the book is closed' "$(cat "$T/next.err")"
	status 0 capstan ps
	matches "$vat +guestbook +s1 +terminated" "$OUT"
	stop_and_fsck
}

# Objects and promises in both directions, pipelining in both, errors in both; C keeps what Python made.
test_peers() {
	local visitor vat
	kernel_start
	launch "$(mixed tests/cluster/python.json)"
	equal '#true' "$(jq -r .bootstrapResult.body <<< "$LAUNCH")" "the bootstrap"
	vat=$(vat_id book)
	# The answer comes by way of a promise of Python's that C has sent on to; it needs a name, a promise of C's.
	capstan call "@$ROOT" visit '"what a book"' > "$T/visit.out" 2> "$T/visit.err" < /dev/null &
	visitor=$!
	becomes '^kp' "$RUN/fs/vats/$(vat_id visitor)/decides.txt"
	status 0 capstan call "@$ROOT" nameIs '"Zoe"'
	wait $visitor || fail "$(cat "$T/visit.err")"
	equal '"Zoe: what a book"' "$(cat "$T/visit.out")" "what was read"
	reported 1 "Zoe: what a book"
	# errors pass from Python through C, and are Python's
	status 1 capstan call "@$ROOT" ask '"nonsense"'
	matches 'Guestbook has no method "nonsense"' "$ERR"
	# Both restart, and the kernel: C still has the entry, and Python the follower.
	status 0 capstan restart "$vat"
	status 0 capstan restart "$(vat_id visitor)"
	broker_kill
	status 0 capstan call "@$(kref "$vat")" sign '"Ida"' '"again"'
	reported 2 "Ida: again"
	status 0 capstan call "@$ROOT" withdrawFirst
	status 0 capstan call "@$(kref "$vat")" read
	equal '["Ida: again"]' "$OUT" "entries"
	stop_and_fsck
}
# The news takes some cranks; each look is a call of its own.
reported() {
	local i
	for ((i = 0; i < 1000; i++)); do
		status 0 capstan call "@$ROOT" report
		[[ $OUT != "{last: \"$2\", seen: $1}" ]] || return 0
	done
	fail "reported at last: $OUT"
}

# What nobody holds goes, in both directions: after a bringOutYourDead the tables are as they were.
test_garbage() {
	local i before vat
	kernel_start
	launch "$(peer)"
	vat=$(vat_id it)
	status 0 capstan call "@$ROOT" put '"counter"' "@$(kref "$(vat_id counter)")"
	idle 220
	before=$(counts)
	for i in 1 2 3 4 5; do
		status 0 capstan call --no-hold "@$ROOT" make
		status 0 capstan call --no-hold "@$ROOT" note '"lost"'
		says '"awake"' sleep 0.01
		status 0 capstan call --no-hold "@$ROOT" ask "@$(kref "$(vat_id counter)")" '"increment"'
		equal "$i" "$OUT" "increment by way of Python"
		status 0 capstan call --no-hold "@$ROOT" ask "@$ROOT" '"first"' 7
		equal 7 "$OUT" "asked itself, and decided what it had subscribed to"
	done
	idle 440
	equal "$before" "$(counts)" "rows of the tables"
	# After a restart, what the earlier process held goes too.
	status 0 capstan call "@$ROOT" hold '"mine"' "@$(kref "$(vat_id counter)")"
	status 0 capstan call --no-hold "@$ROOT" make true
	status 0 capstan restart "$vat"
	idle 440
	equal "$before" "$(counts)" "rows of the tables after the restart"
	status 0 capstan call "@$ROOT" delete '"counter"'
	status 0 capstan call "@$ROOT" delete '"vats"'
	idle 220
	! grep -q "$(kref "$(vat_id counter)")" "$RUN/fs/vats/$vat/clist.txt" || fail "still there: $(cat "$RUN/fs/vats/$vat/clist.txt")"
	stop_and_fsck
}
idle() { local i; for ((i = 0; i < $1; i++)); do status 0 capstan call "@$ROOT" nothing; done; }
counts() { grep -E '^(objects|promises|queue-items|gc-actions|holds): ' "$RUN/fs/status"; grep -c . "$RUN/fs/vats/$vat/clist.txt"; }

# A message in parts, both ways, through the jail's filter.
test_large() {
	local text
	kernel_start
	launch "$(peer)"
	text=$(head -c 100000 /dev/zero | tr '\0' y)
	status 0 capstan call "@$ROOT" first "\"$text\""
	equal "\"$text\"" "$OUT" "100,000 bytes"
	status 0 cap_json call "@$ROOT" much 1048576
	equal 1048579 "$(jq -r '.body | length' <<< "$OUT")" "a body of 1 MiB"
}

# A mistake of the author's is a sentence in the log; the message is tried once more and set aside.
test_mistake() {
	kernel_start
	launch "$(peer)"
	status 1 capstan call "@$ROOT" spoil
	matches 'DELIVERY_FAILED' "$ERR"
	status 0 capstan log "$(vat_id it)"
	matches 'Peer.file: a module cannot be passed' "$OUT"
	says 3 first 3
}

# Section 17 of docs/PROTOCOL.md as it stands there.
test_smallest() {
	kernel_start
	sed -n '/^## 17 /,$p' "$SOURCE/docs/PROTOCOL.md" | sed -n '/^```python$/,/^```$/p' | sed '1d;$d' > "$T/smallest.py"
	[[ -s $T/smallest.py ]] || fail "the page has no vat in section 17"
	launch "$(jq -nc --arg p "$T/smallest.py" '{bootstrap: "it", vats: {it: {program: $p, runtime: "host"}}}')"
	says 1 increment
	says 2 increment
	status 1 capstan call "@$ROOT" nonsense
	matches 'no method nonsense' "$ERR"
	broker_kill
	says 3 increment
}

# A vat that was written from section 8 and takes deliveries ahead: each is done once and in its order, also when it dies
# among them, and with what it has let go of named by those behind.
test_ahead() {
	local vat pid asker i
	kernel_start
	launch "$(jq -nc --arg v "$SOURCE/tests/vats" --arg f "$SOURCE/vatd/examples/vat.py" '{bootstrap: "asker", vats: {
		asker: {program: ($v + "/asker.py"), runtime: "host", files: {"vat.py": $f}},
		counter: {program: ($v + "/ahead.py"), runtime: "host"}}}')"
	vat=$(vat_id counter)
	for i in 1 2 3 4 5; do
		says "[$((i * 400 - 399)), $((i * 400)), 1, 1]" ask 400
	done
	status 0 capstan log "$vat"
	matches 'ahead: ([2-9]|[1-9][0-9])' "$OUT" "deliveries that had come at once"
	for i in 2 3 4; do
		pid=$(vat_pid "$vat")
		status 0 capstan suspend "$vat"
		capstan call "@$ROOT" ask 1000 > "$T/ask.out" 2> "$T/ask.err" < /dev/null &
		asker=$!
		becomes "^queue-items: [0-9]{4}" "$RUN/fs/status"
		status 0 capstan resume "$vat"
		kill -KILL "$pid"
		wait $asker || fail "$(cat "$T/ask.err")"
		matches "^\[$((i * 1000 + 1)), $((i * 1000 + 1000)), [0-9], [0-9]\]$" "$(cat "$T/ask.out")" "answers"
	done
	stop_and_fsck
}

run_tests
