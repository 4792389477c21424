# SPDX-License-Identifier: Apache-2.0
# A kernel with 100 vats comes back (crowd.c and pong.c): its broker is killed; or all of it is stopped in good
# order and started. The time until each vat has been started anew and has answered a call. Next to it 100 bare
# static processes, until their first byte.

us_now() { echo "${EPOCHREALTIME/[.,]/}"; }
# all_answer N
all_answer() { [[ $(call k "$ROOT" ping) == "$1" ]] || { echo "bench: not all vats have answered" >&2; exit 1; }; }

measure_restart() {
	local placement i n began
	n=$(count 100 5)
	echo "restart of a kernel with $n vats"
	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_start k
		# shellcheck disable=SC2046
		launch k crowd=crowd $(many $((n - 1)) pong pong)
		all_answer $((n - 1))
		for ((i = 0; i < RUNS; i++)); do
			began=$(us_now)
			kill -KILL "$(broker_of k)"
			all_answer $((n - 1))
			sample killed capstan $(($(us_now) - began))
			began=$(us_now)
			kernel_halt k
			kernel_start k
			all_answer $((n - 1))
			sample stopped capstan $(($(us_now) - began))
			sample killed bare "$(bare_us "$n")"
			sample stopped bare "$(bare_us "$n")"
		done
		row restart killed "the broker is killed" ms "$RUNS runs" ". / 1000"
		row restart stopped "stop and start" ms "$RUNS runs" ". / 1000"
		kernel_stop k
	done
}
bare_us() { echo $(($("${PIN[@]}" "$B/bench/bare" together "$1") / 1000)); }
