#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a vat's author does: tests of the vat in one process, by the book; and a vat in its jail that waits for things.
. "$(dirname "$0")/lib.sh"

# install_library: what is needed to build a test, and $FLAGS for it, as an author gets them
install_library() {
	local dest=$T/dest
	status 0 make -s -C "$SOURCE" B="$B" install DESTDIR="$dest" PREFIX=/usr
	FLAGS=$(PKG_CONFIG_PATH=$dest/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest pkg-config --cflags --libs libcapstan-test)
	cp "$SOURCE/vatd/examples/counter.c" "$SOURCE/vatd/examples/test_counter.c" "$T/"
	export TMPDIR=$T/tmp	# the test's kernel leaves nothing here, whatever happens
	mkdir "$TMPDIR"
}
all_passed() { matches '\[  PASSED  \] 4 test\(s\)\.' "$OUT$ERR" "$1"; }
nothing_left() { [[ -z $(ls "$TMPDIR") ]] || fail "left behind: $(ls "$TMPDIR")"; }

test_plain() {
	install_library
	# shellcheck disable=SC2086
	status 0 gcc -g -Wall -Wextra -Werror -o "$T/test" "$T/test_counter.c" $FLAGS -lcmocka
	status 0 "$T/test"
	all_passed plain
	# a mistake is an end with a sentence, and leaves nothing either
	sed -i 's/vat_test_launch(t);/vat_test_restart(t, "counter");/' "$T/test_counter.c"
	# shellcheck disable=SC2086
	status 0 gcc -g -o "$T/wrong" "$T/test_counter.c" $FLAGS -lcmocka
	CMOCKA_TEST_ABORT=1 "$T/wrong" > "$T/out" 2>&1 && fail "a mistake went through"
	grep -q 'vat_test: there is no vat "counter" in the kernel: launched yet' "$T/out" || fail "$(< "$T/out")"
	nothing_left
}

# Symbols of the kernel and of the library do not meet those of the program.
test_names() {
	install_library
	cat > "$T/names.c" <<-'END'
	#include <capstan/vat_test.h>
	#include <stdio.h>
	/* names of the kernel's and of the library's insides */
	int store_open(void); int store_open(void) { return 1; }
	int channel_send(void); int channel_send(void) { return 2; }
	int ref_new(void); int ref_new(void) { return 3; }
	int log_line(void); int log_line(void) { return 4; }
	int kernel_commit = 5, table_names = 6, vat_alloc = 7, kit_new = 8;
	int main(void)
	{
		vat_test_free(vat_test_new());
		printf("%d\n", store_open() + channel_send() + ref_new() + log_line() + kernel_commit + table_names + vat_alloc + kit_new);
	}
	END
	# shellcheck disable=SC2086
	status 0 gcc -o "$T/names" "$T/names.c" $FLAGS
	status 0 "$T/names"
	equal 36 "$OUT"
	nothing_left
}

# The same program; a leak of the vat's is found.
test_valgrind() {
	[[ $(type -t valgrind) == file ]] || skip "valgrind is not installed"
	install_library
	# shellcheck disable=SC2086
	status 0 gcc -g -o "$T/test" "$T/test_counter.c" $FLAGS -lcmocka
	status 0 valgrind --leak-check=full --show-leak-kinds=all --error-exitcode=9 "$T/test"
	all_passed valgrind
	matches 'ERROR SUMMARY: 0 errors' "$ERR"
	spoil
	# shellcheck disable=SC2086
	status 0 gcc -g -o "$T/test" "$T/test_counter.c" $FLAGS -lcmocka
	status 9 valgrind --leak-check=full --error-exitcode=9 "$T/test"
	matches 'Invalid read' "$ERR"
	matches 'increment_method \(counter.c' "$ERR"
	nothing_left
}

# The author's own code is instrumented, the library need not be.
test_asan() {
	install_library
	# shellcheck disable=SC2086
	status 0 gcc -g -fsanitize=address,undefined -fno-sanitize-recover=all -o "$T/test" "$T/test_counter.c" $FLAGS -lcmocka
	status 0 "$T/test"
	all_passed ASan
	spoil
	# shellcheck disable=SC2086
	status 0 gcc -g -fsanitize=address,undefined -fno-sanitize-recover=all -o "$T/test" "$T/test_counter.c" $FLAGS -lcmocka
	"$T/test" > "$T/out" 2>&1 && fail "what was read past its crank was not found"
	grep -q 'heap-use-after-free' "$T/out" || fail "$(< "$T/out")"
	nothing_left
}

