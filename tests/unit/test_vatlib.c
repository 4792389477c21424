/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vat library in a forked child, with kinds made for the purpose; the test plays the kernel. So the
 * library runs here under the sanitisers too, which static vats do not.
 */
#include "vat_kernel.h"

#include <capstan/vat.h>

#include "../../vatd/lib/internal.h"
#include "smallcaps_vectors.h"
#include "vat_rebuild.h"

/* --- the vat -------------------------------------------------------------------------------------- */

typedef struct { vat_ref *peer; int64_t n; double d; bool b; char *s; } thing;

VAT_METHOD(thing, thing_init)
{
	int64_t n = 0;
	vat_read(v, "?i", &n);
	if (n < 0)
		return vat_fail(v, "RangeError", "a thing of %lld", (long long)n);
	self->n = n;
	return 0;
}
VAT_METHOD(thing, thing_set)
{
	vat_ref *peer = NULL;
	const char *s = NULL;
	vat_read(v, "idb?s?r", &self->n, &self->d, &self->b, &s, &peer);
	vat_set_string(v, &self->s, s);
	self->peer = peer;
	return 0;
}
VAT_METHOD(thing, thing_get)
{
	return vat_return(v, "[idb]", self->n, self->d, (int)self->b);
}
VAT_METHOD(thing, thing_peer)
{
	return vat_return(v, "[sr]", self->s, self->peer);
}
VAT_METHOD(thing, thing_wait)
{
	vat_ref *p;
	vat_read(v, "r", &p);
	vat_when(v, p, self, "came");
	return 0;
}
VAT_METHOD(thing, thing_came)
{
	vat_read(v, "i", &self->n);
	return 0;
}
static const vat_kind Thing = { "Thing", sizeof(thing), VAT_INIT(thing_init),
	VAT_STATE(VAT_I64(thing, n), VAT_F64(thing, d), VAT_BOOL(thing, b), VAT_STR(thing, s), VAT_REF(thing, peer)),
	VAT_METHODS({ "set", "idb?s?r", NULL, thing_set }, { "get", "", NULL, thing_get }, { "peer", "", NULL, thing_peer },
		    { "wait", "r", NULL, thing_wait }),
	VAT_CONTINUATIONS({ "came", "i", NULL, thing_came }) };

typedef struct { int64_t n; vat_ref *held; } toy;
VAT_METHOD(toy, toy_gone)
{
	vat_log(v, "toy %lld is gone", (long long)self->n);
	return 0;
}
VAT_METHOD(toy, toy_init)
{
	return vat_read(v, "i", &self->n);
}
VAT_METHOD(toy, toy_play) { return vat_return(v, "i", self->n); }
static const vat_kind Toy = { "Toy", sizeof(toy), VAT_INIT(toy_init), VAT_FINI(toy_gone),
	VAT_METHODS({ "play", "", "i", toy_play }) };

typedef struct { vat_ref *kept, *stale, *promise; } root;

