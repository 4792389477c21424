#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The mount and its host: who mounts, for whom, what capstan-fs may, and what becomes of it when processes are stopped, killed or
# refused. Ordinary users are 65534 (nobody: fusermount3 wants an entry in the passwd file), in a mount table of their own with
# a /dev/fuse of the mode that the test wants.
. "$(dirname "$0")/lib.sh"

# user_home: the programs where that user can execute them, and a folder of its own.
user_home() {
	cp "$BIN"/capstand "$BIN"/capstan-vatd "$BIN"/capstan-fs "$BIN"/capstan "$BIN/../vats/counter" "$T/"
	chmod 755 "$T"/*
	mkdir "$T/home"
	chown 65534:65534 "$T/home"
	STATE=$T/home/state RUN=$T/home/run
}

# mounts_open MODE [FUSE.CONF]: begins a mount table, kept by a process until mounts_close. In it /dev/fuse has that mode.
mounts_open() {
	[[ -c /dev/fuse ]] || skip "no /dev/fuse"
	mknod -m "$1" "$T/fuse" c 10 229
	[[ $# -lt 2 ]] || printf '%s\n' "$2" > "$T/fuse.conf"
	coproc HOLDER {
		exec unshare --mount --propagation private bash -c '
			mount --bind "$0/fuse" /dev/fuse && { [[ ! -f $0/fuse.conf ]] || mount --bind "$0/fuse.conf" /etc/fuse.conf; } &&
			echo "$$" && read -r _' "$T"
	}
	read -r -t "$WAIT" HOLD <&"${HOLDER[0]}" || fail "no mount table"
	HOLD_IN=${HOLDER[1]} HOLDER_JOB=$HOLDER_PID
}
mounts_close() {
	eval "exec $HOLD_IN>&-"
	wait "$HOLDER_JOB" || true
}
inside() { nsenter --mount="/proc/$HOLD/ns/mnt" -- "$@"; }
as_user() { inside setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
user_start() {
	status 0 as_user "$T/capstand" --state "$STATE" --run "$RUN" "$@"
	SPAWNER=$(< "$RUN/capstand.pid")
}
user_fs() { inside awk -v d="$RUN/fs" '$5 == d { print $6, $NF }' /proc/self/mountinfo; }
user_status() { as_user "$T/capstan" --json --run "$RUN" status; }
user_stop() {
	kernel_stop
	equal "" "$(user_fs)" "what is mounted after a stop"
	mounts_close
	status 0 "$BIN/capstan" fsck --state "$STATE"
	SPAWNER=
}

# An ordinary user's kernel has its mount, through fusermount3; nobody else looks into it, root neither.
test_user_mounts() {
	user_home
	mounts_open 666
	user_start
	matches '^ro,nosuid,nodev,noexec.* ro,user_id=65534,group_id=65534,default_permissions$' "$(user_fs)" "the mount"
	equal "$RUN/fs" "$(user_status | jq -r .mount)" "mount"
	equal null "$(user_status | jq -r .noMount)" "noMount"
	equal 65534 "$(awk '/^Uid:/ { print $2 }' "/proc/$(fs_pid)/status")" "capstan-fs runs as"
	status 0 as_user cat "$RUN/fs/status"
	matches 'version: ' "$OUT" status
	equal "65534:65534 440" "$(as_user stat -c '%u:%g %a' "$RUN/fs/status")" "owner and mode"
	status 0 as_user find "$RUN/fs" -mindepth 1 -maxdepth 1
	! as_user touch "$RUN/fs/x" 2> /dev/null || fail "the mount is writable"
	! inside cat "$RUN/fs/status" 2> /dev/null || fail "root looks into a user's mount"
	! inside setpriv --reuid 1 --regid 1 --clear-groups cat "$RUN/fs/status" 2> /dev/null || fail "another user looks into it"
	equal "600" "$(stat -c %a "$RUN/fs.sock")" "mode of the socket"
	user_stop
}

# A broker that dies, a capstan-fs that is killed or stopped: the user's mount comes back.
test_user_mount_comes_back() {
	local old signal
	user_home
	mounts_open 666
	user_start
	for signal in KILL STOP; do
		old=$(fs_pid)
		kill -"$signal" "$old"
		gone "$old"
		until_serves as_user
	done
	old=$(broker_pid)
	kill -KILL "$old"
	gone "$old"
	until_serves as_user
	equal 1 "$(user_fs | wc -l)" "mounts on RUN/fs"
	user_stop
}
# until_serves [WRAPPER]: each round is a round trip to the kernel, so that time passes there.
until_serves() {
	local n
	for ((n = 0; n < 500; n++)); do
		! "$@" cat "$RUN/fs/status" > /dev/null 2>&1 || return 0
		capstan status > /dev/null 2>&1 || true
	done
	fail "the mount did not come back: $(tail -n 5 "$RUN/capstand.log")"
}

# Where it cannot be, that is said in a line, and the kernel and its socket are there.
test_user_is_refused() {
	user_home
	mounts_open 600
	user_start
	matches "no mount: fusermount3: [^"$'\n'"]*/dev/fuse: Permission denied"$'\n' "$(< "$RUN/capstand.log")"$'\n' "the log"
	matches '/dev/fuse: Permission denied$' "$(user_status | jq -r '"\(.mount) \(.noMount)"')" "getStatus"
	matches 'mount: - \(fusermount3: .*/dev/fuse: Permission denied\)' "$(as_user "$T/capstan" --run "$RUN" status)" "capstan status"
	equal "" "$(user_fs)" "what is mounted"
	[[ -S $RUN/fs.sock && -n $(fs_pid) ]] || fail "no capstan-fs for the socket"
	equal 1 "$(grep -c 'no mount' "$RUN/capstand.log")" "lines about it"
	user_stop
}

