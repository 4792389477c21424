#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Raw vats that do wrong (L1): each costs exactly itself, with a clear error; a witness goes on; the counts hold.
. "$(dirname "$0")/lib.sh"

attacks() { "$VATS/hostile" list "$1"; }

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

# Y1, Y2: every illegal frame and syscall ends the vat, its call is rejected with the code, nobody else notices.
test_illegal() {
	local attack pid
	kernel_start
	witness_start
	[[ $(attacks illegal | wc -l) -ge 50 ]] || fail "the list of attacks is gone"
	for attack in $(attacks illegal); do
		note "$attack"
		hostile_vat '{}' restart call
		pid=$(vat_pid "$(vat_id it)")
		status 0 capstan call "@$ROOT" keep "@$WITNESS"
		status 1 capstan call "@$ROOT" "$attack"
		matches 'VAT_FATAL:ILLEGAL_SYSCALL' "$ERR" "$attack"
		gone "$pid"
		status 1 capstan call "@$ROOT" hello
		matches 'ENDPOINT_UNREACHABLE|OBJECT_DELETED' "$ERR" "after $attack"
		witness "after $attack"
		capstan terminate "$SUB" > /dev/null 2>&1 || true	# the subcluster may have gone with its only vat
	done
	stop_and_fsck
}

# A frame after the end of the crank: the answer stands, the vat does not.
test_afterwards() {
	local attack pid
	kernel_start
	witness_start
	for attack in $(attacks afterwards); do
		note "$attack"
		hostile_vat '{}' restart call
		pid=$(vat_pid "$(vat_id it)")
		capstan call "@$ROOT" "$attack" || true
		gone "$pid"
		status 1 capstan call "@$ROOT" hello
		witness "after $attack"
	done
	stop_and_fsck
}

# V4: a vat that dies in its crank restarts, the item is tried again; when it kills twice it is rejected, the vat lives.
test_deaths() {
	local attack
	kernel_start
	witness_start
	for attack in $(attacks death); do
		note "$attack"
		hostile_vat '{}' restart call
		status 1 capstan call "@$ROOT" "$attack"
		matches 'DELIVERY_FAILED' "$ERR" "$attack"
		status 0 capstan call "@$ROOT" hello
		equal '"hello"' "$OUT" "the same vat after $attack"
		status 0 capstan log "$(vat_id it)"
		! grep -q 'abandoned crank' <<< "$OUT" || fail "a message of an abandoned crank was delivered"
		witness "after $attack"
		status 0 capstan terminate "$SUB"
	done
	stop_and_fsck
}

# V4, policy "terminate": the first death is the last.
test_policy_terminate() {
	local attack
	kernel_start
	witness_start
	for attack in exit-1 crash close-channel done-error; do
		note "$attack"
		hostile_vat '{}' terminate call
		status 1 capstan call "@$ROOT" "$attack"
		matches 'VAT_TERMINATED|ENDPOINT_UNREACHABLE' "$ERR" "$attack"
		status 1 capstan call "@$ROOT" hello
		witness "after $attack"
	done
	stop_and_fsck
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

# V6, and a stopped process: killed at the deadline; others complete round trips meanwhile.
test_stuck() {
	local attack pid n
	kernel_start
	witness_start
	for attack in $(attacks stuck); do
		note "$attack"
		hostile_vat '{"deadlineMs": 300}' restart call
		pid=$(vat_pid "$(vat_id it)")
		capstan call "@$ROOT" "$attack" > "$T/stuck" 2>&1 &
		for ((n = 0; n < 5; n++)); do
			witness "while $attack"
		done
		gone "$pid"
		! wait $! || fail "the stuck call was answered: $(< "$T/stuck")"
		matches DELIVERY_FAILED "$(< "$T/stuck")" "$attack"
		status 0 capstan call "@$ROOT" hello
		status 0 capstan terminate "$SUB"
	done
	stop_and_fsck
}
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

# Floods and the largest legal messages: the vat lives, and so does everybody else.
test_fine() {
	local attack pid
	kernel_start
	witness_start
	for attack in $(attacks fine); do
		note "$attack"
		hostile_vat '{}' restart call
		status 0 capstan call "@$ROOT" keep "@$WITNESS"
		capstan call "@$ROOT" "$attack" > "$T/flood" 2>&1 &
		witness "while $attack"
		wait $! || fail "$attack: $(< "$T/flood")"
		status 0 capstan call "@$ROOT" hello
		witness "after $attack"
		status 0 capstan terminate "$SUB"
	done
	stop_and_fsck
}

# A vat that never reads: what is for it waits or dies with it at the deadline; the sender is never harmed.
test_deaf() {
	local pid n
	kernel_start
	witness_start
	hostile_vat '{"deadlineMs": 300}' restart call
	pid=$(vat_pid "$(vat_id it)")
	status 0 capstan call "@$ROOT" deaf
	head -c 3000000 /dev/zero | tr '\0' x | jq -Rc --arg r "$ROOT" \
		'{jsonrpc: "2.0", id: 1, method: "queueMessage", params: [$r, "echo", [.]]}' > "$T/big"
	"$HELPERS/rpc" "$RUN/control.sock" < "$T/big" > "$T/reply" &
	for ((n = 0; n < 10; n++)); do
		witness "while the other is deaf"
	done
	gone "$pid"
	wait $! || fail "the big call was not answered"
	witness "afterwards"
	stop_and_fsck
}

# V1: whatever goes wrong at the start fails the launch, names the vat and why, and leaves nothing.
test_launch_fails() {
	local when attack before
	kernel_start
	witness_start
	before=$(cap_json ps | jq -S -c '[.. | objects | select(.id?) | .id]')
	for when in boot start bootstrap; do
		for attack in garbage empty-packet size-zero exit-0 exit-1 crash close-channel wrong-delivery done-error; do
			note "$when $attack"
			one_vat "$VATS/hostile" "$when" "$attack" > "$T/bad.json"
			status 1 cap_json launch "$T/bad.json"
			matches 'it' "$ERR" "who failed"
			equal 1 "$(grep -c . <<< "$ERR")" "lines of the error"
			! grep -q $'\e' "$T/.err" || fail "an escape character came out raw"
			witness "after $when $attack"
		done
	done
	equal "$before" "$(cap_json ps | jq -S -c '[.. | objects | select(.id? and .status? != "terminated") | .id]')" "what is left in ps"
	[[ $(find "$RUN/fs/subclusters" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]] || fail "a subcluster was left: $(ls "$RUN/fs/subclusters")"
	stop_and_fsck
}

# The handshake itself.
test_early() {
	local attack
	kernel_start
	witness_start
	for attack in $(attacks early); do
		one_vat "$VATS/hostile" start "$attack" > "$T/bad.json"
		capstan launch "$T/bad.json" || true
		witness "after $attack"
	done
	# a program that says nothing at all, and one that is no vat
	for attack in /bin/true /bin/sleep; do
		one_vat "$attack" 60 > "$T/bad.json"
		jq -c '.vats.it.limits.deadlineMs = 300' "$T/bad.json" > "$T/bad2.json"
		status 1 capstan launch "$T/bad2.json"
		matches it "$ERR"
		witness "after $attack"
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
# still fit, so calls of vats that store nothing go on, over restarts too; when the writer has gone there is room again.
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
