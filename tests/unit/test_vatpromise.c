/* SPDX-License-Identifier: Apache-2.0 */
/* Combined promises, streams, and promises in great numbers: the vat library in a child, the test is its kernel. */
#include "vat_kernel.h"

#include <capstan/vat.h>

#include "../../vatd/lib/internal.h"

/* --- the vat -------------------------------------------------------------------------------------- */

static const char *text_of(vat *v, const vat_value *value)
{
	return arena_printf(v, "%.*s", (int)(jtext_skip(value->at, value->end) - value->at), value->at);
}

typedef struct { vat_ref *kept[8]; int64_t made; } root;

/* The references in the array that is argument 1. */
static vat_ref **refs_of(vat *v, size_t *np)
{
	vat_value *list;
	vat_read(v, "v", &list);
	*np = vat_length(list);
	vat_ref **refs = arena_get(v, (*np + 1) * sizeof(*refs));
	for (size_t i = 0; i < *np; i++)
		vat_value_read(v, vat_at(v, list, i), "r", &refs[i]);
	return refs;
}

#define COMBINE(name_, fn_)						\
	VAT_METHOD(root, name_)						\
	{								\
		size_t n;						\
		vat_ref **refs = refs_of(v, &n);			\
		return vat_return(v, "r", fn_(v, refs, n));		\
	}
COMBINE(all, vat_all)
COMBINE(race, vat_race)
COMBINE(any, vat_any)
COMBINE(all_settled, vat_all_settled)

VAT_METHOD(root, all_null)
{
	vat_ref *refs[2] = { vat_self(v), NULL };
	return vat_return(v, "r", vat_all(v, refs, 2));
}
VAT_METHOD(root, all_watched)
{
	size_t n;
	vat_ref **refs = refs_of(v, &n);
	vat_ref *p = vat_all(v, refs, n);
	vat_catch(v, p, self, "logged");
	return 0;
}
/* n own promises: combined, then settled in reverse, the last to the first. */
VAT_METHOD(root, many)
{
	int64_t n;
	vat_read(v, "i", &n);
	vat_ref **refs = arena_get(v, (size_t)n * sizeof(*refs));
	for (int64_t i = 0; i < n; i++)
		refs[i] = vat_promise_new(v);
	vat_ref *p = vat_all(v, refs, (size_t)n);
	for (int64_t i = n; i-- > 1;)
		vat_resolve(v, refs[i], "i", i);
	vat_resolve(v, refs[0], "r", refs[n - 1]);
	vat_ref *again[3] = { p, p, vat_self(v) };
	vat_when(v, vat_all(v, again, 3), self, "size");
	return 0;
}
VAT_METHOD(root, size)
{
	vat_value *list;
	vat_read(v, "v", &list);
	vat_log(v, "%zu of %zu and %zu, first %s", vat_length(list), vat_length(vat_at(v, list, 0)),
		vat_length(vat_at(v, list, 1)), text_of(v, vat_at(v, vat_at(v, list, 0), 0)));
	return 0;
}
/* A chain of own promises, each resolved to the next, either end first; with continuations at the first. */
VAT_METHOD(root, chain)
{
	int64_t n;
	bool backwards;
	vat_read(v, "ib", &n, &backwards);
	vat_ref **refs = arena_get(v, (size_t)n * sizeof(*refs));
	for (int64_t i = 0; i < n; i++)
		refs[i] = vat_promise_new(v);
	for (int i = 0; i < 3; i++)
		vat_when(v, refs[0], self, "logged");
	for (int64_t i = 0; i + 1 < n; i++) {
		int64_t at = backwards ? n - 2 - i : i;
		vat_resolve(v, refs[at], "r", refs[at + 1]);
		if (i < 4000)	/* there is a bound for one promise */
			vat_when(v, refs[0], self, "quiet");
	}
	return vat_resolve(v, refs[n - 1], "s", "through");
}
/* Promises, each of which is the combination of the one before. */
VAT_METHOD(root, nested)
{
	int64_t n;
	vat_read(v, "i", &n);
	vat_ref *first = vat_promise_new(v), *p = first;
	for (int64_t i = 0; i < n; i++)
		p = vat_race(v, &p, 1);
	vat_when(v, p, self, "logged");
	return vat_resolve(v, first, "s", "out");
}
/* One promise outlives many races. */
VAT_METHOD(root, races)
{
	int64_t n;
	vat_read(v, "i", &n);
	self->kept[0] = vat_hold(v, vat_promise_new(v));
	for (int64_t i = 0; i < n; i++) {
		vat_ref *two[2] = { self->kept[0], vat_promise_new(v) };
		vat_race(v, two, 2);
		vat_resolve(v, two[1], "i", i);
	}
	vat_tell(v, vat_self(v), "waiting", "");
	return 0;
}
VAT_METHOD(root, count_waiting)
{
	return vat_return(v, "b", self->kept[0]->waiting != NULL || v->combinations != NULL);
}
VAT_METHOD(root, logged)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "%s", text_of(v, value));
	return 0;
}
VAT_METHOD(root, quiet) { return 0; }
VAT_METHOD(root, keep)
{
	int64_t at;
	vat_ref *r = NULL;
	vat_read(v, "i?r", &at, &r);
	if (self->kept[at])
		vat_release(v, self->kept[at]);
	self->kept[at] = r ? vat_hold(v, r) : NULL;
	return 0;
}
VAT_METHOD(root, keep_own)
{
	int64_t at;
	vat_read(v, "i", &at);
	self->kept[at] = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->kept[at]);
}
VAT_METHOD(root, settle)
{
	int64_t at;
	vat_value *value;
	vat_read(v, "iv", &at, &value);
	return vat_resolve(v, self->kept[at], "v", value);
}
VAT_METHOD(root, reject_with)
{
	int64_t at;
	vat_value *value;
	vat_read(v, "iv", &at, &value);
	return vat_reject_with(v, self->kept[at], "v", value);
}
VAT_METHOD(root, all_kept)
{
	return vat_return(v, "r", vat_all(v, self->kept, 3));
}
VAT_METHOD(root, ring_settle)	/* own promises whose values name each other, and nothing else them */
{
	vat_ref *a = vat_promise_new(v), *b = vat_promise_new(v), *c = vat_promise_new(v);
	vat_resolve(v, a, "[rr]", b, vat_self(v));
	vat_resolve(v, b, "[[r]r]", c, b);
	vat_resolve(v, c, "{x:r}", a);
	return 0;
}
VAT_METHOD(root, listed)
{
	int64_t n = 0;
	for (struct settled *s = v->circles; s; s = s->next)
		n++;
	return vat_return(v, "i", n);
}
/* Settled promises in one message: `n` of them with `size` bytes each; or a chain of names when `named`. */
VAT_METHOD(root, heavy)
{
	vat_ref *to, *before = NULL;
	int64_t n, size;
	bool named;
	vat_read(v, "riib", &to, &n, &size, &named);
	char *s = arena_get(v, (size_t)size + 1);
	memset(s, 'x', (size_t)size);
	vat_ref **refs = arena_get(v, (size_t)n * sizeof(*refs));
	for (int64_t i = 0; i < n; i++) {
		refs[i] = vat_promise_new(v);
		if (named && before)
			vat_resolve(v, refs[i], "[sr]", s, before);
		else
			vat_resolve(v, refs[i], "s", s);
		before = refs[i];
	}
	for (int64_t i = 0; i < n; i += 5000) {
		vat_value *items[5000];
		size_t m = 0;
		for (; m < 5000 && i + (int64_t)m < n; m++)
			items[m] = vat_value_new(v, "r", refs[i + (int64_t)m]);
		vat_tell(v, to, "m", "v", vat_array(v, items, m));
	}
	return 0;
}

