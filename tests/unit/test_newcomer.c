/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistakes that newcomers make, and the sentence that each gets. What a caller does wrong costs the call; what would leave
 * the vat in a state that is not true costs the vat.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <capstan/vat_test.h>

typedef struct { int64_t n; vat_ref *peer; } thing;
VAT_METHOD(thing, thing_get) { return vat_return(v, "i", self->n); }
VAT_METHOD(thing, thing_refuse) { return vat_fail(v, "RangeError", "no thing of this kind"); }
static const vat_kind Thing = { "Thing", sizeof(thing), VAT_STATE(VAT_I64(thing, n), VAT_REF(thing, peer)),
	VAT_METHODS({ "get", "", "i", thing_get }) };
static const vat_kind Refused = { "Refused", sizeof(thing), VAT_INIT(thing_refuse), VAT_METHODS({ "get", "", "i", thing_get }) };
static const vat_kind Unnamed = { "Unnamed", sizeof(thing), VAT_STATE(VAT_I64(thing, n)),
	VAT_METHODS({ "get", "", "i", thing_get }) };

typedef struct { vat_ref *kept, *promise; void *state; } root;

VAT_METHOD(root, bootstrap) { return 0; }
VAT_METHOD(root, takes) { int64_t n; vat_read(v, "i", &n); return vat_return(v, "i", n); }
VAT_METHOD(root, misreads) { const char *s; vat_read(v, "s", &s); return vat_return(v, "s", s); }
VAT_METHOD(root, misreturns) { return vat_return(v, "s", "five"); }
VAT_METHOD(root, fails_silently) { return -1; }
VAT_METHOD(root, returns_twice) { vat_return(v, "i", INT64_C(1)); return vat_return(v, "i", INT64_C(2)); }
VAT_METHOD(root, settles_twice)
{
	vat_ref *p = vat_promise_new(v);
	vat_resolve(v, p, "i", INT64_C(1));
	return vat_reject(v, p, "Error", "no");
}
VAT_METHOD(root, settles_others)
{
	vat_ref *p = E(v, vat_self(v), "takes", "i", INT64_C(1));
	return vat_resolve(v, p, "i", INT64_C(2));
}
VAT_METHOD(root, waits_badly) { vat_when(v, vat_promise_new(v), self, "gotCount"); return 0; }
VAT_METHOD(root, waits_for_nothing) { vat_when(v, NULL, self, "takes"); return 0; }
VAT_METHOD(root, sends_to_nothing) { return vat_return(v, "r", E(v, NULL, "get", "")); }
VAT_METHOD(root, bad_signature) { return vat_return(v, "q", INT64_C(1)); }
VAT_METHOD(root, bad_text) { return vat_return(v, "s", "\xff\xfe"); }
VAT_METHOD(root, bad_number) { return vat_return(v, "i", INT64_C(1) << 60); }
VAT_METHOD(root, stores_promise) { return vat_baggage_set(v, "p", "r", vat_promise_new(v)); }
VAT_METHOD(root, stores_twice) { return vat_baggage_init(v, "once", "i", INT64_C(1)); }
VAT_METHOD(root, field_promise)
{
	vat_ref *r = vat_new(v, &Thing, "");
	thing *t = vat_state(v, r, &Thing);
	t->peer = vat_promise_new(v);
	return 0;
}
VAT_METHOD(root, makes_refused) { return vat_return(v, "r", vat_new(v, &Refused, "")); }
VAT_METHOD(root, makes_plain) { return vat_return(v, "r", vat_new(v, &Thing, "i", INT64_C(5))); }
VAT_METHOD(root, bad_read) { int64_t n = 0; return vat_read(v, "q", &n); }
VAT_METHOD(root, bad_record) { int64_t n = 0; return vat_read(v, "{a:i b:i}", &n, &n); }
VAT_METHOD(root, no_arguments) { return 0; }
VAT_METHOD(root, floods)
{
	vat_ref *writer, *reader = vat_pipe(v, &writer);
	for (int64_t i = 0; i < 1200; i++)
		vat_stream_write(v, writer, "i", i);
	return vat_return(v, "r", reader);
}
VAT_METHOD(root, uncaught)
{
	vat_when(v, E(v, vat_self(v), "fails_silently", ""), self, "takes");
	return 0;
}

