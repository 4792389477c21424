/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object model of the vat library: facets, virtual and durable objects, state tables, what is cached, what goes
 * and in how many cranks. The library runs in a forked child, the test is the kernel and counts what a crank asks for.
 */
#include "vat_kernel.h"

#include <capstan/vat.h>

#include "../../vatd/lib/internal.h"

#define FEW_HUNDRED	700		/* calls that a crank may make for what is gone */

/* --- the vat -------------------------------------------------------------------------------------- */

/* A link of a chain; and any value. */
typedef struct { int64_t n; vat_ref *next; vat_value *any; } node;
VAT_METHOD(node, node_init) { return vat_read(v, "?i?r?v", &self->n, &self->next, &self->any); }
VAT_METHOD(node, node_n) { return vat_return(v, "i", self->n); }
VAT_METHOD(node, node_next)
{
	return self->next ? vat_return(v, "r", self->next) : 0;
}
VAT_METHOD(node, node_set_next) { return vat_read(v, "?r", &self->next); }
VAT_METHOD(node, node_any)
{
	return self->any ? vat_return(v, "v", self->any) : vat_return(v, "s", "nothing");
}
VAT_METHOD(node, node_set_any)
{
	self->any = NULL;
	return vat_read(v, "?v", &self->any);
}
#define LINK_METHODS VAT_METHODS({ "n", "", "i", node_n }, { "next", "", NULL, node_next }, \
	{ "setNext", "?r", NULL, node_set_next }, { "any", "", NULL, node_any }, { "setAny", "?v", NULL, node_set_any })
static const vat_kind Link = { "Link", sizeof(node), VAT_INIT(node_init), LINK_METHODS,
	VAT_STATE(VAT_I64(node, n), VAT_REF(node, next), VAT_VALUE(node, any)) };
static const vat_kind Passing = { "Passing", sizeof(node), VAT_INIT(node_init), LINK_METHODS,
	VAT_VIRTUAL(VAT_I64(node, n), VAT_REF(node, next), VAT_VALUE(node, any)) };
static const vat_kind Toy = { "Toy", sizeof(node), VAT_INIT(node_init), LINK_METHODS };

/* A purse: who may put in, who may take out. */
typedef struct { int64_t n; char *label; } purse;
VAT_METHOD(purse, purse_init) { return vat_read(v, "?i", &self->n); }
VAT_METHOD(purse, purse_deposit)
{
	int64_t n;
	vat_read(v, "i", &n);
	self->n += n;
	return vat_return(v, "r", vat_self(v));
}
VAT_METHOD(purse, purse_withdraw)
{
	int64_t n;
	vat_read(v, "i", &n);
	if (n > self->n)
		return vat_fail(v, "RangeError", "only %lld", (long long)self->n);
	self->n -= n;
	return vat_return(v, "i", self->n);
}
VAT_METHOD(purse, purse_other)
{
	const char *name;
	vat_read(v, "s", &name);
	vat_ref *r = vat_facet_of(v, vat_self(v), name);
	return r ? vat_return(v, "r", r) : -1;
}
VAT_METHOD(purse, purse_gone)
{
	vat_log(v, "purse %lld is gone", (long long)self->n);
	return 0;
}
VAT_METHOD(purse, purse_wait)
{
	vat_ref *p;
	vat_read(v, "r", &p);
	vat_when(v, p, self, "came");
	return 0;
}
VAT_METHOD(purse, purse_came)
{
	int64_t n;
	vat_read(v, "i", &n);
	self->n += n;
	return 0;
}
#define PURSE_FACETS VAT_FACETS(VAT_FACET("in", { "deposit", "i", "r", purse_deposit }, { "other", "s", "r", purse_other }), \
	VAT_FACET("out", { "withdraw", "i", "i", purse_withdraw }, { "wait", "r", NULL, purse_wait }))
#define PURSE_REST VAT_INIT(purse_init), VAT_CONTINUATIONS({ "came", "i", NULL, purse_came })
static const vat_kind Purse = { "Purse", sizeof(purse), PURSE_REST, PURSE_FACETS, VAT_STATE(VAT_I64(purse, n)) };
static const vat_kind Pocket = { "Pocket", sizeof(purse), PURSE_REST, PURSE_FACETS, VAT_FINI(purse_gone) };
static const vat_kind Handful = { "Handful", sizeof(purse), PURSE_REST, PURSE_FACETS, VAT_VIRTUAL(VAT_I64(purse, n)) };
static vat_facet wide_facets[256];	/* 255, named by main() */
static vat_facet too_many_facets[257];
static const vat_method wide_methods[] = { { "other", "s", "r", purse_other }, { NULL, NULL, NULL, NULL } };
static int wide_init(vat *v, void *self) { return vat_read(v, "i", &((purse *)self)->n); }
static const vat_kind Wide = { "Wide", sizeof(purse), .facets = wide_facets, VAT_INIT(wide_init), VAT_STATE(VAT_I64(purse, n)) };
static const vat_kind Unnamed = { "Unnamed", sizeof(purse), VAT_STATE(VAT_I64(purse, n)) };

/* A kind of the library itself, whose deletion takes three cranks. */
static bool slow_deleted(vat *v, vat_ref *ref)
{
	char *text;
	size_t len;
	const char *key = store_key(v, "slow", ref->vref);
	int n = store_get(v, key, &text, &len) ? atoi(text) : 0;
	if (n == 2) {
		store_delete(v, key);
		return true;
	}
	text = arena_printf(v, "%d", n + 1);
	store_set(v, key, text, strlen(text));
	return false;
}
static const struct kind_hooks slow_hooks = { slow_deleted };
static const vat_kind Slow = { "Purse", sizeof(purse), VAT_STATE(VAT_I64(purse, n)) };	/* a name the program has too */

/* A weak collection of one key. */
static uint64_t weak_key = UINT64_MAX;
static bool weak_recognises(vat *v, vref_t vref)
{
	(void)v;
	return vref.bits == weak_key;
}
static bool weak_key_gone(vat *v, vref_t vref)
{
	char text[REF_TEXT_MAX];
	if (vref.bits == weak_key) {
		vat_log(v, "key %s is gone", vref_format(vref, text));
		weak_key = UINT64_MAX;
	}
	return true;
}
static const struct weak_hooks weak_hooks = { weak_recognises, weak_key_gone };

typedef struct { vat_ref *kept, *stale;  } root;
static bool with_slow;

VAT_METHOD(root, root_init)
{
	if (with_slow)
		kind_builtin(v, &Slow, &slow_hooks);
	return 0;
}
static const vat_kind *kind_named(const char *name)
{
	static const vat_kind *const kinds[] = { &Link, &Passing, &Toy, &Purse, &Pocket, &Handful, &Wide, &Unnamed };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}
