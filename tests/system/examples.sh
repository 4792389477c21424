#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The example vats as the tutorial shows them: what they answer, what they refuse, what survives; and that nothing is left
# of them when their subcluster has ended.
. "$(dirname "$0")/lib.sh"

# example NAME: launches it. AT[name] is each reference that bootstrap answered with, or AT[root].
declare -A AT
example() {
	local k v
	cluster vatd/examples/"$1".json > /dev/null
	status 0 capstan launch "$T/$1.json"
	SUB=$(sed -n 's/^subcluster: //p' <<< "$OUT")
	AT=([root]=$(sed -n 's/^root: //p' <<< "$OUT"))
	while read -r v k; do
		AT[$k]=$v
	done < <(sed -n 's/^vat: //p' <<< "$OUT" | sed 's/ / vat-/')
	for v in $(sed -n 's/^result: {\(.*\)}$/\1/p' <<< "$OUT" | tr -d ' ' | tr , ' '); do
		AT[${v%%:*}]=${v#*:}
	done
}
# says ANSWER OBJECT METHOD [ARG…]; refuses REGEX OBJECT METHOD [ARG…]
says() {
	local want=$1 at=$2
	shift 2
	status 0 capstan call "@$at" "$@"
	equal "$want" "$OUT" "$*"
}
refuses() {
	local want=$1 at=$2
	shift 2
	status 1 capstan call "@$at" "$@"
	matches "$want" "$ERR" "$*"
}
# answer OBJECT METHOD [ARG…]: the reference that it answers, in $REF
answer() {
	local at=$1
	shift
	status 0 capstan call "@$at" "$@"
	matches '^ko[0-9]+$' "$OUT" "$*"
	REF=$OUT
}
counts() { cap_json status | jq -c '[.objects, .promises, .queued]'; }
release_all() {
	local k
	for k in $(cap_json holds | jq -r '.holds[] | select(.kind == "person") | .kref'); do
		status 0 capstan release "@$k"
	done
}
# The subcluster ends, and what is left is what was there before; sweeps go on between cranks, each look is a round trip.
nothing_left() {
	local i
	release_all
	status 0 capstan terminate "$SUB"
	for ((i = 0; i < 500; i++)); do
		[[ $(counts) != "$BEFORE" ]] || break
	done
	equal "$BEFORE" "$(counts)" "objects, promises, queued after the end"
	[[ -z $(ls "$RUN/fs/vats") ]] || fail "vats are left: $(ls "$RUN/fs/vats")"
}
kill_vat() {
	local pid i
	for ((i = 0; i < 500; i++)); do	# after the death of the broker it may still be starting
		pid=$(vat_pid "${AT[vat-$1]}")
		[[ ! $pid =~ ^[0-9]+$ ]] || break
	done
	kill -KILL "$pid"
	gone "$pid"
}
begin() {
	kernel_start
	BEFORE=$(counts)
}

test_counter() {
	begin
	example counter
	says 3 "${AT[root]}" increment 3
	answer "${AT[root]}" make 40
	says 41 "$REF" increment
	kill_vat counter
	says 43 "$REF" increment 2
	broker_kill
	says 44 "$REF" increment
	says 3 "${AT[root]}" get
	refuses 'Tally.increment: argument 1 must be an integer, not a string' "$REF" increment '"x"'
	nothing_left
}

# Amounts are conserved; only purses of the mint are money; nobody but the mint's holder makes any.
test_mint() {
	local purse other forged
	begin
	example mint
	says 70 "${AT[buyer]}" buy 40		# a ticket, and 10 change
	says 70 "${AT[buyer]}" buy 20		# not enough: all of it comes back
	says 30 "${AT[seller]}" takings
	answer "${AT[buyer]}" ticket
	says 1 "$REF" number
	refuses 'cannot take 80 out of 70' "${AT[buyer]}" buy 80
	refuses 'cannot take -1 out of 70' "${AT[buyer]}" buy -1
	answer "${AT[mint]}" issue 5
	purse=$REF
	refuses 'cannot take 6 out of 5' "$purse" withdraw 6
	refuses 'cannot take -5 out of 5' "$purse" withdraw -5
	refuses 'must be an integer' "$purse" withdraw 0.5
	refuses 'cannot issue -1 more' "${AT[mint]}" issue -1
	refuses 'cannot issue 9007199254740991 more' "${AT[mint]}" issue 9007199254740991
	# forged: another object, another vat's object, data, a purse of another mint
	refuses 'no purse of this mint' "$purse" deposit "@${AT[mint]}"
	refuses 'no purse of this mint' "$purse" deposit "@${AT[seller]}"
	refuses 'argument 1 must be a reference' "$purse" deposit 5
	answer "${AT[root]}" makeMint
	answer "$REF" issue 1000
	forged=$REF
	refuses 'no purse of this mint' "$purse" deposit "@$forged"
	refuses 'no purse of this mint' "${AT[seller]}" buy "@$forged"
	says 1000 "$forged" balance
	# from one to the other, and into itself
	answer "$purse" withdraw 2
	other=$REF
	says 2 "$purse" deposit "@$other"
	says 0 "$other" balance
	says 5 "$purse" deposit "@$purse"
	says 5 "$purse" balance
	# whatever is killed, the money is where it was
	kill_vat mint
	kill_vat buyer
	says 40 "${AT[buyer]}" buy 30
	broker_kill
	kill_vat seller
	says 10 "${AT[buyer]}" buy 30
	says 90 "${AT[seller]}" takings
	answer "${AT[buyer]}" ticket
	says 3 "$REF" number
	says 5 "$purse" balance
	nothing_left
}

# Purchases all at once while everything is killed. A payment whose sender was told VAT_RESTARTED may lie in a purse that
# nobody holds; but no coin is ever made, and whoever still has money can go on.
test_mint_storm() {
	local i left sold
	begin
	example mint
	for ((i = 0; i < 60; i++)); do
		capstan call --no-hold "@${AT[buyer]}" buy $((25 + i % 10)) > /dev/null 2>&1 || true &
		case $i in
		10) kill_vat mint ;;
		25) broker_kill ;;
		40) kill_vat seller ;;
		50) kill_vat buyer ;;
		esac
	done
	wait
	status 0 capstan call "@${AT[buyer]}" buy 0
	left=$OUT
	status 0 capstan call "@${AT[seller]}" takings
	sold=$OUT
	((left >= 0 && sold >= 30 && left + sold <= 100)) || fail "of 100 the buyer has $left and the seller $sold"
	nothing_left
}

