/* SPDX-License-Identifier: Apache-2.0 */
/* M1: bodies as @endo/marshal writes them; total functions on any bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <capstan/wire.h>

#include "../../lib/jtext.h"
#include "../../lib/smallcaps.h"
#include "smallcaps_vectors.h"

static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	(void)ctx;
	return kref_format((kref_t){ slot }, buf);
}

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_non_null(j);
	return j;
}

static int from_json(const char *text, struct smallcaps *s, char error[SMALLCAPS_ERROR_MAX])
{
	json_t *j = parse(text);
	int r = smallcaps_from_json(j, s, error);
	json_decref(j);
	return r;
}

/* M1 */
static void test_plain_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(plain_vectors); i++) {
		struct smallcaps s = { 0 };
		char error[SMALLCAPS_ERROR_MAX];
		assert_int_equal(from_json(plain_vectors[i].json, &s, error), 0);
		assert_string_equal(s.body, plain_vectors[i].body);
		assert_int_equal(s.body_len, strlen(s.body));
		assert_int_equal(s.n_slots, 0);
		smallcaps_deinit(&s);
	}
}

/* M1: Number::toString */
static void test_numbers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(number_vectors); i++) {
		char text[JTEXT_NUMBER_MAX];
		double d;
		memcpy(&d, &number_vectors[i].bits, 8);
		size_t len = jtext_format_double(d, text);
		assert_string_equal(text, number_vectors[i].text);
		assert_int_equal(len, strlen(text));
		assert_true(jtext_number(text, text + len) == d);
	}
}

static void test_references(void **state)
{
	struct smallcaps s = { 0 };
	char error[SMALLCAPS_ERROR_MAX];
	(void)state;
	assert_int_equal(from_json("[{\"@\":\"ko7\"},{\"x\":{\"@\":\"kp3\"}},{\"@\":\"ko7\"},{\"@\":1,\"y\":2}]", &s, error), 0);
	assert_string_equal(s.body, "#[\"$0\",{\"x\":\"&1\"},\"$0\",{\"@\":1,\"y\":2}]");
	assert_int_equal(s.n_slots, 2);
	assert_int_equal(s.slots[0], ko(7).bits);
	assert_int_equal(s.slots[1], kp(3).bits);
	char *line = smallcaps_render(s.body, s.body_len, s.slots, s.n_slots, slot_text, NULL);
	assert_string_equal(line, "[ko7, {x: kp3}, ko7, {\"@\": 1, y: 2}]");
	free(line);
	smallcaps_deinit(&s);
}

