# SPDX-License-Identifier: Apache-2.0
# From nothing to the first delivery (control.c): the launch of a cluster of one vat until its startVat and
# bootstrap are done and committed, its program handed over, or kept from an earlier launch; and the restart of a vat
# until it has answered a call. Next to it a bare static process, until its first byte.

measure_spawn() {
	local placement n hash
	n=$(count 20 2)
	hash=$(sha256sum "$B/vats/pong" | cut -d ' ' -f 1)
	echo "start of a vat"
	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_start k
		launch k pong=pong
		spawn_samples launch capstan "$B/bench/control" "$T/k/run" launch "$B/vats/pong" "$n"
		spawn_samples launch bare "$B/bench/bare" start "$n"
		spawn_samples again capstan "$B/bench/control" "$T/k/run" launch "sha256:$hash" "$n"
		spawn_samples again bare "$B/bench/bare" start "$n"
		spawn_samples restart capstan "$B/bench/control" "$T/k/run" restart v1 "${ROOT#@}" "$n"
		spawn_samples restart bare "$B/bench/bare" start "$n"
		row spawn launch "launch to first delivery" ms "$n times" ". / 1000000"
		row spawn again "launch of a program it has" ms "$n times" ". / 1000000"
		row spawn restart "restart to first answer" ms "$n times" ". / 1000000"
		kernel_stop k
	done
}
# spawn_samples CASE SUBJECT COMMAND…: a figure a line
spawn_samples() {
	local lines
	mapfile -t lines < <("${PIN[@]}" "${@:3}")
	[[ ${#lines[@]} == "$n" ]]
	sample "$1" "$2" "${lines[@]}"
}
