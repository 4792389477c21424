# SPDX-License-Identifier: Apache-2.0
# Memory of an idle vat: private pages and proportional share of its process, the mean of 50; and what 50 more vats
# add to the broker's private pages, each. Next to it bare static processes that are as idle. Placement plays no
# part.

# mean_of FIELD PID…: the mean in KiB; FIELD as a pattern on the names in smaps_rollup
mean_of() {
	local pid
	for pid in "${@:2}"; do
		cat "/proc/$pid/smaps_rollup"
	done | awk -v field="^$1:" -v n=$(($# - 1)) '$1 ~ field { kib += $2 } END { printf "%.3f", kib / n }'
}

measure_memory() {
	local i n before pids bare field
	n=$(count 50 3)
	echo "memory of an idle vat"
	place free
	kernel_start k
	for ((i = 0; i < RUNS; i++)); do
		before=$(mean_of 'Private_.*' "$(broker_of k)")
		# shellcheck disable=SC2046
		launch k $(many "$n" "v" pong)
		mapfile -t pids < <(capstan k --json ps |
			jq -r --argjson l "$LAUNCHED" '.[] | select(.id == $l.vats[]) | .pid')
		coproc BARE { exec "$B/bench/bare" idle "$n"; }
		mapfile -t -n "$n" bare <&"${BARE[0]}"
		for field in 'Private_.*' Pss; do
			sample "${field%%_*}" capstan "$(mean_of "$field" "${pids[@]}")"
			sample "${field%%_*}" bare "$(mean_of "$field" "${bare[@]}")"
		done
		exec {BARE[1]}>&-
		wait "$BARE_PID"
		sample broker capstan "$(awk -v a="$before" -v b="$(mean_of 'Private_.*' "$(broker_of k)")" -v n="$n" \
			'BEGIN { printf "%.3f", (b > a ? (b - a) / n : 0) }')"
	done
	PLACEMENT=free
	row memory Private "private, of its process" KiB "$RUNS runs of $n vats" .
	row memory Pss "proportional, of its process" KiB "$RUNS runs of $n vats" .
	row memory broker "private, the broker's share" KiB "$RUNS runs of $n vats" .
	kernel_stop k
}
