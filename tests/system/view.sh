#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# capstan ls, cat and tree: the same as ls, cat and find say in the mount, for the same people, and also where there is no mount.
. "$(dirname "$0")/lib.sh"

# A kernel at rest with a bit of everything in it.
start_all() {
	kernel_start "$@"
	launch "$(cluster vatd/examples/trio.json)"
	launch_counter
	status 0 capstan call "@$COUNTER" increment
}
# What changes from look to look is a number.
masked() { sed -E 's/[0-9]+/N/g' "$1"; }
as_stranger() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
# For those who cannot look into the folder of the build.
lend_program() { install -m 755 "$BIN/capstan" "$T/capstan"; }
world_config() { echo "{\"mount\": {\"world\": true, \"hide\": [$1]}}" > "$T/config.json"; }

# Every file's text; and as JSON one value for each.
test_cat_is_cat() {
	local f n
	start_all
	find "$RUN/fs" -path "$RUN/fs/snapshot" -prune -o -type f ! -name events ! -name recent -printf '%P\n' > "$T/files"
	n=$(wc -l < "$T/files")
	[[ $n -ge 40 ]] || fail "only $n files"
	(cd "$RUN/fs" && xargs -n 1 tail -v -n +1 < "$T/files") > "$T/a"
	while IFS= read -r f; do
		echo "==> $f <=="
		capstan cat "$f" || fail "cannot cat $f"
	done < "$T/files" > "$T/b"
	cmp -s "$T/a" "$T/b" || [[ $(masked "$T/a") == "$(masked "$T/b")" ]] || fail "$(diff "$T/a" "$T/b")"
	xargs "$BIN/capstan" --run "$RUN" --json cat < "$T/files" > "$T/json"
	equal "$n" "$(wc -l < "$T/json")" "lines of JSON"
	equal "$n" "$(jq -s 'map(select(. != null)) | length' "$T/json")" "values"
	status 0 capstan cat "$RUN/fs/vats/v1/name" /vats/v1//name "vats/v1/clist/../name"
	equal $'alice\nalice\nalice' "$OUT" "one file by three paths"
}

# Every directory, every link, the whole tree.
test_ls_is_ls() {
	local d n=0
	start_all
	while IFS= read -r d; do
		equal "$(LC_ALL=C ls -A "$RUN/fs/$d")" "$(capstan ls "$d" | LC_ALL=C sort)" "in '$d'"
		n=$((n + 1))
	done < <(find "$RUN/fs" -path "$RUN/fs/snapshot" -prune -o -type d -printf '%P\n')
	[[ $n -ge 15 ]] || fail "only $n directories"
	for d in objects "vats/v1" "vats/v1/clist"; do
		equal "$(ls -lU "$RUN/fs/$d" | awk 'NR > 1 { print $1, $9, $10, $11 }' | sort)" \
			"$(capstan ls -l "$d" | awk '{ print $1, $3, $4, $5 }' | sort)" "ls -l $d"
	done
	capstan --json tree | jq -r '
		def down($p): .contents[]? | ($p + .name), down($p + .name + "/"); down("")' | LC_ALL=C sort > "$T/tree"
	find "$RUN/fs" -mindepth 1 -printf '%P\n' | LC_ALL=C sort > "$T/find"
	cmp "$T/tree" "$T/find" || fail "$(diff "$T/tree" "$T/find")"
	equal "$(wc -l < "$T/find")" "$(capstan tree | tail -n +2 | wc -l)" "lines of tree"
	equal "$(find "$RUN/fs" -mindepth 1 -maxdepth 2 | wc -l)" "$(capstan tree -L 2 | tail -n +2 | wc -l)" "lines of tree -L 2"
	equal "$(readlink "$RUN/fs/vats/v1/clist/o+0")" "$(capstan --json ls vats/v1/clist | jq -r '.[] | select(.name == "o+0").link')"
}