# The other reasons: no helper, a process that may not gain privileges.
test_user_without_helper() {
	user_home
	mounts_open 666
	user_start_in() { status 0 as_user env "$@" "$T/capstand" --state "$STATE" --run "$RUN"; SPAWNER=$(< "$RUN/capstand.pid"); }
	user_start_in PATH=/nonexistent
	equal "cannot run fusermount3: No such file or directory" "$(user_status | jq -r .noMount)" "without fusermount3"
	kernel_stop
	user_start_in setpriv --no-new-privs
	matches '^fusermount3: mount failed: Operation not permitted \(no_new_privs is set' "$(user_status | jq -r .noMount)" "with no_new_privs"
	user_stop
}

# "world": others may look only if root lets users do that; the user's own mount is there in any case.
test_user_and_world() {
	user_home
	echo '{"mount": {"world": true}}' > "$T/config.json"
	mounts_open 666 "# nothing"
	user_start --config "$T/config.json"
	matches 'RUN/fs is for uid 65534 alone, without "user_allow_other"' "$(< "$RUN/capstand.log")" "the log"
	status 0 as_user cat "$RUN/fs/status"
	! inside cat "$RUN/fs/status" 2> /dev/null || fail "others look into it"
	equal 666 "$(stat -c %a "$RUN/fs.sock")" "mode of the socket"
	kernel_stop
	inside sh -c "echo user_allow_other > '$T/fuse.conf'"
	user_start --config "$T/config.json"
	matches ',allow_other$' "$(user_fs)" "the mount"
	status 0 inside setpriv --reuid 1 --regid 1 --clear-groups cat "$RUN/fs/status"
	user_stop
}

# What a killed kernel left is a dead mount: the next start cleans it, wherever it does not mount again too.
test_dead_mount() {
	kernel_start
	kernel_kill
	status 2 ls "$RUN/fs"
	matches 'Transport endpoint is not connected' "$ERR" "a dead mount"
	kernel_start --no-mount
	! mounted_below "$T" || fail "the dead mount is still there"
	equal "" "$(ls "$RUN/fs")" "what is left"
	kernel_stop
	kernel_start
	status 0 cat "$RUN/fs/status"
	kernel_kill
	kernel_start
	status 0 cat "$RUN/fs/status"
	equal 1 "$(mounts_below "$RUN" | wc -l)" "mounts"
}
test_user_dead_mount() {
	user_home
	mounts_open 666
	user_start
	kernel_kill
	status 2 as_user ls "$RUN/fs"
	matches 'Transport endpoint is not connected' "$ERR" "a dead mount"
	user_start --no-mount
	equal "" "$(user_fs)" "what is mounted"
	kernel_stop
	user_start
	kernel_kill
	user_start
	status 0 as_user cat "$RUN/fs/status"
	equal 1 "$(user_fs | wc -l)" "mounts on RUN/fs"
	user_stop
}

# Readers of a capstan-fs that somebody stops are not held: each gets an error, and another one serves.
test_stopped() {
	local old n pids=() end=$((SECONDS + WAIT))
	kernel_start
	old=$(fs_pid)
	kill -STOP "$SPAWNER" "$old"	# the spawner too, so that it sees nothing before all of them hang
	for ((n = 0; n < 20; n++)); do
		cat "$RUN/fs/status" > /dev/null 2> "$T/reader$n" &
		pids+=($!)
	done
	for n in "${pids[@]}"; do
		until grep -q "fuse\|request_wait_answer" "/proc/$n/wchan"; do
			[[ $SECONDS -lt $end ]] || fail "reader $n does not hang: $(cat "/proc/$n/wchan")"
		done
	done
	kill -CONT "$SPAWNER"
	gone "${pids[@]}" "$old"
	for ((n = 0; n < 20; n++)); do
		matches 'endpoint is not connected|connection abort' "$(< "$T/reader$n")" "what reader $n saw"
	done
	until_serves
	[[ $(fs_pid) != "$old" ]] || fail "the stopped one goes on"
	matches 'capstan-fs was stopped' "$(< "$RUN/capstand.log")" "the log"
	launch_counter
	status 0 capstan call "@$COUNTER" increment
}

