/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the C vat library keeps beside baggage and state, decoded: collections and their entries, counts of references, and the
 * continuations that wait for promises. (Of these the Python library has counts only.)
 *
 * A collection is an object of the library's kinds Map and Set; its state names another one, its rows, under whose name the
 * entries stand: "entry.o+d2.7.KEY" (vatd/lib/collection.c).
 */
#include "render.h"
#include "vatdata.h"

#include "../lib/smallcaps.h"

/* --- collections ------------------------------------------------------------------------------------------------- */

#define COUNT_MAX	100000u		/* entries counted for one table: only those of weak collections need it */

struct collection {
	const struct kind *kind;
	vref_t vref, rows;		/* rows: VREF_NONE before there was an entry, and after a clear() */
	uint64_t life;
	bool is_set, weak;
	uint64_t size;			/* of a weak one nobody keeps it */
	json_t *state;			/* of the object */
	const char *label;		/* in it */
	size_t label_len;
};
typedef void (*collection_fn)(struct vat_look *l, const struct collection *c);
struct visit { const struct kind *kind; collection_fn show; uint64_t n_counted; };

/* {label: "x", rows: o+d2.7, size: 3, weak: false}; false: it is no such thing. */
static bool read_state(const struct vat_value *value, struct collection *c)
{
	struct smallcaps_seen rows, label, size;

	if (value->body_len < 2 || value->body[0] != '#')
		return false;
	c->state = json_loadb(value->body + 1, value->body_len - 1, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	if (!json_is_object(c->state))
		return false;
	rows = smallcaps_look(json_object_get(c->state, "rows"), value->n_vrefs);
	label = smallcaps_look(json_object_get(c->state, "label"), 0);
	size = smallcaps_look(json_object_get(c->state, "size"), 0);
	c->rows = rows.kind == SMALLCAPS_REFERENCE ? (vref_t){ value->vrefs[rows.slot] } : VREF_NONE;
	c->label = label.kind == SMALLCAPS_STRING ? label.text : "";
	c->label_len = label.kind == SMALLCAPS_STRING ? label.len : 0;
	c->size = size.kind == SMALLCAPS_NUMBER && size.number >= 0 && size.number < 1e15 ? (uint64_t)size.number : 0;
	c->weak = json_is_true(json_object_get(c->state, "weak"));
	return true;
}

static void visit_object(struct vat_look *l, const struct vat_entry *e)
{
	struct visit *visit = l->ctx;
	char name[REF_TEXT_MAX + 32];
	struct collection c = { .kind = visit->kind, .life = e->life, .is_set = !strcmp(visit->kind->name, "Set") };
	struct vat_value value;
	int n;

	kind_prefix(visit->kind, name);		/* which the key has lost */
	n = snprintf(name + strlen(name), REF_TEXT_MAX, "%.*s", e->key_len < REF_TEXT_MAX ? (int)e->key_len : REF_TEXT_MAX,
		     (const char *)e->key);
	if (n < 0 || (size_t)n != e->key_len || !vref_parse(name, strlen(name), &c.vref))
		return;
	if (vat_value_read(e->value, e->len, VAT_FORM_C, &value)) {
		return;
	}
	if (read_state(&value, &c))
		visit->show(l, &c);
	json_decref(c.state);
	vat_value_deinit(&value);
}

/* Those that last first, by kind. */
static int each_collection(struct vat_look *l, const struct kinds *kinds, collection_fn show)
{
	struct visit visit = { .show = show };
	char prefix[32];
	int r = 0;

	l->ctx = &visit;
	for (size_t i = 0; !r && i < kinds->n; i++) {
		const struct kind *kind = visit.kind = &kinds->kinds[i];

		if (kind->source != KIND_BUILTIN || !kind->number || (strcmp(kind->name, "Map") && strcmp(kind->name, "Set")))
			continue;
		kind_prefix(kind, prefix);
		r = vat_each_of_table(l, "object", prefix, visit_object);
	}
	return r;
}

/* Which entries a collection has: "entry.ROWS." or "life.2.entry.ROWS." */
static void entry_prefix(const struct collection *c, char out[100])
{
	char rows[REF_TEXT_MAX], life[32] = "";

	if (c->life)
		snprintf(life, sizeof(life), "life.%llu.", (unsigned long long)c->life);
	snprintf(out, 100, "%sentry.%s.", life, vref_format(c->rows, rows));
}

int vat_has_collections(struct view *v, uint64_t id)
{
	return vat_any(v, id, (const char *const[]){ "builtin.Map", "builtin.Set", NULL });
}

static int collections_table(struct view *v, uint64_t id, struct text *t, const char *head, collection_fn show)
{
	size_t start = t->len;
	struct kinds kinds;
	struct vat_look l;
	int r = render_vat_table(v, id, t, head, &l);

	if (r)
		return r;
	r = kinds_load(&kinds, v, id);
	if (!r)
		r = each_collection(&l, &kinds, show);
	kinds_deinit(&kinds);
	text_align(t, start);
	return r;
}

static void count_entry(struct vat_look *l, const struct vat_entry *e)
{
	struct visit *visit = l->ctx;

	(void)e;
	if (++visit->n_counted >= COUNT_MAX)
		l->text->cut = true;		/* of a text of its own: no further */
}

/* The number of a weak collection's entries. */
static void weak_size(struct vat_look *l, const struct collection *c)
{
	struct text none = TEXT_INIT(TEXT_CUT_ROOM);
	struct vat_look count = { .view = l->view, .vat = l->vat, .text = &none, .ctx = l->ctx };
	struct visit *visit = l->ctx;
	uint64_t before = visit->n_counted;
	char prefix[100];
	int r = 0;

	entry_prefix(c, prefix);
	if (before < COUNT_MAX && !vref_is_none(c->rows))
		r = vat_each(&count, prefix, count_entry);
	if (r || visit->n_counted >= COUNT_MAX)
		text_str(l->text, "-");
	else
		text_printf(l->text, "%llu", (unsigned long long)(visit->n_counted - before));
	text_deinit(&none);
}

static void show_collection(struct vat_look *l, const struct collection *c)
{
	char buf[REF_TEXT_MAX];

	text_printf(l->text, "%s\t", vref_format(c->vref, buf));
	vat_show_kref(l, c->vref);
	text_printf(l->text, "\t%s\t%s\t", c->is_set ? "set" : "map", c->weak ? "weak" : "strong");
	if (c->weak)
		weak_size(l, c);
	else
		text_printf(l->text, "%llu", (unsigned long long)c->size);
	text_printf(l->text, "\t%s\t", vref_is_none(c->rows) ? "-" : vref_format(c->rows, buf));
	text_last_cell(l->text, c->label, c->label_len);
	text_str(l->text, "\n");
}

int render_vat_collections(struct view *v, uint64_t id, struct text *t)
{
	return collections_table(v, id, t, "eref\tkref\tkind\tkeys\tentries\trows\tlabel\n", show_collection);
}

static void show_entry(struct vat_look *l, const struct vat_entry *e)
{
	const struct collection *c = l->ctx;
	char buf[REF_TEXT_MAX];

	text_printf(l->text, "%s\t", vref_format(c->vref, buf));
	vat_show_key(l, e->key, e->key_len);
	text_str(l->text, "\t");
	if (c->is_set)
		text_str(l->text, "-");
	else
		vat_show_value(l, e->value, e->len, VAT_FORM_C);
	text_str(l->text, "\n");
}

static void show_entries(struct vat_look *l, const struct collection *c)
{
	struct vat_look entries = { .view = l->view, .vat = l->vat, .text = l->text, .ctx = (void *)(uintptr_t)c };
	char prefix[100];

	entry_prefix(c, prefix);
	if (!vref_is_none(c->rows) && vat_each(&entries, prefix, show_entry) < 0)
		l->text->failed = true;
}

int render_vat_entries(struct view *v, uint64_t id, struct text *t)
{
	return collections_table(v, id, t, "collection\tkey\tvalue\n", show_entries);
}

/* --- references -------------------------------------------------------------------------------------------------- */

static void fact_row(struct vat_look *l, const struct vat_entry *e, vref_t vref, const char *fact, const void *value, size_t len)
{
	char buf[REF_TEXT_MAX];

	text_printf(l->text, "%s\t", vref_format(vref, buf));
	vat_show_kref(l, vref);
	text_printf(l->text, "\t%s\t", fact);
	text_cell(l->text, value, len);
	if (e->life)
		text_printf(l->text, "\t%llu\n", (unsigned long long)e->life);
	else
		text_str(l->text, "\t-\n");
}

static void show_fact(struct vat_look *l, const struct vat_entry *e)
{
	vref_t vref;

	if (vref_parse((const char *)e->key, e->key_len, &vref))
		fact_row(l, e, vref, l->ctx, e->value, e->len);
}

/* Of an object with facets there is one row ":r-c", a letter a facet. */
static void show_exported(struct vat_look *l, const struct vat_entry *e)
{
	const char *letters = (const char *)e->value;
	vref_t vref;

	if (e->len < 2 || e->len > 256 || letters[0] != ':') {
		show_fact(l, e);
		return;
	}
	if (!vref_parse((const char *)e->key, e->key_len, &vref))
		return;
	for (size_t i = 1; i < e->len; i++) {
		vref_t facet = { vref.bits | (uint64_t)i };	/* which holds facet + 1 */
		const char *how = letters[i] == 'r' ? "reachable" : "recognizable";

		if (letters[i] != '-')
			fact_row(l, e, facet, "exported", how, strlen(how));
	}
}

/* "weak.KEY.ROWS": KEY is a key among those rows that does not count as held. */
static void show_weak(struct vat_look *l, const struct vat_entry *e)
{
	const char *key = (const char *)e->key;
	size_t at = e->key_len;
	vref_t vref, rows;

	while (at > 1 && !(key[at - 1] == '.' && at < e->key_len && key[at] == 'o'))
		at--;
	if (at > 1 && vref_parse(key, at - 1, &vref) && vref_parse(key + at, e->key_len - at, &rows))
		fact_row(l, e, vref, "weak-key", key + at, e->key_len - at);
}

/* Python: "2 reachable", how often it is in a value and how others know it. */
static void show_python(struct vat_look *l, const struct vat_entry *e)
{
	const char *p = (const char *)e->value, *blank = e->len ? memchr(p, ' ', e->len) : NULL;
	vref_t vref;

	if (!blank || !vref_parse((const char *)e->key, e->key_len, &vref))
		return;
	fact_row(l, e, vref, "count", p, (size_t)(blank - p));
	if (p + e->len > blank + 1 && blank[1] != '-')
		fact_row(l, e, vref, "exported", blank + 1, (size_t)(p + e->len - blank - 1));
}

int vat_has_references(struct view *v, uint64_t id)
{
	return vat_any(v, id, (const char *const[]){ "count.", "exported.", "gone.", "weak.", "r.", "life.", NULL });
}

int render_vat_references(struct view *v, uint64_t id, struct text *t)
{
	static const struct { const char *table; const char *fact; vat_entry_fn show; } tables[] = {
		{ "count", "count", show_fact }, { "exported", "exported", show_exported }, { "gone", "deleting", show_fact },
		{ "weak", "weak-key", show_weak },
	};
	size_t start = t->len;
	struct vat_look l;
	int r = render_vat_table(v, id, t, "eref\tkref\tfact\tvalue\tlife\n", &l);

	if (r)
		return r;
	for (size_t i = 0; !r && i < ARRAY_LEN(tables); i++) {
		l.ctx = (void *)(uintptr_t)tables[i].fact;
		r = vat_each_of_table(&l, tables[i].table, "", tables[i].show);
	}
	if (!r)
		r = vat_each(&l, "r.", show_python);
	text_align(t, start);
	return r;
}

/* --- continuations ----------------------------------------------------------------------------------------------- */

/* "when o+d1.2 method" or "catch o+0 method"; other lines are left out. */
static void show_continuation(struct vat_look *l, vref_t promise, const char *line, size_t len)
{
	const char *object = memchr(line, ' ', len), *method;
	char buf[REF_TEXT_MAX];
	vref_t vref;

	method = object ? memchr(object + 1, ' ', len - (size_t)(object + 1 - line)) : NULL;
	if (!method || !vref_parse(object + 1, (size_t)(method - object - 1), &vref))
		return;
	text_printf(l->text, "%s\t", vref_format(promise, buf));
	vat_show_kref(l, promise);
	text_str(l->text, "\t");
	text_cell(l->text, line, (size_t)(object - line));
	text_printf(l->text, "\t%s\t", vref_format(vref, buf));
	vat_show_kref(l, vref);
	text_str(l->text, "\t");
	text_last_cell(l->text, method + 1, len - (size_t)(method + 1 - line));
	text_str(l->text, "\n");
}

static void show_continuations(struct vat_look *l, const struct vat_entry *e)
{
	const char *p = (const char *)e->value, *end = p + e->len;
	vref_t promise;

	if (!vref_parse((const char *)e->key, e->key_len, &promise))
		return;
	while (p < end && !l->text->cut) {
		const char *feed = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((feed ? feed : end) - p);

		if (len)
			show_continuation(l, promise, p, len);
		p += len + 1;
	}
}

int vat_has_continuations(struct view *v, uint64_t id)
{
	return vat_any(v, id, (const char *const[]){ "when.", NULL });
}

int render_vat_continuations(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct vat_look l;
	int r = render_vat_table(v, id, t, "promise\tkref\ton\tobject\tobject-kref\tmethod\n", &l);

	if (!r)
		r = vat_each(&l, "when.", show_continuations);
	text_align(t, start);
	return r;
}
