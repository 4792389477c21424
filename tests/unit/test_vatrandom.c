/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vat library against vats that do whatever its interface allows: objects of every kind, facets, collections,
 * baggage, promises, combinators, streams and timers, among three vats on the real kernel, with restarts, deaths in the
 * middle of a crank, the collector and other programs in between, from a seed. No vat may be ended by what the library
 * said to the kernel, and after every few steps the counts of references in each vatstore are counted again; when all
 * has been let go, nothing is left.
 *
 *	VAT_SEEDS=1000-1200 VAT_STEPS=500 build/unit/test_vatrandom
 *
 * Without them a few fixed seeds are run.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include <capstan/vat_test.h>

#include "../../vatd/lib/internal.h"

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static unsigned below(uint64_t *rng, unsigned n) { return (unsigned)(mix(rng) % n); }

/* --- the program ---------------------------------------------------------------------------------- */

#define POOL	64u
#define HELD	8u
#define BAGS	5u

static unsigned die_after;	/* so many operations from now on a process dies in the middle of its crank; 0: none */
static unsigned echoes;		/* so many continuations still do something in this step: they must come to an end */
static bool audit_failed;

struct pool { vat_ref *refs[POOL]; size_t n; };

typedef struct {
	vat_ref *map, *weak, *set, *other;
	vat_value *value;
	int64_t n;
	char *text;
	/* of this process */
	vat_ref *held[HELD], *passing, *passing_weak;
} actor;
typedef struct { vat_ref *one, *two; vat_value *value; int64_t n; } thing;

static const vat_kind Actor, Thing, Ghost, Purse, Fleeting;

static vat_ref *into_pool(vat *v, vat_ref *ref, void *arg)
{
	struct pool *p = arg;
	(void)v;
	if (ref && p->n < POOL)
		p->refs[p->n++] = ref;
	return ref;
}

static vat_ref *pick(struct pool *p, uint64_t *rng)
{
	return p->n ? p->refs[below(rng, (unsigned)p->n)] : NULL;
}

static vat_value *random_value(vat *v, struct pool *p, uint64_t *rng)
{
	switch (below(rng, 6)) {
	case 0: return vat_value_new(v, "i", (int64_t)below(rng, 5));
	case 1: return vat_value_new(v, "s", "text");
	case 2: return vat_value_new(v, "[rr]", pick(p, rng), pick(p, rng));
	case 3: return vat_value_new(v, "{a:r,b:[i]}", pick(p, rng), (int64_t)3);
	case 4: return vat_value_new(v, "e", "RangeError", "made up");
	default: return vat_value_new(v, "r", pick(p, rng));
	}
}

static vat_value *random_key(vat *v, struct pool *p, uint64_t *rng)
{
	switch (below(rng, 5)) {
	case 0: return vat_value_new(v, "i", (int64_t)below(rng, 6));
	case 1: return vat_value_new(v, "[sr]", "k", pick(p, rng));
	default: return vat_value_new(v, "r", pick(p, rng));
	}
}

static void learn(vat *v, struct pool *p, const vat_value *value)
{
	if (value)
		vat_map_refs(v, value, into_pool, p);
}

/* What an own object of one of our kinds has in its fields. */
static thing *things_state(vat *v, vat_ref *ref)
{
	thing *t = vat_state(v, ref, &Thing);
	t = t ? t : vat_state(v, ref, &Ghost);
	return t ? t : vat_state(v, ref, &Purse);
}

static actor *root_state(vat *v)
{
	return vat_state(v, v->root, v->program->kinds[0]);
}

static bool is_small(const vat *v) { return !v->program->kinds[1]; }

static void make(vat *v, struct pool *p, uint64_t *rng)
{
	const vat_kind *kinds[] = { &Fleeting, &Thing, &Ghost, &Purse };
	const vat_kind *kind = kinds[is_small(v) ? 0 : below(rng, 4)];
	vat_ref *r = vat_new(v, kind, "?r", pick(p, rng));
	into_pool(v, r, p);
	if (r && kind == &Purse)
		into_pool(v, vat_facet_of(v, r, "two"), p);
}

static void assign(vat *v, struct pool *p, uint64_t *rng)
{
	thing *t = things_state(v, pick(p, rng));
	actor *a = root_state(v);
	vat_ref *r = below(rng, 3) ? pick(p, rng) : NULL;
	if (t && t != (thing *)v->call.self->data && t->one)
		into_pool(v, t->one, p);
	switch (below(rng, t ? 6 : 3)) {
	case 0: a->other = r; break;
	case 1: a->value = below(rng, 3) ? random_value(v, p, rng) : NULL; break;
	case 2: vat_set_string(v, &a->text, below(rng, 2) ? "kept" : NULL); break;
	case 3: t->one = r; break;
	case 4: t->two = r; break;
	case 5: t->value = r ? random_value(v, p, rng) : NULL; break;
	}
}

