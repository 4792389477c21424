# SPDX-License-Identifier: Apache-2.0
# Cranks a second with 1, 2, 8 and 64 busy vats (busy.c, driven by crowd.c). A crank is one message from a vat to
# itself: taken from its queue, delivered, and in answer the next one queued, in one transaction. Each vat has WIDTH
# of them in its queue. Next to them the deliveries that the raw relay makes with as many in flight, two a round
# trip.

WIDTH=8

measure_busy() {
	local placement i n cranks
	cranks=$(count 25600 1024)	# of all vats together
	echo "cranks a second with so many busy vats"
	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_start k
		# shellcheck disable=SC2046
		launch k crowd=crowd $(many 64 busy busy)
		call k "$ROOT" run 64 "$WIDTH" "$WIDTH" > /dev/null	# warm
		for ((i = 0; i < RUNS; i++)); do
			for n in 1 2 8 64; do
				sample "busy$n" capstan "$(call k "$ROOT" run "$n" $((cranks / n)) "$WIDTH")"
				peer "busy$n" relay $((cranks / WIDTH / 2)) "$WIDTH"
			done
		done
		# Our own figure with one vat is what the others are compared with.
		grep '^capstan' "$T/samples.busy1" | sed 's/^capstan/one-vat/' > "$T/one"
		for n in 2 8 64; do
			cat "$T/one" >> "$T/samples.busy$n"
		done
		for n in 1 2 8 64; do
			row busy "busy$n" "$n busy" "cranks a second" "$RUNS runs of $cranks" "$cranks * 1e9 / ." relay
		done
		kernel_stop k
	done
}
