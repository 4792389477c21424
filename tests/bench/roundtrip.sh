# SPDX-License-Identifier: Apache-2.0
# Round trips between two vats (ping.c, pong.c), one after the other and 1000 in flight: two deliveries and their
# durable effects each. Next to them the same through the raw relay, by Cap'n Proto RPC and over dbus-broker.

roundtrip_row() {	# CASE TEXT ROUNDS DEPTH
	row roundtrip "$1" "$2" "us a round trip" "$RUNS runs of $(($3 * $4))" ". / $(($3 * $4)) / 1000" relay capnp dbus
}
roundtrip_samples() {	# CASE ROUNDS DEPTH
	sample "$1" capstan "$(call k "$ROOT" run "$2" "$3")"
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
