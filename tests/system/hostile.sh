#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Raw vats that do wrong (L1): each costs exactly itself, with a clear error; a witness goes on; the counts hold.
. "$(dirname "$0")/lib.sh"

# The witness: a counter of its own subcluster; each check is a round trip through the whole kernel.
witness_start() { launch_counter; WITNESS=$COUNTER WITNESSED=0; }
witness() {
	status 0 capstan call "@$WITNESS" increment
	WITNESSED=$((WITNESSED + 1))
	equal $WITNESSED "$OUT" "the witness, $1"
}
hostile_vat() {	# hostile_vat LIMITS RESTART ARG…
	local limits=$1 restart=$2
	shift 2
	launch "$(one_vat "$VATS/hostile" "$@" | jq -c --argjson l "$limits" --arg r "$restart" \
		'.vats.it += {limits: $l, restart: $r}')"
}

# Every attack of the table in tests/vats/hostile_attacks.h, those of Y1 in each position of a crank, by a vat of its own, all of
# them in one cluster with a witness, who it talks to, and a victim, whom all attackers know. Judged by tests/helpers/siege.py.
test_siege() {
	local roots
	kernel_start
	"$VATS/hostile" list > "$T/list"
	[[ $(wc -l < "$T/list") -ge 430 ]] || fail "the list of attacks is gone: $(wc -l < "$T/list")"
	jq -sc --arg p "$VATS/hostile" '{bootstrap: "witness", vats: (
		[to_entries[] | {key: "a\(.key)", value: ({program: $p, args: ["call"]} + .value.config)}]
		+ [("witness", "other", "victim") | {key: ., value: {program: $p, args: ["call"]}}] | from_entries)}' \
		"$T/list" > "$T/cluster.json"
	launch "$T/cluster.json"
	# The bootstrap message has told the witness who is who.
	status 0 cap_json call "@$ROOT" roots
	roots=$(jq -c '.slots as $s | .body[1:] | fromjson[0] | map_values($s[.[1:] | split(".")[0] | tonumber])' <<< "$OUT")
	jq -c '. as $r | del(.witness, .victim, .other)[] | {jsonrpc: "2.0", id: 1, method: "queueMessage",
		params: [., "keep", [{"@": $r.victim}]]}' <<< "$roots" > "$T/keep"
	"$HELPERS/rpc" -n "$(wc -l < "$T/keep")" "$RUN/control.sock" < "$T/keep" > "$T/kept"
	equal "$(wc -l < "$T/keep")" "$(grep -c '"body":"#true"' "$T/kept")" "vats that were told of the victim"
	status 0 capstan call "@$ROOT" keep "@$(jq -r .other <<< "$roots")"
	jq -sc --argjson roots "$roots" --argjson ids "$(jq -c .vats <<< "$LAUNCH")" \
		'to_entries[] | .value + {vat: $ids["a\(.key)"], ref: $roots["a\(.key)"]}' "$T/list" > "$T/attacks"
	status 0 python3 "$SOURCE/tests/helpers/siege.py" "$RUN/control.sock" "$ROOT" "$(jq -r .victim <<< "$roots")" "$WAIT" "$T/attacks"
	note "$OUT"
	stop_and_fsck
}

# The table in docs/SECURITY.md is the table of attacks.
test_security_page() {
	"$VATS/hostile" list | jq -rs 'reduce .[] as $a ([]; if any(.[]; .price == $a.price) then
			map(if .price == $a.price then .names += ["`\($a.name)`"] else . end)
		else . + [{price: $a.price, names: ["`\($a.name)`"]}] end)
		| .[] | "| \(.names | reduce .[] as $n ([]; if index([$n]) then . else . + [$n] end) | join(", ")) | \(.price) |"' > "$T/wanted"
	sed -n '/^| attack (/,/^$/p' "$SOURCE/docs/SECURITY.md" | sed 1,2d | sed '/^$/d' > "$T/page"
	diff "$T/page" "$T/wanted" || fail "these rows of docs/SECURITY.md are not (any more) what is tried: see above, what is wanted with >"
}

