/* SPDX-License-Identifier: Apache-2.0 */
#include "vatdata.h"

#include "render.h"
#include "store_key.h"

#include "../lib/smallcaps.h"
#include "../lib/vatwalk.h"

#define LIVES_MAX	100u		/* of the C library there are two, and some more where restarts follow each other */
#define PREFIX_MAX	100u
#define ROWS_MAX	4000000u	/* looked at for one table: a damaged tree can lead to one space over and over */

/* --- walking ----------------------------------------------------------------------------------------------------- */

static int next_row(void *ctx, const void *key, size_t key_len, bool or_equal, const void **keyp, size_t *key_lenp,
		    const void **valp, size_t *lenp)
{
	struct view *v = ctx;

	if (view_is_enough(v))
		return READER_NOT_FOUND;
	return reader_next(v->reader, T_VATSTORE, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static int each(struct vat_look *l, const char *prefix, uint64_t life, vat_entry_fn show)
{
	size_t prefix_len = strlen(prefix);
	struct vatwalk w;
	int r = 0;

	vatwalk_init(&w, next_row, l->view, l->vat, prefix, prefix_len);
	while (!l->text->cut && w.n_rows < ROWS_MAX) {
		struct vat_entry e = { .life = life };
		const void *val;

		r = vatwalk_step(&w, &val, &e.len);
		if (r || w.key_len < prefix_len || memcmp(w.key, prefix, prefix_len))
			break;
		e.key = w.key + prefix_len;
		e.key_len = w.key_len - prefix_len;
		e.value = val;
		show(l, &e);
	}
	if (r == VATWALK_E_DAMAGED)
		text_str(l->text, "# the rest is damaged; capstan fsck tells more\n");
	else if (w.n_rows >= ROWS_MAX)
		text_str(l->text, "# the rest is not shown: these are too many\n");
	return r < 0 ? r : 0;
}

int vat_each(struct vat_look *l, const char *prefix, vat_entry_fn show)
{
	return each(l, prefix, 0, show);
}

/* The least key that is not less than `from` and begins with `prefix`; SCAN_END. */
static int first_key(struct view *v, uint64_t vat, const char *from, const char *prefix, struct vatwalk *w)
{
	const void *val;
	size_t len;
	int r;

	vatwalk_init(w, next_row, v, vat, from, strlen(from));
	r = vatwalk_step(w, &val, &len);
	if (r)
		return r < 0 ? r : SCAN_END;
	return w->key_len >= strlen(prefix) && !memcmp(w->key, prefix, strlen(prefix)) ? 0 : SCAN_END;
}

/* "life.12.…": 12; 0: something else. */
static uint64_t parse_life(const uint8_t *key, size_t len)
{
	uint64_t n = 0;
	size_t i = 5;

	for (; i < len && i < 15 && key[i] >= '0' && key[i] <= '9'; i++)
		n = n * 10 + (uint64_t)(key[i] - '0');
	return i < len && key[i] == '.' && key[5] != '0' ? n : 0;
}

int vat_each_of_table(struct vat_look *l, const char *table, const char *begin, vat_entry_fn show)
{
	char prefix[PREFIX_MAX], from[32] = "life.";
	struct vatwalk w;
	uint64_t life;
	int r;

	snprintf(prefix, sizeof(prefix), "%s.%s", table, begin);
	r = each(l, prefix, 0, show);
	for (unsigned i = 0; !r && i < LIVES_MAX && !l->text->cut; i++) {
		r = first_key(l->view, l->vat, from, "life.", &w);
		life = r ? 0 : parse_life(w.key, w.key_len);
		if (!life)
			break;
		snprintf(prefix, sizeof(prefix), "life.%llu.%s.%s", (unsigned long long)life, table, begin);
		r = each(l, prefix, life, show);
		snprintf(from, sizeof(from), "life.%llu/", (unsigned long long)life);	/* '/' follows '.' */
	}
	return r < 0 ? r : 0;
}

int vat_any(struct view *v, uint64_t vat, const char *const *prefixes)
{
	struct vatwalk w;
	int r = SCAN_END;

	for (; r == SCAN_END && *prefixes; prefixes++)
		r = first_key(v, vat, *prefixes, *prefixes, &w);
	return r < 0 ? r : r ? VIEW_E_ABSENT : 0;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

/* References with blanks between. VAT_VALUE_E_OTHER: not such a list. */
static int read_vrefs(const char *p, const char *end, struct vat_value *out)
{
	size_t size = 0;

	while (p < end) {
		const char *blank = memchr(p, ' ', (size_t)(end - p));
		size_t len = (size_t)((blank ? blank : end) - p);
		vref_t vref;

		if (out->n_vrefs == WIRE_MAX_SLOTS || !vref_parse(p, len, &vref))
			return VAT_VALUE_E_OTHER;
		if (out->n_vrefs == size) {
			uint64_t *more = realloc(out->vrefs, (size = size ? size * 2 : 4) * sizeof(*more));

			if (!more)
				return -ENOMEM;
			out->vrefs = more;
		}
		out->vrefs[out->n_vrefs++] = vref.bits;
		p += len + 1;
	}
	return 0;
}

int vat_value_read(const void *data, size_t len, enum vat_form form, struct vat_value *out)
{
	const char *p = data, *end = p + len, *line = len ? memchr(p, '\n', len) : NULL;
	int r = 0;

	*out = (struct vat_value){ .body = p, .body_len = len };
	if (form == VAT_FORM_PYTHON && !line)
		return VAT_VALUE_E_OTHER;
	if (form == VAT_FORM_PYTHON) {
		r = read_vrefs(p, line, out);
		out->body = line + 1;
		out->body_len = (size_t)(end - line - 1);
	} else if (line) {
		r = read_vrefs(line + 1, end, out);
		out->body_len = (size_t)(line - p);
	}
	if (r)
		vat_value_deinit(out);
	return r;
}

void vat_value_deinit(struct vat_value *value)
{
	free(value->vrefs);
	*value = (struct vat_value){ 0 };
}

/* A vref is shown by the kernel's name for it, which leads on; one that the vat has lost, as it is. */
static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	struct vat_look *l = ctx;
	vref_t vref = { slot };
	uint32_t flags;
	kref_t ref;

	if (view_kref(l->view, endpoint_vat(l->vat), vref, &ref, &flags))
		return vref_format(vref, buf);
	return kref_format(ref, buf);
}

static char *render(struct vat_look *l, const struct vat_value *value)
{
	char *text = smallcaps_render(value->body, value->body_len, value->vrefs, value->n_vrefs, slot_text, l);

	if (!text)
		l->text->failed = true;
	return text;
}

void vat_show_value(struct vat_look *l, const void *data, size_t len, enum vat_form form)
{
	_cleanup_free_ char *line = NULL;
	struct vat_value value;
	int r = vat_value_read(data, len, form, &value);

	if (r < 0) {
		l->text->failed = true;
		return;
	}
	if (r) {
		text_last_cell(l->text, data, len);
		return;
	}
	line = render(l, &value);
	if (line)
		text_str(l->text, line);
	vat_value_deinit(&value);
}

/* What is escaped already, as one word. */
static void word(struct text *t, const char *s)
{
	for (; *s; s += strcspn(s, " ")) {
		if (*s == ' ') {
			text_str(t, "\\x20");
			s++;
		}
		text_add(t, s, strcspn(s, " "));
	}
}

void vat_show_key(struct vat_look *l, const void *key, size_t len)
{
	_cleanup_free_ char *line = NULL;
	struct store_key k;
	int r = store_key_read(key, len, &k);

	if (r < 0)
		l->text->failed = true;
	if (r > 0)
		text_cell(l->text, key, len);
	if (r)
		return;
	line = render(l, &(struct vat_value){ k.text.data, k.text.len, k.vrefs, k.n_vrefs });
	if (line)
		word(l->text, line);
	store_key_deinit(&k);
}

void vat_show_kref(struct vat_look *l, vref_t vref)
{
	uint32_t flags;
	kref_t ref;

	if (view_kref(l->view, endpoint_vat(l->vat), vref, &ref, &flags))
		text_str(l->text, "-");
	else
		render_kref(l->text, ref.bits);
}
