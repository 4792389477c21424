/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vat_then(), and what forwards messages that it does not know: VAT_ANY, vat_args(), vat_call_with(),
 * vat_map_refs(). The library runs in a forked child, the test plays the kernel.
 */
#include "vat_kernel.h"

#include <capstan/vat.h>

#include "../../vatd/lib/internal.h"

typedef struct { vat_ref *peer; int64_t n; } root;

/* Any message: to the peer, as it came. */
VAT_METHOD(root, forward)
{
	if (!self->peer)
		return vat_fail(v, "Error", "no peer for \"%s\"", vat_method_name(v));
	return vat_return(v, "r", vat_call_with(v, self->peer, vat_method_name(v), vat_args(v)));
}
VAT_METHOD(root, set_peer)
{
	return vat_read(v, "r", &self->peer);
}
VAT_METHOD(root, then)
{
	vat_ref *p;
	vat_read(v, "r", &p);
	return vat_return(v, "r", vat_then(v, p, self, "doubled", "failed"));
}
VAT_METHOD(root, then_only)
{
	vat_ref *p;
	vat_read(v, "r", &p);
	return vat_return(v, "r", vat_then(v, p, self, "doubled", NULL));
}
VAT_METHOD(root, then_ignored)
{
	vat_ref *p;
	vat_read(v, "r", &p);
	vat_then(v, p, self, "doubled", NULL);
	return 0;
}
VAT_METHOD(root, doubled)
{
	int64_t n;
	vat_read(v, "i", &n);
	if (n > 100)
		return vat_fail(v, "RangeError", "%lld is much", (long long)n);
	self->n++;
	return vat_return(v, "i", 2 * n);
}
VAT_METHOD(root, failed)
{
	vat_value *reason;
	vat_read(v, "v", &reason);
	return vat_return(v, "[sv]", "failed", reason);
}
/* Chains of n promises, each the outcome of the one before it. */
VAT_METHOD(root, chain)
{
	int64_t n;
	vat_ref *first, *p;
	vat_read(v, "ir", &n, &first);
	for (p = first; n > 0; n--)
		p = vat_then(v, p, self, NULL, NULL);
	return vat_return(v, "r", p);
}
/* Of something settled already: a promise, an object, data that a promise was resolved with. */
VAT_METHOD(root, settled)
{
	vat_ref *p = vat_promise_new(v), *q = vat_promise_new(v), *all[3];
	vat_resolve(v, p, "i", INT64_C(4));
	vat_reject(v, q, "Error", "no");
	all[0] = vat_then(v, p, self, "doubled", "failed");
	all[1] = vat_then(v, q, self, "doubled", "failed");
	all[2] = vat_then(v, vat_self(v), self, NULL, "failed");
	return vat_return(v, "[rrr]", all[0], all[1], all[2]);
}
VAT_METHOD(root, mistakes)
{
	int64_t n;
	vat_read(v, "i", &n);
	if (n == 0)
		vat_then(v, NULL, self, "doubled", NULL);
	else if (n == 1)
		vat_then(v, vat_promise_new(v), self, NULL, "nothing");
	else if (n == 2)
		vat_call_with(v, vat_self(v), "x", vat_value_new(v, "i", n));
	else
		vat_call_with(v, vat_self(v), "x", NULL);
	return 0;
}
static vat_ref *substitute(vat *v, vat_ref *ref, void *arg)
{
	(void)v;
	vat_ref **pair = arg;
	return ref == pair[0] ? pair[1] : pair[1] == NULL ? NULL : ref;
}
VAT_METHOD(root, map)
{
	vat_value *value;
	vat_ref *pair[2] = { NULL, NULL };
	vat_read(v, "vr?r", &value, &pair[0], &pair[1]);
	vat_value *mapped = vat_map_refs(v, value, substitute, pair);
	return mapped ? vat_return(v, "v", mapped) : -1;
}
VAT_METHOD(root, count) { return vat_return(v, "i", self->n); }

