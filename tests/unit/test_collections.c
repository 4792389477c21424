/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ordered collections: the library in a child, the test plays the kernel with a vatstore that outlives it. Places 0
 * to 3 of the vat's root hold durable collections, 4 to 7 those that die with the process.
 */
#include "vat_kernel.h"

#include <capstan/vat.h>

#include "../../vatd/lib/internal.h"
#include "key_vectors.h"

/* --- the vat -------------------------------------------------------------------------------------- */

typedef struct { int64_t n; vat_ref *peer; } thing;
VAT_METHOD(thing, thing_init) { return vat_read(v, "?i?r", &self->n, &self->peer); }
VAT_METHOD(thing, thing_get) { return vat_return(v, "i", self->n); }
/* Named as one of the library's own kinds, which is nobody's business. */
static const vat_kind Thing = { "Rows", sizeof(thing), VAT_INIT(thing_init), VAT_STATE(VAT_I64(thing, n), VAT_REF(thing, peer)),
	VAT_METHODS({ "get", "", "i", thing_get }) };

typedef struct { int64_t n; } door;
VAT_METHOD(door, door_knock) { return vat_return(v, "i", ++self->n); }
static const vat_kind Door = { "Door", sizeof(door), VAT_STATE(VAT_I64(door, n)),
	VAT_FACETS(VAT_FACET("in", { "knock", "", "i", door_knock }), VAT_FACET("out", { "knock", "", "i", door_knock })) };

typedef struct { int64_t n; } toy;
VAT_METHOD(toy, toy_get) { return vat_return(v, "i", self->n); }
VAT_METHOD(toy, toy_gone)
{
	vat_log(v, "a toy is gone");
	return 0;
}
static const vat_kind Toy = { "Toy", sizeof(toy), VAT_FINI(toy_gone), VAT_METHODS({ "get", "", "i", toy_get }) };

typedef struct { vat_ref *a, *b, *c, *d, *held[4]; } root;

static vat_ref **place(root *self, int64_t i)
{
	vat_ref **places[] = { &self->a, &self->b, &self->c, &self->d, &self->held[0], &self->held[1], &self->held[2], &self->held[3] };
	return places[i & 7];
}

static void put_in_place(vat *v, root *self, int64_t i, vat_ref *ref)
{
	vat_ref **p = place(self, i);
	if (i >= 4 && *p)
		vat_release(v, *p);
	*p = ref;
	if (i >= 4 && ref)
		vat_hold(v, ref);
}

