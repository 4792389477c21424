#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What somebody gets who installs it: programs, library, headers, pages; and a vat built against them by the book.
. "$(dirname "$0")/lib.sh"

# --help and the man page tell of the same options; the pages are well formed.
test_help_and_pages() {
	local program page option n=0
	[[ $(type -t mandoc) == file ]] || skip "mandoc is not installed"
	while read -r program page; do
		status 0 "$BIN/$program" --help
		mandoc -T ascii "$SOURCE/docs/$page" | sed 's/.\x08//g' > "$T/page"
		for option in $(grep -oE -- '--[a-z][a-z-]*' <<< "$OUT" | sort -u); do
			grep -qF -- "$option" "$T/page" || fail "$page does not tell of $option"
			n=$((n + 1))
		done
		status 0 "$BIN/$program" --version
		matches '[0-9]+\.[0-9]+\.[0-9]+' "$OUT" "version of $program"
	done <<-EOF
	capstand capstand.8
	capstan capstan.1
	capstan-fs capstan-fs.8
	capstan-vatd capstan-vatd.8
	EOF
	[[ $n -ge 20 ]] || fail "only $n options seen"
	status 0 "$BIN/capstan" --help
	mandoc -T ascii "$SOURCE/docs/capstan.1" | sed 's/.\x08//g' > "$T/page"
	for option in status launch ps call holds release terminate restart ping log shutdown fsck; do
		matches "$option" "$OUT" "capstan --help"
		grep -qE "^ +$option( |$)" "$T/page" || fail "capstan.1 does not tell of $option"
	done
	for page in "$SOURCE"/docs/*.[1-9]; do
		status 0 mandoc -T lint -W warning "$page"
	done
}

# Whatever the vat library and its test kit offer is in the library's page.
test_library_page() {
	local name n=0
	[[ $(type -t mandoc) == file ]] || skip "mandoc is not installed"
	mandoc -T ascii "$SOURCE/docs/capstan-vat.3" | sed 's/.\x08//g' > "$T/page"
	for name in $(cat "$SOURCE"/include/capstan/vat{,_test}.h | grep -oE '\bvat_[a-z_]+\(' | grep -vx 'vat_fn(' | tr -d '(' | sort -u) \
		$(sed -nE 's/^#define (VAT_[A-Z0-9_]+).*/\1/p' "$SOURCE/include/capstan/vat.h" | grep -vxE 'VAT_FIELD'); do
		grep -qwF -- "$name" "$T/page" || fail "capstan-vat.3 does not tell of $name"
		n=$((n + 1))
	done
	[[ $n -ge 90 ]] || fail "only $n names seen"
}

# A vat built with nothing but the installed headers and pkg-config, by every language standard a C program may use.
test_vat_by_the_book() {
	local dest=$T/dest flags
	status 0 make -s -C "$SOURCE" B="$B" install DESTDIR="$dest" PREFIX=/usr
	for f in bin/capstand bin/capstan bin/capstan-fs bin/capstan-vatd lib/libcapstan.a lib/libcapstan.so include/capstan/vat.h \
		lib/pkgconfig/libcapstan.pc share/man/man1/capstan.1; do
		[[ -s $dest/usr/$f ]] || fail "$f was not installed"
	done
	cp "$SOURCE/vatd/examples/counter.c" "$T/"
	flags=$(PKG_CONFIG_PATH=$dest/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest pkg-config --cflags --libs --static libcapstan)
	# shellcheck disable=SC2086
	status 0 gcc -o "$T/counter" "$T/counter.c" $flags
	STATE=$T/state RUN=$T/run
	# The installed programs find each other where they were put.
	status 0 "$dest/usr/bin/capstand" --state "$STATE" --run "$RUN"
	SPAWNER=$(< "$RUN/capstand.pid")
	launch "$(jq -nc --arg p "$T/counter" '{bootstrap: "c", vats: {c: {program: $p}}}')"
	status 0 "$dest/usr/bin/capstan" --run "$RUN" call "@$ROOT" increment
	equal 1 "$OUT"
	[[ -r $RUN/fs/status ]] || fail "no mount"
}

# Readiness as systemd wants it told.
test_sd_notify() {
	STATE=$T/state RUN=$T/run
	"$HELPERS/await" notify "$WAIT" "$T/notify" > "$T/told" &
	until [[ -S $T/notify ]]; do
		[[ -d /proc/$! ]] || fail "no socket to tell"
	done
	NOTIFY_SOCKET=$T/notify "$BIN/capstand" --foreground --state "$STATE" --run "$RUN" > "$T/fg" 2>&1 &
	SPAWNER=$!
	wait %1 || fail "nobody told systemd: $(< "$T/fg")"
	matches 'READY=1' "$(< "$T/told")"
	status 0 capstan status
	kill -TERM "$SPAWNER"
	wait "$SPAWNER" || fail "it ended with $?"
}

run_tests
