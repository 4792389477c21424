<<<<<<< HEAD
# SPDX-License-Identifier: Apache-2.0
# The questions of capstan(5): each command that its section QUESTIONS shows is run, as it stands there, in the mount of a kernel in
# which there is something to answer.
. "$(dirname "$0")/lib.sh"

PAGE=$SOURCE/docs/capstan.5

# The commands of the page, one a line, as a reader sees them.
commands() {
	sed -n '/^\.Sh QUESTIONS/,/^\.Sh HOW/p' "$PAGE" | sed -n 's/^\.Dl //p' | sed "s/\\\\-/-/g; s/\\\\(aq/'/g"
}

# What each must say: an extended regular expression on all of its output.
declare -A ANSWER=(
	["cat objects/ko5/holders"]=$'\nv3 +clist +o-[0-9]+ +1 +reachable\n.*\ns1 +hold +root'
	["cat vats/v3/waits"]=$'\npromise +p\+1 +kp[0-9]+ +unresolved +- +v2 +alive'
	["cat vats/v2/decides.txt"]=$'\nkp[0-9]+ +p-[0-9]+ +[0-9]+ +v3 +0'
	["cat runqueue"]=$'\n[0-9]+ +message +ko8 +spin +host .* in-flight +[0-9].*\n[0-9]+ +message +ko8 +keep +host .* next +-'
	["cat deaths"]=$'\n20[^ ]+Z +v2 +1 +.*status'
	["cat gc/next"]=$'\nv1 +dropExports +ko[0-9]+ +o\+[0-9]+ +suspended'
	["sort -rnk13 vats.txt | head -n 3"]='^v[1-4] '
	["sort -rnk10 vats.txt | head -n 3"]='^v4 +dan '
	["sort -rnk12 vats.txt | head -n 3"]='^v3 +cat '
	["awk -v t=\$(date -u -d '-1 minute' +%FT%T) '\$1 >= t' vats/v1/log"]='^20[^ ]+Z 1 info counting from 5\\n\\x1b\[31m$'
	["cat vats/v4/code/name"]='^panel$'
	["ls vats/v4/code/vats"]=$'^v1\nv2\nv3\nv4$'
	["ls objects/ko5/importers"]=$'^v3$'
	["grep -E 'suspended|terminated' vats.txt"]='^v1 +ann .* suspended '
	["cat vats/v1/limits"]=$'\nmemory +[0-9]+ +1073741824 +1073741824'
	["cat events"]='.'
	["tail recent"]='crank v3 '
	["ls snapshot/before snapshot/after; diff -r snapshot/before snapshot/after"]=$'\ndiff -r snapshot/before/[^ ]+ snapshot/after/'
)

# Four vats: v1 is suspended, v2 has died and owes an answer, v3 waits for it and stores something, v4 is busy.
situation() {
	local vat
	launch "{\"bootstrap\":\"ann\",\"vats\":{$(for vat in ann ben cat dan; do
		printf '%s"%s":{"program":"%s","limits":{"deadlineMs":600000}}' "$([[ $vat == ann ]] || echo ,)" $vat "$VATS/panel"
	done)}}"
	equal ko5 "$(jq -r .rootKref <<< "$LAUNCH")" "the first root, which the page speaks of"
	status 1 capstan call @ko6 die
	capstan call --no-hold @ko7 ask @ko6
	capstan call --no-hold @ko7 keep @ko5
	capstan call --no-hold @ko7 remember 3
	capstan call --no-hold @ko5 say '"counting from 5\n\u001b[31m"'
	capstan call --no-hold @ko5 lend @ko8
	capstan suspend v1 > /dev/null
	capstan call --no-hold @ko8 drop
	status 0 "$HELPERS/await" true 20 true 2> /dev/null || true
	status 1 capstan call --timeout 0.3 @ko8 spin
	status 1 capstan call --timeout 0.3 @ko8 keep @ko7
}

test_questions() {
	local command n=0
	kernel_start
	situation
	(cd "$RUN/fs" && ls -d snapshot/before) > /dev/null
	while IFS= read -r command; do
		[[ -n ${ANSWER[$command]:-} ]] || fail "the page shows a command that this test knows no answer to: $command"
		n=$((n + 1))
		if [[ $command == "cat events" ]]; then
			(cd "$RUN/fs" && exec timeout 20 cat events) > "$T/events" &
			until [[ -s $T/events ]]; do
				capstan call --no-hold @ko7 keep @ko5
			done
			kill $!
			wait $! || true
			OUT=$(< "$T/events")
			matches '^20[^ ]+Z (crank|resolve|gone|gc) ' "$OUT" "$command"
			continue
		fi
		got=0
		OUT=$(cd "$RUN/fs" && bash -c "$command" 2>&1) || got=$?
		matches "${ANSWER[$command]}" "$OUT" "$command"
		note "$command: ok"
	done < <(commands)
	equal ${#ANSWER[@]} "$n" "commands on the page"
=======
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
>>>>>>> c748172 (tests: the page's questions)
}

run_tests