/* these cost the vat */
VAT_METHOD(root, keeps) { vat_read(v, "r", &self->kept); return 0; }
VAT_METHOD(root, uses_kept) { vat_tell(v, self->kept, "get", ""); return 0; }
VAT_METHOD(root, returns_kept) { return vat_return(v, "r", self->kept); }
VAT_METHOD(root, makes_unnamed) { return vat_return(v, "r", vat_new(v, &Unnamed, "")); }
VAT_METHOD(root, releases) { vat_release(v, vat_promise_new(v)); return 0; }
VAT_METHOD(root, wrong_self) { vat_when(v, vat_promise_new(v), NULL, "takes"); return 0; }
VAT_METHOD(root, gives_up) { vat_exit_failure(v, "Error", "enough of %s", "it"); return 0; }

VAT_METHOD(root, make) { return vat_return(v, "r", vat_new(v, &Thing, "")); }
VAT_METHOD(root, init_fails)
{
	bool fail = false;
	vat_read(v, "{fail:?b}", &fail);
	return fail ? vat_fail(v, "Error", "bad parameters") : 0;
}

#define ROW(name_, args_, result_) { #name_, args_, result_, name_ }
static const vat_kind Root = { "Root", sizeof(root), VAT_INIT(init_fails),
	VAT_METHODS(ROW(bootstrap, NULL, NULL), ROW(takes, "i", "i"), ROW(misreads, "i", NULL), ROW(misreturns, "", "i"),
		    ROW(fails_silently, "", NULL), ROW(returns_twice, "", NULL), ROW(settles_twice, "", NULL),
		    ROW(settles_others, "", NULL), ROW(waits_badly, "", NULL), ROW(waits_for_nothing, "", NULL),
		    ROW(sends_to_nothing, "", NULL), ROW(bad_signature, "", NULL), ROW(bad_text, "", NULL),
		    ROW(bad_number, "", NULL), ROW(stores_promise, "", NULL), ROW(stores_twice, "", NULL),
		    ROW(field_promise, "", NULL), ROW(makes_refused, "", NULL), ROW(uncaught, "", NULL), ROW(keeps, "r", NULL),
		    ROW(uses_kept, "", NULL), ROW(returns_kept, "", NULL), ROW(makes_unnamed, "", NULL), ROW(releases, "", NULL),
		    ROW(wrong_self, "", NULL), ROW(gives_up, "", NULL), ROW(make, "", "r"),
		    ROW(makes_plain, "", NULL), ROW(bad_read, NULL, NULL), ROW(bad_record, NULL, NULL), ROW(no_arguments, "", NULL),
		    ROW(floods, "", NULL)) };
#define VAT_PROGRAM_NAME mistaken_program
VAT_PROGRAM(&Root, &Thing);

/* The same program, changed by somebody who thinks of tomorrow only. */
typedef struct { int64_t n; double peer; } other_thing;
static const vat_kind Changed = { "Thing", sizeof(thing), VAT_STATE(VAT_I64(other_thing, n), VAT_F64(other_thing, peer)),
	VAT_METHODS({ "get", "", "i", thing_get }) };
#undef VAT_PROGRAM_NAME
#define VAT_PROGRAM_NAME changed_program
VAT_PROGRAM(&Root, &Changed);
#undef VAT_PROGRAM_NAME
#define VAT_PROGRAM_NAME doubled_program
VAT_PROGRAM(&Root, &Thing, &Changed);

/* --- the sentences --------------------------------------------------------------------------------------- */

static int setup(void **state)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "m", &mistaken_program, NULL);
	assert_string_equal(vat_test_launch(t), "undefined");
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	vat_test_free(*state);
	return 0;
}

