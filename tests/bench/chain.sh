# SPDX-License-Identifier: Apache-2.0
# A chain of ten calls, each on the answer of the one before (chain.c, pong.c): pipelined, all sent at once; and
# awaited, each sent when that answer is here. Cap'n Proto can do both. D-Bus cannot pipeline, so it stands next to
# the awaited chain only. The relay knows no answers: it carries ten messages at once, and ten in a row.

LINKS=10

chain_samples() {	# ROUNDS
	local ours theirs
	ours=("$(call k "$ROOT" run "$1" $LINKS '"pipelined"')")
	# What it leaves behind is collected after some hundred deliveries: not in the time of the other.
	call k "$ROOT" run "$(count 50 1)" $LINKS '"awaited"' > /dev/null
	ours+=("$(call k "$ROOT" run "$1" $LINKS '"awaited"')")
	sample pipelined capstan "${ours[0]}"
	sample awaited capstan "${ours[1]}"
	sample gain capstan "$(chain_gain "${ours[@]}")"
	peer pipelined relay "$1" $LINKS
	peer awaited relay "$(($1 * LINKS))" 1
	if [[ -z ${MISSING[capnp]:-} ]]; then
		theirs=("$("${PIN[@]}" "$B/bench/capnp" "$1" $LINKS pipelined)"
			"$("${PIN[@]}" "$B/bench/capnp" "$1" $LINKS awaited)")
		sample pipelined capnp "${theirs[0]}"
		sample awaited capnp "${theirs[1]}"
		sample gain capnp "$(chain_gain "${theirs[@]}")"
	fi
	peer awaited dbus "$(($1 * LINKS))" 1
}
chain_gain() { awk -v pipelined="$1" -v awaited="$2" 'BEGIN { printf "%.4f", awaited / pipelined }'; }

measure_chain() {
	local placement i n note
	n=$(count 800 3)
	note="$RUNS runs of $n chains"
	echo "promise chains of $LINKS links"
	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_start k
		launch k chain=chain pong=pong
		call k "$ROOT" run "$(count 30 1)" $LINKS '"pipelined"' > /dev/null	# warm
		for ((i = 0; i < RUNS; i++)); do
			chain_samples "$n"
		done
		row chain pipelined pipelined "us a chain" "$note" ". / $n / 1000" relay capnp
		row chain awaited awaited "us a chain" "$note" ". / $n / 1000" relay capnp dbus
		row chain gain "what pipelining gains" "times faster than awaited" "$note" . capnp
		kernel_stop k
	done
}
