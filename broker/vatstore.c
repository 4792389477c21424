/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vats' own key-value stores, over the store: keys of up to 4 KiB, in byte order (Y4), as the tree of spaces that
 * lib/schema.h describes. A key of up to 400 bytes, which is nearly every key, is one row and costs one lookup;
 * the longest costs eleven.
 *
 * Whatever keys a vat chooses, an operation touches at most VATSTORE_DEPTH rows on its way and rewrites rows no
 * larger than the values the vat put there itself (L1): a sorted bucket per prefix would let one vat keep the
 * broker copying for hours.
 *
 * Damage in a row that only this file writes is the machine's fault, and fatal.
 */
#include "store.h"

#define ROW_KEY	(8 + VATSTORE_PREFIX)

/* The way from the vat's own space along the chunks of a key. Step i: a space and where its chunk starts. */
struct step { uint64_t space; size_t at; };
struct path { struct step steps[VATSTORE_DEPTH]; unsigned n; };

static size_t row_key(uint8_t k[ROW_KEY], uint64_t space, const uint8_t *chunk, size_t chunk_len)
{
	assert(chunk_len <= VATSTORE_PREFIX);
	put_be64(k, space);
	if (chunk_len)
		memcpy(k + 8, chunk, chunk_len);
	return 8 + chunk_len;
}

static size_t chunk_len(size_t key_len, size_t at)
{
	return key_len - at < VATSTORE_PREFIX ? key_len - at : VATSTORE_PREFIX;
}

static int row_damaged(void)
{
	log_err("store: a vatstore row is damaged");
	return error_origin(EIO);
}

static int row_get(struct store *s, uint64_t space, const uint8_t *chunk, size_t len, struct vatstore_row *out)
{
	uint8_t k[ROW_KEY];
	const void *val;
	size_t val_len;
	int r;

	r = store_get(s, T_VATSTORE, k, row_key(k, space, chunk, len), &val, &val_len);
	if (r)
		return r < 0 ? error_trace(r) : STORE_NOT_FOUND;
	return vatstore_row_read(val, val_len, len, out) ? 0 : row_damaged();
}

/* Write the row as `row` says, or delete it when nothing is left in it. */
static int row_set(struct store *s, uint64_t space, const uint8_t *chunk, size_t len, const struct vatstore_row *row)
{
	size_t value_size = row->has_value ? 8 + row->value_len : 0, link_size = row->link ? 16 : 0;
	uint32_t head[2] = { 0, (uint32_t)row->value_len }, link_head[2] = { 8, 0 };
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t k[ROW_KEY];
	size_t k_len = row_key(k, space, chunk, len);
	int r;

	if (!value_size && !link_size) {
		r = store_del(s, T_VATSTORE, k, k_len);
		return r < 0 ? error_trace(r) : 0;
	}
	bytes = malloc(value_size + link_size);
	if (!bytes)
		return error_origin(ENOMEM);
	if (row->has_value) {
		memcpy(bytes, head, 8);
		if (row->value_len)
			memcpy(bytes + 8, row->value, row->value_len);
	}
	if (row->link) {
		memcpy(bytes + value_size, link_head, 8);
		memcpy(bytes + value_size + 8, &row->link, 8);
	}
	r = store_put(s, T_VATSTORE, k, k_len, bytes, value_size + link_size);
	return r < 0 ? error_trace(r) : 0;
}

