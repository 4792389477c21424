/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects and their kinds. A durable object (a kind with a state table) is its state in the vatstore;
 * memory is a cache of it, loaded when the object is touched, written back when the crank ends if it
 * differs, evicted at bringOutYourDead. Its vref o+dKIND.INSTANCE is its identity over restarts. The root
 * is always o+0.
 */
#include "internal.h"

#define MAX_STRING	(256u << 10)	/* bytes of a string field: several fit a message however they are escaped */

/* --- kinds ---------------------------------------------------------------------------------------- */

static const char *const field_types[] = {
	[VAT_FIELD_I64] = "i64", [VAT_FIELD_F64] = "f64", [VAT_FIELD_BOOL] = "bool", [VAT_FIELD_STR] = "str",
	[VAT_FIELD_REF] = "ref", [VAT_FIELD_VALUE] = "value",
};

static const char *kind_fields(vat *v, const vat_kind *kind)
{
	const char *text = "";
	for (const vat_field *f = kind->state; f->name; f++)
		text = arena_printf(v, "%s %s:%s", text, f->name, field_types[f->type]);
	return text;
}

/* "7 n:i64 peer:ref", as this program declares it too. */
static void kind_load(vat *v, struct kind_row *row)
{
	char *text, *rest;
	size_t len;
	if (!store_get(v, arena_printf(v, "kind.%s", row->kind->name), &text, &len))
		return;
	row->number = strtoull(text, &rest, 10);
	if (strcmp(rest, kind_fields(v, row->kind)) != 0)
		vat_die(v, "kind %s was declared before with the state%s, now with%s", row->kind->name, rest,
			kind_fields(v, row->kind));
}

void kinds_start(vat *v)
{
	size_t size = 0;
	for (const vat_kind *const *k = v->program->kinds; *k; k++) {
		if (!(*k)->state)
			continue;
		for (size_t i = 0; i < v->n_kinds; i++)
			if (strcmp(v->kinds[i].kind->name, (*k)->name) == 0)
				vat_die(v, "two durable kinds are named %s", (*k)->name);
		v->kinds = vat_grow(v, v->kinds, &size, v->n_kinds + 1, sizeof(*v->kinds));
		v->kinds[v->n_kinds] = (struct kind_row){ *k, 0 };
		if (v->incarnation > 1)
			kind_load(v, &v->kinds[v->n_kinds]);
		v->n_kinds++;
	}
	v->root = ref_new(v, REF_LOCAL, VREF_ROOT);
	v->root->reachable = v->root->recognizable = v->root->reach_known = true;
	ref_hold(v->root);
}

static struct kind_row *kind_find(vat *v, const vat_kind *kind)
{
	for (size_t i = 0; i < v->n_kinds; i++)
		if (v->kinds[i].kind == kind)
			return &v->kinds[i];
	return NULL;
}

static uint64_t store_number(vat *v, const char *key)
{
	char *text;
	size_t len;
	return v->incarnation > 1 && store_get(v, key, &text, &len) ? strtoull(text, NULL, 10) : 0;
}

static void store_set_number(vat *v, const char *key, uint64_t n)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	store_set(v, key, text, (size_t)len);
}

/* The kind's number in vrefs, given at its first object. */
static uint64_t kind_number(vat *v, struct kind_row *row)
{
	if (row->number)
		return row->number;
	uint64_t n = store_number(v, "kinds");
	for (size_t i = 0; i < v->n_kinds; i++)
		n = v->kinds[i].number > n ? v->kinds[i].number : n;
	row->number = n + 1;
	if (row->number > UINT16_MAX)
		vat_die(v, "more than %u durable kinds", UINT16_MAX);
	store_set_number(v, "kinds", row->number);
	const char *text = arena_printf(v, "%llu%s", (unsigned long long)row->number, kind_fields(v, row->kind));
	store_set(v, arena_printf(v, "kind.%s", row->kind->name), text, strlen(text));
	return row->number;
}

const vat_kind *kind_of(vat *v, const vat_ref *r)
{
	if (r->object)
		return r->object->kind;
	if (r == v->root)
		return v->program->kinds[0];
	for (size_t i = 0; vref_is_durable(r->vref) && i < v->n_kinds; i++)
		if (v->kinds[i].number == vref_number(r->vref) >> 44)
			return v->kinds[i].kind;
	return NULL;
}

/* --- state ---------------------------------------------------------------------------------------- */

static void *field_at(struct object *o, const vat_field *f)
{
	return o->data + f->offset;
}

static size_t n_ref_fields(const vat_kind *kind)
{
	size_t n = 0;
	for (const vat_field *f = kind->state; f && f->name; f++)
		n += f->type == VAT_FIELD_REF;
	return n;
}