# Two eat at once, nobody starves, and the dinner ends however often somebody is killed.
test_philosophers() {
	local i
	begin
	example philosophers
	says '{atOnce: 2, meals: 100}' "${AT[root]}" dinner
	nothing_left
}
test_philosophers_killed() {
	local v
	begin
	cluster vatd/examples/philosophers.json > /dev/null
	jq '.vats |= map_values(if .parameters then .parameters.meals = 400 else . end)' "$T/philosophers.json" > "$T/long.json"
	status 0 capstan launch "$T/long.json"
	SUB=$(sed -n 's/^subcluster: //p' <<< "$OUT")
	AT=([root]=$(sed -n 's/^root: //p' <<< "$OUT"))
	for v in kant table fork2 seneca fork5 arendt; do
		AT[vat-$v]=$(sed -n "s/^vat: \(v[0-9]*\) $v\$/\1/p" <<< "$OUT")
		kill_vat $v
	done
	broker_kill
	kill_vat table
	broker_kill
	status 0 capstan call "@${AT[root]}" dinner
	matches '^\{atOnce: [12], meals: 2000\}$' "$OUT" dinner
	nothing_left
}

# A seat is taken away: it is worth nothing to the member and to whoever has it from the member; the others go on.
test_chat() {
	local ann ben seat
	begin
	example chat
	ann=$(root_of ann) ben=$(root_of ben)
	says undefined "$ann" say '"hello"'
	says undefined "$ben" say '"hello, Ann"'
	says '[{from: "ann", text: "hello"}, {from: "ben", text: "hello, Ann"}]' "$ben" history
	says 2 "$ann" heard
	kill_vat room
	kill_vat ben
	says undefined "$ben" say '"back again"'
	answer "$ben" seat
	seat=$REF
	says undefined "$seat" post '"from a friend of Ben"'
	refuses 'nobody here is called carl' "${AT[root]}" kick '"carl"'
	says undefined "${AT[root]}" kick '"ben"'
	refuses 'ben has no seat here any more' "$ben" say '"still there?"'
	refuses 'ben has no seat here any more' "$ben" history
	refuses 'ben has no seat here any more' "$seat" post '"or so"'
	broker_kill
	refuses 'ben has no seat here any more' "$seat" history
	says undefined "$ann" say '"quiet now"'
	says 6 "$ann" heard
	says 4 "$ben" heard
	status 0 capstan call "@$ann" history
	equal 6 "$(grep -o 'from:' <<< "$OUT" | wc -l)" "lines in the history"
	nothing_left
}
# root_of VAT: the kref of its root, from its clist.
root_of() {
	local i at
	for ((i = 0; i < 500; i++)); do
		at=$(awk '$1 == "o+0" { print $2 }' "$RUN/fs/vats/${AT[vat-$1]}/clist.txt" 2> /dev/null || true)
		[[ -z $at ]] || break
		capstan status > /dev/null
	done
	echo "$at"
}

