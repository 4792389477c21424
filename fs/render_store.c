/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat's own store: `vatstore` shows every key and value as the bytes they are; `baggage` shows those of them that
 * the C vat library keeps as its baggage, decoded. A vat written in another way has what it has: its rows are all
 * in `vatstore`.
 */
#include "render.h"

/* One key of a vat, put together from its bucket (lib/schema.h); `key` is NUL-terminated for convenience only. */
struct store_entry {
	uint8_t key[WIRE_MAX_KEY + 1];
	size_t key_len;
	const uint8_t *value;
	size_t len;
};
typedef void (*entry_fn)(struct view *v, uint64_t vat, const struct store_entry *e, struct text *t);

/* False: longer than any key a vat could have set. */
static bool entry_key(struct store_entry *e, const struct scan *s, const struct bucket_entry *b)
{
	size_t prefix_len = s->key_len - 8;

	e->key_len = prefix_len + b->rest_len;
	if (e->key_len > WIRE_MAX_KEY)
		return false;
	memcpy(e->key, s->key + 8, prefix_len);
	memcpy(e->key + prefix_len, b->rest, b->rest_len);
	e->key[e->key_len] = '\0';
	e->value = b->value;
	e->len = b->value_len;
	return true;
}

/* Every key from `prefix` on that starts with it, in byte order. */
static int each_entry(struct view *v, uint64_t vat, const char *prefix, entry_fn show, struct text *t)
{
	size_t prefix_len = strlen(prefix);
	struct store_entry e;
	uint8_t start[8 + 64];
	struct scan s;
	int r = 0;

	assert(prefix_len <= 64);
	put_be64(start, vat);
	memcpy(start + 8, prefix, prefix_len);
	scan_begin(&s, v, T_VATSTORE, start, 8 + prefix_len);
	while (!t->cut && !(r = scan_next(&s))) {
		struct bucket_entry b;
		size_t pos = 0;

		while (!t->cut && bucket_next(s.val, s.len, &pos, &b))
			if (entry_key(&e, &s, &b))
				show(v, vat, &e, t);
	}
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
