/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds. Those with a state table have a number in vrefs, given at the first object, and a row in the store:
 *
 *	kind.Purse	7 n:i64 peer:ref; facets deposit withdraw		(; virtual)
 *
 * A program that declares a kind otherwise than the vat's state was made by does not start. Virtual kinds may change
 * their fields and facets: no object of theirs outlives a start.
 */
#include "internal.h"

#define MAX_FACETS	255u

static const char *const field_types[] = {
	[VAT_FIELD_I64] = "i64", [VAT_FIELD_F64] = "f64", [VAT_FIELD_BOOL] = "bool", [VAT_FIELD_STR] = "str",
	[VAT_FIELD_REF] = "ref", [VAT_FIELD_VALUE] = "value",
};

/* --- what a declaration comes to ------------------------------------------------------------------- */

unsigned kind_n_facets(const vat_kind *kind)
{
	unsigned n = 0;
	while (kind->facets && kind->facets[n].name)
		n++;
	return n;
}

static const char *fields_text(vat *v, const vat_kind *kind)
{
	const char *text = "";
	for (const vat_field *f = kind->state; f->name; f++)
		text = arena_printf(v, "%s %s:%s", text, f->name, field_types[f->type]);
	return text;
}

static const char *facets_text(vat *v, const vat_kind *kind)
{
	const char *text = "";
	for (const vat_facet *f = kind->facets; f && f->name; f++)
		text = arena_printf(v, "%s %s", text, f->name);
	return text;
}

static const char *kind_text(vat *v, const vat_kind *kind)
{
	return arena_printf(v, "%s%s%s%s", fields_text(v, kind), kind->facets ? "; facets" : "", facets_text(v, kind),
			    kind->is_virtual ? "; virtual" : "");
}

static const char *row_key(vat *v, const struct kind_row *row)
{
	if (!row->hooks)
		return arena_printf(v, "kind.%s", row->kind->name);
	return arena_printf(v, "builtin.%s%s", row->kind->name, row->kind->is_virtual ? ".virtual" : "");
}

static const size_t field_sizes[] = {
	[VAT_FIELD_I64] = sizeof(int64_t), [VAT_FIELD_F64] = sizeof(double), [VAT_FIELD_BOOL] = sizeof(bool),
	[VAT_FIELD_STR] = sizeof(char *), [VAT_FIELD_REF] = sizeof(vat_ref *), [VAT_FIELD_VALUE] = sizeof(vat_value *),
};

static void check_fields(vat *v, const vat_kind *kind)
{
	for (const vat_field *f = kind->state; f && f->name; f++) {
		if (f->offset + field_sizes[f->type] > kind->size)
			vat_die(v, "kind %s: its field %s lies outside of the %zu bytes that its objects have: they are the sizeof() "
				"of another struct", kind->name, f->name, kind->size);
		for (const vat_field *g = kind->state; g != f; g++)
			if (strcmp(f->name, g->name) == 0)
				vat_die(v, "kind %s has two fields named %s", kind->name, f->name);
	}
}

/* What is wrong with a table is told at the start, and not when somebody first calls the method. */
static void check_methods(vat *v, const vat_kind *kind, const vat_method *methods)
{
	const char *problem;

	for (const vat_method *m = methods; m && m->name; m++) {
		if (!m->fn)
			vat_die(v, "kind %s: its method %s has no function", kind->name, m->name);
		if (m->args && (problem = signature_problem(v, m->args, false)))
			vat_die(v, "kind %s: what its method %s takes, \"%s\": %s", kind->name, m->name, m->args, problem);
		if (m->result && (problem = signature_problem(v, m->result, true)))
			vat_die(v, "kind %s: what its method %s returns, \"%s\": %s", kind->name, m->name, m->result, problem);
		for (const vat_method *o = methods; o != m; o++)
			if (strcmp(o->name, m->name) == 0)
				vat_die(v, "kind %s has two methods named %s", kind->name, m->name);
	}
}

static void check_declaration(vat *v, const vat_kind *kind)
{
	if (!kind->name || !*kind->name)
		vat_die(v, "a kind of VAT_PROGRAM() has no name");
	check_fields(v, kind);
	check_methods(v, kind, kind->methods);
	check_methods(v, kind, kind->continuations);
	for (const vat_facet *f = kind->facets; f && f->name; f++)
		check_methods(v, kind, f->methods);
	unsigned n = kind_n_facets(kind);
	if (n > MAX_FACETS)
		vat_die(v, "kind %s has %u facets; the most is %u", kind->name, n, MAX_FACETS);
	if (kind->facets && (kind->methods || n == 0))
		vat_die(v, "kind %s has %s", kind->name, n ? "facets and methods: methods belong to its facets" :
			"VAT_FACETS() without a facet");
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < i; j++)
			if (strcmp(kind->facets[i].name, kind->facets[j].name) == 0)
				vat_die(v, "kind %s has two facets named %s", kind->name, kind->facets[i].name);
}

/* --- over restarts --------------------------------------------------------------------------------- */

/* "; facets a b" in the text of a row: " a b"; "" when there are none. */
static const char *part_of(vat *v, const char *text, const char *name)
{
	const char *p = strstr(text, name);
	if (!p)
		return "";
	p += strlen(name);
	return arena_printf(v, "%.*s", (int)strcspn(p, ";"), p);
}

static const char *or_none(const char *list)
{
	return *list ? list : " none";
}

