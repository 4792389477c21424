#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Processes and users (docs/ARCHITECTURE.md, Processes): who runs as whom, with what, and who dies with whom.
. "$(dirname "$0")/lib.sh"

uid_of() { awk '/^Uid:/ { print $2 }' "/proc/$1/status"; }
field_of() { awk -v f="$2:" '$1 == f { print $2 }' "/proc/$1/status"; }
in_block() { [[ $1 -ge $((0x70000000)) && $1 -lt $((0x7ffe0000)) ]]; }

# All four kinds of process, each with its user; capabilities, no_new_privs, open files.
test_who_is_who() {
	local broker fs uids vat pid
	kernel_start
	launch "$(cluster vatd/examples/trio.json)"
	equal 0 "$(uid_of "$SPAWNER")" "uid of the spawner"
	broker=$(broker_pid) fs=$(fs_pid)
	[[ -n $broker ]] || fail "no broker below the spawner"
	[[ -n $fs ]] || fail "no capstan-fs below the spawner"
	for pid in "$broker" "$fs"; do
		[[ $(uid_of "$pid") != 0 ]] || fail "pid $pid runs as root"
		! in_block "$(uid_of "$pid")" || fail "pid $pid has a vat's uid"
		no_privileges "$pid"
	done
	[[ $(uid_of "$broker") != "$(uid_of "$fs")" ]] || fail "broker and capstan-fs share a uid"
	# V15: a uid of its own for each vat
	uids=
	for vat in $(jq -r '.vats[]' <<< "$LAUNCH"); do
		pid=$(vat_pid "$vat")
		in_block "$(uid_of "$pid")" || fail "$vat has uid $(uid_of "$pid"), outside the block"
		equal "$(uid_of "$pid")" "$(cat "$RUN/fs/vats/$vat/uid")" "the uid that the mount shows"
		no_privileges "$pid"
		only_fd_3 "$pid"
		matches 'memfd:' "$(readlink "/proc/$pid/exe")" "program of $vat"
		uids+="$(uid_of "$pid")"$'\n'
	done
	equal 3 "$(sort -u <<< "$uids" | grep -c .)" "number of distinct vat uids"
	equal "" "$(ps -o pid= --ppid "$broker")" "children of the broker"
}
no_privileges() {
	local set
	for set in CapInh CapPrm CapEff CapAmb; do
		equal 0000000000000000 "$(field_of "$1" $set)" "$set of pid $1"
	done
	equal 1 "$(field_of "$1" NoNewPrivs)" "NoNewPrivs of pid $1"
	equal "" "$(awk '/^Groups:/ { $1 = ""; print }' "/proc/$1/status" | tr -d ' ')" "supplementary groups of pid $1"
}
# 0, 1 and 2 may be there as /dev/null or a log pipe, but only 3 is a way to speak.
only_fd_3() {
	local fd
	for fd in $(ls "/proc/$1/fd"); do
		[[ $fd -le 3 ]] || fail "pid $1 holds fd $fd: $(readlink "/proc/$1/fd/$fd")"
	done
	matches '^socket:' "$(readlink "/proc/$1/fd/3")" "fd 3 of pid $1"
	for fd in 0 1 2; do
		[[ ! -e /proc/$1/fd/$fd || $(readlink "/proc/$1/fd/$fd") == /dev/null ]] ||
			fail "pid $1 holds fd $fd: $(readlink "/proc/$1/fd/$fd")"
	done
}

# A second capstand on the same state, and one on the same run folder, say so and hurt nobody.
test_second_refuses() {
	kernel_start
	status 1 "$BIN/capstand" --state "$T/state" --run "$T/run2"
	matches "$T/state" "$ERR" "the refusal"
	matches 'already|in use|another|locked' "$ERR" "the refusal"
	status 1 "$BIN/capstand" --state "$T/state2" --run "$T/run"
	matches "$T/run" "$ERR" "the refusal"
	launch_counter
	status 0 capstan call "@$COUNTER" increment
}

# SIGTERM ends everything, and nothing is left.
test_sigterm() {
	local pids
	kernel_start
	launch_counter
	pids=$(kernel_pids)
	[[ $(wc -w <<< "$pids") -ge 4 ]] || fail "expected spawner, broker, capstan-fs and a vat, got: $pids"
	kernel_stop
	[[ ! -e $RUN/control.sock ]] || fail "the control socket was left"
	[[ ! -e $RUN/capstand.pid ]] || fail "the pid file was left"
	status 3 capstan status
	matches '.' "$ERR" "what the CLI says without a broker"
	fsck
}

test_shutdown_command() {
	local pids
	kernel_start
	launch_counter
	pids=$(kernel_pids)
	status 0 capstan shutdown
	# shellcheck disable=SC2086
	gone $pids
	! mounted_below "$T" || fail "a mount was left"
	fsck
}

# In the foreground it stays with whoever started it.
test_foreground() {
	local pid
	STATE=$T/state RUN=$T/run
	"$BIN/capstand" --foreground --state "$STATE" --run "$RUN" > "$T/fg" 2>&1 &
	pid=$!
	until [[ -S $RUN/control.sock ]] && capstan status > /dev/null 2>&1; do
		[[ -d /proc/$pid ]] || fail "it ended: $(< "$T/fg")"
	done
	kill -TERM $pid
	wait $pid || fail "SIGTERM gave status $?: $(< "$T/fg")"
	! mounted_below "$T" || fail "a mount was left"
}

