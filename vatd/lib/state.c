/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State tables: the named fields of an object as one record in the store, "object.o+d1.2". An object in memory keeps
 * the text as it was last read or written, so that only what changed is written, and holds the references in it; a
 * VAT_VALUE field points into it.
 *
 * What a method assigned is admitted when it has returned: a promise where it counted on an object must cost the
 * caller its call, not the vat its life when the crank ends. A field that cannot be saved gets its last good content
 * back.
 */
#include "internal.h"

#define FEW_STRINGS	10	/* as long as they may be, they fit a value in the store together */

static void *field_at(struct object *o, const vat_field *f)
{
	return o->data + f->offset;
}

static size_t n_fields(const vat_kind *kind, enum vat_field_type a, enum vat_field_type b)
{
	size_t n = 0;
	for (const vat_field *f = kind->state; f && f->name; f++)
		n += f->type == a || f->type == b;
	return n;
}

static void count(vat *v, const struct object *o, vat_ref *r, int change)
{
	if (o->kind->is_virtual)
		store_count_passing(v, r, change);
	else
		store_count(v, r, change);
}

static bool may_hold(const struct object *o, const vat_ref *r)
{
	return o->kind->is_virtual ? r->kind != REF_A_PROMISE : ref_survives(r);
}

/* --- to text -------------------------------------------------------------------------------------- */

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
		put_field(v, e, "v", *(vat_value **)p);
		break;
	}
}

/* A VAT_VALUE field that is NULL is left out: null and undefined are values. */
static void encode_state(vat *v, struct encoder *e, struct object *o)
{
	bool first = true;
	jtext_char(&e->text, '{');
	for (const vat_field *f = o->kind->state; f->name; f++) {
		if (f->type == VAT_FIELD_VALUE && !*(vat_value **)field_at(o, f))
			continue;
		if (!first)
			jtext_char(&e->text, ',');
		first = false;
		encode_string(e, f->name, strlen(f->name));
		jtext_char(&e->text, ':');
		save_field(v, e, o, f);
	}
	jtext_char(&e->text, '}');
	encoder_finish(v, e);
}

/* --- from text ------------------------------------------------------------------------------------ */

static void load_field(vat *v, struct object *o, const vat_field *f, const vat_value *value)
{
	void *p = field_at(o, f);
	size_t len;
	char text[80];

	switch (f->type) {
	case VAT_FIELD_I64:
		*(int64_t *)p = 0;
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
		break;		/* point_values() */
	}
}

static struct vat_value saved_view(const struct object *o)
{
	return (struct vat_value){ o->saved, o->saved + strlen(o->saved), o->saved_slots, o->n_saved_slots };
}

/* All fields as the store has them; 0 if it has none. */
static void load_fields(vat *v, struct object *o)
{
	static const char none[] = "null";
	struct vat_value nothing = { none, none + 4, NULL, 0 };
	struct vat_value state = o->saved ? saved_view(o) : nothing;
	for (const vat_field *f = o->kind->state; f->name; f++) {
		vat_value *value = vat_get(v, &state, f->name);
		load_field(v, o, f, value ? value : &nothing);
	}
}

/* VALUE fields follow the saved text. */
static void point_values(vat *v, struct object *o)
{
	size_t n = n_fields(o->kind, VAT_FIELD_VALUE, VAT_FIELD_VALUE), i = 0;
	if (n == 0)
		return;
	if (!o->values)
		o->values = vat_alloc(v, n * sizeof(*o->values));
	struct vat_value state = saved_view(o);
	for (const vat_field *f = o->kind->state; f->name; f++) {
		if (f->type != VAT_FIELD_VALUE)
			continue;
		vat_value *value = vat_get(v, &state, f->name);
		if (value)
			o->values[i] = *value;
		*(vat_value **)field_at(o, f) = value ? &o->values[i] : NULL;
		i++;
	}
}

/* Remember what the store has, and hold what it names. */
static void note_saved(vat *v, struct object *o, const struct vat_value *state)
{
	size_t len = (size_t)(state->end - state->at), n = state->n_slots;
	char *text = vat_alloc(v, len + 1);
	vat_ref **slots = n ? vat_alloc(v, n * sizeof(*slots)) : NULL;

	memcpy(text, state->at, len);
	for (size_t i = 0; i < n; i++)
		ref_hold_named(slots[i] = state->slots[i]);
	for (size_t i = 0; i < o->n_saved_slots; i++)
		ref_unhold_named(v, o->saved_slots[i], false);
	free(o->saved);
	free(o->saved_slots);
	o->saved = text;
	o->saved_slots = slots;
	o->n_saved_slots = n;
	point_values(v, o);
}

bool state_load(vat *v, struct object *o)
{
	struct vat_value state;
	if (!store_get_value(v, store_key(v, "object", o->ref->vref), &state))
		return false;
	note_saved(v, o, &state);
	load_fields(v, o);
	return true;
}

/* --- saving --------------------------------------------------------------------------------------- */

static bool is_saved(const struct object *o, const struct encoder *e)
{
	return o->saved && strlen(o->saved) == e->text.len - 1 && o->n_saved_slots == e->n_slots &&
	       memcmp(o->saved, e->text.data + 1, e->text.len - 1) == 0 &&
	       (!e->n_slots || memcmp(o->saved_slots, e->slots, e->n_slots * sizeof(*e->slots)) == 0);
}

