/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a vat's author tests: the vat runs in this program, against the real kernel, and no process is started.
 *
 *	cc -g test_counter.c $(pkg-config --cflags --libs libcapstan-test) -lcmocka -o test_counter && ./test_counter
 *	valgrind --leak-check=full ./test_counter
 *	gdb -ex 'break increment_method' -ex run ./test_counter
 *	cc -g -fsanitize=address,undefined test_counter.c $(pkg-config …) -lcmocka && ./a.out
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <capstan/vat_test.h>

#define VAT_PROGRAM_NAME counter_program
#include "counter.c"

/* Each test has a kernel of its own, with one counter in it. */
static int setup(void **state)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "counter", &counter_program, NULL);
	vat_test_launch(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	vat_test_free(*state);
	return 0;
}

static void test_increments(void **state)
{
	vat_test *t = *state;
	assert_string_equal(vat_test_call(t, "counter", "get", "[]"), "0");
	assert_string_equal(vat_test_call(t, "counter", "increment", "[]"), "1");
	assert_string_equal(vat_test_call(t, "counter", "increment", "[%d]", 41), "42");
	assert_string_equal(vat_test_call(t, "counter", "get", "[]"), "42");
}

/* Whatever happens to the process, nobody who was told a number sees a smaller one. */
static void test_survives(void **state)
{
	vat_test *t = *state;
	vat_test_call(t, "counter", "increment", "[5]");
	vat_test_restart(t, "counter");
	assert_string_equal(vat_test_call(t, "counter", "increment", "[]"), "6");
	vat_test_kill(t, "counter");
	assert_string_equal(vat_test_call(t, "counter", "increment", "[]"), "7");
	assert_string_equal(vat_test_status(t, "counter"), "running");
}

static void test_refuses(void **state)
{
	vat_test *t = *state;
	assert_string_equal(vat_test_call(t, "counter", "increment", "[\"five\"]"),
			    "TypeError: Counter.increment: argument 1 must be an integer, not a string (\"five\")");
	assert_string_equal(vat_test_call(t, "counter", "decrement", "[]"), "TypeError: Counter has no method \"decrement\"");
	assert_string_equal(vat_test_call(t, "counter", "get", "[]"), "0");
}

/* Calls leave nothing behind. */
static void test_memory(void **state)
{
	vat_test *t = *state;
	vat_test_call(t, "counter", "increment", "[]");
	vat_test_reap(t, "counter");
	size_t before = vat_test_memory(t, "counter");
	for (int i = 0; i < 100; i++)
		vat_test_call(t, "counter", "increment", "[]");
	vat_test_reap(t, "counter");
	assert_int_equal(vat_test_memory(t, "counter"), before);
	assert_int_equal(vat_test_promises(t, "counter"), 0);
	assert_int_equal(vat_test_store_keys(t, "counter"), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_increments), TEST(test_survives), TEST(test_refuses), TEST(test_memory) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