VAT_METHOD(root, echo)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return vat_return(v, "v", value);
}
/* Taken apart and built again, by the public interface; true: and the same. */
VAT_METHOD(root, again)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_value *copy = rebuild(v, value);
	return copy ? vat_return(v, "[vb]", copy, (int)vat_value_equal(v, value, copy)) : -1;
}
VAT_METHOD(root, text)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return vat_return(v, "s", vat_value_text(v, value));
}
VAT_METHOD(root, same)
{
	vat_value *a, *b;
	vat_read(v, "vv", &a, &b);
	return vat_return(v, "b", (int)vat_value_equal(v, a, b));
}
/* One value of every kind, written by letters. */
VAT_METHOD(root, every_kind)
{
	vat_value *bag = vat_value_new(v, "[[sN]]", "x", "18446744073709551616");
	const char *names[] = { "z", "10", "#a", "9", "" };
	vat_value *values[] = { vat_value_new(v, "u"), vat_value_new(v, "y", "@@asyncIterator"), vat_tagged(v, "copyBag", bag),
				vat_value_new(v, "e", "TypeError", "!"), vat_value_new(v, "[rr]", vat_self(v), vat_self(v)) };
	return vat_return(v, "[vNNNyd]", vat_record(v, names, values, 5), "-000", "+0012", "-99999999999999999999", "", -0.0);
}
VAT_METHOD(root, read_kinds)
{
	const char *big, *symbol, *tag;
	int64_t small;
	vat_value *tagged, *payload = NULL;
	if (vat_read(v, "Nnyv", &big, &small, &symbol, &tagged))
		return -1;
	tag = vat_tag(v, tagged, &payload);
	return vat_return(v, "[sissv]", big, small, symbol, tag ? tag : "none", payload ? payload : tagged);
}
VAT_METHOD(root, wrong_values)
{
	int64_t which;
	vat_read(v, "i", &which);
	const char *names[] = { "a", "b", "a" }, *bad[] = { "\xff" };
	vat_value *one = vat_value_new(v, "i", INT64_C(1)), *values[] = { one, one, one }, *none[] = { one, NULL };
	switch (which) {
	case 0: vat_value_new(v, "N", "12a"); break;
	case 1: vat_value_new(v, "N", "-"); break;
	case 2: vat_value_new(v, "y", "\xff"); break;
	case 3: vat_record(v, names, values, 3); break;
	case 4: vat_record(v, bad, values, 1); break;
	case 5: vat_array(v, none, 2); break;
	case 6: vat_tagged(v, "t", NULL); break;
	}
	return 0;
}
VAT_METHOD(root, sum)	/* a loop over all elements, as one writes it */
{
	vat_value *list;
	int64_t sum = 0, n;
	vat_read(v, "v", &list);
	for (size_t i = 0, length = vat_length(list); i < length; i++)
		if (vat_value_read(v, vat_at(v, list, i), "i", &n) == 0)
			sum += n;
	return vat_return(v, "i", sum);
}
VAT_METHOD(root, twin)
{
	double d;
	vat_read(v, "d", &d);
	return vat_return(v, "d", d);
}
VAT_METHOD(root, types)
{
	int64_t i, n;
	double d;
	bool b;
	const char *s, *name, *text;
	vat_ref *r;
	if (vat_read(v, "{i:i,n:n,d:d,b:b,s:s,r:r,e:e,z:z,l:[i[s]]}", &i, &n, &d, &b, &s, &r, &name, &text, NULL, NULL))
		return -1;
	return vat_return(v, "{zeta:z,i:i,n:n,d:d,b:b,s:s,r:r,e:e,u:u,'-x:i,10:i,9:i}", i + 1, n - 1, d / 3, !b, s, r, name, text,
			  INT64_C(1), INT64_C(2), INT64_C(3));
}
VAT_METHOD(root, make)
{
	int64_t n;
	vat_read(v, "i", &n);
	vat_ref *r = vat_new(v, &Thing, "i", n);
	return r ? vat_return(v, "r", r) : -1;
}
VAT_METHOD(root, toy_make)
{
	int64_t n;
	vat_read(v, "i", &n);
	return vat_return(v, "r", vat_new(v, &Toy, "i", n));
}
VAT_METHOD(root, waste)
{
	vat_new(v, &Toy, "i", INT64_C(9));
	vat_ref *t = vat_new(v, &Thing, "");
	return vat_return(v, "b", vat_state(v, t, &Thing) && !vat_state(v, t, &Toy));
}
VAT_METHOD(root, keep)
{
	vat_ref *r;
	vat_read(v, "r", &r);
	self->kept = vat_hold(v, r);
	return 0;
}
VAT_METHOD(root, kept)
{
	return vat_return(v, "r", self->kept);
}
VAT_METHOD(root, unkeep)
{
	vat_release(v, self->kept);
	self->kept = NULL;
	return 0;
}
VAT_METHOD(root, put)
{
	const char *name;
	vat_value *value;
	vat_read(v, "sv", &name, &value);
	return vat_baggage_set(v, name, "v", value);
}
VAT_METHOD(root, init_once)
{
	return vat_baggage_init(v, "once", "i", INT64_C(1));
}
VAT_METHOD(root, take)
{
	const char *name;
	vat_value *value;
	vat_read(v, "s", &name);
	return vat_baggage_get(v, name, "v", &value) ? vat_return(v, "v", value) : 0;
}
VAT_METHOD(root, forget)
{
	const char *name;
	vat_read(v, "s", &name);
	return vat_return(v, "b", vat_baggage_delete(v, name));
}
VAT_METHOD(root, put_toy)
{
	return vat_baggage_set(v, "toy", "r", vat_new(v, &Toy, "i", INT64_C(1)));
}
VAT_METHOD(root, promise)
{
	self->promise = vat_hold(v, vat_promise_new(v));
	vat_when(v, self->promise, self, "said");
	vat_catch(v, self->promise, self, "refused");
	return vat_return(v, "r", self->promise);
}
VAT_METHOD(root, settle)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return vat_resolve(v, self->promise, "v", value);
}
VAT_METHOD(root, settle_self)
{
	return vat_resolve(v, self->promise, "r", self->promise);
}
VAT_METHOD(root, refuse)
{
	return vat_reject(v, self->promise, "RangeError", "no %d", 7);
}
VAT_METHOD(root, promised)
{
	return vat_return(v, "r", self->promise);
}
VAT_METHOD(root, send_promised)
{
	vat_ref *to;
	vat_read(v, "r", &to);
	E(v, to, "here", "r", self->promise);
	E(v, self->promise, "hello", "");
	return 0;
}
/* What a caller wrote, beside a reference that the caller does not hold. */
VAT_METHOD(root, relay)
{
	vat_ref *to;
	vat_value *value;
	vat_read(v, "rv", &to, &value);
	vat_tell(v, to, "m", "rv", vat_self(v), value);
	return 0;
}
VAT_METHOD(root, ask_kept)
{
	E(v, self->kept, "hello", "");
	return 0;
}
VAT_METHOD(root, settle_kept)
{
	return vat_resolve(v, self->kept, "i", INT64_C(1));
}
VAT_METHOD(root, to_self)
{
	vat_ref *answer = E(v, vat_self(v), "toy", "i", INT64_C(6));
	vat_when(v, E(v, answer, "play", ""), self, "said");
	vat_when(v, answer, self, "said");
	vat_tell(v, answer, "play", "");
	return 0;
}
VAT_METHOD(root, said)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "said, type %d", (int)vat_type(value));
	return 0;
}
VAT_METHOD(root, refused)
{
	const char *name, *message;
	vat_read(v, "e", &name, &message);
	vat_log(v, "refused: %s, %s", name, message);
	return 0;
}
VAT_METHOD(root, steal)
{
	vat_read(v, "r", &self->stale);
	return 0;
}
VAT_METHOD(root, use_stolen)
{
	return vat_return(v, "r", self->stale);
}
VAT_METHOD(root, mistakes)
{
	vat_return(v, "i", INT64_MAX);
	return vat_return(v, "i", INT64_C(1));
}
VAT_METHOD(root, twice)
{
	vat_return(v, "i", INT64_C(1));
	return vat_return(v, "i", INT64_C(2));
}
VAT_METHOD(root, wrong_result) { return vat_return(v, "s", "x"); }
VAT_METHOD(root, wrong_read)
{
	const char *s = "";
	vat_read(v, "s", &s);
	return vat_return(v, "b", s == NULL);
}
VAT_METHOD(root, leave) { vat_exit(v, "s", "bye"); return 0; }
VAT_METHOD(root, crash) { vat_exit_failure(v, "Error", "no %s", "more"); return 0; }
VAT_METHOD(root, big)
{
	int64_t n;
	vat_read(v, "i", &n);
	char *s = calloc(1, (size_t)n + 1);
	memset(s, 'x', (size_t)n);
	int r = vat_return(v, "s", s);
	free(s);
	return r;
}
VAT_METHOD(root, lengths)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_value *third = vat_at(v, value, 2), *b = vat_get(v, value, "b");
	const char *name = vat_name_at(v, value, 1);
	vat_value *items[2] = { vat_value_new(v, "i", (int64_t)vat_length(value)), third ? third : b };
	return vat_return(v, "[vs]", vat_array(v, items, 2), name ? name : "none");
}

static const vat_kind Root = { "Root", sizeof(root),
	VAT_METHODS({ "echo", "v", "v", echo }, { "again", "v", NULL, again }, { "text", "v", "s", text }, { "same", "vv", "b", same },
		    { "everyKind", "", NULL, every_kind }, { "readKinds", NULL, NULL, read_kinds },
		    { "wrongValues", "i", NULL, wrong_values }, { "sum", "v", "i", sum }, { "types", NULL, NULL, types }, { "double", "d", "d", twin }, { "make", "i", "r", make },
		    { "toy", "i", "r", toy_make }, { "waste", "", "b", waste }, { "keep", "r", NULL, keep },
		    { "kept", "", "r", kept }, { "unkeep", "", NULL, unkeep }, { "put", "sv", NULL, put },
		    { "initOnce", "", NULL, init_once }, { "take", "s", NULL, take }, { "forget", "s", "b", forget },
		    { "putToy", "", NULL, put_toy }, { "promise", "", "r", promise }, { "settle", "v", NULL, settle },
		    { "settleSelf", "", NULL, settle_self }, { "refuse", "", NULL, refuse }, { "toSelf", "", NULL, to_self },
		    { "promised", "", "r", promised }, { "sendPromised", "r", NULL, send_promised }, { "steal", "r", NULL, steal },
		    { "useStolen", "", NULL, use_stolen }, { "mistakes", "", NULL, mistakes }, { "twice", "", NULL, twice },
		    { "wrongResult", "", "i", wrong_result }, { "wrongRead", NULL, NULL, wrong_read },
		    { "leave", "", NULL, leave }, { "crash", "", NULL, crash }, { "big", "i", NULL, big },
		    { "lengths", "v", NULL, lengths }, { "relay", "rv", NULL, relay }, { "askKept", "", NULL, ask_kept },
		    { "settleKept", "", NULL, settle_kept }),
	VAT_CONTINUATIONS({ "said", "v", NULL, said }, { "refused", "e", NULL, refused }) };