VAT_METHOD(root, make)
{
	const char *kind;
	int64_t n = 0;
	vat_read(v, "s?i", &kind, &n);
	vat_ref *r = vat_new(v, kind_named(kind), "i", n);
	return r ? vat_return(v, "r", r) : -1;
}
/* Values that init keeps are good although the text of its arguments was of this method's making. */
VAT_METHOD(root, make_with)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_ref *r = vat_new(v, &Link, "irv", INT64_C(1), vat_self(v), value);
	vat_new(v, &Link, "irs", INT64_C(1), vat_self(v), "something else, which is quite long, as long as any other text");
	return vat_return(v, "r", r);
}
VAT_METHOD(root, count)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return vat_return(v, "v", value);
}
VAT_METHOD(root, missing)
{
	vat_value *array;
	int64_t i = 7;
	vat_read(v, "v", &array);
	return vat_value_read(v, vat_at(v, array, 3), "i", &i) ? -1 : vat_return(v, "i", i);
}
VAT_METHOD(root, make_slow) { return vat_return(v, "r", vat_new(v, &Slow, "")); }
/* So many in a chain, the last made first; more in front of a chain that is there. */
VAT_METHOD(root, chain)
{
	const char *kind;
	int64_t n;
	vat_ref *head = NULL;
	vat_read(v, "si?r", &kind, &n, &head);
	for (int64_t i = 0; i < n; i++)
		head = head ? vat_new(v, kind_named(kind), "ir", i, head) : vat_new(v, kind_named(kind), "i", i);
	return vat_return(v, "r", head);
}
/* So many, each exported, none holding another. */
VAT_METHOD(root, many)
{
	const char *kind;
	int64_t n, from;
	vat_read(v, "sii", &kind, &from, &n);
	vat_value **all = calloc((size_t)n, sizeof(*all));
	for (int64_t i = 0; i < n; i++)
		all[i] = vat_value_new(v, "r", vat_new(v, kind_named(kind), "i", from + i));
	int r = vat_return(v, "v", vat_array(v, all, (size_t)n));
	free(all);
	return r;
}
VAT_METHOD(root, keep)
{
	vat_ref *r;
	vat_read(v, "r", &r);
	self->kept = vat_hold(v, r);
	return 0;
}
VAT_METHOD(root, kept) { return vat_return(v, "r", self->kept); }
VAT_METHOD(root, unkeep)
{
	vat_release(v, self->kept);
	self->kept = NULL;
	return 0;
}
VAT_METHOD(root, steal) { return vat_read(v, "r", &self->stale); }
VAT_METHOD(root, use_stolen) { return vat_return(v, "r", self->stale); }
VAT_METHOD(root, release_stolen)
{
	vat_release(v, self->stale);
	return 0;
}
VAT_METHOD(root, put)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return vat_baggage_set(v, "x", "v", value);
}
VAT_METHOD(root, take)
{
	vat_value *value;
	return vat_baggage_get(v, "x", "v", &value) ? vat_return(v, "v", value) : 0;
}
/* A thousand names that are not there, and a thousand that are. */
VAT_METHOD(root, names)
{
	int64_t from;
	char name[40];
	vat_read(v, "i", &from);
	for (int64_t i = from; i < from + 1000; i++) {
		snprintf(name, sizeof(name), "absent %lld", (long long)i);
		vat_baggage_has(v, name);
		snprintf(name, sizeof(name), "there %lld", (long long)i);
		vat_baggage_set(v, name, "[ir]", i, vat_self(v));
	}
	return vat_return(v, "i", (int64_t)v->n_baggage);
}
VAT_METHOD(root, forget)
{
	vat_baggage_delete(v, "x");
	return 0;
}
/* Sets another object's field, through vat_state(), twice in a crank. */
VAT_METHOD(root, set_twice)
{
	vat_ref *object, *first, *second;
	vat_read(v, "rrr", &object, &first, &second);
	node *l = vat_state(v, object, &Link);
	l->next = first;
	vat_when(v, vat_promise_new(v), self, "later");	/* something in between */
	l = vat_state(v, object, &Link);
	l->next = second;
	return 0;
}
VAT_METHOD(root, set_in_turn)
{
	vat_ref *object;
	vat_value *second;
	vat_read(v, "rv", &object, &second);
	node *l = vat_state(v, object, &Link);
	l->next = vat_self(v);
	self->kept = vat_hold(v, object);
	vat_ref *p = vat_promise_new(v);
	vat_when(v, p, self, "later");
	return vat_resolve(v, p, "v", second);
}
VAT_METHOD(root, later)
{
	vat_value *value;
	vat_read(v, "v", &value);
	node *l = vat_state(v, self->kept, &Link);
	vat_value_read(v, vat_at(v, value, 0), "r", &l->next);
	vat_release(v, self->kept);
	return 0;
}
VAT_METHOD(root, peek)
{
	vat_ref *r;
	vat_read(v, "r", &r);
	return vat_return(v, "[bbb]", vat_state(v, r, &Link) != NULL, vat_state(v, r, &Purse) != NULL,
			  vat_state(v, r, &Passing) != NULL);
}
VAT_METHOD(root, facet_of)
{
	vat_ref *r;
	vat_read(v, "r", &r);
	r = vat_facet_of(v, r, "out");
	return r ? vat_return(v, "r", r) : -1;
}
VAT_METHOD(root, recognise)
{
	vat_ref *r;
	vat_read(v, "r", &r);
	v->weak = &weak_hooks;
	weak_key = r->vref.bits;
	return 0;
}
VAT_METHOD(root, waste)
{
	int64_t n;
	vat_read(v, "i", &n);
	for (int64_t i = 0; i < n; i++)
		vat_value_new(v, "[idi]", i, 1.5, i);
	return vat_return(v, "i", n);
}
VAT_METHOD(root, entries) { return vat_return(v, "[ii]", (int64_t)v->n_table, (int64_t)refs_count(v)); }

static const vat_kind Root = { "Root", sizeof(root), VAT_INIT(root_init),
	VAT_METHODS({ "make", "s?i", NULL, make }, { "makeSlow", "", NULL, make_slow },
		    { "makeWith", "v", NULL, make_with }, { "missing", "v", NULL, missing }, { "count", "v", "i", count }, { "names", "i", "i", names }, { "chain", "si?r", NULL, chain },
		    { "many", "sii", NULL, many }, { "keep", "r", NULL, keep }, { "kept", "", NULL, kept },
		    { "unkeep", "", NULL, unkeep }, { "steal", "r", NULL, steal }, { "useStolen", "", NULL, use_stolen },
		    { "releaseStolen", "", NULL, release_stolen }, { "put", "v", NULL, put }, { "take", "", NULL, take },
		    { "forget", "", NULL, forget }, { "setTwice", "rrr", NULL, set_twice },
		    { "setInTurn", "rv", NULL, set_in_turn }, { "peek", "r", NULL, peek },
		    { "facetOf", "r", NULL, facet_of }, { "recognise", "r", NULL, recognise },
		    { "waste", "i", NULL, waste }, { "entries", "", NULL, entries }),
	VAT_CONTINUATIONS({ "later", "v", NULL, later }) };
