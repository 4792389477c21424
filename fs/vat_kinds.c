/* SPDX-License-Identifier: Apache-2.0 */
#include "vatdata.h"

#include "render.h"

#define KINDS_MAX	4096u		/* of a vat; what comes after them has no name here */

/* --- loading ----------------------------------------------------------------------------------------------------- */

static struct kind *add(struct vat_look *l)
{
	struct kinds *k = l->ctx;

	if (k->n == KINDS_MAX)
		return NULL;
	if (k->n == k->size) {
		struct kind *more = realloc(k->kinds, (k->size = k->size ? k->size * 2 : 16) * sizeof(*more));

		if (!more) {
			l->text->failed = true;
			return NULL;
		}
		k->kinds = more;
	}
	return &k->kinds[k->n++];
}

/* "7 n:i64 peer:ref; facets a b; virtual" */
static void load(struct vat_look *l, const struct vat_entry *e, enum kind_source source, size_t name_len, bool is_virtual)
{
	const char *p = (const char *)e->value, *end = p + e->len;
	struct kind *kind = add(l);
	uint64_t number = 0;

	if (!kind)
		return;
	for (; p < end && *p >= '0' && *p <= '9' && number <= UINT16_MAX; p++)
		number = number * 10 + (uint64_t)(*p - '0');
	*kind = (struct kind){ .source = source, .is_virtual = is_virtual, .number = number, .rest = p, .rest_len = (size_t)(end - p) };
	memcpy(kind->name, e->key, name_len < VAT_KIND_MAX ? name_len : VAT_KIND_MAX);
}

static bool ends_with(const void *data, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len >= n && memcmp((const char *)data + len - n, end, n) == 0;
}

static void load_kind(struct vat_look *l, const struct vat_entry *e)
{
	load(l, e, KIND_C, e->key_len, ends_with(e->value, e->len, "; virtual"));
}

/* "builtin.Map" and "builtin.Map.virtual" */
static void load_builtin(struct vat_look *l, const struct vat_entry *e)
{
	bool is_virtual = ends_with(e->key, e->key_len, ".virtual");

	load(l, e, KIND_BUILTIN, e->key_len - (is_virtual ? strlen(".virtual") : 0), is_virtual);
}

static void load_python(struct vat_look *l, const struct vat_entry *e)
{
	load(l, e, KIND_PYTHON, e->key_len, false);
}

int kinds_load(struct kinds *k, struct view *v, uint64_t vat)
{
	struct text none = TEXT_INIT(TEXT_CUT_ROOM);	/* nothing is written */
	struct vat_look l = { .view = v, .vat = vat, .text = &none, .ctx = k };
	int r;

	*k = (struct kinds){ 0 };
	r = vat_each(&l, "kind.", load_kind);
	if (!r)
		r = vat_each(&l, "builtin.", load_builtin);
	if (!r)
		r = vat_each(&l, "k.", load_python);
	if (!r && none.failed)
		r = -ENOMEM;
	text_deinit(&none);
	return r;
}

void kinds_deinit(struct kinds *k)
{
	free(k->kinds);
	*k = (struct kinds){ 0 };
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static const struct kind *kind_of(const struct kinds *k, vref_t vref)
{
	uint64_t number = vref_is_durable(vref) || vref_is_virtual(vref) ? vref_number(vref) >> 44 : 0;

	for (size_t i = 0; number && i < k->n; i++)
		if (k->kinds[i].number == number && k->kinds[i].is_virtual == vref_is_virtual(vref))
			return &k->kinds[i];
	return NULL;
}

bool kinds_is_collection(const struct kinds *k, vref_t vref)
{
	const struct kind *kind = kind_of(k, vref);

	return kind && kind->source == KIND_BUILTIN &&
	       (!strcmp(kind->name, "Map") || !strcmp(kind->name, "Set") || !strcmp(kind->name, "Rows"));
}

void kinds_show(const struct kinds *k, struct text *t, vref_t vref)
{
	const struct kind *kind = kind_of(k, vref);

	if (vref_equal(vref, VREF_ROOT))
		text_str(t, "root");
	else
		text_cell(t, kind ? kind->name : NULL, kind ? strlen(kind->name) : 0);
}

void kind_prefix(const struct kind *k, char out[32])
{
	snprintf(out, 32, "o+%c%llu.", k->is_virtual ? 'v' : 'd', (unsigned long long)k->number);
}

/* --- the table --------------------------------------------------------------------------------------------------- */

int vat_has_kinds(struct view *v, uint64_t id)
{
	return vat_any(v, id, (const char *const[]){ "kind.", "builtin.", "k.", NULL });
}

/* Words with commas between them, as one cell. */
static void words_cell(struct text *t, const char *p, size_t len)
{
	const char *end = p + len;
	bool any = false;

	while (p < end) {
		const char *blank = memchr(p, ' ', (size_t)(end - p));
		size_t n = (size_t)((blank ? blank : end) - p);

		if (n) {
			if (any)
				text_str(t, ",");
			text_cell(t, p, n);
			any = true;
		}
		p += n + 1;
	}
	if (!any)
		text_str(t, "-");
}

/* " n:i64; facets a b; virtual": the fields, then the facets. */
static void shape_cells(struct text *t, const struct kind *kind)
{
	static const char facets[] = "; facets";
	const char *semicolon = kind->rest_len ? memchr(kind->rest, ';', kind->rest_len) : NULL;
	const char *list = kind->rest_len ? memmem(kind->rest, kind->rest_len, facets, strlen(facets)) : NULL;
	const char *end = kind->rest + kind->rest_len;

	words_cell(t, kind->rest, (size_t)((semicolon ? semicolon : end) - kind->rest));
	text_str(t, "\t");
	list = list ? list + strlen(facets) : end;
	semicolon = list < end ? memchr(list, ';', (size_t)(end - list)) : NULL;
	words_cell(t, list, (size_t)((semicolon ? semicolon : end) - list));
}

int render_vat_kinds(struct view *v, uint64_t id, struct text *t)
{
	static const char *const sources[] = { [KIND_C] = "program", [KIND_BUILTIN] = "library", [KIND_PYTHON] = "program" };
	size_t start = t->len;
	struct vat_look l;
	struct kinds k;
	int r = render_vat_table(v, id, t, "kind\tnumber\tsource\tlifetime\tfields\tfacets\n", &l);

	if (r)
		return r;
	r = kinds_load(&k, v, id);
	for (size_t i = 0; !r && i < k.n; i++) {
		const struct kind *kind = &k.kinds[i];

		text_cell(t, kind->name, strlen(kind->name));
		text_printf(t, "\t%llu\t%s\t%s\t", (unsigned long long)kind->number, sources[kind->source],
			    kind->is_virtual ? "virtual" : "durable");
		shape_cells(t, kind);
		text_str(t, "\n");
	}
	kinds_deinit(&k);
	text_align(t, start);
	return r;
}