static const vat_kind Root = { "Root", sizeof(root), VAT_ANY(forward),
	VAT_STATE(VAT_REF(root, peer), VAT_I64(root, n)),
	VAT_METHODS({ "setPeer", "r", NULL, set_peer }, { "then", "r", NULL, then }, { "thenOnly", "r", NULL, then_only },
		    { "thenIgnored", "r", NULL, then_ignored }, { "chain", "ir", NULL, chain },
		    { "settled", "", NULL, settled }, { "mistakes", "i", NULL, mistakes }, { "map", "vr?r", NULL, map },
		    { "count", "", "i", count }),
	VAT_CONTINUATIONS({ "doubled", "i", "i", doubled }, { "failed", "v", NULL, failed }) };
static const vat_program program = { (const vat_kind *const[]){ &Root, NULL } };

static void serve(const void *arg)
{
	_exit(vat_serve(3, arg));
}

static void start(struct vat_kernel *k)
{
	assert_string_equal(start_vat(k, serve, &program, "#\"#undefined\""), "");
	if (k->incarnation == 1)	/* its state is written the first time that the root is touched */
		message(k, "o+0", "", "#[\"count\",[]]", "");
}

static const char *call(struct vat_kernel *k, const char *body, const char *slots)
{
	return message(k, "o+0", "p-1", body, slots);
}
#define REJECTED_WITH(name_, message_) "resolve p-1 rejected #{\"#error\":\"" message_ "\",\"name\":\"" name_ "\"}"

/* What the table does not name goes to VAT_ANY as it came: name, every kind of argument, references. */
static void test_any(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"fly\",[]]", ""), REJECTED_WITH("Error", "no peer for \\\"fly\\\""));
	call(k, "#[\"setPeer\",[\"$0\"]]", "o-1");
	assert_string_equal(call(k, "#[\"fly\",[]]", ""), "send o-1 p+1 #[\"fly\",[]]\nresolve p-1 ref #\"&0\" p+1");
	assert_string_equal(call(k, "#[\"s\xc3\xbc\\\"\\\\\",[{\"#tag\":\"t\",\"payload\":[\"$1.Alleged: X\",\"&0\"]},\"+5\",\"$1\",null]]",
				 "p-7 o-2"),
			    "send o-1 p+2 #[\"s\xc3\xbc\\\"\\\\\",[{\"#tag\":\"t\",\"payload\":[\"$0.Alleged: X\",\"&1\"]},\"+5\",\"$0\",null]] o-2 p-7\n"
			    "resolve p-1 ref #\"&0\" p+2");
	/* named methods stay what they are */
	assert_string_equal(call(k, "#[\"count\",[]]", ""), "resolve p-1 #0");
}

static void test_then(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"then\",[\"&0\"]]", "p-2"),
			    "subscribe p-2\nset when.p-2 when o+0 doubled\ncatch o+0 failed\n");
	assert_string_equal(notify(k, "p-2", 0, "#21", ""),
			    "delete when.p-2\nresolve p-1 #42\nset object.o+0 #{\"peer\":null,\"n\":1}");
	/* a failing continuation, and a value that does not fit it, reject the promise and warn nobody else */
	call(k, "#[\"then\",[\"&0\"]]", "p-3");
	assert_non_null(strstr(notify(k, "p-3", 0, "#101", ""),
			       "resolve p-1 rejected #{\"#error\":\"101 is much\",\"name\":\"RangeError\"}"));
	call(k, "#[\"then\",[\"&0\"]]", "p-4");
	assert_non_null(strstr(notify(k, "p-4", 0, "#null", ""),
			       "resolve p-1 rejected #{\"#error\":\"Root.doubled: the value must be an integer, not null\""));
	call(k, "#[\"then\",[\"&0\"]]", "p-5");
	assert_non_null(strstr(notify(k, "p-5", WIRE_R_REJECTED, "#\"$0\"", "o-9"), "resolve p-1 #[\"failed\",\"$0\"] o-9"));
	assert_string_equal(k->logged, "");
}

