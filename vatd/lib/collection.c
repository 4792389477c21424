/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ordered collections. A collection is an object of one of our kinds: what it is, how many entries it has, and a
 * reference to its rows. The rows are an object of ours too, which nobody else sees; the entries are vatstore rows
 * under its name:
 *
 *	entry.o+d2.7.salice	the value, as store_put_value() writes it; of a set nothing
 *	weak.o-5.o+d2.7		among those rows, o-5 is a key that does not count as held
 *
 * So to clear a collection is to give it other rows; and rows that nothing names are deleted as any object is, which
 * may take many cranks and restarts (rows_deleted). What is not durable stands under "life.N.", see store_key().
 *
 * Every reference in an entry is counted, but for the key of a weak collection that is itself an object: of that the
 * row "weak…" tells whether it is recognised, and which entries go with it.
 */
#include "internal.h"

#define MAX_LABEL	200u

typedef struct { char *label; bool weak; int64_t size; vat_ref *rows; } collection;
typedef struct { bool weak, set; } rows;

#define COLLECTION_FIELDS VAT_STR(collection, label), VAT_BOOL(collection, weak), VAT_I64(collection, size), \
			  VAT_REF(collection, rows)
#define ROWS_FIELDS VAT_BOOL(rows, weak), VAT_BOOL(rows, set)

static const vat_kind Map = { "Map", sizeof(collection), VAT_STATE(COLLECTION_FIELDS) };
static const vat_kind Set = { "Set", sizeof(collection), VAT_STATE(COLLECTION_FIELDS) };
static const vat_kind Rows = { "Rows", sizeof(rows), VAT_STATE(ROWS_FIELDS) };
static const vat_kind PassingMap = { "Map", sizeof(collection), VAT_VIRTUAL(COLLECTION_FIELDS) };
static const vat_kind PassingSet = { "Set", sizeof(collection), VAT_VIRTUAL(COLLECTION_FIELDS) };
static const vat_kind PassingRows = { "Rows", sizeof(rows), VAT_VIRTUAL(ROWS_FIELDS) };

/* --- a collection for one operation --------------------------------------------------------------- */

struct opened {
	struct object *object;
	collection *c;
	bool set;
};

static const char *named(vat *v, const struct opened *o)
{
	return arena_printf(v, "%s \"%s\"", o->set ? "set" : "map", o->c->label ? o->c->label : "");
}

/* `what` is "map", "set" or "collection". False: the method failed. */
static bool open_collection(vat *v, vat_ref *ref, const char *what, struct opened *o)
{
	const vat_kind *kind = NULL;
	if (ref) {
		ref_check(v, ref, "used as a collection");
		kind = ref->kind == REF_LOCAL ? kind_of(v, ref) : NULL;
	}
	bool map = kind == &Map || kind == &PassingMap, set = kind == &Set || kind == &PassingSet;
	bool fits = *what == 'm' ? map : *what == 's' ? set : map || set;
	if (!fits) {
		call_fail(v, "TypeError", "a %s of this vat is needed, not %s", what, map ? "a map" : set ? "a set" :
			  kind ? arena_printf(v, "an object of kind %s", kind->name) : ref ? "another reference" : "NULL");
		return false;
	}
	o->object = object_of(v, ref);
	if (!o->object)
		vat_die(v, "the vatstore's \"%s\" is missing", store_key(v, "object", ref->vref));
	o->c = (collection *)o->object->data;
	o->set = set;
	return true;
}

static bool is_lasting(vref_t vref)
{
	return vref_is_durable(vref);
}

static bool lasting(const struct opened *o)
{
	return is_lasting(o->object->ref->vref);
}

static void count(vat *v, bool in_lasting, vat_ref *const *slots, size_t n, int change)
{
	for (size_t i = 0; i < n; i++) {
		if (in_lasting)
			store_count(v, slots[i], change);
		else
			store_count_passing(v, slots[i], change);
	}
}

/* "entry.o+d2.7." */
static const char *entry_prefix(vat *v, vref_t of)
{
	return arena_printf(v, "%s.", store_key(v, "entry", of));
}

