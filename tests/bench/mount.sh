# SPDX-License-Identifier: Apache-2.0
# The mount of a kernel with 100,000 objects, as many promises and 1,000 vats: one file read next to one of procfs; everything listed
# next to the same tree on tmpfs; what capstan-fs takes meanwhile; and what a reader who never stops costs the cranks.

fs_pid() {
	local pid
	for pid in $(cat "/proc/${SPAWNER[k]}/task/${SPAWNER[k]}/children"); do
		[[ $(< "/proc/$pid/comm") != capstan-fs ]] || echo "$pid"
	done
}
kib_of() { awk -v field="^$2:" '$1 ~ field { print $2 }' "/proc/$1/status"; }
# seconds COMMAND…: how long it takes; what it says goes to $T/said
seconds() {
	local start=$EPOCHREALTIME
	"${PIN[@]}" "$@" > "$T/said"
	awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.6f", b - a }'
}
names_of() { ls "$1" | wc -l; }
all_of() { (cd "$1" && find . | wc -l); }
export -f names_of all_of

# begun PID: when it has worked for a tenth of a second
begun() {
	local start
	start=$(cpu_of "$1")
	until [[ $(cpu_of "$1") -gt $((start + 100000000)) ]]; do
		capstan k status > /dev/null
	done
}

# The same names, types and links in a tmpfs of our own. A million names and more: as many as there is memory for.
plant_copy() {
	mkdir "$T/copy"
	mount -t tmpfs -o mode=755,nr_inodes=0 capstan-bench "$T/copy"
	(cd "$T/k/run/fs" && "${PIN[@]}" find . -printf '%y\t%P\t%l\0') | "$B/bench/files" plant "$T/copy"
}

measure_mount() {
	local i n krefs vats reads cranks fs=$T/k/run/fs holder
	krefs=$(count 100000 400) vats=$(count 990 5) reads=$(count 20000 50) cranks=$(count 512000 1024)
	echo "the mount, with $krefs objects, $krefs promises and $vats vats"
	place free
	kernel_start k mount
	launch k hoard=hoard mine=mine
	[[ $(call k "$ROOT" gather "$krefs") == "$krefs" ]]
	launch k hoard=hoard mine=vow
	[[ $(call k "$ROOT" gather "$krefs") == "$krefs" ]]
	launch k crowd=crowd b000=busy b001=busy
	holder=$ROOT
	# shellcheck disable=SC2046
	launch k $(many "$vats" v pong)

	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_place k
		for ((i = 0; i < RUNS; i++)); do
			sample read capstan "$("${PIN[@]}" "$B/bench/files" read "$fs/vats/v1/status" "$reads")"
			sample read procfs "$("${PIN[@]}" "$B/bench/files" read "/proc/self/stat" "$reads")"
		done
		row mount read "open, read, close" us "$RUNS runs of $reads" ". / 1000"
	done

	# Walks on one CPU: between two of them each of millions of requests wakes a processor that sleeps.
	place "one CPU"
	kernel_place k
	plant_copy
	for ((i = 0; i < RUNS; i++)); do
		sample ls capstan "$(seconds bash -c "names_of '$fs/objects'")"
		[[ $(< "$T/said") -ge $krefs ]]
		sample ls tmpfs "$(seconds bash -c "names_of '$T/copy/objects'")"
	done
	row mount ls "ls objects, counted" seconds "$RUNS runs" .
	for ((i = 0; i < (RUNS + 3) / 4; i++)); do
		sample find capstan "$(seconds bash -c "all_of '$fs'")"
		n=$(< "$T/said")
		sample find tmpfs "$(seconds bash -c "all_of '$T/copy'")"
		sample memory capstan "$(kib_of "$(fs_pid)" RssAnon)"
	done
	row mount find "find ., counted" seconds "$(((RUNS + 3) / 4)) runs over $n names" .
	row mount memory "capstan-fs, private" KiB "after each of them" .
	umount "$T/copy"
	rmdir "$T/copy"

	# A reader on one CPU, the kernel on the others.
	PLACEMENT="another CPU"
	CPUS=${ALL_CPUS#*[,-]}
	kernel_place k
	taskset -cp "$ONE_CPU" "$(fs_pid)" > /dev/null
	call k "$holder" run 2 8 8 > /dev/null
	for ((i = 0; i < RUNS; i++)); do
		sample quiet quiet "$(call k "$holder" run 2 $((cranks / 2)) 8)"
		# A group of its own: ended with the find that it is at, which would run on into the next quiet sample.
		setsid taskset -c "$ONE_CPU" bash -c 'while :; do find "$0" > /dev/null 2>&1; done' "$fs" &
		READER=$!
		begun "$(fs_pid)"
		sample quiet read "$(call k "$holder" run 2 $((cranks / 2)) 8)"
		reader_end
	done
	{ grep ^read "$T/samples.quiet" | sed 's/^read/capstan/'; grep ^quiet "$T/samples.quiet"; } > "$T/samples.load"
	rm "$T/samples.quiet"
	row mount load "cranks while find runs" "cranks a second" "$RUNS runs of $cranks" "$cranks * 1e9 / ."
	kernel_stop k
}