static void use_collection(vat *v, struct pool *p, uint64_t *rng)
{
	actor *a = root_state(v);
	vat_ref *all[] = { a->map, a->weak, a->passing, a->passing_weak, a->set };
	unsigned i = below(rng, 5);
	vat_ref *c = all[i];
	bool set = i == 4;
	vat_value *key = random_key(v, p, rng), *value = random_value(v, p, rng), *got;
	if (!c || !key || !value)
		return;
	switch (below(rng, 8)) {
	case 0: vat_collection_delete(v, c, "v", key); break;
	case 1: if (below(rng, 4) == 0) vat_collection_clear(v, c); break;
	case 2: vat_collection_has(v, c, "v", key); break;
	case 3:
		if (!set && vat_map_get(v, c, "v", "v", key, &got))
			learn(v, p, got);
		break;
	case 4:
		if (i != 1 && i != 3) {
			vat_cursor *at = vat_range(v, c, below(rng, 2) ? key : NULL, NULL);
			for (unsigned n = below(rng, 5); n && vat_next(v, at, &key, &got); n--) {
				learn(v, p, key);
				learn(v, p, got);
				if (below(rng, 4) == 0)
					vat_collection_delete(v, c, "v", key);
			}
		}
		break;
	case 5: into_pool(v, c, p); break;
	default:
		if (set)
			vat_set_add(v, c, "v", key);
		else
			vat_map_set(v, c, "v", "v", key, value);
	}
}

static void use_baggage(vat *v, struct pool *p, uint64_t *rng)
{
	char name[16];
	vat_value *value;
	snprintf(name, sizeof(name), "bag%u", below(rng, BAGS));
	switch (below(rng, 3)) {
	case 0: vat_baggage_delete(v, name); break;
	case 1:
		if (vat_baggage_get(v, name, "v", &value))
			learn(v, p, value);
		break;
	default:
		value = random_value(v, p, rng);
		if (value)
			vat_baggage_set(v, name, "v", value);
	}
}

static void hold_or_release(vat *v, struct pool *p, uint64_t *rng)
{
	actor *a = root_state(v);
	vat_ref **h = &a->held[below(rng, HELD)], *r = pick(p, rng);
	if (*h) {
		into_pool(v, *h, p);
		vat_release(v, *h);
	}
	*h = NULL;
	if (r && below(rng, 2))
		*h = vat_hold(v, r);
}

static void send(vat *v, struct pool *p, uint64_t *rng, int64_t depth)
{
	static const char *const names[] = { "next", "return", "throw", "nosuch", "read", "echo" };
	vat_ref *to = pick(p, rng);
	if (!to)
		return;
	if (below(rng, 2) || depth <= 0) {
		vat_value *value = random_value(v, p, rng);
		if (value)
			into_pool(v, vat_call(v, to, names[below(rng, ARRAY_LEN(names))], "v", value), p);
	} else if (below(rng, 4)) {
		into_pool(v, vat_call(v, to, "act", "ii[rrr]", (int64_t)below(rng, 1u << 30), depth - 1, pick(p, rng), pick(p, rng),
				      pick(p, rng)), p);
	} else {
		vat_tell(v, to, "act", "ii[r]", (int64_t)below(rng, 1u << 30), depth - 1, pick(p, rng));
	}
}

static void wait_for_it(vat *v, void *self, struct pool *p, uint64_t *rng)
{
	vat_ref *r = pick(p, rng);
	thing *t = things_state(v, pick(p, rng));
	void *who = t && below(rng, 2) ? t : self;
	if (!r)
		return;
	switch (below(rng, 4)) {
	case 0: vat_when(v, r, who, "got"); break;
	case 1: vat_catch(v, r, who, "got"); break;
	case 2: into_pool(v, vat_then(v, r, who, "got", NULL), p); break;
	default: into_pool(v, vat_then(v, r, who, "got", "got"), p); break;
	}
}

static void settle_one(vat *v, struct pool *p, uint64_t *rng)
{
	vat_ref *r = pick(p, rng);
	vat_value *value = random_value(v, p, rng);
	if (!r || !value || !vat_is_promise(r))
		return;
	if (below(rng, 3))
		vat_resolve(v, r, "v", value);
	else
		vat_reject_with(v, r, "v", value);
}

