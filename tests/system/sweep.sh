#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The deterministic sweep: SIGKILL at the N-th write and at the N-th sync of the store, for every N of a short run that boots,
# launches, counts and stops; then fsck, start again, and look. `make sweep` takes every N, `make test` every
# SWEEP_STEP-th. strace counts each system call by itself, so each has a sweep of its own.
. "$(dirname "$0")/lib.sh"
SWEEP_STEP=${SWEEP_STEP:-2}
CALLS=${SWEEP_CALLS:-5}
SYSCALLS="pwrite64 pwritev fdatasync"

# traced SYSCALL N: capstand under a tracer that kills the broker in its N-th such call on the store's file; one death of
# the broker is the end of all. (strace's --seccomp-bpf would be faster and does not inject.)
traced() {
	CAPSTAN_BROKER_DEATHS=1 strace -f -q -o "$T/strace" -P "$STATE/store/data.mdb" -e trace="${SYSCALLS// /,}" \
		-e inject="$1:signal=SIGKILL:when=$2" \
		"$BIN/capstand" --foreground --no-mount --state "$STATE" --run "$RUN" > "$T/capstand" 2>&1 &
	TRACER=$! SERVED=no
	# It serves, or it has died of its kill already.
	until [[ -S $RUN/control.sock ]] && "$BIN/capstan" --run "$RUN" status > /dev/null 2>&1; do
		[[ $(awk '/^State/ { print $2 }' /proc/$TRACER/status 2> /dev/null) == [^Z] ]] || return 0
	done
	SERVED=yes
}
# Ends what traced() started, if its kill did not; KILLED says which.
traced_end() {
	"$BIN/capstan" --run "$RUN" shutdown > /dev/null 2>&1 || true
	wait $TRACER || true
	KILLED=no
	# In two lines when another thread's end came between.
	! grep -qE '(pwrite64|pwritev|fdatasync)(\(| resumed>).*= \?$' "$T/strace" || KILLED=yes
}

# The run, up to where the kernel dies. Keeps what was promised: launched, how many calls acknowledged.
short_run() {
	local i
	ACKED=0 ISSUED=0 LAUNCHED=no
	"$BIN/capstan" --run "$RUN" --json launch "$T/counter.json" > "$T/launch" 2> "$T/launch.err" || return 0
	LAUNCHED=yes
	COUNTER=$(jq -r .rootKref "$T/launch")
	for ((i = 0; i < CALLS; i++)); do
		ISSUED=$((ISSUED + 1))
		"$BIN/capstan" --run "$RUN" call "@$COUNTER" increment > "$T/value" 2> /dev/null || return 0
		ACKED=$((ACKED + 1))
		equal $ACKED "$(< "$T/value")" "acknowledged value"
	done
}

# What is found afterwards must lie between what was promised and what was asked for.
look() {
	if [[ $SERVED == yes ]]; then
		fsck
	elif ! "$BIN/capstan" fsck --state "$STATE" > "$T/fsck" 2>&1; then
		# Killed before the first commit: there is no store yet, and the next start begins one.
		matches 'STORE_ABSENT|holds no store' "$(< "$T/fsck")" "fsck after $1"
	fi
	kernel_start --no-mount
	if [[ $LAUNCHED == yes ]]; then
		status 0 capstan call "@$COUNTER" get
		[[ $OUT -ge $ACKED && $OUT -le $ISSUED ]] ||
			fail "killed at $1: acknowledged $ACKED, counter $OUT, issued $ISSUED"
	fi
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	equal 1 "$OUT" "a new counter after the kill at $1"
	kernel_stop
	fsck
}

sweep() {
	local call=$1 n kills=0
	[[ $(type -t strace) == file ]] || skip "strace is not installed"
	STATE=$T/state RUN=$T/run
	cluster vatd/examples/counter.json > /dev/null
	for ((n = 1; ; n += SWEEP_STEP)); do
		rm -rf "$STATE"
		traced "$call" $n
		short_run
		traced_end
		look "$call $n"
		[[ $KILLED == yes ]] || break	# the run is over before its n-th
		kills=$((kills + 1))
	done
	note "$call: $kills kills, fewer than $n calls in the run"
	[[ $call == pwritev || $kills -ge 3 ]] || fail "only $kills kills: $(< "$T/strace")"
	equal "$CALLS" "$ACKED" "calls acknowledged in the run that nobody killed"
}
test_every_write() { sweep pwrite64; }
test_every_vector_write() { sweep pwritev; }
test_every_sync() { sweep fdatasync; }

# The same over boots of a store that holds something, so that each boot's own commit (V9) is hit as well.
test_boot_writes() {
	local n call kills=0
	[[ $(type -t strace) == file ]] || skip "strace is not installed"
	kernel_start --no-mount
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	status 0 capstan call "@$COUNTER" increment
	kernel_kill
	for call in $SYSCALLS; do
		for ((n = 1; n <= 4; n++)); do
			traced "$call" $n
			traced_end
			[[ $KILLED == no ]] || kills=$((kills + 1))
			fsck
		done
	done
	[[ $kills -ge 4 ]] || fail "only $kills boots were killed"
	kernel_start --no-mount
	status 0 capstan call "@$COUNTER" get
	equal 2 "$OUT" "the counter after killed boots"
}

run_tests