# V4: more than 3 deaths in 60 s suspend the vat; its callers wait, visibly, and restart brings it back.
test_dies_too_often() {
	local n pid vat
	kernel_start
	witness_start
	hostile_vat '{}' restart call
	vat=$(vat_id it)
	for n in 1 2 3 4; do
		status 0 capstan ping "$vat"
		pid=$(vat_pid "$vat")
		kill -KILL "$pid"
		gone "$pid"
		witness "after death $n"
		[[ $n == 4 ]] || status 0 capstan call "@$ROOT" hello
	done
	until_status "$vat" suspended
	capstan call "@$ROOT" hello > "$T/waiting" 2>&1 &
	witness "while it is suspended"
	status 0 capstan restart "$vat"
	wait $! || fail "the waiting call: $(< "$T/waiting")"
	equal '"hello"' "$(< "$T/waiting")"
	stop_and_fsck
}
# Each look at `ps` is a round trip to the broker, so this is bounded by its work and not by a clock.
until_status() {
	local n
	for ((n = 0; n < 500; n++)); do
		[[ $(cap_json ps | jq -r --arg v "$1" '.. | objects | select(.id? == $v) | .status') != "$2" ]] || return 0
	done
	fail "$1 does not become $2: $(capstan ps)"
}

# V6: a stopped process is killed at the deadline; others complete round trips meanwhile.
test_stopped() {
	local pid n
	kernel_start
	witness_start
	hostile_vat '{"deadlineMs": 300}' restart call
	pid=$(vat_pid "$(vat_id it)")
	kill -STOP "$pid"
	capstan call "@$ROOT" hello > "$T/stopped" 2>&1 &
	for ((n = 0; n < 20; n++)); do
		witness "while the other is stopped"
	done
	gone "$pid"
	# the next incarnation answers the same item
	wait $! || fail "the call that waited: $(< "$T/stopped")"
	equal '"hello"' "$(< "$T/stopped")"
	stop_and_fsck
}

# V7: a limit of processor time, read from the clock of a process of another user, ends a delivery that computes too long; waiting
# does not count.
test_cpu() {
	local pid
	kernel_start
	witness_start
	hostile_vat '{"cpuMs": 30, "deadlineMs": 0}' restart call
	pid=$(vat_pid "$(vat_id it)")
	status 0 capstan call "@$ROOT" hello
	capstan call "@$ROOT" spin > "$T/stuck" 2>&1 &
	witness "while it spins"
	gone "$pid"
	status 0 cap_json ps
	equal "LIMIT cpuMs 30" "$(jq -r --arg v "$(vat_id it)" '.. | objects | select(.id? == $v) | .reason' <<< "$OUT")" "its reason"
	status 0 capstan terminate "$SUB"
	! wait $! || fail "the stuck call was answered"
	witness "afterwards"
	stop_and_fsck
}

# Without a deadline it may take for ever, and only terminate ends it, at once, in the middle of the crank (V2).
test_terminate_stuck() {
	local pid
	kernel_start
	witness_start
	hostile_vat '{"deadlineMs": 0}' restart call
	pid=$(vat_pid "$(vat_id it)")
	capstan call "@$ROOT" spin > "$T/stuck" 2>&1 &
	witness "while it spins"
	status 0 capstan terminate "$(vat_id it)"
	gone "$pid"
	! wait $! || fail "the stuck call was answered"
	matches 'VAT_TERMINATED|ENDPOINT_UNREACHABLE' "$(< "$T/stuck")"
	witness "afterwards"
	stop_and_fsck
}