void state_save(vat *v, struct object *o)
{
	struct encoder *e = encoder_begin(v);
	encode_state(v, e, o);
	if (e->problem[0])
		vat_die(v, "the state of %s cannot be saved: %s", o->kind->name, e->problem);
	for (size_t i = 0; i < e->n_slots; i++)
		if (!may_hold(o, e->slots[i]))
			vat_die(v, "the state of %s cannot be saved: it holds %s", o->kind->name,
				ref_describe(v, e->slots[i]));
	if (!is_saved(o, e)) {
		store_put_value(v, store_key(v, "object", o->ref->vref), e);
		for (size_t i = 0; i < e->n_slots; i++)
			count(v, o, e->slots[i], 1);
		for (size_t i = 0; i < o->n_saved_slots; i++)
			count(v, o, o->saved_slots[i], -1);
		struct vat_value state = encoder_view(e);
		note_saved(v, o, &state);
	} else {
		point_values(v, o);	/* an equal value that was assigned lives in the crank only */
	}
	encoder_end(v, e);
}

void state_let_go(vat *v, struct object *o, bool deleted)
{
	for (size_t i = 0; i < o->n_saved_slots; i++)
		ref_unhold_named(v, o->saved_slots[i], !deleted);
	o->n_saved_slots = 0;
}

void state_discard(struct object *o)
{
	for (const vat_field *f = o->kind->state; f && f->name; f++)
		if (f->type == VAT_FIELD_STR)
			free(*(char **)field_at(o, f));
	free(o->saved);
	free(o->saved_slots);
	free(o->values);
}

/* Also of an object whose kind is not in the program any more. */
void state_delete(vat *v, vat_ref *w)
{
	struct object *o = w->object;
	struct vat_value state = { 0 };
	const char *key = store_key(v, "object", w->vref);

	if (o)
		state = (struct vat_value){ .slots = o->saved_slots, .n_slots = o->n_saved_slots };
	else if (!store_get_value(v, key, &state))
		return;
	store_delete(v, key);
	for (size_t i = 0; i < state.n_slots; i++) {
		if (vref_is_virtual(w->vref))
			store_count_passing(v, state.slots[i], -1);
		else
			store_count(v, state.slots[i], -1);
	}
}

/* --- admitting ------------------------------------------------------------------------------------ */

void state_begin(vat *v, struct object *o)
{
	size_t n = n_fields(o->kind, VAT_FIELD_REF, VAT_FIELD_VALUE), i = 0;
	o->admitted = n ? arena_get(v, n * sizeof(*o->admitted)) : NULL;
	for (const vat_field *f = o->kind->state; n && f->name; f++)
		if (f->type == VAT_FIELD_REF || f->type == VAT_FIELD_VALUE)
			o->admitted[i++] = *(void **)field_at(o, f);
}

/* NULL: fine, or a stale reference, which is the vat's own fault and not its caller's. */
static const char *ref_problem(vat *v, const struct object *o, vat_ref *r)
{
	if (!r || r->kind == REF_FREE || may_hold(o, r))
		return NULL;
	return arena_printf(v, "it holds %s", ref_describe(v, r));
}

static const char *value_problem(vat *v, const struct object *o, const vat_value *value)
{
	const char *problem = NULL;
	if (!value)
		return NULL;
	struct encoder *e = encoder_begin(v);
	put_field(v, e, "v", value);
	encoder_finish(v, e);
	if (e->problem[0])
		problem = arena_printf(v, "%s", e->problem);
	for (size_t i = 0; !problem && i < e->n_slots; i++)
		problem = ref_problem(v, o, e->slots[i]);
	encoder_end(v, e);
	return problem;
}

/* Each field is good, but all together may be too much for one value in the store. */
static void admit_size(vat *v, struct object *o)
{
	struct encoder *e = encoder_begin(v);
	encode_state(v, e, o);
	store_check_size(e);
	if (e->problem[0]) {
		call_fail(v, "RangeError", "the state of %s cannot be saved: %s", o->kind->name, e->problem);
		load_fields(v, o);
		if (o->saved)
			point_values(v, o);
		for (const vat_field *f = o->kind->state; !o->saved && f->name; f++)
			if (f->type == VAT_FIELD_VALUE)
				*(vat_value **)field_at(o, f) = NULL;
		state_begin(v, o);
	}
	encoder_end(v, e);
}

void state_admit(vat *v, struct object *o)
{
	size_t i = 0;
	bool large = n_fields(o->kind, VAT_FIELD_STR, VAT_FIELD_STR) > FEW_STRINGS;

	for (const vat_field *f = o->kind->state; f->name; f++) {
		if (f->type != VAT_FIELD_REF && f->type != VAT_FIELD_VALUE)
			continue;
		void **now = field_at(o, f), **before = &o->admitted[i++];
		if (*now == *before)
			continue;
		const char *problem = f->type == VAT_FIELD_REF ? ref_problem(v, o, *now) : value_problem(v, o, *now);
		large = large || f->type == VAT_FIELD_VALUE;
		if (problem) {
			call_fail(v, "TypeError", "%s.%s cannot be saved: %s", o->kind->name, f->name, problem);
			*now = *before;
		}
		*before = *now;
	}
	if (large)
		admit_size(v, o);
}