static void combine(vat *v, struct pool *p, uint64_t *rng)
{
	static vat_ref *(*const how[])(vat *, vat_ref *const *, size_t) = { vat_all, vat_race, vat_any, vat_all_settled };
	size_t n = p->n < 4 ? p->n : below(rng, 5);
	into_pool(v, how[below(rng, 4)](v, p->refs + (p->n - n), n), p);
}

static void stream(vat *v, void *self, struct pool *p, uint64_t *rng)
{
	vat_ref *writer, *r = pick(p, rng);
	thing *t = things_state(v, pick(p, rng));
	void *who = t && below(rng, 2) ? t : self;
	switch (below(rng, 6)) {
	case 0:
		into_pool(v, vat_pipe(v, &writer), p);
		into_pool(v, writer, p);
		break;
	case 1: into_pool(v, vat_producer(v, who, "made", below(rng, 2) ? "got" : NULL), p); break;
	case 2:
		if (r)
			vat_stream_each(v, r, who, "item", below(rng, 2) ? "got" : NULL, below(rng, 2) ? "got" : NULL);
		break;
	case 3: if (r) into_pool(v, vat_stream_write(v, r, "r", pick(p, rng)), p); break;
	case 4: if (r) into_pool(v, vat_stream_end(v, r), p); break;
	case 5: if (r) into_pool(v, vat_stream_fail(v, r, "Error", "enough"), p); break;
	}
}

static void some_operations(vat *v, void *self, struct pool *p, uint64_t *rng, int64_t depth)
{
	actor *a = root_state(v);
	vat_value *value;
	if (a->other)
		into_pool(v, a->other, p);
	learn(v, p, a->value);
	for (size_t i = 0; i < HELD; i++)
		if (a->held[i] && below(rng, 2))
			into_pool(v, a->held[i], p);
	into_pool(v, v->root, p);
	if (vat_baggage_get(v, "peers", "v", &value))
		learn(v, p, value);
	for (unsigned n = below(rng, 8); n; n--) {
		if (die_after && --die_after == 0)
			vat_end(v, 9);
		switch (below(rng, 12)) {
		case 0: make(v, p, rng); break;
		case 1: assign(v, p, rng); break;
		case 2:
		case 3: use_collection(v, p, rng); break;
		case 4: use_baggage(v, p, rng); break;
		case 5: hold_or_release(v, p, rng); break;
		case 6: into_pool(v, vat_promise_new(v), p); break;
		case 7: settle_one(v, p, rng); break;
		case 8: wait_for_it(v, self, p, rng); break;
		case 9: below(rng, 3) ? send(v, p, rng, depth) : combine(v, p, rng); break;
		case 10: stream(v, self, p, rng); break;
		case 11: send(v, p, rng, depth); break;
		}
	}
}

static int end_somehow(vat *v, struct pool *p, uint64_t *rng)
{
	vat_value *value = random_value(v, p, rng);
	if (!value)
		return -1;
	switch (below(rng, 4)) {
	case 0: return below(rng, 4) ? 0 : vat_throw(v, "v", value);
	case 1: return vat_return(v, "r", pick(p, rng));
	default: return vat_return(v, "v", value);
	}
}

static int act(vat *v, void *self)
{
	struct pool p = { .n = 0 };
	vat_value *given = NULL;
	int64_t seed = 0, depth = 0;
	if (vat_read(v, "ii?v", &seed, &depth, &given) < 0)
		return -1;
	uint64_t rng = (uint64_t)seed;
	into_pool(v, vat_self(v), &p);
	learn(v, &p, given);
	some_operations(v, self, &p, &rng, depth > 3 ? 3 : depth);
	return end_somehow(v, &p, &rng);
}

/* A continuation: what came is looked at, and little is done. */
static int got(vat *v, void *self)
{
	struct pool p = { .n = 0 };
	vat_value *value = NULL;
	vat_read(v, "?v", &value);
	learn(v, &p, value);
	uint64_t rng = p.n * 977 + v->crank + echoes;
	if (!echoes)
		return 0;
	echoes--;
	some_operations(v, self, &p, &rng, 0);
	return end_somehow(v, &p, &rng);
}
static int item(vat *v, void *self)
{
	vat_value *value;
	(void)self;
	vat_read(v, "v", &value);
	if (!echoes)	/* two loops on the two ends of a pipe feed each other for ever */
		return vat_fail(v, "Error", "enough");
	echoes--;
	return vat_type(value) == VAT_REFERENCE ? vat_return(v, "v", value) : 0;
}
static int made(vat *v, void *self)
{
	(void)self;
	uint64_t rng = v->crank;
	switch (below(&rng, 4)) {
	case 0: return vat_stream_done(v, "s", "last");
	case 1: return vat_return(v, "r", vat_promise_new(v));
	case 2: return vat_fail(v, "Error", "no more");
	default: return vat_return(v, "i", (int64_t)below(&rng, 100));
	}
}
static int echo(vat *v, void *self)
{
	vat_value *value = NULL;
	(void)self;
	vat_read(v, "?v", &value);
	return value ? vat_return(v, "v", value) : 0;
}
static int thing_init(vat *v, void *self)
{
	thing *t = self;
	vat_ref *r = NULL;
	vat_read(v, "?r", &r);
	if (r && ref_survives(r))
		t->one = r;
	return 0;
}