/* "weak.o-5." */
static const char *weak_prefix(vat *v, bool in_lasting, vref_t key)
{
	return arena_printf(v, "%s.", in_lasting ? store_key(v, "weak", key) : store_life_key(v, "weak", key));
}

static const char *weak_row(vat *v, vref_t key, vref_t of)
{
	char text[REF_TEXT_MAX];
	return arena_printf(v, "%s%s", weak_prefix(v, is_lasting(of), key), vref_format(of, text));
}

static bool has_prefix(const char *text, const char *prefix)
{
	return text && strncmp(text, prefix, strlen(prefix)) == 0;
}

/* --- new collections ------------------------------------------------------------------------------ */

static vat_ref *collection_new(vat *v, bool set, const char *label, unsigned flags)
{
	bool durable = flags & VAT_DURABLE_COLLECTION;
	if (flags & ~(unsigned)(VAT_DURABLE_COLLECTION | VAT_WEAK_KEYS)) {
		call_fail(v, "TypeError", "a %s with flags %#x", set ? "set" : "map", flags);
		return NULL;
	}
	if (label && strlen(label) > MAX_LABEL) {
		call_fail(v, "TypeError", "the label of a %s is at most %u bytes", set ? "set" : "map", MAX_LABEL);
		return NULL;
	}
	const vat_kind *kind = set ? durable ? &Set : &PassingSet : durable ? &Map : &PassingMap;
	vat_ref *ref = vat_new(v, kind, "");
	collection *c = ref ? vat_state(v, ref, kind) : NULL;
	if (!c)
		return NULL;
	vat_set_string(v, &c->label, label ? label : "");
	c->weak = flags & VAT_WEAK_KEYS;
	return v->call.failed ? NULL : ref;
}

vat_ref *vat_map_new(vat *v, const char *label, unsigned flags)
{
	return collection_new(v, false, label, flags);
}

vat_ref *vat_set_new(vat *v, const char *label, unsigned flags)
{
	return collection_new(v, true, label, flags);
}

/* The collection has somewhere to put entries. False: the method failed. */
static bool need_rows(vat *v, struct opened *o)
{
	if (o->c->rows)
		return true;
	const vat_kind *kind = lasting(o) ? &Rows : &PassingRows;
	vat_ref *ref = vat_new(v, kind, "");
	rows *r = ref ? vat_state(v, ref, kind) : NULL;
	if (!r)
		return false;
	*r = (rows){ o->c->weak, o->set };
	object_touch(v, o->object);
	o->c->rows = ref;
	return true;
}

/* --- keys and values ------------------------------------------------------------------------------ */

/* What was encoded may stand in this collection, and all it refers to has a name there. False: the method failed. */
static bool admit(vat *v, const struct opened *o, struct encoder *e, const char *part)
{
	if (!store_admits(v, e, lasting(o), arena_printf(v, "%s: its %s", named(v, o), part)))
		return false;
	for (size_t i = 0; i < e->n_slots; i++)
		ref_name(v, e->slots[i]);
	return true;
}

/* The row's name. False: there can be no such entry; or the key is none, and the method failed. */
static bool find_row(vat *v, const struct opened *o, const struct encoder *key, struct key *row)
{
	if (key->problem[0]) {
		call_fail(v, "TypeError", "%s: its key: %s", named(v, o), key->problem);
		return false;
	}
	struct vat_value value = encoder_view(key);
	/* Without rows there is nothing to find; a key must be one all the same. */
	key_begin(row, entry_prefix(v, o->c->rows ? o->c->rows->vref : o->object->ref->vref));
	if (!key_encode(v, row, &value)) {
		call_fail(v, "TypeError", "%s: %s", named(v, o), row->problem);
		return false;
	}
	return o->c->rows && !row->nameless;
}

/* A key that is not counted. */
static vat_ref *weak_key(const struct opened *o, const struct encoder *key)
{
	return o->c->weak ? encoder_single_ref(key) : NULL;
}