/* --- streams of the vat */

VAT_METHOD(root, new_pipe)
{
	vat_ref *writer, *reader = vat_pipe(v, &writer);
	return vat_return(v, "[rr]", reader, writer);
}
VAT_METHOD(root, read_all)
{
	vat_ref *reader;
	vat_read(v, "r", &reader);
	vat_stream_each(v, reader, self, "item", "end", "failed");
	return 0;
}
VAT_METHOD(root, read_unnamed)
{
	vat_ref *reader;
	vat_read(v, "r", &reader);
	vat_stream_each(v, reader, self, "item", NULL, NULL);
	return 0;
}
VAT_METHOD(root, read_wrong)
{
	vat_ref *reader;
	vat_read(v, "r", &reader);
	vat_stream_each(v, reader, self, "nothing", NULL, NULL);
	return 0;
}
/* What an item asks for: "wait" a promise (kept 1), "fail". */
VAT_METHOD(root, item)
{
	vat_value *value;
	vat_read(v, "v", &value);
	const char *text = text_of(v, value);
	vat_log(v, "item %s", text);
	if (strcmp(text, "\"wait\"") == 0) {
		self->kept[1] = vat_hold(v, vat_promise_new(v));
		return vat_return(v, "r", self->kept[1]);
	}
	return strcmp(text, "\"fail\"") == 0 ? vat_fail(v, "RangeError", "no more") : 0;
}
VAT_METHOD(root, end)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "end %s", text_of(v, value));
	return 0;
}
VAT_METHOD(root, failed)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "failed %s", text_of(v, value));
	return 0;
}
VAT_METHOD(root, write_some)
{
	vat_ref *writer;
	vat_read(v, "r", &writer);
	vat_stream_write(v, writer, "{n:i}", INT64_C(1));
	vat_stream_write(v, writer, "");
	vat_stream_fail(v, writer, "RangeError", "at %d", 7);
	vat_stream_end(v, writer);
	return 0;
}
VAT_METHOD(root, producing)
{
	self->made = 0;
	return vat_return(v, "r", vat_producer(v, self, "produce", "stopped"));
}
VAT_METHOD(root, produce)
{
	if (++self->made == 2) {
		self->kept[2] = vat_hold(v, vat_promise_new(v));
		return vat_return(v, "r", self->kept[2]);
	}
	return self->made == 3 ? vat_stream_done(v, "s", "the last") : self->made == 5 ? vat_fail(v, "Error", "dry") :
	       vat_return(v, "i", self->made);
}
VAT_METHOD(root, stopped)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "stopped %s", text_of(v, value));
	return 0;
}
VAT_METHOD(root, done_outside) { return vat_stream_done(v, ""); }

typedef struct { int64_t n; vat_ref *mine; } sink;
VAT_METHOD(sink, sink_read)
{
	vat_ref *reader;
	vat_read(v, "r", &reader);
	vat_stream_each(v, reader, self, "item", "end", "failed");
	return 0;
}
VAT_METHOD(sink, sink_read_own)
{
	vat_ref *writer, *reader = vat_pipe(v, &writer);
	vat_stream_each(v, reader, self, "item", "end", "failed");
	return vat_return(v, "r", writer);
}
VAT_METHOD(sink, sink_item)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "sink %s, %lld before", text_of(v, value), (long long)self->n++);
	if (vat_type(value) == VAT_REFERENCE)	/* wait for it */
		return vat_return(v, "v", value);
	return 0;
}
VAT_METHOD(sink, sink_end)
{
	vat_log(v, "sink ends after %lld", (long long)self->n);
	return 0;
}
VAT_METHOD(sink, sink_failed)
{
	const char *name, *message;
	vat_read(v, "e", &name, &message);
	vat_log(v, "sink failed after %lld: %s", (long long)self->n, message);
	return 0;
}
VAT_METHOD(sink, sink_produce) { return vat_return(v, "i", ++self->n); }
VAT_METHOD(sink, sink_producer) { return vat_return(v, "r", vat_producer(v, self, "produce", NULL)); }
VAT_METHOD(sink, sink_wait)	/* for a promise of its own, which dies with the process */
{
	vat_ref *p = vat_promise_new(v);
	vat_catch(v, p, self, "failed");
	return vat_return(v, "r", p);
}
static const vat_kind Sink = { "Sink", sizeof(sink), VAT_STATE(VAT_I64(sink, n)),
	VAT_METHODS({ "read", "r", NULL, sink_read }, { "readOwn", "", "r", sink_read_own }, { "producer", "", "r", sink_producer },
		    { "wait", "", "r", sink_wait }),
	VAT_CONTINUATIONS({ "item", "v", NULL, sink_item }, { "end", "v", NULL, sink_end }, { "failed", "e", NULL, sink_failed },
			  { "produce", "v", "i", sink_produce }) };