static const vat_program program = { (const vat_kind *const[]){ &Root, &Thing, NULL } };
static const vat_kind OtherThing = { "Thing", sizeof(thing), VAT_STATE(VAT_I64(thing, n)) };
static const vat_program other_program = { (const vat_kind *const[]){ &Root, &OtherThing, NULL } };

static void serve(const void *arg)
{
	_exit(vat_serve(3, arg));
}

static void start(struct vat_kernel *k)
{
	assert_string_equal(start_vat(k, serve, &program, "#\"#undefined\""), "");
}

/* Call a method of the root with a result. */
static const char *call(struct vat_kernel *k, const char *body, const char *slots)
{
	return message(k, "o+0", "p-1", body, slots);
}

#define OK_UNDEFINED "resolve p-1 #\"#undefined\""
#define ERROR(message_) "resolve p-1 rejected #{\"#error\":\"" message_ "\",\"name\":\"Error\"}"
#define TYPE_ERROR(message_) "resolve p-1 rejected #{\"#error\":\"" message_ "\",\"name\":\"TypeError\"}"

/* --- values --------------------------------------------------------------------------------------- */

/* M1: a value goes through unchanged; numbers of slots are those of the new message; white space goes. */
static void test_echo(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	for (size_t i = 0; i < ARRAY_LEN(body_vectors); i++) {
		char body[400], expected[400];
		if (body_vectors[i].n_slots)
			continue;
		snprintf(body, sizeof(body), "#[\"echo\",[%s]]", body_vectors[i].body + 1);
		snprintf(expected, sizeof(expected), "resolve p-1 %s", body_vectors[i].body);
		assert_string_equal(call(k, body, ""), expected);
	}
	/* doubles: read, and printed as JavaScript does */
	for (size_t i = 0; i < ARRAY_LEN(number_vectors); i++) {
		char body[100], expected[100];
		snprintf(body, sizeof(body), "#[\"double\",[%s]]", number_vectors[i].text);
		snprintf(expected, sizeof(expected), "resolve p-1 #%s", number_vectors[i].text);
		assert_string_equal(call(k, body, ""), expected);
	}
	assert_string_equal(call(k, "#[\"echo\",[[\"$1.Alleged: x\",\"&0\", \"$1\",\n\"\\u00241\"]]]", "p-3 o-7"),
			    "resolve p-1 #[\"$0.Alleged: x\",\"&1\",\"$0\",\"$0\"] o-7 p-3");
	/* exactly one reference: flagged, so that the kernel can route by it */
	assert_string_equal(call(k, "#[\"echo\",[\"$0\"]]", "o-7"), "resolve p-1 ref #\"$0.Alleged: x\" o-7");
	/* a slot that is not there is no reference, and stays text of no meaning */
	assert_string_equal(call(k, "#[\"keep\",[\"$5\"]]", "o-7"),
			    TYPE_ERROR("Root.keep: argument 1 must be a reference, not malformed smallcaps"));
}

/* "head", letters, "tail": `size` bytes in all. */
static char *padded(const char *head, const char *tail, size_t size)
{
	size_t h = strlen(head), t = strlen(tail);
	char *body = malloc(size + 1);
	assert_non_null(body);
	memset(body, 'y', size);
	memcpy(body, head, h);
	memcpy(body + size - t, tail, t + 1);
	return body;
}

/* The next delivery was sent already: what is said in it. */
static void heard_next(struct vat_kernel *k, const char *want)
{
	free(k->said);
	k->said = strdup("");
	k->delivery++;
	assert_true(listen_to_vat(k, false));
	assert_string_equal(k->said, want);
}

/* What was sent ahead of an exit is not begun. */
static void test_exit_ahead(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	put_message(k, "o+0", "p-1", "#[\"leave\",[]]", "");
	put_message(k, "o+0", "p-2", "#[\"echo\",[1]]", "");
	k->delivery--;
	send_out(k);
	assert_true(listen_to_vat(k, false));
	assert_string_equal(k->said, "exit #\"bye\"\n" OK_UNDEFINED);
	wire_begin(&k->out, WIRE_PING, 0, 0);
	wire_u64(&k->out, 9);
	wire_end(&k->out);
	send_out(k);
	assert_true(listen_to_vat(k, true));
	assert_string_equal(k->said, "exit #\"bye\"\n" OK_UNDEFINED "\npong 9");
}

/* Deliveries that come before the answer to a read have their turn afterwards, in their order, whatever their size. */
static void test_ahead_of_answer(void **state)
{
	struct vat_kernel *k = *state;
	char *large = padded("#[\"echo\",[\"", "\"]]", 200000);

	start(k);
	put_message(k, "o+0", "p-1", "#[\"take\",[\"x\"]]", "");
	send_out(k);
	put_message(k, "o+0", "p-2", large, "");
	send_out(k);
	put_message(k, "o+0", "p-3", "#[\"take\",[\"y\"]]", "");
	put_message(k, "o+0", "p-4", "#[\"echo\",[4]]", "");
	send_out(k);
	wire_begin(&k->out, WIRE_PING, 0, 0);
	wire_u64(&k->out, 9);
	wire_end(&k->out);
	send_out(k);
	put_message(k, "o+0", "p-5", "#[\"echo\",[5]]", "");
	send_out(k);
	k->delivery -= 4;
	assert_true(listen_to_vat(k, false));
	assert_string_equal(k->said, "pong 9\nresolve p-1 #\"#undefined\"");
	heard_next(k, "resolve p-2 (199989 bytes)");
	heard_next(k, "resolve p-3 #\"#undefined\"");
	heard_next(k, "resolve p-4 #4");
	heard_next(k, "resolve p-5 #5");
	assert_string_equal(call(k, "#[\"echo\",[6]]", ""), "resolve p-1 #6");
	free(large);
}