# One that dies again and again is let alone for a while, and that is what status says; the kernel does not care.
test_dies_too_often() {
	local n old
	kernel_start
	for ((n = 0; n < 11; n++)); do
		until_serves
		old=$(fs_pid)
		kill -KILL "$old"
		gone "$old"
	done
	# That it ended is heard of a moment later; each look is a round trip.
	for ((n = 0; n < 500; n++)); do
		[[ $(cap_json status | jq -r .noMount) == null ]] || break
	done
	equal "capstan-fs ended too often: the next is started within a minute" "$(cap_json status | jq -r .noMount)" "noMount"
	equal null "$(cap_json status | jq -r .mount)" "mount"
	! mounted_below "$RUN" || fail "a mount without a server"
}

# What capstan-fs is: a user of its own, nothing to gain privileges with, no network, few descriptors.
test_confined() {
	local pid
	kernel_start
	pid=$(fs_pid)
	equal lo "$(awk -F: 'NR > 2 { gsub(" ", "", $1); print $1 }' "/proc/$pid/net/dev" | paste -sd ' ')" "its network devices"
	[[ $(readlink "/proc/$pid/ns/net") != "$(readlink /proc/self/ns/net)" ]] || fail "it is in the host's network"
	[[ $(readlink "/proc/$pid/ns/ipc") != "$(readlink /proc/self/ns/ipc)" ]] || fail "it is in the host's System V IPC"
	equal 256 "$(awk '/^Max open files/ { print $5 }' "/proc/$pid/limits")" "open files"
	equal 0 "$(awk '/^Max core/ { print $6 }' "/proc/$pid/limits")" "core"
	equal "0000000000000000 1 2" "$(awk '/^(CapPrm|NoNewPrivs|Seccomp):/ { printf "%s%s", s, $2; s = " " }' "/proc/$pid/status")" "its rights"
	matches '^[1-9]' "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" "its user"
}

# Its command line is capstand's business; what is wrong with one is said all the same, and the page has every option.
test_command_line() {
	local option
	status 0 "$BIN/capstan-fs" --help
	for option in $(grep -o -- '--[a-z-]*' <<< "$OUT" | sort -u); do
		grep -qF "Fl \\-${option#--}" "$SOURCE/docs/capstan-fs.8" || fail "capstan-fs(8) does not have $option"
	done
	wrong() {
		local words=$1
		shift
		status 2 "$BIN/capstan-fs" "$@"
		matches "$words" "$ERR" "$*"
	}
	wrong 'needed are --data-fd' --data-fd 4 --lease-fd 5 --page-fd 6
	wrong 'a descriptor number from 3 is expected, not .2' --fuse-fd 2
	wrong 'not .logs,.' --hide logs,
	wrong 'not .secrets' --hide secrets
	wrong 'a user number is expected' --uid 4294967295
	wrong 'two user numbers' --uid-block 7
	wrong 'two user numbers' --uid-block 7-6
	wrong 'two user numbers' --uid-block 00000000000000000007-8
}

# The configuration's "mount": modes of the files and of the socket.
test_config() {
	local vat uid
	kernel_start
	equal 660 "$(stat -c %a "$RUN/fs.sock")" "fs.sock, by default"
	equal "550 440" "$(stat -c %a "$RUN/fs" "$RUN/fs/status" | paste -sd ' ')" "the mount, by default"
	kernel_stop
	echo '{"mount": {"world": true, "hide": ["logs", "parameters"], "snapshotMs": 2000}}' > "$T/config.json"
	kernel_start --config "$T/config.json"
	equal 666 "$(stat -c %a "$RUN/fs.sock")" "fs.sock for the world"
	matches ' --world --hide=parameters,logs ' "$(tr '\0' ' ' < "/proc/$(fs_pid)/cmdline")" "how capstan-fs is called"
	equal "555 444" "$(stat -c %a "$RUN/fs" "$RUN/fs/status" | paste -sd ' ')" "the mount for the world"
	status 0 setpriv --reuid 65534 --regid 65534 --clear-groups cat "$RUN/fs/status"
	launch_counter
	vat=$RUN/fs/vats/$COUNTER_VAT
	equal "444 400" "$(stat -c %a "$vat/status" "$vat/log" | paste -sd ' ')" "what is hidden"
	status 1 setpriv --reuid 65534 --regid 65534 --clear-groups cat "$vat/log"
	status 0 cat "$vat/log"
	for uid in "$(< "$vat/uid")" $((0x70000000)) $((0x7ffdffff)); do	# this vat's; those of other instances
		! setpriv --reuid "$uid" --regid "$uid" --clear-groups cat "$RUN/fs/status" 2> /dev/null || fail "a vat's user reads the mount"
	done
	status 0 setpriv --reuid $((0x7ffe0000)) --regid 1 --clear-groups cat "$RUN/fs/status"
	kernel_stop
	echo '{"mount": {"hide": ["secrets"]}}' > "$T/config.json"
	status 1 "$BIN/capstand" --state "$STATE" --run "$RUN" --config "$T/config.json"
	matches 'config.mount.hide\[0\]: expected "parameters"' "$ERR" "a word that is none"
	SPAWNER=
}

run_tests
