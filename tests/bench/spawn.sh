# SPDX-License-Identifier: Apache-2.0
# From nothing to the first delivery (control.c): the launch of a cluster of one vat until its startVat and
# bootstrap are done and committed; and the restart of a vat until it has answered a call. Next to it a bare static
# process, until its first byte.

measure_spawn() {
	local placement n
	n=$(count 20 2)
	echo "start of a vat"
	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_start k
		launch k pong=pong
		# shellcheck disable=SC2046
		{
			sample launch capstan $("${PIN[@]}" "$B/bench/control" "$T/k/run" launch "$B/vats/pong" "$n")
			sample launch bare $("${PIN[@]}" "$B/bench/bare" start "$n")
			sample restart capstan $("${PIN[@]}" "$B/bench/control" "$T/k/run" restart v1 "${ROOT#@}" "$n")
			sample restart bare $("${PIN[@]}" "$B/bench/bare" start "$n")
		}
		row spawn launch "launch to first delivery" "ms" "$n times" ". / 1000000"
		row spawn restart "restart to first answer" "ms" "$n times" ". / 1000000"
		kernel_stop k
	done
}