static void test_refused(void **state)
{
	static const struct { const char *json, *error; } rows[] = {
		{ "{\"@\":\"o+1\"}", "{\"@\": …} wants the text of a reference, like \"ko7\" or \"kp3\"" },
		{ "{\"@\":7}", "{\"@\": …} wants the text of a reference, like \"ko7\" or \"kp3\"" },
		{ "{\"@\":\"ko07\"}", "{\"@\": …} wants the text of a reference, like \"ko7\" or \"kp3\"" },
		{ "[9007199254740993]", "9007199254740993 is beyond 2^53, where numbers stop being exact" },
		{ "-9007199254740993", "-9007199254740993 is beyond 2^53, where numbers stop being exact" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct smallcaps s = { 0 };
		char error[SMALLCAPS_ERROR_MAX] = "";
		assert_int_equal(from_json(rows[i].json, &s, error), SMALLCAPS_E_INVALID);
		assert_string_equal(error, rows[i].error);
		assert_null(s.body);
	}
}

/* L1: depth is bounded on the way in and out. */
static void test_depth(void **state)
{
	struct smallcaps s = { 0 };
	char error[SMALLCAPS_ERROR_MAX], text[4 * JTEXT_MAX_DEPTH + 8];
	(void)state;
	for (unsigned depth = JTEXT_MAX_DEPTH - 2; depth < JTEXT_MAX_DEPTH + 3; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		text[2 * depth] = 0;
		assert_int_equal(jtext_check(text, 2 * depth), depth <= JTEXT_MAX_DEPTH);
		int r = from_json(text, &s, error);
		assert_int_equal(r, depth <= JTEXT_MAX_DEPTH ? 0 : SMALLCAPS_E_INVALID);
		if (r == 0)
			assert_true(jtext_check(s.body + 1, s.body_len - 1));
		smallcaps_deinit(&s);
	}
	/* Deep and hostile: marks at every level must not cost a walk each. */
	size_t n = 0, levels = JTEXT_MAX_DEPTH;
	char *deep = malloc(levels * 40 + 16);
	deep[n++] = '#';
	for (size_t i = 0; i < levels; i++)
		n += (size_t)sprintf(deep + n, "{\"#tag\":\"t\",\"payload\":");
	deep[n++] = '1';
	memset(deep + n, '}', levels);
	char *line = smallcaps_render(deep, n + levels, NULL, 0, slot_text, NULL);
	assert_memory_equal(line, "Tagged(\"t\", Tagged(", 19);
	free(line);
	free(deep);
}

static void test_methargs(void **state)
{
	struct smallcaps s = { 0 };
	char error[SMALLCAPS_ERROR_MAX];
	json_t *args = parse("[1,{\"@\":\"ko2\"}]"), *none = parse("[]"), *no_array = parse("{}");
	(void)state;
	assert_int_equal(smallcaps_methargs("inc", args, &s, error), 0);
	assert_string_equal(s.body, "#[\"inc\",[1,\"$0\"]]");
	char *method = smallcaps_method(s.body, s.body_len);
	assert_string_equal(method, "inc");
	free(method);
	smallcaps_deinit(&s);
	assert_int_equal(smallcaps_methargs("-x \"\n", none, &s, error), 0);
	assert_string_equal(s.body, "#[\"!-x \\\"\\n\",[]]");
	method = smallcaps_method(s.body, s.body_len);
	assert_string_equal(method, "-x \"\n");
	free(method);
	smallcaps_deinit(&s);
	assert_int_equal(smallcaps_methargs("\xff", none, &s, error), SMALLCAPS_E_INVALID);
	assert_int_equal(smallcaps_methargs("x", no_array, &s, error), SMALLCAPS_E_INVALID);
	static const char *const bodies[] = { "", "#", "#1", "#[]", "#[1]", "#{\"a\":1}", "#[\"$0\",[]]", "#[\"#undefined\"]", "[\"x\",[]]" };
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		assert_null(smallcaps_method(bodies[i], strlen(bodies[i])));
	json_decref(args);
	json_decref(none);
	json_decref(no_array);
}

/* R1: errors carry name and message; whatever bytes the message has, the body is smallcaps. */
static void test_errors(void **state)
{
	struct smallcaps s = { 0 };
	char *name = NULL, *message = NULL;
	(void)state;
	assert_int_equal(smallcaps_error("Error", "[KERNEL:OBJECT_DELETED] ko7 \"x\"\n", &s), 0);
	assert_string_equal(s.body, "#{\"#error\":\"[KERNEL:OBJECT_DELETED] ko7 \\\"x\\\"\\n\",\"name\":\"Error\"}");
	assert_true(smallcaps_read_error(s.body, s.body_len, &name, &message));
	assert_string_equal(name, "Error");
	assert_string_equal(message, "[KERNEL:OBJECT_DELETED] ko7 \"x\"\n");
	free(name);
	free(message);
	smallcaps_deinit(&s);
	assert_int_equal(smallcaps_error("Error", "a\xff", &s), 0);
	assert_string_equal(s.body, "#{\"#error\":\"a\\\\xff\",\"name\":\"Error\"}");
	smallcaps_deinit(&s);
	static const char *const not_errors[] = { "#1", "#{}", "#{\"#error\":1,\"name\":\"E\"}", "#{\"#error\":\"x\"}",
						  "#{\"#error\":\"$0\",\"name\":\"E\"}", "{\"#error\":\"x\",\"name\":\"E\"}" };
	for (size_t i = 0; i < ARRAY_LEN(not_errors); i++)
		assert_false(smallcaps_read_error(not_errors[i], strlen(not_errors[i]), &name, &message));
}

static void test_render(void **state)
{
	static const struct { const char *body, *line; } rows[] = {
		{ "#\"a\\nb\\u001b[31m\\\"\xc2\x9b\"", "\"a\\nb\\x1b[31m\\\"\\xc2\\x9b\"" },
		{ "#[\"+5\",\"-7\",\"#NaN\",\"#-Infinity\",\"#undefined\",\"%x\",\"!!y\"]", "[5n, -7n, NaN, -Infinity, undefined, Symbol(x), \"!y\"]" },
		{ "#{\"#error\":\"m\",\"name\":\"TypeError\",\"errorId\":\"e1\"}", "TypeError: m" },
		{ "#{\"#tag\":\"copySet\",\"payload\":[1]}", "Tagged(\"copySet\", [1])" },
		{ "# { \"a b\" : 1 , \"!$c\" : [ ] } ", "{\"a b\": 1, $c: []}" },
		{ "#\"$0.Alleged: x\"", "ko5" },
		/* JSON but not smallcaps, or not even JSON: shown as it is, escaped */
		{ "#\"$1\"", "#\"$1\"" }, { "#\"#what\"", "#\"#what\"" }, { "#\"*reserved\"", "#\"*reserved\"" }, { "#\"+x\"", "#\"+x\"" },
		{ "#{\"#x\":1}", "#{\"#x\":1}" }, { "#{\"#tag\":\"t\"}", "#{\"#tag\":\"t\"}" }, { "\x1b", "\\x1b" }, { "#[1", "#[1" },
		{ "", "" }, { "#{\"a\":1,}", "#{\"a\":1,}" }, { "#01", "#01" }, { "#\"\\ud800\"", "#\"\\\\ud800\"" },
	};
	uint64_t slot = ko(5).bits;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *line = smallcaps_render(rows[i].body, strlen(rows[i].body), &slot, 1, slot_text, NULL);
		assert_string_equal(line, rows[i].line);
		free(line);
	}
	/* Everything that Endo writes is readable. */
	for (size_t i = 0; i < ARRAY_LEN(body_vectors); i++) {
		uint64_t slots[3] = { ko(1).bits, ko(2).bits, kp(3).bits };
		const char *body = body_vectors[i].body;
		char *line = smallcaps_render(body, strlen(body), slots, body_vectors[i].n_slots, slot_text, NULL);
		assert_true(line[0] != '#' && line[0] != 0);
		free(line);
	}
}