#define KINDS(...) { (const vat_kind *const[]){ &Root, __VA_ARGS__, NULL } }
static const vat_program program = KINDS(&Link, &Passing, &Purse, &Handful);

static void serve(const void *arg)
{
	_exit(vat_serve(3, arg));
}

static void start(struct vat_kernel *k)
{
	assert_string_equal(start_vat(k, serve, &program, "#\"#undefined\""), "");
}

static void restart(struct vat_kernel *k)
{
	kill_vat(k);
	start(k);
}

static const char *call(struct vat_kernel *k, const char *body, const char *slots)
{
	return message(k, "o+0", "p-1", body, slots);
}

#define OK_UNDEFINED "resolve p-1 #\"#undefined\""
#define ERROR(message_) "resolve p-1 rejected #{\"#error\":\"" message_ "\",\"name\":\"Error\"}"
#define TYPE_ERROR(message_) "resolve p-1 rejected #{\"#error\":\"" message_ "\",\"name\":\"TypeError\"}"
#define RANGE_ERROR(message_) "resolve p-1 rejected #{\"#error\":\"" message_ "\",\"name\":\"RangeError\"}"

/* Rows whose key begins so. */
static size_t n_rows(const struct vat_kernel *k, const char *prefix)
{
	size_t n = 0;
	for (size_t i = 0; i < k->n_rows; i++)
		n += strncmp(k->store[i].key, prefix, strlen(prefix)) == 0;
	return n;
}

/* All that the vat wants done in cranks of its own; returns how many. */
static unsigned finish(struct vat_kernel *k)
{
	unsigned n = 0;
	for (; k->woken; n++) {
		wake(k);
		assert_true(k->n_syscalls < FEW_HUNDRED);
	}
	return n;
}

/* --- facets --------------------------------------------------------------------------------------- */

static void test_facets(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	assert_string_equal(call(k, "#[\"make\",[\"Purse\",5]]", ""), "resolve p-1 ref #\"$0.Alleged: Purse in\" o+d1.1:0");
	assert_string_equal(message(k, "o+d1.1:0", "p-1", "#[\"deposit\",[3]]", ""),
			    "resolve p-1 ref #\"$0.Alleged: Purse in\" o+d1.1:0");
	/* a facet has its own methods, and no others */
	assert_string_equal(message(k, "o+d1.1:0", "p-1", "#[\"withdraw\",[1]]", ""),
			    TYPE_ERROR("Purse in has no method \\\"withdraw\\\""));
	assert_string_equal(message(k, "o+d1.1:0", "p-1", "#[\"came\",[1]]", ""),
			    TYPE_ERROR("Purse in has no method \\\"came\\\""));
	assert_string_equal(message(k, "o+d1.1:0", "p-1", "#[\"other\",[\"out\"]]", ""),
			    "resolve p-1 ref #\"$0.Alleged: Purse out\" o+d1.1:1");
	assert_string_equal(store_text(k, "exported.o+d1.1"), ":rr");
	assert_string_equal(message(k, "o+d1.1:1", "p-1", "#[\"withdraw\",[6]]", ""), "resolve p-1 #2");
	assert_string_equal(message(k, "o+d1.1:0", "p-1", "#[\"other\",[\"up\"]]", ""),
			    TYPE_ERROR("Purse has no facet \\\"up\\\""));
	assert_string_equal(call(k, "#[\"facetOf\",[\"$0\"]]", "o-3"), TYPE_ERROR("an object of another vat has no facet \\\"out\\\""));
	assert_string_equal(call(k, "#[\"facetOf\",[\"$0\"]]", "o+0"), TYPE_ERROR("Root has no facet \\\"out\\\""));
	assert_string_equal(call(k, "#[\"facetOf\",[\"&0\"]]", "p-3"), TYPE_ERROR("a promise has no facet \\\"out\\\""));
	assert_string_equal(call(k, "#[\"peek\",[\"$0\"]]", "o+d1.1:1"), "resolve p-1 #[false,true,false]");
	assert_null(store_text(k, "object.o+d1.1:0"));
	assert_string_equal(store_text(k, "object.o+d1.1"), "#{\"n\":2}");
}

/* The instance lives as long as any facet is held, stored or reachable. */
static void test_facets_collected(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Purse\",5]]", "");
	message(k, "o+d1.1:0", "p-1", "#[\"other\",[\"out\"]]", "");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.1:0"), "");
	assert_string_equal(store_text(k, "exported.o+d1.1"), ":cr");
	restart(k);
	assert_string_equal(message(k, "o+d1.1:1", "p-1", "#[\"withdraw\",[1]]", ""), "resolve p-1 #4");
	assert_string_equal(collect(k, WIRE_RETIRE_EXPORTS, "o+d1.1:0"), "");
	assert_string_equal(store_text(k, "exported.o+d1.1"), ":-r");
	/* stored by the one facet, dropped by the other */
	call(k, "#[\"put\",[\"$0\"]]", "o+d1.1:1");
	assert_string_equal(store_text(k, "count.o+d1.1"), "1");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.1:1"), "");
	restart(k);
	assert_string_equal(call(k, "#[\"take\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Purse out\" o+d1.1:1");
	assert_string_equal(message(k, "o+d1.1:1", "p-1", "#[\"wait\",[\"&0\"]]", "p-4"),
			    "subscribe p-4\n" OK_UNDEFINED);
	call(k, "#[\"forget\",[]]", "");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.1:1"), "");
	/* waiting holds it; the continuation runs on the instance after a restart, and then it goes, both names too */
	restart(k);
	assert_string_equal(notify(k, "p-4", 0, "#8", ""), "retireExports o+d1.1:1");
	assert_int_equal(n_rows(k, "object.") + n_rows(k, "count.") + n_rows(k, "exported.") + n_rows(k, "when."), 0);
}

static void test_facets_ephemeral(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"make\",[\"Pocket\",5]]", ""), "resolve p-1 ref #\"$0.Alleged: Pocket in\" o+1");
	assert_string_equal(message(k, "o+1", "p-1", "#[\"other\",[\"out\"]]", ""), "resolve p-1 ref #\"$0.Alleged: Pocket out\" o+2");
	assert_string_equal(message(k, "o+2", "p-1", "#[\"withdraw\",[1]]", ""), "resolve p-1 #4");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+1"), "");
	assert_string_equal(call(k, "#[\"keep\",[\"$0\"]]", "o+2"), OK_UNDEFINED);
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+2"), "");
	assert_string_equal(k->logged, "");
	assert_string_equal(call(k, "#[\"kept\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Pocket out\" o+2");
	collect(k, WIRE_DROP_EXPORTS, "o+2");
	assert_string_equal(call(k, "#[\"unkeep\",[]]", ""), OK_UNDEFINED "\nretireExports o+1 o+2");
	assert_string_equal(k->logged, "purse 4 is gone");
}

