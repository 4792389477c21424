# SPDX-License-Identifier: Apache-2.0
# What every system test shares. A test file sources this, defines functions `test_NAME`, and ends with `run_tests`.
#
# Each test_NAME runs in a subshell of its own with `set -e`, in a fresh directory $T (mode 755, so that the kernel's own
# users can pass). Its outcome is one TAP line for tests/run. After it, whatever it started must be gone: lib.sh stops a
# capstand that is left and makes that a failure, as it does with mounts below $T and pins of the test's name.
#
# Environment, from tests/run: B (build folder), HELPERS (built tests/helpers), CLUSTERS (cluster files copied beside the
# vats they name), SUBSET (space-separated names: only these run).

: "${B:?}" "${HELPERS:?}"
# From cluster files a relative program path is relative to the file; these name absolute ones.
BIN=$(realpath "$B/bin")
VATS=$(realpath "$B/vats")
SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
SUITE=$(basename "$0" .sh)
SUITE_TMP=$(mktemp -d "${TMPDIR:-/tmp}/capstan-$SUITE.XXXXXX")
chmod 755 "$SUITE_TMP"
WAIT=20		# seconds that any one event may take before the test calls it a failure
export CAPSTAN_BROKER_DEATHS=${CAPSTAN_BROKER_DEATHS:-1000}

note() { echo "# $*" >&2; }
fail() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "$*" > "$SUITE_TMP/skip"; exit 77; }

# --- assertions -------------------------------------------------------------------------------------------------------

# equal WANTED GOT [WHAT]
equal() { [[ "$1" == "$2" ]] || fail "${3:-value}: wanted '$1', got '$2'"; }
# matches REGEX TEXT [WHAT]
matches() { [[ "$2" =~ $1 ]] || fail "${3:-text}: wanted /$1/, got '$2'"; }
# status WANTED COMMAND…: runs it, keeps its output in $OUT and $ERR
status() {
	local want=$1 got=0
	shift
	"$@" > "$T/.out" 2> "$T/.err" < /dev/null || got=$?
	OUT=$(tr -d '\0' < "$T/.out")
	ERR=$(tr -d '\0' < "$T/.err")
	[[ $got == "$want" ]] || fail "'$*' ended with $got, wanted $want; stdout '$OUT' stderr '$ERR'"
}

# --- a private kernel -------------------------------------------------------------------------------------------------

# kernel_start [OPTION…]: a capstand on $T/state and $T/run. It detaches when it serves: no waiting here.
kernel_start() {
	STATE=$T/state RUN=$T/run
	status 0 "$BIN/capstand" --state "$STATE" --run "$RUN" "$@"
	SPAWNER=$(< "$RUN/capstand.pid")
}

# Everything that belongs to the running kernel: the spawner and all below it.
kernel_pids() { descendants "$SPAWNER"; }
descendants() {
	local pid=$1 child
	[[ -d /proc/$pid ]] || return 0
	echo "$pid"
	for child in $(cat "/proc/$pid/task/$pid/children" 2> /dev/null || true); do
		descendants "$child"
	done
}
# broker_pid, fs_pid: the spawner's children by what they are; empty when there is none.
broker_pid() { child_named "$SPAWNER" broker; }
fs_pid() { child_named "$SPAWNER" capstan-fs; }
child_named() {
	local pid args
	for pid in $(cat "/proc/$1/task/$1/children" 2> /dev/null || true); do
		args=" $(tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null || true) "
		case $args in *" $2 "*|*"/$2 "*) echo "$pid"; return 0 ;; esac
	done
	return 0
}
gone() { "$HELPERS/await" exit "$WAIT" "$@"; }

kernel_stop() {
	local pids
	pids=$(kernel_pids)
	[[ -n $pids ]] || fail "the kernel is not running any more"
	kill -TERM "$SPAWNER"
	# shellcheck disable=SC2086
	gone $pids
	! mounted_below "$RUN" || fail "a mount was left after a clean stop: $(mounts_below "$RUN")"
}
# Everything at once, as a power switch would.
kernel_kill() {
	kill -KILL "$SPAWNER"
	gone "$SPAWNER"
	orphans_gone
}
# What a killed spawner leaves is dying; also what it had just forked. All of it comes home to `within`, our parent.
orphans() {
	[[ $(cat "/proc/$PPID/comm") == within ]] || fail "run this under tests/helpers/within"
	pgrep -P "$PPID" | grep -vx "$$" || true
}
orphans_gone() {
	local pids
	pids=$(orphans)
	# shellcheck disable=SC2086
	[[ -z $pids ]] || gone $pids
}
# The next broker: it answers on the same socket, and `status` waits in its backlog.
broker_kill() {
	local old
	old=$(broker_pid)
	[[ -n $old ]] || fail "there is no broker"
	kill -KILL "$old"
	gone "$old"
	status 0 capstan status
}
# No command may take longer than any event may: then it is ended, with status 124.
capstan() { timeout "$WAIT" "$BIN/capstan" --run "$RUN" "$@"; }
cap_json() { capstan --json "$@"; }
fsck() { status 0 "$BIN/capstan" fsck --state "$STATE"; }
stop_and_fsck() { kernel_stop; fsck; }

