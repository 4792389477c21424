#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `capstand --config` opens for the broker: io channels to files, FIFOs and sockets (S4, S13 to S17), and system
# subclusters (S1, S2, S12), with real vats, a broker under its own user, and its death in the middle.
. "$(dirname "$0")/lib.sh"

# --- io ----------------------------------------------------------------------------------------------------------------

# start_io: a kernel that allows $T/srv, which is everybody's as far as this test is concerned.
start_io() {
	mkdir "$T/srv"
	chmod 777 "$T/srv"
	jq -nc --arg d "$T/srv" '{ioPaths: [$d]}' > "$T/capstand.json"
	kernel_start --config "$T/capstand.json"
}
# porter NAME TYPE DIRECTION …: a cluster of one porter with these channels, each at $T/srv/NAME.
porter() {
	local io='{}'
	while [[ $# -gt 0 ]]; do
		io=$(jq -c --arg n "$1" --arg t "$2" --arg d "$3" --arg p "$T/srv/$1" \
			'.[$n] = {type: $t, direction: $d} + if $t == "console" then {} else {path: $p} end' <<< "$io")
		shift 3
	done
	jq -c --argjson io "$io" '.io = $io' <<< "$(one_vat "$VATS/porter")"
}
# channel NAME: the reference that bootstrap was given.
channel() {
	jq -r --arg n "$1" '.bootstrapResult | (.body[1:] | fromjson) as $b | "@" + .slots[$b[$n][1:] | split(".")[0] | tonumber]' <<< "$LAUNCH"
}
call() { status 0 capstan call "$@"; }
# client SOCKET WORD…: says each word as a line, prints the line that comes back.
client() {
	timeout "$WAIT" python3 - "$@" <<- 'END'
		import socket, sys
		path, *words = sys.argv[1:]
		s = socket.socket(socket.AF_UNIX)
		s.connect(path)
		f = s.makefile("rw")
		for w in words:
		    f.write(w + "\n")
		    f.flush()
		    print(f.readline(), end="")
	END
}

test_files() {
	local words log pipe copied
	start_io
	printf 'one\ntwo\nthree\n' > "$T/srv/words"
	mkfifo "$T/srv/pipe"
	chmod 666 "$T/srv/pipe"
	launch "$(porter words file in log file out pipe file in tty console out)"
	words=$(channel words) log=$(channel log) pipe=$(channel pipe)
	call "$words" read
	equal '"one"' "$OUT"
	call "$log" write '"first"'
	equal first "$(< "$T/srv/log")"
	equal 644 "$(stat -c %a "$T/srv/log")"
	call "$(channel tty)" write '"to the log\u001b"'
	grep -qF 'console: io:s1:tty: to the log\x1b' "$RUN/capstand.log" || fail "no line in the kernel's log"
	broker_kill
	# the same references; the file goes on where the answers ended
	call "$words" read
	equal '"two"' "$OUT"
	call "$log" write '"second"'
	equal "first second" "$(tr '\n' ' ' < "$T/srv/log" | sed 's/ $//')"
	status 1 capstan call "$log" read
	matches "TypeError: io:s1:log is for output" "$ERR"
	# a vat carries what comes through a FIFO; its writer's end is the end
	capstan call "@$ROOT" carry "$pipe" "$log" > "$T/carried" &
	copied=$!
	printf 'a\nb\nc' > "$T/srv/pipe"
	wait "$copied"
	equal 3 "$(< "$T/carried")"
	equal "first second a b c " "$(tr '\n' ' ' < "$T/srv/log")"
	matches '^io:s1:log -> |^io:s1:log$' "$(ls "$RUN/fs/services" | grep log)"
	status 0 capstan terminate "$SUB"
	status 1 capstan call "$words" read
	matches OBJECT_DELETED "$ERR"
}

# A read that waits over the death of the broker is answered by the next one; who listens is found again.
test_sockets() {
	local door reader
	start_io
	launch "$(porter door listen inout)"
	door=$(channel door)
	client "$T/srv/door" hello > "$T/heard" &
	reader=$!
	call "$door" read
	equal '"hello"' "$OUT"
	call "$door" write '"welcome"'
	wait "$reader"
	equal welcome "$(< "$T/heard")"
	call "$door" read
	equal null "$OUT"
	broker_kill
	client "$T/srv/door" again > "$T/heard" &
	reader=$!
	call "$door" read
	equal '"again"' "$OUT"
	call "$door" write '"back"'
	wait "$reader"
	equal back "$(< "$T/heard")"
	stop_and_fsck
	[[ ! -e $T/srv/door ]] || fail "the socket's name was left"
}

# L1: a peer that floods while nobody reads, and a FIFO without a reader, hold up nobody.
test_flood() {
	local flood
	start_io
	mkfifo "$T/srv/in"
	mkfifo "$T/srv/out"
	chmod 666 "$T/srv/in" "$T/srv/out"
	launch_counter
	launch "$(porter in file in out file out)"
	yes > "$T/srv/in" &
	flood=$!
	call "$(channel in)" read
	equal '"y"' "$OUT"
	call "$(channel out)" write '"into the pipe"'
	call "@$COUNTER" increment
	equal 1 "$OUT"
	kill "$flood"
	wait "$flood" || true
}

# S4: nothing but what lies in the folders, by whatever way; never the kernel's own.
test_escapes() {
	start_io
	ln -s /etc "$T/srv/etc"
	ln -s "$T/state/store/data.mdb" "$T/srv/data"
	escape ../state/store/data.mdb 'leads out of the folder'
	escape etc/passwd 'symbolic links are not followed'
	escape data 'symbolic links are not followed'
	escape none 'No such file'
	escape . 'not a regular file'
	# whoever may mount there could answer the kernel when he likes
	mkdir "$T/srv/mounted"
	mount -t tmpfs none "$T/srv/mounted"
	touch "$T/srv/mounted/file"
	escape mounted/file 'into a mount'
	umount "$T/srv/mounted"
	stop_and_fsck
	for folder in / "$T" "$T/state" "$T/state/store" "$T/run"; do
		jq -nc --arg d "$folder" '{ioPaths: [$d]}' > "$T/capstand.json"
		status 1 "$BIN/capstand" --state "$STATE" --run "$RUN" --config "$T/capstand.json"
		matches 'ioPaths\[0\]: the state folder and the run folder may not be in it' "$ERR"
	done
	jq -nc --arg d "$T/none" '{ioPaths: [$d]}' > "$T/capstand.json"
	status 1 "$BIN/capstand" --state "$STATE" --run "$RUN" --config "$T/capstand.json"
	matches "ioPaths\[0\]: cannot open $T/none" "$ERR"
}
escape() {
	porter "$1" file in > "$T/cluster.json"
	jq -c '.io = {x: .io[]}' "$T/cluster.json" > "$T/escape.json"
	status 1 capstan launch "$T/escape.json"
	matches "io.x.path: .*$2" "$ERR"
}

# --- system subclusters ---------------------------------------------------------------------------------------------------

# declare_system NAME PROGRAM …: the kernel's configuration, with programs beside it.
declare_system() {
	local all='{}'
	while [[ $# -gt 0 ]]; do
		all=$(jq -c --arg n "$1" --arg p "$2" '.[$n] = {bootstrap: "it", vats: {it: {program: $p}}}' <<< "$all")
		shift 2
	done
	mkdir -p "$T/etc"
	jq -nc --argjson s "$all" '{system: $s}' > "$T/etc/capstand.json"
}
# system NAME: waits until it runs; its id and its root.
system() {
	local end=$((SECONDS + WAIT))
	status 0 capstan status --json
	until jq -e --arg n "$1" 'any(.subclusters[]; .name == $n and .status == "running")' <<< "$OUT" > /dev/null 2>&1; do
		[[ $SECONDS -lt $end ]] || fail "$1 does not come up: $OUT"
		status 0 capstan status --json
	done
	jq -r --arg n "$1" '.subclusters[] | select(.name == $n and .status == "running") | "\(.id) \(.rootKref)"' <<< "$OUT" > "$T/found"
	read -r SUB ROOT < "$T/found"
}

# S2, S12: launched once; the same over deaths and starts, also without the file; removed when it is no longer declared.
test_system() {
	local sub root
	declare_system registry ./counter broken ./none
	cp "$VATS/counter" "$T/etc/counter"
	kernel_start --config "$T/etc/capstand.json"
	system registry
	sub=$SUB root=$ROOT
	call "@$root" increment
	status 0 capstan status
	matches "subcluster: $sub running bootstrap=it root=$root system=registry" "$OUT"
	matches 'system: broken is not there: ./none: could not be opened when capstand started' "$OUT"
	equal registry "$(< "$RUN/fs/subclusters/$sub/name")"
	status 0 capstan ps
	matches "$sub\(registry\)" "$OUT"
	# what is edited meanwhile counts at the next start of capstand, not of the broker
	echo '{}' > "$T/etc/capstand.json"
	broker_kill
	system registry
	equal "$sub $root" "$SUB $ROOT" "after a death of the broker"
	stop_and_fsck
	rm "$T/etc/counter"
	declare_system registry ./counter
	kernel_start --config "$T/etc/capstand.json"
	system registry
	equal "$sub $root" "$SUB $ROOT" "after a stop"
	call "@$root" get
	equal 1 "$OUT"
	stop_and_fsck
	kernel_start
	status 0 capstan status --json
	equal '[] {}' "$(jq -rc '"\([.subclusters[] | select(.status == "running")]) \(.system)"' <<< "$OUT")"
}

# A declaration that is wrong is refused with a line that says where, before anything is started.
test_refused() {
	mkdir "$T/etc"
	refused '{"system": {"a": {"bootstrap": "x"}}}' 'config.system.a.vats: missing'
	refused '{"system": {"a": {"bootstrap": "x", "vats": {"x": {"program": "./x"}}},
		"a": {"bootstrap": "x", "vats": {"x": {"program": "./x"}}}}}' 'line 2: duplicate object key'
	refused '{"system": {"a": 1}' 'line 1: '
	refused '{"ioPaths": ["srv"]}' 'config.ioPaths\[0\]: expected an absolute path'
	kernel_start
}
refused() {
	printf '%s' "$1" > "$T/etc/capstand.json"
	status 1 "$BIN/capstand" --state "$T/state" --run "$T/run" --config "$T/etc/capstand.json"
	matches "$2" "$ERR"
}

run_tests