VAT_METHOD(root, make_sink) { return vat_return(v, "r", vat_new(v, &Sink, "")); }

/* With facets the whole object waits and reads, whichever facet was asked. */
typedef struct { int64_t n; } split;
VAT_METHOD(split, split_read)
{
	vat_ref *reader;
	vat_read(v, "r", &reader);
	vat_stream_each(v, reader, self, "item", NULL, NULL);
	return vat_return(v, "r", vat_producer(v, self, "made", NULL));
}
VAT_METHOD(split, split_item)
{
	vat_log(v, "split %lld", (long long)++self->n);
	return 0;
}
VAT_METHOD(split, split_made) { return vat_return(v, "i", self->n); }
static const vat_kind Split = { "Split", sizeof(split), VAT_STATE(VAT_I64(split, n)),
	VAT_FACETS(VAT_FACET("in", { "read", "r", NULL, split_read }), VAT_FACET("out", { "none", "", NULL, split_item })),
	VAT_CONTINUATIONS({ "item", "v", NULL, split_item }, { "made", "v", NULL, split_made }) };
VAT_METHOD(root, make_split) { return vat_return(v, "r", vat_new(v, &Split, "")); }

static const vat_kind Root = { "Root", sizeof(root),
	VAT_METHODS({ "all", "v", NULL, all }, { "race", "v", NULL, race }, { "any", "v", NULL, any },
		    { "allSettled", "v", NULL, all_settled }, { "allNull", "", NULL, all_null }, { "allWatched", "v", NULL, all_watched },
		    { "many", "i", NULL, many }, { "chain", "ib", NULL, chain }, { "nested", "i", NULL, nested },
		    { "races", "i", NULL, races }, { "waiting", "", NULL, count_waiting },
		    { "keep", "i?r", NULL, keep }, { "keepOwn", "i", NULL, keep_own }, { "settle", "iv", NULL, settle },
		    { "rejectWith", "iv", NULL, reject_with }, { "allKept", "", NULL, all_kept },
		    { "ring", "", NULL, ring_settle }, { "listed", "", NULL, listed }, { "heavy", "riib", NULL, heavy },
		    { "pipe", "", NULL, new_pipe }, { "read", "r", NULL, read_all }, { "readUnnamed", "r", NULL, read_unnamed },
		    { "readWrong", "r", NULL, read_wrong }, { "write", "r", NULL, write_some }, { "producing", "", NULL, producing },
		    { "doneOutside", "", NULL, done_outside }, { "sink", "", NULL, make_sink }, { "split", "", NULL, make_split }),
	VAT_CONTINUATIONS({ "logged", "v", NULL, logged }, { "size", "v", NULL, size }, { "quiet", NULL, NULL, quiet },
			  { "item", "v", NULL, item }, { "end", "v", NULL, end }, { "failed", "v", NULL, failed },
			  { "produce", "v", NULL, produce }, { "stopped", "v", NULL, stopped }) };

static const vat_program program = { (const vat_kind *const[]){ &Root, &Sink, &Split, NULL } };

static void serve(const void *arg)
{
	_exit(vat_serve(3, arg));
}

static void start(struct vat_kernel *k)
{
	k->next_promise = 1000 * k->incarnation + 1;
	k->next_export = 1000 * k->incarnation + 1;
	assert_string_equal(start_vat(k, serve, &program, "#\"#undefined\""), "");
}

static const char *ask(struct vat_kernel *k, const char *result, const char *body, const char *slots)
{
	return message(k, "o+0", result, body, slots);
}

static const char *log_taken(struct vat_kernel *k)
{
	static char *taken;
	free(taken);
	taken = k->logged;
	k->logged = strdup("");
	return taken;
}

#define UNDEFINED(p_)	"resolve " p_ " #\"#undefined\""

/* --- combined ------------------------------------------------------------------------------------- */

static void test_all(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	/* values in the order of the promises, the same one twice, an object as itself */
	assert_string_equal(ask(k, "p-1", "#[\"all\",[[\"&0\",\"$1\",\"&2\",\"&0\"]]]", "p-5 o-1 p-6"),
			    "subscribe p-5\nsubscribe p-6");
	assert_string_equal(notify(k, "p-6", 0, "#{\"x\":\"$0\"}", "o-2"), "");
	assert_string_equal(notify(k, "p-5", 0, "#1", ""), "resolve p-1 #[1,\"$0\",{\"x\":\"$1\"},1] o-1 o-2");
	assert_string_equal(ask(k, "p-1", "#[\"all\",[[]]]", ""), "resolve p-1 #[]");
	/* the first rejection; a later one means nothing, and neither is warned of */
	assert_string_equal(ask(k, "p-1", "#[\"all\",[[\"&0\",\"&1\",\"&2\"]]]", "p-7 p-8 p-9"),
			    "subscribe p-7\nsubscribe p-8\nsubscribe p-9");
	assert_string_equal(notify(k, "p-8", WIRE_R_REJECTED, "#\"why\"", ""), "resolve p-1 rejected #\"why\"");
	assert_string_equal(notify(k, "p-7", WIRE_R_REJECTED, "#\"not\"", ""), "");
	assert_string_equal(k->logged, "");
	assert_string_equal(ask(k, "p-1", "#[\"allNull\",[]]", ""),
			    "resolve p-1 rejected #{\"#error\":\"vat_all(): number 1 of the promises is NULL\",\"name\":\"TypeError\"}");
	/* a rejection of the combination is caught, or said */
	ask(k, "p-1", "#[\"allWatched\",[[\"&0\"]]]", "p-10");
	notify(k, "p-10", WIRE_R_REJECTED, "#\"why\"", "");
	assert_string_equal(k->logged, "\"why\"");
}