VAT_METHOD(root, make)
{
	int64_t i, flags;
	const char *what, *label;
	vat_read(v, "issi", &i, &what, &label, &flags);
	vat_ref *ref = *what == 'm' ? vat_map_new(v, label, (unsigned)flags) : vat_set_new(v, label, (unsigned)flags);
	if (!ref)
		return -1;
	put_in_place(v, self, i, ref);
	return 0;
}
VAT_METHOD(root, drop)
{
	int64_t i;
	vat_read(v, "i", &i);
	put_in_place(v, self, i, NULL);
	return 0;
}
VAT_METHOD(root, show)
{
	int64_t i;
	vat_read(v, "i", &i);
	return vat_return(v, "r", *place(self, i));
}
VAT_METHOD(root, set)
{
	int64_t i;
	vat_value *key, *value;
	vat_read(v, "ivv", &i, &key, &value);
	return vat_map_set(v, *place(self, i), "v", "v", key, value);
}
VAT_METHOD(root, init)
{
	int64_t i;
	vat_value *key, *value;
	vat_read(v, "ivv", &i, &key, &value);
	return vat_map_init(v, *place(self, i), "v", "v", key, value);
}
VAT_METHOD(root, add)
{
	int64_t i;
	vat_value *key;
	vat_read(v, "iv", &i, &key);
	return vat_set_add(v, *place(self, i), "v", key);
}
VAT_METHOD(root, get)
{
	int64_t i;
	vat_value *key, *value;
	vat_read(v, "iv", &i, &key);
	return vat_map_get(v, *place(self, i), "v", "v", key, &value) ? vat_return(v, "v", value) : 0;
}
VAT_METHOD(root, get_number)
{
	int64_t i, n;
	vat_value *key;
	vat_read(v, "iv", &i, &key);
	return vat_map_get(v, *place(self, i), "v", "i", key, &n) ? vat_return(v, "i", n) : 0;
}
VAT_METHOD(root, has)
{
	int64_t i;
	vat_value *key;
	vat_read(v, "iv", &i, &key);
	return vat_return(v, "b", vat_collection_has(v, *place(self, i), "v", key));
}
VAT_METHOD(root, del)
{
	int64_t i;
	vat_value *key;
	vat_read(v, "iv", &i, &key);
	return vat_return(v, "b", vat_collection_delete(v, *place(self, i), "v", key));
}
VAT_METHOD(root, size)
{
	int64_t i;
	vat_read(v, "i", &i);
	int64_t n = (int64_t)vat_collection_size(v, *place(self, i));
	return vat_return(v, "i", n);
}
VAT_METHOD(root, clear)
{
	int64_t i;
	vat_read(v, "i", &i);
	vat_collection_clear(v, *place(self, i));
	return 0;
}
/* Keys, or values, or how many, of {from, to}. */
VAT_METHOD(root, walk)
{
	int64_t i, n = 0;
	const char *what;
	vat_value *bounds, *key, *value, *items[512];
	vat_read(v, "isv", &i, &what, &bounds);
	vat_cursor *cursor = vat_range(v, *place(self, i), vat_get(v, bounds, "from"), vat_get(v, bounds, "to"));
	while (vat_next(v, cursor, *what == 'k' ? &key : NULL, *what == 'v' ? &value : NULL)) {
		if (*what != 'n' && n < 512)
			items[n] = *what == 'k' ? key : value;
		n++;
	}
	if (*what == 'n')
		return vat_return(v, "i", n);
	return vat_return(v, "v", vat_array(v, items, (size_t)n));
}
/* Walks numbers, deletes every key on the way and the one after it, and adds one behind. */
VAT_METHOD(root, churn)
{
	int64_t i, n, seen = 0;
	vat_value *key;
	vat_read(v, "i", &i);
	vat_ref *map = *place(self, i);
	vat_cursor *cursor = vat_range(v, map, NULL, NULL);
	while (vat_next(v, cursor, &key, NULL)) {
		vat_value_read(v, key, "i", &n);
		seen++;
		vat_collection_delete(v, map, "i", n);
		vat_collection_delete(v, map, "i", n + 1);
		if (n == 3)
			vat_map_set(v, map, "i", "i", INT64_C(100), INT64_C(0));
		if (n == 100) {
			vat_collection_clear(v, map);
			vat_map_set(v, map, "i", "i", INT64_C(1), INT64_C(0));
			vat_map_set(v, map, "i", "i", INT64_C(101), INT64_C(0));
		}
	}
	return vat_return(v, "[ii]", seen, (int64_t)vat_collection_size(v, map));
}
/* n entries from a number on; the value is the reference if one is given. */
VAT_METHOD(root, fill)
{
	int64_t i, from, n;
	vat_ref *r = NULL;
	vat_read(v, "iii?r", &i, &from, &n, &r);
	for (int64_t k = from; k < from + n; k++)
		if (r ? vat_map_set(v, *place(self, i), "i", "r", k, r) : vat_map_set(v, *place(self, i), "i", "i", k, k))
			return -1;
	return 0;
}
/* Each value an own durable object of its own. */
VAT_METHOD(root, populate)
{
	int64_t i, n;
	vat_read(v, "ii", &i, &n);
	for (int64_t k = 0; k < n; k++)
		if (vat_map_set(v, *place(self, i), "i", "r", k, vat_new(v, &Thing, "i", k)))
			return -1;
	return 0;
}
VAT_METHOD(root, nest)
{
	int64_t i, j;
	vat_value *key;
	vat_read(v, "ivi", &i, &key, &j);
	return vat_map_set(v, *place(self, i), "v", "r", key, *place(self, j));
}
VAT_METHOD(root, nested)		/* of the map that is the value there */
{
	int64_t i;
	vat_value *key, *value;
	vat_ref *inner;
	vat_read(v, "ivv", &i, &key, &value);
	if (!vat_map_get(v, *place(self, i), "v", "r", key, &inner))
		return vat_fail(v, "Error", "nothing there");
	return vat_map_set(v, inner, "s", "v", "x", value) ? -1 : vat_return(v, "i", (int64_t)vat_collection_size(v, inner));
}
VAT_METHOD(root, make_thing)
{
	int64_t n;
	vat_read(v, "i", &n);
	return vat_return(v, "r", vat_new(v, &Thing, "i", n));
}
VAT_METHOD(root, make_door)
{
	vat_ref *made = vat_new(v, &Door, "");
	return vat_return(v, "[rr]", vat_facet_of(v, made, "in"), vat_facet_of(v, made, "out"));
}
/* One key in n new weak sets, which stand in the map there. */
VAT_METHOD(root, in_many)
{
	int64_t i, n;
	vat_ref *key;
	vat_read(v, "iir", &i, &n, &key);
	for (int64_t k = 0; k < n; k++) {
		vat_ref *set = vat_set_new(v, "weak", VAT_DURABLE_COLLECTION | VAT_WEAK_KEYS);
		if (vat_set_add(v, set, "r", key) || vat_map_set(v, *place(self, i), "i", "r", k, set))
			return -1;
	}
	return 0;
}
VAT_METHOD(root, stash)
{
	int64_t i;
	vat_read(v, "i", &i);
	return vat_baggage_set(v, "map", "r", *place(self, i));
}
VAT_METHOD(root, fetch)
{
	int64_t i;
	vat_ref *map;
	vat_read(v, "i", &i);
	if (vat_baggage_get(v, "map", "r", &map))
		put_in_place(v, self, i, map);
	vat_baggage_delete(v, "map");
	return 0;
}
VAT_METHOD(root, make_toy) { return vat_return(v, "r", vat_new(v, &Toy, "")); }
/* An object that only this map names. */
VAT_METHOD(root, put_toy)
{
	int64_t i;
	vat_value *key;
	vat_read(v, "iv", &i, &key);
	return vat_map_set(v, *place(self, i), "v", "r", key, vat_new(v, &Toy, ""));
}
/* As a key of one map and value of another, so that it can be found again. */
VAT_METHOD(root, key_toy)
{
	int64_t i, j;
	vat_read(v, "ii", &i, &j);
	vat_ref *t = vat_new(v, &Toy, "");
	return vat_map_set(v, *place(self, i), "r", "s", t, "of the toy") ? -1 : vat_map_set(v, *place(self, j), "s", "r", "toy", t);
}
VAT_METHOD(root, find_toy)
{
	int64_t i, j;
	vat_ref *t;
	const char *s;
	vat_read(v, "ii", &i, &j);
	if (!vat_map_get(v, *place(self, j), "s", "r", "toy", &t) || !vat_map_get(v, *place(self, i), "r", "s", t, &s))
		return 0;
	return vat_return(v, "s", s);
}
VAT_METHOD(root, mistake)
{
	int64_t i;
	vat_read(v, "i", &i);
	switch (i) {
	case 0: return vat_map_set(v, NULL, "i", "i", i, i);
	case 1: return vat_map_set(v, vat_self(v), "i", "i", i, i);
	case 2: return vat_map_set(v, vat_promise_new(v), "i", "i", i, i);
	case 3: return vat_set_add(v, self->a, "i", i);
	case 4: return vat_map_set(v, self->a, "{a:i}", "i", i, i);
	case 5: return vat_map_set(v, self->a, "i", "r", i, vat_promise_new(v));
	case 6: return vat_map_set(v, self->a, "r", "i", vat_promise_new(v), i);
	case 7: return vat_map_set(v, self->a, "i", "r", i, vat_new(v, &Toy, ""));
	case 8: return vat_map_set(v, self->a, "r", "i", vat_new(v, &Toy, ""), i);
	case 9: return vat_map_set(v, self->held[0], "i", "r", i, vat_promise_new(v));
	case 10: return vat_map_set(v, self->a, "i", "r", i, self->held[0]);
	case 11: return vat_map_set(v, self->a, "?!", "i", i, i);
	case 12: return vat_map_new(v, "x", 64) ? 0 : -1;
	case 13: return vat_map_new(v, "\xff", 1) ? 0 : -1;
	case 14: {
		static char text[5001];
		memset(text, 'x', 5000);
		return vat_map_set(v, self->a, "s", "i", text, i);
	}
	case 15: {
		char label[202] = "";
		memset(label, 'x', 201);
		return vat_map_new(v, label, 0) ? 0 : -1;
	}
	default: return 0;
	}
}

static const vat_kind Root = { "Root", sizeof(root),
	VAT_STATE(VAT_REF(root, a), VAT_REF(root, b), VAT_REF(root, c), VAT_REF(root, d)),
	VAT_METHODS({ "make", "issi", NULL, make }, { "drop", "i", NULL, drop }, { "show", "i", "r", show }, { "set", "ivv", NULL, set },
		    { "init", "ivv", NULL, init }, { "add", "iv", NULL, add }, { "get", "iv", NULL, get },
		    { "getNumber", "iv", NULL, get_number }, { "has", "iv", "b", has }, { "delete", "iv", "b", del },
		    { "size", "i", "i", size }, { "clear", "i", NULL, clear }, { "walk", "isv", NULL, walk },
		    { "churn", "i", NULL, churn }, { "fill", "iii?r", NULL, fill }, { "populate", "ii", NULL, populate },
		    { "nest", "ivi", NULL, nest }, { "nested", "ivv", NULL, nested }, { "thing", "i", "r", make_thing },
		    { "toy", "", "r", make_toy }, { "door", "", NULL, make_door },
		    { "inMany", "iir", NULL, in_many }, { "stash", "i", NULL, stash }, { "fetch", "i", NULL, fetch }, { "putToy", "iv", NULL, put_toy }, { "keyToy", "ii", NULL, key_toy },
		    { "findToy", "ii", NULL, find_toy }, { "mistake", "i", NULL, mistake }) };

static const vat_program program = { (const vat_kind *const[]){ &Root, &Thing, &Door, NULL } };

static void serve(const void *arg)
{
	_exit(vat_serve(3, arg));
}

static void start(struct vat_kernel *k)
{
	k->quiet = true;
	start_vat(k, serve, &program, "#\"#undefined\"");
}

static void restart(struct vat_kernel *k)
{
	kill_vat(k);
	start(k);
}

/* Calls the root: "set", "0,\"a\",1" and slots. Returns the answer's text, "rejected …" or what follows "resolve p-1 ". */
static const char *call(struct vat_kernel *k, const char *method, const char *args, const char *slots)
{
	static char *body;
	free(body);
	assert_true(asprintf(&body, "#[\"%s\",[%s]]", method, args) >= 0);
	const char *said = message(k, "o+0", "p-1", body, slots);
	const char *answer = strstr(said, "resolve p-1 ");
	if (!answer)
		return k->exited ? "dead" : said;
	static char *line;
	free(line);
	answer += strlen("resolve p-1 ");
	line = strndup(answer, strcspn(answer, "\n"));
	return line;
}