/* Numbers of spaces are never used twice, so a snapshot that still shows an old tree stays one tree. */
static int space_new(struct store *s, uint64_t *spacep)
{
	uint64_t next = 1;
	const void *val;
	size_t len;
	int r;

	r = store_get(s, T_META, META_NEXT_SPACE, strlen(META_NEXT_SPACE), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (!r) {
		if (len != sizeof next)
			return row_damaged();
		memcpy(&next, val, sizeof next);
	}
	*spacep = VATSTORE_SPACE | next++;
	r = store_put(s, T_META, META_NEXT_SPACE, strlen(META_NEXT_SPACE), &next, sizeof next);
	return r < 0 ? error_trace(r) : 0;
}

static int link_make(struct store *s, const struct step *at, const uint8_t *chunk, uint64_t *spacep)
{
	struct vatstore_row row = { 0 };
	int r;

	r = row_get(s, at->space, chunk, VATSTORE_PREFIX, &row);
	if (r < 0)
		return error_trace(r);
	if (!row.link) {
		r = space_new(s, &row.link);
		/* The number's row is another's: what was borrowed may have moved. */
		if (r >= 0 && row.has_value) {
			uint64_t link = row.link;

			r = row_get(s, at->space, chunk, VATSTORE_PREFIX, &row);
			row.link = link;
		}
		if (r >= 0)
			r = row_set(s, at->space, chunk, VATSTORE_PREFIX, &row);
		if (r < 0)
			return error_trace(r);
	}
	*spacep = row.link;
	return 0;
}

/*
 * Go along `key` to the space of its last chunk, making links when `make`. STORE_NOT_FOUND: a link is missing; the
 * path ends with the space that has no row to go on from.
 */
static int path_find(struct store *s, uint64_t vat, const uint8_t *key, size_t key_len, bool make, struct path *p)
{
	struct vatstore_row row;
	struct step *last;
	uint64_t space = 0;
	int r;

	assert(key_len <= WIRE_MAX_KEY && vat && !(vat & VATSTORE_SPACE));
	p->steps[0] = (struct step){ .space = vat };
	p->n = 1;
	for (;;) {
		last = &p->steps[p->n - 1];
		if (key_len - last->at <= VATSTORE_PREFIX)
			return 0;
		if (make) {
			r = link_make(s, last, key + last->at, &space);
		} else {
			row.link = 0;
			r = row_get(s, last->space, key + last->at, VATSTORE_PREFIX, &row);
			space = row.link;
		}
		if (r < 0)
			return error_trace(r);
		if (r || !space)
			return STORE_NOT_FOUND;
		p->steps[p->n++] = (struct step){ .space = space, .at = last->at + VATSTORE_PREFIX };
	}
}

/* --- one key --------------------------------------------------------------------------------------------------- */

int vatstore_get(struct store *s, uint64_t vat, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	const uint8_t *k = key_len ? key : (const uint8_t *)"";
	struct vatstore_row row;
	struct step *last;
	struct path p;
	int r;

	r = path_find(s, vat, k, key_len, false, &p);
	if (r)
		return r < 0 ? error_trace(r) : STORE_NOT_FOUND;
	last = &p.steps[p.n - 1];
	r = row_get(s, last->space, k + last->at, key_len - last->at, &row);
	if (r < 0)
		return error_trace(r);
	if (r || !row.has_value)
		return STORE_NOT_FOUND;
	*valp = row.value;
	*lenp = row.value_len;
	return 0;
}

int vatstore_set(struct store *s, uint64_t vat, const void *key, size_t key_len, const void *val, size_t len,
		 int64_t *deltap)
{
	const uint8_t *k = key_len ? key : (const uint8_t *)"";
	struct vatstore_row row = { 0 };
	struct step *last;
	struct path p;
	int64_t delta;
	int r;

	assert(len <= UINT32_MAX);
	r = path_find(s, vat, k, key_len, true, &p);
	if (r < 0)
		return error_trace(r);
	last = &p.steps[p.n - 1];
	r = row_get(s, last->space, k + last->at, key_len - last->at, &row);
	if (r < 0)
		return error_trace(r);
	delta = row.has_value ? (int64_t)len - (int64_t)row.value_len : (int64_t)(key_len + len);
	row.has_value = true;
	row.value = val;
	row.value_len = len;
	r = row_set(s, last->space, k + last->at, key_len - last->at, &row);
	if (r < 0)
		return error_trace(r);
	*deltap = delta;
	return 0;
}

/* The space's first row; STORE_NOT_FOUND: it has none. */
static int space_is_empty(struct store *s, uint64_t space, bool *emptyp)
{
	const void *k, *v;
	size_t k_len, v_len;
	uint8_t from[8];
	int r;

	r = store_next_of(s, T_VATSTORE, from, key_u64(from, space), 8, true, &k, &k_len, &v, &v_len);
	if (r < 0)
		return error_trace(r);
	*emptyp = r;
	return 0;
}

/* Take the links away that lead to a space which has just become empty, from the innermost outwards. */
static int path_prune(struct store *s, const uint8_t *key, struct path *p)
{
	struct vatstore_row row;
	struct step *up;
	bool empty;
	int r;

	for (; p->n > 1; p->n--) {
		r = space_is_empty(s, p->steps[p->n - 1].space, &empty);
		if (r < 0)
			return error_trace(r);
		if (!empty)
			return 0;
		up = &p->steps[p->n - 2];
		r = row_get(s, up->space, key + up->at, VATSTORE_PREFIX, &row);
		if (r)
			return r < 0 ? error_trace(r) : row_damaged();
		row.link = 0;
		r = row_set(s, up->space, key + up->at, VATSTORE_PREFIX, &row);
		if (r < 0)
			return error_trace(r);
	}
	return 0;
}

int vatstore_delete(struct store *s, uint64_t vat, const void *key, size_t key_len, int64_t *deltap)
{
	const uint8_t *k = key_len ? key : (const uint8_t *)"";
	struct vatstore_row row;
	struct step *last;
	struct path p;
	int64_t delta;
	int r;

	*deltap = 0;
	r = path_find(s, vat, k, key_len, false, &p);
	if (r)
		return r < 0 ? error_trace(r) : 0;
	last = &p.steps[p.n - 1];
	r = row_get(s, last->space, k + last->at, key_len - last->at, &row);
	if (r < 0)
		return error_trace(r);
	if (r || !row.has_value)
		return 0;
	delta = -(int64_t)(key_len + row.value_len);
	row.has_value = false;
	row.value_len = 0;
	r = row_set(s, last->space, k + last->at, key_len - last->at, &row);
	if (!r)
		r = path_prune(s, k, &p);
	if (r < 0)
		return error_trace(r);
	*deltap = delta;
	return 0;
}

/* --- order ----------------------------------------------------------------------------------------------------- */

/*
 * The least row of `space` above `chunk` (NULL: its first). Its chunk is written to `chunk_out`.
 */
static int space_next(struct store *s, uint64_t space, const uint8_t *chunk, size_t len,
		      uint8_t chunk_out[VATSTORE_PREFIX], size_t *chunk_lenp, struct vatstore_row *row)
{
	uint8_t from[ROW_KEY];
	const void *k, *v;
	size_t k_len, v_len;
	int r;

	r = store_next_of(s, T_VATSTORE, from, row_key(from, space, chunk, chunk ? len : 0), 8, !chunk, &k, &k_len, &v,
			  &v_len);
	if (r < 0)
		return error_trace(r);
	if (r)
		return STORE_NOT_FOUND;
	if (k_len > ROW_KEY || !vatstore_row_read(v, v_len, k_len - 8, row))
		return row_damaged();
	*chunk_lenp = k_len - 8;
	memcpy(chunk_out, (const uint8_t *)k + 8, k_len - 8);
	return 0;
}

/*
 * `next` (WIRE_MAX_KEY and a chunk) holds the chunks as far as `at`; add the least key below `row`, the last of
 * them.
 */
static int descend(struct store *s, struct vatstore_row *row, uint8_t *next, size_t at, size_t *next_lenp)
{
	size_t len;
	int r;

	while (!row->has_value) {
		if (at >= WIRE_MAX_KEY)
			return row_damaged();
		r = space_next(s, row->link, NULL, 0, next + at, &len, row);
		if (r || at + len > WIRE_MAX_KEY)
			return r < 0 ? error_trace(r) : row_damaged();
		at += len;
	}
	*next_lenp = at;
	return 0;
}

/* The longer keys that begin with all of `key`, when it ends with a full chunk. */
static int next_inside(struct store *s, const struct step *last, const uint8_t *key, size_t key_len,
		       uint8_t *next, size_t *next_lenp)
{
	struct vatstore_row row;
	int r;

	if (key_len - last->at != VATSTORE_PREFIX)
		return STORE_NOT_FOUND;
	r = row_get(s, last->space, key + last->at, VATSTORE_PREFIX, &row);
	if (r < 0)
		return error_trace(r);
	if (r || !row.link)
		return STORE_NOT_FOUND;
	row.has_value = false;	/* that is `key` itself */
	r = descend(s, &row, next, key_len, next_lenp);
	return r < 0 ? error_trace(r) : 0;
}

int vatstore_next(struct store *s, uint64_t vat, const void *key, size_t key_len, uint8_t *next, size_t *next_lenp)
{
	const uint8_t *k = key_len ? key : (const uint8_t *)"";
	uint8_t own[WIRE_MAX_KEY + VATSTORE_PREFIX];
	struct vatstore_row row;
	struct step *last;
	struct path p;
	size_t len, found;
	int r;

	r = path_find(s, vat, k, key_len, false, &p);
	if (r < 0)
		return error_trace(r);
	memcpy(own, k, key_len);
	if (!r) {
		r = next_inside(s, &p.steps[p.n - 1], k, key_len, own, &found);
		if (r < 0)
			return error_trace(r);
	}
	/* Nothing below `key`: what follows it in its own space, else in the space that links there, and so on. */
	for (; r && p.n; p.n--) {
		last = &p.steps[p.n - 1];
		r = space_next(s, last->space, k + last->at, chunk_len(key_len, last->at),
			       own + last->at, &len, &row);
		if (!r)
			r = descend(s, &row, own, last->at + len, &found);
		if (r < 0)
			return error_trace(r);
	}
	if (r)
		return STORE_NOT_FOUND;
	if (found > WIRE_MAX_KEY)
		return row_damaged();
	memcpy(next, own, found);
	*next_lenp = found;
	return 0;
}

/* --- the end of a vat ------------------------------------------------------------------------------------------ */

/* How far a purge is among the rows of the vat itself: what it deleted is not stepped over again. */
struct purge { uint8_t chunk[VATSTORE_PREFIX]; size_t len; };

static void purge_passed(struct purge *p, uint64_t space, uint64_t vat, const uint8_t *chunk, size_t len)
{
	if (space != vat)
		return;
	memcpy(p->chunk, chunk, len);
	p->len = len;
}

/* Delete one row: the first that links nowhere, found by going down first links. */
static int purge_one(struct store *s, uint64_t vat, struct purge *p, bool *donep)
{
	uint8_t chunks[2][VATSTORE_PREFIX];
	size_t lens[2] = { 0 };
	struct vatstore_row row, above = { 0 };
	uint64_t space = vat, space_above = 0;
	unsigned i = 0;
	int r;

	for (unsigned depth = 0; depth <= VATSTORE_DEPTH; depth++, i = !i) {
		r = space_next(s, space, !depth && p->len ? p->chunk : NULL, p->len, chunks[i], &lens[i], &row);
		if (r < 0)
			return error_trace(r);
		if (r && !space_above) {
			*donep = true;
			return 0;
		}
		/* The space is empty: the row above has only its own value left. */
		if (r) {
			above.link = 0;
			above.has_value = false;
			purge_passed(p, space_above, vat, chunks[!i], lens[!i]);
			r = row_set(s, space_above, chunks[!i], lens[!i], &above);
			return r < 0 ? error_trace(r) : 0;
		}
		if (!row.link) {
			row.has_value = false;
			purge_passed(p, space, vat, chunks[i], lens[i]);
			r = row_set(s, space, chunks[i], lens[i], &row);
			return r < 0 ? error_trace(r) : 0;
		}
		space_above = space;
		space = row.link;
	}
	return row_damaged();
}

int vatstore_purge(struct store *s, uint64_t vat, unsigned *budget, bool *donep)
{
	struct purge p = { .len = 0 };
	int r;

	*donep = false;
	for (; *budget && !*donep; --*budget) {
		r = purge_one(s, vat, &p, donep);
		if (r < 0)
			return error_trace(r);
	}
	return 0;
}