/* What costs the call, or the running method. */
static void test_calls(void **state)
{
	static const struct { const char *method, *args, *answer; } rows[] = {
		{ "noSuchThing", "[]", "TypeError: Root has no method \"noSuchThing\"" },
		{ "takes", "[\"x\"]", "TypeError: Root.takes: argument 1 must be an integer, not a string (\"x\")" },
		{ "takes", "[]", "TypeError: Root.takes: argument 1 must be an integer, and is missing" },
		{ "takes", "[1.5]", "TypeError: Root.takes: argument 1 must be an integer within 2^53, not a number (1.5)" },
		{ "misreads", "[5]", "TypeError: Root.misreads: argument 1 must be a string, not a number (5)" },
		{ "misreturns", "[]", "TypeError: Root.misreturns returns \"s\", where its table says \"i\": the value must be an "
		  "integer, not a string (\"five\")" },
		{ "fails_silently", "[]", "Error: Root.fails_silently failed" },
		{ "returns_twice", "[]", "Error: Root.returns_twice returned twice" },
		{ "settles_twice", "[]", "Error: vat_reject(): the promise is settled already" },
		{ "settles_others", "[]", "Error: vat_resolve(): this vat does not decide the promise" },
		{ "waits_badly", "[]", "TypeError: vat_when(): Root has no continuation or method \"gotCount\"" },
		{ "waits_for_nothing", "[]", "TypeError: vat_when() of no promise" },
		{ "sends_to_nothing", "[]", "TypeError: \"get\" is sent to no reference" },
		{ "bad_signature", "[]", "TypeError: Root.bad_signature: its result: bad signature: \"q\"" },
		{ "bad_text", "[]", "TypeError: Root.bad_text: its result: a string is not UTF-8" },
		{ "bad_number", "[]", "TypeError: Root.bad_number: its result: 1152921504606846976 is beyond 2^53, where numbers "
		  "stop being exact; a bigint (n) can carry it" },
		{ "stores_promise", "[]", "TypeError: baggage \"p\": a promise would not survive a restart; imported references, the "
		  "root and objects with a state table do" },
		{ "stores_twice", "[]", "undefined" },
		{ "stores_twice", "[]", "Error: baggage has a \"once\" already" },
		{ "field_promise", "[]", "TypeError: Thing.peer cannot be saved: it holds a promise" },
		{ "makes_refused", "[]", "RangeError: no thing of this kind" },
		{ "makes_plain", "[]", "TypeError: vat_new() of Thing: nothing reads these arguments, it has no VAT_INIT()" },
		{ "bad_read", "[1]", "TypeError: Root.bad_read: bad signature: \"q\"" },
		{ "bad_record", "[{\"a\":1}]", "TypeError: Root.bad_record: bad signature: \" b:i}\" where , or } should be" },
		{ "no_arguments", "[1]", "TypeError: Root.no_arguments: takes no arguments" },
	};
	vat_test *t = *state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_string_equal(vat_test_call(t, "m", rows[i].method, "%s", rows[i].args), rows[i].answer);
	assert_string_equal(vat_test_status(t, "m"), "running");
	assert_string_equal(vat_test_log(t, "m"), "");
	assert_string_equal(vat_test_call(t, "m", "uncaught", "[]"), "undefined");
	assert_non_null(strstr(vat_test_log(t, "m"), "a promise was rejected and nothing catches that: Error: Root.fails_silently failed"));
	vat_test_reap(t, "m");
	vat_test_reap(t, "m");
	assert_int_equal(vat_test_memory(t, "m"), 2);	/* the root and its reference */
	assert_int_equal(vat_test_promises(t, "m"), 0);
}