/* Frames larger than a packet, both ways; and many frames that do not fit one packet. */
static void test_large(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"big\",[3000000]]", ""), "resolve p-1 (3000003 bytes)");
	size_t n = 200000;
	char *body = malloc(n + 64);
	char *p = body + sprintf(body, "#[\"echo\",[\"");
	memset(p, 'y', n);
	strcpy(p + n, "\"]]");
	assert_string_equal(call(k, body, ""), "resolve p-1 (200003 bytes)");
	free(body);
}

/* --- what others choose ---------------------------------------------------------------------------- */

/* "o-1 p-2 o-3": as the `$` and `&` of a body want them. */
static const char *slots_of(const char *body, unsigned n)
{
	static char slots[100];
	slots[0] = 0;
	for (unsigned i = 0; i < n; i++) {
		char promise[8];
		snprintf(promise, sizeof(promise), "\"&%u\"", i);
		sprintf(slots + strlen(slots), "%s%c-%u", i ? " " : "", strstr(body, promise) ? 'p' : 'o', i + 101);
	}
	return slots;
}

/* Every vector of @endo/marshal: read, taken apart, written: byte for byte what it was, and passed on the same. */
static void test_vectors(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	for (size_t i = 0; i < ARRAY_LEN(body_vectors); i++) {
		const char *json = body_vectors[i].body + 1, *slots = slots_of(json, body_vectors[i].n_slots);
		char body[900], expected[900];
		snprintf(body, sizeof(body), "#[\"again\",[%s]]", json);
		snprintf(expected, sizeof(expected), "resolve p-1 #[%s,true]%s%s", json, *slots ? " " : "", slots);
		assert_string_equal(call(k, body, slots), expected);
		/* the next vector has other names for its references */
		collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
	}
}

static void test_value_kinds(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"everyKind\",[]]", ""),
		"resolve p-1 #[{\"9\":{\"#error\":\"!!\",\"name\":\"TypeError\"},\"10\":\"%@@asyncIterator\",\"\":[\"$0.Alleged: Root\",\"$0\"],"
		"\"!#a\":{\"#tag\":\"copyBag\",\"payload\":[[\"x\",\"+18446744073709551616\"]]},\"z\":\"#undefined\"},"
		"\"+0\",\"+12\",\"-99999999999999999999\",\"%\",0] o+0");
	assert_string_equal(call(k, "#[\"readKinds\",[\"-0012\",\"+0000000000000000000000000000000000000007\",\"%@@@@x\","
				 "{\"payload\":[\"$0\"],\"#tag\":\"!!t\"}]]", "o-5"),
			    "resolve p-1 #[\"!-12\",7,\"@@@@x\",\"!!t\",[\"$0\"]] o-5");
	assert_string_equal(call(k, "#[\"readKinds\",[5]]", ""),
			    TYPE_ERROR("Root.readKinds: argument 1 must be a bigint, not a number (5)"));
	assert_string_equal(call(k, "#[\"readKinds\",[\"+5\",\"+5\",\"x\"]]", ""),
			    TYPE_ERROR("Root.readKinds: argument 3 must be a symbol, not a string (\\\"x\\\")"));
	static const char *const problems[] = {
		TYPE_ERROR("a bigint is not decimal digits"), TYPE_ERROR("a bigint is not decimal digits"),
		TYPE_ERROR("a symbol's name is not UTF-8"), TYPE_ERROR("the record has two members \\\"a\\\""),
		TYPE_ERROR("vat_record(): name number 0 is not UTF-8"), TYPE_ERROR("vat_array(): value number 1 is NULL"),
		TYPE_ERROR("vat_tagged() without a payload"),
	};
	for (size_t i = 0; i < ARRAY_LEN(problems); i++) {
		char body[64];
		snprintf(body, sizeof(body), "#[\"wrongValues\",[%zu]]", i);
		assert_string_equal(call(k, body, ""), problems[i]);
	}
}

static void test_value_text(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"text\",[{\"a\":[1,\"+5\",null,\"#NaN\",\"%@@x\"],\"b c\":\"$0\",\"e\":{\"#error\":\"m\",\"name\":\"E\"},"
				 "\"t\":{\"#tag\":\"s\",\"payload\":\"#undefined\"},\"r\":\"$1\",\"p\":\"&2\",\"m\":\"$9\"}]]", "o-4 o+0 p-3"),
		"resolve p-1 #\"{a: [1, 5n, null, NaN, Symbol(\\\"@@x\\\")], \\\"b c\\\": <object o-4>, e: Error(\\\"E\\\", \\\"m\\\"), "
		"t: Tagged(\\\"s\\\", undefined), r: <Root o+0>, p: <promise p-3>, m: (malformed)}\"");
	/* nothing in it moves a terminal */
	assert_string_equal(call(k, "#[\"text\",[\"\\u001b[2J\\n\\u007f\xc2\x9b\xe2\x80\xae\xe2\x80\xa8\xc3\xa9\"]]", ""),
		"resolve p-1 #\"!\\\"\\\\u001b[2J\\\\n\\\\u007f\\\\u009b\\\\u202e\\\\u2028\xc3\xa9\\\"\"");
}

static void test_value_equal(void **state)
{
	static const struct { const char *a, *b; bool same; } pairs[] = {
		{ "1", "1.0", true }, { "0", "-0", true }, { "\"#NaN\"", "\"#NaN\"", true }, { "1e999", "\"#Infinity\"", true },
		{ "\"+5\"", "\"+05\"", true }, { "\"+0\"", "\"-0\"", true }, { "\"+5\"", "5", false }, { "\"a\"", "\"\\u0061\"", true },
		{ "\"!a\"", "\"a\"", true }, { "\"%a\"", "\"a\"", false }, { "{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1}", true },
		{ "{\"a\":1}", "{\"a\":1,\"b\":1}", false }, { "[1,2]", "[1]", false }, { "[]", "{}", false }, { "null", "\"#undefined\"", false },
		{ "\"$0\"", "\"$0.Alleged: x\"", true }, { "\"$0\"", "\"$1\"", false }, { "true", "false", false },
		{ "{\"#tag\":\"t\",\"payload\":1}", "{\"payload\":1,\"#tag\":\"t\"}", true },
		{ "{\"#tag\":\"t\",\"payload\":1}", "{\"!#tag\":\"t\",\"payload\":1}", false }, { "\"$7\"", "\"$7\"", false },
	};
	struct vat_kernel *k = *state;
	start(k);
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		char body[200], expected[40];
		snprintf(expected, sizeof(expected), "resolve p-1 #%s", pairs[i].same ? "true" : "false");
		snprintf(body, sizeof(body), "#[\"same\",[%s,%s]]", pairs[i].a, pairs[i].b);
		assert_string_equal(call(k, body, "o-1 o-2"), expected);
		snprintf(body, sizeof(body), "#[\"same\",[%s,%s]]", pairs[i].b, pairs[i].a);
		assert_string_equal(call(k, body, "o-1 o-2"), expected);
	}
	/* a loop over many elements takes no time to speak of */
	size_t n = 2000000;
	char *body = malloc(2 * n + 32), *p = body + sprintf(body, "#[\"sum\",[[1");
	for (size_t i = 1; i < n; i++, p += 2)
		memcpy(p, ",1", 2);
	strcpy(p, "]]]");
	assert_string_equal(call(k, body, ""), "resolve p-1 #2000000");
	free(body);
}