#define DONE "#\"#undefined\""
#define ERROR(message_) "rejected #{\"#error\":\"" message_ "\",\"name\":\"Error\"}"
#define TYPE_ERROR(message_) "rejected #{\"#error\":\"" message_ "\",\"name\":\"TypeError\"}"

static bool has_died(const struct vat_kernel *k)
{
	return k->exited || strstr(k->said, "failed: ");
}

/* What the vat has put off. Returns in how many cranks. */
static unsigned settle_down(struct vat_kernel *k)
{
	unsigned n = 0;
	for (; k->woken && !has_died(k); n++) {
		assert_true(n < 100000);
		wake(k);
	}
	return n;
}

static const char *bring_out_dead(struct vat_kernel *k)
{
	return collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
}

/* How often the vatstore counts a reference. */
static size_t counted(struct vat_kernel *k, const char *vref)
{
	char key[64];
	snprintf(key, sizeof(key), "count.%s", vref);
	const char *text = store_text(k, key);
	return text ? strtoul(text, NULL, 10) : 0;
}

/* --- basics --------------------------------------------------------------------------------------- */

static void basics(struct vat_kernel *k, int at, int flags)
{
	char args[200];
#define AT(rest) (snprintf(args, sizeof(args), "%d" rest, at), args)
	snprintf(args, sizeof(args), "%d,\"map\",\"ages\",%d", at, flags);
	assert_string_equal(call(k, "make", args, ""), DONE);
	assert_string_equal(call(k, "size", AT(""), ""), "#0");
	assert_string_equal(call(k, "get", AT(",\"alice\""), ""), DONE);
	assert_string_equal(call(k, "delete", AT(",\"alice\""), ""), "#false");
	assert_string_equal(call(k, "walk", AT(",\"keys\",{}"), ""), "#[]");
	assert_string_equal(call(k, "set", AT(",\"alice\",42"), ""), DONE);
	assert_string_equal(call(k, "get", AT(",\"alice\""), ""), "#42");
	assert_string_equal(call(k, "has", AT(",\"alice\""), ""), "#true");
	assert_string_equal(call(k, "has", AT(",\"bob\""), ""), "#false");
	assert_string_equal(call(k, "set", AT(",\"alice\",[\"$0\",{\"x\":null}]"), "o-9"), DONE);
	assert_string_equal(call(k, "get", AT(",\"alice\""), ""), "#[\"$0\",{\"x\":null}] o-9");
	assert_string_equal(call(k, "size", AT(""), ""), "#1");
	assert_string_equal(call(k, "init", AT(",\"alice\",1"), ""),
			    ERROR("map \\\"ages\\\" has this key already: a string (\\\"alice\\\")"));
	assert_string_equal(call(k, "init", AT(",[1,\"x\"],1"), ""), DONE);
	assert_string_equal(call(k, "init", AT(",-0,\"zero\""), ""), DONE);
	assert_string_equal(call(k, "get", AT(",0"), ""), "#\"zero\"");
	assert_string_equal(call(k, "size", AT(""), ""), "#3");
	assert_string_equal(call(k, "walk", AT(",\"keys\",{}"), ""), "#[[1,\"x\"],0,\"alice\"]");
	assert_string_equal(call(k, "walk", AT(",\"keys\",{\"from\":[],\"to\":\"alice\"}"), ""), "#[[1,\"x\"],0]");
	assert_string_equal(call(k, "walk", AT(",\"values\",{\"from\":[1,\"x\"],\"to\":5}"), ""), "#[1,\"zero\"]");
	assert_string_equal(call(k, "walk", AT(",\"n\",{\"from\":\"alice\",\"to\":\"alice\"}"), ""), "#0");
	assert_string_equal(call(k, "walk", AT(",\"n\",{\"from\":\"alice\",\"to\":\"alicf\"}"), ""), "#1");
	assert_string_equal(call(k, "walk", AT(",\"n\",{\"from\":9,\"to\":1}"), ""), "#0");
	assert_string_equal(call(k, "delete", AT(",0"), ""), "#true");
	assert_string_equal(call(k, "has", AT(",0"), ""), "#false");
	assert_string_equal(call(k, "size", AT(""), ""), "#2");
	assert_string_equal(call(k, "getNumber", AT(",[1,\"x\"]"), ""), "#1");
	assert_string_equal(call(k, "set", AT(",1,\"one\""), ""), DONE);
	assert_string_equal(call(k, "getNumber", AT(",1"), ""),
			    TYPE_ERROR("map \\\"ages\\\": of the key a number (1), the value must be an integer, not a string (\\\"one\\\")"));
	assert_string_equal(call(k, "clear", AT(""), ""), DONE);
	assert_string_equal(call(k, "size", AT(""), ""), "#0");
	assert_string_equal(call(k, "has", AT(",1"), ""), "#false");
	assert_string_equal(call(k, "set", AT(",1,1"), ""), DONE);
	assert_string_equal(call(k, "walk", AT(",\"keys\",{}"), ""), "#[1]");

	snprintf(args, sizeof(args), "%d,\"set\",\"names\",%d", at + 1, flags);
	assert_string_equal(call(k, "make", args, ""), DONE);
	at++;
	assert_string_equal(call(k, "add", AT(",\"b\""), ""), DONE);
	assert_string_equal(call(k, "add", AT(",\"a\""), ""), DONE);
	assert_string_equal(call(k, "add", AT(",\"b\""), ""), DONE);
	assert_string_equal(call(k, "add", AT(",\"$0\""), "o-9"), DONE);
	assert_string_equal(call(k, "size", AT(""), ""), "#3");
	assert_string_equal(call(k, "has", AT(",\"$0\""), "o-9"), "#true");
	assert_string_equal(call(k, "walk", AT(",\"keys\",{}"), ""), "#[\"$0\",\"a\",\"b\"] o-9");
	assert_string_equal(call(k, "delete", AT(",\"$0\""), "o-9"), "#true");
	assert_string_equal(call(k, "get", AT(",\"a\""), ""), TYPE_ERROR("a map of this vat is needed, not a set"));
}

static void test_durable(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	basics(k, 0, VAT_DURABLE_COLLECTION);
	restart(k);
	assert_string_equal(call(k, "get", "0,1", ""), "#1");
	assert_string_equal(call(k, "size", "0", ""), "#1");
	assert_string_equal(call(k, "walk", "1,\"keys\",{}", ""), "#[\"a\",\"b\"]");
	assert_string_equal(call(k, "size", "1", ""), "#2");
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 3);
	assert_int_equal(counted(k, "o-9"), 0);
}

static void test_virtual(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	basics(k, 4, 0);
	assert_true(store_count_rows(k, "life.1.entry.") >= 3);
	restart(k);
	bring_out_dead(k);
	settle_down(k);
	assert_int_equal(store_count_rows(k, "life.1."), 0);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	basics(k, 4, 0);
}