/* Without a continuation for it an outcome is taken over, the very same value. */
static void test_pass(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"thenOnly\",[\"&0\"]]", "p-2");
	assert_non_null(strstr(notify(k, "p-2", WIRE_R_REJECTED, "#{\"why\":\"$0\"}", "o-5"),
			       "resolve p-1 rejected #{\"why\":\"$0\"} o-5"));
	assert_string_equal(k->logged, "");
	/* whose promise nobody looks at: the log has it */
	call(k, "#[\"thenIgnored\",[\"&0\"]]", "p-3");
	notify(k, "p-3", WIRE_R_REJECTED, "#\"lost\"", "");
	assert_string_equal(k->logged, "a promise was rejected and nothing catches that: \"lost\"");
}

/* However long a chain is, nothing recurses. */
static void test_chain(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"chain\",[200000,\"&0\"]]", "p-2");
	assert_string_equal(notify(k, "p-2", 0, "#[7]", ""), "resolve p-1 #[7]");
}

static void test_settled(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"settled\",[]]", ""),
			    "resolve p-1 #[\"&0\",\"&1\",\"&2\"] p+1 p+2 p+3\n"
			    "resolve p+1 #8\n"
			    "resolve p+2 #[\"failed\",{\"#error\":\"no\",\"name\":\"Error\"}]\n"
			    "resolve p+3 ref #\"$0.Alleged: Root\" o+0\n"
			    "set object.o+0 #{\"peer\":null,\"n\":1}");
}

/* The continuation survives a restart, its promise does not (the kernel has rejected it). */
static void test_restart(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"then\",[\"&0\"]]", "p-2");
	kill_vat(k);
	k->next_promise = 2;
	start(k);
	assert_string_equal(notify(k, "p-2", 0, "#3", ""), "delete when.p-2\nset object.o+0 #{\"peer\":null,\"n\":1}");
	assert_string_equal(k->logged, "");
}

static void test_map(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	/* each place, and of the slots those that the value names */
	assert_string_equal(call(k, "#[\"map\",[{\"a\":[\"$0\",\"&2\"],\"b\":\"$0\",\"c\":\"x\"},\"$0\",\"$1\"]]", "o-1 o-2 p-3"),
			    "resolve p-1 #{\"a\":[\"$0\",\"&1\"],\"b\":\"$0\",\"c\":\"x\"} o-2 p-3");
	assert_string_equal(call(k, "#[\"map\",[[\"$0\"],\"$0\",\"&1\"]]", "o-1 p-3"), "resolve p-1 #[\"&0\"] p-3");
	assert_string_equal(call(k, "#[\"map\",[[1,\"+2\"],\"$0\"]]", "o-1"), "resolve p-1 #[1,\"+2\"]");
	assert_string_equal(call(k, "#[\"map\",[[\"$0\"],\"$0\"]]", "o-1"),
			    REJECTED_WITH("Error", "a reference in the value has no counterpart"));
}

static void test_mistakes(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"mistakes\",[0]]", ""), REJECTED_WITH("TypeError", "vat_then() of no promise"));
	assert_string_equal(call(k, "#[\"mistakes\",[1]]", ""),
			    REJECTED_WITH("TypeError", "vat_then(): Root has no continuation or method \\\"nothing\\\""));
	assert_string_equal(call(k, "#[\"mistakes\",[2]]", ""), REJECTED_WITH("TypeError", "arguments of \\\"x\\\" are no array"));
	assert_string_equal(call(k, "#[\"mistakes\",[3]]", ""), REJECTED_WITH("TypeError", "arguments of \\\"x\\\" are no array"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, vat_kernel_setup, vat_kernel_teardown)
		T(test_any), T(test_then), T(test_pass), T(test_chain), T(test_settled), T(test_restart), T(test_map),
		T(test_mistakes),
	};
	return cmocka_run_group_tests_name("vatthen", tests, NULL, NULL);
}