mounts_below() { awk -v d="$1/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo; }
mounted_below() { [[ -n $(mounts_below "$1") ]]; }

# --- clusters ---------------------------------------------------------------------------------------------------------

# one_vat PROGRAM [ARG…]: the text of a cluster of one vat called "it".
one_vat() {
	local program=$1
	shift
	jq -nc --arg p "$program" '{bootstrap: "it", vats: {it: {program: $p, args: $ARGS.positional}}}' --args -- "$@"
}
# launch FILE-OR-TEXT: launches, leaves the answer in $LAUNCH and the ids in $SUB $ROOT.
launch() {
	local file=$1
	if [[ $file == "{"* ]]; then
		printf '%s' "$1" > "$T/cluster.json"
		file=$T/cluster.json
	fi
	status 0 cap_json launch "$file"
	LAUNCH=$OUT
	SUB=$(jq -r .subclusterId <<< "$LAUNCH")
	ROOT=$(jq -r .rootKref <<< "$LAUNCH")
	matches '^s[1-9][0-9]*$' "$SUB" subclusterId
	matches '^ko[1-9][0-9]*$' "$ROOT" rootKref
}
vat_id() { jq -r --arg n "$1" '.vats[$n]' <<< "$LAUNCH"; }
# Cluster files of the tree with their relative programs, made absolute for this build.
cluster() {
	jq --arg v "$VATS/" '.vats |= map_values(.program |= $v + sub(".*/"; ""))' "$SOURCE/$1" > "$T/$(basename "$1")"
	echo "$T/$(basename "$1")"
}
launch_counter() { launch "$(cluster vatd/examples/counter.json)"; COUNTER=$ROOT; COUNTER_VAT=$(jq -r '.vats[]' <<< "$LAUNCH"); }
vat_pid() { cat "$RUN/fs/vats/$1/pid" 2> /dev/null || capstan --json ps | jq -r --arg v "$1" '.. | objects | select(.id? == $v) | .pid'; }

# --- running ----------------------------------------------------------------------------------------------------------

# Ends what a test left running and takes down what it left mounted; says so on stderr, returns 1 if there was any.
sweep_up() {
	local left=0 pid m d pins
	for pid in $(orphans); do
		[[ $(awk '/^State/ { print $2 }' "/proc/$pid/status" 2> /dev/null) == [^Z] ]] || continue
		echo "left running: $pid $(tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null)" >&2
		kill -KILL "$pid" 2> /dev/null || true
		gone "$pid" || true
		left=1
	done
	for m in $(mounts_below "$T"); do
		echo "left mounted: $m" >&2
		umount -l "$m" || true
		left=1
	done
	pins=$(find /sys/fs/bpf/capstan -mindepth 1 -maxdepth 1 -name "test-*" 2> /dev/null || true)
	for d in $pins; do
		echo "left pinned: $d" >&2
		rm -rf "$d"
		left=1
	done
	return $left
}

# A broker that died of anything but a test's SIGKILL was brought down by something: that is a failure wherever it happens,
# unless the test foresaw it (touch "$T/broker-may-exit").
log_is_clean() {
	local f
	for f in "$T"/run*/capstand.log; do
		[[ -f $f && ! -e $T/broker-may-exit ]] || continue
		if grep -aE 'Sanitizer|runtime error|Assertion|the broker (exited with|was killed by signal ([0-8]\b|[1-9][0-9]))' "$f" >&2; then
			grep -aE -A 30 'Sanitizer|runtime error|Assertion' "$f" | head -n 60 >&2
			return 1
		fi
	done
	return 0
}

# One test function, in its own process. Its output is shown only if it fails.
run_one() {
	local fn=$1 rc=0 log=$SUITE_TMP/log dirty=0
	T=$SUITE_TMP/$fn
	mkdir -m 755 "$T"
	rm -f "$SUITE_TMP/skip"
	set +e
	(
		set -eEuo pipefail
		exec 9>&2	# the log, also from where a test has redirected stderr
		trap 'echo "FAILED at $(basename "${BASH_SOURCE[0]}"):$LINENO: $BASH_COMMAND" >&9' ERR
		cd "$T"
		"$fn"
		# A test that passes has stopped its kernel itself or leaves that to us; either way it must stop cleanly.
		if [[ -n ${SPAWNER:-} && -d /proc/$SPAWNER ]]; then
			stop_and_fsck
		fi
	) > "$log" 2>&1
	rc=$?
	sweep_up >> "$log" 2>&1 || dirty=1
	log_is_clean >> "$log" 2>&1 || dirty=1
	set -e
	if [[ $rc == 77 && $dirty == 0 ]]; then
		echo "ok $N # SKIP $SUITE.${fn#test_} ($(< "$SUITE_TMP/skip"))"
	elif [[ $rc == 0 && $dirty == 0 ]]; then
		echo "ok $N - $SUITE.${fn#test_}"
	else
		echo "not ok $N - $SUITE.${fn#test_}"
		tail -n 100 "$log" | cut -c1-1000 | sed 's/^/# /'
		FAILURES=1
	fi
	rm -rf "$T"
}

run_tests() {
	local fn fns
	fns=$(declare -F | awk '$3 ~ /^test_/ { print $3 }')
	if [[ -n ${SUBSET:-} ]]; then
		fns=$(for fn in $fns; do [[ " $SUBSET " == *" $SUITE.${fn#test_} "* || " $SUBSET " == *" $SUITE "* ]] && echo "$fn"; done; true)
	fi
	# shellcheck disable=SC2086
	set -- $fns
	echo "1..$#"
	N=0 FAILURES=0
	for fn in "$@"; do
		N=$((N + 1))
		run_one "$fn"
	done
	exit $FAILURES
}

finish() {
	local rc=$? m
	for m in $(mounts_below "$SUITE_TMP"); do
		umount -l "$m" || true
	done
	rm -rf "$SUITE_TMP"
	exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM
