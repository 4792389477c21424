#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Questions about vats, answered by the mount in one command each: real vats, real deaths, what they keep and run.
. "$(dirname "$0")/lib.sh"

# The cell of a table (stdin): cell COLUMN KEY, the row whose first cell is KEY.
cell() {
	awk -v c="$1" -v k="$2" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } $1 == k { print $at[c] }'
}

# Which vats were restarted and why; which uses most; and what the table says is what the files of the vat say.
test_table() {
	local v pid
	kernel_start
	launch_counter
	v=$RUN/fs/vats/$COUNTER_VAT
	[[ ! -e $v/deaths && ! -e $v/reason && $(wc -l < "$RUN/fs/deaths") == 1 ]] || fail "it died before it was killed"
	pid=$(cat "$v/pid")
	kill -KILL "$pid"
	gone "$pid"
	status 0 capstan call "@$COUNTER" get
	matches "$COUNTER_VAT +1 +killed by signal 9" "$(cat "$RUN/fs/deaths")" "deaths of all"
	matches '^[-0-9T:.Z]+ +1 +killed by signal 9' "$(tail -n +2 "$v/deaths")" "its deaths"
	launch "$(cluster vatd/examples/membrane.json)"
	equal 4 "$(tail -n +2 "$RUN/fs/vats.txt" | wc -l)" "rows"
	equal "$COUNTER_VAT" "$(awk 'NR > 1 && $8 > 0 { print $1 }' "$RUN/fs/vats.txt")" "who was restarted"
	equal "$(vat_id membrane)" "$(tail -n +2 "$RUN/fs/vats.txt" | sort -n -k 12 | awk 'END { print $1 }')" "who stores most"
	equal "$(cat "$v/pid")" "$(cell pid "$COUNTER_VAT" < "$RUN/fs/vats.txt")" "pid"
	equal 2 "$(cell incarnation "$COUNTER_VAT" < "$RUN/fs/vats.txt")" "incarnation"
	equal running "$(cell status "$COUNTER_VAT" < "$RUN/fs/vats.txt")" "status"
}

# Which code a vat runs, and who runs a program: the same file, whatever it was called.
test_code() {
	local v sum
	kernel_start
	launch_counter
	v=$RUN/fs/vats/$COUNTER_VAT
	sum=$(sha256sum "$VATS/counter" | cut -d' ' -f1)
	equal "../../code/$sum" "$(readlink "$v/code")" "its code"
	equal counter "$(cat "$v/code/name")" "its name"
	equal "$(stat -c %s "$VATS/counter")" "$(cat "$v/code/size")" "its size"
	equal "$COUNTER_VAT" "$(ls "$RUN/fs/code/$sum/vats")" "who runs it"
	equal counter "$(cat "$v/code/vats/$COUNTER_VAT/name")" "and back"
	equal "$COUNTER" "$(basename "$(readlink "$v/root")")" "its root"
	equal "$SUB" "$(basename "$(readlink "$v/subcluster")")" "its subcluster"
	equal "$COUNTER_VAT" "$(basename "$(readlink "$v/subcluster/bootstrap")")" "the bootstrap vat"
}

# Limits: what the cluster says, what the kernel says, what is used.
test_limits() {
	local v
	kernel_start
	launch "$(one_vat "$VATS/counter" | jq -c '.vats.it.limits = {memory: 50000000, queueMessages: 77}')"
	v=$RUN/fs/vats/$(vat_id it)
	equal 77 "$(cell max queueMessages < "$v/limits")" "its queue"
	equal 0 "$(cell used queueMessages < "$v/limits")" "in its queue"
	equal 50000000 "$(cell max memory < "$v/limits")" "its memory"
	equal "$(cell default memory < "$RUN/fs/limits")" "$(cell default memory < "$v/limits")" "the default"
	equal "$(cell default syscalls < "$v/limits")" "$(cell max syscalls < "$v/limits")" "what the cluster does not say"
	equal "$(sed -n 's/^exports: //p' "$v/usage")" "$(cell used exports < "$v/limits")" "exports"
}

# What vats keep: a weak map with its entries counted and shown; Python's baggage and state.
test_stores() {
	local v
	kernel_start
	launch "$(cluster vatd/examples/membrane.json)"
	v=$RUN/fs/vats/$(vat_id membrane)
	matches 'Side' "$(cat "$v/state")" "state"
	equal "weak 1" "$(awk '$7 == "wrappers" && $5 > 0 { print $4, $5 }' "$v/collections")" "the weak map"
	matches 'ko[0-9]+ +ko[0-9]+$' "$(tail -n 1 "$v/entries")" "its entry"
	matches 'Wrapper +[0-9]+ +program +durable +side:ref,target:ref' "$(cat "$v/kinds")" "kinds"
	[[ $(tail -n +2 "$v/references" | wc -l) -gt 3 ]] || fail "references: $(cat "$v/references")"
	launch "$(jq --arg e "$SOURCE/vatd/examples/" --arg v "$VATS/" '.vats |= map_values(
		.program |= (if endswith(".py") then $e else $v end) + sub(".*/"; "") |
		if .files then .files |= map_values($e + sub(".*/"; "")) else . end)' "$SOURCE/vatd/examples/guestbook.json")"
	v=$RUN/fs/vats/$(vat_id guestbook)
	matches 'o\+0 +ko[0-9]+ +root +\{.*welcome: "' "$(cat "$v/state")" "Python's state"
	matches "$(vat_id guestbook)" "$(ls "$RUN"/fs/code/*/vats | sort | uniq -d)" "program and companion file"
}

run_tests