static void test_mistakes(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	call(k, "make", "4,\"map\",\"v\",0", "");
	call(k, "make", "1,\"map\",\"w\",3", "");
#define MISTAKE(i, sentence) assert_string_equal(call(k, "mistake", #i, ""), TYPE_ERROR(sentence))
	MISTAKE(0, "a map of this vat is needed, not NULL");
	MISTAKE(1, "a map of this vat is needed, not an object of kind Root");
	MISTAKE(2, "a map of this vat is needed, not another reference");
	MISTAKE(3, "a set of this vat is needed, not a map");
	MISTAKE(4, "map \\\"m\\\": a record is no key");
	MISTAKE(5, "map \\\"m\\\": its value: a promise would not survive a restart; imported references, the root and objects "
		"with a state table do");
	assert_non_null(strstr(call(k, "mistake", "6", ""), "map \\\"m\\\": its key: a promise"));
	assert_non_null(strstr(call(k, "mistake", "7", ""), "map \\\"m\\\": its value: an object of kind Toy"));
	assert_non_null(strstr(call(k, "mistake", "8", ""), "map \\\"m\\\": its key: an object of kind Toy"));
	assert_non_null(strstr(call(k, "mistake", "9", ""), "map \\\"v\\\": its value: a promise"));
	assert_non_null(strstr(call(k, "mistake", "10", ""), "map \\\"m\\\": its value: "));
	MISTAKE(11, "map \\\"m\\\": its key: bad signature: \\\"?!\\\"");
	MISTAKE(12, "a map with flags 0x40");
	MISTAKE(13, "vat_set_string(): the string is not UTF-8");
	assert_non_null(strstr(call(k, "mistake", "14", ""), "map \\\"m\\\": a key of 5001 bytes is too long, 40"));
	MISTAKE(15, "the label of a map is at most 200 bytes");
	assert_string_equal(call(k, "size", "1", ""), TYPE_ERROR("map \\\"w\\\" has weak keys: it cannot be counted"));
	assert_string_equal(call(k, "walk", "1,\"n\",{}", ""), TYPE_ERROR("map \\\"w\\\" has weak keys: it cannot be walked"));
	assert_string_equal(call(k, "walk", "0,\"n\",{\"from\":{}}", ""), TYPE_ERROR("map \\\"m\\\": a record is no key"));
	/* nothing came of all that */
	assert_string_equal(call(k, "size", "0", ""), "#0");
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	/* others can hold a collection, and do nothing with it */
	const char *shown = call(k, "show", "0", "");
	char ref[40];
	assert_int_equal(sscanf(shown, "ref #\"$0.Alleged: Map\" %39s", ref), 1);
	assert_string_equal(message(k, ref, "p-2", "#[\"get\",[1]]", ""),
			    "resolve p-2 rejected #{\"#error\":\"Map has no method \\\"get\\\"\",\"name\":\"TypeError\"}");
}

/* Reads are what waiting for the kernel costs: as few as the header says. */
static void test_cost(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	call(k, "set", "0,1,1", "");
#define READS(n, ...) (call(k, __VA_ARGS__, ""), assert_int_equal(k->n_reads, n))
	READS(1, "set", "0,2,2");
	READS(1, "set", "0,2,3");
	READS(1, "get", "0,2");
	READS(1, "has", "0,2");
	READS(0, "size", "0");
	READS(1, "delete", "0,1");
	READS(2, "walk", "0,\"n\",{}");
	READS(3, "walk", "0,\"values\",{}");
	READS(2, "walk", "0,\"n\",{\"from\":2}");
	READS(3, "clear", "0");	/* by itself none; this little is deleted at once when the crank ends */
	READS(0, "get", "0,2");
}

/* What changes while it is walked is seen or not, and the walk ends. */
static void test_churn(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	for (int at = 0; at <= 4; at += 4) {
		char args[100];
		snprintf(args, sizeof(args), "%d,\"map\",\"m\",%d", at, at ? 0 : 1);
		call(k, "make", args, "");
		snprintf(args, sizeof(args), "%d,0,10", at);
		call(k, "fill", args, "");
		snprintf(args, sizeof(args), "%d", at);
		/* 0 2 4 6 8: without 3 no 100 comes; then from 1: 1 3 5 7 9 100 101, and 1 stays */
		assert_string_equal(call(k, "churn", args, ""), "#[5,0]");
		snprintf(args, sizeof(args), "%d,1,9", at);
		call(k, "fill", args, "");
		snprintf(args, sizeof(args), "%d", at);
		assert_string_equal(call(k, "churn", args, ""), "#[7,1]");
	}
}

/* --- order, and a plain model --------------------------------------------------------------------- */

#define N_KEYS (int)ARRAY_LEN(key_vectors)
struct model { bool there[ARRAY_LEN(key_vectors)]; int value[ARRAY_LEN(key_vectors)]; int size; };

static uint64_t seed;
static int chance(int n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int)((seed >> 33) % (uint64_t)n);
}

/* The values are numbers, or, every third, a record with the reference o-4. */
static char *value_text(int n)
{
	static char text[64];
	snprintf(text, sizeof(text), n % 3 ? "%d" : "{\"n\":%d,\"r\":\"$0\"}", n);
	return text;
}

static void check_walk(struct vat_kernel *k, const struct model *m, int at)
{
	int from = chance(N_KEYS), to = from + chance(N_KEYS - from + 1);
	char args[4096], slots[100];
	/* slots of the first bound stand first; the second's are renumbered by hand: only take such without */
	while (*key_vectors[from].slots)
		from = (from + 1) % N_KEYS;
	while (to < N_KEYS && *key_vectors[to].slots)
		to++;
	bool bounded = to < N_KEYS;
	snprintf(args, sizeof(args), "%d,\"n\",{\"from\":%s%s%s}", at, key_vectors[from].body + 1, bounded ? ",\"to\":" : "",
		 bounded ? key_vectors[to].body + 1 : "");
	snprintf(slots, sizeof(slots), "%s", "");
	int n = 0;
	for (int i = from; i < to && i < N_KEYS; i++)
		n += m->there[i];
	char expected[20];
	snprintf(expected, sizeof(expected), "#%d", n);
	assert_string_equal(call(k, "walk", args, slots), expected);
}

static void check_all(struct vat_kernel *k, const struct model *m, int at)
{
	char args[100], *expected = NULL;
	size_t len;
	FILE *f = open_memstream(&expected, &len);
	bool first = true, slot = false;
	fputc('#', f);
	fputc('[', f);
	for (int i = 0; i < N_KEYS; i++) {
		if (!m->there[i])
			continue;
		fprintf(f, "%s%s", first ? "" : ",", value_text(m->value[i]));
		first = false;
		slot = slot || m->value[i] % 3 == 0;
	}
	fprintf(f, "]%s", slot ? " o-4" : "");
	fclose(f);
	snprintf(args, sizeof(args), "%d,\"values\",{}", at);
	const char *got = call(k, "walk", args, "");
	if (len <= 4096)
		assert_string_equal(got, expected);
	else
		assert_non_null(strstr(got, "bytes)"));
	free(expected);
	snprintf(args, sizeof(args), "%d", at);
	char size[20];
	snprintf(size, sizeof(size), "#%d", m->size);
	assert_string_equal(call(k, "size", args, ""), size);
}

/* What the store counts is what is there. */
static void check_counts(struct vat_kernel *k, const struct model *m)
{
	settle_down(k);
	size_t expected[5] = { 0 };
	for (int i = 0; i < N_KEYS; i++) {
		if (!m->there[i])
			continue;
		for (const char *p = key_vectors[i].slots; (p = strstr(p, "o-")); p += 2)
			expected[p[2] - '0']++;
		expected[4] += m->value[i] % 3 == 0;
	}
	for (int i = 1; i <= 4; i++) {
		char vref[8];
		snprintf(vref, sizeof(vref), "o-%d", i);
		assert_int_equal(counted(k, vref), expected[i]);
	}
	assert_int_equal(store_count_rows(k, "entry."), m->size);
}

