#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The state as files: what `ls` and `cat` see, through the real mount with the real tools.
. "$(dirname "$0")/lib.sh"

# Every file opens, reads to its end, and holds text; every directory lists; every link resolves inside the mount.
test_everything_reads() {
	local f n=0 real
	kernel_start
	launch "$(cluster vatd/examples/trio.json)"
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	while IFS= read -r f; do
		timeout 5 cat "$f" > "$T/content" || fail "cannot read $f"
		! LC_ALL=C grep -q -P '[\x00-\x08\x0b-\x1f\x7f]' "$T/content" || fail "$f holds control characters"
		n=$((n + 1))
	done < <(find "$RUN/fs" -type f ! -name events)
	[[ $n -ge 20 ]] || fail "only $n files"
	n=0
	while IFS= read -r f; do
		real=$(readlink -e "$f") || fail "dangling link $f -> $(readlink "$f")"
		[[ $real == "$RUN"/fs/* ]] || fail "$f leads out of the mount to $real"
		n=$((n + 1))
	done < <(find "$RUN/fs" -type l)
	[[ $n -ge 6 ]] || fail "only $n links"
}

test_top() {
	local name
	kernel_start
	for name in status runqueue objects promises vats subclusters; do
		[[ -e $RUN/fs/$name ]] || fail "no $name: $(ls "$RUN/fs")"
	done
	status 0 cat "$RUN/fs/status"
	[[ -n $OUT ]] || fail "status is empty"
	equal "" "$(ls "$RUN/fs/vats")" "vats of an empty kernel"
	status 0 cat "$RUN/fs/runqueue"
}

# One vat's folder, against what ps and /proc say.
test_vat() {
	local v name pid
	kernel_start
	launch_counter
	v=$RUN/fs/vats/$COUNTER_VAT
	for name in name config status uid pid queue log clist; do
		[[ -e $v/$name ]] || fail "no $name in $v: $(ls "$v")"
	done
	equal counter "$(jq -r '.vats | keys[0]' <<< "$LAUNCH")"
	equal counter "$(cat "$v/name")"
	matches running "$(cat "$v/status")"
	pid=$(cat "$v/pid")
	equal "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" "$(cat "$v/uid")" uid
	status 0 capstan call "@$COUNTER" increment
	matches 1 "$(cat "$v/baggage")" baggage
	status 1 cat "$v/nonsense"
	status 1 cat "$RUN/fs/vats/v999/name"
	! touch "$v/name" 2> /dev/null || fail "the mount is writable"
	! mkdir "$v/x" 2> /dev/null || fail "the mount is writable"
	! rm "$v/name" 2> /dev/null || fail "the mount is writable"
}

# vats/vN/clist: names are erefs, links lead to the objects, and both sides agree (C1).
test_clist() {
	local v link n=0
	kernel_start
	launch "$(cluster vatd/examples/trio.json)"
	v=$RUN/fs/vats/$(vat_id alice)
	for link in "$v"/clist/*; do
		[[ -L $link ]] || fail "$link is not a link"
		matches '^[op][+-]' "$(basename "$link")" "name in the clist"
		matches '^\.\./\.\./\.\./(objects/ko|promises/kp)[0-9]+$' "$(readlink "$link")" "$link"
		[[ -e $link ]] || fail "$link does not resolve"
		n=$((n + 1))
	done
	[[ $n -ge 1 ]] || fail "alice's clist is empty"
	equal "$ROOT" "$(basename "$(readlink "$RUN/fs/vats/$(jq -r '.vats.alice' <<< "$LAUNCH")/clist/o+0")")" "alice's root"
	status 0 ls -l "$v/clist"
	matches '-> ../../../objects/ko' "$OUT"
	matches "owner: $(vat_id alice) o\+0" "$(cat "$RUN/fs/objects/$ROOT/status")" "owner of $ROOT"
}

# One open sees one committed state: while a counter runs, pairs of facts in one file always agree.
test_consistent() {
	local n a
	kernel_start
	launch_counter
	echo "0 0 0" > "$T/tally"
	"$HELPERS/storm" --run "$RUN" --tally "$T/tally" --ref "$COUNTER" --kills 1 --max-us 3000000 > "$T/storm" 2>&1 &
	for ((n = 0; n < 100; n++)); do
		a=$(cat "$RUN/fs/objects/$COUNTER/status" 2> /dev/null) || continue
		matches 'owner: .*owner-state: .*refcount: ' "$(tr '\n' ' ' <<< "$a")" "the object's text"
		cat "$RUN/fs/runqueue" > /dev/null 2>&1 || true
		find "$RUN/fs/vats" -type f -exec cat {} + > /dev/null 2>&1 || true
	done
	wait $! || fail "the calls meanwhile: $(< "$T/storm")"
}

# Other users see nothing (the default: root and the group).
test_modes() {
	local uid
	kernel_start
	launch_counter
	uid=$(cat "$RUN/fs/vats/$COUNTER_VAT/uid")
	for id in 65534 "$uid"; do
		status 1 setpriv --reuid "$id" --regid "$id" --clear-groups cat "$RUN/fs/status"
		matches 'ermission denied' "$ERR" "uid $id"
		! setpriv --reuid "$id" --regid "$id" --clear-groups ls "$RUN/fs" > /dev/null 2>&1 || fail "uid $id may list the mount"
		! setpriv --reuid "$id" --regid "$id" --clear-groups find "$STATE" -type f -readable 2> /dev/null | grep -q . ||
			fail "uid $id may read the state"
		! setpriv --reuid "$id" --regid "$id" --clear-groups "$HELPERS/rpc" "$RUN/control.sock" < /dev/null > /dev/null 2>&1 ||
			fail "uid $id may speak to the control socket"
	done
}

# Vat-supplied bytes are escaped wherever they are shown.
test_escaped() {
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 0 capstan call "@$ROOT" say '"a\u001b[2Jb\u0007\nv9 forged row"'
	status 0 cat "$RUN/fs/vats/$(vat_id it)/log"
	! LC_ALL=C grep -q -P '[\x00-\x08\x0b-\x1f\x7f]' "$T/.out" || fail "control characters in the log"
	! grep -q '^v9 forged' "$T/.out" || fail "a vat forged a row"
}

# The queue of a stuck vat can be seen while it is stuck: what it is at, and what waits.
test_queue_visible() {
	kernel_start
	launch "$(one_vat "$VATS/hostile" call | jq -c '.vats.it.limits.deadlineMs = 0')"
	capstan call "@$ROOT" spin > /dev/null 2>&1 &
	queue_shows spin
	capstan call "@$ROOT" waiting-method > /dev/null 2>&1 &
	queue_shows waiting-method
	matches waiting-method "$(cat "$RUN/fs/runqueue")" runqueue
	matches '2' "$(cat "$RUN/fs/vats/$(vat_id it)/queue" | tail -n +2 | wc -l)" "rows of the queue"
	status 0 capstan terminate "$SUB"
	wait
}
# Looking is an event of its own: each look is served by capstan-fs from a fresh snapshot.
queue_shows() {
	local n
	for ((n = 0; n < 1000; n++)); do
		! grep -qw -- "$1" "$RUN/fs/vats/$(vat_id it)/queue" || return 0
	done
	fail "the queue does not show $1: $(cat "$RUN/fs/vats/$(vat_id it)/queue")"
}

run_tests
