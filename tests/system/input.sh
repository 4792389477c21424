#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bad input from people and programs: cluster files, command lines, the control socket. Each a clear error naming what
# and where (L1); nothing is left behind; the rest runs on.
. "$(dirname "$0")/lib.sh"

# A good configuration, and what each edit of it (a jq filter) must be refused with (a regex: the place, at least).
GOOD='{"bootstrap":"it","vats":{"it":{"program":"PROGRAM","args":["call"],"runtime":"none","parameters":{"n":1},"limits":{"deadlineMs":1000},"restart":"restart"}}}'
edits() {
	cat <<'EOF'
[]|object
5|object
null|object
del(.bootstrap)|bootstrap
.bootstrap = 5|bootstrap
.bootstrap = "nobody"|nobody
.bootstrap = ""|bootstrap
del(.vats)|vats
.vats = []|vats
.vats = {}|vats
.vats = "it"|vats
.vats.it = null|vats\.it
.vats.it = "program"|vats\.it
del(.vats.it.program)|vats\.it.*program
.vats.it.program = 5|vats\.it\.program
.vats.it.program = ""|vats\.it\.program
.vats.it.program = "sha256:zz"|vats\.it\.program
.vats.it.program = "/nowhere/at/all"|/nowhere/at/all
.vats.it.program = "/"|/
.vats.it.program = "/etc/passwd"|passwd|it
.vats.it.args = "x"|vats\.it\.args
.vats.it.args = [5]|vats\.it\.args
.vats.it.args = ["a\u0000b"]|vats\.it\.args|NUL|0000
.vats.it.files = []|vats\.it\.files
.vats.it.files = {"a": 5}|vats\.it\.files
.vats.it.files = {"../a": "/etc/passwd"}|vats\.it\.files
.vats.it.files = {"a/b": "/etc/passwd"}|vats\.it\.files
.vats.it.files = {"..": "/etc/passwd"}|vats\.it\.files
.vats.it.files = {"a": "/nowhere"}|/nowhere
.vats.it.runtime = "java"|vats\.it\.runtime
.vats.it.runtime = 5|vats\.it\.runtime
.vats.it.limits = []|vats\.it\.limits
.vats.it.limits.deadlineMs = -1|vats\.it\.limits\.deadlineMs
.vats.it.limits.deadlineMs = "soon"|vats\.it\.limits\.deadlineMs
.vats.it.limits.deadlineMs = 1.5|vats\.it\.limits\.deadlineMs
.vats.it.limits.teeth = 32|vats\.it\.limits.*teeth
.vats.it.restart = "never"|vats\.it\.restart
.vats.it.restart = true|vats\.it\.restart
.vats.it.colour = "red"|colour
.colour = "red"|colour
.vats["."] = .vats.it|vats
.vats[".."] = .vats.it|vats
.vats["a b"] = .vats.it|vats
.vats["a/b"] = .vats.it|vats
.vats[""] = .vats.it|vats
.services = "console"|services
.services = [5]|services
.services = ["no-such-service"]|no-such-service
.io = 5|io
EOF
}