static void operate(struct vat_kernel *k, struct model *m, int at)
{
	int i = chance(N_KEYS), n = chance(100000);
	const struct key_vector *x = &key_vectors[i];
	char args[4096], expected[100], slots[100];
	switch (chance(8)) {
	case 0: case 1: case 2:
		if (n % 3 == 0 && *x->slots)
			n++;
		snprintf(slots, sizeof(slots), "%s", *x->slots ? x->slots : n % 3 == 0 ? "o-4" : "");
		snprintf(args, sizeof(args), "%d,%s,%s", at, x->body + 1, value_text(n));
		assert_string_equal(call(k, "set", args, slots), DONE);
		m->size += !m->there[i];
		m->there[i] = true;
		m->value[i] = n;
		break;
	case 3: case 4:
		snprintf(args, sizeof(args), "%d,%s", at, x->body + 1);
		assert_string_equal(call(k, "delete", args, x->slots), m->there[i] ? "#true" : "#false");
		m->size -= m->there[i];
		m->there[i] = false;
		break;
	case 5:
		snprintf(args, sizeof(args), "%d,%s", at, x->body + 1);
		snprintf(expected, sizeof(expected), "#%s%s", value_text(m->value[i]), m->value[i] % 3 ? "" : " o-4");
		assert_string_equal(call(k, "get", args, x->slots), m->there[i] ? expected : DONE);
		break;
	case 6:
		check_walk(k, m, at);
		break;
	case 7:
		if (chance(40))
			break;
		snprintf(args, sizeof(args), "%d", at);
		assert_string_equal(call(k, "clear", args, ""), DONE);
		memset(m, 0, sizeof(*m));
		break;
	}
}

static void test_random(void **state)
{
	struct vat_kernel *k = *state;
	struct model m = { 0 };
	const char *given = getenv("SEED");
	seed = given ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 1000003;
	print_message("SEED=%llu\n", (unsigned long long)seed);
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	for (int i = 1; i <= 4; i++)
		k->imports[k->n_imports] = vref_make(false, true, (uint64_t)i), k->reachable[k->n_imports++] = true;
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 200; i++)
			operate(k, &m, 0);
		check_all(k, &m, 0);
		if (chance(3) == 0)
			bring_out_dead(k);
		check_counts(k, &m);
		if (chance(2))
			restart(k);
	}
}

static void test_random_virtual(void **state)
{
	struct vat_kernel *k = *state;
	seed = (uint64_t)getpid() * 7919;
	print_message("SEED=%llu\n", (unsigned long long)seed);
	start(k);
	for (int round = 0; round < 4; round++) {
		struct model m = { 0 };
		call(k, "make", "4,\"map\",\"m\",0", "");
		for (int i = 0; i < 300; i++)
			operate(k, &m, 4);
		check_all(k, &m, 4);
		if (round == 1)
			bring_out_dead(k);
		if (round == 2)
			restart(k);
		if (round == 3) {
			call(k, "set", "4,\"all\",[\"$0\",\"$1\",\"$2\",\"$3\"]", "o-1 o-2 o-3 o-4");
			assert_string_equal(bring_out_dead(k), "");
			call(k, "delete", "4,\"all\"", "");
			call(k, "clear", "4", "");
			settle_down(k);
			assert_string_equal(bring_out_dead(k), "dropImports o-1 o-2 o-3 o-4\nretireImports o-1 o-2 o-3 o-4");
		}
	}
}

/* All vectors at once, in order. */
static void test_order(void **state)
{
	struct vat_kernel *k = *state;
	char args[4096];
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	for (int i = 0; i < N_KEYS; i++) {
		int j = i * 101 % N_KEYS;	/* some order */
		snprintf(args, sizeof(args), "0,%s,%d", key_vectors[j].body + 1, j + 1000);
		assert_string_equal(call(k, "set", args, key_vectors[j].slots), DONE);
	}
	char *expected = strdup("#[");
	for (int i = 0; i < N_KEYS; i++) {
		char *more;
		assert_true(asprintf(&more, "%s%s%d", expected, i ? "," : "", i + 1000) >= 0);
		free(expected);
		expected = more;
	}
	assert_int_equal(strncmp(call(k, "walk", "0,\"values\",{}", ""), expected, strlen(expected)), 0);
	free(expected);
}

/* --- what holds what ------------------------------------------------------------------------------ */

static void test_counts(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	call(k, "set", "0,\"a\",\"$0\"", "o-5");
	call(k, "set", "0,\"$0\",[\"$0\",\"$1\"]", "o-5 o-6");
	assert_int_equal(counted(k, "o-5"), 3);
	assert_int_equal(counted(k, "o-6"), 1);
	assert_string_equal(bring_out_dead(k), "");
	call(k, "set", "0,\"a\",\"$0\"", "o-6");
	assert_int_equal(counted(k, "o-5"), 2);
	call(k, "delete", "0,\"$0\"", "o-5");
	assert_int_equal(counted(k, "o-6"), 1);
	assert_string_equal(bring_out_dead(k), "dropImports o-5\nretireImports o-5");
	call(k, "clear", "0", "");
	settle_down(k);
	assert_int_equal(counted(k, "o-6"), 0);
	assert_string_equal(bring_out_dead(k), "dropImports o-6\nretireImports o-6");

	/* own objects go with the last entry */
	call(k, "populate", "0,3", "");
	assert_int_equal(store_count_rows(k, "object.o+d"), 2 + 3);	/* the map and its rows too */
	call(k, "delete", "0,1", "");
	settle_down(k);
	assert_int_equal(store_count_rows(k, "object.o+d"), 2 + 2);
	call(k, "drop", "0", "");
	settle_down(k);
	assert_int_equal(store_count_rows(k, "object.o+d"), 0);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	assert_int_equal(store_count_rows(k, "count."), 0);
}

/* Collections in collections; a ring of them is the author's to break. */
static void test_nested(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "0,\"map\",\"outer\",1", "");
	call(k, "make", "1,\"map\",\"inner\",1", "");
	assert_string_equal(call(k, "nest", "0,\"in\",1", ""), DONE);
	call(k, "drop", "1", "");
	assert_string_equal(call(k, "nested", "0,\"in\",7", ""), "#1");
	restart(k);
	assert_string_equal(call(k, "nested", "0,\"in\",\"$0\"", "o-5"), "#1");
	assert_int_equal(counted(k, "o-5"), 1);
	/* in baggage */
	assert_string_equal(call(k, "stash", "0", ""), DONE);
	call(k, "drop", "0", "");
	restart(k);
	assert_string_equal(call(k, "fetch", "2", ""), DONE);
	assert_string_equal(call(k, "nested", "2,\"in\",\"$0\"", "o-5"), "#1");
	call(k, "drop", "2", "");
	settle_down(k);
	assert_int_equal(store_count_rows(k, "object.o+d"), 0);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	assert_int_equal(counted(k, "o-5"), 0);
}

/* An ephemeral object lives as long as a map that dies with it names it. */
static void test_ephemeral(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "4,\"map\",\"v\",0", "");
	call(k, "putToy", "4,\"a\"", "");
	call(k, "make", "5,\"map\",\"keys\",0", "");
	call(k, "keyToy", "5,4", "");
	bring_out_dead(k);
	assert_string_equal(k->logged, "");
	assert_string_equal(call(k, "findToy", "5,4", ""), "#\"of the toy\"");
	/* exported, dropped and retired, it is still the same key */
	const char *got = call(k, "get", "4,\"toy\"", "");
	char ref[40];
	assert_int_equal(sscanf(got, "ref #\"$0.Alleged: Toy\" %39s", ref), 1);
	collect(k, WIRE_DROP_EXPORTS, ref);
	collect(k, WIRE_RETIRE_EXPORTS, ref);
	assert_string_equal(call(k, "findToy", "5,4", ""), "#\"of the toy\"");
	call(k, "delete", "4,\"a\"", "");
	settle_down(k);
	assert_string_equal(k->logged, "a toy is gone");
	call(k, "drop", "4", "");
	call(k, "drop", "5", "");
	settle_down(k);
	assert_string_equal(k->logged, "a toy is gone\na toy is gone");
	assert_int_equal(store_count_rows(k, "life.1.entry."), 0);
}

