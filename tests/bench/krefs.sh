# SPDX-License-Identifier: Apache-2.0
# Cost of a crank in a kernel with a thousand live krefs and with a million (hoard.c holds objects of mine.c):
# sequential round trips to ever other ones of them, two cranks each. Two kernels stand side by side, so that their
# runs can be taken in turn.

measure_krefs() {
	local placement i n few many name
	n=$(count 3000 30) few=1000 many=$(count 1000000 4000)
	echo "cost of a crank with so many live krefs"
	place free
	for name in few many; do
		kernel_start "$name"
		launch "$name" hoard=hoard mine=mine
		[[ $(call "$name" "$ROOT" gather "${!name}") == "${!name}" ]]
		call "$name" "$ROOT" run "$(count 1000 10)" > /dev/null	# warm
		declare "root_$name=$ROOT"
	done
	for placement in "${PLACEMENTS[@]}"; do
		place "$placement"
		kernel_place few
		kernel_place many
		for ((i = 0; i < RUNS; i++)); do
			sample few capstan "$(call few "$root_few" run "$n")"
			peer few relay "$n" 1
			sample many capstan "$(call many "$root_many" run "$n")"
			peer many relay "$n" 1
		done
		grep '^capstan' "$T/samples.few" | sed "s/^capstan/$few-krefs/" >> "$T/samples.many"
		row krefs few "$few" "us a crank" "$RUNS runs of $((2 * n))" ". / $((2 * n)) / 1000" relay
		row krefs many "$many" "us a crank" "$RUNS runs of $((2 * n))" ". / $((2 * n)) / 1000" relay
	done
	kernel_stop few
	kernel_stop many
}
