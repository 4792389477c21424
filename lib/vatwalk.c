/* SPDX-License-Identifier: Apache-2.0 */
/* See vatwalk.h. Depth first: a row's own value, then what its link leads to, then the next row of its space. */
#include "vatwalk.h"

void vatwalk_init(struct vatwalk *w, vatwalk_next_fn next, void *ctx, uint64_t vat, const void *from, size_t from_len)
{
	assert(from_len <= VATSTORE_PREFIX);
	*w = (struct vatwalk){ .next = next, .ctx = ctx, .spaces = { vat }, .depth = 1, .key_len = from_len };
	if (from_len)
		memcpy(w->key, from, from_len);
}

/* The next row of the innermost space; its chunk becomes the end of the key. VATWALK_E_END: none. */
static int next_row(struct vatwalk *w, struct vatstore_row *row)
{
	uint64_t space = w->spaces[w->depth - 1];
	size_t at = (size_t)(w->depth - 1) * VATSTORE_PREFIX, key_len, len;
	uint8_t from[8 + VATSTORE_PREFIX];
	const void *key, *val;
	int r;

	put_be64(from, space);
	memcpy(from + 8, w->key + at, w->key_len - at);
	r = w->next(w->ctx, from, 8 + w->key_len - at, !w->inside, &key, &key_len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || key_len < 8 || get_be64(key) != space)
		return VATWALK_E_END;
	if (key_len > sizeof from || !vatstore_row_read(val, len, key_len - 8, row))
		return VATWALK_E_DAMAGED;
	if (key_len == 8 && w->depth > 1)
		return VATWALK_E_DAMAGED;	/* that key ends in the row above */
	w->key_len = at + key_len - 8;
	memcpy(w->key + at, (const uint8_t *)key + 8, key_len - 8);
	w->inside = true;
	w->n_rows++;
	return 0;
}

static void leave_space(struct vatwalk *w)
{
	w->depth--;
	w->key_len = (size_t)w->depth * VATSTORE_PREFIX;
	w->inside = true;
}

int vatwalk_step(struct vatwalk *w, const void **valp, size_t *lenp)
{
	struct vatstore_row row;
	int r;

	while (w->depth) {
		if (w->link) {
			/*
			 * Spaces are numbered as they are made, and inner ones are made later: no cycle can
			 * look right.
			 */
			if (w->depth == VATSTORE_DEPTH || w->link <= w->spaces[w->depth - 1])
				return VATWALK_E_DAMAGED;
			w->spaces[w->depth++] = w->link;
			w->link = 0;
			w->inside = false;
		}
		r = next_row(w, &row);
		if (r < 0)
			return error_trace(r);
		if (r == VATWALK_E_DAMAGED)
			return r;
		if (r) {
			leave_space(w);
			continue;
		}
		w->link = row.link;
		if (!row.has_value)
			continue;
		*valp = row.value;
		*lenp = row.value_len;
		return 0;
	}
	return VATWALK_E_END;
}