static void test_race_any_settled(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(ask(k, "p-1", "#[\"race\",[[]]]", ""), "");
	assert_string_equal(ask(k, "p-2", "#[\"race\",[[\"&0\",\"&1\"]]]", "p-5 p-6"), "subscribe p-5\nsubscribe p-6");
	assert_string_equal(notify(k, "p-6", WIRE_R_REJECTED, "#[6]", ""), "resolve p-2 rejected #[6]");
	assert_string_equal(ask(k, "p-2", "#[\"race\",[[\"&0\",\"$1\"]]]", "p-7 o-1"), "subscribe p-7\nresolve p-2 ref #\"$0\" o-1");

	assert_string_equal(ask(k, "p-3", "#[\"any\",[[]]]", ""),
		"resolve p-3 rejected #{\"#error\":\"none of 0 promises was fulfilled\",\"name\":\"AggregateError\"}");
	ask(k, "p-3", "#[\"any\",[[\"&0\",\"&1\"]]]", "p-8 p-9");
	assert_string_equal(notify(k, "p-9", WIRE_R_REJECTED, "#1", ""), "");
	assert_string_equal(notify(k, "p-8", 0, "#[8]", ""), "resolve p-3 #[8]");
	ask(k, "p-3", "#[\"any\",[[\"&0\",\"&1\"]]]", "p-10 p-11");
	notify(k, "p-11", WIRE_R_REJECTED, "#1", "");
	assert_string_equal(notify(k, "p-10", WIRE_R_REJECTED, "#{\"#error\":\"bad\",\"name\":\"RangeError\"}", ""),
		"resolve p-3 rejected #{\"#error\":\"none of 2 promises was fulfilled; the first: RangeError: bad\",\"name\":\"AggregateError\"}");

	ask(k, "p-4", "#[\"allSettled\",[[\"&0\",\"$1\",\"&2\"]]]", "p-12 o-1 p-13");
	notify(k, "p-13", WIRE_R_REJECTED, "#{\"#error\":\"bad\",\"name\":\"Error\"}", "");
	assert_string_equal(notify(k, "p-12", 0, "#[\"$0\"]", "o-3"),
		"resolve p-4 #[{\"status\":\"fulfilled\",\"value\":[\"$0\"]},{\"status\":\"fulfilled\",\"value\":\"$1\"},"
		"{\"reason\":{\"#error\":\"bad\",\"name\":\"Error\"},\"status\":\"rejected\"}] o-3 o-1");
	assert_string_equal(ask(k, "p-4", "#[\"allSettled\",[[]]]", ""), "resolve p-4 #[]");
	assert_string_equal(k->logged, "");
}

/* Own promises among them, one settled before, one forwarded; and what settled them may be any value. */
static void test_own_combined(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"keepOwn\",[0]]", "");
	ask(k, "p-2", "#[\"keepOwn\",[1]]", "");
	ask(k, "p-3", "#[\"keepOwn\",[2]]", "");
	ask(k, "p-4", "#[\"settle\",[0,\"first\"]]", "");
	assert_string_equal(ask(k, "p-5", "#[\"allKept\",[]]", ""), "");
	assert_string_equal(ask(k, "p-6", "#[\"settle\",[2,\"&0\"]]", "p-20"),
			    "resolve p-3 ref #\"&0\" p-20\nsubscribe p-20\nresolve p-6 #\"#undefined\"");
	assert_string_equal(ask(k, "p-7", "#[\"settle\",[1,[2]]]", ""), "resolve p-2 #[2]\nresolve p-7 #\"#undefined\"");
	assert_string_equal(notify(k, "p-20", 0, "#\"+3\"", ""), "resolve p-5 #[\"first\",[2],\"+3\"]");
	ask(k, "p-8", "#[\"keepOwn\",[3]]", "");
	assert_string_equal(ask(k, "p-9", "#[\"rejectWith\",[3,{\"code\":7}]]", ""),
			    "resolve p-8 rejected #{\"code\":7}\nresolve p-9 #\"#undefined\"");
	assert_string_equal(ask(k, "p-9", "#[\"rejectWith\",[3,1]]", ""),
		"resolve p-9 rejected #{\"#error\":\"vat_reject_with(): the promise is settled already\",\"name\":\"Error\"}");
}

static void test_great_numbers(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(ask(k, "p-1", "#[\"many\",[10000]]", ""), UNDEFINED("p-1"));
	assert_string_equal(log_taken(k), "3 of 10000 and 10000, first 9999");
	assert_string_equal(ask(k, "p-1", "#[\"chain\",[100000,false]]", ""), UNDEFINED("p-1"));
	assert_string_equal(log_taken(k), "\"through\"\n\"through\"\n\"through\"");
	assert_string_equal(ask(k, "p-1", "#[\"chain\",[100000,true]]", ""), UNDEFINED("p-1"));
	assert_string_equal(log_taken(k), "\"through\"\n\"through\"\n\"through\"");
	assert_string_equal(ask(k, "p-1", "#[\"nested\",[100000]]", ""), UNDEFINED("p-1"));
	assert_string_equal(log_taken(k), "\"out\"");
	ask(k, "p-1", "#[\"races\",[10000]]", "");
	assert_string_equal(ask(k, "p-1", "#[\"waiting\",[]]", ""), "resolve p-1 #false");
}

/* Settled promises that only hold each other go at bringOutYourDead; what something holds stays, with what it names. */
static void test_rings(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	for (int i = 0; i < 10; i++)
		ask(k, "p-1", "#[\"ring\",[]]", "");
	ask(k, "p-1", "#[\"keep\",[0,\"&0\"]]", "p-5");
	struct note notes[] = { { "p-5", 0, "#[\"&0\",\"$1\"]", "p-6 o-1" }, { "p-6", WIRE_R_REJECTED, "#[\"&0\"]", "p-5" } };
	notify_all(k, notes, 2);
	assert_string_equal(ask(k, "p-1", "#[\"listed\",[]]", ""), "resolve p-1 #32");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "");
	assert_string_equal(ask(k, "p-1", "#[\"listed\",[]]", ""), "resolve p-1 #2");
	ask(k, "p-1", "#[\"keep\",[0]]", "");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-1\nretireImports o-1");
	assert_string_equal(ask(k, "p-1", "#[\"listed\",[]]", ""), "resolve p-1 #0");
}

