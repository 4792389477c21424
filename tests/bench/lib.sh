# SPDX-License-Identifier: Apache-2.0
# What the measures of tests/bench/run share: placements, private kernels, samples, rows. Everything that is made lies
# below $T and is stopped and removed by stop_all(), whatever happened.
#
# A *sample* is one raw number of one subject (capstan, relay, capnp, dbus, bare, or a figure of ours to compare
# with) in one case. A *row* is a case with all its subjects: their medians and spread, and ours in proportion to
# each of the others.

# --- placement --------------------------------------------------------------------------------------------------------

PLACEMENTS=("one CPU" "free")
ALL_CPUS=$(taskset -cp $$ | sed 's/.*: //')
ONE_CPU=${ALL_CPUS%%[,-]*}

# place PLACEMENT: sets PIN, the words before a command that is to run there, and CPUS
place() {
	PLACEMENT=$1 CPUS=$ALL_CPUS
	[[ $1 != "one CPU" ]] || CPUS=$ONE_CPU
	PIN=(taskset -c "$CPUS")
}

# --- private kernels --------------------------------------------------------------------------------------------------

declare -A SPAWNER=()

# kernel_start NAME [mount]: under PIN, in $T/NAME
kernel_start() {
	local options=(--state "$T/$1/state" --run "$T/$1/run" --max-broker-deaths 1000)
	[[ ${2:-} == mount ]] || options+=(--no-mount)
	mkdir -pm 755 "$T/$1"
	"${PIN[@]}" "$B/bin/capstand" "${options[@]}"
	SPAWNER[$1]=$(< "$T/$1/run/capstand.pid")
}
kernel_halt() {
	[[ -n ${SPAWNER[$1]:-} ]] || return 0
	"$B/bin/capstan" --run "$T/$1/run" shutdown > /dev/null 2>&1 || kill -KILL "${SPAWNER[$1]}" 2> /dev/null || true
	"$B/helpers/await" exit 20 "${SPAWNER[$1]}" || true
	unset "SPAWNER[$1]"
}
kernel_stop() {
	kernel_halt "$1"
	rm -rf "${T:?}/$1"
}
# kernel_place NAME: moves a running kernel and its vats to where PIN is
kernel_place() {
	local pid
	for pid in $(descendants "${SPAWNER[$1]}"); do
		taskset -a -cp "$CPUS" "$pid" > /dev/null
	done
}
descendants() {
	local child
	echo "$1"
	for child in $(cat "/proc/$1/task/$1/children" 2> /dev/null || true); do
		descendants "$child"
	done
}
# broker_of NAME: the pid of its broker
broker_of() {
	local pid
	for pid in $(cat "/proc/${SPAWNER[$1]}/task/${SPAWNER[$1]}/children"); do
		[[ " $(tr '\0' ' ' < "/proc/$pid/cmdline") " != *" broker "* ]] || echo "$pid"
	done
}
# vat_pid NAME VAT
vat_pid() { capstan "$1" --json ps | jq -r --arg name "$2" '.[] | select(.name == $name) | .pid'; }
# cpu_of PID…: the nanoseconds that each has been on a CPU, on one line
cpu_of() {
	local pid ns _ all=()
	for pid in "$@"; do
		read -r ns _ < "/proc/$pid/schedstat"
		all+=("$ns")
	done
	echo "${all[*]}"
}

# What walks the mount while cranks are counted, if anything does.
READER=
reader_end() {
	[[ -n $READER ]] || return 0
	kill -TERM -- "-$READER" 2> /dev/null || true
	wait "$READER" 2> /dev/null || true
	READER=
}

stop_all() {
	local name

	reader_end
	for name in "${!SPAWNER[@]}"; do
		kernel_halt "$name"
	done
	! mountpoint -q "$T/copy" || umount "$T/copy"
	rm -rf "$T"
}

capstan() { "$B/bin/capstan" --run "$T/$1/run" "${@:2}"; }
# launch NAME VAT=PROGRAM…: a cluster of these; the first is its bootstrap vat. Sets ROOT and LAUNCHED.
launch() {
	jq -n --arg v "$B/vats/" '[$ARGS.positional[] | split("=")] | { bootstrap: .[0][0],
		vats: map({ (.[0]): { program: ($v + .[1]) } }) | add }' --args "${@:2}" > "$T/$1/cluster.json"
	LAUNCHED=$(capstan "$1" --json launch "$T/$1/cluster.json")
	ROOT=@$(jq -r .rootKref <<< "$LAUNCHED")
}
# many N PREFIX PROGRAM: the words for N vats of one program
many() { seq -f "$2%03g=$3" "$1"; }
# call NAME REF METHOD ARG…
call() { capstan "$1" call --no-hold "${@:2}"; }

# --- samples and rows -------------------------------------------------------------------------------------------------

# count FULL SMOKE: how often something is done
count() { [[ -n $SMOKE ]] && echo "$2" || echo "$1"; }

# sample CASE SUBJECT NUMBER…
sample() {
	local number
	for number in "${@:3}"; do
		[[ $number =~ ^[0-9]+(\.[0-9]+)?$ ]] || { echo "bench: '$number' is no figure of $2 ($1)" >&2; exit 1; }
		printf '%s\t%s\n' "$2" "$number" >> "$T/samples.$1"
	done
}
# peer CASE SUBJECT ARG…: a sample of another program under the same placement, if there is that program
peer() { [[ -n ${MISSING[$2]:-} ]] || sample "$1" "$2" "$("${PIN[@]}" "$B/bench/$2" "${@:3}")"; }

# row MEASURE CASE TEXT UNIT NOTE EXPRESSION [PEER…]: what was sampled as CASE becomes a row: printed, and kept for
# the file. The first subject sampled is ours. EXPRESSION makes a figure in UNIT of a raw sample. PEERs that are
# missing are named.
row() {
	local peer skipped='{}'
	for peer in "${@:7}"; do
		[[ -z ${MISSING[$peer]:-} ]] ||
			skipped=$(jq -c --arg p "$peer" --arg why "${MISSING[$peer]}" '. + { ($p): $why }' <<< "$skipped")
	done
	jq -cRn --arg measure "$1" --arg case "$3" --arg placement "$PLACEMENT" --arg unit "$4" --arg note "$5" \
		--argjson skipped "$skipped" "def figure: $6;"'
		def rounded: if . == 0 then 0 else (. * 1000 | round / 1000) end;
		[inputs | split("\t") | { name: .[0], figure: (.[1] | tonumber | figure) }]
		| (map(.name) | reduce .[] as $n ([]; if index($n) then . else . + [$n] end)) as $names
		| group_by(.name) | map({ key: .[0].name, value: (map(.figure) | sort) }) | from_entries as $by
		| [$names[] | { name: ., runs: ($by[.] | map(rounded)) }
			| .median = (.runs | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2)
			| .least = .runs[0] | .most = .runs[-1]]
		| { measure: $measure, case: $case, placement: $placement, unit: $unit, note: $note,
			ratios: (.[0].median as $ours | .[1:] | map({ key: .name,
				value: (if .median > 0 then $ours / .median | rounded else null end) }) | from_entries),
			subjects: ., skipped: $skipped }' "$T/samples.$2" > "$T/row"
	rm "$T/samples.$2"
	jq -r -f tests/bench/row.jq "$T/row"
	cat "$T/row" >> "$T/rows"
}
