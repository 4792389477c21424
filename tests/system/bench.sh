#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The bench (docs/BENCH.md): that figures come out, not how good they are. Programs of others take part where they are installed.
. "$(dirname "$0")/lib.sh"

built() { status 0 make -s -C "$SOURCE" B="$B" bench-programs; }
bench() { SMOKE=1 OUT=$T/bench.json timeout 120 "$SOURCE/tests/bench/run" "$B"; }

# Every measure, a few rounds each: in every row ours first, a figure greater than 0 of everybody, and a ratio to each of them.
test_figures() {
	local measure
	built
	status 0 bench
	for measure in roundtrip chain busy krefs spawn memory restart mount; do
		jq -e --arg m "$measure" 'any(.rows[]; .measure == $m)' "$T/bench.json" > /dev/null || fail "no row of $measure"
	done
	status 0 jq -r '.rows[] | select(
		.subjects[0].name != "capstan" or any(.subjects[]; (.runs | length) == 0 or .median < .least or .median > .most)
		or ([.subjects[1:][].name] - (.ratios | keys) != [])
		or (any(.subjects[], .ratios[]; (.median? // .) as $x | ($x | type) != "number" or $x <= 0)
			and .case != "private, the broker'"'"'s share"))' "$T/bench.json"
	equal "" "$OUT" "rows that are not as they should be"
	status 0 jq -r '[.rows[] | select(.measure == "roundtrip")] | length' "$T/bench.json"
	equal 4 "$OUT" "rows of round trips: two depths, two placements"
	# What is installed takes part, what is not is named: nobody is silently left out.
	status 0 jq -r '.rows[] | select(.measure == "roundtrip")
		| ([.subjects[].name] + (.skipped | keys)) | sort | join(" ")' "$T/bench.json"
	equal "capnp capstan dbus relay" "$(sort -u <<< "$OUT")" "who stands in a row of round trips"
	status 0 jq -r -f "$SOURCE/tests/bench/table.jq" "$T/bench.json"
	matches '\| sequential, one CPU \|' "$OUT" "the table for docs/BENCH.md"
}

# One measure by name; a name that is none; and figures that a program did not give are no figures.
test_only() {
	built
	ONLY=memory status 0 bench
	equal memory "$(jq -r '[.rows[].measure] | unique | join(" ")' "$T/bench.json")" measures
	ONLY="memory speed" status 2 bench
	matches 'no measure "speed"' "$ERR"
}

# Ended in the middle, it takes down what it has set up; run_tests sees to the processes.
test_interrupted() {
	local line pid
	built
	mkdir "$T/tmp"
	mkfifo "$T/out"
	SMOKE=1 OUT=$T/bench.json TMPDIR=$T/tmp "$SOURCE/tests/bench/run" "$B" > "$T/out" 2> "$T/err" &
	pid=$!
	exec 3< "$T/out"
	while read -r -t "$WAIT" line <&3; do
		[[ $line != *"capstan "* ]] || break	# the first row: a kernel runs
	done
	matches 'capstan ' "$line" "the first row"
	kill -TERM "$pid"
	cat <&3 > "$T/rest"
	exec 3<&-
	status 130 wait_for "$pid"
	equal "" "$(ls "$T/tmp")" "what it left in its folder"
	[[ ! -e $T/bench.json ]] || fail "it has written figures of half a run"
}
wait_for() { wait "$1"; }

run_tests