/* Lines of what the vat said that begin so. */
static size_t lines(const char *said, const char *begin)
{
	size_t n = strncmp(said, begin, strlen(begin)) == 0;
	for (const char *p = said; (p = strchr(p, '\n')); p++)
		n += strncmp(p + 1, begin, strlen(begin)) == 0;
	return n;
}

/* More settled promises named again than one frame holds: in batches; more than a crank may say: the rest is rejected. */
static void test_named_again(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"heavy\",[\"$0\",10001,1,false]]", "o-1");
	assert_int_equal(lines(k->said, "resolve p+"), 2);
	assert_int_equal(lines(k->said, "and p+"), 9999);
	ask(k, "p-1", "#[\"heavy\",[\"$0\",3,12000000,false]]", "o-1");
	assert_int_equal(lines(k->said, "resolve p+"), 2);
	assert_int_equal(lines(k->said, "and p+"), 1);
	ask(k, "p-1", "#[\"heavy\",[\"$0\",6,12000000,true]]", "o-1");
	assert_non_null(strstr(k->said, "rejected #{\"#error\":\"the value of a promise was too much to be sent on in one crank\""));
	assert_int_equal(lines(k->said, "resolve p+") + lines(k->said, "and p+"), 6);
	ask(k, "p-1", "#[\"heavy\",[\"$0\",10003,1,true]]", "o-1");
	assert_int_equal(lines(k->said, "resolve p+") + lines(k->said, "and p+"), 10003);
	assert_string_equal(ask(k, "p-1", "#[\"listed\",[]]", ""), "resolve p-1 #0");
}

/* --- streams -------------------------------------------------------------------------------------- */

#define ITEM(value_)	"#{\"done\":false,\"value\":" value_ "}"
#define DONE(value_)	"#{\"done\":true,\"value\":" value_ "}"
#define NOTHING		"\"#undefined\""
#define NEXT_(n_)	"#[\"next\",[" n_ "]]"
#define PIPE(k_)	assert_string_equal(ask(k_, "p-1", "#[\"pipe\",[]]", ""), \
				"resolve p-1 #[\"$0.Alleged: Reader\",\"$1.Alleged: Writer\"] o+1 o+2")
#define R	"o+1"
#define W	"o+2"

/* The writer's answer comes when the reader has taken the value; either may come first; what comes last says so. */
static void test_pipe(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	PIPE(k);
	assert_string_equal(message(k, W, "p-2", NEXT_("\"$0\""), "o-1"), "");
	assert_string_equal(message(k, W, "p-3", NEXT_("2"), ""), "");
	assert_string_equal(message(k, R, "p-4", NEXT_(NOTHING), ""),
			    "resolve p-2 " ITEM(NOTHING) "\nresolve p-4 " ITEM("\"$0\"") " o-1");
	assert_string_equal(message(k, R, "p-5", NEXT_("\"back\""), ""), "resolve p-3 " ITEM("\"back\"") "\nresolve p-5 " ITEM("2"));
	assert_string_equal(message(k, R, "p-6", NEXT_(""), ""), "");
	assert_string_equal(message(k, R, "p-7", NEXT_(""), ""), "");
	assert_string_equal(message(k, W, "p-8", NEXT_("3"), ""), "resolve p-6 " ITEM("3") "\nresolve p-8 " ITEM(NOTHING));
	assert_string_equal(message(k, W, "p-9", "#[\"return\",[4]]", ""), "resolve p-7 " DONE("4") "\nresolve p-9 " DONE("4"));
	for (int i = 0; i < 2; i++) {
		assert_string_equal(message(k, R, "p-10", NEXT_(""), ""), "resolve p-10 " DONE(NOTHING));
		assert_string_equal(message(k, W, "p-11", NEXT_("5"), ""), "resolve p-11 " DONE(NOTHING));
		assert_string_equal(message(k, W, "p-11", "#[\"return\",[6]]", ""), "resolve p-11 " DONE("6"));
		assert_string_equal(message(k, R, "p-10", "#[\"throw\",[7]]", ""), "resolve p-10 " DONE(NOTHING));
	}
}

/* What was written before the end is read before it; the writer's own calls after its end do not wait. */
static void test_pipe_writer_ends(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	PIPE(k);
	assert_string_equal(message(k, W, "p-2", NEXT_("1"), ""), "");
	assert_string_equal(message(k, W, "p-3", "#[\"throw\",[{\"#error\":\"bad\",\"name\":\"Error\"}]]", ""), "");
	assert_string_equal(message(k, W, "p-4", NEXT_("2"), ""), "resolve p-4 " DONE(NOTHING));
	assert_string_equal(message(k, R, "p-5", NEXT_(""), ""), "resolve p-2 " ITEM(NOTHING) "\nresolve p-5 " ITEM("1"));
	assert_string_equal(message(k, R, "p-6", NEXT_(""), ""),
			    "resolve p-3 " DONE(NOTHING) "\nresolve p-6 rejected #{\"#error\":\"bad\",\"name\":\"Error\"}");
	assert_string_equal(message(k, R, "p-7", NEXT_(""), ""), "resolve p-7 " DONE(NOTHING));
	/* several readers wait: the first hears the reason */
	ask(k, "p-1", "#[\"pipe\",[]]", "");
	message(k, "o+3", "p-8", NEXT_(""), "");
	message(k, "o+3", "p-9", NEXT_(""), "");
	assert_string_equal(message(k, "o+4", "p-10", "#[\"throw\",[1]]", ""),
			    "resolve p-8 rejected #1\nresolve p-9 " DONE(NOTHING) "\nresolve p-10 " DONE(NOTHING));
	/* an end that waits, and then the reader does not want it */
	ask(k, "p-1", "#[\"pipe\",[]]", "");
	message(k, "o+6", "p-8", "#[\"return\",[1]]", "");
	assert_string_equal(message(k, "o+5", "p-9", "#[\"return\",[2]]", ""), "resolve p-8 " DONE("2") "\nresolve p-9 " DONE("2"));
	assert_string_equal(message(k, "o+6", "p-8", NEXT_(""), ""), "resolve p-8 " DONE(NOTHING));
}

