/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A membrane around what is not trusted. The two sides hold nothing but wrappers of each other's objects, because
 * every reference in every argument, answer and error that passes is wrapped on its way, and unwrapped when it comes
 * home. So one switch cuts all of them, those that nobody has counted too.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *inner, *outer; bool cut; } membrane;		/* weak maps: object, its wrapper */
typedef struct { vat_ref *membrane, *target; bool inner; } wrapper;	/* inner: of an object of the inside */
struct way { vat_ref *membrane; bool inward; };
static const vat_kind Membrane, Wrapper;

static vat_ref *wrap(vat *v, vat_ref *ref, void *arg)
{
	const struct way *way = arg;
	membrane *m = vat_state(v, way->membrane, &Membrane);
	const wrapper *w = vat_state(v, ref, &Wrapper);
	vat_ref *made = NULL, *known = way->inward ? m->outer : m->inner;

	if (vat_is_promise(ref))
		return vat_then(v, ref, m, way->inward ? "inward" : "outward", way->inward ? "fail_inward" : "fail_outward");
	if (w && w->membrane == way->membrane && w->inner == way->inward)
		return w->target;
	if (!vat_map_get(v, known, "r", "r", ref, &made)) {
		made = vat_new(v, &Wrapper, "rrb", way->membrane, ref, !way->inward);
		vat_map_set(v, known, "r", "r", ref, made);
	}
	return made;
}

/* A promise on one side has settled: so does its wrapper on the other. */
static int cross(vat *v, membrane *self, bool inward, bool failed)
{
	struct way way = { vat_self(v), inward };
	vat_value *value;
	vat_read(v, "v", &value);
	if (self->cut)
		return vat_fail(v, "Error", "the membrane was cut");
	value = vat_map_refs(v, value, wrap, &way);
	return failed ? vat_throw(v, "v", value) : vat_return(v, "v", value);
}
VAT_METHOD(membrane, inward) { return cross(v, self, true, false); }
VAT_METHOD(membrane, outward) { return cross(v, self, false, false); }
VAT_METHOD(membrane, fail_inward) { return cross(v, self, true, true); }
VAT_METHOD(membrane, fail_outward) { return cross(v, self, false, true); }
VAT_METHOD(membrane, cut) { self->cut = true; return 0; }

VAT_METHOD(membrane, grown)
{
	self->inner = vat_map_new(v, "inner", VAT_DURABLE_COLLECTION | VAT_WEAK_KEYS);
	self->outer = vat_map_new(v, "outer", VAT_DURABLE_COLLECTION | VAT_WEAK_KEYS);
	return 0;
}

static const vat_kind Membrane = { "Membrane", sizeof(membrane), VAT_INIT(grown),
	VAT_STATE(VAT_REF(membrane, inner), VAT_REF(membrane, outer), VAT_BOOL(membrane, cut)),
	VAT_METHODS({ "cut", "", NULL, cut }),
	VAT_CONTINUATIONS({ "inward", "v", NULL, inward }, { "outward", "v", NULL, outward },
			  { "fail_inward", "v", NULL, fail_inward }, { "fail_outward", "v", NULL, fail_outward }) };

VAT_METHOD(wrapper, wrapped) { return vat_read(v, "rrb", &self->membrane, &self->target, &self->inner); }

VAT_METHOD(wrapper, forward)
{
	const membrane *m = vat_state(v, self->membrane, &Membrane);
	struct way there = { self->membrane, self->inner }, back = { self->membrane, !self->inner };
	if (m->cut)
		return vat_fail(v, "Error", "the membrane was cut");
	vat_value *args = vat_map_refs(v, vat_args(v), wrap, &there);
	return vat_return(v, "r", wrap(v, vat_call_with(v, self->target, vat_method_name(v), args), &back));
}

static const vat_kind Wrapper = { "Wrapper", sizeof(wrapper), VAT_INIT(wrapped), VAT_ANY(forward),
	VAT_STATE(VAT_REF(wrapper, membrane), VAT_REF(wrapper, target), VAT_BOOL(wrapper, inner)) };

typedef struct { char unused; } root;

/* The plugin behind a membrane of its own, and the switch. */
VAT_METHOD(root, bootstrap)
{
	struct way out = { vat_new(v, &Membrane, ""), false };
	vat_ref *plugin, *counter;
	vat_read(v, "{plugin:r,counter:r}", &plugin, &counter);
	return vat_return(v, "{plugin:r,membrane:r,counter:r}", wrap(v, plugin, &out), out.membrane, counter);
}

static const vat_kind Root = { "Root", sizeof(root), VAT_METHODS({ "bootstrap", "{plugin:r,counter:r}?v", NULL, bootstrap }) };
VAT_PROGRAM(&Root, &Membrane, &Wrapper);