static bool read_row(vat *v, const struct opened *o, const struct key *row, struct vat_value *valuep)
{
	*valuep = (struct vat_value){ 0 };
	return o->set ? store_get(v, row->data, NULL, NULL) : store_get_value(v, row->data, valuep);
}

static void resize(vat *v, struct opened *o, int change)
{
	if (o->c->weak)
		return;		/* entries go with their keys, and nobody asks */
	object_touch(v, o->object);
	o->c->size += change;
	if (o->c->size < 0)
		vat_die(v, "the vatstore's size of %s is corrupt", named(v, o));
}

/* --- writing -------------------------------------------------------------------------------------- */

static void enter_key(vat *v, struct opened *o, const struct encoder *key)
{
	vat_ref *weak = weak_key(o, key);
	if (weak) {
		store_set(v, weak_row(v, weak->vref, o->c->rows->vref), "", 0);
		if (lasting(o))
			v->weak_keys.lasting = v->weak_keys.known = true;
		else
			v->weak_keys.passing = true;
	} else {
		count(v, lasting(o), key->slots, key->n_slots, 1);
	}
	resize(v, o, 1);
}

/* `value` NULL: a set. */
static int write_entry(vat *v, struct opened *o, const struct encoder *key, const struct encoder *value, bool must_be_new)
{
	struct key row;
	struct vat_value old = { 0 };
	if (!need_rows(v, o) || !find_row(v, o, key, &row))
		return -1;
	bool there = read_row(v, o, &row, &old);
	if (there && must_be_new) {
		struct vat_value k = encoder_view(key);
		return call_fail(v, "Error", "%s has this key already: %s", named(v, o), value_describe(v, &k));
	}
	if (!there)
		enter_key(v, o, key);
	if (value) {
		store_put_value(v, row.data, value);
		count(v, lasting(o), value->slots, value->n_slots, 1);
		count(v, lasting(o), old.slots, old.n_slots, -1);
	} else if (!there) {
		store_set(v, row.data, "", 0);
	}
	return 0;
}

static int put(vat *v, vat_ref *ref, const char *key, const char *value, va_list *ap, bool must_be_new)
{
	struct opened o;
	if (!open_collection(v, ref, value ? "map" : "set", &o))
		return -1;
	struct encoder *k = encoder_begin(v), *e = NULL;
	encode_one(v, k, key, ap);
	if (value) {
		e = encoder_begin(v);
		encode_one(v, e, value, ap);
	}
	int r = -1;
	if (admit(v, &o, k, "key") && (!e || admit(v, &o, e, "value")))
		r = write_entry(v, &o, k, e, must_be_new);
	if (e)
		encoder_end(v, e);
	encoder_end(v, k);
	return r;
}

int vat_map_set(vat *v, vat_ref *map, const char *key, const char *value, ...)
{
	va_list ap;
	va_start(ap, value);
	int r = put(v, map, key, value, &ap, false);
	va_end(ap);
	return r;
}

int vat_map_init(vat *v, vat_ref *map, const char *key, const char *value, ...)
{
	va_list ap;
	va_start(ap, value);
	int r = put(v, map, key, value, &ap, true);
	va_end(ap);
	return r;
}

int vat_set_add(vat *v, vat_ref *set, const char *key, ...)
{
	va_list ap;
	va_start(ap, key);
	int r = put(v, set, key, NULL, &ap, false);
	va_end(ap);
	return r;
}

/*
 * One entry less recognises this key: if it was the last, an import can be retired. Unless the kernel has retired it
 * already, and we have not come to delete all its entries ("gone.o-5"): then it is not in our clist any more.
 */
static void forget_weak(vat *v, vref_t key)
{
	vat_ref *r = ref_find(v, key);
	if (!r && vref_is_import(key) && !store_get(v, store_key(v, "gone", key), NULL, NULL))
		r = store_ref(v, key);
	if (r && r->kind == REF_IMPORT)
		ref_suspect(v, r);
}