/* What others' objects are alleged to be is said again when they are passed on, in messages and answers, not in the store. */
static void test_interfaces(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"keep\",[\"$0.Alleged: a \\\"b\\\"\"]]", "o-4");
	assert_string_equal(call(k, "#[\"kept\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: a \\\"b\\\"\" o-4");
	assert_string_equal(call(k, "#[\"relay\",[\"$0\",[\"$1\",\"$1\"]]]", "o-1 o-4"),
			    "send o-1 - #[\"m\",[\"$0.Alleged: Root\",[\"$1.Alleged: a \\\"b\\\"\",\"$1\"]]] o+0 o-4\n" OK_UNDEFINED);
	assert_string_equal(call(k, "#[\"put\",[\"x\",\"$0\"]]", "o-4"),
			    "set baggage.x #\"$0\"\no-4\n" OK_UNDEFINED "\nset count.o-4 1");
	char *body = padded("#[\"echo\",[\"$0.", "\"]]", 200);	/* long ones are not kept */
	assert_string_equal(call(k, body, "o-5"), "resolve p-1 ref #\"$0\" o-5");
	free(body);
	call(k, "#[\"unkeep\",[]]", "");
	call(k, "#[\"forget\",[\"x\"]]", "");
	collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
	assert_string_equal(call(k, "#[\"echo\",[\"$0\"]]", "o-4"), "resolve p-1 ref #\"$0\" o-4");
}

static void test_signatures(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"types\",[{\"i\":-4,\"n\":\"-9223372036854775807\",\"d\":1,\"b\":false,\"s\":\"!#\",\"r\":\"$0\","
			"\"e\":{\"#error\":\"!-m\",\"name\":\"E\"},\"z\":null,\"l\":[1,[\"a\"]],\"other\":0}]]", "o-2"),
		"resolve p-1 #{\"9\":3,\"10\":2,\"!'-x\":1,\"b\":true,\"d\":0.3333333333333333,\"e\":{\"#error\":\"!-m\",\"name\":\"E\"},"
		"\"i\":-3,\"n\":\"-9223372036854775808\",\"r\":\"$0\",\"s\":\"!#\",\"u\":\"#undefined\",\"zeta\":null} o-2");
	assert_string_equal(call(k, "#[\"types\",[{\"i\":1,\"n\":1}]]", ""),
			    TYPE_ERROR("Root.types: argument 1.n must be a bigint within 2^63, not a number (1)"));
	assert_string_equal(call(k, "#[\"types\",[]]", ""),
			    TYPE_ERROR("Root.types: argument 1 must be a record, and is missing"));
	assert_string_equal(call(k, "#[\"lengths\",[[1,2,{\"x\":3}]]]", ""), "resolve p-1 #[[3,{\"x\":3}],\"none\"]");
	assert_string_equal(call(k, "#[\"lengths\",[{\"a\":1,\"\\u0062\":2}]]", ""), "resolve p-1 #[[2,2],\"b\"]");
}

/* What the author of a vat does wrong fails that call, with a sentence. */
static void test_mistakes(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"mistakes\",[]]", ""),
		TYPE_ERROR("Root.mistakes: its result: 9223372036854775807 is beyond 2^53, where numbers stop being exact; a bigint "
			   "(n) can carry it"));
	assert_string_equal(call(k, "#[\"twice\",[]]", ""), ERROR("Root.twice returned twice"));
	assert_string_equal(call(k, "#[\"wrongResult\",[]]", ""),
			    TYPE_ERROR("Root.wrongResult returns \\\"s\\\", where its table says \\\"i\\\": the value must be an integer, not a string (\\\"x\\\")"));
	assert_string_equal(call(k, "#[\"wrongRead\",[5]]", ""),
			    TYPE_ERROR("Root.wrongRead: argument 1 must be a string, not a number (5)"));
	assert_string_equal(call(k, "#[\"make\",[-1]]", ""),
			    "set kinds 1\nset kind.Thing 1 n:i64 d:f64 b:bool s:str peer:ref\n"
			    "resolve p-1 rejected #{\"#error\":\"a thing of -1\",\"name\":\"RangeError\"}\n"
			    "set object.o+d1.1 #{\"n\":0,\"d\":0,\"b\":false,\"s\":null,\"peer\":null}\nset instance 1\n"
			    "delete object.o+d1.1");
}

/* --- objects -------------------------------------------------------------------------------------- */

/* Every field type survives, references too (V5). */
static void test_durable(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"make\",[5]]", "");
	assert_string_equal(message(k, "o+d1.1", "p-2", "#[\"set\",[-7,0.1,true,\"!-x\",\"$0\"]]", "o-4"),
			    "resolve p-2 #\"#undefined\"\n"
			    "set object.o+d1.1 #{\"n\":-7,\"d\":0.1,\"b\":true,\"s\":\"!-x\",\"peer\":\"$0\"}\no-4\nset count.o-4 1");
	kill_vat(k);
	start(k);
	assert_string_equal(message(k, "o+d1.1", "p-3", "#[\"get\",[]]", ""), "resolve p-3 #[-7,0.1,true]");
	assert_string_equal(message(k, "o+d1.1", "p-4", "#[\"peer\",[]]", ""), "resolve p-4 #[\"!-x\",\"$0\"] o-4");
	/* the stored reference keeps the import; bringOutYourDead unloads the object, which reads as before */
	k->imports[0].bits = vref_bits("o-4");
	k->reachable[0] = true;
	k->n_imports = 1;
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "");
	assert_string_equal(message(k, "o+d1.1", "p-4", "#[\"peer\",[]]", ""), "resolve p-4 #[\"!-x\",\"$0\"] o-4");
	assert_string_equal(message(k, "o+d1.1", "p-5", "#[\"set\",[1,2,false]]", ""),
			    "resolve p-5 #\"#undefined\"\nset object.o+d1.1 #{\"n\":1,\"d\":2,\"b\":false,\"s\":null,\"peer\":null}\n"
			    "delete count.o-4");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-4\nretireImports o-4");
	/* an instance that never was */
	assert_string_equal(message(k, "o+d1.77", "p-6", "#[\"get\",[]]", ""),
			    "resolve p-6 rejected #{\"#error\":\"the target is not an object of this vat any more\",\"name\":\"Error\"}");
}