static void must_be_same(vat *v, const vat_kind *kind, const char *before)
{
	bool was_virtual = strstr(before, "; virtual");
	if (was_virtual != kind->is_virtual)
		vat_die(v, "kind %s was declared %s before, and is %s now", kind->name, was_virtual ? "virtual" : "durable",
			kind->is_virtual ? "virtual" : "durable");
	if (kind->is_virtual)
		return;
	const char *fields = arena_printf(v, "%.*s", (int)strcspn(before, ";"), before);
	if (strcmp(fields, fields_text(v, kind)) != 0)
		vat_die(v, "kind %s was declared before with the state%s, now with%s", kind->name, or_none(fields),
			or_none(fields_text(v, kind)));
	const char *facets = part_of(v, before, "; facets");
	if (strcmp(facets, facets_text(v, kind)) != 0)
		vat_die(v, "kind %s was declared before with the facets%s, now with%s", kind->name, or_none(facets),
			or_none(facets_text(v, kind)));
}

static void row_write(vat *v, const struct kind_row *row)
{
	const char *text = arena_printf(v, "%llu%s", (unsigned long long)row->number, kind_text(v, row->kind));
	store_set(v, row_key(v, row), text, strlen(text));
}

static void row_load(vat *v, struct kind_row *row)
{
	char *text, *rest;
	size_t len;
	if (!store_get(v, row_key(v, row), &text, &len))
		return;
	row->number = strtoull(text, &rest, 10);
	if (strcmp(rest, kind_text(v, row->kind)) == 0)
		return;
	must_be_same(v, row->kind, rest);
	row_write(v, row);
}

/* --- the table of kinds --------------------------------------------------------------------------- */

static void row_add(vat *v, const vat_kind *kind, const struct kind_hooks *hooks)
{
	check_declaration(v, kind);
	for (size_t i = 0; i < v->n_kinds; i++)
		if (v->kinds[i].hooks == hooks && strcmp(v->kinds[i].kind->name, kind->name) == 0 && !hooks)
			vat_die(v, "two kinds with a state table are named %s", kind->name);
	v->kinds = vat_grow(v, v->kinds, &v->kinds_size, v->n_kinds + 1, sizeof(*v->kinds));
	v->kinds[v->n_kinds] = (struct kind_row){ kind, hooks, 0 };
	if (v->incarnation > 1)
		row_load(v, &v->kinds[v->n_kinds]);
	v->n_kinds++;
}

void kind_builtin(vat *v, const vat_kind *kind, const struct kind_hooks *hooks)
{
	row_add(v, kind, hooks);
}

void kinds_start(vat *v)
{
	const vat_kind *root = v->program->kinds[0];
	if (!root)
		vat_die(v, "VAT_PROGRAM() names no kind");
	if (root->facets || root->is_virtual)
		vat_die(v, "kind %s is the root's, and cannot %s", root->name, root->facets ? "have facets" : "be virtual");
	for (const vat_kind *const *k = v->program->kinds; *k; k++) {
		if ((*k)->state)
			row_add(v, *k, NULL);
		else
			check_declaration(v, *k);
	}
	streams_start(v);
	collections_start(v);
	v->root = ref_new(v, REF_LOCAL, VREF_ROOT);
	v->root->reachable = v->root->recognizable = v->root->reach_known = true;
	ref_hold(v->root);
}

static uint64_t store_number(vat *v, const char *key)
{
	char *text;
	size_t len;
	return v->incarnation > 1 && store_get(v, key, &text, &len) ? strtoull(text, NULL, 10) : 0;
}

/* The kind's number in vrefs, given at its first object. */
static uint64_t row_number(vat *v, struct kind_row *row)
{
	if (row->number)
		return row->number;
	uint64_t n = store_number(v, "kinds");
	for (size_t i = 0; i < v->n_kinds; i++)
		n = v->kinds[i].number > n ? v->kinds[i].number : n;
	row->number = n + 1;
	if (row->number > UINT16_MAX)
		vat_die(v, "more than %u kinds with a state table", UINT16_MAX);
	const char *text = arena_printf(v, "%llu", (unsigned long long)row->number);
	store_set(v, "kinds", text, strlen(text));
	row_write(v, row);
	return row->number;
}

vref_t kind_new_vref(vat *v, const vat_kind *kind)
{
	if (!kind->state)
		return VREF_NONE;
	struct kind_row *row = NULL;
	for (size_t i = 0; !row && i < v->n_kinds; i++)
		row = v->kinds[i].kind == kind ? &v->kinds[i] : NULL;
	if (!row)
		vat_die(v, "kind %s has a state table and must be named in VAT_PROGRAM()", kind->name);
	if (!v->next_instance)
		v->next_instance = store_number(v, "instance");
	v->next_instance++;
	v->instance_dirty = true;
	return (vref_t){ (kind->is_virtual ? REF_VIRTUAL : REF_DURABLE) | row_number(v, row) << 44 | v->next_instance << 8 };
}

const struct kind_row *kind_row_of(vat *v, vref_t vref)
{
	uint64_t number = vref_is_kept(vref) ? vref_number(vref) >> 44 : 0;
	for (size_t i = 0; number && i < v->n_kinds; i++)
		if (v->kinds[i].number == number && v->kinds[i].kind->is_virtual == vref_is_virtual(vref))
			return &v->kinds[i];
	return NULL;
}

const vat_kind *kind_of(vat *v, const vat_ref *r)
{
	const vat_ref *w = r->whole ? r->whole : r;
	if (w->object)
		return w->object->kind;
	if (w == v->root)
		return v->program->kinds[0];
	const struct kind_row *row = kind_row_of(v, w->vref);
	return row ? row->kind : NULL;
}

const char *kind_interface(vat *v, const vat_ref *r)
{
	const vat_kind *kind = kind_of(v, r);
	if (!kind || !r->whole || r->facet >= kind_n_facets(kind))
		return kind ? kind->name : NULL;
	return arena_printf(v, "%s %s", kind->name, kind->facets[r->facet].name);
}