/* The library holds what reference fields hold: make what is held equal to what is there. */
static void hold_fields(vat *v, struct object *o, bool none)
{
	size_t i = 0;
	for (const vat_field *f = o->kind->state; f && f->name; f++) {
		if (f->type != VAT_FIELD_REF)
			continue;
		vat_ref *now = none ? NULL : *(vat_ref **)field_at(o, f), *before = o->fields[i];
		if (now != before) {
			if (now)
				ref_hold(now);
			o->fields[i] = now;
			if (before)
				ref_unhold(v, before);
		}
		i++;
	}
}

/* Integers beyond 2^53 are written as bigints: saved state is exact. */
static void save_i64(struct encoder *e, int64_t n)
{
	bool big = n > INT64_C(1) << 53 || n < -(INT64_C(1) << 53);
	if (big)
		jtext_put(&e->text, "\"+", n < 0 ? 1 : 2);
	jtext_int(&e->text, n);
	if (big)
		jtext_char(&e->text, '"');
}

static void put_field(vat *v, struct encoder *e, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	encode_args(v, e, signature, &ap);
	va_end(ap);
}

static void save_field(vat *v, struct encoder *e, struct object *o, const vat_field *f)
{
	void *p = field_at(o, f);
	switch (f->type) {
	case VAT_FIELD_I64:
		save_i64(e, *(int64_t *)p);
		break;
	case VAT_FIELD_F64:
		put_field(v, e, "d", *(double *)p);
		break;
	case VAT_FIELD_BOOL:
		put_field(v, e, "b", (int)*(bool *)p);
		break;
	case VAT_FIELD_STR:
		put_field(v, e, *(char **)p ? "s" : "z", *(char **)p);
		break;
	case VAT_FIELD_REF:
		put_field(v, e, *(vat_ref **)p ? "r" : "z", *(vat_ref **)p);
		break;
	case VAT_FIELD_VALUE:
		vat_die(v, "%s.%s: VAT_VALUE fields are not saved yet", o->kind->name, f->name);
	}
}

static void encode_state(vat *v, struct encoder *e, struct object *o)
{
	jtext_char(&e->text, '{');
	for (const vat_field *f = o->kind->state; f->name; f++) {
		if (f != o->kind->state)
			jtext_char(&e->text, ',');
		encode_string(e, f->name, strlen(f->name));
		jtext_char(&e->text, ':');
		save_field(v, e, o, f);
	}
	jtext_char(&e->text, '}');
	encoder_finish(v, e);
}

static void load_field(vat *v, struct object *o, const vat_field *f, const vat_value *value)
{
	void *p = field_at(o, f);
	size_t len;
	char text[80];

	switch (f->type) {
	case VAT_FIELD_I64:
		if (jtext_kind(value->at) == '0') {
			*(int64_t *)p = (int64_t)jtext_number(value->at, value->end);
		} else if (jtext_kind(value->at) == '"' && jtext_string_bound(value->at) < sizeof(text)) {
			jtext_string(value->at, text);
			*(int64_t *)p = strtoll(text, NULL, 10);
		}
		break;
	case VAT_FIELD_F64: {
		double d = 0;
		if (vat_type(value) == VAT_NUMBER)
			vat_value_read(v, value, "d", &d);
		*(double *)p = d;
		break;
	}
	case VAT_FIELD_BOOL:
		*(bool *)p = jtext_kind(value->at) == 't';
		break;
	case VAT_FIELD_STR:
		vat_set_string(v, p, value_string(v, value, &len));
		break;
	case VAT_FIELD_REF:
		*(vat_ref **)p = value_ref(value);
		break;
	case VAT_FIELD_VALUE:
		break;
	}
}

/* Remember what the store has. */
static void note_saved(vat *v, struct object *o, const char *text, size_t len, vat_ref *const *slots, size_t n_slots)
{
	free(o->saved);
	free(o->saved_slots);
	o->saved = vat_alloc(v, len + 1);
	memcpy(o->saved, text, len);
	o->saved_slots = vat_alloc(v, n_slots * sizeof(*slots));
	if (n_slots)
		memcpy(o->saved_slots, slots, n_slots * sizeof(*slots));
	o->n_saved_slots = n_slots;
}

/* False: the store has no such object. */
static bool load_state(vat *v, struct object *o)
{
	struct vat_value state;
	if (!store_get_value(v, store_key(v, "object", o->ref->vref), &state))
		return false;
	for (const vat_field *f = o->kind->state; f->name; f++) {
		vat_value *value = vat_get(v, &state, f->name);
		if (value)
			load_field(v, o, f, value);
	}
	hold_fields(v, o, false);
	note_saved(v, o, state.at, (size_t)(state.end - state.at), state.slots, state.n_slots);
	return true;
}