/* What costs the vat: the sentence stands in its log, and in what becomes of the call. */
static void test_deaths(void **state)
{
	/* `answer` NULL: of the second process, too, the message is the death; the sentence is the reason then. */
	static const struct { const char *method, *sentence, *answer; } rows[] = {
		{ "uses_kept", "Root.uses_kept: a reference was kept past its crank without vat_hold(), and sent to",
		  "TypeError: \"get\" is sent to no reference" },
		{ "returns_kept", "Root.returns_kept: a reference was kept past its crank without vat_hold(), and written to a message",
		  "TypeError: Root.returns_kept: its result: a reference is NULL" },
		{ "makes_unnamed", "Root.makes_unnamed: kind Unnamed has a state table and must be named in VAT_PROGRAM()", NULL },
		{ "releases", "Root.releases: vat_release() of a reference that is not held", NULL },
		{ "wrong_self", "Root.wrong_self: vat_when() wants the self of a method", NULL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char ref[40];
		vat_test *t = *state;
		snprintf(ref, sizeof(ref), "%s", vat_test_call(t, "m", "make", "[]"));
		vat_test_call(t, "m", "keeps", "[{\"@\":\"%s\"}]", ref);
		const char *answer = vat_test_call(t, "m", rows[i].method, "[]");
		char once[400], log[801], told[400];
		snprintf(told, sizeof(told), "Error: [KERNEL:DELIVERY_FAILED] the message killed m 2 times: delivery failed: %s",
			 rows[i].sentence);
		if (rows[i].answer)
			assert_string_equal(answer, rows[i].answer);
		else
			assert_memory_equal(answer, told, strlen(answer));	/* the kernel cuts what it tells */
		assert_true(strlen(answer) > 30);
		snprintf(once, sizeof(once), "%s\nthe process died: delivery failed: %s\n", rows[i].sentence, rows[i].sentence);
		snprintf(log, sizeof(log), "%s%s", once, rows[i].answer ? "" : once);
		assert_string_equal(vat_test_log(t, "m"), log);
		assert_string_equal(vat_test_status(t, "m"), "running");	/* such a slip does not cost the vat its state */
		teardown(state);
		setup(state);
	}
	vat_test *t = *state;
	assert_string_equal(vat_test_call(t, "m", "gives_up", "[]"),
			    "Error: [KERNEL:VAT_TERMINATED] m: exit with failure: Error: enough of it");
	assert_string_equal(vat_test_status(t, "m"), "terminated: exit with failure: Error: enough of it");
	assert_string_equal(vat_test_log(t, "m"), "");	/* vat_exit_failure() says nothing beside */
}

static void launch_fails(const vat_program *program, const char *parameters, const char *sentence, const char *detail)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "m", program, parameters);
	const char *answer = vat_test_launch(t);
	assert_memory_equal(answer, sentence, strlen(sentence));
	assert_non_null(strstr(answer, detail));
	assert_string_equal(vat_test_status(t, "m"), "none");
	vat_test_free(t);
}

static void test_launches(void **state)
{
	(void)state;
	launch_fails(&mistaken_program, "{\"fail\":true}", "Error: vat m: died: delivery failed: Root.init failed: Error: bad parameters", "");
	launch_fails(&mistaken_program, "{\"fail\":1}", "Error: vat m: died: delivery failed: Root.init failed: TypeError: ",
		     "must be a boolean, not a number (1)");
	launch_fails(&doubled_program, NULL, "Error: vat m: died: delivery failed: two kinds with a state table are named Thing", "");
}

