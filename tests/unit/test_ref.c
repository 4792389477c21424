/* SPDX-License-Identifier: Apache-2.0 */
/* lib/ref.c: one spelling each, numeric order, nothing illegal gets in (C1, C2). */
#include <setjmp.h>
#include <stdarg.h>

#include <capstan/ref.h>
#include <cmocka.h>

#include "../../lib/util.h"

#define MAX_NUMBER "1152921504606846975"	/* 2^60 - 1 */
#define OVER_NUMBER "1152921504606846976"

static const struct { const char *text; uint64_t bits; } legal_vrefs[] = {
	{ "o+0", 0 },
	{ "o+3", 3 },
	{ "o-3", REF_MINUS | 3 },
	{ "p+4", REF_PROMISE | 4 },
	{ "p-4", REF_PROMISE | REF_MINUS | 4 },
	{ "o+" MAX_NUMBER, REF_NUMBER_MASK },
	{ "p-" MAX_NUMBER, REF_PROMISE | REF_MINUS | REF_NUMBER_MASK },
	{ "o+v2.5", REF_VIRTUAL | UINT64_C(2) << 44 | 5 << 8 },
	{ "o+v2.5:0", REF_VIRTUAL | UINT64_C(2) << 44 | 5 << 8 | 1 },
	{ "o+d2.5:1", REF_DURABLE | UINT64_C(2) << 44 | 5 << 8 | 2 },
	{ "o+d0.1", REF_DURABLE | 1 << 8 },
	{ "o+d65535.68719476735:254", REF_DURABLE | REF_NUMBER_MASK },
};

static const char *const illegal_vrefs[] = {
	"", "o", "o+", "o-", "o-0", "p+0", "p-0", "o+01", "o+00", "o3", "o+-3", "o++3", "O+3", "o+3 ", " o+3", "o+0x3",
	("o+" OVER_NUMBER), "o+99999999999999999999999", "o+18446744073709551616", "o-v2.5", "o-d2.5", "p+v2.5", "p-d2.5",
	"o+v2", "o+v2.", "o+v.5", "o+v2.0", "o+v2.05", "o+v02.5", "o+v65536.1", "o+d1.68719476736", "o+d1.1:",
	"o+d1.1:255", "o+d1.1:01", "o+d1.1/1", "o+d1.1:1:1", "o+x1.1", "o+3:1", "ko3", "r+3", "none", "?0000000000000001",
	"k", "v1",
};

static const char *const illegal_krefs[] = {
	"", "k", "ko", "kp", "ko0", "kp0", "ko07", "ko+7", "ko-7", "ko7 ", "ko7x", " ko7", "Ko7", "kx7", "o+7", "7",
	("ko" OVER_NUMBER), "kp18446744073709551617", "ko99999999999999999999999999", "none", "ko7\n",
};

static void test_vref_text(void **state)
{
	char buf[REF_TEXT_MAX];
	vref_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(legal_vrefs); i++) {
		assert_true(vref_parse(legal_vrefs[i].text, strlen(legal_vrefs[i].text), &v));
		assert_true(v.bits == legal_vrefs[i].bits);
		assert_true(vref_is_legal(v));
		assert_string_equal(vref_format(v, buf), legal_vrefs[i].text);
	}
	for (size_t i = 0; i < ARRAY_LEN(illegal_vrefs); i++) {
		v.bits = 42;
		if (vref_parse(illegal_vrefs[i], strlen(illegal_vrefs[i]), &v))
			fail_msg("\"%s\" parsed", illegal_vrefs[i]);
		assert_true(v.bits == 42);
	}
	assert_false(vref_parse("o+3\0", 4, &v));
	assert_true(vref_parse("o+37", 3, &v) && v.bits == 3);	/* no NUL needed, and none looked for */
}

static void test_kref_text(void **state)
{
	char buf[REF_TEXT_MAX];
	kref_t k;

	(void)state;
	assert_true(kref_parse("ko12", 4, &k) && kref_equal(k, ko(12)));
	assert_true(kref_parse("kp7", 3, &k) && kref_equal(k, kp(7)));
	assert_true(kref_parse("kp" MAX_NUMBER, strlen("kp" MAX_NUMBER), &k) && kref_number(k) == REF_NUMBER_MASK);
	assert_string_equal(kref_format(k, buf), "kp" MAX_NUMBER);
	assert_string_equal(kref_format(ko(12), buf), "ko12");
	for (size_t i = 0; i < ARRAY_LEN(illegal_krefs); i++) {
		k.bits = 42;
		if (kref_parse(illegal_krefs[i], strlen(illegal_krefs[i]), &k))
			fail_msg("\"%s\" parsed", illegal_krefs[i]);
		assert_true(k.bits == 42);
	}
}