/* Kind redeclared differently after a restart. */
static void test_kind_changed(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"make\",[5]]", "");
	kill_vat(k);
	assert_string_equal(start_vat(k, serve, &other_program, ""),
			    "failed: kind Thing was declared before with the state n:i64 d:f64 b:bool s:str peer:ref, "
			    "now with n:i64");
	assert_non_null(strstr(k->logged, "kind Thing was declared before"));
}

/* Ephemeral objects: exported they live until dropped; else they end with the crank. */
static void test_ephemeral(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"toy\",[3]]", ""), "resolve p-1 ref #\"$0.Alleged: Toy\" o+1");
	assert_string_equal(message(k, "o+1", "p-2", "#[\"play\",[]]", ""), "resolve p-2 #3");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+1"), "retireExports o+1");
	assert_string_equal(k->logged, "toy 3 is gone");
	/* made and forgotten: the toy goes, and the durable thing never comes to be */
	assert_string_equal(call(k, "#[\"waste\",[]]", ""),
			    "set kinds 1\nset kind.Thing 1 n:i64 d:f64 b:bool s:str peer:ref\nresolve p-1 #true\n"
			    "set object.o+d1.1 #{\"n\":0,\"d\":0,\"b\":false,\"s\":null,\"peer\":null}\nset instance 1\n"
			    "delete object.o+d1.1");
	assert_string_equal(k->logged, "toy 3 is gone\ntoy 9 is gone");
	/* numbers of exports are not used again (V5) */
	assert_string_equal(call(k, "#[\"toy\",[4]]", ""), "resolve p-1 ref #\"$0.Alleged: Toy\" o+2");
	kill_vat(k);
	k->next_export = 3;
	start(k);
	assert_string_equal(call(k, "#[\"toy\",[4]]", ""), "resolve p-1 ref #\"$0.Alleged: Toy\" o+3");
}

/* G1-G3 seen from the vat: held objects outlive dropExports, retireExports gives a new name. */
static void test_held_export(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"toy\",[3]]", "");
	assert_string_equal(call(k, "#[\"keep\",[\"$0\"]]", "o+1"), OK_UNDEFINED);
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+1"), "");
	assert_string_equal(call(k, "#[\"kept\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Toy\" o+1");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+1"), "");
	assert_string_equal(collect(k, WIRE_RETIRE_EXPORTS, "o+1"), "");
	assert_string_equal(call(k, "#[\"kept\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Toy\" o+2");
	collect(k, WIRE_DROP_EXPORTS, "o+2");
	assert_string_equal(call(k, "#[\"unkeep\",[]]", ""), OK_UNDEFINED "\nretireExports o+2");
}

/* Imports go at bringOutYourDead unless held, in baggage, or in saved state. */
static void test_imports(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"echo\",[[\"$0\",\"$1\",\"$2\"]]]", "o-1 o-2 o-3");
	call(k, "#[\"keep\",[\"$0\"]]", "o-2");
	assert_string_equal(call(k, "#[\"put\",[\"x\",{\"a\":\"$0\",\"b\":\"$0\"}]]", "o-3"),
			    "set baggage.x #{\"a\":\"$0\",\"b\":\"$0\"}\no-3\n" OK_UNDEFINED "\nset count.o-3 1");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-1\nretireImports o-1");
	assert_string_equal(call(k, "#[\"unkeep\",[]]", ""), OK_UNDEFINED);
	assert_string_equal(call(k, "#[\"forget\",[\"x\"]]", ""), "delete baggage.x\nresolve p-1 #true\ndelete count.o-3");
	collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
	assert_true(strcmp(k->said, "dropImports o-2 o-3\nretireImports o-2 o-3") == 0 ||
		    strcmp(k->said, "dropImports o-3 o-2\nretireImports o-3 o-2") == 0);
	/* known again under the same number is no trouble, and retireImports of what is gone neither */
	assert_string_equal(call(k, "#[\"echo\",[\"$0\"]]", "o-2"), "resolve p-1 ref #\"$0\" o-2");
	assert_string_equal(collect(k, WIRE_RETIRE_IMPORTS, "o-2 o-9"), "");
}

/* --- baggage -------------------------------------------------------------------------------------- */

static void test_baggage(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"take\",[\"x\"]]", ""), OK_UNDEFINED);
	assert_string_equal(call(k, "#[\"initOnce\",[]]", ""), "set baggage.once #1\n" OK_UNDEFINED);
	assert_string_equal(call(k, "#[\"initOnce\",[]]", ""), ERROR("baggage has a \\\"once\\\" already"));
	assert_string_equal(call(k, "#[\"put\",[\"once\",1]]", ""), OK_UNDEFINED);	/* as it was: nothing to write */
	assert_string_equal(call(k, "#[\"forget\",[\"nothing\"]]", ""), "resolve p-1 #false");
	assert_string_equal(call(k, "#[\"put\",[\"p\",[\"&0\"]]]", "p-9"),
		TYPE_ERROR("baggage \\\"p\\\": a promise would not survive a restart; imported references, the root and objects with a "
			   "state table do"));
	assert_string_equal(call(k, "#[\"putToy\",[]]", ""),
		TYPE_ERROR("baggage \\\"toy\\\": an object of kind Toy, which has no state table would not survive a restart; imported "
			   "references, the root and objects with a state table do"));
	assert_string_equal(call(k, "#[\"put\",[\"\",1]]", ""), TYPE_ERROR("a baggage name is 1 to 4080 bytes of UTF-8"));
}