#define CONTINUATIONS VAT_CONTINUATIONS({ "got", NULL, NULL, got }, { "item", NULL, NULL, item }, { "made", NULL, NULL, made })
#define METHODS	{ "act", NULL, NULL, act }, { "echo", NULL, NULL, echo }
#define FIELDS	VAT_REF(thing, one), VAT_REF(thing, two), VAT_VALUE(thing, value), VAT_I64(thing, n)
static const vat_kind Thing = { "Thing", sizeof(thing), VAT_STATE(FIELDS), VAT_METHODS(METHODS), CONTINUATIONS, VAT_INIT(thing_init) };
static const vat_kind Ghost = { "Ghost", sizeof(thing), VAT_VIRTUAL(FIELDS), VAT_METHODS(METHODS), CONTINUATIONS, VAT_INIT(thing_init) };
static const vat_kind Purse = { "Purse", sizeof(thing), VAT_STATE(FIELDS), CONTINUATIONS, VAT_INIT(thing_init),
	VAT_FACETS(VAT_FACET("one", METHODS), VAT_FACET("two", METHODS)) };
static int fleeting_init(vat *v, void *self)
{
	(void)v;
	(void)self;
	return 0;
}
static const vat_kind Fleeting = { "Fleeting", sizeof(int64_t), VAT_METHODS(METHODS), CONTINUATIONS, VAT_INIT(fleeting_init) };

/* --- counted again ---------------------------------------------------------------------------------- */

struct tallied { vref_t ref; bool passing; uint64_t found, stated; };
struct audit { struct tallied *all; size_t n, size; };

static struct tallied *tallied(struct audit *a, vref_t ref, bool passing)
{
	if (vref_is_kept(ref))
		ref.bits &= ~UINT64_C(0xff);
	for (size_t i = 0; i < a->n; i++)
		if (vref_equal(a->all[i].ref, ref) && a->all[i].passing == passing)
			return &a->all[i];
	if (a->n == a->size) {
		a->size = a->size * 2 + 64;
		a->all = realloc(a->all, a->size * sizeof(*a->all));
		assert_non_null(a->all);
	}
	a->all[a->n] = (struct tallied){ ref, passing, 0, 0 };
	return &a->all[a->n++];
}

static vref_t parsed(const char *text, size_t len)
{
	vref_t ref;
	if (!vref_parse(text, len, &ref)) {
		fprintf(stderr, "no reference: \"%.*s\"\n", (int)len, text);
		audit_failed = true;
		return VREF_ROOT;
	}
	return ref;
}

static void audit_slots(struct audit *a, const char *text, size_t len, bool passing)
{
	const char *p = memchr(text, '\n', len);
	while (p && *p) {
		size_t n = strcspn(++p, " ");
		tallied(a, parsed(p, n), passing)->found++;
		p += n;
	}
}

/* The references in the key of a collection, as the library reads it: its text is covered elsewhere. */
static void audit_key(vat *v, struct audit *a, const char *rest, bool passing)
{
	size_t n = strcspn(rest, ".") + 1;	/* "o+d6.8.KEY" */
	n += strcspn(rest + n, ".");
	vref_t of = parsed(rest, n), single = key_ref(rest + n + 1, strlen(rest + n + 1));
	char *text;
	size_t len;
	bool weak = store_get(v, store_key(v, "object", of), &text, &len) && strstr(text, "\"weak\":true");
	if (weak && !vref_is_none(single))
		return;
	struct encoder *e = encoder_begin(v);
	if (!key_decode(v, rest + n + 1, strlen(rest + n + 1), e))
		audit_failed = true;
	for (size_t i = 0; i < e->n_slots; i++)
		tallied(a, e->slots[i]->vref, passing)->found++;
	encoder_end(v, e);
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static void audit_row(vat *v, struct audit *a, const char *key)
{
	bool passing = begins(key, "life.");
	const char *table = key;
	char *text;
	size_t len;
	if (passing) {
		char *rest;
		if (strtoull(key + 5, &rest, 10) != v->incarnation)
			return;
		table = rest + 1;
	}
	if (!store_get(v, key, &text, &len)) {
		audit_failed = true;
		return;
	}
	if (begins(table, "count.")) {
		tallied(a, parsed(table + 6, strlen(table + 6)), passing)->stated = strtoull(text, NULL, 10);
	} else if (begins(table, "object.") || begins(table, "baggage.") || begins(table, "entry.")) {
		audit_slots(a, text, len, passing);
		if (begins(table, "entry."))
			audit_key(v, a, table + 6, passing);
	} else if (begins(table, "when.")) {
		for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
			const char *object = strchr(line, ' ') + 1;
			tallied(a, parsed(object, strcspn(object, " ")), passing)->found++;
		}
	}
}