/* A reader's end reaches writers that wait, or the next that comes. */
static void test_pipe_reader_ends(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	PIPE(k);
	message(k, W, "p-2", NEXT_("1"), "");
	message(k, W, "p-3", NEXT_("2"), "");
	assert_string_equal(message(k, R, "p-4", "#[\"throw\",[9]]", ""),
			    "resolve p-2 rejected #9\nresolve p-3 rejected #9\nresolve p-4 " DONE(NOTHING));
	assert_string_equal(message(k, W, "p-5", NEXT_("3"), ""), "resolve p-5 " DONE(NOTHING));
	ask(k, "p-1", "#[\"pipe\",[]]", "");
	assert_string_equal(message(k, "o+3", "p-6", "#[\"throw\",[8]]", ""), "resolve p-6 " DONE(NOTHING));
	assert_string_equal(message(k, "o+4", "p-7", NEXT_("1"), ""), "resolve p-7 rejected #8");
	assert_string_equal(message(k, "o+4", "p-7", NEXT_("1"), ""), "resolve p-7 " DONE(NOTHING));
	ask(k, "p-1", "#[\"pipe\",[]]", "");
	message(k, "o+5", "p-6", NEXT_(""), "");
	assert_string_equal(message(k, "o+5", "p-7", "#[\"return\",[8]]", ""), "resolve p-6 " DONE(NOTHING) "\nresolve p-7 " DONE("8"));
	assert_string_equal(message(k, "o+6", "p-8", NEXT_("1"), ""), "resolve p-8 " DONE(NOTHING));
}

/* L1: a thousand that wait are not each told a reason as long as a message can be. */
static void test_long_reason(void **state)
{
	struct vat_kernel *k = *state;
	char p[24];
	start(k);
	PIPE(k);
	for (int i = 0; i < 100; i++) {
		snprintf(p, sizeof(p), "p-%d", 100 + i);
		message(k, W, p, NEXT_("1"), "");
	}
	size_t n = 8000000;
	char *body = malloc(n + 40), *at = body + sprintf(body, "#[\"throw\",[\"");
	memset(at, 'x', n);
	strcpy(at + n, "\"]]");
	message(k, R, "p-2", body, "");
	free(body);
	assert_non_null(strstr(k->said, "resolve p-100 rejected (8000003 bytes)\nresolve p-101 rejected #{\"#error\":\"the stream's reader "
			       "ended it, with a reason too long to repeat\",\"name\":\"Error\"}\n"));
	assert_null(strstr(strstr(k->said, "bytes)") + 1, "bytes)"));
}

static void test_pipe_limit(void **state)
{
	struct vat_kernel *k = *state;
	char p[24];
	start(k);
	PIPE(k);
	for (int i = 0; i < 1000; i++) {
		snprintf(p, sizeof(p), "p-%d", 100 + i);
		assert_string_equal(message(k, W, p, NEXT_("1"), ""), "");
	}
	assert_string_equal(message(k, W, "p-2", NEXT_("1"), ""),
		"resolve p-2 rejected #{\"#error\":\"1000 calls of next() wait at this end of the stream already; wait for their "
		"answers\",\"name\":\"RangeError\"}");
	assert_string_equal(message(k, W, "p-3", "#[\"return\",[]]", ""), "");
	message(k, R, "p-4", NEXT_(""), "");
	assert_string_equal(k->said, "resolve p-100 " ITEM(NOTHING) "\nresolve p-4 " ITEM("1"));
}

/* An end that nobody holds any more: the other hears of it, and with both ends the memory goes. */
static void test_pipe_dropped(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	PIPE(k);
	message(k, W, "p-2", NEXT_("1"), "");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, R), "retireExports o+1\nresolve p-2 " DONE(NOTHING) );
	assert_string_equal(message(k, W, "p-3", NEXT_("1"), ""), "resolve p-3 " DONE(NOTHING));
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, W), "retireExports o+2");
	ask(k, "p-1", "#[\"pipe\",[]]", "");
	message(k, "o+4", "p-2", NEXT_("1"), "");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+4"), "retireExports o+4");
	assert_string_equal(message(k, "o+3", "p-3", NEXT_(""), ""), "resolve p-2 " ITEM(NOTHING) "\nresolve p-3 " ITEM("1"));
	assert_string_equal(message(k, "o+3", "p-4", NEXT_(""), ""),
		"resolve p-4 rejected #{\"#error\":\"the stream's writer is gone and has not ended it\",\"name\":\"Error\"}");
	ask(k, "p-1", "#[\"pipe\",[]]", "");
	message(k, "o+5", "p-2", NEXT_(""), "");
	assert_non_null(strstr(collect(k, WIRE_DROP_EXPORTS, "o+5 o+6"), "retireExports"));
	assert_null(strstr(k->said, ITEM(NOTHING)));
}