/* V5: own objects in baggage keep their name over a restart; deleted with the last reference. */
static void test_own_in_baggage(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"make\",[5]]", "");
	assert_string_equal(call(k, "#[\"put\",[\"mine\",[\"$0\",\"$1\"]]]", "o+d1.1 o+0"),
			    "set baggage.mine #[\"$0.Alleged: Thing\",\"$1.Alleged: Root\"]\no+d1.1 o+0\n" OK_UNDEFINED
			    "\nset count.o+d1.1 1");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.1");
	collect(k, WIRE_RETIRE_EXPORTS, "o+d1.1");
	assert_null(store_text(k, "exported.o+d1.1"));
	kill_vat(k);
	start(k);
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "");
	assert_string_equal(call(k, "#[\"take\",[\"mine\"]]", ""),
			    "set exported.o+d1.1 reachable\nresolve p-1 #[\"$0.Alleged: Thing\",\"$1.Alleged: Root\"] o+d1.1 o+0");
	assert_string_equal(message(k, "o+d1.1", "p-2", "#[\"get\",[]]", ""), "resolve p-2 #[5,0,false]");
	call(k, "#[\"forget\",[\"mine\"]]", "");
	assert_non_null(store_text(k, "object.o+d1.1"));
	collect(k, WIRE_DROP_EXPORTS, "o+d1.1");
	assert_non_null(strstr(k->said, "retireExports o+d1.1"));
	assert_null(store_text(k, "object.o+d1.1"));
	assert_null(store_text(k, "exported.o+d1.1"));
	assert_null(store_text(k, "count.o+d1.1"));
}

/* --- promises ------------------------------------------------------------------------------------- */

/* Call a method of the root, with that result. */
static const char *ask(struct vat_kernel *k, const char *result, const char *body, const char *slots)
{
	return message(k, "o+0", result, body, slots);
}

/* An own promise that a method returns takes the name of the result: the kernel knows of one promise, not of two. */
static void test_own_promise(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(ask(k, "p-1", "#[\"promise\",[]]", ""), "");
	assert_string_equal(ask(k, "p-2", "#[\"promised\",[]]", ""), "resolve p-2 ref #\"&0\" p-1");
	assert_string_equal(ask(k, "p-3", "#[\"settle\",[{\"a\":\"$0\"}]]", "o-3"),
			    "resolve p-1 #{\"a\":\"$0\"} o-3\nresolve p-3 #\"#undefined\"");
	assert_string_equal(k->logged, "said, type 11");
	assert_string_equal(call(k, "#[\"settle\",[2]]", ""), ERROR("vat_resolve(): the promise is settled already"));
	/* returned again: the outcome, not a name that has left the clist */
	assert_string_equal(call(k, "#[\"promised\",[]]", ""), "resolve p-1 #{\"a\":\"$0\"} o-3");
	/* sent again: a fresh name, resolved in the same crank; a message to it fails here */
	assert_string_equal(call(k, "#[\"sendPromised\",[\"$0\"]]", "o-4"),
			    "send o-4 p+1 #[\"here\",[\"&0\"]] p+2\n" OK_UNDEFINED "\nresolve p+2 #{\"a\":\"$0\"} o-3");
	/* the held value holds what it names */
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "subscribe p+1\ndropImports o-4\nretireImports o-4");
}

static void test_rejected_promise(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"promise\",[]]", "");
	assert_string_equal(ask(k, "p-2", "#[\"refuse\",[]]", ""),
			    "resolve p-1 rejected #{\"#error\":\"no 7\",\"name\":\"RangeError\"}\nresolve p-2 #\"#undefined\"");
	assert_string_equal(k->logged, "refused: RangeError, no 7");
	assert_string_equal(call(k, "#[\"promised\",[]]", ""), "resolve p-1 rejected #{\"#error\":\"no 7\",\"name\":\"RangeError\"}");
}

/* P6: to another promise, it follows; to itself, it is rejected. */
static void test_forwarding(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"promise\",[]]", "");
	assert_string_equal(ask(k, "p-2", "#[\"settle\",[\"&0\"]]", "p-5"),
			    "resolve p-1 ref #\"&0\" p-5\nsubscribe p-5\nresolve p-2 #\"#undefined\"");
	assert_string_equal(ask(k, "p-3", "#[\"promised\",[]]", ""), "resolve p-3 ref #\"&0\" p-5");
	assert_string_equal(notify(k, "p-5", 0, "#[1]", ""), "");
	assert_string_equal(k->logged, "said, type 10");
	assert_string_equal(call(k, "#[\"promised\",[]]", ""), "resolve p-1 #[1]");

	ask(k, "p-6", "#[\"promise\",[]]", "");
	assert_string_equal(ask(k, "p-7", "#[\"settleSelf\",[]]", ""),
			    "resolve p-6 rejected #{\"#error\":\"a promise was resolved to itself\",\"name\":\"TypeError\"}\n"
			    "resolve p-7 #\"#undefined\"");
}

/* P2, D3: a message to oneself: named here, decided here when it comes, and whoever waits here hears of it. */
static void test_to_self(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"toSelf\",[]]", ""),
			    "send o+0 p+1 #[\"toy\",[6]]\nsend p+1 p+2 #[\"play\",[]]\nsubscribe p+2\nsubscribe p+1\n"
			    "send p+1 - #[\"play\",[]]\n" OK_UNDEFINED);
	assert_string_equal(message(k, "o+0", "p+1", "#[\"toy\",[6]]", ""), "resolve p+1 ref #\"$0.Alleged: Toy\" o+1");
	assert_string_equal(k->logged, "said, type 7");
	assert_string_equal(message(k, "o+1", "p+2", "#[\"play\",[]]", ""), "resolve p+2 #6");
	assert_string_equal(k->logged, "said, type 7\nsaid, type 3");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+1"), "retireExports o+1");
}

/* P7: a batch whose promises name each other, and the names are gone after it. */
static void test_notify_batch(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"keep\",[\"&0\"]]", "p-5");
	struct note notes[] = { { "p-5", 0, "#[\"&0\",\"$1\"]", "p-6 o-1" }, { "p-6", WIRE_R_REJECTED, "#[\"&0\"]", "p-5" } };
	assert_string_equal(notify_all(k, notes, 2), "");
	/* both are sent again, by new names, in one batch because they name each other */
	assert_string_equal(call(k, "#[\"put\",[\"x\",\"&0\"]]", "p-7"),
		TYPE_ERROR("baggage \\\"x\\\": a promise would not survive a restart; imported references, the root and objects with a "
			   "state table do"));
	assert_string_equal(call(k, "#[\"kept\",[]]", ""),
			    "resolve p-1 #[\"&0\",\"$1\"] p+1 o-1\nresolve p+1 rejected #[\"&0\"] p+2\n"
			    "and p+2 #[\"&0\",\"$1\"] p+1 o-1");
	/* a second notify for a name that is gone, and one for a name never heard: harmless */
	assert_string_equal(notify(k, "p-6", 0, "#1", ""), "");
	assert_string_equal(notify(k, "p-60", 0, "not smallcaps", ""), "");
}

/*
 * V5: the promise that an earlier incarnation decided is rejected, and the continuation of a durable object
 * hears of it.
 */