# What the texts become.
test_json() {
	local v
	start_all
	v=$COUNTER_VAT
	equal counter "$(cap_json cat "vats/$v/name" | jq -r .)" "a line"
	equal "$(cat "$RUN/fs/vats/$v/pid")" "$(cap_json cat "vats/$v/pid" | jq 'select(type == "number")')" "a number"
	equal "$(sed -n 's/^objects: //p' "$RUN/fs/status")" "$(cap_json cat status | jq 'select(type == "object").objects')" "a field"
	equal "$COUNTER" "$(cap_json cat "vats/$v/clist.txt" | jq -r '.[] | select(.eref == "o+0").kref')" "a cell"
	equal "1" "$(cap_json cat "vats/$v/baggage" | jq '.[] | select(.key == "count").value')" "a decoded value"
	equal "null" "$(cap_json cat holds | jq -c '[.[] | select(.kind == "service").owner][0]')" "no cell"
	equal none "$(cap_json cat "vats/$v/config" | jq -r .runtime)" "JSON as it is"
	equal directory "$(cap_json ls vats | jq -r ".[] | select(.name == \"$v\").type")" "an entry"
	status 1 cap_json cat "vats/$v/name" vats/v99/name "vats/$v/name"
	equal $'"counter"\nnull\n"counter"' "$OUT" "one line a path"
}

test_errors() {
	start_all
	status 1 capstan cat vats/v9
	equal "capstan: vats/v9: No such file or directory" "$ERR"
	status 1 capstan cat vats/v1 status
	equal "capstan: vats/v1: Is a directory" "$ERR"
	matches '^version: ' "$OUT" "the other path"
	status 1 capstan tree status
	equal "capstan: status: Not a directory" "$ERR"
	status 1 capstan ls $'\e[2J'
	equal 'capstan: \x1b[2J: No such file or directory' "$ERR"
	status 1 capstan ls $'\xff'
	equal 'capstan: \xff: No such file or directory' "$ERR"
	status 1 capstan cat "$(printf 'x%.0s' {1..300})"
	matches 'File name too long$' "$ERR"
	status 1 capstan cat -f status
	matches 'not a log' "$ERR"
	kernel_stop
	status 3 capstan ls
	matches '^capstan: NO_BROKER: .*no kernel answers there' "$ERR"
	fsck
}

# A log is printed and followed: what is added comes, a line at a time, also as JSON.
test_follow() {
	local line
	kernel_start
	launch "$(one_vat "$VATS/hostile" call)"
	status 0 capstan call "@$ROOT" say '"one"'
	coproc FOLLOW { exec "$BIN/capstan" --run "$RUN" --json cat -f "vats/$(vat_id it)/log"; }
	IFS= read -r -t "$WAIT" line <&"${FOLLOW[0]}" || fail "no first line"
	equal one "$(jq -r .text <<< "$line")"
	status 0 capstan call "@$ROOT" say '"two \u001b"'
	IFS= read -r -t "$WAIT" line <&"${FOLLOW[0]}" || fail "no second line"
	equal 'two \x1b' "$(jq -r .text <<< "$line")"
	equal 1 "$(jq -r .incarnation <<< "$line")"
	kill "$FOLLOW_PID"
	wait "$FOLLOW_PID" || true
}

# Events come as they happen, to several readers; and what has happened can be looked at.
test_events() {
	local line delivery=
	kernel_start --no-mount
	launch_counter
	coproc EVENTS { exec "$BIN/capstan" --run "$RUN" --json cat events; }
	# The reader stands at the end of the ring when its answer has begun: calls go on until it has seen one.
	while [[ -z $delivery ]]; do
		status 0 capstan call "@$COUNTER" increment
		while [[ -z $delivery ]] && IFS= read -r -t 0.2 line <&"${EVENTS[0]}"; do
			delivery=$(jq -r 'select(.kind == "crank" and .method == "increment" and .outcome == "applied").delivery' <<< "$line")
		done
	done
	equal "$COUNTER_VAT $COUNTER" "$(jq -r '"\(.vat) \(.target)"' <<< "$line")"
	kill "$EVENTS_PID"
	wait "$EVENTS_PID" || true
	equal "$delivery" "$(cap_json cat recent | jq --argjson d "$delivery" '.[] | select(.delivery == $d).delivery')" "recent"
}