/* Tables with a mistake in them: each vat says so at its start, and not when somebody first calls the method. */
#define GET(args_, result_)	{ "get", args_, result_, thing_get }
#define KIND(name_, ...)	static const vat_kind name_ = { "Thing", sizeof(thing), __VA_ARGS__ }
KIND(OpenRecord, VAT_METHODS(GET("{a:i", "i")));
KIND(OpenArray, VAT_METHODS(GET("s?[i", "i")));
KIND(Letter, VAT_METHODS(GET("ix", "i")));
KIND(NoColon, VAT_METHODS(GET("{a}", "i")));
KIND(Word, VAT_METHODS(GET("", "int")));
KIND(TwoResults, VAT_METHODS(GET("", "ii")));
KIND(Bare, VAT_METHODS(GET("?", "i")));
KIND(Twice, VAT_METHODS(GET("", "i"), GET("i", "i")));
KIND(NoFunction, VAT_METHODS({ "get", "", "i", NULL }));
KIND(Continuation, VAT_CONTINUATIONS(GET("{", NULL)));
KIND(Face, VAT_FACETS(VAT_FACET("a", GET("", "i")), VAT_FACET("b", GET("(", "i"))));
KIND(TwoFields, VAT_STATE(VAT_I64(thing, n), VAT_I64(thing, n)));
static const vat_kind Nameless = { NULL, sizeof(thing), VAT_METHODS(GET("", "i")) };
static const vat_kind Small = { "Thing", sizeof(int64_t), VAT_STATE(VAT_I64(thing, n), VAT_REF(thing, peer)) };

static void test_tables(void **state)
{
	static const struct { const vat_kind *kind; const char *sentence; } rows[] = {
		{ &OpenRecord, "kind Thing: what its method get takes, \"{a:i\": bad signature: no }" },
		{ &OpenArray, "kind Thing: what its method get takes, \"s?[i\": bad signature: no ]" },
		{ &Letter, "kind Thing: what its method get takes, \"ix\": bad signature: \"x\"" },
		{ &NoColon, "kind Thing: what its method get takes, \"{a}\": bad signature: \"a}\" in a record is no member: there is no \":\"" },
		{ &Word, "kind Thing: what its method get returns, \"int\": bad signature: \"t\"" },
		{ &TwoResults, "kind Thing: what its method get returns, \"ii\": bad signature: \"ii\" is not one value" },
		{ &Bare, "kind Thing: what its method get takes, \"?\": bad signature: it ends too early" },
		{ &Twice, "kind Thing has two methods named get" },
		{ &NoFunction, "kind Thing: its method get has no function" },
		{ &Continuation, "kind Thing: what its method get takes, \"{\": bad signature: no }" },
		{ &Face, "kind Thing: what its method get takes, \"(\": bad signature: \"(\"" },
		{ &TwoFields, "kind Thing has two fields named n" },
		{ &Nameless, "a kind of VAT_PROGRAM() has no name" },
		{ &Small, "kind Thing: its field peer lies outside of the 8 bytes that its objects have" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		vat_program program = { (const vat_kind *const[]){ &Root, rows[i].kind, NULL } };
		char sentence[300];
		snprintf(sentence, sizeof(sentence), "Error: vat m: died: delivery failed: %s", rows[i].sentence);
		launch_fails(&program, NULL, sentence, "");
	}
}

/* The next incarnation runs another program, which reads the objects of the last in another way. */
static void test_redeclared(void **state)
{
	vat_test *t = *state;
	vat_test_program(t, "m", &changed_program);
	vat_test_restart(t, "m");
	assert_string_equal(vat_test_status(t, "m"), "running");	/* there are none yet */
	vat_test_program(t, "m", &mistaken_program);
	vat_test_restart(t, "m");
	assert_memory_equal(vat_test_call(t, "m", "make", "[]"), "ko", 2);
	vat_test_program(t, "m", &changed_program);
	vat_test_restart(t, "m");
	assert_non_null(strstr(vat_test_log(t, "m"), "kind Thing was declared before with the state n:i64 peer:ref, now with n:i64 peer:f64"));
	assert_non_null(strstr(vat_test_status(t, "m"), "kind Thing was declared before"));
}

/* What is lost without anybody looking at the answers is told once. */
static void test_floods(void **state)
{
	vat_test *t = *state;
	assert_memory_equal(vat_test_call(t, "m", "floods", "[]"), "ko", 2);
	assert_string_equal(vat_test_log(t, "m"), "a stream refuses calls of next(): 1000 wait at one end of it already\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_calls), TEST(test_deaths), cmocka_unit_test(test_launches), cmocka_unit_test(test_tables), TEST(test_redeclared), TEST(test_floods),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