/* --- kinds over restarts -------------------------------------------------------------------------- */

/* The same kinds declared otherwise. */
static const vat_kind three = { "Purse", sizeof(purse), VAT_FACETS(VAT_FACET("in", { "deposit", "i", "r", purse_deposit }),
	VAT_FACET("out", { "withdraw", "i", "i", purse_withdraw }), VAT_FACET("up", { NULL, NULL, NULL, NULL })),
	VAT_STATE(VAT_I64(purse, n)) };
static const vat_program p3 = KINDS(&three);
static const vat_kind plain = { "Purse", sizeof(purse), VAT_STATE(VAT_I64(purse, n)) };
static const vat_program p1 = KINDS(&plain);
static const vat_kind passing = { "Purse", sizeof(purse), PURSE_FACETS, VAT_VIRTUAL(VAT_I64(purse, n)) };
static const vat_program pv = KINDS(&passing);
static const vat_kind lasting = { "Handful", sizeof(purse), PURSE_FACETS, VAT_STATE(VAT_I64(purse, n)) };
static const vat_program pd = KINDS(&lasting);
static const vat_kind other = { "Link", sizeof(node), VAT_STATE(VAT_I64(node, n), VAT_VALUE(node, any)) };
static const vat_program po = KINDS(&other);
static const vat_kind fuller = { "Handful", sizeof(purse), VAT_VIRTUAL(VAT_I64(purse, n), VAT_STR(purse, label)) };
static const vat_program pf = KINDS(&fuller);
static const vat_kind both = { "Both", sizeof(purse), PURSE_FACETS, VAT_METHODS({ "n", "", "i", node_n }) };
static const vat_program pb = KINDS(&both);
static const vat_kind twice = { "Twice", 0, VAT_FACETS(VAT_FACET("a", { NULL, NULL, NULL, NULL }),
	VAT_FACET("b", { NULL, NULL, NULL, NULL }), VAT_FACET("a", { NULL, NULL, NULL, NULL })) };
static const vat_program pt = KINDS(&twice);
static const vat_program same = KINDS(&Link, &Link);
static const vat_program faceted_root = { (const vat_kind *const[]){ &Pocket, NULL } };
static const vat_program virtual_root = { (const vat_kind *const[]){ &Passing, NULL } };
static const vat_kind huge = { "Huge", sizeof(purse), .facets = too_many_facets };
static const vat_program ph = KINDS(&huge);
static const vat_program wide = KINDS(&Wide);

static void must_refuse(struct vat_kernel *k, const vat_program *changed, const char *sentence)
{
	kill_vat(k);
	start_vat(k, serve, changed, "");
	assert_non_null(strstr(k->said, "failed: "));
	if (!strstr(k->logged, sentence))
		fail_msg("\"%s\" does not say: %s", k->logged, sentence);
}

static void test_kind_changed(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Purse\",5]]", "");
	call(k, "#[\"make\",[\"Handful\",5]]", "");
	call(k, "#[\"make\",[\"Link\",5]]", "");
	must_refuse(k, &p3, "kind Purse was declared before with the facets in out, now with in out up");
	must_refuse(k, &p1, "kind Purse was declared before with the facets in out, now with none");
	must_refuse(k, &pv, "kind Purse was declared durable before, and is virtual now");
	must_refuse(k, &pd, "kind Handful was declared virtual before, and is durable now");
	must_refuse(k, &po, "kind Link was declared before with the state n:i64 next:ref any:value, now with n:i64 any:value");
	/* no virtual object outlives a start: its kind may change; and a kind may be left out */
	kill_vat(k);
	k->quiet = false;
	assert_string_equal(start_vat(k, serve, &pf, ""), "set kind.Handful 2 n:i64 label:str; virtual\n"
			    "delete life.1.exported.o+v2.2\ndelete life.1.object.o+v2.2");
	assert_string_equal(message(k, "o+d1.1:0", "p-1", "#[\"deposit\",[1]]", ""),
			    ERROR("the target's kind is not in the vat's program any more"));
}

static void test_wrong_kinds(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Unnamed\"]]", "");
	assert_non_null(strstr(k->logged, "kind Unnamed has a state table and must be named in VAT_PROGRAM()"));
	must_refuse(k, &pb, "kind Both has facets and methods: methods belong to its facets");
	must_refuse(k, &pt, "kind Twice has two facets named a");
	must_refuse(k, &same, "two kinds with a state table are named Link");
	must_refuse(k, &faceted_root, "kind Pocket is the root's, and cannot have facets");
	must_refuse(k, &virtual_root, "kind Passing is the root's, and cannot be virtual");
	must_refuse(k, &ph, "kind Huge has 256 facets; the most is 255");
}

/* The most facets there may be: the last has a name of its own, and retiring the object retires what was named. */
static void test_many_facets(void **state)
{
	struct vat_kernel *k = *state;
	start_vat(k, serve, &wide, "");
	k->quiet = true;
	assert_string_equal(call(k, "#[\"make\",[\"Wide\"]]", ""), "resolve p-1 ref #\"$0.Alleged: Wide f0\" o+d1.1:0");
	assert_string_equal(message(k, "o+d1.1:0", "p-1", "#[\"other\",[\"f254\"]]", ""),
			    "resolve p-1 ref #\"$0.Alleged: Wide f254\" o+d1.1:254");
	assert_string_equal(message(k, "o+d1.1:254", "p-1", "#[\"other\",[\"f100\"]]", ""),
			    "resolve p-1 ref #\"$0.Alleged: Wide f100\" o+d1.1:100");
	assert_int_equal(strlen(store_text(k, "exported.o+d1.1")), 256);
	kill_vat(k);
	start_vat(k, serve, &wide, "");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.1:0 o+d1.1:254"), "");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.1:100"), "retireExports o+d1.1:0 o+d1.1:100 o+d1.1:254");
	assert_int_equal(n_rows(k, "object.") + n_rows(k, "exported."), 0);
}

/* --- virtual objects ------------------------------------------------------------------------------ */

