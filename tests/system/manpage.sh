# SPDX-License-Identifier: Apache-2.0
# The questions of capstan(5): each command that its section QUESTIONS shows is run, as it stands there, in the mount of a kernel in
# which there is something to answer.
. "$(dirname "$0")/lib.sh"

PAGE=$SOURCE/docs/capstan.5

# The commands of the page, one a line, as a reader sees them.
commands() {
	sed -n '/^\.Sh QUESTIONS/,/^\.Sh HOW/p' "$PAGE" | sed -n 's/^\.Dl //p' | sed "s/\\\\-/-/g; s/\\\\(aq/'/g"
}

# What each must say: an extended regular expression on all of its output.
declare -A ANSWER=(
	["cat objects/ko5/holders"]=$'\nv3 +clist +o-[0-9]+ +1 +reachable\n(.*\n)?s1 +hold +root'
	["cat vats/v3/waits"]=$'\npromise +p\+1 +kp[0-9]+ +unresolved +- +v2 +alive'
	["cat vats/v2/decides.txt"]=$'\nkp[0-9]+ +p-[0-9]+ +[0-9]+ +v3 +0'
	["cat runqueue"]=$'\n[0-9]+ +message +ko8 +spin +host .* in-flight +[0-9].*\n[0-9]+ +message +ko8 +keep +host .* next +-'
	["cat deaths"]=$'\n20[^ ]+Z +v2 +1 +.*status'
	["cat gc/next"]=$'\nv1 +dropExports +ko[0-9]+ +o\+[0-9]+ +suspended'
	["sort -rnk13 vats.txt | head -n 3"]='^v[1-4] '
	["sort -rnk10 vats.txt | head -n 3"]='^v4 +dan '
	["sort -rnk12 vats.txt | head -n 3"]='^v3 +cat '
	["awk -v t=\$(date -u -d '-1 minute' +%FT%T) '\$1 >= t' vats/v1/log"]='^20[^ ]+Z 1 info counting from 5\\n\\x1b\[31m$'
	["cat vats/v4/code/name"]='^panel$'
	["ls vats/v4/code/vats"]=$'^v1\nv2\nv3\nv4$'
	["ls objects/ko5/importers"]=$'^v3$'
	["grep -E 'suspended|terminated' vats.txt"]='^v1 +ann .* suspended '
	["cat vats/v1/limits"]=$'\nmemory +[0-9]+ +1073741824 +1073741824'
	["cat events"]='.'
	["tail recent"]='crank v3 '
	["ls snapshot/before snapshot/after; diff -r snapshot/before snapshot/after"]=$'\ndiff -r snapshot/before/[^ ]+ snapshot/after/'
)

# Four vats: v1 is suspended, v2 has died and owes an answer, v3 waits for it and stores something, v4 is busy.
situation() {
	local vat
	launch "{\"bootstrap\":\"ann\",\"vats\":{$(for vat in ann ben cat dan; do
		printf '%s"%s":{"program":"%s","limits":{"deadlineMs":600000}}' "$([[ $vat == ann ]] || echo ,)" $vat "$VATS/panel"
	done)}}"
	equal ko5 "$(jq -r .rootKref <<< "$LAUNCH")" "the first root, which the page speaks of"
	status 1 capstan call @ko6 die
	capstan call --no-hold @ko7 ask @ko6
	capstan call --no-hold @ko7 keep @ko5
	capstan call --no-hold @ko7 remember 3
	capstan call --no-hold @ko5 say '"counting from 5\n\u001b[31m"'
	capstan call --no-hold @ko5 lend @ko8
	capstan suspend v1 > /dev/null
	capstan call --no-hold @ko8 drop
	capstan reap v4 > /dev/null
	capstan ping v4 > /dev/null
	status 1 capstan call --timeout 0.3 @ko8 spin
	status 1 capstan call --timeout 0.3 @ko8 keep @ko7
}

test_questions() {
	local command n=0
	kernel_start
	situation
	(cd "$RUN/fs" && ls -d snapshot/before) > /dev/null
	while IFS= read -r command; do
		[[ -n ${ANSWER[$command]:-} ]] || fail "the page shows a command that this test knows no answer to: $command"
		n=$((n + 1))
		if [[ $command == "cat events" ]]; then
			(cd "$RUN/fs" && exec timeout 20 cat events) > "$T/events" &
			until [[ -s $T/events ]]; do
				capstan call --no-hold @ko7 keep @ko5
			done
			kill $!
			wait $! || true
			OUT=$(< "$T/events")
			matches '^20[^ ]+Z (crank|resolve|gone|gc) ' "$OUT" "$command"
			continue
		fi
		got=0
		OUT=$(cd "$RUN/fs" && bash -c "$command" 2>&1) || got=$?
		matches "${ANSWER[$command]}" "$OUT" "$command"
		note "$command: ok"
	done < <(commands)
	equal ${#ANSWER[@]} "$n" "commands on the page"
}

run_tests