# A frozen tree by this way: what is in it does not change, and its links lead into it.
test_frozen() {
	local before
	kernel_start --no-mount
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	before=$(capstan cat snapshot/a/vats/"$COUNTER_VAT"/baggage)
	status 0 capstan call "@$COUNTER" increment
	equal "$before" "$(capstan cat "snapshot/a/vats/$COUNTER_VAT/clist/o+0/../../vats/$COUNTER_VAT/baggage")" "frozen"
	[[ $before != "$(capstan cat "vats/$COUNTER_VAT/baggage")" ]] || fail "the live one does not change"
	equal a "$(capstan ls snapshot)"
	equal "$(capstan --json tree snapshot/a | tr , '\n' | grep -c '"name"')" "$(capstan tree snapshot/a | wc -l)" "entries"
	equal "$(capstan --json cat snapshot/a/status)" "$(capstan --json cat snapshot/a/status)" "status"
	status 1 capstan ls snapshot/-x
	equal "capstan: snapshot/-x: No such file or directory" "$ERR"
	status 0 capstan ls snapshot/b
	status 1 capstan ls snapshot/c
	equal "capstan: snapshot/c: Too many open files" "$ERR"
}

# Without a mount, and when capstan-fs is killed or stopped: who asks waits for the next one and has its answer.
test_no_mount() {
	local old signal
	start_all --no-mount
	! mounted_below "$RUN" || fail "there is a mount"
	equal counter "$(capstan cat "vats/$COUNTER_VAT/name")" "without a mount"
	for signal in KILL STOP; do
		old=$(fs_pid)
		kill -"$signal" "$old"
		gone "$old"
		equal counter "$(capstan cat "vats/$COUNTER_VAT/name")" "after SIG$signal"
	done
	broker_kill
	equal counter "$(capstan cat "vats/$COUNTER_VAT/name")" "after the broker's death"
}

# The default: root, and its group where there is no other. The socket itself is closed to everybody else.
test_modes() {
	start_all
	lend_program
	status 3 as_stranger "$T/capstan" --run "$RUN" ls
	matches '^capstan: NO_BROKER: .*Permission denied' "$ERR"
	equal "$(stat -c %a "$RUN/fs/vats/v1/log")" "$(cap_json ls vats/v1 | jq -r '.[] | select(.name == "log").mode' | sed 's/^0//')"
}

# Open to all, but for what is hidden, and but for vats, whose users are refused whatever the modes say.
test_world() {
	local vat_uid
	world_config '"logs", "parameters"'
	start_all --config "$T/config.json"
	lend_program
	vat_uid=$(cat "$RUN/fs/vats/$COUNTER_VAT/uid")
	status 0 as_stranger "$T/capstan" --run "$RUN" cat "vats/$COUNTER_VAT/name"
	equal counter "$OUT"
	status 1 as_stranger "$T/capstan" --run "$RUN" cat "vats/$COUNTER_VAT/log" "vats/$COUNTER_VAT/config"
	equal "capstan: vats/$COUNTER_VAT/log: Permission denied
capstan: vats/$COUNTER_VAT/config: Permission denied" "$ERR"
	status 0 capstan cat "vats/$COUNTER_VAT/log"
	status 1 setpriv --reuid "$vat_uid" --regid "$vat_uid" --clear-groups "$T/capstan" --run "$RUN" ls
	equal "capstan: /: Permission denied" "$ERR"
	status 1 setpriv --reuid "$vat_uid" --regid "$vat_uid" --clear-groups "$T/capstan" --run "$RUN" cat status
}

# 20 clients who ask for everything and read nothing, others who send garbage: whoever else asks has its answer, in the mount, too.
test_not_reading() {
	local line
	world_config ""
	start_all --config "$T/config.json"
	coproc CROWD { exec python3 -c '
import os, socket, sys
os.setgroups([])
os.setresuid(65534, 65534, 65534)
crowd = []
for i in range(20):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    try:
        s.sendall(b"{\"op\":\"tree\"}\n" * 100 if i % 3 else os.urandom(5000))
    except OSError:		# one too many, and sent away
        pass
    crowd.append(s)
print("here", flush=True)
sys.stdin.read()
' "$RUN/fs.sock"; }
	read -r -t "$WAIT" line <&"${CROWD[0]}" || fail "no crowd"
	equal here "$line"
	for _ in 1 2 3; do
		equal counter "$(capstan cat "vats/$COUNTER_VAT/name")"
		equal counter "$(cat "$RUN/fs/vats/$COUNTER_VAT/name")"
		status 0 capstan tree
	done
	status 0 capstan call "@$COUNTER" increment
	kill "$CROWD_PID"
	wait "$CROWD_PID" || true
}

run_tests
