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
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capstan/vat_test.h>

extern const vat_program alice_program, bob_program, carol_program;

static const char trio_answer[] = "{bobHeard: \"Hello, Bob!\", carolAnswered: \"You are welcome, Bob\"}";

/* --- programs of this test ------------------------------------------------------------------------------------ */

typedef struct { int64_t n; char *text; } item;
VAT_METHOD(item, item_init)
{
	vat_read(v, "?i", &self->n);
	vat_set_string(v, &self->text, "something on the heap");
	return 0;
}
VAT_METHOD(item, item_get) { return vat_return(v, "i", self->n); }
VAT_METHOD(item, item_gone)
{
	vat_set_string(v, &self->text, NULL);
	return 0;
}
/* When the vat is over there is no kernel to ask: the rest of this fini does not run, and the test goes on. */
VAT_METHOD(item, item_asks)
{
	int64_t n;
	vat_set_string(v, &self->text, NULL);
	vat_baggage_get(v, "not asked for before", "i", &n);
	return 0;
}
static const vat_kind Durable = { "Durable", sizeof(item), VAT_INIT(item_init), VAT_STATE(VAT_I64(item, n), VAT_STR(item, text)),
	VAT_METHODS({ "get", "", "i", item_get }) };
static const vat_kind Ephemeral = { "Ephemeral", sizeof(item), VAT_INIT(item_init), VAT_FINI(item_gone),
	VAT_METHODS({ "get", "", "i", item_get }) };
static const vat_kind Curious = { "Curious", sizeof(item), VAT_INIT(item_init), VAT_FINI(item_asks),
	VAT_METHODS({ "get", "", "i", item_get }) };

typedef struct { vat_ref *held[100]; size_t n; vat_ref *never; } shelf;

VAT_METHOD(shelf, bootstrap) { return 0; }
VAT_METHOD(shelf, make)
{
	int64_t n;
	const char *kind;
	vat_read(v, "si", &kind, &n);
	return vat_return(v, "r", vat_new(v, *kind == 'd' ? &Durable : *kind == 'c' ? &Curious : &Ephemeral, "i", n));
}
/* Fetches from the other and keeps. */
VAT_METHOD(shelf, fetch)
{
	vat_ref *from;
	const char *kind;
	vat_read(v, "rs", &from, &kind);
	for (size_t i = 0; i < 100; i++)
		vat_when(v, E(v, from, "make", "si", kind, (int64_t)i), self, "fetched");
	return 0;
}
VAT_METHOD(shelf, fetched)
{
	vat_ref *r;
	vat_read(v, "r", &r);
	self->held[self->n++] = vat_hold(v, r);
	return 0;
}
VAT_METHOD(shelf, drop)
{
	while (self->n)
		vat_release(v, self->held[--self->n]);
	return 0;
}
VAT_METHOD(shelf, echo)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return vat_return(v, "v", value);
}
/* So many messages of so many bytes in one crank, more than the socket takes. */
VAT_METHOD(shelf, flood)
{
	vat_ref *to;
	int64_t n, size;
	vat_read(v, "rii", &to, &n, &size);
	char *text = malloc((size_t)size + 1);
	memset(text, 'x', (size_t)size);
	text[size] = 0;
	while (n--)
		vat_tell(v, to, "swallow", "s", text);
	free(text);
	return 0;
}
static int64_t n_swallowed;
VAT_METHOD(shelf, swallow)
{
	const char *text;
	vat_read(v, "s", &text);
	n_swallowed += (int64_t)strlen(text);
	return 0;
}
/* Dies in the midst of things: in a method of an object that is being made for a message that is being written. */
VAT_METHOD(shelf, die)
{
	const char *where;
	vat_read(v, "s", &where);
	vat_new(v, &Durable, "i", INT64_C(1));
	vat_new(v, &Curious, "i", INT64_C(1));
	vat_baggage_set(v, "x", "[isr]", INT64_C(1), "two", vat_self(v));
	vat_when(v, vat_promise_new(v), self, "fetched");
	vat_after(v, 5, self, "deadly");
	vat_all(v, (vat_ref *[]){ vat_promise_new(v), E(v, vat_self(v), "echo", "s", "x") }, 2);
	if (strcmp(where, "method") == 0)
		vat_release(v, vat_promise_new(v));
	if (strcmp(where, "turn") == 0) {
		vat_ref *p = vat_promise_new(v);
		vat_when(v, p, self, "deadly");
		vat_when(v, p, self, "deadly");
		vat_resolve(v, p, "s", "x");
	}
	return 0;
}
VAT_METHOD(shelf, deadly)
{
	vat_release(v, vat_promise_new(v));
	return 0;
}
static const vat_kind Shelf = { "Shelf", sizeof(shelf),
	VAT_METHODS({ "bootstrap", NULL, NULL, bootstrap }, { "make", "si", "r", make }, { "fetch", "rs", NULL, fetch },
		    { "drop", "", NULL, drop }, { "echo", "v", NULL, echo }, { "flood", "rii", NULL, flood },
		    { "swallow", "s", NULL, swallow }, { "die", "s", NULL, die }),
	VAT_CONTINUATIONS({ "fetched", "r", NULL, fetched }, { "deadly", NULL, NULL, deadly }) };
#define VAT_PROGRAM_NAME shelf_program
VAT_PROGRAM(&Shelf, &Durable);

static int shelves(void **state)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "a", &shelf_program, NULL);
	vat_test_add(t, "b", &shelf_program, NULL);
	assert_string_equal(vat_test_launch(t), "undefined");
	*state = t;
	return 0;
}

