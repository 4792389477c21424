/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of collections: as Endo's encodePassable writes them, in the order of compareRank, and back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../vatd/lib/internal.h"
#include "key_vectors.h"

const vat_program vat_main_program;

static struct vat the_vat = { .fd = -1, .crank = 1 };

/* "o-1 o-3" */
static struct vat_value value_of(const char *body, const char *names)
{
	vat *v = &the_vat;
	vat_ref **slots = arena_get(v, 8 * sizeof(*slots));
	size_t n = 0;
	char *copy = arena_printf(v, "%s", names), *save, *text = arena_printf(v, "%s", body);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		vref_t vref;
		assert_true(vref_parse(word, strlen(word), &vref));
		slots[n++] = store_ref(v, vref);
	}
	assert_true(jtext_check(text + 1, strlen(text) - 1));
	return (struct vat_value){ text + 1, text + strlen(text), slots, n };
}

static struct key *encoded(const char *prefix, const char *body, const char *names)
{
	struct vat_value value = value_of(body, names);
	struct key *k = arena_get(&the_vat, sizeof(*k));
	key_begin(k, prefix);
	if (!key_encode(&the_vat, k, &value))
		assert_true(k->problem[0]);
	return k;
}

static void test_vectors(void **state)
{
	(void)state;
	vat *v = &the_vat;
	for (size_t i = 0; i < ARRAY_LEN(key_vectors); i++) {
		const struct key_vector *x = &key_vectors[i];
		struct key *k = encoded("c.", x->body, x->slots);
		assert_string_equal(k->problem, "");
		assert_string_equal(k->data + 2, x->text);
		assert_int_equal(k->len, strlen(k->data));
		if (i > 0)
			assert_true(strcmp(key_vectors[i - 1].text, x->text) < 0);
		struct encoder *e = encoder_begin(v);
		assert_true(key_decode(v, x->text, strlen(x->text), e));
		struct vat_value back = encoder_view(e), was = value_of(x->body, x->slots);
		struct key *again = arena_get(v, sizeof(*again));
		key_begin(again, "");
		assert_true(key_encode(v, again, &back));
		assert_string_equal(again->data, x->text);
		/* what is no array of references is the same text too */
		if (!was.n_slots)
			assert_string_equal(arena_printf(v, "%.*s", (int)(back.end - back.at), back.at), was.at);
		assert_int_equal(back.n_slots, was.n_slots);
		encoder_end(v, e);
		arena_reset(v);
	}
}

/* Other spellings of the same value are the same key. */
static void test_same(void **state)
{
	(void)state;
	static const struct { const char *a, *b; } same[] = {
		{ "#0", "#-0" }, { "#0", "#-0.0e7" }, { "#10", "#1e1" }, { "#\"+0\"", "#\"-0\"" }, { "#\"+7\"", "#\"+007\"" },
		{ "#\"-7\"", "#\"-007\"" }, { "#\"a\"", "#\"\\u0061\"" }, { "#\"!a\"", "#\"a\"" }, { "#[1,2]", "#[ 1, 2 ]" },
		{ "#1e999", "#\"#Infinity\"" }, { "#\"#NaN\"", "#\"\\u0023NaN\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		assert_string_equal(encoded("", same[i].a, "")->data, encoded("", same[i].b, "")->data);
	arena_reset(&the_vat);
}

static void test_refused(void **state)
{
	(void)state;
	vat *v = &the_vat;
	static const struct { const char *body, *problem; } refused[] = {
		{ "#{\"a\":1}", "a record is no key" },
		{ "#[1,{\"#error\":\"x\",\"name\":\"Error\"}]", "an error is no key" },
		{ "#{\"#tag\":\"t\",\"payload\":1}", "a tagged value is no key" },
		{ "#\"#what\"", "malformed smallcaps is no key" },
		{ "#[\"$4\"]", "malformed smallcaps is no key" },
	};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_string_equal(encoded("", refused[i].body, "")->problem, refused[i].problem);
	vat_ref *p = ref_new(v, REF_A_PROMISE, vref_make(true, true, 1));
	struct vat_value value = { "\"&0\"", (char *)value.at + 4, &p, 1 };
	struct key k;
	key_begin(&k, "");
	assert_false(key_encode(v, &k, &value));
	assert_string_equal(k.problem, "a promise is no key");

	/* depth: a hundred arrays and no more */
	char deep[256] = "#";
	memset(deep + 1, '[', 100);
	memset(deep + 101, ']', 100);
	assert_string_equal(encoded("", deep, "")->problem, "");
	memset(deep + 1, '[', 101);
	memset(deep + 102, ']', 101);
	assert_string_equal(encoded("", deep, "")->problem, "arrays in a key nest at most 100 deep");

	/* length: what the vatstore takes, to the byte */
	char *body = arena_printf(v, "#\"%0*d\"", (int)WIRE_MAX_KEY - 3, 0);
	assert_string_equal(encoded("c.", body, "")->problem, "");
	assert_int_equal(encoded("c.", body, "")->len, WIRE_MAX_KEY);
	assert_string_equal(encoded("c..", body, "")->problem, "a key of 4094 bytes is too long, 4093 are the most");
	arena_reset(v);
}

/* The decoder takes nothing that the writer does not write. */
static void test_corrupt(void **state)
{
	(void)state;
	vat *v = &the_vat;
	static const char *const corrupt[] = {
		"", "x", "vv", "v ", " ", "b", "btru", "btruee", "f", "f000", "fc04500000000000", "fc0450000000000000", "fC045000000000000",
		"f7fffffffffffffff",		/* -0 */
		"ffff8000000000001",		/* another NaN */
		"p", "p1", "p1:", "p2:1", "p1:12", "p2:01", "p01:1", "p0:", "p~1:1", "p~10:123456789", "p9:12345678", "n1:1",
		"n9:0", "n9:", "n8:00", "n#0:1", "n##:", "n00:", "p~~~~~~~~~~9999999999:1", "n8:95",
		"r", "r400000000000000", "r4000000000000000", "rc000000000000001", "rffffffffffffffff", "r40000000000000010",
		"s ", "s!", "s!A", "s_", "s_a", "s^", "s\x01", "s\xff", "s\xc3", "y!", "^v", "^v  ", "^ ", "^v v", "^^v ", "^sa", "^^",
	};
	for (size_t i = 0; i < ARRAY_LEN(corrupt); i++) {
		struct encoder *e = encoder_begin(v);
		char *exact = malloc(strlen(corrupt[i]) + 1);	/* for ASan: no byte more */
		memcpy(exact, corrupt[i], strlen(corrupt[i]));
		exact = realloc(exact, strlen(corrupt[i]) ? strlen(corrupt[i]) : 1);
		if (key_decode(v, exact, strlen(corrupt[i]), e))
			fail_msg("\"%s\" is accepted as %.*s", corrupt[i], (int)e->text.len, e->text.data);
		free(exact);
		encoder_end(v, e);
	}
	assert_int_equal(key_ref("r4000000000000005", 17).bits, vref_make(false, true, 5).bits);
	assert_true(vref_is_none(key_ref("s4000000000000005", 17)));
	assert_true(vref_is_none(key_ref("r4000000000000005", 16)));
	assert_true(vref_is_none(key_ref("rc000000000000005", 17)));
	arena_reset(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_corrupt),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