test_cluster_files() {
	local line edit want good
	kernel_start
	launch_counter
	good=$(jq -c --arg p "$VATS/hostile" '.vats.it.program = $p' <<< "$GOOD")
	while IFS= read -r line; do
		edit=${line%%|[a-z/]*} want=${line#"$edit|"}
		note "$edit"
		jq -c "$edit" <<< "$good" > "$T/bad.json"
		status 1 capstan launch "$T/bad.json"
		matches "$want" "$ERR" "the error for $edit"
		equal 1 "$(grep -c . <<< "$ERR")" "lines of the error for $edit"
	done < <(edits)
	jq -c '.vats.it.args = [range(100) | tostring]' <<< "$good" > "$T/bad.json"
	status 1 capstan launch "$T/bad.json"
	matches 'vats\.it\.args' "$ERR"
	jq -c '.vats["x" * 65] = .vats.it' <<< "$good" > "$T/bad.json"
	status 1 capstan launch "$T/bad.json"
	matches vats "$ERR"
	printf '%s' "$good" > "$T/good.json"
	status 0 capstan launch "$T/good.json"
	nothing_else 2
}
nothing_else() {
	equal "$1" "$(find "$RUN/fs/subclusters" -mindepth 1 -maxdepth 1 | wc -l)" "number of subclusters"
	equal "$1" "$(find "$RUN/fs/vats" -mindepth 1 -maxdepth 1 | wc -l)" "number of vats"
	status 0 capstan call "@$COUNTER" increment
}

test_not_json() {
	local text
	kernel_start
	launch_counter
	for text in '' '{' '{"bootstrap"' 'nonsense' $'\xff\xfe' '{"a":1}{"b":2}' '{"a":1,"a":2}' '"\ud800"'; do
		printf '%s' "$text" > "$T/bad.json"
		status 1 capstan launch "$T/bad.json"
		matches "bad.json" "$ERR" "the error for '$text'"
	done
	head -c 200000 /dev/zero | tr '\0' '[' > "$T/bad.json"
	status 1 capstan launch "$T/bad.json"
	status 1 capstan launch "$T/no-such-file.json"
	matches no-such-file "$ERR"
	status 1 capstan launch "$T"
	nothing_else 1
}

# One line of JSON-RPC each; the error code that must come back.
test_rpc() {
	local line code
	kernel_start
	launch_counter
	while IFS= read -r line; do
		code=${line##* ==> } line=${line% ==> *}
		note "$line"
		printf '%s\n' "$line" | "$HELPERS/rpc" "$RUN/control.sock" > "$T/reply" || fail "no answer to $line"
		equal "$code" "$(jq -r '.error.code' "$T/reply")" "error code for $line: $(< "$T/reply")"
		[[ -n $(jq -r '.error.message' "$T/reply") ]] || fail "no message"
	done <<-EOF
	nonsense ==> -32700
	{"jsonrpc":"2.0","id":1,"method" ==> -32700
	[] ==> -32600
	5 ==> -32600
	"x" ==> -32600
	{} ==> -32600
	{"jsonrpc":"1.0","id":1,"method":"getStatus"} ==> -32600
	{"jsonrpc":"2.0","id":1,"method":5} ==> -32600
	{"jsonrpc":"2.0","id":{},"method":"getStatus"} ==> -32600
	{"jsonrpc":"2.0","id":1,"method":"getStatus","params":5} ==> -32600
	{"jsonrpc":"2.0","id":1,"method":"noSuchMethod"} ==> -32601
	{"jsonrpc":"2.0","id":1,"method":"queueMessage"} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":[]} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":[5,"get",[]]} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["nonsense","get",[]]} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["ko07","get",[]]} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["$COUNTER",5,[]]} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["$COUNTER","get",{}]} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["$COUNTER","get",[{"@":"zzz"}]]} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["ko99999","get",[]]} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["kp99999","get",[]]} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["$COUNTER","get",[{"@":"ko99999"}]]} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"launchSubcluster","params":{}} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"launchSubcluster","params":{"config":{"bootstrap":"a","vats":{"a":{"program":"/etc/passwd"}}}}} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"terminateSubcluster","params":{"id":"s99"}} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"terminateSubcluster","params":{"id":"v1"}} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"terminateVat","params":{"id":"v99"}} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"restartVat","params":{"id":"v99"}} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"pingVat","params":{"id":"v99"}} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"pingVat","params":{"id":"v0"}} ==> -32602
	{"jsonrpc":"2.0","id":1,"method":"getLog","params":{"id":"v99"}} ==> -32000
	{"jsonrpc":"2.0","id":1,"method":"release","params":{"kref":"ko99"}} ==> -32000
	EOF
	nothing_else 1
}

# Several requests on one connection, answered each by its id; junk in between hurts only itself.
test_rpc_pipelined() {
	kernel_start
	launch_counter
	{
		for ((i = 1; i <= 50; i++)); do
			echo '{"jsonrpc":"2.0","id":'$i',"method":"queueMessage","params":["'"$COUNTER"'","increment",[]]}'
			[[ $i != 25 ]] || echo junk
		done
	} | "$HELPERS/rpc" -n 51 "$RUN/control.sock" > "$T/replies"
	equal 51 "$(wc -l < "$T/replies")" replies
	equal "$(seq 50)" "$(jq -r 'select(.result) | .id' "$T/replies" | sort -n)" ids
	equal "$(seq 50)" "$(jq -r 'select(.result) | .result.body | ltrimstr("#")' "$T/replies")" "values, in order (D1)"
	equal 1 "$(jq -c 'select(.error)' "$T/replies" | wc -l)" errors
}