static void delete_entry(vat *v, struct opened *o, const struct encoder *key, const struct key *row,
			 const struct vat_value *old)
{
	vat_ref *weak = weak_key(o, key);
	store_delete(v, row->data);
	if (weak) {
		store_delete(v, weak_row(v, weak->vref, o->c->rows->vref));
		forget_weak(v, weak->vref);
	} else {
		count(v, lasting(o), key->slots, key->n_slots, -1);
	}
	count(v, lasting(o), old->slots, old->n_slots, -1);
	resize(v, o, -1);
}

bool vat_collection_delete(vat *v, vat_ref *ref, const char *key, ...)
{
	struct opened o;
	struct key row;
	struct vat_value old;
	va_list ap;
	if (!open_collection(v, ref, "collection", &o))
		return false;
	struct encoder *k = encoder_begin(v);
	va_start(ap, key);
	encode_one(v, k, key, &ap);
	va_end(ap);
	bool there = find_row(v, &o, k, &row) && read_row(v, &o, &row, &old);
	if (there)
		delete_entry(v, &o, k, &row, &old);
	encoder_end(v, k);
	return there;
}

void vat_collection_clear(vat *v, vat_ref *ref)
{
	struct opened o;
	if (!open_collection(v, ref, "collection", &o) || !o.c->rows)
		return;
	object_touch(v, o.object);
	o.c->rows = NULL;	/* deleted when the crank has ended and nothing names them */
	o.c->size = 0;
}

/* --- reading -------------------------------------------------------------------------------------- */

bool vat_map_get(vat *v, vat_ref *map, const char *key, const char *value, ...)
{
	struct opened o;
	struct key row;
	struct vat_value found;
	char problem[200];
	va_list ap;
	if (!open_collection(v, map, "map", &o))
		return false;
	struct encoder *k = encoder_begin(v);
	va_start(ap, value);
	encode_one(v, k, key, &ap);
	bool there = find_row(v, &o, k, &row) && store_get_value(v, row.data, &found);
	if (there && !decode_args(v, &found, true, value, &ap, problem)) {
		struct vat_value as_value = encoder_view(k);
		call_fail(v, "TypeError", "%s: of the key %s, %s", named(v, &o), value_describe(v, &as_value), problem);
		there = false;
	}
	va_end(ap);
	encoder_end(v, k);
	return there;
}

bool vat_collection_has(vat *v, vat_ref *ref, const char *key, ...)
{
	struct opened o;
	struct key row;
	va_list ap;
	if (!open_collection(v, ref, "collection", &o))
		return false;
	struct encoder *k = encoder_begin(v);
	va_start(ap, key);
	encode_one(v, k, key, &ap);
	va_end(ap);
	bool there = find_row(v, &o, k, &row) && store_get(v, row.data, NULL, NULL);
	encoder_end(v, k);
	return there;
}

/* Only what is strong can be counted and walked: when a weak key is gone is the collector's business. */
static bool open_strong(vat *v, vat_ref *ref, const char *deed, struct opened *o)
{
	if (!open_collection(v, ref, "collection", o))
		return false;
	if (o->c->weak)
		call_fail(v, "TypeError", "%s has weak keys: it cannot be %s", named(v, o), deed);
	return !o->c->weak;
}

uint64_t vat_collection_size(vat *v, vat_ref *ref)
{
	struct opened o;
	return open_strong(v, ref, "counted", &o) ? (uint64_t)o.c->size : 0;
}

/* --- walking -------------------------------------------------------------------------------------- */

/* Its steps use no other memory than this, but for what the author asks for. */
struct vat_cursor {
	vat_ref *collection;
	const char *from, *to;		/* encoded keys; NULL: no bound */
	bool ended;
	vref_t of;			/* the rows that it walks */
	size_t prefix_len;
	char row[WIRE_MAX_KEY + 1];	/* of the last entry given; at first what comes before all */
};