static void save_state(vat *v, struct object *o)
{
	struct encoder *e = encoder_begin(v);
	encode_state(v, e, o);
	if (e->problem[0])
		vat_die(v, "the state of %s cannot be saved: %s", o->kind->name, e->problem);
	for (size_t i = 0; i < e->n_slots; i++)
		if (!ref_survives(e->slots[i]))
			vat_die(v, "the state of %s cannot be saved: it holds %s", o->kind->name,
				ref_describe(v, e->slots[i]));
	bool same = o->saved && strlen(o->saved) == e->text.len - 1 &&
		    memcmp(o->saved, e->text.data + 1, e->text.len - 1) == 0 && o->n_saved_slots == e->n_slots &&
		    (!e->n_slots || memcmp(o->saved_slots, e->slots, e->n_slots * sizeof(*e->slots)) == 0);
	if (!same) {
		store_put_value(v, store_key(v, "object", o->ref->vref), e);
		for (size_t i = 0; i < e->n_slots; i++)
			store_count(v, e->slots[i], 1);
		for (size_t i = 0; i < o->n_saved_slots; i++)
			store_count(v, o->saved_slots[i], -1);
		note_saved(v, o, e->text.data + 1, e->text.len - 1, e->slots, e->n_slots);
		hold_fields(v, o, false);
	}
	encoder_end(v, e);
}

/*
 * Callers choose what a method is given: a promise where it counted on an object must cost the caller its
 * call, not the vat its life when the crank ends.
 */
static void admit(vat *v, struct object *o)
{
	size_t i = 0;
	for (const vat_field *f = o->kind->state; f && f->name; f++) {
		if (f->type != VAT_FIELD_REF)
			continue;
		vat_ref **field = field_at(o, f), *before = o->fields[i++];
		if (!*field || *field == before || (*field)->kind == REF_FREE || ref_survives(*field))
			continue;
		call_fail(v, "TypeError", "%s.%s cannot be saved: it holds %s", o->kind->name, f->name,
			  ref_describe(v, *field));
		*field = before;
	}
}

void objects_admit(vat *v, struct object *self, const struct object *before)
{
	admit(v, self);
	for (struct object *o = v->touched; o && o != before; o = o->next_touched)
		admit(v, o);
}

void objects_save(vat *v)
{
	for (struct object *o; (o = v->touched);) {
		v->touched = o->next_touched;
		o->touched = false;
		save_state(v, o);
	}
	if (v->instance_dirty)
		store_set_number(v, "instance", v->next_instance);
	v->instance_dirty = false;
}

void object_touch(vat *v, struct object *o)
{
	if (o->touched || !o->kind->state)
		return;
	o->touched = true;
	o->next_touched = v->touched;
	v->touched = o;
}

/* --- objects -------------------------------------------------------------------------------------- */

struct object *object_new(vat *v, const vat_kind *kind, vat_ref *ref)
{
	struct object *o = vat_alloc(v, sizeof(*o) + kind->size);
	o->ref = ref;
	o->kind = kind;
	o->magic = OBJECT_MAGIC;
	o->fields = kind->state ? vat_alloc(v, n_ref_fields(kind) * sizeof(*o->fields)) : NULL;
	ref->object = o;
	return o;
}

void object_fini(vat *v, struct object *o)
{
	struct call outer = v->call;
	if (!o->kind->fini)
		return;
	v->call = (struct call){ .self = o, .method = "fini" };
	o->kind->fini(v, o->data);
	v->call = outer;
}

void object_discard(struct object *o)
{
	for (const vat_field *f = o->kind->state; f && f->name; f++)
		if (f->type == VAT_FIELD_STR)
			free(*(char **)field_at(o, f));
	o->magic = 0;
	free(o->fields);
	free(o->saved);
	free(o->saved_slots);
	free(o);
}

void object_unload(vat *v, struct object *o)
{
	object_fini(v, o);
	for (struct object **p = &v->touched; o->touched && *p; p = &(*p)->next_touched) {
		if (*p == o) {
			*p = o->next_touched;
			break;
		}
	}
	if (o->fields)
		hold_fields(v, o, true);
	o->ref->object = NULL;
	object_discard(o);
}

struct object *object_of(vat *v, vat_ref *ref)
{
	if (ref->kind != REF_LOCAL || ref->object)
		return ref->kind == REF_LOCAL ? ref->object : NULL;
	const vat_kind *kind = kind_of(v, ref);
	if (!kind)
		return NULL;
	struct object *o = object_new(v, kind, ref);
	bool exists = kind->state && v->incarnation + (ref != v->root) > 1 && load_state(v, o);
	if (exists || ref == v->root)
		return o;
	object_unload(v, o);
	return NULL;
}