# Oversize: a line beyond the limit, a message beyond the body limit, too many fds, a client that never reads.
test_oversize() {
	kernel_start
	launch_counter
	head -c 6000000 /dev/zero | tr '\0' x > "$T/huge"
	"$HELPERS/rpc" -n 0 "$RUN/control.sock" < "$T/huge" > "$T/reply" || true
	[[ ! -s $T/reply ]] || matches 'error' "$(< "$T/reply")"
	status 0 capstan call "@$COUNTER" increment
	jq -nc --arg r "$COUNTER" '{jsonrpc: "2.0", id: 1, method: "queueMessage", params: [$r, "get", ["x" * 3500000]]}' |
		"$HELPERS/rpc" "$RUN/control.sock" > "$T/reply" || fail "a large legal request got no answer"
	jq -nc --arg r "$COUNTER" '{jsonrpc: "2.0", id: 1, method: "queueMessage", params: [$r, "get", [[range(20000) | {"@": $r}]]]}' |
		"$HELPERS/rpc" "$RUN/control.sock" > "$T/reply" || fail "many references got no answer"
	local files=() i
	for ((i = 0; i < 253; i++)); do
		files+=(-f /dev/null)
	done
	for ((i = 0; i < 3; i++)); do
		echo '{"jsonrpc":"2.0","id":1,"method":"getStatus"}' |
			"$HELPERS/rpc" "${files[@]}" "$RUN/control.sock" > "$T/reply" || true
	done
	nothing_else 1
}

# fds that are no programs: a directory, a fifo, a socket's worth of nothing, too few, too many.
test_wrong_fds() {
	local request
	kernel_start
	launch_counter
	request='{"jsonrpc":"2.0","id":1,"method":"launchSubcluster","params":{"config":{"bootstrap":"a","vats":{"a":{"program":"p"}}}}}'
	mkfifo "$T/fifo"
	exec 7<> "$T/fifo"
	for file in "$T" "$T/fifo" /dev/null /dev/zero /proc/self/status; do
		note "$file"
		"$HELPERS/rpc" -f "$file" "$RUN/control.sock" <<< "$request" > "$T/reply" || fail "no answer for $file"
		jq -e .error "$T/reply" > /dev/null || fail "$file was taken for a program: $(< "$T/reply")"
	done
	exec 7>&-
	"$HELPERS/rpc" -f "$VATS/counter" -f "$VATS/counter" "$RUN/control.sock" <<< "$request" > "$T/reply" || fail "no answer"
	jq -e .error "$T/reply" > /dev/null || fail "two files for one program were taken: $(< "$T/reply")"
	nothing_else 1
}

# A client that leaves before its answer, in many ways; half a request and gone.
test_clients_leave() {
	local i
	kernel_start
	launch_counter
	for ((i = 0; i < 50; i++)); do
		printf '{"jsonrpc":"2.0","id":1,"method":"queueMessage","params":["%s","increment",[]]}\n{"half' "$COUNTER" |
			timeout 5 "$HELPERS/rpc" -n 1 -e "$RUN/control.sock" > /dev/null || true
	done
	status 0 capstan call "@$COUNTER" get
	equal 50 "$OUT"
	for ((i = 0; i < 300; i++)); do
		"$HELPERS/rpc" -n 1 -t 20 "$RUN/control.sock" < <(echo '{"jsonrpc":"2.0","id":1,"method":"getStatus"}') > /dev/null &
	done
	wait
	nothing_else 1
}

# The kernel's own configuration: what is wrong in it is named, and nothing starts; what is right in it counts.
test_kernel_config() {
	local text want
	while IFS='|' read -r text want; do
		note "$text"
		printf '%s' "$text" > "$T/kernel.json"
		status 1 "$BIN/capstand" --state "$T/state" --run "$T/run" --config "$T/kernel.json"
		matches "$want" "$ERR" "the error for $text"
		equal "" "$(orphans)" "what was left of a refused start"
	done <<-'EOF'
	{|kernel.json, line 1:
	[]|object
	{"colour": 1}|colour
	{"limits": {"deadlineMs": "soon"}}|limits\.deadlineMs
	{"limits": {"teeth": 1}}|limits.*teeth
	{"restart": {"deaths": -1}}|restart\.deaths
	{"reap": 5}|reap
	{"commit": {"ms": 1.5}}|commit\.ms
	EOF
	status 1 "$BIN/capstand" --state "$T/state" --run "$T/run" --config "$T/nowhere"
	matches nowhere "$ERR"
	echo '{"limits": {"deadlineMs": 200}, "restart": {"sameDelivery": 1}}' > "$T/kernel.json"
	kernel_start --config "$T/kernel.json"
	launch_counter
	launch "$(one_vat "$VATS/hostile" call)"
	status 1 capstan call "@$ROOT" spin
	matches DELIVERY_FAILED "$ERR"
	equal 2 "$(cat "$RUN/fs/vats/$(vat_id it)/incarnation")" "incarnation after one death"
	broker_kill
	status 1 capstan call "@$ROOT" spin
	nothing_else 2
}

run_tests