static void test_virtual(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"make\",[\"Passing\",7]]", ""),
			    "set kinds 1\nset kind.Passing 1 n:i64 next:ref any:value; virtual\n"
			    "set life.1.exported.o+v1.1 reachable\nresolve p-1 ref #\"$0.Alleged: Passing\" o+v1.1\n"
			    "set life.1.object.o+v1.1 #{\"n\":7,\"next\":null}\nset instance 1");
	/* everything but a promise may stand in its state */
	assert_string_equal(message(k, "o+v1.1", "p-1", "#[\"setAny\",[[\"$0\",\"$1\",\"$2\"]]]", "o-4 o+0 o+v1.1"),
			    OK_UNDEFINED "\nset life.1.object.o+v1.1 #{\"n\":7,\"next\":null,\"any\":[\"$0\",\"$1.Alleged: Root\","
			    "\"$2.Alleged: Passing\"]}\no-4 o+0 o+v1.1\nset life.1.count.o-4 1\nset life.1.count.o+v1.1 1");
	k->quiet = true;
	assert_string_equal(message(k, "o+v1.1", "p-1", "#[\"setAny\",[\"&0\"]]", "p-4"),
			    TYPE_ERROR("Passing.any cannot be saved: it holds a promise"));
	assert_string_equal(message(k, "o+v1.1", "p-1", "#[\"any\",[]]", ""),
			    "resolve p-1 #[\"$0\",\"$1.Alleged: Root\",\"$2.Alleged: Passing\"] o-4 o+0 o+v1.1");
	/* nothing that survives may name it */
	call(k, "#[\"make\",[\"Link\"]]", "");
	assert_string_equal(message(k, "o+d2.2", "p-1", "#[\"setNext\",[\"$0\"]]", "o+v1.1"),
			    TYPE_ERROR("Link.next cannot be saved: it holds an object of kind Passing, which is virtual"));
	assert_string_equal(message(k, "o+d2.2", "p-1", "#[\"setAny\",[{\"a\":\"$0\"}]]", "o+v1.1"),
			    TYPE_ERROR("Link.any cannot be saved: it holds an object of kind Passing, which is virtual"));
	assert_string_equal(call(k, "#[\"put\",[\"$0\"]]", "o+v1.1"),
		TYPE_ERROR("baggage \\\"x\\\": an object of kind Passing, which is virtual would not survive a restart; imported "
			   "references, the root and objects with a state table do"));
	/* an import that only it holds stays, and goes with it */
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "subscribe p-4");
	message(k, "o+v1.1", "p-1", "#[\"setAny\",[[\"$0\"]]]", "o-4");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+v1.1"), "retireExports o+v1.1");
	assert_int_equal(n_rows(k, "life."), 0);
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-4\nretireImports o-4");
}

/* V5: the next incarnation deletes what virtual objects had, and lets go of what only they held. */
static void test_virtual_restart(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Link\",1]]", "");
	call(k, "#[\"make\",[\"Link\",2]]", "");
	call(k, "#[\"put\",[\"$0\"]]", "o+d1.2");
	call(k, "#[\"make\",[\"Passing\",7]]", "");
	message(k, "o+v2.3", "p-1", "#[\"setAny\",[[\"$0\",\"$1\",\"$2\"]]]", "o+d1.1 o+d1.2 o-9");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.1 o+d1.2");
	assert_string_equal(collect(k, WIRE_RETIRE_EXPORTS, "o+d1.1 o+d1.2"), "");
	assert_string_equal(store_text(k, "life.1.count.o+d1.1"), "1");
	k->imports[0].bits = vref_bits("o-9");
	k->reachable[0] = true;
	k->n_imports = 1;
	restart(k);
	finish(k);
	assert_int_equal(n_rows(k, "life."), 0);
	assert_null(store_text(k, "object.o+d1.1"));
	assert_non_null(store_text(k, "object.o+d1.2"));
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-9\nretireImports o-9");
	/* a new one is not mistaken for the old: neither its number nor its rows */
	assert_string_equal(call(k, "#[\"make\",[\"Passing\",8]]", ""), "resolve p-1 ref #\"$0.Alleged: Passing\" o+v2.4");
	assert_string_equal(store_text(k, "life.2.object.o+v2.4"), "#{\"n\":8,\"next\":null}");
	/* the rows of this incarnation are not those of an earlier one: the third deletes them */
	restart(k);
	finish(k);
	assert_int_equal(n_rows(k, "life."), 0);
}

/* Objects without a state table in virtual state: counted in memory, and held. */
static void test_virtual_holds_ephemeral(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Passing\",7]]", "");
	assert_string_equal(call(k, "#[\"make\",[\"Pocket\",3]]", ""), "resolve p-1 ref #\"$0.Alleged: Pocket in\" o+1");
	message(k, "o+v1.1", "p-1", "#[\"setNext\",[\"$0\"]]", "o+1");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+1"), "");
	assert_string_equal(collect(k, WIRE_RETIRE_EXPORTS, "o+1"), "");
	/* many others push it out of memory; it finds the toy again */
	for (unsigned i = 0; i < 3; i++)
		call(k, "#[\"many\",[\"Link\",0,3000]]", "");
	assert_string_equal(message(k, "o+v1.1", "p-1", "#[\"next\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Pocket in\" o+1");
	assert_string_equal(message(k, "o+1", "p-1", "#[\"deposit\",[2]]", ""), "resolve p-1 ref #\"$0.Alleged: Pocket in\" o+1");
	collect(k, WIRE_DROP_EXPORTS, "o+1");
	message(k, "o+v1.1", "p-1", "#[\"setNext\",[]]", "");	/* ?r: left as it is */
	assert_string_equal(k->logged, "");
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+v1.1"), "retireExports o+v1.1\nretireExports o+1");
	assert_string_equal(k->logged, "purse 5 is gone");
}

static void test_virtual_facets(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	assert_string_equal(call(k, "#[\"make\",[\"Handful\",7]]", ""), "resolve p-1 ref #\"$0.Alleged: Handful in\" o+v1.1:0");
	message(k, "o+v1.1:0", "p-1", "#[\"other\",[\"out\"]]", "");
	assert_string_equal(store_text(k, "life.1.exported.o+v1.1"), ":rr");
	message(k, "o+v1.1:1", "p-1", "#[\"wait\",[\"&0\"]]", "p-4");	/* in memory: a virtual object does not survive */
	assert_int_equal(n_rows(k, "when."), 0);
	collect(k, WIRE_DROP_EXPORTS, "o+v1.1:0 o+v1.1:1");
	notify(k, "p-4", 0, "#1", "");
	assert_string_equal(k->said, "retireExports o+v1.1:0 o+v1.1:1");
	assert_int_equal(n_rows(k, "life."), 0);
}

/* --- state ---------------------------------------------------------------------------------------- */