# Death of the spawner: all die. The state is as good as ever, and a dead mount is taken over at the next start.
test_spawner_killed() {
	kernel_start
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	kernel_kill
	fsck
	kernel_start
	status 0 capstan call "@$COUNTER" get
	equal 1 "$OUT" counter
	[[ -r $RUN/fs/status ]] || fail "the mount did not come back"
}

# Death of the broker: a new one, vats of a higher incarnation under the same uids, the mount back.
test_broker_killed() {
	local uid old
	kernel_start
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	uid=$(cat "$RUN/fs/vats/$COUNTER_VAT/uid")
	old=$(vat_pid "$COUNTER_VAT")
	equal 1 "$(cat "$RUN/fs/vats/$COUNTER_VAT/incarnation")" "the first incarnation"
	broker_kill
	gone "$old"
	status 0 capstan call "@$COUNTER" get
	equal 1 "$OUT" "the counter after the broker's death"
	equal "$uid" "$(cat "$RUN/fs/vats/$COUNTER_VAT/uid")" "the vat's uid after the broker's death"
	equal "$uid" "$(uid_of "$(vat_pid "$COUNTER_VAT")")" "the new process's uid"
	equal 2 "$(cap_json ps | jq -r --arg v "$COUNTER_VAT" '.. | objects | select(.id? == $v) | .incarnation')" incarnation
}

# capstan-fs is killed: the kernel runs on, and the mount comes back.
test_fs_killed() {
	local old n
	kernel_start
	launch_counter
	old=$(fs_pid)
	kill -KILL "$old"
	gone "$old"
	status 0 capstan call "@$COUNTER" increment
	for ((n = 0; ; n++)); do
		cat "$RUN/fs/status" > /dev/null 2>&1 && break
		[[ $n -lt 500 ]] || fail "the mount did not come back"
		status 0 capstan ping "$COUNTER_VAT"	# a round trip, so that time passes in the kernel
	done
	[[ $(fs_pid) != "$old" ]] || fail "the old capstan-fs still runs"
}

# Too many deaths in a short time: it gives up, clearly, and leaves nothing.
test_gives_up() {
	local n pids
	CAPSTAN_BROKER_DEATHS=2 kernel_start
	launch_counter
	broker_kill
	pids=$(kernel_pids)
	kill -KILL "$(broker_pid)"
	# shellcheck disable=SC2086
	gone $pids
	! mounted_below "$T" || fail "a mount was left"
	fsck
}

# A state folder of another schema, and one that is no state folder at all, are refused.
test_bad_state() {
	touch "$T/broker-may-exit"
	mkdir -p "$T/state"
	echo "not a directory" > "$T/file"
	status 1 "$BIN/capstand" --state "$T/file" --run "$T/run"
	matches "$T/file" "$ERR"
	mkdir -p "$T/state/store"
	head -c 65536 /dev/urandom > "$T/state/store/data.mdb"
	status 1 "$BIN/capstand" --state "$T/state" --run "$T/run"
	[[ -n $ERR ]] || fail "no word about a store that is not one"
	status 1 "$BIN/capstan" fsck --state "$T/state"
	[[ -n $ERR$OUT ]] || fail "fsck says nothing about a store that is not one"
	! mounted_below "$T" || fail "a mount was left"
}

# Usage errors.
test_usage() {
	status 2 "$BIN/capstand" --nonsense
	matches nonsense "$ERR"
	status 0 "$BIN/capstand" --help
	matches '--state' "$OUT"
	status 0 "$BIN/capstand" --version
}

# As an ordinary user: everything runs as that user, says so, and still works.
test_ordinary_user() {
	local pid
	# The files of the build must be readable to others, wherever the checkout lies.
	cp "$BIN"/capstand "$BIN"/capstan-vatd "$BIN"/capstan-fs "$BIN"/capstan "$T/"
	cp "$BIN/../vats/counter" "$T/"
	chmod 755 "$T" "$T"/*
	mkdir "$T/home" && chown 65534:65534 "$T/home"
	STATE=$T/home/state RUN=$T/home/run
	jq -n --arg p "$T/counter" '{bootstrap: "counter", vats: {counter: {program: $p}, other: {program: $p}}}' > "$T/two.json"
	status 0 setpriv --reuid 65534 --regid 65534 --clear-groups "$T/capstand" --state "$STATE" --run "$RUN"
	SPAWNER=$(< "$RUN/capstand.pid")
	matches 'not started as root' "$(< "$RUN/capstand.log")" "what it says of itself"
	launch "$T/two.json"
	status 0 capstan call "@$ROOT" increment
	equal 1 "$OUT"
	for pid in $(kernel_pids); do
		equal 65534 "$(uid_of "$pid")" "uid of pid $pid"
	done
	status 0 capstan --json status
	equal '["nnp","fds","seccomp"]' "$(jq -c '[.vats[].isolation] | unique | .[0]' <<< "$OUT")" "the isolation it reports"
	equal null "$(jq -c .mount <<< "$OUT")" "the mount"
	broker_kill
	status 0 capstan call "@$ROOT" get
	equal 1 "$OUT" "after a restart of the broker"
	stop_and_fsck
}

# --no-mount: everything but the mount.
test_no_mount() {
	kernel_start --no-mount
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	[[ -n $(fs_pid) && -S $RUN/fs.sock ]] || fail "no capstan-fs on a socket"
	equal 'null "--no-mount was given"' "$(cap_json status | jq -r '"\(.mount) \(.noMount | tojson)"')" "what it says of the mount"
	! mounted_below "$T" || fail "something is mounted"
	kernel_stop
	[[ ! -e $RUN/fs.sock ]] || fail "the socket was left"
}

run_tests
