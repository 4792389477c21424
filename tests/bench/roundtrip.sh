# SPDX-License-Identifier: Apache-2.0
# Round trips between two vats (ping.c, pong.c), one after the other and 1000 in flight: two deliveries and their
# durable effects each. Next to them the same through the raw relay, by Cap'n Proto RPC and over dbus-broker. The note
# says where our time goes: processor time of the broker and of the two vats, as the scheduler has counted it.

roundtrip_row() {	# CASE TEXT ROUNDS DEPTH
	row roundtrip "$1" "$2" "us a round trip" "$RUNS runs of $(($3 * $4)); of that on a CPU: $(cpu_text "$1" $(($3 * $4)))" \
		". / $(($3 * $4)) / 1000" relay capnp dbus
}
# cpu_text CASE N: what cpu_of has said before and after each run, as us for each of N round trips
cpu_text() {
	awk -v n="$2" '{ for (i = 1; i <= 3; i++) us[i] += (NR % 2 ? -$i : $i) / 1000 }
		END { n *= NR / 2; printf "broker %.1f, caller %.1f, callee %.1f", us[1] / n, us[2] / n, us[3] / n }' "$T/cpu.$1"
	rm "$T/cpu.$1"
}
roundtrip_samples() {	# CASE ROUNDS DEPTH
	cpu_of "${PIDS[@]}" >> "$T/cpu.$1"
	sample "$1" capstan "$(call k "$ROOT" run "$2" "$3")"
	cpu_of "${PIDS[@]}" >> "$T/cpu.$1"
	peer "$1" relay "$2" "$3"
	peer "$1" capnp "$2" "$3"
	peer "$1" dbus "$2" "$3"
}

measure_roundtrip() {
	local placement i sequential deep
	sequential=$(count 5000 50) deep=$(count 20 1)
	echo "round trips"
	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_start k
		launch k ping=ping pong=pong
		PIDS=("$(broker_of k)" "$(vat_pid k ping)" "$(vat_pid k pong)")
		call k "$ROOT" run 100 1 > /dev/null	# warm
		call k "$ROOT" run 2 "$(count 1000 10)" > /dev/null
		for ((i = 0; i < RUNS; i++)); do
			roundtrip_samples sequential "$sequential" 1
			roundtrip_samples deep "$deep" 1000
		done
		roundtrip_row sequential sequential "$sequential" 1
		roundtrip_row deep "1000 in flight" "$deep" 1000
		kernel_stop k
	done
}