/* Whatever the bits: a legal vref parses back to itself, any other is text that parses as nothing. */
static void test_any_bits(void **state)
{
	uint64_t x = 88172645463325252u;
	char buf[REF_TEXT_MAX];

	(void)state;
	for (unsigned int i = 0; i < 300000; i++) {
		vref_t v = { 0 }, back;
		kref_t k, kback;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		v.bits = i % 3 == 0 ? x : i % 3 == 1 ? x & ~(REF_NUMBER_MASK & ~0xffffu) : x & ~(UINT64_C(0xffffff) << 8);
		vref_format(v, buf);
		assert_true(strlen(buf) < REF_TEXT_MAX);
		assert_int_equal(vref_parse(buf, strlen(buf), &back), vref_is_legal(v));
		if (vref_is_legal(v))
			assert_true(vref_equal(v, back));
		k.bits = v.bits;
		kref_format(k, buf);
		if (kref_parse(buf, strlen(buf), &kback))
			assert_true(kref_equal(k, kback));
		else
			assert_true((k.bits & (REF_MINUS | REF_FORM_MASK)) || kref_number(k) == 0);
	}
}

static void test_legal(void **state)
{
	(void)state;
	assert_false(vref_is_legal(VREF_NONE));
	assert_true(vref_is_legal(VREF_ROOT));
	assert_false(vref_is_legal((vref_t){ REF_FORM_MASK | 1 << 8 }));
	assert_false(vref_is_legal((vref_t){ REF_MINUS }));
	assert_false(vref_is_legal((vref_t){ REF_PROMISE }));
	assert_false(vref_is_legal((vref_t){ REF_DURABLE | 1 }));	/* instance 0 */
	assert_false(vref_is_legal((vref_t){ REF_DURABLE | REF_MINUS | 1 << 8 }));
	assert_true(vref_survives(VREF_ROOT));
	assert_true(vref_survives((vref_t){ REF_DURABLE | 1 << 8 }));
	assert_false(vref_survives((vref_t){ REF_VIRTUAL | 1 << 8 }));
	assert_false(vref_survives((vref_t){ 1 }));
}

static void test_endpoints(void **state)
{
	static const char *const illegal[] = { "", "v", "v0", "v01", "k1", "K", "r0", "r", "s1", "v1 ", ("v" OVER_NUMBER) };
	char buf[REF_TEXT_MAX];
	endpoint_t e;
	uint64_t n;

	(void)state;
	assert_true(endpoint_parse("v1", 2, &e) && endpoint_is_vat(e) && endpoint_number(e) == 1);
	assert_string_equal(endpoint_format(e, buf), "v1");
	assert_true(endpoint_parse("r9", 2, &e) && endpoint_kind(e) == ENDPOINT_REMOTE);
	assert_string_equal(endpoint_format(e, buf), "r9");
	assert_true(endpoint_parse("k", 1, &e) && endpoint_equal(e, ENDPOINT_K));
	assert_string_equal(endpoint_format(e, buf), "k");
	assert_string_equal(endpoint_format((endpoint_t){ 0 }, buf), "none");
	for (uint64_t kind = 0; kind < 16; kind++) {
		endpoint_format((endpoint_t){ kind << 60 | 5 }, buf);
		assert_int_equal(endpoint_parse(buf, strlen(buf), &e), kind == ENDPOINT_VAT || kind == ENDPOINT_REMOTE);
	}
	for (size_t i = 0; i < ARRAY_LEN(illegal); i++)
		assert_false(endpoint_parse(illegal[i], strlen(illegal[i]), &e));
	assert_true(id_parse('s', "s12", 3, &n) && n == 12);
	assert_false(id_parse('s', "v12", 3, &n));
	assert_false(id_parse('s', "s0", 2, &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vref_text),
		cmocka_unit_test(test_kref_text),
		cmocka_unit_test(test_any_bits),
		cmocka_unit_test(test_legal),
		cmocka_unit_test(test_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
