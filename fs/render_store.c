/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat's own store: `vatstore` shows every key and value as the bytes they are; `baggage` and `state`
 * show what the C vat library keeps there (vatd/lib/store.c): the baggage, and the saved state of the root and of
 * durable objects, decoded. A vat written in another way has what it has: all of it is in `vatstore`.
 */
#include "render.h"

#include "../lib/smallcaps.h"
#include "../lib/vatwalk.h"

struct store_entry {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value;
	size_t len;
};
typedef void (*entry_fn)(struct view *v, uint64_t vat, const struct store_entry *e, struct text *t);

static int next_row(void *ctx, const void *key, size_t key_len, bool or_equal, const void **keyp, size_t *key_lenp,
		    const void **valp, size_t *lenp)
{
	struct view *v = ctx;

	return reader_next(v->reader, T_VATSTORE, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

/* Every key from `prefix` on that starts with it, in byte order; long ones put together by the walk. */
static int each_entry(struct view *v, uint64_t vat, const char *prefix, entry_fn show, struct text *t)
{
	size_t prefix_len = strlen(prefix);
	struct vatwalk w;
	int r = 0;

	vatwalk_init(&w, next_row, v, vat, prefix, prefix_len);
	while (!t->cut) {
		struct store_entry e;
		const void *val;

		r = vatwalk_step(&w, &val, &e.len);
		if (r || w.key_len < prefix_len || memcmp(w.key, prefix, prefix_len))
			break;
		e.key = w.key;
		e.key_len = w.key_len;
		e.value = val;
		show(v, vat, &e, t);
	}
	if (r == VATWALK_E_DAMAGED)
		text_str(t, "# the rest is damaged; capstan fsck tells more\n");
	return r < 0 ? r : 0;
}

static void show_raw(struct view *v, uint64_t vat, const struct store_entry *e, struct text *t)
{
	(void)v;
	(void)vat;
	text_cell(t, e->key, e->key_len);
	text_str(t, "\t");
	text_escaped(t, e->value, e->len);
	text_str(t, "\n");
}

int render_vat_vatstore(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_vat row;
	int r;

	r = view_vat(v, id, &row);
	if (r)
		return r;
	text_str(t, "key\tvalue\n");
	r = each_entry(v, id, "", show_raw, t);
	text_align(t, start);
	return r;
}

/*
 * A value as the C vat library keeps it: the smallcaps body; when there are references in it, a line feed (which
 * the library's JSON never contains) and their vrefs with blanks between.
 */
#define SLOTS_MAX	WIRE_MAX_SLOTS

struct value_slots {
	struct view *view;
	endpoint_t vat;
	uint64_t *vrefs;
	size_t n;
};

/* False: not such a list. */
static bool parse_slots(struct value_slots *s, const char *p, const char *end)
{
	while (p < end) {
		const char *blank = memchr(p, ' ', (size_t)(end - p));
		size_t len = (size_t)((blank ? blank : end) - p);
		vref_t vref;

		if (s->n == SLOTS_MAX || !vref_parse(p, len, &vref))
			return false;
		s->vrefs[s->n++] = vref.bits;
		p += len + 1;
	}
	return true;
}

/* A vref is shown by the kernel's name for it, which leads on; one that the vat has lost, as it is. */
static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	struct value_slots *s = ctx;
	vref_t vref = { slot };
	uint32_t flags;
	kref_t ref;

	if (view_kref(s->view, s->vat, vref, &ref, &flags))
		return vref_format(vref, buf);
	return kref_format(ref, buf);
}

static void show_value(struct view *v, uint64_t vat, const struct store_entry *e, struct text *t)
{
	const char *body = (const char *)e->value, *end = body + e->len, *line = memchr(body, '\n', e->len);
	struct value_slots slots = { .view = v, .vat = endpoint_vat(vat) };
	_cleanup_free_ char *text = NULL;

	if (line) {
		slots.vrefs = malloc(SLOTS_MAX * sizeof(*slots.vrefs));
		if (!slots.vrefs) {
			t->failed = true;
			return;
		}
	}
	if (line && !parse_slots(&slots, line + 1, end)) {
		text_escaped(t, body, e->len);
	} else {
		text = smallcaps_render(body, (size_t)((line ? line : end) - body), slots.vrefs, slots.n, slot_text,
					&slots);
		if (text)
			text_str(t, text);
		else
			t->failed = true;
	}
	free(slots.vrefs);
	text_str(t, "\n");
}

#define BAGGAGE_PREFIX	"baggage."
#define STATE_PREFIX	"object."

static void show_baggage(struct view *v, uint64_t vat, const struct store_entry *e, struct text *t)
{
	size_t skip = strlen(BAGGAGE_PREFIX);

	text_cell(t, e->key + skip, e->key_len - skip);
	text_str(t, "\t");
	show_value(v, vat, e, t);
}

int render_vat_baggage(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_vat row;
	int r;

	r = view_vat(v, id, &row);
	if (r)
		return r;
	text_str(t, "key\tvalue\n");
	r = each_entry(v, id, BAGGAGE_PREFIX, show_baggage, t);
	text_align(t, start);
	return r;
}

static void show_state(struct view *v, uint64_t vat, const struct store_entry *e, struct text *t)
{
	const char *name = (const char *)e->key + strlen(STATE_PREFIX);
	size_t len = e->key_len - strlen(STATE_PREFIX);
	uint32_t flags;
	vref_t vref;
	kref_t ref;

	text_cell(t, name, len);
	text_str(t, "\t");
	if (vref_parse(name, len, &vref) && !view_kref(v, endpoint_vat(vat), vref, &ref, &flags))
		render_kref(t, ref.bits);
	else
		text_str(t, "-");
	text_str(t, "\t");
	show_value(v, vat, e, t);
}

int render_vat_state(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_vat row;
	int r;

	r = view_vat(v, id, &row);
	if (r)
		return r;
	text_str(t, "eref\tkref\tvalue\n");
	r = each_entry(v, id, STATE_PREFIX, show_state, t);
	text_align(t, start);
	return r;
}