static void test_any_value(void **state)
{
	static const char *const values[] = { "null", "\"#undefined\"", "true", "-7.5", "\"+123456789012345678901234567890\"",
		"\"!-x\"", "\"%sym\"", "{\"#error\":\"m\",\"name\":\"E\"}", "{\"#tag\":\"t\",\"payload\":[1]}",
		"[[],{},{\"any\":{\"n\":1}}]" };
	struct vat_kernel *k = *state;
	char body[200], expected[200];
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Link\",1]]", "");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"any\",[]]", ""), "resolve p-1 #\"nothing\"");
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		if (strcmp(values[i], "\"#undefined\"") == 0)
			continue;	/* "?v" takes it for no argument */
		snprintf(body, sizeof(body), "#[\"setAny\",[%s]]", values[i]);
		assert_string_equal(message(k, "o+d1.1", "p-1", body, ""), OK_UNDEFINED);
		snprintf(expected, sizeof(expected), "resolve p-1 #%s", values[i]);
		assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"any\",[]]", ""), expected);
		restart(k);
		assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"any\",[]]", ""), expected);
	}
	assert_string_equal(call(k, "#[\"makeWith\",[{\"a\":[\"x\",\"$0\"]}]]", "o-6"),
			    "resolve p-1 ref #\"$0.Alleged: Link\" o+d1.2");
	assert_string_equal(message(k, "o+d1.2", "p-1", "#[\"any\",[]]", ""), "resolve p-1 #{\"a\":[\"x\",\"$0\"]} o-6");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.2");
	collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
	assert_string_equal(call(k, "#[\"missing\",[[1]]]", ""), TYPE_ERROR("the value must be an integer, and is missing"));
	/* references in it are held, and let go */
	k->quiet = false;
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"setAny\",[{\"a\":\"$0\",\"b\":[\"$1\"]}]]", "o-4 o+d1.1"),
			    OK_UNDEFINED "\nset object.o+d1.1 #{\"n\":1,\"next\":null,\"any\":{\"a\":\"$0\",\"b\":[\"$1.Alleged: Link\"]}}\n"
			    "o-4 o+d1.1\nset count.o-4 1\nset count.o+d1.1 1");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"setAny\",[{\"a\":\"$0\",\"b\":[\"$1\"]}]]", "o-4 o+d1.1"), OK_UNDEFINED);
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"setAny\",[]]", ""),
			    OK_UNDEFINED "\nset object.o+d1.1 #{\"n\":1,\"next\":null}\ndelete count.o-4\ndelete count.o+d1.1");
	k->imports[0].bits = vref_bits("o-4");
	k->n_imports = 1;
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-4\nretireImports o-4");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"any\",[]]", ""), "resolve p-1 #\"nothing\"");
}

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

/* L1: what callers give and cannot be saved costs them the call, and the object keeps its state. */
static void test_refused(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Link\",1]]", "");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"setAny\",[[1]]]", ""), OK_UNDEFINED);
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"setAny\",[[\"&0\"]]]", "p-4"),
			    TYPE_ERROR("Link.any cannot be saved: it holds a promise"));
	char *body = padded("#[\"setAny\",[\"", "\"]]", WIRE_MAX_BODY);
	assert_string_equal(message(k, "o+d1.1", "p-1", body, ""),
			    RANGE_ERROR("the state of Link cannot be saved: more than 16777216 bytes in one message"));
	free(body);
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"any\",[]]", ""), "resolve p-1 #[1]");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"n\",[]]", ""), "resolve p-1 #1");
	/* through vat_state(), of an object that was touched before in the same method; and in another turn */
	assert_string_equal(call(k, "#[\"setTwice\",[\"$0\",\"$1\",\"&2\"]]", "o+d1.1 o-4 p-4"),
			    TYPE_ERROR("Link.next cannot be saved: it holds a promise"));
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"next\",[]]", ""), OK_UNDEFINED);
	assert_string_equal(call(k, "#[\"setInTurn\",[\"$0\",[\"&1\"]]]", "o+d1.1 p-4"), OK_UNDEFINED);
	assert_non_null(strstr(k->logged, "continuation Root.later failed"));
	assert_non_null(strstr(k->logged, "Link.next cannot be saved: it holds a promise"));
	/* the turn before had put the root there */
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"next\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Root\" o+0");
	assert_string_equal(call(k, "#[\"make\",[\"Toy\"]]", ""), "resolve p-1 ref #\"$0.Alleged: Toy\" o+1");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"setNext\",[\"$0\"]]", "o+1"),
			    TYPE_ERROR("Link.next cannot be saved: it holds an object of kind Toy, which has no state table"));
	/* in an init: there is no such object then */
	assert_string_equal(call(k, "#[\"chain\",[\"Link\",1,\"&0\"]]", "p-9"),
			    "resolve p-1 rejected #{\"#error\":\"Link.next cannot be saved: it holds a promise\",\"name\":\"TypeError\"}");
	assert_int_equal(n_rows(k, "object."), 1);
}

/* --- what is cached ------------------------------------------------------------------------------- */

/* Entries and objects in memory, from "[entries,used]". */
static long used(struct vat_kernel *k)
{
	long table, all;
	assert_int_equal(sscanf(call(k, "#[\"entries\",[]]", ""), "resolve p-1 #[%ld,%ld]", &table, &all), 2);
	return table > all ? table : all;
}

static void test_bound(void **state)
{
	struct vat_kernel *k = *state;
	char target[40], body[100], expected[100];
	start(k);
	k->quiet = true;
	/* exported, stored, both: 20,000 objects, and a chain of 4,000 in which each holds the next */
	for (unsigned i = 0; i < 10; i++) {
		snprintf(body, sizeof(body), "#[\"many\",[\"%s\",%u,2000]]", i % 2 ? "Passing" : "Link", i * 2000 + 1);
		call(k, body, "");
		assert_true(used(k) < 15000);
	}
	call(k, "#[\"chain\",[\"Link\",4000]]", "");
	for (unsigned i = 0; i < 20; i++)
		call(k, "#[\"take\",[]]", "");
	call(k, "#[\"many\",[\"Link\",0,4000]]", "");
	call(k, "#[\"many\",[\"Link\",0,2000]]", "");
	assert_true(used(k) < 10000);
	srandom(7);
	for (unsigned i = 0; i < 500; i++) {
		unsigned n = (unsigned)random() % 20000;
		snprintf(target, sizeof(target), "o+%s.%u", n / 2000 % 2 ? "v2" : "d1", n + 1);
		snprintf(expected, sizeof(expected), "resolve p-1 #%u", n + 1);
		assert_string_equal(message(k, target, "p-1", "#[\"n\",[]]", ""), expected);
	}
	/* what was put away is dropped, retired and deleted like any other */
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.17 o+v2.2017"), "retireExports o+d1.17\nretireExports o+v2.2017");
	assert_null(store_text(k, "object.o+d1.17"));
	assert_null(store_text(k, "life.1.object.o+v2.2017"));
}

/* Names that callers choose do not pile up in memory. */
static void test_baggage_bound(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	for (unsigned i = 0; i < 3; i++) {
		char body[60];
		snprintf(body, sizeof(body), "#[\"names\",[%u]]", i * 1000);
		assert_string_equal(call(k, body, ""), "resolve p-1 #2000");
	}
	call(k, "#[\"put\",[[\"$0\"]]]", "o-4");
	call(k, "#[\"names\",[0]]", "");
	assert_string_equal(call(k, "#[\"take\",[]]", ""), "resolve p-1 #[\"$0\"] o-4");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "");
	call(k, "#[\"forget\",[]]", "");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-4\nretireImports o-4");
}

