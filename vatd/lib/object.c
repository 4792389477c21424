/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects. A durable or virtual one (its kind has a state table) is its state in the vatstore; memory is a cache of
 * it, loaded when the object is touched, written back when the crank ends if it differs, put away when others need
 * the room. Its vref o+dKIND.INSTANCE is the identity of a durable one over restarts; a virtual one, o+v…, ends with
 * the incarnation. The root is always o+0.
 *
 * An object with facets is one struct object, that of the whole, whose entry nobody outside sees; a facet is an entry
 * of its own, o+dKIND.INSTANCE:FACET, that leads to the whole. What holds a facet holds the whole.
 */
#include "internal.h"

#define MAX_STRING	(256u << 10)	/* bytes of a string field: several fit a message however they are escaped */

/* --- in this crank -------------------------------------------------------------------------------- */

static void untouch(vat *v, struct object *o)
{
	if (o->prev_touched)
		o->prev_touched->next_touched = o->next_touched;
	else
		v->touched = o->next_touched;
	if (o->next_touched)
		o->next_touched->prev_touched = o->prev_touched;
	o->prev_touched = o->next_touched = NULL;
	o->touched = 0;
}

void object_touch(vat *v, struct object *o)
{
	if (!o->kind->state)
		return;
	if (o->touched)
		untouch(v, o);		/* to the front: the running method may change it */
	else
		state_begin(v, o);
	o->touched = ++v->touch_serial;
	o->next_touched = v->touched;
	if (v->touched)
		v->touched->prev_touched = o;
	v->touched = o;
}

void objects_admit(vat *v, uint64_t since)
{
	for (struct object *o = v->touched; o && o->touched > since; o = o->next_touched)
		state_admit(v, o);
}

void objects_save(vat *v)
{
	for (struct object *o; (o = v->touched);) {
		untouch(v, o);
		state_save(v, o);
	}
	if (v->instance_dirty) {
		const char *text = arena_printf(v, "%llu", (unsigned long long)v->next_instance);
		store_set(v, "instance", text, strlen(text));
	}
	v->instance_dirty = false;
}

/* --- found, made, put away ------------------------------------------------------------------------ */

struct object *object_new(vat *v, const vat_kind *kind, vat_ref *ref)
{
	struct object *o = vat_alloc(v, sizeof(*o) + kind->size);
	o->ref = ref;
	o->kind = kind;
	o->magic = OBJECT_MAGIC;
	ref->object = o;
	return o;
}

void object_fini(vat *v, struct object *o)
{
	struct call outer = v->call;
	if (!o->kind->fini)
		return;
	v->call = (struct call){ .self = o, .face = o->ref, .method = "fini" };
	o->kind->fini(v, o->data);
	v->call = outer;
}

void object_discard(struct object *o)
{
	state_discard(o);
	o->magic = 0;
	free(o);
}

/* The memory. `deleted`: what the object held is let go; else its state in the store still holds it. */
static void put_away(vat *v, struct object *o, bool deleted)
{
	object_fini(v, o);
	if (o->touched)
		untouch(v, o);
	state_let_go(v, o, deleted);
	o->ref->object = NULL;
	object_discard(o);
}

void object_unload(vat *v, struct object *o)
{
	put_away(v, o, false);
}

struct object *object_of(vat *v, vat_ref *ref)
{
	vat_ref *w = ref_whole(ref);
	if (w->kind != REF_LOCAL || w->object)
		return w->kind == REF_LOCAL ? w->object : NULL;
	const vat_kind *kind = kind_of(v, w);
	if (!kind)
		return NULL;
	struct object *o = object_new(v, kind, w);
	bool exists = kind->state && v->incarnation + (w != v->root) > 1 && state_load(v, o);
	if (exists || w == v->root)
		return o;
	put_away(v, o, false);
	return NULL;
}

struct object *object_from_self(vat *v, void *self, const char *where)
{
	struct object *o = self ? container_of(self, struct object, data) : NULL;
	if (!o || o->magic != OBJECT_MAGIC)
		vat_die(v, "%s wants the self of a method", where);
	return o;
}

void object_delete(vat *v, vat_ref *w)
{
	if (vref_is_kept(w->vref))
		state_delete(v, w);
	if (w->object)
		put_away(v, w->object, true);
}