/* The bound's text, in the arena; NULL: none, or the method failed. */
static const char *bound(vat *v, const struct opened *o, const vat_value *value)
{
	struct key k;
	if (!value)
		return NULL;
	/* As long as it would be in a row's name: then every name that is made from it fits. */
	const char *prefix = entry_prefix(v, o->c->rows ? o->c->rows->vref : o->object->ref->vref);
	key_begin(&k, prefix);
	if (key_encode(v, &k, value))
		return arena_printf(v, "%s", k.data + strlen(prefix));
	call_fail(v, "TypeError", "%s: %s", named(v, o), k.problem);
	return NULL;
}

vat_cursor *vat_range(vat *v, vat_ref *ref, const vat_value *from, const vat_value *to)
{
	struct opened o;
	vat_cursor *cursor = arena_get(v, sizeof(*cursor));
	cursor->collection = ref;
	cursor->ended = true;
	cursor->of = VREF_NONE;
	if (!open_strong(v, ref, "walked", &o))
		return cursor;
	cursor->from = bound(v, &o, from);
	cursor->to = bound(v, &o, to);
	cursor->ended = (from && !cursor->from) || (to && !cursor->to);
	return cursor;
}

/* In the rows that the collection has now; it may have been cleared since the last step. */
static void stand(vat *v, vat_cursor *cursor, vref_t of)
{
	const char *at = vref_is_none(cursor->of) ? "" : arena_printf(v, "%s", cursor->row + cursor->prefix_len);
	const char *prefix = entry_prefix(v, of);
	cursor->of = of;
	cursor->prefix_len = strlen(prefix);
	int n = snprintf(cursor->row, sizeof(cursor->row), "%s%s", prefix, at);
	if (n >= (int)sizeof(cursor->row))
		cursor->ended = true;	/* other rows' longer name leaves no room for this key, nor for greater ones as long */
}

static bool is_before(const vat_cursor *cursor, const char *to)
{
	return !to || strcmp(cursor->row + cursor->prefix_len, to) < 0;
}

/* Go to the next key. False: there is none. */
static bool advance(vat *v, vat_cursor *cursor, const struct opened *o)
{
	if (!o->c->rows)
		return false;
	if (!vref_equal(cursor->of, o->c->rows->vref))
		stand(v, cursor, o->c->rows->vref);
	if (cursor->ended)
		return false;
	if (cursor->from) {
		snprintf(cursor->row + cursor->prefix_len, sizeof(cursor->row) - cursor->prefix_len, "%s", cursor->from);
		cursor->from = NULL;
		if (is_before(cursor, cursor->to) && store_get(v, cursor->row, NULL, NULL))
			return true;
	}
	char prefix[64];
	snprintf(prefix, sizeof(prefix), "%.*s", (int)cursor->prefix_len, cursor->row);
	return store_next_at(v, cursor->row) && has_prefix(cursor->row, prefix) && is_before(cursor, cursor->to);
}

__attribute__((noreturn)) static void die_of_row(vat *v, const char *row)
{
	vat_die(v, "the vatstore's \"%s\" is corrupt", row);
}

static vat_value *key_value(vat *v, const char *row, const char *key)
{
	struct encoder *e = encoder_begin(v);
	if (!key_decode(v, key, strlen(key), e))
		die_of_row(v, row);
	vat_value *value = encoder_keep(v, e);
	encoder_end(v, e);
	return value;
}

bool vat_next(vat *v, vat_cursor *cursor, vat_value **keyp, vat_value **valuep)
{
	struct opened o;
	if (keyp)
		*keyp = NULL;
	if (valuep)
		*valuep = NULL;
	if (cursor->ended || !open_collection(v, cursor->collection, "collection", &o))
		return false;
	if (!advance(v, cursor, &o)) {
		cursor->ended = true;
		return false;
	}
	if (keyp)
		*keyp = key_value(v, cursor->row, cursor->row + cursor->prefix_len);
	if (valuep && !o.set) {
		*valuep = arena_get(v, sizeof(**valuep));
		if (!store_get_value(v, cursor->row, *valuep))
			die_of_row(v, cursor->row);
	}
	return true;
}

/* --- what goes ------------------------------------------------------------------------------------ */