/* A pointer kept past its crank finds the entry free, or at rest: a sentence, and no other object. */
static void test_stale(void **state)
{
	struct vat_kernel *k = *state;
	for (unsigned round = 0; round < 3; round++) {
		start(k);
		k->quiet = true;
		call(k, "#[\"make\",[\"Link\",1]]", "");
		const char *object = round == 0 ? "o+d1.1" : round == 1 ? "o+d1.2" : "o+d1.6005";
		call(k, "#[\"steal\",[\"$0\"]]", object);
		if (round > 0)	/* gone from memory meanwhile */
			for (unsigned i = 0; i < 3; i++)
				call(k, "#[\"many\",[\"Link\",0,2000]]", "");
		call(k, round < 2 ? "#[\"useStolen\",[]]" : "#[\"releaseStolen\",[]]", "");
		assert_non_null(strstr(k->said, round < 2 ? "a reference was kept past its crank without vat_hold()" :
				       "vat_release() of a reference that is not held"));
		assert_false(listen_to_vat(k, false));
		assert_true(WIFEXITED(k->status) && WEXITSTATUS(k->status) == 1);
		kill_vat(k);
	}
}

/* What is held stays, with its C memory, whatever else comes. */
static void test_held(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"make\",[\"Link\",41]]", "");
	call(k, "#[\"keep\",[\"$0\"]]", "o+d1.1");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.1");
	collect(k, WIRE_RETIRE_EXPORTS, "o+d1.1");
	for (unsigned i = 0; i < 5; i++)
		call(k, "#[\"many\",[\"Link\",0,2000]]", "");
	assert_string_equal(call(k, "#[\"kept\",[]]", ""), "resolve p-1 ref #\"$0.Alleged: Link\" o+d1.1");
	assert_string_equal(message(k, "o+d1.1", "p-1", "#[\"n\",[]]", ""), "resolve p-1 #41");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.1");
	assert_string_equal(call(k, "#[\"unkeep\",[]]", ""), OK_UNDEFINED "\nretireExports o+d1.1");
}

/* The crank's memory: given back when it ends. */
#ifndef __SANITIZE_ADDRESS__	/* whose heap keeps freed memory aside */
static long private_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = 0, n;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	FILE *f = fopen(path, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Dirty: %ld", &n) == 1)
			kb += n;
	fclose(f);
	return kb;
}

static void test_arena(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	call(k, "#[\"waste\",[10]]", "");
	long before = private_kb(k->pid);
	assert_string_equal(call(k, "#[\"waste\",[200000]]", ""), "resolve p-1 #200000");	/* some 20 MB */
	char *body = padded("#[\"missing\",[[\"", "\"]]]", 12 << 20);	/* a large message, both ways of a buffer */
	call(k, body, "");
	free(body);
	call(k, "#[\"waste\",[10]]", "");	/* it gives back after it has answered */
	/* The heap it was forked with has holes, which it fills: some of that stays. */
	assert_true(private_kb(k->pid) < before + 4096);
}
#endif

/* --- what goes, and in how many cranks ------------------------------------------------------------- */

static void make_chain(struct vat_kernel *k, const char *kind, unsigned n, char head[40])
{
	char body[100] = "";
	head[0] = 0;
	for (unsigned made = 0; made < n; made += 1000) {
		snprintf(body, sizeof(body), "#[\"chain\",[\"%s\",1000%s]]", kind, made ? ",\"$0\"" : "");
		char before[40];
		strcpy(before, head);
		call(k, body, before);
		assert_int_equal(sscanf(k->said, "resolve p-1 ref #\"$0.Alleged: %*s %39s", head), 1);
		if (made)
			collect(k, WIRE_DROP_EXPORTS, before);
		if (made)
			collect(k, WIRE_RETIRE_EXPORTS, before);
	}
}

/* A long list let go at once: no deep recursion, no crank too long, and a restart in the middle forgets nothing. */
static void test_long_chain(void **state)
{
	struct vat_kernel *k = *state;
	char head[40];
	start(k);
	k->quiet = true;
	make_chain(k, "Link", 5000, head);
	assert_int_equal(n_rows(k, "object."), 5000);
	collect(k, WIRE_DROP_EXPORTS, head);
	assert_true(k->n_syscalls < FEW_HUNDRED);
	assert_true(k->woken);
	assert_int_equal(n_rows(k, "gone."), 1);
	for (unsigned i = 0; i < 5; i++)
		wake(k);
	size_t left = n_rows(k, "object.");
	assert_in_range(left, 1000, 4800);
	restart(k);
	assert_true(k->woken);
	assert_true(finish(k) > 10);
	assert_int_equal(n_rows(k, "object.") + n_rows(k, "count.") + n_rows(k, "exported.") + n_rows(k, "gone."), 0);
	assert_string_equal(k->logged, "");
}

/* Virtual ones: in the incarnation that made them, or by the next. */
static void test_long_virtual_chain(void **state)
{
	struct vat_kernel *k = *state;
	char head[40];
	start(k);
	k->quiet = true;
	make_chain(k, "Passing", 2000, head);
	collect(k, WIRE_DROP_EXPORTS, head);
	assert_true(finish(k) > 5);
	assert_int_equal(n_rows(k, "life."), 0);
	make_chain(k, "Passing", 2000, head);
	assert_true(n_rows(k, "life.") > 3000);
	restart(k);
	assert_true(k->n_syscalls < FEW_HUNDRED && k->woken);
	assert_true(finish(k) > 5);
	assert_int_equal(n_rows(k, "life."), 0);
}

/* The guard of a result looks at the value: what fits is fine whatever it was written with, and a promise too. */
static void test_result(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	assert_string_equal(call(k, "#[\"count\",[5]]", ""), "resolve p-1 #5");
	assert_string_equal(call(k, "#[\"count\",[\"&0\"]]", "p-8"), "resolve p-1 ref #\"&0\" p-8");
	assert_string_equal(call(k, "#[\"count\",[\"$0\"]]", "o-8"),
		TYPE_ERROR("Root.count returns \\\"v\\\", where its table says \\\"i\\\": the value must be an integer, not a reference"));
	assert_string_equal(call(k, "#[\"count\",[1,2]]", ""), TYPE_ERROR("Root.count: takes at most 1 argument"));
	assert_string_equal(call(k, "#[\"make\",[\"Link\",null]]", ""),
			    TYPE_ERROR("Root.make: argument 2 must be an integer, not null"));
}