/* A method: the rows are as the last crank left them. */
VAT_METHOD(actor, audit)
{
	struct audit a = { 0 };
	int bad = 0;
	/* Ephemeral objects that values of virtual ones name are counted in memory only. */
	for (const char *key = store_next(v, "a"); key; key = store_next(v, key))
		audit_row(v, &a, key);
	for (size_t i = 0; i < a.n; i++) {
		const struct tallied *t = &a.all[i];
		char text[REF_TEXT_MAX];
		bool memory = t->passing && !vref_is_import(t->ref) && !vref_is_kept(t->ref);
		if (t->found == t->stated || t->ref.bits == VREF_ROOT.bits || memory)
			continue;
		fprintf(stderr, "%s%s: %llu values name it, the count says %llu\n", vref_format(t->ref, text),
			t->passing ? " (passing)" : "", (unsigned long long)t->found, (unsigned long long)t->stated);
		bad++;
	}
	free(a.all);
	return vat_return(v, "i", (int64_t)bad);
}

VAT_METHOD(actor, rows)
{
	for (const char *key = store_next(v, "a"); key; key = store_next(v, key)) {
		char *text;
		size_t len;
		store_get(v, key, &text, &len);
		fprintf(stderr, "  %s = %.*s\n", key, (int)len, text);
	}
	return 0;
}

/* Everything is let go. */
VAT_METHOD(actor, let_go)
{
	char name[16];
	self->other = NULL;
	self->value = NULL;
	vat_set_string(v, &self->text, NULL);
	vat_collection_clear(v, self->map);
	vat_collection_clear(v, self->weak);
	vat_collection_clear(v, self->set);
	vat_collection_clear(v, self->passing);
	vat_collection_clear(v, self->passing_weak);
	for (size_t i = 0; i < HELD; i++) {
		if (self->held[i])
			vat_release(v, self->held[i]);
		self->held[i] = NULL;
	}
	for (unsigned i = 0; i < BAGS; i++) {
		snprintf(name, sizeof(name), "bag%u", i);
		vat_baggage_delete(v, name);
	}
	return 0;
}

VAT_METHOD(actor, actor_init)
{
	if (!self->map) {
		self->map = vat_map_new(v, "map", VAT_DURABLE_COLLECTION);
		self->weak = vat_map_new(v, "weak", VAT_DURABLE_COLLECTION | VAT_WEAK_KEYS);
		self->set = vat_set_new(v, "set", VAT_DURABLE_COLLECTION);
	}
	self->passing = vat_hold(v, vat_map_new(v, "passing", 0));
	self->passing_weak = vat_hold(v, vat_map_new(v, "passing weak", VAT_WEAK_KEYS));
	return 0;
}
VAT_METHOD(actor, bootstrap)
{
	vat_value *peers;
	vat_read(v, "v", &peers);
	for (size_t i = 0; i < vat_length(peers); i++) {
		vat_ref *r;
		vat_value_read(v, vat_get(v, peers, vat_name_at(v, peers, i)), "r", &r);
		vat_tell(v, r, "know", "v", peers);
	}
	return 0;
}
VAT_METHOD(actor, know)
{
	vat_value *peers;
	vat_read(v, "v", &peers);
	return vat_baggage_set(v, "peers", "v", peers);
}
VAT_METHOD(actor, life) { return vat_return(v, "i", (int64_t)vat_incarnation(v)); }

VAT_METHOD(actor, keep)
{
	vat_read(v, "v", &self->value);
	return 0;
}
VAT_METHOD(actor, kept) { return vat_return(v, "v", self->value); }

