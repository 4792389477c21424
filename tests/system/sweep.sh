#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The deterministic sweep: SIGKILL at the N-th write or sync of the broker, for every N of a short run that boots, launches,
# counts and terminates; then fsck, start again, and look. `make sweep` takes every N, `make test` every SWEEP_STEP-th.
. "$(dirname "$0")/lib.sh"
SWEEP_STEP=${SWEEP_STEP:-4}
CALLS=5

# The run, up to where the kernel dies. Writes what was promised to it: launched, how many acknowledged.
short_run() {
	local i
	ACKED=0 LAUNCHED=no ISSUED=0
	"$BIN/capstan" --run "$RUN" --json launch "$(cluster vatd/examples/counter.json)" > "$T/launch" 2> "$T/launch.err" || return 0
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
	local value
	fsck
	kernel_start --no-mount
	if [[ $LAUNCHED == yes ]]; then
		status 0 capstan call "@$COUNTER" get
		value=$OUT
		[[ $value -ge $ACKED && $value -le $ISSUED ]] ||
			fail "kill at $1: acknowledged $ACKED, counter $value, issued $ISSUED"
	fi
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	equal 1 "$OUT" "a new counter after the kill at $1"
	kernel_stop
	fsck
	rm -rf "$STATE"
}

# Without a kill: how many writes and syncs the run has.
test_every_write() {
	local n last=0 total=0
	[[ $(type -t strace) == file ]] || skip "strace is not installed"
	mkdir "$T/state.dir"
	STATE=$T/state RUN=$T/run
	for ((n = 1; last == 0; n += SWEEP_STEP)); do
		rm -rf "$STATE"
		# In the foreground under strace: the tracer is told to kill the one that does the n-th; one death is enough.
		CAPSTAN_BROKER_DEATHS=1 strace -f --seccomp-bpf -qq -o "$T/strace" -e trace=pwrite64,pwritev,fdatasync \
			-e inject=pwrite64,pwritev,fdatasync:signal=SIGKILL:when=$n \
			"$BIN/capstand" --foreground --no-mount --state "$STATE" --run "$RUN" > "$T/capstand" 2>&1 &
		TRACER=$!
		ready
		short_run
		if [[ $ACKED == "$CALLS" && -d /proc/$TRACER ]]; then
			"$BIN/capstan" --run "$RUN" shutdown > /dev/null 2>&1 || true
		fi
		wait $TRACER || true
		if ! grep -q 'SIGKILL' "$T/strace"; then
			last=$n	# the run is over before its n-th write
		fi
		look "$n"
		total=$((total + 1))
	done
	[[ $total -ge 3 ]] || fail "the run has hardly any writes: $(cat "$T/strace")"
	note "$total kills, the run has fewer than $last writes and syncs"
}
# It serves, or it has died of its kill already.
ready() {
	until [[ -S $RUN/control.sock ]] && "$BIN/capstan" --run "$RUN" status > /dev/null 2>&1; do
		[[ -d /proc/$TRACER && $(awk '/^State/ { print $2 }' /proc/$TRACER/status) != Z ]] || return 0
	done
}

# The same over boots: the store is kept, so that each boot's own commit (V9) is hit as well.
test_boot_writes() {
	local n
	[[ $(type -t strace) == file ]] || skip "strace is not installed"
	kernel_start --no-mount
	launch_counter
	status 0 capstan call "@$COUNTER" increment
	status 0 capstan call "@$COUNTER" increment
	kernel_kill
	for n in 1 2 3 4 5 6 7 8; do
		CAPSTAN_BROKER_DEATHS=1 strace -f --seccomp-bpf -qq -o "$T/strace" -e trace=pwrite64,pwritev,fdatasync \
			-e inject=pwrite64,pwritev,fdatasync:signal=SIGKILL:when=$n \
			"$BIN/capstand" --foreground --no-mount --state "$STATE" --run "$RUN" > "$T/capstand" 2>&1 &
		TRACER=$!
		ready
		[[ ! -d /proc/$TRACER ]] || "$BIN/capstan" --run "$RUN" shutdown > /dev/null 2>&1 || true
		wait $TRACER || true
		fsck
	done
	kernel_start --no-mount
	status 0 capstan call "@$COUNTER" get
	equal 2 "$OUT" "the counter after killed boots"
}

run_tests