/* What the check accepts and refuses, byte by byte cut: nothing is read past the end (ASan). */
static void test_check(void **state)
{
	static const char *const bad[] = { "", " ", "[", "]", "{", "}", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "1 2", "+1",
		"01", "1.", ".5", "1e", "1e+", "-", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"",
		"\"\n\"", "tru", "nul", "True", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"", "[1}", "{\"a\":1]" };
	static const char good[] = " {\"a\\u00e9\":[1,-0.5e+3,{\"b\":[]},true,false,null,\"\\ud83d\\ude00\xf0\x9f\x98\x80\"],\"\":{}} ";
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(jtext_check(bad[i], strlen(bad[i])));
	for (size_t n = 0; n <= strlen(good); n++) {
		char *cut = malloc(n + 1);	/* exactly as long, for ASan */
		memcpy(cut, good, n);
		assert_int_equal(jtext_check(cut, n), n >= strlen(good) - 1);
		free(cut);
	}
	char text[32];
	assert_int_equal(jtext_string("\"\\ud83d\\ude00\\/\"", text), 5);
	assert_string_equal(text, "\xf0\x9f\x98\x80/");
	assert_true(jtext_number("1e999", NULL) > 1e308);
}

static const char *const kind_names[] = {
	[SMALLCAPS_UNDEFINED] = "undefined", [SMALLCAPS_NULL] = "null", [SMALLCAPS_BOOLEAN] = "boolean",
	[SMALLCAPS_NUMBER] = "number", [SMALLCAPS_BIGINT] = "bigint", [SMALLCAPS_STRING] = "string",
	[SMALLCAPS_SYMBOL] = "symbol", [SMALLCAPS_REFERENCE] = "reference", [SMALLCAPS_ARRAY] = "array",
	[SMALLCAPS_RECORD] = "record", [SMALLCAPS_ERROR] = "error", [SMALLCAPS_TAGGED] = "tagged",
	[SMALLCAPS_UNKNOWN] = "unknown",
};