/* An object whose end is counted by the root. */
typedef struct { vat_ref *root; } tidy;
VAT_METHOD(tidy, tidy_init)
{
	self->root = v->root;
	return 0;
}
VAT_METHOD(tidy, tidy_fini)
{
	root_state(v)->n++;
	return 0;
}
static const vat_kind Tidy = { "Tidy", sizeof(tidy), VAT_STATE(VAT_REF(tidy, root)), VAT_INIT(tidy_init), VAT_FINI(tidy_fini) };

VAT_METHOD(actor, make_tidy)
{
	vat_new(v, &Tidy, "");
	return 0;
}
VAT_METHOD(actor, number) { return vat_return(v, "i", self->n); }
VAT_METHOD(actor, count_it)
{
	self->n++;
	return 0;
}
/* The kernel knows the promise already when somebody durable begins to wait for it. */
VAT_METHOD(actor, tell_and_wait)
{
	vat_ref *to, *p = vat_promise_new(v);
	vat_read(v, "r", &to);
	self->held[0] = vat_hold(v, p);
	vat_tell(v, to, "echo", "r", p);
	vat_catch(v, p, self, "countIt");
	return 0;
}
VAT_METHOD(actor, make_thing)
{
	return vat_return(v, "r", vat_new(v, &Thing, ""));
}
VAT_METHOD(actor, put)
{
	int64_t key;
	vat_value *value;
	vat_read(v, "iv", &key, &value);
	return vat_map_set(v, self->map, "i", "v", key, value);
}
VAT_METHOD(actor, get)
{
	int64_t key;
	vat_value *value = NULL;
	vat_read(v, "i", &key);
	vat_map_get(v, self->map, "i", "v", key, &value);
	return 0;
}
/* Everybody waits for the same promise. */
VAT_METHOD(actor, wait_often)
{
	vat_ref *p;
	int64_t n;
	vat_read(v, "[r]i", &p, &n);
	for (int64_t i = 0; i < n; i++)
		vat_when(v, p, self, "countIt");
	return 0;
}
VAT_METHOD(actor, make_promise)
{
	self->held[0] = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "[r]", self->held[0]);
}
VAT_METHOD(actor, keep_promise)
{
	vat_resolve(v, self->held[0], "");
	vat_release(v, self->held[0]);
	self->held[0] = NULL;
	return 0;
}
/* More than stays in memory. */
VAT_METHOD(actor, crowd)
{
	for (int64_t i = 0; i < 5000; i++)
		vat_map_set(v, self->passing, "i", "r", i, vat_new(v, &Ghost, ""));
	return 0;
}

static const vat_kind Actor = { "Actor", sizeof(actor), VAT_INIT(actor_init), CONTINUATIONS,
	VAT_STATE(VAT_REF(actor, map), VAT_REF(actor, weak), VAT_REF(actor, set), VAT_REF(actor, other), VAT_VALUE(actor, value),
		  VAT_I64(actor, n), VAT_STR(actor, text)),
	VAT_METHODS(METHODS, { "audit", NULL, NULL, audit }, { "letGo", NULL, NULL, let_go }, { "bootstrap", NULL, NULL, bootstrap },
		    { "know", "v", NULL, know }, { "life", "", "i", life }, { "rows", NULL, NULL, rows }, { "keep", "v", NULL, keep }, { "kept", "", NULL, kept },
		    { "makeTidy", "", NULL, make_tidy }, { "number", "", "i", number }, { "countIt", NULL, NULL, count_it },
		    { "tellAndWait", "r", NULL, tell_and_wait }, { "makeThing", "", "r", make_thing }, { "put", "iv", NULL, put },
		    { "get", "i", NULL, get }, { "crowd", "", NULL, crowd },
		    { "waitOften", NULL, NULL, wait_often }, { "makePromise", "", NULL, make_promise },
		    { "keepPromise", "", NULL, keep_promise }) };

static const vat_program whole = { (const vat_kind *const[]){ &Actor, &Thing, &Ghost, &Purse, &Tidy, NULL } };
static const vat_program small = { (const vat_kind *const[]){ &Actor, NULL } };

/* --- the driver -------------------------------------------------------------------------------------- */

static const char *const names[] = { "ann", "ben", "cid" };
#define VATS	ARRAY_LEN(names)

struct known { char refs[32][24]; size_t n; };

static void note_refs(struct known *k, const char *answer)
{
	for (const char *p = answer; (p = strstr(p, "ko")); p += 2) {
		size_t digits = strspn(p + 2, "0123456789");
		if (digits && digits < 20 && k->n < ARRAY_LEN(k->refs))
			snprintf(k->refs[k->n++], sizeof(k->refs[0]), "%.*s", (int)digits + 2, p);
	}
}