/* The loop: one value at a time, the next when the item is done with. The reader is played by hand. */
static void test_each(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(ask(k, "p-1", "#[\"read\",[\"$0\"]]", "o-1"),
			    "send o-1 p+1 " NEXT_(NOTHING) "\nsubscribe p+1\n" UNDEFINED("p-1"));
	assert_string_equal(notify(k, "p+1", 0, ITEM("\"$0\""), "o-2"), "send o-1 p+2 " NEXT_(NOTHING) "\nsubscribe p+2");
	assert_string_equal(notify(k, "p+2", 0, "#{\"value\":\"wait\"}", ""), "");
	assert_string_equal(ask(k, "p-2", "#[\"settle\",[1,5]]", ""), UNDEFINED("p-2") "\nsend o-1 p+3 " NEXT_(NOTHING) "\nsubscribe p+3");
	assert_string_equal(notify(k, "p+3", 0, DONE("\"last\""), ""), "");
	assert_string_equal(log_taken(k), "item \"$0\"\nitem \"wait\"\nend \"last\"");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, "") + 11, " o-1 o-2\nretireImports o-1 o-2");
	/* the item fails: the stream is told, and so is `failed` */
	ask(k, "p-1", "#[\"read\",[\"$0\"]]", "o-3");
	assert_string_equal(notify(k, "p+4", 0, ITEM("\"fail\""), ""),
			    "send o-3 - #[\"throw\",[{\"#error\":\"no more\",\"name\":\"RangeError\"}]]");
	assert_string_equal(log_taken(k), "item \"fail\"\nfailed {\"#error\":\"no more\",\"name\":\"RangeError\"}");
	ask(k, "p-1", "#[\"read\",[\"$0\"]]", "o-3");
	notify(k, "p+5", 0, ITEM("\"wait\""), "");
	assert_string_equal(ask(k, "p-2", "#[\"rejectWith\",[1,5]]", ""), UNDEFINED("p-2") "\nsend o-3 - #[\"throw\",[5]]");
	assert_string_equal(log_taken(k), "item \"wait\"\nfailed 5");
	/* the stream fails; it answers what is no record */
	ask(k, "p-1", "#[\"read\",[\"$0\"]]", "o-3");
	assert_string_equal(notify(k, "p+6", WIRE_R_REJECTED, "#\"dead\"", ""), "");
	assert_string_equal(log_taken(k), "failed \"dead\"");
	ask(k, "p-1", "#[\"readUnnamed\",[\"$0\"]]", "o-3");
	assert_string_equal(notify(k, "p+7", 0, "#[1]", ""), "send o-3 - #[\"throw\",[{\"#error\":\"a stream answered wrongly: the value "
			    "must be a record, not an array\",\"name\":\"TypeError\"}]]");
	assert_non_null(strstr(log_taken(k), "a stream that is read failed, and nothing catches that"));
	assert_string_equal(ask(k, "p-1", "#[\"readWrong\",[\"$0\"]]", "o-3"), "resolve p-1 rejected #{\"#error\":\"vat_stream_each(): "
			    "Root has no continuation or method \\\"nothing\\\"\",\"name\":\"TypeError\"}");
	/* a promise for a reader */
	assert_string_equal(ask(k, "p-1", "#[\"read\",[\"&0\"]]", "p-9"), "subscribe p-9\n" UNDEFINED("p-1"));
	assert_string_equal(notify(k, "p-9", WIRE_R_REF, "#\"$0\"", "o-4"), "send o-4 p+8 " NEXT_(NOTHING) "\nsubscribe p+8");
	ask(k, "p-1", "#[\"read\",[\"&0\"]]", "p-10");
	notify(k, "p-10", 0, "#5", "");
	assert_string_equal(log_taken(k), "failed {\"#error\":\"the stream to read is no object\",\"name\":\"TypeError\"}");
}

static void test_write(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(ask(k, "p-1", "#[\"write\",[\"$0\"]]", "o-1"),
			    "send o-1 p+1 #[\"next\",[{\"n\":1}]]\nsend o-1 p+2 #[\"next\",[\"#undefined\"]]\n"
			    "send o-1 p+3 #[\"throw\",[{\"#error\":\"at 7\",\"name\":\"RangeError\"}]]\n"
			    "send o-1 p+4 #[\"return\",[\"#undefined\"]]\n" UNDEFINED("p-1"));
}

