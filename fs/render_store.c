/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat's own store: `vatstore` shows every key and value as the bytes they are; `baggage` what a vat keeps by name, `state` the
 * saved state of the root and of objects, decoded as the C library or the Python one has written them. What else the C library
 * keeps is in render_library.c.
 */
#include "render.h"
#include "vatdata.h"

/* "key" and the rest of a table of a vat's store: the vat is there. */
int render_vat_table(struct view *v, uint64_t id, struct text *t, const char *head, struct vat_look *out)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	*out = (struct vat_look){ .view = v, .vat = id, .text = t };
	if (!r)
		text_str(t, head);
	return r;
}

static void show_raw(struct vat_look *l, const struct vat_entry *e)
{
	text_cell(l->text, e->key, e->key_len);
	text_str(l->text, "\t");
	text_escaped(l->text, e->value, e->len);
	text_str(l->text, "\n");
}

int render_vat_vatstore(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct vat_look l;
	int r = render_vat_table(v, id, t, "key\tvalue\n", &l);

	if (!r)
		r = vat_each(&l, "", show_raw);
	text_align(t, start);
	return r;
}

/* --- baggage ----------------------------------------------------------------------------------------------------- */

static void show_named(struct vat_look *l, const struct vat_entry *e, enum vat_form form)
{
	text_cell(l->text, e->key, e->key_len);
	text_str(l->text, "\t");
	vat_show_value(l, e->value, e->len, form);
	text_str(l->text, "\n");
}

static void show_baggage(struct vat_look *l, const struct vat_entry *e)
{
	show_named(l, e, VAT_FORM_C);
}

static void show_python_baggage(struct vat_look *l, const struct vat_entry *e)
{
	show_named(l, e, VAT_FORM_PYTHON);
}

int vat_has_baggage(struct view *v, uint64_t id)
{
	return vat_any(v, id, (const char *const[]){ "baggage.", "b.", NULL });
}

int render_vat_baggage(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct vat_look l;
	int r = render_vat_table(v, id, t, "key\tvalue\n", &l);

	if (!r)
		r = vat_each(&l, "baggage.", show_baggage);
	if (!r)
		r = vat_each(&l, "b.", show_python_baggage);
	text_align(t, start);
	return r;
}

/* --- state ------------------------------------------------------------------------------------------------------- */

static void show_object(struct vat_look *l, const struct vat_entry *e, enum vat_form form)
{
	const char *name = (const char *)e->key;
	const struct kinds *kinds = l->ctx;
	vref_t vref;

	if (!vref_parse(name, e->key_len, &vref) || kinds_is_collection(kinds, vref))
		return;
	text_cell(l->text, name, e->key_len);
	text_str(l->text, "\t");
	vat_show_kref(l, vref);
	text_str(l->text, "\t");
	kinds_show(kinds, l->text, vref);
	text_str(l->text, "\t");
	vat_show_value(l, e->value, e->len, form);
	text_str(l->text, "\n");
}

static void show_state(struct vat_look *l, const struct vat_entry *e)
{
	show_object(l, e, VAT_FORM_C);
}

static void show_python_state(struct vat_look *l, const struct vat_entry *e)
{
	show_object(l, e, VAT_FORM_PYTHON);
}

int vat_has_state(struct view *v, uint64_t id)
{
	return vat_any(v, id, (const char *const[]){ "object.", "s.", "life.", NULL });
}

/* Collections are left out: `collections` and `entries` show what is in them. */
int render_vat_state(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct kinds kinds;
	struct vat_look l;
	int r = render_vat_table(v, id, t, "eref\tkref\tkind\tvalue\n", &l);

	if (r)
		return r;
	r = kinds_load(&kinds, v, id);
	l.ctx = &kinds;
	if (!r)
		r = vat_each_of_table(&l, "object", "", show_state);
	if (!r)
		r = vat_each(&l, "s.", show_python_state);
	kinds_deinit(&kinds);
	text_align(t, start);
	return r;
}