/* --- methods -------------------------------------------------------------------------------------- */

static const vat_method *find_method(const vat_method *m, const char *name)
{
	for (; m && m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

const vat_method *object_method(const struct object *o, const char *name, bool continuation)
{
	const vat_method *m = continuation ? find_method(o->kind->continuations, name) : NULL;
	return m ? m : find_method(o->kind->methods, name);
}

const vat_method *object_method_as(const struct object *o, const vat_ref *face, const char *name)
{
	if (!o->kind->facets)
		return find_method(o->kind->methods, name);
	return face->whole && face->facet < kind_n_facets(o->kind) ?
	       find_method(o->kind->facets[face->facet].methods, name) : NULL;
}

/* --- new objects ---------------------------------------------------------------------------------- */

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
	else if (!o->kind->init && e->text.len > 3)	/* more than "#[]" */
		good = call_fail(v, "TypeError", "vat_new() of %s: nothing reads these arguments, it has no VAT_INIT()",
				 o->kind->name) == 0;
	if (good && o->kind->init) {
		/* What init reads is good until the crank ends, longer than the encoder's text. */
		size_t len = e->text.len - 1;
		char *text = memcpy(arena_get(v, len), e->text.data + 1, len);
		struct vat_value args = { jtext_enter(text), text + len, e->slots, e->n_slots };
		answer = encoder_begin(v);
		good = call_method(v, o, NULL, o->kind->init, "init", args, false, answer);
		if (!good)
			fail_likewise(v, answer);
		encoder_end(v, answer);
	}
	encoder_end(v, e);
	return good;
}

/* Known to be new: nothing in the store is about it. */
static vat_ref *whole_new(vat *v, const vat_kind *kind)
{
	vat_ref *w = ref_new(v, REF_LOCAL, kind_new_vref(v, kind));
	w->lasting.known = w->passing.known = w->reach_known = true;
	return w;
}

vat_ref *vat_new(vat *v, const vat_kind *kind, const char *signature, ...)
{
	vat_ref *w = whole_new(v, kind);
	ref_condemn(v, w);
	struct object *o = object_new(v, kind, w);
	object_touch(v, o);
	va_list ap;
	va_start(ap, signature);
	bool good = run_init(v, o, signature, &ap);
	va_end(ap);
	return !good ? NULL : kind->facets ? ref_facet(v, w, 0) : w;
}

vat_ref *vat_facet_of(vat *v, vat_ref *object, const char *facet)
{
	if (!object) {
		call_fail(v, "TypeError", "vat_facet_of() of no object");
		return NULL;
	}
	ref_check(v, object, "asked for a facet");
	const vat_kind *kind = object->kind == REF_LOCAL ? kind_of(v, object) : NULL;
	for (unsigned i = 0; object->whole && kind && i < kind_n_facets(kind); i++) {
		if (strcmp(kind->facets[i].name, facet) != 0)
			continue;
		vat_ref *f = ref_facet(v, object->whole, i);
		f->crank = v->crank;
		ref_condemn(v, f);
		return f;
	}
	call_fail(v, "TypeError", "%s has no facet \"%s\"", kind ? kind->name : vat_is_promise(object) ? "a promise" :
		  "an object of another vat", facet);
	return NULL;
}

/* --- state ---------------------------------------------------------------------------------------- */

void *vat_state(vat *v, vat_ref *ref, const vat_kind *kind)
{
	if (!ref)
		return NULL;
	ref_check(v, ref, "asked for its state");
	struct object *o = ref->kind == REF_LOCAL && kind_of(v, ref) == kind ? object_of(v, ref) : NULL;
	if (!o)
		return NULL;
	object_touch(v, o);
	return o->data;
}

void vat_set_string(vat *v, char **field, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	if (len > MAX_STRING || (text && !jtext_is_utf8(text, len))) {	/* else the crank could not end */
		call_fail(v, "TypeError", "vat_set_string(): the string is %s",
			  len > MAX_STRING ? "longer than 256 KiB" : "not UTF-8");
		return;
	}
	char *copy = text ? vat_alloc(v, len + 1) : NULL;
	if (text)
		memcpy(copy, text, len);
	free(*field);
	*field = copy;
}
