/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mint of vatd/examples by the test library: whatever is done with purses and whoever is killed between, no coin
 * is made or lost, and what is refused changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capstan/vat_test.h>

extern const vat_program mint_program, buyer_program, seller_program;

static int setup(void **state)
{
	vat_test *t = *state = vat_test_new();
	vat_test_add(t, "mint", &mint_program, NULL);
	vat_test_add(t, "buyer", &buyer_program, NULL);
	vat_test_add(t, "seller", &seller_program, NULL);
	vat_test_launch(t);
	return 0;
}

static int teardown(void **state)
{
	vat_test_free(*state);	/* recounts the store */
	return 0;
}

/* A reference that an answer was. */
struct ref { char text[32]; };
static struct ref ref(const char *answer)
{
	struct ref r;
	assert_memory_equal(answer, "ko", 2);
	snprintf(r.text, sizeof(r.text), "%s", answer);
	return r;
}

static void someone_dies(vat_test *t)
{
	static const char *const names[] = { "mint", "buyer", "seller" };
	vat_test_restart(t, names[rand() % 3]);
}

static void test_shopping(void **state)
{
	vat_test *t = *state;
	assert_string_equal(vat_test_call(t, "buyer", "buy", "[40]"), "70");
	vat_test_restart(t, "mint");
	assert_string_equal(vat_test_call(t, "buyer", "buy", "[29]"), "70");
	vat_test_restart(t, "seller");
	assert_string_equal(vat_test_call(t, "buyer", "buy", "[70]"), "40");
	vat_test_restart(t, "buyer");
	assert_string_equal(vat_test_call(t, "buyer", "buy", "[41]"), "RangeError: cannot take 41 out of 40");
	assert_string_equal(vat_test_call(t, "seller", "takings", "[]"), "60");
	struct ref ticket = ref(vat_test_call(t, "buyer", "ticket", "[]"));
	assert_string_equal(vat_test_call(t, ticket.text, "number", "[]"), "2");
}

enum { N_PURSES = 8, N_STEPS = 400, ISSUED = 1000 };

/* Withdrawals and deposits at random, good ones and bad ones, against a plain array. */
static void test_conserved(void **state)
{
	vat_test *t = *state;
	struct ref purse[N_PURSES];
	int balance[N_PURSES] = { ISSUED };
	char number[16];

	struct ref mint = ref(vat_test_call(t, "mint", "makeMint", "[]"));
	for (int i = 0; i < N_PURSES; i++)
		purse[i] = ref(vat_test_call(t, mint.text, "issue", "[%d]", balance[i]));
	srand(1);
	for (int step = 0; step < N_STEPS; step++) {
		int from = rand() % N_PURSES, to = rand() % N_PURSES, amount = rand() % 600 - 100;
		const char *answer = vat_test_call(t, purse[from].text, "withdraw", "[%d]", amount);
		if (amount < 0 || amount > balance[from]) {
			assert_memory_equal(answer, "RangeError: cannot take", 23);
		} else {
			struct ref payment = ref(answer);
			balance[from] -= amount;
			if (step % 7 == 0)
				someone_dies(t);
			snprintf(number, sizeof(number), "%d", amount);
			assert_string_equal(vat_test_call(t, purse[to].text, "deposit", "[{\"@\":\"%s\"}]", payment.text), number);
			assert_string_equal(vat_test_call(t, purse[to].text, "deposit", "[{\"@\":\"%s\"}]", payment.text), "0");
			balance[to] += amount;
		}
		snprintf(number, sizeof(number), "%d", balance[to]);
		assert_string_equal(vat_test_call(t, purse[to].text, "balance", "[]"), number);
	}
	int sum = 0;
	for (int i = 0; i < N_PURSES; i++)
		sum += atoi(vat_test_call(t, purse[i].text, "balance", "[]"));
	assert_int_equal(sum, ISSUED);
}

/* Only purses of the same mint are money, and what is refused leaves them as they were. */
static void test_forged(void **state)
{
	vat_test *t = *state;
	struct ref mint = ref(vat_test_call(t, "mint", "makeMint", "[]")), other = ref(vat_test_call(t, "mint", "makeMint", "[]"));
	struct ref purse = ref(vat_test_call(t, mint.text, "issue", "[5]")), foreign = ref(vat_test_call(t, other.text, "issue", "[7]"));
	const char *const no = "TypeError: that is no purse of this mint";
	assert_string_equal(vat_test_call(t, purse.text, "deposit", "[{\"@\":\"%s\"}]", foreign.text), no);
	assert_string_equal(vat_test_call(t, purse.text, "deposit", "[{\"@\":\"%s\"}]", mint.text), no);
	assert_string_equal(vat_test_call(t, purse.text, "deposit", "[7]"),
			    "TypeError: Purse.deposit: argument 1 must be a reference, not a number (7)");
	assert_string_equal(vat_test_call(t, purse.text, "balance", "[]"), "5");
	assert_string_equal(vat_test_call(t, foreign.text, "balance", "[]"), "7");
	assert_string_equal(vat_test_call(t, purse.text, "deposit", "[{\"@\":\"%s\"}]", purse.text), "5");
	assert_string_equal(vat_test_call(t, purse.text, "balance", "[]"), "5");
}

/* Purses that nobody holds any more are no rows any more. */
static void test_collected(void **state)
{
	vat_test *t = *state;
	vat_test_reap(t, "mint");
	size_t keys = vat_test_store_keys(t, "mint"), exports = vat_test_exports(t, "mint");
	struct ref mint = ref(vat_test_call(t, "mint", "makeMint", "[]"));
	for (int i = 0; i < 100; i++)
		vat_test_call(t, mint.text, "issue", "[1]");
	assert_true(vat_test_store_keys(t, "mint") > keys + 100);
	vat_test_release(t);
	vat_test_reap(t, "mint");
	assert_int_equal(vat_test_exports(t, "mint"), exports);
	assert_int_equal(vat_test_store_keys(t, "mint"), keys);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_shopping), TEST(test_conserved), TEST(test_forged), TEST(test_collected) };
	return cmocka_run_group_tests_name("mint", tests, NULL, NULL);
}