# A vat that keeps text that it only borrowed.
spoil() {
	sed -i -e 's/^VAT_METHOD(root, increment)/static const char *borrowed;\nVAT_METHOD(root, increment)/' \
		-e 's/^\tint64_t n = count(v) + by;/\tint64_t n = count(v) + by + (borrowed \&\& *borrowed == 1);\n\tvat_value_read(v, vat_value_new(v, "s", "kept"), "s", \&borrowed);/' \
		"$T/counter.c"
}

# --- waiting, in the jail ------------------------------------------------------------------------------------------------

# ask METHOD ARG…: the answer in $OUT
ask() { status 0 capstan call "@$ROOT" "$@"; }

test_waiting() {
	local before after
	kernel_start
	launch "{\"bootstrap\":\"w\",\"vats\":{\"w\":{\"program\":\"$VATS/waiter\"}}}"
	ask sleep 100 1
	[[ $OUT -ge 100 && $OUT -lt 10000 ]] || fail "100 ms were $OUT"
	ask sleep 20 5
	[[ $OUT -ge 100 && $OUT -lt 10000 ]] || fail "5 times 20 ms were $OUT"
	ask say '"hello"'
	equal '"hello"' "$OUT"
	ask alarm 30
	equal 1 "$OUT"
	# 3600 s are still to come, twice, and a pipe is watched: nothing turns round for that
	before=$(cap_json status | jq .cranks)
	ask sleep 200 1
	after=$(cap_json status | jq .cranks)
	[[ $((after - before)) -le 10 ]] || fail "$before to $after cranks while it slept"
}

# A descriptor that is always ready costs the others their place in the queue no more than one crank each.
test_busy() {
	local last=0
	kernel_start
	launch "{\"bootstrap\":\"w\",\"vats\":{\"w\":{\"program\":\"$VATS/waiter\"}}}"
	ask spin
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		ask spins
		[[ $OUT -gt $last ]] || fail "it did not spin: $OUT after $last"
		last=$OUT
	done
	ask sleep 20 1
	ask stop
	last=$OUT
	ask spins
	equal "$last" "$OUT" "spins after the stop"
}

# --- printing, and ending by assert(), in the jail -----------------------------------------------------------------------

test_printing() {
	cat > "$T/chatty.c" <<-'EOF'
	#include <assert.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <capstan/vat.h>
	typedef struct { int64_t n; } root;
	VAT_METHOD(root, bootstrap) { return vat_return(v, "r", vat_self(v)); }
	VAT_METHOD(root, print)
	{
		printf("in %s,", "pieces");
		printf(" %d\n%s\n", 1, "two");
		fprintf(stderr, "wrong\033[2J\n");
		for (int i = 0; i < 3000; i++)
			putchar('x');
		return vat_return(v, "i", (int64_t)putchar('\n'));
	}
	VAT_METHOD(root, sure) { assert(self->n == 7); return 0; }
	VAT_METHOD(root, stop) { printf("unfinished"); abort(); }
	static const vat_kind Root = { "Root", sizeof(root), VAT_METHODS({ "bootstrap", NULL, "r", bootstrap },
		{ "print", "", "i", print }, { "sure", "", NULL, sure }, { "stop", "", NULL, stop }) };
	VAT_PROGRAM(&Root);
	EOF
	status 0 gcc -static -I"$SOURCE/include" -o "$T/chatty" "$T/chatty.c" "$B/lib/libcapstan.a"
	kernel_start
	launch "{\"bootstrap\":\"c\",\"vats\":{\"c\":{\"program\":\"$T/chatty\"}}}"
	ask print
	equal 10 "$OUT"
	status 1 capstan call "@$ROOT" sure
	matches 'DELIVERY_FAILED.*status 134' "$ERR"
	status 1 capstan call "@$ROOT" stop
	status 0 capstan log v1
	sed -E 's/^[^ ]+ //; s/chatty.c:[0-9]+/chatty.c:N/; s/x{100,}/xx/; s/c: .*chatty/c: chatty/' <<< "$OUT" > "$T/log"
	diff "$T/log" - <<-'EOF' || fail "the log is not what was printed"
	1 info in pieces, 1
	1 info two
	1 error wrong\x1b[2J
	1 info xx
	1 info xx
	1 info xx
	1 error c: chatty.c:N: sure_method: Assertion `self->n == 7' failed.
	1 error abort() was called
	1 error the process died: exited with status 134
	2 error c: chatty.c:N: sure_method: Assertion `self->n == 7' failed.
	2 error abort() was called
	2 error the process died: exited with status 134
	3 info unfinished
	3 error abort() was called
	3 error the process died: exited with status 134
	4 info unfinished
	4 error abort() was called
	4 error the process died: exited with status 134
	EOF
}

run_tests