static void call_act(vat_test *t, struct known *k, uint64_t *rng)
{
	char slots[120] = "";
	const char *to = k->n && below(rng, 3) == 0 ? k->refs[below(rng, (unsigned)k->n)] : names[below(rng, VATS)];
	for (unsigned n = k->n ? below(rng, 4) : 0; n; n--)
		sprintf(slots + strlen(slots), "%s{\"@\":\"%s\"}", *slots ? "," : "", k->refs[below(rng, (unsigned)k->n)]);
	note_refs(k, vat_test_call(t, to, "act", "[%u, 3, [%s]]", below(rng, 1u << 30), slots));
}

static void fail_at(uint64_t seed, unsigned step, const char *what, const char *why)
{
	fprintf(stderr, "seed %llu, step %u: %s: %s\n", (unsigned long long)seed, step, what, why);
	fail();
}

static void check(vat_test *t, uint64_t seed, unsigned step, bool deep)
{
	for (size_t i = 0; i < VATS; i++) {
		const char *status = vat_test_status(t, names[i]);
		if (strncmp(status, "suspended", 9) == 0) {
			if (!strstr(status, "died"))
				fail_at(seed, step, names[i], status);
			die_after = 0;
			vat_test_restart(t, names[i]);
			status = vat_test_status(t, names[i]);
		}
		if (strcmp(status, "running") != 0)
			fail_at(seed, step, names[i], status);
		if (!deep)
			continue;
		const char *bad = vat_test_call(t, names[i], "audit", "[]");
		if (strcmp(bad, "0") != 0 || audit_failed) {
			fprintf(stderr, "%s\n", bad);
			vat_test_call(t, names[i], "rows", "[]");
			fail_at(seed, step, "counts that are wrong", names[i]);
		}
	}
}

static void one_step(vat_test *t, struct known *k, uint64_t *rng)
{
	const char *name = names[below(rng, VATS)];
	echoes = 60;
	switch (below(rng, 24)) {
	case 0:
	case 1:
	case 2: vat_test_reap(t, name); break;
	case 3: vat_test_program(t, name, below(rng, 3) ? &whole : &small); vat_test_restart(t, name); break;
	case 4: vat_test_kill(t, name); break;
	case 5: vat_test_release(t); k->n = 0; break;
	case 6: die_after = 1 + below(rng, 40); break;
	default: call_act(t, k, rng); break;
	}
}

/* Rows of collections and objects go a few hundred in a crank, kinds stay: twice the same says that nothing was added. */
static void all_let_go(vat_test *t)
{
	vat_test_release(t);
	for (size_t i = 0; i < VATS; i++) {
		vat_test_program(t, names[i], &whole);
		vat_test_restart(t, names[i]);
	}
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < VATS; i++)
			vat_test_call(t, names[i], "letGo", "[]");
		for (int n = 0; n < 6; n++)
			for (size_t i = 0; i < VATS; i++)
				vat_test_reap(t, names[i]);
		for (size_t i = 0; i < VATS; i++)
			vat_test_restart(t, names[i]);
		vat_test_release(t);
	}
	for (int n = 0; n < 6; n++)
		for (size_t i = 0; i < VATS; i++)
			vat_test_reap(t, names[i]);
}

static void run_seed(uint64_t seed, unsigned steps)
{
	vat_test *t = vat_test_new();
	struct known k = { .n = 0 };
	uint64_t rng = seed * 2654435761u + 1;
	die_after = 0;
	for (size_t i = 0; i < VATS; i++)
		vat_test_add(t, names[i], &whole, NULL);
	assert_string_equal(vat_test_launch(t), "undefined");
	for (unsigned step = 0; step < steps; step++) {
		one_step(t, &k, &rng);
		check(t, seed, step, step % 8 == 7);
	}
	die_after = 0;
	all_let_go(t);
	check(t, seed, steps, true);
	for (size_t i = 0; i < VATS; i++) {
		size_t keys = vat_test_store_keys(t, names[i]), imports = vat_test_imports(t, names[i]);
		/* Its root, three collections, peers, kinds; two imports. */
		if (keys > 40 || imports != VATS - 1 || vat_test_exports(t, names[i]) != 1) {
			fprintf(stderr, "%zu keys, %zu imports, %zu exports, %zu promises\n", keys, imports,
				vat_test_exports(t, names[i]), vat_test_promises(t, names[i]));
			vat_test_call(t, names[i], "rows", "[]");
			fail_at(seed, steps, "something is left in", names[i]);
		}
	}
	vat_test_free(t);
}