# Whatever passes is wrapped and comes home as itself; one switch cuts all of it, both ways, for good.
test_membrane() {
	local inside button out v
	begin
	example membrane
	inside=$(root_of plugin)
	out=${AT[plugin]}
	[[ $inside != "$out" ]] || fail "the plugin is not wrapped"
	answer "$out" install "@${AT[counter]}"
	button=$REF
	says 1 "$button" press
	says true "$out" same "@${AT[counter]}" "@${AT[counter]}"
	says false "$out" same "@${AT[counter]}" "@$button"
	says true "$out" mine "@$button"		# unwrapped on its way home
	says false "$inside" mine "@$button"		# past the membrane it is a stranger
	refuses 'Plugin has no method "fly"' "$out" fly	# errors pass as they are
	refuses 'Button has no method "fly"' "$button" fly
	# the plugin's clist has the wrapper of the counter, and not the counter
	! grep -q " ${AT[counter]} " "$RUN/fs/vats/${AT[vat-plugin]}/clist.txt" || fail "the plugin has the counter itself"
	says 1001 "$inside" play
	for v in membrane plugin; do
		kill_vat $v
	done
	says 1002 "$button" press
	says true "$out" mine "@$button"
	says undefined "${AT[membrane]}" cut
	refuses 'the membrane was cut' "$button" press
	refuses 'the membrane was cut' "$out" install "@${AT[counter]}"
	refuses 'the membrane was cut' "$inside" play
	kill_vat membrane
	broker_kill
	refuses 'the membrane was cut' "$button" press
	refuses 'the membrane was cut' "$inside" play
	says 1002 "${AT[counter]}" get
	nothing_left
}

# Lines through a filter: all of them; and no more than are asked for.
test_logs() {
	local i
	begin
	example logs
	for ((i = 1; i <= 60; i++)); do
		if ((i % 3)); then
			says undefined "${AT[journal]}" log "\"info $i\""
		else
			says undefined "${AT[journal]}" log "\"error $i\""
		fi
	done
	watched '{last: "error 60", outcome: "all read", seen: 20}' error 100
	says 60 "${AT[journal]}" fetched
	watched '{last: "error 6", outcome: "enough", seen: 2}' error 2
	status 0 capstan call "@${AT[journal]}" fetched
	((OUT <= 72)) || fail "$OUT lines were fetched: the journal was read beyond what was wanted"
	watched '{last: "error 6", outcome: "all read", seen: 0}' nothing 1
	refuses 'argument 1 must be a string' "${AT[journal]}" log 5
	kill_vat filter
	kill_vat watcher
	broker_kill
	watched '{last: "error 30", outcome: "all read", seen: 1}' 30 100
	nothing_left
}
# watched REPORT WORD ENOUGH: each look is a round trip.
watched() {
	local i
	says undefined "${AT[watcher]}" watch "\"$2\"" "$3"
	for ((i = 0; i < 500; i++)); do
		status 0 capstan call "@${AT[watcher]}" report
		[[ $OUT == *'outcome: "watching"'* ]] || break
	done
	equal "$1" "$OUT" "watching for $2"
}

run_tests
