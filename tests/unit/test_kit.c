/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test library itself (capstan/vat_test.h): several programs in one process, each in a source file of its own; lives,
 * deaths and what is left of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <capstan/vat_test.h>

extern const vat_program alice_program, bob_program, carol_program;

static const char trio_answer[] = "{bobHeard: \"Hello, Bob!\", carolAnswered: \"You are welcome, Bob\"}";

static int setup(void **state)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "alice", &alice_program, "{\"greeting\":\"Hello\"}");
	vat_test_add(t, "bob", &bob_program, NULL);
	vat_test_add(t, "carol", &carol_program, NULL);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	vat_test_free(*state);
	return 0;
}

static void test_trio(void **state)
{
	vat_test *t = *state;
	assert_string_equal(vat_test_status(t, "carol"), "none");
	assert_string_equal(vat_test_launch(t), trio_answer);
	assert_string_equal(vat_test_log(t, "carol"), "making a greeter that says \"Hello\"\n");
	assert_string_equal(vat_test_status(t, "carol"), "running");
	assert_int_equal(vat_test_exports(t, "alice"), 1);
	/* The greeter and the greeting: nobody asked what became of them, until the collector comes by. */
	assert_int_equal(vat_test_promises(t, "alice"), 2);
	vat_test_reap(t, "alice");
	assert_int_equal(vat_test_promises(t, "alice"), 0);
	assert_int_equal(vat_test_imports(t, "alice"), 1);
	vat_test_reap(t, "alice");
	assert_int_equal(vat_test_imports(t, "alice"), 0);
}

/* References are shown, held, passed on and let go. */
static void test_references(void **state)
{
	vat_test *t = *state;
	vat_test_launch(t);
	vat_test_reap(t, "alice");
	vat_test_reap(t, "alice");
	vat_test_reap(t, "carol");
	size_t exports = vat_test_exports(t, "carol"), keys = vat_test_store_keys(t, "carol");
	size_t memory = vat_test_memory(t, "carol");
	char greeter[40];
	snprintf(greeter, sizeof(greeter), "%s", vat_test_call(t, "carol", "makeGreeter", "[\"Welcome\"]"));
	assert_memory_equal(greeter, "ko", 2);
	assert_string_equal(vat_test_call(t, greeter, "greet", "[\"%s\"]", "you"), "\"Welcome, you!\"");
	assert_int_equal(vat_test_exports(t, "carol"), exports + 1);
	vat_test_restart(t, "carol");
	vat_test_reap(t, "carol");
	assert_string_equal(vat_test_call(t, greeter, "greet", "[\"again\"]"), "\"Welcome, again!\"");
	vat_test_release(t);
	vat_test_reap(t, "carol");
	assert_int_equal(vat_test_exports(t, "carol"), exports);
	assert_int_equal(vat_test_memory(t, "carol"), memory);
	assert_true(vat_test_store_keys(t, "carol") <= keys + 3);	/* kind, number of kinds, instances */
	assert_non_null(strstr(vat_test_call(t, greeter, "greet", "[\"nobody\"]"), "does not exist"));
}

/* What dies often is suspended, as by the real kernel; and the others see it. */
static void test_deaths(void **state)
{
	vat_test *t = *state;
	vat_test_launch(t);
	for (int i = 0; i < 3; i++) {
		vat_test_kill(t, "bob");
		assert_string_equal(vat_test_status(t, "bob"), "running");
	}
	vat_test_kill(t, "bob");
	assert_memory_equal(vat_test_status(t, "bob"), "suspended: died 4 times", 23);
	assert_string_equal(vat_test_call(t, "bob", "listen", "[1, 2]"), "(pending)");
	assert_string_equal(vat_test_answer(t), "(pending)");
	assert_int_equal(vat_test_memory(t, "bob"), 0);
}

/* Several at a time, each with a kernel of its own, and one that is never launched. */
static void test_two_kernels(void **state)
{
	vat_test *t = *state, *other;
	vat_test_launch(t);
	setup((void **)&other);
	assert_string_equal(vat_test_launch(other), trio_answer);
	vat_test_kill(other, "carol");
	assert_string_equal(vat_test_log(t, "carol"), vat_test_log(other, "carol"));
	vat_test_free(other);
	setup((void **)&other);
	vat_test_free(other);
	vat_test_free(NULL);
	assert_memory_equal(vat_test_call(t, "carol", "makeGreeter", "[\"x\"]"), "ko", 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_trio), TEST(test_references), TEST(test_deaths), TEST(test_two_kernels) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