static void test_producer(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(ask(k, "p-1", "#[\"producing\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Reader\" o+1");
	assert_string_equal(message(k, R, "p-2", NEXT_(""), ""), "resolve p-2 " ITEM("1"));
	assert_string_equal(message(k, R, "p-3", NEXT_(""), ""), "");
	assert_string_equal(ask(k, "p-4", "#[\"settle\",[2,\"late\"]]", ""), UNDEFINED("p-4") "\nresolve p-3 " ITEM("\"late\""));
	assert_string_equal(message(k, R, "p-5", NEXT_(""), ""), "resolve p-5 " DONE("\"the last\""));
	assert_string_equal(message(k, R, "p-5", NEXT_(""), ""), "resolve p-5 " DONE(NOTHING));
	assert_string_equal(message(k, R, "p-5", "#[\"return\",[1]]", ""), "resolve p-5 " DONE("1"));
	assert_string_equal(k->logged, "");
	/* stopped by the other side, once */
	ask(k, "p-1", "#[\"producing\",[]]", "");
	assert_string_equal(message(k, "o+2", "p-5", "#[\"throw\",[\"tired\"]]", ""), "resolve p-5 " DONE(NOTHING));
	assert_string_equal(message(k, "o+2", "p-5", "#[\"return\",[1]]", ""), "resolve p-5 " DONE("1"));
	assert_string_equal(k->logged, "stopped \"tired\"");
	/* a promise that fails ends it, and so does a failure */
	ask(k, "p-1", "#[\"producing\",[]]", "");
	message(k, "o+3", "p-5", NEXT_(""), "");
	message(k, "o+3", "p-6", NEXT_(""), "");
	assert_string_equal(ask(k, "p-7", "#[\"rejectWith\",[2,\"no\"]]", ""), UNDEFINED("p-7") "\nresolve p-6 rejected #\"no\"");
	assert_string_equal(message(k, "o+3", "p-5", NEXT_(""), ""), "resolve p-5 " DONE(NOTHING));
	assert_string_equal(ask(k, "p-1", "#[\"doneOutside\",[]]", ""), "resolve p-1 rejected #{\"#error\":\"vat_stream_done() outside "
			    "a continuation of vat_producer()\",\"name\":\"Error\"}");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+1 o+2 o+3"), "retireExports o+1\nretireExports o+2\nretireExports o+3");
}

/* V5: a durable object reads on after a restart; its loop is in the store, and nothing of it when it has ended. */
static void test_each_durable(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"sink\",[]]", "");
	assert_non_null(strstr(message(k, "o+d1.1", "p-2", "#[\"read\",[\"$0\"]]", "o-1"), "send o-1 p+1 " NEXT_(NOTHING)));
	assert_non_null(strstr(notify(k, "p+1", 0, ITEM("\"a\""), ""), "send o-1 p+2 " NEXT_(NOTHING)));
	kill_vat(k);
	start(k);
	assert_non_null(strstr(notify(k, "p+2", 0, ITEM("\"b\""), ""), "send o-1 p+1001 " NEXT_(NOTHING)));
	kill_vat(k);
	start(k);
	notify(k, "p+1001", 0, DONE("0"), "");
	assert_string_equal(log_taken(k), "sink \"a\", 0 before\nsink \"b\", 1 before\nsink ends after 2");
	assert_null(store_text(k, "object.o+d2.2"));
	assert_null(store_text(k, "count.o-1"));
	k->imports[0].bits = vref_bits("o-1");
	k->reachable[0] = true;
	k->n_imports = 1;
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-1\nretireImports o-1");
	/* the reader's vat dies */
	message(k, "o+d1.1", "p-2", "#[\"read\",[\"$0\"]]", "o-2");
	notify(k, "p+2001", WIRE_R_REJECTED, "#{\"#error\":\"[KERNEL:VAT_TERMINATED] v5\",\"name\":\"Error\"}", "");
	assert_string_equal(log_taken(k), "sink failed after 2: [KERNEL:VAT_TERMINATED] v5");
	/* the reader was in this vat and died with its process: the kernel says so to the next incarnation */
	assert_non_null(strstr(message(k, "o+d1.1", "p-2", "#[\"readOwn\",[]]", ""), "send o+2001 p+2002 " NEXT_(NOTHING)));
	notify(k, "p+2002", 0, ITEM("\"c\""), "");
	collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
	kill_vat(k);
	start(k);
	notify(k, "p+2003", WIRE_R_REJECTED, "#{\"#error\":\"[KERNEL:VAT_RESTARTED] v7\",\"name\":\"Error\"}", "");
	assert_string_equal(log_taken(k), "sink \"c\", 2 before\nsink failed after 3: [KERNEL:VAT_RESTARTED] v7");
	/* the same, while the item's promise is waited for, which is another vat's and survives */
	message(k, "o+d1.1", "p-2", "#[\"readOwn\",[]]", "");
	assert_non_null(strstr(notify(k, "p+3001", 0, ITEM("\"&0\""), "p-50"), "subscribe p-50"));
	kill_vat(k);
	start(k);
	notify(k, "p-50", 0, "#1", "");
	assert_string_equal(log_taken(k), "sink \"&0\", 3 before\nsink failed after 4: the stream ended with a restart of this vat");
}

static void test_producer_durable(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"sink\",[]]", "");
	assert_non_null(strstr(message(k, "o+d1.1", "p-2", "#[\"producer\",[]]", ""), "resolve p-2 ref #\"$0.Alleged: Reader\" o+d2.2"));
	assert_non_null(strstr(message(k, "o+d2.2", "p-3", NEXT_(""), ""), "resolve p-3 " ITEM("1")));
	kill_vat(k);
	start(k);
	assert_non_null(strstr(message(k, "o+d2.2", "p-3", NEXT_(""), ""), "resolve p-3 " ITEM("2")));
	message(k, "o+d2.2", "p-3", "#[\"return\",[]]", "");
	kill_vat(k);
	start(k);
	assert_string_equal(message(k, "o+d2.2", "p-3", NEXT_(""), ""), "resolve p-3 " DONE(NOTHING));
}

static void test_facets(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"split\",[]]", "");
	char *facet = strdup(strstr(strstr(k->said, "resolve p-1"), " o+d") + 1);
	facet[strcspn(facet, "\n")] = 0;
	assert_non_null(strstr(message(k, facet, "p-2", "#[\"read\",[\"$0\"]]", "o-1"), "send o-1 p+1 " NEXT_(NOTHING)));
	char *reader = strdup(strstr(strstr(k->said, "resolve p-2"), " o+d") + 1);
	reader[strcspn(reader, "\n")] = 0;
	kill_vat(k);
	start(k);
	assert_non_null(strstr(notify(k, "p+1", 0, ITEM("1"), ""), "send o-1 p+1001 " NEXT_(NOTHING)));
	assert_non_null(strstr(message(k, reader, "p-3", NEXT_(""), ""), "resolve p-3 " ITEM("1")));
	assert_non_null(strstr(k->logged, "split 1"));
	free(facet);
	free(reader);
}

/* V5, P8: an own promise dies with the process, and the durable object's catch in the next incarnation hears of it. */
static void test_restarted_own(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	ask(k, "p-1", "#[\"sink\",[]]", "");
	assert_non_null(strstr(message(k, "o+d1.1", "p-2", "#[\"wait\",[]]", ""), "set when.p+1 catch o+d1.1 failed"));
	kill_vat(k);
	start(k);
	assert_non_null(strstr(notify(k, "p+1", WIRE_R_REJECTED, "#{\"#error\":\"[KERNEL:VAT_RESTARTED] v7\",\"name\":\"Error\"}", ""),
			       "delete when.p+1"));
	assert_string_equal(k->logged, "sink failed after 0: [KERNEL:VAT_RESTARTED] v7");
	assert_null(store_text(k, "when.p+1"));
	assert_null(store_text(k, "count.o+d1.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, vat_kernel_setup, vat_kernel_teardown)
		T(test_all), T(test_race_any_settled), T(test_own_combined), T(test_great_numbers), T(test_rings), T(test_named_again),
		T(test_pipe), T(test_pipe_writer_ends), T(test_pipe_reader_ends), T(test_pipe_limit), T(test_long_reason), T(test_pipe_dropped),
		T(test_each), T(test_write), T(test_producer), T(test_each_durable), T(test_producer_durable), T(test_restarted_own), T(test_facets),
	};
	return cmocka_run_group_tests_name("vatpromise", tests, NULL, NULL);
}