/* --- weak keys ------------------------------------------------------------------------------------ */

/* An import that is only recognised is dropped, and retired when the kernel says so or its entry goes. */
static void weak_import(struct vat_kernel *k, int at, const char *flags, const char *rows)
{
	char args[100];
	snprintf(args, sizeof(args), "%d,\"map\",\"w\",%s", at, flags);
	call(k, "make", args, "");
#define W(rest) (snprintf(args, sizeof(args), "%d" rest, at), args)
	assert_string_equal(call(k, "set", W(",\"$0\",\"of five\""), "o-5"), DONE);
	assert_string_equal(call(k, "set", W(",\"$0\",\"$1\""), "o-6 o-7"), DONE);
	assert_string_equal(call(k, "set", W(",[\"$0\"],1"), "o-8"), DONE);	/* not itself the key: held */
	assert_int_equal(store_count_rows(k, rows), 3);
	assert_string_equal(bring_out_dead(k), "dropImports o-5 o-6");
	assert_string_equal(bring_out_dead(k), "");
	/* it comes again, is found, and dropped again */
	assert_string_equal(call(k, "get", W(",\"$0\""), "o-5"), "#\"of five\"");
	assert_string_equal(bring_out_dead(k), "dropImports o-5");
	/* the kernel retires it: the entry goes */
	collect(k, WIRE_RETIRE_IMPORTS, "o-5");
	settle_down(k);
	assert_int_equal(store_count_rows(k, rows), 2);
	/* the value goes with the entry */
	collect(k, WIRE_RETIRE_IMPORTS, "o-6");
	settle_down(k);
	assert_string_equal(bring_out_dead(k), "dropImports o-7\nretireImports o-7");
	/* the entry goes: it is retired */
	call(k, "set", W(",\"$0\",1"), "o-10");
	assert_string_equal(bring_out_dead(k), "dropImports o-10");
	assert_string_equal(call(k, "delete", W(",\"$0\""), "o-10"), "#true");
	assert_string_equal(bring_out_dead(k), "dropImports o-10\nretireImports o-10");
	/* all go */
	call(k, "set", W(",\"$0\",1"), "o-11");
	assert_string_equal(bring_out_dead(k), "dropImports o-11");
	call(k, "clear", W(""), "");
	settle_down(k);
	const char *said = bring_out_dead(k);
	assert_non_null(strstr(said, "o-8"));
	assert_non_null(strstr(said, "retireImports o-8 o-11"));
	assert_int_equal(store_count_rows(k, rows), 0);
	assert_int_equal(store_count_rows(k, "weak."), 0);
	assert_int_equal(store_count_rows(k, "life.1.weak."), 0);
}

static void test_weak_durable(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	weak_import(k, 0, "3", "entry.");
}

static void test_weak_virtual(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	weak_import(k, 4, "2", "life.1.entry.");
}

/* After a restart what is recognised is found in the store. */
static void test_weak_restart(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "0,\"map\",\"w\",3", "");
	call(k, "make", "4,\"map\",\"w\",2", "");
	call(k, "set", "0,\"$0\",5", "o-5");
	call(k, "set", "0,\"$0\",6", "o-6");
	call(k, "set", "4,\"$0\",7", "o-7");
	bring_out_dead(k);
	for (uint64_t i = 5; i <= 7; i++)
		k->imports[k->n_imports++] = vref_make(false, true, i);	/* not reachable */
	restart(k);
	char said[400] = "";
	for (int i = 0; i < 3; i++) {
		snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", bring_out_dead(k));
		while (k->woken)
			snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", wake(k));
	}
	assert_non_null(strstr(said, "retireImports o-7"));	/* its map died with the process */
	assert_null(strstr(said, "o-5"));
	assert_null(strstr(said, "o-6"));
	assert_string_equal(call(k, "get", "0,\"$0\"", "o-5"), "#5");
	collect(k, WIRE_RETIRE_IMPORTS, "o-6");
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 1);
	assert_int_equal(store_count_rows(k, "weak."), 1);
	restart(k);
	call(k, "drop", "0", "");
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	assert_int_equal(store_count_rows(k, "weak."), 0);
}

/* Own objects as weak keys. */
static void test_weak_own(void **state)
{
	struct vat_kernel *k = *state;
	char ref[40];
	start(k);
	call(k, "make", "0,\"map\",\"w\",3", "");
	assert_int_equal(sscanf(call(k, "thing", "1", ""), "ref #\"$0.Alleged: Rows\" %39s", ref), 1);
	call(k, "set", "0,\"$0\",\"$1\"", (snprintf(ref + strlen(ref), 10, " o-5"), ref));
	*strchr(ref, ' ') = 0;
	assert_int_equal(store_count_rows(k, "entry."), 1);
	restart(k);
	assert_string_equal(call(k, "get", "0,\"$0\"", ref), "ref #\"$0\" o-5");
	collect(k, WIRE_DROP_EXPORTS, ref);
	collect(k, WIRE_RETIRE_EXPORTS, ref);
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	assert_int_equal(store_count_rows(k, "weak."), 0);
	assert_int_equal(counted(k, "o-5"), 0);

	call(k, "make", "4,\"map\",\"w\",2", "");
	assert_int_equal(sscanf(call(k, "toy", "", ""), "ref #\"$0.Alleged: Toy\" %39s", ref), 1);
	call(k, "set", "4,\"$0\",1", ref);
	assert_int_equal(store_count_rows(k, "life.2.entry."), 1);
	collect(k, WIRE_DROP_EXPORTS, ref);
	settle_down(k);
	assert_int_equal(store_count_rows(k, "life.2.entry."), 0);
	assert_string_equal(k->logged, "a toy is gone");
}

/* Each facet is a key of its own, and all go with the whole. */
static void test_weak_facets(void **state)
{
	struct vat_kernel *k = *state;
	char in[40], out[40], both[90];
	start(k);
	call(k, "make", "0,\"map\",\"w\",3", "");
	const char *doors = strchr(call(k, "door", "", ""), ' ');
	doors = strrchr(doors, ']');
	assert_int_equal(sscanf(doors, "] %39s %39s", in, out), 2);
	call(k, "set", "0,\"$0\",\"inside\"", in);
	call(k, "set", "0,\"$0\",\"outside\"", out);
	assert_string_equal(call(k, "get", "0,\"$0\"", in), "#\"inside\"");
	restart(k);
	assert_string_equal(call(k, "get", "0,\"$0\"", out), "#\"outside\"");
	collect(k, WIRE_DROP_EXPORTS, in);
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 2);	/* one facet holds the whole */
	snprintf(both, sizeof(both), "%s %s", in, out);
	collect(k, WIRE_DROP_EXPORTS, out);
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	assert_int_equal(store_count_rows(k, "weak."), 0);
}

