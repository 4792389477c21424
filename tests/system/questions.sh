#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Questions that people have about a kernel at work, each answered by one command on the mount.
. "$(dirname "$0")/lib.sh"

# Looking is an event of its own: each look is served from a fresh snapshot.
shows() { # REGEX FILE
	local n
	for ((n = 0; n < 2000; n++)); do
		! grep -qE -- "$1" "$RUN/fs/$2" || return 0
	done
	fail "$2 has no $1: $(cat "$RUN/fs/$2")"
}
row() { grep -E -- "$1" "$RUN/fs/$2" || fail "$2 has no $1: $(cat "$RUN/fs/$2")"; }
object_of() { basename "$(readlink "$RUN/fs/vats/$1/root")"; }

# A vat spins; Bob was given the promise of what it will answer, and so he, and who called him, wait for it.
stuck_kernel() {
	kernel_start
	launch "$(cluster vatd/examples/trio.json)"
	BOB=$(vat_id bob) CAROL=$(vat_id carol)
	launch "$(one_vat "$VATS/hostile" call | jq -c '.vats.it.limits.deadlineMs = 0')"
	STUCK=$(vat_id it) STUCK_ROOT=$ROOT
	capstan call "@$STUCK_ROOT" spin > /dev/null 2>&1 &
	shows "spin.* in-flight " runqueue
	PROMISE=$(row "spin" runqueue | awk '{ print $9 }')
	capstan call "@$(object_of "$BOB")" listen "{\"@\":\"$PROMISE\"}" "{\"@\":\"$(object_of "$CAROL")\"}" > "$T/answer" 2>&1 &
	shows "^promise .*$PROMISE " "vats/$BOB/waits"
}
let_go() {
	status 0 capstan terminate "$SUB"
	wait
}

# What is in the run queue, in order, and why is it not moving?
test_runqueue() {
	stuck_kernel
	capstan call "@$STUCK_ROOT" second > /dev/null 2>&1 &
	shows ' second ' runqueue
	capstan call "@$STUCK_ROOT" third > /dev/null 2>&1 &
	shows ' third ' runqueue
	equal "spin in-flight second next third waiting " \
		"$(awk -v q="$STUCK" '$8 == q { printf "%s %s ", $4, $10 }' "$RUN/fs/runqueue")" "the stuck vat's queue, in order"
	awk '$4 == "spin" { exit !($11 > 0 && $11 <= $7 + 0.001) }' "$RUN/fs/runqueue" || fail "busy: $(cat "$RUN/fs/runqueue")"
	let_go
	equal "" "$(tail -n +2 "$RUN/fs/runqueue")" "afterwards"
}

# What does Bob wait for, and what has he left undecided for whom?
test_waits() {
	local v
	stuck_kernel
	matches "^promise +p-[0-9]+ +$PROMISE +unresolved +- +- +busy +$STUCK +- +-$" "$(row promise "vats/$BOB/waits")" "what Bob waits for"
	matches "^delivery +- +$STUCK_ROOT +in-flight .* spin +[0-9.]+$" "$(row delivery "vats/$STUCK/waits")"
	v=$RUN/fs/vats/$BOB
	matches "^(kp[0-9]+) +p[+-][0-9]+ +[0-9]+ +host +0$" "$(row '^kp' "vats/$BOB/decides.txt")" "what Bob has left undecided"
	equal "${BASH_REMATCH[1]}" "$(ls "$v/decides")"
	equal "$BOB" "$(basename "$(readlink -e "$v/decides/${BASH_REMATCH[1]}/decider")")" "its decider"
	equal "$STUCK" "$(basename "$(readlink -e "$RUN/fs/promises/$PROMISE/behind")")" "in whose queue the spinning message is"
	let_go
	equal 1 "$(wc -l < "$v/decides.txt")" "lines when it is decided"
	matches "VAT_TERMINATED|DELIVERY_FAILED|ENDPOINT_UNREACHABLE" "$(cat "$T/answer")"
}

# Who holds Carol, and through what? The rows add up to the count.
test_holders() {
	local carol f
	stuck_kernel
	carol=$(object_of "$CAROL")
	matches "^$BOB +clist +o-1 +1 +reachable$" "$(row "^$BOB" "objects/$carol/holders")"
	matches '^s1 +hold +root +1 +reachable$' "$(row '^s1' "objects/$carol/holders")"
	matches "^$STUCK +target +[0-9]+ +1 +reachable$" "$(row "^$STUCK" "objects/$STUCK_ROOT/holders")"
	row "^$BOB +clist" "promises/$PROMISE/holders" > /dev/null
	row "^$STUCK +result" "promises/$PROMISE/holders" > /dev/null
	row "^host +hold" "promises/$PROMISE/holders" > /dev/null
	for f in "$RUN"/fs/objects/*/; do
		equal "$(awk '{ print $3 }' "$f/refcount")" "$(awk 'NR > 1 { n += $4 } END { print n + 0 }' "$f/holders")" "holders of $f"
	done
	for f in "$RUN"/fs/promises/*/; do
		equal "$(cat "$f/refcount")" "$(awk 'NR > 1 { n += $4 } END { print n + 0 }' "$f/holders")" "holders of $f"
	done
	! grep -h unknown "$RUN"/fs/*/*/holders || fail "not all holders were found"
	let_go
}

# What would be collected next? A suspended vat is told later that its object may go.
test_collection() {
	local object
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 0 cap_json call "@$ROOT" make
	object=$(grep -oE 'ko[0-9]+' <<< "$OUT" | head -n 1)
	status 0 capstan suspend "$(vat_id it)"
	status 0 capstan release "@$object"
	matches "^$(vat_id it) +dropExports +$object +o\+[0-9]+ +suspended$" "$(row "dropExports +$object" gc/next)" "what is collected next"
	row "retireExports +$object" gc/next > /dev/null
	matches "^- +dropExports +$object .* suspended +-$" "$(row "dropExports +$object" runqueue)"
	equal "$(cat "$RUN/fs/gc/actions")" "$(cat "$RUN/fs/gc/next")" "there is nothing else"
	status 0 capstan resume "$(vat_id it)"
	status 0 capstan gc
	equal "" "$(tail -n +2 "$RUN/fs/gc/next")" "when it was told"
}

run_tests