static void test_durable_continuation(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"make\",[5]]", "");
	assert_string_equal(message(k, "o+d1.1", "p-2", "#[\"wait\",[\"&0\"]]", "p-3"),
			    "subscribe p-3\nresolve p-2 #\"#undefined\"\nset count.o+d1.1 1\nset when.p-3 when o+d1.1 came\n");
	/* the waiting counts as holding: the kernel's drop does not delete the object */
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.1"), "set exported.o+d1.1 recognizable");
	kill_vat(k);
	start(k);
	assert_string_equal(notify(k, "p-3", 0, "#8", ""),
			    "delete when.p-3\nset object.o+d1.1 #{\"n\":8,\"d\":0,\"b\":false,\"s\":null,\"peer\":null}\n"
			    "retireExports o+d1.1\ndelete exported.o+d1.1\ndelete object.o+d1.1\ndelete count.o+d1.1");
	assert_null(store_text(k, "count.o+d1.1"));
	assert_null(store_text(k, "when.p-3"));
}

/* --- the vat itself ------------------------------------------------------------------------------- */

/* A reference kept past its crank is caught. */
static void test_stale(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"steal\",[\"$0\"]]", "o-3");
	assert_string_equal(call(k, "#[\"useStolen\",[]]", ""),
		"failed: Root.useStolen: a reference was kept past its crank without vat_hold(), and written to a message");
	assert_false(listen_to_vat(k, false));
	assert_true(WIFEXITED(k->status) && WEXITSTATUS(k->status) == 1);
}

static void test_exit(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"leave\",[]]", ""), "exit #\"bye\"\n" OK_UNDEFINED);
	kill_vat(k);
	start(k);
	assert_string_equal(call(k, "#[\"crash\",[]]", ""),
			    "exit failure #{\"#error\":\"no more\",\"name\":\"Error\"}\n" OK_UNDEFINED);
}

/* C1: a value that names a slot it does not have does not name one of ours when it is passed on. */
static void test_forged_slots(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"relay\",[\"$0\",\"$1\"]]", "o-1"),
			    "send o-1 - #[\"m\",[\"$0.Alleged: Root\",\"!$1\"]] o+0\n" OK_UNDEFINED);
	assert_string_equal(call(k, "#[\"relay\",[\"$0\",[\"$00000000\",\"\\u00247\",\"$\\u0030\",\"&9.x\",\"$0\"]]]", "o-1"),
			    "send o-1 - #[\"m\",[\"$0.Alleged: Root\",[\"!$00000000\",\"!\\u00247\",\"!$\\u0030\",\"!&9.x\","
			    "\"$1\"]]] o+0 o-1\n" OK_UNDEFINED);
	assert_string_equal(call(k, "#[\"relay\",[\"$0\",{\"$2\":1}]]", "o-1"),
			    "send o-1 - #[\"m\",[\"$0.Alleged: Root\",{\"!$2\":1}]] o+0\n" OK_UNDEFINED);
}

/* Others' words in the sentence of an error, as long as a message can be: it is answered. */
static void test_long_words(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	char *body = padded("#[\"", "\",[]]", WIRE_MAX_BODY);
	assert_memory_equal(call(k, body, ""), "resolve p-1 rejected (655", 24);
	free(body);
	assert_string_equal(call(k, "#[\"echo\",[1]]", ""), "resolve p-1 #1");
}

/* L1: promises whose values are each other, without REF, are data: nobody looks for their end. */
static void test_circle(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"keep\",[\"&0\"]]", "p-5");
	struct note notes[] = { { "p-5", 0, "#\"&0\"", "p-6" }, { "p-6", 0, "#\"&0\"", "p-5" } };
	assert_string_equal(notify_all(k, notes, 2), "");
	assert_string_equal(call(k, "#[\"askKept\",[]]", ""), OK_UNDEFINED);
}

/* What cannot be saved costs the caller the call, and the vat nothing. */
static void test_unsavable(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"make\",[5]]", "");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"set\",[6,0,true,\"x\",\"$0\"]]", "o-4"),
			    OK_UNDEFINED "\nset object.o+d1.1 #{\"n\":6,\"d\":0,\"b\":true,\"s\":\"x\",\"peer\":\"$0\"}\no-4\n"
			    "set count.o-4 1");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"set\",[6,0,true,\"x\",\"&0\"]]", "p-9"),
			    TYPE_ERROR("Thing.peer cannot be saved: it holds a promise"));
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"peer\",[]]", ""), "resolve p-1 #[\"x\",\"$0\"] o-4");
	char *body = padded("#[\"set\",[6,0,true,\"", "\",\"$0\"]]", WIRE_MAX_BODY);
	assert_string_equal(message(k, "o+d1.1", "p-1", body, "o-4"), TYPE_ERROR("vat_set_string(): the string is longer than 256 KiB"));
	free(body);
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"peer\",[]]", ""), "resolve p-1 #[\"x\",\"$0\"] o-4");
}

/* A value that was as large as can be and grows when its references are named anew. */
static void test_grown(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"keep\",[\"&0\"]]", "p-5");
	char *body = padded("#[\"$0\",\"", "\"]", WIRE_MAX_BODY);
	assert_string_equal(notify(k, "p-5", 0, body, "o+0"), "");
	free(body);
	assert_string_equal(call(k, "#[\"kept\",[]]", ""), ERROR("the value of a promise grew too large to be sent on"));
	assert_string_equal(call(k, "#[\"echo\",[1]]", ""), "resolve p-1 #1");
}

/* P3: a result that the method held as a promise and settled itself is settled once. */
static void test_own_result(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"keep\",[\"&0\"]]", "p-5");
	assert_string_equal(message(k, "o+0", "p-5", "#[\"settleKept\",[]]", ""), "resolve p-5 #1");
	assert_string_equal(call(k, "#[\"kept\",[]]", ""), "resolve p-1 #1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, vat_kernel_setup, vat_kernel_teardown)
		T(test_echo), T(test_vectors), T(test_value_kinds), T(test_value_text), T(test_value_equal), T(test_interfaces),
		T(test_signatures), T(test_mistakes), T(test_durable), T(test_kind_changed), T(test_ephemeral),
		T(test_held_export), T(test_imports), T(test_baggage), T(test_own_in_baggage), T(test_own_promise),
		T(test_rejected_promise), T(test_forwarding), T(test_notify_batch), T(test_to_self), T(test_durable_continuation), T(test_stale),
		T(test_exit), T(test_exit_ahead), T(test_ahead_of_answer), T(test_large), T(test_forged_slots), T(test_long_words), T(test_circle), T(test_unsavable),
		T(test_grown), T(test_own_result),
	};
	return cmocka_run_group_tests_name("vatlib", tests, NULL, NULL);
}