/* One key in many collections is more than a crank deletes; also when the vat dies in between. */
static void test_weak_many(void **state)
{
	struct vat_kernel *k = *state;
	for (int with_restart = 0; with_restart < 2; with_restart++) {
		if (!with_restart)
			start(k);
		const char *key = with_restart ? "o-6" : "o-5";
		call(k, "make", "0,\"map\",\"sets\",1", "");
		call(k, "inMany", "0,1000,\"$0\"", key);
		bring_out_dead(k);
		settle_down(k);
		assert_int_equal(store_count_rows(k, "weak."), 1000);
		collect(k, WIRE_RETIRE_IMPORTS, key);
		assert_true(store_count_rows(k, "weak.") > 500);
		if (with_restart) {
			restart(k);
			bring_out_dead(k);
		}
		settle_down(k);
		assert_int_equal(store_count_rows(k, "weak."), 0);
		call(k, "drop", "0", "");
		settle_down(k);
		assert_int_equal(store_count_rows(k, "entry."), 0);
		assert_int_equal(store_count_rows(k, "gone."), 0);
	}
}

/* A key whose entries were to go with it, while the collection goes too: it is not retired a second time. */
static void test_weak_both(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "0,\"map\",\"sets\",1", "");
	call(k, "inMany", "0,1000,\"$0\"", "o-5");
	bring_out_dead(k);
	collect(k, WIRE_RETIRE_IMPORTS, "o-5");
	call(k, "drop", "0", "");
	restart(k);
	for (int i = 0; i < 3; i++) {
		assert_null(strstr(bring_out_dead(k), "o-5"));
		while (k->woken)
			assert_null(strstr(wake(k), "o-5"));
	}
	assert_int_equal(store_count_rows(k, "weak."), 0);
	assert_int_equal(store_count_rows(k, "entry."), 0);
}

/* --- weak keys at random, by the kernel's law ------------------------------------------------------ */

#define N_IMPORTS 24

/* What our clist has: nothing, a name, or a name that is reachable. The numbers of what is retired come no more. */
struct clist { int state[N_IMPORTS]; uint64_t number[N_IMPORTS], next; bool there[2][N_IMPORTS]; };

static void clist_to_kernel(struct vat_kernel *k, const struct clist *c)
{
	k->n_imports = 0;
	for (uint64_t n = 1; n < c->next; n++)
		for (int i = 0; i < N_IMPORTS; i++)
			if (c->state[i] && c->number[i] == n) {
				k->reachable[k->n_imports] = c->state[i] == 2;
				k->imports[k->n_imports++] = vref_make(false, true, n);
			}
}

/* What the vat said: legal, and true. */
static void obey(struct vat_kernel *k, struct clist *c)
{
	char *said = strdup(k->said), *lines, *words;
	for (char *line = strtok_r(said, "\n", &lines); line; line = strtok_r(NULL, "\n", &lines)) {
		bool drop = strncmp(line, "dropImports ", 12) == 0, retire = strncmp(line, "retireImports ", 14) == 0;
		if (!drop && !retire)
			continue;
		strtok_r(line, " ", &words);
		for (char *word; (word = strtok_r(NULL, " ", &words));) {
			int i = 0;
			while (i < N_IMPORTS && !(c->state[i] && c->number[i] == strtoull(word + 2, NULL, 10)))
				i++;
			if (i == N_IMPORTS)
				fail_msg("%s is not in the clist: %s", word, k->said);	/* Y1 */
			if (drop)
				c->state[i] = 1;
			assert_true(drop || c->state[i] == 1);		/* Y1: not reachable */
			assert_true(drop || (!c->there[0][i] && !c->there[1][i]));	/* nothing recognises it */
			if (retire)
				c->state[i] = 0;
		}
	}
	free(said);
	*k->said = 0;		/* heard once */
	clist_to_kernel(k, c);
}

static const char *mention(struct vat_kernel *k, struct clist *c, int i)
{
	static char text[24];
	if (!c->state[i])
		c->number[i] = c->next++;
	c->state[i] = 2;
	snprintf(text, sizeof(text), "o-%llu", (unsigned long long)c->number[i]);
	clist_to_kernel(k, c);
	return text;
}

static void weak_step(struct vat_kernel *k, struct clist *c)
{
	int i = chance(N_IMPORTS), at = chance(2), deed = chance(20);
	char args[40], ref[24];
	snprintf(args, sizeof(args), "%d,\"$0\"%s", at ? 4 : 0, deed < 5 ? ",1" : "");
	if (deed < 5) {
		assert_string_equal(call(k, "set", args, mention(k, c, i)), DONE);
		c->there[at][i] = true;
	} else if (deed < 8) {
		assert_string_equal(call(k, "delete", args, mention(k, c, i)), c->there[at][i] ? "#true" : "#false");
		c->there[at][i] = false;
	} else if (deed < 10) {
		assert_string_equal(call(k, "get", args, mention(k, c, i)), c->there[at][i] ? "#1" : DONE);
	} else if (deed < 13) {
		if (c->state[i] != 1)
			return;		/* G1: only what nobody can reach is retired */
		snprintf(ref, sizeof(ref), "o-%llu", (unsigned long long)c->number[i]);
		c->state[i] = 0;
		c->there[0][i] = c->there[1][i] = false;
		clist_to_kernel(k, c);
		collect(k, WIRE_RETIRE_IMPORTS, ref);
	} else if (deed < 17) {
		bring_out_dead(k);
	} else if (deed == 17) {
		if (chance(4))
			return;
		snprintf(args, sizeof(args), "%d", at ? 4 : 0);
		assert_string_equal(call(k, "clear", args, ""), DONE);
		memset(c->there[at], 0, sizeof(c->there[at]));
	} else if (deed == 18 && chance(4) == 0) {
		restart(k);
		obey(k, c);
		call(k, "make", "4,\"map\",\"v\",2", "");
		memset(c->there[1], 0, sizeof(c->there[1]));
	}
	obey(k, c);
	if (k->woken && chance(2)) {
		wake(k);
		obey(k, c);
	}
}

static void test_weak_random(void **state)
{
	struct vat_kernel *k = *state;
	struct clist c = { .next = 1 };
	const char *given = getenv("SEED");
	seed = given ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 1000003;
	print_message("SEED=%llu\n", (unsigned long long)seed);
	start(k);
	call(k, "make", "0,\"map\",\"w\",3", "");
	call(k, "make", "4,\"map\",\"v\",2", "");
	for (int n = 0; n < 6000; n++) {
		weak_step(k, &c);
		assert_false(has_died(k));
		/* nobody uses anything any more: all is let go, but for the names of keys */
		if (n % 500 != 499)
			continue;
		for (int i = 0; i < 3; i++) {
			bring_out_dead(k);
			obey(k, &c);
			while (k->woken) {
				wake(k);
				obey(k, &c);
			}
		}
		size_t n_there[2] = { 0 };
		for (int i = 0; i < N_IMPORTS; i++) {
			assert_int_equal(c.state[i], c.there[0][i] || c.there[1][i] ? 1 : 0);
			n_there[0] += c.there[0][i];
			n_there[1] += c.there[1][i];
		}
		assert_int_equal(store_count_rows(k, "entry."), n_there[0]);
		assert_int_equal(store_count_rows(k, "weak."), n_there[0]);
		char life[40];
		snprintf(life, sizeof(life), "life.%llu.entry.", (unsigned long long)k->incarnation);
		assert_int_equal(store_count_rows(k, life), n_there[1]);
	}
}

/* --- much ----------------------------------------------------------------------------------------- */

static void fill_up(struct vat_kernel *k, int at, int n, const char *slots)
{
	char args[100];
	for (int i = 0; i < n; i += 5000) {
		snprintf(args, sizeof(args), "%d,%d,5000%s", at, i, *slots ? ",\"$0\"" : "");
		assert_string_equal(call(k, "fill", args, slots), DONE);
	}
}

