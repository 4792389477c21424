# SPDX-License-Identifier: Apache-2.0
# The table of docs/BENCH.md out of BUILD/bench.json: jq -r -f tests/bench/table.jq build/bench.json
def digits($n): . * pow(10; $n) | round / pow(10; $n) | tostring;
def show: if . >= 1000 then digits(0) elif . >= 100 then digits(1) else digits(2) end;
def cell: "\(.median | show) (\(.least | show)–\(.most | show))";

"\(.machine), \(.cpu), \(.cpus) CPUs, store on \(.store), load \(.load); commit \(.commit), \(.date[:10]); medians (least–most) of \(.runs) runs.",
(.rows | group_by(.measure) as $groups | (map(.measure) | reduce .[] as $m ([]; if index($m) then . else . + [$m] end))[]
	| . as $m | $groups[] | select(.[0].measure == $m)
	| "", "### \($m)", "", "| | ratio | unit | capstan | next to it |", "| --- | --- | --- | --- | --- |",
	(.[] | "| \(.case), \(.placement) | \([.ratios | to_entries[] | "\(.value | digits(2)) × \(.key)"] | join(", ")) | \(.unit) | \(
		.subjects[0] | cell) | \([.subjects[1:][] | "\(.name) \(cell)"] | join(", ")) |"))
