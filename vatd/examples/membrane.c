/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A membrane around what is not trusted. The two sides hold nothing but wrappers of each other's objects: every
 * reference in every argument, answer and error is wrapped on its way to the other side, and unwrapped when it comes
 * home. So one switch cuts all of them, those too that nobody has counted.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *other, *wrappers; bool cut; } side;	/* where things arrive; map: object, wrapper */
typedef struct { vat_ref *side, *target; } wrapper;		/* for this side, of something on the other */
static const vat_kind Side, Wrapper;

static vat_ref *wrap(vat *v, vat_ref *ref, void *to)
{
	side *s = vat_state(v, to, &Side);
	const wrapper *w = vat_state(v, ref, &Wrapper);
	vat_ref *made;

	if (vat_is_promise(ref))
		return vat_then(v, ref, s, "arrived", "failed");
	if (w && w->side == s->other)
		return w->target;
	if (!vat_map_get(v, s->wrappers, "r", "r", ref, &made)) {
		made = vat_new(v, &Wrapper, "rr", to, ref);
		vat_map_set(v, s->wrappers, "r", "r", ref, made);
	}
	return made;
}

/* A promise on the other side has settled: so does its wrapper on this one. */
static int arrive(vat *v, const side *self, bool failed)
{
	vat_value *value;
	if (self->cut)
		return vat_fail(v, "Error", "the membrane was cut");
	vat_read(v, "v", &value);
	value = vat_map_refs(v, value, wrap, vat_self(v));
	return failed ? vat_throw(v, "v", value) : vat_return(v, "v", value);
}
VAT_METHOD(side, arrived) { return arrive(v, self, false); }
VAT_METHOD(side, failed) { return arrive(v, self, true); }

VAT_METHOD(side, made)
{
	self->wrappers = vat_map_new(v, "wrappers", VAT_DURABLE_COLLECTION | VAT_WEAK_KEYS);
	return 0;
}

VAT_METHOD(side, cut)
{
	side *other = vat_state(v, self->other, &Side);
	self->cut = other->cut = true;
	return 0;
}

static const vat_kind Side = { "Side", sizeof(side), VAT_INIT(made),
	VAT_STATE(VAT_REF(side, other), VAT_REF(side, wrappers), VAT_BOOL(side, cut)), VAT_METHODS({ "cut", "", NULL, cut }),
	VAT_CONTINUATIONS({ "arrived", "v", NULL, arrived }, { "failed", "v", NULL, failed }) };

VAT_METHOD(wrapper, wrapped) { return vat_read(v, "rr", &self->side, &self->target); }

VAT_METHOD(wrapper, forward)
{
	const side *s = vat_state(v, self->side, &Side);
	if (s->cut)
		return vat_fail(v, "Error", "the membrane was cut");
	vat_value *args = vat_map_refs(v, vat_args(v), wrap, s->other);
	return vat_return(v, "r", wrap(v, vat_call_with(v, self->target, vat_method_name(v), args), self->side));
}

static const vat_kind Wrapper = { "Wrapper", sizeof(wrapper), VAT_INIT(wrapped), VAT_ANY(forward),
	VAT_STATE(VAT_REF(wrapper, side), VAT_REF(wrapper, target)) };

typedef struct { char unused; } root;

VAT_METHOD(root, bootstrap)
{
	vat_ref *inside = vat_new(v, &Side, ""), *outside = vat_new(v, &Side, ""), *plugin, *counter;
	((side *)vat_state(v, inside, &Side))->other = outside;
	((side *)vat_state(v, outside, &Side))->other = inside;
	vat_read(v, "{plugin:r,counter:r}", &plugin, &counter);
	return vat_return(v, "{plugin:r,membrane:r,counter:r}", wrap(v, plugin, outside), outside, counter);
}

static const vat_kind Root = { "Root", sizeof(root), VAT_METHODS({ "bootstrap", "{plugin:r,counter:r}?v", NULL, bootstrap }) };
VAT_PROGRAM(&Root, &Side, &Wrapper);