/* What is let go goes over many cranks, none too large, while the vat works on; also over restarts. */
static void test_large(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "make", "0,\"map\",\"big\",1", "");
	call(k, "make", "1,\"map\",\"small\",1", "");
	fill_up(k, 0, 20000, "o-5");
	assert_string_equal(call(k, "walk", "0,\"n\",{\"from\":100,\"to\":15100}", ""), "#15000");
	assert_int_equal(counted(k, "o-5"), 20000);

	assert_string_equal(call(k, "clear", "0", ""), DONE);
	assert_true(k->n_syscalls < 20000);
	assert_string_equal(call(k, "size", "0", ""), "#0");
	assert_string_equal(call(k, "has", "0,77", ""), "#false");
	assert_true(k->woken);
	assert_true(store_count_rows(k, "entry.") > 10000);
	call(k, "set", "0,77,\"new\"", "");
	wake(k);
	assert_string_equal(call(k, "get", "0,77", ""), "#\"new\"");
	restart(k);
	assert_string_equal(call(k, "get", "0,77", ""), "#\"new\"");
	bring_out_dead(k);
	settle_down(k);
	assert_int_equal(store_count_rows(k, "entry."), 1);
	assert_int_equal(counted(k, "o-5"), 0);

	/* the same with all of it, and objects in it that go too */
	call(k, "populate", "1,3000", "");
	fill_up(k, 0, 10000, "");
	call(k, "nest", "1,\"big\",0", "");
	call(k, "drop", "0", "");
	call(k, "drop", "1", "");
	restart(k);
	bring_out_dead(k);
	unsigned n = settle_down(k);
	assert_true(n > 1);
	assert_int_equal(store_count_rows(k, "entry."), 0);
	assert_int_equal(store_count_rows(k, "object.o+d"), 0);
	assert_int_equal(store_count_rows(k, "count."), 0);
}

/* A caller's message can be as long as what the store takes, and then has its references besides. */
static void test_too_large(void **state)
{
	struct vat_kernel *k = *state;
	size_t len = 0, size = WIRE_MAX_BODY;
	char *body = malloc(size + 100), slots[64 * 6 + 1] = "";
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	len += (size_t)sprintf(body, "#[\"set\",[0,1,[");
	for (int i = 0; i < 64; i++) {
		len += (size_t)sprintf(body + len, "\"$%d\",", i);
		sprintf(slots + strlen(slots), "o-%d ", i + 100);
	}
	body[len++] = '"';
	memset(body + len, 'x', size - len - 4);
	strcpy(body + size - 4, "\"]]]");
	assert_int_equal(strlen(body), size);
	assert_string_equal(message(k, "o+0", "p-1", body, slots), "resolve p-1 " TYPE_ERROR(
			    "map \\\"m\\\": its value: with its references it is more than the vatstore takes, 16777216 bytes"));
	/* what fits is kept and found */
	strcpy(body + size - 4100, "\"]]]");
	assert_string_equal(message(k, "o+0", "p-1", body, slots), "resolve p-1 " DONE);
	restart(k);
	assert_non_null(strstr(call(k, "get", "0,1", ""), "bytes) o-100 o-101 "));
	free(body);
}

/* --- a store that is not as we wrote it ------------------------------------------------------------ */

static void corrupt(struct vat_kernel *k, const char *key, const char *value, const char *method, const char *args,
		    const char *sentence)
{
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	call(k, "set", "0,1,1", "");
	/* The rows' name, as the store has it. */
	char prefix[100], row[200];
	const char *found = NULL;
	for (size_t i = 0; i < k->n_rows; i++)
		if (strncmp(k->store[i].key, "entry.", 6) == 0)
			found = k->store[i].key;
	assert_non_null(found);
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(strrchr(found, '.') - found) + 1, found);
	snprintf(row, sizeof(row), "%s%s", prefix, key);
	store_put(k, row, strlen(row), value, strlen(value));
	call(k, method, args, "");
	settle_down(k);
	if (!has_died(k) || !strstr(k->logged, sentence))
		fail_msg("%s with \"%s\" and \"%s\": %s", method, key, value, k->logged);
	kill_vat(k);
	while (k->n_rows)
		store_remove(k, &k->store[k->n_rows - 1]);
	k->incarnation = 0;
	free(k->logged);
	k->logged = strdup("");
}

/* The rows of our objects themselves. */
static void damage(struct vat_kernel *k, const char *key, const char *value, const char *method, const char *sentence)
{
	start(k);
	call(k, "make", "0,\"map\",\"m\",1", "");
	call(k, "set", "0,1,1", "");
	assert_non_null(store_text(k, key));
	if (value)
		store_put(k, key, strlen(key), value, strlen(value));
	else
		store_remove(k, store_find(k, key, strlen(key)));
	restart(k);
	call(k, method, strcmp(method, "delete") == 0 ? "0,1" : "0", "");
	settle_down(k);
	if (!has_died(k) || !strstr(k->logged, sentence))
		fail_msg("%s with %s: %s", method, key, k->logged);
	kill_vat(k);
	while (k->n_rows)
		store_remove(k, &k->store[k->n_rows - 1]);
	k->incarnation = 0;
	k->woken = false;
	free(k->logged);
	k->logged = strdup("");
}

static void test_damaged(void **state)
{
	struct vat_kernel *k = *state;
	damage(k, "object.o+d1.1", NULL, "size", "the vatstore's \"object.o+d1.1\" is missing");
	damage(k, "object.o+d2.2", NULL, "clear", "the vatstore's \"object.o+d2.2\" is missing");
	damage(k, "object.o+d1.1", "#{\"label\":\"m\",\"weak\":false,\"size\":0,\"rows\":\"$0\"}\no+d2.2", "delete",
	       "the vatstore's size of map \"m\" is corrupt");
}

static void test_corrupt(void **state)
{
	struct vat_kernel *k = *state;
	static const char one[] = "fbff0000000000000";
	corrupt(k, one, "1", "get", "0,1", "fbff0000000000000\" is corrupt");
	corrupt(k, one, "#[", "get", "0,1", "is corrupt");
	corrupt(k, one, "#1\nx-4", "set", "0,1,2", "is corrupt");
	corrupt(k, one, "#1\no+4", "set", "0,1,2", "is corrupt");
	corrupt(k, "r0000000000000004", "#1", "walk", "0,\"keys\",{}", "is corrupt");
	corrupt(k, one, "#1\np-4", "set", "0,1,2", "is corrupt");
	corrupt(k, one, "#\"$0\"\no+d9.9", "delete", "0,1", "corrupt");
	corrupt(k, one, "#\"$0\"\no-4", "delete", "0,1", "corrupt");	/* never counted */
	corrupt(k, "what", "#1", "walk", "0,\"keys\",{}", "what\" is corrupt");
	corrupt(k, "rffffffffffffffff", "#1", "clear", "0", "is corrupt");
	corrupt(k, "^r", "#1", "drop", "0", "is corrupt");
	corrupt(k, one, "", "drop", "0", "is corrupt");
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, vat_kernel_setup, vat_kernel_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_durable), TEST(test_virtual), TEST(test_mistakes), TEST(test_cost), TEST(test_churn), TEST(test_order),
		TEST(test_random), TEST(test_random_virtual), TEST(test_counts), TEST(test_nested), TEST(test_ephemeral),
		TEST(test_weak_durable), TEST(test_weak_virtual), TEST(test_weak_restart), TEST(test_weak_own), TEST(test_weak_facets),
		TEST(test_weak_many), TEST(test_weak_both), TEST(test_weak_random), TEST(test_large), TEST(test_too_large),
		TEST(test_corrupt),
		TEST(test_damaged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