static void test_random(void **state)
{
	unsigned long long from = 1, to = 6;
	unsigned steps = 120;
	const char *seeds = getenv("VAT_SEEDS"), *n = getenv("VAT_STEPS");
	(void)state;
	if (seeds && sscanf(seeds, "%llu-%llu", &from, &to) == 1)
		to = from;
	if (n)
		steps = (unsigned)atoi(n);
	for (; from <= to; from++) {
		if (seeds)
			fprintf(stderr, "seed %llu\n", from);
		run_seed(from, steps);
	}
}

/* Nothing is written when an equal value is assigned, and the field does not keep the one of the message. */
static void test_equal_value(void **state)
{
	vat_test *t = vat_test_new();
	(void)state;
	vat_test_add(t, "ann", &whole, NULL);
	vat_test_launch(t);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(vat_test_call(t, "ann", "keep", "[[\"a\", %d]]", i / 2), "undefined");
		assert_string_equal(vat_test_call(t, "ann", "kept", "[]"), i / 2 ? "[\"a\", 1]" : "[\"a\", 0]");
	}
	vat_test_free(t);
}

static vat_test *ann_and_ben(void)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "ann", &whole, NULL);
	vat_test_add(t, "ben", &whole, NULL);
	assert_string_equal(vat_test_launch(t), "undefined");
	return t;
}

/* What fini does to other objects is part of the crank in which it runs. */
static void test_fini(void **state)
{
	vat_test *t = ann_and_ben();
	(void)state;
	vat_test_call(t, "ann", "makeTidy", "[]");
	vat_test_kill(t, "ann");
	assert_string_equal(vat_test_call(t, "ann", "number", "[]"), "1");
	vat_test_call(t, "ann", "makeTidy", "[]");
	assert_string_equal(vat_test_call(t, "ann", "number", "[]"), "2");
	vat_test_free(t);
}

/* A restart rejects the promise, and who is durable hears of it at once. */
static void test_wait_for_known(void **state)
{
	vat_test *t = ann_and_ben();
	(void)state;
	vat_test_call(t, "ann", "tellAndWait", "[{\"@\":\"%s\"}]", vat_test_root(t, "ben"));
	assert_string_equal(vat_test_call(t, "ann", "number", "[]"), "0");
	vat_test_kill(t, "ann");
	assert_string_equal(vat_test_call(t, "ann", "number", "[]"), "1");
	vat_test_free(t);
}

/* An import that only values have named since the restart, forgotten, and named by the kernel: its count is known. */
static void test_forgotten_import(void **state)
{
	vat_test *t = ann_and_ben();
	(void)state;
	const char *made_by_ben = vat_test_call(t, "ben", "makeThing", "[]");
	vat_test_call(t, "ann", "put", "[1, {\"@\":\"%s\"}]", made_by_ben);
	vat_test_restart(t, "ann");
	vat_test_call(t, "ann", "get", "[1]");
	vat_test_reap(t, "ann");
	vat_test_call(t, "ann", "crowd", "[]");
	vat_test_call(t, "ann", "number", "[]");
	vat_test_call(t, "ann", "put", "[2, {\"@\":\"%s\"}]", made_by_ben);
	assert_string_equal(vat_test_call(t, "ann", "audit", "[]"), "0");
	vat_test_free(t);
}

/* A caller who has a vat wait for a promise of its own, again and again, is refused in the end; also after a restart. */
static void test_wait_often(void **state)
{
	vat_test *t = ann_and_ben();
	char p[32];
	(void)state;
	const char *answer = vat_test_call(t, "ben", "makePromise", "[]");
	assert_int_equal(sscanf(answer, "[%31[a-z0-9]]", p), 1);
	assert_string_equal(vat_test_call(t, "ann", "waitOften", "[[{\"@\":\"%s\"}], 4999]", p), "undefined");
	vat_test_restart(t, "ann");
	assert_string_equal(vat_test_call(t, "ann", "waitOften", "[[{\"@\":\"%s\"}], 2]", p),
			    "RangeError: vat_when(): 5000 continuations wait for this promise already");
	vat_test_call(t, "ben", "keepPromise", "[]");
	assert_string_equal(vat_test_call(t, "ann", "number", "[]"), "5000");
	assert_string_equal(vat_test_call(t, "ann", "audit", "[]"), "0");
	vat_test_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_equal_value), cmocka_unit_test(test_fini), cmocka_unit_test(test_wait_for_known),
		cmocka_unit_test(test_forgotten_import), cmocka_unit_test(test_wait_often),
		cmocka_unit_test(test_random) };
	return cmocka_run_group_tests_name("vatrandom", tests, NULL, NULL);
}