# V1: whatever goes wrong at the start fails the launch, names the vat and why, and leaves nothing. All at once.
test_launch_fails() {
	local before n program
	kernel_start
	witness_start
	before=$(cap_json ps | jq -S -c '[.[].id]')
	# Its text is in the code store from here on.
	hostile_vat '{}' restart call
	status 0 capstan terminate "$SUB"
	program=sha256:$(sha256sum "$VATS/hostile" | cut -d ' ' -f 1)
	jq -nc --arg p "$program" '[("boot", "start", "bootstrap") as $when | ("garbage", "empty-packet", "size-zero", "packet-over",
		"hello-other", "exit-0", "exit-1", "crash", "close-channel", "shut-write", "part-half", "wrong-delivery", "send-unknown",
		"done-error") | {bootstrap: "it", vats: {it: {program: $p, args: [$when, .]}}}] | to_entries[]
		| {jsonrpc: "2.0", id: .key, method: "launchSubcluster", params: {config: .value, paths: []}}' > "$T/requests"
	n=$(wc -l < "$T/requests")
	"$HELPERS/rpc" -n "$n" "$RUN/control.sock" < "$T/requests" > "$T/replies" &
	witness "while all fail"
	wait $! || fail "not all launches were answered: $(< "$T/replies")"
	equal "$n" "$(jq -c 'select(.error.message | test("\\bit\\b") and (test("[[:cntrl:]]") | not))' "$T/replies" | wc -l)" \
		"launches that failed with an error that says who: $(< "$T/replies")"
	witness "after all failed"
	equal "$before" "$(cap_json ps | jq -S -c '[.[] | select(.status != "terminated").id]')" "what is left in ps"
	[[ $(find "$RUN/fs/subclusters" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]] || fail "a subcluster was left: $(ls "$RUN/fs/subclusters")"
	stop_and_fsck
}

# A program that says nothing at all, and one that is no vat.
test_no_vat() {
	local program
	kernel_start
	witness_start
	for program in /bin/true /bin/sleep; do
		one_vat "$program" 60 > "$T/bad.json"
		jq -c '.vats.it.limits.deadlineMs = 300' "$T/bad.json" > "$T/bad2.json"
		status 1 capstan launch "$T/bad2.json"
		matches it "$ERR"
		witness "after $program"
	done
	stop_and_fsck
}

# The same while the broker is killed in between: nothing half-done is found afterwards.
test_hostile_and_broker_killed() {
	local attack
	kernel_start
	witness_start
	for attack in spin exit-middle hold; do
		hostile_vat '{"deadlineMs": 0}' restart call
		capstan call "@$ROOT" "$attack" > "$T/lost" 2>&1 &
		witness "before"
		broker_kill
		! wait $! || fail "a call outlived its broker: $(< "$T/lost")"
		witness "after the broker's death"
		status 0 capstan terminate "$SUB"
	done
	stop_and_fsck
}

# The file system fills up: what vats write is refused, the writer is suspended and says why (V7); the kernel's own writes
# still fit, so calls of vats that store nothing go on, over restarts too; when the writer has gone there is room again. (V14)
test_disk_full() {
	local n vat
	mkdir -m 755 "$T/state"
	mount -t tmpfs -o size=96m,mode=755 tmpfs "$T/state"
	kernel_start
	witness_start
	hostile_vat '{}' restart call
	vat=$(vat_id it)
	for ((n = 0; n < 30; n++)); do
		capstan call "@$ROOT" fill > "$T/fill" 2>&1 &
		until_answered_or_suspended $! "$vat" || break
		still_there
	done
	[[ $n -ge 2 && $n -lt 30 ]] || fail "the file system took $n fills: $(< "$T/fill")"
	matches 'LIMIT space' "$(cat "$RUN/fs/vats/$vat/reason")" "why it is suspended"
	for ((n = 0; n < 20; n++)); do
		still_there
	done
	broker_kill
	still_there
	status 0 capstan terminate "$SUB"
	# Its program is in the code store; the file system itself has no room for another copy of anything.
	launch "$(one_vat "sha256:$(sha256sum "$VATS/hostile" | cut -d ' ' -f 1)" call)"
	status 0 capstan call "@$ROOT" fill
	stop_and_fsck
	umount "$T/state"
}
still_there() {
	status 0 capstan call "@$WITNESS" get
	equal 0 "$OUT" "the witness on a full disk"
}
until_answered_or_suspended() {
	while [[ $(awk '/^State/ { print $2 }' "/proc/$1/status" 2> /dev/null) == [^Z] ]]; do
		[[ $(cat "$RUN/fs/vats/$2/status") != suspended ]] || return 1
	done
	wait "$1"
}

run_tests