/* M1: what a service reads of a call. */
static void test_args(void **state)
{
	static const struct { const char *arg, *kind, *json; } rows[] = {
		{ "null", "null", "null" }, { "true", "boolean", "true" }, { "5", "number", "5" }, { "-0.5", "number", "-0.5" },
		{ "9007199254740992", "number", "9007199254740992" }, { "1e3", "number", "1000" }, { "0.25", "number", "0.25" },
		{ "\"#NaN\"", "number", NULL }, { "\"#-Infinity\"", "number", NULL }, { "\"#undefined\"", "undefined", NULL },
		{ "\"#what\"", "unknown", NULL }, { "\"+5\"", "bigint", NULL }, { "\"-\"", "unknown", NULL }, { "\"+5x\"", "unknown", NULL },
		{ "\"a\"", "string", "\"a\"" }, { "\"!$0\"", "string", "\"$0\"" }, { "\"\"", "string", "\"\"" },
		{ "\"a\\u0000b\"", "string", "\"a\\u0000b\"" }, { "\"#NaN\\u0000\"", "unknown", NULL },
		{ "\"%a\"", "symbol", NULL }, { "\"$0.Alleged: x\"", "reference", "{\"@\":\"ko5\"}" }, { "\"&1\"", "reference", "{\"@\":\"kp6\"}" },
		{ "\"$2\"", "unknown", NULL }, { "\"$\"", "unknown", NULL }, { "\"$0x\"", "unknown", NULL }, { "\"$99999999\"", "unknown", NULL },
		{ "[1,[\"$0\"]]", "array", "[1,[{\"@\":\"ko5\"}]]" }, { "[\"#undefined\"]", "array", NULL },
		{ "{\"a\":1,\"b\":\"#undefined\",\"!-c\":{}}", "record", "{\"-c\":{},\"a\":1}" },
		{ "{\"@\":\"ko5\"}", "record", NULL }, { "{\"+c\":1}", "record", NULL },
		{ "{\"#error\":\"m\",\"name\":\"E\"}", "error", NULL }, { "{\"#tag\":\"t\",\"payload\":1}", "tagged", NULL },
	};
	static const char *const no_args[] = { "", "#", "#[]", "#[\"m\"]", "#[\"m\",1]", "#[\"m\",[],[]]", "#[\"m\",[1e999]]",
					       "#[\"m\",[{\"\\u0000\":1}]]", "[\"m\",[]]", "#{\"m\":[]}" };
	const uint64_t slots[2] = { ko(5).bits, kp(6).bits };
	char body[200], why[SMALLCAPS_ERROR_MAX], *text;
	json_t *args, *json;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(body, sizeof(body), "#[\"m\",[%s]]", rows[i].arg);
		assert_int_equal(smallcaps_args(body, strlen(body), &args), 0);
		assert_string_equal(kind_names[smallcaps_look(json_array_get(args, 0), 2).kind], rows[i].kind);
		assert_int_equal(smallcaps_to_json(json_array_get(args, 0), slots, 2, &json, why), rows[i].json ? 0 : SMALLCAPS_E_INVALID);
		if (rows[i].json) {
			text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
			assert_string_equal(text, rows[i].json);
			free(text);
			json_decref(json);
		} else {
			assert_non_null(strstr(why, " cannot be said in JSON"));
		}
		json_decref(args);
	}
	for (size_t i = 0; i < ARRAY_LEN(no_args); i++)
		assert_int_equal(smallcaps_args(no_args[i], strlen(no_args[i]), &args), SMALLCAPS_E_INVALID);
	assert_int_equal(smallcaps_look(NULL, 0).kind, SMALLCAPS_UNDEFINED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_vectors), cmocka_unit_test(test_numbers), cmocka_unit_test(test_references),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_depth), cmocka_unit_test(test_methargs),
		cmocka_unit_test(test_errors), cmocka_unit_test(test_render), cmocka_unit_test(test_check),
		cmocka_unit_test(test_args),
	};
	return cmocka_run_group_tests_name("smallcaps", tests, NULL, NULL);
}