struct object *object_from_self(vat *v, void *self, const char *where)
{
	struct object *o = self ? container_of(self, struct object, data) : NULL;
	if (!o || o->magic != OBJECT_MAGIC)
		vat_die(v, "%s wants the self of a method", where);
	return o;
}

const vat_method *object_method(const struct object *o, const char *name, bool continuation)
{
	for (const vat_method *m = continuation ? o->kind->continuations : NULL; m && m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	for (const vat_method *m = o->kind->methods; m && m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

void object_delete(vat *v, vat_ref *ref)
{
	struct object *o = object_of(v, ref);
	if (!o)
		return;
	if (o->kind->state) {
		store_delete(v, store_key(v, "object", ref->vref));
		for (size_t i = 0; i < o->n_saved_slots; i++)
			store_count(v, o->saved_slots[i], -1);
	}
	object_unload(v, o);
}

void objects_evict(vat *v)
{
	for (size_t i = 0; i < v->table_size; i++) {
		vat_ref *r = v->table[i];
		if (r && r != v->root && r->object && r->object->kind->state && r->n_holds == 0 && !r->object->touched)
			object_unload(v, r->object);
	}
}

static vref_t durable_vref(vat *v, struct kind_row *row)
{
	if (!v->next_instance)
		v->next_instance = store_number(v, "instance");
	v->next_instance++;
	v->instance_dirty = true;
	return (vref_t){ REF_DURABLE | kind_number(v, row) << 44 | v->next_instance << 8 };
}

/* The reason of a failed init becomes the reason of the method that made the object. */
static void fail_likewise(vat *v, const struct encoder *reason)
{
	struct vat_value value = encoder_view(reason);
	if (v->call.failed)
		return;
	if (!v->call.answer) {
		call_fail(v, "Error", "init failed: %.*s", (int)(value.end - value.at), value.at);
		return;
	}
	encoder_reset(v, v->call.answer);
	encode_value(v, v->call.answer, &value);
	v->call.failed = v->call.returned = true;
}

static bool run_init(vat *v, struct object *o, const char *signature, va_list *ap)
{
	struct encoder *e = encoder_begin(v), *answer;
	jtext_char(&e->text, '[');
	encode_args(v, e, signature, ap);
	jtext_char(&e->text, ']');
	encoder_finish(v, e);
	bool good = !e->problem[0];
	if (!good)
		call_fail(v, "TypeError", "vat_new() of %s: %s", o->kind->name, e->problem);
	if (good && o->kind->init) {
		struct vat_value args = encoder_view(e);
		args.at = jtext_enter(args.at);
		answer = encoder_begin(v);
		good = call_method(v, o, NULL, o->kind->init, "init", args, false, answer);
		if (!good)
			fail_likewise(v, answer);
		encoder_end(v, answer);
	}
	encoder_end(v, e);
	return good;
}

vat_ref *vat_new(vat *v, const vat_kind *kind, const char *signature, ...)
{
	vref_t vref = VREF_NONE;
	if (kind->state) {
		struct kind_row *row = kind_find(v, kind);
		if (!row)
			vat_die(v, "kind %s has a state table and must be named in VAT_PROGRAM()", kind->name);
		vref = durable_vref(v, row);
	}
	vat_ref *ref = ref_new(v, REF_LOCAL, vref);
	ref->stored_known = ref->reach_known = true;
	ref_condemn(v, ref);
	struct object *o = object_new(v, kind, ref);
	object_touch(v, o);
	va_list ap;
	va_start(ap, signature);
	bool good = run_init(v, o, signature, &ap);
	va_end(ap);
	return good ? ref : NULL;
}

void *vat_state(vat *v, vat_ref *ref, const vat_kind *kind)
{
	if (!ref)
		return NULL;
	ref_check(v, ref, "asked for its state");
	struct object *o = kind_of(v, ref) == kind ? object_of(v, ref) : NULL;
	if (!o)
		return NULL;
	object_touch(v, o);
	return o->data;
}

void vat_set_string(vat *v, char **field, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	if (len > MAX_STRING || (text && !jtext_is_utf8(text, len))) {	/* else the crank could not end */
		call_fail(v, "TypeError", "a string to keep is %s", len > MAX_STRING ? "too long" : "not UTF-8");
		return;
	}
	char *copy = text ? vat_alloc(v, len + 1) : NULL;
	if (text)
		memcpy(copy, text, len);
	free(*field);
	*field = copy;
}
