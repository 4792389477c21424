#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docs/TUTORIAL.md, done as it says: its files are written (fences "```c NAME", "```json NAME"), the commands of its console
# blocks ("$ …", continued with "> ") typed into one shell in a fresh folder, with everything installed as `make install`
# does it, and what they print is compared with the page. In the page "…" stands for any text, and alone on a line for any
# number of lines.
#
# TUTORIAL_WRITE=FILE: write the page with the real output wherever it differs, to look at and copy back by hand.
. "$(dirname "$0")/lib.sh"

PAGE=$SOURCE/docs/TUTORIAL.md
TOUR=/tmp/tour		# the page's folder; ours is elsewhere

# A line of the page as a pattern: everything literal but "…".
pattern() {
	local line=$1 out='' c
	while [[ -n $line ]]; do
		c=${line:0:1}
		line=${line:1}
		case $c in
		…) out+='*' ;;
		[[:alnum:]\ ]) out+=$c ;;
		*) out+="\\$c" ;;
		esac
	done
	REPLY=$out
}
# same WANTED-ARRAY GOT-ARRAY FROM-WANTED FROM-GOT: the rest of the one matches the rest of the other.
same() {
	local -n w=$1 g=$2
	local i=$3 j=$4
	for (( ; i < ${#w[@]}; i++, j++)); do
		if [[ ${w[i]} == … ]]; then
			for (( ; j <= ${#g[@]}; j++)); do
				! same "$1" "$2" $((i + 1)) "$j" || return 0
			done
			return 1
		fi
		((j < ${#g[@]})) || return 1
		pattern "${w[i]}"
		# shellcheck disable=SC2053
		[[ ${g[j]} == $REPLY ]] || return 1
	done
	((j == ${#g[@]}))
}

# Type one command, its output by lines in GOT. A marker ends it: no command can hang longer than any event may.
enter() {
	local line
	GOT=()
	printf '{ %s\n} < /dev/null\nprintf "\\n@@@done\\n"\n' "${1//"$TOUR"/"$T/tour"}" >&"${TYPED[1]}"
	while IFS= read -r -t "$WAIT" -u "${TYPED[0]}" line; do
		if [[ $line == @@@done ]]; then
			[[ ${#GOT[@]} == 0 || -n ${GOT[-1]} ]] || unset 'GOT[-1]'	# the marker's own line feed
			return 0
		fi
		GOT+=("${line//"$T/tour"/"$TOUR"}")
	done
	fail "\"$1\" does not end; so far: ${GOT[*]}"
}

show() { printf '%s\n' "$@" >> "$WRITTEN"; }
# The command that was read last, if there is one, with what the page says about it.
run_command() {
	[[ -n $COMMAND ]] || return 0
	enter "$COMMAND"
	N_COMMANDS=$((N_COMMANDS + 1))
	if same WANTED GOT 0 0; then
		[[ ${#WANTED[@]} == 0 ]] || show "${WANTED[@]}"
	else
		N_WRONG=$((N_WRONG + 1))
		echo "line $COMMAND_AT of the page: $ $COMMAND"
		printf '  page: %s\n' "${WANTED[@]}"
		printf '  real: %s\n' "${GOT[@]}"
		[[ ${#GOT[@]} == 0 ]] || show "${GOT[@]}"
	fi
	COMMAND=
	WANTED=()
}

# One line of the page, by the block it stands in: "text", "console", "file" or "other".
page_line() {
	local line=$1
	case $BLOCK:$line in
	text:'```console') BLOCK=console ;;
	text:'```c '*|text:'```json '*)
		BLOCK='file'
		FILE=$T/tour/${line#* }
		: > "$FILE" ;;
	text:'```'*) BLOCK=other ;;
	text:*) ;;
	console:'```') run_command; BLOCK=text ;;
	*:'```') BLOCK=text ;;
	'console:$ '*)
		run_command
		COMMAND=${line#'$ '} COMMAND_AT=$LINE_NO ;;
	'console:> '*) COMMAND+=$'\n'${line#'> '} ;;
	console:*) WANTED+=("$line"); return 0 ;;	# shown once it is compared
	file:*) printf '%s\n' "$line" >> "$FILE" ;;
	esac
	show "$line"
}

test_page() {
	local line pid
	[[ $(type -t pkg-config) == file ]] || skip "pkg-config is not installed"
	mkdir -m 755 "$T/usr" "$T/tour"
	status 0 make -s -C "$SOURCE" B="$B" install PREFIX="$T/usr"
	coproc TYPED {
		cd "$T/tour" || exit
		exec env PATH="$T/usr/bin:$PATH" PKG_CONFIG_PATH="$T/usr/lib/pkgconfig" SRC="$SOURCE" TERM=dumb LC_ALL=C.UTF-8 \
			bash --norc -O expand_aliases 2>&1
	}
	STATE=$T/tour/state RUN=$T/tour/run
	WRITTEN=${TUTORIAL_WRITE:-/dev/null}
	[[ $WRITTEN == /dev/null ]] || : > "$WRITTEN"
	BLOCK=text COMMAND='' WANTED=() N_COMMANDS=0 N_WRONG=0 LINE_NO=0
	while IFS= read -r line; do
		LINE_NO=$((LINE_NO + 1))
		page_line "$line"
		pid=$(cat "$RUN/capstand.pid" 2> /dev/null || true)
		SPAWNER=${pid:-${SPAWNER:-}}
	done < "$PAGE"
	[[ $BLOCK == text ]] || fail "the page ends inside a block"
	((N_COMMANDS >= 90)) || fail "only $N_COMMANDS commands seen"
	((N_WRONG == 0)) || fail "$N_WRONG of $N_COMMANDS commands say something else than the page"
	gone "$SPAWNER" || fail "the page leaves its kernel running"
}

run_tests