/* --- the tests ------------------------------------------------------------------------------------------------ */

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
	assert_string_equal(vat_test_log(t, "carol"), vat_test_log(other, "carol"));
	vat_test_kill(other, "carol");
	char told[300];
	snprintf(told, sizeof(told), "%sthe process died: killed by signal 9 (Killed)\n", vat_test_log(t, "carol"));
	assert_string_equal(told, vat_test_log(other, "carol"));
	vat_test_free(other);
	setup((void **)&other);
	vat_test_free(other);
	vat_test_free(NULL);
	assert_memory_equal(vat_test_call(t, "carol", "makeGreeter", "[\"x\"]"), "ko", 2);
}

struct baseline { size_t imports, exports, promises, keys, memory; };
static struct baseline baseline_of(vat_test *t, const char *name)
{
	return (struct baseline){ vat_test_imports(t, name), vat_test_exports(t, name), vat_test_promises(t, name),
				  vat_test_store_keys(t, name), vat_test_memory(t, name) };
}

static void assert_baseline(vat_test *t, const char *name, struct baseline b)
{
	assert_int_equal(vat_test_imports(t, name), b.imports);
	assert_int_equal(vat_test_exports(t, name), b.exports);
	assert_int_equal(vat_test_promises(t, name), b.promises);
	assert_int_equal(vat_test_store_keys(t, name), b.keys);
	assert_int_equal(vat_test_memory(t, name), b.memory);
}

/*
 * What one vat holds of another's is kept; when it lets go, the next bringOutYourDead drops and retires the imports, and
 * what follows from that brings the exports, their state and their memory back to where they were.
 */
static void test_collect(void **state)
{
	static const char *const kinds[] = { "durable", "ephemeral" };
	vat_test *t = *state;
	/* Once through it, so that numbers of kinds and instances have been given; and a knows b's root. */
	vat_test_call(t, "b", "make", "[\"durable\", 1]");
	char root[40];
	snprintf(root, sizeof(root), "%s", vat_test_root(t, "b"));
	vat_test_call(t, "a", "echo", "[{\"@\":\"%s\"}]", root);
	vat_test_release(t);
	for (int i = 0; i < 3; i++) {
		vat_test_reap(t, "a");
		vat_test_reap(t, "b");
	}
	struct baseline a = baseline_of(t, "a"), b = baseline_of(t, "b");
	for (int i = 0; i < 4; i++) {
		vat_test_call(t, "a", "fetch", "[{\"@\":\"%s\"}, \"%s\"]", root, kinds[i % 2]);
		vat_test_reap(t, "a");
		vat_test_reap(t, "b");
		assert_int_equal(vat_test_imports(t, "a"), a.imports + 100);
		assert_int_equal(vat_test_exports(t, "b"), b.exports + 100);
		assert_true(vat_test_memory(t, "a") >= a.memory + 100);
		if (i == 2)	/* durable ones are there for others whatever becomes of their vat's process */
			vat_test_kill(t, "b");
		vat_test_call(t, "a", "drop", "[]");
		assert_int_equal(vat_test_imports(t, "a"), a.imports + 100);
		vat_test_reap(t, "a");
		vat_test_reap(t, "a");
		vat_test_reap(t, "b");
		assert_baseline(t, "a", a);
		if (i != 2)
			assert_baseline(t, "b", b);
		b = baseline_of(t, "b");
	}
}

/* Frames beyond a packet, cranks beyond the socket's buffer, in both directions; nothing waits for itself. */
static void test_large(void **state)
{
	vat_test *t = *state;
	size_t size = 3u << 20;
	char *text = malloc(size + 3);
	memset(text, 'y', size + 2);
	text[0] = text[size + 1] = '"';
	text[size + 2] = 0;
	assert_string_equal(vat_test_call(t, "a", "echo", "[%s]", text), text);
	free(text);
	n_swallowed = 0;
	assert_string_equal(vat_test_call(t, "a", "flood", "[{\"@\":\"%s\"}, 3000, 2000]", vat_test_root(t, "b")), "undefined");
	assert_int_equal(n_swallowed, 6000000);
	vat_test_call(t, "a", "flood", "[{\"@\":\"%s\"}, 8, 700000]", vat_test_root(t, "b"));
	assert_int_equal(n_swallowed, 11600000);
}

/* Whatever a vat was about when it died, nothing of it is left: the leak checkers look. */
static void test_dies_anywhere(void **state)
{
	static const char *const wheres[] = { "method", "turn", "timer", "killed", "restarted", "at the end" };
	vat_test *t = *state;
	for (size_t i = 0; i < sizeof(wheres) / sizeof(*wheres); i++) {
		vat_test_call(t, "b", "make", "[\"curious\", 1]");
		vat_test_call(t, "b", "die", "[\"%s\"]", wheres[i]);
		if (i == 2)
			assert_true(vat_test_wake(t));
		if (i == 3)
			vat_test_kill(t, "b");
		if (i == 4)
			vat_test_restart(t, "b");
		if (i <= 2) {
			assert_non_null(strstr(vat_test_log(t, "b"), "the process died: delivery failed: Shelf."));
			assert_string_equal(vat_test_status(t, "b"), "running");
			vat_test_free(t);
			shelves((void **)&t);
		} else {
			assert_string_equal(vat_test_status(t, "b"), "running");
		}
	}
	*state = t;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SHELVES(f) cmocka_unit_test_setup_teardown(f, shelves, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_trio), TEST(test_references), TEST(test_deaths), TEST(test_two_kernels),
		SHELVES(test_collect), SHELVES(test_large), SHELVES(test_dies_anywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