/* Entry by entry: the row, what it counted, and the note of its weak key. `key` is where the key begins in `row`. */
static void let_entry_go(vat *v, vref_t of, const rows *r, const char *row, const char *key)
{
	size_t len = strlen(key);
	struct vat_value value = { 0 };
	if (!r->set && !store_get_slots(v, row, &value))
		die_of_row(v, row);
	count(v, is_lasting(of), value.slots, value.n_slots, -1);
	vref_t weak = r->weak ? key_ref(key, len) : VREF_NONE;
	if (!vref_is_none(weak)) {
		store_delete(v, weak_row(v, weak, of));
		forget_weak(v, weak);
	} else if (memchr(key, 'r', len)) {	/* else it names nothing */
		vat_value *decoded = key_value(v, row, key);
		if (decoded)
			count(v, is_lasting(of), decoded->slots, decoded->n_slots, -1);
	}
	store_delete(v, row);
}

static bool rows_deleted(vat *v, vat_ref *ref)
{
	struct object *o = object_of(v, ref);
	if (!o)
		vat_die(v, "the vatstore's \"%s\" is missing", store_key(v, "object", ref->vref));
	const char *prefix = entry_prefix(v, ref->vref);
	while (!cleaning_is_over(v)) {
		const char *row = store_next(v, prefix);
		if (!has_prefix(row, prefix))
			return true;
		let_entry_go(v, ref->vref, (const rows *)o->data, row, row + strlen(prefix));
	}
	return false;
}

/* --- weak keys ------------------------------------------------------------------------------------ */

/* Has any weak collection that survives an entry? Once there was one it is not asked again. */
static bool weak_lasting(vat *v)
{
	if (!v->weak_keys.known)
		v->weak_keys.lasting = v->incarnation > 1 && has_prefix(store_next(v, "weak."), "weak.");
	v->weak_keys.known = true;
	return v->weak_keys.lasting;
}

/* The first row that tells of this key, or NULL. */
static const char *first_weak(vat *v, vref_t key, const char **prefixp)
{
	for (int in_lasting = 1; in_lasting >= 0; in_lasting--) {
		if (in_lasting ? vref_is_virtual(key) || !weak_lasting(v) : !v->weak_keys.passing)
			continue;
		*prefixp = weak_prefix(v, in_lasting, key);
		const char *row = store_next(v, *prefixp);
		if (has_prefix(row, *prefixp))
			return row;
	}
	return NULL;
}

static bool recognises(vat *v, vref_t key)
{
	const char *prefix;
	return first_weak(v, key, &prefix);
}

/* The entry behind one row "weak…": `of` are the rows in which it is. */
static void delete_weak_entry(vat *v, vref_t key, vref_t of)
{
	struct vat_value value = { 0 };
	const char *row = arena_printf(v, "%sr%016llx", entry_prefix(v, of), (unsigned long long)key.bits);
	store_get_slots(v, row, &value);	/* of a set there is none */
	count(v, is_lasting(of), value.slots, value.n_slots, -1);
	store_delete(v, row);
}

static bool key_gone(vat *v, vref_t key)
{
	const char *prefix, *row;
	while ((row = first_weak(v, key, &prefix))) {
		vref_t of;
		if (cleaning_is_over(v))
			return false;
		if (!vref_parse(row + strlen(prefix), strlen(row + strlen(prefix)), &of))
			die_of_row(v, row);
		delete_weak_entry(v, key, of);
		store_delete(v, row);
	}
	return true;
}

/* A collection itself has nothing in the store but its state. */
static bool collection_deleted(vat *v, vat_ref *ref)
{
	(void)v;
	(void)ref;
	return true;
}

void collections_start(vat *v)
{
	static const struct kind_hooks plain = { collection_deleted }, of_rows = { rows_deleted };
	static const struct weak_hooks weak = { recognises, key_gone };
	kind_builtin(v, &Map, &plain);
	kind_builtin(v, &Set, &plain);
	kind_builtin(v, &Rows, &of_rows);
	kind_builtin(v, &PassingMap, &plain);
	kind_builtin(v, &PassingSet, &plain);
	kind_builtin(v, &PassingRows, &of_rows);
	v->weak = &weak;
}