/* What is on its way out and is taken into hand again before its turn comes is not deleted. */
static void test_chain_saved(void **state)
{
	struct vat_kernel *k = *state;
	char head[40];
	start(k);
	k->quiet = true;
	make_chain(k, "Link", 2000, head);
	call(k, "#[\"put\",[\"$0\"]]", "o+d1.500");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.500");
	collect(k, WIRE_DROP_EXPORTS, head);
	finish(k);
	assert_int_equal(n_rows(k, "object."), 500);
	assert_string_equal(store_text(k, "count.o+d1.500"), "1");
	call(k, "#[\"forget\",[]]", "");
	finish(k);
	assert_int_equal(n_rows(k, "object."), 0);
}

/* Many imports at once: no crank lists more than it may, and all are dropped and retired once. */
static void test_many_imports(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	for (unsigned n = 0; n < 3; n++) {
		uint64_t *slots = calloc(10000, sizeof(*slots));
		for (unsigned i = 0; i < 10000; i++)
			slots[i] = vref_make(false, true, n * 10000 + i + 1).bits;
		begin_delivery(k, WIRE_MESSAGE);
		wire_u64(&k->out, 0);
		wire_u64(&k->out, 0);
		wire_put_capdata(&k->out, "#[\"take\",[]]", 12, slots, 10000);
		end_delivery(k);
		free(slots);
	}
	unsigned listed = 0, cranks = 0;
	collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
	for (bool more = true; more; cranks++) {
		listed += k->n_slots;
		more = k->woken;
		if (more)
			wake(k);
	}
	assert_int_equal(listed, 60000);
	assert_true(cranks > 3);
	assert_true(used(k) < 100);
}

/* After a restart: the clist of earlier incarnations, in steps; what values name stays. */
static void test_clist_walk(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"put\",[[\"$0\",\"$1\"]]]", "o-3 o-60");
	for (unsigned i = 0; i < 64; i++) {
		k->imports[i] = vref_make(false, true, i + 1);
		k->reachable[i] = i % 2;
	}
	k->n_imports = 64;
	restart(k);
	finish(k);
	collect(k, WIRE_BRING_OUT_YOUR_DEAD, "");
	assert_int_equal(k->n_slots, 62 + 32 - 1);	/* all but two retired; half of them were reachable: one of the two is not */
	assert_null(strstr(k->said, " o-3 "));
	assert_null(strstr(k->said, " o-60"));
	/* known from now on: nothing is looked up for a new import */
	call(k, "#[\"entries\",[]]", "o-70");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-70\nretireImports o-70");
	assert_int_equal(k->n_reads, 0);
	assert_string_equal(call(k, "#[\"take\",[]]", ""), "resolve p-1 #[\"$0\",\"$1\"] o-3 o-60");
}

/* --- the library's own kinds ------------------------------------------------------------------------ */

static void test_builtin(void **state)
{
	struct vat_kernel *k = *state;
	with_slow = true;
	start(k);
	assert_string_equal(call(k, "#[\"makeSlow\",[]]", ""),
			    "set kinds 1\nset builtin.Purse 1 n:i64\nset exported.o+d1.1 reachable\n"
			    "resolve p-1 ref #\"$0.Alleged: Purse\" o+d1.1\nset object.o+d1.1 #{\"n\":0}\nset instance 1");
	k->quiet = true;
	call(k, "#[\"put\",[\"$0\"]]", "o+d1.1");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.1");
	call(k, "#[\"forget\",[]]", "");
	/* its state is there until the hook is done, over a restart too */
	assert_string_equal(store_text(k, "slow.o+d1.1"), "1");
	assert_non_null(store_text(k, "object.o+d1.1"));
	assert_non_null(store_text(k, "gone.o+d1.1"));
	wake(k);
	assert_string_equal(store_text(k, "slow.o+d1.1"), "2");
	kill_vat(k);
	assert_string_equal(start_vat(k, serve, &program, ""), "retireExports o+d1.1");
	assert_null(store_text(k, "slow.o+d1.1"));
	assert_null(store_text(k, "object.o+d1.1"));
	assert_null(store_text(k, "gone.o+d1.1"));
	with_slow = false;
}

/* Recognised by a weak key: dropped, not retired; and who recognises hears when it is gone. */
static void test_weak(void **state)
{
	struct vat_kernel *k = *state;
	start(k);
	k->quiet = true;
	call(k, "#[\"recognise\",[\"$0\"]]", "o-5");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-5");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "");
	/* it comes again: an import like any other, and dropped again */
	call(k, "#[\"entries\",[]]", "o-5");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-5");
	assert_string_equal(k->logged, "");
	assert_string_equal(collect(k, WIRE_RETIRE_IMPORTS, "o-5"), "");
	assert_string_equal(k->logged, "key o-5 is gone");
	/* an own object */
	call(k, "#[\"make\",[\"Link\",1]]", "");
	call(k, "#[\"recognise\",[\"$0\"]]", "o+d1.1");
	collect(k, WIRE_DROP_EXPORTS, "o+d1.1");
	assert_non_null(strstr(k->logged, "key o+d1.1 is gone"));
	/* a facet, by its own name, when the whole goes */
	call(k, "#[\"make\",[\"Purse\",1]]", "");
	message(k, "o+d2.2:0", "p-1", "#[\"other\",[\"out\"]]", "");
	call(k, "#[\"recognise\",[\"$0\"]]", "o+d2.2:1");
	collect(k, WIRE_DROP_EXPORTS, "o+d2.2:1");
	collect(k, WIRE_RETIRE_EXPORTS, "o+d2.2:1");
	assert_null(strstr(k->logged, "key o+d2.2:1"));
	collect(k, WIRE_DROP_EXPORTS, "o+d2.2:0");
	assert_non_null(strstr(k->logged, "key o+d2.2:1 is gone"));
}

int main(void)
{
	static char names[256][8];
	for (unsigned i = 0; i < 256; i++) {
		snprintf(names[i], sizeof(names[i]), "f%u", i);
		too_many_facets[i] = (vat_facet){ names[i], wide_methods };
		if (i < 255)
			wide_facets[i] = too_many_facets[i];
	}
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, vat_kernel_setup, vat_kernel_teardown)
		T(test_facets), T(test_facets_collected), T(test_facets_ephemeral), T(test_kind_changed), T(test_wrong_kinds),
		T(test_many_facets), T(test_virtual), T(test_virtual_restart), T(test_virtual_holds_ephemeral),
		T(test_virtual_facets), T(test_any_value), T(test_refused), T(test_bound), T(test_baggage_bound), T(test_stale), T(test_held),
#ifndef __SANITIZE_ADDRESS__
		T(test_arena),
#endif
		T(test_long_chain), T(test_long_virtual_chain), T(test_chain_saved), T(test_result), T(test_many_imports),
		T(test_clist_walk), T(test_builtin), T(test_weak),
	};
	return cmocka_run_group_tests_name("vatobjects", tests, NULL, NULL);
}
